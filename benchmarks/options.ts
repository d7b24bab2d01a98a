import { parseArgs } from 'node:util';

import { JUDGED_ROUNDS } from './judge.js';
import type { Engine } from './toolchain.js';

/** The options of the command line. */
export interface Options {
  /** The names of cases and groups; empty for the cases without a group. */
  readonly cases: readonly string[];
  /** Only the contenders that are judged. */
  readonly judged: boolean;
  readonly json: boolean;
  readonly quick: boolean;
  /** Only print the usage. */
  readonly help: boolean;
  /** Fail if a contender is missing. */
  readonly complete: boolean;
  readonly record: boolean;
  readonly rounds: number;
  readonly engine: Engine | null;
}

/** The command line is invalid. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `npm run bench -- [CASE ...] [--judged] [--json] [--quick] [--rounds N] [--engine native|typescript]
                         [--record] [--complete]

  CASE       run only these cases, or groups: sweep (line lengths and connections), growth, busy-memory, cores, protocols; or all
  --judged   leave out the contenders that are shown for information, which takes far less time
  --json     print the results as one JSON object, on the last line
  --quick    small data, one round: checks that every contender answers correctly, judges nothing
  --rounds   how often each contender is timed (default ${JUDGED_ROUNDS}; fewer are not judged)
  --engine   the engine of sluice (default: the one that loads, and the other for comparison)
  --record   write the results to benchmarks/records, and a plot of a sweep
  --complete fail if a contender is missing, unless it needs uvloop`;

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
  if (!Number.isInteger(rounds) || rounds < 1)
    throw new UsageError(`--rounds must be an integer of 1 or more, not ${values.rounds}`);
  if (values.quick && values.rounds !== undefined)
    throw new UsageError('--quick runs one round and cannot be combined with --rounds');
  if (values.quick && values.record)
    throw new UsageError('--quick cannot be combined with --record, because it measures nothing');
  const engine = values.engine ?? null;
  if (engine !== null && engine !== 'native' && engine !== 'typescript') {
    throw new UsageError(`--engine must be native or typescript, not ${engine}`);
  }
  const { help, complete, judged, json, quick, record } = values;
  return { cases: positionals, help, complete, judged, json, quick, record, rounds, engine };
}
