/**
 * A small MQTT broker for clients of MQTT 3.1.1 and 5: QoS 0 and 1, retained messages, wills, wildcards, sessions that outlive their
 * connection.
 *
 *     node out/examples/protocols/mqtt/server.js [PORT [HOST]]
 *
 *     mosquitto_sub -t 'rooms/+/temperature' -v
 *     mosquitto_pub -t rooms/kitchen/temperature -m 21
 *
 * It keeps everything in memory, and only so much of it. A subscriber who is slow makes publishers wait for up to a second; one who stops
 * reading misses messages with QoS 0, and is disconnected when it has accepted nothing for half a minute.
 *
 * Left out: QoS 2, shared subscriptions, topic aliases, enhanced authentication, and `$SYS` topics.
 */
import { randomUUID } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { pathToFileURL } from 'node:url';
import { FrameError, LimitOverrunError, StreamServer, TimeoutError, type HandlerContext, type Stream } from 'sluice';
import { Connection } from './connection.js';
import {
  MQTT,
  MqttError,
  NO_PROPERTIES,
  Reason,
  decode,
  encode,
  encodePublish,
  type Connect,
  type Message,
  type Properties,
  type Version,
} from './mqtt.js';
import { Session, cost, keep, targets, type Kept, type Subscription, type Target } from './session.js';
import { TopicTree, isTopic } from './topics.js';

const CONNECT = { ...MQTT, limit: 256 * 1024 };
const CONNECT_TIMEOUT_MS = 10_000;
const MAX_SESSIONS = 10_000;
const MAX_RETAINED_BYTES = 64 * 1024 * 1024;
const MAX_EXPIRY_S = 7 * 86_400;

/** The return codes of CONNACK in MQTT 3.1.1; the others are 5, not authorized. */
const RETURN_CODES = new Map<number, number>([
  [Reason.success, 0],
  [Reason.unsupportedVersion, 1],
  [Reason.invalidClientId, 2],
  [Reason.quotaExceeded, 3],
]);

export interface BrokerOptions {
  /** Whether a client may connect. By default every client may. */
  authenticate?: (connect: Connect) => boolean | Promise<boolean>;
  /** The longest packet in bytes. Default 1 MiB. */
  maximumPacket?: number;
}

export class Broker {
  readonly framing: typeof CONNECT;
  readonly subscriptions = new TopicTree<Subscription, readonly Target[]>(targets);
  readonly retained = new Map<string, Kept>();
  #retainedBytes = 0;
  readonly #sessions = new Map<string, Session>();
  readonly #options: BrokerOptions;

  constructor(options: BrokerOptions = {}) {
    this.#options = options;
    this.framing = { ...MQTT, limit: options.maximumPacket ?? 1024 * 1024 };
  }

  /** The handler of a server: `new StreamServer(broker.serve, ...)`. */
  readonly serve = async (stream: Stream, { draining }: HandlerContext): Promise<void> => {
    const connect = await this.#handshake(stream);
    if (connect === null) return;
    const session = this.#open(connect, stream);
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
    for (const { session, qos, noLocal, retainAsPublished, ids } of this.subscriptions.match(message.topic)) {
      if (noLocal && session === from) continue;
      const retain = message.retain && retainAsPublished;
      if (qos === 0 || message.qos === 0) {
        if (!session.listens) continue;
        if (ids.length === 0) {
          const plain = { ...message, qos: 0, retain } as const;
          session.send(
            (packets[2 * session.version + Number(retain)] ??= encodePublish(plain, 0, false, session.version)),
          );
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

  /** Keeps the last message of a topic, or with an empty payload none. */
  #retain(message: Message): boolean {
    const { topic } = message;
    const old = this.retained.get(topic);
    if (old !== undefined) this.#retainedBytes -= cost(old);
    this.retained.delete(topic);
    if (message.payload.length === 0) return true;
    if (this.#retainedBytes + cost(message) > MAX_RETAINED_BYTES) return false;
    this.#retainedBytes += cost(message);
    this.retained.set(topic, keep(message));
    return true;
  }

  // ---------------------------------------------------------------------------------------------- sessions

  /** Reads CONNECT, and refuses clients that are not welcome. Null: the peer has sent nothing. */
  async #handshake(stream: Stream): Promise<Connect | null> {
    const first = await stream.readframe(CONNECT, { timeout: CONNECT_TIMEOUT_MS });
    if (first === null) return null;
    let version: Version | null = null;
    try {
      const connect = decode(first, 0, first.length, 4);
      if (connect.type !== 'connect') throw new MqttError(Reason.protocolError, `${connect.type} before connect`);
      ({ version } = connect);
      await this.#check(connect);
      return connect;
    } catch (error) {
      const reason = error instanceof MqttError ? error.reason : Reason.unspecified;
      if (reason === Reason.unsupportedVersion) version = 4; // which every client understands
      if (version !== null) void stream.write(connack(false, reason, NO_PROPERTIES, version));
      await stream.close();
      throw error;
    }
  }

  async #check(connect: Connect): Promise<void> {
    const { version, clientId, cleanStart, will, properties, username } = connect;
    if (clientId === '' && !cleanStart && version === 4)
      throw new MqttError(Reason.invalidClientId, 'a session without a client identifier');
    if (properties.authenticationMethod !== undefined)
      throw new MqttError(Reason.badAuthenticationMethod, 'enhanced authentication is not supported');
    if (will !== null && !isTopic(will.topic)) throw new MqttError(Reason.invalidTopic, 'the topic of the will');
    if (will?.qos === 2 && version === 5) throw new MqttError(Reason.qosNotSupported, 'a will with QoS 2');
    if (this.#sessions.size >= MAX_SESSIONS && !this.#sessions.has(clientId))
      throw new MqttError(Reason.quotaExceeded, `more than ${MAX_SESSIONS} sessions`);
    const { authenticate } = this.#options;
    if (authenticate !== undefined && !(await authenticate(connect)))
      throw new MqttError(Reason.notAuthorized, `${JSON.stringify(username)} is not authorized`);
  }

  /** Answers CONNECT, and moves the session to this connection. */
  #open(connect: Connect, stream: Stream): Session {
    const { version, cleanStart, properties } = connect;
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
    const session = found ?? new Session(clientId);
    this.#sessions.set(clientId, session);
    session.stopTimers();
    const wished = version === 5 ? (properties.sessionExpiry ?? 0) : cleanStart ? 0 : Infinity;
    session.expiry = Math.min(wished, MAX_EXPIRY_S);
    session.will = connect.will;
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
    session.endTimer = setTimeout(() => this.#end(session), 1000 * expiry).unref();
    const delay = will?.properties.willDelay ?? 0;
    if (delay === 0) this.#publishWill(session);
    else session.willTimer = setTimeout(() => this.#publishWill(session), 1000 * Math.min(delay, expiry)).unref();
  }

  #end(session: Session): void {
    session.stopTimers();
    this.#publishWill(session);
    for (const subscription of session.subscriptions.values()) this.subscriptions.delete(subscription);
    this.#sessions.delete(session.clientId);
  }

  #publishWill(session: Session): void {
    const { will } = session;
    session.will = null;
    if (will === null) return;
    const { willDelay: _, ...properties } = will.properties;
    this.route({ ...will, properties }, session, null, new Set());
  }
}

function connack(sessionPresent: boolean, reason: number, properties: Properties, version: Version): Buffer {
  const code = version === 5 ? reason : (RETURN_CODES.get(reason) ?? 5);
  return encode({ type: 'connack', sessionPresent, reason: code, properties }, version);
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
    readTimeout: 60_000,
    writeTimeout: 30_000,
    maxWriteBuffer: 64 * 1024 * 1024,
    onError: (error) => console.error(error instanceof Error ? error.message : error),
  });
  await server.startServing();
  console.log(`Serving on ${host}:${(server.sockets[0]!.address() as AddressInfo).port}`);
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
  await server.serveForever({ signal: stop.signal, drain: 5000 }).catch((error: unknown) => {
    if (!stop.signal.aborted) throw error;
  });
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) await main(process.argv.slice(2));
