/** Runs the programs of a benchmark as child processes, and stops all of them at the end, whatever happens. */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, isAbsolute, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

/** A command that can be run. */
export interface Program {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Why a program cannot be run on this machine. */
export interface Missing {
  readonly missing: string;
}

/** The name of the file of a program. */
export function executable(name: string): string {
  return process.platform === 'win32' ? `${name}.exe` : name;
}

/** Whether there is a program of this name on PATH, or at this absolute path. */
export function isProgram(name: string): boolean {
  const folders = isAbsolute(name) ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  return folders.some((folder) => {
    const file = join(folder, executable(name));
    try {
      accessSync(file, constants.X_OK);
      return statSync(file).isFile();
    } catch {
      return false;
    }
  });
}

/** A program failed: it could not be started, ended with an error, or took too long. */
export class ProgramError extends Error {
  override readonly name = 'ProgramError';
}

/** The longest time that one program may take. */
const PATIENCE_MS = 300_000;

/** How many characters of a program's stderr are shown. */
const STDERR_SHOWN = 2000;

/** A program that is running or has ended. */
export class Running {
  readonly #program: Program;
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #ended: Promise<void>;
  readonly #timer: NodeJS.Timeout;
  #stdout = '';
  #stderr = '';
  #onOutput: (() => void) | null = null;

  constructor(program: Program, args: readonly (string | number)[]) {
    this.#program = program;
    const words = [...program.args, ...args.map(String)];
    this.#child = spawn(program.command, words, { stdio: 'pipe', env: { ...process.env, ...program.env } });
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#stdout += text;
      this.#onOutput?.();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
    // If a program ends without reading its input, its exit code matters, not the broken pipe.
    this.#child.stdin.on('error', () => undefined);
    this.#timer = setTimeout(() => this.stop(), PATIENCE_MS);
    this.#ended = new Promise((resolve, reject) => {
      this.#child.once('error', (error) => reject(new ProgramError(`${this.toString()}: ${error.message}`)));
      this.#child.once('close', (code, signal) => {
        if (code === 0) resolve();
        else
          reject(
            new ProgramError(
              `${this.toString()} ended with ${signal ?? code}\n${this.#stderr.slice(-STDERR_SHOWN)}`.trim(),
            ),
          );
      });
    });
    this.#ended.catch(() => undefined).finally(() => clearTimeout(this.#timer));
  }

  toString(): string {
    return [this.#program.command, ...this.#program.args].join(' ');
  }

  /** The first line of the program's output, as soon as it is complete. */
  async firstLine(): Promise<string> {
    const complete = new Promise<void>((resolve) => {
      this.#onOutput = () => this.#stdout.includes('\n') && resolve();
      this.#onOutput();
    });
    await Promise.race([complete, this.#ended]);
    const end = this.#stdout.indexOf('\n');
    if (end === -1) throw new ProgramError(`${this.toString()} printed nothing`);
    return this.#stdout.slice(0, end);
  }

  /** The process, while it runs. */
  get pid(): number {
    const { pid } = this.#child;
    if (pid === undefined) throw new ProgramError(`${this.toString()} is not running`);
    return pid;
  }

  /** Rejects if the program ends. */
  async untilItFails(): Promise<never> {
    await this.#ended;
    throw new ProgramError(`${this.toString()} has ended`);
  }

  /** Ends the program's input, which tells it to finish. */
  release(): void {
    this.#child.stdin.end();
  }

  /** Waits until the program ends, and returns everything that it printed. */
  async output(): Promise<string> {
    await this.#ended;
    return this.#stdout;
  }

  /** Ends the program if it is still running. */
  stop(): void {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill('SIGKILL');
  }
}

/** Runs `action`, and stops every program that it started and that is still running at its end. */
export async function withPrograms<T>(
  action: (start: (program: Program, ...args: (string | number)[]) => Running) => Promise<T>,
): Promise<T> {
  const started: Running[] = [];
  const stop = (): void => {
    for (const running of started) running.stop();
  };
  process.once('exit', stop);
  try {
    return await action((program, ...args) => {
      const running = new Running(program, args);
      started.push(running);
      return running;
    });
  } finally {
    process.off('exit', stop);
    stop();
  }
}

/** Runs one program to its end and returns its output. */
export function run(program: Program, ...args: (string | number)[]): Promise<string> {
  return withPrograms(async (start) => {
    const running = start(program, ...args);
    running.release();
    return running.output();
  });
}
