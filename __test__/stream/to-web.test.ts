/** `toWeb()`: what the Streams Standard promises, over each transport. ava fails if a rejection is not handled. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { Buffer } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import { Duplex } from 'node:stream';
import { ReadableStream, TransformStream, WritableStream } from 'node:stream/web';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StreamServer,
  connect,
  connectReadPipe,
  connectWritePipe,
  streampair,
  type Stream,
} from 'sluice';
import { sameBytes } from '../bytes.js';
import { listen, portOf, until } from '../loopback.js';
import { KINDS, tcp } from './connected.js';

const DATA = randomBytes(2_000_000);

async function gather(readable: ReadableStream<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readable) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A readable of `bytes` bytes in chunks of `size`, and the digest of all of them. */
function source(bytes: number, size: number): { readable: ReadableStream<Uint8Array>; digest: () => string } {
  const hash = createHash('sha256');
  let left = bytes;
  const readable = new ReadableStream<Uint8Array>({
    pull(controller) {
      const chunk = Buffer.alloc(Math.min(size, left), left % 251);
      left -= chunk.length;
      hash.update(chunk);
      if (chunk.length > 0) controller.enqueue(new Uint8Array(chunk));
      if (left === 0) controller.close();
    },
  });
  return { readable, digest: () => hash.digest('hex') };
}

/** A writable that hashes; `each` is awaited for each chunk. */
function sink(each: (chunk: Uint8Array) => unknown = () => {}): {
  writable: WritableStream<Uint8Array>;
  digest: () => string;
} {
  const hash = createHash('sha256');
  const writable = new WritableStream<Uint8Array>({
    async write(chunk) {
      hash.update(chunk);
      await each(chunk);
    },
  });
  return { writable, digest: () => hash.digest('hex') };
}

for (const { name, connected } of KINDS) {
  test(`${name}: pipeTo() in both directions carries every byte`, async (t) => {
    const [client, server] = await connected(t);
    const near = client.toWeb();
    const far = server.toWeb();
    const upload = source(DATA.length, 30_000);
    const download = sink();
    const echo = far.readable.pipeTo(far.writable);
    await Promise.all([upload.readable.pipeTo(near.writable), near.readable.pipeTo(download.writable), echo]);
    t.is(download.digest(), upload.digest());
    await Promise.all([client.waitClosed(), server.waitClosed()]);
  });

  test(`${name}: closing the writable is a half-close: the answer that follows is read`, async (t) => {
    const [client, server] = await connected(t);
    const { readable, writable } = client.toWeb();
    const writer = writable.getWriter();
    await writer.write('question');
    await writer.close();
    t.is((await server.read(-1)).toString(), 'question');
    await server.write('answer');
    const [answer] = await Promise.all([gather(readable), server.close()]);
    t.is(answer.toString(), 'answer');
    await client.waitClosed();
  });

  test(`${name}: a BYOB reader gets the bytes in its own memory`, async (t) => {
    const [client, server] = await connected(t);
    const { readable } = client.toWeb();
    const reader = readable.getReader({ mode: 'byob' });
    const memory = new ArrayBuffer(100);
    const waiting = reader.read(new Uint8Array(memory, 10, 4));
    await server.write('abcdef');
    const first = await waiting;
    t.is(Buffer.from(first.value!).toString(), 'abcd');
    t.is(first.value!.byteOffset, 10);
    t.is(first.value!.buffer.byteLength, 100);
    // The same memory, which was transferred.
    const second = await reader.read(new Uint8Array(first.value!.buffer, 0, 100));
    t.is(Buffer.from(second.value!).toString(), 'ef');
    await server.close();
    const last = await reader.read(new Uint8Array(8));
    t.true(last.done);
    t.is(last.value?.byteLength, 0);
  });

  test(`${name}: a writer that does not wait sees desiredSize fall, and waits for a peer that does not read`, async (t) => {
    const [client, server] = await connected(t);
    const writer = client.toWeb().writable.getWriter();
    const chunk = Buffer.alloc(16384, 1);
    t.is(writer.desiredSize, 65536);
    let sent = 0;
    for (let idle = 0; idle < 50;) {
      idle = (writer.desiredSize ?? 0) <= 0 ? idle + 1 : 0;
      if (idle === 0) {
        writer.write(chunk).catch(() => {});
        sent += chunk.length;
      }
      await turn();
    }
    t.true(client.writeBufferSize <= 2 * 65536, `${client.writeBufferSize}`);
    const start = await server.readexactly(sent - 65536);
    await writer.ready;
    await writer.close();
    t.is(start.length + (await server.read(-1)).length, sent);
  });

  test(`${name}: a readable that is not read stops the peer`, async (t) => {
    const [client, server] = await connected(t);
    const { readable } = client.toWeb();
    const chunk = Buffer.alloc(65536, 1);
    let sent = 0;
    for (let idle = 0; idle < 50;) {
      idle = server.writeBufferSize > 65536 ? idle + 1 : 0;
      if (idle === 0) {
        void server.write(chunk);
        sent += chunk.length;
      }
      await turn();
    }
    t.true(client.buffered <= 8 * 65536, `${client.buffered}`);
    const [all] = await Promise.all([gather(readable), server.close()]);
    t.is(all.length, sent);
  });

  test(`${name}: abort(reason) of the writable aborts the connection, and the readable fails with the reason`, async (t) => {
    const [client] = await connected(t);
    const { readable, writable } = client.toWeb();
    const reason = new Error('enough');
    const waiting = readable.getReader().read();
    await writable.abort(reason);
    t.is(await t.throwsAsync(waiting), reason);
    await client.waitClosed();
    t.true(client.isClosing());
  });

  test(`${name}: cancel() ends only reading`, async (t) => {
    const [client, server] = await connected(t);
    const { readable, writable } = client.toWeb();
    await server.write('unwanted');
    const reader = readable.getReader();
    await reader.read();
    await reader.cancel('no more');
    t.true((await reader.read()).done);
    const writer = writable.getWriter();
    await writer.write('still here');
    await server.write(Buffer.alloc(200_000));
    await server.flush();
    t.is((await server.readexactly(10)).toString(), 'still here');
    await writer.close();
    t.is((await server.read(-1)).length, 0);
    await server.close();
    await client.waitClosed();
  });

  for (const mode of ['default', 'byob'] as const) {
    test(`${name}: cancel() while a read waits ends the read, and drops what follows; reader: ${mode}`, async (t) => {
      const [client, server] = await connected(t);
      const { readable } = client.toWeb();
      const reader = mode === 'byob' ? readable.getReader({ mode }) : readable.getReader();
      const waiting = (reader.read as (view: Uint8Array) => Promise<{ done: boolean }>)(new Uint8Array(4));
      await turn();
      await reader.cancel();
      t.true((await waiting).done);
      await server.write('dropped');
      await until(() => client.bytesRead === 7);
      t.is(client.buffered, 0);
    });
  }
}

for (const { name, connected } of KINDS.filter(({ name }) => name !== 'a Duplex')) {
  test(`${name}: a lost connection is reported by both streams, after what was received`, async (t) => {
    const [client, server] = await connected(t);
    const { readable, writable } = client.toWeb();
    await server.write('last words');
    await server.flush();
    await until(() => client.buffered === 10);
    await server.abort();
    const writer = writable.getWriter();
    await t.throwsAsync(
      async () => {
        for (;;) {
          await writer.write('more');
          await turn();
        }
      },
      { instanceOf: ConnectionError },
    );
    await t.throwsAsync(writer.closed, { instanceOf: ConnectionError });
    const reader = readable.getReader();
    t.is(Buffer.from((await reader.read()).value!).toString(), 'last words');
    // Over a socket the peer may have ended its side in order.
    await reader.read().then(
      ({ done }) => t.true(done),
      (error: unknown) => t.true(error instanceof ConnectionError),
    );
  });
}

test('what is unread comes first, and the rest of a reader that stops stays in the stream', async (t) => {
  const [client, server] = await tcp(t);
  await server.write('HELLO\nrest');
  t.is((await client.readline()).toString(), 'HELLO\n');
  const { readable, writable } = client.toWeb();
  const reader = readable.getReader({ mode: 'byob' });
  t.is(Buffer.from((await reader.read(new Uint8Array(2))).value!).toString(), 're');
  reader.releaseLock();
  const again = await connect({ web: { readable, writable } });
  await server.write(' and more');
  await server.close();
  t.is((await again.read(-1)).toString(), 'st and more');
});

test('a reader that is released while it waits loses no bytes', async (t) => {
  const [client, server] = await tcp(t);
  const { readable } = client.toWeb();
  for (const [mode, text] of [
    ['default', 'one'],
    ['byob', 'two'],
    ['default', 'three'],
  ] as const) {
    const first = mode === 'byob' ? readable.getReader({ mode }) : readable.getReader();
    const waiting = (first.read as (view: Uint8Array) => Promise<unknown>)(new Uint8Array(10));
    await turn();
    first.releaseLock();
    await t.throwsAsync(waiting, { instanceOf: TypeError });
    await server.write(text);
    await turn();
    const second = readable.getReader();
    t.is(Buffer.from((await second.read()).value!).toString(), text);
    second.releaseLock();
  }
});

test('a chunk that arrives after a reader was released is read before the loss of the connection', async (t) => {
  const [client, server] = streampair();
  const { readable } = client.toWeb();
  const first = readable.getReader();
  const waiting = first.read();
  await turn();
  first.releaseLock();
  await t.throwsAsync(waiting, { instanceOf: TypeError });
  await server.write('last words');
  await server.abort();
  await client.waitClosed().catch(() => {});
  for (let i = 0; i < 5; i++) await turn();
  const second = readable.getReader();
  t.is(Buffer.from((await second.read()).value!).toString(), 'last words');
  await t.throwsAsync(second.read(), { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

test('tee() gives both branches every byte', async (t) => {
  const [client, server] = await tcp(t);
  const [one, other] = client.toWeb().readable.tee();
  void server.write(DATA.subarray(0, 300_000));
  void server.close();
  const [first, second] = await Promise.all([gather(one), gather(other)]);
  sameBytes(t, first, DATA.subarray(0, 300_000));
  sameBytes(t, second, DATA.subarray(0, 300_000));
});

test('tee(): cancelling one branch leaves the other one', async (t) => {
  const [client, server] = await tcp(t);
  const [one, other] = client.toWeb().readable.tee();
  void server.write('first');
  const reader = one.getReader();
  await reader.read();
  void reader.cancel();
  void server.write(' second');
  void server.close();
  t.is((await gather(other)).toString(), 'first second');
});

test('leaving a loop early cancels the readable', async (t) => {
  const [client, server] = await tcp(t);
  const { readable, writable } = client.toWeb();
  await server.write('some');
  for await (const chunk of readable) {
    t.is(Buffer.from(chunk).toString(), 'some');
    break;
  }
  await writable.close();
  await server.close();
  await client.waitClosed();
});

test('values({ preventCancel: true }) leaves the readable open', async (t) => {
  const [client, server] = await tcp(t);
  const { readable } = client.toWeb();
  await server.write('some');
  for await (const chunk of readable.values({ preventCancel: true })) {
    t.is(Buffer.from(chunk).toString(), 'some');
    break;
  }
  await server.write('more');
  await server.close();
  t.is((await gather(readable)).toString(), 'more');
});

test('chunks can be transferred: none of them shares memory', async (t) => {
  const [client, server] = await tcp(t);
  const { readable } = client.toWeb();
  const reader = readable.getReader();
  const seen: ArrayBufferLike[] = [];
  for (const text of ['one', 'two', 'three']) {
    await server.write(text);
    const { value } = await reader.read();
    t.is(value!.buffer.byteLength, value!.byteLength);
    seen.push(structuredClone(value!.buffer, { transfer: [value!.buffer as ArrayBuffer] }));
  }
  t.deepEqual(
    seen.map((buffer) => Buffer.from(buffer as ArrayBuffer).toString()),
    ['one', 'two', 'three'],
  );
});

test('the writable accepts strings, ArrayBuffers and any view', async (t) => {
  const [client, server] = await tcp(t);
  const writer = client.toWeb().writable.getWriter();
  void writer.write('é');
  void writer.write(new Uint8Array([1, 2]).buffer);
  void writer.write(new Uint16Array([0x0303]));
  void writer.write(new DataView(new Uint8Array([9, 4, 9]).buffer, 1, 1));
  await writer.close();
  sameBytes(t, await server.read(-1), Buffer.from('c3a90102030304', 'hex'));
});

test('another chunk aborts the connection with an error that names it', async (t) => {
  const [client] = await tcp(t);
  const { readable, writable } = client.toWeb();
  const writer = writable.getWriter();
  const error = await t.throwsAsync(writer.write({ a: 1 } as never), { instanceOf: TypeError });
  t.regex(error?.message ?? '', /^toWeb: .*chunk/);
  await t.throwsAsync(readable.getReader().read(), { instanceOf: TypeError });
  await client.waitClosed();
});

test('100 MB in each direction by pipeTo(), to a slow destination: every byte arrives, and little is buffered', async (t) => {
  const [client, server] = await tcp(t);
  const near = client.toWeb();
  const far = server.toWeb();
  let most = 0;
  const slow = (stream: Stream): ReturnType<typeof sink> =>
    sink(async () => {
      most = Math.max(most, stream.buffered + stream.writeBufferSize);
      await turn();
    });
  const [up, down] = [source(100_000_000, 500_000), source(100_000_000, 500_000)];
  const [upTarget, downTarget] = [slow(server), slow(client)];
  await Promise.all([
    up.readable.pipeTo(near.writable),
    far.readable.pipeTo(upTarget.writable),
    down.readable.pipeTo(far.writable),
    near.readable.pipeTo(downTarget.writable),
  ]);
  t.is(upTarget.digest(), up.digest());
  t.is(downTarget.digest(), down.digest());
  t.true(most <= 2_000_000, `${most}`);
});

test('a destination of pipeTo() that fails cancels the readable', async (t) => {
  const [client, server] = await tcp(t);
  const { readable, writable } = client.toWeb();
  const target = new WritableStream<Uint8Array>({
    write() {
      throw new Error('full');
    },
  });
  await server.write('some');
  await t.throwsAsync(readable.pipeTo(target), { message: 'full' });
  await writable.close();
  t.is((await server.read(-1)).length, 0);
});

test('a source of pipeTo() that fails aborts the connection', async (t) => {
  const [client] = await tcp(t);
  const { writable } = client.toWeb();
  const failing = new ReadableStream({
    pull() {
      throw new Error('source');
    },
  });
  await t.throwsAsync(failing.pipeTo(writable), { message: 'source' });
  await client.waitClosed();
  t.true(client.isClosing());
});

test('pipeTo() with a signal stops', async (t) => {
  const [client, server] = await tcp(t);
  const { readable } = client.toWeb();
  const controller = new AbortController();
  const running = readable.pipeTo(sink().writable, { signal: controller.signal });
  await server.write('some');
  controller.abort();
  await running.then(
    () => t.fail(),
    (error: unknown) => t.is((error as Error).name, 'AbortError'),
  );
});

test('a reset while nothing is read or written neither ends the process nor goes unreported', async (t) => {
  const server = await listen(t, (socket) => void socket.once('data', () => socket.resetAndDestroy()));
  const client = await connect('127.0.0.1', server.port);
  const { readable, writable } = client.toWeb();
  const writer = writable.getWriter();
  const reader = readable.getReader();
  const waiting = reader.read();
  await writer.write('x');
  await t.throwsAsync(waiting, { instanceOf: ConnectionError });
  await t.throwsAsync(writer.closed, { instanceOf: ConnectionError });
  await t.throwsAsync(reader.closed, { instanceOf: ConnectionError });
});

test('close() of the stream ends reading and fails the writable', async (t) => {
  const [client, server] = await tcp(t);
  const { readable, writable } = client.toWeb();
  await server.write('some');
  await until(() => client.buffered === 4);
  const [all] = await Promise.all([gather(readable), client.close()]);
  t.is(all.toString(), 'some');
  await t.throwsAsync(writable.getWriter().closed, { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

test('a stream with one direction: the other one is closed', async (t) => {
  const pipe = new TransformStream<Uint8Array>();
  const from = Duplex.fromWeb(pipe as never);
  const reading = (await connectReadPipe(from)).toWeb();
  await reading.writable.getWriter().closed;
  t.false(reading.readable.locked);
  const to = (await connectWritePipe(from)).toWeb();
  t.true((await to.readable.getReader().read()).done);
  await to.writable.getWriter().write('x');
  t.is(Buffer.from((await reading.readable.getReader().read()).value!).toString(), 'x');
});

test('calls of the stream are refused afterwards, and toWeb() while a read waits', async (t) => {
  const [client] = await tcp(t);
  const line = client.readline();
  t.throws(() => client.toWeb(), { code: 'ERR_CONCURRENT_READ' });
  void client.abort();
  await line;
  const [other] = await tcp(t);
  other.toWeb();
  await t.throwsAsync(other.readline(), {
    code: 'ERR_STREAM_HANDED_OVER',
    message: 'readline: the stream was handed over by toWeb()',
  });
  t.throws(() => other.toDuplex(), { code: 'ERR_STREAM_HANDED_OVER' });
});

test('a handler serves web streams', async (t) => {
  const server = new StreamServer(
    async (stream: Stream) => {
      const { readable, writable } = stream.toWeb();
      await readable
        .pipeThrough(new CompressionStream('gzip') as never)
        .pipeThrough(new DecompressionStream('gzip'))
        .pipeTo(writable);
    },
    '127.0.0.1',
    0,
  );
  t.teardown(() => server.abort());
  await server.startServing();
  const client = await connect('127.0.0.1', portOf(server));
  await client.write(DATA.subarray(0, 100_000));
  await client.writeEof();
  sameBytes(t, await client.read(-1), DATA.subarray(0, 100_000));
});

// ---------------------------------------------------------------------------------------------- connect({ web })

/** A stream over web streams, and the other ends of these. */
async function overWeb(
  t: ExecutionContext,
  options: { queuingStrategy?: { highWaterMark: number } } = {},
): Promise<{
  stream: Stream;
  peer: { readable: ReadableStream<Uint8Array>; writable: WritableStream<Uint8Array> };
}> {
  const { queuingStrategy } = options;
  const there = new TransformStream<Uint8Array, Uint8Array>({}, queuingStrategy, queuingStrategy);
  const back = new TransformStream<Uint8Array, Uint8Array>({}, queuingStrategy, queuingStrategy);
  const stream = await connect({ web: { readable: back.readable, writable: there.writable } });
  t.teardown(() => stream.abort());
  return { stream, peer: { readable: there.readable, writable: back.writable } };
}

for (const highWaterMark of [undefined, 0, 1]) {
  test(`connect({ web }) reads and writes; high-water mark: ${highWaterMark}`, async (t) => {
    const { stream, peer } = await overWeb(
      t,
      highWaterMark === undefined ? {} : { queuingStrategy: { highWaterMark } },
    );
    const received = gather(peer.readable);
    await stream.write('question\n');
    void stream.write(DATA.subarray(0, 300_000));
    await stream.writeEof();
    sameBytes(t, await received, Buffer.concat([Buffer.from('question\n'), DATA.subarray(0, 300_000)]));
    const writer = peer.writable.getWriter();
    void writer.write(new Uint8Array(Buffer.from('answer\nre')));
    void writer.write(new Uint8Array());
    void writer.write(new Uint8Array(Buffer.from('st')));
    t.is((await stream.readline()).toString(), 'answer\n');
    void writer.close();
    t.is((await stream.read(-1)).toString(), 'rest');
    await stream.close();
  });
}

test('connect({ web }): what the peer receives is not changed by later writes', async (t) => {
  const { stream, peer } = await overWeb(t);
  const reader = peer.readable.getReader();
  const kept: Uint8Array[] = [];
  for (let i = 0; i < 50; i++) {
    void stream.write(`message ${i};`);
    const { value } = await reader.read();
    kept.push(value!);
    structuredClone(value!.buffer, { transfer: i % 2 === 0 ? [value!.buffer as ArrayBuffer] : [] });
  }
  t.is(Buffer.from(kept[1]!).toString(), 'message 1;');
  t.is(Buffer.from(kept[49]!).toString(), 'message 49;');
});

test('connect({ web }): close() ends both directions', async (t) => {
  const { stream, peer } = await overWeb(t);
  const received = gather(peer.readable);
  await stream.write('last');
  const closing = stream.close();
  t.is((await received).toString(), 'last');
  await peer.writable.close();
  await closing;
});

test('connect({ web }): abort() cancels the readable, and aborts the writable if something is missing', async (t) => {
  const complete = await overWeb(t);
  await complete.stream.abort();
  t.true((await complete.peer.readable.getReader().read()).done);
  await t.throwsAsync(complete.peer.writable.getWriter().closed, { instanceOf: ConnectionError, code: 'ECONNRESET' });

  const cut = await overWeb(t, { queuingStrategy: { highWaterMark: 0 } });
  cut.stream.write('never read').catch(() => {});
  await turn();
  await cut.stream.abort();
  await t.throwsAsync(cut.peer.readable.getReader().read(), { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

test('connect({ web }): an error of either stream is the reason of the loss', async (t) => {
  const reason = new Error('broken');
  const one = await overWeb(t);
  await one.peer.writable.abort(reason);
  t.is(await t.throwsAsync(one.stream.readline()), reason);

  const other = await overWeb(t);
  await other.peer.readable.cancel('not an error');
  // Only this direction has ended.
  void other.peer.writable.getWriter().write(new Uint8Array(Buffer.from('line\n')));
  t.is((await other.stream.readline()).toString(), 'line\n');
  const waiting = t.throwsAsync(other.stream.readline(), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  other.stream.write('x').catch(() => {});
  t.is((await waiting)?.cause, 'not an error');
});

test('connect({ web }): a chunk that is neither bytes nor a string ends the connection', async (t) => {
  const { stream, peer } = await overWeb(t);
  const writer = (peer.writable as WritableStream<unknown>).getWriter();
  writer.closed.catch(() => {});
  writer.write('text ').catch(() => {});
  writer.write(new Uint16Array([0x4141]).buffer).catch(() => {});
  writer.write(7).catch(() => {});
  t.is((await stream.readexactly(7)).toString(), 'text AA');
  const error = await t.throwsAsync(stream.readline(), { instanceOf: TypeError });
  t.regex(error?.message ?? '', /chunk of web\.readable/);
});

test('connect({ web }): a peer that does not read stops the writer', async (t) => {
  const { stream, peer } = await overWeb(t, { queuingStrategy: { highWaterMark: 1 } });
  const chunk = Buffer.alloc(65536);
  let sent = 0;
  while (stream.writeBufferSize <= 2 * 65536) {
    void stream.write(chunk);
    sent += chunk.length;
    await turn();
  }
  t.true(sent < 20 * 65536, `${sent}`);
  const [all] = await Promise.all([gather(peer.readable), stream.writeEof()]);
  t.is(all.length, sent);
  await stream.abort();
});

test('connect({ web }): TLS over web streams', async (t) => {
  const { certificates } = await import('../certificates.js');
  const { ca, server: identity } = await certificates();
  const there = new TransformStream<Uint8Array>();
  const back = new TransformStream<Uint8Array>();
  const [client, server] = await Promise.all([
    connect({ web: { readable: back.readable, writable: there.writable }, ssl: { ca }, serverHostname: 'localhost' }),
    connect({ web: { readable: there.readable, writable: back.writable }, ssl: identity, serverSide: true }),
  ]);
  await client.write('secret\n');
  t.is((await server.readline()).toString(), 'secret\n');
  await Promise.all([client.close(), server.close()]);
});

test('connect({ web }) refuses locked streams and other values', async (t) => {
  const { readable, writable } = new TransformStream();
  const reader = readable.getReader();
  await t.throwsAsync(connect({ web: { readable, writable } }), {
    code: 'ERR_IN_USE',
    message: 'connect: web.readable is locked',
  });
  t.false(writable.locked);
  reader.releaseLock();
  await t.throwsAsync(connect({ web: { readable } as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(connect({ web: null as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(connect({ web: { readable, writable }, sock: 1 } as never), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(connect({ web: { readable, writable }, limit: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  t.false(readable.locked);
  const [client] = streampair();
  const stream = await connect({ web: client.toWeb() });
  await stream.abort();
});
