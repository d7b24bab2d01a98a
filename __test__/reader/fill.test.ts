/** The memory of a large read, on its own. The reads that use it are tested in `reader.test.ts`. */
// Runs once: this memory is not that of an engine, and no socket is read.
import test from 'ava';
import { Fill } from '#ts/reader/fill.js';

test('a fill of n bytes takes n bytes, and returns the rest of a chunk', (t) => {
  const fill = Fill.of(5);
  t.is(fill.target.length, 5);
  t.deepEqual([...fill.take(Uint8Array.of(1, 2, 3))], []);
  t.deepEqual([...fill.take(Uint8Array.of(4, 5, 6, 7))], [6, 7]);
  t.deepEqual([...fill.take(Uint8Array.of(8))], [8]);
  t.is(fill.filled, 5);
  t.deepEqual([...fill.compact()], [1, 2, 3, 4, 5]);
});

test('a fill until EOF at least doubles its memory, so that copying stays linear', (t) => {
  const fill = Fill.untilEof(16);
  const sizes: number[] = [];
  for (let i = 0; i < 1000; i++) {
    if (fill.filled === fill.target.length) {
      fill.grow(fill.filled + 1);
      sizes.push(fill.target.length);
    }
    t.is(fill.take(Uint8Array.of(i & 255)).length, 0);
  }
  t.deepEqual(sizes, [16, 32, 64, 128, 256, 512, 1024]);
  t.deepEqual(fill.compact(), Buffer.from(Uint8Array.from({ length: 1000 }, (_, i) => i & 255)));
  fill.grow(5000);
  t.is(fill.target.length, 5000);
});

test('a result keeps memory of about its own size', (t) => {
  const fill = Fill.untilEof(1000);
  fill.grow(1);
  fill.take(Buffer.alloc(100, 7));
  t.deepEqual(fill.compact(), Buffer.alloc(100, 7));
  t.not(fill.compact().buffer, fill.target.buffer);
  fill.take(Buffer.alloc(650, 7));
  t.is(fill.compact().buffer, fill.target.buffer);
});

test('a size that cannot be allocated is a RangeError with its number', (t) => {
  t.throws(() => Fill.untilEof(16).grow(2 ** 52), {
    instanceOf: RangeError,
    code: 'ERR_BUFFER_TOO_LARGE',
    message: /4503599627370496/,
  });
});
