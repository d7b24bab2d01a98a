/** The connection of a client to the broker: what the client sends after its CONNECT packet, and what it gets for it. */
import { setImmediate as turn } from 'node:timers/promises';
import type { Stream } from 'sluice';
import {
  MqttError,
  NO_PROPERTIES,
  Reason,
  decode,
  encode,
  type Connect,
  type Filter,
  type Packet,
  type Publish,
  type Subscribe,
  type Unsubscribe,
} from './mqtt.js';
import type { Broker } from './server.js';
import { current, targets, type Session, type Subscription, type Target } from './session.js';
import { TopicTree, isFilter, isTopic } from './topics.js';

const MAX_SUBSCRIPTIONS = 1000;
const MAX_FILTER = 1024;

/** Writes of more bytes than this are not copied, but sent from where they are. */
const COPIED_BYTES = 4096;

export class Connection {
  readonly #broker: Broker;
  readonly #session: Session;
  readonly #stream: Stream;
  readonly #connect: Connect;
  /** The subscribers who cannot keep up with this publisher. */
  readonly #behind = new Set<Session>();

  constructor(broker: Broker, session: Session, stream: Stream, connect: Connect) {
    this.#broker = broker;
    this.#session = session;
    this.#stream = stream;
    this.#connect = connect;
  }

  /** Handles packets until the client disconnects. Throws if it does what it must not, or nothing for one and a half times its keep-alive. */
  async run(): Promise<void> {
    const stream = this.#stream;
    const { keepAlive } = this.#connect;
    const wait = { timeout: keepAlive === 0 ? Infinity : 1500 * keepAlive };
    const framing = this.#broker.framing;
    for (;;) {
      const frames = stream.tryReadframes(framing) ?? (await stream.readframes(framing, wait));
      if (frames.length === 0) return;
      const { bytes, ends } = frames;
      let start = 0;
      for (const end of ends) {
        const packet = decode(bytes, start, end, this.#connect.version);
        if (packet.type === 'publish') this.#publish(packet, bytes.subarray(start, end));
        else if (packet.type === 'disconnect') {
          this.#disconnect(packet.reason, packet.properties.sessionExpiry);
          return;
        } else if (packet.type === 'subscribe') {
          // Each one looks at all retained messages: others get their turn before the next one.
          if (this.#subscribe(packet)) await turn();
          if (stream.isClosing()) break;
        } else this.#handle(packet);
        start = end;
      }
      // Back-pressure: as long as this waits, nothing is read from the client.
      await stream.drain();
      await Promise.all(Array.from(this.#behind, (session) => session.catchUp(this.#broker.patience)));
      this.#behind.clear();
    }
  }

  #reply(packet: Packet): void {
    void this.#stream.write(encode(packet, this.#connect.version));
  }

  #handle(packet: Exclude<Packet, Publish | Subscribe>): void {
    switch (packet.type) {
      case 'puback': {
        this.#session.acknowledge(packet.id);
        return;
      }
      case 'unsubscribe': {
        this.#unsubscribe(packet);
        return;
      }
      case 'pingreq': {
        this.#reply({ type: 'pingresp' });
        return;
      }
      default:
        throw new MqttError(Reason.protocolError, `${packet.type} is not expected from a client that is connected`);
    }
  }

  /** @param packet - the packet with the message, in memory that the reader has lent */
  #publish(message: Publish, packet: Buffer): void {
    const { topic, qos, id, properties, retain } = message;
    if (!isTopic(topic)) throw new MqttError(Reason.invalidTopic, `${JSON.stringify(topic)} is not a topic`);
    if (qos === 2) throw new MqttError(Reason.qosNotSupported, 'publish: QoS 2 is not supported');
    if (properties.topicAlias !== undefined || properties.subscriptionIds !== undefined)
      throw new MqttError(Reason.protocolError, 'publish: a topic alias or a subscription identifier');
    const forwarded = qos > 0 || retain ? null : packet.length > COPIED_BYTES ? Buffer.from(packet) : packet;
    const accepted = this.#broker.route(message, this.#session, forwarded, this.#behind);
    if (qos === 1) {
      const reason = accepted ? Reason.success : Reason.quotaExceeded;
      this.#reply({ type: 'puback', id, reason, properties: NO_PROPERTIES });
    }
  }

  /** Returns whether it has looked at the retained messages. */
  #subscribe({ id, filters, properties }: Subscribe): boolean {
    if (filters.length > MAX_SUBSCRIPTIONS)
      throw new MqttError(Reason.quotaExceeded, `subscribe: more than ${MAX_SUBSCRIPTIONS} filters`);
    const { subscriptions } = this.#session;
    const before = new Set(subscriptions.keys());
    const reasons = filters.map((filter) => this.#add(filter, properties.subscriptionIds?.[0] ?? 0));
    this.#reply({ type: 'suback', id, reasons, properties: NO_PROPERTIES });
    const granted = filters.filter(({ filter, retainHandling }, i) => {
      const wanted = retainHandling === 0 || (retainHandling === 1 && !before.has(filter));
      return wanted && reasons[i]! < 128;
    });
    if (granted.length === 0 || this.#broker.retained.size === 0) return false;
    const tree = new TopicTree<Subscription, readonly Target[]>(targets);
    for (const { filter } of granted) tree.add(subscriptions.get(filter)!);
    this.#sendRetained(tree);
    return true;
  }

  /** Returns the granted QoS, or a reason why not. */
  #add(wanted: Filter, id: number): number {
    const session = this.#session;
    const { subscriptions } = session;
    const refused = (reason: number): number => (this.#connect.version === 5 ? reason : Reason.unspecified);
    if (!isFilter(wanted.filter)) return refused(Reason.invalidFilter);
    if (wanted.filter.startsWith('$share/')) return refused(Reason.sharedNotSupported);
    const old = subscriptions.get(wanted.filter);
    if (wanted.filter.length > MAX_FILTER || (old === undefined && subscriptions.size >= MAX_SUBSCRIPTIONS))
      return refused(Reason.quotaExceeded);
    const subscription = { ...wanted, qos: Math.min(wanted.qos, 1) as 0 | 1, session, id };
    if (old !== undefined) this.#broker.unsubscribe(old);
    if (!this.#broker.subscribe(subscription)) return refused(Reason.quotaExceeded);
    return subscription.qos;
  }

  /** Sends each message once, whatever the number of filters that match it. */
  #sendRetained(subscriptions: TopicTree<Subscription, readonly Target[]>): void {
    for (const message of this.#broker.retained.values()) {
      for (const { qos, ids } of subscriptions.match(message.topic)) {
        const now = current(message);
        if (now === null) continue;
        this.#broker.send({ ...message, ...now, retain: true }, this.#session, Math.min(message.qos, qos), ids);
      }
      if (this.#stream.isClosing()) return; // it was too much for the write buffer
    }
  }

  #unsubscribe({ id, filters }: Unsubscribe): void {
    const { subscriptions } = this.#session;
    const reasons = filters.map((filter) => {
      const subscription = subscriptions.get(filter);
      if (subscription === undefined) return Reason.noSubscription;
      this.#broker.unsubscribe(subscription);
      return Reason.success;
    });
    const version5 = this.#connect.version === 5;
    this.#reply({ type: 'unsuback', id, reasons: version5 ? reasons : [], properties: NO_PROPERTIES });
  }

  #disconnect(reason: number, expiry: number | undefined): void {
    const session = this.#session;
    if (session.stream !== this.#stream) return;
    if (expiry !== undefined && expiry > 0 && session.expiry === 0)
      throw new MqttError(
        Reason.protocolError,
        'disconnect: the session would outlive a connection that it was to end with',
      );
    if (expiry !== undefined) session.expiry = Math.min(expiry, session.expiry);
    if (reason === Reason.success) session.will = null;
  }
}
