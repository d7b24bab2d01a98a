/** A Postgres server of Debian's, for the test file that imports this. It starts when the first test needs it. */
import { execFileSync } from 'node:child_process';
import { chownSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { Client } from '../../examples/protocols/postgres/client.js';
import type { Options } from '../../examples/protocols/postgres/connection.js';
import { initdbArguments, POSTGRES, postgresProgram, unprivileged } from '../../benchmarks/debian.js';
import { certificates } from '../certificates.js';
import { sparePort } from '../loopback.js';
import { installed, type Process } from '../program.js';
import { dataFolder, peer } from './peers.js';

export interface Database {
  readonly port: number;
  /** The folder of its Unix socket. */
  readonly folder: string;
  /** Connects as the superuser, without a password. */
  readonly options: Options;
}

/** Who may log in, and how. */
const ACCESS = `
  local   all all                    trust
  host    all postgres 127.0.0.1/32  trust
  host    all md5      127.0.0.1/32  md5
  host    all scram    127.0.0.1/32  scram-sha-256
  host    all clear    127.0.0.1/32  password
`;
/** The password of every user except `postgres`. */
export const PASSWORD = 'secret €';

let started: Promise<Database> | undefined;
let server: Process | undefined;
const cleaning: (() => unknown)[] = [];

/** The server, which all tests of the file share; null if none is installed. */
export async function database(t: ExecutionContext): Promise<Database | null> {
  const command = postgresProgram('postgres') ?? `${POSTGRES}/*/bin/postgres`;
  return installed(t, command) ? (started ??= start(command)) : null;
}

test.after.always(async () => {
  await started?.catch(() => {});
  server?.kill('SIGQUIT'); // unlike SIGKILL, it lets the server remove its shared memory
  await server?.ended;
  for (const clean of cleaning.reverse()) await clean();
});

async function start(command: string): Promise<Database> {
  // The server outlives the test that starts it.
  const t = { teardown: (clean: () => unknown) => cleaning.push(clean), log: () => {} } as unknown as ExecutionContext;
  const folder = dataFolder(t);
  const data = path.join(folder, 'data');
  const user = unprivileged();
  execFileSync(postgresProgram('initdb')!, initdbArguments(data), {
    ...user,
    cwd: folder,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const privately = (name: string, text: string): string => {
    const file = path.join(folder, name);
    writeFileSync(file, text, { mode: 0o600 });
    if (user.uid !== undefined && user.gid !== undefined) chownSync(file, user.uid, user.gid);
    return file;
  };
  const { server: identity } = await certificates();
  const port = await sparePort(t);
  const settings = {
    ...{ listen_addresses: '127.0.0.1', unix_socket_directories: folder, hba_file: privately('hba', ACCESS) },
    ...{ ssl: 'on', ssl_cert_file: privately('cert', identity.cert), ssl_key_file: privately('key', identity.key) },
    ...{ fsync: 'off', autovacuum: 'off', shared_buffers: '16MB', max_connections: '30' },
  };
  const args = ['-D', data, '-p', String(port), ...Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`])];
  const options: Options = { port, user: 'postgres' };
  server = await peer(t, port, command, args, {
    ...{ ...user, cwd: folder },
    ready: async () => (await Client.connect(options)).close(),
  });
  await using client = await Client.connect(options);
  const roles = ['md5', 'scram', 'clear'].map((role) => `CREATE ROLE ${role} LOGIN PASSWORD '${PASSWORD}'`);
  await client.simple(
    `SET password_encryption = 'md5'; ${roles[0]}; RESET password_encryption; ${roles[1]}; ${roles[2]}`,
  );
  return { port, folder, options };
}
