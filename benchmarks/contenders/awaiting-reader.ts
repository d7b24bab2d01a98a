/**
 * The common part of the hand-written line readers with await: the events of the socket, the wait for them, and the loop that is
 * timed. Each reader decides how it stores chunks and splits them into lines.
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

  /** Stores a chunk that has arrived. */
  protected abstract push(chunk: Buffer): void;

  /** Resolves when a chunk, the end or an error arrives. */
  protected arrival(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = null;
  }
}

interface LineReader {
  /** The next line including its end; at EOF the rest, and then null. */
  readline(): Promise<Buffer | null>;
}

/** Reads a connection to its end with a `Reader`, and prints the answer. */
export async function receive(Reader: new (socket: Socket) => LineReader): Promise<void> {
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

/** The length of a frame's length. */
export const HEADER_BYTES = 4;

interface FrameReader {
  /** The next frame with its length, then null. */
  readframe(): Promise<Buffer | null>;
}

/** The same for frames with their length at the front. */
export async function receiveFrames(Reader: new (socket: Socket) => FrameReader): Promise<void> {
  const socket = connect({ host: '127.0.0.1', port });
  await once(socket, 'connect');
  const start = now();
  const reader = new Reader(socket);
  let frames = 0;
  let bytes = 0;
  for (;;) {
    const frame = await reader.readframe();
    if (frame === null) break;
    frames++;
    bytes += frame.length - HEADER_BYTES;
    digest?.frame(frame.subarray(HEADER_BYTES));
  }
  answer(frames, bytes, now() - start);
  socket.destroy();
}
