/** Reading through `'data'` events, which every stream of Node has. */
import type { Readable } from 'node:stream';
import { bytesOf, sizeOf } from './object-mode.js';
import type { Reads, Receiver } from './reads.js';

export class DataReads implements Reads {
  readonly path = 'data';
  readonly #readable: Readable;
  readonly #receiver: Receiver;
  /** null before the start, and after the end, of reading. */
  #onData: ((chunk: unknown) => void) | null = null;

  constructor(readable: Readable, receiver: Receiver) {
    this.#readable = readable;
    this.#receiver = receiver;
  }

  start(): void {
    this.#onData = (chunk) => {
      if (!this.#received(chunk)) this.#readable.pause();
    };
    this.#readable.on('data', this.#onData);
    this.#readable.resume();
  }

  pause(): void {
    this.#readable.pause();
  }

  resume(): void {
    this.#readable.resume();
  }

  deliver(): void {
    // read() emits 'data' even if the stream is paused.
    while (this.#onData !== null && this.#readable.readableLength > 0) {
      if (this.#readable.read() === null) break;
    }
  }

  deliverLast(): void {
    if (this.#onData === null) return;
    // read() of a stream that has failed returns what is buffered, but does not emit it.
    this.#readable.off('data', this.#onData);
    while (this.#onData !== null && !this.#receiver.drops(0)) {
      const chunk: unknown = this.#readable.read();
      if (chunk === null) break;
      this.#received(chunk);
    }
  }

  stop(): void {
    if (this.#onData !== null) this.#readable.off('data', this.#onData);
    this.#onData = null;
  }

  /** In object mode a chunk can be anything. One that is not bytes ends the connection. */
  #received(chunk: unknown): boolean {
    if (this.#receiver.drops(sizeOf(chunk))) return true;
    let bytes: Uint8Array;
    try {
      bytes = bytesOf(chunk);
    } catch (error) {
      // Later chunks must not be taken for the continuation of earlier ones.
      this.stop();
      this.#receiver.failed(error);
      return false;
    }
    return bytes.length === 0 || this.#receiver.received(bytes);
  }
}
