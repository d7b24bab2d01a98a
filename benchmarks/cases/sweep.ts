/**
 * Throughput by the length of the lines and by the number of connections, for everything that reads lines.
 *
 * What is judged is whether the native engine is worth having: it must not be slower than the TypeScript engine by more than the
 * measurement error.
 */
import {
  asyncioEntries,
  type Case,
  type Entry,
  type Plot,
  Receivers,
  type Rival,
  type Settings,
  type Stream,
} from '../case.js';
import { go, type Locate, node, rust, sluice } from '../toolchain.js';
import { lines } from '../workload.js';

const GROUP = 'sweep';
const NOT_BEHIND = 0.97;

const KIB = 1024;
const MIB = 1024 * KIB;

/** The variable of a sweep. */
interface Axis {
  readonly plot: Plot;
  readonly values: readonly number[];
  /** The value that `--quick` runs. */
  readonly quick: number;
}

const byLength: Axis = {
  plot: {
    name: 'line-length',
    title: 'Throughput over loopback by length of line',
    x: 'bytes a line, with its line feed',
    y: 'MB/s',
  },
  values: [8, 16, 32, 64, 128, 256, 512, KIB, 4 * KIB, 16 * KIB, 64 * KIB],
  // The longest line that the default limit allows.
  quick: 64 * KIB,
};

const byConnections: Axis = {
  plot: {
    name: 'connections',
    title: 'Throughput over loopback by number of connections, lines of 64 bytes',
    x: 'connections',
    y: 'MB/s',
  },
  values: [1, 10, 100, 1_000],
  quick: 10,
};

/** The case of one value of an axis. */
function caseAt({ plot, quick }: Axis, x: number, about: Pick<Case, 'name' | 'title' | 'plan'>): Case {
  return {
    ...about,
    unit: plot.y,
    ratio: 'ours / theirs',
    group: GROUP,
    skippedByQuick: x !== quick,
    point: { plot, x },
  };
}

/** Receivers whose value has the unit of both plots. */
function megabytesPerSecond(stream: Omit<Stream, 'verifyRepeats' | 'value'>, settings: Settings): Receivers {
  const value: Stream['value'] = ({ bytes }, { seconds }) => bytes / seconds / 1e6;
  return new Receivers({ ...stream, verifyRepeats: 2, value }, settings);
}

/** A way to read lines, and how much is read that way: `mostLines` or `mostBytes`, whichever is less. */
interface Way {
  readonly name: string;
  readonly call: string;
  readonly contender: string;
  readonly mostLines: number;
  readonly mostBytes: number;
  /** Other contenders that do the same work, or nearly the same. Some need to know the length of the lines. */
  also(entry: (name: string, locate: Locate, words?: (string | number)[]) => Entry, length: number): Entry[];
}

const ways: readonly Way[] = [
  {
    name: 'readline',
    call: 'await readline()',
    contender: 'sluice-readline',
    mostLines: 3e6,
    mostBytes: 1024 * MIB,
    also: (entry, length) => [
      entry('hand-written await reader', node('hand-await')),
      entry('it-byte-stream', node('it-byte-stream', { needs: 'it-byte-stream' }), [length, 1]),
      ...asyncioEntries(entry, 'asyncio_readline.py'),
      entry('Rust, tokio read_until', rust('tokio-lines'), [1, 'bytes']),
      entry('Go, bufio ReadBytes', go('readbytes'), [1]),
    ],
  },
  {
    name: 'batches',
    call: 'lines().batches()',
    contender: 'sluice-batches',
    mostLines: 8e6,
    mostBytes: 2048 * MIB,
    also: (entry) => [
      entry("node:readline, 'line' event", node('node-readline')),
      entry('split2', node('split2', { needs: 'split2' })),
      entry("hand-written, split on 'data'", node('hand-lines')),
    ],
  },
  {
    name: 'frames',
    call: 'readframes()',
    contender: 'sluice-frames',
    mostLines: 32e6,
    mostBytes: 4096 * MIB,
    also: (entry) => [
      entry("hand-written, indexOf on 'data'", node('hand-frames')),
      entry('Rust, read and memchr', rust('read-memchr'), ['visit']),
      entry('Go, bufio Scanner', go('scanner'), ['bytes']),
    ],
  },
];

function lengthCase(way: Way, length: number): Case {
  const { name, call, contender, mostLines, mostBytes } = way;
  return caseAt(byLength, length, {
    name: `sweep-${name}-${length < KIB ? length : `${length / KIB}k`}`,
    title: `lines of ${length} bytes over loopback, ${call}`,
    plan(settings) {
      const block = lines(settings.quick ? 64 * KIB : MIB, length);
      const most = Math.min(mostLines * length, mostBytes);
      const repeats = settings.quick ? 4 : Math.ceil(most / block.bytes.length);
      const { entry, sender } = megabytesPerSecond({ block, repeats }, settings);
      return {
        ...engines(call, contender, entry),
        also: way.also(entry, length),
        // Only readframes() comes close to the speed of the sender.
        ...(name === 'frames' && { sender: sender() }),
      };
    },
  });
}

const LINE_BYTES = 64;

function connectionsCase(connections: number): Case {
  return caseAt(byConnections, connections, {
    name: `sweep-connections-${connections}`,
    title: `64-byte lines over loopback, awaited one at a time, on ${connections} connections at once`,
    plan(settings) {
      const block = lines(settings.quick ? KIB : 64 * KIB, LINE_BYTES);
      const total = settings.quick ? 256 * KIB : 256 * MIB;
      const repeats = Math.ceil(total / connections / block.bytes.length);
      const stream = { block, repeats, connections, words: [connections] };
      const { entry, sender } = megabytesPerSecond(stream, settings);
      return {
        ...engines('await readline()', 'sluice-connections', entry),
        also: [
          entry('hand-written await reader', node('hand-connections')),
          ...asyncioEntries(entry, 'asyncio_connections.py'),
          entry('Rust, tokio read_until', rust('tokio-lines'), [connections, 'bytes']),
          entry('Go, bufio ReadBytes', go('readbytes'), [connections]),
        ],
        sender: sender(),
      };
    },
  });
}

/** sluice on the native engine, judged against sluice on the TypeScript engine, whichever engine was selected. */
function engines(
  call: string,
  contender: string,
  entry: (name: string, locate: Locate) => Entry,
): { readonly ours: Entry; readonly against: readonly Rival[] } {
  const typescript = entry(`sluice, ${call}, TypeScript engine`, sluice(contender, 'typescript'));
  return {
    ours: entry(`sluice, ${call}`, sluice(contender, 'native')),
    against: [{ ...typescript, bound: { atLeast: NOT_BEHIND } }],
  };
}

export const sweep: readonly Case[] = [
  ...ways.flatMap((way) => byLength.values.map((length) => lengthCase(way, length))),
  ...byConnections.values.map(connectionsCase),
];
