/** The common part of the contenders that read in several ways: what they count, two of the ways, and the measurement. */
import { connect, IncompleteReadError, type Stream } from 'sluice';

import { answer, cpuSince, digest, now, port, word } from './program.js';

/** Ways to read everything up to EOF, by their names. */
export type Ways = Readonly<Record<string, (stream: Stream) => Promise<void>>>;

let messages = 0;
let bytes = 0;

/** Receives the content of a message. */
export function take(content: Buffer | string): void {
  messages++;
  bytes += content.length;
  digest?.frame(content);
}

/** The same for content in place: nothing is created for it in a timed run. */
export function takeInPlace(buffer: Buffer, start: number, end: number): void {
  messages++;
  bytes += end - start;
  digest?.frame(buffer.subarray(start, end));
}

/**
 * The ways for a program that finds the messages itself.
 *
 * @param takeAll - receives all complete messages in a buffer, and returns where the last one ends
 */
export function byHand(takeAll: (buffer: Buffer) => number): Ways {
  return {
    window: async (stream) => {
      for (let need = 1; ;) {
        const window = await stream.window(need);
        if (window.length < need) return;
        const end = takeAll(window);
        stream.consume(end);
        need = window.length - end + 1;
      }
    },
    read: async (stream) => {
      let rest: Buffer = Buffer.alloc(0);
      for (let chunk; (chunk = await stream.read(65536)).length > 0;) {
        const buffer = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        rest = buffer.subarray(takeAll(buffer));
      }
    },
  };
}

/** Reads in the way that the argument after the port names, and prints the answer. */
export async function measure(ways: Ways): Promise<void> {
  const stream = await connect('127.0.0.1', port);
  const start = now();
  const cpu = process.cpuUsage();
  try {
    await ways[word]!(stream);
  } catch (error) {
    if (!(error instanceof IncompleteReadError) || error.partial.length > 0) throw error; // not EOF between two messages
  }
  answer(messages, bytes, now() - start, cpuSince(cpu));
  await stream.close();
}
