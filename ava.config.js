export default {
  files: ['out/__test__/**/*.test.js'],
  // A process for each test file: sockets left open, signals and the environment stay with the file that made them.
  workerThreads: false,
  concurrency: 2,
  // Without any result for this long, a file is given up.
  timeout: '60s',
  failFast: false,
};
