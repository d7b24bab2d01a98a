/**
 * The shared part of the group `protocols`: servers and clients of real protocols.
 *
 * A server is loaded by a program of another project (`redis-benchmark`, `wrk`), and a client talks to a server of another project
 * (`redis-server`, `postgres`). Each run gives three numbers: the throughput, the 99th percentile of the latency, and the processor time
 * of the contender for each request. {@link protocolCases} makes a case of each number; the runs are the same.
 */
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Case, Entry, Plan, Settings } from './case.js';
import { isProgram, type Program, ProgramError, type Running, withPrograms } from './programs.js';
import type { Locate } from './toolchain.js';
import { type Answer, checkAnswer, type Expected, WrongAnswerError } from './workload.js';

/** What is measured in one run. */
export interface Measured {
  /** In the unit of the scenario, per second. */
  readonly rate: number;
  /** In ms. */
  readonly p99: number;
  /** In µs of processor time, user and system, for each request. */
  readonly cpu: number;
}

/** One contender in one scenario. */
export interface Contender {
  readonly name: string;
  readonly locate: Locate;
  /** Runs once: checks the answers, and measures. Throws `WrongAnswerError` if an answer is wrong. */
  run(program: Program): Promise<Measured>;
}

/** A contender that sluice is judged against, by at least one of the measures. */
export interface Rival extends Contender {
  /** The least ratio of the rates, ours to theirs. Not given where something other than the contenders limits the rate. */
  readonly atLeast?: number;
  /** The least ratio of the latencies, theirs to ours. */
  readonly p99AtLeast?: number;
  /** The least ratio of the processor times per request, theirs to ours. */
  readonly cpuAtLeast?: number;
}

/** The same work for all contenders. */
export interface Scenario {
  /** The name of the case of the throughput. Those of the others end with `-p99` and `-cpu`. */
  readonly name: string;
  /** A description of one line. */
  readonly title: string;
  /** The unit of the rate. */
  readonly unit: string;
  /** Not run by `--quick`, because another scenario runs the same programs. */
  readonly skippedByQuick?: boolean;
  plan(settings: Settings): {
    readonly ours: Contender;
    readonly against: readonly Rival[];
    readonly also: readonly Contender[];
  };
}

const MEASURES = [
  { key: 'rate', suffix: '', what: '', unit: null, ratio: 'ours / theirs' },
  { key: 'p99', suffix: '-p99', what: 'the 99th percentile of the latency: ', unit: 'ms', ratio: 'theirs / ours' },
  { key: 'cpu', suffix: '-cpu', what: 'processor time per request: ', unit: 'µs', ratio: 'theirs / ours' },
] as const;

/** The three cases of a scenario. The runs of the first one are used by the others, if they are run as well. */
export function protocolCases(scenario: Scenario): Case[] {
  const runs = new Map<string, Measured[]>();
  return MEASURES.map(({ key, suffix, what, unit, ratio }) => ({
    name: `${scenario.name}${suffix}`,
    title: `${what}${scenario.title}`,
    unit: unit ?? scenario.unit,
    ratio,
    group: 'protocols',
    // All three have the same runs.
    skippedByQuick: key !== 'rate' || scenario.skippedByQuick === true,
    plan(settings): Plan {
      if (key === 'rate') runs.clear();
      const rounds = new Map<string, number>();
      const entry = (contender: Contender): Entry => ({
        name: contender.name,
        locate: key === 'cpu' && process.platform !== 'linux' ? noProcessorTime : contender.locate,
        // Every run checks its answers before it measures.
        verify: () => Promise.resolve(),
        time: async (program) => {
          const round = rounds.get(contender.name) ?? 0;
          rounds.set(contender.name, round + 1);
          const known = runs.get(contender.name) ?? [];
          runs.set(contender.name, known);
          return (known[round] ??= await contender.run(program))[key];
        },
      });
      const { ours, against, also } = scenario.plan(settings);
      const bounds = against.map(
        (rival) => ({ rate: rival.atLeast, p99: rival.p99AtLeast, cpu: rival.cpuAtLeast })[key],
      );
      return {
        ours: entry(ours),
        against: against.flatMap((rival, i) => {
          const atLeast = bounds[i];
          return atLeast === undefined ? [] : [{ ...entry(rival), bound: { atLeast } }];
        }),
        also: [...against.filter((_, i) => bounds[i] === undefined), ...also].map(entry),
      };
    },
  }));
}

const noProcessorTime: Locate = () =>
  Promise.resolve({ missing: 'the processor time of a process is read from /proc' });

// ------------------------------------------------------------------------------------------------ servers and clients

/** Starts a server and resolves with its port. A server of ours prints it; one of another project is given one. */
export interface Service {
  readonly locate: Locate;
  /** The arguments of a program that is given its port; it serves when it accepts connections. Not given: it prints its port. */
  readonly args?: (port: number) => Arguments | Promise<Arguments>;
}

type Arguments = readonly (string | number)[];

/** A server that all runs share, because it takes long to start; see `lasting.ts`. */
export interface LastingService {
  readonly locate: Locate;
  /** Resolves with its port when it serves. */
  readonly port: () => Promise<number>;
}

/** What a load generator measured. */
export interface Load {
  readonly requests: number;
  readonly rate: number;
  readonly p99: number;
}

export type Start = Parameters<Parameters<typeof withPrograms>[0]>[0];

/**
 * Measures servers. `check` asks a server and throws `WrongAnswerError`; it is called before and after the load.
 *
 * @param needs - the load generator, if it is a program of another project
 */
export function servers(
  check: (port: number) => Promise<void>,
  load: (start: Start, port: number) => Promise<Load>,
  warmUp: (start: Start, port: number) => Promise<unknown>,
  needs?: string,
): (name: string, service: Service) => Contender {
  return (name, { locate, args }) => ({
    name,
    locate: async () => (needs === undefined || isProgram(needs) ? locate() : { missing: `no ${needs} on PATH` }),
    run: (program) =>
      withPrograms(async (start) => {
        const { server, port } = await serve(start, program, args);
        await check(port);
        await warmUp(start, port);
        const before = processorSeconds(server.pid);
        const { requests, rate, p99 } = await load(start, port);
        const cpu = ((processorSeconds(server.pid) - before) / requests) * 1e6;
        await check(port);
        return { rate, p99, cpu };
      }),
  });
}

/** What clients are asked to do, and what they must answer. */
export interface Task {
  /** The arguments of a client, after the port of the server. */
  readonly words: readonly (string | number)[];
  readonly expected: Pick<Required<Expected>, 'frames' | 'bytes'>;
  readonly rate: (seconds: number) => number;
  /** Starts other programs that the server is to have as clients, before the one that is measured. */
  readonly beside?: (start: Start, port: number) => Promise<unknown>;
}

/**
 * Measures clients: complete programs that connect to a server of another project and print their answer, with `p99` in ms and `cpu` in
 * seconds. The server is started for each run, unless it lasts.
 */
export function clients(
  service: Service | LastingService,
  { words, expected, rate, beside }: Task,
): (name: string, locate: Locate) => Contender {
  return (name, locate) => ({
    name,
    locate: async () => {
      const located = await service.locate();
      return 'missing' in located ? located : locate();
    },
    run: (program) =>
      withPrograms(async (start) => {
        const located = await service.locate();
        if ('missing' in located) throw new ProgramError(located.missing);
        const port = 'port' in service ? await service.port() : (await serve(start, located, service.args)).port;
        await beside?.(start, port);
        const client = start(program, port, ...words);
        client.release();
        const answer: Answer = checkAnswer(name, await client.output(), expected);
        const { seconds, p99 = NaN, cpu = NaN } = answer;
        if (!(p99 >= 0 && cpu >= 0)) throw new WrongAnswerError(`${name}: p99 is ${p99} and cpu ${cpu}`);
        return { rate: rate(seconds), p99, cpu: (cpu / expected.frames) * 1e6 };
      }),
  });
}

/** How often a server is started again if another program has got its port. */
const ATTEMPTS = 5;

async function serve(
  start: Start,
  program: Program,
  args: Service['args'],
): Promise<{ readonly server: Running; readonly port: number }> {
  if (args === undefined) {
    const server = start(program);
    return { server, port: Number(await server.firstLine()) };
  }
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const server = start(program, ...(await args(port)));
    const ended = server.untilItFails();
    ended.catch(() => undefined);
    try {
      await Promise.race([ended, accepts(port)]);
      return { server, port };
    } catch (error) {
      if (attempt === ATTEMPTS) throw error;
    }
  }
}

/** A port that is free at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

async function accepts(port: number): Promise<void> {
  while (!(await serves(port))) await sleep(20);
}

/** Whether a server accepts connections on this port. */
export async function serves(port: number): Promise<boolean> {
  try {
    const socket = await dial(port);
    socket.destroy();
    return true;
  } catch {
    return false;
  }
}

async function dial(port: number): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  return socket.on('error', () => socket.destroy());
}

/** Sends `request` to a server, and throws unless it replies with exactly `expected`. */
export async function exchange(port: number, request: string | Buffer, expected: string | Buffer): Promise<void> {
  const wanted = Buffer.from(expected as string);
  const socket = await dial(port);
  socket.write(request);
  let received = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk]);
    if (received.length >= wanted.length) break;
  }
  if (!received.equals(wanted))
    throw new WrongAnswerError(`${JSON.stringify(received.toString())}, expected ${JSON.stringify(wanted.toString())}`);
}

/** In Linux all programs see 100 ticks a second, whatever the kernel's own clock is. */
const TICKS_PER_SECOND = 100;

/** The processor time of a process so far, user and system; NaN where it cannot be read. */
function processorSeconds(pid: number): number {
  if (process.platform !== 'linux') return NaN;
  // The second field, the name of the program, may contain spaces.
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}
