/**
 * A cluster whose two workers serve one Unix socket: `node clustered-unix.js POLICY PATH`. One worker closes its
 * server, then the other. Prints the results as JSON. Run by `cluster-unix.test.ts`.
 */
import cluster, { type Worker } from 'node:cluster';
import { once } from 'node:events';
import { UnixStreamServer, connectUnix } from 'sluice';

const [policy = '', file = ''] = process.argv.slice(2);
const BLOCK = 'block '.repeat(50_000);

/** Sends back what it receives, with its process id. */
async function work(): Promise<void> {
  const server = new UnixStreamServer(async (stream) => {
    const line = await stream.readline();
    // The other worker, which checks whether the socket is in use.
    if (line.length === 0) return;
    const size = Number(String(line));
    const block = await stream.readexactly(size);
    await stream.write(`${process.pid} ${String(stream.getExtraInfo('sockname'))}\n`);
    await stream.write(block);
  }, file);
  await server.startServing();
  process.send?.(server.sockets[0]?.address());
  await once(process, 'message');
  await server.close();
  await new Promise((resolve) => process.send?.('closed', resolve));
  process.disconnect();
}

interface Answer {
  readonly pid: number;
  readonly sockname: string;
  readonly holds: boolean;
}

async function request(): Promise<Answer> {
  await using stream = await connectUnix(file);
  void stream.write(`${BLOCK.length}\n`);
  void stream.write(BLOCK);
  const [pid, sockname = ''] = String(await stream.readline())
    .trim()
    .split(' ');
  return { pid: Number(pid), sockname, holds: String(await stream.read()) === BLOCK };
}

function requests(): Promise<Answer[]> {
  return Promise.all(Array.from({ length: 12 }, request));
}

async function said(worker: Worker): Promise<unknown> {
  const [message] = (await once(worker, 'message')) as [unknown];
  return message;
}

/** Makes a worker close its server; resolves with its exit code. */
async function end(worker: Worker): Promise<unknown> {
  const closed = said(worker);
  const exit = once(worker, 'exit');
  worker.send('close');
  await closed;
  const [code] = (await exit) as [number];
  return code;
}

async function lead(): Promise<void> {
  cluster.schedulingPolicy = policy === 'none' ? cluster.SCHED_NONE : cluster.SCHED_RR;
  // A worker that fails sends no more messages, so waiting for one would hang.
  cluster.on('exit', (_worker, code) => {
    if (code !== 0) process.exit(code);
  });
  const workers = [cluster.fork(), cluster.fork()] as const;
  const addresses = await Promise.all(workers.map(said));
  const pids = workers.map((worker) => worker.process.pid);
  const both = await requests();
  const codes = [await end(workers[0])];
  const one = await requests();
  codes.push(await end(workers[1]));
  const refused = await request().then(
    () => null,
    (error: unknown) => (error as NodeJS.ErrnoException).code,
  );
  process.stdout.write(JSON.stringify({ addresses, pids, both, one, codes, refused }));
}

if (cluster.isPrimary) await lead();
else await work();
