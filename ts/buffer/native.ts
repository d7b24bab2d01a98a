/**
 * Loads the binary; no other file does.
 *
 * It first looks where a build on this machine leaves the binary (with `node-gyp-build`, which never looks into other packages), then
 * in the package for this platform, which a package manager installs as an optional dependency. If neither has a binary that
 * fits, the TypeScript engine is used. `SLUICE_DEBUG=1` prints the reasons, `SLUICE_ENGINE=native` makes them the message of an
 * error, and `SLUICE_ENGINE=typescript` does not look for a binary at all.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { coded } from '../errors.js';

/** A separator, or lengths, of the native engine; opaque to JavaScript. */
export type NativeFraming = object;

/**
 * The functions of the binary. `block` is the whole block of a ring, lent for the duration of the call. With `from`, the ring is first moved
 * over from that block. A function that returns a number returns 0, or the capacity of a block that has room: then nothing has changed
 * in the block that holds the ring. `words` are those of a listing, which the call continues: see `FrameIndex`. Invalid arguments throw a
 * `TypeError` or a `RangeError`.
 */
export interface Addon {
  /** Called without `new`: in Bun, `new` would return the new object instead of the separator. */
  Separator(sequences: readonly Uint8Array[]): NativeFraming;
  /** The numbers of a `Lengths`. Also called without `new`. */
  Lengths(field: number, offset: number, adjust: number, least: number, maxLengthBytes: number): NativeFraming;
  /** Appends `data`, across the wrap point. */
  append(
    block: Uint8Array,
    data: Uint8Array,
    from?: Uint8Array,
    words?: Uint32Array,
    framing?: NativeFraming,
    limit?: number,
    max?: number,
  ): number;
  /** Makes the first `count` bytes of the region unread. */
  commit(
    block: Uint8Array,
    count: number,
    words?: Uint32Array,
    framing?: NativeFraming,
    limit?: number,
    max?: number,
  ): void;
  /** `Ring.list` */
  list(block: Uint8Array, words: Uint32Array, framing: NativeFraming, limit: number, max: number): void;
  /** Makes a region of at least `min` bytes for what comes next. */
  reserve(block: Uint8Array, min: number, from?: Uint8Array): number;
  /** Puts `data` before the unread bytes. */
  unread(block: Uint8Array, data: Uint8Array, from?: Uint8Array): number;
  /**
   * Sets the position of an open file, where the next read without a position begins: `lseek`, which Node does not offer.
   * Throws an `Error` with the system's code, on Windows always `ENOSYS`.
   */
  seek(fd: number, position: number): void;
  /**
   * How many bytes written to a socket its peer has not accepted yet. Throws an `Error` with the system's code; on systems
   * other than Linux always `ENOSYS`.
   */
  unsent(fd: number): number;
}

/** The version of the package, and so of each package with a binary: `scripts/version.mjs` writes it. */
export const VERSION = '0.1.0';

const FUNCTIONS = ['Separator', 'Lengths', 'append', 'commit', 'list', 'reserve', 'unread', 'seek', 'unsent'] as const;

/** This file, or the bundle that contains it: bundlers that generate CommonJS leave `import.meta` empty. */
const HERE = (import.meta as Partial<ImportMeta>).url ?? pathToFileURL(__filename).href;
const require = createRequire(HERE);
/** The root of the package, relative to `dist/sluice.js`, which contains this module. */
const PACKAGE_ROOT = fileURLToPath(new URL('..', HERE));

interface Location {
  readonly name: string;
  load(): unknown;
}

/**
 * The binary that the environment selects; `null` if the TypeScript engine is to be used.
 *
 * @throws Error `ERR_NATIVE_UNAVAILABLE` when the native engine is forced and cannot be loaded
 * @throws TypeError `ERR_INVALID_ARG_VALUE` when `SLUICE_ENGINE` names no engine
 */
export function loadAddon(environment: NodeJS.ProcessEnv = process.env): Addon | null {
  const wanted = environment['SLUICE_ENGINE'] ?? '';
  if (wanted !== '' && wanted !== 'native' && wanted !== 'typescript') {
    const message = `SLUICE_ENGINE must be 'native' or 'typescript', not ${JSON.stringify(wanted)}`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
  }
  if (wanted === 'typescript') return null;

  const reasons: string[] = [];
  let addon: Addon | null = null;
  let outcome = 'the TypeScript engine is used; no binary';
  for (const location of locations()) {
    try {
      const candidate = location.load();
      checkAddon(candidate);
      addon = candidate;
      outcome = `the native engine is used: ${location.name}`;
      break;
    } catch (error) {
      reasons.push(`  - ${location.name}: ${reasonOf(error)}`);
    }
  }
  if (environment['SLUICE_DEBUG'] === '1') {
    process.stderr.write(`${[`sluice: ${outcome}`, ...reasons].join('\n')}\n`);
  }
  if (addon === null && wanted === 'native') {
    const message = ['SLUICE_ENGINE=native, but no binary can be loaded:', ...reasons].join('\n');
    throw coded(new Error(message), 'ERR_NATIVE_UNAVAILABLE');
  }
  return addon;
}

/** Where a binary can be, in the order of the attempts. */
function* locations(): Generator<Location> {
  yield { name: 'built on this machine', load: loadLocalBuild };
  const packages = platformPackages();
  for (const name of packages) yield { name: `package ${name}`, load: () => loadPackage(name) };
  if (packages.length === 0) {
    yield {
      name: 'package of this platform',
      load: () => {
        throw new Error(`none is made for ${process.platform} on ${process.arch}`);
      },
    };
  }
}

function loadLocalBuild(): unknown {
  // A bundle is part of another package, and the binaries of that package must not be loaded.
  if ((require('../package.json') as { name?: unknown }).name !== 'sluice') throw new Error('not the package sluice');
  return (require('node-gyp-build') as (root: string) => unknown)(PACKAGE_ROOT);
}

function loadPackage(name: string): unknown {
  if (!isInstalled(name)) throw new Error('not installed');
  const { version } = require(`${name}/package.json`) as { version?: unknown };
  if (version !== VERSION) throw new Error(`its version is ${String(version)}, and sluice is ${VERSION}`);
  return require(name) as unknown;
}

/** The ABIs of Linux for which there are binaries. The two byte orders of ppc64 have one name, and the other one refuses the binary. */
const LINUX_ABIS: Readonly<Record<string, readonly string[]>> = {
  x64: ['gnu', 'musl'],
  arm64: ['gnu', 'musl'],
  arm: ['gnueabihf'],
  s390x: ['gnu'],
  ppc64: ['gnu'],
  riscv64: ['gnu'],
};

/**
 * The packages that may have the binary for this platform, the likeliest first.
 *
 * A package manager installs the one with the right C library, so the installed package shows which library that is. Only if both
 * are installed, as by package managers that ignore the C library, the process is examined, which takes as long as the rest of the start.
 */
export function platformPackages(
  platform: string = process.platform,
  arch: string = process.arch,
  musl: () => boolean = isMusl,
  installed: (name: string) => boolean = isInstalled,
  armVersion: () => number = ownArmVersion,
): readonly string[] {
  if (platform === 'linux') {
    // The binary has instructions that an ARMv6, such as the first Raspberry Pi, does not have.
    if (arch === 'arm' && armVersion() < 7) return [];
    const names = (LINUX_ABIS[arch] ?? []).map((abi) => `sluice-linux-${arch}-${abi}`);
    const present = names.filter(installed);
    if (present.length === 1) return present;
    return present.length === 2 && musl() ? names.reverse() : names;
  }
  if (platform === 'freebsd') return arch === 'x64' ? ['sluice-freebsd-x64'] : [];
  if (arch !== 'x64' && arch !== 'arm64') return [];
  if (platform === 'darwin') return [`sluice-darwin-${arch}`];
  return platform === 'win32' ? [`sluice-win32-${arch}-msvc`] : [];
}

/** For which version of the architecture this Node is built, if it is built for Arm with 32 bits. */
function ownArmVersion(): number {
  const config = process.config as { variables?: { arm_version?: unknown } } | undefined;
  return Number(config?.variables?.arm_version ?? 0);
}

function isInstalled(name: string): boolean {
  try {
    require.resolve(`${name}/package.json`);
    return true;
  } catch (error) {
    // A package that exists but cannot be read is installed: loading it then reports the reason.
    return (error as { code?: unknown }).code !== 'MODULE_NOT_FOUND';
  }
}

/** The facts about a process that show its C library. */
export interface ProcessFacts {
  readonly report: { excludeNetwork?: boolean; getReport?: () => object } | undefined;
  /** The files that are mapped into the process, as Linux lists them. */
  readonly maps: () => string;
}

const thisProcess: ProcessFacts = {
  report: process.report,
  maps: () => readFileSync('/proc/self/maps', 'latin1'),
};

/** Whether the C library of the process is musl; if that is unknown, glibc is assumed. */
export function isMusl({ report, maps }: ProcessFacts = thisProcess): boolean {
  const header = reportHeader(report);
  if (header !== undefined) return header.glibcVersionRuntime === undefined;
  try {
    // A process with musl has the loader of musl mapped.
    return /\/ld-musl-[^/\n]*$/m.test(maps());
  } catch {
    return false;
  }
}

/** The header of the process report; not every runtime has one. */
function reportHeader(report: ProcessFacts['report']): { glibcVersionRuntime?: string } | undefined {
  if (typeof report?.getReport !== 'function') return undefined;
  const before = report.excludeNetwork ?? false;
  try {
    // Otherwise the report would look up the host name of each open connection.
    report.excludeNetwork = true;
    return (report.getReport() as { header?: { glibcVersionRuntime?: string } }).header;
  } catch {
    return undefined;
  } finally {
    report.excludeNetwork = before;
  }
}

function checkAddon(candidate: unknown): asserts candidate is Addon {
  const functions = (candidate ?? {}) as Record<string, unknown>;
  const missing = FUNCTIONS.filter((name) => typeof functions[name] !== 'function');
  if (missing.length > 0) {
    throw new Error(`the binary does not match this version (missing: ${missing.join(', ')})`);
  }
}

/** The first line of a message: module loaders append the require stack to it. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0]!.trim();
}
