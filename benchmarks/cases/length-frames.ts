import { type Case, otherEngine, Receivers } from '../case.js';
import { go, node, rust, sluice } from '../toolchain.js';
import { lengthPrefixed } from '../workload.js';

const FRAME_BYTES = 64;

export const lengthFrames: Case = {
  name: 'length-frames',
  title: '64-byte frames with a 4-byte length over loopback, in place',
  unit: 'Mframes/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: lengthPrefixed(settings.quick ? 64 * 1024 : 1024 * 1024, FRAME_BYTES),
        repeats: settings.quick ? 16 : 4096,
        verifyRepeats: 3,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-length-frames', settings.engine)),
      against: [
        { ...entry("hand-written, subarray on 'data'", node('hand-length-frames')), bound: { atLeast: 5 } },
        { ...entry('Rust, tokio-util LengthDelimitedCodec', rust('tokio-lengths')), bound: { atLeast: 1 } },
        { ...entry('Rust, read and a loop', rust('read-lengths')), bound: { atLeast: 0.8 } },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-length-frames'),
        entry("hand-written, offsets on 'data'", node('hand-length-offsets')),
        entry('Go, bufio Reader, Peek', go('lengths'), ['peek']),
      ],
      sender: sender(),
    };
  },
};
