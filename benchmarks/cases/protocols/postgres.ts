/** The client of Postgres in examples/protocols/postgres. */
import { join } from 'node:path';
import { COLUMNS, COPY_ROWS, QUERY_ROWS, SETUP, lines } from '../../contenders/protocols/postgres-data.js';
import type { Case } from '../../case.js';
import { initdbArguments, POSTGRES, postgresProgram } from '../../debian.js';
import { lasting } from '../../lasting.js';
import { clients, freePort, protocolCases, type LastingService, type Rival, type Service } from '../../protocols.js';
import { node, sluice, type Locate } from '../../toolchain.js';

const server = (): string | null => postgresProgram('postgres');

const ifInstalled =
  (locate: Locate): Locate =>
  () =>
    server() === null ? Promise.resolve({ missing: `no postgres in ${POSTGRES}` }) : locate();

const postgres: LastingService = {
  locate: ifInstalled(() => Promise.resolve({ command: server()!, args: [] })),
  port: lasting(async (site) => {
    const command = server()!;
    const data = join(site.folder, 'data');
    site.run(postgresProgram('initdb')!, initdbArguments(data));
    site.run(command, ['--single', '-D', data, '-c', 'fsync=off', 'postgres'], { input: SETUP });
    const port = await freePort();
    const settings = {
      ...{ listen_addresses: '127.0.0.1', unix_socket_directories: site.folder, max_connections: '300' },
      ...{ fsync: 'off', autovacuum: 'off', shared_buffers: '64MB' },
      // Every scan of a table starts at its first row.
      synchronize_seqscans: 'off',
    };
    const words = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const ready = (output: string): boolean => output.includes('ready to accept connections');
    // Unlike SIGKILL, SIGQUIT lets it remove its shared memory.
    await site.start(command, ['-D', data, '-p', String(port), ...words], ready, { signal: 'SIGQUIT' });
    return port;
  }),
};

/** Answers with what Postgres has answered before. */
const replayed: Service = {
  locate: ifInstalled(node('protocols/postgres-relay')),
  args: async (port) => [port, await postgres.port()],
};

interface Task {
  readonly name: 'rows' | 'copy';
  readonly title: string;
  readonly count: number;
  readonly rows: number;
  readonly bytes: () => number;
  readonly atLeast: number;
}

function client({ name, title, count, rows, bytes, atLeast }: Task): Case[] {
  return [true, false].flatMap((isReplayed) =>
    protocolCases({
      name: `postgres-client-${name}${isReplayed ? '-replayed' : ''}`,
      title: `clients of Postgres: ${title}, ${isReplayed ? 'replayed by a stand-in that costs next to nothing' : 'by the server itself'}`,
      unit: 'krows/s',
      skippedByQuick: !isReplayed,
      plan(settings) {
        const times = settings.quick ? 2 : count;
        const entry = clients(isReplayed ? replayed : postgres, {
          words: [name, times],
          expected: { frames: times * rows, bytes: times * bytes() },
          rate: (seconds) => (times * rows) / seconds / 1e3,
        });
        const rival = (package_: string): Rival => ({
          ...entry(package_, node(`protocols/postgres-client-${package_}`, { needs: package_ })),
          // The server limits the rate of a fast client, so there it is the processor time that is judged.
          ...(isReplayed ? { atLeast } : { cpuAtLeast: atLeast }),
        });
        return {
          ours: entry('sluice', sluice('protocols/postgres-client-sluice', settings.engine)),
          against: [rival('pg'), rival('postgres')],
          also: [],
        };
      },
    }),
  );
}

export const postgresql: readonly Case[] = [
  ...client({
    name: 'rows',
    title: `a query with ${QUERY_ROWS} rows of ${COLUMNS} columns`,
    count: 100,
    rows: QUERY_ROWS,
    bytes: () => QUERY_ROWS * COLUMNS,
    atLeast: 1.5,
  }),
  ...client({
    name: 'copy',
    title: `COPY of ${COPY_ROWS} rows TO STDOUT`,
    count: 30,
    rows: COPY_ROWS,
    bytes: () => lines(COPY_ROWS).length,
    atLeast: 1.3,
  }),
];
