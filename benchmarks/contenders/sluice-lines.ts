/** sluice: `for await (const line of stream.lines())`: strings, one at a time. */
import { connect } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
let lines = 0;
let bytes = 0;
for await (const line of stream.lines()) {
  lines++;
  bytes += line.length;
  digest?.frame(line);
}
answer(lines, bytes, now() - start);
await stream.close();
