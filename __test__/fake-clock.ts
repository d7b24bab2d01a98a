/** A clock that a test advances. */
import type { ExecutionContext } from 'ava';
import { setClock, type Clock, type Timer } from '#ts/clock.js';
import { pendingDeadlines } from '#ts/deadlines.js';

class FakeTimer implements Timer {
  held = true;

  constructor(
    readonly run: () => void,
    readonly due: number,
  ) {}

  ref(): void {
    this.held = true;
  }

  unref(): void {
    this.held = false;
  }
}

export class FakeClock implements Clock {
  #now: number;
  readonly #timers = new Set<FakeTimer>();
  /** Called in the poll for input that comes before each check of a timeout. */
  poll: () => void = () => {};

  /** @param start - the time at which it begins */
  constructor(start = 1_000_000) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  setTimeout(run: () => void, ms: number): Timer {
    const timer = new FakeTimer(run, this.#now + ms);
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: Timer): void {
    for (const one of this.#timers) if (one === timer) this.#timers.delete(one);
  }

  afterPoll(run: () => void): void {
    this.poll();
    run();
  }

  /** How many timers keep the process alive. */
  get held(): number {
    return [...this.#timers].filter(({ held }) => held).length;
  }

  /** Advances the time, and runs each timer at the moment when it is due. */
  tick(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const next = this.#next(end);
      if (next === null) break;
      this.#now = Math.max(this.#now, next.due);
      this.#timers.delete(next);
      next.run();
    }
    this.#now = end;
  }

  /** Advances the time as if the process were stopped meanwhile: the timers that are due run at the end. */
  stall(ms: number): void {
    this.#now += ms;
    this.tick(0);
  }

  #next(end: number): FakeTimer | null {
    let first: FakeTimer | null = null;
    for (const timer of this.#timers) {
      if (timer.due <= end && (first === null || timer.due < first.due)) first = timer;
    }
    return first;
  }
}

/** Puts a fake clock in place of the system's until the test is over; only in serial tests. Then no deadline may be left. */
export function fakeClock(t: ExecutionContext): FakeClock {
  const clock = new FakeClock();
  t.is(pendingDeadlines(), 0, 'no deadline is left of an earlier test');
  setClock(clock);
  t.teardown(() => setClock());
  return clock;
}
