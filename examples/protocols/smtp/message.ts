/** The message that follows DATA: lines, of which a single dot is the last. Without a socket. */

const DOT = 0x2e;
const CR = 0x0d;
const CR_DOT = Buffer.from('\r.');

/** Why a message is refused. */
export type Problem = 'too large' | 'bare line end';

export class MessageReader {
  /** The bytes of the message so far. */
  size = 0;
  readonly #maxSize: number;
  /** Whether there was a line feed without a carriage return before it, or one of these alone next to a dot that could end a message. */
  #bareLineEnd = false;

  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /** Null while the message is valid. */
  get problem(): Problem | null {
    if (this.#bareLineEnd) return 'bare line end';
    return this.size > this.#maxSize ? 'too large' : null;
  }

  /**
   * Takes lines, until the one that ends the message.
   *
   * @param bytes - the lines, each with the line feed that ends it
   * @param ends - where each of them ends
   * @param pieces - receives the bytes of the message, in place: all that is between two dots to be removed is one piece
   * @returns how many lines belong to the message, including its last; -1 if all do, and more will follow
   */
  lines(bytes: Buffer, ends: Uint32Array, pieces: Buffer[]): number {
    const count = ends.length;
    let start = 0;
    // Where the piece begins.
    let from = 0;
    for (let i = 0; i < count; i++) {
      const end = (ends[i] as number) | 0;
      if (bytes[end - 2] !== CR || end - start < 2) this.#bareLineEnd = true;
      else if (bytes[start] === DOT) {
        this.#add(bytes, from, start, pieces);
        from = start + 1;
        if (end - start === 3) {
          this.#searchDots(bytes, end);
          return i + 1;
        }
        if (bytes[from] === CR) this.#bareLineEnd = true;
      }
      start = end;
    }
    this.#searchDots(bytes, start);
    this.#add(bytes, from, start, pieces);
    return -1;
  }

  /** After a dot, the carriage return has been checked. Each line ends with a line feed, so none of these is cut in two. */
  #searchDots(bytes: Buffer, end: number): void {
    const at = bytes.indexOf(CR_DOT);
    if (at !== -1 && at < end) this.#bareLineEnd = true;
  }

  #add(bytes: Buffer, from: number, to: number, pieces: Buffer[]): void {
    if (from === to) return;
    this.size += to - from;
    pieces.push(bytes.subarray(from, to));
  }
}
