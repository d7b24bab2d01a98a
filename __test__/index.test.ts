/** What the package exports, and that importing it has no other effect. */
// Runs once for each engine: no socket is read.
import { spawnSync } from 'node:child_process';
import test from 'ava';
import * as sluice from 'sluice';
import { LONGEST_MS, root } from './program.js';

const classes = [
  'ConnectionError',
  'FrameError',
  'FrameLoop',
  'Frames',
  'IncompleteReadError',
  'LimitOverrunError',
  'Lines',
  'StateError',
  'Stream',
  'StreamReader',
  'StreamServer',
  'StreamWriter',
  'TimeoutError',
  'UnixStreamServer',
];
const functions = [
  'connect',
  'connectReadPipe',
  'connectUnix',
  'connectWritePipe',
  'openConnection',
  'openUnixConnection',
  'socketpair',
  'startServer',
  'startUnixServer',
  'streampair',
];

test('the package exports these names, and no others', (t) => {
  t.deepEqual(Object.keys(sluice).sort(), [...classes, ...functions, 'StreamMode', 'engine'].sort());
});

test('every exported function and class has its own name', (t) => {
  const exported = sluice as Record<string, unknown>;
  for (const name of [...classes, ...functions]) {
    const value = exported[name] as { name: string };
    t.is(typeof value, 'function', name);
    t.is(value.name, name);
  }
  t.true(['native', 'typescript'].includes(sluice.engine));
  t.is(sluice.StreamMode.READ | sluice.StreamMode.WRITE, sluice.StreamMode.READWRITE);
});

test('importing the package starts nothing, prints nothing and leaves the process unchanged', (t) => {
  const program = `
    const state = () => ({
      resources: process.getActiveResourcesInfo(),
      listeners: process.eventNames().map((name) => [String(name), process.listenerCount(name)]),
      globals: Reflect.ownKeys(globalThis).map(String),
      prototypes: [Object, Array, Uint8Array, Buffer, Promise].map(({ prototype }) => Reflect.ownKeys(prototype).length),
      exitCode: process.exitCode ?? null,
    });
    // From Node 22 on this module of Node's makes process.stderr.
    await import('node:util');
    const before = state();
    await import('sluice');
    // What an import sets off may take a turn to show.
    await new Promise((resolve) => setImmediate(resolve));
    const after = state();
    process.on('exit', () => console.log(JSON.stringify([before, after])));
  `;
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, SLUICE_DEBUG: '' },
    // A process that is kept alive is ended by a signal.
    timeout: LONGEST_MS,
  });
  t.is(stderr, '');
  t.is(signal, null);
  t.is(status, 0);
  const [before, after] = JSON.parse(stdout) as [object, object];
  t.deepEqual(after, before);
});

test('the package has no other entry point', async (t) => {
  for (const path of ['sluice/dist/index.js', 'sluice/ts/index.ts', 'sluice/reader']) {
    await t.throwsAsync(import(path), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' }, path);
  }
});
