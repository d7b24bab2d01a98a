/** AMQP 0-9-1 on the side of the client: methods and messages go in, frames come out. Without a socket. */
import { BASIC, BODY, FRAME_END, HEADER, HEARTBEAT, METHOD, OVERHEAD } from './amqp.js';
import { encodeMethod, encodeProperties, type Fieldset, type MethodName, type Properties } from './methods.js';
import { Encoder } from './values.js';

export const HEARTBEAT_FRAME = Buffer.of(HEARTBEAT, 0, 0, 0, 0, 0, 0, FRAME_END);

/** What may be written from memory that is used again: sluice copies up to this many bytes. */
const COPIED = 4096;

/** What is sent. Each result is valid until the next call, or until it was written. */
export class FrameEncoder {
  /** The longest frame that the broker accepts. */
  frameMax = COPIED;
  readonly #to = new Encoder();
  /** The method of the last message, because the next one is probably equal. */
  #last = { exchange: '', routingKey: '', mandatory: false, channel: -1, bytes: Buffer.alloc(0) };

  method<N extends MethodName>(channel: number, name: N, fields: Partial<Fieldset<N>>): Buffer {
    this.#to.at = 0;
    const start = this.#open(METHOD, channel);
    encodeMethod(this.#to, name, fields);
    this.#close(start);
    return this.#result();
  }

  /** A message: a method, a header and a body. Only a short body is copied. */
  publish(
    channel: number,
    exchange: string,
    routingKey: string,
    mandatory: boolean,
    properties: Properties,
    body: Uint8Array,
  ): Buffer[] {
    const to = this.#to;
    let last = this.#last;
    if (
      last.routingKey !== routingKey ||
      last.exchange !== exchange ||
      last.channel !== channel ||
      last.mandatory !== mandatory
    ) {
      const bytes = Buffer.from(this.method(channel, 'basic.publish', { exchange, routingKey, mandatory }));
      this.#last = last = { exchange, routingKey, mandatory, channel, bytes };
    }
    to.at = 0;
    to.append(last.bytes);
    const header = this.#open(HEADER, channel);
    to.long(BASIC * 65_536);
    to.longlong(body.length);
    encodeProperties(to, properties);
    this.#close(header);
    if (to.at + body.length + OVERHEAD > COPIED) return this.#large(channel, body);
    if (body.length > 0) {
      const start = this.#open(BODY, channel);
      to.append(body);
      this.#close(start);
    }
    return [this.#result()];
  }

  /** A body that is sent from where it is, in as many frames as it takes. */
  #large(channel: number, body: Uint8Array): Buffer[] {
    const pieces: Buffer[] = [Buffer.from(this.#result())];
    const most = this.frameMax - OVERHEAD;
    for (let from = 0; from < body.length; from += most) {
      const piece = Buffer.from(body.buffer, body.byteOffset + from, Math.min(most, body.length - from));
      const start = Buffer.of(BODY, channel >>> 8, channel & 255, 0, 0, 0, 0);
      start.writeUInt32BE(piece.length, 3);
      pieces.push(start, piece, Buffer.of(FRAME_END));
    }
    return pieces;
  }

  #open(type: number, channel: number): number {
    this.#to.octet(type);
    this.#to.short(channel);
    return this.#to.skip(4) + 4;
  }

  #close(start: number): void {
    const to = this.#to;
    const length = to.at - start;
    if (length + OVERHEAD > this.frameMax) {
      throw new RangeError(`AMQP: a frame of ${length + OVERHEAD} bytes, the maximum is ${this.frameMax}`);
    }
    to.bytes.writeUInt32BE(length, start - 4);
    to.octet(FRAME_END);
  }

  #result(): Buffer {
    const bytes = this.#to.bytes.subarray(0, this.#to.at);
    return bytes.length > COPIED ? Buffer.from(bytes) : bytes;
  }
}
