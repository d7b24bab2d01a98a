/**
 * sluice: frames that arrive in small pieces, without a socket: `StreamReader.feedData` while a `readuntil` waits. The reader
 * runs between any two pieces, as if each had been a separate read from a socket.
 *
 *     node sluice-drip.js FRAME_BYTES FRAMES PIECE_BYTES [verify]
 */
import { StreamReader } from 'sluice';

import { answer, digest, now, words } from './program.js';

const [frameBytes, frames, piece] = words as [number, number, number];

// The frame contains many carriage returns, so that a search for one byte of the separator is not enough.
const frame = Buffer.alloc(frameBytes, 'drip\rdrop, ');
frame.write('\r\n', frameBytes - 2);
const pieces: Buffer[] = [];
for (let at = 0; at < frameBytes; at += piece) pieces.push(frame.subarray(at, at + piece));

/** Lets everything run that is ready to run. */
const aMoment = Promise.resolve();

const reader = new StreamReader({ limit: frameBytes });

async function read(count: number): Promise<number> {
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const waiting = reader.readuntil('\r\n');
    for (const part of pieces) {
      reader.feedData(part);
      await aMoment;
    }
    const got = await waiting;
    bytes += got.length - 2;
    digest?.frame(got.subarray(0, -2));
  }
  return bytes;
}

const start = now();
const bytes = await read(frames);
answer(frames, bytes, now() - start);
