/** The example that serves from all processors, run as a user runs it: restarts, crashes and the end. */
// Runs once: it is a program over the public API, which has tests of its own for each engine and each way of reading.
import { createHash } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError, connect, type Stream } from 'sluice';
import { listen, sparePort } from './loopback.js';
import { example, Program } from './program.js';

// eslint-disable-next-line no-restricted-syntax -- Windows has no SIGHUP
const posix = process.platform === 'win32' ? test.skip : test;

async function start(
  t: ExecutionContext,
  workers: number,
): Promise<{ program: Program; port: number; pids: string[] }> {
  const program = new Program(t, example('all-cores'), ['0', '127.0.0.1', String(workers)]);
  const all = new RegExp(`(?:^Worker \\d+ serving on 127\\.0\\.0\\.1:\\d+\\n){${workers}}`, 'm');
  const [printed] = await program.prints(all);
  const found = [...printed.matchAll(/^Worker (\d+) serving on 127\.0\.0\.1:(\d+)$/gm)];
  t.is(new Set(found.map(([, , port]) => port)).size, 1, 'the workers share a port');
  return { program, port: Number(found[0]![2]), pids: found.map(([, pid]) => pid!) };
}

function digest(line: string): string {
  return createHash('sha256').update(line).digest('hex');
}

/** Asks for one line; returns the process that answered. */
async function ask(t: ExecutionContext, stream: Stream, line: string): Promise<string> {
  await stream.write(`${line}\n`);
  const [pid, hash] = (await stream.readline()).toString().trimEnd().split(' ');
  t.is(hash, digest(line));
  return pid!;
}

/**
 * A client that sends batches of requests and, if the server closes the connection before it has answered a batch, repeats it on a new
 * one. A batch is a single write, so the server has received all of it if it has answered any of it.
 */
class Client {
  answers = 0;
  readonly pids = new Set<string>();
  readonly #t: ExecutionContext;
  readonly #port: number;
  readonly #stop: AbortSignal;
  #batches = 0;

  constructor(t: ExecutionContext, port: number, stop: AbortSignal) {
    this.#t = t;
    this.#port = port;
    this.#stop = stop;
  }

  async run(): Promise<void> {
    while (!this.#stop.aborted) {
      // A server that restarts refuses no connection, so this must not fail.
      const stream = await connect('127.0.0.1', this.#port);
      while (!this.#stop.aborted && (await this.#exchange(stream))) continue;
      await stream.abort();
    }
  }

  /** Sends a batch and reads its answers; false if the server has closed the connection. */
  async #exchange(stream: Stream): Promise<boolean> {
    const lines = Array.from({ length: BATCH }, (_, i) => `${this.#batches * BATCH + i}`);
    void stream.write(lines.map((line) => `${line}\n`).join(''));
    for (const [i, line] of lines.entries()) {
      const answer = await stream.readline().catch((error: unknown) => {
        if (!(error instanceof ConnectionError)) throw error;
        return '';
      });
      if (answer.length === 0) {
        this.#t.is(i, 0, 'a batch that was received is answered completely');
        return false;
      }
      const [pid, hash] = answer.toString().trimEnd().split(' ');
      this.#t.is(hash, digest(line), 'the answers come in order');
      this.pids.add(pid!);
      this.answers++;
    }
    this.#batches++;
    return true;
  }
}

/** So many that the worker turns its event loop, in which it may be told to stop, while it answers a batch. */
const BATCH = 5000;
const CLIENTS = 6;

posix('all-cores: clients that send requests while the workers are replaced lose no answer', async (t) => {
  const { program, port, pids: old } = await start(t, 2);
  const stop = new AbortController();
  const clients = Array.from({ length: CLIENTS }, () => new Client(t, port, stop.signal));
  const running = clients.map((client) => client.run());
  const sum = (): number => clients.reduce((n, { answers }) => n + answers, 0);

  await Promise.race([Promise.all(running), progress(() => clients.every(({ answers }) => answers > BATCH))]);
  program.kill('SIGHUP');
  await program.prints(/^Restarted$/m);
  const before = sum();
  await Promise.race([Promise.all(running), progress(() => sum() > before + CLIENTS * BATCH)]);
  stop.abort();
  await Promise.all(running);

  program.kill('SIGTERM');
  const { code, stdout, stderr } = await program.ended;
  t.is(stderr, '');
  t.is(code, 0);
  t.true(stdout.endsWith('Stopped\n'));
  const events = [...stdout.matchAll(/^Worker (\d+) (serving|answered)/gm)].map(([, pid, event]) => ({ pid, event }));
  const at = (pid: string, event: string): number => events.findIndex((one) => one.pid === pid && one.event === event);
  const fresh = [...new Set(events.map(({ pid }) => pid!))].filter((pid) => !old.includes(pid));
  t.is(fresh.length, 2);
  t.deepEqual(
    events.slice(0, 6).map(({ event }) => event),
    ['serving', 'serving', 'serving', 'answered', 'serving', 'answered'],
    'each worker ends after its successor serves, and before the next one is replaced',
  );
  for (const pid of old) t.true(at(pid, 'answered') < 6);
  const served = [...stdout.matchAll(/^Worker \d+ answered (\d+) lines$/gm)].map(([, lines]) => Number(lines));
  t.is(served.length, 4);
  t.is(
    served.reduce((n, lines) => n + lines, 0),
    sum(),
    'every answer of a worker has reached its client',
  );
  const seen = new Set(clients.flatMap(({ pids }) => [...pids]));
  t.true(old.some((pid) => seen.has(pid)) && fresh.some((pid) => seen.has(pid)), 'old and new workers have answered');
});

posix('all-cores: a worker that is killed is replaced, and the other one goes on', async (t) => {
  const { program, port, pids } = await start(t, 2);
  const streams = await Promise.all([1, 2].map(() => connect('127.0.0.1', port)));
  t.teardown(() => Promise.all(streams.map((stream) => stream.abort())));
  const answering = await Promise.all(streams.map((stream) => ask(t, stream, 'who are you')));
  t.deepEqual([...answering].sort(), [...pids].sort(), 'each worker has a connection');

  process.kill(Number(answering[0]), 'SIGKILL');
  await program.complains(
    new RegExp(`^Worker ${answering[0]} ended with SIGKILL, the next one starts in 100 ms$`, 'm'),
  );
  t.is(await ask(t, streams[1]!, 'still there'), answering[1]!);
  const isNew = `(?!(?:${pids.join('|')}) )`;
  const [, fresh] = await program.prints(new RegExp(`^Worker ${isNew}(\\d+) serving on 127\\.0\\.0\\.1:${port}$`, 'm'));
  const seen = new Set<string>();
  while (!seen.has(fresh!)) {
    await using stream = await connect('127.0.0.1', port);
    seen.add(await ask(t, stream, 'and you'));
  }
  t.false(seen.has(answering[0]!));

  program.kill('SIGTERM');
  const { code, stdout } = await program.ended;
  t.is(code, 0);
  t.true(stdout.endsWith('Stopped\n'));
});

posix('all-cores: a worker that cannot start is tried again after longer and longer pauses', async (t) => {
  const port = await sparePort(t);
  const taken = await listen(t, undefined, '127.0.0.1', port);
  const program = new Program(t, example('all-cores'), [String(port), '127.0.0.1', '1']);
  for (const pause of [100, 200, 400]) {
    await program.complains(new RegExp(`^Worker \\d+ ended with 1, the next one starts in ${pause} ms$`, 'm'));
  }
  taken.close();
  await program.prints(/^Worker \d+ serving on /m);
  await using stream = await connect('127.0.0.1', port);
  await ask(t, stream, 'at last');
  program.kill('SIGINT');
  t.is((await stream.readline()).length, 0, 'a client that waits is disconnected');
  t.is((await program.ended).code, 0);
});

posix('all-cores stops when it is told to while it restarts workers', async (t) => {
  const { program } = await start(t, 2);
  program.kill('SIGHUP');
  program.kill('SIGTERM');
  const { code, stdout, stderr } = await program.ended;
  t.is(stderr, '');
  t.is(code, 0);
  t.true(stdout.endsWith('Stopped\n'));
  t.notRegex(stdout, /^Restarted$/m);
});

/** Lets the event loop turn, with pauses, until the condition holds. */
async function progress(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
