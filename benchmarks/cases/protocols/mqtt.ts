/** The client of MQTT in examples/protocols/mqtt. */
import { BURST, PAYLOAD, PUBLISHERS } from '../../contenders/protocols/mqtt-data.js';
import type { Case, Settings } from '../../case.js';
import { clients, protocolCases, type Service } from '../../protocols.js';
import { node, program, sluice } from '../../toolchain.js';
import { ProgramError } from '../../programs.js';

function mosquitto({ blocks }: Settings): Service {
  return {
    locate: program('mosquitto'),
    args: async (port) => {
      // By default it drops messages if a client has more than 1,000 of them to receive.
      const settings = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', 'max_queued_messages 0', ''];
      return ['-c', await blocks.file(Buffer.from(settings.join('\n')))];
    },
  };
}

function fanIn(broker: 'sluice' | 'mosquitto'): Case[] {
  const isOurs = broker === 'sluice';
  return protocolCases({
    name: `mqtt-client-fan-in${isOurs ? '' : '-mosquitto'}`,
    title: `subscribers of MQTT: QoS 0, ${PAYLOAD.length} bytes from ${PUBLISHERS} publishers, through ${isOurs ? 'the broker of the example' : 'mosquitto'}`,
    unit: 'kmsg/s',
    plan(settings) {
      const times = settings.quick ? 1 : isOurs ? 200 : 100;
      const messages = times * PUBLISHERS * BURST;
      const service = isOurs
        ? { locate: sluice('protocols/mqtt-broker-sluice', settings.engine) }
        : mosquitto(settings);
      const entry = clients(service, {
        words: ['fan-in', times],
        expected: { frames: messages, bytes: messages * PAYLOAD.length },
        rate: (seconds) => messages / seconds / 1e3,
        beside: async (start, port) => {
          const publishers = await node('protocols/mqtt-publishers')();
          if ('missing' in publishers) throw new ProgramError(publishers.missing);
          await start(publishers, port).firstLine();
        },
      });
      return {
        ours: entry('sluice', sluice('protocols/mqtt-client-sluice', settings.engine)),
        against: [
          {
            ...entry('MQTT.js', node('protocols/mqtt-client-mqttjs', { needs: 'mqtt' })),
            // mosquitto limits the rate.
            ...(isOurs ? { atLeast: 2 } : { cpuAtLeast: 2 }),
          },
        ],
        also: [],
      };
    },
  });
}

export const mqtt: readonly Case[] = [...fanIn('sluice'), ...fanIn('mosquitto')];
