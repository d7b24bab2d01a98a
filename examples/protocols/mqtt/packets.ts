/** The packets of MQTT 3.1.1 and 5, as objects, and what their first byte is. */
import type { Properties } from './properties.js';

/** 4 is MQTT 3.1.1, as in the packet CONNECT. */
export type Version = 4 | 5;
export type Qos = 0 | 1 | 2;

/** An application message: what PUBLISH carries, and a will. */
export interface Message {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly properties: Properties;
}

export interface Connect {
  readonly type: 'connect';
  readonly version: Version;
  readonly clientId: string;
  readonly cleanStart: boolean;
  /** Seconds; 0: none. */
  readonly keepAlive: number;
  readonly username: string | null;
  readonly password: Buffer | null;
  readonly will: Message | null;
  readonly properties: Properties;
}

export interface Connack {
  readonly type: 'connack';
  readonly sessionPresent: boolean;
  /** In MQTT 3.1.1 a return code of its own: 0 to 5. */
  readonly reason: number;
  readonly properties: Properties;
}

export interface Publish extends Message {
  readonly type: 'publish';
  readonly dup: boolean;
  /** The packet identifier; 0 if the QoS is 0. */
  readonly id: number;
}

export interface Ack {
  readonly type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp';
  readonly id: number;
  readonly reason: number;
  readonly properties: Properties;
}

export interface Filter {
  readonly filter: string;
  readonly qos: Qos;
  /** Whether the client does not receive what it publishes itself. */
  readonly noLocal: boolean;
  /** Whether a message keeps its retain flag; otherwise only those have it that were retained before the subscription. */
  readonly retainAsPublished: boolean;
  /** Retained messages are sent: 0 always, 1 if the subscription is new, 2 never. */
  readonly retainHandling: 0 | 1 | 2;
}

export interface Subscribe {
  readonly type: 'subscribe';
  readonly id: number;
  readonly filters: readonly Filter[];
  readonly properties: Properties;
}

export interface Unsubscribe {
  readonly type: 'unsubscribe';
  readonly id: number;
  readonly filters: readonly string[];
  readonly properties: Properties;
}

export interface SubscriptionAck {
  readonly type: 'suback' | 'unsuback';
  readonly id: number;
  /** One for each filter; an UNSUBACK of MQTT 3.1.1 has none. */
  readonly reasons: readonly number[];
  readonly properties: Properties;
}

export interface Ping {
  readonly type: 'pingreq' | 'pingresp';
}

/** In MQTT 3.1.1 there is no AUTH, and a DISCONNECT has neither a reason nor properties. */
export interface Disconnect {
  readonly type: 'disconnect' | 'auth';
  readonly reason: number;
  readonly properties: Properties;
}

export type Packet = Connect | Connack | Publish | Ack | Subscribe | Unsubscribe | SubscriptionAck | Ping | Disconnect;

/** The type of a packet is the high half of its first byte. */
export const TYPES = [
  undefined,
  ...(['connect', 'connack', 'publish', 'puback', 'pubrec', 'pubrel', 'pubcomp', 'subscribe', 'suback'] as const),
  ...(['unsubscribe', 'unsuback', 'pingreq', 'pingresp', 'disconnect', 'auth'] as const),
] as const;

/** The first byte of each packet other than PUBLISH, which has flags in its low half. */
export const FIRST = Object.fromEntries(
  TYPES.map((type, i) => {
    const flags = type === 'pubrel' || type === 'subscribe' || type === 'unsubscribe' ? 2 : 0;
    return [type, (i << 4) | flags];
  }),
) as Readonly<Record<Packet['type'], number>>;
