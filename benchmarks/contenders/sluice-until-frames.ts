/** sluice: `await stream.readframes('\r\n\r\n')`, the header blocks in place: `bytes` and `ends`. */
import { connect, type Frames } from 'sluice';

import { answer, digest, now, port } from './program.js';

const SEPARATOR_BYTES = 4;

/** The bytes of all blocks without their separators. */
function visit({ bytes, ends }: Frames): number {
  let total = 0;
  let from = 0;
  for (const end of ends) {
    total += end - from - SEPARATOR_BYTES;
    digest?.frame(bytes.subarray(from, end - SEPARATOR_BYTES));
    from = end;
  }
  return total;
}

const stream = await connect('127.0.0.1', port);
const start = now();
let blocks = 0;
let total = 0;
for (let frames; (frames = await stream.readframes('\r\n\r\n')).length > 0;) {
  blocks += frames.length;
  total += visit(frames);
}
answer(blocks, total, now() - start);
await stream.close();
