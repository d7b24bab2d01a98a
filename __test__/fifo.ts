/** Named pipes in a directory of their own, and what a test must leave behind as it was. */
import { execFileSync } from 'node:child_process';
import { constants, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/** A directory that is gone when the test is over. */
export function directory(t: Pick<ExecutionContext, 'teardown'>): string {
  const path = mkdtempSync(join(tmpdir(), 'sluice-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** The two ends of a named pipe, as fds. */
export function fifo(dir: string, name = 'fifo'): { path: string; reader: number; writer: number } {
  const path = join(dir, name);
  execFileSync('mkfifo', [path]);
  // In this order, and without waiting, neither of the two needs the other to be there.
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  return { path, reader, writer: openSync(path, constants.O_WRONLY) };
}

/** How many fds this process has open; null where the system does not tell. */
export function openFds(): number | null {
  return process.platform === 'linux' ? readdirSync('/proc/self/fd').length : null;
}
