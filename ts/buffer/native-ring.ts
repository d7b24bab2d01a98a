/**
 * The ring of the native engine: incoming bytes go to the Rust ring in one call (`append`, `commit`), which also lists their frames and names
 * the region for the next bytes. Operations that only read the block are done here: see `ring.ts`.
 *
 * Room. The header of the block names the region for the next bytes. If an operation needs more than that, the Rust ring slides its
 * bytes, or returns the capacity of a block that has room. That block is allocated here, and the same operation is called again with both
 * blocks: the Rust ring moves over first. An empty ring starts again at the front of its block.
 *
 * A call costs 130 to 190 ns (Node 20, x64), as much as a search of one line in TypeScript, so there is no call for each frame. For the same
 * reason, bytes that fit into the region and are not searched are stored without a call (`Block.store`).
 */
import type { Buffer } from 'node:buffer';
import {
  LENGTH,
  NO_MEMORY,
  REGION,
  ROOM,
  allocateBlock,
  checkKeep,
  checkMin,
  checkReserved,
  grownCapacity,
  trimmedCapacity,
} from './block.js';
import { Lengths } from './lengths.js';
import type { Addon, NativeFraming } from './native.js';
import type { ListedFraming, Listing, Ring } from './ring.js';

export class NativeRing implements Ring {
  readonly #addon: Addon;
  #block = NO_MEMORY;
  /** Bytes of the region that `reserve` returned and that no call has invalidated since. */
  #reserved = 0;

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  get length(): number {
    return this.#block.words[LENGTH]!;
  }

  get capacity(): number {
    return this.#block.capacity;
  }

  get room(): number {
    return this.#block.words[ROOM]!;
  }

  append(data: Uint8Array, listing: Listing | null = null): void {
    this.#reserved = 0;
    const count = data.length;
    if (listing === null && this.#block.store(data)) return;
    if (this.#block.capacity === 0) this.#allocate('append', count);
    const needed = this.#append(data, listing);
    if (needed === 0) return;
    // Only the block and `from` change: the call itself moves the unread bytes over.
    const before = this.#block;
    this.#block = allocateBlock('append', needed, before.words[LENGTH]! + count);
    try {
      this.#append(data, listing, before.bytes);
    } catch (error) {
      this.#block = before;
      throw error;
    }
  }

  reserve(min: number): Uint8Array {
    checkMin(min);
    let block = this.#block;
    if (block.words[LENGTH] === 0) block.startAgain();
    if (block.words[ROOM]! < min) {
      this.#makeRegion(min);
      block = this.#block;
    }
    this.#reserved = block.words[ROOM]!;
    return block.region(block.words[REGION]!, this.#reserved);
  }

  commit(count: number, listing: Listing | null = null): void {
    checkReserved(count, this.#reserved);
    this.#reserved = 0;
    const { bytes } = this.#block;
    if (listing === null) {
      this.#addon.commit(bytes, count);
      return;
    }
    const { framing, words, limit, max } = listing;
    this.#addon.commit(bytes, count, words, this.#framing(framing), limit, max);
  }

  unread(data: Uint8Array): void {
    this.#reserved = 0;
    const count = data.length;
    if (count === 0) return;
    if (this.#block.capacity === 0) this.#allocate('unread', count);
    const before = this.#block;
    const source = lendable(data, before.memory);
    const needed = this.#addon.unread(before.bytes, source);
    if (needed === 0) return;
    const larger = allocateBlock('unread', needed, before.words[LENGTH]! + count);
    this.#addon.unread(larger.bytes, source, before.bytes);
    this.#block = larger;
  }

  consume(count: number): void {
    this.#block.consume(count);
  }

  copyTo(target: Uint8Array, targetStart: number, start: number, end: number): void {
    this.#block.copyTo(target, targetStart, start, end);
  }

  view(start: number, end: number): Buffer | null {
    return this.#block.view(start, end);
  }

  list({ framing, words, limit, max }: Listing): void {
    this.#addon.list(this.#block.bytes, words, this.#framing(framing), limit, max);
  }

  trim(keep: number): void {
    checkKeep(keep);
    this.#reserved = 0;
    const { capacity, bytes } = this.#block;
    const trimmed = trimmedCapacity(capacity, this.length, keep);
    if (trimmed === capacity) return;
    if (trimmed === 0) {
      this.#block = NO_MEMORY;
      return;
    }
    let smaller;
    try {
      smaller = allocateBlock('trim', trimmed, trimmed);
    } catch {
      // If there is no memory for the smaller block, the ring keeps the larger one.
      return;
    }
    this.#addon.reserve(smaller.bytes, 0, bytes);
    this.#block = smaller;
  }

  /** Appends the bytes and lists frames. Returns 0, or the capacity that has room. */
  #append(data: Uint8Array, listing: Listing | null, from?: Uint8Array): number {
    const { bytes, memory } = this.#block;
    try {
      if (listing === null) return this.#addon.append(bytes, data, from);
      const { framing, words, limit, max } = listing;
      return this.#addon.append(bytes, data, from, words, this.#framing(framing), limit, max);
    } catch (error) {
      // Checked only now, because reading `buffer` of a view is a call into the runtime.
      const copy = lendable(data, from === undefined ? memory : (from.buffer as ArrayBuffer));
      if (copy === data) throw error;
      return this.#append(copy, listing, from);
    }
  }

  /** Makes the region at least `min` bytes long. */
  #makeRegion(min: number): void {
    const before = this.#block;
    const needed = before.words[LENGTH]! + min;
    if (before.capacity === 0) {
      this.#allocate('reserve', min);
      return;
    }
    // More than the words of the header can hold is refused before the call.
    const wanted = needed > 2 ** 31 ? needed : this.#addon.reserve(before.bytes, min);
    if (wanted === 0) return;
    const larger = allocateBlock('reserve', wanted, needed);
    this.#addon.reserve(larger.bytes, min, before.bytes);
    this.#block = larger;
  }

  /** Allocates the first block, for `count` bytes: there is nothing to move. */
  #allocate(action: string, count: number): void {
    if (count > 0) this.#block = allocateBlock(action, grownCapacity(0, count), count);
  }

  #framing(framing: ListedFraming): NativeFraming {
    return (framing.native ??= makeFraming(this.#addon, framing));
  }
}

function makeFraming(addon: Addon, framing: ListedFraming): NativeFraming {
  if (!(framing instanceof Lengths)) return addon.Separator(framing.sequences);
  const { field, offset, adjust, least, maxLengthBytes } = framing;
  return addon.Lengths(field, offset, adjust, least, maxLengthBytes);
}

/** `data`, or a copy of it: the native engine accepts neither memory that overlaps the block nor memory that another thread can write to. */
function lendable(data: Uint8Array, block: ArrayBuffer): Uint8Array {
  const { buffer } = data;
  return buffer === block || !(buffer instanceof ArrayBuffer) ? Uint8Array.from(data) : data;
}
