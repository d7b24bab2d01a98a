/**
 * Sets up the working tree: dependencies, the native addon, the compiled TypeScript. `npm run build` runs it, and so do the
 * scripts of `npm start` and `npm test` before they do their own work.
 *
 * Every stage stores a stamp in its output: a hash of everything that the output is made from. A stage whose stamp matches is
 * skipped, and deleting an output also deletes its stamp. A stamp is written last and by renaming, so an interrupted stage is
 * repeated. Only one setup runs at a time; another one waits, and then finds nothing left to do.
 *
 * This file uses only Node's own modules, because it runs before anything is installed.
 */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

const inRoot = (...parts) => path.join(root, ...parts);

/** Where `node-gyp-build` looks for a local build. */
const addonFile = inRoot('build', 'Release', 'sluice.node');
const addonStamp = inRoot('build', 'Release', 'sluice.stamp');
const addonLog = inRoot('build', 'addon.log');
const addonTypes = inRoot('crates', 'addon', 'index.d.ts');
const lockFile = inRoot('build', 'setup.lock');

/** A stage failed. The user only needs to see the message. */
export class SetupError extends Error {}

/**
 * Builds what is missing or out of date: the dependencies, the native addon, the library, and the given programs, by default all
 * of them. If there is no addon, it prints the reason.
 *
 * @returns whether there is a native addon
 */
export async function setup(wanted = [examples, benchmarks, tests]) {
  const compilations = inOrder(wanted);
  if (!upToDate(compilations)) await exclusively(() => makeAll(compilations));
  const missing = addonIsCurrent() ? null : withoutAddon;
  if (missing !== null) {
    const outcome =
      process.env.SLUICE_ENGINE === 'native' ? 'There is no native engine' : 'The TypeScript engine is used';
    console.log(`${outcome}: ${missing}`);
  }
  return { addon: missing === null };
}

/** Why there is no addon; set by {@link makeAddon}. */
let withoutAddon = null;

function upToDate(compilations) {
  if (!dependenciesAreCurrent() || !compilations.every(isCompiled)) return false;
  if (addonIsCurrent()) return true;
  withoutAddon = reasonNotToBuild();
  return withoutAddon !== null && !fs.existsSync(addonFile);
}

async function makeAll(compilations) {
  if (!dependenciesAreCurrent()) await makeDependencies();
  if (!addonIsCurrent()) await makeAddon();
  for (const compilation of compilations) if (!isCompiled(compilation)) await compile(compilation);
}

// Dependencies

/**
 * Whether the packages that npm installed are those in the lock file. npm writes its record into node_modules last, so it serves
 * as the stamp, also for an installation that was made by hand.
 */
function dependenciesAreCurrent() {
  const installed = readJson(inRoot('node_modules', '.package-lock.json'))?.packages;
  if (installed === undefined) return false;
  const wanted = readJson(inRoot('package-lock.json'))?.packages;
  if (wanted === undefined) throw new SetupError('package-lock.json is missing or unreadable');
  for (const [name, entry] of Object.entries(wanted)) {
    if (name === '' || entry.link) continue;
    const have = installed[name];
    // npm omits optional packages that are for other platforms.
    if (have === undefined ? !entry.optional && !entry.devOptional : have.integrity !== entry.integrity) return false;
  }
  return true;
}

async function makeDependencies() {
  console.log('Installing the dependencies ...');
  // npm_execpath is set if npm runs this script. Otherwise use the npm on PATH.
  const cli = process.env.npm_execpath;
  // No dependency needs its install scripts: those of ssh2 would only compile optional addons.
  const args = ['ci', '--include=dev', '--ignore-scripts', '--no-audit', '--no-fund'];
  const result =
    cli !== undefined && /npm-cli\.[cm]?js$/.test(cli)
      ? await run(process.execPath, [cli, ...args])
      : await run('npm', args, { shell: process.platform === 'win32' });
  if (result.code !== 0) fail('npm ci failed', result.output);
  if (!dependenciesAreCurrent()) fail('npm ci succeeded, but node_modules does not match package-lock.json');
}

// The native addon

function addonIsCurrent() {
  return fs.existsSync(addonFile) && stampFits(addonStamp, addonHash());
}

function addonHash() {
  const sources = ['Cargo.toml', 'Cargo.lock', ...filesUnder('crates', addonSource)];
  return hash([...sources, 'scripts/setup.mjs'], `${process.platform} ${process.arch}`);
}

/** The fuzz targets are a separate workspace, and the build creates the declarations. */
function addonSource(file) {
  return /\.(rs|toml)$/.test(file) && !file.includes('/fuzz/') && !file.includes('/target/');
}

function reasonNotToBuild() {
  return onPath('cargo') ? null : 'cargo is not on PATH, so the native addon was not built';
}

/** Builds the addon. A failure sets {@link withoutAddon} and leaves no addon, but the setup itself does not fail. */
async function makeAddon() {
  // No binary is better than one that does not match the sources.
  fs.rmSync(addonFile, { force: true });
  withoutAddon = reasonNotToBuild();
  if (withoutAddon !== null) return;

  console.log('Building the native addon ...');
  const stamp = addonHash();
  const output = inRoot('build', `addon-${process.pid}`);
  try {
    const napi = binOf('@napi-rs/cli', 'napi');
    const manifest = inRoot('crates', 'addon', 'Cargo.toml');
    const paths = ['--manifest-path', manifest, '--package-json-path', inRoot('package.json'), '--output-dir', output];
    const options = ['--release', '--no-js', '--dts', 'index.d.ts'];
    const result = await run(process.execPath, [napi, 'build', ...paths, ...options, '--', '--locked']);
    fs.writeFileSync(addonLog, result.output);
    const built = path.join(output, 'sluice.node');
    if (result.code !== 0 || !fs.existsSync(built)) {
      throw new Error(`${firstError(result.output)} (the complete output is in ${path.relative(root, addonLog)})`);
    }
    createRequire(import.meta.url)(built);

    const types = fs.readFileSync(path.join(output, 'index.d.ts'));
    if (!fs.existsSync(addonTypes) || !fs.readFileSync(addonTypes).equals(types)) fs.writeFileSync(addonTypes, types);
    fs.mkdirSync(path.dirname(addonFile), { recursive: true });
    // Rename instead of overwriting, so that a process that has mapped the old binary is not affected.
    fs.renameSync(built, addonFile);
    writeWhole(addonStamp, stamp);
  } catch (error) {
    withoutAddon = `the native addon cannot be built: ${error.message.split('\n')[0]}`;
  } finally {
    fs.rmSync(output, { recursive: true, force: true });
  }
}

/** The line of a compiler's output that says what went wrong. */
function firstError(output) {
  const lines = output.split('\n').map((line) => line.trim());
  const telling = lines.find((line) => /^error(\[E\d+\])?:/i.test(line)) ?? lines.filter((line) => line !== '').at(-1);
  return (telling ?? 'no output').replace(/^error(\[E\d+\])?:\s*/i, '');
}

// TypeScript

/**
 * The compilations. Each one compiles one folder of sources and has its own stamp, so that an error in one folder does not affect
 * programs that do not need it.
 */
const library = {
  name: 'the library',
  config: 'tsconfig.json',
  source: 'ts',
  output: 'dist',
  needs: [],
  /** Where the compiler writes the modules, which `bundle.mjs` then joins. It writes the declarations into `output`. */
  modules: 'dist/.modules',
};
export const examples = {
  name: 'the examples',
  config: 'tsconfig.examples.json',
  source: 'examples',
  output: 'out/examples',
  needs: [library],
};
export const benchmarks = {
  name: 'the benchmarks',
  config: 'tsconfig.benchmarks.json',
  source: 'benchmarks',
  output: 'out/benchmarks',
  needs: [library, examples],
};
/** The tests import code of the benchmarks, and the protocols of the examples. */
export const tests = {
  name: 'the tests',
  config: 'tsconfig.test.json',
  source: '__test__',
  output: 'out/__test__',
  needs: [library, examples, benchmarks],
};

/** The compilations and everything that they need, each once, after whatever it needs. */
function inOrder(compilations) {
  return [...new Set(compilations.flatMap((compilation) => [...inOrder(compilation.needs), compilation]))];
}

function sourcesHash({ config, source, needs, modules }) {
  const sources = filesUnder(source, (file) => /\.[cm]?ts$/.test(file));
  const settings = ['tsconfig.base.json', config, 'package.json', 'package-lock.json'];
  if (modules !== undefined) settings.push('scripts/bundle.mjs');
  return hash([...settings, ...sources], needs.map(sourcesHash).join());
}

/** Includes the compiler's own record, so that a compilation of other sources by hand invalidates the stamp. */
function compilationStamp(compilation) {
  return hash([`${compilation.output}/.tsbuildinfo`], sourcesHash(compilation));
}

function isCompiled(compilation) {
  return stampFits(inRoot(compilation.output, '.stamp'), compilationStamp(compilation));
}

async function compile(compilation) {
  const { name, config, source, output, modules } = compilation;
  console.log(`Compiling ${name} ...`);
  const before = sourcesHash(compilation);
  const result = await run(process.execPath, [binOf('typescript', 'tsc'), '-p', inRoot(config), '--pretty', 'false']);
  if (result.code !== 0) fail(`Compiling ${name} failed`, result.output);
  if (modules === undefined) removeOrphans(output, source);
  else await bundleModules(modules, output, source);
  // If the sources were edited during the compilation, do not write a stamp.
  if (sourcesHash(compilation) === before) writeWhole(inRoot(output, '.stamp'), compilationStamp(compilation));
}

/** Joins the modules, and deletes everything in the output that does not belong to them. */
async function bundleModules(compiled, output, source) {
  removeOrphans(compiled, source);
  const { bundle } = await import('./bundle.mjs');
  const modules = filesUnder(compiled, (file) => file.endsWith('.js')).map((file) =>
    path.posix.relative(compiled, file),
  );
  const { files } = await bundle(inRoot(compiled), inRoot(output), modules, { sourcemap: true });
  for (const [name, text] of files) writeWhole(inRoot(output, name), text);
  const kept = new Set(files.keys());
  for (const module of modules) for (const kind of ['d.ts', 'd.ts.map']) kept.add(module.replace(/js$/, kind));
  for (const file of filesUnder(output, (name) => !name.includes('/.'))) {
    if (!kept.has(path.posix.relative(output, file))) fs.rmSync(inRoot(file));
  }
}

/** Deletes the output of deleted sources, so that a deleted test no longer runs. */
function removeOrphans(output, source) {
  for (const file of filesUnder(output, (name) => /\.(d\.ts|js)(\.map)?$/.test(name))) {
    const stem = path.posix.relative(output, file).replace(/\.(d\.ts|js)(\.map)?$/, '');
    // `npm test` makes the groups, and another one may be using them.
    if (stem.startsWith('groups/')) continue;
    if (!fs.existsSync(inRoot(source, `${stem}.ts`))) fs.rmSync(inRoot(file), { force: true });
  }
}

// Files and stamps

function readJson(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8'));
  } catch {
    return null;
  }
}

/** The files under a folder of the tree, as paths with `/` from its root, in a fixed order. */
function filesUnder(folder, accept) {
  const found = [];
  const visit = (relative) => {
    let entries;
    try {
      entries = fs.readdirSync(inRoot(relative), { withFileTypes: true });
    } catch (error) {
      if (error.code === 'ENOENT') return;
      throw error;
    }
    for (const entry of entries) {
      const name = `${relative}/${entry.name}`;
      if (entry.isDirectory()) visit(name);
      else if (accept(name)) found.push(name);
    }
  };
  visit(folder);
  return found.sort();
}

function hash(files, seed = '') {
  const sum = createHash('sha256').update(seed);
  for (const file of files) {
    const bytes = fs.existsSync(inRoot(file)) ? fs.readFileSync(inRoot(file)) : Buffer.alloc(0);
    sum.update(`\0${file}\0${bytes.length}\0`).update(bytes);
  }
  return sum.digest('hex');
}

function stampFits(file, stamp) {
  try {
    return fs.readFileSync(file, 'utf8') === stamp;
  } catch {
    return false;
  }
}

/** Writes by renaming, and only what has changed, because another process may be reading the file. */
export function writeWhole(file, text) {
  if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === text) return;
  fs.mkdirSync(path.dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  fs.writeFileSync(draft, text);
  fs.renameSync(draft, file);
}

// Processes

function onPath(program) {
  const names = process.platform === 'win32' ? [`${program}.exe`, `${program}.cmd`] : [program];
  const folders = (process.env.PATH ?? '').split(path.delimiter).filter((folder) => folder !== '');
  return folders.some((folder) => names.some((name) => isExecutable(path.join(folder, name))));
}

function isExecutable(file) {
  try {
    fs.accessSync(file, fs.constants.X_OK);
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

/** The script of a command of an installed package. */
export function binOf(packageName, command) {
  const folder = inRoot('node_modules', packageName);
  const { bin } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
  return path.join(folder, typeof bin === 'string' ? bin : bin[command]);
}

/** Runs a program to its end and returns its output, with both streams interleaved as they arrived. */
function run(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], ...options });
    const pieces = [];
    child.stdout.on('data', (piece) => pieces.push(piece));
    child.stderr.on('data', (piece) => pieces.push(piece));
    child.on('error', (error) => resolve({ code: 127, output: `${program}: ${error.message}\n` }));
    child.on('close', (code, signal) => {
      const end = signal === null ? '' : `${program} was ended by ${signal}\n`;
      resolve({ code: code ?? 1, output: Buffer.concat(pieces).toString() + end });
    });
  });
}

function fail(message, output = '') {
  throw new SetupError(output === '' ? message : `${message}:\n\n${output.trimEnd()}\n`);
}

// One setup at a time

/** A lock may be taken over if its owner has exited, or has not refreshed it for this long. */
const LOCK_STALE_MS = 60_000;

async function exclusively(work) {
  fs.mkdirSync(path.dirname(lockFile), { recursive: true });
  await takeLock();
  const alive = setInterval(() => fs.utimes(lockFile, new Date(), new Date(), () => {}), LOCK_STALE_MS / 10);
  alive.unref();
  const release = () => fs.rmSync(lockFile, { force: true });
  const interrupted = (signal) => {
    release();
    process.kill(process.pid, signal);
  };
  const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.once(signal, interrupted);
  try {
    await work();
  } finally {
    for (const signal of signals) process.off(signal, interrupted);
    clearInterval(alive);
    release();
  }
}

async function takeLock() {
  // Link a file that already contains its owner's pid, so that there is never a lock without an owner.
  const draft = `${lockFile}.${process.pid}`;
  fs.writeFileSync(draft, String(process.pid));
  try {
    for (let waited = false; ; waited = true) {
      try {
        fs.linkSync(draft, lockFile);
        return;
      } catch (error) {
        if (error.code !== 'EEXIST') throw error;
      }
      if (lockIsStale()) {
        fs.rmSync(lockFile, { force: true });
        continue;
      }
      if (!waited) console.log(`Waiting for another setup of this folder (${path.relative(root, lockFile)}) ...`);
      await new Promise((resolve) => setTimeout(resolve, 250));
    }
  } finally {
    fs.rmSync(draft, { force: true });
  }
}

function lockIsStale() {
  try {
    const owner = Number(fs.readFileSync(lockFile, 'utf8'));
    if (Date.now() - fs.statSync(lockFile).mtimeMs > LOCK_STALE_MS) return true;
    process.kill(owner, 0);
    return false;
  } catch (error) {
    return error.code === 'ESRCH';
  }
}

/** Runs a script's main function. A {@link SetupError} is shown as its message only; any other error is thrown. */
export async function main(work) {
  try {
    process.exitCode = await work();
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href) {
  await main(async () => {
    await setup();
    return 0;
  });
}
