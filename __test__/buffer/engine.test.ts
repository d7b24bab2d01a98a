// Runs once for each engine: no socket is read.
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import test from 'ava';
import { createRing, engine } from '#ts/buffer/engine.js';
import { NativeRing } from '#ts/buffer/native-ring.js';
import { loadAddon } from '#ts/buffer/native.js';
import { TypeScriptRing } from '#ts/buffer/typescript-ring.js';

test('engine names the engine whose rings createRing makes', (t) => {
  t.is(engine, loadAddon() === null ? 'typescript' : 'native');
  const wanted = process.env['SLUICE_ENGINE'] ?? '';
  t.true(wanted === '' || wanted === engine);
  t.is(createRing() instanceof NativeRing, engine === 'native');
  t.is(createRing() instanceof TypeScriptRing, engine === 'typescript');
});

test('rings are independent and own no memory at first', (t) => {
  const a = createRing();
  const b = createRing();
  t.is(a.capacity, 0);
  a.append(Buffer.from('abc'));
  t.is(b.length, 0);
  t.is(b.capacity, 0);
  b.append(Buffer.from('x'));
  t.is(a.view(0, 3)?.toString(), 'abc');
});

test('SLUICE_ENGINE selects the engine of a process', (t) => {
  const file = createRequire(import.meta.url).resolve('#ts/buffer/engine.js');
  const program = `console.log((await import(${JSON.stringify(pathToFileURL(file).href)})).engine)`;
  const run = (wanted: string) =>
    spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
      env: { ...process.env, SLUICE_ENGINE: wanted },
      encoding: 'utf8',
    });
  t.is(run('typescript').stdout, 'typescript\n');
  const found = loadAddon({}) !== null;
  t.is(run('').stdout, found ? 'native\n' : 'typescript\n');
  const forced = run('native');
  if (found) t.is(forced.stdout, 'native\n');
  else t.regex(forced.stderr, /ERR_NATIVE_UNAVAILABLE/);
});
