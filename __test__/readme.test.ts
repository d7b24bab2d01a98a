/** The programs of the README: they compile against the public types, and do together what is said of them. */
import { readFile, readdir, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { complaints, folder, snippets } from './documents.js';
import { Program, root } from './program.js';

/** The programs of the README by their names. */
async function programs(): Promise<Map<string, string>> {
  return new Map((await snippets('README.md')).map(({ name, code }) => [name, code]));
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
  const messages = complaints(files, { allowJs: true, checkJs: true, noImplicitAny: false });
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
  const docs = (await readdir(path.join(root, 'docs'))).map((name) => `docs/${name}`);
  for (const document of ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...docs]) {
    const text = await readFile(path.join(root, document), 'utf8');
    for (const [, link] of text.matchAll(/\]\(((?!https?:)[^)#]+)/g)) {
      const target = path.resolve(root, path.dirname(document), link!);
      await t.notThrowsAsync(stat(target), `${document}: ${link!}`);
    }
  }
});
