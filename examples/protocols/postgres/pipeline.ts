/**
 * The order of requests on one connection. Each request is sent at once, and reads its reply when all earlier requests have read theirs.
 * Anything that goes wrong with the connection, or with what the server sends on it, ends all of them with the same error.
 */
import type { LengthFraming, Stream } from 'sluice';
import { ProtocolError } from './postgres.js';
import { Batch, type Reply } from './reply.js';

export class Pipeline {
  readonly #stream: Stream;
  readonly #framing: LengthFraming;
  readonly #batch = new Batch();
  /** Resolves when all requests so far have read their replies. */
  #last: Promise<void> = Promise.resolve();
  /** Resolves when the request is over during which no other may be sent. */
  #alone: Promise<void> | null = null;
  /** What each request calls when it is over. */
  readonly #leaves = new Set<() => void>();
  #failure: Error | null = null;
  #closed = false;

  constructor(stream: Stream, framing: LengthFraming) {
    this.#stream = stream;
    this.#framing = framing;
  }

  /** Whether the connection can no longer be used. */
  get failed(): boolean {
    return this.#failure !== null;
  }

  /**
   * Sends a request. Resolves when it may read its reply, with the function to call afterwards. Null stands for a request that the caller
   * sends, and during which no other may be sent.
   */
  async enter(request: Buffer | null): Promise<() => void> {
    if (this.#closed) throw new Error('postgres: the client is closed');
    while (this.#alone !== null) await this.#alone;
    if (this.#failure !== null) throw this.#failure;
    const turn = this.#last;
    let leave!: () => void;
    this.#last = new Promise((resolve) => {
      leave = (): void => {
        this.#leaves.delete(leave);
        resolve();
      };
    });
    this.#leaves.add(leave);
    if (request === null) {
      this.#alone = this.#last;
      void this.#alone.then(() => (this.#alone = null));
    } else void this.#stream.write(request);
    await turn;
    return leave;
  }

  /** Waits until something of a reply has arrived, and processes it. The whole reply may have `maxSize` bytes. */
  async step(reply: Reply, maxSize = Infinity): Promise<void> {
    try {
      if (this.#failure !== null) throw this.#failure;
      if (this.#batch.empty) {
        const frames = this.#stream.tryReadframes(this.#framing) ?? (await this.#stream.readframes(this.#framing));
        if (frames.length === 0) throw new Error('postgres: the server closed the connection');
        this.#batch.fill(frames);
      }
      reply.accept(this.#batch);
    } catch (error) {
      throw this.#lost(reply, error as Error);
    }
    if (reply.size > maxSize) throw this.fail(new RangeError(`postgres: a result of more than ${maxSize} bytes`));
  }

  /** Waits until everything of a reply has arrived, and processes it. */
  async finish(reply: Reply, maxSize: number): Promise<void> {
    while (!reply.ready) await this.step(reply, maxSize);
  }

  /** Closes the connection, and makes all requests reject. Returns their error, which is the first one. */
  fail(error: Error): Error {
    this.#failure ??= error;
    this.#stream.abort().catch(() => {}); // of a connection that is lost already
    for (const leave of this.#leaves) leave(); // a program that does not read its reply holds nothing up any longer
    return this.#failure;
  }

  /** Waits for the replies to all requests, sends the last one, which has no reply, and closes the connection. */
  async close(request: Buffer): Promise<void> {
    this.#closed = true;
    while (this.#alone !== null) await this.#alone;
    if (this.#failure === null) await this.#last;
    if (this.#failure !== null) return; // it has closed the connection, and every request has rejected with it
    void this.#stream.write(request);
    await this.#stream.close();
  }

  #lost(reply: Reply, error: Error): Error {
    // A server that closes the connection has said why.
    return this.fail(reply.error !== null && !(error instanceof ProtocolError) ? reply.error : error);
  }
}
