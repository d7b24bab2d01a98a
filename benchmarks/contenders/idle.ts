/** What the idle servers have in common: they print their port, and what each connection costs once all are there. */
import { setTimeout as after } from 'node:timers/promises';

/** How many connections will come. */
export const expected = Number(process.argv[2]);

declare function gc(): void;

async function settledMemory(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    gc();
    await after(50);
  }
  return process.memoryUsage.rss();
}

/**
 * Measures from the moment when the server listens to the moment when all connections are there and quiet.
 *
 * @param port where the server listens
 * @param open how many connections are there now
 */
export async function measure(port: number, open: () => number): Promise<void> {
  const before = await settledMemory();
  console.log(port);
  while (open() < expected) await after(10);
  const settled = await settledMemory();
  console.log(JSON.stringify({ connections: open(), bytes: (settled - before) / open() }));
}
