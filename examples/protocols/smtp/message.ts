/** The message that follows DATA: lines, of which a single dot is the last. Without a socket. */

const DOT = 0x2e;
const CR = 0x0d;

export class MessageReader {
  readonly #maxSize: number;
  #pieces: Buffer[] = [];
  #size = 0;
  #bareLineFeed = false;

  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  /**
   * Takes lines, until the one that ends the message.
   *
   * @param bytes - the lines, each with the line feed that ends it
   * @param ends - where each of them ends
   * @returns how many lines belong to the message, including its last; -1 if all do, and more will follow
   */
  lines(bytes: Buffer, ends: Uint32Array): number {
    const count = ends.length;
    let start = 0;
    // Where the bytes begin that are not copied yet: everything between two dots to be removed is copied at once.
    let from = 0;
    for (let i = 0; i < count; i++) {
      const end = (ends[i] as number) | 0;
      if (bytes[end - 2] !== CR || end - start < 2) this.#bareLineFeed = true;
      else if (bytes[start] === DOT) {
        this.#copy(bytes, from, start);
        from = start + 1;
        if (end - start === 3) return i + 1;
      }
      start = end;
    }
    this.#copy(bytes, from, start);
    return -1;
  }

  /** The message, in the pieces in which it arrived, or why it is refused. */
  get result(): { pieces: readonly Buffer[]; size: number } | 'too large' | 'bare line feed' {
    if (this.#size > this.#maxSize) return 'too large';
    if (this.#bareLineFeed) return 'bare line feed';
    return { pieces: this.#pieces, size: this.#size };
  }

  #copy(bytes: Buffer, from: number, to: number): void {
    if (from === to) return;
    this.#size += to - from;
    // What is refused in the end is not kept.
    if (this.#size > this.#maxSize || this.#bareLineFeed) this.#pieces = [];
    else this.#pieces.push(Buffer.from(bytes.subarray(from, to)));
  }
}
