/** Node: `pipeline(socket, sink)`. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

import { measure, receive } from './piped.js';
import { port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const sink = new Writable({
  write(chunk: Buffer, _encoding, done) {
    receive(chunk);
    done();
  },
});
await measure(() => pipeline(socket, sink));
