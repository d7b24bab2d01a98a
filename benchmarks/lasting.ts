/**
 * Servers of other projects that take long to start. Each is started when it is first needed, and serves until the benchmark ends. Its
 * data is in a temporary folder, and it does not run as root, which some servers refuse.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, closeSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { unprivileged } from './debian.js';
import { ProgramError } from './programs.js';

/** How a program is run. */
export interface How {
  readonly env?: NodeJS.ProcessEnv;
  /** Written to its standard input. */
  readonly input?: string;
}

/** The end of a server's log that is shown if it fails. */
const LOG_SHOWN = 2000;

const all = new Set<Site>();

/** The folder of a server, and its programs. */
export class Site {
  /** Any user may write to it. */
  readonly folder: string;
  readonly #user = unprivileged();
  readonly #children: { readonly child: ChildProcess; readonly signal: NodeJS.Signals }[] = [];
  readonly #stopAtExit = (): void => {
    this.#kill();
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  };

  private constructor(folder: string) {
    this.folder = folder;
    chmodSync(folder, 0o777);
    process.once('exit', this.#stopAtExit);
    all.add(this);
  }

  static async create(): Promise<Site> {
    return new Site(await mkdtemp(join(tmpdir(), 'sluice-bench-')));
  }

  /** Writes a file into the folder, and returns its path. */
  readonly file = (name: string, text: string): string => {
    const path = join(this.folder, name);
    writeFileSync(path, text);
    return path;
  };

  /** Runs a program that prepares something, to its end. */
  run(command: string, args: readonly string[], { env, input }: How = {}): void {
    try {
      execFileSync(command, args, { ...this.#user, env, input, cwd: this.folder, stdio: 'pipe' });
    } catch (error) {
      throw new ProgramError(`${command} failed: ${(error as Error).message}`);
    }
  }

  /** Starts a server, and waits until `ready`, which gets its output so far, resolves with true. It is asked again while it does not. */
  async start(
    command: string,
    args: readonly string[],
    ready: (output: string) => boolean | Promise<boolean>,
    { env, signal = 'SIGTERM' }: Pick<How, 'env'> & { readonly signal?: NodeJS.Signals } = {},
  ): Promise<void> {
    // To a file, since nothing reads a pipe later.
    const log = join(this.folder, `log-${this.#children.length}`);
    const output = openSync(log, 'w');
    const child = spawn(command, args, { ...this.#user, env, cwd: this.folder, stdio: ['ignore', output, output] });
    closeSync(output);
    child.once('error', () => undefined); // it has no pid if it could not be started
    this.#children.push({ child, signal });
    for (;;) {
      // Asked first: what is printed before the end must be in the error.
      const ended = !isRunning(child);
      const printed = await readFile(log, 'utf8');
      if (await ready(printed)) return;
      if (ended) throw new ProgramError(`${command} ended before it was ready\n${printed.slice(-LOG_SHOWN)}`);
      await sleep(20);
    }
  }

  #kill(): void {
    for (const { child, signal } of this.#children) child.kill(signal);
  }

  async stop(): Promise<void> {
    process.off('exit', this.#stopAtExit);
    all.delete(this);
    const ended = this.#children.filter(({ child }) => isRunning(child)).map(({ child }) => once(child, 'exit'));
    this.#kill();
    await Promise.all(ended);
    await rm(this.folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

function isRunning({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null;
}

/** A server that `start` starts in a folder of its own, when this is first called. Resolves with its port. */
export function lasting(start: (site: Site) => Promise<number>): () => Promise<number> {
  let port: Promise<number> | undefined;
  return () => (port ??= Site.create().then(start));
}

/** Stops all servers, and deletes their folders. */
export async function stopLasting(): Promise<void> {
  await Promise.all([...all].map((site) => site.stop()));
}
