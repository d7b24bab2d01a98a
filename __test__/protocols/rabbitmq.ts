/** Debian's RabbitMQ, in the foreground and on ports of its own. */
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ExecutionContext } from 'ava';
import { sparePort } from '../loopback.js';
import { installed, Process } from '../program.js';
import { dataFolder, peer, unprivileged } from './peers.js';

const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';

/** Starts a broker, which takes some seconds, and returns its port; null if it is not installed. It is killed after the test. */
export async function rabbitmq(t: ExecutionContext): Promise<number | null> {
  if (!installed(t, SERVER, 'epmd')) return null;
  const [port, nodes, names] = [await sparePort(t), await sparePort(t), await sparePort(t)];
  const folder = dataFolder(t);
  const file = (name: string, text: string): string => {
    writeFileSync(path.join(folder, name), text);
    return path.join(folder, name);
  };
  // The register of Erlang's nodes, which RabbitMQ would otherwise start in the background, and leave running.
  await peer(t, names, 'epmd', ['-port', String(names), '-address', '127.0.0.1'], unprivileged());
  const env = {
    PATH: process.env['PATH'],
    HOME: folder,
    LANG: 'C.UTF-8',
    ERL_EPMD_PORT: String(names),
    RABBITMQ_NODENAME: `sluice-${port}@localhost`,
    RABBITMQ_DIST_PORT: String(nodes),
    RABBITMQ_MNESIA_BASE: path.join(folder, 'data'),
    RABBITMQ_LOG_BASE: path.join(folder, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_CONF_ENV_FILE: '/dev/null',
    // By default a client that has not shaken hands within ten seconds is disconnected, which may be soon on a busy machine.
    RABBITMQ_CONFIG_FILE: file('rabbitmq.conf', `listeners.tcp.1 = 127.0.0.1:${port}\nhandshake_timeout = 170000\n`),
    RABBITMQ_ENABLED_PLUGINS_FILE: file('plugins', '[].\n'),
    // Two processors are enough, and it must not become the child of a shell, which would survive it.
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+S 2:2 +sbwt none -kernel inet_dist_use_interface {127,0,0,1}',
    RUNNING_UNDER_SYSTEMD: 'true',
  };
  const server = new Process(t, SERVER, [], { env, cwd: folder, ...unprivileged() });
  await server.prints(/Server startup complete/);
  return port;
}
