/** Frames, windows, bodies and lines as strings over every transport, with real data and pauses. */
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  IncompleteReadError,
  LimitOverrunError,
  StreamServer,
  UnixStreamServer,
  connect,
  connectReadPipe,
  connectUnix,
  connectWritePipe,
  streampair,
  type LengthFraming,
  type Stream,
} from 'sluice';
import { TUNING } from '#ts/reader/intake.js';
import { sameBytes } from '../bytes.js';
import { certificates } from '../certificates.js';
import { directory, fifo, unixPath } from '../fifo.js';
import { deferred, portOf, until } from '../loopback.js';
import { randomFrom, seed } from '../seed.js';

const MUCH = 2 * 1024 * 1024;

/** Lines of all lengths, most of them short, some of them not ASCII. */
function lines(first: number): Buffer {
  const random = randomFrom(first);
  const parts: string[] = [];
  for (let bytes = 0; bytes < MUCH;) {
    const length = random(50) === 0 ? random(30_000) : random(100);
    const part = `${(random(9) === 0 ? 'é' : 'x').repeat(length)}${random(3) === 0 ? '\r' : ''}\n`;
    parts.push(part);
    bytes += part.length;
  }
  return Buffer.from(parts.join(''));
}

type Dial = (t: ExecutionContext, data: Buffer) => Promise<Stream>;

async function overTcp(t: ExecutionContext, data: Buffer, encrypted: boolean): Promise<Stream> {
  const tls = encrypted ? await certificates() : null;
  const server = new StreamServer(
    async (stream) => {
      await stream.write(data);
    },
    '127.0.0.1',
    0,
    tls === null ? {} : { ssl: { key: tls.server.key, cert: tls.server.cert } },
  );
  await server.startServing();
  t.teardown(() => server.abort());
  return connect('127.0.0.1', portOf(server), tls === null ? {} : { ssl: { ca: tls.ca }, serverHostname: 'localhost' });
}

const transports: readonly (readonly [string, Dial])[] = [
  ['TCP', (t, data) => overTcp(t, data, false)],
  ['TLS', (t, data) => overTcp(t, data, true)],
  [
    'Unix socket',
    async (t, data) => {
      const file = unixPath(t);
      const server = new UnixStreamServer(async (stream) => {
        await stream.write(data);
      }, file);
      await server.startServing();
      t.teardown(() => server.abort());
      return connectUnix(file);
    },
  ],
  [
    'pipe',
    (_t, data) => {
      const pipe = new PassThrough();
      pipe.end(data);
      return connectReadPipe(pipe);
    },
  ],
  [
    'memory',
    (_t, data) => {
      const [client, server] = streampair();
      void server.write(data);
      void server.close();
      return Promise.resolve(client);
    },
  ],
];

for (const [name, dial] of transports) {
  test(`${name}: frames do not change while more data arrives`, async (t) => {
    const data = lines(seed(t));
    await using stream = await dial(t, data);
    const seen: Buffer[] = [];
    let left = 0;
    for (let frames; (frames = await stream.readframes()).length > 0; left++) {
      const copy = Buffer.from(frames.bytes);
      // Turns of the event loop in which the transport continues to read.
      for (let i = left % 4; i > 0; i--) await turn();
      if (!frames.bytes.equals(copy)) t.fail('lent memory has changed');
      sameBytes(t, Buffer.concat([...frames]), copy);
      seen.push(copy);
    }
    t.true(stream.atEof());
    sameBytes(t, Buffer.concat(seen), data);
  });

  test(`${name}: alternating lines and batches of lines return every line of the data`, async (t) => {
    const data = lines(seed(t));
    await using stream = await dial(t, data);
    const seen: string[] = [];
    while (!stream.atEof()) {
      let n = 0;
      for await (const line of stream.lines({ keepEnds: true })) if (seen.push(line) && ++n === 1000) break;
      for await (const batch of stream.lines({ keepEnds: true }).batches()) {
        for (const line of batch) seen.push(line);
        if (++n > 1005) break;
      }
    }
    t.is(seen.length, data.toString('latin1').split('\n').length - 1);
    sameBytes(t, Buffer.from(seen.join('')), data);
  });
}

// --- frames by length, windows and bodies, in both directions

const LIMIT = 65536;

type Wire = readonly [sender: Stream, receiver: Stream];
type Kind = 'TCP' | 'TLS' | 'Unix socket';

/** @returns the stream of the client, and that of the server */
async function connected(t: ExecutionContext, kind: Kind, limit: number): Promise<Wire> {
  const { ca, server: ssl } = await certificates();
  const encrypted = kind === 'TLS';
  const accepted = deferred<Stream>();
  const handler = (stream: Stream): void => accepted.resolve(stream);
  const options = { limit, ...(encrypted ? { ssl } : {}) };
  const dialed = { limit, ...(encrypted ? { ssl: { ca }, serverHostname: 'localhost' } : {}) };
  if (kind === 'Unix socket') {
    const file = unixPath(t);
    const server = new UnixStreamServer(handler, file, options);
    t.teardown(() => server.abort());
    await server.startServing();
    return [await connectUnix(file, dialed), await accepted.promise];
  }
  const server = new StreamServer(handler, '127.0.0.1', 0, options);
  t.teardown(() => server.abort());
  await server.startServing();
  return [await connect('127.0.0.1', portOf(server), dialed), await accepted.promise];
}

const kinds: Kind[] = ['TCP', 'TLS', 'Unix socket'];
const WIRES: readonly (readonly [string, (t: ExecutionContext, limit: number) => Promise<Wire>])[] = [
  ...kinds.flatMap((kind) => [
    [`${kind}, to the server`, (t: ExecutionContext, limit: number) => connected(t, kind, limit)] as const,
    [
      `${kind}, to the client`,
      async (t: ExecutionContext, limit: number) => {
        const [client, server] = await connected(t, kind, limit);
        return [server, client] as const;
      },
    ] as const,
  ]),
  [
    'pipe',
    async (t, limit) => {
      const ends = fifo(directory(t));
      return [await connectWritePipe(ends.writer), await connectReadPipe(ends.reader, { limit })];
    },
  ],
  ['memory', (_t, limit) => Promise.resolve(streampair({ limit }))],
];

const WIDE: LengthFraming = { length: 'uint32be', offset: 1, skip: 'header', limit: 2 ** 20 };

const READS: Record<string, (stream: Stream) => AsyncIterable<Buffer>> = {
  async *readframe(stream) {
    for (let frame; (frame = await stream.readframe(WIDE)) !== null;) yield frame;
  },
  frames: (stream) => stream.frames(WIDE),
  async *readframes(stream) {
    for (let frames; (frames = await stream.readframes(WIDE)).length > 0;) yield* frames;
  },
  async *batches(stream) {
    for await (const frames of stream.frames(WIDE).batches()) yield* frames;
  },
  async *tryReadframe(stream) {
    for (;;) {
      const buffered = stream.tryReadframe(WIDE);
      const frame = buffered === undefined ? await stream.readframe(WIDE) : buffered;
      if (frame === null) return;
      yield frame;
    }
  },
};

/** The bytes that a frame of this number and size has. */
function filler(n: number, size: number): Buffer {
  const bytes = Buffer.alloc(size, `${n}, `);
  bytes[0] = n & 0xff;
  return bytes;
}

/** 10 MB in which every part differs from every other. */
const BODY = Buffer.from(Uint32Array.from({ length: 2_500_000 }, (_, i) => Math.imul(4 * i, 2654435761)).buffer);

for (const [name, wire] of WIRES) {
  test(`${name}: frames of all sizes, also above 64 KiB, arrive whole and in order`, async (t) => {
    const random = randomFrom(seed(t));
    for (const [read, frames] of Object.entries(READS)) {
      const [sender, receiver] = await wire(t, LIMIT);
      const sizes = Array.from({ length: 1000 }, () => 1 + (random(100) === 0 ? random(300_000) : random(100)));
      const sending = (async () => {
        for (const [n, size] of sizes.entries()) await sender.writeframe(filler(n, size), WIDE);
        await sender.close();
      })();
      let n = 0;
      for await (const frame of frames(receiver)) {
        const size = sizes[n] as number;
        if (!frame.equals(filler(n, size).subarray(1))) t.fail(`${read}: frame ${n} of ${size} bytes`);
        n++;
      }
      t.is(n, sizes.length, read);
      await sending;
      t.true(receiver.atEof());
      await receiver.close();
    }
  });

  test(`${name}: a huge length is refused, and no memory is allocated for it`, async (t) => {
    const [sender, receiver] = await wire(t, LIMIT);
    const framing: LengthFraming = { length: 'uint64be' };
    await sender.write(Buffer.from('001fffffffffff00', 'hex'));
    await until(() => receiver.buffered === 8);
    // In one turn, in which no other test allocates.
    const before = process.memoryUsage().arrayBuffers;
    const one = receiver.readframe(framing);
    const all = receiver.readframes(framing);
    t.throws(() => receiver.tryReadframe(framing), { instanceOf: LimitOverrunError });
    t.true(process.memoryUsage().arrayBuffers - before < 2 ** 20);
    const error = await t.throwsAsync<LimitOverrunError>(one, { instanceOf: LimitOverrunError });
    t.is(error.consumed, Number.MAX_SAFE_INTEGER - 247);
    await t.throwsAsync(all, { instanceOf: LimitOverrunError });
    t.is(receiver.buffered, 8);
    await Promise.all([receiver.abort(), sender.abort()]);
  });

  test(`${name}: a receiver that reads frames slowly bounds the memory of both sides`, async (t) => {
    const limit = 16384;
    const [sender, receiver] = await wire(t, limit);
    const payload = Buffer.alloc(8192, 'x');
    const many = (name === 'TCP, to the server' ? 20_000_000 : 4_000_000) / payload.length;
    let waiting = 0;
    const sending = (async () => {
      for (let n = 0; n < many; n++) {
        await sender.writeframe(payload, { length: 'uint32be' });
        waiting = Math.max(waiting, sender.writeBufferSize);
      }
      await sender.close();
    })();
    let most = 0;
    let frames = 0;
    while ((await receiver.readframe({ length: 'uint32be' })) !== null) {
      frames++;
      await turn();
      most = Math.max(most, receiver.buffered);
    }
    await sending;
    t.is(frames, Math.ceil(many));
    // Above twice the limit by one read of the transport at most.
    t.true(most <= 2 * limit + TUNING.directMost, `${most} bytes were buffered`);
    t.true(waiting <= 65536 + payload.length + 4, `${waiting} bytes waited to be sent`);
    await receiver.close();
  });

  test(`${name}: windows and chunks(n) give a body of 10 MB as it was sent`, async (t) => {
    const [sender, receiver] = await wire(t, LIMIT);
    const body = BODY;
    const sending = (async () => {
      await sender.write(body);
      await sender.write('|');
      await sender.write(body);
      await sender.write('|end');
      await sender.close();
    })();
    let size = 0;
    for await (const chunk of receiver.chunks(body.length)) {
      if (!chunk.equals(body.subarray(size, size + chunk.length))) t.fail(`a chunk at ${size} has other bytes`);
      size += chunk.length;
    }
    t.is(size, body.length);
    t.is((await receiver.readexactly(1)).toString(), '|');

    for (let left = body.length, n = 0; left > 0; n++) {
      const window = await receiver.window(Math.min(left, 1 + ((n * 7919) % 100_000)));
      // Turns in which more data arrives: the window stays as it is.
      if (n % 3 === 0) await turn();
      const used = Math.min(left, Math.max(1, window.length - (n % 50)));
      const at = body.length - left;
      if (!window.subarray(0, used).equals(body.subarray(at, at + used))) t.fail(`a window at ${at} has other bytes`);
      receiver.consume(used);
      left -= used;
    }
    await receiver.discard(1);
    t.is((await receiver.read()).toString(), 'end');
    await sending;
    await receiver.close();
  });

  test(`${name}: polling a try on a stream that back-pressure has paused does not stall`, async (t) => {
    const [sender, receiver] = await wire(t, 1024);
    const frame = Buffer.alloc(200_000, 'x');
    const polls: Record<string, () => { readonly length: number } | null | undefined> = {
      tryReadframe: () => receiver.tryReadframe(WIDE),
      tryReadframes: () => receiver.tryReadframes(WIDE),
      tryReadexactly: () => receiver.tryReadexactly(frame.length + 4),
      tryWindow: () => receiver.tryWindow(frame.length + 4),
    };
    const sending = (async () => {
      for (let i = 0; i < 4; i++) await sender.writeframe(frame, WIDE);
      await sender.close();
    })();
    for (const [poll, result] of Object.entries(polls)) {
      await until(() => receiver.buffered > 2 * 1024);
      let got;
      while ((got = result()) === undefined) await turn();
      t.true(got !== null && got.length > 0, poll);
      if (poll === 'tryWindow') receiver.consume(frame.length + 4);
    }
    t.is((await receiver.read()).length, 0);
    await sending;
    await receiver.close();
  });

  test(`${name}: a stream that ends within a frame gives the rest with the error`, async (t) => {
    for (const size of [10, 200_000]) {
      const [sender, receiver] = await wire(t, LIMIT);
      const header = Buffer.of(0x61, 0, 0x0f, 0x42, 0x3b - 5);
      await sender.write(Buffer.concat([header, Buffer.alloc(size, 'x')]));
      const reading = receiver.readframe(WIDE);
      const [error] = await Promise.all([
        t.throwsAsync<IncompleteReadError>(reading, { instanceOf: IncompleteReadError }),
        sender.close(),
      ]);
      t.is(error.partial.length, size + header.length);
      t.deepEqual(error.partial.subarray(0, 5), header);
      t.is(error.expected, 5 + header.readUInt32BE(1));
      t.is(await receiver.readframe(WIDE), null);
      t.is(receiver.tryReadframe(WIDE), null);
      await receiver.close();
    }
  });
}

test('on a stream that can only be written, the reads of frames, windows and bodies reject or throw', async (t) => {
  await using stream = await connectWritePipe(new PassThrough());
  const code = { code: 'ERR_STREAM_WRITE_ONLY' };
  const waiting: Record<string, () => Promise<unknown>> = {
    readframe: () => stream.readframe(WIDE),
    readframes: () => stream.readframes(WIDE),
    frames: () => stream.frames(WIDE).next(),
    'frames().batches()': () => stream.frames(WIDE).batches().next(),
    window: () => stream.window(),
    chunks: () => stream.chunks(5).next(),
    discard: () => stream.discard(5),
  };
  for (const [name, call] of Object.entries(waiting)) {
    const error = await t.throwsAsync(call(), code, name);
    t.regex(error?.message ?? '', new RegExp(`^${name.replace(/[(.].*/, '')}: The stream is write-only`));
  }
  const atOnce: Record<string, () => unknown> = {
    tryRead: () => stream.tryRead(),
    tryReadline: () => stream.tryReadline(),
    tryReaduntil: () => stream.tryReaduntil(),
    tryReadexactly: () => stream.tryReadexactly(1),
    tryReadframe: () => stream.tryReadframe(WIDE),
    tryReadframes: () => stream.tryReadframes(WIDE),
    tryWindow: () => stream.tryWindow(),
    consume: () => stream.consume(0),
  };
  for (const [name, call] of Object.entries(atOnce)) {
    const error = t.throws(call, code, name);
    t.regex(error?.message ?? '', new RegExp(`^${name}: The stream is write-only`));
  }
});

test('on a stream that can only be read, writeframe rejects', async (t) => {
  await using stream = await connectReadPipe(new PassThrough());
  const written = Promise.resolve(stream.writeframe('x', WIDE));
  await t.throwsAsync(written, { code: 'ERR_STREAM_READ_ONLY', message: /^writeframe: The stream is read-only/ });
});
