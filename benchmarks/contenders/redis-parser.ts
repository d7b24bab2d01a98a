/** redis-parser: RESP arrays of bulk strings from `'data'` chunks, with a callback for each array; no await. */
import { once } from 'node:events';
import { connect } from 'node:net';
import Parser from 'redis-parser';

import { answer, commandAt, execute } from './commands.js';
import { now, port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
const fail = (error: Error): void => void socket.destroy(error);
const parser = new Parser({
  returnBuffers: true,
  returnError: fail,
  returnReply(reply) {
    const words = reply as Buffer[];
    const name = words[0]!;
    execute(commandAt(name, 0, name.length), words, 1);
  },
});
socket.on('data', (chunk) => parser.execute(chunk));
await once(socket, 'end');
answer(now() - start);
socket.destroy();
