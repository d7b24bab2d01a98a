/**
 * A small MQTT broker for clients of MQTT 3.1.1 and 5: QoS 0 and 1, retained messages, wills, wildcards, sessions that outlive their
 * connection.
 *
 *     node out/examples/protocols/mqtt/server.js [PORT [HOST]]
 *
 *     mosquitto_sub -t 'rooms/+/temperature' -v
 *     mosquitto_pub -t rooms/kitchen/temperature -m 21
 *
 * It keeps everything in memory, up to a bound. Publishers wait for a slow subscriber, but not for long: then it misses messages with
 * QoS 0, and is disconnected when it has accepted nothing for half a minute.
 *
 * Left out: QoS 2, shared subscriptions, topic aliases, enhanced authentication, and `$SYS` topics.
 */
import { randomUUID } from 'node:crypto';
import { pathToFileURL } from 'node:url';
import { FrameError, LimitOverrunError, StreamServer, TimeoutError, type HandlerContext, type Stream } from 'sluice';
import { Connection } from './connection.js';
import { connack, handshake } from './handshake.js';
import {
  MQTT,
  MqttError,
  NO_PROPERTIES,
  Reason,
  encodePublish,
  type Connect,
  type Message,
  type Properties,
} from './mqtt.js';
import {
  Budget,
  Session,
  base,
  cost,
  keep,
  targets,
  weight,
  type Kept,
  type Subscription,
  type Target,
} from './session.js';
import { TopicTree, isTopic } from './topics.js';

const MAX_EXPIRY_S = 7 * 86_400;

/** For clients that do not complete what they send, and for those that do not read. */
const TIMEOUTS = { readTimeout: 60_000, writeTimeout: 30_000 };
const MAX_WRITE_BUFFER = 64 * 1024 * 1024;

export interface BrokerOptions {
  /** Whether a client may connect. By default every client may. */
  authenticate?: (connect: Connect) => boolean | Promise<boolean>;
  /** The longest packet in bytes. Default 1 MiB. */
  maximumPacket?: number;
  /** The most bytes that all sessions, wills, retained messages, unacknowledged messages and subscriptions may take. Default 256 MiB. */
  memory?: number;
  /** The most sessions. Beyond it, a new one replaces the one that has been without a connection for longest. Default 10 000. */
  sessions?: number;
  /** How long publishers wait for a subscriber who does not keep up, in ms. Default 5000. */
  patience?: number;
}

export class Broker {
  readonly framing: typeof MQTT & { limit: number };
  readonly patience: number;
  readonly #subscriptions = new TopicTree<Subscription, readonly Target[]>(targets);
  readonly retained = new Map<string, Kept>();
  readonly #budget: Budget;
  readonly #sessions = new Map<string, Session>();
  readonly #maxSessions: number;
  /** The sessions without a connection, the oldest first. */
  readonly #idle = new Set<Session>();
  readonly #options: BrokerOptions;

  constructor(options: BrokerOptions = {}) {
    this.#options = options;
    this.#budget = new Budget(options.memory ?? 256 * 1024 * 1024);
    this.#maxSessions = options.sessions ?? 10_000;
    this.patience = options.patience ?? 5000;
    this.framing = { ...MQTT, limit: options.maximumPacket ?? 1024 * 1024 };
  }

  /** The handler of a server: `new StreamServer(broker.serve, ...)`. */
  readonly serve = async (stream: Stream, { draining }: HandlerContext): Promise<void> => {
    stream.setTimeouts(TIMEOUTS);
    stream.setWriteBufferLimits({ max: MAX_WRITE_BUFFER });
    const opened = await handshake(stream, (connect) => this.#accept(connect, stream));
    if (opened === null) return;
    const { session, connect } = opened;
    draining.addEventListener('abort', () => {
      if (session.stream === stream) void session.disconnect(Reason.shuttingDown);
    });
    try {
      await new Connection(this, session, stream, connect).run();
    } catch (error) {
      if (session.stream !== stream) return; // another connection has taken over
      const closed = session.disconnect(reasonOf(error));
      this.#close(session);
      await closed;
      throw error;
    }
    if (session.stream === stream) this.#close(session);
  };

  /** Publishes a message of the broker itself. */
  publish(topic: string, payload: Uint8Array | string, options: { qos?: 0 | 1; retain?: boolean } = {}): void {
    const { qos = 0, retain = false } = options;
    if (!isTopic(topic)) throw new TypeError(`${JSON.stringify(topic)} is not a topic`);
    this.route({ topic, payload: Buffer.from(payload), qos, retain, properties: NO_PROPERTIES }, null, null, new Set());
  }

  // ---------------------------------------------------------------------------------------------- messages

  /**
   * Sends a message to all who have subscribed to its topic.
   *
   * @param packet - the packet that it came in, if it can be sent as it is to clients with the same version
   * @param behind - gets the subscribers whom the publisher should wait for
   * @returns whether it was retained, if it was to be
   */
  route(message: Message, from: Session | null, packet: Buffer | null, behind: Set<Session>): boolean {
    const packets: (Buffer | undefined)[] = [];
    if (packet !== null && from !== null) packets[2 * from.version] = packet;
    let kept: Kept | null = null;
    for (const { session, qos, noLocal, retainAsPublished, ids } of this.#subscriptions.match(message.topic)) {
      if (noLocal && session === from) continue;
      const retain = message.retain && retainAsPublished;
      if (qos === 0 || message.qos === 0) {
        if (!session.listens) continue;
        if (ids.length === 0) {
          const { version } = session;
          const same = 2 * version + Number(retain);
          session.send((packets[same] ??= encodePublish({ ...message, qos: 0, retain }, 0, false, version)));
        } else this.send({ ...message, retain, expires: Infinity }, session, 0, ids);
      } else this.send({ ...(kept ??= keep(message)), retain }, session, 1, ids);
      if (session.isBehind) behind.add(session);
    }
    return !message.retain || this.#retain(message);
  }

  /** Sends a message to one client. */
  send(message: Kept, session: Session, qos: number, ids: readonly number[]): void {
    const properties = ids.length === 0 ? message.properties : { ...message.properties, subscriptionIds: [...ids] };
    if (qos > 0) session.deliver({ ...message, properties, qos: 1 });
    else session.send(encodePublish({ ...message, properties, qos: 0 }, 0, false, session.version));
  }

  /** Keeps the last message of a topic, or with an empty payload none. Keeps the one before if there is no room. */
  #retain(message: Message): boolean {
    const { topic } = message;
    const removes = message.payload.length === 0;
    const old = this.retained.get(topic);
    const freed = old === undefined ? 0 : cost(old);
    if (!this.#budget.reserve((removes ? 0 : cost(message)) - freed)) return false;
    this.retained.delete(topic);
    if (!removes) this.retained.set(topic, keep(message));
    return true;
  }

  // ---------------------------------------------------------------------------------------------- subscriptions

  /** Returns whether there is room for it. */
  subscribe(subscription: Subscription): boolean {
    if (!this.#budget.reserve(weight(subscription))) return false;
    subscription.session.subscriptions.set(subscription.filter, subscription);
    this.#subscriptions.add(subscription);
    return true;
  }

  unsubscribe(subscription: Subscription): void {
    subscription.session.subscriptions.delete(subscription.filter);
    this.#subscriptions.delete(subscription);
    this.#budget.release(weight(subscription));
  }

  // ---------------------------------------------------------------------------------------------- sessions

  async #accept(connect: Connect, stream: Stream): Promise<{ connect: Connect; session: Session }> {
    const { authenticate } = this.#options;
    if (authenticate !== undefined && !(await authenticate(connect)))
      throw new MqttError(Reason.notAuthorized, `${JSON.stringify(connect.username)} is not authorized`);
    return { connect, session: this.#open(connect, stream) };
  }

  /** Answers CONNECT, and moves the session to this connection. */
  #open(connect: Connect, stream: Stream): Session {
    const { version, cleanStart, will, properties } = connect;
    const clientId = connect.clientId || randomUUID();
    const old = this.#sessions.get(clientId);
    if (old !== undefined) {
      if (old.stream !== null) {
        void old.disconnect(Reason.sessionTakenOver);
        this.#close(old);
      }
      if (cleanStart) this.#end(old);
    }
    const found = this.#sessions.get(clientId);
    if (found === undefined && this.#sessions.size >= this.#maxSessions) {
      const [oldest] = this.#idle;
      if (oldest === undefined) throw new MqttError(Reason.quotaExceeded, `more than ${this.#maxSessions} sessions`);
      this.#end(oldest);
    }
    const needed = (found === undefined ? base(clientId) : 0) + (will === null ? 0 : cost(will));
    if (!this.#budget.reserve(needed))
      throw new MqttError(Reason.quotaExceeded, 'no memory for a session and its will');
    const session = found ?? new Session(clientId, this.#budget);
    this.#sessions.set(clientId, session);
    this.#idle.delete(session);
    session.stopTimers();
    const wished = version === 5 ? (properties.sessionExpiry ?? 0) : cleanStart ? 0 : Infinity;
    session.expiry = Math.min(wished, MAX_EXPIRY_S);
    session.will = will;
    const limits: Properties = { maximumQos: 1, maximumPacketSize: this.framing.limit, sharedAvailable: 0 };
    if (connect.clientId === '') limits.assignedClientId = clientId;
    if (session.expiry < wished) limits.sessionExpiry = session.expiry;
    void stream.write(connack(found !== undefined, Reason.success, limits, version));
    session.resume(stream, connect);
    return session;
  }

  /** The connection of a session has ended. */
  #close(session: Session): void {
    session.stream = null;
    const { will, expiry } = session;
    if (expiry === 0) {
      this.#end(session);
      return;
    }
    this.#idle.add(session);
    session.endTimer = setTimeout(() => this.#end(session), 1000 * expiry).unref();
    const delay = will?.properties.willDelay ?? 0;
    if (delay === 0) this.#publishWill(session);
    else session.willTimer = setTimeout(() => this.#publishWill(session), 1000 * Math.min(delay, expiry)).unref();
  }

  #end(session: Session): void {
    for (const subscription of session.subscriptions.values()) this.unsubscribe(subscription);
    this.#sessions.delete(session.clientId);
    this.#idle.delete(session);
    session.clear();
    // Last, because the session must not get it: nothing would release the memory.
    this.#publishWill(session);
  }

  #publishWill(session: Session): void {
    const { will } = session;
    session.will = null;
    if (will === null) return;
    const { willDelay: _, ...properties } = will.properties;
    this.route({ ...will, properties }, session, null, new Set());
  }
}

function reasonOf(error: unknown): number {
  if (error instanceof MqttError) return error.reason;
  if (error instanceof LimitOverrunError) return Reason.packetTooLarge;
  if (error instanceof FrameError) return Reason.malformed;
  return error instanceof TimeoutError ? Reason.keepAliveTimeout : Reason.unspecified;
}

async function main([port = '1883', host = '127.0.0.1']: string[]): Promise<void> {
  await using server = new StreamServer(new Broker().serve, host, Number(port), {
    keepAlive: true,
    maxConnections: 5000,
    onError: (error) => console.error(error instanceof Error ? error.message : error),
  });
  await server.startServing();
  console.log(`Serving on ${host}:${server.address()!.port}`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
  await server.serveForever({ signal: stop.signal, drain: 5000 }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
