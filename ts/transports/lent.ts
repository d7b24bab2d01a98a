/**
 * A stream that is lent: written to by several transports, while it belongs to the process. Its end is not theirs to make, and what
 * fails it ends them alone.
 */
import { Writable } from 'node:stream';

/** Writes to a stream that belongs to the process. */
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

  /** Stops listening when no write of ours can fail any more; the `'error'` of one comes within a turn of its callback. */
  #letGo(error: Error | null): void {
    if (error === null) this.#borrowers.remove(this);
    else setImmediate(() => this.#borrowers.remove(this));
  }
}

/**
 * The borrowers of one stream, each of which gets its errors. All of them share one listener: with one for each, Node would take
 * more than ten for a leak.
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
    // Asked each time: whoever it belongs to may have removed all listeners.
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
