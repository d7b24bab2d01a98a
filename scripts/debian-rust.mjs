/**
 * Gets Rust from the packages of Debian, for targets whose standard library rustup does not have: `rustc-web` runs here, with the
 * library of arm64 in addition to that of x64, and with the sources of the library for any other target. The packages are only
 * unpacked into a folder, not installed.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { outcomeOf, outputOf } from './processes.mjs';
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
  if (
    process.platform !== 'linux' ||
    process.arch !== 'x64' ||
    (await outcomeOf('apt-get', ['--version'])).code !== 0
  ) {
    throw new SetupError('rustup has no standard library for this target: rustup target add TARGET');
  }
  const home = path.join(folder, 'root');
  const stamp = path.join(folder, 'complete');
  if (!fs.existsSync(stamp)) {
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(path.join(folder, 'lists', 'partial'), { recursive: true });
    await unpack(folder, home);
    fs.writeFileSync(stamp, '');
  }
  const env = {
    RUSTC: path.join(home, 'usr', 'bin', 'rustc'),
    LD_LIBRARY_PATH: path.join(home, 'usr', 'lib', 'x86_64-linux-gnu'),
  };
  return { env, has: (target) => fs.existsSync(path.join(home, 'usr', 'lib', 'rustlib', target, 'lib')) };
}

async function unpack(folder, home) {
  // Use separate package lists, because those of the system do not contain arm64 and must not be changed.
  const settings = [
    'APT::Architectures::=amd64',
    'APT::Architectures::=arm64',
    `Dir::State::lists=${path.join(folder, 'lists')}`,
    `Dir::Cache=${folder}`,
    'APT::Sandbox::User=root',
  ];
  const options = settings.flatMap((setting) => ['-o', setting]);
  await outputOf('apt-get', [...options, 'update']);
  const depends = await outputOf('apt-cache', [...options, 'depends', '--recurse', '--important', 'rustc-web']);
  const libraries = new Set(depends.split('\n').filter((line) => LIBRARIES.test(line)));
  await outputOf('apt-get', [...options, 'download', ...PACKAGES, ...libraries], { cwd: folder });
  for (const name of fs.readdirSync(folder).filter((file) => file.endsWith('.deb'))) {
    await outputOf('dpkg', ['-x', path.join(folder, name), home]);
    fs.rmSync(path.join(folder, name));
  }
  fs.rmSync(path.join(folder, 'lists'), { recursive: true });
}
