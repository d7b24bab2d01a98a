/** Loops over the frames of a reader: one by one, or many at once. */
import type { Frames } from './frames.js';
import { DONE, Loop } from './lines.js';

/** Where frames come from: a reader. `loop` is the iterator that reads. */
export interface FrameSource {
  nextFrame(loop: object): Promise<IteratorResult<Buffer, undefined>>;
  nextFrames(loop: object): Promise<IteratorResult<Frames, undefined>>;
  /** Ends the read that `loop` has begun, if it still waits: it resolves as done, and nothing is consumed. */
  leave(loop: object): void;
}

/**
 * The frames of a stream until EOF, each as a `Buffer` that is yours to keep.
 *
 * The stream has consumed exactly the frames that were handed out: leave the loop, and the next read goes on after the last frame.
 * A frame over the limit or malformed ends the loop with the error of `readframe`, and so does a stream that ends within a frame.
 *
 * ```ts
 * for await (const message of stream.frames({ length: 'uint32be', skip: 'header' })) handle(message);
 * ```
 */
export class FrameLoop implements AsyncIterableIterator<Buffer, undefined> {
  readonly #source: FrameSource;
  #left = false;

  /** @internal Streams and readers make them. */
  constructor(source: FrameSource) {
    this.#source = source;
  }

  /**
   * All complete frames that are buffered, in place, again and again until EOF: never none. Each {@link Frames} is valid until the loop asks for
   * the next one. Several times as fast as a `Buffer` for each frame.
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
  /** The next frame, or `done` at EOF and once the loop was left. Rejects as `readframe` does. */
  next(): Promise<IteratorResult<Buffer, undefined>> {
    return this.#left ? Promise.resolve(DONE) : this.#source.nextFrame(this);
  }

  /**
   * Ends a loop. The stream stays open, and nothing more is consumed: a `next()` that still waits resolves as done, and the stream
   * can be read again at once.
   */
  return(): Promise<IteratorResult<Buffer, undefined>> {
    this.#left = true;
    this.#source.leave(this);
    return Promise.resolve(DONE);
  }

  /** Begins a loop, also after an earlier one was left. */
  [Symbol.asyncIterator](): this {
    this.#left = false;
    return this;
  }
}
