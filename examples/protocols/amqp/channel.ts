/** A channel of a connection to a broker: publishes with confirms, consumes with prefetch. */
import { Assembler, type Carrier, type Receiver } from './amqp.js';
import { AmqpError, ClosedError, ProtocolError } from './errors.js';
import type { FrameEncoder } from './frame-encoder.js';
import { Message, type ConsumeOptions } from './message.js';
import type { Fieldset, Method, MethodName, Properties, Reply, Request } from './methods.js';
import { Acknowledgements, Confirms } from './settlement.js';

/** The connection, as a channel sees it. */
export interface Link {
  readonly encoder: FrameEncoder;
  send(bytes: Buffer): void;
  /** Sends what the broker has asked for. */
  answer(bytes: Buffer): void;
  drain(): Promise<void>;
  /** Takes what a callback of the program has returned: if it rejects, that is as if the callback had thrown. */
  watch(result: unknown): void;
  /** The channel is closed on both sides. */
  remove(channel: Channel): void;
}

/** What {@link Channel.call} is for. The others have methods of their own. */
export type Callable = Exclude<
  Request,
  `connection.${string}` | `channel.${string}` | 'basic.consume' | 'basic.cancel' | 'basic.get' | 'confirm.select'
>;

export type OnMessage = (message: Message) => void | PromiseLike<void>;

interface Waiter {
  readonly expected: readonly MethodName[];
  readonly resolve: (method: Method, properties?: Properties, body?: Buffer) => void;
  readonly reject: (error: Error) => void;
}

export class Channel implements Receiver {
  readonly number: number;
  /** @internal */
  readonly assembler: Assembler;
  /**
   * Resolves when the channel, or the connection, was closed on this side. Rejects with the reason if the broker has closed it or the
   * connection is lost: then a consumer receives nothing more.
   */
  readonly closed: Promise<void>;
  /**
   * Called with a message published as `mandatory` that no queue receives. It is confirmed afterwards. If the function throws or rejects,
   * the connection is closed with that error.
   */
  onReturn: (message: Message, code: number, text: string) => void | PromiseLike<void> = () => {};
  readonly #link: Link;
  readonly #waiters: Waiter[] = [];
  readonly #consumers = new Map<string, ConsumeOptions & { onMessage: OnMessage }>();
  #consumed = 0;
  readonly #acknowledgements = new Acknowledgements();
  #confirms: Confirms | null = null;
  #error: Error | null = null;
  #ended = false;
  #settle!: (error: Error) => void;

  /** Use `connection.channel()`. */
  constructor(link: Link, number: number, maxMessage: number) {
    this.#link = link;
    this.number = number;
    this.assembler = new Assembler(this, maxMessage);
    this.closed = new Promise((resolve, reject) => {
      this.#settle = (error): void => (error instanceof ClosedError ? resolve() : reject(error));
    });
    this.closed.catch(() => {});
  }

  /** Why the channel cannot be used, or null while it is open. */
  get error(): Error | null {
    return this.#error;
  }

  /** Calls a method and waits for its answer: `await channel.call('queue.declare', { queue: 'work', durable: true })`. */
  call<N extends Callable>(name: N, fields: Partial<Fieldset<N>> & { readonly noWait?: false }): Promise<Reply<N>> {
    return this.#call(name, fields);
  }

  /** The broker sends each further consumer of the channel at most this many messages that are not acknowledged. */
  async prefetch(prefetchCount: number): Promise<void> {
    await this.#call('basic.qos', { prefetchCount });
  }

  /** From now on the broker confirms each message that is published. */
  async confirm(): Promise<void> {
    if (this.#confirms !== null) return;
    const reply = this.#call('confirm.select', {});
    this.#confirms = new Confirms();
    await reply;
  }

  /**
   * Publishes a message and returns its number, for {@link confirmed}. Does not wait: call `await channel.drain()` from time to time. A body
   * of more than about 4 KB is not copied, so do not change it until it is confirmed.
   */
  publish(
    exchange: string,
    routingKey: string,
    body: Uint8Array | string,
    properties: Properties & { readonly mandatory?: boolean } = {},
  ): number {
    if (this.#error !== null) throw this.#error;
    const bytes = typeof body === 'string' ? Buffer.from(body) : body;
    const mandatory = properties.mandatory === true;
    const link = this.#link;
    const pieces = link.encoder.publish(this.number, exchange, routingKey, mandatory, properties, bytes);
    for (const piece of pieces) link.send(piece);
    return this.#confirms === null ? 0 : this.#confirms.publish();
  }

  /** Waits while more is written than the broker accepts. */
  drain(): Promise<void> {
    return this.#link.drain();
  }

  /**
   * Waits until the broker has confirmed a message and all before it; by default all that were published. Rejects with a
   * {@link RefusedError} if it has refused any of them. A refusal is reported once.
   */
  confirmed(tag = this.#confirms?.published ?? 0): Promise<void> {
    if (this.#confirms === null) return Promise.reject(new TypeError('confirmed: call confirm() first'));
    return this.#confirms.wait(tag);
  }

  /**
   * Calls a function with each message of a queue, in order, and resolves with the tag of the consumer. If the function throws or rejects,
   * the connection is closed with that error; later errors are not reported. Messages do not wait for an async function: `prefetch` limits
   * how many run at once.
   */
  async consume(queue: string, onMessage: OnMessage, options: ConsumeOptions = {}): Promise<string> {
    const { noAck = false, exclusive = false, arguments: table = {} } = options;
    // Chosen here, because the first message may come together with the answer.
    const consumerTag = `sluice-${this.number}-${++this.#consumed}`;
    this.#consumers.set(consumerTag, { ...options, onMessage });
    await this.#call('basic.consume', { queue, consumerTag, noAck, exclusive, arguments: table });
    return consumerTag;
  }

  /** Ends a consumer. Messages may still come until this resolves. */
  async cancel(consumerTag: string): Promise<void> {
    await this.#call('basic.cancel', { consumerTag });
    this.#consumers.delete(consumerTag);
  }

  /** One message of a queue, or null if the queue is empty. */
  get(queue: string, { noAck = false } = {}): Promise<Message | null> {
    return new Promise((resolve, reject) => {
      const found: Waiter['resolve'] = (method, properties, body) => {
        if (method.name !== 'basic.get-ok') {
          resolve(null);
          return;
        }
        this.#acknowledgements.received(method.fields.deliveryTag, noAck);
        resolve(new Message(this.#answers, method.fields, properties!, body!));
      };
      this.#send('basic.get', { queue, noAck });
      this.#wait({ expected: ['basic.get-ok', 'basic.get-empty'], resolve: found, reject });
    });
  }

  /** Closes the channel, after what was acknowledged and published. */
  async close(): Promise<void> {
    if (this.#error !== null) return;
    const reply = this.#call('channel.close', { code: 200, text: 'closed by the client' });
    this.#error = new ClosedError('The channel is closed');
    await reply;
    this.end(this.#error);
  }

  /** @internal Sends the acknowledgements that are due. */
  readonly flush = (): void => {
    const deliveryTag = this.#acknowledgements.flush();
    if (deliveryTag > 0) this.#write('basic.ack', { deliveryTag, multiple: true });
  };

  /** @internal The channel, or the connection, is closed. */
  end(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error ??= error;
    for (const { reject } of this.#waiters.splice(0)) reject(error);
    this.#confirms?.fail(error);
    this.#link.remove(this);
    this.#settle(error);
  }

  /** @internal */
  async open(): Promise<this> {
    await this.#call('channel.open', {});
    return this;
  }

  // ---------------------------------------------------------------------------------------------- what is received

  /** @internal */
  method(method: Exclude<Method, { name: Carrier['name'] }>): void {
    switch (method.name) {
      case 'basic.ack':
      case 'basic.nack': {
        if (this.#confirms === null) throw new ProtocolError(`${method.name} on a channel without confirms`, 503);
        const { deliveryTag, multiple } = method.fields;
        this.#confirms.settle(deliveryTag, multiple, method.name === 'basic.ack');
        return;
      }
      case 'basic.cancel': {
        const consumer = this.#consumers.get(method.fields.consumerTag);
        this.#consumers.delete(method.fields.consumerTag);
        this.#link.watch(consumer?.onCancel?.());
        return;
      }
      case 'channel.flow': {
        this.#link.answer(this.#link.encoder.method(this.number, 'channel.flow-ok', method.fields));
        return;
      }
      case 'channel.close':
        // If both sides close the channel at once, each waits for the answer of the other.
        this.#link.answer(this.#link.encoder.method(this.number, 'channel.close-ok', {}));
        if (this.#error === null) this.end(new AmqpError('channel', method.fields.code, method.fields.text));
        return;
      default: {
        this.#answer(method);
        return;
      }
    }
  }

  /** @internal */
  message(carrier: Carrier, properties: Properties, body: Buffer): void {
    if (carrier.name === 'basic.get-ok') {
      this.#answer(carrier, properties, body);
      return;
    }
    if (this.#error !== null) return;
    if (carrier.name === 'basic.return') {
      const { code, text, exchange, routingKey } = carrier.fields;
      const origin = { deliveryTag: 0, redelivered: false, exchange, routingKey };
      this.#link.watch(this.onReturn(new Message(this.#answers, origin, properties, body), code, text));
      return;
    }
    const consumer = this.#consumers.get(carrier.consumerTag);
    if (consumer === undefined) throw new ProtocolError('a message for an unknown consumer', 503);
    this.#acknowledgements.received(carrier.fields.deliveryTag, consumer.noAck === true);
    this.#link.watch(consumer.onMessage(new Message(this.#answers, carrier.fields, properties, body)));
  }

  // ---------------------------------------------------------------------------------------------- what is sent

  readonly #answers = {
    ack: (tag: number): void => {
      if (this.#error !== null) throw this.#error;
      const how = this.#acknowledgements.ack(tag);
      if (how === 'now') this.#send('basic.ack', { deliveryTag: tag });
      else if (how === 'first') queueMicrotask(this.flush);
    },
    nack: (tag: number, requeue: boolean): void => {
      if (this.#error !== null) throw this.#error;
      this.#acknowledgements.settle(tag);
      this.#send('basic.nack', { deliveryTag: tag, requeue });
    },
  };

  async #call<N extends Request>(name: N, fields: Partial<Fieldset<N>>): Promise<Reply<N>> {
    this.#send(name, fields); // if it throws, there is nothing to wait for
    const reply = new Promise<Method>((resolve, reject) =>
      this.#wait({ expected: [`${name}-ok` as MethodName], resolve, reject }),
    );
    return (await reply).fields;
  }

  #wait(waiter: Waiter): void {
    if (this.#error !== null) waiter.reject(this.#error);
    else this.#waiters.push(waiter);
  }

  #answer(method: Method, properties?: Properties, body?: Buffer): void {
    const waiter = this.#waiters[0];
    if (!waiter?.expected.includes(method.name)) {
      throw new ProtocolError(`an unexpected ${method.name}`, 503);
    }
    this.#waiters.shift();
    if (method.name === 'basic.recover-ok') this.#acknowledgements.recovered();
    waiter.resolve(method, properties, body);
  }

  /** Acknowledgements that are due go first: a transaction, for one, has what was acknowledged before it is committed. */
  #send<N extends MethodName>(name: N, fields: Partial<Fieldset<N>>): void {
    this.flush();
    this.#write(name, fields);
  }

  #write<N extends MethodName>(name: N, fields: Partial<Fieldset<N>>): void {
    if (this.#error === null) this.#link.send(this.#link.encoder.method(this.number, name, fields));
  }
}
