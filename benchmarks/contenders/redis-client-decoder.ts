/**
 * The decoder of @redis/client: RESP arrays of bulk strings from `'data'` chunks, with a callback for each array; no await. It parses
 * replies, but requests are arrays in the same form.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Decoder, RESP_TYPES } from '@redis/client/dist/lib/RESP/decoder.js';

import { answer, commandAt, execute } from './commands.js';
import { now, port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const start = now();
const typeMapping = { [RESP_TYPES.BLOB_STRING]: Buffer };
const fail = (): void => void socket.destroy(new Error('not a command'));
const decoder = new Decoder({
  getTypeMapping: () => typeMapping,
  onErrorReply: fail,
  onPush: fail,
  onReply(words: Buffer[]) {
    const name = words[0]!;
    execute(commandAt(name, 0, name.length), words, 1);
  },
});
socket.on('data', (chunk) => decoder.write(chunk));
await once(socket, 'end');
answer(now() - start);
socket.destroy();
