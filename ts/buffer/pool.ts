/**
 * The pool of rings. A reader without unread bytes returns its ring (`ReceiveBuffer` does that), because most streams are idle most of the
 * time.
 */
import { createRing } from './engine.js';
import type { Ring } from './ring.js';

/** A ring with the words of the listing over it. */
export interface PooledRing {
  readonly ring: Ring;
  /** Replaced by more words if many frames are listed at once. */
  words: Uint32Array;
}

/**
 * How many words a listing has at first, and to how many it grows if frames are returned one by one. The latter is also the most that
 * the pool keeps, so that the call that brings a large chunk can list all of its frames.
 */
export const INDEX_WORDS = 1024;
export const POOLED_WORDS = 8192;

/**
 * How much memory the pool keeps in all, and each ring in it. Enough for 60 connections that read as fast as they can, each of which has
 * 128 KiB: a block that is not kept has to be allocated and cleared again for the next chunk.
 */
const POOLED_BYTES = 8 * 1024 * 1024;
const POOLED_CAPACITY = 262144;

const pool: PooledRing[] = [];
let pooledBytes = 0;

/** An empty ring, from the pool if there is one. */
export function acquireRing(): PooledRing {
  const pooled = pool.pop();
  if (pooled === undefined) return { ring: createRing(), words: new Uint32Array(INDEX_WORDS) };
  pooledBytes -= memoryOf(pooled);
  return pooled;
}

/** Returns an empty ring, with its words, to the pool for the next reader that needs one. */
export function releaseRing(pooled: PooledRing): void {
  pooled.ring.trim(POOLED_CAPACITY);
  if (pooled.words.length > POOLED_WORDS) pooled.words = new Uint32Array(INDEX_WORDS);
  const bytes = pooledBytes + memoryOf(pooled);
  if (bytes > POOLED_BYTES) return;
  pooledBytes = bytes;
  pool.push(pooled);
}

function memoryOf({ ring, words }: PooledRing): number {
  return ring.capacity + words.byteLength;
}
