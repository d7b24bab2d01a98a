/**
 * An MQTT client for MQTT 3.1.1 and 5, QoS 0 and 1.
 *
 *     node out/examples/protocols/mqtt/client.js sub FILTER [PORT [HOST]]             prints messages until it is stopped
 *     node out/examples/protocols/mqtt/client.js pub TOPIC MESSAGE [PORT [HOST]]
 *
 * Left out: QoS 2, topic aliases, enhanced authentication, and connecting again: connect another client with the same `clientId` and
 * `cleanStart: false`, and the broker sends what the first one has not acknowledged.
 */
import { once } from 'node:events';
import { pathToFileURL } from 'node:url';
import { connect, type LengthFraming, type Stream } from 'sluice';
import type { MqttOptions, PublishOptions } from './client-options.js';
import { Limits } from './limits.js';
import {
  MQTT,
  MqttError,
  NO_PROPERTIES,
  Reason,
  decode,
  encode,
  encodePublish,
  type Connack,
  type Filter,
  type Message,
  type Packet,
  type Properties,
  type Publish,
  type SubscriptionAck,
  type Version,
} from './mqtt.js';
import { Requests } from './requests.js';
import { isFilter, isTopic } from './topics.js';

/** The most packets that wait for an answer, if the broker does not want fewer. */
const MAX_UNANSWERED = 10_000;
/** As many messages as there are identifiers. */
const MAX_ACKNOWLEDGED = 65_535;

const SUBSCRIPTION = { qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 } as const;

export class MqttClient {
  readonly connack: Connack;
  /** Resolves when this side has closed the connection; rejects with the reason if it ends in any other way. */
  readonly closed: Promise<void>;
  readonly #stream: Stream;
  readonly #version: Version;
  readonly #onMessage: NonNullable<MqttOptions['onMessage']>;
  readonly #requests: Requests;
  readonly #limits: Limits;
  /** How many messages were acknowledged since all that was written had left. */
  #acknowledged = 0;
  /** Why there is no connection any more. */
  #end: Error | null = null;

  /** Connects, and resolves when the broker has accepted. A refusal is an {@link MqttError}. */
  static async connect(host: string, port: number, options: MqttOptions = {}): Promise<MqttClient> {
    const { version = 5, clientId = '', cleanStart = true, keepAlive = 60, timeout = 30_000, ssl, will } = options;
    const { username = null, password = null, properties: wishes, maximumPacket = 1024 * 1024 } = options;
    const framing = { ...MQTT, limit: maximumPacket };
    const stream = await connect(host, port, { timeout, ssl });
    try {
      const properties = { maximumPacketSize: maximumPacket, ...wishes };
      const last = will && { qos: 0 as const, retain: false, properties: NO_PROPERTIES, ...will };
      const secret = password === null ? null : Buffer.from(password);
      const hello = { type: 'connect', version, clientId, cleanStart, keepAlive, properties } as const;
      void stream.write(encode({ ...hello, will: last ?? null, username, password: secret }, version));
      const answer = await stream.readframe(framing, { timeout });
      if (answer === null) throw new MqttError(Reason.unspecified, 'connect: the broker has closed the connection');
      const connack = decode(answer, 0, answer.length, version);
      if (connack.type !== 'connack')
        throw new MqttError(Reason.protocolError, `connect: the answer is ${connack.type}`);
      const { reason, properties: limits } = connack;
      if (reason !== 0) throw new MqttError(reason, `connect: refused with ${reason}${because(limits)}`);
      return new MqttClient(stream, framing, connack, limits.serverKeepAlive ?? keepAlive, options);
    } catch (error) {
      await stream.abort();
      throw error;
    }
  }

  private constructor(
    stream: Stream,
    framing: LengthFraming,
    connack: Connack,
    keepAlive: number,
    { version = 5, onMessage = () => {} }: MqttOptions,
  ) {
    this.#stream = stream;
    this.connack = connack;
    this.#version = version;
    this.#onMessage = onMessage;
    this.#requests = new Requests(Math.min(connack.properties.receiveMaximum ?? MAX_UNANSWERED, MAX_UNANSWERED));
    this.#limits = new Limits(connack.properties);
    this.closed = this.#run(framing, keepAlive);
    this.closed.catch(() => {}); // every call fails with the same reason
  }

  /** Reads until the connection ends. The broker answers pings, so there is always something to read in time. */
  async #run(framing: LengthFraming, keepAlive: number): Promise<void> {
    const stream = this.#stream;
    const wait = { timeout: keepAlive === 0 ? Infinity : 1500 * keepAlive };
    const ping = (): void => this.#send({ type: 'pingreq' });
    const pings = keepAlive === 0 ? undefined : setInterval(ping, 1000 * keepAlive).unref();
    try {
      for (;;) {
        const frames = stream.tryReadframes(framing) ?? (await stream.readframes(framing, wait));
        if (frames.length === 0) break;
        const bytes = Buffer.from(frames.bytes); // one copy, since messages may be kept
        let start = 0;
        for (const end of frames.ends) {
          const packet = decode(bytes, start, end, this.#version);
          start = end;
          if (packet.type !== 'publish') this.#handle(packet);
          else {
            const done = this.#receive(packet);
            if (done !== undefined) await done;
          }
        }
      }
      if (this.#end === null) throw new MqttError(Reason.unspecified, 'the broker has closed the connection');
    } catch (error) {
      if (this.#end === null) {
        this.#end = error as Error;
        void stream.abort();
        throw error;
      }
    } finally {
      clearInterval(pings);
      this.#requests.fail(this.#end!);
    }
  }

  /** Returns a promise only if `onMessage` does. */
  #receive(message: Publish): PromiseLike<void> | undefined {
    const { qos, topic, id } = message;
    if (qos === 2 || topic === '')
      throw new MqttError(Reason.protocolError, 'a QoS or a topic alias that was not allowed');
    const done = this.#onMessage(message);
    if (qos === 0) return done ?? undefined;
    if (done !== undefined) return Promise.resolve(done).then(() => this.#acknowledge(id));
    this.#acknowledge(id);
    return undefined;
  }

  #acknowledge(id: number): void {
    // A broker that reads no acknowledgements must not use up the memory.
    this.#acknowledged = this.#stream.writeBufferSize === 0 ? 0 : this.#acknowledged + 1;
    if (this.#acknowledged > MAX_ACKNOWLEDGED)
      throw new MqttError(Reason.receiveMaximumExceeded, 'more messages than may wait for an acknowledgement');
    this.#send({ type: 'puback', id, reason: Reason.success, properties: NO_PROPERTIES });
  }

  #handle(packet: Exclude<Packet, Publish>): void {
    switch (packet.type) {
      case 'puback':
      case 'suback':
      case 'unsuback':
        this.#requests.answer(packet);
        return;
      case 'pingresp':
        return;
      case 'disconnect':
        throw new MqttError(packet.reason, `the broker disconnects with ${packet.reason}${because(packet.properties)}`);
      default:
        throw new MqttError(Reason.protocolError, `${packet.type} is not expected from a broker`);
    }
  }

  #send(packet: Packet): void {
    void this.#stream.write(encode(packet, this.#version));
  }

  #request(action: string, packet: Packet): void {
    void this.#stream.write(this.#limits.packet(action, encode(packet, this.#version)));
  }

  /**
   * Publishes a message. With QoS 0 it resolves when there is room for more: not awaiting it is fine for a few messages. With QoS 1 it
   * resolves when the broker has acknowledged the message. What the broker does not accept according to its CONNACK, such as a packet that is
   * too long, rejects without being sent.
   */
  publish(topic: string, payload: Uint8Array | string, options: PublishOptions = {}): Promise<void> {
    const { qos = 0, retain = false, properties = NO_PROPERTIES } = options;
    if (!isTopic(topic)) throw new TypeError(`publish: ${JSON.stringify(topic)} is not a topic`);
    const message = {
      topic,
      payload: typeof payload === 'string' ? Buffer.from(payload) : payload,
      qos,
      retain,
      properties,
    };
    if (qos === 1) return this.#publishSafely(message);
    if (this.#end !== null) {
      const lost = Promise.reject<void>(this.#end);
      lost.catch(() => {}); // need not be awaited
      return lost;
    }
    try {
      return this.#stream.write(this.#encoded(message, 0));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #publishSafely(message: Message): Promise<void> {
    const { reason } = await this.#requests.send('puback', (id) => {
      void this.#stream.write(this.#encoded(message, id));
    });
    if (reason >= 128) throw new MqttError(reason, `publish: refused with ${reason}`);
  }

  #encoded(message: Message, id: number): Buffer {
    this.#limits.message(message);
    return this.#limits.packet('publish', encodePublish(message, id, false, this.#version));
  }

  /** Subscribes, and returns the QoS that the broker grants for each filter. If it refuses one, that is an {@link MqttError}. */
  async subscribe(filters: string | readonly string[], options: Partial<Filter> = {}): Promise<readonly number[]> {
    const list = [filters].flat().map((filter) => ({ ...SUBSCRIPTION, ...options, filter: checkedFilter(filter) }));
    for (const { filter } of list) this.#limits.filter(filter);
    const send = (id: number): void =>
      this.#request('subscribe', { type: 'subscribe', id, filters: list, properties: NO_PROPERTIES });
    return granted('subscribe', await this.#requests.send('suback', send));
  }

  async unsubscribe(filters: string | readonly string[]): Promise<void> {
    const list = [filters].flat().map(checkedFilter);
    const send = (id: number): void =>
      this.#request('unsubscribe', { type: 'unsubscribe', id, filters: list, properties: NO_PROPERTIES });
    granted('unsubscribe', await this.#requests.send('unsuback', send));
  }

  /**
   * Says goodbye, so that there is no will, and closes the connection when everything is sent. Does not wait for `onMessage`, so it may be
   * called there. Rejects with the reason if the connection has ended before.
   */
  async close(): Promise<void> {
    if (this.#end !== null) {
      await this.closed;
      return;
    }
    this.#over(new MqttError(Reason.success, 'the connection was closed'));
    this.#send({ type: 'disconnect', reason: Reason.success, properties: NO_PROPERTIES });
    await this.#stream.close();
  }

  /** Closes the connection without a goodbye. */
  async abort(): Promise<void> {
    this.#over(new MqttError(Reason.unspecified, 'the connection was aborted'));
    await this.#stream.abort();
  }

  #over(error: Error): void {
    this.#end ??= error;
    this.#requests.fail(this.#end);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // If the connection has ended already, the error that leaves the block says why; a second one would hide it.
    if (this.#end === null) await this.close();
    else await this.closed.catch(() => {});
  }
}

function because({ reasonString }: Properties): string {
  return reasonString === undefined ? '' : `: ${reasonString}`;
}

function checkedFilter(filter: string): string {
  if (!isFilter(filter)) throw new TypeError(`${JSON.stringify(filter)} is not a filter`);
  return filter;
}

function granted(action: string, { reasons }: SubscriptionAck): readonly number[] {
  const refused = reasons.find((reason) => reason >= 128);
  if (refused !== undefined) throw new MqttError(refused, `${action}: refused with ${refused}`);
  return reasons;
}

async function main([action, topic = '', ...args]: string[]): Promise<void> {
  const message = action === 'pub' ? args.shift() : undefined;
  const [port = '1883', host = '127.0.0.1'] = args;
  const onMessage = ({ topic, payload }: Message): void => console.log(`${topic} ${String(payload)}`);
  await using client = await MqttClient.connect(host, Number(port), { onMessage });
  if (message !== undefined) {
    await client.publish(topic, message, { qos: 1 });
    return;
  }
  await client.subscribe(topic, { qos: 1 });
  console.log(`Subscribed to ${topic}`);
  await Promise.race([client.closed, once(process, 'SIGINT'), once(process, 'SIGTERM')]);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
