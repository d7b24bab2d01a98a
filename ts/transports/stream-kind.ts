/**
 * What a transport has to know about the stream below it, where the streams of Node differ.
 *
 * A kind has no state: one object describes all streams of that kind, and its functions take the stream.
 */
import type { Duplex, Readable, Writable } from 'node:stream';
import { connectionError, lossOf } from '../system-errors.js';
import type { Reads, Receiver } from './data-reads.js';

/** A stream that a transport can use. */
export type NodeStream = Duplex | Readable | Writable;

/** What a stream has failed with, or null. */
export function failureOf(stream: NodeStream): Error | null {
  const { errored } = stream;
  return errored === null ? null : lossOf(errored);
}

/** Whether nothing can be read from a stream, or written to it, any more. */
export function isBroken(stream: NodeStream): boolean {
  // A write that fails at once sets `errored` before the stream is destroyed.
  return stream.destroyed || stream.errored !== null;
}

/** See the top of this file. */
export interface StreamKind {
  /** How the stream is read. Absent: through `'data'` events. */
  reads?(stream: Readable, receiver: Receiver): Reads;
  /**
   * Writes bytes whose memory is reused once `written` has been called. `Writable.write` does not report when a stream has stopped using
   * a chunk, so this must know.
   */
  write(stream: Writable, data: Uint8Array, written?: (error?: Error | null) => void): void;
  /** Whether {@link writeAtOnce} may be used. Absent, with that, if it never may. */
  canWriteAtOnce?(stream: Writable): boolean;
  /**
   * Passes bytes to the kernel faster than {@link write} does, if it accepts all of them at once. If the result is false, the caller must call
   * {@link write} with the same bytes immediately.
   */
  writeAtOnce?(stream: Writable, data: Uint8Array): boolean;
  /** Whether a stream that is used in both directions can end one of them. Absent if it always can. */
  hasHalfClose?(stream: NodeStream): boolean;
  /** How many of the bytes written the kernel has accepted, or null if that is not known. */
  accepted(stream: NodeStream): number | null;
  /** How many bytes the kernel still has to send, or null if it cannot be asked. */
  unsent(stream: NodeStream): number | null;
  /**
   * Reads what the kernel still holds for a stream of which a write has just failed. Absent if this is never possible.
   *
   * @param received - gets each chunk, in memory that is reused, and null for the end of what TLS decrypts
   * @returns whether the kernel has reported the end after the last byte
   */
  readRest?(stream: NodeStream, received: (chunk: Uint8Array | null) => void): boolean;
  /** Whether the end that the stream has just reported may be a reset. If so, an `'error'` follows with the next poll for input. */
  endMayBeReset(stream: NodeStream): boolean;
  /** How long a close waits for the peer's end once everything is sent, in ms. null: only as long as the peer could lose something. */
  readonly endTimeout: number | null;
  /** Whether `'close'` is certain to be emitted. It is not if a stream was made with `emitClose: false`. */
  readonly emitsClose: boolean;
  /** Whether a stream that is used for writing alone stays open after that while something can still be read from it. */
  readonly outlivesWriting: boolean;
  /** The error to report for what the stream has failed with. */
  lossError(reason: Error, peer: string | undefined): Error;
}

/** The most bytes that a stream gets in one chunk. Progress shows only by whole chunks. */
const CHUNK_BYTES = 65536;

/** Any stream of Node: what the public API of `Readable`, `Writable` and `Duplex` offers, nothing else. */
export const NODE_STREAM: StreamKind = {
  write(stream, data, written) {
    // A copy, because a stream may keep a chunk for as long as it likes after it has called back, as a `PassThrough` does.
    const bytes = Buffer.from(data);
    let from = 0;
    for (; bytes.length - from > CHUNK_BYTES; from += CHUNK_BYTES) {
      stream.write(bytes.subarray(from, from + CHUNK_BYTES));
    }
    stream.write(from === 0 ? bytes : bytes.subarray(from), written);
  },
  accepted: () => null,
  unsent: () => null,
  endMayBeReset: () => false,
  endTimeout: null,
  emitsClose: false,
  // A `Transform`, such as `zlib.createGzip()`, has accepted all input before all of its output has been read. It destroys itself after
  // that; destroying it earlier would cut off the rest.
  outlivesWriting: true,
  lossError: connectionError,
};
