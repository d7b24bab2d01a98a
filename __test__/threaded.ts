/**
 * A thread with its own server and clients, started by `worker-threads.test.ts`: sends data chosen by `workerData` over
 * the loopback interface, checks that it comes back unchanged, and posts what it did.
 */
import { Buffer } from 'node:buffer';
import type { AddressInfo } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { StreamServer, connect, engine } from 'sluice';

export interface Task {
  /** Determines the data and the pieces in which it is sent. */
  readonly seed: number;
  /** Whether to stay, with open connections and waiting reads, until the thread is terminated. */
  readonly stay: boolean;
}

export interface Done {
  readonly engine: string;
  readonly lines: number;
  readonly bytes: number;
}

const CLIENTS = 4;
const LINES = 400;

const { seed, stay } = workerData as Task;

/** Numbers below `n`, the same for the same seed (a linear congruential generator). */
function numbers(state: number): (n: number) => number {
  return (n) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
}

const server = new StreamServer(
  async (stream) => {
    for await (const line of stream) await stream.write(line);
  },
  '127.0.0.1',
  0,
);
await server.startServing();
const { port } = server.sockets[0]?.address() as AddressInfo;

/** Sends lines of many lengths and reads their echo in several ways; resolves with the number of bytes. */
async function client(i: number): Promise<number> {
  const below = numbers(seed * CLIENTS + i);
  const lines = Array.from({ length: LINES }, (_, k) => {
    const body = Buffer.alloc(below(k % 50 === 0 ? 60_000 : 200), `${seed} ${i} ${k};`);
    return Buffer.concat([body, Buffer.from('\n')]);
  });
  await using stream = await connect('127.0.0.1', port);
  const sending = (async () => {
    for (const line of lines) await stream.write(line);
  })();
  for (const [k, line] of lines.entries()) {
    const ways = [
      () => stream.readline(),
      () => stream.readuntil('\n'),
      () => stream.readexactly(line.length),
      () => stream.readuntil([Buffer.from('\r\r'), '\n']),
    ];
    const back = await ways[below(ways.length)]!();
    if (!back.equals(line)) throw new Error(`thread ${seed}, client ${i}: line ${k} came back as something else`);
  }
  await sending;
  return stream.bytesRead;
}

const counts = await Promise.all(Array.from({ length: CLIENTS }, (_, i) => client(i)));
const done: Done = { engine, lines: CLIENTS * LINES, bytes: counts.reduce((sum, count) => sum + count, 0) };
if (stay) {
  // A peer that neither reads nor ends: a handler that refused the bytes would reset the connection before the thread is terminated.
  const silent = new StreamServer(() => new Promise<void>(() => {}), '127.0.0.1', 0);
  await silent.startServing();
  const stream = await connect('127.0.0.1', (silent.sockets[0]?.address() as AddressInfo).port);
  void stream.write(Buffer.alloc(1_000_000));
  void stream.readline();
} else {
  await server.close();
}
parentPort?.postMessage(done);
