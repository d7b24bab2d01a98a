/**
 * Frames that the caller's own function measures (`frameLength` of a `CustomFraming`). The function is called here and nowhere else: when a
 * read needs a frame, and never when bytes arrive. While it runs, no read may start, and what it has refused is kept until the frames
 * before it have been returned.
 */
import type { Buffer } from 'node:buffer';
import type { CustomLengths } from '../buffer/framing.js';
import { FrameIndex } from '../buffer/ring.js';
import { measuring, mismeasured, overLimit, unmeasurable, type FrameAction } from './refusals.js';

export class FrameMeasurer {
  /** The read for which the function is measuring frames right now. */
  #action: FrameAction | null = null;
  /** The error with which the function has refused the next frame. */
  #refusal: { readonly error: unknown } | null = null;

  /** Whether the function is measuring a frame right now. */
  get measures(): boolean {
    return this.#action !== null;
  }

  /** Throws if the function is measuring a frame right now: it must not read from the stream. */
  check(): void {
    if (this.#action !== null) throw measuring(this.#action);
  }

  /** The index was dropped, so the next frame is measured again. */
  forget(): void {
    this.#refusal = null;
  }

  /** The error with which the next frame was refused, once; null if it was not. */
  takeRefusal(): { readonly error: unknown } | null {
    const refusal = this.#refusal;
    this.#refusal = null;
    return refusal;
  }

  /**
   * Continues the listing in `words` as the engine does: at most `max` frames in all. PARTIAL is the length of the frame at RESUME, once the
   * function has returned it.
   */
  list(
    bytes: Buffer,
    words: Uint32Array,
    max: number,
    limit: number,
    lengths: CustomLengths,
    action: FrameAction,
  ): void {
    const end = bytes.length;
    let found = words[FrameIndex.COUNT] as number;
    let start = words[FrameIndex.RESUME] as number;
    let known = words[FrameIndex.PARTIAL] as number;
    let refused = false;
    this.#action = action;
    try {
      while (found < max && start < end) {
        let length;
        try {
          length = known === 0 ? measured(lengths, bytes, start, end, action) : known;
          if (length > limit) throw overLimit(action, length, limit);
          if (length === 0 && end - start > limit) throw unmeasurable(action, end - start, limit);
        } catch (error) {
          // The frames before it are returned first; then it is measured again.
          if (found === 0) this.#refusal = { error };
          refused = true;
          known = 0;
          break;
        }
        known = length;
        if (length === 0 || length > end - start) break;
        known = 0;
        start += length;
        words[FrameIndex.ENDS + found++] = start;
      }
    } finally {
      this.#action = null;
    }
    words[FrameIndex.COUNT] = found;
    words[FrameIndex.RESUME] = start;
    words[FrameIndex.PARTIAL] = known;
    words[FrameIndex.REFUSED] = refused ? 1 : 0;
  }
}

/** The length that the caller's function returns, checked. */
function measured(lengths: CustomLengths, bytes: Buffer, start: number, end: number, action: FrameAction): number {
  const length: unknown = lengths.measure(bytes, start, end);
  if (Number.isSafeInteger(length) && (length as number) >= 0) return length as number;
  throw mismeasured(action, length, bytes.subarray(start, end));
}
