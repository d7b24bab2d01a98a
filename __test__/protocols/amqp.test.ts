/** The AMQP example: its values, methods and frames at every split, and what it refuses. RabbitMQ is in `amqp-peers.test.ts`. */
// Runs once: how a stream is divided into frames has tests of its own for each engine and each way of reading.
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { LimitOverrunError, StreamReader, TimeoutError, type Stream, type StreamServerOptions } from 'sluice';
import { Assembler, BODY, divide, FRAMING, HEADER, HEARTBEAT, METHOD } from '../../examples/protocols/amqp/amqp.js';
import {
  AmqpError,
  ClosedError,
  Connection,
  ProtocolError,
  type RefusedError,
} from '../../examples/protocols/amqp/client.js';
import type { AmqpOptions } from '../../examples/protocols/amqp/client.js';
import { FrameEncoder } from '../../examples/protocols/amqp/frame-encoder.js';
import * as methods from '../../examples/protocols/amqp/methods.js';
import { Acknowledgements, Confirms } from '../../examples/protocols/amqp/settlement.js';
import { Decoder, Encoder, type Table } from '../../examples/protocols/amqp/values.js';
import { sameBytes } from '../bytes.js';
import { certificates } from '../certificates.js';
import { deferred, serving } from '../loopback.js';
import { seed } from '../seed.js';
import { manualTimers } from '../timers.js';

const encoder = new FrameEncoder();
encoder.frameMax = 131_072;

function method<N extends methods.MethodName>(
  channel: number,
  name: N,
  fields: Partial<methods.Fieldset<N>> = {},
): Buffer {
  return Buffer.from(encoder.method(channel, name, fields));
}

function frame(type: number, channel: number, payload: Uint8Array, end = 0xce): Buffer {
  const head = Buffer.of(type, channel >> 8, channel & 255, 0, 0, 0, 0);
  head.writeUInt32BE(payload.length, 3);
  return Buffer.concat([head, payload, Buffer.of(end)]);
}

function header(size: number, properties: methods.Properties = {}): Buffer {
  const to = new Encoder();
  to.long(60 * 65_536);
  to.longlong(size);
  methods.encodeProperties(to, properties);
  return Buffer.from(to.bytes.subarray(0, to.at));
}

const deliver = (channel: number, deliveryTag: number, exchange = ''): Buffer =>
  method(channel, 'basic.deliver', { consumerTag: 'sluice-1-1', deliveryTag, exchange, routingKey: 'work' });

// ---------------------------------------------------------------------------------------------- frames

/** What the assemblers of two channels and of the connection make of frames, in order. */
function collect(t: ExecutionContext, ...pieces: readonly Buffer[]): unknown[] {
  const events: unknown[] = [];
  const assemblers = [0, 1, 2].map(
    (channel) =>
      new Assembler(
        {
          method: ({ name, fields }) => void events.push([channel, name, fields]),
          message: ({ name, fields }, properties, body) =>
            void events.push([channel, name, fields, properties, body.toString('latin1')]),
        },
        1000,
      ),
  );
  const source = new StreamReader();
  for (const piece of pieces) {
    source.feedData(piece);
    const frames = source.tryReadframes(FRAMING);
    if (frames !== undefined) divide(frames.bytes, frames.ends, (channel) => assemblers[channel] ?? null);
  }
  t.is(source.buffered, 0);
  return events;
}

const WIRE = Buffer.concat([
  method(0, 'connection.blocked', { reason: 'memory' }),
  deliver(1, 1),
  frame(HEADER, 1, header(5, { contentType: 'text/plain', headers: { a: 1 } })),
  frame(HEARTBEAT, 0, Buffer.alloc(0)),
  frame(BODY, 1, Buffer.from('hel')),
  deliver(2, 7, 'topics'),
  frame(BODY, 1, Buffer.from('lo')),
  frame(HEADER, 2, header(0)),
  method(1, 'basic.get-ok', { deliveryTag: 2, routingKey: 'ö', messageCount: 3 }),
  frame(HEADER, 1, header(1, { contentType: 'text/plain', headers: { a: 1 } })),
  frame(BODY, 1, Buffer.alloc(0)),
  frame(BODY, 1, Buffer.from('x')),
  method(1, 'basic.ack', { deliveryTag: 9, multiple: true }),
]);
const text = { contentType: 'text/plain', headers: Object.assign(Object.create(null) as Table, { a: 1 }) };
const EVENTS = [
  [0, 'connection.blocked', { reason: 'memory' }],
  [1, 'basic.deliver', { deliveryTag: 1, redelivered: false, exchange: '', routingKey: 'work' }, text, 'hello'],
  [2, 'basic.deliver', { deliveryTag: 7, redelivered: false, exchange: 'topics', routingKey: 'work' }, {}, ''],
  [
    1,
    'basic.get-ok',
    { deliveryTag: 2, redelivered: false, exchange: '', routingKey: 'ö', messageCount: 3 },
    text,
    'x',
  ],
  [1, 'basic.ack', { deliveryTag: 9, multiple: true }],
];

test('methods and messages of several channels are the same at every split', (t) => {
  t.deepEqual(collect(t, WIRE), EVENTS);
  for (let cut = 1; cut < WIRE.length; cut++) {
    t.deepEqual(collect(t, WIRE.subarray(0, cut), WIRE.subarray(cut)), EVENTS, `cut at ${cut}`);
  }
  t.deepEqual(collect(t, ...Array.from(WIRE, (byte) => Buffer.of(byte))), EVENTS, 'byte by byte');
  const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 30, maxLength: 30 });
  for (const random of fc.sample(sizes, { numRuns: 30, seed: seed(t) })) {
    let at = 0;
    const pieces = random.map((size) => WIRE.subarray(at, (at += size)));
    t.deepEqual(collect(t, ...pieces, WIRE.subarray(at)), EVENTS);
  }
});

test('any byte of the frames may be changed: the result is a ProtocolError or other values, never anything else', (t) => {
  for (let at = 0; at < WIRE.length; at++) {
    for (const value of [0, 1, 0x7f, 0xff]) {
      const wire = Buffer.from(WIRE);
      wire[at] = value;
      const source = new StreamReader({ limit: 4096 });
      source.feedData(wire);
      source.feedEof();
      try {
        const frames = source.tryReadframes(FRAMING)!;
        const receiver = { method: () => {}, message: () => {} };
        const assemblers = [0, 1, 2].map(() => new Assembler(receiver, 1000));
        divide(frames.bytes, frames.ends, (channel) => assemblers[channel] ?? null);
      } catch (error) {
        if (error instanceof ProtocolError || error instanceof LimitOverrunError) continue;
        if ((error as { code?: string }).code === 'ERR_INCOMPLETE_READ') continue;
        throw error;
      }
    }
  }
  t.pass();
});

// ---------------------------------------------------------------------------------------------- values and methods

const decoded = <T>(bytes: Buffer, read: (from: Decoder) => T): T => {
  const from = new Decoder().over(bytes, 0, bytes.length);
  const value = read(from);
  if (from.at !== bytes.length) throw new Error(`${bytes.length - from.at} bytes left`);
  return value;
};

/** The lengths at which bytes that were cut off are not refused by a `ProtocolError`. */
function accepted(bytes: Buffer, read: (from: Decoder) => unknown): number[] {
  return Array.from(bytes, (_, length) => length).filter((length) => {
    try {
      decoded(bytes.subarray(0, length), read);
      return true;
    } catch (error) {
      return !(error instanceof ProtocolError);
    }
  });
}

test('a table with a value of each type is read as RabbitMQ writes it', (t) => {
  const values: readonly [string, string, unknown][] = [
    ['t', '01', true],
    ['b', 'ff', -1],
    ['B', 'ff', 255],
    ['s', 'fffe', -2],
    ['u', 'fffe', 65_534],
    ['I', 'fffffffd', -3],
    ['i', 'fffffffd', 4_294_967_293],
    ['l', 'fffffffffffffffc', -4],
    ['l', '7fffffffffffffff', 2n ** 63n - 1n],
    ['f', '3fc00000', 1.5],
    ['d', '3ff8000000000000', 1.5],
    ['D', '0200000096', 1.5],
    ['S', '00000002c3b6', 'ö'],
    ['x', '000000020102', Buffer.of(1, 2)],
    ['T', '0000000065000000', new Date(0x65000000 * 1000)],
    ['A', '000000047401' + '7400', [true, false]],
    ['F', '0000000401617401', Object.assign(Object.create(null) as Table, { a: true })],
    ['V', '', null],
  ];
  for (const [type, hex, expected] of values) {
    const field = Buffer.concat([Buffer.of(1, 0x6b), Buffer.from(type), Buffer.from(hex, 'hex')]);
    const size = Buffer.alloc(4);
    size.writeUInt32BE(field.length);
    const table = decoded(Buffer.concat([size, field]), (from) => from.table());
    t.deepEqual(table['k'], expected as never, type);
  }
});

const value: fc.Arbitrary<unknown> = fc.letrec((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, true, false),
    fc.double({ noNaN: true }).map((n) => n + 0),
    fc.maxSafeInteger().map((n) => n + 0),
    fc.string({ unit: 'grapheme' }),
    fc.uint8Array({ maxLength: 10 }).map((bytes) => Buffer.from(bytes)),
    fc.integer({ min: 0, max: 2 ** 32 }).map((s) => new Date(s * 1000)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ maxLength: 20 }), tie('value'), { maxKeys: 4, noNullPrototype: false }).map(bare),
  ),
})).value;

function bare(table: Record<string, unknown>): Table {
  return Object.assign(Object.create(null) as Table, table);
}

test('what is encoded is decoded to the same: tables, properties, and every method', (t) => {
  const run = { numRuns: 200, seed: seed(t) };
  const encoded = (write: (to: Encoder) => void): Buffer => {
    const to = new Encoder();
    write(to);
    return to.bytes.subarray(0, to.at);
  };
  const tables = fc.dictionary(fc.string({ maxLength: 20 }), value, { maxKeys: 5 }).map(bare);
  fc.assert(
    fc.property(tables, (table) => {
      const bytes = encoded((to) => to.table(table));
      t.deepEqual(
        decoded(bytes, (from) => from.table()),
        table,
      );
    }),
    run,
  );
  const of: Record<string, fc.Arbitrary<unknown>> = {
    octet: fc.nat(255),
    short: fc.nat(65_535),
    long: fc.nat(2 ** 32 - 1),
    longlong: fc.maxSafeNat(),
    bit: fc.boolean(),
    shortstr: fc.string({ maxLength: 30 }),
    longstr: fc.string({ unit: 'grapheme' }),
    table: tables,
  };
  for (const [name, { fields }] of Object.entries(methods.METHODS)) {
    const shape = Object.fromEntries(Object.entries(fields).map(([field, type]) => [field, of[type as string]!]));
    fc.assert(
      fc.property(fc.record(shape, { noNullPrototype: true }), (given) => {
        const bytes = encoded((to) => methods.encodeMethod(to, name as methods.MethodName, given));
        t.deepEqual(decoded(bytes, methods.decodeMethod), { name, fields: given });
        t.deepEqual(accepted(bytes, methods.decodeMethod), []);
        const longer = Buffer.concat([bytes, Buffer.of(0)]);
        t.throws(() => decoded(longer, methods.decodeMethod), { instanceOf: ProtocolError });
      }),
      { ...run, numRuns: 3 },
    );
  }
  const properties: methods.Properties = {
    ...{ contentType: 'a', contentEncoding: 'b', headers: bare({ c: 'd' }), deliveryMode: 2, priority: 9 },
    ...{ correlationId: 'e', replyTo: 'f', expiration: '10', messageId: 'g', timestamp: 1_700_000_000, type: 'h' },
    ...{ userId: 'i', appId: 'j', clusterId: 'k' },
  };
  const names = Object.keys(properties) as (keyof methods.Properties)[];
  for (const some of [names, [], ...names.map((name) => [name])]) {
    const given = Object.fromEntries(some.map((name) => [name, properties[name]])) as methods.Properties;
    const bytes = encoded((to) => methods.encodeProperties(to, given));
    t.deepEqual(decoded(bytes, methods.decodeProperties), given);
    t.deepEqual(accepted(bytes, methods.decodeProperties), []);
  }
});

test('a frame that the broker would not accept is not sent', (t) => {
  const small = new FrameEncoder();
  t.throws(() => small.method(1, 'queue.declare', { arguments: { a: 'x'.repeat(4096) } }), { instanceOf: RangeError });
  t.throws(() => small.method(1, 'queue.declare', { queue: 'x'.repeat(256) }), { instanceOf: RangeError });
  const frames = Buffer.concat(small.publish(1, '', 'q', false, {}, Buffer.alloc(10_000)));
  const source = new StreamReader({ limit: 4096 });
  source.feedData(frames);
  t.deepEqual(
    [...source.tryReadframes(FRAMING)!].map((each) => [each[0], each.length]),
    [
      [METHOD, 8 + 9 + 1],
      [HEADER, 8 + 14],
      [BODY, 4096],
      [BODY, 4096],
      [BODY, 8 + 10_000 - 2 * 4088],
    ],
  );
});

// ---------------------------------------------------------------------------------------------- settlement

test('a message in many short frames takes no more memory than its bytes, and at most twice as much while it arrives', (t) => {
  const bodies: Buffer[] = [];
  const assembler = new Assembler({ method: () => {}, message: (_, __, body) => void bodies.push(body) }, 1 << 20);
  const one = frame(BODY, 1, Buffer.of(7));
  const many = Buffer.concat(new Array<Buffer>(1000).fill(one));
  const ends = Uint32Array.from({ length: 1000 }, (_, i) => (i + 1) * one.length);
  const whole = (size: number): void => {
    for (const bytes of [deliver(1, 1), frame(HEADER, 1, header(size))]) {
      divide(bytes, Uint32Array.of(bytes.length), () => assembler);
    }
  };
  whole(1_000_000);
  const before = process.memoryUsage();
  for (let i = 0; i < 999; i++) divide(many, ends, () => assembler);
  const after = process.memoryUsage();
  t.true(after.heapUsed - before.heapUsed < 30e6, `${after.heapUsed - before.heapUsed} bytes`);
  t.deepEqual(bodies, []);
  divide(many, ends, () => assembler);
  sameBytes(t, bodies, [Buffer.alloc(1_000_000, 7)]);
  t.true(bodies[0]!.buffer.byteLength < 1_100_000);
  whole(0);
  t.is(bodies[1]?.length, 0);
});

test('messages with equal headers share them, so they cannot be changed', (t) => {
  const from = new Decoder();
  const to = new Encoder();
  to.table({ a: { b: [1] } });
  const table = from.over(to.bytes, 0, to.at).table();
  t.true(Object.isFrozen(table) && Object.isFrozen(table['a']) && Object.isFrozen((table['a'] as Table)['b']));
});

test('acknowledgements in order wait for each other; the others are sent at once', (t) => {
  const messages = new Acknowledgements();
  for (let tag = 1; tag <= 6; tag++) messages.received(tag, false);
  t.is(messages.ack(2), 'now');
  t.is(messages.ack(1), 'first');
  t.is(messages.ack(3), 'later');
  t.is(messages.flush(), 3);
  t.is(messages.flush(), 0);
  messages.settle(4);
  t.is(messages.ack(5), 'first');
  for (const tag of [2, 5, 7]) t.throws(() => messages.ack(tag), { instanceOf: RangeError });
  t.throws(() => messages.received(8, false), { instanceOf: ProtocolError });
});

test('after a recovery no message waits for an answer, and the next ones are acknowledged together again', (t) => {
  const acknowledgements = new Acknowledgements();
  for (let tag = 1; tag <= 4; tag++) acknowledgements.received(tag, false);
  t.is(acknowledgements.ack(3), 'now');
  acknowledgements.recovered();
  for (const tag of [1, 2, 3, 4]) t.throws(() => acknowledgements.ack(tag), { instanceOf: RangeError });
  for (const tag of [5, 6]) acknowledgements.received(tag, false);
  t.deepEqual([acknowledgements.ack(5), acknowledgements.ack(6), acknowledgements.flush()], ['first', 'later', 6]);
});

test('confirms in any order, of one or many messages; a refusal is reported once', async (t) => {
  const confirms = new Confirms();
  const order: string[] = [];
  const wait = (tag: number): void =>
    void confirms.wait(tag).then(
      () => order.push(`${tag}`),
      (error: unknown) => order.push(`${tag}: ${(error as RefusedError).tags.join()}`),
    );
  for (let i = 1; i <= 8; i++) confirms.publish();
  for (const tag of [8, 3, 5]) wait(tag);
  confirms.settle(2, false, false);
  confirms.settle(3, false, true);
  await Promise.resolve();
  t.deepEqual(order, []);
  confirms.settle(1, false, true);
  await Promise.resolve();
  t.deepEqual(order, ['3: 2']);
  confirms.settle(7, true, false);
  await Promise.resolve();
  t.deepEqual(order, ['3: 2', '5: 4,5']);
  for (const tag of [7, 9]) t.throws(() => confirms.settle(tag, false, true), { instanceOf: ProtocolError });
  confirms.settle(0, true, true);
  await Promise.resolve();
  t.deepEqual(order, ['3: 2', '5: 4,5', '8: 6,7']);
  await confirms.wait(8);
  const last = confirms.wait(confirms.publish());
  confirms.fail(new ClosedError('closed'));
  await t.throwsAsync(last, { instanceOf: ClosedError });
  await t.throwsAsync(confirms.wait(9), { instanceOf: ClosedError });
});

// ---------------------------------------------------------------------------------------------- a broker that misbehaves

const START = method(0, 'connection.start', { minor: 9, mechanisms: 'PLAIN AMQPLAIN', locales: 'en_US' });
const TUNE = method(0, 'connection.tune', { channelMax: 10, frameMax: 4096, heartbeat: 0 });
const OPEN_OK = method(0, 'connection.open-ok');
const CHANNEL_OK = method(1, 'channel.open-ok');
const CONSUME_OK = method(1, 'basic.consume-ok', { consumerTag: 'sluice-1-1' });
/** What a broker sends, and after how many frames of the client: its whole part of {@link session}. */
const SCRIPT: readonly (readonly [Buffer, number])[] = [
  [START, 1],
  [TUNE, 2],
  [OPEN_OK, 1],
  [CHANNEL_OK, 1],
  [
    Buffer.concat([
      CONSUME_OK,
      deliver(1, 1),
      frame(HEADER, 1, header(2, { priority: 1 })),
      frame(BODY, 1, Buffer.from('hi')),
    ]),
    0,
  ],
];

/** A broker that sends a script and then ends. `said` is what clients say after the script. */
async function broker(
  t: ExecutionContext,
  script: readonly (readonly [Buffer, number])[],
  end: (stream: Stream) => Promise<void> = () => Promise.resolve(),
  options: StreamServerOptions = {},
): Promise<{ port: number; said: string[] }> {
  const said: string[] = [];
  const handler = async (stream: Stream): Promise<void> => {
    if ((await stream.read(8)).length === 0) return;
    for (const [bytes, frames] of script) {
      void stream.write(bytes);
      for (let i = 0; i < frames; i++) if ((await stream.readframe(FRAMING)) === null) return;
    }
    await end(stream);
    await stream.writeEof().catch(() => {});
    for await (const each of stream.frames(FRAMING)) {
      const { name, fields } = decoded(each.subarray(7, -1), methods.decodeMethod);
      said.push(name === 'connection.close' ? `close ${fields.code}` : name);
    }
  };
  const { port } = await serving(t, handler, options);
  return { port, said };
}

/** Connects, consumes, and returns the one message that comes, or rejects with why it does not. */
async function session(port: number, options: AmqpOptions = {}): Promise<string> {
  const connection = await Connection.open({ host: '127.0.0.1', port, timeout: 60_000, ...options });
  try {
    const channel = await connection.channel();
    const message = new Promise<string>((resolve) => {
      void channel.consume('work', ({ body }) => resolve(body.toString())).catch(() => {});
    });
    return await Promise.race([message, connection.closed.then(() => '')]);
  } finally {
    await connection.close().catch(() => {});
  }
}

const errorOf = async (promise: Promise<unknown>): Promise<Error | null> =>
  promise.then(
    () => null,
    (error: unknown) => error as Error,
  );

test('a broker that leaves after any byte of a session ends it with one clear error', async (t) => {
  const whole = await broker(t, SCRIPT);
  t.is(await session(whole.port), 'hi');
  for (let part = 0; part < SCRIPT.length; part++) {
    const [bytes] = SCRIPT[part]!;
    for (let length = 0; length < bytes.length; length += length < bytes.length - 9 ? 7 : 1) {
      const { port } = await broker(t, [...SCRIPT.slice(0, part), [bytes.subarray(0, length), 0]]);
      const error = await errorOf(session(port));
      t.regex(String(error), /EOF|The broker closed the connection and did not say why/, `${part}: ${length}`);
    }
  }
});

test('a session over TLS', async (t) => {
  const { ca, server } = await certificates();
  const { port } = await broker(t, SCRIPT, (stream) => stream.close(), { ssl: server });
  t.is(await session(port, { host: 'localhost', connect: { ssl: { ca } } }), 'hi');
  t.regex(String(await errorOf(session(port, { host: 'localhost', connect: { ssl: true } }))), /certificate/i);
});

test('a wrong byte anywhere in what a broker sends ends the session with one clear error, or does not matter', async (t) => {
  const names = new Set<string>();
  for (let part = 0; part < SCRIPT.length; part++) {
    const [bytes] = SCRIPT[part]!;
    for (let at = 0; at < bytes.length; at++) {
      const wrong = Buffer.from(bytes);
      wrong[at]! ^= 0x81;
      const { port } = await broker(t, [...SCRIPT.slice(0, part), [wrong, 0]]);
      const error = await errorOf(session(port));
      names.add(error?.name ?? 'none');
    }
  }
  t.deepEqual([...names].sort(), ['Error', 'IncompleteReadError', 'LimitOverrunError', 'ProtocolError', 'none']);
});

const OPENED = SCRIPT.slice(0, -1);
const DELIVERY = Buffer.concat([CONSUME_OK, deliver(1, 1)]);

test('what a broker must not send is refused with one error, whose reason the broker receives', async (t) => {
  const nested = (depth: number): Buffer => {
    let inner = Buffer.alloc(0);
    for (let i = 0; i < depth; i++) {
      const size = Buffer.alloc(4);
      size.writeUInt32BE(inner.length);
      inner = Buffer.concat([Buffer.from('\x01kF', 'latin1'), size, inner]);
    }
    const to = new Encoder();
    to.long(60 * 65_536);
    to.longlong(0);
    to.short(0x2000);
    to.long(inner.length);
    to.append(inner);
    return to.bytes.subarray(0, to.at);
  };
  const bad: readonly [string, Buffer, number, RegExp][] = [
    ['a frame of 4 GiB', Buffer.from('0100 01ff ffff ff'.replaceAll(' ', ''), 'hex'), 501, /4294967303/],
    ['no CE', frame(METHOD, 1, Buffer.alloc(4), 0xcd), 501, /does not end with CE/],
    ['an unknown type of frame', frame(4, 1, Buffer.alloc(0)), 505, /frame of type 4/],
    ['a heartbeat with content', frame(HEARTBEAT, 0, Buffer.alloc(1)), 501, /heartbeat/],
    ['a heartbeat on a channel', frame(HEARTBEAT, 1, Buffer.alloc(0)), 501, /heartbeat/],
    ['a channel that is not open', method(2, 'channel.flow'), 504, /channel 2, which is not open/],
    ['an unknown method', frame(METHOD, 1, Buffer.of(0, 60, 0, 99)), 503, /unknown method 60\.99/],
    ['a method without fields', frame(METHOD, 1, Buffer.of(0, 60, 0, 60)), 502, /where 0 are left/],
    ['an empty method', frame(METHOD, 1, Buffer.alloc(0)), 502, /4 bytes where 0 are left/],
    ['an answer to nothing', method(1, 'queue.declare-ok'), 503, /unexpected queue\.declare-ok/],
    ['an answer to something else', method(1, 'basic.qos-ok'), 503, /unexpected basic\.qos-ok/],
    ['a method of the server', method(1, 'basic.publish'), 503, /unexpected basic\.publish/],
    ['a message on channel 0', Buffer.concat([deliver(0, 1), frame(HEADER, 0, header(0))]), 503, /on channel 0/],
    ['a confirm without confirms', method(1, 'basic.ack', { deliveryTag: 1 }), 503, /without confirms/],
    ['a header without a method', frame(HEADER, 1, header(0)), 505, /frame of type 2/],
    ['a body without a header', Buffer.concat([DELIVERY, frame(BODY, 1, Buffer.alloc(1))]), 505, /frame of type 3/],
    ['two headers', Buffer.concat([DELIVERY, frame(HEADER, 1, header(1)), frame(HEADER, 1, header(1))]), 505, /type 2/],
    ['a method within a message', Buffer.concat([DELIVERY, CONSUME_OK]), 505, /within a message/],
    ['a body of 2^53', Buffer.concat([DELIVERY, frame(HEADER, 1, header(2 ** 53))]), 502, /2\^53 - 1/],
    ['a body of 2^50', Buffer.concat([DELIVERY, frame(HEADER, 1, header(2 ** 50))]), 501, /the maximum is 16777216/],
    [
      'too much body',
      Buffer.concat([DELIVERY, frame(HEADER, 1, header(1)), frame(BODY, 1, Buffer.alloc(2))]),
      501,
      /lacks 1/,
    ],
    ['a header of a class', Buffer.concat([DELIVERY, frame(HEADER, 1, Buffer.alloc(14))]), 502, /class 0/],
    ['deep tables', Buffer.concat([DELIVERY, frame(HEADER, 1, nested(50))]), 502, /nested more than 16 deep/],
    [
      'a wrong consumer',
      Buffer.concat([CONSUME_OK, deliverTo('other'), frame(HEADER, 1, header(0))]),
      503,
      /unknown consumer/,
    ],
    [
      'a message that is not the next',
      Buffer.concat([CONSUME_OK, deliver(1, 2), frame(HEADER, 1, header(0))]),
      503,
      /message 2 where 1/,
    ],
  ];
  for (const [what, bytes, code, message] of bad) {
    const { port, said } = await broker(t, [...OPENED, [bytes, 0]]);
    const error = await errorOf(session(port));
    t.regex(String(error?.message), message, what);
    t.deepEqual(said, [`close ${code}`], what);
  }
});

function deliverTo(consumerTag: string): Buffer {
  return method(1, 'basic.deliver', { consumerTag, deliveryTag: 1 });
}

test('a handshake that cannot go on is refused: another version, no PLAIN, small frames, wrong order', async (t) => {
  const noPlain = method(0, 'connection.start', { minor: 9, mechanisms: 'EXTERNAL' });
  const small = method(0, 'connection.tune', { frameMax: 4095 });
  const bad: readonly [readonly (readonly [Buffer, number])[], RegExp, string[]][] = [
    [[[Buffer.from('AMQP\0\x01\0\0', 'latin1'), 0]], /version 1\.0\.0, not 0\.9\.1/, ['close 502']],
    [[[noPlain, 0]], /EXTERNAL to log in, but not PLAIN/, ['close 502']],
    [
      [
        [START, 1],
        [small, 0],
      ],
      /at most 4095 bytes/,
      ['close 501'],
    ],
    [[[TUNE, 0]], /unexpected connection\.tune/, ['close 503']],
    [[[Buffer.from('HTTP/1.1 400 Bad Request\r\n'), 0]], /limit/, ['close 501']],
  ];
  for (const [script, message, last] of bad) {
    const { port, said } = await broker(t, script);
    t.regex(String((await errorOf(Connection.open({ host: '127.0.0.1', port })))?.message), message);
    t.deepEqual(said, last);
  }
  await t.throwsAsync(Connection.open({ frameMax: 4095 }), { instanceOf: RangeError });
});

test('a broker that is silent is given up: in the handshake, and after two heartbeats', async (t) => {
  const silence = async (stream: Stream): Promise<void> => {
    await stream.read();
  };
  const silent = await broker(t, [], silence);
  const host = '127.0.0.1';
  await t.throwsAsync(Connection.open({ host, port: silent.port, timeout: 20 }), { instanceOf: TimeoutError });

  const beats: number[] = [];
  const tune = method(0, 'connection.tune', { heartbeat: 1 });
  const beating = await broker(
    t,
    [
      [START, 1],
      [tune, 2],
      [OPEN_OK, 0],
    ],
    async (stream) => {
      for await (const each of stream.frames(FRAMING)) beats.push(each[0]!);
    },
  );
  const connection = await Connection.open({ host, port: beating.port });
  await t.throwsAsync(connection.closed, { instanceOf: TimeoutError, message: /sent nothing for 2000 ms/ });
  t.true(beats.length >= 2 && beats.every((type) => type === HEARTBEAT), beats.join());
  await t.throwsAsync(connection.channel(), { instanceOf: TimeoutError });
});

// The same timeout is for the handshake, which takes as long as the machine is busy.
test.serial('a broker that does not agree to close is given up after the timeout', async (t) => {
  const script = [
    [START, 1],
    [TUNE, 2],
    [OPEN_OK, 0],
  ] as const;
  const { port } = await broker(t, script, async (stream) => {
    await stream.read();
  });
  const timers = manualTimers(t);
  const connection = await Connection.open({ host: '127.0.0.1', port, timeout: 5000 });
  timers.tick(60_000);
  const closed = t.throwsAsync(connection.close(), { instanceOf: TimeoutError, message: /sent nothing for 5000 ms/ });
  timers.tick(5000);
  await closed;
});

test('what waits on a channel is rejected with the reason, when the broker closes the channel or the connection', async (t) => {
  const CONFIRMING = [...OPENED, [method(1, 'confirm.select-ok'), 2]] as const;
  const reason = { code: 404, text: 'NOT_FOUND' };
  for (const [scope, ending] of [
    ['channel', method(1, 'channel.close', reason)],
    ['connection', method(0, 'connection.close', reason)],
  ] as const) {
    const { port, said } = await broker(t, [...CONFIRMING, [ending, 0]]);
    const connection = await Connection.open({ host: '127.0.0.1', port });
    const channel = await connection.channel();
    await channel.confirm();
    channel.publish('nowhere', '', '');
    const waiting = [channel.confirmed(), channel.get('work'), channel.call('queue.purge', { queue: 'work' })];
    for (const each of waiting) {
      const error = await errorOf(each);
      t.true(error instanceof AmqpError && error.scope === scope && error.code === 404, String(error));
    }
    t.is(channel.error?.message, `The broker closed the ${scope}: 404 NOT_FOUND`);
    t.throws(() => channel.publish('', '', ''), { instanceOf: AmqpError });
    await t.throwsAsync(channel.confirmed(), { instanceOf: AmqpError });
    await channel.close();
    await errorOf(connection.close());
    t.true(said.includes(`${scope}.close-ok`), said.join());
  }
});

const bug = new Error('a bug');

/** The ways in which a callback can fail. */
function failures(error: unknown): (() => void | PromiseLike<void>)[] {
  return [
    () => {
      throw error;
    },

    () => Promise.reject(error),
    () => ({ then: (_, reject) => Promise.resolve(reject?.(error)) as never }),
  ];
}

test('what a consumer throws or rejects with closes the connection, and is the error that others get', async (t) => {
  for (const fail of failures(bug)) {
    const { port, said } = await broker(t, SCRIPT);
    const connection = await Connection.open({ host: '127.0.0.1', port });
    const channel = await connection.channel();
    await channel.consume('work', fail);
    t.is(await errorOf(connection.closed), bug);
    t.is(channel.error, bug);
    t.is(await errorOf(channel.get('work')), bug);
    t.deepEqual(said, ['close 541']);
  }
});

test('other callbacks that fail close the connection in the same way', async (t) => {
  const origin = { code: 312, text: 'no route', exchange: '', routingKey: 'none' };
  const sent = [
    method(0, 'connection.blocked', { reason: 'memory' }),
    method(0, 'connection.unblocked'),
    method(1, 'basic.cancel', { consumerTag: 'sluice-1-1', noWait: true }),
    Buffer.concat([method(1, 'basic.return', origin), frame(HEADER, 1, header(0))]),
  ];
  for (const [each, bytes] of sent.entries()) {
    for (const fail of failures(bug)) {
      const { port, said } = await broker(t, [...OPENED, [Buffer.concat([CONSUME_OK, bytes]), 0]]);
      const onBlocked = (reason: string | null): void | PromiseLike<void> =>
        (reason === null) === (each === 1) ? fail() : undefined;
      const connection = await Connection.open({ host: '127.0.0.1', port, onBlocked });
      const channel = await connection.channel();
      channel.onReturn = fail;
      await channel.consume('work', () => {}, { onCancel: fail });
      t.is(await errorOf(connection.closed), bug);
      t.is(channel.error, bug);
      t.deepEqual(said, ['close 541']);
    }
  }
});

test('a consumer that fails with anything but an error ends the calls too, and one that fails later changes nothing', async (t) => {
  for (const fail of failures(undefined)) {
    const { port } = await broker(t, SCRIPT);
    const connection = await Connection.open({ host: '127.0.0.1', port });
    const channel = await connection.channel();
    await channel.consume('work', fail);
    const error = await errorOf(connection.closed);
    t.like(error, { message: 'A callback has failed', cause: undefined });
    t.is(channel.error, error);
  }
  const agree = async (stream: Stream): Promise<void> => {
    await stream.readframe(FRAMING);
    void stream.write(method(0, 'connection.close-ok'));
  };
  const { port } = await broker(t, SCRIPT, agree);
  const connection = await Connection.open({ host: '127.0.0.1', port });
  const channel = await connection.channel();
  const late = deferred();
  await new Promise<void>((resolve) => {
    void channel.consume('work', () => {
      resolve();
      return late.promise;
    });
  });
  const closing = connection.close();
  late.reject(bug);
  await closing;
  await connection.closed;
  t.true(channel.error instanceof ClosedError);
});

test('a call with a value that cannot be sent rejects, and the next call gets its own answer', async (t) => {
  const { port } = await broker(t, [...OPENED, [method(1, 'queue.purge-ok', { messageCount: 3 }), 0]]);
  const connection = await Connection.open({ host: '127.0.0.1', port });
  const channel = await connection.channel();
  const long = 'x'.repeat(256);
  await t.throwsAsync(channel.call('queue.purge', { queue: long }), { instanceOf: RangeError });
  await t.throwsAsync(channel.get(long), { instanceOf: RangeError });
  await t.throwsAsync(
    channel.consume(long, () => {}),
    { instanceOf: RangeError },
  );
  await t.throwsAsync(channel.prefetch(-1), { instanceOf: RangeError });
  t.deepEqual(await channel.call('queue.purge', { queue: 'work' }), { messageCount: 3 });
  await errorOf(connection.close());
});

test('a channel reports that it is closed, also to a program that only consumes', async (t) => {
  const reason = { code: 406, text: 'PRECONDITION_FAILED' };
  const { port } = await broker(t, [...SCRIPT, [method(1, 'channel.close', reason), 0]]);
  const connection = await Connection.open({ host: '127.0.0.1', port });
  const channel = await connection.channel();
  await channel.consume('work', () => {});
  t.is(await errorOf(channel.closed), channel.error);
  t.true(channel.error instanceof AmqpError);
  await errorOf(connection.close());

  const other = await Connection.open({ host: '127.0.0.1', port: (await broker(t, SCRIPT)).port });
  const lost = await other.channel();
  await lost.consume('work', () => {});
  t.is(await errorOf(lost.closed), await errorOf(other.closed));

  const agreed = [...OPENED, [method(1, 'channel.close-ok'), 0]] as const;
  const third = await Connection.open({ host: '127.0.0.1', port: (await broker(t, agreed)).port });
  const closed = await third.channel();
  await closed.close();
  await closed.closed;
  await errorOf(third.close());
});

test('what was acknowledged is sent before the next method', async (t) => {
  const sent: string[] = [];
  const [last, frames] = SCRIPT.at(-1)!;
  const { port } = await broker(t, [...OPENED, [last, frames]], async (stream) => {
    for await (const each of stream.frames(FRAMING)) {
      sent.push(decoded(each.subarray(7, -1), methods.decodeMethod).name);
      if (sent.at(-1) === 'tx.commit') return;
    }
  });
  const connection = await Connection.open({ host: '127.0.0.1', port });
  const channel = await connection.channel();
  const committed = new Promise<unknown>((resolve) => {
    void channel.consume('work', (message) => {
      message.ack();
      resolve(errorOf(channel.call('tx.commit', {})));
    });
  });
  await committed;
  await errorOf(connection.close());
  t.deepEqual(sent, ['basic.ack', 'tx.commit']);
});

test('a broker that asks without an end and does not read the answers is given up', async (t) => {
  const asks = Buffer.concat(new Array<Buffer>(20_000).fill(method(1, 'channel.flow', { active: true })));
  const opened = [...OPENED.slice(0, -1), [Buffer.concat([CHANNEL_OK, asks]), 0]] as const;
  const { port, said } = await broker(t, opened);
  const connection = await Connection.open({ host: '127.0.0.1', port });
  await connection.channel();
  await t.throwsAsync(connection.closed, { instanceOf: ProtocolError, message: /does not read the answers/ });
  t.is(said.at(-1), 'close 504');
});

test('options that are undefined have their defaults', async (t) => {
  const { port } = await broker(t, SCRIPT);
  const none = { user: undefined, password: undefined, heartbeat: undefined, frameMax: undefined, timeout: undefined };
  t.is(await session(port, { ...none, virtualHost: undefined, maxMessage: undefined }), 'hi');
});
