/** sluice: `await stream.readframes()`, the frames looked at where they lie: `bytes` and `ends`. */
import { connect } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
let lines = 0;
let total = 0;
for (;;) {
  const frames = await stream.readframes();
  if (frames.length === 0) break;
  const { bytes, ends } = frames;
  let from = 0;
  for (const end of ends) {
    lines++;
    total += end - from - 1;
    digest?.frame(bytes.subarray(from, end - 1));
    from = end;
  }
}
answer(lines, total, now() - start);
await stream.close();
