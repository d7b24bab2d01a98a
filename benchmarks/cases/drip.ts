import { alone, type Case, otherEngine, Receivers } from '../case.js';
import { python, sluice, type Locate } from '../toolchain.js';
import { drips, size, verifiableOf } from '../workload.js';

const PIECE_BYTES = 16;

export const drip: Case = {
  name: 'drip',
  title: 'cost per byte of a frame that arrives in 16-byte pieces: a large frame compared with a small one',
  unit: 'ns/byte',
  ratio: 'ours / theirs',
  plan(settings) {
    const large = settings.quick ? 64 * 1024 : 4 * 1024 * 1024;
    const small = settings.quick ? 4 * 1024 : 256 * 1024;
    // Both sizes use the same total number of bytes, so that both warm up equally.
    const total = large * (settings.quick ? 1 : 4);

    const fed = (length: number) => (name: string, locate: Locate) => {
      const frames = total / length;
      const expected = verifiableOf(drips(length), frames);
      return alone(name, locate, [length, frames, PIECE_BYTES], expected, (seconds) => (seconds / total) * 1e9);
    };
    const overTcp = (length: number) =>
      new Receivers(
        {
          block: drips(length),
          repeats: large / length,
          verifyRepeats: 1,
          chunk: PIECE_BYTES,
          words: [length],
          value: ({ bytes }, { seconds }) => (seconds / bytes) * 1e9,
        },
        settings,
      );
    const ours = sluice('sluice-drip', settings.engine);
    const tcp = sluice('sluice-drip-tcp', settings.engine);
    const asyncio = python('asyncio_drip.py');
    return {
      ours: fed(large)(`sluice, ${size(large)}`, ours),
      against: [{ ...fed(small)(`sluice, ${size(small)}`, ours), bound: { atMost: 1.5 } }],
      also: [
        ...otherEngine(settings, fed(large), 'sluice-drip', `, ${size(large)}`),
        ...otherEngine(settings, fed(small), 'sluice-drip', `, ${size(small)}`),
        overTcp(large).entry(`sluice over TCP, ${size(large)}`, tcp),
        overTcp(small).entry(`sluice over TCP, ${size(small)}`, tcp),
        fed(large)(`CPython asyncio, ${size(large)}`, asyncio),
        fed(small)(`CPython asyncio, ${size(small)}`, asyncio),
      ],
    };
  },
};
