/**
 * Listed frames that were copied out of the ring together (a cut): which frames go into one, so that no frame keeps too much memory alive,
 * and each frame as a view of it. The `FrameScanner` makes the copy. (`TextCut` in `decoding.ts` is the same for lines that are read as
 * strings.)
 */
import { Buffer } from 'node:buffer';
import { MeasuredFraming, type PreparedFraming } from '../buffer/framing.js';
import { SLAB_BYTES, allocateResult, bufferView, shareMemory } from '../buffer/slab.js';

/** How many times its own length a frame may keep alive, if that is more than a slab. */
const KEPT_TIMES = 32;
/** Below this length, a slab has many frames already, and a larger cut gains nothing. */
const LARGE_CUT_FROM = 512;

/** Consecutive frames, copied out of the ring in one piece. Positions are those of the receive buffer. */
export class FrameCut {
  /** The position where it ends. */
  readonly end: number;
  readonly #start: number;
  readonly #bytes: Buffer;
  readonly #memory: ArrayBufferLike;
  /** The number to add to a position to get the offset in the memory. */
  readonly #shift: number;
  /** The framing, if reads omit bytes at the start of each frame. */
  readonly skipping: MeasuredFraming | null;

  /**
   * @param bytes - the frames; their memory is shared by all results
   * @param start - the position where the first of them begins
   */
  constructor(bytes: Buffer, start: number, framing: PreparedFraming | null) {
    this.end = start + bytes.length;
    this.#start = start;
    this.#bytes = bytes;
    // Kept because reading `buffer` of a view is a call into the runtime.
    this.#memory = bytes.buffer;
    this.#shift = bytes.byteOffset - start;
    this.skipping = skippingFraming(framing);
    shareMemory(this.#memory);
  }

  /**
   * The frame from `start` to `end`, if its framing {@link skipping} nothing. Null if the owner of another frame has detached the memory that
   * they share: the ring still has the bytes.
   */
  frame(start: number, end: number): Buffer | null {
    try {
      return bufferView(this.#memory, start + this.#shift, end - start);
    } catch {
      return null;
    }
  }

  /** The same without the bytes that its framing skips. */
  frameSkipping(start: number, end: number): Buffer | null {
    const memory = this.#memory;
    if (memory.byteLength === 0) return null;
    const bytes = this.#bytes;
    const first = this.#start;
    const from = first + (this.skipping as MeasuredFraming).skipped(bytes, start - first);
    const size = end - from;
    if (keepsTooMuch(size, bytes.length)) return withoutStart(bytes.subarray(0, end - first), from - first);
    return bufferView(memory, from + this.#shift, size);
  }
}

export const NO_CUT = new FrameCut(Buffer.alloc(0), 0, null);

/** Where the cut that begins with the frame from `start` to `ends[next]` ends, so that no frame in it keeps too much memory alive. */
export function cutEnd(ends: Uint32Array, next: number, stop: number, start: number): number {
  const end = ends[next] as number;
  let length = end - start;
  const last = ends[stop - 1] as number;
  // The last frame that begins in the slab may not end in it. It is copied again later.
  if (length < LARGE_CUT_FROM) return Math.max(end, Math.min(start + SLAB_BYTES, last));
  let cut = end;
  for (let i = next + 1; i < stop; i++) {
    const later = ends[i] as number;
    length = Math.min(length, later - cut);
    if (later - start > Math.max(SLAB_BYTES, KEPT_TIMES * length)) break;
    cut = later;
  }
  return cut;
}

/** The first frame, in `bytes` of its own or at the start of a cut, without the bytes that its framing skips. */
export function firstFrame(bytes: Buffer, size: number, framing: PreparedFraming | null): Buffer {
  const frame = size === bytes.length ? bytes : bufferView(bytes.buffer, bytes.byteOffset, size);
  const skipping = skippingFraming(framing);
  return skipping === null ? frame : withoutStart(frame, skipping.skipped(frame, 0));
}

function skippingFraming(framing: PreparedFraming | null): MeasuredFraming | null {
  return framing instanceof MeasuredFraming && framing.skip !== 0 ? framing : null;
}

/** Whether a result of `size` bytes in a copy of `copied` bytes would keep more alive than a result may. */
function keepsTooMuch(size: number, copied: number): boolean {
  return copied > SLAB_BYTES && copied > KEPT_TIMES * size;
}

/** A frame without its first `skipped` bytes: in its memory, or as a copy if little of a large frame is left. */
export function withoutStart(frame: Buffer, skipped: number): Buffer {
  const rest = frame.subarray(skipped);
  if (!keepsTooMuch(rest.length, frame.buffer.byteLength)) return rest;
  const copy = allocateResult(rest.length);
  copy.set(rest);
  return copy;
}
