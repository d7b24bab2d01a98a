/**
 * A stream that belongs to the process and is lent to any number of transports. None of them ends it. If it fails, all of them end with
 * its error, which does not become an uncaught `'error'` event.
 */
import { Writable } from 'node:stream';

/** What one transport has instead of the stream: ending or destroying it leaves the stream open. */
export class Lent extends Writable {
  readonly #target: Writable;
  readonly #borrowers: Borrowers;
  #pending = false;

  constructor(target: Writable) {
    super();
    this.#target = target;
    this.#borrowers = Borrowers.of(target);
    this.#borrowers.add(this);
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#pending = true;
    this.#target.write(chunk, (error) => {
      this.#pending = false;
      done(error ?? null);
      if (this.destroyed) this.#letGo(error ?? null);
    });
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    this._write(Buffer.concat(chunks.map(({ chunk }) => chunk)), 'binary', done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    if (!this.#pending) this.#letGo(error);
    done(error);
  }

  /** Stops listening once none of our writes can fail any more. The `'error'` of a write is emitted within a turn of its callback. */
  #letGo(error: Error | null): void {
    if (error === null) this.#borrowers.remove(this);
    else setImmediate(() => this.#borrowers.remove(this));
  }
}

/**
 * The borrowers of one stream, each of which gets its errors. They share one listener, because Node warns of a leak if there are more
 * than ten.
 */
class Borrowers {
  static readonly #of = new WeakMap<Writable, Borrowers>();

  readonly #target: Writable;
  readonly #all = new Set<Lent>();

  private constructor(target: Writable) {
    this.#target = target;
  }

  static of(target: Writable): Borrowers {
    let borrowers = Borrowers.#of.get(target);
    if (borrowers === undefined) Borrowers.#of.set(target, (borrowers = new Borrowers(target)));
    return borrowers;
  }

  add(borrower: Lent): void {
    // Checked each time, because the program may have removed all listeners.
    if (!this.#target.listeners('error').includes(this.#onError)) this.#target.on('error', this.#onError);
    this.#all.add(borrower);
  }

  remove(borrower: Lent): void {
    if (this.#all.delete(borrower) && this.#all.size === 0) this.#target.off('error', this.#onError);
  }

  readonly #onError = (error: Error): void => {
    for (const borrower of [...this.#all]) borrower.destroy(error);
  };
}
