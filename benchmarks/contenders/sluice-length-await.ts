/** sluice: `await stream.readframe({ length: 'uint32be' })`, one frame at a time. */
import { connect } from 'sluice';

import { answer, digest, now, port } from './program.js';

const HEADER_BYTES = 4;
const FRAMING = { length: 'uint32be' } as const;

const stream = await connect('127.0.0.1', port);
const start = now();
let frames = 0;
let bytes = 0;
for (;;) {
  const frame = await stream.readframe(FRAMING);
  if (frame === null) break;
  frames++;
  bytes += frame.length - HEADER_BYTES;
  digest?.frame(frame.subarray(HEADER_BYTES));
}
answer(frames, bytes, now() - start);
await stream.close();
