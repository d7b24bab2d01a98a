/** sluice: `await stream.readframes()`, the frames processed in place with `bytes` and `ends`. */
import type { Frames } from 'sluice';

import { answer, digest, now } from './program.js';
import { sluiceSource } from './sluice-source.js';

/**
 * The total length of all frames, in integer arithmetic, because an end is below 2^31. A separate function, so that V8 compiles the loop
 * on its own.
 */
function visit({ bytes, ends }: Frames): number {
  let total = 0;
  let from = 0;
  const { length } = ends;
  for (let i = 0; i < length; i++) {
    const end = (ends[i] as number) | 0;
    total = (total + end - from - 1) | 0;
    digest?.frame(bytes.subarray(from, end - 1));
    from = end;
  }
  return total;
}

const stream = await sluiceSource();
const start = now();
let lines = 0;
let total = 0;
for (let frames; (frames = await stream.readframes()).length > 0;) {
  lines += frames.length;
  total += visit(frames);
}
answer(lines, total, now() - start);
await stream.close();
