/** Promises that a writer returns now and settles later. */
import { ignore } from '../errors.js';

/** A promise with its two functions. Its rejection counts as handled, so the caller need not await it. */
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

/** A rejection that counts as handled. */
export function handled(error: Error): Promise<void> {
  const promise = Promise.reject(error);
  promise.catch(ignore);
  return promise;
}
