/**
 * Which operations of a ring are the native engine's. What they do is the contract in ring.test.ts, on the real binary; here
 * a stand-in notes that it was called, so that these tests need no binary.
 */
// Runs once: it makes its rings by itself.
import test from 'ava';
import type { Addon } from '#ts/native.js';
import { NativeRing } from '#ts/native-ring.js';
import { FrameIndex, TypeScriptRing } from '#ts/ring.js';
import { Separator } from '#ts/separator.js';

interface Watched {
  readonly addon: Addon;
  readonly calls: { name: string; args: readonly unknown[] }[];
  /** What was called since the last time, by name. */
  names(): string[];
}

function watched(): Watched {
  const calls: Watched['calls'] = [];
  const note = (name: string, ...args: readonly unknown[]): number => {
    calls.push({ name, args });
    return 0;
  };
  const addon: Addon = {
    Separator: (sequences) => ({ noted: note('Separator', sequences) }),
    write: (...args) => void note('write', ...args),
    unread: (...args) => void note('unread', ...args),
    copyTo: (...args) => void note('copyTo', ...args),
    relocate: (...args) => void note('relocate', ...args),
    index: (...args) => note('index', ...args),
    seek: (...args) => void note('seek', ...args),
  };
  return { addon, calls, names: () => calls.splice(0).map(({ name }) => name) };
}

/** A ring with so many bytes in it, none of them by the native engine. */
function filled(addon: Addon, size: number, threshold?: number): NativeRing {
  const ring = new NativeRing(addon, threshold);
  ring.reserve(Math.max(size, 1));
  ring.commit(size);
  return ring;
}

const separator = (...sequences: string[]): Separator => new Separator(sequences.map((text) => Buffer.from(text)));
const out = (): Uint32Array => new Uint32Array(16);

test('it is a TypeScript ring, but for the work on the bytes', (t) => {
  const { addon, names } = watched();
  const ring = new NativeRing(addon, 0);
  t.true(ring instanceof TypeScriptRing);
  ring.reserve(10);
  ring.commit(10);
  ring.consume(1);
  ring.view(0, 9);
  ring.trim(0);
  t.deepEqual(names(), []);
});

test('a threshold is the size from which on every operation is native', (t) => {
  const { addon, names } = watched();
  const at = 100;
  const calls: Record<string, (size: number) => unknown> = {
    write: (size) => filled(addon, 1000, at).write(Buffer.alloc(size)),
    unread: (size) => filled(addon, 1000, at).unread(Buffer.alloc(size)),
    copyTo: (size) => filled(addon, 1000, at).copyTo(Buffer.alloc(1000), 0, 0, size),
    relocate: (size) => {
      const ring = filled(addon, 5000, at);
      ring.consume(5000 - size);
      ring.trim(0);
    },
    index: (size) => {
      const found = separator('\n');
      found.native = {};
      return filled(addon, 1000, at).index(found, 0, 1000 - size, 0, 9, 9, out());
    },
  };
  for (const [name, call] of Object.entries(calls)) {
    // Room for these is made first: only the operation itself is looked at.
    call(at - 1);
    t.false(names().includes(name), `${name}, ${at - 1} bytes`);
    call(at);
    t.true(names().includes(name), `${name}, ${at} bytes`);
  }
});

test('as programs use it, bytes are copied by TypeScript, however many', (t) => {
  const { addon, names } = watched();
  const ring = new NativeRing(addon);
  for (const size of [1, 64, 8192, 1_000_000]) {
    const data = Buffer.alloc(size, size);
    ring.write(data);
    ring.unread(data);
    ring.copyTo(Buffer.alloc(size), 0, 0, size);
    ring.consume(2 * size);
    ring.trim(0);
  }
  t.deepEqual(names(), []);
});

test('as programs use it, searching for one sequence is native from three lines of 64 bytes on', (t) => {
  const { addon, names } = watched();
  const line = separator('\n');
  const search = (size: number, resume: number, max = 9): string[] => {
    filled(addon, size).index(line, 0, resume, 0, 9, max, out());
    return names();
  };
  t.deepEqual(search(191, 0), []);
  t.deepEqual(search(192, 0), ['Separator', 'index']);
  // What counts is what is left to be searched.
  t.deepEqual(search(1000, 809), []);
  t.deepEqual(search(1000, 808), ['index']);
  t.deepEqual(search(1000, 0, 2), []);
  t.deepEqual(search(1000, 0, 3), ['index']);
});

test('as programs use it, how long frames are is learnt from what was found', (t) => {
  const { addon, names } = watched();
  const words = new Uint32Array(100);
  const line = separator('\n');
  line.native = {};
  const ring = new NativeRing(addon);
  const search = (text: string, start = 0): string[] => {
    ring.consume(ring.length);
    ring.write(Buffer.from(text));
    ring.index(line, start, start, 0, 1e9, 90, words);
    return names();
  };
  const tenBytes = '123456789\n';
  t.deepEqual(search(tenBytes.repeat(10)), []);
  t.is(words[FrameIndex.COUNT], 10);
  t.deepEqual(search(tenBytes.repeat(3)), ['index']);
  // The stand-in found none in these 30 bytes: frames are taken to be at least that long.
  t.deepEqual(search('x'.repeat(89)), []);
  t.deepEqual(search('x'.repeat(266)), []);
  t.deepEqual(search('x'.repeat(3 * 266)), ['index']);
  t.deepEqual(search('x'.repeat(3 * 266)), []);
  // What is in front of the start belongs to no frame.
  t.deepEqual(search('x'.repeat(20) + tenBytes, 20), []);
  t.is(words[FrameIndex.COUNT], 1);
  t.deepEqual(search(tenBytes.repeat(3)), ['index']);
});

test('as programs use it, searching for several sequences is native, but in a ring without memory', (t) => {
  const { addon, names } = watched();
  const several = separator('\n', '\r\n');
  filled(addon, 1).index(several, 0, 0, 0, 9, 9, out());
  t.deepEqual(names(), ['Separator', 'index']);
  filled(addon, 0).index(several, 0, 0, 0, 9, 9, out());
  t.deepEqual(names(), ['index']);
  new NativeRing(addon).index(several, 0, 0, 0, 9, 9, out());
  t.deepEqual(names(), []);
});

test('a separator is handed over once, whichever ring it is used on', (t) => {
  const { addon, calls, names } = watched();
  const found = separator(';', '--');
  for (let i = 0; i < 3; i++) filled(addon, 100).index(found, 0, 0, 0, 9, 9, out());
  t.deepEqual(calls[0], { name: 'Separator', args: [found.sequences] });
  t.true(calls.slice(1).every(({ args }) => args[1] === found.native));
  t.deepEqual(names(), ['Separator', 'index', 'index', 'index']);
});

test('limit and count reach the native engine as words', (t) => {
  const { addon, calls } = watched();
  const ring = filled(addon, 100, 0);
  const words = out();
  for (const [limit, max, expected] of [
    [9.7, 2.9, [9, 2]],
    [0.5, 0, [0, 0]],
    [Infinity, Infinity, [2 ** 32 - 1, words.length - FrameIndex.ENDS]],
    [2 ** 40, 2 ** 40, [2 ** 32 - 1, words.length - FrameIndex.ENDS]],
  ] as const) {
    ring.index(separator('\n'), 3, 5, 0, limit, max, words);
    const [, , start, resume, partial, ...rest] = calls.at(-1)!.args;
    t.deepEqual([start, resume, partial], [3, 5, 0]);
    t.deepEqual(rest, [...expected, words]);
  }
});

test('memory that another thread can write to is never lent', (t) => {
  const { addon, names } = watched();
  const shared = new Uint8Array(new SharedArrayBuffer(50)).fill(7);
  const ring = filled(addon, 100, 0);
  ring.write(shared);
  ring.unread(shared);
  const target = new Uint8Array(new SharedArrayBuffer(50));
  ring.copyTo(target, 0, 0, 50);
  t.deepEqual(names(), []);
  t.is(ring.length, 200);
  t.deepEqual(target, shared);
  t.deepEqual(ring.view(150, 200), Buffer.alloc(50, 7));
});

test('memory of the ring itself is never lent a second time', (t) => {
  const { addon, names } = watched();
  const ring = new NativeRing(addon, 0);
  ring.reserve(1000).set(Buffer.from('abcdef'));
  ring.commit(6);
  ring.write(ring.view(0, 3)!);
  ring.unread(ring.view(3, 6)!);
  ring.copyTo(ring.view(9, 12)!, 0, 0, 3);
  t.deepEqual(names(), []);
  t.is(Buffer.concat([ring.view(0, 3)!, ring.view(3, 12)!]).toString(), 'defabcdefdef');
  // Other memory is, also where it comes from a ring.
  const other = filled(addon, 10, 0);
  ring.write(other.view(0, 3)!);
  t.deepEqual(names(), ['write']);
});

test('wrong arguments are refused before the native engine sees them', (t) => {
  const { addon, names } = watched();
  const ring = filled(addon, 10, 0);
  const refused = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  t.throws(() => ring.copyTo(Buffer.alloc(9), 0, 0, 10), refused);
  t.throws(() => ring.copyTo(Buffer.alloc(99), 0, 0, 11), refused);
  t.throws(() => ring.index(separator('\n'), 0, 11, 0, 9, 9, out()), refused);
  t.throws(() => ring.index(separator('\n'), 0, 0, 0, NaN, 9, out()), refused);
  t.throws(() => ring.index(separator('\n'), 0, 0, 0, 9, 9, new Uint32Array(1)), refused);
  t.deepEqual(names(), []);
});
