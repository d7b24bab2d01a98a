/**
 * Reading through `'data'` events, which every stream of Node has; and the interface of all ways of reading; the others are in
 * `direct-reads.ts` and `tls/decrypted-reads.ts`.
 */
import type { Readable } from 'node:stream';
import { bytesOf, sizeOf } from './object-mode.js';

/** A way of reading. It belongs to one transport. */
export interface Reads {
  readonly path: 'data' | 'direct';
  /** Begins to read. Called at most once. */
  start(): void;
  pause(): void;
  /** Also called without {@link start}, when a transport closes: what comes in is dropped then. */
  resume(): void;
  /** Delivers what the stream holds because reading was paused. Reading stays paused. */
  deliver(): void;
  /** As {@link deliver}, for a stream that has failed or is about to be destroyed; it is not read again. */
  deliverLast(): void;
  /** Reads nothing more from the stream, which is closed or belongs to another reader from now on. */
  stop(): void;
  /**
   * Stops reading until the next {@link start}, or {@link resume}, and keeps bytes that were received but not used: they are delivered
   * again before anything else.
   */
  putBack(rest: Uint8Array): void;
  /** As {@link stop}, for a stream that another transport takes over: what was put back is in the stream again. */
  release(): void;
  /** As {@link release}, for a stream that is given back to the caller, who reads it as any other stream. */
  detach(): void;
}

/** What received bytes are delivered to: the transport. An answer of `false` means that reading has to stop. */
export interface Receiver {
  /** Whether received bytes are dropped, because this side is closing. If so, counts `count` of them. */
  drops(count: number): boolean;
  /** Memory of the sink to read into, or null. `ahead` as in `TransportSink.readTarget`. */
  readTarget(ahead: boolean): Uint8Array | null;
  /** The first `count` bytes of the last read target were filled. */
  filled(count: number): boolean;
  /** Bytes in memory that is reused. */
  received(chunk: Uint8Array): boolean;
  /** Ends the connection with an error. */
  failed(error: unknown): void;
}

export class DataReads implements Reads {
  readonly #readable: Readable;
  readonly #receiver: Receiver;
  /** null before the start, and after the end, of reading. */
  #onData: ((chunk: unknown) => void) | null = null;

  constructor(readable: Readable, receiver: Receiver) {
    this.#readable = readable;
    this.#receiver = receiver;
  }

  get path(): Reads['path'] {
    return 'data';
  }

  start(): void {
    this.#onData = (chunk) => {
      if (!this.#received(chunk)) this.pause();
    };
    this.#readable.on('data', this.#onData);
    this.resume();
  }

  pause(): void {
    this.#readable.pause();
  }

  resume(): void {
    this.#readable.resume();
  }

  /** Whether the next bytes would be delivered at once: nothing has arrived before them that was not delivered. */
  protected get flows(): boolean {
    return this.#onData !== null && this.#readable.readableFlowing === true && this.#readable.readableLength === 0;
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

  putBack(rest: Uint8Array): void {
    this.stop();
    this.pause();
    if (rest.length > 0) this.#readable.unshift(rest);
  }

  release(): void {
    this.stop();
  }

  detach(): void {
    this.stop();
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
