/** Rings of readers that have nothing to keep: most streams are idle most of the time, and an idle stream should own none. */
import { createRing } from './engine.js';
import type { Ring } from './ring.js';

/** A ring with the words of the listing over it. */
export interface Store {
  readonly ring: Ring;
  /** Grows where many frames are listed at once. */
  words: Uint32Array;
}

/**
 * The words of a listing at first; and how many it grows to where frames are handed out one by one, which is what a pooled one may keep:
 * so the frames of a large chunk are listed by the call that brings it.
 */
export const INDEX_WORDS = 1024;
export const POOLED_WORDS = 8192;

/** Rings that the pool keeps, and the memory that each of them may keep. */
const POOLED_STORES = 32;
const POOLED_CAPACITY = 262144;

const pool: Store[] = [];

export function openStore(): Store {
  return pool.pop() ?? { ring: createRing(), words: new Uint32Array(INDEX_WORDS) };
}

/** Keeps the store of an empty ring for the next reader that has something to keep. */
export function recycle(store: Store): void {
  if (pool.length >= POOLED_STORES) return;
  store.ring.trim(POOLED_CAPACITY);
  if (store.words.length > POOLED_WORDS) store.words = new Uint32Array(INDEX_WORDS);
  pool.push(store);
}
