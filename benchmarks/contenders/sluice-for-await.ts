/** sluice: `for await (const line of stream)`. */
import { connect } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
let lines = 0;
let bytes = 0;
for await (const line of stream) {
  lines++;
  bytes += line.length - 1;
  digest?.frame(line.subarray(0, -1));
}
answer(lines, bytes, now() - start);
await stream.close();
