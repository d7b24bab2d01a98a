import { type Case, otherEngine, Receivers } from '../case.js';
import { node, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

export const readlineTry: Case = {
  name: 'readline-try',
  title: '64-byte lines over loopback, awaited only if no complete line is buffered',
  unit: 'Ml/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        // As in 'readline-await', whose hand-written readers these are.
        repeats: settings.quick ? 16 : 384,
        verifyRepeats: 3,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-readline-try', settings.engine)),
      against: [{ ...entry('hand-written await reader', node('hand-await')), bound: { atLeast: 4 } }],
      also: [
        ...otherEngine(settings, entry, 'sluice-readline-try'),
        entry('sluice, readline', sluice('sluice-readline', settings.engine)),
        entry('hand-written, with every care', node('hand-await-careful')),
        entry('hand-written line splitter', node('hand-await-splitting')),
      ],
      sender: sender(),
    };
  },
};
