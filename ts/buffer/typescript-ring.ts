/**
 * The ring in TypeScript.
 *
 * Growth: the unread bytes slide to the front when at least as many bytes were consumed since they last moved, so each
 * consumed byte pays for at most one moved byte; otherwise they move to a block of at least twice the size. Both cost a
 * constant time for each byte that passes through.
 */
import type { Buffer } from 'node:buffer';
import {
  HEAD,
  HEADER_BYTES,
  LENGTH,
  LOOP_BYTES,
  NO_MEMORY,
  allocateBlock,
  checkKeep,
  checkMin,
  checkReserved,
  grownCapacity,
  trimmedCapacity,
  type Block,
} from './block.js';
import { listFrames } from './list-frames.js';
import type { Listing, Ring } from './ring.js';
import { bufferView } from './slab.js';

export class TypeScriptRing implements Ring {
  #block = NO_MEMORY;
  /** Bytes of the region that `reserve` returned and that no call has invalidated since. */
  #reserved = 0;

  get length(): number {
    return this.#block.words[LENGTH]!;
  }

  get capacity(): number {
    return this.#block.capacity;
  }

  get room(): number {
    const { words, capacity } = this.#block;
    const tail = words[HEAD]! + words[LENGTH]!;
    return tail < capacity ? capacity - tail : capacity - words[LENGTH]!;
  }

  append(data: Uint8Array, listing: Listing | null = null): void {
    const count = data.length;
    this.#makeRoom('append', count);
    if (count > 0) {
      const { words } = this.#block;
      this.#put(data, count, words[HEAD]! + words[LENGTH]!);
      words[LENGTH]! += count;
    }
    if (listing !== null) this.list(listing);
  }

  reserve(min: number): Uint8Array {
    checkMin(min);
    const { words, capacity } = this.#block;
    const length = words[LENGTH]!;
    if (length === 0) words[HEAD] = 0;
    const head = words[HEAD]!;
    const tail = head + length;
    // If the bytes reach the wrap point, all free memory is in one piece.
    const scattered = tail < capacity && capacity - tail < min;
    if (scattered && length <= head && capacity - length >= min) {
      this.#block.data.copyWithin(0, head, tail);
      words[HEAD] = 0;
    } else if (scattered || capacity - length < min) {
      this.#grow('reserve', length + min);
    }
    return this.#region();
  }

  commit(count: number, listing: Listing | null = null): void {
    checkReserved(count, this.#reserved);
    this.#reserved = 0;
    this.#block.words[LENGTH]! += count;
    if (listing !== null) this.list(listing);
  }

  unread(data: Uint8Array): void {
    const count = data.length;
    this.#makeRoom('unread', count);
    if (count === 0) return;
    const { words, capacity } = this.#block;
    const head = words[HEAD]! - count;
    words[HEAD] = head < 0 ? head + capacity : head;
    this.#put(data, count, words[HEAD]);
    words[LENGTH]! += count;
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

  list(listing: Listing): void {
    listFrames(listing, ...this.#segments());
  }

  trim(keep: number): void {
    checkKeep(keep);
    this.#reserved = 0;
    const { capacity } = this.#block;
    const trimmed = trimmedCapacity(capacity, this.length, keep);
    if (trimmed === capacity) return;
    if (trimmed === 0) {
      this.#block = NO_MEMORY;
      return;
    }
    try {
      this.#moveTo(allocateBlock('trim', trimmed, trimmed));
    } catch {
      // If there is no memory for the smaller block, the ring keeps the larger one.
    }
  }

  #grow(action: string, needed: number): void {
    this.#moveTo(allocateBlock(action, grownCapacity(this.#block.capacity, needed), needed));
  }

  /** Copies the unread bytes to the front of `target`, which becomes the block. */
  #moveTo(target: Block): void {
    const { length } = this;
    this.#block.copyTo(target.data, 0, 0, length);
    target.words[LENGTH] = length;
    this.#block = target;
  }

  /** Reserves the free memory after the unread bytes, up to the wrap point or the oldest unread byte. */
  #region(): Uint8Array {
    const { capacity, words } = this.#block;
    const head = words[HEAD]!;
    const tail = head + words[LENGTH]!;
    const at = tail >= capacity ? tail - capacity : tail;
    this.#reserved = tail >= capacity ? head - at : capacity - at;
    return this.#block.region(at, this.#reserved);
  }

  #makeRoom(action: string, count: number): void {
    this.#reserved = 0;
    const { words, capacity } = this.#block;
    const length = words[LENGTH]!;
    if (length === 0) words[HEAD] = 0;
    if (count > capacity - length) this.#grow(action, length + count);
  }

  /** Copies the `count` bytes of `data` to the block from the offset `at` on, which may be past the wrap point once. */
  #put(data: Uint8Array, count: number, at: number): void {
    const { data: target, capacity } = this.#block;
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

  /** The unread bytes in place: those up to the wrap point, and those after it, or null. */
  #segments(): [Buffer, Buffer | null] {
    const { capacity, words, memory, data } = this.#block;
    const head = words[HEAD]!;
    const length = words[LENGTH]!;
    const front = Math.min(length, capacity - head);
    const first = front === capacity ? data : bufferView(memory, HEADER_BYTES + head, front);
    return [first, front < length ? bufferView(memory, HEADER_BYTES, length - front) : null];
  }
}
