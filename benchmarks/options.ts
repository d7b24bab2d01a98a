import { parseArgs } from 'node:util';

import { JUDGED_ROUNDS } from './judge.js';
import type { Engine } from './toolchain.js';

/** How the benchmarks are asked for. */
export interface Options {
  /** Names of cases and of groups; empty for those that are always judged. */
  readonly cases: readonly string[];
  /** Only what is judged. */
  readonly judged: boolean;
  readonly json: boolean;
  readonly quick: boolean;
  /** Only say how they are asked for. */
  readonly help: boolean;
  /** Fail where a contender is missing. */
  readonly complete: boolean;
  readonly record: boolean;
  readonly rounds: number;
  readonly engine: Engine | null;
}

/** The command line cannot be followed. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `npm run bench -- [CASE ...] [--judged] [--json] [--quick] [--rounds N] [--engine native|typescript]
                         [--record] [--complete]

  CASE       run only these cases, or groups: sweep (line lengths and connections), growth, busy-memory; or all
  --judged   leave out the contenders that are shown for information: a fraction of the time
  --json     print the results as one JSON object, on the last line
  --quick    small data, one round: checks that every contender answers correctly, judges nothing
  --rounds   how often each contender is timed (default ${JUDGED_ROUNDS}; fewer are not judged)
  --engine   the engine of sluice (default: the one that loads, and the other for comparison)
  --record   write the results to benchmarks/records, and a plot of a sweep
  --complete fail where a contender is missing here, but for those that need uvloop`;

export function parse(words: readonly string[], known: readonly string[]): Options {
  let parsed;
  try {
    parsed = parseArgs({
      args: [...words],
      allowPositionals: true,
      options: {
        help: { type: 'boolean', short: 'h', default: false },
        complete: { type: 'boolean', default: false },
        judged: { type: 'boolean', default: false },
        json: { type: 'boolean', default: false },
        quick: { type: 'boolean', default: false },
        record: { type: 'boolean', default: false },
        rounds: { type: 'string' },
        engine: { type: 'string' },
      },
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const { values, positionals } = parsed;
  const unknown = positionals.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new UsageError(`no case ${unknown.join(', ')}; there are ${known.join(', ')}`);
  const rounds = values.rounds === undefined ? (values.quick ? 1 : JUDGED_ROUNDS) : Number(values.rounds);
  if (!Number.isInteger(rounds) || rounds < 1) throw new UsageError(`--rounds ${values.rounds}: not a count`);
  if (values.quick && values.rounds !== undefined) throw new UsageError('--quick runs one round; leave out --rounds');
  if (values.quick && values.record) throw new UsageError('--quick measures nothing worth a record');
  const engine = values.engine ?? null;
  if (engine !== null && engine !== 'native' && engine !== 'typescript') {
    throw new UsageError(`--engine ${engine}: native or typescript`);
  }
  const { help, complete, judged, json, quick, record } = values;
  return { cases: positionals, help, complete, judged, json, quick, record, rounds, engine };
}
