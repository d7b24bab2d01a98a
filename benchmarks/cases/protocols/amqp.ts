/** The client of AMQP in examples/protocols/amqp. */
import { existsSync } from 'node:fs';
import { BATCH, BODY, WINDOW } from '../../contenders/protocols/amqp-data.js';
import type { Case } from '../../case.js';
import { rabbitmqEnvironment, RABBITMQ, registerArguments } from '../../debian.js';
import { lasting } from '../../lasting.js';
import { clients, freePort, protocolCases, serves, type LastingService, type Service } from '../../protocols.js';
import { isProgram } from '../../programs.js';
import { node, sluice } from '../../toolchain.js';

const rabbitmq: LastingService = {
  locate: () => {
    if (!existsSync(RABBITMQ)) return Promise.resolve({ missing: `no ${RABBITMQ}` });
    return Promise.resolve(isProgram('epmd') ? { command: RABBITMQ, args: [] } : { missing: 'no epmd on PATH' });
  },
  port: lasting(async (site) => {
    const { folder, file } = site;
    const ports = { port: await freePort(), nodes: await freePort(), names: await freePort() };
    await site.start('epmd', registerArguments(ports), () => serves(ports.names));
    const env = rabbitmqEnvironment({ folder, file, ...ports });
    await site.start(RABBITMQ, [], (output) => output.includes('Server startup complete'), { env, signal: 'SIGKILL' });
    return ports.port;
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
