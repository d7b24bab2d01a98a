/** `node:readline`, `for await (const line of reader)`: strings. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';

import { answer, digest, now, port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
let lines = 0;
let bytes = 0;
for await (const line of createInterface({ input: socket, crlfDelay: Infinity })) {
  lines++;
  bytes += line.length;
  digest?.frame(line);
}
answer(lines, bytes, now() - start);
socket.destroy();
