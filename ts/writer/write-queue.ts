/**
 * Data that was written and not sent yet: one batch, which is passed to the transport in one call.
 *
 * Small pieces are copied, one after another, into a slab; large ones are kept by reference. A batch owns its slabs from the first write
 * until the kernel has accepted all of it. It then returns to the thread's pool, with one slab, for the next writer. So a write of a few
 * bytes allocates nothing, and a writer that has nothing to send owns nothing.
 *
 *     pool ---empty---> filled ---send---> in flight ---giveBack---> pool
 */
import { Buffer } from 'node:buffer';
import { allocateSlab, bufferView, type Slab } from '../buffer/slab.js';
import type { Transport } from '../transports/transport.js';

/** Pieces up to this size are copied. */
export const COPY_BYTES = 4096;

/** The size of the slabs for small pieces, and how many of them the thread keeps. */
const SLAB_BYTES = 16384;
const POOLED_SLABS = 64;

const NOTHING: readonly never[] = [];

/** Each of these has at most one slab; further slabs of a batch return to `spareSlabs`. */
const spareBatches: WriteBatch[] = [];
const spareSlabs: Slab[] = [];

/** Pieces that are sent together. */
export class WriteBatch {
  /** Finished pieces; the bytes of the slab from `#start` to `#end` follow them. */
  #pieces: Uint8Array[] | null = null;
  #slab: Slab | null = null;
  #start = 0;
  #end = 0;
  /** The last view of the slab from its beginning: short messages often have the length of the one before. */
  #first: Buffer | null = null;
  /** Full slabs, which pieces refer to. */
  #full: Slab[] | null = null;

  /** An empty batch, from the pool if there is one. */
  static empty(): WriteBatch {
    return spareBatches.pop() ?? new WriteBatch();
  }

  /** Adds bytes, which are not empty: copied up to {@link COPY_BYTES}, otherwise by reference. */
  addBytes(data: Uint8Array): void {
    const size = data.length;
    if (size > COPY_BYTES) {
      this.#endPiece();
      (this.#pieces ??= []).push(data);
      return;
    }
    const slab = this.#slab !== null && SLAB_BYTES - this.#end >= size ? this.#slab : this.#nextSlab();
    slab.bytes.set(data, this.#end);
    this.#end += size;
  }

  /**
   * Adds a string, which is not empty, as UTF-8.
   *
   * @returns its size in bytes
   */
  addString(text: string): number {
    // A UTF-16 code unit is at most three bytes of UTF-8. Counting is only worth it if that might not fit.
    let most = text.length * 3;
    if (most > SLAB_BYTES - this.#end) most = Buffer.byteLength(text);
    if (most > COPY_BYTES * 3) {
      this.#endPiece();
      const bytes = Buffer.from(text);
      (this.#pieces ??= []).push(bytes);
      return bytes.length;
    }
    const slab = this.#slab !== null && SLAB_BYTES - this.#end >= most ? this.#slab : this.#nextSlab();
    const size = slab.bytes.write(text, this.#end);
    this.#end += size;
    return size;
  }

  /** Passes everything to the transport; the result and `done` are those of `Transport.write`. */
  send(transport: Transport, done: () => void): boolean {
    if (this.#pieces === null && this.#slab !== null) return transport.write(this.#inSlab(this.#slab), done);
    this.#endPiece();
    const pieces = this.#pieces ?? NOTHING;
    this.#pieces = null;
    return pieces.length === 1 ? transport.write(pieces[0]!, done) : transport.writev(pieces, done);
  }

  /** The bytes are no longer needed. The batch must not be used after this call. */
  giveBack(): void {
    this.#pieces = null;
    this.#start = 0;
    this.#end = 0;
    if (this.#full !== null) {
      for (const slab of this.#full) if (hasRoom()) spareSlabs.push(slab);
      this.#full = null;
    }
    if (this.#slab !== null && hasRoom()) spareBatches.push(this);
  }

  /** Makes the bytes in the slab a piece, so that another piece can follow it. */
  #endPiece(): void {
    if (this.#slab === null || this.#end === this.#start) return;
    (this.#pieces ??= []).push(this.#inSlab(this.#slab));
    this.#start = this.#end;
  }

  /** The bytes in the slab, which were written after the last piece. */
  #inSlab({ memory, offset }: Slab): Buffer {
    const size = this.#end - this.#start;
    if (this.#start > 0) return bufferView(memory, offset + this.#start, size);
    if (this.#first?.length !== size) this.#first = bufferView(memory, offset, size);
    return this.#first;
  }

  #nextSlab(): Slab {
    this.#endPiece();
    if (this.#slab !== null) (this.#full ??= []).push(this.#slab);
    this.#start = 0;
    this.#end = 0;
    this.#first = null;
    this.#slab = spareSlabs.pop() ?? allocateSlab(SLAB_BYTES);
    return this.#slab;
  }
}

function hasRoom(): boolean {
  return spareBatches.length + spareSlabs.length < POOLED_SLABS;
}
