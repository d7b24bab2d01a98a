import { type Case, otherEngine, Receivers } from '../case.js';
import { sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

export const timeouts: Case = {
  name: 'timeouts',
  title: '64-byte lines over loopback, awaited one at a time, each with a timeout',
  unit: 'Ml/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        // Fewer than in 'readline-await': a signal for each line makes it many times as slow.
        repeats: settings.quick ? 16 : 64,
        verifyRepeats: 3,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-readline-timeout', settings.engine)),
      against: [
        { ...entry('sluice, without a timeout', sluice('sluice-readline', settings.engine)), bound: { atLeast: 0.9 } },
        {
          ...entry('sluice, AbortSignal.timeout()', sluice('sluice-readline-signal', settings.engine)),
          bound: { atLeast: 3 },
        },
      ],
      also: otherEngine(settings, entry, 'sluice-readline-timeout'),
      sender: sender(),
    };
  },
};
