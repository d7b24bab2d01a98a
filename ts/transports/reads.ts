/**
 * The two ways of reading from a stream, `DataReads` (`data-reads.ts`) and `DirectReads` (`direct-reads.ts`), as the transport sees them,
 * and the transport as they see it.
 */

/** A way of reading. It belongs to one transport. */
export interface Reads {
  readonly path: 'data' | 'direct';
  /** Begins to read. Called at most once. */
  start(): void;
  pause(): void;
  /** Also called without {@link start}, when a transport closes: what comes in is dropped then. */
  resume(): void;
  /** Delivers what the stream holds because reading was paused. Reading stays paused. */
  deliver(): void;
  /** As {@link deliver}, for a stream that has failed or is about to be destroyed; it is not read again. */
  deliverLast(): void;
  /** Reads nothing more from the stream, which is closed or belongs to another reader from now on. */
  stop(): void;
}

/** What received bytes are delivered to: the transport. An answer of `false` means that reading has to stop. */
export interface Receiver {
  /** Whether received bytes are dropped, because this side is closing. If so, counts `count` of them. */
  drops(count: number): boolean;
  /** Memory of the sink to read into, or null. `ahead` as in `TransportSink.readTarget`. */
  readTarget(ahead: boolean): Uint8Array | null;
  /** The first `count` bytes of the last read target were filled. */
  filled(count: number): boolean;
  /** Bytes in memory that is reused. */
  received(chunk: Uint8Array): boolean;
  /** Ends the connection with an error. */
  failed(error: unknown): void;
}
