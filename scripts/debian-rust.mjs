/**
 * Gets Rust from the packages of Debian, for targets whose standard library rustup does not have: `rustc-web` runs here, with the
 * library of arm64 in addition to that of x64, and with the sources of the library for any other target.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { unpacked, whyNoDebian } from './debian.mjs';
import { SetupError } from './setup.mjs';

const PACKAGES = ['rustc-web', 'libstd-rust-web-dev', 'libstd-rust-web-dev:arm64', 'rust-web-src'];
/** The libraries that the compiler is linked with. Their names contain versions. */
const LIBRARIES = /^(libstd-rust-web-[\d.]+|libllvm[\d.]+)$/;

/**
 * Unpacks the compiler into `folder` unless it is already there.
 *
 * @returns the environment in which cargo uses it, and a function that says whether it has the compiled library of a target
 */
export async function debianRust(folder) {
  if ((await whyNoDebian()) !== null) {
    throw new SetupError(
      'There is no standard library of Rust for the target of this platform (scripts/platforms.mjs): rustup target add',
    );
  }
  const packages = async (dependencies) => {
    const libraries = (await dependencies('rustc-web')).filter((line) => LIBRARIES.test(line));
    return [...PACKAGES, ...new Set(libraries)];
  };
  const home = await unpacked(folder, packages, { architectures: ['amd64', 'arm64'] });
  const env = {
    RUSTC: path.join(home, 'usr', 'bin', 'rustc'),
    LD_LIBRARY_PATH: path.join(home, 'usr', 'lib', 'x86_64-linux-gnu'),
  };
  return { env, has: (target) => fs.existsSync(path.join(home, 'usr', 'lib', 'rustlib', target, 'lib')) };
}
