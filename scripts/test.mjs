/**
 * `npm test [-- ARGUMENTS]`: sets everything up, then runs the tests in three passes, so that everything holds
 *
 * - on the native engine, where the addon is there,
 * - on the TypeScript engine,
 * - with sockets read by `'data'` events in place of reads into reused memory (SLUICE_READS=data).
 *
 * A test file can be named by its source (`__test__/reader.test.ts`, or `reader`); everything else goes to ava as it is
 * (`--match='*seam*'`). SLUICE_ENGINE and SLUICE_READS in the environment choose the passes that go with them.
 *
 * What ava prints is shown while a pass runs when arguments were given, and after a pass that failed. The last line is
 * `N passed, N failed`, the sum over all passes.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { stripVTControlCharacters } from 'node:util';
import { binOf, main, root, setup } from './setup.mjs';

/** How long one pass may take. It takes one or two minutes; what takes this long hangs, and its output tells where. */
const PASS_TIMEOUT_MS = 10 * 60 * 1000;

await main(async () => {
  const { addon } = await setup();
  const args = process.argv.slice(2).map(compiledName);
  const live = args.length > 0;

  const totals = { passed: 0, failed: 0, skipped: 0 };
  for (const pass of passes(addon)) {
    console.log(live ? `\n${pass.name}:` : `${pass.name} ...`);
    const start = Date.now();
    const outcome = await runAva(args, pass.env, live);
    const result = judge(outcome);
    if (result.failed > 0 && !live) process.stdout.write(outcome.output);
    for (const key of Object.keys(totals)) totals[key] += result[key];
    console.log(`${pass.name}: ${counts(result)} (${((Date.now() - start) / 1000).toFixed(1)} s)${result.reason}`);
  }

  if (totals.passed === 0 && totals.failed === 0) totals.failed = 1;
  console.log(counts(totals));
  return totals.failed === 0 ? 0 : 1;
});

/** The passes that the environment leaves to run. */
function passes(addon) {
  const { SLUICE_ENGINE: engine, SLUICE_READS: reads } = process.env;
  const fastest = addon ? 'native' : 'typescript';
  const all = [
    { name: 'native engine', env: { SLUICE_ENGINE: 'native', SLUICE_READS: undefined } },
    { name: 'typescript engine', env: { SLUICE_ENGINE: 'typescript', SLUICE_READS: undefined } },
    {
      name: `${engine || fastest} engine, reads by 'data'`,
      env: { SLUICE_ENGINE: engine || fastest, SLUICE_READS: 'data' },
    },
  ];
  return all.filter(({ env }) => {
    if (engine ? env.SLUICE_ENGINE !== engine : env.SLUICE_ENGINE === 'native' && !addon) return false;
    return !reads || env.SLUICE_READS === reads;
  });
}

/** `__test__/reader.test.ts` or `reader` -> `out/__test__/reader.test.js`; line numbers behind a colon are kept for ava. */
function compiledName(argument) {
  const { name, lines = '' } = /^(?<name>[^:]*?)(?<lines>:[\d,-]+)?$/.exec(argument)?.groups ?? { name: argument };
  if (name === '' || name.startsWith('-')) return argument;
  const stem = path.basename(name).replace(/(\.test)?\.[jt]s$/, '');
  const compiled = path.posix.join('out', '__test__', `${stem}.test.js`);
  return fs.existsSync(path.join(root, compiled)) ? compiled + lines : argument;
}

function runAva(args, env, live) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [binOf('ava', 'ava'), ...args], {
      cwd: root,
      env: { ...process.env, ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}), ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const pieces = [];
    const keep = (piece) => {
      pieces.push(piece);
      if (live) process.stdout.write(piece);
    };
    child.stdout.on('data', keep);
    child.stderr.on('data', keep);
    const timer = setTimeout(() => {
      keep(Buffer.from(`\nThe pass was ended: it took longer than ${PASS_TIMEOUT_MS / 60_000} minutes.\n`));
      child.kill('SIGTERM');
    }, PASS_TIMEOUT_MS);
    child.on('error', (error) => keep(Buffer.from(`${error.message}\n`)));
    child.on('exit', () => clearTimeout(timer));
    child.on('close', (code, signal) => resolve({ code, signal, output: Buffer.concat(pieces).toString() }));
  });
}

/**
 * The numbers of a pass. ava's exit code has the last word: an output that is not understood, a crash, or a pass without a
 * test can make a failure of a pass, never a success.
 */
function judge({ code, signal, output }) {
  const text = stripVTControlCharacters(output);
  const number = (pattern) => Number(new RegExp(String.raw`^\s*(\d+) ${pattern}\b`, 'm').exec(text)?.[1] ?? 0);
  const ticks = text.match(/^\s*[✔√] /gm)?.length ?? 0;
  const failed =
    number('tests? failed') +
    number('hooks? failed') +
    number('unhandled rejections?') +
    number('uncaught exceptions?') +
    number('tests? remained pending');
  // ava names the passed tests in its summary only where none failed.
  const result = { passed: number('tests? passed') || ticks, failed, skipped: number('tests? skipped'), reason: '' };
  if (failed > 0) return result;
  if (code !== 0) {
    return { ...result, failed: 1, reason: `; ava ended with ${signal ?? `exit code ${code}`}` };
  }
  return result.passed > 0 ? result : { ...result, failed: 1, reason: '; no test was run' };
}

function counts({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
