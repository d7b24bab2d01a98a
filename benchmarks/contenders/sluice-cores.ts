/**
 * sluice: a server that computes before it echoes each line, in several processes that share a port. Prints its port when all of them
 * serve.
 *
 *     node sluice-cores.js WORKERS
 *
 * With one worker there is no cluster: the program serves itself.
 */
import cluster, { type Worker } from 'node:cluster';
import { pbkdf2Sync } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';

import { StreamServer } from 'sluice';

/** About a fifth of a millisecond for each request, many times as much as the client needs. */
const ITERATIONS = 500;

async function serve(): Promise<number> {
  const server = new StreamServer(
    async (stream) => {
      for (;;) {
        const line = await stream.readline();
        if (line.length === 0) break;
        const key = pbkdf2Sync(line, 'salt', ITERATIONS, 32, 'sha256');
        if (key.length !== 32) throw new Error('no key');
        await stream.write(line);
      }
    },
    '127.0.0.1',
    0,
  );
  await server.startServing();
  return (server.sockets[0]?.address() as AddressInfo).port;
}

async function portOf(worker: Worker): Promise<number> {
  const [port] = (await once(worker, 'message')) as [number];
  return port;
}

const workers = Number(process.argv[2]);
if (cluster.isWorker) {
  process.send?.(await serve());
} else if (workers === 1) {
  console.log(await serve());
} else {
  // Connections in turn, so that each worker has as many as the others.
  cluster.schedulingPolicy = cluster.SCHED_RR;
  const [port] = await Promise.all(Array.from({ length: workers }, () => portOf(cluster.fork())));
  console.log(port);
}
