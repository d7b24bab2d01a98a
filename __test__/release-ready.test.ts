/** The checks before a release: that the manifest is complete, and which binaries can be checked. */
// Runs once: it concerns neither engine.
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { Process, root } from './program.js';

interface Platform {
  readonly name: string;
}
const script = (name: string): string => pathToFileURL(path.join(root, 'scripts', name)).href;
const { binaryFile, platforms } = (await import(script('platforms.mjs'))) as {
  binaryFile(platform: Platform): string;
  platforms: readonly Platform[];
};
const { isChecked } = (await import(script('check-binary.mjs'))) as { isChecked(platform: Platform): boolean };

async function check(t: ExecutionContext, manifest: object): Promise<{ code: number | null; printed: string }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'sluice-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = path.join(folder, 'package.json');
  writeFileSync(file, JSON.stringify(manifest));
  const ready = path.join(root, 'scripts', 'release-ready.mjs');
  const { code, stdout, stderr } = await new Process(t, process.execPath, [ready, file], { cwd: folder }).ended;
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

test('a binary that was not built, or cannot be checked, is one line that says so', async (t) => {
  const checker = path.join(root, 'scripts', 'check-binary.mjs');
  for (const [name, line] of [
    ['darwin-arm64', 'The binary for darwin-arm64 cannot be checked: only those for Linux and FreeBSD can\n'],
    ['linux-z80-gnu', /^Unknown platform linux-z80-gnu; use one of [\w, -]+\n$/],
  ] as const) {
    const { code, stdout, stderr } = await new Process(t, process.execPath, [checker, name], { cwd: root }).ended;
    t.is(code, 1, name);
    if (typeof line === 'string') t.is(stdout + stderr, line);
    else t.regex(stdout + stderr, line);
  }
  const unbuilt = platforms.find((platform) => isChecked(platform) && !existsSync(binaryFile(platform)));
  if (unbuilt === undefined) return;
  const { code, stdout, stderr } = await new Process(t, process.execPath, [checker, unbuilt.name], { cwd: root }).ended;
  t.is(code, 1);
  t.is(
    stdout + stderr,
    `There is no binary for ${unbuilt.name} to check; run node scripts/build-binary.mjs ${unbuilt.name} first\n`,
  );
});
