/**
 * Runs Node for other processors under qemu-user, for `npm run test:runtimes -- s390x`. The emulator and the C library of each processor
 * are packages of Debian, which are only unpacked, into `build/runtimes`: 250 MB for the emulators of all processors.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { CROSS, buildBinary, canBuild, isUpToDate } from './build-binary.mjs';
import { unpacked, whyNoDebian } from './debian.mjs';
import { platformOf } from './platforms.mjs';
import { SetupError, root } from './setup.mjs';

const cache = path.join(root, 'build', 'runtimes');

/** By the name of the runtime: the emulator, Debian's names for the processor, and the platform of its binary. */
export const machines = {
  armv7: {
    emulator: 'arm',
    triple: 'arm-linux-gnueabihf',
    debian: 'armhf',
    platform: 'linux-arm-gnueabihf',
  },
  s390x: { emulator: 's390x', triple: 's390x-linux-gnu', debian: 's390x', platform: 'linux-s390x-gnu' },
  ppc64le: {
    emulator: 'ppc64le',
    triple: 'powerpc64le-linux-gnu',
    debian: 'ppc64el',
    platform: 'linux-ppc64-gnu',
  },
};

/** Why qemu-user cannot be used here; null if it can. It is unpacked then. */
export async function whyNoQemu() {
  const missing = await whyNoDebian();
  if (missing !== null) return `qemu-user comes from the packages of Debian for x64, and ${missing}`;
  try {
    await emulators();
    return null;
  } catch (error) {
    return `qemu-user cannot be downloaded: ${error.message.trim().replaceAll('\n', '; ')}`;
  }
}

/** Newer systems have the emulators in another package, without the end of their names. */
const PACKAGES = [
  { name: 'qemu-user-static', end: '-static' },
  { name: 'qemu-user', end: '' },
];

/** Unpacks the emulators; returns a function that returns the path of the one for a processor. */
async function emulators() {
  let failure = new SetupError('the packages of qemu have no emulators');
  for (const { name, end } of PACKAGES) {
    const program = (machine, folder) => path.join(folder, 'usr', 'bin', `qemu-${machine}${end}`);
    try {
      const folder = await unpacked(path.join(cache, name), [name]);
      if (fs.existsSync(program('s390x', folder))) return (machine) => program(machine, folder);
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

/**
 * Unpacks the emulator and the C library of a machine.
 *
 * @param node the program of Node for that machine
 * @returns a program that runs `node`, also in child processes that start `process.execPath`
 */
export async function underQemu(name, node) {
  const { emulator, triple, debian } = machines[name];
  const program = await emulators();
  const libraries = ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1'].map((library) => `${library}-${debian}-cross`);
  const system = await unpacked(path.join(cache, `${name}-libraries`), libraries);

  const folder = path.join(cache, `${name}-program`);
  fs.mkdirSync(folder, { recursive: true });
  const script = path.join(folder, 'node');
  const preload = path.join(folder, 'exec-path.cjs');
  // The kernel can run this script, but not the program that Node would name.
  write(preload, `process.execPath = ${JSON.stringify(script)};\n`);
  const words = [program(emulator), '-L', path.join(system, 'usr', triple), node];
  write(
    script,
    `#!/bin/sh
NODE_OPTIONS="--require ${preload}\${NODE_OPTIONS:+ $NODE_OPTIONS}" exec ${words.map(quoted).join(' ')} "$@"
`,
  );
  fs.chmodSync(script, 0o755);
  return script;
}

const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;

/** Tests run two at a time, and may be starting the file. */
function write(file, text) {
  if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === text) return;
  fs.writeFileSync(`${file}.draft`, text);
  fs.renameSync(`${file}.draft`, file);
}

/** The folder in which node-gyp-build finds the binary of a machine if SLUICE_PREBUILD names it. */
export const prebuild = (name) => path.join(CROSS, `${name}-prebuild`);

/** Whether there is a binary for a machine that was built from these sources. */
export const isBuiltFor = (name) => isUpToDate(platformOf(machines[name].platform));

/** Builds the binary of a machine unless it is up to date or SLUICE_BINARY is one; returns why it cannot, or null. */
export async function buildFor(name) {
  const given = process.env.SLUICE_BINARY;
  if (!given && !(await canBuild())) return 'there is no cargo';
  const file = given || (await buildBinary(platformOf(machines[name].platform)));
  const copy = path.join(prebuild(name), 'build', 'Release', 'sluice.node');
  fs.mkdirSync(path.dirname(copy), { recursive: true });
  fs.copyFileSync(file, `${copy}.draft`);
  fs.renameSync(`${copy}.draft`, copy);
  return null;
}
