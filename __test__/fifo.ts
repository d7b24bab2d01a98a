/** Named pipes in a temporary directory, and what a test must leave as it was. */
import { execFileSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** A directory that is removed when the test is over. */
export function directory(t: Pick<ExecutionContext, 'teardown'>): string {
  const path = mkdtempSync(join(tmpdir(), 'sluice-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The path of a Unix socket, in a directory that is removed when the test is over; on Windows the name of a named pipe. */
export function unixPath(t: Pick<ExecutionContext, 'teardown'>, name = 'sock'): string {
  const path = directory(t);
  return process.platform === 'win32' ? `\\\\.\\pipe\\${basename(path)}-${name}` : join(path, name);
}

/** Whether a connection over a Unix socket can end one direction: a named pipe of Windows cannot. */
export const UNIX_HALF_CLOSE = process.platform !== 'win32';

/** Named pipes that nothing uses yet: one process makes many of them, because starting it takes longer than most tests of a pipe. */
const unused: string[] = [];
let folder: string | undefined;
let count = 0;

function makeFifo(path: string): void {
  if (folder === undefined) {
    const own = (folder = mkdtempSync(join(tmpdir(), 'sluice-')));
    process.once('exit', () => rmSync(own, { recursive: true, force: true }));
  }
  if (unused.length === 0) {
    for (let i = 0; i < 32; i++) unused.push(join(folder, String(count++)));
    execFileSync('mkfifo', unused);
  }
  renameSync(unused.pop()!, path);
}

/** The two ends of a named pipe, as fds. */
export function fifo(dir: string, name = 'fifo'): { path: string; reader: number; writer: number } {
  const path = join(dir, name);
  makeFifo(path);
  // In this order, and without blocking, neither end needs the other to be open.
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { path, reader, writer: openSync(path, constants.O_WRONLY) };
}

/** How many fds this process has open; null if the system does not say. */
export function openFds(): number | null {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : null;
}
