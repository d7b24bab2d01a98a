/**
 * The common part of the client contenders.
 *
 *     node contender.js PORT CASE COUNT
 *
 * A client connects to the server at PORT on 127.0.0.1, prepares its data and warms up, does COUNT units of work, and prints one line of
 * JSON: the requests (`frames`), the bytes of all replies as the case counts them, the seconds, the 99th percentile of the latency in ms
 * (`p99`) and the processor time in seconds (`cpu`).
 */
import { cpuSince } from '../program.js';

export const port = Number(process.argv[2]);
export const what = process.argv[3]!;
export const count = Number(process.argv[4]);

/** How many units of work are done before anything is measured. */
export const unmeasured = Math.ceil(count / 5);

/**
 * Measures `work`, which is called `count` times, one after another. It does a unit of work, such as a batch of requests, checks the
 * replies, and returns the number of their bytes.
 *
 * @param requests - how many requests a unit has
 */
export async function measure(work: () => Promise<number>, requests: number): Promise<void> {
  for (let i = 0; i < unmeasured; i++) await work();
  const times = new Float64Array(count);
  let bytes = 0;
  const used = process.cpuUsage();
  const start = performance.now();
  for (let i = 0, before = start; i < count; i++) {
    bytes += await work();
    const now = performance.now();
    times[i] = now - before;
    before = now;
  }
  const seconds = (performance.now() - start) / 1000;
  const cpu = cpuSince(used);
  const p99 = times.sort()[Math.ceil(count * 0.99) - 1];
  console.log(JSON.stringify({ frames: count * requests, bytes, seconds, p99, cpu }));
}
