/** sluice: the client of examples/protocols/amqp. */
import { Connection } from '../../../examples/protocols/amqp/client.js';
import { BATCH, BODY, WINDOW } from './amqp-data.js';
import { work } from './amqp-work.js';
import { port } from './client.js';

const connection = await Connection.open({ host: '127.0.0.1', port });
const channel = await connection.channel();
await channel.confirm();
await work({
  declare: (queue) => channel.call('queue.declare', { queue }),
  publish: async (queue) => {
    let last = 0;
    for (let i = 0; i < BATCH; i++) last = channel.publish('', queue, BODY);
    await channel.drain();
    await channel.confirmed(Math.max(last - (WINDOW - BATCH), 0));
  },
  confirmed: () => channel.confirmed(),
  messages: async (queue) => (await channel.call('queue.declare', { queue, passive: true })).messageCount,
  consume: async (queue, onMessage) => {
    const consumer = await connection.channel();
    await consumer.prefetch(WINDOW);
    await consumer.consume(queue, (message) => {
      onMessage(message.body);
      message.ack();
    });
  },
  delete: (queue) => channel.call('queue.delete', { queue }),
  close: () => connection.close(),
});
