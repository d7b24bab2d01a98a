/**
 * The awaiting line reader that people write by hand: `'data'` events gathered by `Buffer.concat`, `indexOf`, and a
 * `subarray` for the line and one for the rest. It is the reader that the figures of the design were taken against.
 */
import type { Socket } from 'node:net';

const LF = 10;

export class LineReader {
  #buffer: Buffer = Buffer.alloc(0);
  #ended = false;
  #error: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
      this.#wake?.();
    });
    socket.on('end', () => {
      this.#ended = true;
      this.#wake?.();
    });
    socket.on('error', (error) => {
      this.#error = error;
      this.#wake?.();
    });
  }

  /** The next line with its end, the rest at EOF, then null. */
  async readline(): Promise<Buffer | null> {
    for (;;) {
      const end = this.#buffer.indexOf(LF);
      if (end !== -1) return this.#take(end + 1);
      if (this.#error) throw this.#error;
      if (this.#ended) return this.#buffer.length > 0 ? this.#take(this.#buffer.length) : null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = null;
    }
  }

  #take(end: number): Buffer {
    const line = this.#buffer.subarray(0, end);
    this.#buffer = this.#buffer.subarray(end);
    return line;
  }
}
