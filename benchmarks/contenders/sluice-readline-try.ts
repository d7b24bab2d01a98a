/** sluice: `stream.tryReadline() ?? (await stream.readline())`: a promise only if no complete line is buffered. */
import { connect } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
let lines = 0;
let bytes = 0;
for (;;) {
  const line = stream.tryReadline() ?? (await stream.readline());
  if (line.length === 0) break;
  lines++;
  bytes += line.length - 1;
  digest?.frame(line.subarray(0, -1));
}
answer(lines, bytes, now() - start);
await stream.close();
