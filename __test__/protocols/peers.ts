/** Servers of other projects, which the examples in `examples/protocols` are tested against. */
import { execFileSync } from 'node:child_process';
import { chmodSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ExecutionContext } from 'ava';
import { connect } from 'sluice';
import { directory } from '../fifo.js';
import { Process, installed, type ProcessOptions } from '../program.js';

/** A folder for the data of a server, which any user may write to. It is deleted after the test. */
export function dataFolder(t: ExecutionContext): string {
  const folder = directory(t);
  chmodSync(folder, 0o777);
  return folder;
}

/**
 * Starts a server and waits until `ready` resolves. `ready` is tried again while it rejects; if the server ends before, this throws with
 * its output. By default a server is ready when it accepts connections on the port. It is killed after the test.
 */
export async function peer(
  t: ExecutionContext,
  port: number,
  command: string,
  args: readonly string[],
  options: ProcessOptions & { ready?: () => Promise<unknown> } = {},
): Promise<Process> {
  const { ready = () => accepts(port), ...how } = options;
  const server = new Process(t, command, args, how);
  let ended = false;
  void server.ended.then(() => (ended = true));
  for (;;) {
    try {
      await ready();
      return server;
    } catch {
      if (ended) {
        const { stdout, stderr } = await server.ended;
        throw new Error(`${command} ended before it was ready:\n${stdout}${stderr}`);
      }
    }
    await sleep(20);
  }
}

/**
 * Whether Python packages are installed, by the names that they are imported by. If one is missing, the test logs one line and is over; in
 * CI, which installs them, that is a failure.
 */
export function pythonPackages(t: ExecutionContext, ...names: readonly string[]): boolean {
  if (!installed(t, 'python3')) return false;
  const missing = names.filter((name) => {
    try {
      execFileSync('python3', ['-c', `import ${name}`], { stdio: 'ignore' });
      return false;
    } catch {
      return true;
    }
  });
  if (missing.length === 0) return true;
  t.log(`not installed here: the Python packages ${missing.join(', ')}`);
  t.falsy(process.env['CI'], `${missing.join(', ')} must be installed in CI`);
  return false;
}

async function accepts(port: number): Promise<void> {
  const stream = await connect('127.0.0.1', port);
  await stream.close();
}
