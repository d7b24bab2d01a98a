/** The permissions of the file of a Unix socket. */
// Runs once: it is about the file of the socket.
import test, { type ExecutionContext } from 'ava';
import { execFileSync } from 'node:child_process';
import { chmodSync, chownSync, linkSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { Server, createServer, type ListenOptions } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConnectionError, UnixStreamServer, connectUnix, startUnixServer, type ConnectUnixOptions } from 'sluice';
import { certificates } from '../certificates.js';
import { directory } from '../fifo.js';
import { echo } from '../loopback.js';
import { Process, root } from '../program.js';

process.noDeprecation = true;

const index = JSON.stringify(pathToFileURL(path.join(root, 'dist/index.js')));

const modeOf = (file: string): number => statSync(file).mode & 0o777;

async function answers(file: string, options: ConnectUnixOptions = {}): Promise<boolean> {
  await using stream = await connectUnix(file, options);
  await stream.write('ping\n');
  return String(await stream.readline()) === 'ping\n';
}

/** Leaves a socket file that no process listens on. */
async function stale(file: string): Promise<void> {
  const server = createServer();
  await once(server.listen(`${file}.bound`), 'listening');
  linkSync(`${file}.bound`, file);
  server.close();
  await once(server, 'close');
}

const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };

test('mode must be an integer from 0 to 0o777', (t) => {
  const make = (mode: unknown) => (): unknown => new UnixStreamServer(echo, '/tmp/sock', { mode: mode as number });
  for (const value of ['660', null, true, 0o660n, {}]) {
    t.throws(make(value), { ...type, message: /^UnixStreamServer: mode must be an integer from 0 to 0o777, not / });
  }
  for (const value of [-1, 0o1000, 660, 777, 1.5, NaN, Infinity]) {
    t.throws(make(value), {
      ...range,
      message: `UnixStreamServer: mode must be an integer from 0 to 0o777, not ${value}`,
    });
  }
  t.throws(() => new UnixStreamServer(echo, null, { sock: 3, mode: 0o600 }), {
    ...type,
    message: 'UnixStreamServer: sock cannot be combined with mode',
  });
});

if (process.platform === 'win32') {
  test('mode is refused for a named pipe, which has no file', (t) => {
    t.throws(() => new UnixStreamServer(echo, String.raw`\\.\pipe\sluice`, { mode: 0o600 }), {
      ...type,
      message: /mode cannot be used with a named pipe, which has no file$/,
    });
  });
} else {
  posix();
}

function posix(): void {
  test('mode is refused for an abstract name, which has no file', (t) => {
    const make = (): unknown => new UnixStreamServer(echo, '\0sluice-mode', { mode: 0o600 });
    if (process.platform === 'linux') {
      t.throws(make, {
        ...type,
        message: 'UnixStreamServer: mode cannot be used with an abstract name, which has no file',
      });
    } else {
      t.throws(make, { code: 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM' });
    }
  });

  test.serial('the file has the given mode, whatever the umask, with and without TLS', async (t) => {
    const { ca, server: identity } = await certificates();
    const before = process.umask(0o022);
    process.umask(before);
    t.teardown(() => process.umask(before));
    const where = directory(t);
    const file = path.join(where, 'sock');
    for (const umask of [0o000, 0o022, 0o077, 0o777]) {
      for (const mode of [0o600, 0o660, 0o666, 0o777, 0o700, 0o000]) {
        for (const ssl of [undefined, identity]) {
          const server = new UnixStreamServer(echo, file, { mode, ssl, shutdownTimeout: 50 });
          t.teardown(() => server.abort());
          process.umask(umask);
          await server.startServing();
          t.is(process.umask(before), umask, 'the umask is left as it was');
          t.is(modeOf(file), mode);
          t.deepEqual(readdirSync(where), ['sock']);
          if ((mode & 0o600) === 0o600) {
            t.true(await answers(file, ssl === undefined ? {} : { ssl: { ca }, serverHostname: 'localhost' }));
          }
          await server.close();
          t.deepEqual(readdirSync(where), []);
        }
      }
      process.umask(umask);
      const plain = new UnixStreamServer(echo, file);
      await plain.bind();
      process.umask(before);
      t.is(modeOf(file), 0o777 & ~umask, 'without mode the umask decides');
      await plain.close();
    }
  });

  test.serial('until its mode is set, the socket listens where only its owner can reach it', async (t) => {
    const seen: { socket: string; directory: number; file: boolean }[] = [];
    const where = directory(t);
    const file = path.join(where, 'sock');
    const { listen } = Server.prototype;
    t.teardown(() => {
      Server.prototype.listen = listen;
    });
    Server.prototype.listen = function (this: Server, ...given: unknown[]) {
      const result = Reflect.apply(listen, this, given) as Server;
      const { path: socket = '' } = given[0] as ListenOptions;
      if (socket.startsWith(where)) {
        const files = readdirSync(where);
        seen.push({ socket, directory: modeOf(path.dirname(socket)), file: files.includes('sock') });
      }
      return result;
    };
    const before = process.umask(0o000);
    t.teardown(() => process.umask(before));
    await using server = new UnixStreamServer(echo, file, { mode: 0o600 });
    await server.startServing();
    t.is(seen.length, 1);
    t.not(path.dirname(seen[0]?.socket ?? ''), where);
    t.is(seen[0]?.directory, 0o700);
    t.false(seen[0]?.file);
    t.deepEqual(readdirSync(where), ['sock']);
  });

  test('startUnixServer accepts a mode', async (t) => {
    const file = path.join(directory(t), 'sock');
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- the deprecated function is under test
    const server = await startUnixServer(() => {}, file, { mode: 0o606 });
    t.teardown(() => server.abort());
    t.is(modeOf(file), 0o606);
    await server.close();
  });

  test('a stale file is replaced by one with the mode, a live one is left as it is, and no other file stays', async (t) => {
    const where = directory(t);
    const file = path.join(where, 'sock');
    await stale(file);
    chmodSync(file, 0o777);
    await using server = new UnixStreamServer(echo, file, { mode: 0o640 });
    await server.startServing();
    t.is(modeOf(file), 0o640);
    t.true(await answers(file));
    await t.throwsAsync(new UnixStreamServer(echo, file, { mode: 0o666 }).bind(), {
      instanceOf: ConnectionError,
      code: 'EADDRINUSE',
    });
    t.is(modeOf(file), 0o640);
    t.deepEqual(readdirSync(where), ['sock']);
  });

  test('a missing or read-only directory rejects with ENOENT or EACCES', async (t) => {
    const where = directory(t);
    const missing = path.join(where, 'no', 'sock');
    await t.throwsAsync(new UnixStreamServer(echo, missing, { mode: 0o600 }).bind(), {
      instanceOf: ConnectionError,
      code: 'ENOENT',
      message: `bind ${missing}: no such file or directory`,
    });
    if (process.getuid?.() === 0) return;
    chmodSync(where, 0o500);
    t.teardown(() => chmodSync(where, 0o700));
    const file = path.join(where, 'sock');
    await t.throwsAsync(new UnixStreamServer(echo, file, { mode: 0o600 }).bind(), {
      instanceOf: ConnectionError,
      code: 'EACCES',
      message: `bind ${file}: permission denied`,
    });
  });

  test('the longest path works, and a path too long for a mode is ENAMETOOLONG', async (t) => {
    const where = directory(t);
    const longest = process.platform === 'linux' ? 107 : 103;
    for (const name of ['s', 'so', 'soc', 'some.sock', 'a-long-name.sock']) {
      const deep = path.join(where, 'd'.repeat(longest - where.length - name.length - 2));
      mkdirSync(deep, { recursive: true });
      const file = path.join(deep, name);
      const server = new UnixStreamServer(echo, file, { mode: 0o600 });
      if (name.length < 3) {
        await t.throwsAsync(server.bind(), {
          instanceOf: ConnectionError,
          code: 'ENAMETOOLONG',
          message: `bind ${file}: name too long: in a directory with so long a path, mode requires a name of at least 3 bytes`,
        });
        t.deepEqual(readdirSync(deep), []);
        continue;
      }
      await server.startServing();
      t.is(modeOf(file), 0o600);
      t.true(await answers(file));
      t.deepEqual(readdirSync(deep), [name]);
      await server.close();
      t.deepEqual(readdirSync(deep), []);
    }
  });

  test('the file inherits the group of its directory', async (t) => {
    const groups = process.getgroups?.() ?? [];
    const own = process.getegid?.();
    const other = process.getuid?.() === 0 ? 65533 : groups.find((group) => group !== own);
    if (other === undefined) {
      t.log('this user has one group only');
      return;
    }
    const where = directory(t);
    chownSync(where, process.getuid?.() ?? 0, other);
    chmodSync(where, 0o2770);
    const file = path.join(where, 'sock');
    for (const options of [{}, { mode: 0o660 }]) {
      await using server = new UnixStreamServer(echo, file, options);
      await server.bind();
      t.is(statSync(file).gid, other);
    }
  });

  test('the mode decides who may connect', async (t) => {
    const as = otherUser(t);
    if (as === null) return;
    const where = directory(t);
    chmodSync(where, 0o755);
    for (const mode of [0o600, 0o660, 0o666]) {
      const file = path.join(where, `sock-${mode.toString(8)}`);
      const server = new UnixStreamServer(echo, file, { mode, shutdownTimeout: 50 });
      t.teardown(() => server.abort());
      await server.startServing();
      const program = `
        import { connectUnix } from ${index};
        try {
          const stream = await connectUnix(${JSON.stringify(file)});
          await stream.write('ping\\n');
          console.log(String(await stream.readline()).trim());
          await stream.close();
        } catch (error) {
          console.log(error.code);
        }`;
      const child = new Process(t, process.execPath, ['--input-type=module', '-e', program], { cwd: '/', ...as });
      const { stdout, stderr } = await child.ended;
      t.is(stdout, mode === 0o666 ? 'ping\n' : 'EACCES\n', stderr);
    }
  });

  test('mode works in a worker thread, which cannot set a umask', async (t) => {
    const file = path.join(directory(t), 'sock');
    const inside = `
      import { statSync } from 'node:fs';
      import { UnixStreamServer } from ${index};
      const server = new UnixStreamServer(() => {}, ${JSON.stringify(file)}, { mode: 0o604 });
      await server.bind();
      console.log((statSync(${JSON.stringify(file)}).mode & 0o777).toString(8));
      await server.close();`;
    const program = `
      import { Worker } from 'node:worker_threads';
      new Worker(new URL('data:text/javascript,' + encodeURIComponent(${JSON.stringify(inside)})));`;
    const child = new Process(t, process.execPath, ['--input-type=module', '-e', program]);
    const { code, stdout, stderr } = await child.ended;
    t.is(stdout, '604\n', stderr);
    t.is(code, 0, stderr);
  });

  test('in a cluster worker mode is refused, and the umask of the primary decides', async (t) => {
    const file = path.join(directory(t), 'sock');
    const program = `
      import cluster from 'node:cluster';
      import { statSync } from 'node:fs';
      import { UnixStreamServer } from ${index};
      if (cluster.isPrimary) {
        process.umask(0o117);
        cluster.fork();
      } else {
        try {
          new UnixStreamServer(() => {}, ${JSON.stringify(file)}, { mode: 0o600 });
        } catch ({ name, code, message }) {
          console.log([name, code, message].join('; '));
        }
        const server = new UnixStreamServer(() => {}, ${JSON.stringify(file)});
        await server.bind();
        console.log((statSync(${JSON.stringify(file)}).mode & 0o777).toString(8));
        await server.close();
        process.disconnect();
      }`;
    const script = path.join(directory(t), 'cluster.mjs');
    writeFileSync(script, program);
    const child = new Process(t, process.execPath, [script]);
    const { code, stdout, stderr } = await child.ended;
    t.is(code, 0, stderr);
    t.deepEqual(stdout.trim().split('\n'), [
      'TypeError; ERR_INVALID_ARG_TYPE; UnixStreamServer: mode cannot be used in a worker of node:cluster: ' +
        'the primary makes the file, and its umask decides',
      '660',
    ]);
  });
}

/** A user that the mode can keep out; null with the reason logged. */
function otherUser(t: ExecutionContext): { uid: number; gid: number } | null {
  if (process.getuid?.() !== 0) {
    t.log('only the superuser can run a program as another user');
    return null;
  }
  const as = { uid: 65534, gid: 65534 };
  try {
    execFileSync(process.execPath, ['-e', `require(${JSON.stringify(path.join(root, 'package.json'))})`], {
      ...as,
      cwd: '/',
      stdio: 'ignore',
    });
  } catch {
    t.log('another user cannot run Node, or read the package, here');
    return null;
  }
  return as;
}
