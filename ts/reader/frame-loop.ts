/** Loops over the frames of a reader: one by one, or many at once. */
import type { Frames } from './frames.js';
import { DONE, Loop } from './loop.js';

/** A source of frames: a reader. `loop` is the iterator that reads. */
export interface FrameSource {
  nextFrame(loop: object): Promise<IteratorResult<Buffer, undefined>>;
  nextFrames(loop: object): Promise<IteratorResult<Frames, undefined>>;
  /** Ends the read that `loop` has started, if it still waits: the read resolves as done, and nothing is consumed. */
  leave(loop: object): void;
}

/**
 * The frames of a stream until EOF, each as a `Buffer` that is yours to keep.
 *
 * Exactly the frames that the loop has received are consumed: after leaving the loop, the next read continues after the last frame.
 * A frame that is over the limit or malformed ends the loop with the error of `readframe`, and so does a stream that ends within a frame.
 *
 * ```ts
 * for await (const message of stream.frames({ length: 'uint32be', skip: 'header' })) handle(message);
 * ```
 */
export class FrameLoop implements AsyncIterableIterator<Buffer, undefined> {
  readonly #source: FrameSource;
  #left = false;

  /** @internal Streams and readers create them. */
  constructor(source: FrameSource) {
    this.#source = source;
  }

  /**
   * Iterates over all complete frames that are buffered, in place, until EOF. A {@link Frames} is never empty, and is valid until the loop
   * requests the next one. Several times as fast as a `Buffer` for each frame.
   *
   * ```ts
   * for await (const frames of stream.frames({ length: 'uint32be' }).batches()) for (const frame of frames) parse(frame);
   * ```
   */
  batches(): AsyncIterableIterator<Frames, undefined> {
    const source = this.#source;
    return new Loop(
      (loop) => source.nextFrames(loop),
      (loop) => source.leave(loop),
    );
  }

  /** Returns the next frame, or `done` at EOF and after the loop was left. Rejects as `readframe` does. */
  next(): Promise<IteratorResult<Buffer, undefined>> {
    return this.#left ? Promise.resolve(DONE) : this.#source.nextFrame(this);
  }

  /**
   * Ends the loop. The stream stays open, and nothing more is consumed: a waiting `next()` resolves as done, and the stream can be read
   * again at once.
   */
  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#left = true;
    this.#source.leave(this);
    return Promise.resolve(DONE);
  }

  /** Starts a loop, also after an earlier one was left. */
  [Symbol.asyncIterator](): this {
    this.#left = false;
    return this;
  }
}
