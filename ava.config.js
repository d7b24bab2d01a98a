import path from 'node:path';

/**
 * The test files that take longest, in this order: they are started first, so that at the end of a pass no processor waits for a
 * long file that was started last.
 */
export const LONGEST = [
  'amqp-peers',
  'porting',
  'close-bounds',
  'examples',
  'timeout-schedules',
  'guides',
  'bench',
  'abandoned',
  'happy-eyeballs-sockets',
  'attacks-slow',
  'frames-transports',
  'attacks-connections',
  'socket',
  'tls-contract',
  'examples-cores',
  'fd',
  'tls-contract-more',
  'interop-haproxy',
  'attacks-proxy',
  'native',
  'tls-errors',
  'pipe',
  'running-guide',
  'drain',
  'framing',
  'attacks-unread',
  'attacks-data',
  'ring',
];

function rank(file) {
  const place = LONGEST.indexOf(path.basename(file, '.test.js'));
  return place === -1 ? LONGEST.length : place;
}

export default {
  files: ['out/__test__/**/*.test.js'],
  sortTestFiles: (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1),
  // A process for each test file: sockets left open, signals and the environment stay with the file that made them.
  workerThreads: false,
  // One more than the processors of the smallest machine, because files wait for timeouts and child processes.
  concurrency: 3,
  // Without any result for this long, a file is given up. Long enough for a machine that has much else to do; a child process
  // that hangs is ended before (`LONGEST_MS` in `__test__/program.ts`), so that its test can say what it was waiting for.
  timeout: '3m',
  failFast: false,
};
