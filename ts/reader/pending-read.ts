/**
 * A read that waits, and how it gets bytes that do not go through the ring. The reader repeats its attempt whenever bytes, EOF or an
 * error arrive, and ends it.
 */
import type { Buffer } from 'node:buffer';
import type { PreparedFraming } from '../buffer/framing.js';
import type { Fill } from './fill.js';

/** A waiting read of a `Reader`. */
export class PendingRead<Reader> {
  resolve: (value: never) => void = nothing;
  reject: (reason: unknown) => void = nothing;
  /** Removes the listener from the signal. */
  unwatch: (() => void) | null = null;

  /**
   * @param action - the call that errors name
   * @param attempt - returns the result, or undefined to continue waiting; throws to fail the read. It receives the reader, so that one
   * function can serve all reads of a kind
   * @param bypass - how the read gets bytes that bypass the ring; null: all go through it
   * @param loop - the loop that started the read, and may end it
   * @param from - how many bytes the stream had received before those of this read. Only needed if they do not stay buffered
   */
  constructor(
    readonly action: string,
    readonly attempt: (reader: Reader) => unknown,
    readonly bypass: Bypass | null,
    readonly loop: object | null,
    readonly from: number,
  ) {}

  /** Not a read: prevents every read from starting. */
  static lock<Reader>(action: string): PendingRead<Reader> {
    return new PendingRead<Reader>(action, nothing, null, null, 0);
  }

  get isLock(): boolean {
    return this.attempt === nothing;
  }

  /** The large result that is being filled, if there is one. */
  get fill(): Fill | null {
    return this.bypass === null ? null : this.bypass.fill;
  }

  /** Whether it waits for the rest of something that earlier reads have had a part of. */
  get continues(): boolean {
    return this.bypass?.continues === true;
  }

  /** The promise of the read. Called once, before {@link resolve} or {@link reject}. */
  settled<T>(): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    });
  }
}

/** How a waiting read gets bytes that bypass the ring: in a large result that is filled, or as a part of the chunk that arrives next. */
export class Bypass {
  private constructor(
    /** The result that is being filled; null until its size is known. */
    public fill: Fill | null,
    /** The framing of the frame that is gathered in the fill. */
    readonly framing: PreparedFraming | null,
    /** How many bytes of a chunk the read takes at most, before they are copied to the ring; 0: none. */
    readonly most: number,
    /** Converts those bytes to the result of the read. */
    readonly deliver: (bytes: Buffer) => unknown,
    readonly continues: boolean,
  ) {}

  /** All bytes of the read go into `fill`. */
  static into(fill: Fill): Bypass {
    return new Bypass(fill, null, 0, nothing, false);
  }

  /** A frame. If it is large, its bytes go into `fill` once the length is known. */
  static ofFrame(framing: PreparedFraming): Bypass {
    return new Bypass(null, framing, 0, nothing, false);
  }

  /** The read takes up to `most` bytes of the next chunk. `continues` as for {@link PendingRead.continues}. */
  static ofChunk(most: number, deliver: (bytes: Buffer) => unknown, continues = false): Bypass {
    return new Bypass(null, null, most, deliver, continues);
  }
}

function nothing(): undefined {
  return undefined;
}
