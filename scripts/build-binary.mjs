/**
 * `node scripts/build-binary.mjs [PLATFORM ...]`: builds the binaries of the given platforms, by default of this one, into
 * npm/PLATFORM, and checks them. Binaries that are up to date are not built again.
 *
 * Binaries for Linux and FreeBSD are linked with zig, which has the symbols of every glibc version, of musl and of FreeBSD's C library, so
 * that they run on systems older than the one that builds them. cargo-zigbuild and zig are installed from PyPI into build/cross.
 * Binaries for macOS and Windows can only be built on those systems. The standard library of a target comes from rustup, or, on Linux if
 * rustup does not have it, from Debian (scripts/debian-rust.mjs).
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { faultsOf, GLIBC_FLOOR, isChecked } from './check-binary.mjs';
import { debianRust } from './debian-rust.mjs';
import { binaryFile, ownPlatform, platformOf } from './platforms.mjs';
import { outcomeOf, outputOf } from './processes.mjs';
import { main, root, SetupError } from './setup.mjs';

/** What the builds of binaries share: tools, compilers and their output. */
export const CROSS = path.join(root, 'build', 'cross');
const TOOLS = ['cargo-zigbuild==0.24.0', 'ziglang==0.17.1'];

/**
 * Builds the binary of a platform unless it is up to date.
 *
 * @returns the path of the binary
 */
export async function buildBinary(platform) {
  const file = binaryFile(platform);
  if (isUpToDate(platform)) return file;

  const stamp = stampFile(platform);
  const sources = sourcesHash();
  fs.mkdirSync(CROSS, { recursive: true });
  fs.rmSync(stamp, { force: true });
  const built = ['linux', 'freebsd'].includes(platform.os) ? await linkedByZig(platform) : await linkedHere(platform);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  // Rename instead of overwriting, so that a process that has mapped the old binary is not affected.
  fs.copyFileSync(built, `${file}.draft`);
  fs.renameSync(`${file}.draft`, file);
  check(platform, file);
  fs.writeFileSync(stamp, sources);
  return file;
}

const stampFile = ({ name }) => path.join(CROSS, `${name}.stamp`);

/** Whether the binary of a platform has been built here from these sources. */
export function isUpToDate(platform) {
  const stamp = stampFile(platform);
  return (
    fs.existsSync(binaryFile(platform)) && fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === sourcesHash()
  );
}

/** Whether this machine can build a binary. */
export async function canBuild() {
  return (await outcomeOf('cargo', ['--version'])).code === 0;
}

async function linkedByZig({ target, libc, glibc = GLIBC_FLOOR }) {
  const python = path.join(CROSS, 'python');
  await installTools(python);
  const env = { ...process.env, CARGO_ZIGBUILD_ZIG_PATH: path.join(python, 'ziglang', 'zig') };
  const args = [];
  if (!(await hasStandardLibrary(target))) {
    const rust = await debianRust(path.join(CROSS, 'debian'));
    Object.assign(env, rust.env);
    // Of the other targets, Debian has only the sources of the standard library.
    if (!rust.has(target)) {
      args.push('-Zbuild-std=std,panic_unwind');
      env.RUSTC_BOOTSTRAP = '1';
    }
    // Do not reuse the output of another compiler.
    env.CARGO_TARGET_DIR = path.join(CROSS, 'target');
  }
  // A library that Node loads must use Node's C library.
  if (libc === 'musl') env.RUSTFLAGS = '-C target-feature=-crt-static';
  const wanted = libc === 'glibc' ? `${target}.${glibc}` : target;
  const zigbuild = path.join(python, 'bin', 'cargo-zigbuild');
  await outputOf(zigbuild, ['zigbuild', ...args, ...options(wanted)], { cwd: root, env });
  return path.join(env.CARGO_TARGET_DIR ?? path.join(root, 'target'), target, 'release', 'libsluice_addon.so');
}

async function linkedHere({ os, target, title }) {
  if (os !== process.platform) throw new SetupError(`The binary for ${title} can only be built on that system`);
  await outputOf('cargo', ['build', ...options(target)], { cwd: root });
  const name = os === 'win32' ? 'sluice_addon.dll' : 'libsluice_addon.dylib';
  return path.join(process.env.CARGO_TARGET_DIR ?? path.join(root, 'target'), target, 'release', name);
}

/** The arguments of cargo. */
export const options = (target) => ['--release', '--locked', '--package', 'sluice-addon', '--target', target];

async function installTools(folder) {
  const stamp = path.join(folder, 'tools.txt');
  const wanted = TOOLS.join('\n');
  if (fs.existsSync(stamp) && fs.readFileSync(stamp, 'utf8') === wanted) return;
  fs.rmSync(folder, { recursive: true, force: true });
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile'];
  await outputOf('python3', [...pip, '--target', folder, ...TOOLS]);
  fs.writeFileSync(stamp, wanted);
}

export async function hasStandardLibrary(target) {
  const { code, stdout } = await outcomeOf('rustc', ['--print', 'target-libdir', '--target', target]);
  if (code !== 0) return false;
  const folder = stdout.trim();
  return fs.existsSync(folder) && fs.readdirSync(folder).some((name) => name.startsWith('libstd-'));
}

function check(platform, file) {
  const faults = isChecked(platform) ? faultsOf(file, platform) : [];
  if (faults.length > 0) throw new SetupError(`${path.relative(root, file)}: ${faults.join('; ')}`);
  if (platform.name === ownPlatform()?.name) createRequire(import.meta.url)(file);
}

/** A hash of everything that a binary is built from. */
export function sourcesHash() {
  const sum = createHash('sha256').update(TOOLS.join());
  const folders = ['crates/ring/src', 'crates/addon/src'];
  const files = folders.flatMap((folder) =>
    fs.readdirSync(path.join(root, folder), { recursive: true }).map((name) => `${folder}/${name}`),
  );
  const manifests = [
    'Cargo.toml',
    'Cargo.lock',
    'crates/ring/Cargo.toml',
    'crates/addon/Cargo.toml',
    'crates/addon/build.rs',
  ];
  for (const file of [...manifests, ...files.filter((name) => name.endsWith('.rs')).sort()]) {
    const bytes = fs.readFileSync(path.join(root, file));
    sum.update(`\0${file}\0${bytes.length}\0`).update(bytes);
  }
  return sum.digest('hex');
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href) {
  await main(async () => {
    const names = process.argv.slice(2);
    const own = ownPlatform();
    if (names.length === 0 && own === undefined) {
      throw new SetupError(`There are no binaries for ${process.platform} on ${process.arch}`);
    }
    for (const platform of names.length > 0 ? names.map(platformOf) : [own]) {
      console.log(`Building the binary for ${platform.title} ...`);
      const file = await buildBinary(platform);
      console.log(`${path.relative(root, file)}: ${fs.statSync(file).size} bytes`);
    }
    return 0;
  });
}
