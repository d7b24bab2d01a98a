/**
 * What a benchmark case is made of, and the ways in which its contenders are measured.
 */
import type { Bound, RatioOf } from './judge.js';
import { type Program, run, withPrograms } from './programs.js';
import { type Engine, loopback, type Locate, python, sluice, tooManyFiles } from './toolchain.js';
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

/** How a run is set up: what every case needs to know to plan its contenders. */
export interface Settings {
  /** The engine of ours. */
  readonly engine: Engine;
  /** Show the other engine as well. */
  readonly bothEngines: boolean;
  /** Small data: shows that every contender runs and answers correctly, not how fast it is. */
  readonly quick: boolean;
  readonly blocks: Blocks;
}

/** One contender in one case. */
export interface Entry {
  readonly name: string;
  readonly locate: Locate;
  /** A run whose answer is looked at in full and whose time is not. */
  verify(program: Program): Promise<void>;
  /** A timed run, in the unit of the case; its answer is checked too. */
  time(program: Program): Promise<number>;
}

/** An entry that ours is held against. */
export type Rival = Entry & { readonly bound: Bound };

export interface Plan {
  readonly ours: Entry;
  readonly against: readonly Rival[];
  /** Entries for information. */
  readonly also: readonly Entry[];
  /** How fast the other end is when nothing is done with the bytes. */
  readonly sender?: Entry;
}

/** A picture of several cases: one line for each contender. Both axes are logarithmic. */
export interface Plot {
  /** A part of the name of a file. */
  readonly name: string;
  readonly title: string;
  /** What is on the two axes. */
  readonly x: string;
  readonly y: string;
}

export interface Point {
  readonly plot: Plot;
  readonly x: number;
}

export interface Case {
  readonly name: string;
  /** One line for people. */
  readonly title: string;
  readonly unit: string;
  readonly ratio: RatioOf;
  /** Cases with a group are run when they, or their group, are asked for; those without always are. */
  readonly group?: string;
  /** Not run by `--quick`: another case of the same programs is. */
  readonly skippedByQuick?: boolean;
  /** Where the results belong in a plot. */
  readonly point?: Point;
  plan(settings: Settings): Plan;
}

/** The same case without the contenders that are there for information. */
export function judgedOnly(whole: Case): Case {
  return {
    ...whole,
    plan(settings) {
      const { ours, against } = whole.plan(settings);
      return { ours, against, also: [] };
    },
  };
}

/** Bytes that a sender sends over loopback, and how a receiver's seconds become a value. */
export interface Stream {
  readonly block: Block;
  /** How often the block is sent in a timed run, and to verify. */
  readonly repeats: number;
  readonly verifyRepeats: number;
  /** The sender writes at most so many bytes at once; 0 for as many as the socket takes. */
  readonly chunk?: number;
  /** How many connections the receiver opens; each of them gets all of the bytes. Default 1. */
  readonly connections?: number;
  /** Words for the contenders' command lines, after the port. */
  readonly words?: readonly (string | number)[];
  /** What was sent over all connections counts with its separators. */
  readonly value: (sent: { readonly frames: number; readonly bytes: number }, answer: Answer) => number;
}

/** Measures receivers: whole programs that connect to the sender and read to the end. */
export class Receivers {
  readonly #stream: Stream;
  readonly #blocks: Blocks;

  constructor(stream: Stream, { blocks }: Settings) {
    this.#stream = stream;
    this.#blocks = blocks;
  }

  readonly entry = (name: string, locate: Locate, words = this.#stream.words ?? []): Entry => {
    const { block, repeats, verifyRepeats, connections = 1 } = this.#stream;
    return {
      name,
      locate,
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

  /** The other end alone: a receiver in C that looks at nothing. */
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
      const { block, chunk = 0, connections = 1 } = this.#stream;
      const path = await this.#blocks.file(block.bytes);
      const sender = start(await loopback(), 'send', path, block.bytes.length * repeats, chunk, connections);
      const port = await sender.firstLine();
      const output = await start(program, port, ...words).output();
      await sender.output();
      return output;
    });
  }
}

/** A program that needs no other end: it feeds itself, and answers. */
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

/** Requests to an echo server, and how the seconds that they took become a value. */
export interface Requests {
  /** How many are in flight at once. */
  readonly depth: number;
  readonly count: number;
  readonly length: number;
  readonly value: (count: number, seconds: number) => number;
}

/**
 * Measures echo servers: whole programs that print their port and serve until they are stopped. The client compares each
 * answer with its request, and its clock is the one that counts.
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

/** What an idle connection cost a server. */
export interface IdleCost {
  /** Resident bytes. */
  readonly bytes: number;
  /** Seconds of the processor, from the start of the server's listening. */
  readonly seconds: number;
}

/**
 * Measures what an idle connection costs a server: whole programs that print their port, wait for the connections, and print
 * what each of them has cost.
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
  return (name, locate) => ({
    name,
    locate: async () => {
      const reason = tooManyFiles(connections);
      return reason === null ? locate() : { missing: reason };
    },
    // The number of connections is all that there is to be right or wrong, and every run checks it.
    verify: () => Promise.resolve(),
    time: measure,
  });
}

/** Ours on the engine that was not chosen, where both are to be shown. */
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
