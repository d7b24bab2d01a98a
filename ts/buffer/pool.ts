/** The pool of rings: a reader without unread bytes returns its ring, since most streams are idle most of the time. */
import { createRing } from './engine.js';
import type { Ring } from './ring.js';

/** A ring with the words of the listing over it. */
export interface Store {
  readonly ring: Ring;
  /** Grows where many frames are listed at once. */
  words: Uint32Array;
}

/**
 * How many words a listing has at first; and how many it grows to where frames are returned one by one, which is also the most that a
 * pooled one keeps: so the call that brings a large chunk lists all of its frames.
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

/** Keeps an empty ring, with its words, for the next reader that needs one. */
export function recycle(store: Store): void {
  if (pool.length >= POOLED_STORES) return;
  store.ring.trim(POOLED_CAPACITY);
  if (store.words.length > POOLED_WORDS) store.words = new Uint32Array(INDEX_WORDS);
  pool.push(store);
}
