/**
 * The values that AMQP 0-9-1 is made of: integers, strings, tables, and the properties of a message. {@link Decoder} reads them from
 * borrowed memory and copies what it returns, {@link Encoder} appends them to memory of its own.
 */
import { ProtocolError } from './errors.js';

export type Value = null | boolean | number | bigint | string | Date | Uint8Array | readonly Value[] | Table;
export interface Table {
  readonly [name: string]: Value;
}

/** The types of the fields of methods and properties. */
export interface FieldTypes {
  octet: number;
  short: number;
  long: number;
  longlong: number;
  bit: boolean;
  shortstr: string;
  longstr: string;
  table: Table;
}
export type FieldType = keyof FieldTypes;

/** Tables and arrays may be nested this deep. */
const MAX_DEPTH = 16;

export class Decoder {
  bytes: Buffer = Buffer.alloc(0);
  at = 0;
  end = 0;

  /** Reads from `bytes[start]` up to, but not including, `bytes[end]`. */
  over(bytes: Buffer, start: number, end: number): this {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
    return this;
  }

  /** Moves past `n` bytes, and returns where they begin. */
  skip(n: number): number {
    const { at } = this;
    if (n > this.end - at) throw new ProtocolError(`a value of ${n} bytes where ${this.end - at} are left`);
    this.at = at + n;
    return at;
  }

  octet(): number {
    return this.bytes[this.skip(1)]!;
  }

  short(): number {
    return this.bytes.readUInt16BE(this.skip(2));
  }

  long(): number {
    return this.bytes.readUInt32BE(this.skip(4));
  }

  longlong(): number {
    const at = this.skip(8);
    const value = this.bytes.readUInt32BE(at) * 2 ** 32 + this.bytes.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) throw new ProtocolError(`an integer of ${value}, the maximum is 2^53 - 1`);
    return value;
  }

  shortstr(): string {
    return this.#text(this.octet());
  }

  longstr(): string {
    return this.#text(this.long());
  }

  table(depth = 0): Table {
    const outer = this.#nested(depth);
    // Without a prototype, so that a field may have any name.
    const table = Object.create(null) as Record<string, Value>;
    while (this.at < this.end) table[this.shortstr()] = this.#value(depth + 1);
    this.end = outer;
    return Object.freeze(table); // messages with equal headers share it
  }

  #array(depth: number): readonly Value[] {
    const outer = this.#nested(depth);
    const values: Value[] = [];
    while (this.at < this.end) values.push(this.#value(depth + 1));
    this.end = outer;
    return Object.freeze(values);
  }

  /** Limits reading to a value that has its length before it. Returns the limit until then. */
  #nested(depth: number): number {
    if (depth > MAX_DEPTH) throw new ProtocolError(`tables nested more than ${MAX_DEPTH} deep`);
    const length = this.long();
    const start = this.skip(length);
    const outer = this.end;
    this.at = start;
    this.end = start + length;
    return outer;
  }

  #text(length: number): string {
    const start = this.skip(length);
    return this.bytes.toString('utf8', start, start + length);
  }

  #value(depth: number): Value {
    const { bytes } = this;
    const type = String.fromCharCode(this.octet());
    switch (type) {
      case 't':
        return this.octet() !== 0;
      case 'b':
        return bytes.readInt8(this.skip(1));
      case 'B':
        return this.octet();
      case 's':
        return bytes.readInt16BE(this.skip(2));
      case 'u':
        return this.short();
      case 'I':
        return bytes.readInt32BE(this.skip(4));
      case 'i':
        return this.long();
      case 'l': {
        const value = bytes.readBigInt64BE(this.skip(8));
        return Number.isSafeInteger(Number(value)) ? Number(value) : value;
      }
      case 'f':
        return bytes.readFloatBE(this.skip(4));
      case 'd':
        return bytes.readDoubleBE(this.skip(8));
      case 'D': {
        const scale = this.octet();
        return bytes.readInt32BE(this.skip(4)) / 10 ** scale;
      }
      case 'S':
        return this.longstr();
      case 'x': {
        const length = this.long();
        const start = this.skip(length);
        return Buffer.from(bytes.subarray(start, start + length));
      }
      case 'T':
        return new Date(this.longlong() * 1000);
      case 'A':
        return this.#array(depth);
      case 'F':
        return this.table(depth);
      case 'V':
        return null;
      default:
        throw new ProtocolError(`a table has a value of the unknown type ${JSON.stringify(type)}`);
    }
  }
}

export class Encoder {
  bytes = Buffer.allocUnsafeSlow(4096);
  at = 0;

  /** Makes room for `n` bytes, and returns where they begin. */
  skip(n: number): number {
    const { at } = this;
    this.at = at + n;
    if (this.at > this.bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(this.at, 2 * this.bytes.length));
      this.bytes.copy(larger, 0, 0, at);
      this.bytes = larger;
    }
    return at;
  }

  append(bytes: Uint8Array): void {
    const at = this.skip(bytes.length);
    this.bytes.set(bytes, at);
  }

  octet(value: number): void {
    // Before the index: `skip` may replace the memory.
    const at = this.skip(1);
    this.bytes.writeUInt8(value, at);
  }

  short(value: number): void {
    const at = this.skip(2);
    this.bytes.writeUInt16BE(value, at);
  }

  long(value: number): void {
    const at = this.skip(4);
    this.bytes.writeUInt32BE(value, at);
  }

  longlong(value: number): void {
    const high = Math.floor(value / 2 ** 32);
    this.long(high);
    this.long(value - high * 2 ** 32);
  }

  shortstr(text: string): void {
    const length = Buffer.byteLength(text);
    if (length > 255) throw new RangeError(`AMQP: a name of ${length} bytes, the maximum is 255`);
    this.octet(length);
    const at = this.skip(length);
    this.bytes.write(text, at);
  }

  longstr(text: string): void {
    const length = Buffer.byteLength(text);
    this.long(length);
    const at = this.skip(length);
    this.bytes.write(text, at);
  }

  table(table: Table): void {
    const start = this.skip(4);
    for (const [name, value] of Object.entries(table)) {
      this.shortstr(name);
      this.#value(value);
    }
    this.bytes.writeUInt32BE(this.at - start - 4, start);
  }

  #type(type: string): void {
    this.octet(type.charCodeAt(0));
  }

  #value(value: Value): void {
    if (value === null) this.#type('V');
    else if (typeof value === 'boolean') {
      this.#type('t');
      this.octet(Number(value));
    } else if (typeof value === 'string') {
      this.#type('S');
      this.longstr(value);
    } else if (typeof value === 'number' && !Number.isSafeInteger(value)) {
      this.#type('d');
      const at = this.skip(8);
      this.bytes.writeDoubleBE(value, at);
    } else if (typeof value === 'number' || typeof value === 'bigint') {
      this.#type('l');
      const at = this.skip(8);
      this.bytes.writeBigInt64BE(BigInt(value), at);
    } else if (value instanceof Date) {
      this.#type('T');
      this.longlong(Math.floor(value.getTime() / 1000));
    } else if (value instanceof Uint8Array) {
      this.#type('x');
      this.long(value.length);
      this.append(value);
    } else if (Array.isArray(value)) {
      this.#type('A');
      const start = this.skip(4);
      for (const item of value as readonly Value[]) this.#value(item);
      this.bytes.writeUInt32BE(this.at - start - 4, start);
    } else {
      this.#type('F');
      this.table(value as Table);
    }
  }
}
