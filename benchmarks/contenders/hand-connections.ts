/** The await reader as people usually write it by hand, on many connections at once: see line-reader.ts. */
import { once } from 'node:events';
import { connect } from 'node:net';

import { receive } from './connections.js';
import { LineReader } from './line-reader.js';

await receive(
  async (port) => {
    const socket = connect({ host: '127.0.0.1', port });
    await once(socket, 'connect');
    return socket;
  },
  async (socket, tally) => {
    const reader = new LineReader(socket);
    for (;;) {
      const line = await reader.readline();
      if (line === null) break;
      tally.frames++;
      tally.bytes += line.length - 1;
      tally.digest?.frame(line.subarray(0, -1));
    }
  },
  (socket) => socket.destroy(),
);
