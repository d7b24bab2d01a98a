/**
 * The unread bytes of a reader, and who may use the memory that holds them. Only this file knows where in the ring a position is.
 *
 * Positions. `position` is the oldest byte that no read has taken, `base` the oldest byte in the ring. They differ because the ring drops
 * the bytes that were taken later, in one call (`settle`): a call to the ring for each frame would cost more than the frame. Counting
 * continues until `restart`, which a search calls. So the ends that the search lists stay valid while frames are taken and bytes arrive.
 *
 * Memory that others use. Frames that are lent to the caller must not be overwritten, and neither must memory that the transport reads
 * into. A ring in either use is not returned to the pool. If it is about to be written to, the unread bytes move to another ring
 * (`#moveOn`), and the old one stays unchanged until that use ends.
 *
 * A drained ring is returned to the pool by `#giveBack`; one that was lent and has been replaced since, by `endLoan`.
 */
import { Buffer } from 'node:buffer';
import { createRing } from '../buffer/engine.js';
import { acquireRing, releaseRing, type PooledRing } from '../buffer/pool.js';
import type { Ring } from '../buffer/ring.js';
import { allocateResult } from '../buffer/slab.js';
import { tooLarge } from '../errors.js';
import { Fill } from './fill.js';
import type { Frames } from './frames.js';

/** From this capacity on, it is worth checking whether the ring is larger than necessary. */
const SPACIOUS = 32768;

const EMPTY = Buffer.alloc(0);

export class ReceiveBuffer {
  /** The ring, and the words of the listing over it; null while there is nothing to store. */
  store: PooledRing | null = null;
  /** The oldest byte that no read has taken. Only this class changes it. */
  position = 0;
  #base = 0;

  /** Frames that are lent: until the next read begins, their ring is neither written to nor rearranged. */
  #loan: Frames | null = null;
  #lent: PooledRing | null = null;
  /** The position where the first of them begins. Once `base` is beyond it, the ring has dropped the lent bytes. */
  #lentAt = 0;
  /** Whether some of them were made unread again: the frames before those count as taken. */
  #unlent = false;
  /** Whether the caller sees all unread bytes in place: until the next read begins, they must not move. */
  #shown = false;
  /** Whether the caller has ever asked to see them: it will again. */
  #shows = false;

  /** The memory that the transport is about to read into, and what it belongs to; null if that has been replaced since. */
  #target: Uint8Array | null = null;
  #targetOwner: Ring | Fill | null = null;

  /** The number of unread bytes. */
  get length(): number {
    const { store } = this;
    return store === null ? 0 : store.ring.length - (this.position - this.#base);
  }

  /** The ring; if there is none, one from the pool. */
  open(): PooledRing {
    return (this.store ??= acquireRing());
  }

  /** Makes the ring drop the bytes that were taken, and returns a drained ring to the pool, unless it is `kept` for the next bytes. */
  settle(kept = false): void {
    const { store } = this;
    if (store === null) return;
    const taken = this.position - this.#base;
    if (taken > 0) {
      store.ring.consume(taken);
      this.#base = this.position;
    }
    if (!kept && store.ring.length === 0) this.#giveBack(store);
  }

  /** Returns a drained ring to the pool, unless the transport may still read into it. */
  #giveBack(store: PooledRing): void {
    if (this.#targetOwner === store.ring) return;
    this.store = null;
    releaseRing(store);
  }

  /** Restarts counting: the oldest byte that no read has taken is position 0. Earlier positions must not be used any more. */
  restart(): void {
    this.settle(true);
    this.#base = this.position = 0;
  }

  // ---------------------------------------------------------------------------------------------- bytes at any place

  /** Copies the next `size` bytes to the start of `target`, without taking them. */
  copyTo(target: Uint8Array, size: number): void {
    const from = this.position - this.#base;
    this.store?.ring.copyTo(target, 0, from, from + size);
  }

  /** Returns a copy of the next `size` bytes, without taking them. */
  copy(size: number): Buffer {
    const result = allocate(size);
    this.copyTo(result, size);
    return result;
  }

  /** Takes the next `size` bytes and returns a copy of them; otherwise the same as {@link advance}. */
  take(size: number): Buffer {
    const { store } = this;
    if (store === null || size === 0) return EMPTY;
    const { ring } = store;
    const result = allocate(size);
    const from = this.position - this.#base;
    ring.copyTo(result, 0, from, from + size);
    ring.consume(from + size);
    this.#base = this.position = 0;
    if (ring.length === 0) this.#giveBack(store);
    return result;
  }

  /** Takes the next `size` bytes and restarts counting: for reads that do not use listed frames. */
  advance(size: number): void {
    const { store } = this;
    if (store === null) return;
    const { ring } = store;
    ring.consume(this.position - this.#base + size);
    this.#base = this.position = 0;
    if (ring.length === 0) this.#giveBack(store);
  }

  /** Puts a copy of `data` before the unread bytes. Ends that were listed before are wrong afterwards. */
  putBack(data: Uint8Array): void {
    this.#leaveTarget();
    this.settle(true);
    this.open().ring.unread(data);
  }

  // ---------------------------------------------------------------------------------------------- bytes in one piece

  /**
   * Adds a copy of a chunk to the ring that {@link openToWrite} has returned, without listing frames. A caller of {@link show} will want all
   * bytes in one piece: if the chunk does not fit after the unread bytes, and they are fewer, they are moved to the start of the ring now,
   * because otherwise all would have to be moved later.
   */
  append(chunk: Uint8Array): void {
    const { ring } = this.store as PooledRing;
    if (!this.#shows || this.#shown || ring.room >= chunk.length || ring.length > chunk.length) {
      ring.append(chunk, null);
      return;
    }
    ring.reserve(chunk.length).set(chunk);
    ring.commit(chunk.length);
  }

  /** All unread bytes in place, in one piece, valid until bytes arrive or are taken. Restarts counting. */
  inOnePiece(): Buffer {
    this.restart();
    const { store } = this;
    if (store === null) return EMPTY;
    const size = store.ring.length;
    const view = store.ring.view(0, size);
    if (view !== null) return view;
    // Twice the size: at least as many bytes as are copied here must arrive before the next copy.
    this.#moveRing(store, 2 * size);
    return (this.store as unknown as PooledRing).ring.view(0, size) as Buffer;
  }

  /** The same, but valid until the next read begins, even if bytes arrive. */
  show(): Buffer {
    this.endLoan();
    const bytes = this.inOnePiece();
    this.#shown = true;
    this.#shows = true;
    return bytes;
  }

  // ---------------------------------------------------------------------------------------------- bytes by position

  /** Marks everything before `end` as taken. The caller calls {@link settle}. */
  passed(end: number): void {
    this.position = end;
  }

  copyOut(target: Uint8Array, from: number, to: number): void {
    this.store?.ring.copyTo(target, 0, from - this.#base, to - this.#base);
  }

  /** The bytes from `from` to `to`: in place if they are in one piece, otherwise as a copy. */
  inPlace(from: number, to: number): Buffer {
    const { ring } = this.store as PooledRing;
    const view = ring.view(from - this.#base, to - this.#base);
    if (view !== null) return view;
    const copy = allocateResult(to - from);
    this.copyOut(copy, from, to);
    return copy;
  }

  // ---------------------------------------------------------------------------------------------- lent memory

  /** Whether frames are lent: neither their memory nor the words that list them may change. */
  get lends(): boolean {
    return this.#loan !== null;
  }

  /** Takes the bytes before `end` and lends them to `frames`, which shows them in place, until {@link endLoan}. At EOF there are none. */
  lend(frames: Frames, end = 0): void {
    this.endLoan();
    this.#loan = frames;
    if (end === 0) return;
    this.#lent = this.store;
    this.#lentAt = this.#base;
    this.position = end;
  }

  /**
   * Makes the lent bytes from `at` on, counted from the first lent byte, unread again if the ring still has them. Otherwise it returns
   * false, and the caller has to put them back.
   */
  unlend(at: number): boolean {
    if (this.#lent === null || this.#lent !== this.store || this.#unlent) return false;
    // When bytes were read into the free part of the ring, it dropped the lent ones.
    if (this.#base !== this.#lentAt) return false;
    this.position = this.#base + at;
    this.#unlent = true;
    return true;
  }

  /** A read begins: lent frames expire, and their memory can be reused. */
  endLoan(): void {
    this.#shown = false;
    const loan = this.#loan;
    if (loan === null) return;
    const lent = this.#lent;
    loan.expire();
    this.#loan = this.#lent = null;
    this.#unlent = false;
    // The reader uses another ring by now. While the transport may still read into this one, no other reader may have it.
    if (lent !== null && lent !== this.store && lent.ring !== this.#targetOwner) {
      lent.ring.consume(lent.ring.length);
      releaseRing(lent);
    }
  }

  /** If frames are lent, continues in another ring, which may be written to. `room`: how many bytes are about to be read into it. */
  leaveLoan(room: number): void {
    const { store } = this;
    if (store === null || store !== this.#lent) return;
    // With other words: those of the old ring contain the ends of the lent frames.
    if (this.length === 0) this.#leave();
    else this.#moveOn(acquireRing(), room);
  }

  /** The same if the transport is about to read into the ring: that memory is in the free part, where the ring would write. */
  #leaveTarget(): void {
    const { store } = this;
    if (store === null || !this.targets(store.ring)) return;
    this.#moveRing(store, 0);
    // Bytes that the transport still reads into it are copied from there: see `commit` of the reader.
    this.#targetOwner = null;
  }

  /** Continues in another ring, with the unread bytes; positions stay the same. */
  #moveOn(fresh: PooledRing, room: number): void {
    const { ring } = this.store as PooledRing;
    const size = this.length;
    if (size > 0) {
      ring.copyTo(fresh.ring.reserve(Math.max(size, room)), 0, ring.length - size, ring.length);
      fresh.ring.commit(size);
    }
    this.#leave();
    this.store = fresh;
  }

  /** The same with the words of `store`, in which ends may be listed. */
  #moveRing(store: PooledRing, room: number): void {
    this.#moveOn({ ring: createRing(), words: store.words }, room);
  }

  #leave(): void {
    this.store = null;
    this.#base = this.position;
  }

  /** Returns a ring that may be written to. `room` as for {@link leaveLoan}. */
  openToWrite(room: number): PooledRing {
    this.leaveLoan(room);
    this.#leaveTarget();
    this.settle(true);
    return this.open();
  }

  // ---------------------------------------------------------------------------------------------- read targets

  /** The memory that the transport received last to read into. */
  get target(): Uint8Array | null {
    return this.#target;
  }

  /** Whether that memory belongs to the fill, or to the ring that is in use now. */
  targets(owner: Fill | Ring | undefined): boolean {
    return owner !== undefined && this.#targetOwner === owner;
  }

  /** Whether the transport last received memory of a fill. */
  get targetsFill(): boolean {
    return this.#targetOwner instanceof Fill;
  }

  /** The transport no longer has memory to read into. */
  dropTarget(): void {
    this.#target = null;
    this.#targetOwner = null;
  }

  /** Returns the part of a fill that is still empty, for the transport to read into. */
  targetFill(fill: Fill): Uint8Array {
    this.#targetOwner = fill;
    return (this.#target = fill.target.subarray(fill.filled));
  }

  /**
   * Returns memory of the ring for the transport to read into, from `least` to `most` bytes; `room` as for {@link leaveLoan}. Returns null
   * if bytes that the caller sees would have to move. The caller will usually have taken most of them when the next chunk arrives, so copying
   * that chunk is cheaper than moving all of them to another ring now.
   */
  targetRing(least: number, most: number, room: number): Uint8Array | null {
    this.leaveLoan(room);
    this.settle(true);
    const { ring } = this.open();
    if (this.#shown && ring.room < least) return null;
    const region = ring.reserve(least);
    this.#targetOwner = ring;
    return (this.#target = region.length > most ? region.subarray(0, most) : region);
  }

  // ---------------------------------------------------------------------------------------------- unneeded memory

  /** Whether the ring is much larger than its unread bytes. */
  isSpacious(): boolean {
    const ring = this.store?.ring;
    return ring !== undefined && ring.capacity >= SPACIOUS && ring.length < ring.capacity / 8;
  }

  /** Releases memory that the unread bytes do not need. Returns false if it could not, because the transport may read into the ring. */
  trim(): boolean {
    const { store } = this;
    if (store === null || store.ring === this.#targetOwner) return false;
    this.settle(true);
    store.ring.trim(0);
    return true;
  }
}

function allocate(size: number): Buffer {
  try {
    return allocateResult(size);
  } catch (error) {
    throw tooLarge('read', size, error);
  }
}
