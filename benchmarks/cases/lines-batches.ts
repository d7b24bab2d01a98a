import { type Case, otherEngine, Receivers } from '../case.js';
import { go, node, rust, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

export const linesBatches: Case = {
  name: 'lines-batches',
  title: '64-byte lines over loopback as strings, all buffered lines at once',
  unit: 'Ml/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        repeats: settings.quick ? 16 : 1024,
        verifyRepeats: 3,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-batches', settings.engine)),
      against: [
        { ...entry("node:readline, 'line' event", node('node-readline')), bound: { atLeast: 4 } },
        { ...entry('split2', node('split2', { needs: 'split2' })), bound: { atLeast: 3 } },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-batches'),
        entry('sluice, lines one at a time', sluice('sluice-lines', settings.engine)),
        entry("hand-written, split on 'data'", node('hand-lines')),
        entry('Rust, tokio lines', rust('tokio-lines'), [1, 'strings']),
        entry('Go, bufio Scanner, strings', go('scanner'), ['text']),
      ],
      sender: sender(),
    };
  },
};
