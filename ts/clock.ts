/**
 * The time and the timers of all timeouts. A test can replace them with a clock of its own, and so let hours pass in no time and in a
 * known order.
 */
import { afterPoll } from './transports/linger.js';

/** A timer of a {@link Clock}; see the timers of Node. */
export interface Timer {
  ref(): unknown;
  unref(): unknown;
}

/** What measures time. */
export interface Clock {
  /** The milliseconds since some moment. They never go back. */
  now(): number;
  /** Calls `run` after `ms` milliseconds. Until then it keeps the process alive, unless the timer is unreferenced. */
  setTimeout(run: () => void, ms: number): Timer;
  /** Forgets a timer that has not fired. */
  clearTimeout(timer: Timer): void;
  /** Calls `run` when the event loop has polled for input: everything that had arrived has been delivered by then. */
  afterPoll(run: () => void): void;
}

const SYSTEM: Clock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
  afterPoll,
};

/** The clock in use. */
export let clock: Clock = SYSTEM;

/**
 * Replaces the clock, for tests; without an argument the clock of the system returns. Only while no call with a timeout waits and no stream
 * has timeouts, because what was set on one clock means nothing on another.
 */
export function setClock(next: Clock = SYSTEM): void {
  clock = next;
}
