/**
 * `node scripts/rehearse-release.mjs [VERSION]`: goes through a release, from the tag to the installation by a user, with a registry on this
 * machine; VERSION is by default that of package.json, which must not be released yet. It runs the scripts of the release workflow in a clone of the last commit, in build/rehearsal, with the binaries in npm/ that
 * are built. Of platforms without one, it publishes no package.
 *
 * The clone gets a version, its commit and tag, and stand-ins for what only the owner of the repository can fill in.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { strict as assert } from 'node:assert';
import { User } from './install/user.mjs';
import { binaryFile, ownPlatform, packageName, platforms, readManifest } from './platforms.mjs';
import { outputOf } from './processes.mjs';
import { installRegistry, startRegistry } from './registry.mjs';
import { main, root, SetupError } from './setup.mjs';

const PLACE = path.join(root, 'build', 'rehearsal');
const tree = path.join(PLACE, 'tree');

await main(async () => {
  const version = process.argv[2] ?? readManifest().version;
  const tag = `v${version}`;
  const built = platforms.filter((platform) => fs.existsSync(binaryFile(platform)));
  if (built.length === 0) throw new SetupError('There is no binary; run node scripts/build-binary.mjs first');

  fs.rmSync(PLACE, { recursive: true, force: true });
  fs.mkdirSync(PLACE, { recursive: true });
  await outputOf('git', ['clone', '--quiet', '--local', root, tree]);
  fs.symlinkSync(path.join(root, 'node_modules'), path.join(tree, 'node_modules'), 'junction');
  await tagged(version, tag);

  await script('version.mjs', '--check');
  await script('release-ready.mjs');
  console.log(`The notes of ${tag} have ${(await script('release-notes.mjs', tag)).length} characters`);
  for (const platform of built) {
    fs.copyFileSync(binaryFile(platform), path.join(tree, path.relative(root, binaryFile(platform))));
  }
  process.stdout.write(await script('check-binary.mjs'));
  await script('pack.mjs', ...(built.length === platforms.length ? ['--all'] : []));

  const program = path.join(root, 'build', 'verdaccio');
  await installRegistry(program);
  const registry = await startRegistry(program, path.join(PLACE, 'storage'));
  try {
    await published(new User(registry.address, PLACE), version, built);
  } finally {
    await registry.stop();
  }
  const others = platforms.filter((platform) => !built.includes(platform)).map(({ name }) => name);
  if (others.length > 0) console.log(`Not built here, and so not published: ${others.join(', ')}`);
  console.log(`${built.length + 1} packages of ${tag} were published`);
  return 0;
});

/** Gives the clone the version, and tags it. */
async function tagged(version, tag) {
  await script('version.mjs', version);
  const file = path.join(tree, 'package.json');
  const home = 'https://example.invalid/sluice';
  const owners = { repository: { type: 'git', url: `git+${home}.git` }, bugs: { url: home }, homepage: home };
  fs.writeFileSync(file, JSON.stringify({ ...owners, ...JSON.parse(fs.readFileSync(file, 'utf8')) }, null, 2));
  const settings = [
    'user.name=rehearsal',
    'user.email=rehearsal@example.invalid',
    'commit.gpgSign=false',
    'tag.gpgSign=false',
  ];
  const as = settings.flatMap((setting) => ['-c', setting]);
  await outputOf('git', [...as, 'commit', '--quiet', '--all', '--message', tag], { cwd: tree });
  await outputOf('git', [...as, 'tag', '--annotate', tag, '--message', tag], { cwd: tree });
  await outputOf('git', ['-c', 'advice.detachedHead=false', 'checkout', '--quiet', tag], { cwd: tree });
}

/** Runs a script of the clone. */
function script(name, ...args) {
  return outputOf(process.execPath, [path.join(tree, 'scripts', name), ...args], { cwd: tree });
}

/** Publishes the packages, and installs them as a user of each platform and of this one would. */
async function published(user, version, built) {
  const publish = () =>
    user.publish(path.join(tree, 'scripts', 'publish.mjs'), path.join(tree, 'build', 'packages'), '--built');
  const names = [...built.map(packageName), 'sluice'].sort();
  assert.deepEqual((await publish()).split('\n').sort(), names.map((name) => `${name} ${version} is published`).sort());
  assert.deepEqual(
    (await publish()).split('\n').sort(),
    names.map((name) => `${name} ${version} was already published`).sort(),
  );
  for (const platform of built) {
    const folder = user.project(`for-${platform.name}`);
    const libc = platform.libc === undefined ? [] : [`--libc=${platform.libc}`];
    await user.npm(folder, 'install', `--os=${platform.os}`, `--cpu=${platform.cpu}`, ...libc, `sluice@${version}`);
    const place = path.join(folder, 'node_modules', packageName(platform));
    const { main: binary, version: installed } = JSON.parse(fs.readFileSync(path.join(place, 'package.json'), 'utf8'));
    assert.equal(installed, version);
    assert.deepEqual(fs.readFileSync(path.join(place, binary)), fs.readFileSync(binaryFile(platform)));
  }
  const folder = user.project('own', { type: 'module' });
  await user.npm(folder, 'install', `sluice@${version}`);
  fs.copyFileSync(path.join(tree, 'scripts', 'install', 'client.mjs'), path.join(folder, 'client.mjs'));
  const engine = built.includes(ownPlatform()) ? 'native' : 'typescript';
  const { stdout, stderr } = await user.node(folder, ['client.mjs']);
  assert.deepEqual({ stdout, stderr }, { stdout: `${engine} ["one\\n","two\\n","three"]`, stderr: '' });
}
