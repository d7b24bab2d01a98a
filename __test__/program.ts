/** Runs a program as a child process: what it prints, line by line, and how it ends. */
import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';

/** The root of the package, seen from `out/__test__/`. */
export const root = fileURLToPath(new URL('../..', import.meta.url));

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

export class Program {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #ended: Promise<Ended>;
  #stdout = '';
  #stderr = '';

  /** Starts `node FILE ARGS...`; the child is gone when the test is over. */
  constructor(t: ExecutionContext, file: string, args: readonly string[] = [], cwd: string = root) {
    this.#child = spawn(process.execPath, [file, ...args], { cwd });
    this.#child.stdin.end();
    this.#child.stdout.on('data', (piece: Buffer) => (this.#stdout += piece.toString()));
    this.#child.stderr.on('data', (piece: Buffer) => (this.#stderr += piece.toString()));
    this.#ended = once(this.#child, 'close').then(([code, signal]) => ({
      code: code as number | null,
      signal: signal as NodeJS.Signals | null,
      stdout: this.#stdout,
      stderr: this.#stderr,
    }));
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

  /** Waits until the program has printed what `pattern` finds. */
  async prints(pattern: RegExp): Promise<RegExpExecArray> {
    for (;;) {
      const found = pattern.exec(this.#stdout);
      if (found !== null) return found;
      const event = await Promise.race([once(this.#child.stdout, 'data'), this.#ended]);
      if (!Array.isArray(event) && pattern.exec(this.#stdout) === null) {
        throw new Error(`ended without printing ${String(pattern)}:\n${this.#stdout}${this.#stderr}`);
      }
    }
  }
}
