/**
 * A Rust from the packages of Debian, for targets whose standard library rustup cannot get: `rustc-web` runs here, with the library
 * of arm64 beside that of x64, and with the sources of both for any other target. The packages are unpacked into a folder;
 * nothing is installed.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { outcomeOf, outputOf } from './processes.mjs';
import { SetupError } from './setup.mjs';

const PACKAGES = ['rustc-web', 'libstd-rust-web-dev', 'libstd-rust-web-dev:arm64', 'rust-web-src'];
/** What the compiler is linked with; the names have versions in them. */
const LIBRARIES = /^(libstd-rust-web-[\d.]+|libllvm[\d.]+)$/;

/**
 * Unpacks the compiler into `folder` where it is not there yet.
 *
 * @returns the environment that has cargo use it, and whether it has the compiled library of a target
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
  // Lists of its own: those of the system know nothing of arm64, and are not ours to change.
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
