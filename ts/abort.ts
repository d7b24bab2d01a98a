/**
 * Waiting with an `AbortSignal`: what every call that waits takes, how it is checked, and how a wait ends early.
 */
import { checkObject } from './checks.js';
import { ignore, invalidType } from './errors.js';

/** What every call that waits takes. */
export interface WaitOptions {
  /** Ends the wait: the call rejects with the signal's reason, nothing is consumed, the stream stays usable. */
  signal?: AbortSignal | undefined;
}

/**
 * The signal of the options of `action`, if there is one.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE` when the options are no object, or the signal is no `AbortSignal`
 */
export function checkedSignal(action: string, options: WaitOptions | undefined): AbortSignal | undefined {
  if (options === undefined) return undefined;
  checkObject(action, 'options', options);
  const { signal } = options;
  // It would be passed over, and the wait never end: the likeliest slip, because much of the web takes it so.
  if (signal === undefined && options instanceof AbortSignal) {
    throw invalidType(action, 'options', 'an object, { signal }', options);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidType(action, 'signal', 'an AbortSignal', signal);
  }
  return signal;
}

/** Why a call that waits cannot begin, as its rejection: options that are wrong, a signal that is aborted. Null: it can. */
export function refusedWait<T>(action: string, options: WaitOptions | undefined): Promise<T> | null {
  if (options === undefined) return null;
  try {
    checkedSignal(action, options)?.throwIfAborted();
    return null;
  } catch (reason) {
    return Promise.reject(reason);
  }
}

/**
 * Calls `listener` when the signal is aborted. Not when it is aborted already: the caller looks at that first.
 *
 * @returns removes the listener; may be called at any time
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return ignore;
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** The outcome of `work`, or the reason of the signal when that comes first; the outcome is then ignored. */
export function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    work.then(resolve, reject).finally(onAbort(signal, abort));
  });
}
