import { type Case, otherEngine, Receivers } from '../case.js';
import { node, sluice } from '../toolchain.js';
import { requests } from '../workload.js';

const LONGEST_VALUE = 64;

export const windowResp: Case = {
  name: 'window-resp',
  title: 'pipelined requests to Redis over loopback, SET and GET, parsed into commands and arguments',
  unit: 'Mreq/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const { entry, sender } = new Receivers(
      {
        block: requests(settings.quick ? 64 * 1024 : 1024 * 1024, LONGEST_VALUE),
        repeats: settings.quick ? 16 : 512,
        verifyRepeats: 3,
        value: ({ frames }, { seconds }) => frames / seconds / 1e6,
      },
      settings,
    );
    return {
      ours: entry('sluice', sluice('sluice-window-resp', settings.engine)),
      against: [{ ...entry('redis-parser', node('redis-parser', { needs: 'redis-parser' })), bound: { atLeast: 2 } }],
      also: [
        ...otherEngine(settings, entry, 'sluice-window-resp'),
        entry('decoder of @redis/client', node('redis-client-decoder', { needs: '@redis/client' })),
      ],
      sender: sender(),
    };
  },
};
