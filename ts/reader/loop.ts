/**
 * The iterators that a reader returns. They are written by hand, because an async generator costs three promises for each result.
 */

/** One loop, which can be left at any time. After that it stays ended. */
export class Loop<T> implements AsyncIterableIterator<T, undefined> {
  readonly #read: (loop: object) => Promise<IteratorResult<T, undefined>>;
  readonly #leave: (loop: object) => void;
  #left = false;

  /**
   * @param read - returns the next result, or done
   * @param leave - ends the read that the loop has started, if it still waits: it resolves as done, and nothing is consumed
   */
  constructor(read: (loop: object) => Promise<IteratorResult<T, undefined>>, leave: (loop: object) => void) {
    this.#read = read;
    this.#leave = leave;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return this.#left ? Promise.resolve(DONE) : this.#read(this);
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#left = true;
    this.#leave(this);
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** The result of an iterator at its end. */
export const DONE: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined });
