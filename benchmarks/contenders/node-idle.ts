/** `node:net`: a server with a `'data'` listener on connections that send nothing. */
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';

import { arrived, expected, measure } from './idle.js';

const server = createServer((socket) => {
  arrived();
  socket.on('data', () => {
    throw new Error('an idle connection sent data');
  });
});
server.listen({ host: '127.0.0.1', port: 0, backlog: expected });
await once(server, 'listening');
await measure((server.address() as AddressInfo).port);
process.exit();
