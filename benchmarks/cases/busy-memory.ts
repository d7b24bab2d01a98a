import { type Case, type Entry, otherEngine, Receivers } from '../case.js';
import { type Locate, node, sluice } from '../toolchain.js';
import { type Answer, lines } from '../workload.js';

const LINE_BYTES = 64;
const MIB = 1024 * 1024;

/** More than noise, and far less than the growth of a program that does not free its buffers. */
const GROWS_AT_MOST = 1.25;

export const busyMemory: Case = {
  name: 'busy-memory',
  title:
    'resident memory of a program that has read 64-byte lines from one connection: after 1 GB compared with after 100 MB',
  unit: 'MiB',
  ratio: 'ours / theirs',
  group: 'busy-memory',
  plan(settings) {
    const block = lines(settings.quick ? 64 * 1024 : MIB, LINE_BYTES);
    const read = (bytes: number, words: string, of: (answer: Answer) => number | undefined = resident) => {
      const repeats = settings.quick ? 2 : Math.ceil(bytes / block.bytes.length);
      const value = (_: unknown, answer: Answer): number => (of(answer) ?? NaN) / MIB;
      const receivers = new Receivers({ block, repeats, verifyRepeats: 1, value }, settings);
      const named = settings.quick ? `${words} (cut short)` : words;
      return (name: string, locate: Locate): Entry => receivers.entry(`${name}, ${named}`, locate);
    };
    const long = read(1e9, '1 GB');
    const short = read(1e8, '100 MB');
    const most = read(1e9, '1 GB, the most it ever had', ({ peak }) => peak);
    const ours = (contender: string): Locate => sluice(contender, settings.engine, FLAGS);
    const byHand = node('node-readline', { flags: FLAGS });
    return {
      ours: long('sluice, readline', ours('sluice-readline')),
      against: [{ ...short('sluice, readline', ours('sluice-readline')), bound: { atMost: GROWS_AT_MOST } }],
      also: [
        most('sluice, readline', ours('sluice-readline')),
        ...otherEngine(settings, long, 'sluice-readline', '', FLAGS),
        ...(['batches', 'frames'] as const).flatMap((kind) => [
          long(`sluice, ${kind}`, ours(`sluice-${kind}`)),
          short(`sluice, ${kind}`, ours(`sluice-${kind}`)),
        ]),
        long("node:readline, 'line' event", byHand),
        short("node:readline, 'line' event", byHand),
      ],
    };
  },
};

const FLAGS = ['--expose-gc'];

function resident(answer: Answer): number | undefined {
  return answer.resident;
}
