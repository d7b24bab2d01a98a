/**
 * The internal side of a reader: what the stream, the loops over lines and the watch on idle readers call. Callers of the package see
 * only `StreamReader`; `readerIntake(reader)` in `reader.ts` returns this object.
 *
 *     transport ---> StreamLink ---> Stream ---> ReaderIntake ---> the private methods of StreamReader
 *
 * The reader pauses its source in one way only: `feed` or `commit` returns `false`. It never pauses a source between two chunks, so
 * after a cancelled read or an `unread` one more chunk may arrive. It resumes the source through {@link Flow}.
 */
import type { Buffer } from 'node:buffer';
import type { ReadKeeper } from '../keeper.js';
import type { Spacious } from './idle.js';
import type { LineSource } from './lines.js';

/** The source of the bytes, as far as the reader controls it: a transport. */
export interface Flow {
  /** Goes on after `feed` or `commit` has returned `false`. May be called while the source is not paused. */
  resumeReading(): void;
}

/** The sizes, in bytes, that decide how bytes are read. Tests set them low to reach every case with little data. */
export interface ReaderTuning {
  /** A waiting read of at least this size is filled by the transport itself and bypasses the ring. */
  readonly largeRead: number;
  /** A chunk of at least this size means that the source has more than fits into the transport's own memory. */
  readonly fullChunk: number;
  /** How much the transport reads at once into the ring of a stream whose source is busy. The ring grows to have room for it. */
  readonly directRead: number;
  /** The most that it reads at once, if there is room and the caller reads as fast as bytes arrive. */
  readonly directMost: number;
}

/** The most that one direct read brings. Twice as much would make short frames cheaper by a tenth, and those from 64 KiB on by a fifth. */
const DIRECT_BYTES = 262144;

/** The sizes outside of tests. */
export const TUNING: ReaderTuning = Object.freeze({
  largeRead: 65536,
  fullChunk: 65536,
  directRead: 65536,
  directMost: DIRECT_BYTES,
});

/** See the top of this file. One object for each reader. */
export interface ReaderIntake extends LineSource, Spacious {
  /** Connects the source, which is resumed through `flow`, and the stream that owns the reader, if any: it is retained while a read waits. */
  attach(flow: Flow, keeper?: ReadKeeper): void;

  /** See `TransportSink.readTarget`. */
  readTarget(ahead?: boolean): Uint8Array | null;
  /** See `TransportSink.commit`. */
  commit(count: number): boolean;
  /** See `TransportSink.feed`. */
  feed(chunk: Uint8Array): boolean;
  /** See `ReadingSink.readsAhead`. */
  readonly readsAhead: boolean;

  /** Whether EOF has arrived. Bytes may still be unread. */
  readonly eof: boolean;
  /** Whether a read has rejected with the error that ended the stream, so that the caller knows of it. */
  readonly hasThrown: boolean;
  /** Whether a read waits that has received nothing yet, not even a part. False while {@link lockReads} holds reads back. */
  readonly waitsEmpty: boolean;

  /**
   * Drops all unread bytes, also those that a waiting read has gathered. Frames and windows that the caller has stay valid. The caller
   * ends reading afterwards.
   */
  dropUnread(): void;

  /** See `StreamStats`. */
  readonly framesRead: number;
  readonly timePaused: number;

  /** See `WatchedStream`. */
  readonly waiting: boolean;
  readonly unfinished: number;

  /**
   * Prevents every read from starting, as a waiting read does, until {@link unlockReads}: the bytes that follow have another meaning.
   *
   * @param action - the call that errors of refused reads name
   * @throws StateError `ERR_CONCURRENT_READ` if a read waits
   */
  lockReads(action: string): void;
  unlockReads(): void;
  /**
   * From now on all reads are {@link StreamReader.read}: see `ReadAhead.handsOut`.
   *
   * @returns the most bytes that a chunk can have
   */
  handOut(): number;
  /** A copy of the first `n` unread bytes, or of fewer. They stay unread. */
  preview(n: number): Buffer;
  /** Takes back all unread bytes and the EOF, as if they had never arrived. */
  withdraw(): Buffer;

  /** For tests: replaces the sizes. */
  tune(tuning: ReaderTuning): void;
}
