/** WebSocket: the server of examples/protocols/websocket, which sends every message back. */
import type { Case } from '../../case.js';
import { ProgramError } from '../../programs.js';
import { protocolCases, servers, type Load, type Start } from '../../protocols.js';
import { node, sluice } from '../../toolchain.js';
import { checkAnswer, size as readable } from '../../workload.js';

interface Echo {
  readonly name: string;
  /** The length of a message, in bytes. */
  readonly size: number;
  /** How many messages are in flight. */
  readonly depth: number;
  readonly count: number;
  readonly quick: number;
  readonly atLeast: number;
  readonly skippedByQuick?: boolean;
}

const loadGenerator = node('protocols/websocket-load');

async function send(start: Start, port: number, { size, depth }: Echo, count: number): Promise<Load> {
  const program = await loadGenerator();
  if ('missing' in program) throw new ProgramError(program.missing);
  const output = await start(program, port, size, depth, count).output();
  const { seconds, p99 = NaN } = checkAnswer('websocket-load', output, { frames: count, bytes: count * size });
  return { requests: count, rate: count / seconds / 1e3, p99 };
}

function server(echo: Echo): Case[] {
  const { name, size, depth, atLeast, skippedByQuick = false } = echo;
  return protocolCases({
    name: `websocket-${name}`,
    title: `messages of ${readable(size)} to an echo server, ${depth} in flight`,
    unit: 'kmsg/s',
    skippedByQuick,
    plan({ engine, quick }) {
      const count = quick ? echo.quick : echo.count;
      const entry = servers(
        // The load generator compares all answers with its messages.
        () => Promise.resolve(),
        (start, port) => send(start, port, echo, count),
        (start, port) => send(start, port, echo, Math.ceil(count / 4)),
      );
      return {
        ours: entry('sluice', { locate: sluice('protocols/websocket-server-sluice', engine) }),
        against: [{ ...entry('ws', { locate: node('protocols/websocket-server-ws', { needs: 'ws' }) }), atLeast }],
        also: [],
      };
    },
  });
}

export const websocket: readonly Case[] = [
  ...server({ name: 'p100', size: 125, depth: 100, count: 1_000_000, quick: 1000, atLeast: 1.5 }),
  ...server({ name: 'p1', size: 125, depth: 1, count: 80_000, quick: 100, atLeast: 1, skippedByQuick: true }),
  ...server({ name: '1m', size: 2 ** 20, depth: 1, count: 2000, quick: 4, atLeast: 2 }),
];
