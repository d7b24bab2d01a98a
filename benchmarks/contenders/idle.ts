/** What the idle servers have in common: they print their port, and what each connection costs once all are there. */
import { setTimeout as after } from 'node:timers/promises';
import { getHeapSpaceStatistics } from 'node:v8';

/** How many connections will come. */
export const expected = Number(process.argv[2]);

declare function gc(): void;

/** The least that V8 keeps for young objects, in bytes, and a little more. */
const LEAST_YOUNG_BYTES = 2 ** 21;

/** How often, and after how long each, it is asked to give back what it took for them in a burst. */
const LOOKS = 20;
const BETWEEN_LOOKS_MS = 2000;

function youngBytes(): number {
  return getHeapSpaceStatistics().find(({ space_name: name }) => name === 'new_space')?.space_size ?? 0;
}

/**
 * The resident bytes when all is quiet. V8 takes up to 32 MiB for young objects while connections come in, whatever they are, and
 * gives them back once little has been allocated for some seconds: that is no part of what an idle connection costs.
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

/** To be called for each connection, as soon as the server knows of it. */
export function arrived(): void {
  open++;
  // What the server still does for the last connection in this turn belongs to it.
  if (open === expected) setImmediate(() => (cpu = process.cpuUsage(cpuBefore)));
}

/**
 * Measures from the moment when the server listens to the moment when all connections are there and quiet. Prints the
 * resident bytes, and the seconds that the processor worked, for each of them.
 *
 * @param port where the server listens
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
