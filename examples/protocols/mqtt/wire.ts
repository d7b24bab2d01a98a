/** The fields that MQTT packets are made of: reading them out of bytes, and writing them. */
import { isUtf8 } from 'node:buffer';

/** The reason codes of MQTT 5 that this example sends or checks. Those from 128 on are errors. */
export const Reason = {
  success: 0x00,
  disconnectWithWill: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscription: 0x11,
  unspecified: 0x80,
  malformed: 0x81,
  protocolError: 0x82,
  unsupportedVersion: 0x84,
  invalidClientId: 0x85,
  notAuthorized: 0x87,
  shuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  invalidFilter: 0x8f,
  invalidTopic: 0x90,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  quotaExceeded: 0x97,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  sharedNotSupported: 0x9e,
  wildcardsNotSupported: 0xa2,
} as const;

/** What is wrong with a packet, with the reason code that MQTT 5 has for it. */
export class MqttError extends Error {
  override readonly name = 'MqttError';
  readonly reason: number;

  constructor(reason: number, message: string) {
    super(`MQTT: ${message}`);
    this.reason = reason;
  }
}

const MAX_VARINT = 268_435_455;

/** Reads fields out of `bytes`. A field that does not end before `end`, or that MQTT forbids, is an {@link MqttError}. */
export class Input {
  readonly bytes: Buffer;
  at: number;
  readonly end: number;

  constructor(bytes: Buffer, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /** Where the next `length` bytes begin; they count as read. */
  skip(length: number, what: string): number {
    const start = this.at;
    const missing = start + length - this.end;
    if (missing > 0) throw new MqttError(Reason.malformed, `${what}: ${missing} of ${length} bytes are missing`);
    this.at = start + length;
    return start;
  }

  byte(what: string): number {
    return this.bytes[this.skip(1, what)]!;
  }

  uint16(what: string): number {
    const start = this.skip(2, what);
    return (this.bytes[start]! << 8) | this.bytes[start + 1]!;
  }

  uint32(what: string): number {
    return this.bytes.readUInt32BE(this.skip(4, what));
  }

  varint(what: string): number {
    let value = 0;
    for (let factor = 1; factor <= 128 ** 3; factor *= 128) {
      const byte = this.byte(what);
      value += (byte & 127) * factor;
      if (byte === 0 && factor > 1) break; // it has more bytes than it needs
      if (byte < 128) return value;
    }
    throw new MqttError(Reason.malformed, `${what}: an integer of more than 4 bytes, or than it needs`);
  }

  /** Bytes with their length before them, in place. */
  binary(what: string): Buffer {
    const length = this.uint16(what);
    const start = this.skip(length, what);
    return this.bytes.subarray(start, start + length);
  }

  string(what: string): string {
    const length = this.uint16(what);
    const start = this.skip(length, what);
    const end = start + length;
    const { bytes } = this;
    let all = 0;
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!;
      if (byte === 0) throw new MqttError(Reason.malformed, `${what}: a string with a null character`);
      all |= byte;
    }
    if (all < 128) return bytes.toString('latin1', start, end);
    if (isUtf8(bytes.subarray(start, end))) return bytes.toString('utf8', start, end);
    throw new MqttError(Reason.malformed, `${what}: a string that is not UTF-8`);
  }

  /** Everything that is left, in place. */
  rest(): Buffer {
    const { at } = this;
    this.at = this.end;
    return this.bytes.subarray(at, this.end);
  }
}

/** The first byte and the longest length field come before the fields, whose length is known last. */
const HEADER = 5;

/** Collects the fields of a packet. */
export class Output {
  #bytes: Buffer;
  #at: number;

  /** @param size - about how many bytes the fields will have; `at` leaves room for a header */
  constructor(size: number, at = HEADER) {
    this.#bytes = Buffer.allocUnsafe(size + at);
    this.#at = at;
  }

  #reserve(size: number): number {
    const start = this.#at;
    this.#at = start + size;
    if (this.#at > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(2 * this.#at);
      this.#bytes.copy(larger, 0, 0, start);
      this.#bytes = larger;
    }
    return start;
  }

  byte(value: number): void {
    const at = this.#reserve(1);
    this.#bytes[at] = value;
  }

  uint16(value: number): void {
    const at = this.#reserve(2);
    this.#bytes.writeUInt16BE(value, at);
  }

  uint32(value: number): void {
    const at = this.#reserve(4);
    this.#bytes.writeUInt32BE(value, at);
  }

  varint(value: number): void {
    if (value > MAX_VARINT) throw new RangeError(`MQTT: ${value} is over the maximum of ${MAX_VARINT}`);
    for (; value > 127; value = Math.floor(value / 128)) this.byte((value % 128) + 128);
    this.byte(value);
  }

  bytes(data: Uint8Array | string): void {
    const text = typeof data === 'string';
    const start = this.#reserve(text ? 3 * data.length : data.length);
    if (text) this.#at = start + this.#bytes.write(data, start);
    else this.#bytes.set(data, start);
  }

  /** Bytes or a string (as UTF-8) with their length before them. */
  counted(data: Uint8Array | string): void {
    const start = this.#reserve(2);
    this.bytes(data);
    const length = this.#at - start - 2;
    if (length > 65535) throw new RangeError(`MQTT: a string of ${length} bytes, the maximum is 65535`);
    this.#bytes.writeUInt16BE(length, start);
  }

  /** The fields alone, if the constructor left no room for a header. */
  fields(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  /** The packet with this first byte. */
  packet(first: number): Buffer {
    const length = this.#at - HEADER;
    if (length > MAX_VARINT) throw new RangeError(`MQTT: a packet of ${length} bytes, the maximum is ${MAX_VARINT}`);
    const size = length < 128 ? 1 : length < 128 ** 2 ? 2 : length < 128 ** 3 ? 3 : 4;
    const start = HEADER - 1 - size;
    this.#bytes[start] = first;
    for (let i = 1, value = length; i <= size; i++, value >>>= 7)
      this.#bytes[start + i] = (value & 127) | (i < size ? 128 : 0);
    return this.#bytes.subarray(start, this.#at);
  }
}
