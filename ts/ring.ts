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
import { Buffer } from 'node:buffer';
import { outOfRange, tooLarge } from './errors.js';
import { NOT_FOUND, SeparatorSearch } from './separator-search.js';
import type { Separator } from './separator.js';
import { bufferView, shareMemory } from './slab.js';

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
  /**
   * Word: for a separator that carries, how much of it the bytes before RESUME end with, as a number of the engine; 0 for all others, and
   * where the search stopped at a frame.
   */
  PARTIAL: 2,
  /**
   * Word: where the search stopped at a complete frame whose body is longer than the limit, the length of that body (without
   * separator), otherwise 0. That frame is not listed.
   */
  OVERLONG_BODY: 3,
  /** First word of the frame ends: ascending positions, each just behind the frame's separator. */
  ENDS: 4,
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
   * `start`) is `start` with a `partial` of 0, or both are the words of an earlier search with the same separator and the same `start`:
   * bytes in front of it are not looked at again, which are all those searched, but for the last `separator.longest - 1` of a short
   * separator. Of several separators the earliest match end wins, and of those that end there the longest. At most `max` frames, and no
   * more than fit in `out`, are listed. Takes a time linear in the bytes that are searched, whatever they are.
   *
   * @returns the number of frames, also in `out[FrameIndex.COUNT]`
   */
  index(
    separator: Separator,
    start: number,
    resume: number,
    partial: number,
    limit: number,
    max: number,
    out: Uint32Array,
  ): number;
  /** Gives memory back that the unread bytes do not need; an empty ring keeps at most `keep` bytes of capacity. */
  trim(keep: number): void;
}

/** The first block of a ring that has to grow: small enough for an idle connection that a few bytes arrive on. */
const LEAST_CAPACITY = 256;

/** Up to here a loop over the bytes beats the making of a view for `set` (Node 20: about 2.5 ns a byte against 50 to 60 ns). */
const LOOP_BYTES = 16;

/**
 * The capacity to allocate when `needed` bytes, more than `capacity`, must fit: at least double, so that growing costs a
 * constant time for each byte, and never above {@link MAX_CAPACITY}.
 */
export function grownCapacity(capacity: number, needed: number): number {
  return Math.max(needed, Math.min(2 * capacity, MAX_CAPACITY), LEAST_CAPACITY);
}

/**
 * A block and the views of it. The block of capacity 0 is shared by all rings that own no memory.
 *
 * @internal
 */
export class Block {
  /** Kept because to ask a view for its memory is a call into the runtime. */
  readonly memory: ArrayBuffer;
  /** The two cursors: the head and the length. */
  readonly words: Uint32Array;
  /** All of the block, as the native engine takes it. */
  readonly bytes: Uint8Array;
  readonly data: Buffer;

  /** @throws RangeError when the memory cannot be had */
  constructor(readonly capacity: number) {
    const memory = new ArrayBuffer(HEADER_BYTES + capacity);
    // `Frames` give views of it out.
    shareMemory(memory);
    this.memory = memory;
    this.words = new Uint32Array(memory, 0, HEADER_BYTES / Uint32Array.BYTES_PER_ELEMENT);
    this.bytes = new Uint8Array(memory);
    this.data = Buffer.from(memory, HEADER_BYTES, capacity);
  }

  /** A view of `length` data bytes; quicker to make than a `Buffer`. */
  part(offset: number, length: number): Uint8Array {
    return new Uint8Array(this.memory, HEADER_BYTES + offset, length);
  }
}

const NO_MEMORY = new Block(0);
const NO_REGION = new Uint8Array(0);
const HEAD = 0;
const LENGTH = 1;

/**
 * The engine in TypeScript.
 *
 * Growth: the unread bytes are slid to the front when at least as many bytes were consumed since they last moved, so that
 * each consumed byte pays for at most one moved byte; otherwise they go to a block of at least twice the size. Both are
 * constant time for each byte that passes through.
 *
 * A subclass may do the work on the bytes elsewhere: `append`, `prepend`, `copyOut`, `relocate` and `search` get arguments
 * that are checked and, where it takes one, a block with room.
 */
export class TypeScriptRing implements Ring {
  protected block = NO_MEMORY;

  /** Bytes of the region that `reserve` gave and that no call has invalidated since. */
  #reserved = 0;
  /** The region given last, and where it begins: a reader that drains the ring each time gets the same one again. */
  #region: Uint8Array = NO_REGION;
  #regionAt = 0;

  get length(): number {
    return this.block.words[LENGTH]!;
  }

  get capacity(): number {
    return this.block.capacity;
  }

  reserve(min: number): Uint8Array {
    if (!Number.isSafeInteger(min) || min < 1) throw outOfRange('reserve', 'min', 'an integer of 1 or more', min);
    const { words, capacity } = this.block;
    const length = words[LENGTH]!;
    if (length === 0) words[HEAD] = 0;
    const head = words[HEAD]!;
    const tail = head + length;
    // Where the bytes reach the seam, all that is free lies in one piece.
    const scattered = tail < capacity && capacity - tail < min;
    if (scattered && length <= head && capacity - length >= min) {
      this.block.data.copyWithin(0, head, tail);
      words[HEAD] = 0;
    } else if (scattered || capacity - length < min) {
      this.grow('reserve', length + min);
    }
    return this.#behind();
  }

  commit(count: number): void {
    if (!isCount(count, this.#reserved)) {
      throw outOfRange('commit', 'count', `an integer from 0 to ${this.#reserved} (the bytes reserved)`, count);
    }
    this.#reserved = 0;
    this.block.words[LENGTH]! += count;
  }

  write(data: Uint8Array): void {
    const count = data.length;
    this.#makeRoom('write', count);
    if (count > 0) this.append(data, count);
  }

  unread(data: Uint8Array): void {
    const count = data.length;
    this.#makeRoom('unread', count);
    if (count > 0) this.prepend(data, count);
  }

  consume(count: number): void {
    const { words, capacity } = this.block;
    const length = words[LENGTH]!;
    if (!isCount(count, length)) {
      throw outOfRange('consume', 'count', `an integer from 0 to ${length} (the unread bytes)`, count);
    }
    const head = words[HEAD]! + count;
    // An emptied ring keeps its head: a reserved region behind it may be about to be committed.
    words[HEAD] = head >= capacity ? head - capacity : head;
    words[LENGTH] = length - count;
  }

  copyTo(target: Uint8Array, targetStart: number, start: number, end: number): void {
    this.#checkRange('copyTo', start, end);
    const room = target.length - (end - start);
    if (!isCount(targetStart, room)) {
      const expected = room < 0 ? `in a target of at least ${end - start} bytes` : `an integer from 0 to ${room}`;
      throw outOfRange('copyTo', 'targetStart', expected, targetStart);
    }
    if (end > start) this.copyOut(target, targetStart, start, end);
  }

  view(start: number, end: number): Buffer | null {
    this.#checkRange('view', start, end);
    const { words, capacity, memory } = this.block;
    let from = words[HEAD]! + start;
    if (from >= capacity) from -= capacity;
    if (end === start) from = 0;
    if (from + end - start > capacity) return null;
    return bufferView(memory, HEADER_BYTES + from, end - start);
  }

  index(
    separator: Separator,
    start: number,
    resume: number,
    partial: number,
    limit: number,
    max: number,
    out: Uint32Array,
  ): number {
    const length = this.block.words[LENGTH]!;
    if (!isCount(resume, length)) {
      throw outOfRange('index', 'resume', `an integer from 0 to ${length} (the unread bytes)`, resume);
    }
    if (!isCount(start, resume)) throw outOfRange('index', 'start', `an integer from 0 to ${resume} (resume)`, start);
    if (!(limit >= 0)) throw outOfRange('index', 'limit', 'a number of 0 or more', limit);
    if (!(max >= 0)) throw outOfRange('index', 'max', 'a number of 0 or more', max);
    if (out.length < FrameIndex.ENDS) {
      throw outOfRange('index', 'out.length', `${FrameIndex.ENDS} or more`, out.length);
    }
    const most = Math.min(Math.floor(max), out.length - FrameIndex.ENDS);
    return this.search(separator, start, resume, partial, limit, most, out);
  }

  trim(keep: number): void {
    if (!(keep >= 0)) throw outOfRange('trim', 'keep', 'a number of 0 or more', keep);
    this.#reserved = 0;
    const { capacity, words } = this.block;
    const length = words[LENGTH]!;
    if (length === 0) {
      if (capacity > keep) this.#adopt(NO_MEMORY);
      return;
    }
    // Between a quarter and a half there is room to move both ways before the bytes are copied again.
    if (capacity <= Math.max(keep, 4 * length, LEAST_CAPACITY)) return;
    let smaller: Block;
    try {
      smaller = new Block(Math.max(Math.ceil(keep), 2 * length, LEAST_CAPACITY));
    } catch {
      // Without memory for the smaller block the larger one still serves.
      return;
    }
    this.relocate(smaller);
    this.#adopt(smaller);
  }

  /** Copies the `count` bytes of `data` behind the unread bytes and makes them a part of those; there is room. */
  protected append(data: Uint8Array, count: number): void {
    const { words } = this.block;
    this.#put(data, count, words[HEAD]! + words[LENGTH]!);
    words[LENGTH]! += count;
  }

  /** Copies the `count` bytes of `data` in front of the unread bytes and makes them a part of those; there is room. */
  protected prepend(data: Uint8Array, count: number): void {
    const { words, capacity } = this.block;
    const head = words[HEAD]! - count;
    words[HEAD] = head < 0 ? head + capacity : head;
    this.#put(data, count, words[HEAD]);
    words[LENGTH]! += count;
  }

  /** {@link copyTo} with a range that is not empty. */
  protected copyOut(target: Uint8Array, targetStart: number, start: number, end: number): void {
    const { block } = this;
    const { capacity } = block;
    let from = block.words[HEAD]! + start;
    if (from >= capacity) from -= capacity;
    const count = end - start;
    const first = Math.min(count, capacity - from);
    if (count <= LOOP_BYTES) {
      const { data } = block;
      for (let i = 0; i < first; i++) target[targetStart + i] = data[from + i]!;
      for (let i = first; i < count; i++) target[targetStart + i] = data[i - first]!;
      return;
    }
    target.set(block.part(from, first), targetStart);
    if (first < count) target.set(block.part(0, count - first), targetStart + first);
  }

  /** Copies the unread bytes, of which there are some, to the data start of `target`, and sets its cursors. */
  protected relocate(target: Block): void {
    const length = this.block.words[LENGTH]!;
    this.copyOut(target.data, 0, 0, length);
    target.words[HEAD] = 0;
    target.words[LENGTH] = length;
  }

  /** {@link index} with checked arguments; `max` is at most what fits in `out`. */
  protected search(
    separator: Separator,
    start: number,
    resume: number,
    partial: number,
    limit: number,
    max: number,
    out: Uint32Array,
  ): number {
    if (!isCount(partial, separator.carries ? separator.automaton.states - 1 : 0)) {
      throw outOfRange('index', 'partial', 'what an earlier search ended with', partial);
    }
    const length = this.block.words[LENGTH]!;
    const search = new SeparatorSearch(separator, ...this.#segments());
    let count = 0;
    let frame = start;
    let overlongBody = 0;
    let from = resume;
    let next = start;
    let carried = 0;
    while (count < max) {
      const end = search.find(from, from === resume ? partial : 0);
      if (end === NOT_FOUND) {
        carried = search.partial;
        const lookback = separator.carries ? 0 : separator.longest - 1;
        next = Math.max(count === 0 ? resume : frame, length - lookback);
        break;
      }
      const body = end - search.matched - frame;
      if (body > limit) {
        overlongBody = body;
        next = frame;
        break;
      }
      out[FrameIndex.ENDS + count++] = end;
      next = frame = from = end;
    }
    out[FrameIndex.COUNT] = count;
    out[FrameIndex.RESUME] = next;
    out[FrameIndex.PARTIAL] = carried;
    out[FrameIndex.OVERLONG_BODY] = overlongBody;
    return count;
  }

  /** The unread bytes in place: those up to the seam, and those behind it, if there are any. */
  #segments(): [Buffer, Buffer | null] {
    const { capacity, words, memory, data } = this.block;
    const head = words[HEAD]!;
    const length = words[LENGTH]!;
    const front = Math.min(length, capacity - head);
    const first = front === capacity ? data : bufferView(memory, HEADER_BYTES + head, front);
    return [first, front < length ? bufferView(memory, HEADER_BYTES, length - front) : null];
  }

  /** Moves the unread bytes to a block in which `needed` bytes fit; `action` is the method that the errors name. */
  protected grow(action: string, needed: number): void {
    if (needed > MAX_CAPACITY) {
      throw tooLarge(action, needed, new RangeError(`a ring holds at most ${MAX_CAPACITY} bytes`));
    }
    const larger = allocate(action, grownCapacity(this.block.capacity, needed), needed);
    if (this.length > 0) this.relocate(larger);
    this.#adopt(larger);
  }

  #adopt(block: Block): void {
    this.block = block;
    // The region would keep the old block alive.
    this.#region = NO_REGION;
    this.#regionAt = 0;
  }

  /** The free memory behind the unread bytes up to the seam or to their begin, as the region now reserved. */
  #behind(): Uint8Array {
    const { block } = this;
    const { capacity } = block;
    const head = block.words[HEAD]!;
    const tail = head + block.words[LENGTH]!;
    const at = tail >= capacity ? tail - capacity : tail;
    const room = tail >= capacity ? head - at : capacity - at;
    if (this.#regionAt !== at || this.#region.length !== room) {
      this.#region = block.part(at, room);
      this.#regionAt = at;
    }
    this.#reserved = room;
    return this.#region;
  }

  #makeRoom(action: string, count: number): void {
    this.#reserved = 0;
    const { words, capacity } = this.block;
    const length = words[LENGTH]!;
    if (length === 0) words[HEAD] = 0;
    if (count > capacity - length) this.grow(action, length + count);
  }

  /** Copies the `count` bytes of `data` to the offset `at` of the block (at most once around) and on from there, across the seam. */
  #put(data: Uint8Array, count: number, at: number): void {
    const { data: target, capacity } = this.block;
    const offset = at >= capacity ? at - capacity : at;
    const first = Math.min(count, capacity - offset);
    if (count <= LOOP_BYTES) {
      for (let i = 0; i < first; i++) target[offset + i] = data[i]!;
      for (let i = first; i < count; i++) target[i - first] = data[i]!;
    } else if (first === count) {
      target.set(data, offset);
    } else {
      target.set(data.subarray(0, first), offset);
      target.set(data.subarray(first), 0);
    }
  }

  #checkRange(action: string, start: number, end: number): void {
    const length = this.block.words[LENGTH]!;
    if (!isCount(end, length)) {
      throw outOfRange(action, 'end', `an integer from 0 to ${length} (the unread bytes)`, end);
    }
    if (!isCount(start, end)) throw outOfRange(action, 'start', `an integer from 0 to ${end} (end)`, start);
  }
}

/** Whether `value` is an integer from 0 to `most`. */
function isCount(value: number, most: number): boolean {
  // No capacity reaches 2 ** 32, so that the shift loses nothing that may pass.
  return value >>> 0 === value && value <= most;
}

function allocate(action: string, wanted: number, needed: number): Block {
  try {
    return new Block(wanted);
  } catch (error) {
    if (wanted === needed) throw tooLarge(action, needed, error);
    return allocate(action, needed, needed);
  }
}
