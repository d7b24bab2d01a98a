/**
 * The ring buffer: the interface that the reader uses, and the TypeScript engine.
 *
 * Memory. JavaScript owns every byte. The memory of a ring is one `ArrayBuffer`, the *block*: a header of
 * {@link HEADER_BYTES} bytes (native-endian 32-bit words: head, length, two reserved) and behind it the data, whose size is
 * the capacity. `head` is where the oldest unread byte lies, `length` how many bytes are unread; the unread bytes wrap
 * around the end of the data at most once. The native engine works on the same block, lent to it for the length of one
 * call, so that moving the two words (commit, consume) never needs a crossing into native.
 *
 * Positions. Every position in this interface counts from the oldest unread byte (0) to `length`, wherever the bytes lie.
 */
import type { Separator } from './separator.js';

/** Bytes of the block in front of the data. */
export const HEADER_BYTES = 16;

/** The most bytes that a ring holds. */
export const MAX_CAPACITY = 2 ** 31;

/**
 * What {@link Ring.index} found, in memory that the next call uses again: a `Uint32Array` whose first
 * {@link FrameIndex.ENDS} words are the summary and whose other words are the frame ends.
 */
export const FrameIndex = Object.freeze({
  /** Word: how many frames were found. */
  COUNT: 0,
  /** Word: where to go on searching; no frame behind the last listed one ends at or before this position. */
  RESUME: 1,
  /** Word: {@link FrameIndex.ASCII} and {@link FrameIndex.OVERLONG}, or'ed. */
  FLAGS: 2,
  /** Word: with OVERLONG, the length of the body (without separator) of the frame that ended the search. */
  OVERLONG_BODY: 3,
  /** First word of the frame ends: ascending positions, each just behind the frame's separator. */
  ENDS: 4,
  /** Flag: the listed frames hold only bytes below 0x80. */
  ASCII: 1,
  /** Flag: the search stopped at a complete frame whose body is longer than the limit; that frame is not listed. */
  OVERLONG: 2,
} as const);

/** A bounded ring buffer of bytes. All engines behave alike; the contract suite in `__test__/ring.test.ts` runs on each. */
export interface Ring {
  /** Unread bytes. */
  readonly length: number;
  /** Bytes of data memory held now; 0 for a ring that owns no memory. */
  readonly capacity: number;

  /**
   * The contiguous writable memory behind the unread bytes, at least `min` bytes (1 or more) of it: the ring moves its bytes
   * or grows where it must. Valid until the next call that can move bytes (reserve, write, unread, trim).
   *
   * @throws RangeError `ERR_BUFFER_TOO_LARGE` when `length + min` is more than {@link MAX_CAPACITY} or than can be allocated
   */
  reserve(min: number): Uint8Array;
  /** Makes the first `count` bytes of the region that {@link reserve} gave unread bytes. */
  commit(count: number): void;
  /** Appends a copy of `data`, across the seam where that saves growing. */
  write(data: Uint8Array): void;
  /** Puts a copy of `data` in front of the unread bytes. */
  unread(data: Uint8Array): void;
  /** Drops the oldest `count` bytes. */
  consume(count: number): void;
  /** Copies the unread bytes from `start` to `end` to `target` at `targetStart`, across the seam; consumes nothing. */
  copyTo(target: Uint8Array, targetStart: number, start: number, end: number): void;
  /** The unread bytes from `start` to `end` in place, or `null` where they cross the seam. Valid as {@link reserve} says. */
  view(start: number, end: number): Buffer | null;
  /**
   * Lists the frames that are complete. The first begins at `start`, each next one behind the one before. `resume` (at least
   * `start`) is the RESUME word of an earlier search with the same separator and the same `start`, or `start`: bytes in front
   * of `resume - separator.longest + 1` are not looked at again. Of several separators the earliest match end wins, and of
   * those that end there the longest. At most `max` frames, and no more than fit in `out`, are listed.
   *
   * @returns the number of frames, also in `out[FrameIndex.COUNT]`
   */
  index(separator: Separator, start: number, resume: number, limit: number, max: number, out: Uint32Array): number;
  /** Gives memory back that the unread bytes do not need; an empty ring keeps at most `keep` bytes of capacity. */
  trim(keep: number): void;
}
