/** Which test files `npm test` runs in which pass, and which of them a word on its command line selects. */
// Runs once: it reads the tests, and starts none.
import { readFile } from 'node:fs/promises';
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

interface Group {
  readonly name: string;
  readonly compiled: string;
  readonly files: readonly TestFile[];
}

interface TestFiles {
  readonly GROUPS: Readonly<Record<string, readonly string[]>>;
  together(files: readonly TestFile[]): (Group | TestFile)[];
  passes(addon: boolean, environment?: NodeJS.ProcessEnv): Pass[];
  plan(passes: readonly Pass[], files: readonly TestFile[]): (Pass & { readonly files: readonly TestFile[] })[];
  dependencies(source: string, file: string): string[];
  testFiles(): TestFile[];
  named(files: readonly TestFile[], word: string): TestFile[];
}

const scripts = (await import(pathToFileURL(path.join(root, 'scripts', 'test-files.mjs')).href)) as TestFiles;
const { GROUPS, together, passes, plan, dependencies, testFiles, named } = scripts;

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

test('the files and groups in LONGEST exist', async (t) => {
  const config = (await import(pathToFileURL(path.join(root, 'ava.config.js')).href)) as { LONGEST: string[] };
  const names = new Set([...testFiles().map(({ name }) => name), ...Object.keys(GROUPS)]);
  t.deepEqual(
    config.LONGEST.filter((name) => !names.has(name)),
    [],
  );
});

type Declare = (title: string, body: (t: Teardowns) => unknown) => void;
interface Teardowns {
  teardown(run: () => void): void;
}
interface TestGroup {
  declareAll(
    real: Declare & { readonly serial: Declare; readonly skip: Declare },
    name: string,
    calls: readonly { readonly method: readonly string[]; readonly args: readonly unknown[] }[],
    before: Promise<unknown>,
  ): Promise<unknown>;
}

test('in a group, the tests of a file start when those of the file before have ended, teardowns included', async (t) => {
  const url = pathToFileURL(path.join(root, 'scripts', 'test-group.mjs')).href;
  const { declareAll } = (await import(url)) as TestGroup;
  const events: string[] = [];
  const running: Promise<void>[] = [];
  // As ava does: all tests at once, and the teardowns of each in reverse.
  const real = Object.assign(
    (title: string, body: (t: Teardowns) => unknown) => {
      const teardowns: (() => void)[] = [];
      const end = (): void => teardowns.reverse().forEach((run) => run());
      const started = Promise.resolve(body({ teardown: (run) => void teardowns.push(run) }));
      running.push(started.then(end, end).then(() => void events.push(`${title} has ended`)));
    },
    {
      serial: (title: string) => void events.push(`serial: ${title}`),
      skip: (title: string) => void events.push(`skip: ${title}`),
    },
  );
  const body = (name: string) => async (one: Teardowns) => {
    one.teardown(() => void events.push(`${name} cleans up`));
    events.push(name);
    await new Promise((resolve) => setImmediate(resolve));
    if (name === 'fails') throw new Error('as a test may');
  };
  const call = (name: string, ...method: string[]): { method: string[]; args: unknown[] } => ({
    method,
    args: [name, body(name)],
  });
  let before: Promise<unknown> = Promise.resolve();
  before = declareAll(real, 'x/one', [call('a'), call('fails'), call('no', 'skip')], before);
  before = declareAll(real, 'none', [call('only', 'serial')], before);
  before = declareAll(real, 'two', [call('b')], before);
  await Promise.all([before, ...running]);
  t.deepEqual(events.slice(0, 2), ['skip: x/one › no', 'serial: none › only']);
  t.deepEqual(
    events.slice(2).filter((event) => !event.includes('has ended')),
    ['a', 'fails', 'a cleans up', 'fails cleans up', 'b', 'b cleans up'],
  );
  t.true(events.includes('two › b has ended'));
});

const members = (unit: Group | TestFile): readonly TestFile[] => ('files' in unit ? unit.files : [unit]);

test('in each pass, every test file runs in exactly one process, alone or in a group', (t) => {
  for (const { name, files } of plan(passes(true, {}), testFiles())) {
    const units = together(files);
    t.true(units.length < files.length, name);
    t.deepEqual(units.flatMap(members).sort(byName), [...files].sort(byName), name);
  }
});

function byName(one: TestFile, other: TestFile): number {
  return one.name < other.name ? -1 : 1;
}

test('the files of a group exist, are in no other group, and run in the same passes', (t) => {
  const files = new Map(testFiles().map((each) => [each.name, each]));
  const all = Object.values(GROUPS).flat();
  t.deepEqual(
    all.filter((name) => !files.has(name)),
    [],
  );
  t.is(new Set(all).size, all.length);
  for (const [name, names] of Object.entries(GROUPS)) {
    t.is(new Set(names.map((each) => files.get(each)?.dependsOn.join())).size, 1, name);
    t.false(files.has(name), `${name} is also the name of a test file`);
  }
});

test('a group of which a file is missing does not run as a group', (t) => {
  const files = testFiles();
  for (const [name, [first]] of Object.entries(GROUPS)) {
    const units = together(files.filter((each) => each.name !== first));
    t.false(
      units.some((unit) => unit.name === name),
      name,
    );
  }
});

/** What a file may not contain if it shares a process: changes of the process that no serial test restores, and measurements. */
const ALONE = [
  /\bprocess\.env\[?[^;,)]*\]? = /,
  /\bdelete process\.env\b/,
  /\bprocess\.(?:on|once|addListener|prependListener|umask|chdir|memoryUsage|cpuUsage|resourceUsage|exitCode)\b/,
  /\btest\.(?:before|after|beforeEach|afterEach|only)\b/,
  /from '[./]*\/(?:gc|fake-clock)\.js'/,
  /from 'node:(?:diagnostics_channel|v8|cluster|worker_threads|perf_hooks)'/,
];

/** Files that contain something of the above, and why they may share a process all the same. */
const HARMLESS: Readonly<Record<string, string>> = {
  admission: 'it puts listeners back in a teardown, before the next file starts',
  amqp: 'it measures how much one synchronous call adds to the heap',
  'examples-more': 'only a program that it starts sets the exit code',
  'frames-transports': 'it measures how much one call adds to the array buffers',
  framing: 'it measures how much one call adds to the array buffers',
  index: 'only the programs that it starts have a listener',
  legacy: 'only a program that it starts has a listener',
  'max-write-buffer': 'it removes its listener in a teardown, before the next file starts',
  'server-thenables': 'it puts listeners back in a teardown, before the next file starts',
  stream: 'it listens for unhandled rejections, which make any file fail',
  'unix-server': 'only a program that it starts changes the directory',
  websocket: 'it measures how much one synchronous call adds to the heap',
  writeframe: 'it listens for unhandled rejections, which make any file fail',
  writer: 'it listens for unhandled rejections, which make any file fail',
};

test('no file of a group changes or measures what belongs to the whole process', async (t) => {
  const grouped = new Set(Object.values(GROUPS).flat());
  t.deepEqual(
    Object.keys(HARMLESS).filter((name) => !grouped.has(name)),
    [],
  );
  for (const { name, source } of testFiles()) {
    if (!grouped.has(name) || name === 'test-files') continue;
    const text = await readFile(path.join(root, source), 'utf8');
    const found = ALONE.filter((pattern) => pattern.test(text));
    t.is(found.length > 0, name in HARMLESS, `${source}: ${found.join(' ')}`);
  }
});
