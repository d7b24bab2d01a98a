/**
 * `titles.js FILE ...`: prints the titles of the tests in compiled test files, as a JSON object from file to titles. The tests are
 * registered with `./ava.js` in place of ava, and do not run. For Node, whose resolver this replaces; run by `left-out.test.ts`.
 */
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { takeTitles } from './ava.js';
import './node.js';

const titles: Record<string, readonly string[]> = {};
for (const file of process.argv.slice(2)) {
  await import(pathToFileURL(path.resolve(file)).href);
  titles[file] = takeTitles();
}
// Whatever the test files have opened on being loaded is of no use here.
process.stdout.write(JSON.stringify(titles), () => process.exit());
