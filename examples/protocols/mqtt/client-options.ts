/** The options of the MQTT client. */
import type { ClientSsl } from 'sluice';
import type { Message, Properties, Publish, Version } from './mqtt.js';

export interface MqttOptions {
  /** Default 5. */
  version?: Version;
  /** By default the broker chooses one. */
  clientId?: string;
  /** Whether the broker forgets an earlier session with this `clientId`. Default true. */
  cleanStart?: boolean;
  /** Seconds between two pings; 0: none. Default 60. */
  keepAlive?: number;
  username?: string;
  password?: Uint8Array | string;
  /** Published by the broker when the connection is lost. */
  will?: Pick<Message, 'topic' | 'payload'> & Partial<Message>;
  /** Of CONNECT, for example `sessionExpiry`. */
  properties?: Properties;
  /** The longest packet in bytes. Default 1 MiB. */
  maximumPacket?: number;
  ssl?: ClientSsl;
  /** How long connecting and the answer of the broker may take, in ms each. Default 30 000. */
  timeout?: number;
  /**
   * Receives messages. As long as it has returned a promise that is not settled, nothing is read from the broker: do not wait in it for
   * an answer of the broker. A message with QoS 1 is acknowledged when it is done. If it throws or rejects, the connection
   * is closed with that error.
   */
  onMessage?: (message: Publish) => void | PromiseLike<void>;
}

export interface PublishOptions {
  qos?: 0 | 1;
  retain?: boolean;
  properties?: Properties;
}
