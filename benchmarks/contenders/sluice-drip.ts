/**
 * sluice: frames that arrive in pieces of 16 bytes, without a socket: `StreamReader.feedData` against a waiting
 * `readuntil`. The reader runs between any two pieces, as it would if each had come in a read of its own.
 *
 *     node sluice-drip.js FRAME_BYTES FRAMES [verify]
 */
import { StreamReader } from 'sluice';

import { Digest } from './digest.js';
import { now } from './program.js';

const PIECE = 16;
const [frameBytes, frames] = process.argv.slice(2, 4).map(Number) as [number, number];
const digest = process.argv[4] === 'verify' ? new Digest() : null;

// Carriage returns all over, so that a search for both bytes has to look twice.
const frame = Buffer.alloc(frameBytes, 'drip\rdrop, ');
frame.write('\r\n', frameBytes - 2);
const pieces: Buffer[] = [];
for (let at = 0; at < frameBytes; at += PIECE) pieces.push(frame.subarray(at, at + PIECE));

/** Lets everything run that is ready to, and no more. */
const aMoment = Promise.resolve();

const reader = new StreamReader({ limit: frameBytes });

async function read(count: number): Promise<number> {
  let bytes = 0;
  for (let i = 0; i < count; i++) {
    const waiting = reader.readuntil('\r\n');
    for (const piece of pieces) {
      reader.feedData(piece);
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
const seconds = now() - start;
console.log(JSON.stringify({ frames, bytes, seconds, ...(digest && { digest: String(digest) }) }));
