/** Garbage collection, when a test wants it. */
import { setFlagsFromString } from 'node:v8';
import { setImmediate as turn } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';

type Collector = () => void;

function collector(): Collector {
  // Where the engine is not V8, the flag is unknown and the runtime itself has a call.
  const runtime = (globalThis as { Bun?: { gc?: (wait: boolean) => void } }).Bun;
  if (runtime?.gc !== undefined) return () => runtime.gc?.(true);
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collector;
}

export const gc = collector();

/** The memory of all `ArrayBuffer`s that are in use, and of little else, in bytes. */
export async function memory(): Promise<number> {
  for (let i = 0; i < 5; i++) {
    gc();
    await turn();
    await turn();
  }
  // Not every runtime tells them apart.
  return process.memoryUsage().external;
}
