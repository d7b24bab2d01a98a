import { asyncioEntries, type Case, otherEngine, Receivers } from '../case.js';
import { node, sluice } from '../toolchain.js';
import { headers } from '../workload.js';

const BLOCK_BYTES = 1024;

export const untilCrlfCrlf: Case = {
  name: 'until-crlfcrlf',
  title: '1 KiB blocks of header fields over loopback, up to the empty line',
  unit: 'Mblocks/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: headers(settings.quick ? 64 * 1024 : 1024 * 1024, BLOCK_BYTES),
        repeats: settings.quick ? 16 : 2048,
        verifyRepeats: 16,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    const inPlace = entry('sluice, in place', sluice('sluice-until-frames', settings.engine));
    return {
      ours: entry('sluice', sluice('sluice-until', settings.engine)),
      against: [
        { ...entry("indexOf loop on 'data'", node('hand-until')), bound: { atLeast: 1.3 } },
        {
          ...entry("indexOf loop on 'data', against in place", node('hand-until')),
          ours: inPlace,
          bound: { atLeast: 2 },
        },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-until'),
        ...otherEngine(settings, entry, 'sluice-until-frames', ', in place'),
        ...asyncioEntries(entry, 'asyncio_until.py'),
      ],
      sender: sender(),
    };
  },
};
