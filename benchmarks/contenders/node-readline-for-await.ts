/** `node:readline`, `for await (const line of reader)`: strings. */
import { createInterface } from 'node:readline';

import { answer, digest, now } from './program.js';
import { source } from './source.js';

const socket = await source();
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
