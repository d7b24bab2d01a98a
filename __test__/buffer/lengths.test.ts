/**
 * Frames by length, listed by each engine: a ring is fed, and what it lists is compared with a model of a few lines, which reads
 * fields with `BigInt`.
 */
// Runs once: it makes the rings of each engine by itself.
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { LENGTH_TYPES, Lengths, type LengthType } from '#ts/buffer/lengths.js';
import { NativeRing } from '#ts/buffer/native-ring.js';
import { loadAddon } from '#ts/buffer/native.js';
import { FrameIndex, MAX_CAPACITY, type Ring } from '#ts/buffer/ring.js';
import { TypeScriptRing } from '#ts/buffer/typescript-ring.js';
import { seed } from '../seed.js';

const addon = loadAddon();

const engines: Readonly<Record<string, () => Ring>> = {
  TypeScript: () => new TypeScriptRing(),
  ...(addon === null ? {} : { native: () => new NativeRing(addon) }),
};

function contract(title: string, run: (t: ExecutionContext, make: () => Ring) => void): void {
  for (const [name, make] of Object.entries(engines)) test(`${name}: ${title}`, (t) => run(t, make));
}

test('the engines under test', (t) => {
  t.is(Object.keys(engines).length, addon === null ? 1 : 2);
});

// --- The model

type Description = readonly [type: LengthType, offset: number, adjust: number, least: number, maxLengthBytes: number];

/** The first field in `bytes`: its value and its width; null while it is incomplete, undefined if it is too long. */
function field(type: LengthType, bytes: Buffer, most: number): [bigint, number] | null | undefined {
  let width = Number(/\d+/.exec(type)?.[0] ?? 0) / 8;
  let value = 0n;
  if (type === 'varint') {
    do {
      if (width === most) return undefined;
      if (width === bytes.length) return null;
      value |= BigInt(bytes[width]! & 127) << BigInt(7 * width);
    } while (bytes[width++]! > 127);
    return [value, width];
  }
  if (type === 'quic') width = bytes.length === 0 ? 1 : 2 ** (bytes[0]! >> 6);
  if (bytes.length < width) return null;
  const digits = [...bytes.subarray(0, width)];
  if (type.endsWith('le')) digits.reverse();
  for (const digit of digits) value = value * 256n + BigInt(digit);
  return [type === 'quic' ? value & (2n ** BigInt(8 * width - 2) - 1n) : value, width];
}

/** The words that a listing of all of `bytes` must give. */
function expected(bytes: Buffer, description: Description, limit: number, max: number): number[] {
  const [type, offset, adjust, least, maxLengthBytes] = description;
  const ends: number[] = [];
  let start = 0;
  let refused = 0;
  while (ends.length < max) {
    const found = field(type, bytes.subarray(start + offset), maxLengthBytes);
    if (found === null) break;
    const header = BigInt(offset + (found?.[1] ?? 0));
    const length = header + (found?.[0] ?? -1n) + BigInt(adjust);
    const value = found?.[0] ?? 2n ** 64n;
    const wrong = length < header || length < least || value >= 2n ** 53n || length >= 2n ** 53n;
    if (wrong || length > limit) refused = wrong || length > 0xffffffffn ? 0xffffffff : Number(length);
    if (refused > 0 || BigInt(start) + length > bytes.length) break;
    start += Number(length);
    ends.push(start);
  }
  return [ends.length, start, 0, refused, ...ends];
}

// --- Feeding

const newWords = (frames: number) => new Uint32Array(FrameIndex.ENDS + frames);

const listed = (words: Uint32Array) => [...words.subarray(0, FrameIndex.ENDS + words[FrameIndex.COUNT]!)];

/** A ring whose next bytes go across the wrap point after `before` of them. */
function ringBeforeWrap(make: () => Ring, before: number, capacity: number): Ring {
  const ring = make();
  ring.reserve(capacity);
  ring.append(Buffer.alloc(ring.capacity - before, 0xee));
  // Something stays unread until the first bytes come, since an empty ring starts over at its front.
  ring.consume(ring.length - 1);
  return ring;
}

/** Feeds `pieces`, listing with each, and returns the words. `before`: where the wrap point is. */
function feed(
  make: () => Ring,
  pieces: readonly Uint8Array[],
  lengths: Lengths,
  { limit = MAX_CAPACITY, max = Infinity, before = 0 } = {},
): number[] {
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const words = newWords(size + 1);
  const listing = { framing: lengths, words, limit, max: Math.min(max, size + 1) };
  const ring = before > 0 ? ringBeforeWrap(make, before, size + 2) : make();
  let filler = ring.length;
  for (const piece of pieces) {
    ring.append(piece, filler > 0 ? null : listing);
    if (filler === 0) continue;
    ring.consume(filler);
    filler = 0;
    ring.list(listing);
  }
  return listed(words);
}

const bytewise = (bytes: Buffer) => [...bytes].map((byte) => Uint8Array.of(byte));

/** A field with this value, as few bytes as the type allows. */
function encoded(type: LengthType, value: bigint): Buffer {
  if (type === 'varint') {
    const bytes: number[] = [];
    for (; value > 127n; value >>= 7n) bytes.push(Number(value & 127n) | 128);
    return Buffer.from([...bytes, Number(value)]);
  }
  let width = Number(/\d+/.exec(type)?.[0] ?? 0) / 8;
  if (type === 'quic') {
    const log = [2n ** 6n, 2n ** 14n, 2n ** 30n, 2n ** 62n].findIndex((above) => value < above);
    width = 2 ** log;
    value |= BigInt(log) << BigInt(8 * width - 2);
  }
  const hex = value.toString(16).padStart(2 * width, '0');
  const bytes = Buffer.from(hex, 'hex');
  return type.endsWith('le') ? bytes.reverse() : bytes;
}

/** A frame with this many bytes after its header, of a pattern that is no field by chance. */
function frame(description: Description, payload: number): Buffer {
  const [type, offset, adjust] = description;
  const header = [Buffer.alloc(offset, 0xa5), encoded(type, BigInt(payload - adjust))];
  return Buffer.concat([...header, Buffer.alloc(payload, 0xb6)]);
}

const of = (description: Description): Lengths => Lengths.of(...description);

const each = LENGTH_TYPES.flatMap((type) =>
  [0, 1, 3, 1000].flatMap((offset) =>
    [0, 1, 6, -1, -4].flatMap((adjust) => [0, 12].map((least): Description => [type, offset, adjust, least, 10])),
  ),
);

// --- Whole frames, however they come

contract(
  'each type, offset, adjust and least: whole, byte by byte, and with every split inside the field',
  (t, make) => {
    const wrong: string[] = [];
    for (const description of each) {
      const [, offset, adjust, least] = description;
      // The fewest bytes that the field can say; a few more; and, while the offset is short, enough for a second byte of the field.
      const payloads = [Math.max(adjust, least, 0), 12, 13, offset < 1000 ? 150 : 20, 12];
      const frames = payloads.map((payload) => frame(description, payload));
      const all = Buffer.concat([...frames, frame(description, 40).subarray(0, offset + 1)]);
      const want = expected(all, description, MAX_CAPACITY, Infinity).join();
      const check = (how: string, pieces: readonly Uint8Array[], before = 0) => {
        const found = feed(make, pieces, of(description), { before }).join();
        if (found !== want) wrong.push(`${description.join()}, ${how}: ${found}, not ${want}`);
      };
      check('whole', [all]);
      const second = frames[0]!.length + frames[1]!.length;
      for (let at = second + offset; at < second + offset + 11; at++) {
        check(`cut at ${at}`, [all.subarray(0, at), all.subarray(at)]);
        check(`wrapped at ${at}`, [all], at);
      }
      if (offset < 1000) check('byte by byte', bytewise(all));
      else check('in sevens', bySize(all, 7));
    }
    t.deepEqual(wrong, []);
  },
);

function bySize(bytes: Buffer, size: number): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
  return pieces;
}

contract('whatever the bytes, however they come: what the model lists, at the first refused frame too', (t, make) => {
  const descriptions = fc.record({
    type: fc.constantFrom(...LENGTH_TYPES),
    offset: fc.oneof(fc.nat(5), fc.constantFrom(0, 300)),
    adjust: fc.integer({ min: -9, max: 9 }),
    least: fc.oneof(fc.constant(0), fc.nat(12)),
    most: fc.integer({ min: 1, max: 10 }),
  });
  const property = fc.property(
    descriptions,
    fc.array(fc.oneof(fc.nat(40), fc.nat(300)), { maxLength: 8 }),
    fc.uint8Array({ maxLength: 20 }),
    fc.record({
      sizes: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 8 }),
      limit: fc.oneof(fc.constantFrom(MAX_CAPACITY, 2 ** 32 - 1), fc.nat(400)),
      max: fc.oneof(fc.constant(Infinity), fc.nat(6)),
      before: fc.nat(400),
    }),
    ({ type, offset, adjust, least, most }, payloads, trailing, { sizes, limit, max, before }) => {
      const description: Description = [type, offset, adjust, least, most];
      const fitting = payloads.filter((payload) => payload >= adjust && (type !== 'uint8' || payload < 240));
      const bytes = Buffer.concat([...fitting.map((payload) => frame(description, payload)), trailing]);
      const pieces: Buffer[] = [];
      for (let at = 0, i = 0; at < bytes.length; i++) {
        pieces.push(bytes.subarray(at, (at += sizes[i % sizes.length]!)));
      }
      const want = expected(bytes, description, limit, max).join();
      for (const options of [
        { limit, max },
        { limit, max, before: Math.min(before, bytes.length) },
      ]) {
        for (const cut of [pieces, [bytes]]) {
          const found = feed(make, cut, of(description), options).join();
          if (found !== want) throw new Error(`listed ${found}, expected ${want}`);
        }
      }
    },
  );
  t.notThrows(() => fc.assert(property, { seed: seed(t), numRuns: 1000 }));
});

// --- Single cases

/** Lists all of `bytes` at once: the ends, and the word REFUSED. */
function list(
  make: () => Ring,
  lengths: Lengths,
  bytes: Uint8Array,
  limit = MAX_CAPACITY,
): { ends: number[]; resume: number; refused: number } {
  const [, resume = NaN, , refused = NaN, ...ends] = feed(make, [bytes], lengths, { limit });
  return { ends, resume, refused };
}

const MALFORMED = 0xffffffff;

contract('a payload may be empty', (t, make) => {
  const uint32 = Lengths.of('uint32be', 0, 0, 0, 10);
  t.deepEqual(list(make, uint32, Buffer.alloc(12)), { ends: [4, 8, 12], resume: 12, refused: 0 });
  const postgres = Lengths.of('uint32be', 1, -4, 0, 10);
  t.deepEqual(list(make, postgres, Buffer.from('5300000004', 'hex')), { ends: [5], resume: 5, refused: 0 });
});

contract('a frame over the limit is refused before its payload comes, and no memory is made for it', (t, make) => {
  const header = { uint32: 4, uint48: 6, uint64: 8, varint: 10, quic: 8 } as const;
  for (const type of LENGTH_TYPES) {
    const width = header[type.replace(/[bl]e$/, '') as keyof typeof header];
    if (width === undefined) continue;
    for (const value of [
      2n ** 31n,
      2n ** 32n - 1n,
      2n ** 48n - 1n,
      2n ** 53n - 1n,
      2n ** 53n,
      2n ** 62n - 1n,
      2n ** 64n - 1n,
    ]) {
      const bits = type === 'quic' ? 62 : type === 'varint' ? 64 : 8 * width;
      if (value >= 2n ** BigInt(bits)) continue;
      const bytes = encoded(type, value);
      const ring = make();
      const words = newWords(4);
      for (const byte of bytewise(bytes)) {
        t.is(words[FrameIndex.REFUSED], 0);
        ring.append(byte, { framing: Lengths.of(type, 0, 0, 0, 10), words, limit: MAX_CAPACITY, max: 4 });
      }
      const length = value + BigInt(bytes.length);
      const refused = length > 0xffffffffn ? 0xffffffff : Number(length);
      t.deepEqual(listed(words), [0, 0, 0, refused], `${type} ${value}`);
      t.true(ring.capacity <= 256, `${ring.capacity} bytes for ${ring.length}`);
      t.is(Lengths.of(type, 0, 0, 0, 10).measure(bytes, 0, bytes.length), length >= 2n ** 53n ? -1 : Number(length));
    }
  }
});

contract('a ring grows with the bytes that come, not with the length that is announced', (t, make) => {
  const ring = make();
  const words = newWords(4);
  const listing = { framing: Lengths.of('uint32be', 0, 0, 0, 10), words, limit: MAX_CAPACITY, max: 4 };
  ring.append(Buffer.from('7ffffffb', 'hex'), listing);
  t.deepEqual(listed(words), [0, 0, 0, 0], 'a frame of 2 ** 31 - 1 bytes is within the limit');
  for (let fed = 4; fed < 10_000; fed += 100) {
    ring.append(Buffer.alloc(100), listing);
    t.true(ring.capacity <= Math.max(2 * ring.length, 256), `${ring.capacity} bytes for ${ring.length}`);
  }
  t.is(words[FrameIndex.COUNT], 0);
});

contract('the limit bounds the whole frame, with its header and after adjust', (t, make) => {
  // 3 bytes, a field of 2, then 10 + adjust bytes.
  for (const [adjust, length] of [
    [0, 15],
    [5, 20],
    [-5, 10],
  ] as const) {
    const lengths = Lengths.of('uint16be', 3, adjust, 0, 10);
    const bytes = Buffer.concat([Buffer.from('000000000a', 'hex'), Buffer.alloc(length - 5)]);
    const header = bytes.subarray(0, 5);
    t.deepEqual(list(make, lengths, bytes, length).ends, [length]);
    t.deepEqual(list(make, lengths, header, length), { ends: [], resume: 0, refused: 0 });
    t.deepEqual(list(make, lengths, header, length - 1), { ends: [], resume: 0, refused: length });
    t.deepEqual(list(make, lengths, header.subarray(0, 4), length - 1), { ends: [], resume: 0, refused: 0 });
  }
});

contract('a frame shorter than its header, or than least, is malformed', (t, make) => {
  const smpp = Lengths.of('uint32be', 0, -4, 0, 10);
  for (const value of [0, 1, 3]) {
    t.deepEqual(list(make, smpp, encoded('uint32be', BigInt(value))), { ends: [], resume: 0, refused: MALFORMED });
  }
  t.deepEqual(list(make, smpp, encoded('uint32be', 4n)).ends, [4]);
  const skipping = Lengths.of('uint8', 0, 0, 6, 10);
  t.is(list(make, skipping, Uint8Array.of(4)).refused, MALFORMED);
  t.is(list(make, skipping, Uint8Array.of(5)).refused, 0);
  t.deepEqual(list(make, skipping, Uint8Array.of(5, 0, 0, 0, 0, 0)).ends, [6]);
});

contract('a length is added up without rounding', (t, make) => {
  const largest = Number.MAX_SAFE_INTEGER;
  for (const [offset, adjust, value, length] of [
    [5, -13, BigInt(largest), largest],
    [5, -12, BigInt(largest), -1],
    [0, -largest, BigInt(largest), 8],
    [0, -largest, BigInt(largest) - 1n, -1],
    [0, largest, 0n, -1],
    [0, largest - 8, 0n, largest],
  ] as const) {
    const lengths = Lengths.of('uint64be', offset, adjust, 0, 10);
    const bytes = Buffer.concat([Buffer.alloc(offset), encoded('uint64be', value)]);
    t.is(lengths.measure(bytes, 0, bytes.length), length);
    const { ends, refused } = list(make, lengths, bytes, 100);
    t.deepEqual([ends, refused], length === 8 ? [[8], 0] : [[], 0xffffffff], `${offset} ${adjust} ${value}`);
  }
});

contract('a varint may be longer than needed, but not longer than allowed', (t, make) => {
  for (let most = 1; most <= 10; most++) {
    const lengths = Lengths.of('varint', 0, 0, 0, most);
    const padded = Buffer.from([...new Array<number>(most - 1).fill(0x80), 0, ...new Array<number>(4).fill(1)]);
    t.deepEqual(list(make, lengths, padded).ends, [most, most + 2, most + 4], `${most} bytes`);
    const more = Buffer.alloc(most, 0x80);
    t.is(list(make, lengths, more.subarray(1)).refused, 0);
    // The byte after it is not waited for.
    t.is(list(make, lengths, more).refused, MALFORMED);
  }
});

contract('an integer of QUIC has one, two, four or eight bytes, and may be longer than needed', (t, make) => {
  const lengths = Lengths.of('quic', 0, 0, 0, 10);
  for (const [hex, value] of [
    ['25', 37],
    ['4025', 37],
    ['80000025', 37],
    ['c000000000000025', 37],
    ['7bbd', 15_293],
    ['9d7f3e7d', 494_878_333],
  ] as const) {
    const bytes = Buffer.from(hex, 'hex');
    t.is(list(make, lengths, bytes, 20).refused, value + bytes.length);
    t.is(list(make, lengths, bytes.subarray(0, -1), 20).refused, 0);
    t.deepEqual(
      list(make, lengths, Buffer.concat([bytes, Buffer.alloc(37)]), 50).ends[0],
      value === 37 ? bytes.length + 37 : undefined,
    );
  }
});

contract('good frames before a refused one are listed, and a later listing finds the refused one again', (t, make) => {
  const lengths = Lengths.of('uint8', 0, 0, 0, 10);
  const ring = make();
  const words = newWords(9);
  const listing = { framing: lengths, words, limit: 5, max: 9 };
  ring.append(Uint8Array.of(1, 7, 0, 9, 1, 7), listing);
  t.deepEqual(listed(words), [2, 3, 0, 10, 2, 3]);
  ring.append(Uint8Array.of(0, 0, 0), listing);
  t.deepEqual(listed(words), [2, 3, 0, 10, 2, 3], 'nothing after it is listed');
  // The frames before it are consumed, and the listing begins again.
  ring.consume(3);
  words.fill(0);
  ring.list(listing);
  t.deepEqual(listed(words), [0, 0, 0, 10]);
  ring.list({ ...listing, limit: 10 });
  t.deepEqual(listed(words), [0, 0, 0, 0], 'it is incomplete');
  ring.append(Uint8Array.of(0, 0, 0, 0, 2, 8), { ...listing, limit: 10 });
  t.deepEqual(listed(words), [1, 10, 0, 0, 10]);
  ring.append(Uint8Array.of(8), listing);
  t.deepEqual(listed(words), [2, 13, 0, 0, 10, 13]);
});

contract('a listing stops where max is reached or the words are full, and goes on with more', (t, make) => {
  const lengths = Lengths.of('uint16le', 1, 0, 0, 10);
  const bytes = Buffer.from('ff0000110200616244000022000001050099', 'hex');
  const ends = [3, 8, 11, 14];
  for (const [max, room] of [
    [0, 9],
    [1, 9],
    [2, 9],
    [9, 0],
    [9, 1],
    [9, 3],
    [9, 9],
  ] as const) {
    const ring = make();
    const words = newWords(room);
    ring.append(bytes, { framing: lengths, words, limit: 9, max });
    const count = Math.min(max, room, ends.length);
    t.deepEqual(listed(words), [count, ends[count - 1] ?? 0, 0, 0, ...ends.slice(0, count)]);
    const more = newWords(9);
    more.set(words);
    ring.list({ framing: lengths, words: more, limit: 9, max: 9 });
    t.deepEqual(listed(more), [4, 14, 0, 0, ...ends]);
  }
});

contract('frames of one size need no header', (t, make) => {
  for (const size of [1, 3, 64, 1000]) {
    const lengths = Lengths.ofSize(size);
    for (const total of [0, 1, size - 1, size, size + 1, 3 * size, 3 * size + 1]) {
      const ends = Array.from({ length: Math.floor(total / size) }, (_, i) => (i + 1) * size);
      const bytes = Buffer.alloc(total, 0xff);
      for (const pieces of [[bytes], bySize(bytes, 7)]) {
        for (const before of [0, 1, size, size + 1]) {
          const found = feed(make, pieces, lengths, { before: Math.min(before, total) });
          t.deepEqual(found, [ends.length, ends.at(-1) ?? 0, 0, 0, ...ends]);
        }
      }
    }
  }
  t.is(list(make, Lengths.ofSize(9), Buffer.alloc(1), 8).refused, 9);
  t.is(list(make, Lengths.ofSize(9), Buffer.alloc(0), 8).refused, 0, 'without a byte there is no frame');
});

contract('words that cannot be those of a listing by length are refused', (t, make) => {
  const ring = make();
  ring.append(Buffer.alloc(4));
  const framing = Lengths.of('uint8', 0, 0, 0, 10);
  const expectedError = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message: /^list: / };
  for (const words of [
    Uint32Array.of(0, 5, 0, 0),
    Uint32Array.of(0, 0, 1, 0),
    Uint32Array.of(1, 2, 0, 0, 3),
    Uint32Array.of(2, 0, 0, 0, 0),
    Uint32Array.of(0, 0, 0),
  ]) {
    const before = Uint32Array.from(words);
    t.throws(() => ring.list({ framing, words, limit: 9, max: 9 }), expectedError);
    t.deepEqual(words, before);
  }
});

test('the header of a measured frame is its offset and its field', (t) => {
  for (const type of LENGTH_TYPES) {
    for (const offset of [0, 5]) {
      const lengths = Lengths.of(type, offset, 0, 0, 10);
      for (const value of [0n, 63n, 64n, 200n]) {
        const bytes = Buffer.concat([Buffer.alloc(3 + offset), encoded(type, value)]);
        t.is(lengths.headerLength(bytes, 3), bytes.length - 3, `${type} ${value}`);
        t.true(lengths.longestHeader >= bytes.length - 3);
        t.is(lengths.measure(bytes, 3, bytes.length), bytes.length - 3 + Number(value));
        t.is(lengths.measure(bytes, 3, bytes.length - 1), 0);
      }
    }
  }
  const size = Lengths.ofSize(7);
  t.deepEqual(
    [size.headerLength(Buffer.alloc(7), 0), size.longestHeader, size.measure(Buffer.alloc(0), 0, 0)],
    [0, 0, 7],
  );
});
