/**
 * The ring buffer: the interface that the reader uses. There are two implementations: `native-ring.ts` has the work done by the Rust ring,
 * `typescript-ring.ts` does it here. Both pass the contract suite in `__test__/buffer/ring.test.ts`.
 *
 * One call for each chunk. What comes in passes through the engine once: `append` or `commit` stores it, lists the frames that are
 * complete, and says where the next bytes go. What goes out does not: taking listed frames, small copies and moving the read cursor
 * only look at memory that both sides share, since a call would cost as much as the frame.
 *
 * Memory.
 *
 * - JavaScript allocates and owns every byte: a ring is one `ArrayBuffer`, the block (`block.ts`). The native engine asks for a larger one
 *   by the answer of a call, and moves the ring over with the next.
 * - Between calls the native engine holds nothing: a block is lent to it for the length of a call, with the bytes to store and the words
 *   of the listing.
 * - Only the engine writes data bytes, with one exception: the region that `reserve` gave may be written by whoever got it (libuv reads into
 *   it) until the next call that can move bytes.
 * - The words `head` and `length` are written by the engine, and by `consume` in JavaScript, never at once: all run on one thread.
 * - Views of unread bytes may be read until the next call that can move bytes, or write to where they were consumed.
 *
 * Positions. Every position in this interface counts from the oldest unread byte (0) to `length`, wherever the bytes lie.
 */
import type { Buffer } from 'node:buffer';
import type { Lengths } from './lengths.js';
import type { Separator } from './separator.js';

export { HEADER_BYTES, MAX_CAPACITY } from './block.js';

/**
 * The words of a listing, in a `Uint32Array` that the caller owns: first {@link FrameIndex.ENDS} words of summary, then the frame ends.
 * All 0 begin a listing at the oldest unread byte. The next call with the same words goes on with it.
 */
export const FrameIndex = Object.freeze({
  /** Word: how many frames are listed. */
  COUNT: 0,
  /**
   * Word: where to go on searching; no frame after the last listed one ends at or before this position. For lengths, where the first
   * frame begins that is not listed.
   */
  RESUME: 1,
  /** Word: for a separator that carries, how much of it the bytes before RESUME end with, as a number of the engine; otherwise 0. */
  PARTIAL: 2,
  /**
   * Word: 0, or: the search stopped at a frame that it does not list. For separators, the body length (without separator) of a complete
   * frame over the limit. For lengths, the frame's whole length (over the limit), 0xffffffff where that does not fit or the header
   * is malformed. RESUME stays at its start: a later listing finds it again.
   */
  REFUSED: 3,
  /** First word of the frame ends: ascending positions, each just after the frame, its separator included. */
  ENDS: 4,
} as const);

/** How the frames of a listing are told apart. */
export type ListedFraming = Separator | Lengths;

/** What to list, and how far that has come. */
export interface Listing {
  readonly framing: ListedFraming;
  /** See {@link FrameIndex}. */
  readonly words: Uint32Array;
  /**
   * The most bytes that the body of a frame may have, an integer up to {@link MAX_CAPACITY}. For lengths, the most that the whole frame may
   * have, header included; checked as soon as the header is complete.
   */
  readonly limit: number;
  /** The most frames to list in all, an integer. No more than fit in the words are listed anyway. */
  readonly max: number;
}

/** A bounded ring buffer of bytes. */
export interface Ring {
  /** Unread bytes. */
  readonly length: number;
  /** Bytes of data memory held now; 0 for a ring that owns no memory. */
  readonly capacity: number;
  /** How many bytes {@link reserve} can give at least without moving unread bytes. */
  readonly room: number;

  /**
   * Appends a copy of `data`, across the wrap point where that saves growing, and goes on with the listing as {@link list} does.
   *
   * @throws RangeError `ERR_BUFFER_TOO_LARGE`; nothing is appended then
   */
  append(data: Uint8Array, listing?: Listing | null): void;
  /**
   * The contiguous writable memory after the unread bytes, at least `min` bytes (1 or more) of it: the ring moves its bytes
   * or grows where it must. Valid until the next call that can move bytes (reserve, append, unread, trim).
   *
   * @throws RangeError `ERR_BUFFER_TOO_LARGE` when `length + min` is more than {@link MAX_CAPACITY} or than can be allocated
   */
  reserve(min: number): Uint8Array;
  /** Makes the first `count` bytes of the region that {@link reserve} gave unread bytes, and goes on with the listing. */
  commit(count: number, listing?: Listing | null): void;
  /** Puts a copy of `data` before the unread bytes. What is listed is then wrong, and where a region is. */
  unread(data: Uint8Array): void;
  /** Drops the oldest `count` bytes. */
  consume(count: number): void;
  /** Copies the unread bytes from `start` to `end` to `target` at `targetStart`, across the wrap point; consumes nothing. */
  copyTo(target: Uint8Array, targetStart: number, start: number, end: number): void;
  /** The unread bytes from `start` to `end` in place, or `null` where they cross the wrap point. Valid as {@link reserve} says. */
  view(start: number, end: number): Buffer | null;
  /**
   * Lists the frames that are complete after those that are listed already; the first begins at the oldest unread byte. The words must
   * be those of a listing for the same framing, or all 0.
   *
   * For separators, bytes before
   * RESUME are not looked at again, which are all those searched, but for the last `separator.longest - 1` of a short separator. Of
   * several sequences the earliest match end wins, and of those that end there the longest. Takes a time linear in the bytes that are
   * searched, whatever they are.
   */
  list(listing: Listing): void;
  /** Gives memory back that the unread bytes do not need; an empty ring keeps at most `keep` bytes of capacity. */
  trim(keep: number): void;
}
