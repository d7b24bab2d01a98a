/**
 * The unread bytes of a reader, and who may touch the memory they are in. Nothing else knows where in the ring a position is.
 *
 * Positions. `position` is the oldest byte that no read has taken, `base` the oldest byte in the ring. They differ because the ring
 * learns of taken bytes late (`settle`): a call to the ring for each frame would cost more than the frame. The count goes on until
 * `restart`, which a search calls, so the ends that it lists stay valid while frames are taken and bytes come in.
 *
 * Memory in other hands. Frames that are lent to the caller must not be overwritten, and neither must memory that the transport reads
 * into. A ring in either use is not returned to the pool; if it is about to be written to, the unread bytes move to another ring
 * (`#moveOn`), and the old one is left alone until that use ends.
 */
import { Buffer } from 'node:buffer';
import { createRing } from '../buffer/engine.js';
import { openStore, recycle, type Store } from '../buffer/pool.js';
import type { Ring } from '../buffer/ring.js';
import { allocateResult } from '../buffer/slab.js';
import { tooLarge } from '../errors.js';
import { Fill } from './fill.js';
import type { Frames } from './frames.js';

/** From this capacity on it is worth asking whether a ring is needed. */
const SPACIOUS = 32768;

const EMPTY = Buffer.alloc(0);

export class ReceiveBuffer {
  /** The ring, and the words of the listing over it; null while there is nothing to keep. */
  store: Store | null = null;
  /** The oldest byte that was not taken. Only this class writes it. */
  position = 0;
  #base = 0;

  /** Frames in memory of a ring: until the next read begins, that ring is neither written to nor rearranged. */
  #loan: Frames | null = null;
  #lent: Store | null = null;
  /** Where the first of them begins; once the base has moved on, the ring has dropped what is lent. */
  #lentAt = 0;
  /** Whether some of them were made unread again, so that the ring has dropped those before. */
  #unlent = false;
  /** Whether all unread bytes are shown in place: until the next read begins, they stay where they are. */
  #shown = false;

  /** Memory that the transport holds to read into, and what it is a part of; null when that was replaced since. */
  #target: Uint8Array | null = null;
  #targetOwner: Ring | Fill | null = null;

  /** Unread bytes. */
  get length(): number {
    const { store } = this;
    return store === null ? 0 : store.ring.length - (this.position - this.#base);
  }

  /** The ring, made if there is none. */
  open(): Store {
    return (this.store ??= openStore());
  }

  /** Has the ring drop what was taken, and gives a drained ring back, unless it is `kept` for what comes next. */
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

  /** Returns a drained ring to the pool, unless the transport has memory of it. */
  #giveBack(store: Store): void {
    if (this.#targetOwner === store.ring) return;
    this.store = null;
    recycle(store);
  }

  /** Counts from 0 again, at the oldest byte that was not taken. No position from before may be used after it. */
  restart(): void {
    this.settle(true);
    this.#base = this.position = 0;
  }

  // ---------------------------------------------------------------------------------------------- bytes at any place

  /** Copies the next `size` bytes to the front of `target`. They are not taken. */
  copyTo(target: Uint8Array, size: number): void {
    const from = this.position - this.#base;
    this.store?.ring.copyTo(target, 0, from, from + size);
  }

  /** A copy of the next `size` bytes, which are not taken. */
  copy(size: number): Buffer {
    const result = allocate(size);
    this.copyTo(result, size);
    return result;
  }

  /** Takes the next `size` bytes as a result. As {@link advance}. */
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

  /** Takes the next `size` bytes, and restarts the count: for reads that do not go by listed frames. */
  advance(size: number): void {
    const { store } = this;
    if (store === null) return;
    const { ring } = store;
    ring.consume(this.position - this.#base + size);
    this.#base = this.position = 0;
    if (ring.length === 0) this.#giveBack(store);
  }

  /** Puts a copy of `data` before the unread bytes. Listed ends are wrong after it. */
  putBack(data: Uint8Array): void {
    this.#leaveTarget();
    this.settle(true);
    this.open().ring.unread(data);
  }

  // ---------------------------------------------------------------------------------------------- bytes in one piece

  /** All unread bytes in place, in one piece; only until bytes come in or are taken. Positions count from 0 at their begin. */
  inOnePiece(): Buffer {
    this.restart();
    const { store } = this;
    if (store === null) return EMPTY;
    const size = store.ring.length;
    const view = store.ring.view(0, size);
    if (view !== null) return view;
    // Twice the room: at least as many bytes come in before the wrap point is reached again, and pay for this copy.
    this.#moveOn({ ring: createRing(), words: store.words }, 2 * size);
    return (this.store as unknown as Store).ring.view(0, size) as Buffer;
  }

  /** The same until the next read begins, also while bytes come in. */
  show(): Buffer {
    this.endLoan();
    const bytes = this.inOnePiece();
    this.#shown = true;
    return bytes;
  }

  // ---------------------------------------------------------------------------------------------- bytes by position

  /** Everything before `end` was taken. {@link settle} is left to the caller. */
  passed(end: number): void {
    this.position = end;
  }

  copyOut(target: Uint8Array, from: number, to: number): void {
    this.store?.ring.copyTo(target, 0, from - this.#base, to - this.#base);
  }

  /** The bytes from `from` to `to`: in place where they are in one piece, otherwise as a copy. */
  inPlace(from: number, to: number): Buffer {
    const { ring } = this.store as Store;
    const view = ring.view(from - this.#base, to - this.#base);
    if (view !== null) return view;
    const copy = allocateResult(to - from);
    this.copyOut(copy, from, to);
    return copy;
  }

  // ---------------------------------------------------------------------------------------------- memory in other hands

  /** Whether frames are lent: their memory, and the words that list them, must stay as they are. */
  get lends(): boolean {
    return this.#loan !== null;
  }

  /** Takes the bytes before `end`, which `frames` shows in place, until {@link endLoan}. At EOF there are none. */
  lend(frames: Frames, end = 0): void {
    this.endLoan();
    this.#loan = frames;
    if (end === 0) return;
    this.#lent = this.store;
    this.#lentAt = this.#base;
    this.position = end;
  }

  /**
   * Makes the lent bytes from `at` on, counted from the first lent one, unread again: where the ring has them still. Otherwise false, and
   * they are to be put back.
   */
  unlend(at: number): boolean {
    if (this.#lent === null || this.#lent !== this.store || this.#unlent) return false;
    // Bytes that were read into the free part of the ring have had it drop the lent ones.
    if (this.#base !== this.#lentAt) return false;
    this.position = this.#base + at;
    this.#unlent = true;
    return true;
  }

  /** A read begins: lent frames expire, and their memory is free again. */
  endLoan(): void {
    this.#shown = false;
    const loan = this.#loan;
    if (loan === null) return;
    const lent = this.#lent;
    loan.expire();
    this.#loan = this.#lent = null;
    this.#unlent = false;
    // Left already. If the transport still has memory of it, no other reader may write to it.
    if (lent !== null && lent !== this.store && lent.ring !== this.#targetOwner) {
      lent.ring.consume(lent.ring.length);
      recycle(lent);
    }
  }

  /** Makes sure that the ring may be written to although frames are lent. `room`: what is about to be read into it. */
  leaveLoan(room: number): void {
    const { store } = this;
    if (store === null || store !== this.#lent) return;
    // Words of its own: the ends of the lent frames are in those of the old ring.
    if (this.length === 0) this.#leave();
    else this.#moveOn(openStore(), room);
  }

  /** The same for memory that the transport holds: it is in the free part, where the ring is about to write. */
  #leaveTarget(): void {
    const { store } = this;
    if (store === null || !this.targets(store.ring)) return;
    this.#moveOn({ ring: createRing(), words: store.words }, 0);
    // What the transport still reads into it is copied from there: see `commit` of the reader.
    this.#targetOwner = null;
  }

  /** Goes on in another ring, which has the unread bytes; positions stay as they are. */
  #moveOn(fresh: Store, room: number): void {
    const { ring } = this.store as Store;
    const size = this.length;
    if (size > 0) {
      ring.copyTo(fresh.ring.reserve(Math.max(size, room)), 0, ring.length - size, ring.length);
      fresh.ring.commit(size);
    }
    this.#leave();
    this.store = fresh;
  }

  #leave(): void {
    this.store = null;
    this.#base = this.position;
  }

  /** Makes the ring ready to be written to. `room` as for {@link leaveLoan}. */
  openToWrite(room: number): Store {
    this.leaveLoan(room);
    this.#leaveTarget();
    this.settle(true);
    return this.open();
  }

  // ---------------------------------------------------------------------------------------------- read targets

  /** Memory that the transport holds to read into, as it got it last. */
  get target(): Uint8Array | null {
    return this.#target;
  }

  /** Whether that memory belongs to the fill, or to the ring that is in use now. */
  targets(owner: Fill | Ring | undefined): boolean {
    return owner !== undefined && this.#targetOwner === owner;
  }

  /** Whether the transport was last given memory of a fill. */
  get targetsFill(): boolean {
    return this.#targetOwner instanceof Fill;
  }

  /** The transport no longer holds memory to read into. */
  dropTarget(): void {
    this.#target = null;
    this.#targetOwner = null;
  }

  /** Has the transport read into what is still missing of a fill. */
  targetFill(fill: Fill): Uint8Array {
    this.#targetOwner = fill;
    return (this.#target = fill.target.subarray(fill.filled));
  }

  /** Has the transport read into the ring, at least `least` and at most `most` bytes; `room` as for {@link leaveLoan}. */
  targetRing(least: number, most: number, room: number): Uint8Array {
    this.leaveLoan(room);
    this.settle(true);
    let { ring } = this.open();
    if (this.#shown && ring.room < least) {
      // It would slide the bytes that are shown.
      this.#moveOn({ ring: createRing(), words: this.open().words }, ring.length + least);
      ({ ring } = this.open());
    }
    const region = ring.reserve(least);
    this.#targetOwner = ring;
    return (this.#target = region.length > most ? region.subarray(0, most) : region);
  }

  // ---------------------------------------------------------------------------------------------- memory that is not needed

  /** Whether the ring is much larger than what is in it. */
  isSpacious(): boolean {
    const ring = this.store?.ring;
    return ring !== undefined && ring.capacity >= SPACIOUS && ring.length < ring.capacity / 8;
  }

  /** Gives back memory that the unread bytes do not need; returns whether it could, which it cannot while the transport has some. */
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
