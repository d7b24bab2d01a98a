/**
 * `node scripts/release-notes.mjs TAG`: prints the section of the changelog for the version of a tag such as `v1.2.3`. Fails if
 * the tag does not match the version in package.json, or if the changelog has no such section.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { readManifest } from './platforms.mjs';
import { main, root, SetupError } from './setup.mjs';

await main(async () => {
  const [tag] = process.argv.slice(2);
  const { version } = readManifest();
  if (tag !== `v${version}`) throw new SetupError(`The tag is ${tag ?? 'missing'}, but the version is ${version}`);
  const sections = fs.readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8').split(/^(?=## )/m);
  const section = sections.find((text) => text.startsWith(`## [${version}]`));
  const notes = section?.slice(section.indexOf('\n')).trim() ?? '';
  if (notes === '')
    throw new SetupError(`CHANGELOG.md has no section for ${version}; run node scripts/version.mjs ${version} first`);
  console.log(notes);
  return 0;
});
