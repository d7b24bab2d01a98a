// Runs once for each engine: each thread loads the addon; the bytes read are the same.
import test from 'ava';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { engine } from 'sluice';
import { seed } from './seed.js';
import type { Done, Task } from './threaded.js';

function start(task: Task): Worker {
  return new Worker(fileURLToPath(new URL('./threaded.js', import.meta.url)), { workerData: task });
}

/** What a thread posts when it has verified everything it sent; rejects with the error of a thread that fails. */
async function done(worker: Worker): Promise<Done> {
  const [value] = (await once(worker, 'message')) as [Done];
  return value;
}

test('four threads run at once, each with its own server and clients', async (t) => {
  const first = seed(t);
  const workers = [0, 1, 2, 3].map((i) => start({ seed: first + i, stay: false }));
  const ends = workers.map((worker) => once(worker, 'exit') as Promise<[number]>);
  for (const { engine: used, lines, bytes } of await Promise.all(workers.map(done))) {
    t.is(used, engine);
    t.is(lines, 1600);
    t.true(bytes > 10_000);
  }
  t.deepEqual(
    (await Promise.all(ends)).map(([code]) => code),
    [0, 0, 0, 0],
    'the threads end by themselves',
  );
});

test('terminating a thread with open connections does not affect the others, and another can start afterwards', async (t) => {
  const first = seed(t);
  const stays = start({ seed: first, stay: true });
  await done(stays);
  const other = start({ seed: first + 1, stay: false });
  const rest = done(other);
  t.is(await stays.terminate(), 1);
  t.is((await rest).engine, engine);
  const later = start({ seed: first + 2, stay: false });
  const end = once(later, 'exit') as Promise<[number]>;
  t.is((await done(later)).lines, 1600);
  t.deepEqual(await end, [0]);
});
