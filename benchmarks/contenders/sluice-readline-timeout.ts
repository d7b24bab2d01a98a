/** sluice: `await stream.readline({ timeout })`, one line at a time, each with a timeout that does not pass. */
import { connect } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
let lines = 0;
let bytes = 0;
for (;;) {
  const line = await stream.readline({ timeout: 30_000 });
  if (line.length === 0) break;
  lines++;
  bytes += line.length - 1;
  digest?.frame(line.subarray(0, -1));
}
answer(lines, bytes, now() - start);
await stream.close();
