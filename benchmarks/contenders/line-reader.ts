/**
 * The await reader as people usually write it by hand: `'data'` events collected with `Buffer.concat`, `indexOf`, one `subarray`
 * for the line and one for the rest. The targets of the project were set against this reader.
 */
import { AwaitingReader } from './awaiting-reader.js';

const LF = 10;

export class LineReader extends AwaitingReader {
  #buffer: Buffer = Buffer.alloc(0);

  protected push(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
  }

  async readline(): Promise<Buffer | null> {
    for (;;) {
      const end = this.#buffer.indexOf(LF);
      if (end !== -1) return this.#take(end + 1);
      if (this.error) throw this.error;
      if (this.ended) return this.#buffer.length > 0 ? this.#take(this.#buffer.length) : null;
      await this.arrival();
    }
  }

  #take(end: number): Buffer {
    const line = this.#buffer.subarray(0, end);
    this.#buffer = this.#buffer.subarray(end);
    return line;
  }
}
