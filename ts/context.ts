/** The contexts of `AsyncLocalStorage` that callbacks run in. */
import { AsyncLocalStorage, AsyncResource } from 'node:async_hooks';

/** Calls a function in the context in which this was made. */
export type InContext = <R>(call: () => R) => R;

/** The context of the current call, for any number of calls that do not affect each other. */
export function currentContext(): InContext {
  const inContext = AsyncLocalStorage.snapshot();
  return <R>(call: () => R): R => inContext(isolated<R>, call);
}

/** Without this, `enterWith` in one call would change the context of all later ones on Node 20 and 22. */
function isolated<R>(call: () => R): R {
  return new AsyncResource('SLUICECALL').runInAsyncScope(call);
}

/**
 * The context that loaded this package. What many connections share, such as a timer, is made in it: otherwise it would run the callbacks of
 * all of them in the context of the one that has happened to make it, and keep the stores of that one alive.
 */
export const shared: InContext = currentContext();
