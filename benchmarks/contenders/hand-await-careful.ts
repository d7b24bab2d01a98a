/**
 * The hand-written awaiting reader with every care: `Buffer.concat` only for a line that spans two chunks, a search that looks
 * at no byte twice, one view a line and an offset for the rest, and back-pressure.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { answer, digest, now, port } from './program.js';

const LF = 10;
const HIGH_WATERMARK = 128 * 1024;
const LOW_WATERMARK = 64 * 1024;

class LineReader {
  readonly #socket: Socket;
  /** What is not read yet begins at #start; no line ends before #searched. */
  #buffer: Buffer = Buffer.alloc(0);
  #start = 0;
  #searched = 0;
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
  async readline(): Promise<Buffer | null> {
    for (;;) {
      const end = this.#buffer.indexOf(LF, this.#searched);
      if (end !== -1) return this.#take(end + 1);
      this.#searched = this.#buffer.length;
      if (this.#error) throw this.#error;
      if (this.#ended) return this.#start < this.#buffer.length ? this.#take(this.#buffer.length) : null;
      if (this.#paused) this.#resume();
      await new Promise<void>((resolve) => (this.#wake = resolve));
      this.#wake = null;
    }
  }

  #take(end: number): Buffer {
    const line = this.#buffer.subarray(this.#start, end);
    this.#start = this.#searched = end;
    if (this.#paused && this.#buffer.length - end <= LOW_WATERMARK) this.#resume();
    return line;
  }

  #push(chunk: Buffer): void {
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
      this.#socket.pause();
    }
    this.#wake?.();
  }

  #resume(): void {
    this.#paused = false;
    this.#socket.resume();
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
