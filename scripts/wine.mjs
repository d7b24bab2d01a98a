/**
 * Runs Node for Windows under Wine, for `npm run test:runtimes -- windows`.
 *
 * Everything that Wine writes is in `build/runtimes/wine`, which takes 700 MB. Its own processes outlive the programs that it runs
 * and keep their output open, so output goes to files, and {@link stopWine} ends the processes. Two runs in one checkout would stop
 * each other's.
 */
import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import path from 'node:path';
import { outcomeOf } from './processes.mjs';
import { SetupError, root } from './setup.mjs';

const PREFIX = path.join(root, 'build', 'runtimes', 'wine');

/** The environment of every program that runs under Wine. */
export const wineEnvironment = {
  WINEPREFIX: PREFIX,
  // Wine's messages about itself would be mixed into the output of the tests.
  WINEDEBUG: '-all',
  // Without these, Wine offers to download .NET and an HTML engine, and puts entries into the menu of the desktop.
  WINEDLLOVERRIDES: 'mscoree,mshtml=;winemenubuilder.exe=d',
  // Node supports no version of Windows that Wine claims to be.
  NODE_SKIP_PLATFORM_CHECK: '1',
};

/** Whether Wine for 64 bits is installed. */
export async function hasWine() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return false;
  const outcomes = await Promise.all(['wine', 'wineserver'].map((program) => outcomeOf(program, ['--version'])));
  return outcomes.every(({ code }) => code === 0);
}

/** Creates Wine's folder unless it is complete. */
export async function startWine() {
  const stamp = path.join(PREFIX, 'complete');
  if (fs.existsSync(stamp)) return;
  await stopWine();
  fs.rmSync(PREFIX, { recursive: true, force: true });
  fs.mkdirSync(PREFIX, { recursive: true });
  await toEnd(['wineboot', '--init']);
  // Node needs functions that Wine has only as Windows 10.
  await toEnd(['reg', 'add', 'HKEY_CURRENT_USER\\Software\\Wine', '/v', 'Version', '/d', 'win10', '/f']);
  fs.writeFileSync(stamp, '');
}

/** Ends all programs that still run under Wine, and Wine itself. */
export async function stopWine() {
  if (!fs.existsSync(PREFIX)) return;
  const env = { ...process.env, ...wineEnvironment };
  // It fails if there is none.
  await outcomeOf('wineserver', ['--kill'], { env });
  await outcomeOf('wineserver', ['--wait'], { env });
}

/** A path as Windows programs write it. Drive Z is the root of this machine. */
export const windowsPath = (file) => `Z:${path.resolve(file).replaceAll('/', '\\')}`;

/** Runs a program that belongs to Wine. */
async function toEnd(args) {
  const log = path.join(PREFIX, 'setup.log');
  const output = fs.openSync(log, 'a');
  const env = { ...process.env, ...wineEnvironment };
  const child = spawn('wine', args, { env, stdio: ['ignore', output, output] });
  fs.closeSync(output);
  const code = await new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (exitCode, signal) => resolve(exitCode ?? signal));
  });
  if (code !== 0) throw new SetupError(`wine ${args.join(' ')} failed (${code}):\n\n${fs.readFileSync(log, 'utf8')}`);
}
