/**
 * Runs Node for other processors under qemu-user, for `npm run test:runtimes -- s390x`. The emulator and the C library of each processor
 * are packages of Debian, which are only unpacked, into `build/runtimes`: 250 MB for the emulators of all processors.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { CROSS, buildBinary, canBuild, isUpToDate } from './build-binary.mjs';
import { unpacked, whyNoDebian } from './debian.mjs';
import { platformOf } from './platforms.mjs';
import { root } from './setup.mjs';

const cache = path.join(root, 'build', 'runtimes');

/** By the name of the runtime: the emulator, Debian's names for the processor, and the platform of its binary. */
export const machines = {
  armv7: {
    emulator: 'qemu-arm-static',
    triple: 'arm-linux-gnueabihf',
    debian: 'armhf',
    platform: 'linux-arm-gnueabihf',
  },
  s390x: { emulator: 'qemu-s390x-static', triple: 's390x-linux-gnu', debian: 's390x', platform: 'linux-s390x-gnu' },
  ppc64le: {
    emulator: 'qemu-ppc64le-static',
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
    await qemuFolder();
    return null;
  } catch (error) {
    return `qemu-user cannot be downloaded: ${error.message.split('\n', 1)[0]}`;
  }
}

const qemuFolder = () => unpacked(path.join(cache, 'qemu'), ['qemu-user-static']);

/**
 * Unpacks the emulator and the C library of a machine.
 *
 * @param node the program of Node for that machine
 * @returns a program that runs `node`, also in child processes that start `process.execPath`
 */
export async function underQemu(name, node) {
  const { emulator, triple, debian } = machines[name];
  const qemu = await qemuFolder();
  const libraries = ['libc6', 'libgcc-s1', 'libstdc++6', 'libatomic1'].map((library) => `${library}-${debian}-cross`);
  const system = await unpacked(path.join(cache, `${name}-libraries`), libraries);

  const folder = path.join(cache, `${name}-program`);
  fs.mkdirSync(folder, { recursive: true });
  const program = path.join(folder, 'node');
  const preload = path.join(folder, 'exec-path.cjs');
  // The kernel can run this script, but not the program that Node would name.
  write(preload, `process.execPath = ${JSON.stringify(program)};\n`);
  const words = [path.join(qemu, 'usr', 'bin', emulator), '-L', path.join(system, 'usr', triple), node];
  write(
    program,
    `#!/bin/sh
NODE_OPTIONS="--require ${preload}\${NODE_OPTIONS:+ $NODE_OPTIONS}" exec ${words.map(quoted).join(' ')} "$@"
`,
  );
  fs.chmodSync(program, 0o755);
  return program;
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
