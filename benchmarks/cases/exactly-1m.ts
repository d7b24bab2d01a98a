import { asyncioEntries, type Case, otherEngine, Receivers, type Settings } from '../case.js';
import { node, sluice } from '../toolchain.js';
import { chopped, text } from '../workload.js';

const FRAME_BYTES = 1024 * 1024;

/** Receivers of frames of 1 MiB, measured in GB per second. `repeats`: how often two of them are sent. */
export function ofLargeFrames(settings: Settings, repeats: number): Receivers {
  return new Receivers(
    {
      // Two different frames, so that the digest shows if they are swapped.
      block: chopped(text(2 * FRAME_BYTES), FRAME_BYTES),
      repeats: settings.quick ? 4 : repeats,
      verifyRepeats: 4,
      value: ({ bytes }, { seconds }) => bytes / seconds / 1e9,
    },
    settings,
  );
}

export const exactly1m: Case = {
  name: 'exactly-1m',
  title: '1 MiB frames over loopback',
  unit: 'GB/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = ofLargeFrames(settings, 2048);
    return {
      ours: entry('sluice', sluice('sluice-exactly', settings.engine)),
      against: [{ ...entry("'data' and Buffer.concat", node('hand-exactly')), bound: { atLeast: 1.3 } }],
      also: [
        ...otherEngine(settings, entry, 'sluice-exactly'),
        entry('it-byte-stream', node('it-byte-stream', { needs: 'it-byte-stream' }), [FRAME_BYTES, 0]),
        ...asyncioEntries(entry, 'asyncio_exactly.py'),
      ],
      sender: sender(),
    };
  },
};
