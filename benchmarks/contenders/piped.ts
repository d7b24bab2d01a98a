/** What the contenders that pipe a connection into a sink have in common: the sink counts, and cuts frames of one length to verify. */
import { answer, digest, now } from './program.js';

const FRAME_BYTES = 1024 * 1024;

let bytes = 0;
let part: Buffer[] = [];
let missing = FRAME_BYTES;

/** Receives a chunk. */
export function receive(chunk: Uint8Array): void {
  bytes += chunk.length;
  if (digest === null) return;
  // A chunk is valid until the next one.
  let rest = Buffer.from(chunk);
  while (rest.length >= missing) {
    digest.frame(Buffer.concat([...part, rest.subarray(0, missing)]));
    rest = rest.subarray(missing);
    part = [];
    missing = FRAME_BYTES;
  }
  part.push(rest);
  missing -= rest.length;
}

/** Does `work`, which receives everything, and prints the answer. */
export async function measure(work: () => Promise<void>): Promise<void> {
  const start = now();
  await work();
  answer(Math.floor(bytes / FRAME_BYTES), bytes, now() - start);
}
