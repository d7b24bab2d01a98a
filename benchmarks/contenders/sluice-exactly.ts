/** sluice: `await stream.readexactly(n)`. */
import { connect, IncompleteReadError } from 'sluice';

import { answer, digest, now, port } from './program.js';

const FRAME_BYTES = 1024 * 1024;

const stream = await connect('127.0.0.1', port);
const start = now();
let frames = 0;
let bytes = 0;
try {
  for (;;) {
    const frame = await stream.readexactly(FRAME_BYTES);
    frames++;
    bytes += frame.length;
    digest?.frame(frame);
  }
} catch (error) {
  if (!(error instanceof IncompleteReadError) || error.partial.length > 0) throw error;
}
answer(frames, bytes, now() - start);
await stream.close();
