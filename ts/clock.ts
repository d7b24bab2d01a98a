/**
 * The time and the timers of all timeouts. A test can replace them with a clock of its own, and so let hours pass in no time and in a
 * known order.
 */
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

/** Calls `then` after the event loop has polled for input once: there is one complete poll between two immediates. */
export function afterPoll(then: () => void): void {
  setImmediate(() => setImmediate(then));
}

const SYSTEM: Clock = {
  now: () => performance.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
  afterPoll,
};

/** The clock in use. */
export let clock: Clock = SYSTEM;

/** What has set something on the clock, and moves it to another one. */
type Move = (shift: number, before: Clock) => void;

const moves: Move[] = [];

/**
 * Registers a function that is called when the clock is replaced, with the milliseconds to add to times on the clock before. What was set
 * on that clock then continues with the time that it had left.
 */
export function onClockChange(move: Move): void {
  moves.push(move);
}

/** Replaces the clock, for tests; without an argument the clock of the system returns. */
export function setClock(next: Clock = SYSTEM): void {
  const before = clock;
  if (next === before) return;
  const shift = next.now() - before.now();
  clock = next;
  for (const move of moves) move(shift, before);
}
