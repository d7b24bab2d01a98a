// Runs once for each way of reading: the engine makes no difference to streams.
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import net from 'node:net';
import tls from 'node:tls';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError, StateError, StreamMode, connectUnix, socketpair } from 'sluice';
import { SocketTransport } from '#ts/transports/socket.js';
import { certificates } from '../certificates.js';
import { UNIX_HALF_CLOSE, directory, openFds, unixPath } from '../fifo.js';
import { gather, quiet, until } from '../loopback.js';
import { transportContract, type PairMaker } from '../transport-contract.js';

/** A plain server; `accepted` has its sockets. */
async function listening(
  t: Pick<ExecutionContext, 'teardown'>,
  path: string,
): Promise<{ server: net.Server; accepted: net.Socket[] }> {
  const accepted: net.Socket[] = [];
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
    accepted.push(quiet(socket));
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of accepted) socket.destroy();
  });
  return { server, accepted };
}

const unix: PairMaker = {
  name: 'a Unix socket from connectUnix',
  connected: true,
  halfClose: UNIX_HALF_CLOSE,
  make: async () => {
    const teardowns: (() => unknown)[] = [];
    const t = { teardown: (f: () => unknown) => void teardowns.unshift(f) } as Pick<ExecutionContext, 'teardown'>;
    const path = unixPath(t);
    const { server, accepted } = await listening(t, path);
    const connection = once(server, 'connection');
    const a = await SocketTransport.connect({ path });
    await connection;
    const b = SocketTransport.accepted(accepted.pop() as net.Socket, { path });
    return {
      a,
      b,
      dispose: () => {
        for (const teardown of teardowns) teardown();
      },
    };
  },
};

transportContract(test, [unix]);

async function exchange(t: ExecutionContext, path: string, target: string | URL = path): Promise<void> {
  const { accepted } = await listening(t, path);
  const stream = await connectUnix(target, { limit: 99 });
  t.is(stream.limit, 99);
  t.is(stream.mode, StreamMode.READWRITE);
  t.is(stream.getExtraInfo('peername'), path);
  await stream.write('to you\n');
  t.is(stream.canWriteEof(), UNIX_HALF_CLOSE);
  if (UNIX_HALF_CLOSE) await stream.writeEof();
  else await t.throwsAsync(stream.writeEof(), { instanceOf: StateError, code: 'ERR_WRITE_EOF_UNSUPPORTED' });
  await until(() => accepted.length === 1);
  const [peer] = accepted as [net.Socket];
  const got = gather(peer);
  peer.end('and back\n');
  t.is(String(await stream.readline()), 'and back\n');
  if (UNIX_HALF_CLOSE) t.is(String(await got), 'to you\n');
  t.is((await stream.read()).length, 0);
  await stream.close();
  t.is(String(await got), 'to you\n');
}

test('connectUnix to a path: bytes in both directions, then EOF', async (t) => {
  await exchange(t, unixPath(t));
});

test('connectUnix accepts a file: URL', async (t) => {
  const path = unixPath(t, 'a socket');
  await exchange(t, path, pathToFileURL(path));
});

// eslint-disable-next-line no-restricted-syntax -- only Linux has abstract names
(process.platform === 'linux' ? test : test.skip)('connectUnix accepts an abstract name', async (t) => {
  await exchange(t, `\0sluice-test-${process.pid}-${Date.now()}`);
});

test('the longest path works; one more byte is refused with both numbers', async (t) => {
  const dir = directory(t);
  const most = process.platform === 'linux' ? 107 : 103;
  await exchange(t, join(dir, 'x'.repeat(most - dir.length - 1)));
  // Counted in bytes, not in characters.
  const long = join(dir, `${'x'.repeat(most - dir.length - 2)}ü`);
  await t.throwsAsync(connectUnix(long), {
    instanceOf: RangeError,
    code: 'ERR_OUT_OF_RANGE',
    message: `connectUnix: path must be at most ${most} bytes long, not ${most + 1}: ${long}`,
  });
});

// Serial: it counts the fds of the process.
test.serial('no such file, no listener, or a file that is not a socket: one error that names the path', async (t) => {
  const dir = directory(t);
  const before = openFds();
  const missing = join(dir, 'missing');
  await t.throwsAsync(connectUnix(missing), {
    instanceOf: ConnectionError,
    code: 'ENOENT',
    message: `connect ${missing}: no such file or directory`,
  });
  const stale = join(dir, 'file');
  closeSync(openSync(stale, 'w'));
  await t.throwsAsync(connectUnix(stale), {
    instanceOf: ConnectionError,
    code: 'ECONNREFUSED',
    message: `connect ${stale}: connection refused`,
  });
  await t.throwsAsync(connectUnix('\0sluice-nobody'), {
    code: 'ECONNREFUSED',
    message: 'connect @sluice-nobody: connection refused',
  });
  await until(() => openFds() === before);
});

test('invalid arguments are refused', async (t) => {
  const wrong = connectUnix as (...values: unknown[]) => Promise<unknown>;
  for (const value of [undefined, null, 5, ['x'], {}, Buffer.from('/tmp/x')]) {
    await t.throwsAsync(wrong(value), {
      ...{ instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' },
      message: /^connectUnix: path must be a string or a file: URL, not /,
    });
  }
  await t.throwsAsync(wrong({ path: '/x' }), {
    ...{ instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' },
    message: 'connectUnix: path was given without sock; use connectUnix(path, options)',
  });
  await t.throwsAsync(wrong({ sock: 'x' }), { instanceOf: TypeError, message: /^connectUnix: sock must be / });
  await t.throwsAsync(wrong({ sock: 987_654 }), { code: 'EBADF', message: /^connectUnix: fd 987654: / });
  await t.throwsAsync(wrong({ sock: new net.Socket(), limit: 0 }), { message: /^connectUnix: limit must be / });
  for (const value of ['', '\0', '/tmp/a\0b']) {
    await t.throwsAsync(wrong(value), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
  }
  await t.throwsAsync(wrong('/x', { limit: 0 }), { instanceOf: RangeError });
  await t.throwsAsync(wrong('/x', { signal: 1 }), { instanceOf: TypeError });
  await t.throwsAsync(wrong('/x', 5), { instanceOf: TypeError });
  await t.throwsAsync(wrong('/x', { sock: new net.Socket() }), { message: /sock cannot be combined with path/ });
  await t.throwsAsync(wrong({ path: '/x', sock: new net.Socket() }), { message: /sock cannot be combined with path/ });
});

// Serial: it counts the fds of the process.
test.serial('a signal rejects before and while connecting, and has no effect afterwards', async (t) => {
  const path = unixPath(t);
  const { server } = await listening(t, path);
  // A named pipe of Windows is closed when the peer has read everything.
  server.on('connection', (socket) => socket.resume());
  const before = openFds();
  const reason = new Error('enough');
  await t.throwsAsync(connectUnix(path, { signal: AbortSignal.abort(reason) }), { is: reason });
  const controller = new AbortController();
  const connecting = connectUnix(path, { signal: controller.signal });
  controller.abort(reason);
  await t.throwsAsync(connecting, { is: reason });
  const late = new AbortController();
  const stream = await connectUnix(path, { signal: late.signal });
  late.abort(reason);
  await stream.write('still here');
  await stream.close();
  // The server still has its end of each connection that was made.
  await until(() => (openFds() ?? 0) - (before ?? 0) <= 2);
});

test('sock: a connected Unix socket is accepted, a TCP socket is refused', async (t) => {
  const path = unixPath(t);
  const { accepted, server } = await listening(t, path);
  const connection = once(server, 'connection');
  const socket = net.connect({ path });
  await Promise.all([once(socket, 'connect'), connection]);
  const stream = await connectUnix({ sock: socket, limit: 7 });
  t.is(stream.limit, 7);
  (accepted[0] as net.Socket).write('hi\n');
  t.is(String(await stream.readline()), 'hi\n');
  await stream.close();

  const [left, right] = await socketpair();
  await t.throwsAsync(connectUnix({ sock: left }), {
    instanceOf: TypeError,
    code: 'ERR_INVALID_ARG_TYPE',
    message: 'connectUnix: sock must be a Unix socket, not a TCP socket',
  });
  t.false(left.destroyed);
  left.destroy();
  right.destroy();
});

test('ssl: TLS over a Unix socket checks the name in the certificate', async (t) => {
  const { ca, server: identity } = await certificates();
  const path = unixPath(t);
  const server = tls.createServer(identity, (socket) => {
    quiet(socket).once('data', (data) => socket.end(`heard ${String(data)}`));
  });
  server.on('tlsClientError', () => {});
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const stream = await connectUnix(path, { ssl: { ca }, serverHostname: 'localhost', limit: 50 });
  t.is(stream.limit, 50);
  t.truthy(stream.getExtraInfo('cipher'));
  await stream.write('secret');
  t.is(String(await stream.read()), 'heard secret');
  await stream.close();

  await t.throwsAsync(connectUnix(path, { ssl: { ca }, serverHostname: 'elsewhere.example' }), {
    instanceOf: ConnectionError,
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
  await t.throwsAsync(connectUnix(path, { ssl: { ca } }), {
    instanceOf: TypeError,
    message: /^connectUnix: serverHostname is required when ssl is used without a host/,
  });
  await t.throwsAsync(connectUnix(path, { serverHostname: 'localhost' }), {
    instanceOf: TypeError,
    message: /^connectUnix: serverHostname can only be used together with ssl/,
  });
});
