/** The messages that a client of Postgres sends, encoded. Each function returns everything that a request needs, as one `Buffer`. */
import { Buffer } from 'node:buffer';

/** A value for a parameter. A `Uint8Array` is sent as `bytea`, everything else as text. */
export type Parameter = string | number | bigint | boolean | Date | Uint8Array | null;

export function sslRequest(): Buffer {
  return new Encoder().begin().int32(80877103).end().done();
}

export function cancelRequest(pid: number, key: number): Buffer {
  return new Encoder().begin().int32(80877102).int32(pid).int32(key).end().done();
}

/** The first message; all of its parameters are optional except `user`. */
export function startup(parameters: Readonly<Record<string, string>>): Buffer {
  const encoder = new Encoder().begin().int32(196608); // version 3.0
  for (const [name, value] of Object.entries(parameters)) encoder.string(name).string(value);
  return encoder.byte(0).end().done();
}

/** A message with a body that the caller has encoded: an answer to a request to log in, or the end of a COPY. */
export function message(type: string, body: string | Uint8Array = ''): Buffer {
  return new Encoder().begin(type).raw(body).end().done();
}

/** A password in clear text or as an MD5 hash. */
export function password(text: string): Buffer {
  return new Encoder().begin('p').string(text).end().done();
}

/** The first message of a SASL login. */
export function saslInitial(mechanism: string, response: string): Buffer {
  return new Encoder().begin('p').string(mechanism).int32(Buffer.byteLength(response)).raw(response).end().done();
}

/** The simple query protocol: any number of statements without parameters. */
export function simpleQuery(sql: string): Buffer {
  return new Encoder().begin('Q').string(sql).end().done();
}

/** The reason why a COPY FROM STDIN ends early. */
export function copyFail(reason: string): Buffer {
  return new Encoder().begin('f').string(reason.replaceAll('\0', '')).end().done();
}

/** The extended query protocol: one statement with parameters, without a name. */
export function extendedQuery(sql: string, parameters: readonly Parameter[]): Buffer {
  const encoder = new Encoder().begin('P').string('').string(sql).int16(0).end();
  return bind(encoder, '', parameters).begin('D').raw('P\0').end().begin('E').raw('\0').int32(0).end().sync();
}

/** Prepares a statement under a name, and asks for its columns. */
export function prepare(name: string, sql: string): Buffer {
  return new Encoder().begin('P').string(name).string(sql).int16(0).end().begin('D').raw('S').string(name).end().sync();
}

/** Runs a prepared statement. The reply does not describe the columns. */
export function execute(name: string, parameters: readonly Parameter[]): Buffer {
  return bind(new Encoder(), name, parameters).begin('E').raw('\0').int32(0).end().sync();
}

/** Drops a prepared statement. */
export function deallocate(name: string): Buffer {
  return new Encoder().begin('C').raw('S').string(name).end().sync();
}

function bind(encoder: Encoder, statement: string, parameters: readonly Parameter[]): Encoder {
  const count = parameters.length;
  if (count > 65535) throw new RangeError(`postgres: a statement has at most 65535 parameters, not ${count}`);
  encoder.begin('B').string('').string(statement).int16(count);
  for (const value of parameters) encoder.int16(value instanceof Uint8Array ? 1 : 0);
  encoder.int16(count);
  for (const value of parameters) encoder.value(value);
  return encoder.int16(0).end(); // all columns of the result as text
}

/** Appends messages to memory that grows. */
class Encoder {
  #bytes = Buffer.allocUnsafe(256);
  #at = 0;
  /** Where the length of the current message is. */
  #length = 0;

  begin(type = ''): this {
    this.raw(type);
    this.#length = this.#at;
    return this.int32(0);
  }

  end(): this {
    this.#bytes.writeInt32BE(this.#at - this.#length, this.#length);
    return this;
  }

  /** Ends an extended query: if it fails, the server ignores everything up to here. */
  sync(): Buffer {
    return this.begin('S').end().done();
  }

  done(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  byte(n: number): this {
    this.#reserve(1);
    this.#bytes[this.#at++] = n;
    return this;
  }

  int16(n: number): this {
    this.#reserve(2);
    this.#at = this.#bytes.writeUInt16BE(n, this.#at);
    return this;
  }

  int32(n: number): this {
    this.#reserve(4);
    this.#at = this.#bytes.writeInt32BE(n, this.#at);
    return this;
  }

  raw(data: string | Uint8Array): this {
    if (typeof data === 'string') {
      this.#reserve(3 * data.length); // the most bytes that UTF-8 needs
      this.#at += this.#bytes.write(data, this.#at);
    } else {
      this.#reserve(data.length);
      this.#bytes.set(data, this.#at);
      this.#at += data.length;
    }
    return this;
  }

  string(text: string): this {
    // It would end the string early, and the rest would be taken for something else.
    if (text.includes('\0')) throw new TypeError('postgres: a string must not contain a zero byte');
    return this.raw(text).byte(0);
  }

  value(value: Parameter): this {
    if (value === null) return this.int32(-1);
    const length = this.#at;
    this.int32(0);
    if (typeof value === 'string' || value instanceof Uint8Array) this.raw(value);
    else if (value instanceof Date) this.raw(value.toISOString());
    else if (['number', 'bigint', 'boolean'].includes(typeof value)) this.raw(String(value));
    else throw new TypeError(`postgres: a parameter of type ${typeof value}, which has to be converted to a string`);
    this.#bytes.writeInt32BE(this.#at - length - 4, length);
    return this;
  }

  #reserve(n: number): void {
    const needed = this.#at + n;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#bytes.length));
    larger.set(this.#bytes.subarray(0, this.#at));
    this.#bytes = larger;
  }
}
