/** Which ring buffer this process uses: decided once, when the module is loaded. */
import { loadAddon } from './native.js';
import { NativeRing } from './native-ring.js';
import type { Ring } from './ring.js';
import { TypeScriptRing } from './typescript-ring.js';

/** The binary; null if the TypeScript engine is used. @internal */
export const addon = loadAddon();

/**
 * The ring buffer that is loaded: `'native'`, the binary for this platform, or `'typescript'`, which does the same without
 * one. The environment variable `SLUICE_ENGINE` forces either.
 */
export const engine: 'native' | 'typescript' = addon === null ? 'typescript' : 'native';

/** An empty ring of the engine; it owns no memory yet. @internal */
export function createRing(): Ring {
  return addon === null ? new TypeScriptRing() : new NativeRing(addon);
}
