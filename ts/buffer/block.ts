/**
 * The memory of a ring, and what both engines do with it in JavaScript: allocate it, read it, and move the read cursor.
 *
 *      0        4        8        12       16
 *     +--------+--------+--------+--------+----------------------------------------------+
 *     |  head  | length | region |  room  |  data: unread bytes, wrapping at most once   |
 *     +--------+--------+--------+--------+----------------------------------------------+
 *
 * Native-endian 32-bit words. `head` is the offset of the oldest unread byte in the data, `length` how many bytes are unread. `region` is
 * where the next bytes go, and `room` how many of them fit there in one piece. The native engine writes both in every call; JavaScript writes
 * them when it stores bytes in the region, or an empty ring begins again at the front.
 */
import { Buffer } from 'node:buffer';
import { outOfRange, tooLarge } from '../errors.js';
import { bufferView, shareMemory } from './slab.js';

/** Bytes of the block before the data. */
export const HEADER_BYTES = 16;

/** The most bytes that a ring holds. */
export const MAX_CAPACITY = 2 ** 31;

/** The words of the header. */
export const HEAD = 0;
export const LENGTH = 1;
export const REGION = 2;
export const ROOM = 3;

/** The first block of a ring that has to grow: small enough for an idle connection that a few bytes arrive on. */
const LEAST_CAPACITY = 256;

/** Up to this size a loop over the bytes is faster than creating a view for `set` (Node 20: about 2.5 ns a byte against 50 to 60 ns). */
export const LOOP_BYTES = 16;

/** A block and the views of it. The block of capacity 0 is shared by all rings that own no memory. */
export class Block {
  /** Kept because reading `buffer` of a view is a call into the runtime. */
  readonly memory: ArrayBuffer;
  readonly words: Uint32Array;
  /** The whole block, as the native engine expects it. */
  readonly bytes: Uint8Array;
  readonly data: Buffer;
  /** The last region, and where it begins: a reader that drains the ring each time gets the same view again. */
  #region: Uint8Array | null = null;
  #regionAt = 0;

  /** @throws RangeError when the memory is not available */
  constructor(readonly capacity: number) {
    const memory = new ArrayBuffer(HEADER_BYTES + capacity);
    // `Frames` returns views of it.
    shareMemory(memory);
    this.memory = memory;
    this.words = new Uint32Array(memory, 0, HEADER_BYTES / Uint32Array.BYTES_PER_ELEMENT);
    this.words[ROOM] = capacity;
    this.bytes = new Uint8Array(memory);
    this.data = Buffer.from(memory, HEADER_BYTES, capacity);
  }

  /** A view of `length` data bytes; faster to create than a `Buffer`. */
  part(offset: number, length: number): Uint8Array {
    return new Uint8Array(this.memory, HEADER_BYTES + offset, length);
  }

  /** The view of the region: `room` data bytes from `at` on. */
  region(at: number, room: number): Uint8Array {
    if (this.#region === null || this.#regionAt !== at || this.#region.length !== room) {
      this.#region = this.part(at, room);
      this.#regionAt = at;
    }
    return this.#region;
  }

  /** Has an empty ring begin at the front of the data. */
  startAgain(): void {
    const { words, capacity } = this;
    words[HEAD] = words[REGION] = 0;
    words[ROOM] = capacity;
  }

  /** Appends bytes if they fit into the region and do not fill it. Returns false, with nothing changed but the position of an empty ring, otherwise. */
  store(data: Uint8Array): boolean {
    const { words } = this;
    if (words[LENGTH] === 0) this.startAgain();
    const count = data.length;
    const room = words[ROOM]!;
    if (count >= room) return false;
    const at = words[REGION]!;
    this.data.set(data, at);
    words[LENGTH]! += count;
    words[REGION] = at + count;
    words[ROOM] = room - count;
    return true;
  }

  /** See `Ring.consume`. */
  consume(count: number): void {
    const { words, capacity } = this;
    const length = words[LENGTH]!;
    if (!isCount(count, length)) {
      throw outOfRange('consume', 'count', `an integer from 0 to ${length} (the unread bytes)`, count);
    }
    const head = words[HEAD]! + count;
    // An empty ring keeps its head, because a region that was reserved after it may still be committed.
    words[HEAD] = head >= capacity ? head - capacity : head;
    words[LENGTH] = length - count;
  }

  /** See `Ring.copyTo`. */
  copyTo(target: Uint8Array, targetStart: number, start: number, end: number): void {
    this.#checkRange('copyTo', start, end);
    const count = end - start;
    const most = target.length - count;
    if (!isCount(targetStart, most)) {
      const expected = most < 0 ? `in a target of at least ${count} bytes` : `an integer from 0 to ${most}`;
      throw outOfRange('copyTo', 'targetStart', expected, targetStart);
    }
    if (count === 0) return;
    const { capacity, words, data } = this;
    let from = words[HEAD]! + start;
    if (from >= capacity) from -= capacity;
    const first = Math.min(count, capacity - from);
    if (count <= LOOP_BYTES) {
      for (let i = 0; i < first; i++) target[targetStart + i] = data[from + i]!;
      for (let i = first; i < count; i++) target[targetStart + i] = data[i - first]!;
      return;
    }
    target.set(this.part(from, first), targetStart);
    if (first < count) target.set(this.part(0, count - first), targetStart + first);
  }

  /** See `Ring.view`. */
  view(start: number, end: number): Buffer | null {
    this.#checkRange('view', start, end);
    const { words, capacity, memory } = this;
    let from = words[HEAD]! + start;
    if (from >= capacity) from -= capacity;
    if (end === start) from = 0;
    if (from + end - start > capacity) return null;
    return bufferView(memory, HEADER_BYTES + from, end - start);
  }

  #checkRange(action: string, start: number, end: number): void {
    const length = this.words[LENGTH]!;
    if (!isCount(end, length)) {
      throw outOfRange(action, 'end', `an integer from 0 to ${length} (the unread bytes)`, end);
    }
    if (!isCount(start, end)) throw outOfRange(action, 'start', `an integer from 0 to ${end} (end)`, start);
  }
}

export const NO_MEMORY = new Block(0);

/** Whether `value` is an integer from 0 to `most`. */
export function isCount(value: number, most: number): boolean {
  // `>>> 0` keeps every integer below 2 ** 32, and every capacity is below that.
  return value >>> 0 === value && value <= most;
}

/**
 * The capacity to allocate when `needed` bytes, more than `capacity`, must fit: at least double, so that growing costs a
 * constant time for each byte, and never above {@link MAX_CAPACITY}. As in `crates/ring/src/ring.rs`.
 */
export function grownCapacity(capacity: number, needed: number): number {
  return Math.max(needed, Math.min(2 * capacity, MAX_CAPACITY), LEAST_CAPACITY);
}

/**
 * A block of `wanted` bytes, or of `needed` bytes if that is too much memory.
 *
 * @param action - the action that the errors name
 * @throws RangeError `ERR_BUFFER_TOO_LARGE` when neither can be allocated
 */
export function allocateBlock(action: string, wanted: number, needed: number): Block {
  if (needed > MAX_CAPACITY) {
    throw tooLarge(action, needed, new RangeError(`a ring holds at most ${MAX_CAPACITY} bytes`));
  }
  try {
    return new Block(wanted);
  } catch (error) {
    if (wanted === needed) throw tooLarge(action, needed, error);
    return allocateBlock(action, needed, needed);
  }
}

/** The capacity that a ring of this capacity, with `length` unread bytes, is trimmed to. */
export function trimmedCapacity(capacity: number, length: number, keep: number): number {
  if (length === 0) return capacity > keep ? 0 : capacity;
  // Between a quarter and a half there is room to move both ways before the bytes are copied again.
  if (capacity <= Math.max(keep, 4 * length, LEAST_CAPACITY)) return capacity;
  return Math.max(Math.ceil(keep), 2 * length, LEAST_CAPACITY);
}

export function checkKeep(keep: number): void {
  if (!(keep >= 0)) throw outOfRange('trim', 'keep', 'a number of 0 or more', keep);
}

export function checkReserved(count: number, reserved: number): void {
  if (!isCount(count, reserved)) {
    throw outOfRange('commit', 'count', `an integer from 0 to ${reserved} (the bytes reserved)`, count);
  }
}

export function checkMin(min: number): void {
  if (!Number.isSafeInteger(min) || min < 1) throw outOfRange('reserve', 'min', 'an integer of 1 or more', min);
}
