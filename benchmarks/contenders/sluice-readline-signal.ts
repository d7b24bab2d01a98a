/** sluice: `await stream.readline({ signal: AbortSignal.timeout(ms) })`, one line at a time, each with a signal that is not aborted. */
import { connect } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
let lines = 0;
let bytes = 0;
for (;;) {
  const line = await stream.readline({ signal: AbortSignal.timeout(30_000) });
  if (line.length === 0) break;
  lines++;
  bytes += line.length - 1;
  digest?.frame(line.subarray(0, -1));
}
answer(lines, bytes, now() - start);
await stream.close();
