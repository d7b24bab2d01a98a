/** The AMQP example with RabbitMQ, and with amqplib as the other end. All tests share one broker, because it starts slowly. */
// Runs once: the peers send the same bytes to either engine.
import { setTimeout as sleep } from 'node:timers/promises';
import { connect as connectAmqplib, type ConfirmChannel } from 'amqplib';
import test, { type ExecutionContext } from 'ava';
import { type AmqpError, Connection, RefusedError } from '../../examples/protocols/amqp/client.js';
import type { AmqpOptions, Channel, Message } from '../../examples/protocols/amqp/client.js';
import { deferred, until } from '../loopback.js';
import { example, Process } from '../program.js';
import { rabbitmq } from './rabbitmq.js';

const broker = deferred<number | null>();
const users: Promise<void>[] = [];

/** A test that the broker is started for. `queue` is a queue of its own. */
function against(title: string, body: (t: ExecutionContext, port: number, queue: string) => Promise<void>): void {
  const done = deferred();
  users.push(done.promise);
  const queue = `test-${users.length}`;
  test(title, async (t) => {
    try {
      const port = await broker.promise;
      if (port === null) t.log('without RabbitMQ, nothing is tested');
      else await body(t, port, queue);
      t.pass();
    } finally {
      done.resolve();
    }
  });
}

test('RabbitMQ starts, and ends when all others are done', async (t) => {
  const port = await rabbitmq(t).catch((error: unknown) => {
    broker.resolve(null);
    throw error;
  });
  broker.resolve(port);
  await Promise.all(users);
  t.pass();
});

async function opened(t: ExecutionContext, port: number, options: AmqpOptions = {}): Promise<Connection> {
  const connection = await Connection.open({ host: '127.0.0.1', port, ...options });
  t.teardown(() => connection.close().catch(() => {}));
  return connection;
}

async function channelOn(t: ExecutionContext, port: number, queue: string): Promise<Channel> {
  const channel = await (await opened(t, port)).channel();
  await channel.call('queue.declare', { queue, arguments: {} });
  return channel;
}

async function amqplibOn(t: ExecutionContext, port: number): Promise<ConfirmChannel> {
  const connection = await connectAmqplib(`amqp://guest:guest@127.0.0.1:${port}`);
  t.teardown(() => connection.close());
  return connection.createConfirmChannel();
}

async function failure<T extends Error>(promise: Promise<unknown>): Promise<T> {
  try {
    await promise;
  } catch (error) {
    return error as T;
  }
  throw new Error('no failure');
}

/** Bodies at the edges of a frame, of what is copied, and of a few frames. */
const SIZES = [0, 1, 100, 3990, 4096, 5000, 131_064, 131_065, 500_000];
const bodyOf = (size: number): Buffer => Buffer.from(Array.from({ length: size }, (_, i) => (i * 7 + size) & 255));
const PROPERTIES = {
  contentType: 'text/plain',
  deliveryMode: 2,
  priority: 3,
  correlationId: 'c',
  replyTo: 'r',
  expiration: '60000',
  messageId: 'm',
  timestamp: 1_700_000_000,
  type: 't',
  userId: 'guest',
  appId: 'a',
};
const HEADERS = {
  text: 'ö',
  number: -5,
  large: 2 ** 40,
  part: 1.5,
  yes: true,
  list: [1, 'two', null],
  table: { a: 'b' },
};
const plain = (headers: unknown): unknown => JSON.parse(JSON.stringify(headers));

against(
  'what is published with confirms, amqplib receives: bodies of all sizes, and properties',
  async (t, port, queue) => {
    const channel = await channelOn(t, port, queue);
    await channel.confirm();
    for (const size of SIZES) channel.publish('', queue, bodyOf(size), { ...PROPERTIES, headers: HEADERS });
    await channel.confirmed();
    const peer = await amqplibOn(t, port);
    for (const size of SIZES) {
      const message = await peer.get(queue, { noAck: true });
      if (message === false) return t.fail(`${size} bytes are missing`);
      t.true(message.content.equals(bodyOf(size)), `${size} bytes`);
      const { headers, ...properties } = message.properties;
      t.deepEqual(plain(headers), HEADERS);
      t.deepEqual(plain(properties), PROPERTIES);
    }
  },
);

against('what amqplib publishes is consumed in order: bodies of all sizes, and properties', async (t, port, queue) => {
  const channel = await channelOn(t, port, queue);
  const messages: Message[] = [];
  await channel.prefetch(2);
  await channel.consume(queue, (message) => {
    messages.push(message);
    message.ack();
  });
  const peer = await amqplibOn(t, port);
  const { deliveryMode, ...options } = PROPERTIES;
  for (const size of SIZES) {
    peer.sendToQueue(queue, bodyOf(size), { ...options, persistent: deliveryMode === 2, headers: HEADERS });
  }
  await peer.waitForConfirms();
  await until(() => messages.length === SIZES.length);
  messages.forEach(({ body, properties: { headers, ...properties }, origin }, i) => {
    t.true(body.equals(bodyOf(SIZES[i]!)), `${SIZES[i]} bytes`);
    t.deepEqual(plain(headers), HEADERS);
    t.deepEqual(plain(properties), PROPERTIES);
    t.deepEqual({ ...origin }, { deliveryTag: i + 1, redelivered: false, exchange: '', routingKey: queue });
  });
});

against('thousands of small messages are all confirmed, and all consumed in order', async (t, port, queue) => {
  const channel = await channelOn(t, port, queue);
  await channel.confirm();
  for (let i = 0; i < 3000; i++) channel.publish('', queue, String(i));
  await channel.drain();
  await channel.confirmed();
  const { messageCount } = await channel.call('queue.declare', { queue, passive: true });
  t.is(messageCount, 3000);
  const received: string[] = [];
  await channel.prefetch(100);
  await channel.consume(queue, (message) => {
    received.push(message.body.toString());
    message.ack();
  });
  await until(() => received.length === 3000);
  t.deepEqual(
    received,
    Array.from({ length: 3000 }, (_, i) => String(i)),
  );
});

against('no more messages come than the prefetch count, until one is acknowledged', async (t, port, queue) => {
  const channel = await channelOn(t, port, queue);
  await channel.confirm();
  for (let i = 0; i < 10; i++) channel.publish('', queue, String(i));
  await channel.confirmed();
  const messages: Message[] = [];
  await channel.prefetch(3);
  await channel.consume(queue, (message) => void messages.push(message));
  /** What is left in the queue, as soon as that many have come. */
  const left = async (count: number): Promise<number> => {
    await until(() => messages.length >= count);
    return (await channel.call('queue.declare', { queue, passive: true })).messageCount;
  };
  t.is(await left(3), 7);
  messages[1]!.ack();
  t.is(await left(4), 6, 'out of order');
  messages[0]!.ack();
  messages[2]!.ack();
  t.is(await left(6), 4, 'in order, in one frame');
  messages[3]!.nack();
  t.is(await left(7), 4, 'requeued, and delivered again');
  t.true(messages[6]!.origin.redelivered);
  t.is(messages[6]!.body.toString(), '3');
  messages[4]!.nack({ requeue: false });
  t.is(await left(8), 3, 'dropped');
  t.throws(() => messages[4]!.ack(), { instanceOf: RangeError });
  t.is(messages.length, 8);
});

against('what is acknowledged before close is not delivered again; the rest is', async (t, port, queue) => {
  const channel = await channelOn(t, port, queue);
  for (let i = 0; i < 4; i++) channel.publish('', queue, String(i));
  for (let i = 0; i < 3; i++) {
    const connection = await opened(t, port);
    const consuming = await connection.channel();
    await consuming.prefetch(1);
    const done = deferred();
    await consuming.consume(queue, (message) => {
      if (message.body.toString() !== String(i)) return t.fail(message.body.toString());
      message.ack();
      // The acknowledgement has not been sent yet.
      const closing = i === 1 ? consuming.close().then(() => connection.close()) : connection.close();
      closing.then(done.resolve, done.reject);
    });
    await done.promise;
    await connection.closed;
  }
  const message = await channel.get(queue);
  t.is(message?.body.toString(), '3');
  message!.ack();
  t.is(await channel.get(queue), null);
});

against(
  'a message that no queue receives comes back; one that a full queue refuses is reported',
  async (t, port, queue) => {
    const channel = await (await opened(t, port)).channel();
    await channel.confirm();
    const returned: unknown[] = [];
    channel.onReturn = ({ body }, code, text) => void returned.push([body.toString(), code, text]);
    channel.publish('', `${queue}-missing`, 'lost', { mandatory: true });
    await channel.confirmed();
    t.deepEqual(returned, [['lost', 312, 'NO_ROUTE']]);

    const full = { 'x-max-length': 1, 'x-overflow': 'reject-publish' };
    await channel.call('queue.declare', { queue, arguments: full });
    for (let i = 0; i < 3; i++) channel.publish('', queue, 'x');
    const error = await failure<RefusedError>(channel.confirmed());
    t.true(error instanceof RefusedError);
    t.deepEqual(error.tags, [3, 4]);
    await channel.confirmed();
  },
);

against(
  'an error of a channel closes that channel; the others, and its number, can be used',
  async (t, port, queue) => {
    const connection = await opened(t, port);
    const [first, second] = [await connection.channel(), await connection.channel()];
    const missing = await failure<AmqpError>(first.call('queue.declare', { queue, passive: true }));
    t.like(missing, { name: 'AmqpError', scope: 'channel', code: 404 });
    t.is(first.error, missing);
    t.is(await failure(first.call('queue.declare', { queue })), missing);

    await second.confirm();
    second.publish(`${queue}-missing`, '', 'to an exchange that does not exist');
    t.like(await failure<AmqpError>(second.confirmed()), { scope: 'channel', code: 404 });

    const third = await connection.channel();
    t.is(third.number, 1);
    t.is((await third.call('queue.declare', { queue, exclusive: true })).messageCount, 0);
    await third.close();
    t.is((await connection.channel()).number, 1);
    await connection.close();
  },
);

against(
  'an error of the connection ends it: a wrong password, a missing host, a command that is not valid',
  async (t, port) => {
    const open = (options: AmqpOptions): Promise<AmqpError> =>
      failure(Connection.open({ host: '127.0.0.1', port, ...options }));
    t.like(await open({ password: 'guess' }), { name: 'AmqpError', scope: 'connection', code: 403 });
    t.like(await open({ virtualHost: 'missing' }), { scope: 'connection', code: 530 });

    const connection = await opened(t, port);
    const [channel, other] = [await connection.channel(), await connection.channel()];
    const call = channel.call('exchange.declare', { exchange: 'x', type: 'nonsense' });
    const error = await failure<AmqpError>(call);
    t.like(error, { scope: 'connection', code: 503 });
    t.is(await failure(connection.closed), error);
    t.is(other.error, error);
    t.is(await failure(connection.channel()), error);
  },
);

against('a consumer ends by cancel, or when its queue is deleted', async (t, port, queue) => {
  const channel = await channelOn(t, port, queue);
  const events: string[] = [];
  const onMessage = (message: Message): void => void events.push(message.body.toString());
  const tag = await channel.consume(queue, onMessage, { noAck: true });
  channel.publish('', queue, 'first');
  await until(() => events.length === 1);
  await channel.cancel(tag);
  channel.publish('', queue, 'second');
  await channel.consume(queue, onMessage, { noAck: true, onCancel: () => void events.push('cancelled') });
  await until(() => events.length === 2);
  await channel.call('queue.delete', { queue });
  await until(() => events.length === 3);
  t.deepEqual(events, ['first', 'second', 'cancelled']);
});

against('heartbeats keep a connection on which nothing else is sent', async (t, port) => {
  // RabbitMQ gives up a client after two or three intervals of silence. On a busy machine, a process may be stopped for one.
  const connection = await opened(t, port, { heartbeat: 3 });
  await sleep(10_000);
  await (await connection.channel()).close();
  await connection.close();
  await connection.closed;
  t.pass();
});

against('as a program: lines are published, and printed by another one that SIGTERM ends', async (t, port, queue) => {
  const file = example('protocols/amqp/client');
  const run = (action: string, input = false): Process =>
    new Process(t, process.execPath, [file, action, queue, '127.0.0.1', String(port)], { input });
  const publisher = run('publish', true);
  publisher.type('one\ntwo\n');
  publisher.hangUp();
  const published = await publisher.ended;
  t.deepEqual(published, { code: 0, signal: null, stdout: '2 messages published\n', stderr: '' });
  const consumer = run('consume');
  await consumer.prints(/^one\ntwo\n/);
  consumer.kill('SIGTERM');
  t.is((await consumer.ended).code, 0);
});
