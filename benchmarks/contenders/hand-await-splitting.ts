/**
 * A line splitter with an awaiting front: it turns a chunk into lines as soon as it comes, and `readline()` takes them from an
 * array, without being an async function. That is the fastest that was found for Node without native code, at a price: it
 * can read lines alone (no other separator, no exact count, nothing in between), and a line has no limit.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { answer, digest, now, port } from './program.js';

const LF = 10;
const HIGH_WATERMARK = 128 * 1024;
const LOW_WATERMARK = 64 * 1024;

class LineReader {
  readonly #socket: Socket;
  #lines: Buffer[] = [];
  #next = 0;
  /** The chunks of a line whose end has not come. */
  #rest: Buffer[] = [];
  /** How many bytes the lines hold that nobody has asked for. */
  #size = 0;
  #ended = false;
  #paused = false;
  #error: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#push(chunk));
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
  readline(): Promise<Buffer | null> {
    const line = this.#lines[this.#next];
    return line === undefined ? this.#wait() : Promise.resolve(this.#take(line));
  }

  async #wait(): Promise<Buffer | null> {
    for (;;) {
      const line = this.#lines[this.#next];
      if (line !== undefined) return this.#take(line);
      if (this.#error) throw this.#error;
      if (this.#ended) {
        const rest = Buffer.concat(this.#rest);
        this.#rest = [];
        return rest.length > 0 ? rest : null;
      }
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = null;
    }
  }

  #take(line: Buffer): Buffer {
    this.#next++;
    this.#size -= line.length;
    if (this.#paused && this.#size <= LOW_WATERMARK) {
      this.#paused = false;
      this.#socket.resume();
    }
    return line;
  }

  #push(chunk: Buffer): void {
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
      this.#socket.pause();
    }
    this.#wake?.();
  }
}

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
const reader = new LineReader(socket);
let lines = 0;
let bytes = 0;
for (;;) {
  const line = await reader.readline();
  if (line === null) break;
  lines++;
  bytes += line.length - 1;
  digest?.frame(line.subarray(0, -1));
}
answer(lines, bytes, now() - start);
socket.destroy();
