/**
 * Header blocks, by hand, without await: a `buf.indexOf` loop on `'data'`. Only a block that spans two chunks is copied; the
 * others are views. No byte is searched twice, except those that may be part of a separator.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

import { answer, digest, now, port } from './program.js';

const SEPARATOR = Buffer.from('\r\n\r\n');

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
let blocks = 0;
let bytes = 0;
let rest: Buffer | null = null;
socket.on('data', (chunk) => {
  let buffer: Buffer = chunk;
  let from = 0;
  if (rest !== null) {
    from = Math.max(0, rest.length - SEPARATOR.length + 1);
    buffer = Buffer.concat([rest, chunk]);
    rest = null;
  }
  let begin = 0;
  for (;;) {
    const end = buffer.indexOf(SEPARATOR, from);
    if (end === -1) break;
    const block = buffer.subarray(begin, end + SEPARATOR.length);
    blocks++;
    bytes += block.length - SEPARATOR.length;
    digest?.frame(block.subarray(0, -SEPARATOR.length));
    begin = from = end + SEPARATOR.length;
  }
  if (begin < buffer.length) rest = buffer.subarray(begin);
});
await once(socket, 'end');
answer(blocks, bytes, now() - start);
socket.destroy();
