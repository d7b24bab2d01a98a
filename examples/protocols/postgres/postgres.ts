/**
 * The messages of Postgres (frontend/backend protocol 3.0), without sockets.
 *
 * Each message is a type of one byte, a length of four bytes that counts itself, and a body. A message that starts a connection has no
 * type. {@link messages} is the framing that cuts a stream into messages, and {@link Body} reads the body of a message. `requests.ts` encodes
 * the messages of the client. The messages that come in large numbers have a faster way: see `rows.ts` and `reply.ts`.
 */
import { Buffer } from 'node:buffer';
import type { LengthFraming } from 'sluice';

/** A message of at most `limit` bytes, including its header. */
export function messages(limit: number): LengthFraming {
  return { length: 'uint32be', offset: 1, adjust: -4, limit };
}

/** The bytes of a message before its body. */
export const HEADER = 5;

/** The types of the messages that both sides know by more than their letter. */
export const DATA_ROW = 0x44; // D
export const COPY_DATA = 0x64; // d

/** The server has sent something that the protocol does not allow. The connection cannot be used any longer. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly code = 'ERR_POSTGRES_PROTOCOL';

  constructor(problem: string) {
    super(`postgres: ${problem}`);
  }
}

/** An error that the server has reported. The connection can still be used unless it is {@link fatal}. */
export class PostgresError extends Error {
  override readonly name = 'PostgresError';
  /** The SQLSTATE, five characters: `23505` is a violation of a unique constraint. */
  readonly code: string;
  /** Everything that the server says, by the letters of the protocol: D detail, H hint, P position, t table, n constraint, ... */
  readonly fields: ReadonlyMap<string, string>;

  constructor(fields: ReadonlyMap<string, string>) {
    super(fields.get('M') ?? 'the server has reported an error without a message');
    this.code = fields.get('C') ?? '';
    this.fields = fields;
  }

  /** Whether the server closes the connection because of this error. */
  get fatal(): boolean {
    const severity = this.fields.get('V') ?? this.fields.get('S');
    return severity === 'FATAL' || severity === 'PANIC';
  }
}

/** A column of a result. */
export interface Field {
  readonly name: string;
  /** The OID of its type. */
  readonly type: number;
  /** 0: its values are text; 1: they are binary. */
  readonly format: number;
}

/** Reads the body of a message from its start to its end. */
export class Body {
  readonly #message: string;
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;

  constructor(message: string, bytes: Buffer, start: number, end: number) {
    this.#message = message;
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  int16(): number {
    return this.#bytes.readInt16BE(this.#skip(2));
  }

  int32(): number {
    return this.#bytes.readInt32BE(this.#skip(4));
  }

  byte(): number {
    return this.#bytes[this.#skip(1)] as number;
  }

  /** A copy of the next `n` bytes; by default of all that are left. */
  bytes(n = this.#end - this.#at): Buffer {
    const start = this.#skip(n);
    return Buffer.from(this.#bytes.subarray(start, start + n));
  }

  /** A string, up to the zero byte that ends it. */
  string(): string {
    const start = this.#at;
    const zero = this.#bytes.indexOf(0, start);
    if (zero === -1 || zero >= this.#end) throw this.malformed('a string does not end');
    this.#at = zero + 1;
    return this.#bytes.toString('utf8', start, zero);
  }

  /** Checks that nothing is left. */
  end(): void {
    if (this.#at < this.#end) throw this.malformed(`${this.#end - this.#at} bytes are left over`);
  }

  malformed(problem: string): ProtocolError {
    return new ProtocolError(`malformed ${this.#message}: ${problem}`);
  }

  #skip(n: number): number {
    const start = this.#at;
    if (n > this.#end - start) throw this.malformed(`${n} bytes expected, but only ${this.#end - start} are left`);
    this.#at = start + n;
    return start;
  }
}

/** What an ErrorResponse or a NoticeResponse says. */
export function errorFields(body: Body): Map<string, string> {
  const fields = new Map<string, string>();
  for (let type; (type = body.byte()) !== 0;) fields.set(String.fromCharCode(type), body.string());
  body.end();
  return fields;
}

export function rowDescription(body: Body): Field[] {
  const fields: Field[] = [];
  const count = body.int16() & 0xffff;
  for (let i = 0; i < count; i++) {
    const name = body.string();
    body.bytes(6); // the OID of the table, and the number of the column in it
    const type = body.int32() >>> 0;
    body.bytes(6); // the size and the modifier of the type
    fields.push({ name, type, format: body.int16() });
  }
  body.end();
  return fields;
}
