import { type Case, otherEngine, Receivers } from '../case.js';
import { go, node, rust, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const LINE_BYTES = 64;

export const frames: Case = {
  name: 'frames',
  title: '64-byte lines over loopback, processed in place',
  unit: 'Ml/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: lines(settings.quick ? 64 * 1024 : 1024 * 1024, LINE_BYTES),
        repeats: settings.quick ? 16 : 4096,
        verifyRepeats: 3,
        value: (sent, { seconds }) => sent.frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-frames', settings.engine)),
      against: [{ ...entry('Rust, read and memchr', rust('read-memchr'), ['visit']), bound: { atLeast: 0.9 } }],
      also: [
        ...otherEngine(settings, entry, 'sluice-frames'),
        entry('Rust, read and a count of line feeds', rust('read-memchr'), ['count']),
        entry("hand-written, indexOf on 'data'", node('hand-frames')),
        entry('Go, bufio Scanner', go('scanner'), ['bytes']),
      ],
      sender: sender(),
    };
  },
};
