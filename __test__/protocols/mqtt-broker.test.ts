/** What the MQTT broker promises beyond what other clients show: order, sessions, wills, limits, and clients that misbehave. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { connect, type Stream, type StreamServerOptions } from 'sluice';
import { MqttClient } from '../../examples/protocols/mqtt/client.js';
import {
  MQTT,
  MqttError,
  NO_PROPERTIES,
  Reason,
  decode,
  encode,
  type Ack,
  type Connect,
  type Filter,
  type Packet,
  type Properties,
  type Publish,
  type Qos,
  type SubscriptionAck,
  type Version,
} from '../../examples/protocols/mqtt/mqtt.js';
import { Broker } from '../../examples/protocols/mqtt/server.js';
import { certificates } from '../certificates.js';
import { serving, turns, until } from '../loopback.js';

/** A client that sends and receives one packet at a time, whatever the specification says. */
class Raw {
  readonly stream: Stream;
  readonly version: Version;

  constructor(stream: Stream, version: Version) {
    this.stream = stream;
    this.version = version;
  }

  send(packet: Packet): void {
    void this.stream.write(encode(packet, this.version));
  }

  /** The next packet; null at EOF. */
  async next(): Promise<Packet | null> {
    const bytes = await this.stream.readframe({ ...MQTT, limit: 1 << 20 });
    return bytes === null ? null : decode(bytes, 0, bytes.length, this.version);
  }

  async nextPublish(t: ExecutionContext): Promise<Publish> {
    const packet = await this.next();
    t.is(packet?.type, 'publish');
    return packet as Publish;
  }

  /** A ping and its answer: everything sent before was handled, and the answers to it come first. */
  async roundTrip(t: ExecutionContext): Promise<void> {
    this.send({ type: 'pingreq' });
    t.deepEqual(await this.next(), { type: 'pingresp' });
  }

  publish(topic: string, payload: string, qos: Qos = 0, id = 0, more: Partial<Publish> = {}): void {
    const message = {
      topic,
      payload: Buffer.from(payload),
      qos,
      id,
      retain: false,
      dup: false,
      properties: NO_PROPERTIES,
    };
    this.send({ type: 'publish', ...message, ...more });
  }

  async subscribe(t: ExecutionContext, filter: string, options: Partial<Filter> = {}, id = 0): Promise<number> {
    const one = { filter, qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0, ...options } as const;
    const properties = id === 0 ? NO_PROPERTIES : { subscriptionIds: [id] };
    this.send({ type: 'subscribe', id: 9, filters: [one], properties });
    const answer = await this.next();
    t.is(answer?.type, 'suback');
    return (answer as SubscriptionAck).reasons[0]!;
  }
}

const HELLO = {
  ...{ type: 'connect', version: 5, clientId: '', cleanStart: true, keepAlive: 0, username: null, password: null },
  ...{ will: null, properties: NO_PROPERTIES },
} as const satisfies Connect;

async function dialed(t: ExecutionContext, port: number, version: Version = 5): Promise<Raw> {
  const stream = await connect('127.0.0.1', port);
  t.teardown(() => stream.abort());
  return new Raw(stream, version);
}

/** A raw client that is connected. */
async function raw(
  t: ExecutionContext,
  port: number,
  hello: Partial<Connect> = {},
): Promise<Raw & { present: boolean }> {
  const client = await dialed(t, port, hello.version ?? 5);
  client.send({ ...HELLO, ...hello });
  const answer = await client.next();
  t.like(answer, { type: 'connack', reason: 0 });
  return Object.assign(client, { present: (answer as { sessionPresent: boolean }).sessionPresent });
}

async function start(
  t: ExecutionContext,
  options: StreamServerOptions = {},
): Promise<{ port: number; errors: unknown[] }> {
  return serving(t, new Broker({ maximumPacket: 1 << 20 }).serve, options);
}

const texts = (packets: readonly Publish[]): string[] => packets.map(({ payload }) => String(payload));

// ------------------------------------------------------------------------------------------------ sessions

test('no more messages are sent again than the next connection may have unacknowledged, and none that is too long', async (t) => {
  const { port } = await start(t);
  const session = (receiveMaximum: number, more: Properties = {}): Partial<Connect> => ({
    ...{ clientId: 's', cleanStart: false, properties: { sessionExpiry: 60, receiveMaximum, ...more } },
  });
  const first = await raw(t, port, session(10));
  await first.subscribe(t, 'a');
  const publisher = await raw(t, port);
  const payloads = ['1', '2', 'x'.repeat(200), '4', '5'];
  payloads.forEach((payload, i) => publisher.publish('a', payload, 1, i + 1));
  for (const _ of payloads) await publisher.next();
  const ids: number[] = [];
  for (const _ of payloads) ids.push((await first.nextPublish(t)).id);
  await first.stream.abort();

  for (const acknowledges of [false, true]) {
    const next = await raw(t, port, session(2, { maximumPacketSize: 100 }));
    t.true(next.present);
    const received = [await next.nextPublish(t), await next.nextPublish(t)];
    await next.roundTrip(t); // no third one
    for (const { id } of acknowledges ? received.slice() : []) {
      next.send({ type: 'puback', id, reason: 0, properties: NO_PROPERTIES });
      received.push(await next.nextPublish(t));
    }
    t.deepEqual(
      received.map(({ id, dup, payload }) => [id, dup, String(payload)]),
      [
        [ids[0], true, '1'],
        [ids[1], true, '2'],
        [ids[3], true, '4'],
        [ids[4], true, '5'],
      ].slice(0, received.length),
    );
    await next.stream.abort();
  }
});

test('unacknowledged messages are sent again to the next connection, in order, before new ones', async (t) => {
  const { port } = await start(t);
  const session = { clientId: 's', cleanStart: false, properties: { sessionExpiry: 60, receiveMaximum: 2 } };
  const first = await raw(t, port, session);
  t.false(first.present);
  await first.subscribe(t, 'a');
  const publisher = await raw(t, port);
  for (let i = 1; i <= 4; i++) publisher.publish('a', `m${i}`, 1, i);
  for (let i = 1; i <= 4; i++) t.like(await publisher.next(), { type: 'puback', id: i, reason: 0 });

  const [one, two] = [await first.nextPublish(t), await first.nextPublish(t)];
  t.deepEqual(texts([one, two]), ['m1', 'm2']);
  await first.roundTrip(t); // no third one, since two are unacknowledged
  first.send({ type: 'puback', id: two.id, reason: 0, properties: NO_PROPERTIES });
  const three = await first.nextPublish(t);
  t.is(String(three.payload), 'm3');
  await first.stream.abort();

  const second = await raw(t, port, session);
  t.true(second.present);
  const again = [await second.nextPublish(t), await second.nextPublish(t)];
  t.deepEqual(texts(again), ['m1', 'm3']);
  t.deepEqual(
    again.map(({ dup, id }) => [dup, id]),
    [
      [true, one.id],
      [true, three.id],
    ],
  );
  await second.roundTrip(t);
  second.send({ type: 'puback', id: one.id, reason: 0, properties: NO_PROPERTIES });
  t.like(await second.nextPublish(t), { dup: false, payload: Buffer.from('m4') });

  second.send({ type: 'disconnect', reason: 0, properties: { sessionExpiry: 0 } });
  t.is(await second.next(), null);
  t.false((await raw(t, port, session)).present);
});

test('a clean start forgets the session and its subscriptions', async (t) => {
  const { port } = await start(t);
  const session = { version: 4, clientId: 's', cleanStart: false } as const;
  const first = await raw(t, port, session);
  await first.subscribe(t, 'a');
  first.send({ type: 'disconnect', reason: 0, properties: NO_PROPERTIES });
  t.is(await first.next(), null);
  const clean = await raw(t, port, { ...session, cleanStart: true });
  t.false(clean.present);
  clean.publish('a', 'not for me');
  await clean.roundTrip(t);
});

test('a message that expires while the session has no connection is not sent, and the time of others runs', async (t) => {
  const { port } = await start(t);
  const session = { clientId: 's', cleanStart: false, properties: { sessionExpiry: 60 } };
  const first = await raw(t, port, session);
  await first.subscribe(t, '#');
  first.send({ type: 'disconnect', reason: 0, properties: NO_PROPERTIES });
  t.is(await first.next(), null);
  const publisher = await raw(t, port);
  publisher.publish('a', 'short', 1, 1, { properties: { messageExpiry: 1 }, retain: true });
  publisher.publish('b', 'long', 1, 2, { properties: { messageExpiry: 1000 } });
  await publisher.next();
  await publisher.next();
  await sleep(1100);
  const second = await raw(t, port, session);
  const long = await second.nextPublish(t);
  t.is(String(long.payload), 'long');
  t.true(long.properties.messageExpiry! < 1000);
  t.is(await second.subscribe(t, 'a'), 1);
  await second.roundTrip(t); // the retained message has expired too
});

test('a delayed will is not published if the client is back in time, and at once if its session ends', async (t) => {
  const { port } = await start(t, { onError: () => {} });
  const watcher = await raw(t, port);
  await watcher.subscribe(t, 'will/#', { qos: 0 });
  const will = (name: string): Connect['will'] => ({
    ...{ topic: `will/${name}`, payload: Buffer.from(name), qos: 0, retain: false },
    properties: { willDelay: 3600, contentType: 'text' },
  });
  const session = { clientId: 's', cleanStart: false, properties: { sessionExpiry: 3600 } };
  for (const name of ['one', 'two']) {
    const lost = await raw(t, port, { ...session, will: will(name) });
    t.is(lost.present, name === 'two');
    await lost.stream.abort();
  }
  await raw(t, port, { ...session, cleanStart: true });
  const two = await watcher.nextPublish(t);
  t.deepEqual([String(two.payload), two.properties], ['two', { contentType: 'text' }]);
  await watcher.roundTrip(t);

  const polite = await raw(t, port, { clientId: 'p', will: { ...will('three')!, properties: NO_PROPERTIES } });
  polite.send({ type: 'disconnect', reason: Reason.disconnectWithWill, properties: NO_PROPERTIES });
  t.is(String((await watcher.nextPublish(t)).payload), 'three');
});

test('a client that is silent for one and a half times its keep-alive is disconnected, and its will is published', async (t) => {
  const { port, errors } = await start(t);
  const watcher = await raw(t, port);
  await watcher.subscribe(t, 'will', { qos: 0 });
  const will = {
    topic: 'will',
    payload: Buffer.from('silent'),
    qos: 0,
    retain: false,
    properties: NO_PROPERTIES,
  } as const;
  const silent = await raw(t, port, { keepAlive: 1, will });
  t.like(await silent.next(), { type: 'disconnect', reason: Reason.keepAliveTimeout });
  t.is(await silent.next(), null);
  t.is(String((await watcher.nextPublish(t)).payload), 'silent');
  await silent.stream.close();
  await until(() => errors.length === 1);
  t.like(errors[0], { code: 'ERR_TIMEOUT', message: 'readframes: timed out after 1500 ms' });
});

// ------------------------------------------------------------------------------------------------ subscriptions

test('retained messages are sent as the subscription wishes, and replaced or removed by the next ones', async (t) => {
  const { port } = await start(t);
  const client = await raw(t, port);
  client.publish('r/1', 'old', 0, 0, { retain: true });
  client.publish('r/1', 'new', 0, 0, { retain: true });
  client.publish('r/2', 'gone', 0, 0, { retain: true });
  client.publish('r/2', '', 0, 0, { retain: true });
  t.is(await client.subscribe(t, 'r/+', { retainHandling: 2 }), 1);
  await client.roundTrip(t);
  t.is(await client.subscribe(t, 'r/+', { retainHandling: 1 }), 1);
  await client.roundTrip(t);
  t.is(await client.subscribe(t, 'r/#', { retainHandling: 1 }), 1);
  t.like(await client.nextPublish(t), { payload: Buffer.from('new'), retain: true, qos: 0 });
  t.is(await client.subscribe(t, 'r/+', { retainHandling: 0 }), 1);
  t.like(await client.nextPublish(t), { payload: Buffer.from('new'), retain: true });
  client.publish('r/3', 'x', 0, 0, { retain: true });
  t.like(await client.nextPublish(t), { topic: 'r/3', retain: false });
  await client.subscribe(t, 'r/3', { retainAsPublished: true, retainHandling: 2 });
  client.publish('r/3', 'y', 0, 0, { retain: true });
  t.like(await client.nextPublish(t), { topic: 'r/3', retain: true });
  await client.roundTrip(t);
});

const every = { filter: '#', qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

test('filters of one packet deliver a retained message once, and there may not be too many of them', async (t) => {
  const { port, errors } = await start(t);
  const client = await raw(t, port);
  client.publish('r/1', 'one', 1, 1, { retain: true });
  t.like(await client.next(), { type: 'puback' });
  const filters = [every, { ...every, filter: 'r/+', qos: 0 }, every, every] as const;
  client.send({ type: 'subscribe', id: 1, filters, properties: { subscriptionIds: [7] } });
  t.like(await client.next(), { type: 'suback', reasons: [1, 0, 1, 1] });
  t.like(await client.nextPublish(t), { topic: 'r/1', qos: 1, properties: { subscriptionIds: [7, 7] } });
  await client.roundTrip(t);
  const many = Array.from({ length: 1001 }, () => every);
  client.send({ type: 'subscribe', id: 2, filters: many, properties: NO_PROPERTIES });
  t.like(await client.next(), { type: 'disconnect', reason: Reason.quotaExceeded });
  t.is(await client.next(), null);
  await client.stream.close();
  await until(() => errors.length === 1);
});

test('others get their turn between the subscriptions of a client, and what is too much for its buffer ends them', async (t) => {
  const broker = new Broker();
  const { port, errors } = await serving(t, broker.serve);
  broker.publish('r', 'x', { retain: true });
  const client = await raw(t, port);
  let turn = 0;
  const searches: number[] = [];
  let seen = 0;
  const values = broker.retained.values.bind(broker.retained);
  broker.retained.values = function* () {
    searches.push(turn);
    setImmediate(() => turn++);
    for (const message of values()) {
      seen++;
      yield message;
    }
  } as typeof values;
  const packet = encode({ type: 'subscribe', id: 1, filters: [every], properties: NO_PROPERTIES }, 5);
  void client.stream.write(Buffer.concat([packet, packet, packet]));
  for (let i = 0; i < 3; i++) {
    t.like(await client.next(), { type: 'suback' });
    t.is(String((await client.nextPublish(t)).payload), 'x');
  }
  t.deepEqual(searches, [0, 1, 2]);

  for (let i = 0; i < 100; i++) broker.publish(`r/${i}`, Buffer.alloc(1 << 20), { retain: true });
  seen = 0;
  void client.stream.write(packet);
  await until(() => errors.length === 1);
  t.like(errors[0], { code: 'ERR_WRITE_OVERFLOW' });
  t.true(seen < 100, `${seen}`);
});

test('overlapping subscriptions deliver a message once, with the higher QoS and every identifier', async (t) => {
  const { port } = await start(t);
  const [client, other] = [await raw(t, port), await raw(t, port, { version: 4 })];
  await client.subscribe(t, 'a/b', { qos: 0 }, 1);
  await client.subscribe(t, 'a/+', { qos: 1 }, 200);
  await client.subscribe(t, '#', { qos: 0, noLocal: true });
  other.publish('a/b', 'once', 1, 1);
  const message = await client.nextPublish(t);
  t.is(message.qos, 1);
  t.deepEqual(new Set(message.properties.subscriptionIds), new Set([1, 200]));
  client.publish('c', 'of my own');
  other.publish('c', 'of the other');
  t.is(String((await client.nextPublish(t)).payload), 'of the other');
  await client.roundTrip(t);
  client.send({ type: 'unsubscribe', id: 3, filters: ['#', 'never'], properties: NO_PROPERTIES });
  t.like(await client.next(), { type: 'unsuback', reasons: [Reason.success, Reason.noSubscription] });
});

test('a filter that is invalid or not supported is refused alone', async (t) => {
  const { port } = await start(t);
  const [five, four] = [await raw(t, port), await raw(t, port, { version: 4 })];
  t.is(await five.subscribe(t, 'a/#/b'), Reason.invalidFilter);
  t.is(await five.subscribe(t, '$share/g/a'), Reason.sharedNotSupported);
  t.is(await five.subscribe(t, 'x'.repeat(1025)), Reason.quotaExceeded);
  t.is(await five.subscribe(t, 'a', { qos: 2 }), 1);
  t.is(await four.subscribe(t, 'a/#/b'), Reason.unspecified);
  t.is(await four.subscribe(t, 'a', { qos: 0 }), 0);
});

test('a packet that is larger than a client wishes is not sent to it', async (t) => {
  const { port } = await start(t);
  const client = await raw(t, port, { properties: { maximumPacketSize: 100 } });
  await client.subscribe(t, '#');
  for (const qos of [0, 1] as const) client.publish('a', 'x'.repeat(100), qos, 1);
  t.like(await client.next(), { type: 'puback' });
  client.publish('a', 'small');
  t.is(String((await client.nextPublish(t)).payload), 'small');
});

test('a subscriber who does not read misses messages, and the others get them all', async (t) => {
  const { port } = await serving(t, new Broker({ patience: 200 }).serve);
  const [asleep, awake, publisher] = [await raw(t, port), await raw(t, port), await raw(t, port)];
  await asleep.subscribe(t, 'a', { qos: 0 });
  await awake.subscribe(t, 'a', { qos: 0 });
  const payload = 'x'.repeat(60_000);
  const count = 500; // more than the buffers of the kernel take
  for (let i = 0; i < count; i++) {
    publisher.publish('a', payload);
    t.is((await awake.nextPublish(t)).payload.length, payload.length); // so that this one is never behind
  }

  asleep.send({ type: 'pingreq' });
  let late = 0;
  while ((await asleep.next())?.type === 'publish') late++;
  t.true(late > 0 && late < count, `${late} of ${count}`);
  await until(() => asleep.stream.buffered === 0);
  for (let again: Packet | null = null; again === null;) {
    publisher.publish('a', 'awake again');
    await publisher.roundTrip(t);
    asleep.send({ type: 'pingreq' });
    const packet = await asleep.next();
    if (packet?.type === 'publish') again = packet;
  }
  t.pass();
});

test('a publisher waits for all slow subscribers at once', async (t) => {
  const broker = new Broker({ patience: 60_000, maximumPacket: 1 << 26 });
  let waiting = 0;
  const { port } = await serving(t, (stream, context) => {
    const drain = stream.drain.bind(stream);
    stream.drain = (options) => {
      if (options?.timeout === 60_000) waiting++;
      return drain(options);
    };
    return broker.serve(stream, context);
  });
  for (let i = 0; i < 3; i++) await (await raw(t, port)).subscribe(t, 'a', { qos: 0 });
  const publisher = await raw(t, port);
  publisher.publish('a', 'x'.repeat(1 << 25)); // more than the buffers of the kernel take
  await until(() => waiting > 0);
  await turns(10);
  t.is(waiting, 3);
});

test('messages and subscriptions take no more than the memory of the broker, and give it back', async (t) => {
  const { port } = await serving(t, new Broker({ memory: 10_000 }).serve);
  const client = await raw(t, port);
  const retain = async (topic: string, size: number): Promise<number> => {
    client.publish(topic, 'x'.repeat(size), 1, 1, { retain: true });
    const answer = await client.next();
    t.is(answer?.type, 'puback');
    return (answer as Ack).reason;
  };
  t.is(await retain('a', 6000), Reason.success);
  t.is(await retain('b', 6000), Reason.quotaExceeded);
  t.is(await retain('a', 9000), Reason.success, 'it replaces the first one');
  t.is(await retain('a', 9900), Reason.quotaExceeded);
  t.is(await retain('b', 1000), Reason.quotaExceeded, 'the one before is still kept');
  t.is(await client.subscribe(t, 'x/y/z'), Reason.quotaExceeded);
  t.is(await retain('a', 0), Reason.success);
  for (let round = 0; round < 100; round++) {
    t.is(await client.subscribe(t, 'x/y/z'), 1);
    client.send({ type: 'unsubscribe', id: 1, filters: ['x/y/z'], properties: NO_PROPERTIES });
    t.like(await client.next(), { type: 'unsuback', reasons: [0] });
  }

  for (let round = 0; round < 3; round++) {
    const subscriber = await raw(t, port);
    t.is(await subscriber.subscribe(t, 'm'), 1);
    for (let id = 1; id <= 3; id++) client.publish('m', `${id}`.repeat(3000), 1, id);
    for (let id = 1; id <= 3; id++) t.like(await client.next(), { type: 'puback', id });
    const [one, two] = [await subscriber.nextPublish(t), await subscriber.nextPublish(t)];
    await subscriber.roundTrip(t); // there was no room for the third
    for (const { id } of round === 0 ? [one, two] : [])
      subscriber.send({ type: 'puback', id, reason: 0, properties: NO_PROPERTIES });
    subscriber.send({ type: 'disconnect', reason: 0, properties: NO_PROPERTIES });
    t.is(await subscriber.next(), null);
  }
  t.is(await retain('a', 9000), Reason.success);
});

test('a client that is subscribed to its own will leaves no memory in use', async (t) => {
  const { port } = await serving(t, new Broker({ memory: 10_000 }).serve);
  const payload = Buffer.alloc(3000);
  const will = { topic: 'w', payload, qos: 1, retain: false, properties: NO_PROPERTIES } as const;
  for (let round = 0; round < 4; round++) {
    const client = await raw(t, port, { will });
    t.is(await client.subscribe(t, 'w'), 1);
    client.send({ type: 'disconnect', reason: Reason.disconnectWithWill, properties: NO_PROPERTIES });
    t.is(await client.next(), null);
  }
  const last = await raw(t, port);
  last.publish('a', 'x'.repeat(9000), 1, 1, { retain: true });
  t.like(await last.next(), { type: 'puback', reason: Reason.success });
});

test('a session more than there may be replaces the one that has been without a connection for longest', async (t) => {
  const { port } = await serving(t, new Broker({ sessions: 3 }).serve);
  const properties = { sessionExpiry: 60 };
  const session = (clientId: string): Partial<Connect> => ({ clientId, cleanStart: false, properties });
  const leave = async (client: Raw): Promise<void> => {
    client.send({ type: 'disconnect', reason: 0, properties: NO_PROPERTIES });
    t.is(await client.next(), null);
  };
  const [one, two] = [await raw(t, port, session('one')), await raw(t, port, session('two'))];
  await leave(two);
  await leave(one);
  const three = await raw(t, port, session('three'));
  const four = await raw(t, port, session('four'));
  const again = await raw(t, port, session('one'));
  t.true(again.present, 'it was two that had to go');
  const refused = await dialed(t, port);
  refused.send(HELLO);
  t.like(await refused.next(), { type: 'connack', reason: Reason.quotaExceeded });
  await leave(four);
  t.false((await raw(t, port, session('two'))).present);
  await three.roundTrip(t);
});

test('a client whose session and will do not fit the memory is refused, and what they take is given back', async (t) => {
  const { port } = await serving(t, new Broker({ memory: 10_000 }).serve);
  const payload = Buffer.alloc(4000);
  const will = { topic: 'w', payload, qos: 0, retain: false, properties: NO_PROPERTIES } as const;
  const ends: Packet[] = [
    { type: 'disconnect', reason: Reason.success, properties: NO_PROPERTIES },
    { type: 'disconnect', reason: Reason.disconnectWithWill, properties: NO_PROPERTIES },
  ];
  for (let round = 0; round < 6; round++) {
    const clients = [await raw(t, port, { will }), await raw(t, port, { will })];
    const refused = await dialed(t, port);
    refused.send({ ...HELLO, will });
    t.like(await refused.next(), { type: 'connack', reason: Reason.quotaExceeded });
    t.is(await refused.next(), null);
    for (const [i, client] of clients.entries()) {
      client.send(ends[i]!);
      t.is(await client.next(), null);
    }
  }
  const session = { clientId: 'x'.repeat(4000), cleanStart: false, properties: { sessionExpiry: 60 } };
  for (let round = 0; round < 6; round++) {
    const client = await raw(t, port, { ...session, will: { ...will, properties: { willDelay: 60 } } });
    t.is(client.present, round > 0);
    client.send({ type: 'disconnect', reason: 0, properties: NO_PROPERTIES });
    t.is(await client.next(), null);
  }
  t.false((await raw(t, port, { ...session, cleanStart: true, properties: NO_PROPERTIES })).present);
});

// ------------------------------------------------------------------------------------------------ what clients must not do

test('a packet that is not allowed ends only its connection, with the reason and one error', async (t) => {
  const { port, errors } = await start(t);
  const witness = await raw(t, port);
  const topicAlias: Properties = { topicAlias: 1 };
  const cases: [string, number, (client: Raw) => void][] = [
    ['a second CONNECT', Reason.protocolError, (client) => client.send(HELLO)],
    ['a packet of brokers', Reason.protocolError, (client) => client.send({ type: 'pingresp' })],
    ['QoS 2', Reason.qosNotSupported, (client) => client.publish('a', 'x', 2, 1)],
    ['a wildcard in a topic', Reason.invalidTopic, (client) => client.publish('a/+', 'x')],
    ['a topic alias', Reason.protocolError, (client) => client.publish('a', 'x', 0, 0, { properties: topicAlias })],
    ['type 0', Reason.malformed, (client) => void client.stream.write('\0\0')],
    ['a length of 5 bytes', Reason.malformed, (client) => void client.stream.write(Buffer.from('30ffffffff01', 'hex'))],
    ['256 MiB', Reason.packetTooLarge, (client) => void client.stream.write(Buffer.from('30ffffff7f', 'hex'))],
  ];
  for (const [name, reason, misbehave] of cases) {
    for (const version of [4, 5] as const) {
      if (version === 4 && name === 'a topic alias') continue;
      const before = errors.length;
      const client = await raw(t, port, { version });
      client.publish('before', 'is handled', 1, 7);
      misbehave(client);
      t.like(await client.next(), { type: 'puback', id: 7 }, name);
      if (version === 5) t.like(await client.next(), { type: 'disconnect', reason }, name);
      t.is(await client.next(), null, name);
      await client.stream.close();
      await until(() => errors.length === before + 1);
    }
  }
  await witness.roundTrip(t);
});

test('a CONNECT packet that is refused gets its answer', async (t) => {
  const { port, errors } = await start(t);
  const will = { topic: 'a/#', payload: Buffer.of(), qos: 0, retain: false, properties: NO_PROPERTIES } as const;
  const cases: [Partial<Connect>, number][] = [
    [{ version: 4, cleanStart: false }, 2],
    [{ will }, Reason.invalidTopic],
    [{ will: { ...will, topic: 'a', qos: 2 } }, Reason.qosNotSupported],
    [{ properties: { authenticationMethod: 'x' } }, Reason.badAuthenticationMethod],
  ];
  for (const [hello, reason] of cases) {
    const client = await dialed(t, port, hello.version ?? 5);
    client.send({ ...HELLO, ...hello });
    t.like(await client.next(), { type: 'connack', reason, sessionPresent: false });
    t.is(await client.next(), null);
  }
  const old = await dialed(t, port, 4);
  void old.stream.write(Buffer.from('100f00064d514973647003020000000163', 'hex')); // MQTT 3.1
  t.like(await old.next(), { type: 'connack', reason: 1 });
  await until(() => errors.length === cases.length + 1);
  t.true(errors.every((error) => error instanceof MqttError));
});

test('a connection that ends within CONNECT, or has any byte of it changed, does no harm', async (t) => {
  const { port, errors } = await start(t, { closeTimeout: 1000 });
  const witness = await raw(t, port);
  const hello = encode({ ...HELLO, clientId: 'c', properties: { sessionExpiry: 1 } }, 5);
  const outcomes = { accepted: 0, refused: 0 };
  for (let at = 0; at < hello.length; at++) {
    const changed = Buffer.from(hello);
    changed[at]! ^= 0x81;
    for (const bytes of [hello.subarray(0, at), changed]) {
      const client = await dialed(t, port);
      void client.stream.write(bytes);
      await client.stream.writeEof();
      const answer = await client.stream.read();
      outcomes[answer[3] === 0 && answer[0] === 0x20 ? 'accepted' : 'refused']++;
      await client.stream.close();
    }
  }
  t.true(outcomes.refused > hello.length);
  t.true(errors.every((error) => error instanceof Error));
  await witness.roundTrip(t);
});

test('a server that closes says so to its clients', async (t) => {
  const { server, port } = await serving(t, new Broker().serve);
  const [five, four] = [await raw(t, port), await raw(t, port, { version: 4 })];
  const closing = server.close({ drain: 60_000 });
  t.like(await five.next(), { type: 'disconnect', reason: Reason.shuttingDown });
  t.is(await five.next(), null);
  t.is(await four.next(), null);
  await Promise.all([five.stream.close(), four.stream.close()]);
  t.is((await closing).cutOff, 0);
});

test('the broker and the client speak TLS', async (t) => {
  const { ca, server: identity } = await certificates();
  const { port } = await start(t, { ssl: identity });
  const payloads: string[] = [];
  const onMessage = ({ payload }: Publish): void => void payloads.push(String(payload));
  const client = await MqttClient.connect('localhost', port, { ssl: { ca }, onMessage });
  await client.subscribe('#', { qos: 1 });
  await client.publish('a', 'secret', { qos: 1 });
  await until(() => payloads.length === 1);
  t.deepEqual(payloads, ['secret']);
  await client.close();
});
