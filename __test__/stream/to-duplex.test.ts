/** `toDuplex()`: what Node promises of a `Duplex`, over each transport. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { Buffer } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as netConnect, createServer, type Socket } from 'node:net';
import { Duplex, PassThrough, Readable, Transform, Writable, finished as whenFinished } from 'node:stream';
import * as streams from 'node:stream';
import { finished, pipeline } from 'node:stream/promises';
import { setImmediate as turn } from 'node:timers/promises';
import { inspect } from 'node:util';
import test from 'ava';
import { ConnectionError, StateError, connect, connectReadPipe, connectWritePipe, type Stream } from 'sluice';
import { sameBytes } from '../bytes.js';
import { gather, listen, until } from '../loopback.js';
import { randomFrom, seed } from '../seed.js';
import { KINDS, tcp } from './connected.js';

/** The types of Node 20 lack it. */
const { compose } = streams as unknown as { compose(...parts: Duplex[]): Duplex };

const DATA = randomBytes(3_000_000);

/** The duplex of a stream. The end of a test can be the loss of its connection. */
function duplexOf(stream: Stream): Duplex {
  return stream.toDuplex().on('error', () => {});
}

/** When a duplex has ended, with an error or without. */
function closed(duplex: Duplex): Promise<void> {
  return new Promise((resolve) => duplex.once('close', () => resolve()));
}

function digest(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}

/** Pieces of random sizes, empty ones included. */
function* pieces(data: Buffer, random: (below: number) => number): Generator<Buffer> {
  for (let at = 0; at < data.length;) {
    const size = random(10) === 0 ? 0 : 1 + random(random(2) === 0 ? 100 : 100_000);
    yield data.subarray(at, at + size);
    at += size;
  }
}

for (const { name, connected } of KINDS) {
  test(`${name}: a pipeline through two duplexes carries every byte in both directions`, async (t) => {
    const [client, server] = await connected(t);
    const random = randomFrom(seed(t));
    const near = duplexOf(client);
    const far = duplexOf(server);
    const echo = pipeline(far, new PassThrough(), far);
    const received: Buffer[] = [];
    await Promise.all([
      pipeline(Readable.from(pieces(DATA, random)), near),
      pipeline(near, async (source: AsyncIterable<Buffer>) => {
        for await (const chunk of source) received.push(chunk);
      }),
      echo,
    ]);
    t.is(digest(Buffer.concat(received)), digest(DATA));
    await Promise.all([finished(near), finished(far)]);
    t.true(near.destroyed && far.destroyed);
    t.true(client.isClosing() && server.isClosing());
  });

  test(`${name}: end() is a half-close: the answer that follows is read`, async (t) => {
    const [client, server] = await connected(t);
    const duplex = duplexOf(client);
    duplex.end('question');
    t.is((await server.read(-1)).toString(), 'question');
    await server.write('answer');
    const answer = gather(duplex);
    await server.close();
    t.is((await answer).toString(), 'answer');
    await client.waitClosed();
  });

  test(`${name}: the end of the peer leaves the duplex writable`, async (t) => {
    const [client, server] = await connected(t);
    const duplex = duplexOf(client);
    const peer = duplexOf(server);
    peer.end('last words');
    t.is((await gather(duplex)).toString(), 'last words');
    t.true(duplex.writable);
    duplex.end('answer');
    t.is((await gather(peer)).toString(), 'answer');
  });

  test(`${name}: destroy(error) aborts the connection and emits the error once`, async (t) => {
    const [client] = await connected(t);
    const duplex = duplexOf(client);
    const errors: Error[] = [];
    duplex.on('error', (error) => errors.push(error));
    const over = closed(duplex);
    duplex.destroy(new Error('enough'));
    await over;
    t.deepEqual(
      errors.map(({ message }) => message),
      ['enough'],
    );
    await client.waitClosed();
    t.true(client.isClosing());
  });

  test(`${name}: a writer that waits for 'drain' buffers a bounded number of bytes`, async (t) => {
    const [client, server] = await connected(t);
    const duplex = duplexOf(client);
    const chunk = Buffer.alloc(16384, 1);
    let sent = 0;
    // The peer does not read: sooner or later its buffers, those of the kernel, and ours are full.
    for (let idle = 0; idle < 50;) {
      idle = duplex.writableNeedDrain ? idle + 1 : 0;
      if (idle === 0) {
        duplex.write(chunk);
        sent += chunk.length;
      }
      await turn();
    }
    const buffered = duplex.writableLength + client.writeBufferSize;
    t.true(buffered <= 4 * 65536, `${buffered}`);
    const drained = once(duplex, 'drain');
    const start = await server.readexactly(sent - 16384);
    await drained;
    duplex.end();
    t.is(start.length + (await server.read(-1)).length, sent);
    void duplex.resume();
    await server.close();
  });

  test(`${name}: a reader that is paused stops the peer`, async (t) => {
    const [client, server] = await connected(t);
    const duplex = duplexOf(client);
    duplex.once('readable', () => {});
    // Without a limit on what the peer may send, this would never end.
    const chunk = Buffer.alloc(65536, 1);
    let sent = 0;
    for (let idle = 0; idle < 50;) {
      if (server.writeBufferSize > 65536) {
        idle++;
        await turn();
        continue;
      }
      idle = 0;
      void server.write(chunk);
      sent += chunk.length;
      await turn();
    }
    // Less than the high watermark, and a chunk.
    t.true(duplex.readableLength < 65536 + 262144, `${duplex.readableLength}`);
    t.true(client.buffered <= 8 * 65536, `${client.buffered}`);
    let got = 0;
    duplex.on('data', ({ length }: Buffer) => (got += length));
    await until(() => got === sent);
    t.is(got, sent);
  });
}

for (const { name, connected } of KINDS.filter(({ name }) => name !== 'a Duplex')) {
  test(`${name}: a lost connection delivers what was received, then destroys the duplex with the error, once`, async (t) => {
    const [client, server] = await connected(t);
    const duplex = duplexOf(client);
    await server.write('last words');
    await server.flush();
    await until(() => client.buffered === 10);
    await server.abort();
    // The loss shows when it is read, or at a write.
    const errors: Error[] = [];
    duplex.on('error', (error) => errors.push(error));
    const over = closed(duplex);
    const chunks: Buffer[] = [];
    duplex.on('data', (chunk: Buffer) => chunks.push(chunk));
    for (let i = 0; !duplex.destroyed && duplex.writable; i++) {
      duplex.write('more');
      await turn();
    }
    await over;
    t.is(Buffer.concat(chunks).toString(), 'last words');
    t.is(errors.length, 1);
    t.true(errors[0] instanceof ConnectionError, inspect(errors[0]));
  });
}

test('bytes before errors: a slow consumer gets everything that was received before a reset', async (t) => {
  const all = randomBytes(300_000);
  const server = await listen(t);
  const client = await connect('127.0.0.1', server.port);
  t.teardown(() => client.abort());
  await until(() => server.sockets.length === 1);
  const [peer] = server.sockets;
  peer!.write(all);
  const chunks: Buffer[] = [];
  const error = await t.throwsAsync(async () => {
    for await (const chunk of duplexOf(client)) {
      if (chunks.length === 0) {
        await until(() => client.buffered >= 65536);
        peer!.resetAndDestroy();
      }
      chunks.push(chunk as Buffer);
      for (let i = 0; i < 10; i++) await turn();
    }
  });
  t.true(error instanceof ConnectionError, inspect(error));
  const got = Buffer.concat(chunks);
  sameBytes(t, got, all.subarray(0, got.length));
  t.is(got.length, client.bytesRead);
});

test('bytes before errors: a write that fails first does not take away what was received', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  await server.write('last words');
  await server.flush();
  const chunks: Buffer[] = [];
  duplex.on('data', (chunk: Buffer) => chunks.push(chunk)).pause();
  await until(() => client.bytesRead === 10);
  await server.abort();
  const failed = new Promise<Error | null | undefined>((resolve) => {
    const write = (): void =>
      void duplex.write('more', (error) => (error == null ? setImmediate(write) : resolve(error)));
    write();
  });
  for (let i = 0; i < 20; i++) await turn();
  duplex.resume();
  t.true((await failed) instanceof Error);
  t.is(Buffer.concat(chunks).toString(), 'last words');
});

test('what is unread when the duplex is made comes first', async (t) => {
  const [client, server] = await tcp(t);
  await server.write('HELLO\nrest');
  t.is((await client.readline()).toString(), 'HELLO\n');
  client.unread('back ');
  const duplex = duplexOf(client);
  await server.write(' more');
  await server.close();
  t.is((await gather(duplex)).toString(), 'back rest more');
});

test('strings are written in their encoding', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  duplex.write('é', 'latin1');
  duplex.write('é');
  duplex.end('6869', 'hex');
  sameBytes(t, await server.read(-1), Buffer.from('e9c3a96869', 'hex'));
});

test('a chunk can be changed once its callback was called', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  const chunk = Buffer.alloc(300_000, 1);
  duplex.write(chunk, () => chunk.fill(2));
  duplex.end();
  sameBytes(t, await server.read(-1), Buffer.alloc(300_000, 1));
});

test('many small writes of a turn are sent together', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  duplex.cork();
  for (let i = 0; i < 1000; i++) duplex.write(`${i}\n`);
  duplex.uncork();
  duplex.end();
  const expected = Array.from({ length: 1000 }, (_, i) => `${i}\n`).join('');
  t.is((await server.read(-1)).toString(), expected);
});

test('finished() resolves when both sides have ended, and rejects after destroy()', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  const over = finished(duplex);
  duplex.resume().end();
  await server.close();
  await over;

  const [other] = await tcp(t);
  const cut = duplexOf(other);
  const failure = new Promise((resolve) => whenFinished(cut, resolve));
  cut.destroy();
  t.is(((await failure) as NodeJS.ErrnoException).code, 'ERR_STREAM_PREMATURE_CLOSE');
});

test('pipeline() with a signal destroys the duplex and ends the connection', async (t) => {
  const [client, server] = await tcp(t);
  const controller = new AbortController();
  const running = pipeline(duplexOf(client), new PassThrough(), new Writable({ write: (_c, _e, done) => done() }), {
    signal: controller.signal,
  });
  await server.write('some');
  controller.abort();
  await t.throwsAsync(running, { name: 'AbortError' });
  await client.waitClosed();
  t.pass();
});

test('compose() puts a transform before and after the duplex', async (t) => {
  const [client, server] = await tcp(t);
  const upper = (): Transform =>
    new Transform({ transform: (chunk: Buffer, _e, done) => done(null, chunk.toString().toUpperCase()) });
  const both = compose(upper(), duplexOf(client), upper());
  both.end('question');
  t.is((await server.read(-1)).toString(), 'QUESTION');
  await server.write('answer');
  await server.close();
  t.is((await gather(both)).toString(), 'ANSWER');
});

test('map() and take() of Readable work', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  const sizes = duplex.map((chunk: Buffer) => chunk.length).take(1);
  await server.write('four');
  t.deepEqual(await sizes.toArray(), [4]);
});

test('leaving an iteration early destroys the duplex', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  await server.write('some');
  for await (const chunk of duplex) {
    t.is(String(chunk), 'some');
    break;
  }
  t.true(duplex.destroyed);
  await client.waitClosed();
});

test('iterator({ destroyOnReturn: false }) leaves the duplex open', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  await server.write('some');
  for await (const chunk of duplex.iterator({ destroyOnReturn: false })) {
    t.is(String(chunk), 'some');
    break;
  }
  t.false(duplex.destroyed);
  await server.write('more');
  await server.close();
  t.is((await gather(duplex)).toString(), 'more');
});

test('allowHalfOpen = false ends the duplex when the peer ends its side', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  duplex.allowHalfOpen = false;
  duplex.resume();
  await server.writeEof();
  t.is((await server.read(-1)).length, 0);
  await finished(duplex);
  t.pass();
});

test('connect({ sock }) takes the duplex back as a stream', async (t) => {
  const [client, server] = await tcp(t);
  await server.write('one\ntwo\n');
  const again = await connect({ sock: duplexOf(client) });
  t.is((await again.readline()).toString(), 'one\n');
  await again.write('answer\n');
  t.is((await server.readline()).toString(), 'answer\n');
  t.is((await again.readline()).toString(), 'two\n');
  await again.close();
  await client.waitClosed();
  t.is((await server.read(-1)).length, 0);
});

test('calls of the stream that read or write are refused afterwards', async (t) => {
  const [client] = await tcp(t);
  client.toDuplex();
  const reads: ((stream: Stream) => unknown)[] = [
    (stream) => stream.read(1),
    (stream) => stream.readline(),
    (stream) => stream.readuntil('x'),
    (stream) => stream.readexactly(1),
    (stream) => stream.readinto(Buffer.alloc(1)),
    (stream) => stream.readframe(),
    (stream) => stream.readframes(),
    (stream) => stream.frames().next(),
    (stream) => stream.frames().batches().next(),
    (stream) => stream.lines().next(),
    (stream) => stream.lines().batches().next(),
    (stream) => stream.chunks().next(),
    (stream) => stream[Symbol.asyncIterator]().next(),
    (stream) => stream.peek(1),
    (stream) => stream.discard(1),
    (stream) => stream.window(1),
    async (stream) => stream.tryRead(),
    async (stream) => stream.tryReadline(),
    async (stream) => stream.tryReaduntil('x'),
    async (stream) => stream.tryReadexactly(1),
    async (stream) => stream.tryReadframe(),
    async (stream) => stream.tryReadframes(),
    async (stream) => stream.tryWindow(),
    async (stream) => stream.consume(0),
    async (stream) => stream.unread('x'),
    (stream) => stream.write('x'),
    (stream) => stream.writelines(['x']),
    (stream) => stream.writeframe('x'),
    (stream) => stream.writeEof(),
    (stream) => stream.drain(),
    (stream) => stream.flush(),
    (stream) => stream.sendfile('/dev/null'),
    (stream) => stream.startTls(true),
    async (stream) => stream.setWriteBufferLimits({ high: 1 }),
    async (stream) => stream.toDuplex(),
  ];
  for (const call of reads) {
    const error = await t.throwsAsync(Promise.resolve(call(client)), { instanceOf: StateError }, String(call));
    t.is(error?.code, 'ERR_STREAM_HANDED_OVER', `${String(call)}: ${error?.message}`);
    t.regex(error?.message ?? '', /^[a-zA-Z ]+: the stream was handed over by toDuplex\(\)$/);
  }
  t.regex(inspect(client), /handed over: toDuplex/);
});

test('facts about the connection, and closing it, still work', async (t) => {
  const [client, server] = await tcp(t);
  const duplex = duplexOf(client);
  duplex.resume();
  t.is((client.getExtraInfo('peername') as { address: string }).address, '127.0.0.1');
  client.setTimeouts({ idleTimeout: 60_000 });
  await server.write('some');
  await until(() => client.bytesRead === 4);
  await client.close();
  await once(duplex, 'close');
  t.true(duplex.destroyed);
  t.is((await server.read(-1)).length, 0);
});

test('toDuplex() is refused while a read waits, and the read goes on', async (t) => {
  const [client, server] = await tcp(t);
  const line = client.readline();
  t.throws(() => client.toDuplex(), { code: 'ERR_CONCURRENT_READ' });
  await server.write('line\n');
  t.is((await line).toString(), 'line\n');
  t.notThrows(() => client.toDuplex());
});

test('a timeout of the connection destroys the duplex with its error', async (t) => {
  const [client] = await tcp(t);
  const duplex = duplexOf(client);
  duplex.resume();
  client.setTimeouts({ idleTimeout: 1 });
  const [error] = (await once(duplex, 'error')) as [NodeJS.ErrnoException];
  t.is(error.name, 'TimeoutError', inspect(error));
});

test('setTimeout() of a socket: it emits timeout after a time without a chunk', async (t) => {
  const [client] = await tcp(t);
  const duplex = duplexOf(client) as Duplex & Pick<Socket, 'setTimeout' | 'timeout'>;
  await new Promise<void>((resolve) => duplex.setTimeout(1, resolve));
  t.is(duplex.timeout, 1);
  t.false(duplex.destroyed);
  duplex.setTimeout(0, t.fail);
  t.is(duplex.timeout, 0);
});

test('a stream with one direction makes a duplex with one direction', async (t) => {
  const source = new PassThrough();
  const reading = (await connectReadPipe(source)).toDuplex();
  t.false(reading.writable);
  source.end('bytes');
  t.is((await gather(reading)).toString(), 'bytes');

  const target = new PassThrough();
  const writing = (await connectWritePipe(target)).toDuplex();
  t.false(writing.readable);
  writing.end('bytes');
  t.is((await gather(target)).toString(), 'bytes');
  await finished(writing);
});

test('a duplex that nothing reads is destroyed when the connection is lost', async (t) => {
  const server = await listen(t, (socket) => void socket.once('data', () => socket.resetAndDestroy()));
  const stream = await connect('127.0.0.1', server.port);
  const duplex = duplexOf(stream);
  const failed = once(duplex, 'error') as Promise<[NodeJS.ErrnoException]>;
  // It is not read, so the reset shows at a write.
  while (!duplex.destroyed) {
    duplex.write('x', () => {});
    await turn();
  }
  t.regex((await failed)[0].code ?? '', /^(ECONNRESET|EPIPE)$/);
});

test('a connection that has ended in order before anything consumes the duplex ends it in order', async (t) => {
  for (const { connected } of KINDS.filter(({ name }) => name !== 'a Duplex')) {
    const [client, server] = await connected(t);
    const duplex = client.toDuplex();
    duplex.end('question');
    t.is((await server.read(-1)).toString(), 'question');
    await server.close();
    await client.waitClosed();
    await turn();
    const chunks: unknown[] = [];
    for await (const chunk of duplex) chunks.push(chunk);
    t.deepEqual(chunks, []);
  }
});

test('the callback of a write that fails is called with the error', async (t) => {
  const [client] = await tcp(t);
  const duplex = duplexOf(client);
  duplex.on('error', () => {});
  void client.abort();
  const error = await new Promise<Error | null | undefined>((resolve) => duplex.write('x', resolve));
  t.is((error as NodeJS.ErrnoException).code, 'ECONNRESET');
});

test('a duplex in the other direction: its own pipe to a socket', async (t) => {
  const [client, server] = await tcp(t);
  const relay = createServer(
    { allowHalfOpen: true },
    (socket) => void pipeline(socket, duplexOf(client), socket).catch(() => {}),
  );
  t.teardown(() => relay.close());
  await once(relay.listen(0, '127.0.0.1'), 'listening');
  const socket = netConnect((relay.address() as { port: number }).port, '127.0.0.1');
  t.teardown(() => socket.destroy());
  socket.end('through');
  t.is((await server.read(-1)).toString(), 'through');
  await server.write('back');
  await server.close();
  t.is((await gather(socket)).toString(), 'back');
  t.true(Duplex.prototype.isPrototypeOf(socket));
});
