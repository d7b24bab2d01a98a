/**
 * Memory of readers that have fallen silent.
 *
 * A ring grows with what is unread, and keeps its size when that was taken: the next bytes are likely to be as many. Of a reader that
 * waits with a few bytes in a large ring nobody knows whether it is in the middle of a transfer or idle for hours. Only time tells, so
 * those are looked at now and then, by one timer for all, which runs while there are any: no read pays for it.
 */

/** A reader that waits with more memory than its bytes need. */
export interface Spacious {
  /** Bytes received so far: the same number twice means that nothing has come in between. */
  readonly bytesRead: number;
  /** Gives the memory back, if it still has it. */
  shrink(): void;
}

/** How long a reader has to be silent: at least once this time, at most twice, in ms. */
const SILENCE_MS = 1000;

/** The readers that are watched, and what each had received when it was last looked at. */
const watched = new Map<Spacious, number>();
let timer: NodeJS.Timeout | null = null;

/** Watches a reader until it has been silent for a while, and has it give its memory back then. */
export function watch(reader: Spacious): void {
  if (watched.has(reader)) return;
  watched.set(reader, reader.bytesRead);
  // One timer for each look, not an interval: it must neither keep the process alive nor run for nothing.
  timer ??= setTimeout(look, SILENCE_MS).unref();
}

/** Looks at all that are watched. */
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
