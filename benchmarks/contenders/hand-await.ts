/** The awaiting line reader that people write by hand: see line-reader.ts. */
import { once } from 'node:events';
import { connect } from 'node:net';

import { LineReader } from './line-reader.js';
import { answer, digest, now, port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
const reader = new LineReader(socket);
let lines = 0;
let bytes = 0;
for (;;) {
  const line = await reader.readline();
  if (line === null) break;
  lines++;
  bytes += line.length - 1;
  digest?.frame(line.subarray(0, -1));
}
answer(lines, bytes, now() - start);
socket.destroy();
