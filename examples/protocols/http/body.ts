/** The body of a request, read from the connection only when the handler wants it. */
import { IncompleteReadError, TimeoutError, type Stream, type WaitOptions } from 'sluice';
import { ChunkedDecoder } from './chunked.js';
import { HttpError, type RequestHead } from './http.js';

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n';

/**
 * Read it once: with {@link bytes}, or piece by piece with `for await`, in `Buffer`s that are yours to keep. What is not read is dropped
 * after the answer. Both reject with an `HttpError` if the body is malformed or ends early; let it end the handler.
 */
export class RequestBody implements AsyncIterable<Buffer> {
  readonly #stream: Stream;
  readonly #most: number;
  readonly #chunked: ChunkedDecoder | null;
  /** How many bytes are unread; of a chunked body not known. */
  #left: number;
  #waitsForContinue: boolean;
  #failed = false;
  readonly #timeout: number;
  /** When the time for the body is over; 0 until it is read for the first time. */
  #deadline = 0;

  /**
   * @param most - the default maximum of {@link bytes}
   * @param timeout - how long the whole body may take, in ms, from when it is read for the first time
   */
  constructor(stream: Stream, { length, expectsContinue }: RequestHead, most: number, timeout: number) {
    this.#stream = stream;
    this.#most = most;
    this.#timeout = timeout;
    this.#chunked = length === null ? new ChunkedDecoder() : null;
    this.#left = length ?? 0;
    this.#waitsForContinue = expectsContinue;
  }

  /** Whether all of it was read, so that the next request follows. */
  get finished(): boolean {
    return !this.#failed && (this.#chunked === null ? this.#left === 0 : this.#chunked.finished);
  }

  /** Whether what is unread can be dropped to reach the next request: the client will send it, and it is not known to be more than `most`. */
  canDrop(most: number): boolean {
    return !this.#failed && !this.#waitsForContinue && this.#left <= most;
  }

  /**
   * Reads all of it.
   *
   * @param most - the maximum, in bytes
   * @throws HttpError 413 if it is longer
   */
  async bytes(most = this.#most): Promise<Buffer> {
    if (this.#left > most) throw new HttpError(413, `body of ${this.#left} bytes, the maximum is ${most}`);
    if (this.#chunked === null) {
      const length = this.#left;
      this.begin();
      try {
        const all = this.#stream.tryReadexactly(length) ?? (await this.#stream.readexactly(length, this.#wait()));
        this.#left = 0;
        return all;
      } catch (error) {
        throw this.#failure(error);
      }
    }
    const pieces: Buffer[] = [];
    let size = 0;
    for await (const piece of this) {
      size += piece.length;
      if (size > most) throw new HttpError(413, `body of ${size} bytes or more, the maximum is ${most}`);
      pieces.push(piece);
    }
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, size);
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, undefined> {
    while (!this.finished) {
      this.begin();
      let pieces: Buffer[];
      try {
        pieces = this.#chunked === null ? [await this.#some()] : await this.#decoded(this.#chunked);
      } catch (error) {
        throw this.#failure(error);
      }
      yield* pieces;
    }
  }

  /** Drops what is unread, but no more than `most` bytes. Resolves with whether that was all. */
  async drop(most: number): Promise<boolean> {
    try {
      let size = 0;
      for await (const piece of this) {
        size += piece.length;
        if (size > most) break;
      }
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
    }
    return this.finished;
  }

  /** Asks the client for the body, if it waits for that. Reading does so. */
  begin(): void {
    if (this.#failed) throw new HttpError(400, 'the body cannot be read');
    // The client has not waited if a part of the body is here.
    if (this.#waitsForContinue && this.#stream.buffered === 0) void this.#stream.write(CONTINUE);
    this.#waitsForContinue = false;
  }

  async #some(): Promise<Buffer> {
    const n = Math.min(this.#left, 65536);
    const piece = this.#stream.tryRead(n) ?? (await this.#stream.read(n, this.#wait()));
    if (piece.length === 0) throw new HttpError(400, `the body ended with ${this.#left} bytes missing`);
    this.#left -= piece.length;
    return piece;
  }

  async #decoded(decoder: ChunkedDecoder): Promise<Buffer[]> {
    const pieces: Buffer[] = [];
    for (let need = 1; pieces.length === 0 && !decoder.finished;) {
      const bytes = this.#stream.tryWindow(need) ?? (await this.#stream.window(need, this.#wait()));
      if (bytes.length < need) throw new HttpError(400, 'the body ended before its last chunk');
      const consumed = decoder.decode(bytes, pieces);
      const all = Buffer.concat(pieces); // the window is borrowed
      this.#stream.consume(consumed);
      if (all.length > 0) return [all];
      need = bytes.length - consumed + 1;
    }
    return [];
  }

  #wait(): WaitOptions {
    const now = performance.now();
    if (this.#deadline === 0) this.#deadline = now + this.#timeout;
    return { timeout: Math.max(this.#deadline - now, 0) };
  }

  #failure(error: unknown): unknown {
    this.#failed = true;
    // The timeouts of the connection have codes of their own.
    if (error instanceof TimeoutError && error.code === 'ERR_TIMEOUT') {
      return new HttpError(408, `the body has taken more than ${this.#timeout} ms`);
    }
    if (error instanceof IncompleteReadError) return new HttpError(400, `the body ended early: ${error.message}`);
    return error;
  }
}
