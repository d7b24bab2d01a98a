/** How a stream has ended: by EOF, by an error, or by both. A reader has none while more bytes may arrive. */
export class Ending {
  /** Whether EOF has arrived. Bytes may still be unread. */
  eof: boolean;
  /** The error that ended the stream; after EOF, one that came later. */
  error: Error | null;
  /** Whether a read has rejected with the error, so that the caller knows of it. */
  hasThrown = false;

  constructor(eof: boolean, error: Error | null) {
    this.eof = eof;
    this.error = error;
  }

  /** Whether the stream has ended by EOF. Otherwise it throws the error: the caller has used every byte that it could. */
  reached(): boolean {
    if (this.eof || this.error === null) return this.eof;
    this.hasThrown = true;
    throw this.error;
  }

  /** What is left without the EOF. */
  withoutEof(): Ending | null {
    this.eof = false;
    return this.error === null ? null : this;
  }
}
