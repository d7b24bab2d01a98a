/** The properties of MQTT 5: which there are, which packets may have them, reading and writing. */
import { MqttError, Output, Reason, type Input } from './wire.js';

export interface Properties {
  payloadFormat?: number;
  /** Seconds. */
  messageExpiry?: number;
  contentType?: string;
  responseTopic?: string;
  correlationData?: Buffer;
  subscriptionIds?: number[];
  /** Seconds; 0xffffffff: never. */
  sessionExpiry?: number;
  assignedClientId?: string;
  /** Seconds. */
  serverKeepAlive?: number;
  authenticationMethod?: string;
  authenticationData?: Buffer;
  requestProblemInformation?: number;
  /** Seconds. */
  willDelay?: number;
  requestResponseInformation?: number;
  responseInformation?: string;
  serverReference?: string;
  reasonString?: string;
  receiveMaximum?: number;
  topicAliasMaximum?: number;
  topicAlias?: number;
  maximumQos?: number;
  retainAvailable?: number;
  userProperties?: [name: string, value: string][];
  /** Bytes. */
  maximumPacketSize?: number;
  wildcardsAvailable?: number;
  subscriptionIdsAvailable?: number;
  sharedAvailable?: number;
}

type Form = 'flag' | 'uint16' | 'uint32' | 'varint' | 'string' | 'binary' | 'pair';

interface Property {
  readonly id: number;
  readonly name: keyof Properties;
  readonly form: Form;
  /** Whether 0 is forbidden. */
  readonly positive: boolean;
  /** The packets that may have it. */
  readonly packets: readonly string[];
}

const ACKS = 'puback pubrec pubrel pubcomp suback unsuback';

const BY_ID: (Property | undefined)[] = [];
const BY_NAME = new Map<string, Property>();

function property(id: number, name: keyof Properties, form: Form, packets: string, positive = false): void {
  const entry = { id, name, form, positive, packets: packets.split(' ') };
  BY_ID[id] = entry;
  BY_NAME.set(name, entry);
}

property(1, 'payloadFormat', 'flag', 'publish will');
property(2, 'messageExpiry', 'uint32', 'publish will');
property(3, 'contentType', 'string', 'publish will');
property(8, 'responseTopic', 'string', 'publish will');
property(9, 'correlationData', 'binary', 'publish will');
property(11, 'subscriptionIds', 'varint', 'publish subscribe', true);
property(17, 'sessionExpiry', 'uint32', 'connect connack disconnect');
property(18, 'assignedClientId', 'string', 'connack');
property(19, 'serverKeepAlive', 'uint16', 'connack');
property(21, 'authenticationMethod', 'string', 'connect connack auth');
property(22, 'authenticationData', 'binary', 'connect connack auth');
property(23, 'requestProblemInformation', 'flag', 'connect');
property(24, 'willDelay', 'uint32', 'will');
property(25, 'requestResponseInformation', 'flag', 'connect');
property(26, 'responseInformation', 'string', 'connack');
property(28, 'serverReference', 'string', 'connack disconnect');
property(31, 'reasonString', 'string', `connack disconnect auth ${ACKS}`);
property(33, 'receiveMaximum', 'uint16', 'connect connack', true);
property(34, 'topicAliasMaximum', 'uint16', 'connect connack');
property(35, 'topicAlias', 'uint16', 'publish', true);
property(36, 'maximumQos', 'flag', 'connack');
property(37, 'retainAvailable', 'flag', 'connack');
property(38, 'userProperties', 'pair', `connect connack publish will subscribe unsubscribe disconnect auth ${ACKS}`);
property(39, 'maximumPacketSize', 'uint32', 'connect connack', true);
property(40, 'wildcardsAvailable', 'flag', 'connack');
property(41, 'subscriptionIdsAvailable', 'flag', 'connack');
property(42, 'sharedAvailable', 'flag', 'connack');

/** What most packets have. It is frozen, so that it can be shared. */
export const NO_PROPERTIES: Properties = Object.freeze({});

/** Reads the properties of a packet, or of the will in a CONNECT packet. */
export function readProperties(input: Input, packet: string): Properties {
  const length = input.varint('properties');
  if (length === 0) return NO_PROPERTIES;
  const end = input.at + length;
  if (end > input.end) throw new MqttError(Reason.malformed, `properties: ${end - input.end} bytes are missing`);
  const found: Record<string, unknown> = {};
  while (input.at < end) {
    const id = input.varint('property');
    const known = BY_ID[id];
    if (!known?.packets.includes(packet))
      throw new MqttError(Reason.malformed, `property ${id} is not one of ${packet}`);
    const { name, form, positive } = known;
    const value = readValue(input, form, name);
    if (positive && value === 0) throw new MqttError(Reason.protocolError, `${name} is 0`);
    const repeatable = form === 'pair' || (form === 'varint' && packet === 'publish');
    const before = found[name];
    if (before !== undefined && !repeatable) throw new MqttError(Reason.protocolError, `${name} is repeated`);
    if (form !== 'pair' && form !== 'varint') found[name] = value;
    else if (before === undefined) found[name] = [value];
    else (before as unknown[]).push(value);
  }
  if (input.at !== end) throw new MqttError(Reason.malformed, 'properties: the last one is longer than all of them');
  return found;
}

function readValue(input: Input, form: Form, name: string): unknown {
  switch (form) {
    case 'flag': {
      const value = input.byte(name);
      if (value > 1) throw new MqttError(Reason.protocolError, `${name} is ${value}`);
      return value;
    }
    case 'uint16':
      return input.uint16(name);
    case 'uint32':
      return input.uint32(name);
    case 'varint':
      return input.varint(name);
    case 'string':
      return input.string(name);
    case 'binary':
      return Buffer.from(input.binary(name)); // properties are kept
    case 'pair':
      return [input.string(name), input.string(name)];
  }
}

export function writeProperties(output: Output, properties: Properties): void {
  if (properties === NO_PROPERTIES) {
    output.byte(0);
    return;
  }
  const fields = new Output(64, 0);
  for (const [name, value] of Object.entries(properties) as [string, unknown][]) {
    const known = BY_NAME.get(name);
    if (known === undefined) throw new TypeError(`MQTT: there is no property ${name}`);
    const repeated = known.form === 'pair' || known.form === 'varint';
    for (const item of repeated ? (value as unknown[]) : [value]) {
      if (item === undefined) continue;
      fields.byte(known.id);
      writeValue(fields, known.form, item);
    }
  }
  const bytes = fields.fields();
  output.varint(bytes.length);
  output.bytes(bytes);
}

function writeValue(output: Output, form: Form, value: unknown): void {
  switch (form) {
    case 'flag': {
      output.byte(value as number);
      return;
    }
    case 'uint16': {
      output.uint16(value as number);
      return;
    }
    case 'uint32': {
      output.uint32(value as number);
      return;
    }
    case 'varint': {
      output.varint(value as number);
      return;
    }
    case 'string':
    case 'binary': {
      output.counted(value as string | Uint8Array);
      return;
    }
    case 'pair':
      for (const text of value as [string, string]) output.counted(text);
  }
}
