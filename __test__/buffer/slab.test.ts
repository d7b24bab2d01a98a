/** Memory for results: no two results share a byte, and a result keeps little memory alive. */
// Runs once: nothing is read.
import test from 'ava';
import fc from 'fast-check';
import { allocateResult, bufferView, SLAB_BYTES } from '#ts/buffer/slab.js';
import { seed } from '../seed.js';

/** Results of at least this size own their memory. */
const OWN_BYTES = SLAB_BYTES / 2;

const edges = [0, 1, 7, 8, 9, 10, 4087, OWN_BYTES - 1, OWN_BYTES, OWN_BYTES + 1, SLAB_BYTES, SLAB_BYTES + 1];

/** Whether two results share a byte. */
function overlap(a: Buffer, b: Buffer): boolean {
  return a.buffer === b.buffer && a.byteOffset < b.byteOffset + b.length && b.byteOffset < a.byteOffset + a.length;
}

test('results never overlap', (t) => {
  const sizes = fc.array(fc.oneof(fc.constantFrom(...edges), fc.nat(64), fc.nat(2 * SLAB_BYTES)), { maxLength: 60 });
  const property = fc.property(sizes, (list) => {
    const results = list.map((size, i) => {
      const result = allocateResult(size);
      if (result.length !== size) throw new Error(`${result.length} bytes for ${size}`);
      return result.fill(i);
    });
    results.forEach((result, i) => {
      if (!result.every((byte) => byte === i)) throw new Error(`result ${i} was written to by a later one`);
      if (results.some((other, j) => j < i && overlap(other, result))) throw new Error(`result ${i} overlaps`);
    });
  });
  t.notThrows(() => fc.assert(property, { seed: seed(t), numRuns: 300 }));
});

test('a small result keeps at most one slab alive', (t) => {
  t.is(SLAB_BYTES, 8192);
  for (let round = 0; round < 50; round++) {
    for (const size of edges.filter((size) => size < OWN_BYTES)) {
      t.true(allocateResult(size).buffer.byteLength <= SLAB_BYTES, `${size} bytes`);
    }
  }
});

test('small results share slabs', (t) => {
  const slabs = new Set(Array.from({ length: 1024 }, () => allocateResult(16).buffer));
  // 16 KiB: two slabs, and a third one if the first was partly used.
  t.true(slabs.size <= 3, `${slabs.size} slabs`);
});

test('a large result owns exactly its memory', (t) => {
  for (const size of [OWN_BYTES, OWN_BYTES + 1, SLAB_BYTES, SLAB_BYTES + 1, 1_000_003]) {
    const result = allocateResult(size);
    t.is(result.byteOffset, 0);
    t.is(result.buffer.byteLength, size);
  }
});

test('results start at multiples of eight, whatever came before', (t) => {
  for (let size = 0; size < 200; size++) {
    allocateResult(size);
    const { buffer, byteOffset } = allocateResult(24);
    t.is(byteOffset % 8, 0, `after ${size} bytes`);
    t.is(new Float64Array(buffer, byteOffset, 3).length, 3);
  }
});

test("results do not come from Node's buffer pool", (t) => {
  const pools = new Set<ArrayBufferLike>(Array.from({ length: 100 }, () => Buffer.from('pooled').buffer));
  for (let i = 0; i < 1000; i++) if (pools.has(allocateResult(16).buffer)) t.fail('a result in the pool');
  t.is([...pools].filter((pool) => pool === allocateResult(16).buffer).length, 0);
});

test("a size that cannot be allocated throws Node's error, and the next result is fine", (t) => {
  t.throws(() => allocateResult(2 ** 53), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
  t.is(allocateResult(5).length, 5);
});

test('a negative size throws, and the next result is fine', (t) => {
  for (const size of [-1, -8, -5000]) {
    t.throws(() => allocateResult(size), { instanceOf: RangeError });
    t.is(allocateResult(5).length, 5);
  }
});

test('a view is an ordinary Buffer', (t) => {
  const memory = new ArrayBuffer(64);
  Buffer.from(memory).set(Buffer.from('....hello, world'));
  const view = bufferView(memory, 4, 12);
  const documented = Buffer.from(memory, 4, 12);
  t.true(Buffer.isBuffer(view));
  t.true(view instanceof Uint8Array);
  t.is(Object.getPrototypeOf(view), Buffer.prototype);
  t.is(view.constructor, Buffer);
  t.deepEqual(view, documented);
  t.is(view.buffer, memory);
  t.is(view.byteOffset, 4);
  t.is(view.length, 12);
  t.is(view.toString('latin1', 0, 5), 'hello');
  t.is(view.indexOf('world'), 7);
  t.is(JSON.stringify(view), JSON.stringify(documented));
  const part = view.subarray(7);
  t.is(Object.getPrototypeOf(part), Buffer.prototype);
  t.is(part.toString(), 'world');
});

test('a view shares its memory, and is no copy', (t) => {
  const memory = new ArrayBuffer(8);
  const view = bufferView(memory, 2, 4);
  view.fill('x');
  t.deepEqual([...new Uint8Array(memory)], [0, 0, 120, 120, 120, 120, 0, 0]);
  new Uint8Array(memory)[3] = 121;
  t.is(view.toString(), 'xyxx');
  t.is(bufferView(memory, 8, 0).length, 0);
  t.throws(() => bufferView(memory, 4, 5), { instanceOf: RangeError });
});

test('a view of shared memory is a Buffer over that memory', (t) => {
  const view = bufferView(new SharedArrayBuffer(8), 1, 3);
  t.is(Object.getPrototypeOf(view), Buffer.prototype);
  t.true(view.buffer instanceof SharedArrayBuffer);
});
