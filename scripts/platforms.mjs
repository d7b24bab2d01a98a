/**
 * The platforms for which there are binaries. ts/buffer/native.ts looks for their packages under the same names. npm/ has the
 * package of each platform, which scripts/version.mjs writes from this list.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { root, SetupError } from './setup.mjs';

/**
 * A platform. `libc` is only for Linux. `glibc` is the first version that supports the processor, if that is newer than the
 * minimum of the other binaries. `untested` is true if no Node is known to run it on. `title` completes the phrase "for ...".
 */
export const platforms = [
  linux('x64', 'gnu', 'x86_64-unknown-linux-gnu'),
  linux('x64', 'musl', 'x86_64-unknown-linux-musl'),
  linux('arm64', 'gnu', 'aarch64-unknown-linux-gnu'),
  linux('arm64', 'musl', 'aarch64-unknown-linux-musl'),
  linux('arm', 'gnueabihf', 'armv7-unknown-linux-gnueabihf'),
  linux('s390x', 'gnu', 's390x-unknown-linux-gnu'),
  // Node calls both byte orders ppc64. On the big-endian one, which Node no longer supports, this binary cannot be loaded.
  { ...linux('ppc64', 'gnu', 'powerpc64le-unknown-linux-gnu'), glibc: '2.19' },
  { ...linux('riscv64', 'gnu', 'riscv64gc-unknown-linux-gnu'), glibc: '2.27', untested: true },
  {
    name: 'freebsd-x64',
    os: 'freebsd',
    cpu: 'x64',
    target: 'x86_64-unknown-freebsd',
    title: 'FreeBSD on x64',
    untested: true,
  },
  { name: 'darwin-x64', os: 'darwin', cpu: 'x64', target: 'x86_64-apple-darwin', title: 'macOS on x64' },
  { name: 'darwin-arm64', os: 'darwin', cpu: 'arm64', target: 'aarch64-apple-darwin', title: 'macOS on arm64' },
  { name: 'win32-x64-msvc', os: 'win32', cpu: 'x64', target: 'x86_64-pc-windows-msvc', title: 'Windows on x64' },
  { name: 'win32-arm64-msvc', os: 'win32', cpu: 'arm64', target: 'aarch64-pc-windows-msvc', title: 'Windows on arm64' },
];

function linux(cpu, abi, target) {
  const libc = abi === 'musl' ? 'musl' : 'glibc';
  return { name: `linux-${cpu}-${abi}`, os: 'linux', cpu, libc, target, title: `Linux on ${cpu} with ${libc}` };
}

export const packageName = (platform) => `sluice-${platform.name}`;
export const binaryName = (platform) => `sluice.${platform.name}.node`;
/** The path of a platform's binary, which the build writes and the packing reads. */
export const binaryFile = (platform) => path.join(root, 'npm', platform.name, binaryName(platform));

export function platformOf(name) {
  const platform = platforms.find((candidate) => candidate.name === name);
  if (platform !== undefined) return platform;
  throw new SetupError(`Unknown platform ${name}; use one of ${platforms.map(({ name }) => name).join(', ')}`);
}

/** The platform of this process; undefined if there is no binary for it. */
export function ownPlatform() {
  const candidates = platforms.filter(({ os, cpu }) => os === process.platform && cpu === process.arch);
  if (process.platform !== 'linux') return candidates[0];
  const libc = process.report.getReport().header.glibcVersionRuntime === undefined ? 'musl' : 'glibc';
  return candidates.find((candidate) => candidate.libc === libc);
}

/** The manifest of a platform's package. */
export function manifestOf(platform, { version, license, engines }) {
  return {
    name: packageName(platform),
    version,
    description: `The native engine of sluice for ${platform.title}`,
    license,
    type: 'commonjs',
    main: binaryName(platform),
    files: [binaryName(platform), 'THIRD-PARTY.md'],
    os: [platform.os],
    cpu: [platform.cpu],
    ...(platform.libc === undefined ? {} : { libc: [platform.libc] }),
    engines,
  };
}

export function readManifest(...parts) {
  return JSON.parse(fs.readFileSync(path.join(root, ...parts, 'package.json'), 'utf8'));
}
