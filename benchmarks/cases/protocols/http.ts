/** HTTP/1.1: the server of examples/protocols/http, under wrk. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Case } from '../../case.js';
import { protocolCases, servers, type Load, type Start } from '../../protocols.js';
import { node, root, sluice } from '../../toolchain.js';
import { WrongAnswerError } from '../../workload.js';

const CONNECTIONS = 32;

/** How long wrk runs, in s. Less than a second is not possible. */
const SECONDS = 4;
const WARM_UP_SECONDS = 1;

/** The script for wrk, in the folder of the sources. */
const SCRIPT = join(root, 'benchmarks', 'contenders', 'protocols', 'http-load.lua');

/** What it prints. The bytes are those of the responses, also of partial ones. */
interface Report extends Pick<Load, 'requests' | 'p99'> {
  readonly bytes: number;
  readonly seconds: number;
  readonly errors: number;
}

interface Scenario {
  readonly name: string;
  readonly title: string;
  readonly method: 'GET' | 'POST';
  readonly body: string;
  /** The body of the response. */
  readonly expected: string;
  /** How many requests are sent at a time on each connection. */
  readonly pipeline: number;
  readonly atLeast: number;
  readonly skippedByQuick: boolean;
}

/** Sends two requests, the second of which ends the connection, checks both responses, and resolves with the first one. */
async function ask(port: number, { method, body, expected }: Scenario): Promise<string> {
  const fields = `Host: 127.0.0.1:${port}\r\n${body === '' ? '' : `Content-Length: ${body.length}\r\n`}`;
  const socket = connect({ port, host: '127.0.0.1' });
  await once(socket, 'connect');
  for (const field of ['', 'Connection: close\r\n']) {
    socket.write(`${method} / HTTP/1.1\r\n${fields}${field}\r\n${body}`);
  }
  let text = '';
  for await (const chunk of socket.setEncoding('latin1') as AsyncIterable<string>) text += chunk;
  const responses = text.split(/(?<=\n)(?=HTTP\/1\.1 )/);
  const isRight = (response: string): boolean => {
    const [head = '', ...rest] = response.split('\r\n\r\n');
    return head.startsWith('HTTP/1.1 200 OK\r\n') && head.includes('\r\nDate: ') && rest.join() === expected;
  };
  if (responses.length !== 2 || !responses.every(isRight)) {
    throw new WrongAnswerError(`${JSON.stringify(text)}, expected ${JSON.stringify(expected)} twice`);
  }
  return responses[0]!;
}

function server(scenario: Scenario): Case[] {
  const { name, title, body, pipeline, atLeast, skippedByQuick } = scenario;
  const env = {
    SLUICE_BENCH_CONNECTIONS: String(CONNECTIONS),
    SLUICE_BENCH_DEPTH: String(pipeline),
    SLUICE_BENCH_BODY: String(body.length),
  };
  return protocolCases({
    name: `http-${name}`,
    title: `${title} by wrk on ${CONNECTIONS} connections`,
    unit: 'kreq/s',
    skippedByQuick,
    plan({ engine, quick }) {
      const wrk = async (start: Start, port: number, seconds: number): Promise<Report> => {
        const args = ['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '--timeout', '20s', '-s', SCRIPT];
        const output = await start({ command: 'wrk', args, env }, `http://127.0.0.1:${port}/`).output();
        const line = output.split('\n').find((each) => each.startsWith('{'));
        if (line === undefined) throw new WrongAnswerError(`wrk printed ${JSON.stringify(output)}`);
        return JSON.parse(line) as Report;
      };
      const load = async (start: Start, port: number): Promise<Load> => {
        const { length } = await ask(port, scenario);
        const { requests, bytes, seconds, p99, errors } = await wrk(start, port, quick ? 1 : SECONDS);
        // All responses have the same length. Those that are on their way when wrk stops may be incomplete.
        const most = requests + CONNECTIONS * pipeline;
        if (errors > 0 || requests === 0 || bytes < requests * length || bytes > most * length) {
          throw new WrongAnswerError(`${requests} responses of ${length} bytes: ${bytes} bytes, ${errors} errors`);
        }
        return { requests, rate: requests / seconds / 1e3, p99 };
      };
      const entry = servers(
        async (port) => {
          await ask(port, scenario);
        },
        load,
        async (start, port) => quick || wrk(start, port, WARM_UP_SECONDS),
        'wrk',
      );
      return {
        ours: entry('sluice', { locate: sluice('protocols/http-server-sluice', engine) }),
        against: [{ ...entry('node:http', { locate: node('protocols/http-server-node') }), atLeast }],
        also: [],
      };
    },
  });
}

const GET = { method: 'GET', body: '', expected: 'hello, world\n', pipeline: 1 } as const;

export const http: readonly Case[] = [
  ...server({ ...GET, name: 'keep-alive', title: 'GET', atLeast: 1.8, skippedByQuick: false }),
  ...server({ ...GET, name: 'pipelined', title: 'GET, 16 at a time', pipeline: 16, atLeast: 4, skippedByQuick: true }),
  ...server({
    name: 'post',
    title: 'POST of 1 KiB',
    method: 'POST',
    body: 'x'.repeat(1024),
    expected: '1024 bytes\n',
    pipeline: 1,
    atLeast: 1.1,
    skippedByQuick: true,
  }),
];
