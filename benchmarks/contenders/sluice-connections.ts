/** sluice: `await stream.readline()` on many connections at once. */
import { connect } from 'sluice';

import { receive } from './connections.js';

await receive(
  (port) => connect('127.0.0.1', port),
  async (stream, tally) => {
    for (;;) {
      const line = await stream.readline();
      if (line.length === 0) break;
      tally.frames++;
      tally.bytes += line.length - 1;
      tally.digest?.frame(line.subarray(0, -1));
    }
  },
  (stream) => stream.close(),
);
