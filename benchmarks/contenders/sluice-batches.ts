/** sluice: `for await (const batch of stream.lines().batches())`: strings, all buffered lines at once. */
import { connect, connectReadPipe } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = port === 0 ? await connectReadPipe(0) : await connect('127.0.0.1', port);
const start = now();
let lines = 0;
let bytes = 0;
for await (const batch of stream.lines().batches()) {
  for (const line of batch) {
    lines++;
    bytes += line.length;
    digest?.frame(line);
  }
}
answer(lines, bytes, now() - start);
await stream.close();
