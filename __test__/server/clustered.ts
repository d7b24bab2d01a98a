/**
 * A cluster whose two workers serve one port: `node clustered.js POLICY`, where the policy decides which worker gets a
 * connection. Prints as JSON what each worker served. Run by `cluster.test.ts`.
 */
import { Buffer } from 'node:buffer';
import cluster, { type Worker } from 'node:cluster';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { StreamServer, connect, engine } from 'sluice';

const CONNECTIONS = 12;
const BLOCK = 300_000;

/** Answers each request with its process id and what it received. */
async function work(): Promise<void> {
  let served = 0;
  const server = new StreamServer(
    async (stream) => {
      served++;
      const size = Number((await stream.readline()).toString());
      const block = await stream.readexactly(size);
      await stream.write(`${process.pid} ${createHash('sha256').update(block).digest('hex')}\n`);
      await stream.write(block);
    },
    '127.0.0.1',
    0,
  );
  await server.startServing();
  process.send?.({ port: (server.sockets[0]?.address() as AddressInfo).port });
  await once(process, 'message');
  await server.close();
  await new Promise((resolve) => process.send?.({ served, engine }, resolve));
  process.disconnect();
}

/** Sends a block to either worker; resolves with the worker's process id, and whether the block came back intact. */
async function request(port: number, i: number): Promise<{ pid: string; holds: boolean }> {
  const block = Buffer.alloc(BLOCK + i, `block ${i} `);
  await using stream = await connect('127.0.0.1', port);
  await stream.write(`${block.length}\n`);
  await stream.write(block);
  const [pid = '', digest] = (await stream.readline()).toString().trim().split(' ');
  const back = await stream.read();
  return { pid, holds: back.equals(block) && digest === createHash('sha256').update(block).digest('hex') };
}

async function message<T>(worker: Worker): Promise<T> {
  const [value] = (await once(worker, 'message')) as [T];
  return value;
}

async function lead(policy: string): Promise<void> {
  cluster.schedulingPolicy = policy === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  const workers = [cluster.fork(), cluster.fork()];
  const ports = await Promise.all(workers.map((worker) => message<{ port: number }>(worker)));
  const port = ports[0]!.port;
  const requests = await Promise.all(Array.from({ length: CONNECTIONS }, (_, i) => request(port, i)));
  const ends = workers.map((worker) => once(worker, 'exit'));
  const reports = workers.map((worker) => message<{ served: number; engine: string }>(worker));
  for (const worker of workers) worker.send('close');
  const served = await Promise.all(reports);
  const codes = (await Promise.all(ends)).map(([code]) => code as number);
  const counts = workers.map(({ process: { pid } }) => requests.filter((one) => one.pid === String(pid)).length);
  const holds = requests.every((one) => one.holds);
  process.stdout.write(JSON.stringify({ ports: ports.map((one) => one.port), holds, counts, served, codes }));
}

if (cluster.isPrimary) await lead(process.argv[2] ?? '');
else await work();
