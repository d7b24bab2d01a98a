/** The list of tests that are left out on Bun and Deno, checked on Node: no entry may refer to a test that does not exist. */
// Runs once: it reads the titles of tests, and runs none.
import { execFile } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import test from 'ava';
import { LONGEST_MS, root } from '../program.js';
import { leftOut, type LeftOut } from './left-out.js';

interface TestFile {
  readonly name: string;
  readonly compiled: string;
}

const scripts = pathToFileURL(path.join(root, 'scripts', 'test-files.mjs')).href;
const { testFiles } = (await import(scripts)) as { testFiles(): TestFile[] };

/** What goes wrong outside of all tests has this title in the list. */
const STRAY = '(no test)';

const lists: readonly [string, readonly LeftOut[]][] = Object.entries(leftOut);

async function titlesOf(files: readonly string[]): Promise<Map<string, readonly string[]>> {
  const program = fileURLToPath(new URL('./titles.js', import.meta.url));
  const { stdout } = await promisify(execFile)(process.execPath, ['--no-warnings', program, ...files], {
    cwd: root,
    timeout: LONGEST_MS,
    maxBuffer: 2 ** 24,
  });
  return new Map(Object.entries(JSON.parse(stdout) as Record<string, string[]>));
}

test('every entry of left-out.ts names a test file, and tests that this file has', async (t) => {
  const compiled = new Map(testFiles().map((file) => [file.name, file.compiled]));
  const entries = lists.flatMap(([runtime, list]) => list.map((entry) => ({ runtime, ...entry })));
  t.deepEqual(
    entries.filter(({ file }) => !compiled.has(file)).map(({ runtime, file }) => `${runtime}: ${file}`),
    [],
  );
  const named = entries.filter(({ tests, file }) => tests !== undefined && compiled.has(file));
  const titles = await titlesOf([...new Set(named.map(({ file }) => compiled.get(file)!))]);
  const stale = named.flatMap(({ runtime, file, tests = [] }) =>
    tests
      .filter((title) => title !== STRAY && !titles.get(compiled.get(file)!)!.includes(title))
      .map((title) => `${runtime}: ${file}: ${title}`),
  );
  t.deepEqual(stale, []);
  t.true(titles.size > 20);
});

test('left-out.ts has no test twice for one runtime', (t) => {
  for (const [runtime, list] of lists) {
    const names = list.flatMap(({ file, tests = [''] }) => tests.map((title) => `${file}: ${title}`));
    t.deepEqual(
      names.filter((name, i) => names.indexOf(name) !== i),
      [],
      runtime,
    );
  }
});
