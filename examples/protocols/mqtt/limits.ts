/** What a broker accepts, according to its CONNACK. It would end the connection because of anything else. */
import { MqttError, Reason, type Message, type Properties } from './mqtt.js';

/** Each method throws an {@link MqttError} for what the broker does not accept. */
export class Limits {
  readonly #packet: number;
  readonly #qos: number;
  readonly #retain: boolean;
  readonly #aliases: number;
  readonly #wildcards: boolean;
  readonly #shared: boolean;

  constructor(connack: Properties) {
    this.#packet = connack.maximumPacketSize ?? Infinity;
    this.#qos = connack.maximumQos ?? 2;
    this.#retain = connack.retainAvailable !== 0;
    this.#aliases = connack.topicAliasMaximum ?? 0;
    this.#wildcards = connack.wildcardsAvailable !== 0;
    this.#shared = connack.sharedAvailable !== 0;
  }

  /** Returns the packet, which must not be too long. */
  packet(action: string, bytes: Buffer): Buffer {
    if (bytes.length <= this.#packet) return bytes;
    const lengths = `${bytes.length} bytes, and the broker accepts ${this.#packet}`;
    throw new MqttError(Reason.packetTooLarge, `${action}: the packet has ${lengths}`);
  }

  message({ qos, retain, properties: { topicAlias = 0 } }: Message): void {
    if (qos > this.#qos)
      throw new MqttError(Reason.qosNotSupported, `publish: QoS ${qos}, and the broker accepts at most ${this.#qos}`);
    if (retain && !this.#retain)
      throw new MqttError(Reason.retainNotSupported, 'publish: the broker retains no messages');
    if (topicAlias > this.#aliases)
      throw new MqttError(
        Reason.topicAliasInvalid,
        `publish: topic alias ${topicAlias}, and the broker accepts at most ${this.#aliases}`,
      );
  }

  filter(filter: string): void {
    if (!this.#shared && filter.startsWith('$share/'))
      throw new MqttError(Reason.sharedNotSupported, `subscribe: ${JSON.stringify(filter)}: the broker shares none`);
    if (!this.#wildcards && /[+#]/.test(filter))
      throw new MqttError(
        Reason.wildcardsNotSupported,
        `subscribe: ${JSON.stringify(filter)}: the broker accepts no wildcards`,
      );
  }
}
