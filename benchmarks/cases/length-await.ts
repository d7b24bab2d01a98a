import { type Case, otherEngine, Receivers } from '../case.js';
import { go, node, python, rust, sluice } from '../toolchain.js';
import { type Answer, lengthPrefixed } from '../workload.js';

const FRAME_BYTES = 64;
const PREFIXED = 'it-length-prefixed-stream';

export const lengthAwait: Case = {
  name: 'length-await',
  title: '64-byte frames with a 4-byte length over loopback, awaited one at a time',
  unit: 'Mframes/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const stream = {
      block: lengthPrefixed(settings.quick ? 64 * 1024 : 1024 * 1024, FRAME_BYTES),
      // Six million frames, as in 'readline-await'.
      repeats: settings.quick ? 16 : 384,
      verifyRepeats: 3,
      value: ({ frames }: { frames: number }, { seconds }: Answer) => frames / seconds / 1e6,
    };
    const { entry, sender } = new Receivers(stream, settings);
    // It would take minutes for as many as the others read in seconds.
    const fewer = new Receivers({ ...stream, repeats: Math.ceil(stream.repeats / 16) }, settings);
    return {
      ours: entry('sluice', sluice('sluice-length-await', settings.engine)),
      against: [
        { ...entry('hand-written await reader', node('hand-length-await')), bound: { atLeast: 2 } },
        { ...entry('CPython asyncio', python('asyncio_length.py')), bound: { atLeast: 10 } },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-length-await'),
        entry('hand-written, with every care', node('hand-length-await-careful')),
        fewer.entry('it-length-prefixed-stream', node(PREFIXED, { needs: PREFIXED })),
        entry('CPython asyncio with uvloop', python('asyncio_length.py', { uvloop: true })),
        entry('Rust, tokio-util LengthDelimitedCodec', rust('tokio-lengths')),
        entry('Go, bufio Reader, ReadFull', go('lengths'), ['owned']),
      ],
      sender: sender(),
    };
  },
};
