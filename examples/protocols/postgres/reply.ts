/**
 * What a Postgres server answers to one request: everything up to and including ReadyForQuery, without sockets.
 *
 * A {@link Batch} is what one read of the stream returned: many messages, which may belong to several requests, since a client sends
 * requests without waiting for the replies. {@link Reply.accept} processes those of its own request, rows and COPY data in bulk.
 */
import { Buffer } from 'node:buffer';
import type { Frames } from 'sluice';
import * as pg from './postgres.js';
import { RowDecoder, type Row } from './rows.js';

/** The result of a statement. */
export interface Result {
  /** What was done: `SELECT 5`, `INSERT 0 1`, `CREATE TABLE`; empty for an empty statement. */
  readonly command: string;
  /** The number of rows in `command`; null if it has none. */
  readonly count: number | null;
  readonly fields: readonly pg.Field[];
  readonly rows: Row[];
}

export type OnNotice = (fields: ReadonlyMap<string, string>) => void | PromiseLike<void>;

/** What the server says about the whole connection. */
export interface Session {
  /** The server's parameters: `server_version`, `TimeZone`, ... */
  readonly parameters: Map<string, string>;
  /** I: no transaction is open, T: one is, E: one is that has failed. */
  transaction: string;
  readonly onNotice?: OnNotice | undefined;
  readonly onError?: ((error: unknown) => void | PromiseLike<void>) | undefined;
}

/** Far more than any server has. */
const MAX_PARAMETERS = 1000;

/** Processes a message that the server may send at any time; false: it is another one. */
export function unsolicited(type: string, body: pg.Body, session: Session): boolean {
  if (type === 'N') {
    const fields = pg.errorFields(body);
    queueMicrotask(() => void notify(session, fields));
  } else if (type === 'S') {
    const [name, value] = [body.string(), body.string()];
    body.end();
    if (session.parameters.size < MAX_PARAMETERS) session.parameters.set(name, value);
  } else {
    return type === 'A'; // a notification for LISTEN, which this client does not support
  }
  return true;
}

/** What a callback of the program throws is not an error of the connection. */
async function notify(
  { onNotice, onError = console.error }: Session,
  fields: ReadonlyMap<string, string>,
): Promise<void> {
  try {
    await onNotice?.(fields);
  } catch (error) {
    try {
      await onError(error);
    } catch (failure) {
      console.error(failure, error);
    }
  }
}

const NO_BYTES = Buffer.alloc(0);
const NO_ENDS = new Uint32Array(0);

/** Messages in the memory of the stream, and how many of them are processed. */
export class Batch {
  bytes: Buffer = NO_BYTES;
  ends: Uint32Array = NO_ENDS;
  /** The number of the next message, and where it begins. */
  index = 0;
  start = 0;

  get empty(): boolean {
    return this.index === this.ends.length;
  }

  fill(frames: Frames): void {
    this.bytes = frames.bytes;
    this.ends = frames.ends;
    this.index = 0;
    this.start = 0;
  }

  /** Continues with message `index`. */
  advance(index: number): void {
    this.index = index;
    this.start = index === 0 ? 0 : this.ends[index - 1]!;
  }
}

/** What a request expects besides rows: `in`: COPY FROM STDIN, `out`: COPY TO STDOUT. */
export type Copy = 'in' | 'out' | null;

export class Reply {
  readonly results: Result[] = [];
  /** The first error that the server has reported. */
  error: Error | null = null;
  /** The columns and rows of the statement that has not ended yet. */
  fields: readonly pg.Field[] = [];
  rows: Row[] = [];
  /** COPY TO STDOUT: the data since this was emptied. Each piece ends where a row ends. */
  chunks: Buffer[] = [];
  /** Whether the reply is complete. */
  ready = false;
  /** Whether the server expects or sends the data of a COPY. */
  copying = false;
  /** Whether there was a COPY. */
  copied = false;
  /** How many bytes the reply has so far. */
  size = 0;
  readonly #session: Session;
  readonly #copy: Copy;
  #decoder: RowDecoder | null;

  /** @param decoder - for a prepared statement, whose columns the server does not describe again */
  constructor(
    session: Session,
    copy: Copy = null,
    decoder: RowDecoder | null = null,
    fields: readonly pg.Field[] = [],
  ) {
    this.#session = session;
    this.#copy = copy;
    this.#decoder = decoder;
    this.fields = fields;
  }

  /** Processes the messages of this reply that are in the batch. */
  accept(batch: Batch): void {
    const { bytes, ends } = batch;
    const before = batch.start;
    while (!this.ready && !batch.empty) {
      const { start, index } = batch;
      const type = bytes[start];
      if (type === pg.DATA_ROW && this.#decoder !== null) {
        const rows = this.#copy === null ? this.rows : []; // a caller that expects a COPY does not take rows
        batch.advance(this.#decoder.decode(bytes, ends, index, start, rows));
      } else if (type === pg.COPY_DATA && this.copying && this.#copy === 'out') {
        this.#takeData(batch);
      } else {
        batch.advance(index + 1);
        this.#message(String.fromCharCode(type!), bytes, start + pg.HEADER, batch.start);
      }
    }
    this.size += batch.start - before;
  }

  #message(type: string, bytes: Buffer, start: number, end: number): void {
    const body = new pg.Body(`message ${JSON.stringify(type)}`, bytes, start, end);
    if (unsolicited(type, body, this.#session)) return;
    if (this.error !== null && type !== 'Z' && type !== 'E') throw unexpected(type, 'after an error');
    switch (type) {
      case '1': // ParseComplete
      case '2': // BindComplete
      case '3': // CloseComplete
      case 'n': // NoData
        break;
      case 't': // ParameterDescription
        body.bytes(4 * (body.int16() & 0xffff));
        break;
      case 'T': // RowDescription
        if (this.#decoder !== null) throw unexpected(type, 'within a result');
        this.fields = pg.rowDescription(body);
        this.#decoder = new RowDecoder(this.fields);
        break;
      case 'C': // CommandComplete
        this.#complete(body.string());
        break;
      case 'I': // EmptyQueryResponse
        this.#complete('');
        break;
      case 'c': // CopyDone
        if (!this.copying || this.#copy === 'in') throw unexpected(type);
        this.copying = false;
        break;
      case 'G': // CopyInResponse
        // The server would take the requests that are already sent for data, so the connection is lost.
        if (this.#copy !== 'in') throw new Error('postgres: COPY FROM STDIN is only possible with copyIn()');
        if (this.copied) throw new Error('postgres: copyIn() has data for one COPY only');
        this.copying = this.copied = true;
        return; // what follows describes the columns
      case 'H': // CopyOutResponse
        if (this.#copy !== 'out') throw new Error('postgres: COPY TO STDOUT is only possible with copyOut()');
        this.copying = this.copied = true;
        return;
      case 'E': {
        // ErrorResponse
        const error = new pg.PostgresError(pg.errorFields(body));
        this.error ??= error;
        this.#decoder = null;
        this.copying = false;
        break;
      }
      case 'Z': // ReadyForQuery
        this.#session.transaction = String.fromCharCode(body.byte());
        if (!'ITE'.includes(this.#session.transaction)) throw body.malformed('unknown state of the transaction');
        this.ready = true;
        break;
      default:
        throw unexpected(type);
    }
    body.end();
  }

  #complete(command: string): void {
    const count = / (\d+)$/.exec(command)?.[1];
    const { fields, rows } = this;
    this.results.push({ command, count: count === undefined ? null : Number(count), fields, rows });
    this.#decoder = null;
    this.fields = [];
    this.rows = [];
    this.copying = false;
  }

  /** Copies the data of consecutive CopyData messages into one piece. */
  #takeData(batch: Batch): void {
    const { bytes, ends, index: first, start } = batch;
    let last = first;
    for (let at = start; last < ends.length && bytes[at] === pg.COPY_DATA; last++) at = ends[last]!;
    batch.advance(last);
    // One copy of everything, in which the data is then moved together: that needs no view of each message.
    const data = Buffer.from(bytes.subarray(start, batch.start));
    let size = 0;
    for (let i = first, from = pg.HEADER; i < last; i++) {
      const end = ends[i]! - start;
      data.copyWithin(size, from, end);
      size += end - from;
      from = end + pg.HEADER;
    }
    this.chunks.push(data.subarray(0, size));
  }
}

function unexpected(type: string, when = 'at this time'): pg.ProtocolError {
  return new pg.ProtocolError(`unexpected message ${JSON.stringify(type)} ${when}`);
}
