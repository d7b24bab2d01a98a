/** `split2`: a transform that emits one string per line through its `'data'` event. */
import { once } from 'node:events';
import { connect } from 'node:net';
import split2 from 'split2';

import { answer, digest, now, port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
let lines = 0;
let bytes = 0;
const splitter = socket.pipe(split2());
splitter.on('data', (line: string) => {
  lines++;
  bytes += line.length;
  digest?.frame(line);
});
await once(splitter, 'end');
answer(lines, bytes, now() - start);
socket.destroy();
