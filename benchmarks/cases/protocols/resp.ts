/** RESP, the protocol of Redis: the server and the client of examples/protocols/resp. */
import { tmpdir } from 'node:os';
import { ITEMS, PIPELINE, VALUE } from '../../contenders/protocols/resp-data.js';
import type { Case } from '../../case.js';
import { clients, exchange, protocolCases, servers, type Load, type Rival, type Service } from '../../protocols.js';
import { node, program, sluice } from '../../toolchain.js';
import { WrongAnswerError } from '../../workload.js';

const redisServer: Service = {
  locate: program('redis-server'),
  args: (port) => ['--port', port, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', tmpdir()],
};

/** Each command that is measured, pipelined. */
function check(port: number): Promise<void> {
  const words = (line: string): string => {
    const list = line.split(' ');
    return `*${list.length}\r\n${list.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`;
  };
  const requests = ['SET a 1', 'GET a', 'MSET a 2 b 3', 'GET a', 'GET b', 'DEL l', 'LPUSH l 1 2', 'LPUSH l 3', 'DEL l'];
  const replies = '+OK\r\n$1\r\n1\r\n+OK\r\n$1\r\n2\r\n$1\r\n3\r\n:0\r\n:2\r\n:3\r\n:1\r\n';
  return exchange(port, requests.map(words).join(''), replies);
}

interface Benchmark {
  readonly command: 'set' | 'get' | 'mset' | 'lpush';
  readonly pipeline: number;
  readonly size: number;
  readonly requests: number;
  readonly atLeast: number;
  /** Compared with redis-server itself. */
  readonly redisAtLeast?: number;
  readonly p99AtLeast?: number;
  readonly skippedByQuick?: boolean;
}

/** The line of redis-benchmark for the command. */
function load(output: string, { command }: Benchmark, requests: number): Load {
  const fields = output
    .split('\n')
    .find((line) => line.toLowerCase().startsWith(`"${command}`))
    ?.split(',');
  const [rate, p99] = [fields?.[1], fields?.[6]].map((field) => Number(field?.replaceAll('"', '')));
  if (!(rate! > 0) || !(p99! >= 0)) throw new WrongAnswerError(`redis-benchmark printed ${JSON.stringify(output)}`);
  return { requests, rate: rate! / 1e3, p99: p99! };
}

function server(benchmark: Benchmark): Case[] {
  const { command, pipeline, size, atLeast, redisAtLeast, p99AtLeast, skippedByQuick = true } = benchmark;
  return protocolCases({
    name: `resp-server-${command}-p${pipeline}${size === 3 ? '' : `-d${size}`}`,
    title: `${command.toUpperCase()} of ${size} bytes by redis-benchmark, 50 connections, ${pipeline} in flight on each`,
    unit: 'kreq/s',
    skippedByQuick,
    plan(settings) {
      const count = settings.quick ? 2000 : benchmark.requests;
      const bench = {
        command: 'redis-benchmark',
        args: ['--csv', '-t', command, '-P', String(pipeline), '-d', String(size)],
      };
      const entry = servers(
        check,
        async (start, port) => load(await start(bench, '-p', port, '-n', count).output(), benchmark, count),
        (start, port) => start(bench, '-p', port, '-n', count / 4).output(),
        'redis-benchmark',
      );
      const rival = (name: string, service: Service, bound: number): Rival => ({
        ...entry(name, service),
        atLeast: bound,
        ...(p99AtLeast !== undefined && service !== redisServer && { p99AtLeast }),
      });
      const net = { locate: node('protocols/resp-server-net', { needs: 'redis-parser' }) };
      return {
        ours: entry('sluice', { locate: sluice('protocols/resp-server-sluice', settings.engine) }),
        against: [
          rival("net 'data' and redis-parser", net, atLeast),
          ...(redisAtLeast === undefined ? [] : [rival('redis-server', redisServer, redisAtLeast)]),
        ],
        also: redisAtLeast === undefined ? [entry('redis-server', redisServer)] : [],
      };
    },
  });
}

interface Task {
  readonly name: 'set' | 'get' | 'lrange' | 'single';
  readonly title: string;
  readonly count: number;
  readonly quick: number;
  readonly requests: number;
  readonly bytes: number;
  readonly atLeast: number;
}

const itemBytes = Array.from({ length: ITEMS }, (_, i) => `item ${i}`).join('').length;

function client({ name, title, count, quick, requests, bytes, atLeast }: Task): Case[] {
  return protocolCases({
    name: `resp-client-${name}`,
    title: `clients of redis-server: ${title}`,
    unit: 'kreq/s',
    plan(settings) {
      const times = settings.quick ? quick : count;
      const entry = clients(redisServer, {
        words: [name, times],
        expected: { frames: times * requests, bytes: times * bytes },
        rate: (seconds) => (times * requests) / seconds / 1e3,
      });
      return {
        ours: entry('sluice', sluice('protocols/resp-client-sluice', settings.engine)),
        against: [{ ...entry('ioredis', node('protocols/resp-client-ioredis', { needs: 'ioredis' })), atLeast }],
        also: [entry('node-redis', node('protocols/resp-client-node-redis', { needs: 'redis' }))],
      };
    },
  });
}

const PIPELINED = {
  pipeline: 16,
  size: 3,
  requests: 1_000_000,
  atLeast: 1.5,
  redisAtLeast: 0.5,
  p99AtLeast: 1,
} as const;
const LARGE = { pipeline: 16, size: 4096, requests: 100_000, atLeast: 1.2 } as const;
const SINGLE = { pipeline: 1, size: 3, requests: 100_000, atLeast: 0.95 } as const;

export const resp: readonly Case[] = [
  ...server({ ...PIPELINED, command: 'set', skippedByQuick: false }),
  ...server({ ...PIPELINED, command: 'get' }),
  ...server({ ...PIPELINED, command: 'mset', requests: 150_000 }),
  ...server({ ...PIPELINED, command: 'lpush' }),
  ...server({ ...LARGE, command: 'set' }),
  ...server({ ...LARGE, command: 'get' }),
  ...server({ ...SINGLE, command: 'set' }),
  ...server({ ...SINGLE, command: 'get' }),
  ...client({
    name: 'set',
    title: `SET, ${PIPELINE} at a time`,
    count: 500,
    quick: 2,
    requests: PIPELINE,
    bytes: PIPELINE * 'OK'.length,
    atLeast: 3,
  }),
  ...client({
    name: 'get',
    title: `GET, ${PIPELINE} at a time`,
    count: 500,
    quick: 2,
    requests: PIPELINE,
    bytes: PIPELINE * VALUE.length,
    atLeast: 3,
  }),
  ...client({
    name: 'lrange',
    title: `LRANGE of ${ITEMS} items`,
    count: 300,
    quick: 2,
    requests: 1,
    bytes: itemBytes,
    atLeast: 1.5,
  }),
  ...client({
    name: 'single',
    title: 'GET, one at a time',
    count: 20_000,
    quick: 20,
    requests: 1,
    bytes: VALUE.length,
    atLeast: 1,
  }),
];
