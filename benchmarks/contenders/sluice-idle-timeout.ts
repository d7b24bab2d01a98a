/** sluice: as `sluice-idle`, with timeouts that watch every connection, and are longer than the measurement. */
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
  { backlog: expected, idleTimeout: 3_600_000 },
);
await server.startServing();
await measure((server.sockets[0]?.address() as AddressInfo).port);
process.exit();
