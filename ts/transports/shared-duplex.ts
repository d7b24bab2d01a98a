/**
 * Which transports use a stream: one for both directions, or one for each.
 *
 * If there are two, the one that reads is done at the end of file, or when it is closed. The one that writes is done when the stream has
 * finished, or when it is aborted. Each reports its end immediately and leaves the stream to the other one. The second one destroys it.
 */
import { StreamMode } from './transport.js';

/** The transports of each stream. With it, the same functions can be the listeners of all streams. */
export class TransportsByStream<T extends { readonly mode: StreamMode }> {
  readonly #first = new WeakMap<object, T>();
  /** The transport that was added later, if each direction has one of its own. */
  readonly #second = new WeakMap<object, T>();

  /**
   * Adds a transport.
   *
   * @returns the transport of the other direction, if that is a different one
   */
  add(stream: object, transport: T): T | null {
    const first = this.#first.get(stream);
    if (transport.mode !== StreamMode.READWRITE && first !== undefined && first.mode !== transport.mode) {
      this.#second.set(stream, transport);
      return first;
    }
    this.#first.set(stream, transport);
    this.#second.delete(stream);
    return null;
  }

  /** Forgets the transports of a stream that is gone. */
  delete(stream: object): void {
    this.#first.delete(stream);
    this.#second.delete(stream);
  }

  /** Calls a function for each transport of a stream: none, one or two. */
  each(stream: object, call: (transport: T) => void): void {
    const first = this.#first.get(stream);
    const second = this.#second.get(stream);
    if (first !== undefined) call(first);
    if (second !== undefined) call(second);
  }

  /** The transport that reads. */
  reading(stream: object): T | undefined {
    const first = this.#first.get(stream);
    return first === undefined || (first.mode & StreamMode.READ) !== 0 ? first : this.#second.get(stream);
  }

  /** The transport of the other direction, or null. */
  other(stream: object, transport: T): T | null {
    const first = this.#first.get(stream);
    return (first === transport ? this.#second.get(stream) : first) ?? null;
  }
}
