/** The parts of a benchmark case, and the ways to measure its contenders. */
import type { Bound, RatioOf } from './judge.js';
import { OPENSSL } from './identity.js';
import { isProgram, type Program, run, type Running, withPrograms } from './programs.js';
import { type Engine, loopback, type Locate, python, sluice, tlsSender, tooManyFiles } from './toolchain.js';
import {
  type Answer,
  type Block,
  type Blocks,
  checkAnswer,
  type Expected,
  expectedOf,
  verifiableOf,
  WrongAnswerError,
} from './workload.js';

/** The settings of a run, from which every case plans its contenders. */
export interface Settings {
  /** The engine that sluice runs on. */
  readonly engine: Engine;
  /** Also measure sluice on the other engine. */
  readonly bothEngines: boolean;
  /** Use little data: shows that every contender runs and answers correctly, not how fast it is. */
  readonly quick: boolean;
  readonly blocks: Blocks;
}

/** One contender in one case. */
export interface Entry {
  readonly name: string;
  readonly locate: Locate;
  /** A run that checks the complete answer and is not timed. */
  verify(program: Program): Promise<void>;
  /** A timed run. Returns a value in the unit of the case, and also checks the answer. */
  time(program: Program): Promise<number>;
}

/** An entry that sluice is judged against. */
export interface Rival extends Entry {
  readonly bound: Bound;
  /** The sluice entry to compare with it, if not the one that the case is about. It is shown with the informational entries. */
  readonly ours?: Entry;
}

export interface Plan {
  readonly ours: Entry;
  readonly against: readonly Rival[];
  /** Entries for information. */
  readonly also: readonly Entry[];
  /** The speed of the sender alone, with a receiver that discards the bytes. */
  readonly sender?: Entry;
}

/** A plot of several cases, with one line for each contender. Both axes are logarithmic. */
export interface Plot {
  /** A part of the file name. */
  readonly name: string;
  readonly title: string;
  /** The titles of the two axes. */
  readonly x: string;
  readonly y: string;
}

export interface Point {
  readonly plot: Plot;
  readonly x: number;
}

export interface Case {
  readonly name: string;
  /** A description of one line. */
  readonly title: string;
  readonly unit: string;
  readonly ratio: RatioOf;
  /** A case with a group runs only if the case or the group is named. A case without a group always runs. */
  readonly group?: string;
  /** Not run by `--quick`, because another case runs the same programs. */
  readonly skippedByQuick?: boolean;
  /** The position of the results in a plot. */
  readonly point?: Point;
  plan(settings: Settings): Plan;
}

/** The same case without the contenders that are only for information. */
export function judgedOnly(whole: Case): Case {
  return {
    ...whole,
    plan(settings) {
      const { ours, against } = whole.plan(settings);
      return { ours, against, also: [] };
    },
  };
}

/** The bytes that a sender sends over loopback, and how a receiver's seconds are converted to a value. */
export interface Stream {
  readonly block: Block;
  /** How often the block is sent in a timed run, and in a run that verifies. */
  readonly repeats: number;
  readonly verifyRepeats: number;
  /** The largest write of the sender, in bytes; 0 for as much as the socket accepts. */
  readonly chunk?: number;
  /** How many connections the receiver opens. Each of them receives all of the bytes. Default 1. */
  readonly connections?: number;
  /** Whether the sender uses TLS. It then has one connection, and its writes have the size of the block. */
  readonly tls?: boolean;
  /** Arguments for the contenders, after the port. */
  readonly words?: readonly (string | number)[];
  /** `sent` is the sum over all connections, including separators. */
  readonly value: (sent: { readonly frames: number; readonly bytes: number }, answer: Answer) => number;
}

/** Measures receivers: complete programs that connect to the sender and read to the end. */
export class Receivers {
  readonly #stream: Stream;
  readonly #blocks: Blocks;

  constructor(stream: Stream, { blocks }: Settings) {
    this.#stream = stream;
    this.#blocks = blocks;
  }

  readonly entry = (name: string, locate: Locate, words = this.#stream.words ?? []): Entry => {
    const { block, repeats, verifyRepeats, connections = 1, tls = false } = this.#stream;
    return {
      name,
      locate: tls ? ifOnPath([OPENSSL], locate) : locate,
      verify: async (program) => {
        const output = await this.#receive(program, verifyRepeats, [...words, 'verify']);
        checkAnswer(name, output, verifiableOf(block, verifyRepeats, connections));
      },
      time: async (program) => {
        const output = await this.#receive(program, repeats, words);
        return this.#value(checkAnswer(name, output, expectedOf(block, repeats * connections)));
      },
    };
  };

  /** The sender alone, with a receiver in C that discards everything. */
  readonly sender = (): Entry => {
    const name = 'sender, into a sink';
    const { block, repeats, connections = 1 } = this.#stream;
    return {
      name,
      locate: async () => {
        const program = await loopback();
        return { ...program, args: [...program.args, 'sink'] };
      },
      verify: () => Promise.resolve(),
      time: async (program) => {
        const output = await this.#receive(program, repeats, [connections]);
        return this.#value(checkAnswer(name, output, { bytes: block.bytes.length * repeats * connections }));
      },
    };
  };

  #value(answer: Answer): number {
    const { block, repeats, connections = 1, value } = this.#stream;
    const sent = repeats * connections;
    return value({ frames: block.contents.length * sent, bytes: block.bytes.length * sent }, answer);
  }

  #receive(program: Program, repeats: number, words: readonly (string | number)[]): Promise<string> {
    return withPrograms(async (start) => {
      const { block, chunk = 0, connections = 1, tls = false } = this.#stream;
      const path = await this.#blocks.file(block.bytes);
      const total = block.bytes.length * repeats;
      let receiver = program;
      let sender: Running;
      if (tls) {
        const { cert, key } = await this.#blocks.identity();
        sender = start(tlsSender, path, total, cert, key);
        receiver = { ...program, env: { ...program.env, SLUICE_BENCH_CA: cert } };
      } else {
        sender = start(await loopback(), 'send', path, total, chunk, connections);
      }
      const port = await sender.firstLine();
      const output = await start(receiver, port, ...words).output();
      await sender.output();
      return output;
    });
  }
}

/** Measures receivers that read stdin: a shell makes the pipe, and `cat` sends the block `repeats` times. */
export function pipedFromCat(
  { block, repeats, verifyRepeats, value }: Stream,
  { blocks }: Settings,
): (name: string, locate: Locate) => Entry {
  const receive = async (program: Program, times: number, words: readonly string[]): Promise<string> => {
    const path = await blocks.file(block.bytes);
    const script = `cat ${Array<string>(times).fill('"$0"').join(' ')} | exec "$@"`;
    const { command, args, env } = program;
    return run({ command: 'sh', args: ['-c', script, path, command, ...args, '0'], ...(env && { env }) }, ...words);
  };
  return (name, locate) => ({
    name,
    locate: ifOnPath(['sh', 'cat'], locate),
    verify: async (program) => {
      checkAnswer(name, await receive(program, verifyRepeats, ['verify']), verifiableOf(block, verifyRepeats));
    },
    time: async (program) => {
      const answer = checkAnswer(name, await receive(program, repeats, []), expectedOf(block, repeats));
      return value({ frames: block.contents.length * repeats, bytes: block.bytes.length * repeats }, answer);
    },
  });
}

/** Finds a contender that also needs other programs. */
function ifOnPath(needed: readonly string[], locate: Locate): Locate {
  return async () => {
    for (const command of needed) if (!isProgram(command)) return { missing: `no ${command} on PATH` };
    return locate();
  };
}

/** A program that needs no sender, because it feeds itself. */
export function alone(
  name: string,
  locate: Locate,
  words: readonly (string | number)[],
  expected: Required<Expected>,
  value: (seconds: number) => number,
): Entry {
  const { frames, bytes } = expected;
  return {
    name,
    locate,
    verify: async (program) => void checkAnswer(name, await run(program, ...words, 'verify'), expected),
    time: async (program) => value(checkAnswer(name, await run(program, ...words), { frames, bytes }).seconds),
  };
}

/** The requests to an echo server, and how their seconds are converted to a value. */
export interface Requests {
  /** How many requests are in flight at the same time. */
  readonly depth: number;
  readonly count: number;
  readonly length: number;
  readonly value: (count: number, seconds: number) => number;
}

/**
 * Measures echo servers: complete programs that print their port and serve until they are stopped. The client compares each
 * answer with its request, and measures the time.
 */
export function echoServers({ depth, count, length, value }: Requests): (name: string, locate: Locate) => Entry {
  const ask = (name: string, program: Program, requests: number): Promise<number> =>
    withPrograms(async (start) => {
      const port = await start(program).firstLine();
      const output = await start(await loopback(), 'echo', port, depth, requests, length).output();
      return checkAnswer(name, output, { frames: requests, bytes: requests * length }).seconds;
    });
  return (name, locate) => ({
    name,
    locate,
    verify: async (program) => {
      await ask(name, program, depth * 10);
    },
    time: async (program) => value(count, await ask(name, program, count)),
  });
}

/** The cost of an idle connection for a server. */
export interface IdleCost {
  /** Resident bytes. */
  readonly bytes: number;
  /** CPU seconds since the server began to listen. */
  readonly seconds: number;
}

/**
 * Measures the cost of an idle connection for a server: complete programs that print their port, wait for the connections, and
 * print the cost of each.
 */
export function idleServers(
  connections: number,
  value: (cost: IdleCost) => number,
): (name: string, locate: Locate) => Entry {
  const measure = (program: Program): Promise<number> =>
    withPrograms(async (start) => {
      const server = start(program, connections);
      const port = await server.firstLine();
      const clients = start(await loopback(), 'hold', port, connections);
      const line = (await server.output()).trimEnd().split('\n').at(-1) ?? '';
      const answer = JSON.parse(line) as IdleCost & { readonly connections: number };
      clients.release();
      await clients.output();
      if (answer.connections !== connections) {
        throw new WrongAnswerError(`${answer.connections} connections, expected ${connections}`);
      }
      return value(answer);
    });
  return (name, locate) => manyConnections(name, locate, connections, measure);
}

/** A contender that needs many connections. Every run checks its answer, so there is nothing to verify before. */
function manyConnections(
  name: string,
  locate: Locate,
  connections: number,
  time: (program: Program) => Promise<number>,
): Entry {
  return {
    name,
    locate: async () => {
      const reason = tooManyFiles(connections);
      return reason === null ? locate() : { missing: reason };
    },
    verify: () => Promise.resolve(),
    time,
  };
}

/**
 * How much a process may grow under load whatever its buffers hold: the young generation of V8 alone has two halves of 16 MiB, and
 * compiled code is added to it.
 */
const RUNTIME_GROWTH = 64 * 2 ** 20;

/** What a server sends to all of its clients, and how the clients' seconds are converted to a value. */
export interface Fan {
  readonly connections: number;
  /** How many of the clients never read. The server must cut off these, and no others. */
  readonly stalled: number;
  /** What the server may buffer for each client. */
  readonly max: number;
  readonly block: Buffer;
  readonly repeats: number;
  readonly value: (seconds: number) => number;
}

/**
 * Measures servers that send the same bytes to many clients: complete programs that print their port, wait for the clients, send, and
 * print how many they cut off and how much memory they used. The client compares all bytes with the block, and measures the time.
 */
export function fanOutServers(
  { connections, stalled, max, block, repeats, value }: Fan,
  { blocks }: Settings,
): (name: string, locate: Locate) => Entry {
  const measure = (name: string, program: Program): Promise<number> =>
    withPrograms(async (start) => {
      const path = await blocks.file(block);
      const server = start(program, connections, max, repeats, path);
      const port = await server.firstLine();
      const total = block.length * repeats;
      const clients = start(await loopback(), 'fan', port, connections, stalled, path, total);
      const output = await clients.output();
      const line = (await server.output()).trimEnd().split('\n').at(-1) ?? '';
      const used = JSON.parse(line) as { overflows: number; buffered: number; grown: number };
      if (used.overflows !== stalled) {
        throw new WrongAnswerError(`${name}: cut off ${used.overflows} clients, expected ${stalled}`);
      }
      const most = connections * max;
      for (const [what, bytes, allowed] of [
        ['buffered', used.buffered, most],
        ['grew by', used.grown, most + RUNTIME_GROWTH],
      ] as const) {
        if (bytes > allowed) throw new WrongAnswerError(`${name}: ${what} ${bytes} bytes, expected at most ${allowed}`);
      }
      return value(checkAnswer(name, output, { bytes: total * (connections - stalled) }).seconds);
    });
  return (name, locate) => manyConnections(name, locate, connections, (program) => measure(name, program));
}

/** sluice on the other engine, if both engines are to be measured. */
export function otherEngine(
  { engine, bothEngines }: Settings,
  entry: (name: string, locate: Locate) => Entry,
  contender: string,
  detail = '',
  flags: readonly string[] = [],
): Entry[] {
  if (!bothEngines) return [];
  const other = engine === 'native' ? 'typescript' : 'native';
  return [entry(`sluice on the ${other} engine${detail}`, sluice(contender, other, flags))];
}

/** A contender in Python on asyncio's own loop, and on uvloop. */
export function asyncioEntries(entry: (name: string, locate: Locate) => Entry, file: string): Entry[] {
  return [entry('CPython asyncio', python(file)), entry('CPython asyncio with uvloop', python(file, { uvloop: true }))];
}
