/**
 * Happy Eyeballs (RFC 8305): decides which address of a host to try next, and when. Uses no sockets.
 *
 *     interleave   the order of the addresses
 *     RaceState    when an attempt starts, wins or loses: synchronous, without promises, timers or clocks
 *     race         drives a RaceState with promises, a timer and abort signals
 *
 * An attempt is never cancelled because it is slow, so a slow address still connects if it is the only one that works. A
 * connection that is made too late is closed, and no timer or listener remains.
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
 * The addresses in the order of RFC 8305, section 4: the first `firstFamilyCount` addresses of the family that comes first, then
 * the two families alternately. The order within a family does not change; 0 keeps the whole order.
 *
 * ```ts
 * interleave([a6, b6, c6, d4], 1); // a6, d4, b6, c6
 * ```
 *
 * Throws a `RangeError` (`ERR_OUT_OF_RANGE`) if `firstFamilyCount` is not an integer of 0 or more.
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
  // The alternation starts with the last of the first `firstFamilyCount` addresses, so that the other family comes right after
  // it.
  const order = preferred.splice(0, firstFamilyCount - 1);
  for (let i = 0; i < preferred.length || i < other.length; i++) {
    order.push(...preferred.slice(i, i + 1), ...other.slice(i, i + 1));
  }
  return order;
}

/**
 * The state of one attempt.
 *
 *     waiting -> running -> won
 *                        -> failed
 *                        -> aborted -> failed      as requested
 *                                   -> discarded   connected anyway
 */
export type AttemptState = 'waiting' | 'running' | 'won' | 'failed' | 'aborted' | 'discarded';

/**
 * The state of the race.
 *
 *     idle -> racing -> won | failed | cancelled
 *          -> cancelled
 */
export type RacePhase = 'idle' | 'racing' | 'won' | 'failed' | 'cancelled';

/** The actions for the driver of a {@link RaceState}, in order. The last three kinds end the race; one of them occurs, once. */
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
 * The rules of the race. Each method reports one event and returns the actions to take. The state has already changed by then, so
 * an event that occurs while the actions are taken can be reported immediately.
 *
 * While attempts are waiting, the attempt that was started last is running, and the timer (if there is one) counts from its
 * start: either its failure or the timer starts the next attempt. The failure of an earlier attempt changes nothing, because its
 * successor is already running.
 */
export class RaceState<T> {
  readonly #attempts: AttemptState[];
  readonly #errors: unknown[] = [];
  readonly #staggered: boolean;
  #phase: RacePhase = 'idle';
  #next = 0;
  #armed = false;

  /** A race of `count` attempts. Without `staggered`, each attempt starts only after the previous one has failed. */
  constructor(count: number, staggered: boolean) {
    this.#attempts = new Array<AttemptState>(count).fill('waiting');
    this.#staggered = staggered;
  }

  get phase(): RacePhase {
    return this.#phase;
  }

  /** Whether the timer should be running. */
  get armed(): boolean {
    return this.#armed;
  }

  get attempts(): readonly AttemptState[] {
    return this.#attempts;
  }

  /** Begins the race. May be called once, and needs at least one attempt. */
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

  /** An attempt connected. The first one wins; later connections are discarded. */
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

  /** Cancels the race, unless it is already over. */
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
    // Arm the timer first, so that an attempt that cancels the race while it is being started can also stop the timer.
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

/** The timer functions of a {@link race}. Default: those of the runtime. */
export interface RaceClock {
  setTimeout(callback: () => void, ms: number): unknown;
  clearTimeout(handle: unknown): void;
}

/** The options of {@link race}. */
export interface RaceOptions<T, A extends Address> {
  /** The addresses, in the order in which they are tried. */
  readonly addresses: readonly A[];
  /**
   * Milliseconds between the starts of two attempts. With `null`, `undefined` or `Infinity` an attempt starts only after the
   * previous one has failed.
   */
  readonly delay?: number | null | undefined;
  /**
   * Connects to one address. When the signal is aborted, the result is no longer needed: the attempt frees its resources and
   * rejects. The signal of the winning attempt is never aborted.
   */
  attempt(address: A, signal: AbortSignal): Promise<T>;
  /** Closes a connection that was made after the race was over. Must not throw, because no caller could receive the error. */
  discard(value: T): void;
  /** Cancels the race, which rejects with the reason of the signal. */
  readonly signal?: AbortSignal | undefined;
  readonly clock?: RaceClock | undefined;
  /** The start of error messages, such as `connect example.org:80`. */
  readonly action?: string | undefined;
}

/** The result of a {@link race}. */
export interface RaceResult<T, A extends Address> {
  readonly value: T;
  /** The address that won. */
  readonly address: A;
}

/**
 * Races connection attempts. They start one after another, each `delay` milliseconds after the previous one or as soon as that
 * one has failed, and then run in parallel until one connects. No attempt is cancelled because it is slow.
 *
 * Waits for the first success. The signals of all other running attempts are then aborted; the race does not wait for them, and
 * passes any connection that they still make to `discard`. An attempt that throws synchronously counts as failed.
 *
 * Rejects, after the timer is cleared and all attempts have been aborted,
 * - if the attempt at the only address has failed: with a `ConnectionError` with `address`, `family` and the `cause`;
 * - if all of several attempts have failed: with an `AggregateError` whose `errors` hold one `ConnectionError` for each address,
 *   in order, with `address`, `family` and the `cause`; its `code` is the one that they share, or that of the last address;
 * - if `signal` is aborted: with its reason;
 * - if there is no address: with a `ConnectionError` (`ENOTFOUND`);
 * - if `delay` is negative or not a number: with a `RangeError` (`ERR_OUT_OF_RANGE`).
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
 * asyncio: `staggered_race`, which the `happy_eyeballs_delay` argument of `create_connection` uses
 */
export function race<T, A extends Address = Address>(options: RaceOptions<T, A>): Promise<RaceResult<T, A>> {
  return new Promise((resolve, reject) => {
    const { signal, clock = globalThis, action = 'connect' } = options;
    const addresses = [...options.addresses];
    const delay = options.delay ?? Infinity;
    if (typeof delay !== 'number' || !(delay >= 0)) {
      throw outOfRange(action, 'happyEyeballsDelay', 'a number of milliseconds of 0 or more, or null', options.delay);
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
      // The executor turns a synchronous exception into a rejection, so that every failure takes the same path.
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
