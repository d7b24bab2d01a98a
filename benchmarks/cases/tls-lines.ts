import { type Case, otherEngine, Receivers } from '../case.js';
import { node, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

/**
 * The sender has to encrypt, which takes as long as to receive, so it limits the throughput, and the processor time is compared. The rival
 * makes no strings, as in the first measurements of this library, which the bound comes from.
 */
export const tlsLines: Case = {
  name: 'tls-lines',
  title: 'processor time of 64-byte lines over TLS 1.3 and loopback as strings, all buffered lines at once',
  unit: 'ns',
  ratio: 'theirs / ours',
  plan(settings) {
    const { entry } = new Receivers(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        repeats: settings.quick ? 16 : 512,
        verifyRepeats: 3,
        tls: true,
        value: ({ frames }, { cpu }) => (cpu! / frames) * 1e9,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-batches', settings.engine)),
      against: [
        { ...entry("indexOf loop on 'data' of a TLSSocket, no strings", node('hand-frames')), bound: { atLeast: 1.3 } },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-batches'),
        entry('sluice, in place', sluice('sluice-frames', settings.engine)),
        entry("hand-written, split on 'data'", node('hand-lines')),
        entry("node:readline, 'line' event", node('node-readline')),
      ],
    };
  },
};
