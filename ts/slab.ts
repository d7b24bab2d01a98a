/**
 * Memory for results. Small ones are cut, one behind the other, out of slabs of {@link SLAB_BYTES}: a slab is never written
 * twice, so a result never changes under its owner, and keeping a 10-byte result keeps at most one slab alive.
 */
import { Buffer } from 'node:buffer';

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

/** Uninitialised memory of `size` bytes. Throws what `Buffer.allocUnsafeSlow` throws. */
export function allocateSlab(size: number): Slab {
  const bytes = Buffer.allocUnsafeSlow(size);
  return { bytes, memory: bytes.buffer, offset: bytes.byteOffset };
}

let slab: Slab = allocateSlab(SLAB_BYTES);
let used = 0;

/** Uninitialised memory for a result of `size` bytes. Throws what `Buffer.allocUnsafeSlow` throws. */
export function allocateResult(size: number): Buffer {
  if (size >= OWN_BYTES) return Buffer.allocUnsafeSlow(size);
  if (size > SLAB_BYTES - used) {
    slab = allocateSlab(SLAB_BYTES);
    used = 0;
  }
  const start = used;
  // Eight-byte steps, so that a caller can lay a typed array over a result.
  used = (start + size + 7) & ~7;
  return bufferView(slab.memory, slab.offset + start, size);
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
