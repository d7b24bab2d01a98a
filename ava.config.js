import path from 'node:path';

/**
 * The test files and groups that take longest, in this order: they are started first, so that at the end of a pass no processor
 * waits for a long file that was started last.
 */
export const LONGEST = [
  'once-peers',
  'all-readers',
  'amqp-peers',
  'once-memory',
  'once-attacks',
  'bench',
  'reads-limits',
  'porting',
  'once-transports',
  'engine-memory',
  'once-guides',
  'once-examples',
  'once-reports',
  'close-bounds',
  'reads-streams',
  'reads-interop',
  'once-protocols',
  'reads-server',
  'timeout-schedules',
  'once-children',
  'reads-connect',
  'once-sockets',
  'abandoned',
  'reads-tls',
  'reads-tls-contract',
  'attacks-data',
  'idle',
  'diagnostics',
  'engine-streams',
];

const GROUPS = 'out/__test__/groups/**';

function rank(file) {
  const place = LONGEST.indexOf(path.basename(file, '.test.js'));
  return place === -1 ? LONGEST.length : place;
}

export default {
  // Groups repeat the tests of their files, so they run only if they are named, as `npm test` does.
  files: [
    'out/__test__/**/*.test.js',
    ...(process.argv.some((each) => each.includes('/groups/')) ? [] : [`!${GROUPS}`]),
  ],
  sortTestFiles: (a, b) => rank(a) - rank(b) || (a < b ? -1 : 1),
  // No test file, and no group of files, affects another: sockets left open, signals and the environment stay in its process.
  workerThreads: false,
  // Two more than the processors of the smallest machine, because files wait for timeouts and child processes.
  concurrency: 4,
  // Without any result for this long, a file is given up. Long enough for a machine that has much else to do; a child process
  // that hangs is ended before (`LONGEST_MS` in `__test__/program.ts`), so that its test can say what it was waiting for.
  timeout: '3m',
  failFast: false,
};
