/**
 * What the awaiting line readers that are written by hand have in common: the events of the socket, the wait for them, and
 * the loop that is timed. How a reader keeps what comes, and makes lines of it, is its own.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

import { answer, digest, now, port } from './program.js';

export abstract class AwaitingReader {
  protected ended = false;
  protected error: Error | null = null;
  #wake: (() => void) | null = null;

  constructor(protected readonly socket: Socket) {
    socket.on('data', (chunk: Buffer) => {
      this.push(chunk);
      this.#notify();
    });
    socket.on('end', () => {
      this.ended = true;
      this.#notify();
    });
    socket.on('error', (error) => {
      this.error = error;
      this.#notify();
    });
  }

  /** The next line with its end, the rest at EOF, then null. */
  abstract readline(): Promise<Buffer | null>;

  /** Keeps a chunk that has come. */
  protected abstract push(chunk: Buffer): void;

  /** Resolves when something has come: a chunk, the end or an error. */
  protected arrival(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

/** Reads a connection to its end by a reader of `Reader`, and prints the answer. */
export async function receive(Reader: new (socket: Socket) => AwaitingReader): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  const start = now();
  const reader = new Reader(socket);
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
}
