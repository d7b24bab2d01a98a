/** sluice: `await stream.readuntil('\r\n\r\n')`, one header block at a time. */
import { connect, IncompleteReadError } from 'sluice';

import { answer, digest, now, port } from './program.js';

const stream = await connect('127.0.0.1', port);
const start = now();
let blocks = 0;
let bytes = 0;
try {
  for (;;) {
    const block = await stream.readuntil('\r\n\r\n');
    blocks++;
    bytes += block.length - 4;
    digest?.frame(block.subarray(0, -4));
  }
} catch (error) {
  if (!(error instanceof IncompleteReadError) || error.partial.length > 0) throw error;
}
answer(blocks, bytes, now() - start);
await stream.close();
