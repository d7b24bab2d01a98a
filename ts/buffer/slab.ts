/**
 * Memory for results. Small results are allocated, one after another, from slabs of {@link SLAB_BYTES}. No part of a slab is written
 * twice, so a result never changes. Keeping a 10-byte result keeps at most one slab alive.
 */
import { Buffer } from 'node:buffer';
import * as workerThreads from 'node:worker_threads';

/** The most memory that one small result keeps alive. (Node's own pool may be larger, and its size belongs to the program.) */
export const SLAB_BYTES = 8192;

/** From this size on, a result owns its memory: allocating it from a slab would waste too much of the slab. */
const OWN_BYTES = SLAB_BYTES / 2;

/** Memory that views are created of; its `ArrayBuffer` is kept because reading `buffer` of a view is a call into the runtime. */
export interface Slab {
  readonly bytes: Buffer;
  readonly memory: ArrayBufferLike;
  readonly offset: number;
}

// Node has it. Bun and Deno have it only in newer versions.
const mark = (workerThreads as Partial<typeof workerThreads>).markAsUntransferable;

/**
 * Prevents the transfer of memory that several results, or results and their reader, share: if it moved to another thread with one of
 * them, all others would become empty. `postMessage` with such memory in its transfer list copies it (Node 20) or throws (from 21 on),
 * as it does for Node's own buffer pool.
 */
export function shareMemory(memory: ArrayBufferLike): void {
  mark?.(memory);
}

/** Uninitialised memory of `size` bytes, to be shared by the results that are allocated from it. Throws what `Buffer.allocUnsafeSlow` throws. */
export function allocateSlab(size: number): Slab {
  const bytes = Buffer.allocUnsafeSlow(size);
  shareMemory(bytes.buffer);
  return { bytes, memory: bytes.buffer, offset: bytes.byteOffset };
}

let slab: Slab = allocateSlab(SLAB_BYTES);
let used = 0;

function nextSlab(): void {
  slab = allocateSlab(SLAB_BYTES);
  used = 0;
}

/** Uninitialised memory for a result of `size` bytes. Throws what `Buffer.allocUnsafeSlow` throws. */
export function allocateResult(size: number): Buffer {
  if (size >= OWN_BYTES) return Buffer.allocUnsafeSlow(size);
  if (size > SLAB_BYTES - used) nextSlab();
  let result: Buffer;
  try {
    result = bufferView(slab.memory, slab.offset + used, size);
  } catch (error) {
    if (slab.memory.byteLength > 0) throw error;
    // The owner of a result has detached the slab with `transfer()`, which the mark does not prevent. Other reads must not fail.
    nextSlab();
    return allocateResult(size);
  }
  // Eight-byte steps, so that a caller can create any typed array over a result.
  used = (used + size + 7) & ~7;
  return result;
}

type BufferView = new (memory: ArrayBufferLike, byteOffset: number, length: number) => Buffer;

/**
 * A `Buffer` over a part of `memory`, the same as `Buffer.from(memory, byteOffset, length)` returns, for less than half the time: the class
 * of Node's buffers is the species of `Buffer`. In a runtime with another species, the documented call is used.
 */
export const bufferView: (memory: ArrayBufferLike, byteOffset: number, length: number) => Buffer = (() => {
  const species: unknown = (Buffer as unknown as Record<symbol, unknown>)[Symbol.species];
  if (typeof species === 'function') {
    try {
      const View = species as BufferView;
      const probe: unknown = new View(slab.memory, slab.offset + 1, 2);
      if (Buffer.isBuffer(probe) && Object.getPrototypeOf(probe) === Buffer.prototype && probe.length === 2) {
        return (memory, byteOffset, length) => new View(memory, byteOffset, length);
      }
    } catch {
      // Not a class that creates views: the documented call is used.
    }
  }
  return (memory, byteOffset, length) => Buffer.from(memory as ArrayBuffer, byteOffset, length);
})();
