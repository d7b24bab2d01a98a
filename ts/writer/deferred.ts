/** Promises that a writer gives out, and settles later. */
import { ignore } from '../errors.js';

/** A promise and its two ends; its rejection counts as handled, so that the caller need not look at it. */
export class Deferred {
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (reason: unknown) => void;

  constructor() {
    this.promise = new Promise((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
    this.promise.catch(ignore);
  }
}

/** A rejection that need not be looked at. */
export function handled(error: Error): Promise<void> {
  const promise = Promise.reject(error);
  promise.catch(ignore);
  return promise;
}
