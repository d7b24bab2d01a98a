/**
 * The ring buffer: the interface that the reader uses. There are two implementations: `native-ring.ts` uses the Rust ring,
 * `typescript-ring.ts` is written in TypeScript. Both pass the contract suite in `__test__/buffer/ring.test.ts`.
 *
 * One call for each chunk. Incoming bytes pass through the engine once: `append` or `commit` stores them, lists the frames that are
 * complete, and names the region for the next bytes. Reading does not: getting listed frames, small copies and moving the read cursor only
 * use memory that both sides share, because a call would cost as much as the frame.
 *
 * Memory.
 *
 * - JavaScript allocates and owns every byte: a ring is one `ArrayBuffer`, the block (`block.ts`). If the native engine needs a larger one,
 *   its call returns the capacity, and the next call moves the ring over.
 * - Between calls the native engine keeps no pointer: a block is lent to it for the duration of a call, with the bytes to store and the
 *   words of the listing.
 * - Only the engine writes data bytes, with one exception: the caller of `reserve` may write to the region that it returned (libuv reads
 *   into it) until the next call that can move bytes.
 * - The words are written by the engine and, in JavaScript, by `consume`, by `append` of bytes that fit into the region and are not searched,
 *   and when an empty ring begins again at the front. This is never at the same time: all of it runs on one thread.
 * - Views of unread bytes may be read until the next call that can move bytes, or that can write where they were consumed.
 *
 * Positions. Every position in this interface counts from the oldest unread byte (0) to `length`, wherever the bytes are.
 */
import type { Buffer } from 'node:buffer';
import type { Lengths } from './lengths.js';
import type { Separator } from './separator.js';

export { HEADER_BYTES, MAX_CAPACITY } from './block.js';

/**
 * The words of a listing, in a `Uint32Array` that the caller owns: first {@link FrameIndex.ENDS} words of summary, then the frame ends.
 * If all words are 0, a listing begins at the oldest unread byte. The next call with the same words continues it.
 */
export const FrameIndex = Object.freeze({
  /** Word: how many frames are listed. */
  COUNT: 0,
  /**
   * Word: where to resume the search; no frame after the last listed one ends at or before this position. For lengths, the start of the
   * first frame that is not listed.
   */
  RESUME: 1,
  /**
   * Word: for a separator that carries, how much of it the bytes before RESUME end with, as a number that only the engine understands;
   * otherwise 0.
   */
  PARTIAL: 2,
  /**
   * Word: 0, or: the search stopped at a frame that it does not list. For separators, the body length (without separator) of a complete
   * frame over the limit. For lengths, the frame's whole length (over the limit), or 0xffffffff if that does not fit or the header
   * is malformed. RESUME stays at its start: a later listing finds it again.
   */
  REFUSED: 3,
  /** First word of the frame ends: ascending positions, each just after the frame, its separator included. */
  ENDS: 4,
} as const);

/** What determines where the frames of a listing end. */
export type ListedFraming = Separator | Lengths;

/** What to list, and how far the listing has come. */
export interface Listing {
  readonly framing: ListedFraming;
  /** See {@link FrameIndex}. */
  readonly words: Uint32Array;
  /**
   * The most bytes that the body of a frame may have, an integer up to {@link MAX_CAPACITY}. For lengths, the most that the whole frame may
   * have, header included; checked as soon as the header is complete.
   */
  readonly limit: number;
  /** The most frames to list in all, an integer. A listing never has more than fit in the words. */
  readonly max: number;
}

/** A bounded ring buffer of bytes. */
export interface Ring {
  /** The number of unread bytes. */
  readonly length: number;
  /** The size of the data memory that the ring owns now. */
  readonly capacity: number;
  /** How many bytes {@link reserve} can return at least without moving unread bytes. */
  readonly room: number;

  /**
   * Appends a copy of `data`, across the wrap point if it does not fit before it, and continues the listing as {@link list} does.
   *
   * @throws RangeError `ERR_BUFFER_TOO_LARGE`; nothing is appended then
   */
  append(data: Uint8Array, listing?: Listing | null): void;
  /**
   * Returns the contiguous writable memory after the unread bytes, at least `min` bytes (1 or more) of it. If necessary, the ring moves
   * its bytes or grows. Valid until the next call that can move bytes (reserve, append, unread, trim).
   *
   * @throws RangeError `ERR_BUFFER_TOO_LARGE` when `length + min` is more than {@link MAX_CAPACITY} or than can be allocated
   */
  reserve(min: number): Uint8Array;
  /** Makes the first `count` bytes of the region that {@link reserve} returned unread bytes, and continues the listing. */
  commit(count: number, listing?: Listing | null): void;
  /** Puts a copy of `data` before the unread bytes. Listings and regions from before the call are invalid after it. */
  unread(data: Uint8Array): void;
  /** Drops the oldest `count` bytes. */
  consume(count: number): void;
  /** Copies the unread bytes from `start` to `end` to `target` at `targetStart`, across the wrap point; consumes nothing. */
  copyTo(target: Uint8Array, targetStart: number, start: number, end: number): void;
  /** The unread bytes from `start` to `end` in place, or `null` if they cross the wrap point. Valid as long as a region of {@link reserve}. */
  view(start: number, end: number): Buffer | null;
  /**
   * Lists the frames that are complete after those that are already listed; the first begins at the oldest unread byte. The words must be
   * all 0, or from a listing for the same framing.
   *
   * For separators, the search resumes at RESUME, so all searched bytes are not searched again, except the last `longest - 1` for a
   * short separator. Of several sequences, the earliest match end wins, and of those that end there, the longest. The time is linear
   * in the bytes that are searched, whatever they are. For lengths, only the headers are read.
   */
  list(listing: Listing): void;
  /** Releases memory that the unread bytes do not need; an empty ring keeps at most `keep` bytes of capacity. */
  trim(keep: number): void;
}
