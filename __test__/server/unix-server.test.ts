/** Servers on Unix sockets, above all the file of the socket. */
// Runs once: it is about the file of the socket, and which server owns it.
import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import { linkSync } from 'node:fs';
import { mkdir, readdir, rename, stat, symlink, unlink, writeFile } from 'node:fs/promises';
import { createServer, connect as netConnect } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  ConnectionError,
  UnixStreamServer,
  connectUnix,
  type ClientHandler,
  type Stream,
  type UnixStreamServerOptions,
} from 'sluice';
import { UNIX_HALF_CLOSE, directory, unixPath } from '../fifo.js';
import { deferred, echo, quiet, turns, until } from '../loopback.js';
import { Process, installed, root } from '../program.js';

async function started(
  t: ExecutionContext,
  file: string,
  handler = echo,
  options: UnixStreamServerOptions = {},
): Promise<UnixStreamServer> {
  const server = new UnixStreamServer(handler, file, { shutdownTimeout: 50, ...options });
  t.teardown(() => server.abort());
  await server.startServing();
  return server;
}

async function answers(file: string | URL, word = 'ping'): Promise<boolean> {
  await using stream = await connectUnix(file);
  await stream.write(`${word}\n`);
  return String(await stream.readline()) === `${word}\n`;
}

/** A handler that sends this name. */
const named =
  (name: string): ClientHandler =>
  async (stream) => {
    await stream.write(name);
  };

async function who(file: string): Promise<string> {
  await using stream = await connectUnix(file);
  return String(await stream.read());
}

// ------------------------------------------------------------------------------------------------ the server

test('address() is the path while the server is bound, otherwise null', async (t) => {
  const file = unixPath(t);
  const server = await started(t, file);
  t.is(server.address(), file);
  await server.close();
  t.is(server.address(), null);
});

test('only the socket is in its directory while the server serves, and nothing after close', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'sock');
  const server = await started(t, file);
  t.deepEqual(await readdir(where), ['sock']);
  t.true((await stat(file)).isSocket());
  t.is(server.sockets[0]?.address(), file);
  t.true(await answers(file));
  await server.close();
  t.deepEqual(await readdir(where), []);
  await t.throwsAsync(connectUnix(file), { instanceOf: ConnectionError, code: 'ENOENT' });
  await t.throwsAsync(server.bind(), { code: 'ERR_SERVER_STATE' });
});

test("the handler's stream has the names, the limit and the half-close of a Unix connection", async (t) => {
  const file = unixPath(t);
  const got = deferred<Stream>();
  await started(t, file, (stream) => got.resolve(stream), { limit: 99 });
  await using client = await connectUnix(file);
  const stream = await got.promise;
  t.is(stream.limit, 99);
  t.true(stream.isServerSide());
  t.is(stream.getExtraInfo('sockname'), file);
  t.is(stream.getExtraInfo('peername'), '');
  t.is(client.getExtraInfo('peername'), file);
  await client.write('to the end');
  t.is(client.canWriteEof(), UNIX_HALF_CLOSE);
  t.is(stream.canWriteEof(), UNIX_HALF_CLOSE);
  if (UNIX_HALF_CLOSE) await client.writeEof();
  t.is(String(await (UNIX_HALF_CLOSE ? stream.read() : stream.read(10))), 'to the end');
  await stream.write('and back');
  await stream.close();
  t.is(String(await client.read()), 'and back');
});

test('connections made between bind and startServing wait, and have their sockname', async (t) => {
  const file = unixPath(t);
  const server = new UnixStreamServer(async (stream) => {
    await stream.write(String(stream.getExtraInfo('sockname')));
  }, file);
  t.teardown(() => server.abort());
  await server.bind();
  await using client = await connectUnix(file);
  await turns(10);
  await server.startServing();
  t.is(String(await client.read()), file);
});

test('a relative path is removed even if the working directory has changed', async (t) => {
  const where = directory(t);
  const elsewhere = path.join(where, 'elsewhere');
  await mkdir(elsewhere);
  const program = `
    import { UnixStreamServer, connectUnix } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/index.js')))};
    const server = new UnixStreamServer(async (stream) => { await stream.write('hello'); }, 'sock');
    await server.startServing();
    const stream = await connectUnix('sock');
    console.log(String(await stream.read()));
    process.chdir('elsewhere');
    await server.close();`;
  const child = new Process(t, process.execPath, ['--input-type=module', '-e', program], { cwd: where });
  const { code, stdout, stderr } = await child.ended;
  t.is(code, 0, stderr);
  t.is(stdout, 'hello\n');
  t.deepEqual(await readdir(where), ['elsewhere']);
});

test('the path may be a file: URL, the longest path, or a short name in a deep directory', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'a b%');
  await started(t, pathToFileURL(file) as never);
  t.true(await answers(file));

  const longest = process.platform === 'linux' ? 107 : 103;
  for (const name of ['s', 'some.sock']) {
    const deep = path.join(where, 'd'.repeat(longest - where.length - name.length - 2));
    await mkdir(deep, { recursive: true });
    const full = path.join(deep, name);
    t.is(full.length, longest);
    const server = await started(t, full);
    t.true(await answers(full));
    t.deepEqual(await readdir(deep), [name]);
    await server.close();
    t.deepEqual(await readdir(deep), []);
    t.throws(() => new UnixStreamServer(echo, `${full}x`), {
      instanceOf: RangeError,
      code: 'ERR_OUT_OF_RANGE',
      message: `UnixStreamServer: path must be at most ${longest} bytes long, not ${longest + 1}: ${full}x`,
    });
  }
});

test('an abstract name has no file, and can be used by one server', async (t) => {
  if (process.platform !== 'linux') {
    t.throws(() => new UnixStreamServer(echo, '\0name'), { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM' });
    return;
  }
  const name = `\0sluice-unix-server-${process.pid}`;
  const server = await started(t, name);
  t.true(await answers(name));
  const error = await t.throwsAsync(new UnixStreamServer(echo, name).bind(), {
    instanceOf: ConnectionError,
    code: 'EADDRINUSE',
  });
  t.regex(error.message, /^bind @sluice-unix-server/);
  await server.close();
  await t.throwsAsync(connectUnix(name), { code: 'ECONNREFUSED' });
});

test('UnixStreamServer cannot be subclassed, and takes a path or a socket', (t) => {
  class Mine extends UnixStreamServer {}
  t.throws(() => new Mine(echo, '/tmp/x'), { instanceOf: TypeError, message: /final/ });
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  t.throws(() => new UnixStreamServer(echo), { ...type, message: /UnixStreamServer: path/ });
  t.throws(() => new UnixStreamServer(echo, 7 as never), { ...type, message: /not 7/ });
  t.throws(() => new UnixStreamServer('x' as never, '/tmp/x'), { ...type, message: /handler/ });
  t.throws(() => new UnixStreamServer(echo, '/tmp/x', null as never), { ...type, message: /options/ });
  t.throws(() => new UnixStreamServer(echo, '/tmp/x', { sock: 3 }), { ...type, message: /sock cannot be/ });
  t.throws(() => new UnixStreamServer(echo, undefined, { sock: 'x' as never }), { ...type, message: /sock must be/ });
  t.throws(() => new UnixStreamServer(echo, ''), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
});

// ------------------------------------------------------------------------------------------------ whose file it is

test('closing a server leaves the file of another server that has replaced it', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'sock');
  const a = await started(t, file, named('a'));
  await unlink(file);
  const b = await started(t, file, named('b'));
  await a.close();
  t.is(await who(file), 'b');
  await b.close();
  t.deepEqual(await readdir(where), []);
});

test('closing a server leaves a file that is not its socket, and tolerates a missing one', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'sock');
  const moved = await started(t, file, named('moved'));
  await rename(file, `${file}.moved`);
  t.is(await who(`${file}.moved`), 'moved');
  await writeFile(file, 'not a socket');
  await moved.close();
  t.deepEqual((await readdir(where)).sort(), ['sock', 'sock.moved']);

  const gone = await started(t, path.join(where, 'gone'));
  await unlink(path.join(where, 'gone'));
  await t.notThrowsAsync(gone.close());
});

test('closing a server again does not remove the file of a later one', async (t) => {
  const file = unixPath(t);
  const a = await started(t, file, named('a'));
  await a.close();
  await started(t, file, named('b'));
  await Promise.all([a.close(), a.abort()]);
  t.is(await who(file), 'b');
});

test('a socket that another server listens on is never replaced', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'sock');
  const accepted: unknown[] = [];
  const live = createServer((socket) => accepted.push(quiet(socket)));
  t.teardown(() => live.close());
  await once(live.listen(file), 'listening');
  const { ino } = await stat(file);
  const server = new UnixStreamServer(echo, file);
  const error = await t.throwsAsync(server.bind(), { instanceOf: ConnectionError, code: 'EADDRINUSE' });
  t.is(error.message, `bind ${file}: address already in use: another server listens on it`);
  t.is((await stat(file)).ino, ino);
  t.deepEqual(await readdir(where), ['sock']);
  t.false(server.isBound());

  // The server can be started again later.
  live.close();
  await once(live, 'close');
  await server.startServing();
  t.true(await answers(file));
  await server.close();
});

/** Leaves a socket file that no process listens on. */
async function stale(file: string): Promise<void> {
  const server = createServer();
  await once(server.listen(`${file}.bound`), 'listening');
  linkSync(`${file}.bound`, file);
  server.close();
  await once(server, 'close');
}

test('a stale file is replaced', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'sock');
  await stale(file);
  await t.throwsAsync(connectUnix(file), { code: 'ECONNREFUSED' });
  const server = await started(t, file);
  t.true(await answers(file));
  t.deepEqual(await readdir(where), ['sock']);
  await server.close();
  t.deepEqual(await readdir(where), []);
});

test('of many servers that find a stale file, one gets the path and keeps it', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'sock');
  await stale(file);
  const servers = Array.from({ length: 8 }, (_, i) => new UnixStreamServer(named(String(i)), file));
  t.teardown(() => Promise.all(servers.map((server) => server.abort())));
  const results = await Promise.allSettled(servers.map((server) => server.startServing()));
  const won = servers.filter((server) => server.isBound());
  t.is(won.length, 1);
  for (const result of results) {
    if (result.status === 'rejected') t.is((result.reason as ConnectionError).code, 'EADDRINUSE');
  }
  t.is(await who(file), String(servers.indexOf(won[0]!)));
  t.deepEqual(await readdir(where), ['sock']);
});

test('of many processes that find a stale file, one gets the path', async (t) => {
  const file = unixPath(t);
  await stale(file);
  const program = `
    import { UnixStreamServer } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/index.js')))};
    const server = new UnixStreamServer(async (stream) => { await stream.write(String(process.pid)); }, ${JSON.stringify(file)});
    process.stdin.on('end', () => server.close()).resume();
    await server.startServing().then(() => console.log('got it'), (error) => { console.log(error.code); process.exit(); });`;
  const children = Array.from(
    { length: 4 },
    () => new Process(t, process.execPath, ['--input-type=module', '-e', program], { input: true }),
  );
  const printed = await Promise.all(children.map(async (child) => String(await child.prints(/got it|\w+/))));
  t.deepEqual(printed.sort(), ['EADDRINUSE', 'EADDRINUSE', 'EADDRINUSE', 'got it']);
  t.regex(await who(file), /^\d+$/);
  for (const child of children) child.hangUp();
  await Promise.all(children.map((child) => child.ended));
  await t.throwsAsync(stat(file), { code: 'ENOENT' });
});

test('a path that is not a socket is refused, and left alone', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'file');
  await writeFile(file, 'precious');
  await mkdir(path.join(where, 'directory'));
  await symlink('nowhere', path.join(where, 'link'));
  const kinds = { file: 'a regular file', directory: 'a directory', link: 'a symbolic link' };
  for (const [name, kind] of Object.entries(kinds)) {
    const there = path.join(where, name);
    await t.throwsAsync(new UnixStreamServer(echo, there).bind(), {
      instanceOf: ConnectionError,
      code: 'EADDRINUSE',
      message: `bind ${there}: address already in use: it is ${kind}, not a socket`,
    });
  }
  t.deepEqual((await readdir(where)).sort(), ['directory', 'file', 'link']);
});

test('a directory that does not exist is ENOENT', async (t) => {
  const file = path.join(directory(t), 'no', 'sock');
  await t.throwsAsync(new UnixStreamServer(echo, file).bind(), {
    instanceOf: ConnectionError,
    code: 'ENOENT',
    message: `bind ${file}: no such file or directory`,
  });
});

test('close during bind leaves no file', async (t) => {
  const where = directory(t);
  const file = path.join(where, 'sock');
  await stale(file);
  const server = new UnixStreamServer(echo, file);
  const bound = server.bind();
  const closed = server.close();
  await t.throwsAsync(bound, { code: 'ERR_SERVER_STATE' });
  await closed;
  t.deepEqual(
    (await readdir(where)).filter((name) => name !== 'sock'),
    [],
  );
});

// ------------------------------------------------------------------------------------------------ sock

test('sock can be a net.Server that listens later', async (t) => {
  const file = unixPath(t);
  const sock = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const server = new UnixStreamServer(echo, null, { sock });
  t.teardown(() => server.abort());
  const bound = server.startServing();
  await turns(3);
  t.false(server.isBound());
  sock.listen(file);
  await bound;
  t.deepEqual([...server.sockets], [sock]);
  t.true(await answers(file));
  await server.close();
  t.false(sock.listening);
});

test('sock can be the fd of a listening socket', async (t) => {
  if (!installed(t, 'python3')) return;
  const file = unixPath(t);
  const program = `
    import { UnixStreamServer } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/index.js')))};
    const server = new UnixStreamServer(async (stream) => {
      await stream.write('from fd 3');
      void server.close();
    }, null, { sock: 3, shutdownTimeout: 100 });
    await server.startServing();
    console.log('ready');`;
  // Node cannot pass a listening socket to a child as an fd.
  const launcher = `
import os, socket, sys
s = socket.socket(socket.AF_UNIX)
s.bind(sys.argv[1])
s.listen()
os.dup2(s.fileno(), 3)
os.set_inheritable(3, True)
os.execv(sys.argv[2], sys.argv[2:])`;
  const child = new Process(t, 'python3', [
    ...['-c', launcher, file],
    ...[process.execPath, '--input-type=module', '-e', program],
  ]);
  await child.prints(/ready/);
  t.is(await who(file), 'from fd 3');
  t.is((await child.ended).code, 0);
  t.true((await stat(file)).isSocket());
});

test('an error thrown by a handler is reported with its message', async (t) => {
  const file = unixPath(t);
  const errors: unknown[] = [];
  await started(
    t,
    file,
    () => {
      throw new Error('no');
    },
    { onError: (error) => void errors.push(error) },
  );
  const socket = quiet(netConnect(file));
  t.teardown(() => socket.destroy());
  await until(() => errors.length === 1);
  t.is((errors[0] as Error).message, 'no');
});
