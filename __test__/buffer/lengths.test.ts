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
