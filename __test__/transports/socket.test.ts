// Runs once: the sink is not a reader, and what depends on the way of reading is tested in both ways.
import net, { type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import type { SocketAddress } from '#ts/transports/socket-info.js';
import { SocketTransport, type ConnectSocketOptions } from '#ts/transports/socket.js';
import { DuplexTransport } from '#ts/transports/duplex.js';
import { UNIX_HALF_CLOSE, unixPath } from '../fifo.js';
import { until } from '../loopback.js';
import {
  RecordingSink,
  transportContract,
  turns,
  withReads,
  written,
  type Pair,
  type PairMaker,
} from '../transport-contract.js';

/** Starts a server on loopback; `accept` resolves with the next accepted socket. */
async function listening(): Promise<{ server: net.Server; port: number; accept(): Promise<net.Socket> }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  const accepted: net.Socket[] = [];
  const waiting: ((socket: net.Socket) => void)[] = [];
  server.on('connection', (socket) => {
    const next = waiting.shift();
    if (next === undefined) accepted.push(socket);
    else next(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    server,
    port: (server.address() as AddressInfo).port,
    accept: () => {
      const socket = accepted.shift();
      return socket === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(socket);
    },
  };
}

async function closed(server: net.Server): Promise<void> {
  await new Promise((resolve) => server.close(resolve));
}

async function tcpPair(reads: 'data' | 'direct'): Promise<{ client: SocketTransport; served: SocketTransport } & Pair> {
  const { server, port, accept } = await listening();
  // Only the synchronous start of each factory looks at the environment.
  const connecting = withReads(reads, () => SocketTransport.connect({ host: '127.0.0.1', port }));
  const [client, socket] = await Promise.all([connecting, accept()]);
  const served = withReads(reads, () => SocketTransport.accepted(socket));
  return { client, served, a: client, b: served, dispose: () => closed(server) };
}

const raw = (transport: SocketTransport): net.Socket => transport.getExtraInfo('socket') as net.Socket;

function tcp(name: string, reads: 'data' | 'direct', swapped: boolean): PairMaker {
  return {
    name,
    connected: true,
    make: async () => {
      const { client, served, dispose } = await tcpPair(reads);
      const [a, b] = swapped ? [served, client] : [client, served];
      return { a, b, dispose, reset: () => raw(a).resetAndDestroy() };
    },
  };
}

const unix = (reads: 'data' | 'direct'): PairMaker => ({
  name: `Unix socket, ${reads}`,
  connected: true,
  halfClose: UNIX_HALF_CLOSE,
  make: async () => {
    const teardowns: (() => unknown)[] = [];
    const path = unixPath({ teardown: (f) => void teardowns.push(f) });
    const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(path);
    await once(server, 'listening');
    const [[socket], a] = await Promise.all([
      once(server, 'connection') as Promise<[net.Socket]>,
      withReads(reads, () => SocketTransport.connect({ path })),
    ]);
    const dispose = async (): Promise<void> => {
      await closed(server);
      for (const f of teardowns) await f();
    };
    const b = withReads(reads, () => SocketTransport.accepted(socket, { path }));
    return { a, b, dispose };
  },
});

const plain: PairMaker = {
  name: 'Duplex that is a socket',
  connected: true,
  make: async () => {
    const { server, port, accept } = await listening();
    const client = net.connect(port, '127.0.0.1');
    const [socket] = await Promise.all([accept(), once(client, 'connect')]);
    return {
      a: new DuplexTransport(client),
      b: new DuplexTransport(socket),
      reset: () => client.resetAndDestroy(),
      dispose: () => closed(server),
    };
  },
};

/** The accepted sockets of Bun are of a kind that `node-internals.ts` does not know. */
const movable = process.versions['bun'] === undefined;

transportContract(test, [
  tcp('TCP, direct, to the server', 'direct', false),
  tcp('TCP, direct, to the client', 'direct', true),
  tcp('TCP, data, to the server', 'data', false),
  tcp('TCP, data, to the client', 'data', true),
  unix('direct'),
  unix('data'),
  plain,
]);

test("reads are direct on both sides, and by data events if that is forced or over a user's socket", async (t) => {
  const direct = await tcpPair('direct');
  t.is(direct.client.readPath, 'direct');
  t.is(direct.served.readPath, movable ? 'direct' : 'data');
  const data = await tcpPair('data');
  t.is(data.client.readPath, 'data');
  t.is(data.served.readPath, 'data');
  t.is(SocketTransport.over(new net.Socket()).readPath, 'data');
  for (const pair of [direct, data]) {
    pair.client.abort();
    pair.served.abort();
    await pair.dispose();
  }
});

test('direct reads go into the memory of the sink', async (t) => {
  const pair = await tcpPair('direct');
  const sink = new RecordingSink();
  const memory = Buffer.alloc(1 << 20);
  sink.target = () => memory;
  pair.b.start(sink);
  pair.a.start(new RecordingSink());
  await written(pair.a, 'for the block shared by the thread');
  await sink.until(() => sink.bytes === 34);
  await written(pair.a, 'for the sink');
  await sink.until(() => sink.bytes === 46);
  if (pair.served.readPath === 'direct') t.is(memory.toString('latin1', 0, 12), 'for the sink');
  else t.true(memory.every((byte) => byte === 0));
  pair.a.abort();
  pair.b.abort();
  await pair.dispose();
});

test('getExtraInfo gives the addresses of a TCP connection, also after it was closed', async (t) => {
  const pair = await tcpPair('direct');
  const sink = new RecordingSink();
  pair.client.start(sink);
  const socket = raw(pair.client);
  const peername = pair.client.getExtraInfo('peername') as SocketAddress;
  const sockname = pair.client.getExtraInfo('sockname') as SocketAddress;
  t.deepEqual({ ...peername }, { address: '127.0.0.1', port: socket.remotePort as number, family: 'IPv4' });
  t.deepEqual(pair.served.getExtraInfo('peername'), sockname);
  t.deepEqual(pair.served.getExtraInfo('sockname'), peername);
  t.true(socket instanceof net.Socket);
  t.is(pair.client.getExtraInfo('cipher'), undefined);
  pair.client.abort();
  await sink.until(() => sink.isClosed);
  t.is(pair.client.getExtraInfo('peername'), peername);
  t.is(pair.client.getExtraInfo('sockname'), sockname);
  t.is(pair.client.getExtraInfo('socket'), socket);
  pair.served.abort();
  await pair.dispose();
});

test('getExtraInfo gives the path of a Unix socket', async (t) => {
  const pair = await unix('direct').make();
  const path = pair.a.getExtraInfo('peername');
  t.true(typeof path === 'string' && path.endsWith('sock'));
  t.is(pair.a.getExtraInfo('sockname'), '');
  t.is(pair.b.getExtraInfo('peername'), '');
  t.is(pair.b.getExtraInfo('sockname'), path);
  pair.a.abort();
  pair.b.abort();
  await pair.dispose();
});

test("connect: a refusal has the system's code, the address and the cause", async (t) => {
  const { server, port } = await listening();
  await closed(server);
  const error = await t.throwsAsync(SocketTransport.connect({ host: '127.0.0.1', port }), {
    code: 'ECONNREFUSED',
    name: 'ConnectionError',
    message: `connect 127.0.0.1:${port}: connection refused`,
  });
  t.true(error?.cause instanceof Error);
});

test('connect: a Unix path without a socket is ENOENT', async (t) => {
  const path = join(tmpdir(), 'sluice-nobody-listens-here');
  await t.throwsAsync(SocketTransport.connect({ path }), {
    code: 'ENOENT',
    message: `connect ${path}: no such file or directory`,
  });
});

test('connect: a name that does not resolve is ENOTFOUND', async (t) => {
  const lookup: ConnectSocketOptions['lookup'] = (_name, _options, callback) => {
    const error = Object.assign(new Error('getaddrinfo ENOTFOUND nowhere'), {
      code: 'ENOTFOUND',
      errno: -3008,
      syscall: 'getaddrinfo',
    });
    process.nextTick(callback, error, '', 4);
  };
  await t.throwsAsync(SocketTransport.connect({ host: 'nowhere', port: 1, lookup }), { code: 'ENOTFOUND' });
});

test('connect: an argument that Node refuses makes it reject', async (t) => {
  await t.throwsAsync(SocketTransport.connect({ host: '127.0.0.1', port: 70000 }), { code: 'ERR_SOCKET_BAD_PORT' });
});

test('connect: the signal ends the attempt with its reason; a late abort does nothing', async (t) => {
  const { server, port, accept } = await listening();
  const reason = new Error('changed my mind');
  await t.throwsAsync(SocketTransport.connect({ host: '127.0.0.1', port, signal: AbortSignal.abort(reason) }), {
    is: reason,
  });
  const ending = new AbortController();
  const attempt = SocketTransport.connect({ host: '127.0.0.1', port, signal: ending.signal });
  ending.abort(reason);
  await t.throwsAsync(attempt, { is: reason });

  const late = new AbortController();
  const transport = await SocketTransport.connect({ host: '127.0.0.1', port, signal: late.signal });
  late.abort(reason);
  await turns();
  t.false(transport.isClosing);
  transport.abort();
  // The aborted attempt may have reached the backlog.
  for (;;) {
    const socket = await accept();
    const same = socket.remotePort === (transport.getExtraInfo('sockname') as SocketAddress).port;
    socket.destroy();
    if (same) break;
  }
  await closed(server);
});

test('connect: localAddress sets the local address', async (t) => {
  const { server, port, accept } = await listening();
  const transport = await SocketTransport.connect({ host: '127.0.0.1', port, localAddress: '127.0.0.1' });
  const socket = await accept();
  t.is(socket.remoteAddress, '127.0.0.1');
  t.is((transport.getExtraInfo('sockname') as SocketAddress).address, '127.0.0.1');
  transport.abort();
  socket.destroy();
  await closed(server);
});

test('accepted sockets: the server counts them until they close, and can close then', async (t) => {
  const pair = await tcpPair('direct');
  const served = new RecordingSink();
  const client = new RecordingSink();
  pair.served.start(served);
  pair.client.start(client);
  let serverClosed = false;
  const closing = Promise.resolve(pair.dispose()).then(() => (serverClosed = true));
  await turns();
  t.false(serverClosed, 'a connection is open');
  pair.client.close();
  await served.until(() => served.eofs === 1);
  pair.served.close();
  await served.until(() => served.isClosed);
  await closing;
  t.true(serverClosed);
});

test('accepted sockets: maxConnections still counts them', async (t) => {
  const { server, port, accept } = await listening();
  server.maxConnections = 1;
  const first = await SocketTransport.connect({ host: '127.0.0.1', port });
  const served = SocketTransport.accepted(await accept());
  const sink = new RecordingSink();
  served.start(sink);

  const dropped = once(server, 'drop');
  const second = await SocketTransport.connect({ host: '127.0.0.1', port });
  const secondSink = new RecordingSink();
  second.start(secondSink);
  await dropped;
  await secondSink.until(() => secondSink.eofs === 1 || secondSink.isClosed);
  second.abort();

  first.abort();
  served.abort();
  await sink.until(() => sink.isClosed);
  const third = await SocketTransport.connect({ host: '127.0.0.1', port });
  const again = SocketTransport.accepted(await accept());
  t.false(again.isClosing);
  third.abort();
  again.abort();
  await closed(server);
});

test('accepted sockets: one that was read from or destroyed is not moved', async (t) => {
  const { server, port, accept } = await listening();
  const client = await SocketTransport.connect({ host: '127.0.0.1', port });
  const clientSink = new RecordingSink();
  client.start(clientSink);
  const socket = await accept();
  await written(client, 'read ahead');
  socket.resume();
  socket.pause();
  socket.read(0);
  await once(socket, 'readable');
  const served = SocketTransport.accepted(socket);
  t.is(served.readPath, 'data');
  t.is(served.getExtraInfo('socket'), socket);
  const sink = new RecordingSink();
  served.start(sink);
  await sink.until(() => sink.bytes === 10);
  t.is(sink.text, 'read ahead');
  client.abort();
  served.abort();

  const other = await SocketTransport.connect({ host: '127.0.0.1', port });
  const gone = await accept();
  gone.destroy();
  const lost = SocketTransport.accepted(gone);
  const lostSink = new RecordingSink();
  lost.start(lostSink);
  t.true(lost.isClosing);
  await lostSink.until(() => lostSink.isClosed);
  t.is((lostSink.closes[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
  other.abort();
  await closed(server);
});

test('accepted sockets: a peer that resets before the move is reported', async (t) => {
  const { server, port, accept } = await listening();
  const client = net.connect(port, '127.0.0.1');
  const socket = await accept();
  await turns();
  client.resetAndDestroy();
  await once(client, 'close');
  await turns();
  const served = SocketTransport.accepted(socket);
  const sink = new RecordingSink();
  served.start(sink);
  await sink.until(() => sink.isClosed);
  t.is((sink.closes[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
  await closed(server);
});

test("over a user's socket: its buffered bytes come first, and it stays half-open after EOF", async (t) => {
  const { server, port, accept } = await listening();
  const client = net.connect(port, '127.0.0.1');
  const socket = await accept();
  await once(client, 'connect');
  socket.write('before ');
  client.pause();
  client.read(0);
  await once(client, 'readable');
  const transport = SocketTransport.over(client);
  const sink = new RecordingSink();
  transport.start(sink);
  socket.write('after');
  await sink.until(() => sink.bytes === 12);
  t.is(sink.text, 'before after');
  socket.end();
  await sink.until(() => sink.eofs === 1);
  // With allowHalfOpen false it would have ended its own side by now.
  await turns();
  t.false(transport.isClosing);
  await written(transport, 'still here');
  transport.abort();
  socket.destroy();
  await closed(server);
});

test("over a user's socket: an earlier EOF, an earlier error and a later destroy are reported", async (t) => {
  const { server, port, accept } = await listening();

  const ended = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const ending = await accept();
  ending.end();
  ended.resume();
  await once(ended, 'end');
  const endedSink = new RecordingSink();
  const atEnd = SocketTransport.over(ended);
  atEnd.start(endedSink);
  await endedSink.until(() => endedSink.eofs === 1);
  t.false(atEnd.isClosing);
  atEnd.close();
  await endedSink.until(() => endedSink.isClosed);
  t.deepEqual(endedSink.closes, [null]);
  ending.destroy();

  const failed = net.connect(port, '127.0.0.1');
  const reason = new Error('its own reason');
  failed.on('error', () => {
    // It is checked below.
  });
  (await accept()).destroy();
  failed.destroy(reason);
  await new Promise((resolve) => failed.once('close', resolve));
  const failedSink = new RecordingSink();
  SocketTransport.over(failed).start(failedSink);
  await failedSink.until(() => failedSink.isClosed);
  t.deepEqual(failedSink.closes, [reason]);

  const taken = net.connect(port, '127.0.0.1');
  const peer = await accept();
  await turns();
  const takenSink = new RecordingSink();
  SocketTransport.over(taken).start(takenSink);
  taken.destroy();
  await takenSink.until(() => takenSink.isClosed);
  const [loss] = takenSink.closes as (NodeJS.ErrnoException | null)[];
  t.is(loss?.code, 'ECONNRESET');
  t.regex(loss?.message ?? '', /127\.0\.0\.1:\d+: the stream was destroyed/);
  peer.destroy();
  await closed(server);
});

for (const reads of ['direct', 'data'] as const) {
  test(`EOF that is followed by a reset is still EOF: ${reads}`, async (t) => {
    const pair = await tcpPair(reads);
    const sink = new RecordingSink();
    pair.served.start(sink);
    const peer = raw(pair.client);
    // The peer answers, ends, and is gone before our data reaches it.
    sink.goOn = false;
    await written(pair.client, 'x');
    await sink.until(() => sink.bytes === 1);
    peer.end('answer');
    await once(peer, 'finish');
    peer.destroy();
    await turns();
    await written(pair.served, 'too late');
    await turns();
    sink.goOn = true;
    pair.served.resumeReading();
    await sink.until(() => sink.eofs === 1 || sink.isClosed);
    t.is(sink.text, 'xanswer');
    t.is(sink.eofs, 1);
    t.deepEqual(sink.closes, []);
    pair.served.abort();
    await pair.dispose();
  });
}

for (const reads of ['direct', 'data'] as const) {
  test(`a reset after bytes that are read late is not EOF: ${reads}`, async (t) => {
    const pair = await tcpPair(reads);
    const sink = new RecordingSink();
    pair.served.start(sink);
    const peer = raw(pair.client);
    // More than one read, less than the kernel buffers, and a slow reader.
    sink.goOn = false;
    await new Promise<void>((resolve) => peer.write(Buffer.alloc(200_000, 'x'), () => resolve()));
    await turns();
    peer.resetAndDestroy();
    await turns();
    sink.goOn = true;
    pair.served.resumeReading();
    await sink.until(() => sink.eofs === 1 || sink.isClosed);
    t.is(sink.eofs, 0);
    t.is((sink.closes[0] as NodeJS.ErrnoException | undefined)?.code, 'ECONNRESET');
    t.true(sink.bytes > 65_536, `${sink.bytes} bytes`);
    await pair.dispose();
  });
}

test('an error before start is not uncaught, and is reported after start', async (t) => {
  const pair = await tcpPair('direct');
  const reason = new Error('cable cut');
  raw(pair.client).destroy(reason);
  await turns();
  t.true(pair.client.isClosing);
  const sink = new RecordingSink();
  pair.client.start(sink);
  await sink.until(() => sink.isClosed);
  t.deepEqual(sink.closes, [reason]);
  pair.served.abort();
  await pair.dispose();
});

test('unref lets the process end, ref keeps it alive', async (t) => {
  const pair = await tcpPair('direct');
  const resources = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPSocketWrap').length;
  pair.client.start(new RecordingSink());
  const before = resources();
  pair.client.unref();
  t.is(resources(), before - 1);
  pair.client.ref();
  t.is(resources(), before);
  pair.client.abort();
  pair.served.abort();
  await pair.dispose();
});

for (const reads of ['data', 'direct'] as const) {
  // Serial, with a stopped clock: on a busy machine the longest time of a close could be over before the peer has read.
  test.serial(`close: a peer that keeps sending and reads late gets everything that was sent: ${reads}`, async (t) => {
    const { now } = Date;
    const stopped = now();
    Date.now = () => stopped;
    t.teardown(() => (Date.now = now));
    const total = 1024 * 1024;
    const { server, port, accept } = await listening();
    const peer = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    const socket = await accept();
    const transport = withReads(reads, () => SocketTransport.accepted(socket));
    const sink = new RecordingSink();
    transport.start(sink);
    let failure: Error | null = null;
    let got = 0;
    peer.on('error', (error) => (failure = error));
    // More than the peer's system takes for it: the rest waits here.
    let pieces = 0;
    const sending = setInterval(() => {
      peer.write('more');
      if (++pieces === 10) peer.on('data', (chunk) => (got += chunk.length));
    }, 10);
    peer.on('end', () => {
      clearInterval(sending);
      peer.end();
    });
    t.teardown(() => {
      clearInterval(sending);
      peer.destroy();
      server.close();
    });
    if (transport.write(Buffer.alloc(total), () => transport.close())) transport.close();
    await sink.until(() => sink.isClosed);
    await until(() => peer.readableEnded || failure !== null);
    t.is(failure, null);
    t.is(got, total);
    t.deepEqual(sink.closes, [null]);
    if (!peer.closed) await once(peer, 'close');
    await closed(server);
  });
}
