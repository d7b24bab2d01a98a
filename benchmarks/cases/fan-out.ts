import { type Case, fanOutServers, otherEngine } from '../case.js';
import { sluice } from '../toolchain.js';
import { text } from '../workload.js';

/** The option `maxWriteBuffer` of the server. */
const MAX_BYTES = 256 * 1024;

/** How often the block is sent to each client: more than Linux holds for a client that does not read, 4 MiB, and the max. */
const REPEATS = 18;

export const fanOut: Case = {
  name: 'fan-out',
  title: 'messages of 64 bytes to 1 KiB to 1,000 clients, of which 10 never read: the rate of each of the others',
  unit: 'kmsg/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const block = text(256 * 1024);
    const load = { connections: settings.quick ? 100 : 1000, repeats: REPEATS };
    // The messages are evenly distributed between 64 bytes and 1 KiB.
    const messages = (block.length * load.repeats) / 544;
    const fan = { ...load, block, max: MAX_BYTES, value: (seconds: number) => messages / seconds / 1e3 };
    const stalled = fanOutServers({ ...fan, stalled: load.connections / 100 }, settings);
    const program = sluice('sluice-fan-out', settings.engine);
    return {
      ours: stalled('sluice', program),
      against: [
        {
          ...fanOutServers({ ...fan, stalled: 0 }, settings)('sluice, all clients read', program),
          bound: { atLeast: 0.95 },
        },
      ],
      also: otherEngine(settings, stalled, 'sluice-fan-out'),
    };
  },
};
