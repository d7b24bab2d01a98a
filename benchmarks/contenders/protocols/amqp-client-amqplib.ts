/** amqplib, with callbacks for the confirms, which costs less than its promises. */
import { once } from 'node:events';
import { connect } from 'amqplib';
import { BATCH, BODY, WINDOW } from './amqp-data.js';
import { work } from './amqp-work.js';
import { port } from './client.js';

const connection = await connect(`amqp://guest:guest@127.0.0.1:${port}`, { noDelay: true });
const channel = await connection.createConfirmChannel();
let unconfirmed = 0;
let wake: (() => void) | null = null;
const onConfirm = (error: unknown): void => {
  if (error) throw error as Error;
  if (--unconfirmed <= WINDOW - BATCH) wake?.();
};
await work({
  declare: (queue) => channel.assertQueue(queue, { durable: false }),
  publish: async (queue) => {
    let hasRoom = true;
    unconfirmed += BATCH;
    for (let i = 0; i < BATCH; i++) hasRoom = channel.publish('', queue, BODY, undefined, onConfirm);
    if (!hasRoom) await once(channel, 'drain');
    if (unconfirmed > WINDOW - BATCH) await new Promise<void>((resolve) => (wake = resolve));
    wake = null;
  },
  confirmed: () => channel.waitForConfirms(),
  messages: async (queue) => (await channel.checkQueue(queue)).messageCount,
  consume: async (queue, onMessage) => {
    const consumer = await connection.createChannel();
    await consumer.prefetch(WINDOW);
    await consumer.consume(queue, (message) => {
      if (message === null) return; // the queue was deleted
      onMessage(message.content);
      consumer.ack(message);
    });
  },
  delete: (queue) => channel.deleteQueue(queue),
  close: () => connection.close(),
});
