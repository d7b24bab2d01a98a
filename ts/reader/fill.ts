/**
 * The result of a large read while it is being filled. It bypasses the ring: the transport reads directly into it, or chunks are copied
 * into it. If the read is cancelled, the reader puts the bytes back into the ring.
 */
import { Buffer } from 'node:buffer';
import { tooLarge } from '../errors.js';

export class Fill {
  /** The bytes that have arrived are at its start. */
  target: Buffer;
  filled = 0;

  /**
   * @param growing - whether the target grows as needed, until EOF
   * @param least - the smallest size that it grows to
   */
  private constructor(
    target: Buffer,
    readonly growing: boolean,
    readonly least: number,
  ) {
    this.target = target;
  }

  /** A result of exactly `n` bytes. Throws what `Buffer.allocUnsafeSlow` throws. */
  static of(n: number): Fill {
    return new Fill(Buffer.allocUnsafeSlow(n), false, n);
  }

  /** A result that grows until EOF, to `least` bytes or more. */
  static untilEof(least: number): Fill {
    return new Fill(Buffer.alloc(0), true, least);
  }

  /**
   * Makes room for `size` bytes, and at least doubles the room, so that copying stays linear in the length of the stream.
   *
   * @throws RangeError `ERR_BUFFER_TOO_LARGE`
   */
  grow(size: number): void {
    const capacity = Math.max(size, 2 * this.target.length, this.least);
    let target: Buffer;
    try {
      target = Buffer.allocUnsafeSlow(capacity);
    } catch (error) {
      throw tooLarge('read', capacity, error);
    }
    target.set(this.target.subarray(0, this.filled));
    this.target = target;
  }

  /** Copies as much of the chunk as fits; returns the rest of it. */
  take(chunk: Uint8Array): Uint8Array {
    const size = Math.min(chunk.length, this.target.length - this.filled);
    this.target.set(size === chunk.length ? chunk : chunk.subarray(0, size), this.filled);
    this.filled += size;
    return chunk.subarray(size);
  }

  /** The bytes that have arrived, in memory of about their size. */
  compact(): Buffer {
    const { target, filled } = this;
    return filled >= (target.length / 4) * 3 ? target.subarray(0, filled) : Buffer.from(target.subarray(0, filled));
  }
}
