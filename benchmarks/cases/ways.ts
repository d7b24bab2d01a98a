/**
 * What a message costs by the way it is read, for the guide "Which way to read". Each case is judged by whether the way that the guide
 * recommends for many small messages is worth it, against the one that comes to mind first.
 */
import { type Case, Receivers } from '../case.js';
import { sluice } from '../toolchain.js';
import { type Block, lengthPrefixed, lineAndBody, lines } from '../workload.js';

const MESSAGE_BYTES = 64;

/** The ways to read one kind of message, by their names in the contender. */
interface Kind {
  readonly name: string;
  readonly title: string;
  readonly block: (size: number, length: number) => Block;
  readonly contender: string;
  readonly best: string;
  readonly first: string;
  /** The least ratio of the processor times of `first` and `best`. */
  readonly atLeast: number;
  readonly others: readonly string[];
}

function wayCase({ name, title, block, contender, best, first, atLeast, others }: Kind): Case {
  return {
    name: `ways-${name}`,
    title: `processor time for ${title}`,
    unit: 'ns',
    ratio: 'theirs / ours',
    group: 'ways',
    plan(settings) {
      const { entry } = new Receivers(
        {
          block: block(settings.quick ? 64 * 1024 : 1024 * 1024, MESSAGE_BYTES),
          repeats: settings.quick ? 4 : 256,
          verifyRepeats: 3,
          value: ({ frames }, { cpu }) => (cpu! / frames) * 1e9,
        },
        settings,
      );
      const way = (word: string): ReturnType<typeof entry> => entry(word, sluice(contender, settings.engine), [word]);
      return { ours: way(best), against: [{ ...way(first), bound: { atLeast } }], also: others.map(way) };
    },
  };
}

export const ways: readonly Case[] = [
  wayCase({
    name: 'lines',
    title: 'a line of 64 bytes',
    block: lines,
    contender: 'ways-lines',
    best: 'readframes',
    first: 'readline',
    atLeast: 4,
    others: ['try', 'for await', 'lines()', 'batches', 'window', 'read'],
  }),
  wayCase({
    name: 'lengths',
    title: 'a frame of 64 bytes with a 4-byte length',
    block: lengthPrefixed,
    contender: 'ways-lengths',
    best: 'readframes',
    first: 'readexactly',
    atLeast: 10,
    others: ['try readexactly', 'readframe', 'try', 'frames()', 'window', 'read'],
  }),
  wayCase({
    name: 'mixed',
    title: 'a message of a line with a length, and that many bytes, 64 bytes in all',
    block: lineAndBody,
    contender: 'ways-mixed',
    best: 'window',
    first: 'readuntil',
    atLeast: 4,
    others: ['try', 'read'],
  }),
];
