/** Cases from asyncio's own tests of Unix servers: the file of the socket. */
// Runs once: it is about the file of the socket.
import { stat, unlink, writeFile } from 'node:fs/promises';
import { once } from 'node:events';
import { createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { connectUnix, UnixStreamServer } from 'sluice';
import { certificates } from './certificates.js';
import { unixPath } from './fifo.js';
import { echo } from './loopback.js';
import { Process } from './program.js';

function name(t: ExecutionContext): string {
  return unixPath(t);
}

function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

async function serves(t: ExecutionContext, file: string): Promise<void> {
  await using stream = await connectUnix(file);
  await stream.write('line\n');
  t.is((await stream.readline()).toString(), 'line\n');
}

test('a Unix server serves, and removes its file when it is closed', async (t) => {
  const file = name(t);
  const server = new UnixStreamServer(echo, file);
  t.false(server.isServing());
  await server.startServing();
  t.true(server.isServing());
  await serves(t, file);
  await server.close();
  t.false(await exists(file));
  t.false(server.isServing());
  t.deepEqual([...server.sockets], []);
  await t.throwsAsync(server.serveForever(), { code: 'ERR_SERVER_STATE' });
});

test('a Unix server whose file was removed can be closed', async (t) => {
  const file = name(t);
  const server = new UnixStreamServer(echo, file);
  await server.startServing();
  await unlink(file);
  await server.close();
  t.false(await exists(file));
});

test('a Unix server leaves a file that has replaced its own', async (t) => {
  const file = name(t);
  const server = new UnixStreamServer(echo, file);
  t.teardown(() => server.abort());
  await server.startServing();
  await unlink(file);
  const other = new UnixStreamServer(echo, file);
  t.teardown(() => other.abort());
  await other.startServing();
  await server.close();
  t.true(await exists(file));
  await serves(t, file);
});

test('a stale socket file is replaced; a live one, or a file that is not a socket, is not', async (t) => {
  const file = name(t);
  // It was killed, so its file stays.
  const script = `require('node:net').createServer().listen(process.argv[1], () => console.log('there'))`;
  const killed = new Process(t, process.execPath, ['-e', script, file]);
  await killed.prints(/there/);
  killed.kill('SIGKILL');
  await killed.ended;
  t.true(await exists(file));
  const server = new UnixStreamServer(echo, file);
  t.teardown(() => server.abort());
  await server.startServing();
  await serves(t, file);

  await t.throwsAsync(new UnixStreamServer(echo, file).bind(), { code: 'EADDRINUSE' });
  await serves(t, file);

  const regular = name(t);
  await writeFile(regular, 'not a socket');
  await t.throwsAsync(new UnixStreamServer(echo, regular).bind(), { code: 'EADDRINUSE' });
  t.true(await exists(regular));
});

test('a Unix server can use a listening net.Server', async (t) => {
  const file = name(t);
  const sock = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  sock.listen(file);
  await once(sock, 'listening');
  const server = new UnixStreamServer(echo, undefined, { sock });
  t.teardown(() => server.abort());
  await server.startServing();
  await serves(t, file);
  await server.close();
  t.false(await exists(file));
});

test('a Unix server requires either a path or sock', (t) => {
  t.throws(() => new UnixStreamServer(echo), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => new UnixStreamServer(echo, '/tmp/x', { sock: createServer() }), { code: 'ERR_INVALID_ARG_TYPE' });
});

test('a Unix server refuses a TCP socket', async (t) => {
  const sock = createServer();
  t.teardown(() => void sock.close());
  sock.listen(0, '127.0.0.1');
  await once(sock, 'listening');
  await t.throwsAsync(async () => new UnixStreamServer(echo, undefined, { sock }).bind(), {
    code: 'ERR_INVALID_ARG_TYPE',
  });
});

test('a Unix server supports TLS', async (t) => {
  const file = name(t);
  const { ca, server: ssl } = await certificates();
  const server = new UnixStreamServer(echo, file, { ssl });
  t.teardown(() => server.abort());
  await server.startServing();
  await using stream = await connectUnix(file, { ssl: { ca }, serverHostname: 'localhost' });
  await stream.write('line\n');
  t.is((await stream.readline()).toString(), 'line\n');
  t.truthy(stream.getExtraInfo('cipher'));
});
