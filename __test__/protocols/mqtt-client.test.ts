/** What the MQTT client does when its broker is slow, silent, or wrong. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import test, { type ExecutionContext } from 'ava';
import { FrameError, IncompleteReadError, LimitOverrunError, TimeoutError, type Stream } from 'sluice';
import type { MqttOptions } from '../../examples/protocols/mqtt/client-options.js';
import { MqttClient } from '../../examples/protocols/mqtt/client.js';
import {
  MQTT,
  MqttError,
  NO_PROPERTIES,
  decode,
  encode,
  type Packet,
  type Properties,
} from '../../examples/protocols/mqtt/mqtt.js';
import { deferred, serving, turns, until } from '../loopback.js';

/** The side of the broker, in MQTT 5, one packet at a time. */
class Peer {
  readonly stream: Stream;

  constructor(stream: Stream) {
    this.stream = stream;
  }

  send(packet: Packet): void {
    void this.stream.write(encode(packet, 5));
  }

  async next(): Promise<Packet | null> {
    const bytes = await this.stream.readframe(MQTT);
    return bytes === null ? null : decode(bytes, 0, bytes.length, 5);
  }

  /** Reads CONNECT and accepts. */
  async accept(t: ExecutionContext, properties: Properties = NO_PROPERTIES): Promise<void> {
    t.like(await this.next(), { type: 'connect' });
    this.send({ type: 'connack', sessionPresent: false, reason: 0, properties });
  }
}

/** A server whose first connection is handled by `broker`. What that throws fails the test at its end. */
async function start(
  t: ExecutionContext,
  broker: (peer: Peer) => Promise<void>,
): Promise<{ port: number; done: Promise<void> }> {
  const { promise, resolve, reject } = deferred();
  promise.catch(() => {});
  const { port } = await serving(t, (stream) => broker(new Peer(stream)).then(resolve, reject));
  return { port, done: promise };
}

const message = { type: 'publish', topic: 'a', retain: false, dup: false, properties: NO_PROPERTIES } as const;

test('a message with QoS 1 is acknowledged when onMessage is done, and nothing is read before', async (t) => {
  const events: string[] = [];
  const gate = deferred();
  const { port, done } = await start(t, async (peer) => {
    await peer.accept(t);
    peer.send({ ...message, payload: Buffer.from('one'), qos: 1, id: 7 });
    peer.send({ ...message, payload: Buffer.from('two'), qos: 0, id: 0 });
    t.deepEqual(await peer.next(), { type: 'puback', id: 7, reason: 0, properties: NO_PROPERTIES });
    events.push('acknowledged');
    t.like(await peer.next(), { type: 'disconnect', reason: 0 });
  });
  const client = await MqttClient.connect('127.0.0.1', port, {
    onMessage: async ({ payload }) => {
      events.push(`begin ${String(payload)}`);
      await gate.promise;
      events.push(`end ${String(payload)}`);
    },
  });
  await until(() => events.length > 0);
  t.deepEqual(events, ['begin one']);
  gate.resolve();
  await until(() => events.includes('end two') && events.includes('acknowledged'));
  t.deepEqual(
    events.filter((event) => event !== 'acknowledged'),
    ['begin one', 'end one', 'begin two', 'end two'],
  );
  await client.close();
  await done;
});

test('messages may be kept: later ones do not change them', async (t) => {
  const { port, done } = await start(t, async (peer) => {
    await peer.accept(t);
    for (let i = 0; i < 5000; i++) peer.send({ ...message, payload: Buffer.from(`message ${i}`), qos: 0, id: 0 });
    t.like(await peer.next(), { type: 'disconnect' });
  });
  const kept: Uint8Array[] = [];
  const client = await MqttClient.connect('127.0.0.1', port, { onMessage: ({ payload }) => void kept.push(payload) });
  await until(() => kept.length === 5000);
  t.deepEqual(
    kept.map(String),
    Array.from({ length: 5000 }, (_, i) => `message ${i}`).map((text) => String(Buffer.from(text))),
  );
  await client.close();
  await done;
});

test('no more messages are unacknowledged than the broker allows', async (t) => {
  const { port, done } = await start(t, async (peer) => {
    await peer.accept(t, { receiveMaximum: 2 });
    const ids: number[] = [];
    for (let i = 0; i < 5; i++) {
      if (i >= 2) {
        t.is(peer.stream.buffered, 0);
        peer.send({ type: 'puback', id: ids[i - 2]!, reason: 0x10, properties: NO_PROPERTIES });
      }
      const packet = await peer.next();
      t.like(packet, { type: 'publish', qos: 1, payload: Buffer.from(`${i}`) });
      ids.push((packet as { id: number }).id);
    }
    for (const id of ids.slice(3)) peer.send({ type: 'puback', id, reason: 0, properties: NO_PROPERTIES });
    t.like(await peer.next(), { type: 'disconnect' });
  });
  const client = await MqttClient.connect('127.0.0.1', port);
  await Promise.all(Array.from({ length: 5 }, (_, i) => client.publish('a', `${i}`, { qos: 1 })));
  await client.close();
  await done;
});

test('a refusal of a message or of a subscription is an MqttError, and the connection goes on', async (t) => {
  const { port, done } = await start(t, async (peer) => {
    await peer.accept(t);
    for (let packet; (packet = await peer.next()) !== null;) {
      if (packet.type === 'publish')
        peer.send({ type: 'puback', id: packet.id, reason: 0x97, properties: NO_PROPERTIES });
      if (packet.type === 'subscribe')
        peer.send({ type: 'suback', id: packet.id, reasons: [1, 0x87], properties: NO_PROPERTIES });
      if (packet.type === 'unsubscribe')
        peer.send({ type: 'unsuback', id: packet.id, reasons: [0], properties: NO_PROPERTIES });
    }
  });
  const client = await MqttClient.connect('127.0.0.1', port);
  t.like(await t.throwsAsync(client.publish('a', 'b', { qos: 1 }), { instanceOf: MqttError }), { reason: 0x97 });
  t.like(await t.throwsAsync(client.subscribe(['a', 'b']), { instanceOf: MqttError }), { reason: 0x87 });
  await client.unsubscribe('a');
  t.throws(() => client.publish('a/+', 'b'), { instanceOf: TypeError });
  await t.throwsAsync(client.subscribe('a/#/b'), { instanceOf: TypeError });
  await client.close();
  await done;
});

test('a broker that does not answer pings ends the connection with a TimeoutError, and all calls fail with it', async (t) => {
  const pings: Packet[] = [];
  const { port } = await start(t, async (peer) => {
    await peer.accept(t, { serverKeepAlive: 1 });
    for (let packet; (packet = await peer.next()) !== null;) pings.push(packet);
  });
  const client = await MqttClient.connect('127.0.0.1', port, { keepAlive: 1000 });
  const waiting = t.throwsAsync(client.publish('a', 'b', { qos: 1 }), { instanceOf: TimeoutError });
  await t.throwsAsync(client.closed, { instanceOf: TimeoutError, code: 'ERR_TIMEOUT' });
  await waiting;
  await t.throwsAsync(client.publish('a', 'b'), { instanceOf: TimeoutError });
  await t.throwsAsync(client.subscribe('a'), { instanceOf: TimeoutError });
  t.true(pings.some(({ type }) => type === 'pingreq'));
});

test('what a broker must not send ends the connection with one error', async (t) => {
  const cases: [string, Buffer, new (...args: never[]) => Error][] = [
    ['CONNACK again', encode({ type: 'connack', sessionPresent: false, reason: 0, properties: {} }, 5), MqttError],
    ['a packet of clients', encode({ type: 'pingreq' }, 5), MqttError],
    ['DISCONNECT', encode({ type: 'disconnect', reason: 0x8b, properties: { reasonString: 'late' } }, 5), MqttError],
    [
      'a topic alias',
      encode({ ...message, topic: '', payload: Buffer.of(), qos: 0, id: 0, properties: { topicAlias: 1 } }, 5),
      MqttError,
    ],
    ['QoS 2', encode({ ...message, payload: Buffer.of(), qos: 2, id: 1 }, 5), MqttError],
    ['garbage', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'), Error],
    ['a length of 5 bytes', Buffer.from('30ffffffff01', 'hex'), FrameError],
    ['256 MiB', Buffer.from('30ffffff7f', 'hex'), LimitOverrunError],
    ['half a packet', Buffer.from('3010', 'hex'), IncompleteReadError],
    ['EOF', Buffer.of(), MqttError],
  ];
  for (const [name, bytes, instanceOf] of cases) {
    for (const early of [false, true]) {
      const { port } = await start(t, async (peer) => {
        if (early) await peer.next();
        else await peer.accept(t);
        await peer.stream.write(bytes);
        await peer.stream.close();
      });
      const messages: unknown[] = [];
      const onMessage = (received: unknown): void => void messages.push(received);
      const connecting = MqttClient.connect('127.0.0.1', port, { onMessage });
      if (early && name !== 'CONNACK again') {
        await t.throwsAsync(connecting, { any: true }, name);
        continue;
      }
      const client = await connecting;
      await t.throwsAsync(client.closed, early ? { instanceOf: MqttError } : { instanceOf }, name);
      t.deepEqual(messages, [], name);
    }
  }
});

test('an answer of the wrong kind ends the connection with one error', async (t) => {
  const suback = { type: 'suback', reasons: [0], properties: NO_PROPERTIES } as const;
  const puback = { type: 'puback', reason: 0, properties: NO_PROPERTIES } as const;
  for (const [answer, request] of [
    [suback, (client: MqttClient) => client.publish('a', 'x', { qos: 1 })],
    [puback, (client: MqttClient) => client.subscribe('a')],
    [suback, (client: MqttClient) => client.unsubscribe('a')],
  ] as const) {
    const { port } = await start(t, async (peer) => {
      await peer.accept(t);
      const { id } = (await peer.next()) as { id: number } & Packet;
      peer.send({ ...answer, id });
      await peer.next().catch(() => null);
    });
    const client = await MqttClient.connect('127.0.0.1', port);
    const error = await t.throwsAsync(request(client), { instanceOf: MqttError, message: /is expected/ });
    t.is(await t.throwsAsync(client.closed), error);
  }
});

// It keeps the process busy, and others of these tests wait for a time.
test.serial('a broker that sends messages without an end and reads no acknowledgements is given up', async (t) => {
  const publish = encode({ ...message, topic: 'a', payload: Buffer.of(), qos: 1, id: 1 }, 5);
  const flood = Buffer.concat(new Array<Buffer>(10_000).fill(publish));
  const { port } = await start(t, async (peer) => {
    await peer.accept(t);
    // Nothing is read: the acknowledgements stay with the client.
    while (!peer.stream.isClosing()) await peer.stream.write(flood).catch(() => {});
  });
  const client = await MqttClient.connect('127.0.0.1', port);
  await t.throwsAsync(client.closed, { instanceOf: MqttError, message: /may wait for an acknowledgement/ });
});

test('a packet that cannot be encoded takes no place, and no rejection is left unhandled', async (t) => {
  const { port } = await start(t, async (peer) => {
    await peer.accept(t, { receiveMaximum: 2 });
    const { id } = (await peer.next()) as { id: number } & Packet;
    peer.send({ type: 'puback', id, reason: 0, properties: NO_PROPERTIES });
    await peer.stream.close();
  });
  const client = await MqttClient.connect('127.0.0.1', port);
  for (let i = 0; i < 5; i++) {
    await t.throwsAsync(client.publish('x'.repeat(70_000), 'x', { qos: 1 }), { any: true });
  }
  await client.publish('a', 'x', { qos: 1 });
  await t.throwsAsync(client.closed, { message: /closed the connection/ });
  void client.publish('a', 'not awaited');
  await turns(2);
});

test('onMessage may close the client, and calls that wait for an answer reject at once', async (t) => {
  const { port } = await start(t, async (peer) => {
    await peer.accept(t);
    await peer.next();
    peer.send({ ...message, payload: Buffer.from('stop'), qos: 1, id: 1 });
    while ((await peer.next()) !== null);
  });
  const closed = deferred();
  const client: MqttClient = await MqttClient.connect('127.0.0.1', port, {
    onMessage: async () => {
      await client.close();
      closed.resolve();
    },
  });
  await t.throwsAsync(client.publish('a', 'x', { qos: 1 }), { message: /the connection was closed/ });
  await closed.promise;
  await client.closed;
});

test('a broker that refuses, or does not answer, fails connect', async (t) => {
  const refusing = await start(t, async (peer) => {
    await peer.next();
    peer.send({ type: 'connack', sessionPresent: false, reason: 0x88, properties: { reasonString: 'tomorrow' } });
  });
  const error = await t.throwsAsync(MqttClient.connect('127.0.0.1', refusing.port), { instanceOf: MqttError });
  t.is(error?.message, 'MQTT: connect: refused with 136: tomorrow');
  const silent = await start(t, async (peer) => {
    await peer.next();
    await peer.next();
  });
  await t.throwsAsync(MqttClient.connect('127.0.0.1', silent.port, { timeout: 50 }), { instanceOf: TimeoutError });
});

test('an error of onMessage ends the connection, and closed rejects with it', async (t) => {
  const mine = new RangeError('mine');
  const failures: NonNullable<MqttOptions['onMessage']>[] = [
    () => {
      throw mine;
    },
    () => Promise.reject(mine),
    () => ({ then: (_, reject) => void reject?.(mine) as never }),
  ];
  for (const onMessage of failures) {
    for (const qos of [0, 1] as const) {
      const { port, done } = await start(t, async (peer) => {
        await peer.accept(t);
        peer.send({ ...message, payload: Buffer.from('x'), qos, id: qos });
        t.is(await peer.next().catch(() => null), null, 'it is not acknowledged');
      });
      const client = await MqttClient.connect('127.0.0.1', port, { onMessage });
      t.is(await t.throwsAsync(client.closed), mine);
      await done;
    }
  }
});

test('what the broker does not accept is refused at the call and not sent, and the connection goes on', async (t) => {
  const { port, done } = await start(t, async (peer) => {
    await peer.accept(t, {
      ...{ maximumPacketSize: 60, maximumQos: 0, retainAvailable: 0, topicAliasMaximum: 2 },
      ...{ wildcardsAvailable: 0, sharedAvailable: 0 },
    });
    // Exactly as long as the broker accepts.
    t.like(await peer.next(), { type: 'publish', payload: Buffer.alloc(54, 'x'), qos: 0 });
    t.like(await peer.next(), { type: 'publish', payload: Buffer.from('alias'), properties: { topicAlias: 2 } });
    const subscribe = (await peer.next())!;
    t.like(subscribe, { type: 'subscribe', filters: [{ filter: 'a/b' }] });
    if (subscribe.type !== 'subscribe') throw new Error(subscribe.type);
    peer.send({ type: 'suback', id: subscribe.id, reasons: [0], properties: NO_PROPERTIES });
    t.like(await peer.next(), { type: 'disconnect' });
  });
  const client = await MqttClient.connect('127.0.0.1', port);
  const long = 'x'.repeat(60);
  const refused = async (call: Promise<unknown>, reason: number, what: string): Promise<void> => {
    await t.throwsAsync(call, { instanceOf: MqttError, message: `MQTT: ${what}` }, what);
    await call.catch((error: unknown) => t.is((error as MqttError).reason, reason, what));
  };
  const tooLong = (length: number): string => `the packet has ${length} bytes, and the broker accepts 60`;
  await refused(client.publish('a', 'x'.repeat(55)), 0x95, `publish: ${tooLong(61)}`);
  await refused(client.publish('a', '', { qos: 1 }), 0x9b, 'publish: QoS 1, and the broker accepts at most 0');
  await refused(client.publish('a', '', { retain: true }), 0x9a, 'publish: the broker retains no messages');
  const properties = { topicAlias: 3 };
  await refused(
    client.publish('a', '', { properties }),
    0x94,
    'publish: topic alias 3, and the broker accepts at most 2',
  );
  await refused(client.subscribe('a/#'), 0xa2, 'subscribe: "a/#": the broker accepts no wildcards');
  await refused(client.subscribe(['a', '+']), 0xa2, 'subscribe: "+": the broker accepts no wildcards');
  await refused(client.subscribe('$share/g/a'), 0x9e, 'subscribe: "$share/g/a": the broker shares none');
  await refused(client.subscribe(long), 0x95, `subscribe: ${tooLong(68)}`);
  await refused(client.unsubscribe(long), 0x95, `unsubscribe: ${tooLong(67)}`);

  await client.publish('a', 'x'.repeat(54));
  await client.publish('a', 'alias', { properties: { topicAlias: 2 } });
  t.deepEqual(await client.subscribe('a/b'), [0]);
  await client.close();
  await done;
});

test('a packet that is refused while it waits for room leaves the room to the next', async (t) => {
  const { port, done } = await start(t, async (peer) => {
    await peer.accept(t, { maximumPacketSize: 40, receiveMaximum: 1 });
    for (const text of ['one', 'three']) {
      const packet = (await peer.next())!;
      t.like(packet, { type: 'publish', payload: Buffer.from(text) });
      if (packet.type !== 'publish') throw new Error(packet.type);
      peer.send({ type: 'puback', id: packet.id, reason: 0, properties: NO_PROPERTIES });
    }
    t.like(await peer.next(), { type: 'disconnect' });
  });
  const client = await MqttClient.connect('127.0.0.1', port);
  const one = client.publish('a', 'one', { qos: 1 });
  const two = client.publish('a', 'x'.repeat(40), { qos: 1 });
  const three = client.publish('a', 'three', { qos: 1 });
  await one;
  await t.throwsAsync(two, { instanceOf: MqttError, message: /^MQTT: publish: the packet has \d+ bytes, / });
  await three;
  await client.close();
  await done;
});
