/** The check that stops a release whose manifest is incomplete. */
// Runs once: it concerns neither engine.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Process, root } from './program.js';

async function check(t: ExecutionContext, manifest: object): Promise<{ code: number | null; printed: string }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'package.json');
  writeFileSync(file, JSON.stringify(manifest));
  const script = path.join(root, 'scripts', 'release-ready.mjs');
  const { code, stdout, stderr } = await new Process(t, process.execPath, [script, file], { cwd: folder }).ended;
  return { code, printed: stdout + stderr };
}

const HERE = 'https://example.org/sluice';

test('a release needs repository, bugs and homepage in the manifest, and one line names those that are missing', async (t) => {
  t.deepEqual(await check(t, { name: 'sluice', repository: '', homepage: HERE }), {
    code: 1,
    printed: 'Before the first release, fill in repository, bugs in package.json\n',
  });
  const complete = { repository: { type: 'git', url: HERE }, bugs: { url: HERE }, homepage: HERE };
  t.is((await check(t, complete)).code, 0);
});
