/**
 * The contract of a ring, run on every engine. The models are deliberately simple: one `Buffer` for the contents of a
 * ring, a quadratic scan (`expectedIndex`) for the result of a search.
 */
// Runs once: it makes the rings of each engine itself.
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { NativeRing } from '#ts/buffer/native-ring.js';
import { loadAddon } from '#ts/buffer/native.js';
import { grownCapacity } from '#ts/buffer/block.js';
import { Lengths } from '#ts/buffer/lengths.js';
import { FrameIndex, MAX_CAPACITY, type Ring } from '#ts/buffer/ring.js';
import { Separator } from '#ts/buffer/separator.js';
import { TypeScriptRing } from '#ts/buffer/typescript-ring.js';
import { sameBytes } from '../bytes.js';
import { seed } from '../seed.js';

interface Maker {
  readonly name: string;
  make(): Ring;
}

const addon = loadAddon();

const makers: readonly Maker[] = [
  { name: 'TypeScript', make: () => new TypeScriptRing() },
  ...(addon === null ? [] : [{ name: 'native', make: () => new NativeRing(addon) }]),
];

test('the engines under test', (t) => {
  const names = makers.map((maker) => maker.name).join(', ');
  t.log(addon === null ? `${names}; no binary is loaded, the native ring is left out` : names);
  t.is(makers.length, addon === null ? 1 : 2);
});

function contract(title: string, run: (t: ExecutionContext, make: () => Ring) => void): void {
  for (const { name, make } of makers) test(`${name}: ${title}`, (t) => run(t, make));
}

/** Deterministic bytes in which each position is different from its neighbours. */
function pattern(size: number, from = 0): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i++) bytes[i] = ((from + i) * 151) % 251;
  return bytes;
}

function contents(ring: Ring): Buffer {
  const bytes = Buffer.alloc(ring.length);
  ring.copyTo(bytes, 0, 0, ring.length);
  return bytes;
}

/** A ring that holds `bytes` with the wrap point after the first `wrap` of them, if it has that many. */
function ringWithWrap(make: () => Ring, bytes: Uint8Array, wrap: number): Ring {
  const ring = make();
  ring.reserve(Math.max(bytes.length, wrap, 1));
  const { capacity } = ring;
  const filler = capacity - wrap;
  ring.append(Buffer.alloc(filler, 0xee));
  ring.append(bytes.subarray(0, wrap));
  ring.consume(filler);
  ring.append(bytes.subarray(wrap));
  if (ring.capacity !== capacity) throw new Error('the ring has grown, and no longer wraps there');
  return ring;
}

const rangeError = (message: RegExp) => ({ instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message });

// --- Bytes in, bytes out

contract('a ring owns no memory until bytes are added', (t, make) => {
  const ring = make();
  t.is(ring.length, 0);
  t.is(ring.capacity, 0);
  ring.append(Buffer.alloc(0));
  ring.unread(Buffer.alloc(0));
  ring.consume(0);
  ring.trim(0);
  ring.copyTo(Buffer.alloc(0), 0, 0, 0);
  t.deepEqual(ring.view(0, 0), Buffer.alloc(0));
  const out = new Uint32Array(8).fill(7, FrameIndex.ENDS);
  ring.list({ framing: Separator.from('\n', 't'), words: out, limit: 10, max: 4 });
  t.deepEqual([...out], [0, 0, 0, 0, 7, 7, 7, 7]);
  t.is(ring.capacity, 0);
});

contract('a ring returns what was appended, committed and put back, in order', (t, make) => {
  const ring = make();
  ring.append(Buffer.from('lo wor'));
  ring.unread(Buffer.from('hel'));
  const region = ring.reserve(2);
  region.set(Buffer.from('ld'));
  ring.commit(2);
  t.is(contents(ring).toString(), 'hello world');
  ring.consume(6);
  t.is(contents(ring).toString(), 'world');
  t.is(ring.view(1, 4)?.toString() ?? null, 'orl');
});

contract('a reserved region does not move while bytes are consumed', (t, make) => {
  const ring = make();
  ring.append(pattern(10));
  const region = ring.reserve(5);
  ring.consume(10);
  region.set(pattern(5, 90));
  ring.commit(5);
  sameBytes(t, contents(ring), pattern(5, 90));
});

contract('a reserved region is large enough, and the same one again once the ring is drained', (t, make) => {
  const ring = make();
  const first = ring.reserve(1000);
  t.true(first.length >= 1000);
  for (let round = 0; round < 3; round++) {
    const region = ring.reserve(1000);
    t.is(region, first);
    region.fill(round);
    ring.commit(700);
    sameBytes(t, contents(ring), Buffer.alloc(700, round));
    ring.consume(700);
    t.is(ring.reserve(1), first);
  }
  t.is(ring.reserve(3000).length >= 3000, true);
});

contract('bytes wrap around before the ring grows', (t, make) => {
  const ring = make();
  ring.reserve(256);
  const { capacity } = ring;
  for (let at = 0; at < 3 * capacity; at += 24) {
    ring.append(pattern(200, at));
    sameBytes(t, contents(ring), pattern(200, at));
    ring.consume(200);
    // Some bytes remain, so that the ring never starts over.
    ring.append(pattern(24, at));
    sameBytes(t, contents(ring), pattern(24, at));
    ring.append(pattern(capacity - 24, at + 24));
    sameBytes(t, contents(ring), pattern(capacity, at));
    ring.consume(capacity - 7);
    ring.unread(pattern(capacity - 7, at));
    sameBytes(t, contents(ring), pattern(capacity, at));
    ring.consume(capacity);
  }
  t.is(ring.capacity, capacity);
});

contract('append, unread, copyTo and view work at every wrap point', (t, make) => {
  const bytes = pattern(60);
  const { capacity } = ringWithWrap(make, bytes, 0);
  for (let wrap = 0; wrap <= bytes.length; wrap++) {
    const ring = ringWithWrap(make, bytes, wrap);
    sameBytes(t, contents(ring), bytes);
    for (const [start, end] of [
      [0, 60],
      [0, wrap],
      [wrap, 60],
      [10, 50],
      [59, 60],
      [30, 30],
    ] as const) {
      const target = Buffer.alloc(70, 0xaa);
      ring.copyTo(target, 5, start, end);
      const expected = Buffer.alloc(70, 0xaa);
      bytes.copy(expected, 5, start, end);
      sameBytes(t, target, expected);
      const view = ring.view(start, end);
      if (start < wrap && wrap < end) t.is(view, null);
      else sameBytes(t, view, bytes.subarray(start, end));
    }
    for (const size of [1, 2, 8, 16, 17, 40]) {
      const front = ringWithWrap(make, bytes.subarray(size), Math.max(wrap - size, 0));
      front.unread(bytes.subarray(0, size));
      sameBytes(t, contents(front), bytes);
      t.is(front.capacity, capacity);
    }
  }
});

contract('growing keeps the bytes, whatever the wrap point', (t, make) => {
  const bytes = pattern(256);
  for (const wrap of [0, 1, 100, 255, 256]) {
    for (const more of [1, 20, 5000]) {
      const written = ringWithWrap(make, bytes, wrap);
      written.append(pattern(more, 256));
      sameBytes(t, contents(written), pattern(256 + more));
      const before = ringWithWrap(make, bytes, wrap);
      before.unread(pattern(more, 7));
      sameBytes(t, contents(before), Buffer.concat([pattern(more, 7), bytes]));
      const reserved = ringWithWrap(make, bytes, wrap);
      reserved.reserve(more).set(pattern(more, 256));
      reserved.commit(more);
      sameBytes(t, contents(reserved), pattern(256 + more));
    }
  }
});

contract("a ring's own bytes can be appended and put back to it", (t, make) => {
  const ring = make();
  ring.append(pattern(100));
  ring.append(ring.view(0, 100)!);
  ring.unread(ring.view(50, 100)!);
  ring.append(ring.view(0, 50)!);
  const twice = Buffer.concat([pattern(100), pattern(100)]);
  const half = pattern(50, 50);
  sameBytes(t, contents(ring), Buffer.concat([half, twice, half]));
});

contract('moving bytes takes constant time per byte, whatever is reserved', (t, make) => {
  // A slow consumer of a steady source: the ring must neither move all bytes each time nor grow without bound.
  const ring = make();
  ring.append(pattern(1000));
  let moved = 0;
  let at = ring.reserve(999).byteOffset;
  for (let round = 0; round < 20_000; round++) {
    const region = ring.reserve(999);
    if (round > 0 && region.byteOffset !== at + 1) moved += ring.length;
    at = region.byteOffset;
    region[0] = 1;
    ring.commit(1);
    ring.consume(1);
  }
  t.true(moved <= 20_000 + 3000, `${moved} bytes moved for 20000 that passed`);
  t.true(ring.capacity <= 8192, `${ring.capacity} bytes for 1000, and 999 reserved`);
});

contract('memory shrinks with the unread bytes', (t, make) => {
  const ring = make();
  ring.append(pattern(100_000));
  const full = ring.capacity;
  t.true(full < 200_000);
  const sparse = make();
  sparse.append(pattern(8000));
  sparse.consume(6500);
  sparse.trim(0);
  t.true(sparse.capacity <= 4 * 1500);
  ring.trim(0);
  t.is(ring.capacity, full);
  ring.consume(99_000);
  ring.trim(65_536);
  t.true(ring.capacity <= 65_536);
  sameBytes(t, contents(ring), pattern(1000, 99_000));
  ring.trim(0);
  t.true(ring.capacity <= 4000);
  sameBytes(t, contents(ring), pattern(1000, 99_000));
  ring.consume(1000);
  ring.trim(ring.capacity);
  t.true(ring.capacity > 0);
  ring.trim(ring.capacity - 1);
  t.is(ring.capacity, 0);
  ring.append(pattern(3));
  sameBytes(t, contents(ring), pattern(3));
});

contract('invalid arguments are RangeErrors with their numbers, and change nothing', (t, make) => {
  const ring = make();
  ring.append(pattern(10));
  const out = new Uint32Array(10);
  const line = Separator.from('\n', 't');
  const target = Buffer.alloc(20);
  for (const min of [0, -1, 1.5, NaN, Infinity]) {
    t.throws(() => ring.reserve(min), rangeError(/^reserve: min must be an integer of 1 or more, not /));
  }
  const reserved = ring.reserve(1).length;
  for (const count of [-1, 0.5, NaN, reserved + 1, 2 ** 32]) {
    t.throws(
      () => ring.commit(count),
      rangeError(new RegExp(`^commit: count must be an integer from 0 to ${reserved} `)),
    );
  }
  ring.commit(0);
  t.throws(() => ring.commit(1), rangeError(/^commit: count must be an integer from 0 to 0 .*, not 1$/));
  for (const invalidate of [
    () => ring.append(Buffer.alloc(0)),
    () => ring.unread(Buffer.alloc(0)),
    () => ring.trim(Infinity),
  ]) {
    ring.reserve(1);
    invalidate();
    t.throws(() => ring.commit(1), rangeError(/^commit: /));
  }
  for (const count of [-1, 0.5, NaN, 11, 2 ** 32 + 1]) {
    t.throws(() => ring.consume(count), rangeError(/^consume: count must be an integer from 0 to 10 /));
  }
  t.throws(() => ring.copyTo(target, 0, 4, 11), rangeError(/^copyTo: end must be .* 10 .*, not 11$/));
  t.throws(() => ring.copyTo(target, 0, 5, 4), rangeError(/^copyTo: start must be .* 4 .*, not 5$/));
  t.throws(() => ring.copyTo(target, 0, -1, 4), rangeError(/^copyTo: start /));
  t.throws(
    () => ring.copyTo(target, 11, 0, 10),
    rangeError(/^copyTo: targetStart must be an integer from 0 to 10, not 11$/),
  );
  t.throws(() => ring.copyTo(target, -1, 0, 10), rangeError(/^copyTo: targetStart /));
  t.throws(
    () => ring.copyTo(Buffer.alloc(9), 0, 0, 10),
    rangeError(/^copyTo: targetStart must be .* at least 10 bytes/),
  );
  t.throws(() => ring.view(0, 11), rangeError(/^view: end /));
  t.throws(() => ring.view(7, 6), rangeError(/^view: start /));
  const list = (words: Uint32Array, limit = 9, max = 9) => ring.list({ framing: line, words, limit, max });
  t.throws(() => list(Uint32Array.of(0, 11, 0, 0)), rangeError(/^list: .* 10\b.* 11\b/));
  t.throws(() => list(Uint32Array.of(1, 4, 0, 0, 5)), rangeError(/^list: .* 5\b.* 4\b|^list: .* 4\b.* 5$/));
  t.throws(() => list(Uint32Array.of(2, 0, 0, 0, 1)), rangeError(/^list: words.length must be 6 or more, not 5$/));
  for (const wrong of [-1, 0.5, NaN, Infinity, 2 ** 32]) {
    if (wrong !== 2 ** 32) t.throws(() => list(out, wrong), rangeError(/^list: limit /));
    if (wrong !== 2 ** 32) t.throws(() => list(out, 9, wrong), rangeError(/^list: max /));
  }
  t.throws(
    () => list(new Uint32Array(FrameIndex.ENDS - 1)),
    rangeError(/^list: words.length must be 4 or more, not 3$/),
  );
  t.deepEqual([...out], new Array(10).fill(0));
  t.throws(() => ring.trim(-1), rangeError(/^trim: keep /));
  t.throws(() => ring.trim(NaN), rangeError(/^trim: keep /));
  sameBytes(t, contents(ring), pattern(10));
});

contract('a request beyond the largest ring is refused before anything is allocated', (t, make) => {
  const ring = make();
  ring.append(pattern(10));
  for (const min of [MAX_CAPACITY - 9, MAX_CAPACITY, 2 ** 32, Number.MAX_SAFE_INTEGER - 10]) {
    t.throws(() => ring.reserve(min), {
      instanceOf: RangeError,
      code: 'ERR_BUFFER_TOO_LARGE',
      message: `reserve: cannot allocate ${min + 10} bytes: a ring holds at most ${MAX_CAPACITY} bytes`,
    });
  }
  sameBytes(t, contents(ring), pattern(10));
  t.true(ring.capacity < 1000);
});

test('a ring doubles its capacity, up to the maximum', (t) => {
  t.is(grownCapacity(0, 1), 256);
  t.is(grownCapacity(256, 257), 512);
  t.is(grownCapacity(256, 10_000), 10_000);
  t.is(grownCapacity(MAX_CAPACITY / 2 + 1, MAX_CAPACITY / 2 + 2), MAX_CAPACITY);
  t.is(grownCapacity(MAX_CAPACITY - 1, MAX_CAPACITY), MAX_CAPACITY);
  // The head and length of a full block: their sum still fits in a word.
  t.true(MAX_CAPACITY - 1 + MAX_CAPACITY < 2 ** 32);
});

// --- Any order of calls

type Op =
  | { kind: 'write' | 'unread'; size: number }
  | { kind: 'reserve'; min: number; fill: number; consume: number }
  | { kind: 'consume'; share: number }
  | { kind: 'copy' | 'view'; from: number; to: number }
  | { kind: 'trim'; keep: number };

const sizes = fc.oneof(
  { weight: 6, arbitrary: fc.nat(40) },
  { weight: 3, arbitrary: fc.nat(300) },
  { weight: 1, arbitrary: fc.nat(5000) },
);
const share = fc.oneof(fc.constantFrom(0, 1), fc.double({ min: 0, max: 1, noNaN: true }));

const ops: fc.Arbitrary<Op[]> = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('write' as const, 'unread' as const), size: sizes }) },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constant('reserve' as const),
        min: sizes.map((n) => n + 1),
        fill: share,
        consume: fc.oneof(fc.constant(0), share),
      }),
    },
    { weight: 4, arbitrary: fc.record({ kind: fc.constant('consume' as const), share }) },
    {
      weight: 2,
      arbitrary: fc.record({ kind: fc.constantFrom('copy' as const, 'view' as const), from: share, to: share }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('trim' as const), keep: sizes }) },
  ),
  { maxLength: 60 },
);

contract('any order of calls gives the same bytes as one Buffer', (t, make) => {
  const property = fc.property(ops, (list) => {
    const ring = make();
    let model = Buffer.alloc(0);
    let written = 0;
    const fresh = (size: number) => {
      written += size;
      return pattern(size, written);
    };
    for (const op of list) {
      switch (op.kind) {
        case 'write': {
          const data = fresh(op.size);
          ring.append(data);
          model = Buffer.concat([model, data]);
          break;
        }
        case 'unread': {
          const data = fresh(op.size);
          ring.unread(data);
          model = Buffer.concat([data, model]);
          break;
        }
        case 'reserve': {
          const region = ring.reserve(op.min);
          if (region.length < op.min) return false;
          const data = fresh(Math.floor(region.length * op.fill));
          region.set(data);
          const count = Math.floor(model.length * op.consume);
          ring.consume(count);
          ring.commit(data.length);
          model = Buffer.concat([model.subarray(count), data]);
          break;
        }
        case 'consume': {
          const count = Math.floor(model.length * op.share);
          ring.consume(count);
          model = model.subarray(count);
          break;
        }
        case 'copy': {
          const [start, end] = [op.from, op.to].sort((a, b) => a - b).map((x) => Math.floor(x * model.length));
          const target = Buffer.alloc(model.length + 3, 0xcc);
          ring.copyTo(target, 3, start!, end!);
          const expected = Buffer.alloc(model.length + 3, 0xcc);
          model.copy(expected, 3, start, end);
          if (!target.equals(expected)) return false;
          break;
        }
        case 'view': {
          const [start, end] = [op.from, op.to].sort((a, b) => a - b).map((x) => Math.floor(x * model.length));
          const view = ring.view(start!, end!);
          if (view !== null && !view.equals(model.subarray(start, end))) return false;
          break;
        }
        case 'trim':
          ring.trim(op.keep);
          if (ring.capacity > Math.max(op.keep, 4 * model.length, model.length === 0 ? 0 : 256)) return false;
          break;
      }
      if (ring.length !== model.length || ring.capacity < ring.length) return false;
      if (!contents(ring).equals(model)) return false;
    }
    return true;
  });
  t.notThrows(() => fc.assert(property, { seed: seed(t), numRuns: 400 }));
});

// --- The frame index

/**
 * The words that a search must produce, except the partial match, whose encoding is up to the engine: a quadratic scan.
 */
function expectedIndex(
  bytes: Uint8Array,
  sequences: readonly Uint8Array[],
  start: number,
  resume: number,
  limit: number,
  max: number,
): number[] {
  const longest = Math.max(...sequences.map((sequence) => sequence.length));
  const ends: number[] = [];
  let frame = start;
  let stopped = max === 0;
  let overlong: number | null = null;
  for (let end = start + 1; end <= bytes.length && !stopped; end++) {
    const found = sequences
      .filter((sequence) => end - sequence.length >= frame)
      .filter((sequence) => Buffer.compare(bytes.subarray(end - sequence.length, end), sequence) === 0);
    if (found.length === 0) continue;
    const body = end - frame - Math.max(...found.map((sequence) => sequence.length));
    if (body > limit) overlong = body;
    else {
      ends.push(end);
      frame = end;
    }
    stopped = overlong !== null || ends.length === max;
  }
  const carries = Separator.from([...sequences], 't').carries;
  const ranOut = Math.max(ends.length === 0 ? resume : frame, bytes.length - (carries ? 0 : longest - 1));
  return [ends.length, stopped ? frame : ranOut, 0, overlong ?? 0, ...ends];
}

/** The partial match that the last search ended with. */
let partialNow = 0;

function words(
  ring: Ring,
  separator: Separator,
  start: number,
  resume: number,
  limit: number,
  max: number,
  space = ring.length,
  partial = 0,
): number[] {
  // A frame that is already listed ends where the first one begins.
  const listed = start > 0 ? 1 : 0;
  const out = new Uint32Array(FrameIndex.ENDS + listed + space + 1).fill(0xdeadbeef);
  out.set([listed, resume, partial, 0]);
  if (listed > 0) out[FrameIndex.ENDS] = start;
  const most = Math.min(max, 2 ** 32 - 2) + listed;
  ring.list({
    framing: separator,
    words: out.subarray(0, out.length - 1),
    limit: Math.min(limit, MAX_CAPACITY),
    max: most,
  });
  const count = out[FrameIndex.COUNT]! - listed;
  if (out.subarray(FrameIndex.ENDS + listed + count).some((word) => word !== 0xdeadbeef)) {
    throw new Error('written too far');
  }
  partialNow = out[FrameIndex.PARTIAL]!;
  if (partialNow !== 0 && !separator.carries) throw new Error('a partial of a separator that has none');
  const ends = out.subarray(FrameIndex.ENDS + listed, FrameIndex.ENDS + listed + count);
  return [count, out[FrameIndex.RESUME]!, 0, out[FrameIndex.REFUSED]!, ...ends];
}

const latin1 = (text: string) => Buffer.from(text, 'latin1');

/** Sequences of 1, 2 and 4 bytes, several of them, self-overlapping ones, and ones that end or begin like another. */
const sets: readonly (readonly string[])[] = [
  ['\n'],
  ['\xff'],
  ['\r\n'],
  ['aa'],
  ['aba'],
  ['\r\n\r\n'],
  ['aaaa'],
  ['abababab'],
  ['\n', '\r\n'],
  ['\n', 'a'],
  ['\n\n', '\r\n\r\n'],
  ['a', 'aaa'],
  ['ab', 'abab'],
  ['ab', 'aba', 'ba'],
  ['b', 'ab', 'aab', 'aaab'],
  ['\n', '\r', '\r\n', 'aa', 'ab', 'bba', '\xff', 'baab'],
  // Those for which a search carries its state across chunks: long ones, many, and many distinct last bytes.
  ['abababababababababab'],
  ['aaaaaaaaaaaaaaaaab'],
  ['baaaaaaaaaaaaaaaaaa', 'ab'],
  ['aabaabaabaabaabaabaa', 'abaabaabaabaabab', '\n'],
  ['aaaaaaaaaaaaaaaaaaaaaaaaa', 'aaaaaaaaaaaaaaaaaab', 'aab'],
  Array.from({ length: 18 }, (_, i) => `${'a'.repeat(i)}b`),
  ['a', 'b', '\r', '\n', '\xff', 'y', 'z', '0', '1'],
];
const letters = ['a', 'b', '\r', '\n', '\xff', 'x'];

const text = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: fc.constantFrom(...letters) },
      { weight: 2, arbitrary: fc.constantFrom(...sets.flat()) },
      { weight: 1, arbitrary: fc.nat(30).map((n) => 'x'.repeat(n)) },
      { weight: 1, arbitrary: fc.nat(30).map((n) => 'a'.repeat(n)) },
      { weight: 1, arbitrary: fc.nat(20).map((n) => 'ab'.repeat(n)) },
      { weight: 1, arbitrary: fc.nat(15).map((n) => 'aab'.repeat(n)) },
    ),
    { maxLength: 60 },
  )
  .map((parts) => latin1(parts.join('')));

const chosen = fc.oneof(
  fc.constantFrom(...sets),
  fc.array(
    fc.array(fc.constantFrom(...letters), { minLength: 1, maxLength: 5 }).map((list) => list.join('')),
    { minLength: 1, maxLength: 8 },
  ),
  // Periodic ones, which are partially matched all the time, with another byte in them.
  fc.array(
    fc
      .tuple(
        fc.constantFrom('a', 'ab', 'aab'),
        fc.integer({ min: 4, max: 12 }),
        fc.constantFrom('', 'b', 'x'),
        fc.nat(12),
      )
      .map(([period, times, other, at]) => {
        const sequence = period.repeat(times);
        return sequence.slice(0, at) + other + sequence.slice(at);
      }),
    { minLength: 1, maxLength: 3 },
  ),
);

contract('list finds what a quadratic scan finds', (t, make) => {
  const property = fc.property(
    text,
    chosen,
    fc.record({
      wrap: share,
      start: fc.oneof(fc.constant(0), share),
      limit: fc.oneof(fc.constantFrom(0, 1, 2 ** 16, 2 ** 40, Infinity), fc.nat(50)),
      max: fc.oneof(fc.constantFrom(0, 1, 2 ** 40, Infinity), fc.nat(10)),
      space: fc.oneof(fc.constantFrom(0, 1), fc.nat(500)),
    }),
    (bytes, set, { wrap, start, limit, max, space }) => {
      const ring = ringWithWrap(make, bytes, Math.floor(wrap * bytes.length));
      const from = Math.floor(start * bytes.length);
      const sequences = set.map(latin1);
      const found = words(ring, Separator.from(sequences, 't'), from, from, limit, max, space);
      const expected = expectedIndex(bytes, sequences, from, from, limit, Math.min(max, space));
      if (found.join() !== expected.join()) {
        throw new Error(`found ${found.join()}, expected ${expected.join()}`);
      }
    },
  );
  t.notThrows(() => fc.assert(property, { seed: seed(t), numRuns: 2000 }));
});

contract('list resumes where it stopped, however the bytes are split', (t, make) => {
  const property = fc.property(
    text,
    chosen,
    fc.record({
      chunks: fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 20 }),
      limit: fc.oneof({ weight: 3, arbitrary: fc.constant(Infinity) }, { weight: 1, arbitrary: fc.nat(40) }),
      max: fc.integer({ min: 1, max: 5 }),
      consuming: fc.boolean(),
    }),
    (bytes, set, { chunks, limit, max, consuming }) => {
      const sequences = set.map(latin1);
      const separator = Separator.from(sequences, 't');
      const ring = make();
      const ends: number[] = [];
      // `base` bytes were consumed; `behind` and `resume` count from there.
      let base = 0;
      let frame = 0;
      let resume = 0;
      let partial = 0;
      let overlong = 0;
      for (let fed = 0, i = 0; fed < bytes.length && overlong === 0; i++) {
        const chunk = bytes.subarray(fed, fed + chunks[i % chunks.length]!);
        ring.append(chunk);
        fed += chunk.length;
        for (;;) {
          const found = words(ring, separator, frame, resume, limit, max, ring.length, partial);
          const here = bytes.subarray(base, fed);
          const expected = expectedIndex(here, sequences, frame, resume, limit, max);
          if (found.join() !== expected.join()) throw new Error(`found ${found.join()}, expected ${expected.join()}`);
          const [count = 0, next = 0, , body = 0, ...list] = found;
          partial = partialNow;
          ends.push(...list.map((end) => base + end));
          frame = list[count - 1] ?? frame;
          resume = next;
          if (consuming) {
            ring.consume(frame);
            base += frame;
            resume -= frame;
            frame = 0;
          }
          if (body !== 0) overlong = body;
          if (count < max) break;
        }
      }
      const whole = expectedIndex(bytes, sequences, 0, 0, limit, Infinity);
      if (ends.join() !== whole.slice(FrameIndex.ENDS).join() || overlong !== whole[FrameIndex.REFUSED]) {
        throw new Error(`found ${ends.join()}, expected ${whole.slice(FrameIndex.ENDS).join()}`);
      }
    },
  );
  t.notThrows(() => fc.assert(property, { seed: seed(t), numRuns: 1000 }));
});

contract('list finds the same frames at every wrap point of fixed texts', (t, make) => {
  const wrong: string[] = [];
  const texts = [
    'GET / HTTP/1.1\r\nHost: example.org\r\nAccept: */*\r\n\r\nbody\n\r\n\r\n\r\nrest\r',
    'aaaaaaabaabababababaaab\nab\r\rba\r\n\xff\xffaab',
    'xaxaxaxaab\nx\nx\nx\nx\nx\r\n\r\nb\nb\nb\nb\nba\r\nx\r\n\r\naxaxbaxbababab',
    '\n\n\n\r\n\r\n\r\r\n\r\nabababababab',
    `${'a'.repeat(40)}b${'ab'.repeat(12)}${'aab'.repeat(9)}baaaaaaaaaaaaaaaaaaa`,
  ].map(latin1);
  for (const bytes of texts) {
    for (const set of sets) {
      const sequences = set.map(latin1);
      const separator = Separator.from(sequences, 't');
      const expected = expectedIndex(bytes, sequences, 0, 0, 1000, Infinity).join();
      for (let wrap = 0; wrap <= bytes.length; wrap++) {
        const ring = ringWithWrap(make, bytes, wrap);
        if (words(ring, separator, 0, 0, 1000, Infinity).join() !== expected) {
          wrong.push(`${JSON.stringify(set)} in ${bytes.toString('latin1')}, wrap ${wrap}`);
        }
      }
    }
  }
  t.deepEqual(wrong, []);
});

contract('list finds a separator at any position of a long text, with the wrap point in and around it', (t, make) => {
  const wrong: string[] = [];
  const size = 3300;
  const buffers = ['x', 'a', '\r'].map((fill) => latin1(fill.repeat(size)));
  for (const set of [['\n'], ['\r\n'], ['\n', '\r\n'], ['\n\n', '\r\n\r\n'], ['axb', 'b\n', 'y']]) {
    const sequences = set.map(latin1);
    const separator = Separator.from(sequences, 't');
    for (const blank of buffers) {
      for (const at of [0, 1, 15, 16, 17, 1020, 1021, 1022, 1023, 1024, 1025, 3070, 3071, 3072, 3073, 3290]) {
        const bytes = Buffer.from(blank);
        for (const sequence of sequences) bytes.set(sequence, at);
        const expected = expectedIndex(bytes, sequences, 0, 0, size, Infinity).join();
        for (const wrap of [0, at, at + 1, at + 2, at + 3, at + 4, 1024, size]) {
          const ring = ringWithWrap(make, bytes, wrap);
          if (words(ring, separator, 0, 0, size, Infinity).join() !== expected) {
            wrong.push(`${JSON.stringify(set)} at ${at} among ${blank.toString('latin1', 0, 1)}, wrap ${wrap}`);
          }
        }
      }
    }
  }
  t.deepEqual(wrong, []);
});

contract('list does not search the same bytes twice', (t, make) => {
  for (const set of [['\n'], ['\r\n'], ['\n', '\r\n\r\n']]) {
    const separator = Separator.from(set, 't');
    const ring = ringWithWrap(make, Buffer.alloc(200, 0x78), 80);
    const resume = words(ring, separator, 0, 0, 1000, 10)[FrameIndex.RESUME]!;
    t.is(resume, 200 - separator.longest + 1);
    // Separators that are written into bytes that were already searched show that these are not searched again.
    for (const at of [0, 60, 100, resume - 4]) ring.view(at, at + 4)!.write('\r\n\r\n');
    t.deepEqual(words(ring, separator, 0, resume, 1000, 10), [0, resume, 0, 0]);
    ring.append(Buffer.from(`yy${set[0]!}`));
    t.is(words(ring, separator, 0, resume, 1000, 10)[FrameIndex.COUNT], 1);
  }
});

contract('list: a match never reaches back into the previous frame', (t, make) => {
  const ring = make();
  ring.append(Buffer.from('aaaaa\r\n'));
  t.deepEqual(words(ring, Separator.from('aa', 't'), 0, 0, 9, 9), [2, 6, 0, 0, 2, 4]);
  t.deepEqual(words(ring, Separator.from('\r\n', 't'), 6, 6, 9, 9), [0, 6, 0, 0]);
  t.deepEqual(words(ring, Separator.from(['\n', '\r\n'], 't'), 6, 6, 9, 9), [1, 7, 0, 0, 7]);
});

contract('list refuses a partial match that no search can have ended with', (t, make) => {
  const ring = make();
  ring.append(Buffer.alloc(100, '-'));
  const long = '-'.repeat(20);
  for (const [set, states] of [
    [[`${long}X`], 22],
    [[`${long}X`, 'other'], 27],
    [['\n'], 1],
  ] as const) {
    const separator = Separator.from(set, 't');
    t.notThrows(() => words(ring, separator, 0, 90, 9, 9, 9, 0));
    for (const partial of [states, 2 ** 32 - 1]) {
      t.throws(() => words(ring, separator, 0, 90, 9, 9, 9, partial), {
        instanceOf: RangeError,
        code: 'ERR_OUT_OF_RANGE',
      });
    }
  }
});

test('TypeScript: a search takes a bounded number of steps per byte, whatever the bytes and separators are', (t) => {
  const size = 1 << 15;
  const dashes = (n: number) => '-'.repeat(n);
  const sets = [
    [`X${dashes(2000)}`, 'other'],
    [`${dashes(2000)}X`, 'other'],
    [`${dashes(35)}X${dashes(35)}`, 'other'],
    [`${dashes(7999)}X`],
    [`X${dashes(7999)}`],
    [`${dashes(4000)}X${dashes(4000)}`],
    [`${'-+'.repeat(4000)}X`],
    Array.from({ length: 40 }, (_, i) => `${dashes(i)}X`),
    [`${dashes(8)}X${dashes(7)}`],
    [`${dashes(6)}X${dashes(5)}`, 'other-'],
    ['--X--', 'X---', '-X-'],
  ];
  for (const bytes of [dashes(size), '-+'.repeat(size / 2), '--othe-r'.repeat(size / 8)].map(latin1)) {
    for (const set of sets) {
      for (const piece of [16, 1000, size]) {
        // A new object, not a cached one: its steps start at 0.
        const separator = new Separator(set.map(latin1));
        const ring = new TypeScriptRing();
        const out = new Uint32Array(FrameIndex.ENDS + 1);
        for (let fed = 0; fed < size; fed += piece) {
          ring.append(bytes.subarray(fed, fed + piece), { framing: separator, words: out, limit: size, max: 1 });
        }
        t.is(out[FrameIndex.COUNT], 0);
        const { steps } = separator.automaton;
        t.true(
          steps <= 2 * size + 32 * (size / piece),
          `${steps} steps, ${set.length} sequences, ${piece} bytes at a time`,
        );
        if (separator.carries) t.true(steps > 0);
        // Without carried state, what each chunk searches again is bounded.
        else t.true(separator.longest <= 16);
      }
    }
  }
});

contract('append and commit list the frames that they complete, and continue the listing', (t, make) => {
  for (const set of [['\n'], ['\r\n', '\n'], [`${'-'.repeat(20)}X`]]) {
    const separator = Separator.from(set, 't');
    const end = set[0]!;
    const ring = make();
    const listing = { framing: separator, words: new Uint32Array(FrameIndex.ENDS + 9), limit: 5, max: 9 };
    const ends = () => [...listing.words.subarray(FrameIndex.ENDS, FrameIndex.ENDS + listing.words[FrameIndex.COUNT]!)];
    const one = 3 + end.length;
    const two = one + 2 + end.length;
    ring.append(latin1(`one${end.slice(0, -1)}`), listing);
    t.deepEqual(ends(), []);
    ring.append(latin1(`${end.slice(-1)}tw`), listing);
    t.deepEqual(ends(), [one]);
    const region = ring.reserve(1000);
    region.set(latin1(`${end}too long${end}four${end}`));
    ring.commit(2 * end.length + 8, listing);
    t.deepEqual(ends(), [one, two]);
    t.is(listing.words[FrameIndex.REFUSED], 8, 'an overlong frame is not listed');
    // Nothing is listed, but the bytes are stored.
    const { length } = ring;
    ring.append(latin1(end));
    t.is(ring.length, length + end.length);
    t.deepEqual(ends(), [one, two]);
  }
});

contract(
  'append moves the ring to a larger block, even with bytes of its own as the argument, and lists in the same call',
  (t, make) => {
    const separator = Separator.from('\n', 't');
    const ring = make();
    ring.append(Buffer.alloc(200, 'x'));
    ring.consume(100);
    const listing = { framing: separator, words: new Uint32Array(FrameIndex.ENDS + 9), limit: 1000, max: 9 };
    const before = ring.capacity;
    ring.append(Buffer.concat([Buffer.from('\n'), Buffer.alloc(400, 'y'), Buffer.from('\n')]), listing);
    t.true(ring.capacity > before);
    t.deepEqual([...listing.words], [2, 502, 0, 0, 101, 502, 0, 0, 0, 0, 0, 0, 0]);
    t.is(contents(ring).toString(), `${'x'.repeat(100)}\n${'y'.repeat(400)}\n`);
    ring.append(ring.view(0, 502)!);
    t.is(ring.length, 1004);
  },
);

contract('frames by length are listed by append and commit, and when the ring moves to a larger block', (t, make) => {
  const framing = Lengths.of('uint16be', 0, 0, 0, 10);
  const ring = make();
  const listing = { framing, words: new Uint32Array(FrameIndex.ENDS + 9), limit: 1000, max: 9 };
  ring.append(latin1('\x00\x03one\x00'), listing);
  t.deepEqual([...listing.words.subarray(0, 6)], [1, 5, 0, 0, 5, 0]);
  const region = ring.reserve(20);
  region.set(latin1('\x03two\x03\x00'));
  ring.commit(6, listing);
  t.deepEqual([...listing.words.subarray(0, 7)], [2, 10, 0, 0, 5, 10, 0]);
  const before = ring.capacity;
  ring.append(Buffer.alloc(768), listing);
  t.true(ring.capacity > before);
  t.deepEqual([...listing.words.subarray(0, 8)], [3, 780, 0, 0, 5, 10, 780, 0]);
  ring.append(latin1('\x00\x01x\x03\xe7'), listing);
  t.deepEqual([...listing.words.subarray(0, 9)], [4, 783, 0, 1001, 5, 10, 780, 783, 0], 'a frame over the limit');
});
