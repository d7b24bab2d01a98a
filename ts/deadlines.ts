/**
 * Waits that end after a time: all those of a thread, with one timer.
 *
 * Each wait is in the bucket of its deadline. A bucket spans {@link STEP_MS}, and its waits end together, never early and at most that
 * much late. So a wait that ends in time, as most do, costs an insertion and a removal; no timer is made or cleared for it.
 *
 * The timer is set for the earliest bucket. It is not set again when the waits of that bucket end: it fires, and is then set for the bucket
 * that is the earliest by that time, if there is one. It keeps the process alive only while there are waits that are not in the background.
 */
import { LONGEST_TIMEOUT_MS } from './checks.js';
import { clock, onClockChange, type Timer } from './clock.js';
import { shared } from './context.js';

/** How many milliseconds of deadlines share a bucket. */
export const STEP_MS = 8;

/** A wait that ends at a time. */
export class Deadline {
  /** The bucket that it is in; 0 before and after it waits. Only this file changes it. */
  bucket = 0;

  /**
   * @param expire - called once each time it was set, when the time has passed
   * @param background - whether the process may end before that
   */
  constructor(
    readonly expire: () => void,
    readonly background = false,
  ) {}
}

const buckets = new Map<number, Set<Deadline>>();
/** How many of them keep the process alive. */
let waits = 0;
let timer: Timer | null = null;
/** The bucket that the timer is set for. */
let next = Infinity;

/** Has `wait` end after `ms` milliseconds, unless {@link withdrawDeadline} comes first. */
export function setDeadline(wait: Deadline, ms: number): void {
  const bucket = Math.floor((clock.now() + ms) / STEP_MS) + 1;
  let members = buckets.get(bucket);
  if (members === undefined) buckets.set(bucket, (members = new Set()));
  members.add(wait);
  wait.bucket = bucket;
  if (bucket < next) setTimer(bucket);
  if (!wait.background && waits++ === 0) timer?.ref();
}

/** Forgets a wait that has ended before its deadline. May be called at any time. */
export function withdrawDeadline(wait: Deadline): void {
  const { bucket } = wait;
  if (bucket === 0) return;
  wait.bucket = 0;
  const members = buckets.get(bucket);
  // Otherwise it is due, and those before it are ending right now.
  if (members?.delete(wait) !== true) return;
  if (members.size === 0) buckets.delete(bucket);
  if (!wait.background && --waits === 0) timer?.unref();
}

/** How many waits there are, for tests. */
export function pendingDeadlines(): number {
  let count = 0;
  for (const members of buckets.values()) count += members.size;
  return count;
}

onClockChange((shift, before) => {
  if (timer !== null) before.clearTimeout(timer);
  timer = null;
  next = Infinity;
  const all = [...buckets];
  buckets.clear();
  for (const [bucket, members] of all) {
    // Not below 1, because 0 means that a deadline does not wait. Rounded up, so that none is early.
    const moved = Math.max(1, Math.ceil(bucket + shift / STEP_MS));
    for (const wait of members) wait.bucket = moved;
    const others = buckets.get(moved);
    buckets.set(moved, others === undefined ? members : new Set([...others, ...members]));
    next = Math.min(next, moved);
  }
  if (next < Infinity) setTimer(next);
});

function setTimer(bucket: number): void {
  if (timer !== null) clock.clearTimeout(timer);
  next = bucket;
  const delay = Math.ceil(bucket * STEP_MS - clock.now());
  timer = shared(() => clock.setTimeout(fire, Math.min(Math.max(delay, 1), LONGEST_TIMEOUT_MS)));
  if (waits === 0) timer.unref();
}

function fire(): void {
  timer = null;
  next = Infinity;
  const now = clock.now() / STEP_MS;
  let earliest = Infinity;
  const due: Deadline[] = [];
  // After a long turn of the event loop there may be several buckets.
  const passed = [...buckets.keys()].filter((bucket) => bucket <= now).sort((a, b) => a - b);
  for (const bucket of passed) {
    for (const wait of buckets.get(bucket) ?? []) {
      due.push(wait);
      if (!wait.background) waits--;
    }
    buckets.delete(bucket);
  }
  for (const bucket of buckets.keys()) earliest = Math.min(earliest, bucket);
  if (earliest < Infinity) setTimer(earliest);
  for (const wait of due) {
    // One that ended before may have withdrawn it.
    if (wait.bucket === 0) continue;
    wait.bucket = 0;
    wait.expire();
  }
}
