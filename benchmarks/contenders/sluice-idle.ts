/** sluice: a server whose handlers all wait for a line that never arrives. */
import type { AddressInfo } from 'node:net';

import { StreamServer } from 'sluice';

import { arrived, expected, measure } from './idle.js';

const server = new StreamServer(
  async (stream) => {
    arrived();
    await stream.readline();
  },
  '127.0.0.1',
  0,
  { backlog: expected },
);
await server.startServing();
await measure((server.sockets[0]?.address() as AddressInfo).port);
process.exit();
