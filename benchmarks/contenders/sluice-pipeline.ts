/** sluice: `pipeline(stream.toDuplex(), sink)`. */
import { Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { connect } from 'sluice';

import { measure, receive } from './piped.js';
import { port } from './program.js';

const stream = await connect('127.0.0.1', port);
const sink = new Writable({
  write(chunk: Buffer, _encoding, done) {
    receive(chunk);
    done();
  },
});
await measure(() => pipeline(stream.toDuplex(), sink));
await stream.close();
