/**
 * The hand-written await reader, optimised: `Buffer.concat` only for lines that span chunks, a search that looks at no byte
 * twice, one view per line and an offset for the rest, and back-pressure.
 */
import { AwaitingReader, receive } from './awaiting-reader.js';

const LF = 10;
const HIGH_WATERMARK = 128 * 1024;
const LOW_WATERMARK = 64 * 1024;

class LineReader extends AwaitingReader {
  /** Unread bytes begin at #start, and no line ends between there and #searched. */
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #searched = 0;
  #paused = false;

  async readline(): Promise<Buffer | null> {
    for (;;) {
      const end = this.#buffer.indexOf(LF, this.#searched);
      if (end !== -1) return this.#take(end + 1);
      this.#searched = this.#buffer.length;
      if (this.error) throw this.error;
      if (this.ended) return this.#start < this.#buffer.length ? this.#take(this.#buffer.length) : null;
      if (this.#paused) this.#resume();
      await this.arrival();
    }
  }

  #take(end: number): Buffer {
    const line = this.#buffer.subarray(this.#start, end);
    this.#start = this.#searched = end;
    if (this.#paused && this.#buffer.length - end <= LOW_WATERMARK) this.#resume();
    return line;
  }

  protected push(chunk: Buffer): void {
    if (this.#start === this.#buffer.length) {
      this.#buffer = chunk;
      this.#searched = 0;
    } else {
      this.#buffer = Buffer.concat([this.#buffer.subarray(this.#start), chunk]);
      this.#searched -= this.#start;
    }
    this.#start = 0;
    if (this.#buffer.length > HIGH_WATERMARK) {
      this.#paused = true;
      this.socket.pause();
    }
  }

  #resume(): void {
    this.#paused = false;
    this.socket.resume();
  }
}

await receive(LineReader);
