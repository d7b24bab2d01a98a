/**
 * Reads the output of a child process line by line while it runs, and prints each line with its number.
 *
 *     node out/examples/child-process-lines.js [COMMAND [ARGUMENT...]]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connectReadPipe, LimitOverrunError, type Stream } from 'sluice';

async function numberLines(stream: Stream): Promise<number> {
  for (let count = 0; ;) {
    try {
      const line = await stream.readline();
      if (line.length === 0) return count;
      console.log(`${++count}: ${line.toString().trimEnd()}`);
    } catch (error) {
      if (!(error instanceof LimitOverrunError)) throw error;
      // The line is skipped entirely: the next call returns the next line.
      console.log(`${++count}: (longer than ${stream.limit} bytes)`);
    }
  }
}

const [command = process.execPath, ...args] = process.argv.slice(2);
const child = spawn(command, command === process.execPath && args.length === 0 ? ['--help'] : args, {
  stdio: ['ignore', 'pipe', 'inherit'],
});
const exit = once(child, 'exit') as Promise<[code: number | null, signal: string | null]>;

// Connect right after spawn: if nothing reads the output before the child exits, Node discards it. While this program does not
// read, the child has to wait, however much it writes.
await using stdout = await connectReadPipe(child.stdout, { limit: 4096 });
try {
  const [count, [code, signal]] = await Promise.all([numberLines(stdout), exit]);
  console.log(`${count} lines, then ${signal ?? `exit code ${code}`}`);
} catch (error) {
  // If the command cannot be started, there is no pipe to read either.
  console.error(`${command}: ${(error as Error).message}`);
  process.exitCode = 1;
}
