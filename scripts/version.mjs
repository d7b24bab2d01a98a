/**
 * `node scripts/version.mjs [VERSION | --check]`: writes the version of package.json, or a new version, to every file that
 * contains it, and the manifests in npm/. With `--check` it writes nothing, and fails if anything would change.
 *
 * A version that the changelog does not have yet also closes its section [Unreleased].
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { manifestOf, platforms, readManifest } from './platforms.mjs';
import { main, root, SetupError } from './setup.mjs';

const CRATES = ['sluice-addon', 'sluice-ring'];

await main(async () => {
  const [argument, ...rest] = process.argv.slice(2);
  if (rest.length > 0) throw new SetupError('usage: node scripts/version.mjs [VERSION | --check]');
  const check = argument === '--check';
  const manifest = readManifest();
  const wanted = check || argument === undefined ? manifest.version : argument;
  if (!/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(wanted)) throw new SetupError(`${wanted} is not a version`);

  const changed = [];
  const put = (file, text) => {
    const place = path.join(root, file);
    if (fs.existsSync(place) && fs.readFileSync(place, 'utf8') === text) return;
    changed.push(file);
    if (check) return;
    fs.mkdirSync(path.dirname(place), { recursive: true });
    fs.writeFileSync(place, text);
  };
  const replace = (file, pattern, replacement) => {
    const text = fs.readFileSync(path.join(root, file), 'utf8');
    if (!pattern.test(text)) throw new SetupError(`${file} contains no version that matches ${pattern}`);
    put(file, text.replace(pattern, replacement));
  };

  replace('package.json', /^( {2}"version": ")[^"]*/m, `$1${wanted}`);
  replace('Cargo.toml', /^(\[workspace\.package\]\nversion = ")[^"]*/m, `$1${wanted}`);
  replace('ts/buffer/native.ts', /^(export const VERSION = ')[^']*/m, `$1${wanted}`);
  // Replace the versions of all crates in one step: with --check, a second step would not see the result of the first.
  const crates = new RegExp(`(name = "(?:${CRATES.join('|')})"\\nversion = ")[^"]*`, 'g');
  replace('Cargo.lock', crates, `$1${wanted}`);
  const lock = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  lock.version = wanted;
  lock.packages[''].version = wanted;
  put('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`);
  for (const platform of platforms) {
    const text = JSON.stringify(manifestOf(platform, { ...manifest, version: wanted }), null, 2);
    put(`npm/${platform.name}/package.json`, `${text}\n`);
  }
  const changelog = fs.readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8');
  if (argument === wanted && !changelog.includes(`\n## [${wanted}] - `)) {
    const today = new Date().toISOString().slice(0, 10);
    replace('CHANGELOG.md', /^## \[Unreleased\]$/m, `## [Unreleased]\n\n## [${wanted}] - ${today}`);
  }

  if (check && changed.length > 0) {
    throw new SetupError(`Not up to date for version ${wanted}: ${changed.join(', ')}`);
  }
  console.log(changed.length === 0 ? `Everything already has version ${wanted}` : `${wanted}: ${changed.join(', ')}`);
  return 0;
});
