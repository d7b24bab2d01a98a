/**
 * Read-ahead: how much the transport reads at once. A source that fills large chunks is busy, and the transport then reads directly into
 * the ring; otherwise it reads into memory of its own, and its chunks are copied.
 */
import { TUNING, type ReaderTuning } from './intake.js';

export class ReadAhead {
  readonly tuning: ReaderTuning;
  readonly #limit: number;
  #bytes = 0;
  /**
   * Whether all reads take what arrives in the pieces in which it arrives, and keep it. If the source is busy, the transport then reads into
   * new memory each time, which becomes the result.
   */
  handsOut = false;

  /** @param limit - the limit of the reader: a small one is meant to keep memory small */
  constructor(limit: number, tuning: ReaderTuning = TUNING) {
    this.#limit = limit;
    this.tuning = tuning;
  }

  /** How much the transport may read directly into the ring at once; 0 while the source is not busy and its chunks are fed. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The size of a ring that is created now: room for what the transport is about to read into it. */
  get room(): number {
    return this.#bytes > 0 ? this.most : 0;
  }

  /** A chunk of `size` bytes was fed. */
  fed(size: number): void {
    this.#bytes = size >= this.tuning.fullChunk ? this.tuning.directRead : 0;
  }

  /** The transport has read into a fill. `full`: as much as it could. */
  filled(full: boolean): void {
    this.#bytes = full ? this.tuning.directRead : 0;
  }

  /** The transport has read `count` bytes into the ring, where `buffered` bytes were unread before, or into a chunk that is handed out. */
  stored(count: number, buffered: number): void {
    const { directRead } = this.tuning;
    // The source is no longer busy.
    if (count < directRead / 2) this.#bytes = 0;
    // Read more at once only if the caller keeps up; otherwise it would only add to the unread data.
    else this.#bytes = buffered <= directRead ? this.most : directRead;
  }

  /** The most that the transport reads at once. */
  get most(): number {
    const { directMost, directRead } = this.tuning;
    return Math.min(directMost, Math.max(directRead, 4 * this.#limit));
  }
}
