/**
 * Streams in object mode. Their chunks can be anything; if they are strings or bytes, the stream can be read as a stream of bytes.
 *
 * Each string is encoded as UTF-8 separately, as with every write: if a surrogate pair is split between two chunks, both halves become
 * U+FFFD. An empty chunk is ignored; it does not mean the end.
 */
import { Duplex } from 'node:stream';
import { isBytes } from '../checks.js';
import { invalidType } from '../errors.js';

/** @throws TypeError `ERR_INVALID_ARG_TYPE` if the chunk is neither a string nor a `Uint8Array` */
export function bytesOf(chunk: unknown): Uint8Array {
  if (isBytes(chunk)) return chunk;
  if (typeof chunk === 'string') return Buffer.from(chunk);
  throw invalidType('read', 'a chunk of the stream', 'a string or a Uint8Array', chunk);
}

/** The size of a chunk that is dropped, in bytes or characters; 1 for anything else. */
export function sizeOf(chunk: unknown): number {
  return typeof chunk === 'string' || isBytes(chunk) ? chunk.length : 1;
}

/** The stream itself; or, if it is in object mode, which TLS does not accept, a stream of bytes over it. */
export function asByteStream(stream: Duplex): Duplex {
  return stream.readableObjectMode ? new ByteDuplex(stream) : stream;
}

/** A stream of bytes over a stream in object mode, which belongs to it from now on. */
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
      // If both directions have ended, received bytes may still be waiting here to be read.
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
