/**
 * Loads the binary; no other file does.
 *
 * It is looked for where a build on this machine leaves it (by `node-gyp-build`), then in the package made for this
 * platform, which a package manager installs as an optional dependency. Where neither has one that fits, the TypeScript
 * engine serves, and the reasons are there for whoever asks: `SLUICE_DEBUG=1` prints them, `SLUICE_ENGINE=native` makes
 * them the message of an error, `SLUICE_ENGINE=typescript` touches no binary at all.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/** A separator of the native engine; opaque to JavaScript. */
export type NativeSeparator = object;

/**
 * The functions of the binary. `block` is the whole block of a ring, lent for the length of the call; nothing is kept.
 * Wrong arguments throw a `TypeError` or a `RangeError`.
 */
export interface Addon {
  readonly Separator: new (sequences: readonly Uint8Array[]) => NativeSeparator;
  /** Appends `data`, which must fit, across the seam. */
  write(block: Uint8Array, data: Uint8Array): void;
  /** Puts `data`, which must fit, in front. */
  unread(block: Uint8Array, data: Uint8Array): void;
  /** Copies the unread bytes from `start` to `end` to `target` at `targetStart`. */
  copyTo(block: Uint8Array, start: number, end: number, target: Uint8Array, targetStart: number): void;
  /** Copies the unread bytes to the data start of another block and sets its cursors. */
  relocate(block: Uint8Array, target: Uint8Array): void;
  /** `Ring.index` */
  index(
    block: Uint8Array,
    separator: NativeSeparator,
    start: number,
    resume: number,
    limit: number,
    max: number,
    out: Uint32Array,
  ): number;
  /**
   * Sets where the next read of an open file begins that does not say where: `lseek`, which Node does not have. Throws an
   * `Error` with the code of the system, on Windows always `ENOSYS`.
   */
  seek(fd: number, position: number): void;
}

const FUNCTIONS = ['Separator', 'write', 'unread', 'copyTo', 'relocate', 'index', 'seek'] as const;

const require = createRequire(import.meta.url);
/** The root of the package, seen from `dist/`. */
const PACKAGE_ROOT = fileURLToPath(new URL('..', import.meta.url));

/** Where a binary can be, in the order in which the places are tried. */
const PLACES: readonly { readonly name: string; load(): unknown }[] = [
  {
    name: 'built on this machine',
    load: () => (require('node-gyp-build') as (root: string) => unknown)(PACKAGE_ROOT),
  },
  {
    name: 'package of this platform',
    load: () => {
      const platform = platformName();
      if (platform === null) throw new Error(`none is made for ${process.platform} on ${process.arch}`);
      return require(`sluice-${platform}`) as unknown;
    },
  },
];

/**
 * The binary that the environment asks for; `null` where the TypeScript engine is to be used.
 *
 * @throws Error `ERR_NATIVE_UNAVAILABLE` when the native engine is forced and cannot be loaded
 * @throws TypeError `ERR_INVALID_ARG_VALUE` when `SLUICE_ENGINE` names no engine
 */
export function loadAddon(environment: NodeJS.ProcessEnv = process.env): Addon | null {
  const wanted = environment['SLUICE_ENGINE'] ?? '';
  if (wanted !== '' && wanted !== 'native' && wanted !== 'typescript') {
    const message = `SLUICE_ENGINE must be 'native' or 'typescript', not ${JSON.stringify(wanted)}`;
    throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
  }
  if (wanted === 'typescript') return null;

  const reasons: string[] = [];
  let addon: Addon | null = null;
  for (const place of PLACES) {
    try {
      const candidate = place.load();
      checkAddon(candidate);
      addon = candidate;
      break;
    } catch (error) {
      reasons.push(`  - ${place.name}: ${reasonOf(error)}`);
    }
  }
  if (environment['SLUICE_DEBUG'] === '1') {
    const outcome = addon === null ? 'the TypeScript engine is used; no binary' : 'the native engine is used';
    process.stderr.write(`${[`sluice: ${outcome}`, ...reasons].join('\n')}\n`);
  }
  if (addon === null && wanted === 'native') {
    const message = ['SLUICE_ENGINE=native, but no binary can be loaded:', ...reasons].join('\n');
    throw Object.assign(new Error(message), { code: 'ERR_NATIVE_UNAVAILABLE' });
  }
  return addon;
}

/** The name of the platform as the packages of napi-rs have it; `null` where none is made. */
export function platformName(
  platform: string = process.platform,
  arch: string = process.arch,
  musl: () => boolean = isMusl,
): string | null {
  if (arch !== 'x64' && arch !== 'arm64') return null;
  switch (platform) {
    case 'linux':
      return `linux-${arch}-${musl() ? 'musl' : 'gnu'}`;
    case 'darwin':
      return `darwin-${arch}`;
    case 'win32':
      return `win32-${arch}-msvc`;
    default:
      return null;
  }
}

/** Whether the C library of the process is musl: its report then has no version of glibc. */
function isMusl(): boolean {
  // Not every runtime has reports; those that lack them are built for glibc.
  const report = process.report as (typeof process.report & { excludeNetwork?: boolean }) | undefined;
  if (typeof report?.getReport !== 'function') return false;
  const before = report.excludeNetwork ?? false;
  try {
    // Otherwise the report looks up the host name of each open connection.
    report.excludeNetwork = true;
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return header?.glibcVersionRuntime === undefined;
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

/** The first line of a message: loaders append the stack of modules to it. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0]!.trim();
}
