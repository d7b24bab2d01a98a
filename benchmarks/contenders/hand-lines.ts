/**
 * Lines as strings, by hand, without await: each `'data'` chunk is decoded by `setEncoding` and split with `split('\n')`. The
 * text after the last line end waits for the next chunk.
 */
import { once } from 'node:events';

import { answer, digest, now } from './program.js';
import { source } from './source.js';

const socket = await source();
socket.setEncoding('utf8');
const start = now();
let lines = 0;
let bytes = 0;
let rest = '';
socket.on('data', (chunk) => {
  const pieces = (rest + String(chunk)).split('\n');
  rest = pieces.pop() as string;
  for (const piece of pieces) {
    const line = piece.endsWith('\r') ? piece.slice(0, -1) : piece;
    lines++;
    bytes += line.length;
    digest?.frame(line);
  }
});
await once(socket, 'end');
answer(lines, bytes, now() - start);
socket.destroy();
