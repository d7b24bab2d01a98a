/**
 * AMQP 0-9-1 on the side of the client, without a socket: frames go in, methods and messages come out. {@link FrameEncoder} is the other
 * direction.
 *
 * A frame is a type, a channel, a length, a payload, and the byte CE. A method is one frame; a message is a method, a header with the
 * length of the body and its properties, and as many frames of body as that takes. {@link divide} gives each frame to the
 * {@link Assembler} of its channel, which puts messages together.
 */
import { ProtocolError } from './errors.js';
import type { Origin } from './message.js';
import { METHODS, decodeMethod, decodeProperties, type Fieldset, type Method, type Properties } from './methods.js';
import { Decoder } from './values.js';

/** The first bytes of a connection: the name and version of the protocol. */
export const PREAMBLE = Buffer.from('AMQP\0\0\x09\x01', 'latin1');
/** How a connection is divided into frames; `limit` is added to it. */
export const FRAMING = { length: 'uint32be', offset: 3, adjust: 1 } as const;
/** The bytes of a frame besides its payload. */
export const OVERHEAD = 8;

/** The types of frames. */
export const METHOD = 1;
export const HEADER = 2;
export const BODY = 3;
export const HEARTBEAT = 8;
/** The last byte of each frame. */
export const FRAME_END = 0xce;
/** The class of all messages. */
export const BASIC = 60;

/** A method that a message follows. */
export type Carrier =
  | { readonly name: 'basic.deliver'; readonly consumerTag: string; readonly fields: Origin }
  | { readonly name: 'basic.get-ok'; readonly fields: Fieldset<'basic.get-ok'> }
  | { readonly name: 'basic.return'; readonly fields: Fieldset<'basic.return'> };

/** What receives the methods and messages of a channel. */
export interface Receiver {
  method(method: Exclude<Method, { name: Carrier['name'] }>): void;
  message(carrier: Carrier, properties: Properties, body: Buffer): void;
}

/**
 * Gives each frame to the assembler of its channel, and ignores it if that is null.
 *
 * @param bytes - complete frames, only borrowed: what is kept of them is copied
 * @param ends - where each of them ends
 */
export function divide(bytes: Buffer, ends: Uint32Array, channel: (number: number) => Assembler | null): void {
  let start = 0;
  for (const end of ends) {
    if (bytes[end - 1] !== FRAME_END) throw new ProtocolError('a frame that does not end with CE', 501);
    const number = bytes[start + 1]! * 256 + bytes[start + 2]!;
    const type = bytes[start]!;
    if (type === HEARTBEAT) {
      if (number !== 0 || end - start !== OVERHEAD) throw new ProtocolError('a heartbeat that is not empty', 501);
    } else channel(number)?.frame(type, bytes, start + 7, end - 1);
    start = end;
  }
}

const DELIVER = METHODS['basic.deliver'].id;
const from = new Decoder();
const EMPTY: Buffer = Buffer.alloc(0);

/** One channel: its methods, and its messages, each put together from its frames. */
export class Assembler {
  readonly #receiver: Receiver;
  readonly #maxMessage: number;
  /** The method whose message is incomplete, or null. */
  #carrier: Carrier | null = null;
  /** Null until the header of the message has come. */
  #properties: Properties | null = null;
  /** The length of its body, how much of it has arrived, and the memory for it, which grows. */
  #size = 0;
  #arrived = 0;
  #memory = EMPTY;
  // Most messages of a channel have these in common with the one before.
  readonly #consumerTag = new Repeated<string>();
  readonly #exchange = new Repeated<string>();
  readonly #routingKey = new Repeated<string>();
  readonly #header = new Repeated<Properties>();

  constructor(receiver: Receiver, maxMessage: number) {
    this.#receiver = receiver;
    this.#maxMessage = maxMessage;
  }

  /** Takes the payload of a frame: `bytes[start]` up to, but not including, `bytes[end]`. */
  frame(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === BODY && this.#properties !== null) {
      this.#body(bytes, start, end);
      return;
    }
    from.over(bytes, start, end);
    if (type === HEADER && this.#carrier !== null && this.#properties === null) {
      this.#start();
      return;
    }
    if (type !== METHOD) throw new ProtocolError(`an unexpected frame of type ${type}`, 505);
    if (this.#carrier !== null) throw new ProtocolError('a method within a message', 505);
    if (end - start >= 4 && bytes.readUInt32BE(start) === DELIVER) {
      this.#deliver();
      return;
    }
    const method = decodeMethod(from);
    if (method.name === 'basic.get-ok' || method.name === 'basic.return') this.#carrier = method;
    else this.#receiver.method(method as Exclude<Method, { name: Carrier['name'] }>);
  }

  /** As `decodeMethod`, but by hand, because this is what most frames are. */
  #deliver(): void {
    from.skip(4);
    const consumerTag = this.#shortstr(this.#consumerTag);
    const deliveryTag = from.longlong();
    const redelivered = (from.octet() & 1) !== 0;
    const exchange = this.#shortstr(this.#exchange);
    const routingKey = this.#shortstr(this.#routingKey);
    if (from.at !== from.end) throw new ProtocolError(`${from.end - from.at} bytes follow the fields of basic.deliver`);
    const fields = { deliveryTag, redelivered, exchange, routingKey };
    this.#carrier = { name: 'basic.deliver', consumerTag, fields };
  }

  #shortstr(last: Repeated<string>): string {
    const start = from.at;
    const length = from.octet();
    from.skip(length);
    return last.find(from.bytes, start, from.at) ?? last.set(from.bytes.toString('utf8', start + 1, from.at));
  }

  /** The header of a message. */
  #start(): void {
    const type = from.short();
    const weight = from.short();
    if (type !== BASIC || weight !== 0) throw new ProtocolError(`a header of class ${type} and weight ${weight}`);
    const size = from.longlong();
    if (size > this.#maxMessage) {
      throw new ProtocolError(`a message of ${size} bytes, the maximum is ${this.#maxMessage}`, 501);
    }
    const { bytes, at, end } = from;
    this.#properties = this.#header.find(bytes, at, end) ?? this.#header.set(Object.freeze(decodeProperties(from)));
    this.#size = size;
    if (size === 0) this.#finish();
  }

  #body(bytes: Buffer, start: number, end: number): void {
    const missing = this.#size - this.#arrived;
    if (end - start > missing) {
      throw new ProtocolError(`${end - start} bytes of a message that lacks ${missing}`, 501);
    }
    const arrived = this.#arrived + end - start;
    // Memory is claimed for what has arrived, not for what was announced. A buffer for each frame would need much more if they are short.
    if (arrived > this.#memory.length) {
      const larger = Buffer.allocUnsafe(Math.min(this.#size, Math.max(arrived, 2 * this.#memory.length)));
      this.#memory.copy(larger, 0, 0, this.#arrived);
      this.#memory = larger;
    }
    bytes.copy(this.#memory, this.#arrived, start, end);
    this.#arrived = arrived;
    if (arrived === this.#size) this.#finish();
  }

  #finish(): void {
    const carrier = this.#carrier!;
    const properties = this.#properties!;
    const body = this.#memory;
    this.#carrier = null;
    this.#properties = null;
    this.#arrived = 0;
    this.#memory = EMPTY;
    this.#receiver.message(carrier, properties, body);
  }
}

/** Remembers what some bytes mean, because the next ones are probably equal. */
class Repeated<T> {
  #bytes = Buffer.alloc(0);
  #value: T | undefined;

  /** The value, if these are the bytes of the last call. Otherwise they are kept, for the value that `set` is called with. */
  find(bytes: Buffer, start: number, end: number): T | undefined {
    const length = end - start;
    const known = this.#bytes;
    let i = known.length === length ? 0 : -1;
    if (i === 0) while (i < length && known[i] === bytes[start + i]) i++;
    if (i === length) return this.#value;
    this.#bytes = Buffer.from(bytes.subarray(start, end));
    this.#value = undefined;
    return undefined;
  }

  set(value: T): T {
    return (this.#value = value);
  }
}
