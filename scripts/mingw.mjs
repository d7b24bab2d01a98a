/**
 * Builds the addon for Windows on Linux, with the linker of MinGW-w64 and the target `x86_64-pc-windows-gnu`. It is only for the tests
 * under Wine: the published binary is built on Windows by Microsoft's linker.
 *
 * The standard library of the target comes from rustup, or is compiled from the sources in Debian's packages, as that for musl.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { CROSS, canBuild, hasStandardLibrary, options, sourcesHash } from './build-binary.mjs';
import { debianRust } from './debian-rust.mjs';
import { whyNoDebian } from './debian.mjs';
import { outcomeOf, outputOf } from './processes.mjs';
import { root } from './setup.mjs';

const TARGET = 'x86_64-pc-windows-gnu';
const LINKER = 'x86_64-w64-mingw32-gcc';

/** The folder in which node-gyp-build finds the binary if SLUICE_PREBUILD names it. */
export const windowsBuild = path.join(root, 'build', 'windows-gnu');

const binary = path.join(windowsBuild, 'build', 'Release', 'sluice.node');
const stamp = path.join(windowsBuild, 'sources.stamp');

/** Whether the addon for Windows is there and up to date. */
export function isBuilt() {
  return fs.existsSync(binary) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === sourcesHash();
}

/** Why this machine cannot build the addon for Windows; null if it can. */
export async function whyNotBuilt() {
  if (!(await canBuild())) return 'there is no cargo';
  if ((await outcomeOf(LINKER, ['--version'])).code !== 0) {
    return `there is no ${LINKER} (Debian: apt-get install gcc-mingw-w64-x86-64)`;
  }
  if ((await hasStandardLibrary(TARGET)) || (await whyNoDebian()) === null) return null;
  return `there is no standard library of Rust for it (rustup target add ${TARGET})`;
}

/** Builds the addon for Windows unless it is up to date. */
export async function buildForWindows() {
  if (isBuilt()) return;
  fs.mkdirSync(path.dirname(binary), { recursive: true });
  fs.rmSync(stamp, { force: true });
  const env = {
    ...process.env,
    CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER: LINKER,
    LIBNODE_PATH: emptyLibrary(),
    // Not the folder of other builds, whose output comes from another compiler.
    CARGO_TARGET_DIR: path.join(CROSS, 'target'),
  };
  const args = [];
  if (!(await hasStandardLibrary(TARGET))) {
    Object.assign(env, (await debianRust(path.join(CROSS, 'debian'))).env, { RUSTC_BOOTSTRAP: '1' });
    args.push('-Zbuild-std=std,panic_unwind');
  }
  await outputOf('cargo', ['build', ...args, ...options(TARGET)], { cwd: root, env });
  const built = path.join(env.CARGO_TARGET_DIR, TARGET, 'release', 'sluice_addon.dll');
  fs.copyFileSync(built, `${binary}.draft`);
  fs.renameSync(`${binary}.draft`, binary);
  fs.writeFileSync(stamp, sourcesHash());
}

/**
 * The folder of an import library without symbols. napi-build links every addon for this target with `libnode.dll`, but this one looks up
 * the functions of Node when it is loaded (`dyn-symbols`), so it needs no symbol from there.
 */
function emptyLibrary() {
  const folder = path.join(CROSS, 'libnode');
  fs.mkdirSync(folder, { recursive: true });
  fs.writeFileSync(path.join(folder, 'libnode.dll'), '');
  fs.writeFileSync(path.join(folder, 'libnode.dll.a'), '!<arch>\n');
  return folder;
}
