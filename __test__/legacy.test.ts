// Runs once: a pair is the two halves of a stream, which has tests of its own.
/* eslint-disable @typescript-eslint/no-deprecated -- the deprecated functions are under test */
import test, { type ExecutionContext } from 'ava';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { promisify } from 'node:util';
import {
  ConnectionError,
  IncompleteReadError,
  StreamReader,
  StreamServer,
  StreamWriter,
  connect,
  openConnection,
  openUnixConnection,
  socketpair,
  startServer,
  startUnixServer,
  type ClientConnectedCallback,
  type StreamPair,
} from 'sluice';
import { unixPath } from './fifo.js';
import { closedByPeer, deferred, dial, gather, listen, portOf, sparePort, turns } from './loopback.js';
import { root } from './program.js';

// The warnings are tested in a separate process.
process.noDeprecation = true;

/** A started server on a free port; its reports are collected in the list. */
async function serve(
  t: ExecutionContext,
  callback: ClientConnectedCallback,
  options: { startServing?: boolean } = {},
): Promise<{ server: StreamServer; port: number; errors: unknown[] }> {
  const errors: unknown[] = [];
  const server = await startServer(callback, '127.0.0.1', 0, {
    shutdownTimeout: 50,
    onError: (error) => void errors.push(error),
    ...options,
  });
  t.teardown(() => server.abort());
  return { server, port: portOf(server), errors };
}

/** A pair, and the plain socket at the other end. */
async function pairAndPeer(t: ExecutionContext): Promise<{ pair: StreamPair; peer: Socket }> {
  const accepted = deferred<Socket>();
  const { port } = await listen(t, accepted.resolve);
  const pair = await openConnection('127.0.0.1', port, { limit: 100 });
  t.teardown(() => pair[1].abort());
  return { pair, peer: await accepted.promise };
}

// ------------------------------------------------------------------------------------------------ connecting

test('openConnection resolves with the two halves of a connection', async (t) => {
  const { pair, peer } = await pairAndPeer(t);
  const [reader, writer] = pair;
  t.is(pair.length, 2);
  t.true(reader instanceof StreamReader);
  t.true(writer instanceof StreamWriter);
  t.is(reader.limit, 100);
  t.deepEqual((writer.getExtraInfo('sockname') as { port: number }).port, peer.remotePort);
  const all = gather(peer);
  peer.write('a line\nand 5');
  t.is(String(await reader.readline()), 'a line\n');
  t.is(String(await reader.readexactly(5)), 'and 5');
  void writer.write('answer');
  await writer.drain();
  await writer.writeEof();
  t.is(String(await all), 'answer');
  peer.end('rest');
  t.is(String(await reader.read()), 'rest');
  t.true(reader.atEof());
});

test('openConnection accepts a socket, and rejects as connect does', async (t) => {
  const [left, right] = await socketpair();
  t.teardown(() => right.destroy());
  const [reader, writer] = await openConnection({ sock: left });
  right.end('hello');
  t.is(String(await reader.read()), 'hello');
  await writer.close();

  const port = await sparePort(t);
  await t.throwsAsync(openConnection('127.0.0.1', port), { code: 'ECONNREFUSED' });
  await t.throwsAsync(openConnection('127.0.0.1', 0), { code: 'ERR_OUT_OF_RANGE' });
});

test('close of the writer sends the queue and ends a waiting read', async (t) => {
  const { pair, peer } = await pairAndPeer(t);
  const [reader, writer] = pair;
  peer.write('left');
  t.is(String(await reader.peek(4)), 'left');
  const line = reader.readline();
  void writer.write('last words');
  const all = gather(peer);
  const closing = writer.close();
  t.true(writer.isClosing());
  t.is(String(await line), 'left');
  t.true(reader.atEof());
  t.is(String(await all), 'last words');
  peer.write('more');
  await closing;
  await writer.waitClosed();
  t.is((await reader.read()).length, 0, 'what comes after the close is dropped');
  await t.throwsAsync(writer.write('x'), { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

test('the writer can close a pair whose reader is full', async (t) => {
  const { pair, peer } = await pairAndPeer(t);
  const [reader, writer] = pair;
  const much = Buffer.alloc(16 * 1024 * 1024);
  peer.write(much);
  await reader.peek(1);
  const closed = closedByPeer(peer);
  await writer.close();
  await closed;
  t.true(reader.buffered > 0);
});

test('abort of the writer closes both halves', async (t) => {
  const { pair, peer } = await pairAndPeer(t);
  const [reader, writer] = pair;
  const exactly = reader.readexactly(3);
  const closed = closedByPeer(peer);
  writer.abort();
  await t.throwsAsync(exactly, { instanceOf: IncompleteReadError });
  await writer.waitClosed();
  await closed;
  t.true(reader.atEof());
});

test('both halves reject when the connection is lost', async (t) => {
  const { pair, peer } = await pairAndPeer(t);
  const [reader, writer] = pair;
  const line = reader.readline();
  peer.resetAndDestroy();
  await t.throwsAsync(line, { code: 'ECONNRESET' });
  await t.throwsAsync(writer.waitClosed(), { code: 'ECONNRESET' });
  t.true(writer.isClosing());
});

// ------------------------------------------------------------------------------------------------ serving

test('startServer resolves with a serving server, which calls back with pairs', async (t) => {
  const { server, port, errors } = await serve(t, async (reader, writer) => {
    t.true(reader instanceof StreamReader);
    t.true(writer instanceof StreamWriter);
    void writer.write(await reader.readline());
    await writer.close();
  });
  t.true(server instanceof StreamServer);
  t.true(server.isServing());
  await using stream = await connect('127.0.0.1', port);
  await stream.write('ping\n');
  t.is(String(await stream.read()), 'ping\n');
  await server.close();
  t.false(server.isBound());
  t.deepEqual(errors, []);
});

test("startServer with a host of '' listens on every interface", async (t) => {
  const server = await startServer(() => {}, '');
  t.teardown(() => server.abort());
  t.is((await dial(t, portOf(server))).remoteAddress, '127.0.0.1');
});

test('startServing: false gives a bound server, on which connections wait', async (t) => {
  let calls = 0;
  const { server, port } = await serve(
    t,
    (_, writer) => {
      calls++;
      void writer.close();
    },
    { startServing: false },
  );
  t.true(server.isBound());
  t.false(server.isServing());
  const socket = await dial(t, port);
  await turns(20);
  t.is(calls, 0);
  await server.startServing();
  await closedByPeer(socket);
  t.is(calls, 1);
});

test('a pair stays open after its callback returns, plain or async, until the server closes', async (t) => {
  const writers: StreamWriter[] = [];
  const readers: StreamReader[] = [];
  const { server, port } = await serve(t, (reader, writer) => {
    readers.push(reader);
    writers.push(writer);
    return writers.length === 1 ? undefined : Promise.resolve();
  });
  const first = await connect('127.0.0.1', port);
  await first.write('one\n');
  const second = await connect('127.0.0.1', port);
  await second.write('two\n');
  while (readers.length < 2) await turns(1);
  await turns(20);
  t.is(String(await readers[0]?.readline()), 'one\n');
  t.is(String(await readers[1]?.readline()), 'two\n');
  for (const writer of writers) void writer.write('still here\n');
  t.is(String(await first.readline()), 'still here\n');
  t.is(String(await second.readline()), 'still here\n');
  const ends = Promise.all([first.read(), second.read()]);
  await server.close();
  t.deepEqual(
    (await ends).map((end) => end.length),
    [0, 0],
  );
  t.true(writers.every((writer) => writer.isClosing()));
  await first.close();
  await second.close();
});

test('if a callback throws or rejects, its connection is aborted and the error reported', async (t) => {
  let calls = 0;
  const { port, errors } = await serve(t, () => {
    calls++;
    if (calls === 1) throw new Error('thrown');
    return Promise.reject(new Error('rejected'));
  });
  for (const expected of ['thrown', 'rejected']) {
    const socket = await dial(t, port);
    await closedByPeer(socket);
    t.is((errors.shift() as Error).message, expected);
  }
});

test('startServer rejects invalid arguments, and an address in use', async (t) => {
  const callback: ClientConnectedCallback = () => {};
  const wrong = { code: 'ERR_INVALID_ARG_TYPE' };
  await t.throwsAsync(startServer(null as never, '127.0.0.1'), { ...wrong, message: /clientConnectedCb/ });
  await t.throwsAsync(startServer(callback, '127.0.0.1', 0, null as never), wrong);
  await t.throwsAsync(startServer(callback, '127.0.0.1', 0, { startServing: 1 as never }), {
    ...wrong,
    message: /startServing/,
  });
  await t.throwsAsync(startServer(callback, '127.0.0.1', -1), { code: 'ERR_OUT_OF_RANGE' });
  const { port } = await serve(t, callback);
  await t.throwsAsync(startServer(callback, '127.0.0.1', port), { code: 'EADDRINUSE' });
  await t.throwsAsync(startServer(callback, '127.0.0.1', port, { startServing: false }), { code: 'EADDRINUSE' });
});

// ------------------------------------------------------------------------------------------------ Unix sockets

test('openUnixConnection resolves with the halves of a connection to a Unix socket', async (t) => {
  const file = unixPath(t);
  const server = createServer((socket) => socket.end('hello\n')).listen(file);
  await once(server, 'listening');
  const [reader, writer] = await openUnixConnection(file);
  t.is(String(await reader.readline()), 'hello\n');
  t.is(writer.getExtraInfo('peername'), file);
  await writer.close();
  server.close();
  await t.throwsAsync(openUnixConnection(`${file}-none`), { code: 'ENOENT' });
});

test('startUnixServer serves pairs at a path', async (t) => {
  const file = unixPath(t);
  const callback: ClientConnectedCallback = async (reader, writer) => {
    void writer.write(await reader.readline());
    await writer.close();
  };
  const server = await startUnixServer(callback, file, { startServing: false });
  t.teardown(() => server.abort());
  t.true(server.isBound());
  t.false(server.isServing());
  const [reader, writer] = await openUnixConnection(file);
  void writer.write('ping\n');
  await server.startServing();
  t.is(String(await reader.read()), 'ping\n');
  await writer.close();
  await server.close();
  t.false(server.isBound());
  await t.throwsAsync(startUnixServer(null as never, file), { code: 'ERR_INVALID_ARG_TYPE' });
});

// ------------------------------------------------------------------------------------------------ warnings

test('each function warns once per process, with its own code', async (t) => {
  const program = `
    import { openConnection, openUnixConnection, startServer, startUnixServer } from 'sluice';
    process.on('warning', ({ name, code, message }) => console.log(name + ' ' + code + ' ' + message));
    for (let i = 0; i < 2; i++) {
      await openConnection('127.0.0.1', -1).catch(() => {});
      await openUnixConnection('').catch(() => {});
      await startServer(null).catch(() => {});
      await startUnixServer(null).catch(() => {});
    }
  `;
  const args = ['--no-warnings', '--input-type=module', '--eval', program];
  const { stdout } = await promisify(execFile)(process.execPath, args, { cwd: root });
  t.deepEqual(stdout.trim().split('\n'), [
    'DeprecationWarning SLUICE_DEP0001 openConnection is deprecated: use connect',
    'DeprecationWarning SLUICE_DEP0003 openUnixConnection is deprecated: use connectUnix',
    'DeprecationWarning SLUICE_DEP0002 startServer is deprecated: use StreamServer',
    'DeprecationWarning SLUICE_DEP0004 startUnixServer is deprecated: use UnixStreamServer',
  ]);
});
