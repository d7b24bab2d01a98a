/** Runs one case: first verifies every contender's answer, then times the contenders, one after another within each round. */
import { availableParallelism } from 'node:os';

import type { Case, Entry, Point, Settings } from './case.js';
import { isMissing, judge, type RatioOf, type Remark, remark, type Samples, type Verdict } from './judge.js';
import type { Program } from './programs.js';

/** The outcome of a case. */
export interface CaseResult {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly ratioOf: RatioOf;
  /** The median of sluice; null if it could not run. */
  readonly ours: number | null;
  readonly oursName: string;
  readonly against: readonly Verdict[];
  readonly also: readonly Remark[];
  readonly point?: Point;
  /** All measured values, by contender, in the order of the rounds. */
  readonly samples: Readonly<Record<string, readonly number[]>>;
}

/** Runs a case, and reports each step to `progress`. Throws `WrongAnswerError` if an answer is wrong. */
export async function runCase(
  wanted: Case,
  settings: Settings,
  rounds: number,
  progress: (text: string) => void,
): Promise<CaseResult> {
  const { name, title, unit, ratio, point } = wanted;
  const { ours, against, also, sender } = wanted.plan(settings);
  // Another way of ours may have several rivals, and is timed once.
  const others = new Set(against.flatMap((rival) => rival.ours ?? []));
  const shown = [...others, ...also, ...(sender ? [sender] : [])];
  const entries = [ours, ...against, ...shown];

  // `--quick` judges nothing, so the contenders do not need the machine to themselves.
  const atOnce = settings.quick ? availableParallelism() : 1;
  const programs = new Map<Entry, Program>();
  const samples = new Map<Entry, number[] | { readonly missing: string }>();
  await each(entries, atOnce, async (entry) => {
    progress(`${name}: looking for ${entry.name}`);
    const located = await entry.locate();
    if ('missing' in located) {
      samples.set(entry, located);
    } else {
      progress(`${name}: verifying ${entry.name}`);
      await entry.verify(located);
      programs.set(entry, located);
      samples.set(entry, []);
    }
  });

  for (let round = 1; round <= rounds; round++) {
    await each([...programs], atOnce, async ([entry, program]) => {
      progress(`${name}: round ${round} of ${rounds}: ${entry.name}`);
      const value = await entry.time(program);
      (samples.get(entry) as number[]).push(value);
    });
  }

  const of = (entry: Entry): Samples => samples.get(entry) as Samples;
  const asRemark = (entry: Entry): Remark => remark(entry.name, of(ours), of(entry), ratio);
  return {
    name,
    title,
    unit,
    ratioOf: ratio,
    ours: remark(ours.name, of(ours), of(ours), ratio).value,
    oursName: ours.name,
    against: against.map((rival) => judge(rival.name, of(rival.ours ?? ours), of(rival), ratio, rival.bound)),
    also: shown.map(asRemark),
    ...(point && { point }),
    samples: Object.fromEntries(
      entries.flatMap((entry) => {
        const values = of(entry);
        return isMissing(values) ? [] : [[entry.name, values]];
      }),
    ),
  };
}

/** Runs `action` for each item, in order, at most `atOnce` at the same time. Starts none after one has failed. */
async function each<Item>(
  items: readonly Item[],
  atOnce: number,
  action: (item: Item) => Promise<void>,
): Promise<void> {
  const waiting = [...items];
  const work = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      try {
        await action(item);
      } catch (error) {
        waiting.length = 0;
        throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}
