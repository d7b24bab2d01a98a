/**
 * Happy Eyeballs (RFC 8305): which address of a host to try when, free of sockets.
 *
 *     interleave   the order of the addresses
 *     RaceState    when an attempt starts, wins, loses: synchronous, without promises, timers or clocks
 *     race         drives a RaceState by promises, a timer and abort signals
 *
 * Goals: an attempt is never cut off because of the delay, so that a slow only route still connects; what connects too late
 * is closed, never leaked; no timer and no listener is left behind.
 */

import { onAbort } from '../abort.js';
import { LONGEST_TIMEOUT_MS } from '../checks.js';
import { ConnectionError, allAttemptsFailed, attemptFailed, outOfRange, type AttemptError } from '../errors.js';

/** One resolved address of a host. */
export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/**
 * The addresses in the order of RFC 8305, section 4: the first `firstFamilyCount` addresses of the family that comes first,
 * then the families in turn. The order within a family stays as it is; 0 keeps the whole order.
 *
 * ```ts
 * interleave([a6, b6, c6, d4], 1); // a6, d4, b6, c6
 * ```
 *
 * Throws a `RangeError` (`ERR_OUT_OF_RANGE`) when `firstFamilyCount` is not an integer of 0 or more.
 *
 * asyncio: the `interleave` argument of `create_connection`
 */
export function interleave<A extends Address>(addresses: readonly A[], firstFamilyCount: number): A[] {
  if (!Number.isSafeInteger(firstFamilyCount) || firstFamilyCount < 0) {
    throw outOfRange('connect', 'interleave', 'an integer of 0 or more', firstFamilyCount);
  }
  if (firstFamilyCount === 0) return [...addresses];

  const preferred = addresses.filter(({ family }) => family === addresses[0]?.family);
  const other = addresses.filter(({ family }) => family !== addresses[0]?.family);
  // The last one of the head start opens the alternation, so that the other family comes right after it.
  const order = preferred.splice(0, firstFamilyCount - 1);
  for (let i = 0; i < preferred.length || i < other.length; i++) {
    order.push(...preferred.slice(i, i + 1), ...other.slice(i, i + 1));
  }
  return order;
}

/**
 * Where one attempt stands.
 *
 *     waiting -> running -> won
 *                        -> failed
 *                        -> aborted -> failed      as told
 *                                   -> discarded   connected nevertheless
 */
export type AttemptState = 'waiting' | 'running' | 'won' | 'failed' | 'aborted' | 'discarded';

/**
 * Where the race stands.
 *
 *     idle -> racing -> won | failed | cancelled
 *          -> cancelled
 */
export type RacePhase = 'idle' | 'racing' | 'won' | 'failed' | 'cancelled';

/** What the driver of a {@link RaceState} has to do, in the order given. The last three end the race and come once. */
export type RaceStep<T> =
  | { readonly kind: 'arm' }
  | { readonly kind: 'disarm' }
  | { readonly kind: 'start'; readonly index: number }
  | { readonly kind: 'abort'; readonly index: number }
  | { readonly kind: 'discard'; readonly value: T }
  | { readonly kind: 'win'; readonly index: number; readonly value: T }
  | { readonly kind: 'fail'; readonly errors: readonly unknown[] }
  | { readonly kind: 'cancel' };

/**
 * The rules of the race. Each method tells of one event and returns what is to be done about it; the state has changed by
 * then, so an event that arises while the steps are taken can be told at once.
 *
 * While attempts are waiting, the one started last is running, and the timer (if there is one) counts from its start: either
 * its failure or the timer starts the next. The failure of an earlier one changes nothing, for its successor runs already.
 */
export class RaceState<T> {
  readonly #attempts: AttemptState[];
  readonly #errors: unknown[] = [];
  readonly #staggered: boolean;
  #phase: RacePhase = 'idle';
  #next = 0;
  #armed = false;

  /** A race of `count` attempts; without `staggered` an attempt starts only when the one before has failed. */
  constructor(count: number, staggered: boolean) {
    this.#attempts = new Array<AttemptState>(count).fill('waiting');
    this.#staggered = staggered;
  }

  get phase(): RacePhase {
    return this.#phase;
  }

  /** Whether the timer is to be running. */
  get armed(): boolean {
    return this.#armed;
  }

  get attempts(): readonly AttemptState[] {
    return this.#attempts;
  }

  /** The race begins: once, with at least one attempt. */
  begin(): RaceStep<T>[] {
    if (this.#phase !== 'idle') throw new Error(`the race has begun: ${this.#phase}`);
    if (this.#attempts.length === 0) throw new Error('a race needs an attempt');
    this.#phase = 'racing';
    return this.#startNext();
  }

  /** The timer fired. */
  elapsed(): RaceStep<T>[] {
    if (!this.#armed) throw new Error('the timer is not armed');
    this.#armed = false;
    return this.#startNext();
  }

  /** An attempt connected: the first one wins, and each later one is to be discarded. */
  succeeded(index: number, value: T): RaceStep<T>[] {
    if (this.#finished(index) === 'aborted') {
      this.#attempts[index] = 'discarded';
      return [{ kind: 'discard', value }];
    }
    this.#attempts[index] = 'won';
    return this.#end('won', { kind: 'win', index, value });
  }

  /** An attempt failed. */
  failed(index: number, error: unknown): RaceStep<T>[] {
    const before = this.#finished(index);
    this.#attempts[index] = 'failed';
    if (before === 'aborted') return [];
    this.#errors[index] = error;
    if (this.#next < this.#attempts.length) {
      return index === this.#next - 1 ? [...this.#disarm(), ...this.#startNext()] : [];
    }
    return this.#attempts.includes('running') ? [] : this.#end('failed', { kind: 'fail', errors: this.#errors });
  }

  /** Nobody wants the connection any more. Nothing happens when the race is over. */
  cancel(): RaceStep<T>[] {
    return this.#phase === 'idle' || this.#phase === 'racing' ? this.#end('cancelled', { kind: 'cancel' }) : [];
  }

  #finished(index: number): 'running' | 'aborted' {
    const state = this.#attempts[index];
    if (state !== 'running' && state !== 'aborted') throw new Error(`attempt ${index} is ${state ?? 'unknown'}`);
    return state;
  }

  #startNext(): RaceStep<T>[] {
    const index = this.#next++;
    this.#attempts[index] = 'running';
    this.#armed = this.#staggered && this.#next < this.#attempts.length;
    // The timer first: an attempt that cancels the race while it is being started then finds it to stop.
    return this.#armed ? [{ kind: 'arm' }, { kind: 'start', index }] : [{ kind: 'start', index }];
  }

  #disarm(): RaceStep<T>[] {
    if (!this.#armed) return [];
    this.#armed = false;
    return [{ kind: 'disarm' }];
  }

  #end(phase: RacePhase, result: RaceStep<T>): RaceStep<T>[] {
    this.#phase = phase;
    const steps = [...this.#disarm(), result];
    for (const [index, state] of this.#attempts.entries()) {
      if (state !== 'running') continue;
      this.#attempts[index] = 'aborted';
      steps.push({ kind: 'abort', index });
    }
    return steps;
  }
}

/** The timer functions of a {@link race}; those of the runtime where none are given. */
export interface RaceClock {
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(handle: unknown): void;
}

/** What {@link race} is given. */
export interface RaceOptions<T, A extends Address> {
  /** The addresses, in the order in which they are tried. */
  readonly addresses: readonly A[];
  /**
   * Milliseconds from the start of one attempt to the start of the next. With `null`, `undefined` or `Infinity` an attempt
   * starts only when the one before has failed.
   */
  readonly delay?: number | null | undefined;
  /**
   * Connects to one address. When the signal is aborted the result is no longer wanted: the attempt frees what it holds and
   * rejects. The signal of the attempt that won is never aborted.
   */
  attempt(address: A, signal: AbortSignal): Promise<T>;
  /** Closes what an attempt brought after the race was over. Must not throw: nobody is left to be told. */
  discard(value: T): void;
  /** Ends the race: it rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
  readonly clock?: RaceClock | undefined;
  /** What error messages begin with, such as `connect example.org:80`. */
  readonly action?: string | undefined;
}

/** What a {@link race} resolves with. */
export interface RaceResult<T, A extends Address> {
  readonly value: T;
  /** The address that won. */
  readonly address: A;
}

/**
 * Races attempts to connect: they start one after another, each `delay` milliseconds after the one before or as soon as that
 * one has failed, and then run side by side until one connects. No attempt is cut off because of the delay.
 *
 * Waits for the first success; the attempts still running then have their signals aborted, are not waited for, and what they
 * bring nevertheless goes to `discard`. An attempt that throws at once counts as failed.
 *
 * Rejects, with no timer left and no attempt wanted,
 * - when the attempt at the only address has failed: with a `ConnectionError` with `address`, `family` and the `cause`;
 * - when all of several have failed: with an `AggregateError` whose `errors` hold one `ConnectionError` for each address, in
 *   their order, with `address`, `family` and the `cause`; its `code` is the one they share, or else that of the last address;
 * - when `signal` is aborted: with its reason;
 * - when there is no address: with a `ConnectionError` (`ENOTFOUND`);
 * - when `delay` is negative or not a number: with a `RangeError` (`ERR_OUT_OF_RANGE`).
 *
 * ```ts
 * const { value: socket } = await race({
 *   addresses: interleave(await lookup(host, { all: true }), 1),
 *   delay: 250,
 *   attempt: connectSocket,
 *   discard: (socket) => socket.destroy(),
 * });
 * ```
 *
 * asyncio: `staggered_race`, behind the `happy_eyeballs_delay` argument of `create_connection`
 */
export function race<T, A extends Address = Address>(options: RaceOptions<T, A>): Promise<RaceResult<T, A>> {
  return new Promise((resolve, reject) => {
    const { signal, clock = globalThis, action = 'connect' } = options;
    const addresses = [...options.addresses];
    const delay = options.delay ?? Infinity;
    if (typeof delay !== 'number' || !(delay >= 0)) {
      throw outOfRange(action, 'happyEyeballsDelay', 'a number of milliseconds from 0 up, or null', options.delay);
    }
    if (addresses.length === 0) throw new ConnectionError('ENOTFOUND', `${action}: there is no address to connect to`);

    const state = new RaceState<T>(addresses.length, delay !== Infinity);
    const controllers = addresses.map(() => new AbortController());
    let timer: unknown;

    const cancel = (): void => take(state.cancel());
    const addressOf = (index: number): A => addresses[index] as A;
    const slower = (index: number): ConnectionError =>
      new ConnectionError('ECONNABORTED', `${action}: ${addressOf(index).address}: another address was faster`);

    const start = (index: number): void => {
      const { signal: wanted } = controllers[index] as AbortController;
      // The executor turns what the attempt throws into a rejection, so that every failure comes by the same way.
      new Promise<T>((settle) => settle(options.attempt(addressOf(index), wanted))).then(
        (value) => take(state.succeeded(index, value)),
        (error: unknown) => take(state.failed(index, error)),
      );
    };

    const take = (steps: RaceStep<T>[]): void => {
      for (const step of steps) {
        switch (step.kind) {
          case 'arm':
            timer = clock.setTimeout(() => take(state.elapsed()), Math.min(delay, LONGEST_TIMEOUT_MS));
            break;
          case 'disarm':
            clock.clearTimeout(timer);
            break;
          case 'start':
            start(step.index);
            break;
          case 'abort':
            controllers[step.index]?.abort(state.phase === 'cancelled' ? signal?.reason : slower(step.index));
            break;
          case 'discard':
            options.discard(step.value);
            break;
          case 'win':
            forget();
            resolve({ value: step.value, address: addressOf(step.index) });
            break;
          case 'fail': {
            forget();
            if (addresses.length === 1) {
              reject(attemptFailed(addressOf(0), step.errors[0], action));
              break;
            }
            const errors = step.errors.map((error, index) => attemptFailed(addressOf(index), error));
            reject(allAttemptsFailed(action, errors as [AttemptError, ...AttemptError[]]));
            break;
          }
          case 'cancel':
            forget();
            reject(signal?.reason as unknown);
            break;
        }
      }
    };

    const forget = onAbort(signal, cancel);
    if (signal?.aborted) {
      cancel();
      return;
    }
    take(state.begin());
  });
}
