/** A stream that its caller has given to another user: a `Duplex`, or web streams. Only that user reads and writes it then. */
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
