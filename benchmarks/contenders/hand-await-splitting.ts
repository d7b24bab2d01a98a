/**
 * A line splitter with await: it splits each chunk into lines on arrival, and `readline()` takes them from an array, without
 * being an async function. This is the fastest method found for Node without native code, at a price: it can only read lines (no
 * other separator, no exact number of bytes, no mixture), and their length is not limited.
 */
import { AwaitingReader, receive } from './awaiting-reader.js';

const LF = 10;
const HIGH_WATERMARK = 128 * 1024;
const LOW_WATERMARK = 64 * 1024;

class LineReader extends AwaitingReader {
  #lines: Buffer[] = [];
  #next = 0;
  /** The chunks of a line whose end has not arrived. */
  #rest: Buffer[] = [];
  /** The number of bytes in the lines that have not been read. */
  #size = 0;
  #paused = false;

  readline(): Promise<Buffer | null> {
    const line = this.#lines[this.#next];
    return line === undefined ? this.#wait() : Promise.resolve(this.#take(line));
  }

  async #wait(): Promise<Buffer | null> {
    for (;;) {
      const line = this.#lines[this.#next];
      if (line !== undefined) return this.#take(line);
      if (this.error) throw this.error;
      if (this.ended) {
        const rest = Buffer.concat(this.#rest);
        this.#rest = [];
        return rest.length > 0 ? rest : null;
      }
      await this.arrival();
    }
  }

  #take(line: Buffer): Buffer {
    this.#next++;
    this.#size -= line.length;
    if (this.#paused && this.#size <= LOW_WATERMARK) {
      this.#paused = false;
      this.socket.resume();
    }
    return line;
  }

  protected push(chunk: Buffer): void {
    if (this.#next === this.#lines.length) {
      this.#lines = [];
      this.#next = 0;
    }
    let start = 0;
    for (let end = chunk.indexOf(LF); end !== -1; end = chunk.indexOf(LF, start)) {
      let line: Buffer = chunk.subarray(start, end + 1);
      if (this.#rest.length > 0) {
        line = Buffer.concat([...this.#rest, line]);
        this.#rest = [];
      }
      this.#lines.push(line);
      this.#size += line.length;
      start = end + 1;
    }
    if (start < chunk.length) this.#rest.push(chunk.subarray(start));
    if (this.#size > HIGH_WATERMARK) {
      this.#paused = true;
      this.socket.pause();
    }
  }
}

await receive(LineReader);
