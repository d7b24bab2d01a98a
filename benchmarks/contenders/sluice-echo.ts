/** sluice: a server that echoes lines, `await stream.readline()` and `await stream.write(line)`. Prints its port. */
import type { AddressInfo } from 'node:net';

import { StreamServer } from 'sluice';

const server = new StreamServer(
  async (stream) => {
    for (;;) {
      const line = await stream.readline();
      if (line.length === 0) break;
      await stream.write(line);
    }
  },
  '127.0.0.1',
  0,
);
await server.startServing();
console.log((server.sockets[0]?.address() as AddressInfo).port);
