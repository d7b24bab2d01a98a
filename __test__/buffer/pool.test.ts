// Runs once for each engine: no socket is read.
import test from 'ava';
import { acquireRing, releaseRing, type PooledRing } from '#ts/buffer/pool.js';

const MIB = 1024 * 1024;

/** Rings with a capacity of at least `bytes`. */
function rings(count: number, bytes: number): PooledRing[] {
  return Array.from({ length: count }, () => {
    const pooled = acquireRing();
    pooled.ring.reserve(bytes);
    return pooled;
  });
}

function bytesOf(pooled: readonly PooledRing[]): number {
  return pooled.reduce((sum, { ring, words }) => sum + ring.capacity + words.byteLength, 0);
}

test.serial('the pool keeps as many rings as fit into 8 MiB, and no more', (t) => {
  for (const size of [MIB / 8, MIB / 4]) {
    const used = rings(100, size);
    for (const one of used) releaseRing(one);
    const again = Array.from({ length: 100 }, acquireRing);
    const kept = again.filter(({ ring }) => ring.capacity > 0);
    t.true(kept.every((one) => used.includes(one)));
    t.true(bytesOf(kept) <= 8 * MIB);
    t.true(bytesOf(kept) > 7 * MIB, `${kept.length} rings`);
  }
});

test.serial('the pool keeps no ring of more than 256 KiB', (t) => {
  const [large, small] = [rings(1, MIB)[0]!, rings(1, MIB / 4)[0]!];
  releaseRing(large);
  t.is(acquireRing(), large);
  t.is(large.ring.capacity, 0);
  releaseRing(small);
  t.is(acquireRing(), small);
  t.is(small.ring.capacity, MIB / 4);
});
