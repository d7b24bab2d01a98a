/**
 * `node scripts/release-notes.mjs TAG`: prints what the change log has for the version of a tag, `v1.2.3`. An error where the tag is
 * not that of the version in package.json, or the change log has nothing for it.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { readManifest } from './platforms.mjs';
import { main, root, SetupError } from './setup.mjs';

await main(async () => {
  const [tag] = process.argv.slice(2);
  const { version } = readManifest();
  if (tag !== `v${version}`) throw new SetupError(`The tag is ${tag ?? 'missing'}, and the version ${version}`);
  const sections = fs.readFileSync(path.join(root, 'CHANGELOG.md'), 'utf8').split(/^(?=## )/m);
  const section = sections.find((text) => text.startsWith(`## [${version}]`));
  const notes = section?.slice(section.indexOf('\n')).trim() ?? '';
  if (notes === '')
    throw new SetupError(`CHANGELOG.md has nothing for ${version}: node scripts/version.mjs ${version}`);
  console.log(notes);
  return 0;
});
