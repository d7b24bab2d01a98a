/**
 * Loads the binary; no other file does.
 *
 * It is looked for where a build on this machine leaves it (by `node-gyp-build`), then in the package made for this
 * platform, which a package manager installs as an optional dependency. Where neither has one that fits, the TypeScript
 * engine serves, and the reasons are there for whoever asks: `SLUICE_DEBUG=1` prints them, `SLUICE_ENGINE=native` makes
 * them the message of an error, `SLUICE_ENGINE=typescript` touches no binary at all.
 */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** A separator as the native engine keeps it. */
export interface NativeSeparator {
  /** Tells the type apart from other objects. */
  readonly constructor: Addon['Separator'];
}

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
}

/** What {@link findAddon} came to. */
export interface Found {
  readonly addon: Addon | null;
  /** Each place that was looked at in vain, and why it was in vain. */
  readonly reasons: readonly string[];
}

const FUNCTIONS = ['Separator', 'write', 'unread', 'copyTo', 'relocate', 'index'] as const;

/** The root of the package, seen from `dist/`. */
const PACKAGE_ROOT = fileURLToPath(new URL('..', import.meta.url));

/**
 * The binary that the environment asks for; `null` where the TypeScript engine is to be used.
 *
 * @throws Error `ERR_NATIVE_UNAVAILABLE` when the native engine is forced and cannot be loaded
 * @throws TypeError `ERR_INVALID_ARG_VALUE` when `SLUICE_ENGINE` names no engine
 */
export function loadAddon(environment: NodeJS.ProcessEnv = process.env, root: string = PACKAGE_ROOT): Addon | null {
  const wanted = environment['SLUICE_ENGINE'] ?? '';
  if (wanted !== '' && wanted !== 'native' && wanted !== 'typescript') {
    const message = `SLUICE_ENGINE must be 'native' or 'typescript', not ${JSON.stringify(wanted)}`;
    throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' });
  }
  if (wanted === 'typescript') return null;
  const { addon, reasons } = findAddon(root);
  if (environment['SLUICE_DEBUG'] === '1' && reasons.length > 0) {
    const outcome = addon === null ? 'the TypeScript engine is used' : 'the native engine was found';
    process.stderr.write(`sluice: ${outcome}\n${list(reasons)}\n`);
  }
  if (addon === null && wanted === 'native') {
    const message = `SLUICE_ENGINE=native, but no binary can be loaded:\n${list(reasons)}`;
    throw Object.assign(new Error(message), { code: 'ERR_NATIVE_UNAVAILABLE' });
  }
  return addon;
}

/** Looks at each place where a binary can be, and stops at the first one that fits. */
export function findAddon(root: string): Found {
  const reasons: string[] = [];
  const platform = platformName();
  const places: readonly (readonly [string, (require: NodeJS.Require) => unknown])[] = [
    ['build on this machine', (require) => (require('node-gyp-build') as (root: string) => unknown)(root)],
    [
      platform === null ? 'platform package' : `package sluice-${platform}`,
      (require) => {
        if (platform === null) throw new Error(`none is made for ${process.platform} on ${process.arch}`);
        return require(`sluice-${platform}`) as unknown;
      },
    ],
  ];
  const require = createRequire(join(root, 'package.json'));
  for (const [place, load] of places) {
    try {
      const found = load(require);
      const missing = missingFrom(found);
      if (missing.length === 0) return { addon: found as Addon, reasons };
      reasons.push(`${place}: the binary does not match this version (missing: ${missing.join(', ')})`);
    } catch (error) {
      reasons.push(`${place}: ${reasonOf(error)}`);
    }
  }
  return { addon: null, reasons };
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

/** Whether the C library of the process is musl: its report then has no glibc version. */
function isMusl(): boolean {
  const { report } = process;
  // A report with the network would look up the name of each open connection's host.
  const options = report as { excludeNetwork?: boolean };
  const before = options.excludeNetwork;
  try {
    options.excludeNetwork = true;
    const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } };
    return header?.glibcVersionRuntime === undefined;
  } finally {
    options.excludeNetwork = before ?? false;
  }
}

function missingFrom(candidate: unknown): readonly string[] {
  const names: readonly string[] = FUNCTIONS;
  if ((typeof candidate !== 'object' && typeof candidate !== 'function') || candidate === null) return names;
  return names.filter((name) => typeof (candidate as Record<string, unknown>)[name] !== 'function');
}

/** The first line of a message: the loaders append the stack of modules and empty lines. */
function reasonOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0]!.trim();
}

function list(reasons: readonly string[]): string {
  return reasons.map((reason) => `  - ${reason}`).join('\n');
}
