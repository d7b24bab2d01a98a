/**
 * Streams in object mode: their chunks may be anything, and those that are strings or bytes carry a stream of bytes.
 *
 * Each string becomes its UTF-8 by itself, as with every write: of a surrogate pair that is cut between two chunks both halves become
 * U+FFFD. An empty chunk is nothing, and not the end.
 */
import { Duplex } from 'node:stream';
import { isBytes } from '../checks.js';
import { invalidType } from '../errors.js';

/** @throws TypeError `ERR_INVALID_ARG_TYPE` when the chunk is neither a string nor a `Uint8Array` */
export function bytesOf(chunk: unknown): Uint8Array {
  if (isBytes(chunk)) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  throw invalidType('read', 'a chunk of the stream', 'a string or a Uint8Array', chunk);
}

/** How much was received, for chunks that are dropped; 1 for what has no length. */
export function sizeOf(chunk: unknown): number {
  return typeof chunk === 'string' || isBytes(chunk) ? chunk.length : 1;
}

/** The stream itself, or a stream of bytes over it where its chunks are objects, which TLS refuses. */
export function asByteStream(stream: Duplex): Duplex {
  return stream.readableObjectMode ? new ByteDuplex(stream) : stream;
}

/** A stream of bytes over one in object mode, which belongs to it from now on. */
class ByteDuplex extends Duplex {
  readonly #source: Duplex;

  constructor(source: Duplex) {
    super();
    this.#source = source;
    source.pause();
    source.on('data', (chunk: unknown) => {
      try {
        const bytes = bytesOf(chunk);
        if (bytes.length > 0 && !this.push(bytes)) source.pause();
      } catch (error) {
        this.destroy(error as Error);
      }
    });
    source.once('end', () => this.push(null));
    source.on('error', (error) => this.destroy(error));
    source.once('close', () => {
      // What has come in may still wait here to be read.
      if (!source.readableEnded || !source.writableFinished) this.destroy();
    });
    if (source.destroyed) this.destroy(source.errored ?? undefined);
    else if (source.readableEnded) this.push(null);
  }

  override _read(): void {
    this.#source.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#source.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#source.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#source.destroy(error ?? undefined);
    done(error);
  }
}
