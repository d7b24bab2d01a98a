/** The tools that run contenders on this machine: Node, Python, and compilers for C, Rust and Go. */
import { mkdir, readdir, stat } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { executable, isProgram, type Missing, type Program, run } from './programs.js';

/** The root of the project. This file runs as out/benchmarks/toolchain.js. */
export const root = fileURLToPath(new URL('../../', import.meta.url));

const contenders = fileURLToPath(new URL('contenders/', import.meta.url));
const sources = join(root, 'benchmarks', 'native');
const builds = join(root, 'out', 'benchmarks', 'native');

export type Engine = 'native' | 'typescript';

/** Finds a contender: returns the program to run, or the reason why there is none. */
export type Locate = () => Promise<Program | Missing>;

const compiled = new Map<string, Locate>();

/** Looks for a program only once, even if several cases need it. */
function compiledOnce(target: string, find: Locate): Locate {
  const locate = compiled.get(target) ?? once(find);
  compiled.set(target, locate);
  return locate;
}

function once<T>(find: () => Promise<T>): () => Promise<T> {
  let found: Promise<T> | undefined;
  return () => (found ??= find());
}

/** A contender in `benchmarks/contenders`, run by this Node. `needs` names a package that it requires. */
export function node(name: string, { needs, flags = [] }: { needs?: string; flags?: readonly string[] } = {}): Locate {
  const program = { command: process.execPath, args: [...flags, join(contenders, `${name}.js`)] };
  const installed = needs === undefined || isInstalled(needs);
  return () => Promise.resolve(installed ? program : { missing: `package ${needs} is not installed` });
}

/** A program of another project, from PATH. */
export function program(command: string): Locate {
  return () => Promise.resolve(isProgram(command) ? { command, args: [] } : { missing: `no ${command} on PATH` });
}

function isInstalled(packageName: string): boolean {
  try {
    createRequire(import.meta.url).resolve(packageName);
    return true;
  } catch {
    return false;
  }
}

/** A contender that imports sluice, on the given engine. */
export function sluice(name: string, engine: Engine, flags: readonly string[] = []): Locate {
  return async () => {
    const broken = await engineFailure(engine);
    if (broken !== null) return { missing: broken };
    const args = [...flags, join(contenders, `${name}.js`)];
    return { command: process.execPath, args, env: { SLUICE_ENGINE: engine } };
  };
}

const failures = new Map<Engine, Promise<string | null>>();

/** Why an engine cannot be loaded; null when it can. */
export function engineFailure(engine: Engine): Promise<string | null> {
  let failure = failures.get(engine);
  if (failure === undefined) {
    failure = probeEngine(engine);
    failures.set(engine, failure);
  }
  return failure;
}

/** Loads sluice in a separate process, as a contender does, and checks which engine it reports. */
async function probeEngine(engine: Engine): Promise<string | null> {
  const probe = `import(${JSON.stringify(import.meta.resolve('sluice'))}).then(
    ({ engine }) => console.log(engine),
    ({ message }) => console.log(message.replace(/\\s+/g, ' ')))`;
  const found = await run({ command: process.execPath, args: ['-e', probe], env: { SLUICE_ENGINE: engine } });
  return found.trim() === engine ? null : `the ${engine} engine does not load: ${found.trim()}`;
}

interface Python {
  readonly command: string;
  readonly version: string;
  readonly uvloop: string | null;
}

const PYTHON_PROBE = `
import sys
try:
    import uvloop
    found = uvloop.__version__
except ImportError:
    found = ''
print('.'.join(map(str, sys.version_info[:3])), found)
`;

/** The oldest version with assignment expressions, which the contenders use. */
const OLDEST_PYTHON = '3.8.0';

/** Every CPython on PATH and under pyenv, newest first. `SLUICE_BENCH_PYTHON` adds another one. */
const pythons = once(async (): Promise<Python[]> => {
  const commands = new Set<string>();
  if (process.env['SLUICE_BENCH_PYTHON']) commands.add(process.env['SLUICE_BENCH_PYTHON']);
  for (const directory of (process.env['PATH'] ?? '').split(delimiter)) {
    for (const name of await names(directory)) {
      if (/^python3(\.\d+)?(\.exe)?$/.test(name)) commands.add(join(directory, name));
    }
  }
  const pyenv = join(process.env['PYENV_ROOT'] ?? join(process.env['HOME'] ?? '', '.pyenv'), 'versions');
  for (const version of await names(pyenv)) {
    if (/^3\.\d/.test(version)) commands.add(join(pyenv, version, 'bin', 'python3'));
  }
  const found: Python[] = [];
  for (const command of commands) {
    try {
      const [version = '', uvloop = ''] = (await run({ command, args: ['-c', PYTHON_PROBE] })).trim().split(' ');
      if (compareVersions(version, OLDEST_PYTHON) >= 0) found.push({ command, version, uvloop: uvloop || null });
    } catch {
      // Ignore a pyenv shim for which no interpreter is installed.
    }
  }
  return found.sort((a, b) => compareVersions(b.version, a.version));
});

async function names(directory: string): Promise<string[]> {
  try {
    return await readdir(directory);
  } catch {
    return [];
  }
}

/** Compares dotted versions: negative if `a` is older. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number);
  const right = b.split('.').map(Number);
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** The newest CPython on the machine, or the newest one that has uvloop. */
async function newestPython(uvloop: boolean): Promise<Python | undefined> {
  return (await pythons()).find((python) => !uvloop || python.uvloop !== null);
}

/** A contender in Python, run from its source folder. */
export function python(file: string, { uvloop = false } = {}): Locate {
  return async () => {
    const found = await newestPython(uvloop);
    if (found === undefined) {
      return { missing: uvloop ? 'no CPython with uvloop' : `no CPython ${OLDEST_PYTHON} or later` };
    }
    return {
      command: found.command,
      // Without -B, Python would create a __pycache__ folder among the sources.
      args: ['-B', join(root, 'benchmarks', 'contenders', file)],
      ...(uvloop && { env: { SLUICE_BENCH_LOOP: 'uvloop' } }),
    };
  };
}

/** A contender in Rust: the package with this name in `benchmarks/native/rust`, built when it is first needed. */
export function rust(name: string): Locate {
  const target = join(builds, 'rust');
  const program = join(target, 'release', executable(name));
  return compiledOnce(program, () => {
    const manifest = join(sources, 'rust', 'Cargo.toml');
    const options = ['--release', '--locked', '--quiet', '--manifest-path', manifest, '--target-dir', target];
    const cargo = { command: 'cargo', args: ['build', ...options, '--package', name] };
    return built(cargo, program);
  });
}

/** A contender in Go: the folder with this name in `benchmarks/native/go`, built when it is first needed. */
export function go(name: string): Locate {
  const program = join(builds, 'go', executable(name));
  return compiledOnce(program, () => {
    // The module needs only the standard library, and must be built with the installed toolchain.
    const env = { CGO_ENABLED: '0', GOFLAGS: '', GOTOOLCHAIN: 'local', GOWORK: 'off' };
    const args = ['build', '-C', join(sources, 'go'), '-o', program, `./${name}`];
    return built({ command: 'go', args, env }, program);
  });
}

/** Runs a compiler and returns its program, or its error message. The compiler decides whether it has anything to do. */
async function built(compiler: Program, program: string): Promise<Program | Missing> {
  const { command } = compiler;
  try {
    await run(compiler);
  } catch (error) {
    const { message } = error as Error;
    if (message.includes('ENOENT')) return { missing: `no ${command} on PATH` };
    const complaints = message.split('\n').slice(1);
    const telling = complaints.find((line) => line.startsWith('error')) ?? complaints.at(-1) ?? message;
    return { missing: `${command} could not build it: ${telling.trim()}` };
  }
  return { command: program, args: [] };
}

/** Why one process cannot open this many connections; null if it can. Node raises its own limit to the hard limit. */
export function tooManyFiles(connections: number): string | null {
  const needed = connections + FILES_BESIDES;
  const { userLimits } = process.report.getReport() as { userLimits?: { open_files?: { hard?: number | string } } };
  const allowed = userLimits?.open_files?.hard;
  return typeof allowed === 'number' && allowed < needed
    ? `${needed} open files are needed, and ${allowed} are allowed`
    : null;
}

/** More than enough for the files that a process opens besides its connections. */
const FILES_BESIDES = 64;

/** The first line of a program's output; null if the program is not installed. */
async function says(command: string, ...args: string[]): Promise<string | null> {
  try {
    return (await run({ command, args })).split('\n')[0]?.trim() ?? null;
  } catch {
    return null;
  }
}

/** The versions of the contenders' tools, for the record. */
export async function versions(): Promise<Record<string, string>> {
  const plain = await newestPython(false);
  const withUvloop = await newestPython(true);
  const rustc = await says('rustc', '--version');
  const goVersion = await says('go', 'env', 'GOVERSION');
  return {
    node: process.versions.node,
    ...(plain && { python: plain.version }),
    ...(withUvloop && { uvloop: `${withUvloop.uvloop} on CPython ${withUvloop.version}` }),
    ...(rustc !== null && { rust: rustc.replace(/^rustc /, '') }),
    ...(goVersion !== null && { go: goVersion.replace(/^go/, '') }),
  };
}

/** The sender: the C program if there is a compiler, or else its replacement for Node, which takes the same arguments. */
export const loopback = once(async (): Promise<Program> => {
  const source = join(sources, 'loopback.c');
  const target = join(builds, 'loopback');
  if (process.platform !== 'win32') {
    if (await isNewer(target, source)) return { command: target, args: [] };
    await mkdir(builds, { recursive: true });
    for (const command of ['cc', 'gcc', 'clang']) {
      try {
        await run({ command, args: ['-O2', '-o', target, source] });
        return { command: target, args: [] };
      } catch {
        // Try the next compiler.
      }
    }
  }
  return { command: process.execPath, args: [join(contenders, '..', 'loopback.js')] };
});

/** The sender of cases whose receivers use TLS. */
export const tlsSender: Program = { command: process.execPath, args: [join(contenders, '..', 'tls-sender.js')] };

async function isNewer(target: string, source: string): Promise<boolean> {
  try {
    return (await stat(target)).mtimeMs > (await stat(source)).mtimeMs;
  } catch {
    return false;
  }
}
