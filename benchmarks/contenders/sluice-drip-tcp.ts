/**
 * sluice: frames that a sender writes in pieces of 16 bytes, over TCP. The kernel decides how the pieces arrive.
 *
 *     node sluice-drip-tcp.js PORT FRAME_BYTES [verify]
 */
import { connect, IncompleteReadError } from 'sluice';

import { answer, digest, now, words } from './program.js';

const [port, frameBytes] = words as [number, number];

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
answer(frames, bytes, now() - start);
await stream.close();
