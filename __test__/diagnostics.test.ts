/** What subscribers of the diagnostics channels receive. */
// Runs once for each way of reading: it depends on sockets, not on the engine.
import { AsyncLocalStorage } from 'node:async_hooks';
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { BlockList, createServer, type AddressInfo, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StreamReader,
  StreamServer,
  connect,
  connectUnix,
  streampair,
  type ClientHandler,
  type ConnectMessage,
  type HandlerMessage,
  type HandshakeMessage,
  type LimitMessage,
  type ServerDropMessage,
  type Stream,
  type TimeoutMessage,
  type UnixStreamServer,
} from 'sluice';
import { certificates } from './certificates.js';
import { closedByPeer, echo, listen, sparePort, until } from './loopback.js';
import { KINDS, serve, type Kind } from './server/servers.js';

/** Subscribes to a channel until the test is over. */
function listenTo(t: ExecutionContext, name: string, listener: (message: unknown) => void): void {
  subscribe(name, listener);
  t.teardown(() => unsubscribe(name, listener));
}

/** The messages of a channel. */
function messages<M>(t: ExecutionContext, name: string): M[] {
  const list: M[] = [];
  listenTo(t, name, (message) => list.push(message as M));
  return list;
}

const EVENTS = ['start', 'end', 'asyncStart', 'asyncEnd', 'error'];

interface Event<M> {
  readonly event: string;
  readonly message: M;
}

/** The events of a tracing channel, each with its message. */
function events<M>(t: ExecutionContext, name: string): Event<M>[] {
  const list: Event<M>[] = [];
  for (const event of EVENTS) {
    listenTo(t, `tracing:${name}:${event}`, (message) => list.push({ event, message: message as M }));
  }
  return list;
}

function namesOf(list: readonly { event: string }[]): string[] {
  return list.map(({ event }) => event);
}

function port(server: StreamServer | UnixStreamServer): number {
  return (server.sockets[0]!.address() as AddressInfo).port;
}

const SUCCEEDED = ['start', 'end', 'asyncStart', 'asyncEnd'];
const FAILED = ['start', 'end', 'error', 'asyncStart', 'asyncEnd'];

/** Connects with sluice to a server of any kind. */
async function dial(
  t: ExecutionContext,
  kind: Kind,
  server: StreamServer | UnixStreamServer,
  options: { limit?: number } = {},
): Promise<Stream> {
  const { ca } = await certificates();
  let stream: Stream;
  if (kind === 'Unix') stream = await connectUnix(server.sockets[0]!.address() as string, options);
  else stream = await connect('localhost', port(server), kind === 'TLS' ? { ...options, ssl: { ca } } : options);
  t.teardown(() => stream.abort());
  return stream;
}

for (const kind of KINDS) {
  test.serial(`${kind}: connect, handshake and handler are traced from start to settlement`, async (t) => {
    const connects = events<ConnectMessage>(t, 'sluice:connect');
    const handshakes = events<HandshakeMessage>(t, 'sluice:handshake');
    const handlers = events<HandlerMessage>(t, 'sluice:handler');
    const { server } = await serve(t, kind, echo);
    const stream = await dial(t, kind, server);
    await stream.write('hello\n');
    t.is((await stream.readline()).toString(), 'hello\n');

    t.deepEqual(namesOf(connects), SUCCEEDED);
    const { message } = connects[0]!;
    t.true(connects.every((each) => each.message === message));
    t.is(message.result, stream);
    t.is(message.networkTransport, kind === 'Unix' ? 'unix' : 'tcp');
    t.is(message.tls, kind === 'TLS');
    if (kind === 'Unix') {
      t.is(message.action, 'connectUnix');
      t.is(message.serverAddress, server.sockets[0]!.address() as string);
    } else {
      t.is(message.action, 'connect');
      t.is(message.serverAddress, 'localhost');
      t.is(message.serverPort, port(server));
      t.is(message.peerAddress, '127.0.0.1');
      t.is(message.peerPort, message.serverPort);
    }

    t.deepEqual(namesOf(handlers), ['start', 'end']);
    const { stream: served, ...handler } = handlers[0]!.message;
    t.true(served.isServerSide());
    if (kind !== 'Unix') {
      t.is(handler.serverPort, port(server));
      t.is(handler.peerPort, message.localPort);
    }
    await stream.close();
    await until(() => handlers.length === 4);
    t.deepEqual(namesOf(handlers), SUCCEEDED);

    const sides = handshakes.filter(({ event }) => event === 'asyncEnd').map((each) => each.message);
    t.deepEqual(sides.map(({ side }) => side).sort(), kind === 'TLS' ? ['client', 'server'] : []);
    for (const each of sides) {
      t.is(each.tlsProtocolVersion, 'TLSv1.3');
      t.is(each.tlsServerName, 'localhost');
      t.is(each.networkTransport, 'tcp');
    }
  });

  test.serial(
    `${kind}: a store that is bound to sluice:handler is seen in the handler after every await`,
    async (t) => {
      const storage = new AsyncLocalStorage<object>();
      const start = channel('tracing:sluice:handler:start');
      start.bindStore(storage, (message) => message);
      t.teardown(() => start.unbindStore(storage));
      const seen: unknown[] = [];
      const streams: Stream[] = [];
      const { server } = await serve(t, kind, async (stream) => {
        streams.push(stream);
        seen.push(storage.getStore());
        await stream.readline();
        seen.push(storage.getStore());
        await stream.write('done\n');
        seen.push(storage.getStore());
      });
      const client = await dial(t, kind, server);
      await client.write('hello\n');
      await client.read();
      t.is(seen.length, 3);
      t.true(seen.every((store) => (store as HandlerMessage).stream === streams[0]));
    },
  );

  test.serial(`${kind}: a handler that fails is reported with its error`, async (t) => {
    const handlers = events<HandlerMessage>(t, 'sluice:handler');
    const failure = new TypeError('out of luck');
    const { server } = await serve(t, kind, () => Promise.reject(failure), { onError() {} });
    const client = await dial(t, kind, server);
    await client.read().catch(() => {});
    await until(() => handlers.length === 5);
    t.deepEqual(namesOf(handlers), FAILED);
    t.is(handlers[0]!.message.error, failure);
    t.is(handlers[0]!.message.errorType, 'TypeError');
  });

  test.serial(`${kind}: a refused connection is reported with the option that refused it`, async (t) => {
    const drops = messages<ServerDropMessage>(t, 'sluice:server.drop');
    const { server, dial: dialNode, dialPlain } = await serve(t, kind, echo, { maxConnections: 1, onError() {} });
    const first = await dialNode();
    const second = await dialPlain();
    await closedByPeer(second);
    await until(() => drops.length === 1);
    const { action, reason, networkTransport } = drops[0]!;
    t.is(action, kind === 'Unix' ? 'UnixStreamServer' : 'StreamServer');
    t.is(reason, 'maxConnections');
    t.is(networkTransport, kind === 'Unix' ? 'unix' : 'tcp');
    first.destroy();
    await server.abort();
  });

  test.serial(`${kind}: a write that exceeds the max is reported with the numbers`, async (t) => {
    const limits = messages<LimitMessage>(t, 'sluice:limit');
    const { server } = await serve(t, kind, echo);
    const client = await dial(t, kind, server);
    client.setWriteBufferLimits({ max: 1000 });
    const error = await t.throwsAsync(client.write(Buffer.alloc(1001)), { code: 'ERR_WRITE_OVERFLOW' });
    const [message] = limits;
    t.is(limits.length, 1);
    t.like(message, { action: 'write', limit: 1000, size: 1001, errorType: 'ERR_WRITE_OVERFLOW' });
    t.is(message!.error, error);
    t.is(message!.networkTransport, kind === 'Unix' ? 'unix' : 'tcp');
  });

  test.serial(`${kind}: timeouts of connections and of calls are reported`, async (t) => {
    const timeouts = messages<TimeoutMessage>(t, 'sluice:timeout');
    const { server } = await serve(t, kind, async (stream) => {
      await stream.read();
    });
    const client = await dial(t, kind, server);
    await t.throwsAsync(client.readline({ timeout: 10 }), { code: 'ERR_TIMEOUT' });
    t.like(timeouts[0], { option: 'timeout', action: 'readline', timeout: 10, errorType: 'ERR_TIMEOUT' });
    client.setTimeouts({ idleTimeout: 20 });
    await t.throwsAsync(client.readline(), { code: 'ERR_IDLE_TIMEOUT' });
    t.is(timeouts.length, 2);
    t.like(timeouts[1], { option: 'idleTimeout', timeout: 20, errorType: 'ERR_IDLE_TIMEOUT' });
    t.is(timeouts[1]!.networkTransport, kind === 'Unix' ? 'unix' : 'tcp');
  });
}

for (const kind of KINDS) {
  test.serial(
    `${kind}: a line and a frame over the limit are reported with the numbers, once for each rejection`,
    async (t) => {
      const limits = messages<LimitMessage>(t, 'sluice:limit');
      const { server } = await serve(t, kind, async (stream) => {
        await stream.write(`${'x'.repeat(20)}\nok\n`);
        await stream.writeframe('y'.repeat(30), { length: 'uint8' });
        await stream.read();
      });
      const client = await dial(t, kind, server, { limit: 10 });
      const overlong = await t.throwsAsync(client.readline(), { code: 'ERR_LIMIT_OVERRUN' });
      t.is((await client.readline()).toString(), 'ok\n');
      t.is(limits.length, 1);
      t.like(limits[0], { action: 'readline', limit: 10, size: 20, errorType: 'ERR_LIMIT_OVERRUN' });
      t.is(limits[0]!.error, overlong);
      t.is(limits[0]!.networkTransport, kind === 'Unix' ? 'unix' : 'tcp');

      await client.peek(31);
      await t.throwsAsync(client.readframe({ length: 'uint8' }), { code: 'ERR_LIMIT_OVERRUN' });
      t.throws(() => client.tryReadframe({ length: 'uint8' }), { code: 'ERR_LIMIT_OVERRUN' });
      t.is(limits.length, 3);
      t.like(limits[1], { action: 'readframe', limit: 10, size: 31 });
      t.like(limits[2], { action: 'tryReadframe', limit: 10, size: 31 });
    },
  );
}

test.serial('a limit of a reader without a connection is reported without addresses', async (t) => {
  const limits = messages<LimitMessage>(t, 'sluice:limit');
  const reader = new StreamReader({ limit: 4 });
  reader.feedData('too long');
  await t.throwsAsync(reader.readuntil(), { code: 'ERR_LIMIT_OVERRUN' });
  const waiting = t.throwsAsync(reader.readframe({ frameLength: () => 100 }), { code: 'ERR_LIMIT_OVERRUN' });
  await waiting;
  t.deepEqual(
    limits.map(({ action, limit, size, peerAddress }) => ({ action, limit, size, peerAddress })),
    [
      { action: 'readuntil', limit: 4, size: 8, peerAddress: undefined },
      { action: 'readframe', limit: 4, size: 100, peerAddress: undefined },
    ],
  );
});

test.serial('startTls is traced as a handshake on both sides', async (t) => {
  const handshakes = events<HandshakeMessage>(t, 'sluice:handshake');
  const { ca, server: identity } = await certificates();
  const { server } = await serve(t, 'TCP', (stream) => stream.startTls(identity));
  const client = await dial(t, 'TCP', server);
  await client.startTls({ ca });
  await until(() => handshakes.length === 8);
  const ends = handshakes.filter(({ event }) => event === 'asyncEnd').map(({ message }) => message);
  t.deepEqual(ends.map(({ action, side }) => `${action} ${side}`).sort(), ['startTls client', 'startTls server']);
});

test.serial('a failed connect and a failed handshake are reported with the error that the caller gets', async (t) => {
  const connects = events<ConnectMessage>(t, 'sluice:connect');
  const handshakes = events<HandshakeMessage>(t, 'sluice:handshake');
  const spare = await sparePort(t);
  const refused = await t.throwsAsync(connect('127.0.0.1', spare), { code: 'ECONNREFUSED' });
  t.deepEqual(namesOf(connects), FAILED);
  t.is(connects[0]!.message.error, refused);
  t.is(connects[0]!.message.errorType, 'ECONNREFUSED');

  const { port: closing } = await listen(t, (socket) => socket.destroy());
  const broken = await t.throwsAsync(connect('127.0.0.1', closing, { ssl: true }));
  t.deepEqual(namesOf(handshakes), FAILED);
  t.is(handshakes[0]!.message.error, broken);
});

test.serial('connect over a Duplex is traced without addresses', async (t) => {
  const connects = events<ConnectMessage>(t, 'sluice:connect');
  const stream = await connect({ sock: new Duplex({ read() {}, write() {} }) });
  await stream.abort();
  t.deepEqual(namesOf(connects), SUCCEEDED);
  t.is(connects[0]!.message.result, stream);
  t.is(connects[0]!.message.networkTransport, undefined);
});

test.serial('an address in the blockList is reported with its port', async (t) => {
  const drops = messages<ServerDropMessage>(t, 'sluice:server.drop');
  const blockList = new BlockList();
  blockList.addAddress('127.0.0.1');
  const { dialPlain } = await serve(t, 'TCP', echo, { blockList, onError() {} } as object);
  const socket = await dialPlain();
  const { localPort } = socket;
  await closedByPeer(socket);
  t.like(drops[0], { reason: 'blockList', peerAddress: '127.0.0.1', peerPort: localPort!, networkType: 'ipv4' });
});

test.serial('each option that refuses connections is the reason of its refusals', async (t) => {
  const drops = messages<ServerDropMessage>(t, 'sluice:server.drop');
  const failure = new RangeError('out of luck');
  let decide: () => boolean = () => true;
  const accept = (): boolean => decide();
  const { dialPlain } = await serve(t, 'TCP', echo, { accept, maxConnectionsPerAddress: 1, onError() {} } as object);
  const first = await dialPlain();
  first.write('hello\n');
  await once(first, 'data');
  await closedByPeer(await dialPlain());
  t.like(drops[0], { reason: 'maxConnectionsPerAddress', peerAddress: '127.0.0.1' });
  first.destroy();
  decide = () => false;
  while (drops.at(-1)!.reason !== 'accept') await closedByPeer(await dialPlain());
  t.is(drops.at(-1)!.error, undefined);
  decide = () => {
    throw failure;
  };
  await closedByPeer(await dialPlain());
  t.like(drops.at(-1), { reason: 'failed', error: failure, errorType: 'RangeError' });
});

test.serial('a connection that the net.Server of sock refuses is reported without a peer', async (t) => {
  const drops = messages<ServerDropMessage>(t, 'sluice:server.drop');
  const sock = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(sock, 'listening');
  sock.maxConnections = 1;
  const server = new StreamServer(echo, null, 0, { sock, onError() {} });
  t.teardown(() => server.abort());
  await server.startServing();
  const first = await connect('127.0.0.1', port(server));
  t.teardown(() => first.abort());
  await first.write('hello\n');
  await first.readline();
  const second = await connect('127.0.0.1', port(server));
  await second.read().catch(() => {});
  await second.abort();
  await until(() => drops.length > 0);
  t.deepEqual(drops, [{ action: 'StreamServer', reason: 'sock' }]);
  t.is(server.stats().dropped.sock, 1);
});

for (const [header, code] of [
  ['GET / HTTP/1.1\r\n\r\n', 'ERR_PROXY_HEADER'],
  ['PROXY TCP4 nonsense\r\n', 'ERR_PROXY_HEADER'],
] as const) {
  test.serial(`a connection without a valid PROXY header is reported with the error: ${header.trim()}`, async (t) => {
    const drops = messages<ServerDropMessage>(t, 'sluice:server.drop');
    const trusted = new BlockList();
    trusted.addAddress('127.0.0.1');
    const { dialPlain } = await serve(t, 'TCP', echo, { proxyProtocol: { trusted }, onError() {} } as object);
    const socket = await dialPlain();
    socket.write(header);
    await closedByPeer(socket);
    await until(() => drops.length > 0);
    t.is(drops.length, 1);
    t.like(drops[0], { reason: 'proxyProtocol', errorType: code, peerAddress: '127.0.0.1' });
  });
}

test.serial('a connection from an untrusted proxy is reported with the error', async (t) => {
  const drops = messages<ServerDropMessage>(t, 'sluice:server.drop');
  const { dialPlain } = await serve(t, 'TCP', echo, {
    proxyProtocol: { trusted: new BlockList() },
    onError() {},
  } as object);
  await closedByPeer(await dialPlain());
  await until(() => drops.length > 0);
  t.like(drops[0], { reason: 'proxyProtocol', peerAddress: '127.0.0.1' });
  t.true(drops[0]!.error instanceof ConnectionError);
});

const SLOW: readonly {
  option: string;
  timeout: number;
  errorType: string;
  handler: ClientHandler;
  talk: (socket: Socket) => void;
}[] = [
  {
    option: 'readTimeout',
    timeout: 50,
    errorType: 'ERR_READ_TIMEOUT',
    handler: async (stream) => {
      await stream.readline();
    },
    talk: (socket) => void socket.write('a part'),
  },
  {
    option: 'writeTimeout',
    timeout: 100,
    errorType: 'ERR_WRITE_TIMEOUT',
    handler: (stream) => stream.write(Buffer.alloc(64 << 20)),
    talk: (socket) => void socket.pause(),
  },
];

for (const kind of KINDS) {
  for (const { handler, talk, ...expected } of SLOW) {
    test.serial(`${kind}: a ${expected.option} of a server is reported with its option and its time`, async (t) => {
      const timeouts = messages<TimeoutMessage>(t, 'sluice:timeout');
      const options = { [expected.option]: expected.timeout, onError() {} };
      const { dial: dialNode } = await serve(t, kind, handler, options);
      talk(await dialNode());
      await until(() => timeouts.length > 0);
      t.is(timeouts.length, 1);
      t.like(timeouts[0], { ...expected, networkTransport: kind === 'Unix' ? 'unix' : 'tcp' });
      t.is(timeouts[0]!.action, undefined);
    });
  }

  test.serial(`${kind}: a maxAge is reported, over TLS also during the handshake`, async (t) => {
    const timeouts = messages<TimeoutMessage>(t, 'sluice:timeout');
    const options = { maxAge: 100, onError() {} };
    const reading: ClientHandler = async (stream) => {
      await stream.read();
    };
    const { dialPlain } = await serve(t, kind, reading, options);
    await closedByPeer(await dialPlain());
    await until(() => timeouts.length > 0);
    t.is(timeouts.length, 1);
    t.like(timeouts[0], { option: 'maxAge', timeout: 100, errorType: 'ERR_MAX_AGE' });
    t.is(timeouts[0]!.networkTransport, kind === 'Unix' ? 'unix' : 'tcp');
  });

  test.serial(`${kind}: a closeTimeout is reported`, async (t) => {
    const timeouts = messages<TimeoutMessage>(t, 'sluice:timeout');
    const options = { closeTimeout: 100, onError() {} };
    const ending: ClientHandler = (stream) => {
      void stream.write(Buffer.alloc(64 << 20));
      return Promise.resolve();
    };
    const { dial: dialNode } = await serve(t, kind, ending, options);
    (await dialNode()).pause();
    await until(() => timeouts.length > 0);
    t.is(timeouts.length, 1);
    t.like(timeouts[0], { option: 'closeTimeout', timeout: 100, errorType: 'ETIMEDOUT' });
    t.is(timeouts[0]!.networkTransport, kind === 'Unix' ? 'unix' : 'tcp');
  });
}

test.serial('in memory: a closeTimeout is reported', async (t) => {
  const timeouts = messages<TimeoutMessage>(t, 'sluice:timeout');
  const [stream, peer] = streampair({ closeTimeout: 50 });
  peer.transport.pauseReading();
  void stream.write(Buffer.alloc(1 << 20));
  const closed = t.throwsAsync(stream.close(), { code: 'ETIMEDOUT' });
  // Streams in memory do not keep the process alive.
  await until(() => timeouts.length > 0);
  const error = await closed;
  t.like(timeouts, [{ option: 'closeTimeout', timeout: 50, errorType: 'ETIMEDOUT' }]);
  t.is(timeouts[0]!.error, error);
  await peer.abort();
});

test.serial('an sslHandshakeTimeout is reported, by a client and by a server', async (t) => {
  const timeouts = messages<TimeoutMessage>(t, 'sluice:timeout');
  const { port: silent } = await listen(t, (socket) => socket.pause());
  const options = { ssl: { rejectUnauthorized: false }, sslHandshakeTimeout: 50 };
  const error = await t.throwsAsync(connect('127.0.0.1', silent, options), { code: 'ETIMEDOUT' });
  const expected = { option: 'sslHandshakeTimeout', timeout: 50, errorType: 'ETIMEDOUT', networkTransport: 'tcp' };
  t.is(timeouts.length, 1);
  t.like(timeouts[0], { ...expected, peerAddress: '127.0.0.1', peerPort: silent });
  t.is(timeouts[0]!.error, error);
  const { dialPlain } = await serve(t, 'TLS', echo, { sslHandshakeTimeout: 50, onError() {} });
  await closedByPeer(await dialPlain());
  await until(() => timeouts.length > 1);
  t.is(timeouts.length, 2);
  t.like(timeouts[1], expected);
});

test.serial('a subscriber that throws does not affect the connection: the process gets its error', async (t) => {
  const others = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  const thrown: unknown[] = [];
  const note = (error: unknown): void => void thrown.push(error);
  process.on('uncaughtException', note);
  t.teardown(() => {
    process.off('uncaughtException', note);
    for (const other of others) process.on('uncaughtException', other);
  });
  const failure = new Error('the subscriber has failed');
  for (const name of ['connect', 'handshake', 'handler']) {
    for (const event of EVENTS) {
      listenTo(t, `tracing:sluice:${name}:${event}`, () => {
        throw failure;
      });
    }
  }
  const { server } = await serve(t, 'TLS', echo);
  const client = await dial(t, 'TLS', server);
  await client.write('hello\n');
  t.is((await client.readline()).toString(), 'hello\n');
  await client.close();
  // Four events each: connect, the handler, and the two sides of the handshake.
  await until(() => thrown.length === 16);
  t.true(thrown.every((error) => error === failure));
});
