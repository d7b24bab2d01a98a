/** Garbage collection on demand. */
import { setFlagsFromString } from 'node:v8';
import { setImmediate as turn } from 'node:timers/promises';
import { runInNewContext } from 'node:vm';

type Collector = () => void;

function collector(): Collector {
  // If the engine is not V8, the flag is unknown and the runtime has a function of its own.
  const runtime = (globalThis as { Bun?: { gc?: (wait: boolean) => void } }).Bun;
  if (runtime?.gc !== undefined) return () => runtime.gc?.(true);
  setFlagsFromString('--expose-gc');
  return runInNewContext('gc') as Collector;
}

export const gc = collector();

/** The bytes of all `ArrayBuffer`s in use, and of little else. */
export async function memory(): Promise<number> {
  for (let i = 0; i < 5; i++) {
    gc();
    await turn();
    await turn();
  }
  // Not every runtime reports them separately.
  return process.memoryUsage().external;
}
