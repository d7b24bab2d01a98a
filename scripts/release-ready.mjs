/**
 * `node scripts/release-ready.mjs [MANIFEST]`: fails unless the manifest, by default that of the root, has everything that only the owner
 * of the repository knows and a release must have. The release workflow runs it first.
 */
import * as fs from 'node:fs';
import path from 'node:path';
import { main, root, SetupError } from './setup.mjs';

/** What package pages and `npm bugs`, `npm repo` and `npm docs` show; provenance compares `repository` with where the release was built. */
const OWNERS = ['repository', 'bugs', 'homepage'];

await main(() => {
  const file = path.resolve(process.argv[2] ?? path.join(root, 'package.json'));
  const manifest = JSON.parse(fs.readFileSync(file, 'utf8'));
  const missing = OWNERS.filter((name) => {
    const value = manifest[name];
    return !(typeof value === 'string' ? value : value?.url)?.trim();
  });
  if (missing.length > 0) {
    throw new SetupError(`Before the first release, fill in ${missing.join(', ')} in ${path.basename(file)}`);
  }
  console.log(`${path.basename(file)} has ${OWNERS.join(', ')}`);
  return 0;
});
