/**
 * Which transports are over a stream: one for both directions, or one for each, which share it.
 *
 *     reading   ends with the end of file, or its close: leaves the stream, and what still comes in is dropped
 *     writing   ends when the stream has finished, or by its abort: likewise
 *
 * Each reports its own end as soon as it has come. The stream is destroyed when both are done, by the second one.
 */
import { StreamMode } from './transport.js';

/** The transports over streams, by the stream. So the listeners of all streams are the same functions. */
export class TransportsByStream<T extends { readonly mode: StreamMode }> {
  readonly #first = new WeakMap<object, T>();
  /** Where each direction has a transport of its own: the one that came later. */
  readonly #second = new WeakMap<object, T>();

  /**
   * Adds a transport.
   *
   * @returns the transport of the other direction that it shares the stream with, if there is one
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

  /** All transports over a stream: none, one or two. */
  of(stream: object): T[] {
    return [this.#first.get(stream), this.#second.get(stream)].filter((one) => one !== undefined);
  }

  /** The one that reads. */
  reading(stream: object): T | undefined {
    const first = this.#first.get(stream);
    return first === undefined || (first.mode & StreamMode.READ) !== 0 ? first : this.#second.get(stream);
  }

  /** The one of the other direction, or null. */
  other(stream: object, transport: T): T | null {
    const first = this.#first.get(stream);
    return (first === transport ? this.#second.get(stream) : first) ?? null;
  }
}
