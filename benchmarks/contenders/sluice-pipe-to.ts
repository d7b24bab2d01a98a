/** sluice: `stream.toWeb().readable.pipeTo(sink)`. */
import { connect } from 'sluice';

import { measure, receive } from './piped.js';
import { port } from './program.js';

const stream = await connect('127.0.0.1', port);
const { readable } = stream.toWeb();
await measure(() => readable.pipeTo(new WritableStream<Uint8Array>({ write: receive })));
await stream.close();
