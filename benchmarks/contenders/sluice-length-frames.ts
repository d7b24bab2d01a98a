/** sluice: `await stream.readframes({ length: 'uint32be' })`, the frames in place: `bytes` and `ends`. */
import { connect, type Frames } from 'sluice';

import { answer, digest, now, port } from './program.js';

const HEADER_BYTES = 4;
const FRAMING = { length: 'uint32be' } as const;

/**
 * The bytes of all payloads, in integer arithmetic, because an end is below 2^31. A separate function, so that V8 compiles the loop on
 * its own.
 */
function visit({ bytes, ends }: Frames): number {
  let total = 0;
  let from = 0;
  const { length } = ends;
  for (let i = 0; i < length; i++) {
    const end = (ends[i] as number) | 0;
    total = (total + end - from - HEADER_BYTES) | 0;
    digest?.frame(bytes.subarray(from + HEADER_BYTES, end));
    from = end;
  }
  return total;
}

const stream = await connect('127.0.0.1', port);
const start = now();
let count = 0;
let total = 0;
for (let frames; (frames = await stream.readframes(FRAMING)).length > 0;) {
  count += frames.length;
  total += visit(frames);
}
answer(count, total, now() - start);
await stream.close();
