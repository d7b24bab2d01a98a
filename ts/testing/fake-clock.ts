/** A clock that a test advances. */
import { clock, setClock, type Clock, type Timer } from '../clock.js';
import { StateError, invalidType, outOfRange } from '../errors.js';
import { settled } from './settled.js';

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

/** The clock that {@link fakeClock} returns. */
export class FakeClock implements Clock {
  #now: number;
  readonly #timers = new Set<FakeTimer>();
  /** @internal Called in the poll for input that comes before each check of a timeout. */
  poll: () => void = () => {};

  /** @internal @param start - the time at which it begins */
  constructor(start = 1_000_000) {
    this.#now = start;
  }

  /** The time in milliseconds. Only {@link advance} changes it. */
  now(): number {
    return this.#now;
  }

  /** @internal */
  setTimeout(run: () => void, ms: number): Timer {
    const timer = new FakeTimer(run, this.#now + ms);
    this.#timers.add(timer);
    return timer;
  }

  /** @internal */
  clearTimeout(timer: Timer): void {
    // One that the system's clock has set is not among them.
    for (const one of this.#timers) if (one === timer) this.#timers.delete(one);
  }

  /** @internal */
  afterPoll(run: () => void): void {
    this.poll();
    run();
  }

  /** @internal How many timers keep the process alive. */
  get held(): number {
    return [...this.#timers].filter(({ held }) => held).length;
  }

  /**
   * Lets `ms` milliseconds pass. Whatever is due in that time happens in order, each at its moment, and before and after it the program can
   * react: see {@link settled}. Timeouts are never over early and may be over a little late (see `TimeoutOptions`), so advance by an
   * eighth more than the timeout, at least 32 ms.
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` (as a rejection) if `ms` is not a number of 0 or more
   */
  async advance(ms: number): Promise<void> {
    const expected = 'a finite number of milliseconds of 0 or more';
    if (typeof ms !== 'number') throw invalidType('advance', 'ms', expected, ms);
    if (!(ms >= 0 && ms < Infinity)) throw outOfRange('advance', 'ms', expected, ms);
    await settled();
    const end = this.#now + ms;
    while (this.#runNext(end)) await settled();
    this.#now = end;
  }

  /** @internal As {@link advance}, but without letting anything else happen. */
  tick(ms: number): void {
    const end = this.#now + ms;
    while (this.#runNext(end));
    this.#now = end;
  }

  /** @internal Advances the time as if the process were stopped meanwhile: the timers that are due run at the end. */
  stall(ms: number): void {
    this.#now += ms;
    this.tick(0);
  }

  /** Runs the next timer that is due until `end`, if there is one. */
  #runNext(end: number): boolean {
    let next: FakeTimer | null = null;
    for (const timer of this.#timers) {
      if (timer.due <= end && (next === null || timer.due < next.due)) next = timer;
    }
    if (next === null) return false;
    this.#now = Math.max(this.#now, next.due);
    this.#timers.delete(next);
    next.run();
    return true;
  }

  /** Puts the clock of the system back. */
  restore(): void {
    if (clock === this) setClock();
  }

  /** `using`: as {@link restore}. */
  [Symbol.dispose](): void {
    this.restore();
  }
}

/**
 * Replaces the clock of all timeouts of this thread until it is restored: `timeout` of calls, `idleTimeout`, `readTimeout`, `writeTimeout`,
 * `maxAge` and `closeTimeout`. Time then passes only by {@link FakeClock.advance}.
 *
 * ```ts
 * using clock = fakeClock();
 * const [client, peer] = streampair();
 * const reading = client.readline({ timeout: 30_000 });
 * await clock.advance(34_000);
 * await reading; // rejects with a TimeoutError
 * ```
 *
 * Timeouts that were already running continue on the new clock with the time that they had left. The timers of Node, and the times of
 * `connect`, of TLS handshakes and of servers that close, stay as they are.
 *
 * @throws StateError `ERR_IN_USE` if another fake clock is in use
 */
export function fakeClock(): FakeClock {
  if (clock instanceof FakeClock) throw new StateError('ERR_IN_USE', 'fakeClock: another fake clock is in use');
  const fake = new FakeClock();
  setClock(fake);
  return fake;
}
