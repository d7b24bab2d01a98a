/**
 * Memory for results. Small ones are cut, one behind the other, out of slabs of {@link SLAB_BYTES}: a slab is never written
 * twice, so a result never changes under its owner, and keeping a 10-byte result keeps at most one slab alive.
 */
import { Buffer } from 'node:buffer';
import * as workerThreads from 'node:worker_threads';

/** The most memory that one small result keeps alive. (Node's own pool may be larger, and its size is not ours to set.) */
export const SLAB_BYTES = 8192;

/** From this size on a result owns its memory: cutting it from a slab would throw too much of the slab away. */
const OWN_BYTES = SLAB_BYTES / 2;

/** Memory of which views are made; its `ArrayBuffer` is kept because to ask a view for it is a call into the runtime. */
export interface Slab {
  readonly bytes: Buffer;
  readonly memory: ArrayBufferLike;
  readonly offset: number;
}

// Not everywhere: Node has it, and what Bun and Deno export under `node:worker_threads` has grown over time.
const mark = (workerThreads as Partial<typeof workerThreads>).markAsUntransferable;

/**
 * Keeps memory that several results, or results and their reader, lie in from being moved to another thread with one of them: all
 * others would be empty at once. `postMessage` with such memory in its list of transfers copies it (Node 20) or throws (from 21 on), as
 * for the pool that Node cuts its own buffers from.
 */
export function shareMemory(memory: ArrayBufferLike): void {
  mark?.(memory);
}

/** Uninitialised memory of `size` bytes, to be shared by what is cut from it. Throws what `Buffer.allocUnsafeSlow` throws. */
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
    // An owner of a result has detached it by `transfer()`, which no mark forbids. That is not to fail the reads of all others.
    nextSlab();
    return allocateResult(size);
  }
  // Eight-byte steps, so that a caller can lay a typed array over a result.
  used = (used + size + 7) & ~7;
  return result;
}

type BufferView = new (memory: ArrayBufferLike, byteOffset: number, length: number) => Buffer;

/**
 * A `Buffer` over a part of `memory`, as `Buffer.from(memory, byteOffset, length)` gives, at less than half of its price: the class that
 * Node makes buffers of is what `Buffer` names as its species. A runtime that names another one gets the documented call.
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
      // Not a class that makes views: the documented call serves.
    }
  }
  return (memory, byteOffset, length) => Buffer.from(memory as ArrayBuffer, byteOffset, length);
})();
