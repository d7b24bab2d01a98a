/**
 * Frames of one length, by hand: `'data'` chunks are stored until there are enough bytes, and then joined with `Buffer.concat`.
 */
import { once } from 'node:events';
import { connect } from 'node:net';

import { answer, digest, now, port } from './program.js';

const FRAME_BYTES = 1024 * 1024;

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
let frames = 0;
let bytes = 0;
let chunks: Buffer[] = [];
let missing = FRAME_BYTES;
socket.on('data', (chunk) => {
  let rest: Buffer = chunk;
  while (rest.length >= missing) {
    chunks.push(rest.subarray(0, missing));
    const frame = Buffer.concat(chunks, FRAME_BYTES);
    frames++;
    bytes += frame.length;
    digest?.frame(frame);
    rest = rest.subarray(missing);
    chunks = [];
    missing = FRAME_BYTES;
  }
  if (rest.length > 0) {
    chunks.push(rest);
    missing -= rest.length;
  }
});
await once(socket, 'end');
answer(frames, bytes, now() - start);
socket.destroy();
