/**
 * Returns memory of readers whose connection has become silent.
 *
 * A ring grows with its unread bytes and keeps its size when they are consumed, because as many are likely to follow. If a reader waits
 * with a few bytes in a large ring, it may be in the middle of a transfer, or idle for hours, which only time shows. Such readers are
 * checked now and then by one shared timer, which runs only while there are any, so that reads cost nothing more.
 */

import { shared } from '../context.js';

/** A reader that waits with more memory than its unread bytes need. */
export interface Spacious {
  /** The number of bytes received so far: the same number twice means that nothing has arrived in between. */
  readonly bytesRead: number;
  /** Returns the memory, if the reader still has it. */
  shrink(): void;
}

/** The time between two checks, in ms. A reader has been silent for at least this long when it is shrunk, and at most twice as long. */
const SILENCE_MS = 1000;

/** The watched readers, and how many bytes each had received at the last check. */
const watched = new Map<Spacious, number>();
let timer: NodeJS.Timeout | null = null;

/** Watches a reader until it has been silent for a while, and then has it return its memory. */
export function watch(reader: Spacious): void {
  if (watched.has(reader)) return;
  watched.set(reader, reader.bytesRead);
  // A new timer for each check, not an interval: it must not run when no reader is watched.
  timer ??= shared(() => setTimeout(look, SILENCE_MS).unref());
}

/** Checks all watched readers. */
export function look(): void {
  if (timer !== null) clearTimeout(timer);
  timer = null;
  for (const [reader, before] of watched) {
    if (reader.bytesRead === before) {
      watched.delete(reader);
      reader.shrink();
    } else {
      watched.set(reader, reader.bytesRead);
    }
  }
  if (watched.size > 0) timer = setTimeout(look, SILENCE_MS).unref();
}
