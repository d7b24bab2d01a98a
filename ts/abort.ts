/** Waiting with an `AbortSignal`: the options of every call that waits, how they are checked, and how a wait ends early. */
import { checkObject } from './checks.js';
import { ignore, invalidType } from './errors.js';

/** The options of every call that waits. */
export interface WaitOptions {
  /** Aborting it rejects the call with the signal's reason. Nothing is consumed, and the stream can still be used. */
  signal?: AbortSignal | undefined;
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
 * The rejection of a call that cannot begin because its options are invalid or its signal is already aborted; null if it can
 * begin.
 */
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
 * Calls `listener` when the signal is aborted, but not if it is already aborted: the caller must check that first.
 *
 * @returns a function that removes the listener and may be called at any time
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (signal === undefined) return ignore;
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/** The result of `work`, or a rejection with the signal's reason if that comes first. The result is then ignored. */
export function unlessAborted<T>(signal: AbortSignal | undefined, work: Promise<T>): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason as Error);
    if (signal.aborted) abort();
    work.then(resolve, reject).finally(onAbort(signal, abort));
  });
}
