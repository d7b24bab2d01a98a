/** The packets and topics of MQTT without sockets: against mqtt-packet, cut in every way, and with bad input. */
// Runs once: the examples use only the public calls of a reader, which have tests of their own for each engine.
import { deepStrictEqual as deepEqual } from 'node:assert/strict';
import test, { type ExecutionContext } from 'ava';
import { generate, parser, type Packet as TheirPacket } from 'mqtt-packet';
import { FrameError, IncompleteReadError, LimitOverrunError, StreamReader } from 'sluice';
import {
  MQTT,
  MqttError,
  NO_PROPERTIES,
  Reason,
  decode,
  encode,
  type Packet,
  type Version,
} from '../../examples/protocols/mqtt/mqtt.js';
import { TopicTree, isFilter, isTopic } from '../../examples/protocols/mqtt/topics.js';
import { randomFrom, seed } from '../seed.js';

// ------------------------------------------------------------------------------------------------ samples

const none = { properties: NO_PROPERTIES };
const pair: [string, string][] = [['name', 'value']];
const theirs = { userProperties: { name: 'value' } };
const will = { topic: 'bye/ü', payload: Buffer.from('gone'), qos: 1, retain: true } as const;
const filter = { qos: 1, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

/** A packet as this example and as mqtt-packet describe it. */
const SAMPLES: readonly (readonly [Version, Packet, TheirPacket])[] = [
  [
    4,
    {
      ...{ type: 'connect', version: 4, clientId: 'c', cleanStart: true, keepAlive: 60, username: 'ada', ...none },
      ...{ password: Buffer.from([0, 255]), will: { ...will, ...none } },
    },
    {
      ...{ cmd: 'connect', protocolVersion: 4, protocolId: 'MQTT', clientId: 'c', clean: true, keepalive: 60 },
      ...{ username: 'ada', password: Buffer.from([0, 255]), will },
    },
  ],
  [
    5,
    {
      ...{ type: 'connect', version: 5, clientId: 'c5', cleanStart: false, keepAlive: 65535, username: null },
      password: null,
      properties: { sessionExpiry: 4294967295, receiveMaximum: 10, maximumPacketSize: 268435460, userProperties: pair },
      will: { ...will, properties: { willDelay: 5, messageExpiry: 7, contentType: 'text', userProperties: pair } },
    },
    {
      ...{ cmd: 'connect', protocolVersion: 5, protocolId: 'MQTT', clientId: 'c5', clean: false, keepalive: 65535 },
      properties: { sessionExpiryInterval: 4294967295, receiveMaximum: 10, maximumPacketSize: 268435460, ...theirs },
      will: { ...will, properties: { willDelayInterval: 5, messageExpiryInterval: 7, contentType: 'text', ...theirs } },
    },
  ],
  [
    4,
    { type: 'connack', sessionPresent: true, reason: 0, ...none },
    { cmd: 'connack', sessionPresent: true, returnCode: 0 },
  ],
  [
    5,
    {
      ...{ type: 'connack', sessionPresent: false, reason: 0 },
      properties: {
        maximumQos: 1,
        assignedClientId: 'id',
        serverKeepAlive: 9,
        reasonString: 'ü€😀',
        sharedAvailable: 0,
      },
    },
    {
      ...{ cmd: 'connack', sessionPresent: false, reasonCode: 0 },
      properties: {
        ...{ maximumQoS: 1, assignedClientIdentifier: 'id', serverKeepAlive: 9, reasonString: 'ü€😀' },
        sharedSubscriptionAvailable: false,
      },
    },
  ],
  ...([0, 1, 127, 128, 16_383, 16_384, 2_097_152] as const).map((size) => {
    const message = { topic: 'a/b', payload: Buffer.alloc(size, 'x'), qos: 0, retain: false, dup: false } as const;
    return [4, { type: 'publish', id: 0, ...message, ...none }, { cmd: 'publish', ...message }] as const;
  }),
  [
    5,
    {
      ...{ type: 'publish', topic: 'größe/+5'.replace('+', '-'), payload: Buffer.from('12'), qos: 2, id: 65535 },
      ...{ retain: true, dup: true },
      properties: {
        ...{ payloadFormat: 1, messageExpiry: 60, contentType: 'text/plain', responseTopic: 'r', userProperties: pair },
        ...{ correlationData: Buffer.from([1, 0, 2]), subscriptionIds: [1, 127, 128, 268435455], topicAlias: 3 },
      },
    },
    {
      ...{ cmd: 'publish', topic: 'größe/-5', payload: Buffer.from('12'), qos: 2, messageId: 65535 },
      ...{ retain: true, dup: true },
      properties: {
        ...{ payloadFormatIndicator: true, messageExpiryInterval: 60, contentType: 'text/plain', responseTopic: 'r' },
        ...{ correlationData: Buffer.from([1, 0, 2]), subscriptionIdentifier: [1, 127, 128, 268435455], topicAlias: 3 },
        ...theirs,
      },
    },
  ],
  ...(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const).flatMap((type) => [
    [4, { type, id: 258, reason: 0, ...none }, { cmd: type, messageId: 258 }] as const,
    [5, { type, id: 1, reason: 0, ...none }, { cmd: type, messageId: 1, reasonCode: 0 }] as const,
    [
      5,
      {
        type,
        id: 1,
        reason: type === 'puback' || type === 'pubrec' ? 0x97 : 0x92,
        properties: { reasonString: 'why', userProperties: pair },
      },
      {
        cmd: type,
        messageId: 1,
        reasonCode: type === 'puback' || type === 'pubrec' ? 0x97 : 0x92,
        properties: { reasonString: 'why', ...theirs },
      },
    ] as const,
  ]),
  [
    4,
    {
      type: 'subscribe',
      id: 1,
      filters: [
        { ...filter, filter: 'a/+/#' },
        { ...filter, filter: 'b', qos: 0 },
      ],
      ...none,
    },
    {
      cmd: 'subscribe',
      messageId: 1,
      subscriptions: [
        { topic: 'a/+/#', qos: 1 },
        { topic: 'b', qos: 0 },
      ],
    },
  ],
  [
    5,
    {
      ...{ type: 'subscribe', id: 2, properties: { subscriptionIds: [200] } },
      filters: [{ filter: '$share/g/#', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 }],
    },
    {
      ...{ cmd: 'subscribe', messageId: 2, properties: { subscriptionIdentifier: 200 } },
      subscriptions: [{ topic: '$share/g/#', qos: 2, nl: true, rap: true, rh: 2 }],
    },
  ],
  [4, { type: 'suback', id: 3, reasons: [0, 1, 128], ...none }, { cmd: 'suback', messageId: 3, granted: [0, 1, 128] }],
  [
    4,
    { type: 'unsubscribe', id: 4, filters: ['a', 'b/#'], ...none },
    { cmd: 'unsubscribe', messageId: 4, unsubscriptions: ['a', 'b/#'] },
  ],
  [4, { type: 'unsuback', id: 4, reasons: [], ...none }, { cmd: 'unsuback', messageId: 4, granted: [] }],
  [
    5,
    { type: 'unsuback', id: 4, reasons: [0, 17], properties: { reasonString: 'x' } },
    { cmd: 'unsuback', messageId: 4, granted: [0, 17], properties: { reasonString: 'x' } },
  ],
  [4, { type: 'pingreq' }, { cmd: 'pingreq' }],
  [5, { type: 'pingresp' }, { cmd: 'pingresp' }],
  [4, { type: 'disconnect', reason: 0, ...none }, { cmd: 'disconnect' }],
  [
    5,
    { type: 'disconnect', reason: 4, properties: { sessionExpiry: 1 } },
    { cmd: 'disconnect', reasonCode: 4, properties: { sessionExpiryInterval: 1 } },
  ],
  [
    5,
    { type: 'auth', reason: 0x18, properties: { authenticationMethod: 'm', authenticationData: Buffer.from('d') } },
    { cmd: 'auth', reasonCode: 0x18, properties: { authenticationMethod: 'm', authenticationData: Buffer.from('d') } },
  ],
];

const SMALL = SAMPLES.filter(([, packet]) => packet.type !== 'publish' || packet.payload.length < 1000);

/** What mqtt-packet reads. */
function read(bytes: Buffer, version: Version): unknown {
  const found: unknown[] = [];
  const reading = parser({ protocolVersion: version });
  reading.on('packet', (packet) => found.push({ ...packet }));
  reading.on('error', (error) => {
    throw error;
  });
  reading.parse(bytes);
  return found;
}

// ------------------------------------------------------------------------------------------------ packets

test('decode reads what mqtt-packet writes, and mqtt-packet reads what encode writes', (t) => {
  for (const [version, packet, their] of SAMPLES) {
    const bytes = generate(their, { protocolVersion: version });
    deepEqual(decode(bytes, 0, bytes.length, version), packet);
    const ours = encode(packet, version);
    deepEqual(read(ours, version), read(bytes, version));
    deepEqual(decode(ours, 0, ours.length, version), packet);
    t.pass(packet.type);
  }
});

/** The packets in these pieces, encoded again, and how many bytes are left. */
async function parse(pieces: readonly Buffer[], version: Version): Promise<{ bytes: Buffer; left: number }> {
  const reader = new StreamReader({ limit: 4 * 1024 * 1024 });
  const packets: Buffer[] = [];
  for (const piece of pieces) {
    reader.feedData(piece);
    const frames = reader.tryReadframes(MQTT);
    if (frames === undefined) continue;
    let start = 0;
    for (const end of frames.ends) {
      packets.push(encode(decode(frames.bytes, start, end, version), version));
      start = end;
    }
  }
  reader.feedEof();
  return { bytes: Buffer.concat(packets), left: (await reader.read()).length };
}

test('packets are the same in one piece, byte by byte, cut in two at every position, and followed by half a packet', async (t) => {
  for (const version of [4, 5] as const) {
    const samples = SMALL.filter(([of]) => of === version).map(([, packet]) => encode(packet, version));
    const expected = Buffer.concat(samples);
    const check = async (pieces: readonly Buffer[], extra = 0): Promise<void> => {
      const { bytes, left } = await parse(pieces, version);
      t.is(left, extra);
      t.true(bytes.equals(expected), `${pieces.length} pieces, the first of ${pieces[0]!.length}`);
    };
    await check([expected]);
    await check(Array.from(expected, (byte) => Buffer.of(byte)));
    for (let cut = 1; cut < expected.length; cut++) await check([expected.subarray(0, cut), expected.subarray(cut)]);
    await check([expected, expected.subarray(0, 5)], 5);
  }
});

test('packets are the same in random pieces', async (t) => {
  const below = randomFrom(seed(t));
  const samples = SAMPLES.filter(([version]) => version === 4).map(([, packet]) => encode(packet, 4));
  const expected = Buffer.concat(samples);
  for (let round = 0; round < 3; round++) {
    const pieces: Buffer[] = [];
    for (let at = 0; at < expected.length;) {
      const size = 1 + below(below(2) === 0 ? 40 : 200_000);
      pieces.push(expected.subarray(at, at + size));
      at += size;
    }
    const { bytes, left } = await parse(pieces, 4);
    t.is(left, 0);
    t.true(bytes.equals(expected));
  }
});

// ------------------------------------------------------------------------------------------------ bad input

/** The bytes of a packet with these fields. */
function packet(first: number, ...fields: (number | string)[]): Buffer {
  const body = Buffer.concat(
    fields.map((field) =>
      typeof field === 'number'
        ? Buffer.of(field)
        : Buffer.concat([Buffer.of(0, field.length), Buffer.from(field, 'latin1')]),
    ),
  );
  return Buffer.concat([Buffer.of(first, body.length), body]);
}

function refusal(t: ExecutionContext, bytes: Buffer, version: Version): MqttError | undefined {
  return t.throws(() => decode(bytes, 0, bytes.length, version), { instanceOf: MqttError }, bytes.toString('hex'));
}

test('a packet that the specification forbids is an MqttError with its reason', (t) => {
  const { malformed, protocolError, unsupportedVersion } = Reason;
  const cases: [string, Version, Buffer, number][] = [
    ['type 0', 4, packet(0x00), malformed],
    ['flags of a ping', 4, packet(0xc1), malformed],
    ['SUBSCRIBE without its flags', 4, packet(0x80, 0, 1, 'a', 0), malformed],
    ['AUTH in MQTT 3.1.1', 4, packet(0xf0), malformed],
    ['QoS 3', 4, packet(0x36, 'a', 0, 1), malformed],
    ['a duplicate with QoS 0', 4, packet(0x38, 'a'), malformed],
    ['packet identifier 0', 4, packet(0x32, 'a', 0, 0), protocolError],
    ['an empty topic', 4, packet(0x30, ''), protocolError],
    ['a topic with a null character', 4, packet(0x30, 'a\0b'), malformed],
    ['a topic that is not UTF-8', 4, packet(0x30, 'a\xff'), malformed],
    ['a surrogate in UTF-8', 4, packet(0x30, '\xed\xa0\x80'), malformed],
    ['a topic longer than the packet', 4, packet(0x30, 0, 5, 0x61), malformed],
    ['a PUBLISH without a topic', 4, packet(0x30), malformed],
    ['bytes after a ping', 4, packet(0xc0, 0), malformed],
    ['bytes after a PUBACK', 4, packet(0x40, 0, 1, 0), malformed],
    ['a subscription to nothing', 4, packet(0x82, 0, 1), protocolError],
    ['subscription QoS 3', 4, packet(0x82, 0, 1, 'a', 3), malformed],
    ['subscription options in MQTT 3.1.1', 4, packet(0x82, 0, 1, 'a', 4), malformed],
    ['retain handling 3', 5, packet(0x82, 0, 1, 0, 'a', 0x30), malformed],
    ['a reserved subscription option', 5, packet(0x82, 0, 1, 0, 'a', 0x40), malformed],
    ['CONNACK flags', 4, packet(0x20, 2, 0), malformed],
    ['the protocol of MQTT 3.1', 4, packet(0x10, 'MQIsdp', 3, 2, 0, 0, 'c'), unsupportedVersion],
    ['version 6', 4, packet(0x10, 'MQTT', 6, 2, 0, 0, 0, 'c'), unsupportedVersion],
    ['a reserved flag of CONNECT', 4, packet(0x10, 'MQTT', 4, 3, 0, 0, 'c'), malformed],
    ['QoS of a will that is not there', 4, packet(0x10, 'MQTT', 4, 0x0a, 0, 0, 'c'), malformed],
    ['a password without a user name', 4, packet(0x10, 'MQTT', 4, 0x42, 0, 0, 'c', 'p'), malformed],
    ['a user name that is missing', 4, packet(0x10, 'MQTT', 4, 0x82, 0, 0, 'c'), malformed],
    ['an unknown property', 5, packet(0x30, 'a', 2, 99, 0), malformed],
    ['a property of another packet', 5, packet(0x30, 'a', 3, 33, 0, 1), malformed],
    ['a property twice', 5, packet(0x30, 'a', 4, 1, 1, 1, 1), protocolError],
    ['a flag of 2', 5, packet(0x30, 'a', 2, 1, 2), protocolError],
    ['topic alias 0', 5, packet(0x30, 'a', 3, 35, 0, 0), protocolError],
    ['properties longer than the packet', 5, packet(0x30, 'a', 9), malformed],
    ['properties that end within one', 5, packet(0x30, 'a', 2, 35, 0, 1), malformed],
    ['an integer of 5 bytes', 5, packet(0x30, 'a', 6, 11, 0x80, 0x80, 0x80, 0x80, 1), malformed],
    ['a length of more bytes than it needs', 4, Buffer.from([0xc0, 0x80, 0x00]), malformed],
  ];
  for (const [name, version, bytes, reason] of cases) t.is(refusal(t, bytes, version)?.reason, reason, name);
});

/** Decodes what may be wrong. Whatever it is, there is a packet or one error. */
function attempt(bytes: Buffer, version: Version): 'read' | 'refused' {
  try {
    decode(bytes, 0, bytes.length, version);
    return 'read';
  } catch (error) {
    if (error instanceof MqttError) return 'refused';
    throw error;
  }
}

test('a packet that is cut at any byte, or has any byte changed, is read or refused', (t) => {
  const outcomes = { read: 0, refused: 0 };
  for (const [version, sample] of SMALL) {
    const bytes = encode(sample, version);
    const body = bytes.subarray(bytes[1]! < 128 ? 2 : 3);
    for (let length = 0; length < Math.min(body.length, 127); length++) {
      const cut = Buffer.concat([Buffer.of(bytes[0]!, length), body.subarray(0, length)]);
      outcomes[attempt(cut, version)]++;
    }
    for (let at = 0; at < bytes.length; at++) {
      for (const value of [0, 1, 0x7f, 0x80, 0xff, bytes[at]! ^ 1, bytes[at]! ^ 0x20]) {
        const changed = Buffer.from(bytes);
        changed[at] = value;
        outcomes[attempt(changed, version)]++;
        attempt(changed, version === 4 ? 5 : 4);
      }
    }
  }
  t.true(outcomes.read > 100, `${outcomes.read} read`);
  t.true(outcomes.refused > 1000, `${outcomes.refused} refused`);
});

test('random bytes are read or refused', (t) => {
  const below = randomFrom(seed(t));
  let refused = 0;
  for (let round = 0; round < 20_000; round++) {
    const body = Buffer.from(Array.from({ length: below(30) }, () => below(below(2) === 0 ? 256 : 4)));
    const bytes = Buffer.concat([Buffer.of(below(256), body.length), body]);
    if (attempt(bytes, below(2) === 0 ? 4 : 5) === 'refused') refused++;
  }
  t.true(refused > 1000);
});

test('a length over the limit, or of more than four bytes, is refused before the packet arrives', async (t) => {
  const framing = { ...MQTT, limit: 1000 };
  const long = new StreamReader();
  long.feedData(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]));
  const error = await t.throwsAsync(long.readframes(framing), { instanceOf: LimitOverrunError });
  t.is(error.consumed, 268_435_460);
  const wide = new StreamReader();
  wide.feedData(Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x01]));
  await t.throwsAsync(wide.readframes(framing), { instanceOf: FrameError });
});

test('EOF within a packet is an IncompleteReadError, whatever byte is the last one', async (t) => {
  const bytes = generate({ cmd: 'publish', topic: 'a', payload: 'x'.repeat(200), qos: 0, dup: false, retain: false });
  for (let length = 1; length < bytes.length; length++) {
    const reader = new StreamReader();
    reader.feedData(bytes.subarray(0, length));
    reader.feedEof();
    await t.throwsAsync(reader.readframes(MQTT), { instanceOf: IncompleteReadError });
  }
});

test('encode refuses what does not fit its field', (t) => {
  const message = { type: 'publish', payload: Buffer.of(), qos: 0, retain: false, dup: false, id: 0 } as const;
  t.throws(() => encode({ ...message, topic: 'x'.repeat(65_536), ...none }, 4), { instanceOf: RangeError });
  t.throws(() => encode({ ...message, topic: 'ü'.repeat(32_768), ...none }, 4), { instanceOf: RangeError });
  t.is(encode({ ...message, topic: 'x'.repeat(65_535), ...none }, 4).length, 65_535 + 2 + 4);
  t.throws(() => encode({ type: 'puback', id: 65_536, reason: 0, ...none }, 4), { instanceOf: RangeError });
  const properties = { subscriptionIds: [268_435_456] };
  t.throws(() => encode({ ...message, topic: 'a', properties }, 5), { instanceOf: RangeError });
  t.throws(() => encode({ ...message, topic: 'a', properties: { wrong: 1 } as object }, 5), { instanceOf: TypeError });
});

// ------------------------------------------------------------------------------------------------ topics

/** What the tree finds, without a tree. */
function matches(filter: string, topic: string): boolean {
  const [wanted, levels] = [filter.split('/'), topic.split('/')];
  if (topic.startsWith('$') && (wanted[0] === '+' || wanted[0] === '#')) return false;
  for (const [i, level] of wanted.entries()) {
    if (level === '#') return true;
    if (i >= levels.length || (level !== '+' && level !== levels[i])) return false;
  }
  return wanted.length === levels.length;
}

test('a filter matches as in the examples of the specification', (t) => {
  const cases: [filter: string, topic: string, expected: boolean][] = [
    ['sport/tennis/player1/#', 'sport/tennis/player1', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/ranking', true],
    ['sport/tennis/player1/#', 'sport/tennis/player1/score/wimbledon', true],
    ['sport/#', 'sport', true],
    ['#', 'anything/at/all', true],
    ['sport/tennis/+', 'sport/tennis/player1', true],
    ['sport/tennis/+', 'sport/tennis/player1/ranking', false],
    ['sport/+', 'sport', false],
    ['sport/+', 'sport/', true],
    ['+/+', '/finance', true],
    ['/+', '/finance', true],
    ['+', '/finance', false],
    ['+/tennis/#', 'sport/tennis', true],
    ['#', '$SYS/uptime', false],
    ['+/monitor/Clients', '$SYS/monitor/Clients', false],
    ['$SYS/#', '$SYS/uptime', true],
    ['$SYS/monitor/+', '$SYS/monitor/Clients', true],
    ['a/#', 'a/$b', true],
    ['a/+', 'a/$b', true],
    ['ACCOUNTS', 'Accounts', false],
    ['a', 'a/', false],
  ];
  for (const [filter, topic, expected] of cases) {
    t.is(matches(filter, topic), expected, `${filter} ${topic}`);
    const tree = new TopicTree<{ filter: string }, number>((found) => found.length);
    tree.add({ filter });
    t.is(tree.match(topic), expected ? 1 : 0, `${filter} ${topic} in a tree`);
  }
});

test('names and filters are valid as in the examples of the specification', (t) => {
  const levels = (n: number): string => Array(n).fill('a').join('/');
  for (const name of ['a', '/', '//', ' ', '$SYS', 'a/b c/d', levels(1000)]) t.true(isTopic(name), name);
  for (const name of ['', '#', '+', 'a/+', 'a#', 'a\0']) t.false(isTopic(name), name);
  for (const filter of ['#', '+', '+/+/#', '/', 'a//b', '/#', levels(128)]) t.true(isFilter(filter), filter);
  for (const filter of ['', 'a#', 'a/#/b', '#/', 'a+', 'a/b+/c', '+a', 'a\0', levels(129)])
    t.false(isFilter(filter), filter);
});

test('a tree of filters finds what comparing each of them finds, while subscriptions come and go', (t) => {
  const below = randomFrom(seed(t));
  const pick = (of: readonly string[]): string =>
    Array.from({ length: 1 + below(4) }, () => of[below(of.length)]).join('/');
  const tree = new TopicTree<{ filter: string }, readonly { filter: string }[]>((found) => found);
  const all = new Set<{ filter: string }>();
  for (let round = 0; round < 3000; round++) {
    const filter = pick(['a', 'b', '+', '#', '', '$c']);
    if (below(3) > 0 && isFilter(filter)) {
      const added = { filter };
      all.add(added);
      tree.add(added);
    } else if (all.size > 0) {
      const removed = [...all][below(all.size)]!;
      all.delete(removed);
      tree.delete(removed);
    }
    for (let i = 0; i < 3; i++) {
      const topic = pick(['a', 'b', '', '$c', 'd']);
      const found = tree.match(topic);
      const expected = [...all].filter(({ filter }) => matches(filter, topic));
      t.is(found.length, expected.length, topic);
      t.true(new Set([...found, ...expected]).size === found.length, topic);
    }
    if (all.size > 40)
      for (const each of [...all].slice(0, 20)) {
        all.delete(each);
        tree.delete(each);
      }
  }
  for (const each of all) tree.delete(each);
  t.deepEqual(tree, new TopicTree((found) => found) as never, 'nothing of a subscription is left');
});
