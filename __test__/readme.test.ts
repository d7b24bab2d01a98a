/** The programs of the README: they compile against the public types, and do together what is said of them. */
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import ts from 'typescript';
import { Program, root } from './program.js';

/** The blocks of code that stand under a file name, as the README has them: `name`: and the block. */
async function programs(): Promise<Map<string, string>> {
  const text = await readFile(path.join(root, 'README.md'), 'utf8');
  const found = text.matchAll(/^`([\w-]+\.mjs)`:\n\n```js\n([\s\S]*?)^```$/gm);
  return new Map(Array.from(found, ([, name, code]) => [name!, code!]));
}

/** A folder inside of the package, so that `sluice` is found as it is in a project that has it installed. */
async function folder(t: ExecutionContext, name: string): Promise<string> {
  const made = path.join(root, 'out', `${name}-${process.pid}`);
  await mkdir(made, { recursive: true });
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}

test('the programs are there, of 20 lines together', async (t) => {
  const found = await programs();
  t.deepEqual([...found.keys()], ['echo-server.mjs', 'echo-client.mjs']);
  t.true([...found.values()].join('').trimEnd().split('\n').length <= 20);
});

test('the programs use the public types rightly', async (t) => {
  const where = await folder(t, 'readme-types');
  const files: string[] = [];
  for (const [name, code] of await programs()) {
    const file = path.join(where, name);
    await writeFile(file, code);
    files.push(file);
  }
  const program = ts.createProgram(files, {
    allowJs: true,
    checkJs: true,
    noEmit: true,
    strict: true,
    noImplicitAny: false,
    skipLibCheck: true,
    types: ['node'],
    typeRoots: [path.join(root, 'node_modules', '@types')],
    target: ts.ScriptTarget.ES2022,
    lib: ['lib.es2023.d.ts', 'lib.esnext.disposable.d.ts'],
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext,
  });
  const messages = ts.getPreEmitDiagnostics(program).map((d) => ts.flattenDiagnosticMessageText(d.messageText, '\n'));
  t.deepEqual(messages, []);
});

test('the server echoes what the client sends', async (t) => {
  const where = await folder(t, 'readme-run');
  const found = await programs();
  const file = (name: string): string => path.join(where, name);

  // The README has a port that readers can remember; here the system has to choose it.
  const server = found.get('echo-server.mjs')!;
  t.is(server.split('8888').length, 2);
  await writeFile(file('server.mjs'), server.replace('8888', '0'));
  const running = new Program(t, file('server.mjs'));
  const [, port] = await running.prints(/^Serving on .*port: (\d+)/m);

  const client = found.get('echo-client.mjs')!;
  t.is(client.split('8888').length, 2);
  await writeFile(file('client.mjs'), client.replace('8888', port!));
  for (let i = 0; i < 2; i++) {
    const { code, stdout, stderr } = await new Program(t, file('client.mjs')).ended;
    t.is(stderr, '');
    t.is(stdout, 'Received: Hello World!\n');
    t.is(code, 0);
  }
});

test('the links of the documents lead somewhere', async (t) => {
  for (const document of ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'docs/architecture.md']) {
    const text = await readFile(path.join(root, document), 'utf8');
    for (const [, link] of text.matchAll(/\]\(((?!https?:)[^)#]+)/g)) {
      const target = path.resolve(root, path.dirname(document), link!);
      await t.notThrowsAsync(stat(target), `${document}: ${link!}`);
    }
  }
});
