/**
 * sluice: frames that a sender writes in pieces of 16 bytes, over TCP. How the pieces arrive is up to the kernel.
 *
 *     node sluice-drip-tcp.js PORT FRAME_BYTES [verify]
 */
import { connect, IncompleteReadError } from 'sluice';

import { Digest } from './digest.js';
import { now } from './program.js';

const [port, frameBytes] = process.argv.slice(2, 4).map(Number) as [number, number];
const digest = process.argv[4] === 'verify' ? new Digest() : null;

const stream = await connect('127.0.0.1', port, { limit: frameBytes });
const start = now();
let frames = 0;
let bytes = 0;
try {
  for (;;) {
    const frame = await stream.readuntil('\r\n');
    frames++;
    bytes += frame.length - 2;
    digest?.frame(frame.subarray(0, -2));
  }
} catch (error) {
  if (!(error instanceof IncompleteReadError) || error.partial.length > 0) throw error;
}
const seconds = now() - start;
console.log(JSON.stringify({ frames, bytes, seconds, ...(digest && { digest: String(digest) }) }));
await stream.close();
