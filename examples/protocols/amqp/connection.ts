/** A connection to a broker: the handshake, the channels, heartbeats, and how it ends. */
import { connect, FrameError, LimitOverrunError, TimeoutError, type Stream } from 'sluice';
import { Assembler, divide, FRAMING, PREAMBLE, type Receiver } from './amqp.js';
import { Channel, type Link } from './channel.js';
import { AmqpError, ClosedError, ProtocolError } from './errors.js';
import { FrameEncoder, HEARTBEAT_FRAME } from './frame-encoder.js';
import type { Fieldset, Method, MethodName } from './methods.js';
import type { AmqpOptions } from './options.js';
import type { Table } from './values.js';

const CHANNEL_MAX = 2047;
const FRAME_MIN = 4096;
/** How many answers may wait for the broker to read them. */
const MAX_ANSWERS = 1000;
const PROPERTIES: Table = {
  product: 'sluice',
  capabilities: {
    authentication_failure_close: true,
    'basic.nack': true,
    'connection.blocked': true,
    consumer_cancel_notify: true,
    publisher_confirms: true,
  },
};

/** Opened by {@link Connection.open}. */
export class Connection {
  /** Resolves when the connection was closed by `close`; rejects with the reason if it ends in another way. */
  readonly closed: Promise<void>;
  readonly #options: {
    readonly [K in keyof Omit<AmqpOptions, 'connect' | 'host' | 'port'>]-?: NonNullable<AmqpOptions[K]>;
  };
  readonly #stream: Stream;
  readonly #encoder = new FrameEncoder();
  readonly #channels = new Map<number, Channel>();
  #channelMax = CHANNEL_MAX;
  /** Notices when the broker has become silent. */
  #timer: NodeJS.Timeout | undefined;
  /** Who waits for the next method on channel 0, which concerns the connection. */
  #next: { name: MethodName; resolve: (method: Method) => void; reject: (error: Error) => void } | null = null;
  /** Why the connection cannot be used any more. */
  #error: Error | null = null;
  /** Why this side has given the connection up while it was waiting for the broker, if it has. */
  #givenUp: Error | null = null;
  /** Whether this side has asked to close it. Until the broker agrees, what it sends is ignored. */
  #closing = false;
  /** How many answers were sent since all that was written had left. */
  #answers = 0;
  /** Whether the last frame has come. */
  #finished = false;

  private constructor(stream: Stream, options: AmqpOptions) {
    this.#stream = stream;
    const { user = 'guest', password = 'guest', virtualHost = '/', heartbeat = 60, frameMax = 131_072 } = options;
    const { maxMessage = 16 * 2 ** 20, timeout = 30_000, onBlocked = (): void => {} } = options;
    this.#options = { user, password, virtualHost, heartbeat, frameMax, maxMessage, timeout, onBlocked };
    this.closed = this.#run();
    this.closed.catch(() => {});
  }

  /** Connects and logs in. */
  static async open(options: AmqpOptions = {}): Promise<Connection> {
    const { host = 'localhost', connect: how = {} } = options;
    const { port = how.ssl ? 5671 : 5672, frameMax = FRAME_MIN } = options;
    if (!(frameMax >= FRAME_MIN)) throw new RangeError(`frameMax must be at least ${FRAME_MIN}, not ${frameMax}`);
    const connection = new Connection(await connect(host, port, how), options);
    try {
      await connection.#handshake();
      return connection;
    } catch (error) {
      connection.#fail(error as Error);
      await connection.#stream.close().catch(() => {});
      throw error;
    }
  }

  /** Opens a channel. */
  async channel(): Promise<Channel> {
    if (this.#error !== null) throw this.#error;
    let number = 1;
    while (this.#channels.has(number)) number++;
    if (number > this.#channelMax) throw new RangeError(`A connection has at most ${this.#channelMax} channels`);
    const channel = new Channel(this.#link, number, this.#options.maxMessage);
    this.#channels.set(number, channel);
    return channel.open();
  }

  /** Closes the connection, after what was published and acknowledged, and resolves when the broker has agreed. */
  async close(): Promise<void> {
    if (this.#error === null) {
      for (const channel of this.#channels.values()) channel.flush();
      this.#send('connection.close', { code: 200, text: 'closed by the client' });
      this.#closing = true;
      this.#end(new ClosedError('The connection is closed'));
      this.#within(this.#options.timeout);
    }
    await this.closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  // ---------------------------------------------------------------------------------------------- the handshake

  async #handshake(): Promise<void> {
    const { user, password, virtualHost, heartbeat, frameMax } = this.#options;
    this.#within(this.#options.timeout);
    void this.#stream.write(PREAMBLE);
    const start = await this.#receive('connection.start');
    if (!start.mechanisms.split(' ').includes('PLAIN')) {
      throw new ProtocolError(`the broker offers ${start.mechanisms} to log in, but not PLAIN`);
    }
    const response = `\0${user}\0${password}`;
    this.#send('connection.start-ok', { properties: PROPERTIES, mechanism: 'PLAIN', response, locale: 'en_US' });
    const tune = await this.#receive('connection.tune');
    const agreed = {
      channelMax: lower(tune.channelMax, CHANNEL_MAX),
      frameMax: lower(tune.frameMax, frameMax),
      heartbeat: lower(tune.heartbeat, heartbeat),
    };
    if (agreed.frameMax < FRAME_MIN) throw new ProtocolError(`frames of at most ${agreed.frameMax} bytes`, 501);
    this.#channelMax = agreed.channelMax;
    this.#encoder.frameMax = agreed.frameMax;
    this.#send('connection.tune-ok', agreed);
    this.#send('connection.open', { virtualHost });
    await this.#receive('connection.open-ok');
    clearTimeout(this.#timer);
    if (agreed.heartbeat > 0) this.#beat(agreed.heartbeat * 1000);
  }

  #within(ms: number): void {
    this.#timer = setTimeout(() => this.#giveUp(ms), ms);
  }

  /** Looks twice in each interval: sends a heartbeat if nothing else was sent since, and gives up if nothing was received in two. */
  #beat(interval: number): void {
    const stream = this.#stream;
    let { bytesWritten, bytesRead } = stream;
    let silent = 0;
    this.#timer = setInterval(() => {
      silent = stream.bytesRead === bytesRead ? silent + 1 : 0;
      if (silent === 4) {
        this.#giveUp(2 * interval);
        return;
      }
      if (stream.bytesWritten === bytesWritten) void stream.write(HEARTBEAT_FRAME);
      ({ bytesWritten, bytesRead } = stream);
    }, interval / 2);
  }

  #giveUp(ms: number): void {
    this.#givenUp = new TimeoutError(`The broker has sent nothing for ${ms} ms`);
    this.#end(this.#givenUp);
    void this.#stream.abort();
  }

  async #receive<N extends MethodName>(name: N): Promise<Fieldset<N>> {
    if (this.#error !== null) throw this.#error;
    const method = await new Promise<Method>((resolve, reject) => (this.#next = { name, resolve, reject }));
    return method.fields;
  }

  // ---------------------------------------------------------------------------------------------- what is received

  async #run(): Promise<void> {
    try {
      await this.#divide();
    } catch (error) {
      const reason = this.#givenUp ?? asError(error);
      this.#fail(reason);
      throw reason;
    } finally {
      clearTimeout(this.#timer);
      await this.#stream.close().catch(() => {});
    }
  }

  /** Until the broker has agreed to close the connection. */
  async #divide(): Promise<void> {
    const stream = this.#stream;
    // A broker that does not speak this version answers with the one that it speaks.
    const first = await stream.peek(PREAMBLE.length);
    if (first.subarray(0, 4).equals(PREAMBLE.subarray(0, 4))) {
      throw new ProtocolError(`the broker speaks version ${[...first.subarray(5)].join('.')}, not 0.9.1`);
    }
    const framing = { ...FRAMING, limit: this.#options.frameMax };
    while (!this.#finished) {
      const frames = await stream.readframes(framing);
      if (frames.length === 0) throw new Error('The broker closed the connection and did not say why');
      divide(frames.bytes, frames.ends, this.#assemblerOf);
    }
  }

  readonly #assemblerOf = (number: number): Assembler | null => {
    if (number === 0) return this.#control;
    if (this.#error !== null) return null;
    const channel = this.#channels.get(number);
    if (channel === undefined) throw new ProtocolError(`a frame for channel ${number}, which is not open`, 504);
    return channel.assembler;
  };

  readonly #receiver: Receiver = {
    method: (method) => {
      if (method.name === 'connection.close') {
        this.#send('connection.close-ok', {});
        // If both sides close the connection at once, that is agreement as well.
        if (!this.#closing) throw new AmqpError('connection', method.fields.code, method.fields.text);
        this.#finished = true;
      } else if (this.#closing) this.#finished ||= method.name === 'connection.close-ok';
      else if (method.name === 'connection.blocked') this.#watch(this.#options.onBlocked(method.fields.reason));
      else if (method.name === 'connection.unblocked') this.#watch(this.#options.onBlocked(null));
      else if (this.#next?.name !== method.name) throw new ProtocolError(`an unexpected ${method.name}`, 503);
      else {
        this.#next.resolve(method);
        this.#next = null;
      }
    },
    message: ({ name }) => {
      throw new ProtocolError(`${name} on channel 0`, 503);
    },
  };
  readonly #control = new Assembler(this.#receiver, 0);

  // ---------------------------------------------------------------------------------------------- how it ends

  /** Sends the broker the reason, unless it came from there, and ends everything. */
  #fail(error: Error): void {
    const format = error instanceof LimitOverrunError || error instanceof FrameError ? 501 : 541;
    const code = error instanceof ProtocolError ? error.code : format;
    const text = error.message.slice(0, 80);
    if (this.#error === null && !(error instanceof AmqpError)) this.#send('connection.close', { code, text });
    this.#end(error);
  }

  readonly #watch = (result: unknown): void => {
    if (result !== undefined) Promise.resolve(result).catch(this.#rejected);
  };

  readonly #rejected = (error: unknown): void => {
    if (this.#error !== null) return;
    this.#givenUp = asError(error);
    this.#fail(this.#givenUp);
    this.#stream.close().catch(() => {});
  };

  #end(error: Error): void {
    if (this.#error !== null) return;
    this.#error = error;
    clearInterval(this.#timer);
    this.#next?.reject(error);
    for (const channel of this.#channels.values()) channel.end(error);
  }

  #send<N extends MethodName>(name: N, fields: Partial<Fieldset<N>>): void {
    void this.#stream.write(this.#encoder.method(0, name, fields));
  }

  readonly #link: Link = {
    encoder: this.#encoder,
    send: (bytes) => {
      if (this.#error === null) void this.#stream.write(bytes);
    },
    answer: (bytes) => {
      this.#answers = this.#stream.writeBufferSize === 0 ? 0 : this.#answers + 1;
      if (this.#answers > MAX_ANSWERS)
        throw new ProtocolError('the broker does not read the answers to what it sends', 504);
      this.#link.send(bytes);
    },
    drain: () => this.#stream.drain(),
    watch: this.#watch,
    remove: (channel) => void this.#channels.delete(channel.number),
  };
}

/** A callback may throw anything. */
function asError(thrown: unknown): Error {
  return thrown instanceof Error ? thrown : new Error('A callback has failed', { cause: thrown });
}

/** The lower of two limits, where 0 means no limit. */
function lower(a: number, b: number): number {
  return a === 0 || b === 0 ? a + b : Math.min(a, b);
}
