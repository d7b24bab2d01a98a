/** Frames by length, of one size, and by a function: what every read of frames gives, and what is refused. */
// Runs once for each engine: no socket is read.
import { spawnSync } from 'node:child_process';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import {
  FrameError,
  IncompleteReadError,
  LimitOverrunError,
  StreamReader,
  type CustomFraming,
  type Framing,
  type LengthFraming,
} from 'sluice';
import { readerIntake } from '#ts/reader/reader.js';
import { sameBytes } from '../bytes.js';
import { seed } from '../seed.js';

// --- the model: one frame by BigInt, byte by byte

type Cut = { end: number; start: number } | 'incomplete' | 'malformed';

const FIXED = /^uint(\d+)(be|le)?$/;

function cut(bytes: Buffer, at: number, framing: LengthFraming): Cut {
  const { length, offset = 0, adjust = 0, skip = 0, maxLengthBytes = 10 } = framing;
  const field = [...bytes.subarray(at + offset)];
  const [, bits, order] = FIXED.exec(length) ?? [];
  let width = Number(bits) / 8;
  if (length === 'varint') {
    width = field.findIndex((byte) => byte < 0x80) + 1;
    if (width > maxLengthBytes || (width === 0 && field.length >= maxLengthBytes)) return 'malformed';
  }
  if (length === 'quic') width = field.length === 0 ? 0 : 2 ** (field[0]! >> 6);
  if (width === 0 || field.length < width) return 'incomplete';
  const digits = field.slice(0, width);
  if (order === 'le' || length === 'varint') digits.reverse();
  if (length === 'quic') digits[0]! &= 0x3f;
  const base = length === 'varint' ? 128n : 256n;
  const value = digits.reduce((sum, digit) => sum * base + BigInt(length === 'varint' ? digit & 0x7f : digit), 0n);
  const header = offset + width;
  const whole = BigInt(header) + value + BigInt(adjust);
  const left = skip === 'header' ? header : skip;
  if (value >= 2n ** 53n || whole >= 2n ** 53n || whole < header || whole < left) return 'malformed';
  if (whole > bytes.length - at) return 'incomplete';
  return { end: at + Number(whole), start: at + left };
}

function model(bytes: Buffer, framing: LengthFraming): { frames: Buffer[]; rest: Buffer } {
  const frames: Buffer[] = [];
  let at = 0;
  for (;;) {
    const next = cut(bytes, at, framing);
    if (typeof next === 'string' || next.end === at) return { frames, rest: bytes.subarray(at) };
    frames.push(bytes.subarray(next.start, next.end));
    at = next.end;
  }
}

const FIELDS = [
  ['uint8', 200],
  ['uint16be', 300],
  ['uint16le', 300],
  ['uint24be', 300],
  ['uint24le', 300],
  ['uint32be', 300],
  ['uint32le', 300],
  ['uint48be', 300],
  ['uint48le', 300],
  ['uint64be', 300],
  ['uint64le', 300],
  ['varint', 300],
  ['quic', 300],
] as const;

function encoded(type: LengthFraming['length'], value: number): Buffer {
  const [, bits, order] = FIXED.exec(type) ?? [];
  if (bits !== undefined) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(BigInt(value));
    const field = bytes.subarray(8 - Number(bits) / 8);
    return order === 'le' ? Buffer.from(field).reverse() : field;
  }
  if (type === 'varint') return value < 0x80 ? Buffer.of(value) : Buffer.of((value & 0x7f) | 0x80, value >> 7);
  return value < 64 ? Buffer.of(value) : Buffer.of(0x40 | (value >> 8), value & 0xff);
}

const COUNTED = Uint8Array.from({ length: 256 }, (_, i) => 0xa0 + i);

/** Frames with payloads of these sizes, counted from 0xa0. */
function stream(framing: LengthFraming, sizes: readonly number[]): Buffer {
  const { length, offset = 0, adjust = 0 } = framing;
  return Buffer.concat(
    sizes.flatMap((size) => [Buffer.alloc(offset, 0x11), encoded(length, size - adjust), Buffer.alloc(size, COUNTED)]),
  );
}

/** Feeds the pieces while it is read, then ends. */
function dripped(pieces: Iterable<Uint8Array>, limit = 65536): StreamReader {
  const reader = new StreamReader({ limit });
  void (async () => {
    for (const piece of pieces) {
      await new Promise((resolve) => setImmediate(resolve));
      reader.feedData(piece);
    }
    reader.feedEof();
  })();
  return reader;
}

function* pieces(bytes: Buffer, next: () => number): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const size = Math.max(1, next());
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

/** Every way to read all frames of a stream. */
const WAYS: Record<string, (reader: StreamReader, framing: Framing) => Promise<Buffer[]>> = {
  async readframe(reader, framing) {
    const frames: Buffer[] = [];
    for (let frame; (frame = await reader.readframe(framing)) !== null;) frames.push(frame);
    return frames;
  },
  async readframes(reader, framing) {
    const all: Buffer[] = [];
    for (let frames; (frames = await reader.readframes(framing)).length > 0;) {
      const { bytes, starts, ends } = frames;
      const byPosition = [...ends].map((end, i) => Buffer.from(bytes.subarray(starts[i], end)));
      const listed = [...frames].map((frame) => Buffer.from(frame));
      if (Buffer.compare(Buffer.concat(byPosition), Buffer.concat(listed)) !== 0) throw new Error('starts differ');
      if (frames.texts('latin1').join() !== listed.map((frame) => frame.toString('latin1')).join()) {
        throw new Error('texts differ');
      }
      all.push(...listed);
    }
    return all;
  },
  async frames(reader, framing) {
    const frames: Buffer[] = [];
    for await (const frame of reader.frames(framing)) frames.push(frame);
    return frames;
  },
  async batches(reader, framing) {
    const frames: Buffer[] = [];
    for await (const batch of reader.frames(framing).batches()) {
      for (const frame of batch) frames.push(Buffer.from(frame));
    }
    return frames;
  },
  async tryReadframe(reader, framing) {
    const frames: Buffer[] = [];
    for (;;) {
      const frame = reader.tryReadframe(framing);
      if (frame === null) return frames;
      if (frame === undefined) await turn();
      else frames.push(frame);
    }
  },
  async tryReadframes(reader, framing) {
    const all: Buffer[] = [];
    for (;;) {
      const frames = reader.tryReadframes(framing);
      if (frames?.length === 0) return all;
      if (frames === undefined) await turn();
      else for (const frame of frames) all.push(Buffer.from(frame));
    }
  },
};

async function readAll(
  t: ExecutionContext,
  bytes: Buffer,
  framing: LengthFraming,
  random: () => number,
): Promise<void> {
  const expected = model(bytes, framing).frames;
  for (const [name, read] of Object.entries(WAYS)) {
    for (const next of [() => bytes.length, () => 1, random]) {
      const got = await read(dripped(pieces(bytes, next)), framing);
      sameBytes(t, got, expected, `${name}, ${JSON.stringify(framing)}`);
    }
  }
}

for (const [length, large] of FIELDS) {
  test(`${length}: every read of frames gives the frames, however the bytes arrive`, async (t) => {
    let state = seed(t);
    const random = (): number => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
      return 1 + ((state >> 16) % 40);
    };
    for (const offset of [0, 1, 5]) {
      for (const adjust of [0, -2, 3]) {
        for (const skip of [0, 'header', offset + 1] as const) {
          const framing: LengthFraming = { length, offset, adjust, skip };
          await readAll(t, stream(framing, [3, 4, 63, large, 3, 17]), framing, random);
        }
      }
    }
  });
}

test('a framing of one size cuts the stream into pieces of that size', async (t) => {
  const bytes = Buffer.from('abcdefghijkl');
  for (const [name, read] of Object.entries(WAYS)) {
    const got = await read(dripped(pieces(bytes, () => 5)), { size: 4 });
    t.deepEqual(got.map(String), ['abcd', 'efgh', 'ijkl'], name);
  }
});

/** Netstrings: `5:hello,` */
const netstring: CustomFraming = {
  frameLength(bytes, start, end) {
    const colon = bytes.indexOf(0x3a, start);
    if (colon === -1 || colon >= end) return 0;
    return colon - start + 2 + Number(Buffer.from(bytes.subarray(start, colon)).toString());
  },
};

test('a function cuts the stream into frames, however the bytes arrive', async (t) => {
  const bytes = Buffer.from('5:hello,0:,12:hello world!,');
  for (const [name, read] of Object.entries(WAYS)) {
    for (const size of [1, 2, 3, 7, 100]) {
      const got = await read(dripped(pieces(bytes, () => size)), netstring);
      t.deepEqual(got.map(String), ['5:hello,', '0:,', '12:hello world!,'], `${name}, pieces of ${size}`);
    }
  }
});

test('a function is not asked again for a frame whose length it has given', async (t) => {
  let calls = 0;
  const framing: CustomFraming = {
    frameLength(bytes, start, end) {
      calls++;
      return end - start < 2 ? 0 : bytes[start]! * 256 + bytes[start + 1]!;
    },
  };
  const frame = Buffer.concat([Buffer.of(0, 100), Buffer.alloc(98, 0x61)]);
  const reader = dripped(pieces(frame, () => 1));
  sameBytes(t, await reader.readframe(framing), frame);
  t.is(calls, 2, 'with one byte, and with two');
});

test('a framing by separators is read by readframe, frames and the tries as by readuntil', async (t) => {
  const bytes = Buffer.from('one\r\ntwo\nthree\r\n');
  for (const [name, read] of Object.entries(WAYS)) {
    const got = await read(dripped(pieces(bytes, () => 2)), ['\n', '\r\n']);
    t.deepEqual(got.map(String), ['one\r\n', 'two\n', 'three\r\n'], name);
  }
});

// --- the limit

test('the whole frame is checked against the limit as soon as its length is known', async (t) => {
  const framing: LengthFraming = { length: 'uint16be', offset: 1, adjust: 10 };
  for (const [name, read] of Object.entries(WAYS)) {
    const reader = new StreamReader({ limit: 100 });
    // 1 + 2 + 88 + 10 = 101
    reader.feedData(Buffer.of(1, 0, 88, 2));
    const error = await t.throwsAsync(read(reader, framing), { instanceOf: LimitOverrunError }, name);
    t.is(error.consumed, 101);
    t.is(reader.buffered, 4, 'the bytes stay');
    reader.feedData(Buffer.alloc(97));
    await reader.discard(101);
    t.is(reader.buffered, 0);
    reader.feedData(Buffer.concat([Buffer.of(1, 0, 87), Buffer.alloc(97)]));
    t.is((await reader.readframe(framing))?.length, 100, 'a frame of the limit is in order');
  }
});

test('the limit of a framing stands in for that of the stream, in both directions', async (t) => {
  const frame = Buffer.concat([Buffer.of(0, 200), Buffer.alloc(200)]);
  const wide = new StreamReader({ limit: 10 });
  wide.feedData(frame);
  sameBytes(t, await wide.readframe({ length: 'uint16be', limit: 202 }), frame);
  const narrow = new StreamReader();
  narrow.feedData(frame);
  await t.throwsAsync(narrow.readframe({ length: 'uint16be', limit: 201 }), { instanceOf: LimitOverrunError });
});

test('good frames before one that is refused are handed out first', async (t) => {
  const good = stream({ length: 'uint16be' }, [3, 4]);
  const bad = Buffer.of(0xff, 0xff);
  const reader = new StreamReader({ limit: 100 });
  reader.feedData(Buffer.concat([good, bad]));
  t.is((await reader.readframes({ length: 'uint16be' })).length, 2);
  await t.throwsAsync(reader.readframes({ length: 'uint16be' }), { instanceOf: LimitOverrunError });
  await t.throwsAsync(reader.readframes({ length: 'uint16be' }), { instanceOf: LimitOverrunError });
  t.is(reader.buffered, 2);
});

test('a function that needs more bytes than the limit is a limit overrun', async (t) => {
  const reader = new StreamReader({ limit: 8 });
  reader.feedData(Buffer.alloc(9));
  const error = await t.throwsAsync(reader.readframe({ frameLength: () => 0 }), { instanceOf: LimitOverrunError });
  t.regex(error?.message ?? '', /9 bytes.* limit of 8/);
  t.is(reader.buffered, 9);
});

// --- malformed frames

const MALFORMED: [LengthFraming, number[], RegExp][] = [
  [{ length: 'uint32be', adjust: -4 }, [0, 0, 0, 3, 9], /a frame of 3 bytes, and the header alone has 4/],
  [{ length: 'uint8', adjust: -200 }, [1, 9], /a frame of -198 bytes/],
  [{ length: 'uint8', skip: 4 }, [1, 9], /a frame of 2 bytes, of which skip leaves out 4/],
  [{ length: 'uint64be' }, [255, 255, 255, 255, 255, 255, 255, 255, 9], /length is above 9007199254740991/],
  [{ length: 'uint64le' }, [0, 0, 0, 0, 0, 0, 0x20, 0, 9], /length is above 9007199254740991/],
  [{ length: 'varint', maxLengthBytes: 4 }, [0x80, 0x80, 0x80, 0x80, 9], /varint is longer than 4 bytes/],
  [{ length: 'varint' }, Array<number>(10).fill(0xff), /varint is longer than 10 bytes/],
  [{ length: 'quic' }, [255, 255, 255, 255, 255, 255, 255, 255], /length is above 9007199254740991/],
];

for (const [framing, bytes, message] of MALFORMED) {
  test(`${JSON.stringify(framing)}: a frame that begins with ${bytes.slice(0, 5).join(' ')} is malformed`, async (t) => {
    for (const [name, read] of Object.entries(WAYS)) {
      const reader = new StreamReader();
      reader.feedData(Buffer.from(bytes));
      const error = await t.throwsAsync<FrameError>(read(reader, framing), { instanceOf: FrameError, message }, name);
      t.is(error.code, 'ERR_FRAME_MALFORMED');
      t.deepEqual(error.header, Buffer.from(bytes).subarray(0, error.header.length));
      t.true(error.header.length > 0);
      t.is(reader.buffered, bytes.length, 'nothing is consumed');
    }
  });
}

test('lengths from 2 ** 31 to 2 ** 53 - 1 are over the limit, and nothing is allocated for them', async (t) => {
  for (const [hex, length] of [
    ['0000000080000000', 2 ** 31 + 8],
    ['00000000ffffffff', 2 ** 32 + 7],
    ['0000000100000000', 2 ** 32 + 8],
    ['001ffffffffffff7', Number.MAX_SAFE_INTEGER],
  ] as const) {
    for (const [name, read] of Object.entries(WAYS)) {
      const reader = new StreamReader();
      reader.feedData(Buffer.from(hex, 'hex'));
      const before = process.memoryUsage().arrayBuffers;
      const error = await t.throwsAsync(read(reader, { length: 'uint64be' }), { instanceOf: LimitOverrunError }, name);
      t.is(error.consumed, length, name);
      t.true(process.memoryUsage().arrayBuffers - before < 2 ** 20);
    }
  }
});

test('a frame longer than any buffer is over the limit, whatever that is, and says so', async (t) => {
  const limit = Number.MAX_SAFE_INTEGER;
  const byFunction = { frameLength: (bytes: Uint8Array) => Number(Buffer.from(bytes).readBigUInt64BE()) + 8, limit };
  for (const framing of [{ length: 'uint64be', limit } as const, byFunction]) {
    for (const [name, read] of Object.entries(WAYS)) {
      const reader = new StreamReader();
      reader.feedData(Buffer.from('0000000080000000', 'hex'));
      const message = /of 2147483656 bytes is over the limit of 2147483648$/;
      const error = await t.throwsAsync(read(reader, framing), { instanceOf: LimitOverrunError, message }, name);
      t.is(error?.consumed, 2 ** 31 + 8);
      t.is(reader.buffered, 8);
    }
  }
});

for (const answer of [NaN, -1, 1.5, Infinity, '8', null, undefined, {}]) {
  test(`a frameLength that returns ${inspect(answer)} makes a FrameError`, async (t) => {
    for (const [name, read] of Object.entries(WAYS)) {
      const reader = new StreamReader();
      reader.feedData('abc');
      const framing = { frameLength: () => answer as number };
      const error = await t.throwsAsync<FrameError>(read(reader, framing), { instanceOf: FrameError }, name);
      t.regex(error.message, /frameLength must return an integer of 0 or more/);
      t.is(error.header.toString(), 'abc');
      t.is(reader.buffered, 3);
    }
  });
}

test('what frameLength throws rejects the read as it is, and consumes nothing', async (t) => {
  const reason = new Error('not my protocol');
  for (const [name, read] of Object.entries(WAYS)) {
    const reader = new StreamReader();
    reader.feedData('abc');
    const framing: CustomFraming = {
      frameLength: () => {
        throw reason;
      },
    };
    t.is(await t.throwsAsync(read(reader, framing), undefined, name), reason);
    t.is(reader.buffered, 3);
    t.is((await reader.readexactly(3)).toString(), 'abc');
  }
});

test('frameLength cannot read from the stream whose frame it measures', async (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  const errors: unknown[] = [];
  const calls = [() => reader.tryRead(1), () => reader.consume(1), () => reader.unread('x')];
  const framing: CustomFraming = {
    frameLength: (_bytes, start, end) => {
      for (const call of calls) errors.push(t.throws(call, { code: 'ERR_CONCURRENT_READ' }));
      return end - start;
    },
  };
  t.is((await reader.readframe(framing))?.toString(), 'abc');
  t.is(errors.length, 3);
});

test('a read within frameLength that returns a promise rejects', async (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  const reads: Promise<unknown>[] = [];
  const framing: CustomFraming = {
    frameLength: (_bytes, start, end) => {
      reads.push(reader.read(1), reader.readexactly(1), reader.readexactly(1e6), reader.readline(), reader.window());
      return end - start;
    },
  };
  t.is((await reader.readframe(framing))?.toString(), 'abc');
  t.is(reads.length, 5);
  for (const read of reads) await t.throwsAsync(read, { code: 'ERR_CONCURRENT_READ' });
});

for (const first of [false, true]) {
  // Whether the bytes are there when the read begins, or wake it.
  const when = first ? 'the read begins' : 'bytes arrive';
  const read = (reader: StreamReader, framing: CustomFraming, signal?: AbortSignal): Promise<Buffer | null> => {
    if (first) reader.feedData('abcd');
    const frame = signal === undefined ? reader.readframe(framing) : reader.readframe(framing, { signal });
    if (!first) reader.feedData('abcd');
    return frame;
  };

  test(`frameLength ends the stream when ${when}: the read has its frame, and the next one the end`, async (t) => {
    const reader = new StreamReader();
    const failure = new Error('lost');
    const framing = { frameLength: () => (reader.setException(failure), 3) };
    t.is((await read(reader, framing))?.toString(), 'abc');
    t.is(await t.throwsAsync(reader.readexactly(2)), failure);
    t.is(reader.buffered, 1);
    const ended = new StreamReader();
    const short = await t.throwsAsync(read(ended, { frameLength: () => (ended.feedEof(), 9) }));
    t.like(short, { code: 'ERR_INCOMPLETE_READ', partial: Buffer.from('abcd'), expected: 9 });
  });

  test(`frameLength aborts the read when ${when}: a complete frame is not lost, and a wait ends`, async (t) => {
    const reason = new Error('stop');
    for (const length of [3, 9]) {
      const reader = new StreamReader();
      const controller = new AbortController();
      const framing = { frameLength: () => (controller.abort(reason), length) };
      const frame = read(reader, framing, controller.signal);
      if (length === 3) t.is((await frame)?.toString(), 'abc');
      else t.is(await t.throwsAsync(frame), reason);
      t.is(reader.buffered, length === 3 ? 1 : 4);
      reader.feedData('e');
      t.is((await reader.readexactly(1)).toString(), length === 3 ? 'd' : 'a', 'the reader can still be used');
    }
  });
}

test('frameLength that feeds the reader or leaves its loop loses no byte', async (t) => {
  const reader = new StreamReader();
  let fed = 0;
  const frame = reader.readframe({ frameLength: () => (fed++ === 0 && reader.feedData('cd'), 4) });
  reader.feedData('ab');
  t.is((await frame)?.toString(), 'abcd');
  const loop = reader.frames({ frameLength: () => (void loop.return(), 1) });
  const next = loop.next();
  reader.feedData('ef');
  t.is((await next).value?.toString(), 'e');
  t.true((await loop.next()).done);
  t.is((await reader.readexactly(1)).toString(), 'f');
});

// --- the memory of results

test.serial('a small rest of a large frame keeps little memory alive', async (t) => {
  const kept: Buffer[] = [];
  for (const [size, skip] of [
    [600, 595],
    [30_000, 29_995],
    [300_000, 299_995],
  ] as const) {
    const framing = { length: 'uint32be', skip: skip + 4, limit: 2 ** 20 } as const;
    const frame = Buffer.alloc(size + 4, 'x');
    frame.writeUInt32BE(size);
    for (const whole of [true, false]) {
      const reader = new StreamReader({ limit: 2 ** 20 });
      for (let i = 0; i < 20; i++) {
        // As many as are copied out of the ring together.
        if (whole) for (let fed = 0; fed < 30_000; fed += size) reader.feedData(frame);
        const read = reader.readframe(framing);
        if (!whole) for (const piece of pieces(frame, () => 1000)) reader.feedData(piece);
        kept.push((await read)!);
      }
    }
  }
  t.true(kept.every((rest) => rest.toString() === 'xxxxx'));
  t.true(Math.max(...kept.map((rest) => rest.buffer.byteLength)) <= 8192);
});

// --- the end of the stream

test('the end within a frame consumes the rest into the error, which has the length of the frame', async (t) => {
  const framing: LengthFraming = { length: 'uint16be', skip: 'header' };
  for (const [name, read] of Object.entries(WAYS)) {
    for (const [bytes, expected] of [
      [[0, 5, 1, 2], 7],
      [[0], null],
    ] as const) {
      const reader = dripped([Buffer.from(bytes)]);
      const error = await t.throwsAsync(read(reader, framing), { instanceOf: IncompleteReadError }, name);
      t.deepEqual(error.partial, Buffer.from(bytes), 'skipped bytes included');
      t.is(error.expected, expected);
      t.true(reader.atEof());
    }
  }
});

// --- large frames

test('a large frame is read directly into its result, and given back when the read is cancelled', async (t) => {
  const framing: LengthFraming = { length: 'uint32be', skip: 'header', limit: 2 ** 20 };
  const reader = new StreamReader();
  readerIntake(reader).tune({ largeRead: 64, fullChunk: 65536, directRead: 65536, directMost: 65536 });
  const payload = Buffer.from(Array.from({ length: 1000 }, (_, i) => i & 0xff));
  const frame = Buffer.concat([Buffer.of(0, 0, 3, 232), payload]);
  const controller = new AbortController();
  const cancelled = reader.readframe(framing, { signal: controller.signal });
  reader.feedData(frame.subarray(0, 3));
  reader.feedData(frame.subarray(3, 300));
  t.is(reader.buffered, 300);
  controller.abort(new Error('enough'));
  await t.throwsAsync(cancelled, { message: 'enough' });
  t.is(reader.buffered, 300);
  const again = reader.readframe(framing);
  reader.feedData(frame.subarray(300, 900));
  reader.feedData(Buffer.concat([frame.subarray(900), Buffer.from('after')]));
  const result = await again;
  sameBytes(t, result, payload);
  t.is(result?.buffer.byteLength, frame.length, 'the memory is that of the frame alone');
  t.is((await reader.read(5)).toString(), 'after');
  const cutShort = reader.readframe(framing);
  reader.feedData(frame.subarray(0, 500));
  reader.feedEof();
  const error = await t.throwsAsync<IncompleteReadError>(cutShort, { instanceOf: IncompleteReadError });
  sameBytes(t, error.partial, frame.subarray(0, 500));
  t.is(error.expected, 1004);
});

test('leaving a loop within a large frame gives what has arrived of it back, and the loop can begin again', async (t) => {
  const reader = new StreamReader();
  readerIntake(reader).tune({ largeRead: 64, fullChunk: 65536, directRead: 65536, directMost: 65536 });
  const loop = reader.frames({ length: 'uint16be', skip: 'header' });
  const frame = Buffer.concat([Buffer.of(3, 232), Buffer.alloc(1000, 'x')]);
  const waiting = loop.next();
  reader.feedData(frame.subarray(0, 300));
  await loop.return();
  t.true((await waiting).done);
  t.is(reader.buffered, 300);
  reader.feedData(frame.subarray(300));
  reader.feedEof();
  sameBytes(t, (await loop[Symbol.asyncIterator]().next()).value, frame.subarray(2));
});

// --- invalid framings

const INVALID: [unknown, string, RegExp][] = [
  [5, 'ERR_INVALID_ARG_TYPE', /framing must be a separator .* not 5/],
  [null, 'ERR_INVALID_ARG_TYPE', /framing must be .* not null/],
  [{}, 'ERR_INVALID_ARG_TYPE', /framing must be .* not an instance of Object/],
  ['', 'ERR_SEPARATOR_EMPTY', /empty/],
  [[], 'ERR_SEPARATOR_EMPTY', /empty/],
  [{ length: 'uint128be' }, 'ERR_OUT_OF_RANGE', /framing.length must be one of uint8, .*"uint128be"/],
  [{ length: 4 }, 'ERR_INVALID_ARG_TYPE', /framing.length must be a string, not 4/],
  [{ length: 'uint8', size: 4 }, 'ERR_INVALID_ARG_VALUE', /one of length, size and frameLength, not 2/],
  [{ length: 'uint8', offset: -1 }, 'ERR_OUT_OF_RANGE', /framing.offset .*-1/],
  [{ length: 'uint8', offset: 1.5 }, 'ERR_OUT_OF_RANGE', /framing.offset .*1.5/],
  [{ length: 'uint8', adjust: NaN }, 'ERR_OUT_OF_RANGE', /framing.adjust .*NaN/],
  [{ length: 'uint8', adjust: '1' }, 'ERR_INVALID_ARG_TYPE', /framing.adjust .*"1"/],
  [{ length: 'uint8', skip: -1 }, 'ERR_OUT_OF_RANGE', /framing.skip .*-1/],
  [{ length: 'uint8', skip: 'field' }, 'ERR_INVALID_ARG_TYPE', /framing.skip must be 'header' or .*"field"/],
  [{ length: 'uint8', skip: 11, limit: 10 }, 'ERR_OUT_OF_RANGE', /framing.skip .* 10 .*11/],
  [{ length: 'uint8', limit: 0 }, 'ERR_OUT_OF_RANGE', /framing.limit .*0/],
  [{ length: 'varint', maxLengthBytes: 11 }, 'ERR_OUT_OF_RANGE', /framing.maxLengthBytes .*11/],
  [{ length: 'uint8', maxLengthBytes: 4 }, 'ERR_INVALID_ARG_VALUE', /maxLengthBytes is for .* varint/],
  [{ size: 0 }, 'ERR_OUT_OF_RANGE', /framing.size .*0/],
  [{ size: 8, skip: 'header' }, 'ERR_INVALID_ARG_VALUE', /framing.skip is for frames with a length field, .*'header'/],
  [{ size: 8, offset: 1 }, 'ERR_INVALID_ARG_VALUE', /framing.offset is for .* not for framing.size: 1/],
  [{ frameLength: () => 1, skip: 4 }, 'ERR_INVALID_ARG_VALUE', /framing.skip is for .* not for framing.frameLength: 4/],
  [{ frameLength: () => 1, adjust: -4 }, 'ERR_INVALID_ARG_VALUE', /framing.adjust is for .*: -4/],
  [{ size: '8' }, 'ERR_INVALID_ARG_TYPE', /framing.size .*"8"/],
  [{ frameLength: 8 }, 'ERR_INVALID_ARG_TYPE', /framing.frameLength must be a function, not 8/],
  [{ frameLength: () => 1, limit: -1 }, 'ERR_OUT_OF_RANGE', /framing.limit .*-1/],
];

for (const [value, code, message] of INVALID) {
  test(`an invalid framing is refused by every call, with its value: ${JSON.stringify(value)}`, async (t) => {
    const framing = value as Framing;
    const reader = new StreamReader();
    reader.feedData('abc');
    await t.throwsAsync(reader.readframe(framing), { code, message });
    await t.throwsAsync(reader.readframes(framing), { code, message });
    t.throws(() => reader.frames(framing), { code, message });
    t.throws(() => reader.tryReadframe(framing), { code, message });
    t.throws(() => reader.tryReadframes(framing), { code, message });
    t.is(reader.buffered, 3);
  });
}

// --- one framing after another

test('another framing goes on after the last frame, and no byte is lost', async (t) => {
  const reader = new StreamReader();
  reader.feedData(Buffer.from('GET\n\x00\x03abcPUT\n\x02\x00dexyz'));
  t.is((await reader.readline()).toString(), 'GET\n');
  t.is((await reader.readframe({ length: 'uint16be', skip: 2 }))?.toString(), 'abc');
  t.is((await reader.readframe())?.toString(), 'PUT\n');
  t.is((await reader.readframe({ length: 'uint16le', skip: 'header' }))?.toString(), 'de');
  t.is((await reader.readframe({ size: 2 }))?.toString(), 'xy');
  t.is((await reader.readexactly(1)).toString(), 'z');
});

test('null as the first framing of a program is refused like any other', (t) => {
  const program = `
    import { StreamReader } from 'sluice';
    const reader = new StreamReader();
    for (const call of ['tryReadframe', 'tryReadframes', 'frames'])
      try { reader[call](null); } catch (error) { console.log(error.code); }
  `;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', program], { encoding: 'utf8' });
  t.is(stdout, 'ERR_INVALID_ARG_TYPE\n'.repeat(3));
});

test('a frameLength that replaces itself is not replaced for this framing', async (t) => {
  const framing = {
    size: undefined,
    unit: 2,
    frameLength(): number {
      framing.frameLength = () => 1;
      return this.unit;
    },
  };
  const reader = new StreamReader();
  for (const piece of ['ab', 'cd']) {
    reader.feedData(piece);
    t.is((await reader.readframe(framing))?.toString(), piece);
  }
});

test('a framing is read once: later changes to the object are not seen', async (t) => {
  const framing = { length: 'uint8', skip: 1 } as { length: 'uint8' | 'uint16be'; skip: number };
  const reader = new StreamReader();
  reader.feedData(Buffer.of(1, 65, 1, 66));
  t.is((await reader.readframe(framing))?.toString(), 'A');
  framing.length = 'uint16be';
  t.is((await reader.readframe(framing))?.toString(), 'B');
});
