/** How the cost per byte, or per connection, grows with their number. */
import { alone, type Case, type Entry, idleServers, otherEngine, type Settings } from '../case.js';
import { type Locate, node, python, sluice } from '../toolchain.js';
import { drips, size, verifiableOf } from '../workload.js';

const GROUP = 'growth';

/** The same bound as in `drip`. */
const GROWS_AT_MOST = 1.5;

const KIB = 1024;
const MIB = 1024 * KIB;
const LENGTHS = [KIB, 16 * KIB, 256 * KIB, MIB, 4 * MIB, 16 * MIB, 64 * MIB];
const PIECE_BYTES = KIB;

export const frameGrowth: Case = {
  name: 'frame-growth',
  title: 'cost per byte of frames of growing length that arrive in pieces of 1 KiB',
  unit: 'ns/byte',
  ratio: 'ours / theirs',
  group: GROUP,
  plan(settings) {
    // Both are larger than the caches of most machines. The small one is where 'drip' ends.
    const [small, large] = settings.quick ? [16 * KIB, 256 * KIB] : [4 * MIB, 64 * MIB];
    const others = LENGTHS.filter((length) => length !== small && length < large);
    // Every length uses the same total number of bytes, so that all of them warm up equally.
    const expected = new Map([...others, small, large].map((n) => [n, verifiableOf(drips(n), large / n)]));
    const fed = (name: string, locate: Locate) => (length: number) => {
      const words = [length, large / length, PIECE_BYTES];
      const value = (seconds: number): number => (seconds / large) * 1e9;
      return alone(`${name}, ${size(length)}`, locate, words, expected.get(length)!, value);
    };
    const ours = fed('sluice', sluice('sluice-drip', settings.engine));
    const all = [...expected.keys()].sort((a, b) => a - b);
    return {
      ours: ours(large),
      against: [{ ...ours(small), bound: { atMost: GROWS_AT_MOST } }],
      also: [
        ...others.map(ours),
        ...all.flatMap((n) => otherEngine(settings, (name, locate) => fed(name, locate)(n), 'sluice-drip')),
        ...all.map(fed('CPython asyncio', python('asyncio_drip.py'))),
      ],
    };
  },
};

/** What a stream may cost in addition to its socket: the same bound as in `idle-memory`. */
const ALLOWANCE_KIB = 2;

export const idleMemoryGrowth: Case = {
  name: 'idle-memory-growth',
  title: 'resident memory of a server per idle connection, for growing numbers of connections',
  unit: 'KiB',
  ratio: 'ours / theirs',
  group: GROUP,
  plan(settings) {
    const { counts, most, ours, raw, others } = idle(settings, ({ bytes }) => bytes / KIB);
    const name = `raw net.Socket and ${ALLOWANCE_KIB} KiB, ${most} connections`;
    const allowed = idleServers(most, ({ bytes }) => bytes / KIB + ALLOWANCE_KIB)(name, RAW);
    return {
      ours: ours(most),
      against: [{ ...allowed, bound: { atMost: 1 } }],
      also: [...counts.slice(0, -1).map(ours), ...others, ...counts.map(raw)],
    };
  },
};

export const idleTimeGrowth: Case = {
  name: 'idle-time-growth',
  title: 'CPU time of a server per connection until all are connected, for growing numbers of connections',
  unit: 'µs',
  ratio: 'ours / theirs',
  group: GROUP,
  plan(settings) {
    const { counts, most, ours, raw, others } = idle(settings, ({ seconds }) => seconds * 1e6);
    const fewer = counts.at(-2) as number;
    return {
      ours: ours(most),
      against: [{ ...ours(fewer), bound: { atMost: GROWS_AT_MOST } }],
      also: [...counts.slice(0, -2).map(ours), ...others, ...counts.map(raw)],
    };
  },
};

const FLAGS = ['--expose-gc'];
const RAW = node('node-idle', { flags: FLAGS });

/** The servers of both cases, for any number of connections. */
function idle(settings: Settings, value: Parameters<typeof idleServers>[1]) {
  const counts = settings.quick ? [10, 100] : [10, 100, 1_000, 10_000];
  const server = (name: string, locate: Locate, count: number): Entry =>
    idleServers(count, value)(`${name}, ${count} connections`, locate);
  const ours = sluice('sluice-idle', settings.engine, FLAGS);
  const other = (count: number): Entry[] =>
    otherEngine(settings, (name, locate) => server(name, locate, count), 'sluice-idle', '', FLAGS);
  return {
    counts,
    most: counts.at(-1) as number,
    ours: (count: number) => server('sluice', ours, count),
    raw: (count: number) => server('raw net.Socket', RAW, count),
    others: counts.flatMap(other),
  };
}
