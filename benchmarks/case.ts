/**
 * What a benchmark case is made of, and the ways in which its contenders are measured.
 */
import type { Bound, RatioOf } from './judge.js';
import { type Program, run, withPrograms } from './programs.js';
import { type Engine, loopback, type Locate, sluice } from './toolchain.js';
import {
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

export interface Case {
  readonly name: string;
  /** One line for people. */
  readonly title: string;
  readonly unit: string;
  readonly ratio: RatioOf;
  plan(settings: Settings): Plan;
}

/** Bytes that a sender sends over loopback, and how a receiver's seconds become a value. */
export interface Stream {
  readonly block: Block;
  /** How often the block is sent in a timed run, and to verify. */
  readonly repeats: number;
  readonly verifyRepeats: number;
  /** The sender writes at most so many bytes at once; 0 for as many as the socket takes. */
  readonly chunk?: number;
  /** Words for the contender's command line, after the port. */
  readonly words?: readonly (string | number)[];
  readonly value: (sent: { readonly frames: number; readonly bytes: number }, seconds: number) => number;
}

/** Measures receivers: whole programs that connect to the sender and read to the end. */
export class Receivers {
  readonly #stream: Stream;
  readonly #blocks: Blocks;

  constructor(stream: Stream, { blocks }: Settings) {
    this.#stream = stream;
    this.#blocks = blocks;
  }

  entry(name: string, locate: Locate): Entry {
    const { block, repeats, verifyRepeats } = this.#stream;
    return {
      name,
      locate,
      verify: async (program) => {
        checkAnswer(name, await this.#receive(program, verifyRepeats, ['verify']), verifiableOf(block, verifyRepeats));
      },
      time: async (program) => {
        const expected = expectedOf(block, repeats);
        return this.#value(checkAnswer(name, await this.#receive(program, repeats, []), expected).seconds, expected);
      },
    };
  }

  /** The other end alone: a receiver in C that looks at nothing. */
  sender(): Entry {
    const name = 'sender, into a sink';
    const { block, repeats } = this.#stream;
    return {
      name,
      locate: async () => {
        const program = await loopback();
        return { ...program, args: [...program.args, 'sink'] };
      },
      verify: () => Promise.resolve(),
      time: async (program) => {
        const output = await this.#receive(program, repeats, [], []);
        const { seconds } = checkAnswer(name, output, { bytes: block.bytes.length * repeats });
        return this.#value(seconds, expectedOf(block, repeats));
      },
    };
  }

  #value(seconds: number, { frames }: { readonly frames: number }): number {
    const bytes = this.#stream.block.bytes.length * this.#stream.repeats;
    return this.#stream.value({ frames, bytes }, seconds);
  }

  #receive(
    program: Program,
    repeats: number,
    purpose: readonly string[],
    words = this.#stream.words ?? [],
  ): Promise<string> {
    return withPrograms(async (start) => {
      const { block, chunk = 0 } = this.#stream;
      const path = await this.#blocks.file(block.bytes);
      const sender = start(await loopback(), 'send', path, block.bytes.length * repeats, chunk, 1);
      const port = await sender.firstLine();
      const output = await start(program, port, ...words, ...purpose).output();
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

/**
 * Measures what an idle connection costs a server: whole programs that print their port, wait for the connections, and
 * print the resident bytes that each of them added. The value is in KiB, and has the allowance added to it.
 */
export function idleServers(connections: number, allowanceKiB = 0): (name: string, locate: Locate) => Entry {
  const measure = (program: Program): Promise<number> =>
    withPrograms(async (start) => {
      const server = start(program, connections);
      const port = await server.firstLine();
      const clients = start(await loopback(), 'hold', port, connections);
      const answer = JSON.parse((await server.output()).trimEnd().split('\n').at(-1) ?? '') as Record<string, number>;
      clients.release();
      await clients.output();
      if (answer['connections'] !== connections) {
        throw new WrongAnswerError(`${answer['connections']} connections, expected ${connections}`);
      }
      return (answer['bytes'] as number) / 1024;
    });
  return (name, locate) => ({
    name,
    locate,
    // The number of connections is all that there is to be right or wrong, and every run checks it.
    verify: () => Promise.resolve(),
    time: async (program) => (await measure(program)) + allowanceKiB,
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
