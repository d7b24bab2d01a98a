/**
 * Frames with a 4-byte length by hand, in place, no await: a loop on `'data'` that reads the length with `readUInt32BE`, works with
 * positions, and creates no object for a frame. Only what spans two chunks is copied.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

import { answer, digest, now, port } from './program.js';

const HEADER_BYTES = 4;

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
let frames = 0;
let bytes = 0;
let rest: Buffer | null = null;
socket.on('data', (chunk) => {
  const buffer: Buffer = rest === null ? chunk : Buffer.concat([rest, chunk]);
  let begin = 0;
  while (begin + HEADER_BYTES <= buffer.length) {
    const payload = begin + HEADER_BYTES;
    const end = payload + buffer.readUInt32BE(begin);
    if (end > buffer.length) break;
    frames++;
    bytes += end - payload;
    digest?.frame(buffer.subarray(payload, end));
    begin = end;
  }
  rest = begin < buffer.length ? buffer.subarray(begin) : null;
});
await once(socket, 'end');
answer(frames, bytes, now() - start);
socket.destroy();
