/** The end of a TLS connection: `close` waits for the peer's close_notify, at most for `sslShutdownTimeout`. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import tls, { type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { StreamServer, connect, type ClientHandler, type Stream } from 'sluice';
import { certificates } from '../certificates.js';
import { deferred, portOf } from '../loopback.js';

/** Longer than close waits without TLS. */
const LONG_MS = 1200;

/** A stream to a Node TLS server that keeps its side open, and the socket of that server. */
async function pair(t: ExecutionContext, sslShutdownTimeout?: number): Promise<[Stream, TLSSocket]> {
  const { server: identity, ca } = await certificates();
  const server = tls.createServer({ ...identity, allowHalfOpen: true } as tls.TlsOptions).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const accepted = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const stream = await connect('127.0.0.1', (server.address() as AddressInfo).port, {
    ssl: { ca },
    sslShutdownTimeout,
  });
  t.teardown(() => stream.abort());
  const [socket] = await accepted;
  socket.on('error', () => {});
  t.teardown(() => socket.destroy());
  return [stream, socket];
}

/** A Node client that reads nothing, not even EOF. */
async function silentClient(t: ExecutionContext, server: StreamServer, ca: string): Promise<TLSSocket> {
  const client = tls.connect({
    host: '127.0.0.1',
    port: portOf(server),
    ca,
    allowHalfOpen: true,
  } as tls.ConnectionOptions);
  client.on('error', () => {});
  t.teardown(() => client.destroy());
  await once(client, 'secureConnect');
  return client;
}

const readLine: ClientHandler = async (stream) => {
  await stream.readline();
};

test('close waits for the end of the peer, and drops the data that arrives until then', async (t) => {
  const [stream, socket] = await pair(t, 30_000);
  socket.resume();
  let closed = false;
  const closing = stream.close().then(() => {
    closed = true;
  });
  await once(socket, 'end');
  socket.write('too late\n');
  await delay(LONG_MS);
  t.false(closed);
  t.false(socket.destroyed);
  socket.end('the last word\n');
  await closing;
  t.is((await stream.read()).length, 0);
});

test('close after the end of the peer does not wait', async (t) => {
  const [stream, socket] = await pair(t);
  socket.end('all\n');
  t.is(String(await stream.read()), 'all\n');
  const ended = once(socket.resume(), 'end');
  await stream.close();
  await ended;
  t.true(stream.isClosing());
});

test('close waits at most sslShutdownTimeout for a peer that keeps its side open', async (t) => {
  const [stream, socket] = await pair(t, 50);
  socket.setEncoding('latin1');
  let received = '';
  socket.on('data', (chunk: string) => (received += chunk));
  const ended = once(socket, 'end');
  await stream.write('before\n');
  await t.notThrowsAsync(stream.close());
  await ended;
  t.is(received, 'before\n');
  t.false(socket.writableEnded, 'it has not said that it is done');
});

test('abort ends a close that waits for the peer', async (t) => {
  const [stream, socket] = await pair(t, 30_000);
  const ended = once(socket.resume(), 'end');
  const closing = stream.close();
  await ended;
  void stream.abort();
  await closing;
  t.true(stream.isClosing());
});

test('close of a server waits at most shutdownTimeout for its clients', async (t) => {
  const { server: identity, ca } = await certificates();
  const reported: unknown[] = [];
  const handling = deferred();
  const handler: ClientHandler = (stream, context) => {
    handling.resolve();
    return readLine(stream, context);
  };
  const server = new StreamServer(handler, '127.0.0.1', 0, {
    ssl: identity,
    shutdownTimeout: 50,
    onError: (error) => void reported.push(error),
  });
  t.teardown(() => server.abort());
  await server.startServing();
  const client = await silentClient(t, server, ca);
  // The client finishes the handshake before the server does.
  await handling.promise;
  const ended = once(client, 'end');
  await server.close();
  t.deepEqual(reported, []);
  client.resume();
  await ended;
  t.false(client.writableEnded, 'it has not said that it is done');
});

test('sslShutdownTimeout of a server bounds the close of its streams', async (t) => {
  const { server: identity, ca } = await certificates();
  const closed = deferred<string>();
  const server = new StreamServer(
    async (stream) => {
      await stream.write('bye\n');
      await stream.close();
      closed.resolve('closed');
    },
    '127.0.0.1',
    0,
    { ssl: identity, sslShutdownTimeout: 50 },
  );
  t.teardown(() => server.abort());
  await server.startServing();
  const client = await silentClient(t, server, ca);
  t.is(await closed.promise, 'closed');
  client.destroy();
});

test('startTls accepts sslShutdownTimeout, too', async (t) => {
  const { server: identity, ca } = await certificates();
  const server = new StreamServer(readLine, '127.0.0.1', 0);
  t.teardown(() => server.abort());
  await server.startServing();
  const done = deferred();
  const upgraded = new StreamServer(
    async (stream) => {
      await stream.startTls(identity);
      await stream.read();
      // Keeps its own side open until the client is gone.
      await done.promise;
    },
    '127.0.0.1',
    0,
  );
  t.teardown(() => upgraded.abort());
  await upgraded.startServing();
  const stream = await connect('127.0.0.1', portOf(upgraded));
  await stream.startTls({ ca }, { serverHostname: '127.0.0.1', sslShutdownTimeout: 20 });
  await t.throwsAsync(connect('127.0.0.1', portOf(server), { sslShutdownTimeout: 20 }), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /sslShutdownTimeout can only be used together with ssl/,
  });
  await t.notThrowsAsync(stream.close());
  done.resolve();
});

test('an invalid sslShutdownTimeout is refused', async (t) => {
  const { server: identity } = await certificates();
  for (const [ms, code] of [
    [0, 'ERR_OUT_OF_RANGE'],
    [-1, 'ERR_OUT_OF_RANGE'],
    [NaN, 'ERR_OUT_OF_RANGE'],
    ['5' as never, 'ERR_INVALID_ARG_TYPE'],
  ] as const) {
    const expected = { code, message: /sslShutdownTimeout must be a number of milliseconds/ };
    await t.throwsAsync(connect('127.0.0.1', 9, { ssl: true, sslShutdownTimeout: ms }), expected);
    t.throws(() => new StreamServer(() => {}, '127.0.0.1', 0, { ssl: identity, sslShutdownTimeout: ms }), expected);
  }
});
