/**
 * The common part of the Node contenders: how they receive their arguments and report their results.
 *
 *     node contender.js PORT [NUMBER ...] [verify]
 *
 * A receiver connects to PORT on 127.0.0.1, or reads stdin if PORT is 0. It starts its clock when it is connected, reads to the end, stops its
 * clock, and prints one line of JSON. With `verify` it also computes a digest of every frame, so that the runner can detect a
 * wrong answer; this run is not timed. With `--expose-gc` it also reports its memory.
 */
import { Digest } from './digest.js';

/** Whether the last argument is `verify`. */
export const verify = process.argv.at(-1) === 'verify';

/** The numeric arguments before it. */
export const words = process.argv.slice(2, verify ? -1 : undefined).map(Number);

/** The first number, which is the port of the sender if this is a receiver. */
export const port = words[0] as number;

/** The digest to compute, or null in a timed run. */
export const digest = verify ? new Digest() : null;

/** The first argument after the port, for a contender that can do its work in several ways. */
export const word = process.argv[3] as string;

/** The processor time when the clock was started, with the first call of {@link now}. */
let cpuAtStart: NodeJS.CpuUsage | undefined;

/** Seconds since an arbitrary moment. */
export function now(): number {
  cpuAtStart ??= process.cpuUsage();
  return performance.now() / 1000;
}

/** Seconds of processor time, user and system, since `before`. */
export function cpuSince(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1e6;
}

/** Defined with `--expose-gc`. */
declare const gc: (() => void) | undefined;

/** Resident bytes: the maximum, and the size after garbage collection. */
function memory(): { readonly peak: number; readonly resident: number } | null {
  if (typeof gc === 'undefined') return null;
  const peak = process.resourceUsage().maxRSS * 1024;
  for (let i = 0; i < 3; i++) gc();
  return { peak, resident: process.memoryUsage.rss() };
}

/**
 * Prints the answer.
 *
 * @param frames the number of frames received
 * @param bytes the number of bytes in them, without separators
 * @param seconds from the established connection to EOF
 * @param cpu seconds of processor time; by default since the first call of {@link now}
 */
export function answer(
  frames: number,
  bytes: number,
  seconds: number,
  cpu = cpuAtStart === undefined ? undefined : cpuSince(cpuAtStart),
): void {
  console.log(JSON.stringify({ frames, bytes, seconds, cpu, ...memory(), ...(digest && { digest: String(digest) }) }));
}
