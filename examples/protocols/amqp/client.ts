/**
 * A client of an AMQP 0-9-1 broker such as RabbitMQ: publishes with confirms, and consumes with prefetch.
 *
 *     node out/examples/protocols/amqp/client.js publish QUEUE [HOST [PORT]]     each line of standard input is a message
 *     node out/examples/protocols/amqp/client.js consume QUEUE [HOST [PORT]]     prints each message, until Ctrl-C
 *
 * The user is `guest`, or `AMQP_USER` with the password `AMQP_PASSWORD`. To use it in a program, import `Connection`:
 *
 *     await using connection = await Connection.open({ host: '127.0.0.1' });
 *     const channel = await connection.channel();
 *     await channel.confirm();
 *     channel.publish('', 'work', 'a message', { deliveryMode: 2 });
 *     await channel.confirmed();
 *
 * Left out: connecting again, methods with `noWait`, and every way to log in except a password.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { connectReadPipe } from 'sluice';
import { Connection } from './connection.js';
import type { Message } from './message.js';
import type { AmqpOptions } from './options.js';

export { Connection } from './connection.js';
export type { AmqpOptions } from './options.js';
export type { Channel } from './channel.js';
export type { ConsumeOptions, Message } from './message.js';
export type { Properties } from './methods.js';
export { AmqpError, ClosedError, ProtocolError, RefusedError } from './errors.js';

/** How many messages may be on their way at once. */
const WINDOW = 1000;

async function publish(connection: Connection, queue: string): Promise<void> {
  const channel = await connection.channel();
  await channel.call('queue.declare', { queue, durable: true });
  await channel.confirm();
  let last = 0;
  for await (const lines of (await connectReadPipe(process.stdin)).lines().batches()) {
    for (const line of lines) last = channel.publish('', queue, line, { deliveryMode: 2 });
    await channel.drain();
    if (last > WINDOW) await channel.confirmed(last - WINDOW);
  }
  await channel.confirmed(last);
  console.log(`${last} messages published`);
}

async function consume(connection: Connection, queue: string): Promise<void> {
  const channel = await connection.channel();
  const stop = Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), channel.closed]);
  // What fails first is reported below.
  stop.catch(() => {});
  await channel.call('queue.declare', { queue, durable: true });
  await channel.prefetch(WINDOW);
  const onMessage = (message: Message): void => {
    console.log(message.body.toString());
    message.ack();
  };
  const onCancel = (): void => {
    throw new Error(`The broker has ended the consumer of ${queue}`);
  };
  await channel.consume(queue, onMessage, { onCancel });
  await stop;
}

async function main([action, queue, host = '127.0.0.1', port = '5672']: readonly string[]): Promise<void> {
  const perform = action === 'publish' ? publish : action === 'consume' ? consume : undefined;
  if (perform === undefined || queue === undefined)
    throw new Error('Usage: client.js publish|consume QUEUE [HOST [PORT]]');
  const { AMQP_USER: user = 'guest', AMQP_PASSWORD: password = 'guest' } = process.env;
  const options: AmqpOptions = { host, port: Number(port), user, password };
  await using connection = await Connection.open(options);
  await perform(connection, queue);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
