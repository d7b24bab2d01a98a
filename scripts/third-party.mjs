/**
 * `npm run third-party [-- --check]`: writes THIRD-PARTY.md, which lists third-party code and its licences: the crates in the
 * binaries with the licence texts that must be shipped, the packages that npm installs for users, and those that only development
 * uses. With `--check` it writes nothing, and fails if the file is out of date.
 *
 * Crates come from Cargo.lock, packages from package-lock.json. A licence that cannot be found is an error.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { outputOf } from './processes.mjs';
import { main, root, SetupError } from './setup.mjs';

const FILE = path.join(root, 'THIRD-PARTY.md');
const ADDON = 'sluice-addon';

/** The licences of packages that declare them in the old form, `licenses`, which lock files lack. */
const OLD_FORM = { buildcheck: 'MIT', 'cpu-features': 'MIT', ssh2: 'MIT' };

await main(async () => {
  const text = await document();
  const before = fs.existsSync(FILE) ? fs.readFileSync(FILE, 'utf8') : '';
  if (!process.argv.includes('--check')) fs.writeFileSync(FILE, text);
  else if (before !== text)
    throw new SetupError(`THIRD-PARTY.md is out of date: npm run third-party\n${difference(before, text)}`);
  return 0;
});

async function document() {
  const { linked, others } = await crates();
  const { installed, development } = npmPackages();
  return (
    [
      '# Third-party software',
      'Made by `npm run third-party` from the lock files; the licences are SPDX expressions.',
      '## In the binaries',
      'Each binary contains these crates and the standard library of Rust (MIT OR Apache-2.0). The texts are below.',
      table('crate', linked),
      '## Installed with sluice',
      table('package', installed),
      '## For development only',
      'Nothing of these is published.',
      table('crate', others),
      table('package', development),
      '## Licence texts of the crates in the binaries',
      ...licenceTexts(linked),
    ].join('\n\n') + '\n'
  );
}

function table(head, entries) {
  const rows = entries.map(({ name, version, license }) => `| ${name} | ${version} | ${license} |`);
  return [`| ${head} | version | licence |`, '| --- | --- | --- |', ...rows].join('\n');
}

/** The crates: those that are linked into the addon on any platform, and all others. */
async function crates() {
  const args = ['metadata', '--locked', '--format-version', '1'];
  const { packages, resolve } = JSON.parse(await outputOf('cargo', args, { cwd: root }));
  const byId = new Map(packages.map((entry) => [entry.id, entry]));
  const nodes = new Map(resolve.nodes.map((node) => [node.id, node]));
  const linked = new Set(packages.filter(({ name }) => name === ADDON).map(({ id }) => id));
  for (const id of linked) {
    for (const { pkg, dep_kinds: kinds } of nodes.get(id).deps) {
      const isMacro = byId.get(pkg).targets.some((target) => target.kind.includes('proc-macro'));
      if (!isMacro && kinds.some(({ kind }) => kind === null)) linked.add(pkg);
    }
  }
  const foreign = packages.filter(({ source }) => source !== null).map(describeCrate);
  return {
    linked: sorted(foreign.filter(({ id }) => linked.has(id))),
    others: sorted(foreign.filter(({ id }) => !linked.has(id))),
  };
}

function describeCrate({ id, name, version, license, authors, manifest_path: manifest }) {
  if (!license) throw new SetupError(`The crate ${name} ${version} does not declare a licence`);
  return { id, name, version, license, authors, folder: path.dirname(manifest) };
}

/** The npm packages: those that users install, and all others, including those of other platforms. */
function npmPackages() {
  const { packages } = JSON.parse(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8'));
  const all = Object.entries(packages)
    .filter(([place, entry]) => place !== '' && !entry.link)
    .map(([place, entry]) => describePackage(place, entry));
  return {
    installed: sorted(all.filter(({ dev }) => !dev)),
    development: sorted(all.filter(({ dev }) => dev)),
  };
}

function describePackage(place, { version, license: declared, dev = false, devOptional = false, peer = false }) {
  const name = place.slice(place.lastIndexOf('node_modules/') + 'node_modules/'.length);
  const license = declared ?? OLD_FORM[name];
  if (typeof license !== 'string') throw new SetupError(`The package ${name} ${version} does not declare a licence`);
  // Node's types are a peer dependency that users install themselves if they use TypeScript.
  return { name, version, license, dev: dev || devOptional || peer };
}

/** Sorts by name and version, and removes duplicates. */
function sorted(entries) {
  const unique = new Map(entries.map((entry) => [`${entry.name} ${entry.version}`, entry]));
  return [...unique.values()].sort((a, b) => compare(a.name, b.name) || compare(a.version, b.version));
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Lists each licence text once, under the names of all crates that have it. */
function licenceTexts(linked) {
  const holders = new Map();
  for (const entry of linked) {
    const text = licenceText(entry);
    holders.set(text, [...(holders.get(text) ?? []), entry.name]);
  }
  return [...holders].map(([text, names]) => `### ${names.join(', ')}\n\n\`\`\`text\n${text}\n\`\`\``);
}

function licenceText({ name, license, authors, folder }) {
  // If there is a choice, use MIT, the shortest text.
  const files = fs.readdirSync(folder).filter((file) => /^(licen[cs]e|copying|unlicense)/i.test(file));
  const chosen = files.find((file) => /mit/i.test(file)) ?? files[0];
  if (chosen !== undefined) return fs.readFileSync(path.join(folder, chosen), 'utf8').replaceAll('\r\n', '\n').trim();
  if (!/\bMIT\b/.test(license))
    throw new SetupError(`The crate ${name} (${license}) does not include the text of its licence`);
  // Some crates only name the licence. Use the text of our own, without the copyright line.
  const own = fs.readFileSync(path.join(root, 'LICENSE'), 'utf8').trim();
  const owner = authors.length > 0 ? authors.join(', ') : `the authors of ${name}`;
  return own.replace(/^Copyright .*$/m, `Copyright (c) ${owner}`);
}

/** The lines that only one of the two texts has. */
function difference(before, after) {
  const only = (text, other, sign) => {
    const lines = new Set(other.split('\n'));
    return text
      .split('\n')
      .filter((line) => !lines.has(line))
      .map((line) => `${sign} ${line}`);
  };
  return [...only(before, after, '-'), ...only(after, before, '+')].slice(0, 40).join('\n');
}
