/** What the two halves of a stream need from it, so that it is not collected while they depend on it; see stream/stream-link.ts. */
import type { Transport } from './transports/transport.js';

/** Why a stream is retained although the caller may have dropped it; flags. */
export const Retain = Object.freeze({
  /** A read waits. */
  READ: 1,
  /** Bytes are being sent, or a call waits for that. */
  WRITE: 2,
  /** The stream is closing. */
  CLOSE: 4,
  /** The handler of a server, to which the stream was passed, has not settled. */
  HANDLER: 8,
} as const);
export type Retain = (typeof Retain)[keyof typeof Retain];

/** A stream, as its reading half sees it. */
export interface ReadKeeper {
  /** What the bytes come from; null if they come from no connection. */
  readonly transport: Transport | null;
  /** Keeps the stream from being collected until {@link release} is called with the same reason. */
  retain(reason: Retain): void;
  release(reason: Retain): void;
}

/** A stream, as its two halves see it. Each half refers to it, so a caller who keeps one half keeps the stream. */
export interface Keeper extends ReadKeeper {
  /** What carries the bytes. It may be replaced while a reservation is at the head of the writes and no batch is in flight. */
  readonly transport: Transport;
  /**
   * If the bytes that came in last, of all streams, were this stream's, and a read waits for more: a number of their arrival, never 0. The
   * program has then probably answered them. Otherwise 0.
   */
  readonly answered: number;
  /** This side begins to close the connection. */
  closing(): void;
  /** This side aborts the connection with an error. Unlike after {@link closing}, reads end with the error, when it is reported. */
  failing(): void;
}
