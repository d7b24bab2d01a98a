/** A stream that its caller has given to another user: a `Duplex`, or web streams. Only that user reads and writes it then. */
import { StateError } from '../errors.js';
import type { StreamReader } from '../reader/reader.js';
import type { StreamWriter } from '../writer/writer.js';
import type { Stream } from './stream.js';

/** What the new user of a stream needs. */
export interface HandedOver {
  /** For facts about the connection, and to close it. */
  readonly stream: Stream;
  /** Null if the stream does not have that direction. */
  readonly reader: StreamReader | null;
  readonly writer: StreamWriter | null;
  /** Resolves when the connection has ended. Rejects with the reason if it was lost. */
  whenEnded(): Promise<void>;
  /** Ends the writing side after everything that was written; reading continues. Over TLS, too. */
  endWriting(): Promise<void>;
  /** Reading ends as if the peer had ended its side: what was received, and what follows, is dropped. */
  endReading(): void;
}

/** Which call has handed a stream over. Few streams are, so that most do not pay for a field. */
const calls = new WeakMap<Stream, string>();

/** @param call - which call hands the stream over; null if it has failed to */
export function markHandedOver(stream: Stream, call: string | null): void {
  if (call === null) calls.delete(stream);
  else calls.set(stream, call);
}

/** Which call has handed the stream over, or null. */
export function handedOverBy(stream: Stream): string | null {
  return calls.get(stream) ?? null;
}

/** The error of a call on a stream that was handed over; null if it was not. */
export function wasHandedOver(stream: Stream, action: string): StateError | null {
  const by = handedOverBy(stream);
  return by === null
    ? null
    : new StateError('ERR_STREAM_HANDED_OVER', `${action}: the stream was handed over by ${by}()`);
}
