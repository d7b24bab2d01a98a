import { asyncioEntries, type Case, echoServers, otherEngine } from '../case.js';
import { go, node, sluice } from '../toolchain.js';

const REQUEST_BYTES = 64;

export const echoPipelined: Case = {
  name: 'echo-pipelined',
  title: 'requests of one 64-byte line each to an echo server, 100 in flight',
  unit: 'kreq/s',
  ratio: 'ours / theirs',
  plan(settings) {
    const entry = echoServers({
      depth: 100,
      count: settings.quick ? 2_000 : 1_000_000,
      length: REQUEST_BYTES,
      value: (count, seconds) => count / seconds / 1e3,
    });
    return {
      ours: entry('sluice', sluice('sluice-echo', settings.engine)),
      against: [
        { ...entry('one socket.write a line', node('node-echo-lines')), bound: { atLeast: 5 } },
        { ...entry("raw net, echoing whole 'data' chunks", node('node-echo-raw')), bound: { atLeast: 0.9 } },
      ],
      also: [
        ...otherEngine(settings, entry, 'sluice-echo'),
        ...asyncioEntries(entry, 'asyncio_echo.py'),
        entry('Go, bufio ReadBytes and Writer', go('echo')),
      ],
    };
  },
};

export const echoSingle: Case = {
  name: 'echo-single',
  title: 'the round trip of one 64-byte line to an echo server',
  unit: 'µs',
  ratio: 'theirs / ours',
  plan(settings) {
    const entry = echoServers({
      depth: 1,
      count: settings.quick ? 200 : 40_000,
      length: REQUEST_BYTES,
      value: (count, seconds) => (seconds / count) * 1e6,
    });
    return {
      ours: entry('sluice', sluice('sluice-echo', settings.engine)),
      against: [{ ...entry('raw net echo', node('node-echo-raw')), bound: { atLeast: 0.97 } }],
      also: [
        ...otherEngine(settings, entry, 'sluice-echo'),
        entry('one socket.write a line', node('node-echo-lines')),
        ...asyncioEntries(entry, 'asyncio_echo.py'),
        entry('Go, bufio ReadBytes and Writer', go('echo')),
      ],
    };
  },
};
