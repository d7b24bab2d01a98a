/** Attacks on a server in a process of its own, and the clients that it has to serve meanwhile. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';
import type { ExecutionContext } from 'ava';
import { ConnectionError, connect, type Stream } from 'sluice';
import { certificates, trust } from '../certificates.js';
import { quiet } from '../loopback.js';
import { LONGEST_MS } from '../program.js';
import type { Counted, Measured, Spec } from './attacked.js';

export const MIB = 1024 * 1024;

interface StartOptions {
  readonly tls?: boolean;
  /** Runs the server, instead of Node. */
  readonly command?: readonly string[];
  /** What the clients with which the server warms up have to send first. */
  readonly before?: Uint8Array;
}

const EMPTY = Buffer.alloc(0);

interface FlockOptions {
  /** Whether the server accepts them. */
  readonly accepted?: boolean;
  readonly localAddress?: string;
}

/** A server that is attacked, and measured. */
export class Attacked {
  readonly port: number;
  readonly tls: boolean;
  readonly #t: ExecutionContext;
  readonly #child: ChildProcess;
  readonly #exit: Promise<unknown[]>;
  readonly #failure: Promise<never>;
  #before!: Measured;

  private constructor(t: ExecutionContext, child: ChildProcess, port: number, tls: boolean) {
    this.#t = t;
    this.#child = child;
    this.port = port;
    this.tls = tls;
    this.#exit = once(child, 'exit');
    this.#failure = ended(child);
    this.#failure.catch(() => {});
  }

  /** Starts the server, and measures it once it has served some clients, so that what it needs anyway is not blamed on the attack. */
  static async start(
    t: ExecutionContext,
    spec: Spec,
    { tls = false, command = [], before = EMPTY }: StartOptions = {},
  ): Promise<Attacked> {
    const options = tls ? { ...spec.options, ssl: (await certificates()).server } : spec.options;
    const [program = process.execPath, ...words] = command;
    const child = fork(
      fileURLToPath(new URL('./attacked.js', import.meta.url)),
      [JSON.stringify({ ...spec, options })],
      {
        execPath: program,
        // The space for young objects would grow to 48 MiB at some time that depends on the load, so that bounds could not be as close.
        execArgv: [...words, '--expose-gc', '--max-semi-space-size=4'],
      },
    );
    const timer = setTimeout(() => child.kill('SIGKILL'), LONGEST_MS);
    t.teardown(() => {
      clearTimeout(timer);
      child.kill('SIGKILL');
    });
    const [port] = (await Promise.race([once(child, 'message'), ended(child)])) as [number];
    const server = new Attacked(t, child, port, tls);
    const clients = await Promise.all(Array.from({ length: WARM_UP }, () => server.persistentClient()));
    await Promise.all(clients.map((client) => client.write(before)));
    await Promise.all(clients.map((client) => client.close()));
    server.#before = await server.#rest(0);
    return server;
  }

  measure(): Promise<Measured> {
    return this.#ask<Measured>('measure');
  }

  /** For waiting: unlike `measure`, it collects no garbage, and so leaves the memory of the server as it is. */
  count(): Promise<Counted> {
    return this.#ask<Counted>('count');
  }

  /** Only one question at a time. */
  async #ask<Answer>(question: string): Promise<Answer> {
    this.#child.send(question);
    const [answer] = (await Promise.race([once(this.#child, 'message'), this.#failure])) as [Answer];
    return answer;
  }

  /** Stops the process at once, or lets it continue. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    this.#child.kill(name);
  }

  /** A well-behaved client. */
  async client(): Promise<Stream> {
    const stream = await connect(
      '127.0.0.1',
      this.port,
      this.tls ? { ssl: await trust(), serverHostname: 'localhost' } : {},
    );
    this.#t.teardown(() => stream.abort());
    return stream;
  }

  /** A well-behaved client that tries again as long as it is refused. */
  async persistentClient(): Promise<Stream> {
    for (;;) {
      try {
        return await this.client();
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
      }
    }
  }

  /**
   * Many connections without a handshake, once the server has accepted them; or, if it does not do so, once they are established, which
   * are at most as many as fit into its backlog.
   */
  async flock(size: number, { accepted = true, localAddress }: FlockOptions = {}): Promise<Socket[]> {
    const sockets: Socket[] = [];
    this.#t.teardown(() => sockets.forEach((socket) => socket.destroy()));
    while (sockets.length < size) {
      const before = accepted ? (await this.count()).accepted : 0;
      const some = Array.from({ length: Math.min(100, size - sockets.length) }, () =>
        quiet(netConnect({ port: this.port, host: '127.0.0.1', localAddress })),
      );
      sockets.push(...some);
      await Promise.all(some.map((socket) => once(socket, 'connect')));
      while (accepted && (await this.count()).accepted < before + some.length) continue;
    }
    return sockets;
  }

  /**
   * The attack is over: waits until nothing is left of it but `clients` connections, checks the memory, and returns what was reported.
   * `most` bounds the memory at the worst moment, and `kept` what objects and buffers use afterwards.
   */
  async recovers({ clients, most, kept = KEPT }: { clients: number; most: number; kept?: number }): Promise<Measured> {
    const before = this.#before;
    const after = await this.#rest(clients);
    const used = after.heap - before.heap;
    this.#t.log(
      `resident ${mib(before.resident)}, at most ${mib(after.peak)}, then ${mib(after.resident)} MiB; heap ${mib(used)} MiB more; reports`,
      after.reports,
    );
    this.#t.true(used < kept, `${mib(used)} of ${mib(kept)} MiB are still used`);
    this.#t.true(after.peak - before.peak < most, `${mib(after.peak - before.peak)} of ${mib(most)} MiB in the attack`);
    const more = after.resident - before.resident;
    this.#t.true(more < LEFT, `${mib(more)} of ${mib(LEFT)} MiB after the attack`);
    return after;
  }

  /** Waits until the server has that many connections and no other descriptors. A leak makes this wait forever. */
  async #rest(clients: number): Promise<Measured> {
    for (;;) {
      const counted = await this.count();
      const descriptors = (this.#before as Measured | undefined)?.descriptors ?? null;
      const extra = descriptors === null ? 0 : counted.descriptors! - descriptors - clients;
      if (counted.handlers === clients && extra <= 0) return this.measure();
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Closes the server, which must end its process. */
  async close(): Promise<void> {
    this.#child.send('close');
    this.#t.deepEqual(await this.#exit, [0, null]);
  }
}

const WARM_UP = 20;

/** What may remain resident after an attack: the allocator does not return everything to the system. */
const LEFT = 64 * MIB;

/** How much more memory objects and buffers may use after an attack: less than a thousand connections use. */
const KEPT = 3 * MIB;

async function ended(child: ChildProcess): Promise<never> {
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  throw new Error(`the server ended with ${signal ?? code}`);
}

function mib(bytes: number): string {
  return (bytes / MIB).toFixed(1);
}

/** Sends a line and waits until it comes back: the server serves this client. */
export async function served(t: ExecutionContext, stream: Stream, line = 'still there'): Promise<void> {
  await stream.write(`${line}\n`);
  t.is((await stream.readline()).toString(), `${line}\n`);
}

/** Resolves when the server has closed the connection, in any way. */
export function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    if (socket.closed) resolve();
    // Also after an error, which `once` of node:events would reject with.
    else socket.once('close', () => resolve()).resume();
  });
}

/** Resolves when the server has closed all of these connections. */
export async function allClosed(sockets: readonly Socket[]): Promise<void> {
  await Promise.all(sockets.map(closed));
}
