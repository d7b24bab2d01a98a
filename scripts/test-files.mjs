/**
 * The test files, what each of them depends on, and the passes of `npm test` that run it.
 *
 * A test file runs in every pass unless one of its lines says otherwise, with the reason after the colon:
 *
 *     // Runs once: ...
 *     // Runs once for each engine: ...
 *     // Runs once for each way of reading: ...
 *
 * It then runs in the first pass, or in the first pass with each engine or each way of reading. Only passes that run at all
 * count: if there is no addon, or SLUICE_ENGINE selects one engine, no test file is skipped for that reason.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { SetupError, root, writeWhole } from './setup.mjs';

/** The environment variables that distinguish the passes. */
const ENGINE = 'SLUICE_ENGINE';
const READS = 'SLUICE_READS';

const DECLARATIONS = {
  'Runs once': [],
  'Runs once for each engine': [ENGINE],
  'Runs once for each way of reading': [READS],
};

/**
 * Test files that share a process when all tests run, by groups of files that run in the same passes. The start of a process, of
 * ava and of the library takes about half a second of processor time, more than most of these files. The tests of a group run
 * file by file: see `test-group.mjs`.
 *
 * A file may be in a group if its tests neither change nor measure anything that belongs to the whole process, except in serial
 * tests that restore it: the environment, the clock, listeners of `process`, the garbage collector and its memory. Files that
 * take more than a few seconds run alone, so that they can be started first. `test-files.test.ts` checks what can be checked.
 */
export const GROUPS = {
  // In every pass.
  'all-readers': [
    ...['ending', 'frame-cut', 'frames-transports', 'loops', 'pending-read', 'read-ahead', 'short-lines'],
    ...['stream', 'timeouts'],
  ],
  // Once.
  'once-attacks': ['attacks-connections', 'attacks-flood', 'attacks-proxy', 'attacks-slow', 'attacks-unread'],
  'once-children': ['cluster', 'cluster-unix', 'fd', 'inherited', 'left-out'],
  'once-examples': ['examples', 'examples-cores', 'examples-more'],
  'once-guides': ['diagnostics-guide', 'guides', 'running-guide', 'streams-guide', 'testing-guide'],
  'once-memory': [
    ...['asyncio-cases', 'bench-lasting', 'bench-protocols', 'errors', 'fill', 'happy-eyeballs', 'http', 'lengths'],
    ...['memory', 'native', 'native-ring', 'option-names', 'proxy-header', 'readme', 'release-ready', 'resp'],
    ...['resp-timeouts', 'ring', 'separator', 'slab', 'smtp', 'test-files', 'turns', 'websocket'],
    ...['websocket-handshake', 'write-at-once', 'writer'],
  ],
  'once-peers': ['http-peers', 'mqtt-peers', 'resp-peers', 'websocket-peers'],
  'once-protocols': [
    ...['amqp', 'http-server', 'memory-protocols', 'mqtt', 'mqtt-broker', 'mqtt-client'],
    ...['postgres', 'postgres-client', 'resp-client', 'websocket-conformance', 'websocket-connection'],
  ],
  'once-reports': ['admission', 'legacy', 'max-write-buffer', 'server-thenables', 'server-warnings'],
  'once-sockets': [
    ...['asyncio-parity-unix', 'connect-options', 'descriptors', 'duplex', 'happy-eyeballs-sockets', 'in-use'],
    ...['linger', 'node-internals', 'object-mode', 'server-options', 'server-ports', 'smtp-peers'],
    ...['socketpair', 'unix-server'],
  ],
  'once-transports': ['pipe', 'socket'],
  'once-tls': ['decrypted-reads', 'negotiated', 'set-secure-context', 'tls-client'],
  // Once for each engine.
  'engine-memory': [
    ...['frame-measurer', 'frame-scanner', 'frame-search', 'frames-read', 'framing', 'framings', 'impairments'],
    ...['pool', 'reader', 'reader-model', 'receive-buffer', 'splits', 'tries', 'window'],
  ],
  'engine-streams': [
    ...['detached', 'engine', 'frame-costs', 'index', 'permissions', 'sendfile', 'streampair'],
    ...['testing-clock', 'writeframe'],
  ],
  // Once for each way of reading.
  'reads-connect': [
    ...['asyncio-parity', 'connect', 'connect-pipe', 'connect-unix', 'last-words', 'timeouts-transports'],
    ...['write-max'],
  ],
  'reads-interop': [
    ...['interop-asyncio', 'interop-curl', 'interop-haproxy', 'interop-openssl', 'interop-tcp', 'interop-unix'],
  ],
  'reads-limits': ['drain', 'proxy-protocol'],
  'reads-server': ['closing-reads', 'server', 'server-side', 'server-timeouts'],
  'reads-streams': ['detach', 'stream-iter', 'to-duplex', 'to-duplex-users', 'to-web'],
  'reads-tls': ['start-tls', 'start-tls-transports', 'tls', 'tls-close', 'tls-errors'],
  'reads-tls-contract': ['tls-contract', 'tls-contract-more'],
};

/** The passes that the environment selects, including the variables that it sets for each of them. */
export function passes(addon, environment = process.env) {
  const { [ENGINE]: engine, [READS]: reads } = environment;
  const fastest = addon ? 'native' : 'typescript';
  const all = [
    { name: 'native engine', env: { [ENGINE]: 'native', [READS]: undefined } },
    { name: 'typescript engine', env: { [ENGINE]: 'typescript', [READS]: undefined } },
    { name: `${engine || fastest} engine, reads by 'data'`, env: { [ENGINE]: engine || fastest, [READS]: 'data' } },
  ];
  return all.filter(({ env }) => {
    if (engine ? env[ENGINE] !== engine : env[ENGINE] === 'native' && !addon) return false;
    return !reads || env[READS] === reads;
  });
}

/** The files that each pass runs: those for which no earlier pass had the same values of everything that they depend on. */
export function plan(chosen, files) {
  return chosen.map((pass, i) => ({
    ...pass,
    files: files.filter(({ dependsOn }) => {
      const same = (before) => dependsOn.every((variable) => before.env[variable] === pass.env[variable]);
      return !chosen.slice(0, i).some(same);
    }),
  }));
}

/**
 * The processes that run some test files: one for each group of which all files are among them, and one for each other file.
 * `files` has the files of a group.
 */
export function together(files) {
  const groups = Object.entries(GROUPS).flatMap(([name, names]) => {
    const members = names.map((each) => files.find((file) => file.name === each));
    if (members.includes(undefined)) return [];
    return [{ name, compiled: `out/__test__/groups/${name}.test.js`, files: members }];
  });
  const grouped = new Set(groups.flatMap((group) => group.files));
  return [...groups, ...files.filter((file) => !grouped.has(file))];
}

/** Writes the test file that ava runs for a group. */
export function writeGroup({ compiled, files }) {
  const names = files.map(({ source }) => source.replace(/^__test__\/|\.test\.ts$/g, ''));
  writeWhole(
    path.join(root, compiled),
    `import { runTogether } from '../../../scripts/test-group.mjs';\nawait runTogether(${JSON.stringify(names)});\n`,
  );
}

/** The environment variables that a test file depends on, according to its source. */
export function dependencies(source, file) {
  const lines = source.match(/^\/\/ *Runs\b.*$/gim) ?? [];
  const found = lines.map((line) => DECLARATIONS[/^\/\/ (Runs once\b[^:]*): \S/.exec(line)?.[1]]);
  if (found.length > 1 || found.includes(undefined)) {
    throw new SetupError(`${file}: ${lines.join(' and ')} is not one of
${Object.keys(DECLARATIONS)
  .map((words) => `// ${words}: WHY`)
  .join('\n')}`);
  }
  return found[0] ?? [ENGINE, READS];
}

/** All test files in all folders of `__test__`. No two have the same name, because a name alone must identify a file. */
export function testFiles() {
  const files = new Map();
  const visit = (folder) => {
    for (const entry of fs.readdirSync(path.join(root, folder), { withFileTypes: true })) {
      const source = `${folder}/${entry.name}`;
      const [, name] = /^(.+)\.test\.ts$/.exec(entry.name) ?? [];
      if (entry.isDirectory()) visit(source);
      else if (name === undefined) continue;
      else if (files.has(name))
        throw new SetupError(`Two test files have the same name: ${files.get(name).source}, ${source}`);
      else files.set(name, { name, source, ...described(source) });
    }
  };
  visit('__test__');
  return [...files.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function described(source) {
  return {
    compiled: `out/${source.replace(/\.ts$/, '.js')}`,
    dependsOn: dependencies(fs.readFileSync(path.join(root, source), 'utf8'), source),
  };
}

/** The test files that an argument selects: by name, by the path of the source or of the compiled file, or by folder. */
export function named(files, word) {
  const name = path.basename(word).replace(/(\.test)?\.[jt]s$/, '');
  const file = files.find((each) => each.name === name);
  if (file !== undefined && !word.endsWith('/')) return [file];
  const folder = path.relative(root, path.resolve(root, word)).replace(/^out\//, '');
  const within = [`${folder}/`, `__test__/${folder}/`];
  return files.filter(({ source }) => within.some((start) => source.startsWith(start)));
}
