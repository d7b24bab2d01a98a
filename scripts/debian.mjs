/** Unpacks packages of Debian into a folder, without installing them and so without root. */
import * as fs from 'node:fs';
import path from 'node:path';
import { outcomeOf, outputOf } from './processes.mjs';

/** Why packages of Debian for x64 cannot be used here; null if they can. */
export async function whyNoDebian() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'this is not Linux on x64';
  const missing = [];
  for (const program of ['apt-get', 'dpkg']) {
    if ((await outcomeOf(program, ['--version'])).code !== 0) missing.push(program);
  }
  return missing.length === 0 ? null : `there is no ${missing.join(' and no ')}`;
}

/**
 * Unpacks packages into `folder`, unless they are already there.
 *
 * @param packages their names; a function gets one that lists the dependencies of a package, and returns the names
 * @returns the folder that has their `usr`
 */
export async function unpacked(folder, packages, { architectures = ['amd64'] } = {}) {
  const home = path.join(folder, 'root');
  const stamp = path.join(folder, 'complete');
  if (fs.existsSync(stamp)) return home;
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(path.join(folder, 'lists', 'partial'), { recursive: true });
  // Use separate package lists, because those of the system may be old, lack architectures, and must not be changed.
  const settings = [
    ...architectures.map((architecture) => `APT::Architectures::=${architecture}`),
    `Dir::State::lists=${path.join(folder, 'lists')}`,
    `Dir::Cache=${folder}`,
    'APT::Sandbox::User=root',
  ];
  const options = settings.flatMap((setting) => ['-o', setting]);
  await outputOf('apt-get', [...options, 'update']);
  const dependencies = async (name) =>
    (await outputOf('apt-cache', [...options, 'depends', '--recurse', '--important', name])).split('\n');
  const names = typeof packages === 'function' ? await packages(dependencies) : packages;
  await outputOf('apt-get', [...options, 'download', ...names], { cwd: folder });
  for (const name of fs.readdirSync(folder).filter((file) => file.endsWith('.deb'))) {
    await outputOf('dpkg', ['-x', path.join(folder, name), home]);
    fs.rmSync(path.join(folder, name));
  }
  fs.rmSync(path.join(folder, 'lists'), { recursive: true });
  fs.writeFileSync(stamp, '');
  return home;
}
