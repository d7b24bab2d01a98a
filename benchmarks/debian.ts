/** Servers of other projects as Debian installs them, and what it takes to start them. The tests start them in the same way. */
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Options to run a program as the user `nobody`, for servers that refuse to run as root; none if this process is not root. */
export function unprivileged(): { readonly uid?: number; readonly gid?: number } {
  if (process.getuid?.() !== 0) return {};
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** The server of RabbitMQ. The one on PATH wants to be root. */
export const RABBITMQ = '/usr/lib/rabbitmq/bin/rabbitmq-server';

/** Where an instance of RabbitMQ keeps its files, and its ports. */
export interface RabbitSite {
  readonly folder: string;
  /** Writes a file into the folder, and returns its path. */
  readonly file: (name: string, text: string) => string;
  readonly port: number;
  /** For other instances. */
  readonly nodes: number;
  /** Of `epmd`, the register of instances, which RabbitMQ would otherwise start in the background, and leave running. */
  readonly names: number;
  /** How many processors it uses; by default all. */
  readonly processors?: number;
}

/** The arguments of `epmd`. */
export function registerArguments({ names }: Pick<RabbitSite, 'names'>): string[] {
  return ['-port', String(names), '-address', '127.0.0.1'];
}

/** The environment of RabbitMQ, whose configuration this writes. It prints `Server startup complete`. */
export function rabbitmqEnvironment({ folder, file, port, nodes, names, processors }: RabbitSite): NodeJS.ProcessEnv {
  // By default a client that has not shaken hands within ten seconds is disconnected, which may be soon on a busy machine.
  const settings = `listeners.tcp.1 = 127.0.0.1:${port}\nhandshake_timeout = 170000\n`;
  const schedulers = processors === undefined ? '' : `+S ${processors}:${processors} `;
  return {
    PATH: process.env['PATH'],
    HOME: folder,
    LANG: 'C.UTF-8',
    ERL_EPMD_PORT: String(names),
    RABBITMQ_NODENAME: `sluice-${port}@localhost`,
    RABBITMQ_DIST_PORT: String(nodes),
    RABBITMQ_MNESIA_BASE: join(folder, 'data'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    RABBITMQ_CONFIG_FILE: file('rabbitmq.conf', settings),
    RABBITMQ_ENABLED_PLUGINS_FILE: file('plugins', '[].\n'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `${schedulers}+sbwt none -kernel inet_dist_use_interface {127,0,0,1}`,
    // Without this the server is the child of a shell, and would survive it.
    RUNNING_UNDER_SYSTEMD: 'true',
  };
}

/** Debian has a folder for each version of Postgres. */
export const POSTGRES = '/usr/lib/postgresql';

/** The path of a program of the newest version of Postgres; null if none is installed. */
export function postgresProgram(name: 'initdb' | 'postgres'): string | null {
  const versions = existsSync(POSTGRES) ? readdirSync(POSTGRES).sort((a, b) => Number(b) - Number(a)) : [];
  const paths = versions.map((version) => join(POSTGRES, version, 'bin', name));
  return paths.find((path) => existsSync(path)) ?? null;
}

/** The arguments of `initdb` for a small database in a folder. */
export function initdbArguments(data: string): string[] {
  return ['-D', data, '-U', 'postgres', '-A', 'trust', '-N', '--no-locale', '-E', 'UTF8', '--wal-segsize=1'];
}
