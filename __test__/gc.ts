/** Garbage collection, when a test wants it. */
import { setFlagsFromString } from 'node:v8';
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
