/**
 * MQTT 3.1.1 and 5 without sockets: packets to bytes and back.
 *
 * `readframes(MQTT)` of a stream divides what arrives into packets, in place; {@link decode} parses one of them where it is. Only the
 * payload of a PUBLISH stays in place, everything else is copied. A packet that the specification forbids is an {@link MqttError}.
 */
import type { LengthFraming } from 'sluice';
import { FIRST, TYPES, type Filter, type Message, type Packet, type Qos, type Version } from './packets.js';
import { NO_PROPERTIES, readProperties, writeProperties, type Properties } from './properties.js';
import { Input, MqttError, Output, Reason } from './wire.js';

export * from './packets.js';
export { NO_PROPERTIES, type Properties } from './properties.js';
export { MqttError, Reason } from './wire.js';

/** A packet: type and flags, length, fields. Add a `limit`. */
export const MQTT = { length: 'varint', offset: 1, maxLengthBytes: 4 } as const satisfies LengthFraming;

// ------------------------------------------------------------------------------------------------ decoding

/** Parses the packet between `start` and `end`. The version of a CONNECT packet is its own. */
export function decode(bytes: Buffer, start: number, end: number, version: Version): Packet {
  const input = new Input(bytes, start, end);
  const first = input.byte('type');
  if (input.varint('length') !== end - input.at) throw new MqttError(Reason.malformed, 'not one packet');
  const packet = first >> 4 === 3 ? readPublish(input, first, version) : readOther(input, first, version);
  const left = end - input.at;
  if (left > 0) throw new MqttError(Reason.malformed, `${packet.type}: ${left} bytes too many`);
  return packet;
}

function readPublish(input: Input, first: number, version: Version): Packet {
  const qos = ((first >> 1) & 3) as Qos;
  const dup = (first & 8) !== 0;
  if ((qos as number) === 3 || (dup && qos === 0))
    throw new MqttError(Reason.malformed, `publish: flags ${first & 15}`);
  const topic = input.string('topic');
  const id = qos === 0 ? 0 : readId(input);
  const properties = version === 5 ? readProperties(input, 'publish') : NO_PROPERTIES;
  if (topic === '' && properties.topicAlias === undefined) throw new MqttError(Reason.protocolError, 'an empty topic');
  return { type: 'publish', topic, payload: input.rest(), qos, retain: (first & 1) !== 0, properties, dup, id };
}

function readOther(input: Input, first: number, version: Version): Packet {
  const type = TYPES[first >> 4];
  if (type === undefined || type === 'publish' || FIRST[type] !== first || (type === 'auth' && version === 4))
    throw new MqttError(Reason.malformed, `a packet that begins with 0x${first.toString(16)}`);
  const readSome = (): Properties => (version === 5 ? readProperties(input, type) : NO_PROPERTIES);
  switch (type) {
    case 'connect':
      return readConnect(input);
    case 'connack': {
      const flags = input.byte('flags');
      if (flags > 1) throw new MqttError(Reason.malformed, `connack: flags ${flags}`);
      return { type, sessionPresent: flags === 1, reason: input.byte('reason'), properties: readSome() };
    }
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return { type, id: readId(input), ...readReason(input, type, version) };
    case 'disconnect':
    case 'auth':
      return { type, ...readReason(input, type, version) };
    case 'subscribe': {
      const [id, properties] = [readId(input), readSome()];
      return { type, id, properties, filters: readAll(input, type, () => readFilter(input, version)) };
    }
    case 'unsubscribe': {
      const [id, properties] = [readId(input), readSome()];
      return { type, id, properties, filters: readAll(input, type, () => input.string('filter')) };
    }
    case 'suback':
    case 'unsuback': {
      const [id, properties] = [readId(input), readSome()];
      const none = type === 'unsuback' && version === 4;
      return { type, id, properties, reasons: none ? [] : readAll(input, type, () => input.byte('reason')) };
    }
    case 'pingreq':
    case 'pingresp':
      return { type };
  }
}

function readId(input: Input): number {
  const id = input.uint16('packet identifier');
  if (id === 0) throw new MqttError(Reason.protocolError, 'packet identifier 0');
  return id;
}

/** MQTT 5 leaves out a reason of 0 and properties that are empty. */
function readReason(input: Input, type: string, version: Version): { reason: number; properties: Properties } {
  const reason = version === 5 && input.at < input.end ? input.byte('reason') : Reason.success;
  const more = version === 5 && input.at < input.end;
  return { reason, properties: more ? readProperties(input, type) : NO_PROPERTIES };
}

function readAll<T>(input: Input, type: string, read: () => T): T[] {
  const items: T[] = [];
  while (input.at < input.end) items.push(read());
  if (items.length === 0) throw new MqttError(Reason.protocolError, `${type}: an empty list`);
  return items;
}

function readFilter(input: Input, version: Version): Filter {
  const filter = input.string('filter');
  const options = input.byte('subscription options');
  const [qos, retainHandling] = [options & 3, options >> 4];
  if (qos === 3 || retainHandling > 2 || (version === 4 && options > 2))
    throw new MqttError(Reason.malformed, `subscription options ${options}`);
  return {
    filter,
    qos: qos as Qos,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as Filter['retainHandling'],
  };
}

function readConnect(input: Input): Packet {
  const protocol = input.string('protocol name');
  const version = input.byte('version');
  if (protocol !== 'MQTT' || (version !== 4 && version !== 5))
    throw new MqttError(Reason.unsupportedVersion, `version ${version} of ${JSON.stringify(protocol)}`);
  const flags = input.byte('flags');
  const [hasWill, qos] = [(flags & 4) !== 0, (flags >> 3) & 3];
  const passwordAlone = version === 4 && (flags & 0xc0) === 0x40;
  if ((flags & 1) !== 0 || qos === 3 || (!hasWill && (flags & 0x38) !== 0) || passwordAlone)
    throw new MqttError(Reason.malformed, `connect: flags 0x${flags.toString(16)}`);
  const keepAlive = input.uint16('keep alive');
  const properties = version === 5 ? readProperties(input, 'connect') : NO_PROPERTIES;
  const clientId = input.string('client identifier');
  const will = hasWill ? readWill(input, version, qos as Qos, (flags & 0x20) !== 0) : null;
  const username = (flags & 0x80) !== 0 ? input.string('user name') : null;
  const password = (flags & 0x40) !== 0 ? Buffer.from(input.binary('password')) : null;
  const cleanStart = (flags & 2) !== 0;
  return { type: 'connect', version, clientId, cleanStart, keepAlive, username, password, will, properties };
}

function readWill(input: Input, version: Version, qos: Qos, retain: boolean): Message {
  const properties = version === 5 ? readProperties(input, 'will') : NO_PROPERTIES;
  const topic = input.string('topic of the will');
  return { topic, payload: Buffer.from(input.binary('will')), qos, retain, properties };
}

// ------------------------------------------------------------------------------------------------ encoding

/** The bytes of a packet. Topics and filters are not checked. */
export function encode(packet: Packet, version: Version): Buffer {
  if (packet.type === 'publish') return encodePublish(packet, packet.id, packet.dup, version);
  const output = new Output(64);
  switch (packet.type) {
    case 'connect': {
      const { will, username, password, properties, clientId, cleanStart } = packet;
      output.counted('MQTT');
      output.byte(packet.version);
      const willFlags = will === null ? 0 : 4 | (will.qos << 3) | (will.retain ? 0x20 : 0);
      const credentials = (username === null ? 0 : 0x80) | (password === null ? 0 : 0x40);
      output.byte(credentials | willFlags | (cleanStart ? 2 : 0));
      output.uint16(packet.keepAlive);
      if (packet.version === 5) writeProperties(output, properties);
      output.counted(clientId);
      if (will !== null) {
        if (packet.version === 5) writeProperties(output, will.properties);
        output.counted(will.topic);
        output.counted(will.payload);
      }
      if (username !== null) output.counted(username);
      if (password !== null) output.counted(password);
      break;
    }
    case 'connack':
      output.byte(packet.sessionPresent ? 1 : 0);
      output.byte(packet.reason);
      if (version === 5) writeProperties(output, packet.properties);
      break;
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      output.uint16(packet.id);
      writeReason(output, packet, version);
      break;
    case 'disconnect':
    case 'auth':
      writeReason(output, packet, version);
      break;
    case 'subscribe':
      output.uint16(packet.id);
      if (version === 5) writeProperties(output, packet.properties);
      for (const { filter, qos, noLocal, retainAsPublished, retainHandling } of packet.filters) {
        output.counted(filter);
        output.byte(qos | (noLocal ? 4 : 0) | (retainAsPublished ? 8 : 0) | (retainHandling << 4));
      }
      break;
    case 'unsubscribe':
      output.uint16(packet.id);
      if (version === 5) writeProperties(output, packet.properties);
      for (const filter of packet.filters) output.counted(filter);
      break;
    case 'suback':
    case 'unsuback':
      output.uint16(packet.id);
      if (version === 5) writeProperties(output, packet.properties);
      for (const reason of packet.reasons) output.byte(reason);
      break;
    case 'pingreq':
    case 'pingresp':
      break;
  }
  return output.packet(FIRST[packet.type]);
}

/** The bytes of a PUBLISH packet. `id` counts only if the QoS is not 0. */
export function encodePublish(message: Message, id: number, dup: boolean, version: Version): Buffer {
  const { topic, payload, qos, retain, properties } = message;
  const output = new Output(3 * topic.length + payload.length + 8);
  output.counted(topic);
  if (qos > 0) output.uint16(id);
  if (version === 5) writeProperties(output, properties);
  output.bytes(payload);
  return output.packet(0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0));
}

function writeReason(output: Output, packet: { reason: number; properties: Properties }, version: Version): void {
  if (version === 4 || (packet.reason === 0 && packet.properties === NO_PROPERTIES)) return;
  output.byte(packet.reason);
  if (packet.properties !== NO_PROPERTIES) writeProperties(output, packet.properties);
}
