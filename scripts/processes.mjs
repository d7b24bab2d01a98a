/** Runs programs for the scripts. */
import { spawn } from 'node:child_process';
import { SetupError } from './setup.mjs';

/**
 * Runs a program to its end.
 *
 * @returns its exit code (127 if it could not be started), and its output on each of the two streams
 */
export function outcomeOf(program, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    const stdout = [];
    const stderr = [];
    child.stdout.on('data', (piece) => stdout.push(piece));
    child.stderr.on('data', (piece) => stderr.push(piece));
    child.on('error', (error) => resolve({ code: 127, stdout: '', stderr: `${program}: ${error.message}\n` }));
    child.on('close', (code, signal) => {
      const end = signal === null ? '' : `${program} was ended by ${signal}\n`;
      resolve({
        code: code ?? 1,
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString() + end,
      });
    });
  });
}

/** The standard output of a program. Throws a {@link SetupError} with its complete output if it fails. */
export async function outputOf(program, args, options = {}) {
  const { code, stdout, stderr } = await outcomeOf(program, args, options);
  if (code === 0) return stdout;
  throw new SetupError(`${[program, ...args].join(' ')} failed (${code}):\n\n${(stdout + stderr).trimEnd()}\n`);
}

/** The npm that started the script, or else the one on PATH: the program to run, and the arguments that come before npm's own. */
export function npmCommand() {
  const cli = process.env.npm_execpath;
  if (cli !== undefined && /npm-cli\.[cm]?js$/.test(cli)) return [process.execPath, [cli]];
  return [process.platform === 'win32' ? 'npm.cmd' : 'npm', []];
}

/** Processes the entries, two at a time, because each spends half of its time waiting. */
export async function inPairs(entries, work) {
  const queue = entries.values();
  const worker = async () => {
    for (const entry of queue) await work(entry);
  };
  await Promise.all([worker(), worker()]);
}
