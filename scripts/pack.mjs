/**
 * `node scripts/pack.mjs [--all] [--to FOLDER]`: creates the packages for publishing, by default in build/packages: `sluice`, and
 * one for each platform whose binary has been built (see scripts/build-binary.mjs). `--all` requires every binary.
 *
 * The published manifest differs from that in the tree on purpose. The manifest in the root names no platform packages, because
 * they are not in any registry before the release, and `npm ci` could not install them. This script adds them, each with the
 * exact version, and removes what only development needs.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { binaryFile, binaryName, manifestOf, packageName, platforms, readManifest } from './platforms.mjs';
import { bundle } from './bundle.mjs';
import { trimDeclarations } from './declarations.mjs';
import { npmCommand, outputOf } from './processes.mjs';
import { binOf, main, root, SetupError, writeWhole } from './setup.mjs';

/** The parts of the root's manifest that are published. */
const PUBLISHED = [
  'name',
  'version',
  'description',
  'keywords',
  'license',
  'repository',
  'bugs',
  'homepage',
  'type',
  'engines',
  'exports',
  'types',
  'dependencies',
  'peerDependencies',
  'peerDependenciesMeta',
];

/** The modules that the package exports, without their extensions. */
export const ENTRIES = ['index', 'testing/index'];

/**
 * Packs the main package and those of the platforms into `folder`, which is emptied first.
 *
 * @param binaries the file to pack for each platform, by the platform's name; a platform without a file is omitted
 * @returns the tarballs, by package name
 */
export async function pack(folder, binaries) {
  fs.rmSync(folder, { recursive: true, force: true });
  const stage = path.join(folder, 'stage');
  const staged = [await stageMain(path.join(stage, 'sluice'))];
  for (const platform of platforms) {
    const binary = binaries[platform.name];
    if (binary !== undefined) staged.push(stagePlatform(path.join(stage, packageName(platform)), platform, binary));
  }
  const tarballs = {};
  for (const home of staged) {
    const [npm, args] = npmCommand();
    const output = await outputOf(npm, [...args, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder], {
      cwd: home,
    });
    const printed = JSON.parse(output);
    // npm 12 and later print an object with the package name as key; earlier versions print a list.
    const [packed] = Array.isArray(printed) ? printed : Object.values(printed);
    tarballs[packed.name] = path.join(folder, path.basename(packed.filename));
  }
  return tarballs;
}

/** The binaries that have been built, by platform name. */
export function builtBinaries() {
  const built = platforms.filter((platform) => fs.existsSync(binaryFile(platform)));
  return Object.fromEntries(built.map((platform) => [platform.name, binaryFile(platform)]));
}

async function stageMain(home) {
  const manifest = { ...readManifest(), ...repository() };
  const published = Object.fromEntries(PUBLISHED.filter((key) => key in manifest).map((key) => [key, manifest[key]]));
  published.optionalDependencies = Object.fromEntries(
    platforms.map((platform) => [packageName(platform), manifest.version]),
  );
  fs.mkdirSync(home, { recursive: true });
  writeJson(path.join(home, 'package.json'), published);
  for (const file of ['README.md', 'CHANGELOG.md', 'LICENSE']) fs.copyFileSync(inRoot(file), path.join(home, file));
  await compileInto(path.join(home, 'dist'));
  return home;
}

function stagePlatform(home, platform, binary) {
  const manifest = readManifest('npm', platform.name);
  const expected = manifestOf(platform, readManifest());
  if (JSON.stringify(manifest) !== JSON.stringify(expected)) {
    throw new SetupError(`npm/${platform.name}/package.json is out of date: node scripts/version.mjs`);
  }
  fs.mkdirSync(home, { recursive: true });
  writeJson(path.join(home, 'package.json'), { ...manifest, ...repository() });
  fs.copyFileSync(binary, path.join(home, binaryName(platform)));
  for (const file of ['LICENSE', 'THIRD-PARTY.md']) fs.copyFileSync(inRoot(file), path.join(home, file));
  const { version } = manifest;
  fs.writeFileSync(
    path.join(home, 'README.md'),
    `# ${packageName(platform)}\n\nThe native engine of sluice ${version} for ${platform.title}. Do not depend on it: install \`sluice\`.\n`,
  );
  return home;
}

/** Provenance requires the location of the sources, which only the publishing workflow knows. */
function repository() {
  const { GITHUB_SERVER_URL: server, GITHUB_REPOSITORY: name } = process.env;
  return server && name ? { repository: { type: 'git', url: `git+${server}/${name}.git` } } : {};
}

/**
 * Compiles the library for publishing: as one file, and without source maps, because the package does not contain the sources; without
 * `@internal` declarations, and without declaration files that the public ones do not reach. The programs of the installation test show
 * that the result compiles on its own.
 */
export async function compileInto(dist) {
  const tsc = binOf('typescript', 'tsc');
  const modules = fs.mkdtempSync(`${dist}-modules-`);
  const places = ['--outDir', modules, '--declarationDir', dist];
  const shipped = ['--stripInternal', '--sourceMap', 'false', '--declarationMap', 'false'];
  const anew = ['--incremental', 'false', '--tsBuildInfoFile', 'null'];
  await outputOf(process.execPath, [tsc, '-p', inRoot('tsconfig.json'), ...places, ...shipped, ...anew]);

  const declared = trimDeclarations(
    dist,
    ENTRIES.map((entry) => `${entry}.d.ts`),
  );
  for (const file of declared) {
    if (/@internal\b/.test(fs.readFileSync(file, 'utf8'))) throw new SetupError(`${file} still contains @internal`);
  }

  const { contains, files } = await bundle(
    modules,
    dist,
    ENTRIES.map((entry) => `${entry}.js`),
    { sourcemap: false },
  );
  for (const [name, text] of files) writeWhole(path.join(dist, name), text);
  for (const name of fs.readdirSync(modules, { recursive: true })) {
    if (name.endsWith('.js') && !contains.includes(path.join(modules, name))) {
      throw new SetupError(`${ENTRIES.join(' and ')} do not reach ${name}`);
    }
  }
  fs.rmSync(modules, { recursive: true });
}

const inRoot = (...parts) => path.join(root, ...parts);

function writeJson(file, value) {
  fs.writeFileSync(file, `${JSON.stringify(value, null, 2)}\n`);
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(fs.realpathSync(process.argv[1])).href) {
  await main(async () => {
    const options = { all: { type: 'boolean', default: false }, to: { type: 'string', default: 'build/packages' } };
    const { values } = parseArgs({ options });
    const binaries = builtBinaries();
    const missing = platforms.filter(({ name }) => binaries[name] === undefined).map(({ name }) => name);
    if (values.all && missing.length > 0) throw new SetupError(`There is no binary for ${missing.join(', ')}`);
    const tarballs = await pack(path.resolve(values.to), binaries);
    for (const file of Object.values(tarballs))
      console.log(`${path.relative('', file)}: ${fs.statSync(file).size} bytes`);
    return 0;
  });
}
