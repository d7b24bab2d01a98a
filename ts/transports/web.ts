/** A Node `Duplex` over web streams, for the transport over any `Duplex`. */
import { Buffer } from 'node:buffer';
import { Duplex } from 'node:stream';
import { isBytes } from '../checks.js';
import { ConnectionError, StateError, ignore, invalidType } from '../errors.js';
import { lossOf } from '../system-errors.js';

/** A `ReadableStream`, as far as it is used. */
export interface WebReadable {
  readonly locked: boolean;
  getReader(): {
    readonly closed: Promise<unknown>;
    read(): Promise<{ done: boolean; value?: unknown }>;
    cancel(reason?: unknown): Promise<unknown>;
  };
}

/** A `WritableStream`, as far as it is used. */
export interface WebWritable {
  readonly locked: boolean;
  getWriter(): {
    readonly closed: Promise<unknown>;
    write(chunk: Uint8Array): Promise<unknown>;
    close(): Promise<unknown>;
    abort(reason?: unknown): Promise<unknown>;
  };
}

/** The two directions of a connection as web streams. */
export interface WebStreams {
  /** Its chunks are bytes (`Uint8Array`, any other view, or `ArrayBuffer`), or strings, which are encoded as UTF-8. */
  readonly readable: WebReadable;
  /** Gets `Uint8Array`s, each with an `ArrayBuffer` of its own. */
  readonly writable: WebWritable;
}

type Callback = (error?: Error | null) => void;

/** Checks the types, not the class: a runtime can have several, and polyfills work, too. */
export function isWebStreams(value: unknown): value is WebStreams {
  if (typeof value !== 'object' || value === null) return false;
  const { readable, writable } = value as Partial<WebStreams>;
  return typeof readable?.getReader === 'function' && typeof writable?.getWriter === 'function';
}

/**
 * A `Duplex` over web streams, which it locks.
 *
 * @throws StateError `ERR_IN_USE` if one of them is locked already
 */
export function duplexOver(action: string, { readable, writable }: WebStreams): Duplex {
  for (const [name, { locked }] of Object.entries({ readable, writable })) {
    if (locked) throw new StateError('ERR_IN_USE', `${action}: web.${name} is locked`);
  }
  return new WebDuplex(readable, writable);
}

class WebDuplex extends Duplex {
  readonly #reader: ReturnType<WebReadable['getReader']>;
  readonly #writer: ReturnType<WebWritable['getWriter']>;
  #ended: Promise<unknown> | null = null;

  constructor(readable: WebReadable, writable: WebWritable) {
    super();
    this.#reader = readable.getReader();
    this.#writer = writable.getWriter();
    // Also if nothing is being read. A writable that fails leaves the other direction open, and shows at the next write, as with a socket.
    this.#reader.closed.catch((reason: unknown) => this.destroy(lossOf(reason)));
    this.#writer.closed.catch(ignore);
  }

  override _read(): void {
    this.#reader.read().then(
      ({ done, value }) => {
        if (done) this.push(null);
        else this.#received(value);
      },
      (reason: unknown) => this.destroy(lossOf(reason)),
    );
  }

  #received(value: unknown): void {
    const bytes = typeof value === 'string' ? Buffer.from(value) : viewOf(value);
    if (bytes === null) {
      this.destroy(notAChunk('read', 'a chunk of web.readable', value));
      return;
    }
    // Node takes an empty chunk for an answer without bytes, and does not ask again.
    if (bytes.length === 0) this._read();
    else this.push(bytes);
  }

  // Does not wait for `ready`: with a high-water mark of 0 it would stay pending until something is written.
  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: Callback): void {
    // A copy: whoever reads it may keep it, or transfer its memory.
    this.#settles(this.#writer.write(new Uint8Array(chunk)), callback);
  }

  override _final(callback: Callback): void {
    this.#settles(this.#end(), callback);
  }

  #settles(result: Promise<unknown>, callback: Callback): void {
    result.then(
      () => callback(),
      (reason: unknown) => callback(lossOf(reason)),
    );
  }

  override _destroy(error: Error | null, callback: (error: Error | null) => void): void {
    const reason = error ?? new ConnectionError('ECONNRESET', 'the stream was closed');
    // As when a socket is destroyed, the peer sees the end if nothing is missing before it. Neither call has an effect on a direction that
    // has ended, and either may take any amount of time.
    const complete = error === null && this.writableLength === 0;
    (complete ? this.#end() : this.#writer.abort(reason)).catch(ignore);
    this.#reader.cancel(reason).catch(ignore);
    callback(error);
  }

  /** Ends the writing side, once: a second `close()` would be refused. */
  #end(): Promise<unknown> {
    return (this.#ended ??= this.#writer.close());
  }
}

/** The bytes of a chunk, in its own memory; null if it has none. */
export function viewOf(chunk: unknown): Uint8Array | null {
  if (isBytes(chunk)) return chunk;
  if (ArrayBuffer.isView(chunk)) return new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.byteLength);
  return chunk instanceof ArrayBuffer ? new Uint8Array(chunk) : null;
}

/** The error for a chunk that is neither bytes nor a string. */
export function notAChunk(action: string, name: string, chunk: unknown): TypeError {
  return invalidType(action, name, 'a string, an ArrayBuffer or a view of one', chunk);
}
