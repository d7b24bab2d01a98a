/** Signals and timeouts: the options of every call that waits, how they are checked, and how a wait ends early. */
import { checkObject } from './checks.js';
import { Deadline, setDeadline, withdrawDeadline } from './deadlines.js';
import { publishTimeout, timeoutChannel } from './diagnostics.js';
import { TimeoutError, ignore, invalidType, outOfRange } from './errors.js';

/** The options of calls that wait. */
export interface WaitOptions {
  /** Aborting it rejects the call with the signal's reason. Nothing is consumed, and the stream can still be used. */
  signal?: AbortSignal | undefined;
  /**
   * The most milliseconds to wait: after that, the call rejects with a {@link TimeoutError}. Nothing is consumed, and the stream can still be
   * used. 0: rejects unless the call can finish without waiting. Default, and `Infinity`: no limit.
   */
  timeout?: number | undefined;
}

/**
 * The signal in the options of `action`, if there is one.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE` if the options are not an object, or the signal is not an `AbortSignal`
 */
export function checkedSignal(action: string, options: WaitOptions | undefined): AbortSignal | undefined {
  if (options === undefined) return undefined;
  checkObject(action, 'options', options);
  const { signal } = options;
  // Many web APIs take the signal itself in this place. Ignoring it would mean that the call cannot be cancelled.
  if (signal === undefined && options instanceof AbortSignal) {
    throw invalidType(action, 'options', 'an object, { signal }', options);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidType(action, 'signal', 'an AbortSignal', signal);
  }
  return signal;
}

/**
 * The timeout in the options of `action`, if there is one that can pass.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE` or RangeError `ERR_OUT_OF_RANGE` if it is not a number of 0 or more
 */
export function checkedTimeout(action: string, options: WaitOptions | undefined): number | undefined {
  const timeout = options?.timeout;
  if (timeout === undefined) return undefined;
  if (typeof timeout !== 'number') throw invalidType(action, 'timeout', 'a number of milliseconds', timeout);
  if (!(timeout >= 0)) throw outOfRange(action, 'timeout', 'a number of milliseconds of 0 or more', timeout);
  return timeout === Infinity ? undefined : timeout;
}

/** The options of a call whose waits come later, checked; undefined if there is nothing to watch. */
export function checkedWait(action: string, options: WaitOptions | undefined): WaitOptions | undefined {
  const signal = checkedSignal(action, options);
  const timeout = checkedTimeout(action, options);
  return signal === undefined && timeout === undefined ? undefined : { signal, timeout };
}

/** Whether there are no options, or valid ones without a signal: a call that need not wait may then begin without another look at them. */
export function isPlain(options: WaitOptions | undefined): boolean {
  if (options === undefined) return true;
  if (typeof options !== 'object' || (options as unknown) === null) return false;
  const { signal, timeout } = options;
  return signal === undefined && typeof timeout === 'number' && timeout >= 0;
}

/** `readline: timed out after 50 ms` */
export function timedOut(action: string, ms: number): TimeoutError {
  return new TimeoutError(`${action}: timed out after ${ms} ms`);
}

/**
 * The rejection of a call that cannot begin because its options are invalid or its signal is already aborted; null if it can
 * begin.
 */
export function refusedWait<T>(action: string, options: WaitOptions | undefined): Promise<T> | null {
  if (options === undefined) return null;
  try {
    checkedTimeout(action, options);
    checkedSignal(action, options)?.throwIfAborted();
    return null;
  } catch (reason) {
    return Promise.reject(reason);
  }
}

/**
 * Calls `listener` when the signal is aborted, but not if it is already aborted: the caller must check that first.
 *
 * @returns a function that removes the listener and may be called at any time
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return ignore;
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/**
 * Calls `end` with the reason when the signal is aborted or the timeout has passed. Neither has happened yet.
 *
 * @returns a function that forgets both and may be called at any time
 */
export function watchWait(
  action: string,
  { signal, timeout }: WaitOptions,
  end: (reason: unknown) => void,
): () => void {
  const forget = onAbort(signal, () => end(signal?.reason));
  if (timeout === undefined || timeout === Infinity) return forget;
  const deadline = new Deadline(() => {
    const error = timedOut(action, timeout);
    // The wait for a PROXY header has no name, and reports its end itself.
    if (action !== '' && timeoutChannel.hasSubscribers) {
      publishTimeout({ option: 'timeout', action, timeout }, error, null);
    }
    end(error);
  });
  setDeadline(deadline, timeout);
  return () => {
    forget();
    withdrawDeadline(deadline);
  };
}

/** The result of `work`, or a rejection if the signal is aborted or the timeout passes first. The result is then ignored. */
export function unlessEnded<T>(action: string, options: WaitOptions | undefined, work: Promise<T>): Promise<T> {
  if (options?.signal === undefined && options?.timeout === undefined) return work;
  if (options.timeout === 0) {
    work.catch(ignore);
    return Promise.reject(timedOut(action, 0));
  }
  return new Promise((resolve, reject) => {
    const forget = watchWait(action, options, (reason) => {
      forget();
      reject(reason);
    });
    work.then(resolve, reject).finally(forget);
  });
}

/**
 * Does `work` with a signal that is aborted when that of the options is, or when their timeout has passed: for calls of several steps.
 *
 * @param options - checked by the caller, see {@link checkedWait}
 */
export async function withinTime<T>(
  action: string,
  options: WaitOptions | undefined,
  work: (signal: AbortSignal | undefined) => Promise<T>,
): Promise<T> {
  const { signal, timeout } = options ?? {};
  if (timeout === undefined) return work(signal);
  signal?.throwIfAborted();
  const controller = new AbortController();
  if (timeout === 0) controller.abort(timedOut(action, 0));
  const forget = watchWait(action, { signal, timeout }, (reason) => controller.abort(reason));
  try {
    return await work(controller.signal);
  } finally {
    forget();
  }
}

/** The result of `work`, or a rejection with the signal's reason if that comes first. The result is then ignored. */
export function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal?.aborted === true) {
    work.catch(ignore);
    return Promise.reject(signal.reason);
  }
  // Without a timeout no message names an action.
  return unlessEnded('', { signal }, work);
}
