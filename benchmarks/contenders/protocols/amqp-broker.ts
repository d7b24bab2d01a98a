/**
 * A stand-in for a broker of AMQP, which costs much less than a client, so that a client is hardly ever waiting for it. Prints its port.
 *
 * Each connection has one queue. It has room for copies of one message: all bodies must be equal to the first one.
 */
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { BODY, METHOD, OVERHEAD, PREAMBLE } from '../../../examples/protocols/amqp/amqp.js';
import { FrameEncoder } from '../../../examples/protocols/amqp/frame-encoder.js';
import {
  METHODS,
  decodeMethod,
  type Fieldset,
  type Method,
  type MethodName,
} from '../../../examples/protocols/amqp/methods.js';
import { Decoder } from '../../../examples/protocols/amqp/values.js';

const FRAME_MAX = 131_072;
/** The payload of a frame follows its type, its channel and its length. */
const PAYLOAD = 7;
const PUBLISH = METHODS['basic.publish'].id;
const ACK = METHODS['basic.ack'].id;

class Connection {
  readonly #socket: Socket;
  readonly #encoder = new FrameEncoder();
  /** An incomplete frame. */
  #rest: Buffer = Buffer.alloc(0);
  #body: Buffer | null = null;
  #published = 0;
  #confirmed = 0;
  /** The channel that publishes. */
  #publisher = 0;
  #prefetch = 0;
  /** The frames of a message, and where its number is in them; null without a consumer. */
  #delivery: { readonly frames: Buffer; readonly tagAt: number } | null = null;
  #delivered = 0;
  #acknowledged = 0;

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#encoder.frameMax = FRAME_MAX;
    socket.on('error', () => undefined);
    socket.once('data', (bytes) => {
      this.#send(0, 'connection.start', { minor: 9, mechanisms: 'PLAIN', locales: 'en_US' });
      this.#receive(bytes.subarray(PREAMBLE.length));
      socket.on('data', (more) => this.#receive(more));
    });
  }

  #send<N extends MethodName>(channel: number, name: N, fields: Partial<Fieldset<N>> = {}): void {
    this.#socket.write(this.#encode(channel, name, fields));
  }

  #encode<N extends MethodName>(channel: number, name: N, fields: Partial<Fieldset<N>>): Buffer {
    return Buffer.from(this.#encoder.method(channel, name, fields));
  }

  #receive(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let at = 0;
    while (bytes.length - at >= PAYLOAD) {
      const start = at + PAYLOAD;
      const end = start + bytes.readUInt32BE(at + 3);
      if (end >= bytes.length) break;
      if (bytes[at] === METHOD) this.#method(bytes.readUInt16BE(at + 1), bytes, start, end);
      else if (bytes[at] === BODY) this.#publish(bytes, start, end);
      at = end + 1;
    }
    this.#rest = bytes.subarray(at);
    if (this.#published > this.#confirmed) {
      this.#confirmed = this.#published;
      this.#send(this.#publisher, 'basic.ack', { deliveryTag: this.#published, multiple: true });
    }
    this.#deliver();
  }

  #publish(bytes: Buffer, start: number, end: number): void {
    this.#body ??= Buffer.from(bytes.subarray(start, end));
    if (bytes.compare(this.#body, 0, this.#body.length, start, end) !== 0) throw new Error('another message');
    this.#published++;
  }

  #method(channel: number, bytes: Buffer, start: number, end: number): void {
    const id = bytes.readUInt32BE(start);
    if (id === PUBLISH) this.#publisher = channel;
    else if (id === ACK) {
      // The number has eight bytes. Clients acknowledge in order, one or several at a time.
      this.#acknowledged = bytes.readUInt32BE(start + 8);
    } else this.#answer(channel, decodeMethod(new Decoder().over(bytes, start, end)));
  }

  #answer(channel: number, { name, fields }: Method): void {
    switch (name) {
      case 'connection.start-ok':
        this.#send(0, 'connection.tune', { channelMax: 2047, frameMax: FRAME_MAX });
        break;
      case 'connection.tune-ok':
        break;
      case 'queue.declare':
        this.#send(channel, 'queue.declare-ok', { queue: fields.queue, messageCount: this.#published });
        break;
      case 'basic.qos':
        this.#prefetch = fields.prefetchCount;
        this.#send(channel, 'basic.qos-ok');
        break;
      case 'basic.consume': {
        const consumerTag = fields.consumerTag || 'ctag';
        this.#send(channel, 'basic.consume-ok', { consumerTag });
        this.#delivery = this.#prepare(channel, consumerTag, fields.queue);
        break;
      }
      default:
        this.#send(channel, `${name}-ok` as MethodName);
    }
  }

  #prepare(channel: number, consumerTag: string, routingKey: string): { frames: Buffer; tagAt: number } {
    const method = this.#encode(channel, 'basic.deliver', { consumerTag, routingKey });
    const published = Buffer.concat(this.#encoder.publish(channel, '', '', false, { deliveryMode: 1 }, this.#body!));
    const header = published.readUInt32BE(3) + OVERHEAD;
    return {
      frames: Buffer.concat([method, published.subarray(header)]),
      // After the number of the method and the tag of the consumer, in the lower half of its eight bytes.
      tagAt: PAYLOAD + 4 + 1 + consumerTag.length + 4,
    };
  }

  /** Sends as many messages as there are, and as the consumer wants to have at once. */
  #deliver(): void {
    if (this.#delivery === null) return;
    const { frames, tagAt } = this.#delivery;
    const count = Math.min(this.#published, this.#acknowledged + this.#prefetch) - this.#delivered;
    if (count === 0) return;
    const bytes = Buffer.allocUnsafe(count * frames.length).fill(frames);
    for (let at = tagAt; at < bytes.length; at += frames.length) bytes.writeUInt32BE(++this.#delivered, at);
    this.#socket.write(bytes);
  }
}

const server = createServer({ noDelay: true }, (socket) => new Connection(socket));
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
