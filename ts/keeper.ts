/** What the halves of a stream ask of it, so that it is there as long as they need it; see stream/stream-link.ts. */

/** Why a stream must stay although its user may have let go of it; flags. */
export const Hold = Object.freeze({
  /** A read waits. */
  READ: 1,
  /** Bytes are on their way, or a call waits for that. */
  WRITE: 2,
  /** The stream is closing. */
  CLOSE: 4,
} as const);
export type Hold = (typeof Hold)[keyof typeof Hold];

/** What the two halves of a stream ask of it; by holding it each half keeps the whole. */
export interface Keeper {
  hold(reason: Hold): void;
  release(reason: Hold): void;
  /** This side begins to close the connection. */
  closing(): void;
}
