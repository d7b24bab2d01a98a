/** Runs a program as a child process: what it prints, line by line, and how it ends. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { isProgram } from '../benchmarks/programs.js';

/** The root of the package: the nearest folder above this file that has a manifest. */
export const root = manifestFolder(path.dirname(fileURLToPath(import.meta.url)));

function manifestFolder(folder: string): string {
  return existsSync(path.join(folder, 'package.json')) ? folder : manifestFolder(path.dirname(folder));
}

/** The compiled form of an example. */
export function example(name: string): string {
  return path.join(root, 'out', 'examples', `${name}.js`);
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** How long a child process may run: nothing here takes that long, even on a busy machine, unless it hangs. */
export const LONGEST_MS = 120_000;

export interface ProcessOptions {
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Keeps the standard input open, for `type` and `hangUp`; otherwise it is at EOF from the start. */
  readonly input?: boolean;
  /** The user that it runs as. */
  readonly uid?: number;
  readonly gid?: number;
}

/** Any command; killed when the test is over, in any case. */
export class Process {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<Ended>;
  #stdout = '';
  #stderr = '';

  constructor(t: ExecutionContext, command: string, args: readonly string[], options: ProcessOptions = {}) {
    const { cwd = root, env = process.env, input = false, ...as } = options;
    this.#child = spawn(command, args, { cwd, env, ...as });
    // A command that does not read to EOF breaks the pipe; its exit says more.
    this.#child.stdin.on('error', () => {});
    if (!input) this.#child.stdin.end();
    this.#child.stdout.on('data', (piece: Buffer) => (this.#stdout += piece.toString()));
    this.#child.stderr.on('data', (piece: Buffer) => (this.#stderr += piece.toString()));
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), LONGEST_MS);
    this.#ended = once(this.#child, 'close').then(([code, signal]) => {
      clearTimeout(timer);
      return {
        code: code as number | null,
        signal: signal as NodeJS.Signals | null,
        stdout: this.#stdout,
        stderr: this.#stderr,
      };
    });
    t.teardown(async () => {
      this.#child.kill('SIGKILL');
      await this.#ended;
    });
  }

  /** Waits for the end of the program. */
  get ended(): Promise<Ended> {
    return this.#ended;
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Writes to its standard input. */
  type(text: string | Uint8Array): void {
    this.#child.stdin.write(text);
  }

  /** Ends its standard input. */
  hangUp(): void {
    this.#child.stdin.end();
  }

  /** Waits until the standard output of the program matches `pattern`. */
  prints(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#prints(pattern, this.#child.stdout, () => this.#stdout);
  }

  /** Waits until the standard error of the program matches `pattern`. */
  complains(pattern: RegExp): Promise<RegExpExecArray> {
    return this.#prints(pattern, this.#child.stderr, () => this.#stderr);
  }

  async #prints(pattern: RegExp, stream: Readable, text: () => string): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(text());
      if (found !== null) return found;
      const event = await Promise.race([once(stream, 'data'), this.#ended]);
      if (!Array.isArray(event) && pattern.exec(text()) === null) {
        throw new Error(`ended without printing ${String(pattern)}:\n${this.#stdout}${this.#stderr}`);
      }
    }
  }
}

/** `node FILE ARGS...` */
export class Program extends Process {
  constructor(t: ExecutionContext, file: string, args: readonly string[] = [], cwd: string = root) {
    super(t, process.execPath, [file, ...args], { cwd });
  }
}

/**
 * Whether the programs that a test uses are installed. If one is missing, the test logs one line and is over; in CI,
 * which installs them, that is a failure.
 */
export function installed(t: ExecutionContext, ...names: readonly string[]): boolean {
  const missing = names.filter((name) => !isProgram(name));
  if (missing.length === 0) return true;
  t.log(`not installed here: ${missing.join(', ')}`);
  // Those that CI installs run on its own system, not under Wine.
  const required = Boolean(process.env['CI']) && process.platform !== 'win32';
  t.false(required, `${missing.join(', ')} must be installed in CI`);
  return false;
}
