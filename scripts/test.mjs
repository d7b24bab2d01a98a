/**
 * `npm test [-- ARGUMENTS]`: sets up everything, and runs the tests in three passes:
 *
 * - on the native engine, if there is an addon,
 * - on the TypeScript engine,
 * - with sockets read through `'data'` events instead of into reused memory (SLUICE_READS=data).
 *
 * A test file that does not depend on all of these says so, and runs in fewer passes; if all tests run, some files share a process:
 * see `test-files.mjs`.
 *
 * A test file can be named by its path (`__test__/reader/reader.test.ts`), its name (`reader`) or its folder; a line number may
 * follow (`reader:12`). Options are passed to ava (`--match='*EOF*'`). SLUICE_ENGINE and SLUICE_READS in the environment select
 * passes.
 *
 * ava's output is shown while a pass runs if there are arguments, and otherwise only after a pass that failed. The last line is
 * `N passed, N failed`, the sum over all passes.
 */
import { spawn } from 'node:child_process';
import { stripVTControlCharacters } from 'node:util';
import { SetupError, binOf, main, root, setup } from './setup.mjs';
import { named, passes, plan, testFiles, together, writeGroup } from './test-files.mjs';

/**
 * How long one pass may take. On an idle machine it takes a minute. ava ends a test file that hangs (`ava.config.js`); this limit
 * is for anything that ava does not end.
 */
const PASS_TIMEOUT_MS = 30 * 60 * 1000;

/** ava's options that take a value. */
const VALUED = ['--concurrency', '-c', '--config', '--match', '-m', '--node-arguments', '--timeout', '-T'];

await main(async () => {
  const { addon } = await setup();
  const { files, lines, options } = understood(process.argv.slice(2), testFiles());
  const live = process.argv.length > 2;

  const totals = { passed: 0, failed: 0, skipped: 0 };
  for (const pass of plan(passes(addon), files)) {
    if (pass.files.length === 0) continue;
    console.log(live ? `\n${pass.name}:` : `${pass.name} ...`);
    const start = Date.now();
    // What is selected runs in a process for each file, so that lines and titles can be selected, too.
    const units = live ? pass.files : together(pass.files);
    for (const unit of units) if (unit.files !== undefined) writeGroup(unit);
    const words = units.map((unit) => unit.compiled + (lines.get(unit) ?? ''));
    const outcome = await runAva([...options, ...words], pass.env, live);
    const result = judge(outcome, options.length > 0);
    if (result.failed > 0 && !live) process.stdout.write(outcome.output);
    for (const key of Object.keys(totals)) totals[key] += result[key];
    console.log(`${pass.name}: ${counts(result)} (${((Date.now() - start) / 1000).toFixed(1)} s)${result.reason}`);
  }

  if (totals.passed === 0 && totals.failed === 0) totals.failed = 1;
  console.log(counts(totals));
  return totals.failed === 0 ? 0 : 1;
});

/** The selected test files, by default all; the selected lines in them; and the arguments for ava. */
function understood(args, all) {
  const files = new Set();
  const lines = new Map();
  const options = [];
  for (const [i, argument] of args.entries()) {
    if (argument.startsWith('-') || VALUED.includes(args[i - 1])) {
      options.push(argument);
      continue;
    }
    const { word, line } = /^(?<word>.*?)(?<line>:[\d,-]+)?$/.exec(argument).groups;
    const found = named(all, word);
    if (found.length === 0) throw new SetupError(`No test file matches ${word}`);
    for (const file of found) files.add(file);
    if (line !== undefined) lines.set(found[0], line);
  }
  return { files: files.size > 0 ? [...files] : all, lines, options };
}

function runAva(args, env, live) {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, [binOf('ava', 'ava'), ...args], {
      cwd: root,
      env: {
        ...process.env,
        // Node 20 parses these certificates whenever a process starts, and a system's list takes longer than the rest of the
        // start. No test needs them.
        NODE_EXTRA_CA_CERTS: undefined,
        ...(process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}),
        ...env,
      },
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
 * The numbers of a pass. They can make a pass fail that ava considers successful, but never the other way round: an output that
 * is not understood, a crash, or a pass without a test counts as a failure. Options may select tests that only another pass has
 * (`selected`).
 */
function judge({ code, signal, output }, selected) {
  const text = stripVTControlCharacters(output);
  const number = (pattern) => Number(new RegExp(String.raw`^\s*(\d+) ${pattern}\b`, 'm').exec(text)?.[1] ?? 0);
  const ticks = text.match(/^\s*[✔√] /gm)?.length ?? 0;
  const failed =
    number('tests? failed') +
    number('hooks? failed') +
    number('unhandled rejections?') +
    number('uncaught exceptions?') +
    number('tests? remained pending');
  // ava's summary contains the number of passed tests only if none failed.
  const result = { passed: number('tests? passed') || ticks, failed, skipped: number('tests? skipped'), reason: '' };
  if (failed > 0 || (selected && /Couldn.t find any matching tests/.test(text))) return result;
  if (code !== 0) {
    return { ...result, failed: 1, reason: `; ava ended with ${signal ?? `exit code ${code}`}` };
  }
  return result.passed > 0 ? result : { ...result, failed: 1, reason: '; no test was run' };
}

function counts({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
}
