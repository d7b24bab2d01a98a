/**
 * A server that uses all processors: one worker process for each, which share the port.
 *
 *     node out/examples/all-cores.js [PORT [HOST [WORKERS]]]
 *
 *     kill -HUP PID     replaces the workers one after the other, and loses no answer
 *     kill -TERM PID    answers what has been received, and stops; so does Ctrl-C
 *
 * A worker that crashes is replaced, after a pause that doubles with each crash. Each line that a client sends is answered with the
 * process that received it and the SHA-256 of the line.
 */
import cluster from 'node:cluster';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { StreamServer, type Stream } from 'sluice';

const [port = '8888', host = '127.0.0.1', workers = String(availableParallelism())] = process.argv.slice(2);

/** How long a worker that stops may go on answering what it has received. */
const DRAIN_MS = 10_000;

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 10_000;

// ------------------------------------------------------------------------------------------------ a worker

async function work(): Promise<void> {
  // Ctrl-C, and many service managers, send a signal to every process. Only the primary acts on it, and tells its workers.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});

  let answered = 0;
  const answer = async (stream: Stream): Promise<void> => {
    for await (const line of stream.lines()) {
      await stream.write(`${process.pid} ${createHash('sha256').update(line).digest('hex')}\n`);
      answered++;
    }
  };

  const server = new StreamServer(answer, host, Number(port), { shutdownTimeout: 1000 });
  await server.startServing();
  const stop = once(process, 'message');
  process.send!(server.address());
  await stop;
  await server.close({ drain: DRAIN_MS });
  console.log(`Worker ${process.pid} answered ${answered} lines`);
  process.exit();
}

// ------------------------------------------------------------------------------------------------ the primary

/** A worker, or after a crash another one in its place. */
interface Slot {
  /** Resolves when the slot has a worker that serves. */
  readonly serving: Promise<void>;
  /** Resolves when the slot was stopped and its worker has ended. */
  readonly ended: Promise<void>;
  stop(): void;
}

const slots = new Set<Slot>();

function openSlot(): Slot {
  const stop = new AbortController();
  let serve!: () => void;
  const serving = new Promise<void>((resolve) => (serve = resolve));
  const ended = keepRunning(stop.signal, serve).finally(() => slots.delete(slot));
  const slot = { serving, ended, stop: () => stop.abort() };
  slots.add(slot);
  return slot;
}

async function keepRunning(stop: AbortSignal, serving: () => void): Promise<void> {
  let pause = FIRST_PAUSE_MS;
  while (!stop.aborted) {
    const worker = cluster.fork();
    const { pid } = worker.process;
    // The callback receives the error of a worker that has just crashed. Its exit is reported below.
    const tell = (): void => void worker.send('stop', () => {});
    let since = Infinity;
    worker.once('message', ({ address, port }: AddressInfo) => {
      console.log(`Worker ${pid} serving on ${address}:${port}`);
      since = Date.now();
      serving();
      // A worker that is just starting would not see it yet.
      if (stop.aborted) tell();
      else stop.addEventListener('abort', tell, { once: true });
    });
    const [code, signal] = (await once(worker, 'exit')) as [number | null, string | null];
    stop.removeEventListener('abort', tell);
    if (stop.aborted) break;

    if (Date.now() - since > LONGEST_PAUSE_MS) pause = FIRST_PAUSE_MS;
    console.error(`Worker ${pid} ended with ${signal ?? code}, the next one starts in ${pause} ms`);
    await sleep(pause, undefined, { signal: stop }).catch(() => {});
    pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
  }
}

/** Replaces each worker by a new one. If the new ones do not start, the old ones go on serving. */
async function restart(): Promise<void> {
  for (const old of [...slots]) {
    if (stopping) return;
    const next = openSlot();
    // At every moment there is a worker that listens.
    await Promise.race([next.serving, next.ended]);
    old.stop();
    await old.ended;
  }
  console.log('Restarted');
}

let stopping = false;

async function lead(): Promise<void> {
  if (!/^[1-9]\d*$/.test(workers)) {
    console.error(`WORKERS must be a number of 1 or more, not ${workers}`);
    process.exit(2);
  }
  // The kernel's own distribution to several listeners would lose the connections that wait for a worker that stops.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  for (let i = 0; i < Number(workers); i++) openSlot();

  let restarting = Promise.resolve();
  process.on('SIGHUP', () => {
    restarting = restarting.then(restart);
  });

  await Promise.race([once(process, 'SIGTERM'), once(process, 'SIGINT')]);
  stopping = true;
  for (const slot of slots) slot.stop();
  await Promise.all([...slots].map((slot) => slot.ended));
  console.log('Stopped');
}

if (cluster.isPrimary) await lead();
else await work();
