/** `node:readline`, its `'line'` event: strings, without await. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

import { answer, digest, now, port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
let lines = 0;
let bytes = 0;
const reader = createInterface({ input: socket, crlfDelay: Infinity });
reader.on('line', (line) => {
  lines++;
  bytes += line.length;
  digest?.frame(line);
});
await once(reader, 'close');
answer(lines, bytes, now() - start);
socket.destroy();
