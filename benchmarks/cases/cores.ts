import { availableParallelism } from 'node:os';

import type { Case, Entry, Settings } from '../case.js';
import { withPrograms, type Program } from '../programs.js';
import { loopback, sluice } from '../toolchain.js';
import { checkAnswer } from '../workload.js';

const REQUEST_BYTES = 64;
/** On each connection. */
const DEPTH = 10;
const PROCESSES = 2;
/** Two for each process, and each of them with a client of its own. */
const CONNECTIONS = 4;

/** Measures the server with a number of processes: thousand requests per second over all connections. */
function entry(settings: Settings, name: string, processes: number): Entry {
  const locate = sluice('sluice-cores', settings.engine);
  const ask = (program: Program, requests: number): Promise<number> =>
    withPrograms(async (start) => {
      const port = await start(program, processes).firstLine();
      const client = await loopback();
      const clients = Array.from({ length: CONNECTIONS }, () =>
        start(client, 'echo', port, DEPTH, requests, REQUEST_BYTES),
      );
      const expected = { frames: requests, bytes: requests * REQUEST_BYTES };
      const outputs = await Promise.all(clients.map((one) => one.output()));
      const seconds = outputs.map((output) => checkAnswer(name, output, expected).seconds);
      return (requests * CONNECTIONS) / Math.max(...seconds) / 1e3;
    });
  const requests = settings.quick ? 100 : 10_000;
  return {
    name,
    locate: () =>
      availableParallelism() < processes
        ? Promise.resolve({ missing: `${processes} processors are needed` })
        : locate(),
    // The client compares each answer with its request.
    verify: async (program) => {
      await ask(program, 100);
    },
    time: (program) => ask(program, requests),
  };
}

export const cores: Case = {
  name: 'cores',
  title: 'requests of one 64-byte line that take a fifth of a millisecond to answer: two processes compared with one',
  unit: 'kreq/s',
  ratio: 'ours / theirs',
  group: 'cores',
  plan: (settings) => ({
    ours: entry(settings, 'sluice, two processes', PROCESSES),
    against: [{ ...entry(settings, 'sluice, one process', 1), bound: { atLeast: 1.7 } }],
    also: [],
  }),
};
