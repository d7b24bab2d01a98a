/**
 * The session of a client: its subscriptions, and the messages that it has not acknowledged. It outlives the connection if the client
 * wishes so, and moves to the next connection with the same client identifier.
 */
import type { Stream } from 'sluice';
import { NO_PROPERTIES, encode, encodePublish, type Connect, type Filter, type Message, type Version } from './mqtt.js';

/** The most bytes of messages that a session may keep. Further ones are dropped. */
const MAX_KEPT = 16 * 1024 * 1024;

/** The most bytes that wait to be sent to a client before publishers wait for it. */
const MAX_WAITING = 64 * 1024;

export interface Subscription extends Filter {
  readonly session: Session;
  /** The subscription identifier of MQTT 5; 0 if there is none. */
  readonly id: number;
}

/** All subscriptions of a session that match a topic: a message is delivered once. */
export interface Target {
  readonly session: Session;
  readonly qos: number;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  readonly ids: number[];
}

export function targets(subscriptions: readonly Subscription[]): readonly Target[] {
  const found = new Map<Session, Target>();
  for (const { session, id, qos, noLocal, retainAsPublished } of subscriptions) {
    const other = found.get(session);
    found.set(session, {
      session,
      qos: Math.max(qos, other?.qos ?? 0),
      noLocal: noLocal && (other?.noLocal ?? true),
      retainAsPublished: retainAsPublished || (other?.retainAsPublished ?? false),
      ids: [...(other?.ids ?? []), ...(id === 0 ? [] : [id])],
    });
  }
  return [...found.values()];
}

/** A message that is kept: it has its own memory. */
export interface Kept extends Message {
  /** In ms since 1970; Infinity: never. */
  readonly expires: number;
}

export function keep(message: Message): Kept {
  const { topic, payload, qos, retain, properties } = message;
  const { messageExpiry = Infinity } = properties;
  return { topic, payload: Buffer.from(payload), qos, retain, properties, expires: Date.now() + 1000 * messageExpiry };
}

/** The message as it is now: the time that it was kept is deducted from the time that it has. */
export function current(message: Kept): Message | null {
  if (message.expires === Infinity) return message;
  const left = Math.ceil((message.expires - Date.now()) / 1000);
  return left <= 0 ? null : { ...message, properties: { ...message.properties, messageExpiry: left } };
}

/** About how much memory a message takes. */
export function cost({ topic, payload, properties }: Message): number {
  const more = properties === NO_PROPERTIES ? 0 : JSON.stringify(properties).length;
  return 200 + topic.length + payload.length + more;
}

/** Bounds the memory of all sessions, messages and subscriptions together. */
export class Budget {
  #left: number;

  constructor(bytes: number) {
    this.#left = bytes;
  }

  /** Returns whether there is room for so many more bytes. */
  reserve(bytes: number): boolean {
    if (bytes > this.#left) return false;
    this.#left -= bytes;
    return true;
  }

  release(bytes: number): void {
    this.#left += bytes;
  }
}

/** About how much memory a subscription takes. */
export function weight({ filter }: Subscription): number {
  return 200 + filter.length + 400 * filter.split('/').length;
}

/** About how much memory a session takes without its will, its messages and its subscriptions. */
export function base(clientId: string): number {
  return 200 + clientId.length;
}

/** A session, whose {@link base} is reserved, and so is its will. */
export class Session {
  readonly clientId: string;
  readonly subscriptions = new Map<string, Subscription>();
  /** The connection; null while there is none. */
  stream: Stream | null = null;
  version: Version = 4;
  /** Seconds that the session outlives its connection. */
  expiry = 0;
  #will: Message | null = null;
  /** Run while there is no connection: the first publishes the will, the second ends the session. */
  willTimer: NodeJS.Timeout | null = null;
  endTimer: NodeJS.Timeout | null = null;

  #receiveMaximum = 65535;
  #maximumPacket = Infinity;
  /** Whether publishers have given up waiting for this client: it misses messages with QoS 0 until it has caught up. */
  #stalled = false;
  /** In the order of sending. */
  readonly #unacknowledged = new Map<number, Kept>();
  /** What an earlier connection has not acknowledged, and this one has not been sent. */
  readonly #again = new Map<number, Kept>();
  readonly #queue = new Set<Kept>();
  readonly #budget: Budget;
  #keptBytes = 0;
  #lastId = 0;

  constructor(clientId: string, budget: Budget) {
    this.clientId = clientId;
    this.#budget = budget;
  }

  /** Takes over a connection, after CONNACK was written to it. */
  resume(stream: Stream, { version, properties }: Connect): void {
    this.stream = stream;
    this.version = version;
    this.#stalled = false;
    this.#receiveMaximum = properties.receiveMaximum ?? 65535;
    this.#maximumPacket = properties.maximumPacketSize ?? Infinity;
    const later = [...this.#again];
    this.#again.clear();
    for (const [id, message] of [...this.#unacknowledged, ...later]) this.#again.set(id, message);
    this.#unacknowledged.clear();
    this.#sendQueued();
  }

  /** Sends a packet. Nothing waits for it: see {@link catchUp}. */
  send(packet: Buffer): void {
    if (packet.length <= this.#maximumPacket) void this.stream?.write(packet);
  }

  /** Whether a message with QoS 0 would be sent. */
  get listens(): boolean {
    return this.stream !== null && !this.#stalled;
  }

  /** Sends a message with QoS 1, at once or when the client has acknowledged earlier ones. */
  deliver(message: Kept): void {
    const size = cost(message);
    if (this.#keptBytes + size > MAX_KEPT || !this.#budget.reserve(size)) return;
    this.#keptBytes += size;
    this.#queue.add(message);
    this.#sendQueued();
  }

  /** Replaces the will by another one, for which memory is reserved. */
  set will(will: Message | null) {
    if (this.#will !== null) this.#budget.release(cost(this.#will));
    this.#will = will;
  }

  get will(): Message | null {
    return this.#will;
  }

  acknowledge(id: number): void {
    const message = this.#unacknowledged.get(id);
    if (message === undefined) return;
    this.#unacknowledged.delete(id);
    this.#release(cost(message));
    this.#sendQueued();
  }

  #sendQueued(): void {
    for (const [id, message] of this.#again) {
      if (this.#isFull) return;
      this.#again.delete(id);
      this.#transmit(message, id, true);
    }
    for (const message of this.#queue) {
      if (this.#isFull) return;
      this.#queue.delete(message);
      this.#transmit(message, this.#nextId(), false);
    }
  }

  get #isFull(): boolean {
    return this.stream === null || this.#unacknowledged.size >= this.#receiveMaximum;
  }

  #transmit(message: Kept, id: number, again: boolean): void {
    const now = current(message);
    const packet = now === null ? null : encodePublish(now, id, again, this.version);
    if (packet === null || packet.length > this.#maximumPacket) {
      this.#release(cost(message));
      return;
    }
    this.#unacknowledged.set(id, message);
    this.send(packet);
  }

  #release(size: number): void {
    this.#keptBytes -= size;
    this.#budget.release(size);
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId % 65535) + 1;
    while (this.#unacknowledged.has(this.#lastId));
    return this.#lastId;
  }

  /** The session ends. Its will is left. */
  clear(): void {
    this.stopTimers();
    this.#release(this.#keptBytes);
    this.#budget.release(base(this.clientId));
    this.#unacknowledged.clear();
    this.#again.clear();
    this.#queue.clear();
  }

  stopTimers(): void {
    if (this.willTimer !== null) clearTimeout(this.willTimer);
    if (this.endTimer !== null) clearTimeout(this.endTimer);
  }

  /** Whether publishers should {@link catchUp} before they publish more. */
  get isBehind(): boolean {
    return this.listens && this.stream!.writeBufferSize > MAX_WAITING;
  }

  /**
   * Waits until the client has received what was sent, for up to `patience` ms. After that it misses messages with QoS 0 until it has
   * caught up, and no publisher waits for it.
   */
  async catchUp(patience: number): Promise<void> {
    const { stream } = this;
    if (stream === null || this.#stalled) return;
    try {
      await stream.drain({ timeout: patience });
    } catch {
      if (this.stream !== stream) return;
      this.#stalled = true;
      const over = (): void => {
        if (this.stream === stream) this.#stalled = false;
      };
      stream.drain().then(over, over);
    }
  }

  /** Ends a connection, with a reason that MQTT 5 can express. */
  async disconnect(reason: number): Promise<void> {
    const { stream, version } = this;
    if (stream === null) return;
    if (version === 5) void stream.write(encode({ type: 'disconnect', reason, properties: NO_PROPERTIES }, version));
    await stream.close().catch(() => {}); // that it was lost is known to its handler
  }
}
