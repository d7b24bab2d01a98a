/** A message while it arrives. */
import { IncompleteReadError, type Stream, type WaitOptions } from 'sluice';
import { MessageReader, type Problem } from './message.js';

/** A line ends with CR LF. A line feed alone ends a frame as well, so that it is noticed. */
export const LINES = '\n';

/** The client sends a message that is refused: drop what you have received of it. */
export class MessageError extends Error {
  override readonly name = 'MessageError';

  constructor(readonly problem: Problem) {
    super(`the message is refused: ${problem}`);
  }
}

/**
 * Read it to its end with `for await`: before that it is not known to be complete and valid. Each piece is borrowed, and valid until you
 * ask for the next one, so a message of any size needs no memory; copy what you keep. The client can send only as fast as you read.
 *
 * The loop throws a {@link MessageError} if the message is refused, and the error of the connection if that is lost.
 */
export class IncomingMessage implements AsyncIterable<Buffer> {
  readonly #stream: Stream;
  readonly #reader: MessageReader;
  readonly #maxSize: number;
  readonly #wait: WaitOptions;
  #complete = false;
  #failure: { readonly error: unknown } | null = null;

  constructor(stream: Stream, maxSize: number, wait: WaitOptions) {
    this.#stream = stream;
    this.#reader = new MessageReader(maxSize);
    this.#maxSize = maxSize;
    this.#wait = wait;
  }

  /** The bytes that were received so far. */
  get size(): number {
    return this.#reader.size;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer, undefined> {
    while (!this.#complete) {
      const pieces = await this.#next();
      this.#check();
      yield* pieces;
    }
    this.#check();
  }

  /** Whether its last line was received. */
  get complete(): boolean {
    return this.#complete;
  }

  /**
   * Drops what was not read, but of a message that is too large no more than it may have: the client may never end it. Resolves with why
   * the message is refused, or null.
   */
  async end(): Promise<Problem | null> {
    while (!this.#complete && this.size <= 2 * this.#maxSize) await this.#next();
    return this.#reader.problem;
  }

  /** Whether it is this message that has thrown an error, and not the program that reads it. */
  hasThrown(error: unknown): boolean {
    return error instanceof MessageError || (this.#failure !== null && this.#failure.error === error);
  }

  #check(): void {
    const { problem } = this.#reader;
    if (problem !== null) throw new MessageError(problem);
  }

  async #next(): Promise<Buffer[]> {
    if (this.#failure !== null) throw this.#failure.error;
    const pieces: Buffer[] = [];
    try {
      const frames = await this.#stream.readframes(LINES, this.#wait);
      if (frames.length === 0) throw new IncompleteReadError(Buffer.alloc(0), null);
      const count = this.#reader.lines(frames.bytes, frames.ends, pieces);
      this.#complete = count !== -1;
      if (this.#complete) frames.unread(count);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
    return pieces;
  }
}
