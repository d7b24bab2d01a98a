/**
 * From measured values to judgements. Pure functions, no clocks and no processes.
 */

/** Results of fewer rounds than this are shown but not judged. */
export const JUDGED_ROUNDS = 5;

/** The direction of a ratio: 'ours / theirs' for rates, 'theirs / ours' for durations. */
export type RatioOf = 'ours / theirs' | 'theirs / ours';

/** A lower or an upper bound for a ratio. */
export type Bound = { readonly atLeast: number } | { readonly atMost: number };

/** One comparison. `value`, `ratio` and `holds` are null if there is nothing to compare or to judge. */
export interface Verdict {
  readonly name: string;
  readonly value: number | null;
  readonly ratio: number | null;
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly holds: boolean | null;
  /** Why there is no value. */
  readonly missing?: string;
}

/** A comparison for information: no bound, no judgement. */
export type Remark = Omit<Verdict, 'atLeast' | 'atMost' | 'holds'>;

/** The middle value, or the mean of the two middle ones. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('median of no values');
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[sorted.length >> 1] as number;
  return sorted.length % 2 === 1 ? upper : ((sorted[(sorted.length >> 1) - 1] as number) + upper) / 2;
}

/** The spread of the values: (largest - smallest) / median. */
export function spread(values: readonly number[]): number {
  const middle = median(values);
  return middle === 0 ? 0 : (Math.max(...values) - Math.min(...values)) / middle;
}

export function ratio(ours: number, theirs: number, of: RatioOf): number {
  return of === 'ours / theirs' ? ours / theirs : theirs / ours;
}

export function holds(value: number, bound: Bound): boolean {
  return 'atLeast' in bound ? value >= bound.atLeast : value <= bound.atMost;
}

/** The samples of one contender over all rounds, or why there are none. */
export type Samples = readonly number[] | { readonly missing: string };

export function isMissing(samples: Samples): samples is { readonly missing: string } {
  return 'missing' in samples;
}

/** Compares medians. `holds` is null unless both sides ran, for at least {@link JUDGED_ROUNDS} rounds. */
export function judge(name: string, ours: Samples, theirs: Samples, of: RatioOf, bound: Bound): Verdict {
  const compared = remark(name, ours, theirs, of);
  const judged =
    compared.ratio !== null && !isMissing(ours) && !isMissing(theirs) && enough(ours) && enough(theirs)
      ? holds(compared.ratio, bound)
      : null;
  const { missing, ...values } = compared;
  return { ...values, ...bound, holds: judged, ...(missing !== undefined && { missing }) };
}

/** Compares medians without judging. */
export function remark(name: string, ours: Samples, theirs: Samples, of: RatioOf): Remark {
  if (isMissing(theirs)) return { name, value: null, ratio: null, missing: theirs.missing };
  const value = median(theirs);
  const compared = isMissing(ours) ? NaN : ratio(median(ours), value, of);
  // The memory of a few connections can be too small to measure. Then there is nothing to compare with.
  return { name, value, ratio: Number.isFinite(compared) && compared > 0 ? compared : null };
}

function enough(samples: readonly number[]): boolean {
  return samples.length >= JUDGED_ROUNDS;
}
