/** The seed of a randomised test: `SLUICE_SEED` if that is set, to repeat a failure; printed either way. */
import type { ExecutionContext } from 'ava';

export function seed(t: ExecutionContext): number {
  const given = process.env['SLUICE_SEED'];
  const value = given === undefined ? Math.floor(Math.random() * 0x7fffffff) : Number(given);
  if (!Number.isInteger(value)) throw new RangeError(`SLUICE_SEED must be an integer, not ${JSON.stringify(given)}`);
  t.log(`SLUICE_SEED=${value}`);
  return value;
}

/** Returns a generator of integers from 0 up to, but not including, its argument: always the same ones for one seed. */
export function randomFrom(first: number): (below: number) => number {
  let state = first >>> 0;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
