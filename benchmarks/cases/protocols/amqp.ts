/** The client of AMQP in examples/protocols/amqp. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BATCH, BODY, WINDOW } from '../../contenders/protocols/amqp-data.js';
import type { Case } from '../../case.js';
import { lasting } from '../../lasting.js';
import { clients, freePort, protocolCases, serves, type LastingService, type Service } from '../../protocols.js';
import { node, onPath, sluice } from '../../toolchain.js';

/** The one on PATH wants to be root. */
const SERVER = '/usr/lib/rabbitmq/bin/rabbitmq-server';

const rabbitmq: LastingService = {
  locate: async () => {
    if (!existsSync(SERVER)) return { missing: `no ${SERVER}` };
    return (await onPath('epmd')) ? { command: SERVER, args: [] } : { missing: 'no epmd on PATH' };
  },
  port: lasting(async (site) => {
    const [port, nodes, names] = [await freePort(), await freePort(), await freePort()];
    // The register of Erlang's nodes, which RabbitMQ would otherwise start in the background, and leave running.
    await site.start('epmd', ['-port', String(names), '-address', '127.0.0.1'], () => serves(names));
    const env = {
      PATH: process.env['PATH'],
      HOME: site.folder,
      LANG: 'C.UTF-8',
      ERL_EPMD_PORT: String(names),
      RABBITMQ_NODENAME: `bench-${port}@localhost`,
      RABBITMQ_DIST_PORT: String(nodes),
      RABBITMQ_MNESIA_BASE: join(site.folder, 'data'),
      RABBITMQ_LOG_BASE: join(site.folder, 'log'),
      RABBITMQ_LOGS: '-',
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_CONFIG_FILE: await site.file('rabbitmq.conf', `listeners.tcp.1 = 127.0.0.1:${port}\n`),
      RABBITMQ_ENABLED_PLUGINS_FILE: await site.file('plugins', '[].\n'),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '+sbwt none -kernel inet_dist_use_interface {127,0,0,1}',
      // Without this the server is the child of a shell, and would survive it.
      RUNNING_UNDER_SYSTEMD: 'true',
    };
    await site.start(SERVER, [], (output) => output.includes('Server startup complete'), { env, signal: 'SIGKILL' });
    return port;
  }),
};

const standIn: Service = { locate: node('protocols/amqp-broker') };

interface Task {
  readonly name: 'publish' | 'consume';
  readonly title: string;
  readonly atLeast: number;
}

/** With the stand-in the rate is judged; RabbitMQ limits it, so there it is the processor time. */
function client({ name, title, atLeast }: Task): Case[] {
  return [standIn, rabbitmq].flatMap((broker) =>
    protocolCases({
      name: `amqp-client-${name}${broker === rabbitmq ? '-rabbitmq' : ''}`,
      title: `clients of AMQP: ${title}, ${broker === rabbitmq ? 'RabbitMQ' : 'a stand-in for a broker that costs little'}`,
      unit: 'kmsg/s',
      skippedByQuick: broker === rabbitmq,
      plan(settings) {
        const times = settings.quick ? 5 : broker === rabbitmq ? 100 : 500;
        const entry = clients(broker, {
          words: [name, times],
          expected: { frames: times * BATCH, bytes: times * BATCH * BODY.length },
          rate: (seconds) => (times * BATCH) / seconds / 1e3,
        });
        return {
          ours: entry('sluice', sluice('protocols/amqp-client-sluice', settings.engine)),
          against: [
            {
              ...entry('amqplib', node('protocols/amqp-client-amqplib', { needs: 'amqplib' })),
              ...(broker === rabbitmq ? { cpuAtLeast: atLeast } : { atLeast }),
            },
          ],
          also: [],
        };
      },
    }),
  );
}

export const amqp: readonly Case[] = [
  ...client({
    name: 'publish',
    title: `publish ${BODY.length} bytes with confirms, ${WINDOW} in flight`,
    atLeast: 2,
  }),
  ...client({
    name: 'consume',
    title: `consume ${BODY.length} bytes, each acknowledged, a prefetch of ${WINDOW}`,
    atLeast: 2,
  }),
];
