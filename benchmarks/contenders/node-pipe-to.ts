/** Node: `Duplex.toWeb(socket).readable.pipeTo(sink)`. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { Duplex } from 'node:stream';

import { measure, receive } from './piped.js';
import { port } from './program.js';

const socket = connect({ host: '127.0.0.1', port });
await once(socket, 'connect');
const { readable } = Duplex.toWeb(socket);
await measure(() => readable.pipeTo(new WritableStream<Uint8Array>({ write: receive })));
socket.destroy();
