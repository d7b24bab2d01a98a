/**
 * What the Node contenders have in common: how they are told what to do, and how they answer.
 *
 *     node contender.js PORT [NUMBER ...] [verify]
 *
 * A receiver connects to PORT of 127.0.0.1, starts its clock once the connection is established, reads to the end, stops
 * its clock, and prints one line of JSON. With `verify` it also digests every frame, so that the runner can tell a wrong
 * answer from a right one; this run is not timed. With `--expose-gc` it says how much memory it has, too.
 */
import { Digest } from './digest.js';

/** With `verify`, the last word. */
export const verify = process.argv.at(-1) === 'verify';

/** The numbers in front of it. */
export const words = process.argv.slice(2, verify ? -1 : undefined).map(Number);

/** The port of the sender: the first of them, for a receiver. */
export const port = words[0] as number;

/** The digest to fill in, or null in a timed run. */
export const digest = verify ? new Digest() : null;

/** Seconds since a moment that does not matter. */
export function now(): number {
  return performance.now() / 1000;
}

/** There with `--expose-gc`. */
declare const gc: (() => void) | undefined;

/** Resident bytes: the most there ever were, and what is left after garbage collection. */
function memory(): { readonly peak: number; readonly resident: number } | null {
  if (typeof gc === 'undefined') return null;
  const peak = process.resourceUsage().maxRSS * 1024;
  for (let i = 0; i < 3; i++) gc();
  return { peak, resident: process.memoryUsage.rss() };
}

/**
 * Prints the answer.
 *
 * @param frames how many frames came
 * @param bytes how many bytes they hold, without their separators
 * @param seconds from the established connection to EOF
 */
export function answer(frames: number, bytes: number, seconds: number): void {
  console.log(JSON.stringify({ frames, bytes, seconds, ...memory(), ...(digest && { digest: String(digest) }) }));
}
