/** `detach()`: the socket of a stream, given back. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import * as http from 'node:http';
import { connect as netConnect } from 'node:net';
import { duplexPair, type Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import tls from 'node:tls';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError, StateError, StreamServer, connect, connectReadPipe, streampair, type Stream } from 'sluice';
import { WebSocket, WebSocketServer } from 'ws';
import { sameBytes } from '../bytes.js';
import { certificates } from '../certificates.js';
import { deferred, gather, listen, portOf, until } from '../loopback.js';
import { KINDS, tcp } from './connected.js';

for (const { name, connected } of KINDS) {
  for (const side of ['client', 'server'] as const) {
    test(`${name}, ${side}: unread bytes come first, then what follows; writes arrive after those of the stream`, async (t) => {
      const [client, server] = await connected(t);
      const [stream, peer] = side === 'client' ? [client, server] : [server, client];
      await peer.write('line\nunread ');
      t.is((await stream.readline()).toString(), 'line\n');
      void stream.write('from the stream ');
      const socket = await stream.detach();
      t.teardown(() => socket.destroy());
      socket.on('error', () => {});
      if (name !== 'memory') t.true(stream.getExtraInfo('socket', socket) === socket);
      socket.write('from the socket');
      t.is((await peer.readexactly(31)).toString(), 'from the stream from the socket');
      const all = gather(socket);
      void peer.write('and more ');
      const large = Buffer.alloc(1_000_000, 7);
      await peer.write(large);
      if (peer.canWriteEof()) await peer.writeEof();
      else void peer.close();
      sameBytes(t, await all, Buffer.concat([Buffer.from('unread and more '), large]));
    });
  }

  test(`${name}: the stream has ended after that, with a clear error`, async (t) => {
    const [client] = await connected(t);
    const socket = await client.detach();
    t.teardown(() => socket.destroy());
    socket.on('error', () => {});
    const message = 'readline: the stream was handed over by detach()';
    await t.throwsAsync(client.readline(), { instanceOf: StateError, code: 'ERR_STREAM_HANDED_OVER', message });
    await t.throwsAsync(client.write('x'), { code: 'ERR_STREAM_HANDED_OVER' });
    await t.throwsAsync(client.detach(), { code: 'ERR_STREAM_HANDED_OVER' });
  });
}

test('close, abort and waitClosed of the stream resolve, and the socket stays open', async (t) => {
  const [client, server] = await tcp(t);
  const socket = await client.detach();
  t.teardown(() => socket.destroy());
  await client.waitClosed();
  await client.close();
  await client.abort();
  await client[Symbol.asyncDispose]();
  t.true(client.isClosing());
  t.is(client.exception(), null);
  t.false(socket.destroyed);
  socket.write('open');
  t.is((await server.readexactly(4)).toString(), 'open');
});

test('nothing of sluice is left in the socket', async (t) => {
  const server = await listen(t);
  const raw = netConnect(server.port, '127.0.0.1');
  t.teardown(() => raw.destroy());
  await once(raw, 'connect');
  const before = raw.eventNames().map((name) => [name, raw.listenerCount(name)]);
  const stream = await connect({ sock: raw });
  await stream.write('x');
  const socket = await stream.detach();
  t.is(socket, raw);
  t.deepEqual(
    socket.eventNames().map((name) => [name, socket.listenerCount(name)]),
    before,
  );
  t.false(Object.hasOwn(socket, 'destroy'));
  t.false(socket.allowHalfOpen);
  t.is(socket.readableFlowing, null);
});

test('a socket can become a stream, and be detached, any number of times', async (t) => {
  const [client, server] = await tcp(t);
  let stream = client;
  await server.write('1\n2\n3\n4\n5\n');
  for (let i = 1; i <= 5; i++) {
    t.is((await stream.readline()).toString(), `${i}\n`);
    await stream.write(`${i}\n`);
    t.is((await server.readline()).toString(), `${i}\n`);
    const socket = await stream.detach();
    stream = await connect({ sock: socket });
  }
  await stream.close();
});

test('detach waits until everything that was written is sent, and refuses writes meanwhile', async (t) => {
  const [client, server] = await tcp(t);
  const large = Buffer.alloc(20_000_000, 3);
  void client.write(large);
  const detaching = client.detach();
  await t.throwsAsync(client.write('late'), { code: 'ERR_STREAM_HANDED_OVER' });
  await t.throwsAsync(client.readline(), { code: 'ERR_STREAM_HANDED_OVER' });
  t.is((await server.readexactly(large.length)).length, large.length);
  const socket = await detaching;
  t.teardown(() => socket.destroy());
  socket.end('the end');
  t.is((await server.read(-1)).toString(), 'the end');
});

test('a signal ends the wait, and the stream is as before', async (t) => {
  const [client, server] = await tcp(t);
  void client.write(Buffer.alloc(20_000_000));
  const controller = new AbortController();
  const detaching = client.detach({ signal: controller.signal });
  await turn();
  controller.abort(new Error('enough'));
  await t.throwsAsync(detaching, { message: 'enough' });
  await server.readexactly(20_000_000);
  await client.write('still here\n');
  t.is((await server.readline()).toString(), 'still here\n');
  await server.write('both ways\n');
  t.is((await client.readline()).toString(), 'both ways\n');
});

test('it is refused while a read waits, on a closing stream, and when the connection is lost', async (t) => {
  const [client, server] = await tcp(t);
  const line = client.readline();
  await t.throwsAsync(client.detach(), { code: 'ERR_CONCURRENT_READ' });
  await server.write('line\n');
  t.is((await line).toString(), 'line\n');
  void client.close();
  await t.throwsAsync(client.detach(), { instanceOf: ConnectionError, code: 'ECONNRESET' });

  const [other] = await tcp(t);
  void other.write(Buffer.alloc(20_000_000));
  const detaching = other.detach();
  await turn();
  void other.abort();
  await t.throwsAsync(detaching, { instanceOf: ConnectionError });
});

test('if the peer has ended its side, the bytes and the end are delivered by a Duplex over the stream', async (t) => {
  const [client, server] = await tcp(t);
  await server.write('line\nlast words');
  await server.writeEof();
  t.is((await client.readline()).toString(), 'line\n');
  await until(() => client.bytesRead === 15);
  for (let i = 0; i < 5; i++) await turn();
  const duplex = await client.detach();
  duplex.on('error', () => {});
  const all = gather(duplex);
  duplex.end('answer');
  t.is((await all).toString(), 'last words');
  t.is((await server.read(-1)).toString(), 'answer');
});

test('a Duplex that was passed as sock is given back', async (t) => {
  const [near, far] = duplexPair();
  const stream = await connect({ sock: near });
  far.write('line\nrest');
  t.is((await stream.readline()).toString(), 'line\n');
  const again = await stream.detach();
  t.is(again, near);
  far.end(' and more');
  t.is((await gather(again)).toString(), 'rest and more');
});

test('a stream in memory, or with one direction, gives a Duplex over it', async (t) => {
  const [one, other] = streampair();
  const duplex = await one.detach();
  duplex.end('bytes');
  t.is((await other.read(-1)).toString(), 'bytes');
  await other.close();

  const [near, far] = duplexPair();
  const reading = await (await connectReadPipe(near)).detach();
  far.end('more');
  t.is((await gather(reading)).toString(), 'more');
});

test('over TLS it is the TLSSocket', async (t) => {
  const [client, server] = await KINDS.find(({ name }) => name === 'TLS 1.3')!.connected(t);
  await server.write('line\nrest');
  t.is((await client.readline()).toString(), 'line\n');
  const socket = await client.detach();
  t.teardown(() => socket.destroy());
  t.true(socket instanceof tls.TLSSocket);
  t.is(String((await once(socket, 'data'))[0]), 'rest');
});

test('after startTls it is the TLSSocket', async (t) => {
  const { ca, server: identity } = await certificates();
  const [client, server] = await tcp(t);
  await Promise.all([client.startTls({ ca }, { serverHostname: 'localhost' }), server.startTls(identity)]);
  const socket = await client.detach();
  t.teardown(() => socket.destroy());
  t.true(socket instanceof tls.TLSSocket);
  socket.write('secret\n');
  t.is((await server.readline()).toString(), 'secret\n');
});

test('a plain stream that was detached can be encrypted by Node', async (t) => {
  const { ca, server: identity } = await certificates();
  const [client, server] = await tcp(t);
  const socket = await client.detach();
  const secure = tls.connect({ socket, ca, servername: 'localhost' });
  t.teardown(() => secure.destroy());
  await Promise.all([once(secure, 'secureConnect'), server.startTls(identity)]);
  secure.write('secret\n');
  t.is((await server.readline()).toString(), 'secret\n');
  await server.write('answer');
  t.is(String((await once(secure, 'data'))[0]), 'answer');
});

test('pipeline() over a detached socket: back-pressure works', async (t) => {
  const [client, server] = await tcp(t);
  const socket = await client.detach();
  const payload = Buffer.alloc(5_000_000, 9);
  const hash = createHash('sha256').update(payload).digest('hex');
  const got = createHash('sha256');
  void server.write(payload);
  void server.close();
  await pipeline(socket, async (source: AsyncIterable<Buffer>) => {
    for await (const chunk of source) {
      got.update(chunk);
      await turn();
    }
  });
  t.is(got.digest('hex'), hash);
});

/** A server of sluice that detaches every connection once it has the first line. */
async function switching(
  t: ExecutionContext,
  pass: (socket: Duplex, head: string, stream: Stream) => void,
): Promise<StreamServer> {
  const server = new StreamServer(
    async (stream) => {
      const head = (await stream.readuntil('\r\n\r\n')).toString();
      pass(await stream.detach(), head, stream);
    },
    '127.0.0.1',
    0,
  );
  t.teardown(() => server.abort());
  await server.startServing();
  return server;
}

test('http.Server#emit("connection") serves a request whose first bytes were peeked at', async (t) => {
  const web = http.createServer((request, response) => {
    void request.toArray().then((chunks) => response.end(`${request.url} ${Buffer.concat(chunks as Buffer[]).length}`));
  });
  const server = new StreamServer(
    async (stream) => {
      const start = await stream.peek(4);
      if (start.toString() !== 'POST') return;
      web.emit('connection', await stream.detach());
    },
    '127.0.0.1',
    0,
  );
  t.teardown(() => server.abort());
  await server.startServing();
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  for (const size of [10, 500_000]) {
    const request = http.request({ agent, port: portOf(server), host: '127.0.0.1', method: 'POST', path: `/${size}` });
    request.end(Buffer.alloc(size));
    const [response] = (await once(request, 'response')) as [http.IncomingMessage];
    t.is(Buffer.concat((await response.toArray()) as Buffer[]).toString(), `/${size} ${size}`);
  }
});

test('ws: an upgrade that was parsed with readuntil is handed over', async (t) => {
  const sockets = new WebSocketServer({ noServer: true });
  t.teardown(() => sockets.close());
  const server = await switching(t, (socket, head) => {
    const [first = '', ...lines] = head.trimEnd().split('\r\n');
    const [method, url] = first.split(' ');
    const headers = Object.fromEntries(
      lines.map((line) => {
        const colon = line.indexOf(':');
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
      }),
    );
    const request = { method, url, headers, httpVersion: '1.1', socket } as unknown as http.IncomingMessage;
    sockets.handleUpgrade(request, socket, Buffer.alloc(0), (peer) => {
      peer.on('message', (data, binary) => peer.send(data, { binary }));
    });
  });
  const client = new WebSocket(`ws://127.0.0.1:${portOf(server)}/chat`);
  await once(client, 'open');
  for (const message of [Buffer.from('short'), Buffer.alloc(300_000, 5)]) {
    client.send(message);
    const [answer] = (await once(client, 'message')) as [Buffer];
    t.true(answer.equals(message));
  }
  client.close(1000);
  t.is(((await once(client, 'close')) as [number])[0], 1000);
});

test('the server forgets a detached connection: it does not count, close or wait for it', async (t) => {
  const detached = deferred<Duplex>();
  const server = await switching(t, (socket) => detached.resolve(socket));
  const client = await connect('127.0.0.1', portOf(server));
  t.teardown(() => client.abort());
  await client.write('hello\r\n\r\n');
  const socket = await detached.promise;
  t.teardown(() => socket.destroy());
  await until(() => inspect(server).includes('clients: 0'));
  await server.close();
  socket.write('still here\n');
  t.is((await client.readline()).toString(), 'still here\n');
});

test('the server forgets a connection that is detached after the peer has ended its side', async (t) => {
  const answered = deferred();
  const server = new StreamServer(
    async (stream) => {
      await stream.peek(4);
      await until(() => inspect(stream).includes('eof'));
      const duplex = await stream.detach();
      void turn().then(async () => {
        for (let i = 0; i < 10; i++) await turn();
        duplex.end('answer');
        answered.resolve();
      });
    },
    '127.0.0.1',
    0,
  );
  t.teardown(() => server.abort());
  await server.startServing();
  const client = await connect('127.0.0.1', portOf(server));
  await client.write('question');
  await client.writeEof();
  await until(() => inspect(server).includes('clients: 0') && client.bytesWritten === 8);
  t.is((await client.read(-1)).toString(), 'answer');
  await answered.promise;
});

test('timeouts of a detached connection have ended', async (t) => {
  const [client, server] = await tcp(t);
  client.setTimeouts({ idleTimeout: 5 });
  const socket = await client.detach();
  t.teardown(() => socket.destroy());
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.false(socket.destroyed);
  socket.write('open');
  t.is((await server.readexactly(4)).toString(), 'open');
});

test('a detached socket is not aborted when the stream is collected', async (t) => {
  const { gc } = await import('../gc.js');
  const [client, server] = await tcp(t);
  let stream: Stream | null = client;
  const reference = new WeakRef(stream);
  const socket = await stream.detach();
  t.teardown(() => socket.destroy());
  stream = null;
  for (let i = 0; i < 3; i++) {
    gc();
    await turn();
  }
  t.truthy(reference);
  t.false(socket.destroyed);
  socket.write('open');
  t.is((await server.readexactly(4)).toString(), 'open');
});
