/** The common part of the idle servers, which print their port and, when all connections have arrived, the cost of each. */
import { setTimeout as after } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';

/** The number of connections to expect. */
export const expected = Number(process.argv[2]);

declare function gc(): void;

/** Slightly more than the minimum size of V8's memory for young objects, in bytes. */
const LEAST_YOUNG_BYTES = 2 ** 21;

/** How often, and at what interval, V8 is asked to return the memory that it took for young objects. */
const LOOKS = 20;
const BETWEEN_LOOKS_MS = 2000;

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;
}

/**
 * The resident bytes when everything is quiet. While connections arrive, V8 takes up to 32 MiB for young objects, whatever they
 * are, and returns them after some seconds with few allocations. This is not part of the cost of an idle connection.
 */
async function settledMemory(): Promise<number> {
  for (let looks = 0; looks < LOOKS; looks++) {
    for (let i = 0; i < 3; i++) {
      gc();
      await after(50);
    }
    if (expected < 1000 || youngBytes() <= LEAST_YOUNG_BYTES) break;
    await after(BETWEEN_LOOKS_MS);
  }
  return process.memoryUsage.rss();
}

let open = 0;
let cpuBefore: NodeJS.CpuUsage | undefined;
let cpu: NodeJS.CpuUsage | null = null;

/** Must be called for each connection, as soon as the server has accepted it. */
export function arrived(): void {
  open++;
  // Include the work that the server still does in this turn for the last connection.
  if (open === expected) setImmediate(() => (cpu = process.cpuUsage(cpuBefore)));
}

/**
 * Measures from the moment when the server listens until all connections have arrived and are quiet. Prints the resident bytes
 * and the CPU seconds per connection.
 *
 * @param port the port on which the server listens
 */
export async function measure(port: number): Promise<void> {
  const before = await settledMemory();
  cpuBefore = process.cpuUsage();
  console.log(port);
  while (cpu === null) await after(10);
  const { user, system }: NodeJS.CpuUsage = cpu;
  const settled = await settledMemory();
  const [bytes, seconds] = [(settled - before) / open, (user + system) / 1e6 / open];
  console.log(JSON.stringify({ connections: open, bytes, seconds }));
}
