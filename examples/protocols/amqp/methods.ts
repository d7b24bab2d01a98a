/** The methods of AMQP 0-9-1 that a client sends and receives, with RabbitMQ's extensions, and the properties of messages. */
import { ProtocolError } from './errors.js';
import type { Decoder, Encoder, FieldType, FieldTypes } from './values.js';

type Fields = Readonly<Record<string, FieldType>>;
interface Layout<F extends Fields> {
  /** The class in the upper 16 bits, the method in the lower. */
  readonly id: number;
  readonly fields: F;
}

function layout<F extends Fields>(type: number, method: number, fields: F): Layout<F> {
  return { id: type * 65_536 + method, fields };
}

const closing = { code: 'short', text: 'shortstr', type: 'short', method: 'short' } as const;
const binding = { queue: 'shortstr', exchange: 'shortstr', routingKey: 'shortstr' } as const;
const exchanges = { destination: 'shortstr', source: 'shortstr', routingKey: 'shortstr' } as const;
const ticket = { ticket: 'short' } as const;
const noWait = { noWait: 'bit', arguments: 'table' } as const;
const delivered = { redelivered: 'bit', exchange: 'shortstr', routingKey: 'shortstr' } as const;

// prettier-ignore
export const METHODS = {
  'connection.start': layout(10, 10, { major: 'octet', minor: 'octet', properties: 'table', mechanisms: 'longstr', locales: 'longstr' }),
  'connection.start-ok': layout(10, 11, { properties: 'table', mechanism: 'shortstr', response: 'longstr', locale: 'shortstr' }),
  'connection.tune': layout(10, 30, { channelMax: 'short', frameMax: 'long', heartbeat: 'short' }),
  'connection.tune-ok': layout(10, 31, { channelMax: 'short', frameMax: 'long', heartbeat: 'short' }),
  'connection.open': layout(10, 40, { virtualHost: 'shortstr', capabilities: 'shortstr', insist: 'bit' }),
  'connection.open-ok': layout(10, 41, { knownHosts: 'shortstr' }),
  'connection.close': layout(10, 50, closing),
  'connection.close-ok': layout(10, 51, {}),
  'connection.blocked': layout(10, 60, { reason: 'shortstr' }),
  'connection.unblocked': layout(10, 61, {}),
  'channel.open': layout(20, 10, { outOfBand: 'shortstr' }),
  'channel.open-ok': layout(20, 11, { channelId: 'longstr' }),
  'channel.flow': layout(20, 20, { active: 'bit' }),
  'channel.flow-ok': layout(20, 21, { active: 'bit' }),
  'channel.close': layout(20, 40, closing),
  'channel.close-ok': layout(20, 41, {}),
  'exchange.declare': layout(40, 10, { ...ticket, exchange: 'shortstr', type: 'shortstr', passive: 'bit', durable: 'bit', autoDelete: 'bit', internal: 'bit', ...noWait }),
  'exchange.declare-ok': layout(40, 11, {}),
  'exchange.delete': layout(40, 20, { ...ticket, exchange: 'shortstr', ifUnused: 'bit', noWait: 'bit' }),
  'exchange.delete-ok': layout(40, 21, {}),
  'exchange.bind': layout(40, 30, { ...ticket, ...exchanges, ...noWait }),
  'exchange.bind-ok': layout(40, 31, {}),
  'exchange.unbind': layout(40, 40, { ...ticket, ...exchanges, ...noWait }),
  'exchange.unbind-ok': layout(40, 51, {}),
  'queue.declare': layout(50, 10, { ...ticket, queue: 'shortstr', passive: 'bit', durable: 'bit', exclusive: 'bit', autoDelete: 'bit', ...noWait }),
  'queue.declare-ok': layout(50, 11, { queue: 'shortstr', messageCount: 'long', consumerCount: 'long' }),
  'queue.bind': layout(50, 20, { ...ticket, ...binding, ...noWait }),
  'queue.bind-ok': layout(50, 21, {}),
  'queue.purge': layout(50, 30, { ...ticket, queue: 'shortstr', noWait: 'bit' }),
  'queue.purge-ok': layout(50, 31, { messageCount: 'long' }),
  'queue.delete': layout(50, 40, { ...ticket, queue: 'shortstr', ifUnused: 'bit', ifEmpty: 'bit', noWait: 'bit' }),
  'queue.delete-ok': layout(50, 41, { messageCount: 'long' }),
  'queue.unbind': layout(50, 50, { ...ticket, ...binding, arguments: 'table' }),
  'queue.unbind-ok': layout(50, 51, {}),
  'basic.qos': layout(60, 10, { prefetchSize: 'long', prefetchCount: 'short', global: 'bit' }),
  'basic.qos-ok': layout(60, 11, {}),
  'basic.consume': layout(60, 20, { ...ticket, queue: 'shortstr', consumerTag: 'shortstr', noLocal: 'bit', noAck: 'bit', exclusive: 'bit', ...noWait }),
  'basic.consume-ok': layout(60, 21, { consumerTag: 'shortstr' }),
  'basic.cancel': layout(60, 30, { consumerTag: 'shortstr', noWait: 'bit' }),
  'basic.cancel-ok': layout(60, 31, { consumerTag: 'shortstr' }),
  'basic.publish': layout(60, 40, { ...ticket, exchange: 'shortstr', routingKey: 'shortstr', mandatory: 'bit', immediate: 'bit' }),
  'basic.return': layout(60, 50, { code: 'short', text: 'shortstr', exchange: 'shortstr', routingKey: 'shortstr' }),
  'basic.deliver': layout(60, 60, { consumerTag: 'shortstr', deliveryTag: 'longlong', ...delivered }),
  'basic.get': layout(60, 70, { ...ticket, queue: 'shortstr', noAck: 'bit' }),
  'basic.get-ok': layout(60, 71, { deliveryTag: 'longlong', ...delivered, messageCount: 'long' }),
  'basic.get-empty': layout(60, 72, { clusterId: 'shortstr' }),
  'basic.ack': layout(60, 80, { deliveryTag: 'longlong', multiple: 'bit' }),
  'basic.recover': layout(60, 110, { requeue: 'bit' }),
  'basic.recover-ok': layout(60, 111, {}),
  'basic.nack': layout(60, 120, { deliveryTag: 'longlong', multiple: 'bit', requeue: 'bit' }),
  'confirm.select': layout(85, 10, { noWait: 'bit' }),
  'confirm.select-ok': layout(85, 11, {}),
  'tx.select': layout(90, 10, {}),
  'tx.select-ok': layout(90, 11, {}),
  'tx.commit': layout(90, 20, {}),
  'tx.commit-ok': layout(90, 21, {}),
  'tx.rollback': layout(90, 30, {}),
  'tx.rollback-ok': layout(90, 31, {}),
} as const;

export type MethodName = keyof typeof METHODS;
type Decoded<F> = { readonly [K in keyof F]: F[K] extends FieldType ? FieldTypes[F[K]] : never };
/** The fields of a method. */
export type Fieldset<N extends MethodName> = Decoded<(typeof METHODS)[N]['fields']>;
/** The methods that are answered by another one, which has the same name and `-ok`. */
export type Request = { [N in MethodName]: `${N}-ok` extends MethodName ? N : never }[MethodName];
export type Reply<N extends Request> = Fieldset<`${N}-ok`>;

/** A method that was received. */
export type Method = { [N in MethodName]: { readonly name: N; readonly fields: Fieldset<N> } }[MethodName];

const NAMES = new Map(Object.entries(METHODS).map(([name, { id }]) => [id, name as MethodName]));

/** Reads a method, which must fill its frame. */
export function decodeMethod(from: Decoder): Method {
  const id = from.long();
  const name = NAMES.get(id);
  if (name === undefined) throw new ProtocolError(`unknown method ${id >>> 16}.${id & 0xffff}`, 503);
  const fields: Record<string, FieldTypes[FieldType]> = {};
  let bits = 0;
  let bit = 8;
  for (const [field, type] of Object.entries<FieldType>(METHODS[name].fields)) {
    if (type !== 'bit') {
      fields[field] = from[type]();
      bit = 8;
      continue;
    }
    // Bits that follow each other share an octet.
    if (bit === 8) {
      bits = from.octet();
      bit = 0;
    }
    fields[field] = (bits & (1 << bit++)) !== 0;
  }
  if (from.at !== from.end) throw new ProtocolError(`${from.end - from.at} bytes follow the fields of ${name}`);
  return { name, fields } as unknown as Method;
}

/** Appends a method. A field that is not given is 0, false or empty. */
export function encodeMethod<N extends MethodName>(to: Encoder, name: N, values: Partial<Fieldset<N>>): void {
  const given = values as Readonly<Record<string, FieldTypes[FieldType] | undefined>>;
  to.long(METHODS[name].id);
  let bit = 8;
  for (const [field, type] of Object.entries<FieldType>(METHODS[name].fields)) {
    const value = given[field];
    if (type === 'bit') {
      if (bit === 8) {
        to.octet(0);
        bit = 0;
      }
      if (value === true) to.bytes[to.at - 1]! |= 1 << bit;
      bit++;
      continue;
    }
    bit = 8;
    if (type === 'table') to.table((value ?? {}) as FieldTypes['table']);
    else if (type === 'shortstr' || type === 'longstr') to[type]((value ?? '') as string);
    else to[type]((value ?? 0) as number);
  }
}

// ------------------------------------------------------------------------------------------------ properties

/** In the order of their flags, from bit 15 down. */
const PROPERTIES = [
  ['contentType', 'shortstr'],
  ['contentEncoding', 'shortstr'],
  ['headers', 'table'],
  ['deliveryMode', 'octet'],
  ['priority', 'octet'],
  ['correlationId', 'shortstr'],
  ['replyTo', 'shortstr'],
  ['expiration', 'shortstr'],
  ['messageId', 'shortstr'],
  ['timestamp', 'longlong'],
  ['type', 'shortstr'],
  ['userId', 'shortstr'],
  ['appId', 'shortstr'],
  ['clusterId', 'shortstr'],
] as const;

/** What is known of a message besides its body. `deliveryMode: 2` makes it persistent; `timestamp` is in seconds. */
export type Properties = {
  readonly [P in (typeof PROPERTIES)[number] as P[0]]?: FieldTypes[P[1]] | undefined;
};

/** Reads the flags and the properties, which must fill their frame. */
export function decodeProperties(from: Decoder): Properties {
  const flags = from.short();
  if ((flags & 3) !== 0) throw new ProtocolError('flags of unknown properties');
  const properties: Record<string, FieldTypes[FieldType]> = {};
  for (let i = 0; i < PROPERTIES.length; i++) {
    if ((flags & (0x8000 >> i)) === 0) continue;
    const [name, type] = PROPERTIES[i]!;
    properties[name] = from[type]();
  }
  if (from.at !== from.end) throw new ProtocolError(`${from.end - from.at} bytes follow the properties of a message`);
  return properties;
}

/** Appends the flags and the properties. */
export function encodeProperties(to: Encoder, properties: Properties): void {
  const start = to.skip(2);
  let flags = 0;
  for (let i = 0; i < PROPERTIES.length; i++) {
    const [name, type] = PROPERTIES[i]!;
    const value = properties[name];
    if (value === undefined) continue;
    flags |= 0x8000 >> i;
    if (type === 'table') to.table(value as FieldTypes['table']);
    else if (type === 'shortstr') to.shortstr(value as string);
    else to[type](value as number);
  }
  to.bytes.writeUInt16BE(flags, start);
}
