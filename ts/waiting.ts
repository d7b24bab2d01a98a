/**
 * Waiting with an `AbortSignal`: what every call that waits takes, how it is checked, and how a wait ends early.
 */
import { invalidType } from './errors.js';

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
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw invalidType(action, 'options', 'an object', options);
  }
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

/** The outcome of `work`, or the reason of the signal when that comes first: then nobody looks at the work any more. */
export function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason as Error);
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
