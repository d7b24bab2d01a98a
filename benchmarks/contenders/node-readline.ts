/** `node:readline`, its `'line'` event: strings, without await. */
import { once } from 'node:events';
import { createInterface } from 'node:readline';

import { answer, digest, now } from './program.js';
import { source } from './source.js';

const socket = await source();
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
