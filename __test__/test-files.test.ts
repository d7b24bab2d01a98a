/** Which test files `npm test` runs in which pass, and which of them a word on its command line selects. */
// Runs once: it reads the tests, and starts none.
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { root } from './program.js';

interface TestFile {
  readonly name: string;
  readonly source: string;
  readonly compiled: string;
  readonly dependsOn: readonly string[];
}

interface Pass {
  readonly name: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

interface TestFiles {
  passes(addon: boolean, environment?: NodeJS.ProcessEnv): Pass[];
  plan(passes: readonly Pass[], files: readonly TestFile[]): (Pass & { readonly files: readonly TestFile[] })[];
  dependencies(source: string, file: string): string[];
  testFiles(): TestFile[];
  named(files: readonly TestFile[], word: string): TestFile[];
}

const scripts = (await import(pathToFileURL(path.join(root, 'scripts', 'test-files.mjs')).href)) as TestFiles;
const { passes, plan, dependencies, testFiles, named } = scripts;

const BOTH = ['SLUICE_ENGINE', 'SLUICE_READS'];

function file(name: string, dependsOn: readonly string[] = BOTH, folder = '__test__'): TestFile {
  const source = `${folder}/${name}.test.ts`;
  return { name, source, compiled: `out/${folder}/${name}.test.js`, dependsOn };
}

test('a test file depends on the engine and on the way of reading, unless it says otherwise', (t) => {
  t.deepEqual(dependencies("import test from 'ava';\n// Run by hand.\n", 'x'), BOTH);
  t.deepEqual(dependencies('/** What it tests. */\n// Runs once: it reads nothing.\n', 'x'), []);
  t.deepEqual(dependencies('// Runs once for each engine: no socket is read.\n', 'x'), ['SLUICE_ENGINE']);
  t.deepEqual(dependencies('// Runs once for each way of reading: no ring.\n', 'x'), ['SLUICE_READS']);
});

test('a declaration that is invalid, repeated or without a reason is an error that names the file', (t) => {
  for (const source of [
    '// Runs once\n',
    '// Runs once: \n',
    '//Runs once: too close.\n',
    '// runs once: too small.\n',
    '// Runs once for each machine: no.\n',
    '// Runs twice: no.\n',
    '// Runs once: yes.\n// Runs once for each engine: or no.\n',
  ]) {
    t.throws(() => dependencies(source, 'some.test.ts'), { message: /^some\.test\.ts: / }, source);
  }
});

test('a file without a declaration runs in every pass, one with a declaration once for each value it depends on', (t) => {
  const files = [file('all'), file('none', []), file('engine', ['SLUICE_ENGINE']), file('reads', ['SLUICE_READS'])];
  const planned = (addon: boolean, environment: NodeJS.ProcessEnv): [string, string][] =>
    plan(passes(addon, environment), files).map((pass) => [pass.name, pass.files.map(({ name }) => name).join(' ')]);
  t.deepEqual(planned(true, {}), [
    ['native engine', 'all none engine reads'],
    ['typescript engine', 'all engine'],
    ["native engine, reads by 'data'", 'all reads'],
  ]);
  const typescript = [
    ['typescript engine', 'all none engine reads'],
    ["typescript engine, reads by 'data'", 'all reads'],
  ] as [string, string][];
  t.deepEqual(planned(false, {}), typescript);
  t.deepEqual(planned(true, { SLUICE_ENGINE: 'typescript' }), typescript);
  t.deepEqual(planned(true, { SLUICE_ENGINE: 'native' }), [
    ['native engine', 'all none engine reads'],
    ["native engine, reads by 'data'", 'all reads'],
  ]);
  t.deepEqual(planned(true, { SLUICE_READS: 'data' }), [["native engine, reads by 'data'", 'all none engine reads']]);
});

test('whatever the environment selects, no test file is left out', (t) => {
  const files = testFiles();
  t.true(files.length > 50);
  for (const addon of [true, false]) {
    for (const environment of [{}, { SLUICE_ENGINE: 'typescript' }, { SLUICE_READS: 'data' }]) {
      const planned = plan(passes(addon, environment), files);
      t.deepEqual(new Set(planned.flatMap((pass) => pass.files)), new Set(files), JSON.stringify(environment));
    }
  }
});

test('a name, a source, a compiled file or a folder selects test files, in any folder', (t) => {
  const plain = file('plain');
  const nested = file('nested', BOTH, '__test__/some/where');
  const beside = file('beside', BOTH, '__test__/some');
  const files = [plain, nested, beside];
  for (const word of ['plain', 'plain.test.ts', '__test__/plain.test.ts', 'out/__test__/plain.test.js']) {
    t.deepEqual(named(files, word), [plain], word);
  }
  for (const word of ['nested', nested.source, `./${nested.source}`, nested.compiled, path.join(root, nested.source)]) {
    t.deepEqual(named(files, word), [nested], word);
  }
  for (const word of ['some', '__test__/some', '__test__/some/', 'out/__test__/some']) {
    t.deepEqual(named(files, word), [nested, beside], word);
  }
  t.deepEqual(named(files, 'some/where'), [nested]);
  t.deepEqual(named(files, 'som'), []);
});

test('a trailing slash selects the folder, not the test file of the same name', (t) => {
  const reader = file('reader', BOTH, '__test__/reader');
  const model = file('reader-model', BOTH, '__test__/reader');
  t.deepEqual(named([reader, model], 'reader'), [reader]);
  t.deepEqual(named([reader, model], 'reader/'), [reader, model]);
});

test('the files in LONGEST exist', async (t) => {
  const config = (await import(pathToFileURL(path.join(root, 'ava.config.js')).href)) as { LONGEST: string[] };
  const names = new Set(testFiles().map(({ name }) => name));
  t.deepEqual(
    config.LONGEST.filter((name) => !names.has(name)),
    [],
  );
});
