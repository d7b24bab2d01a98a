import { type Case, otherEngine, pipedFromCat } from '../case.js';
import { node, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

export const stdinLines: Case = {
  name: 'stdin-lines',
  title: '64-byte lines from a pipe on stdin as strings, all buffered lines at once',
  unit: 'Ml/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const entry = pipedFromCat(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        repeats: settings.quick ? 16 : 512,
        verifyRepeats: 3,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-batches', settings.engine)),
      against: [{ ...entry("node:readline, 'line' event", node('node-readline')), bound: { atLeast: 2.5 } }],
      also: [
        ...otherEngine(settings, entry, 'sluice-batches'),
        entry('sluice, in place', sluice('sluice-frames', settings.engine)),
        entry("hand-written, split on 'data'", node('hand-lines')),
        entry('node:readline, for await', node('node-readline-for-await')),
      ],
    };
  },
};
