/**
 * A client for Postgres: simple and extended queries, prepared statements, rows in batches, COPY in both directions, cancelling, TLS.
 * `psql.ts` is a program that uses it.
 *
 *     await using client = await Client.connect({ host, user, password, database, ssl: true });
 *     const { rows } = await client.query('SELECT id, name FROM users WHERE id = $1', [42]);
 *     for await (const batch of client.rows('SELECT * FROM events')) for (const row of batch) handle(row);
 *
 * Requests that are made without waiting are sent at once, and the server answers them in order: `Promise.all` over queries is a
 * pipeline. Each request reads its own reply when all earlier ones have been read, so a program that does not read the rows of one request
 * holds up those after it, and finally the server: that is the back-pressure.
 *
 * An error of the server is a `PostgresError`, and the client can still be used. Any other error has closed the connection.
 *
 * Leaves out: LISTEN, values of other types than in `rows.ts`, binary results, cursors, pools of connections, and reconnecting.
 */
import { Buffer } from 'node:buffer';
import type { Stream } from 'sluice';
import { DEFAULT_TIMEOUT_MS, open, openSession, type Connection, type Options } from './connection.js';
import { Pipeline } from './pipeline.js';
import { COPY_DATA, HEADER, ProtocolError, messages, type Field } from './postgres.js';
import { Reply, type Result, type Session } from './reply.js';
import * as requests from './requests.js';
import { RowDecoder, type Row } from './rows.js';

const DEFAULT_MAX_MESSAGE = 64 * 1024 * 1024;
const DEFAULT_MAX_RESULT = 1024 * 1024 * 1024;
/** COPY FROM STDIN: longer pieces are sent in several messages. */
const MAX_PIECE = 1024 * 1024;
const COPY_DATA_TYPE = Buffer.of(COPY_DATA);
/** Of what is sent: `maxMessage` concerns what is received. */
const COPY_FRAMING = messages(HEADER + MAX_PIECE);

/** A statement that the server has parsed. It belongs to its connection. */
export interface Statement {
  readonly name: string;
  readonly fields: readonly Field[];
  readonly decoder: RowDecoder;
}

export type CopySource = AsyncIterable<Uint8Array | string> | Iterable<Uint8Array | string>;

export class Client {
  readonly #options: Options;
  readonly #connection: Connection;
  readonly #stream: Stream;
  readonly #pipeline: Pipeline;
  #statements = 0;

  /** Connects and logs in. */
  static async connect(options: Options): Promise<Client> {
    return new Client(options, await openSession(options));
  }

  private constructor(options: Options, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
    this.#stream = connection.stream;
    this.#pipeline = new Pipeline(this.#stream, messages(options.maxMessage ?? DEFAULT_MAX_MESSAGE));
  }

  /** The server's parameters, such as `server_version`, and the state of the transaction. */
  get session(): Readonly<Session> {
    return this.#connection.session;
  }

  /** The process of the server that serves this client. */
  get pid(): number {
    return this.#connection.pid;
  }

  /** Runs one statement with parameters `$1`, `$2`, ..., or a prepared statement, and resolves with all of its rows. */
  async query(statement: string | Statement, parameters: readonly requests.Parameter[] = []): Promise<Result> {
    const { request, reply } = this.#request(statement, parameters);
    return this.#only(await this.#complete(request, reply));
  }

  /** Runs any number of statements, separated by semicolons, and resolves with a result for each. */
  simple(sql: string): Promise<Result[]> {
    return this.#complete(requests.simpleQuery(sql), new Reply(this.session));
  }

  /**
   * The rows of a statement as they arrive, in batches. If the loop is left early, the rest is read and dropped: call {@link cancel}
   * first if much is left.
   */
  rows(statement: string | Statement, parameters: readonly requests.Parameter[] = []): AsyncGenerator<Row[], void> {
    const { request, reply } = this.#request(statement, parameters);
    return this.#pieces(request, reply, () => {
      const taken = [...reply.results.splice(0).map(({ rows }) => rows), reply.rows];
      reply.rows = [];
      return taken.filter((rows) => rows.length > 0);
    });
  }

  /** The data of a `COPY ... TO STDOUT` as it arrives. Each piece ends where a row ends. As for leaving the loop early, see {@link rows}. */
  async *copyOut(sql: string): AsyncGenerator<Buffer, void> {
    const reply = new Reply(this.session, 'out');
    yield* this.#pieces(requests.simpleQuery(sql), reply, () => {
      reply.results.length = 0;
      return reply.chunks.splice(0);
    });
    if (!reply.copied) throw new TypeError('copyOut: the statement is not a COPY TO STDOUT');
  }

  /**
   * Runs a `COPY ... FROM STDIN` with data in pieces, which may end anywhere. Other requests are sent when it is over. If the source fails,
   * the server drops everything, and this rejects with the error of the source. If the server refuses the data or the connection is lost,
   * the source is left, and not waited for.
   */
  async copyIn(sql: string, source: CopySource): Promise<Result> {
    const leave = await this.#pipeline.enter(null);
    try {
      const reply = new Reply(this.session, 'in');
      void this.#stream.write(requests.simpleQuery(sql));
      while (!reply.ready && !reply.copying) await this.#pipeline.step(reply, this.#maxResult);
      const over = this.#pipeline.finish(reply, this.#maxResult);
      // The source is not waited for if the server refuses the data or the connection is lost.
      const failure = reply.copying ? await Promise.race([this.#send(source, reply), over.then(() => null)]) : null;
      await over;
      if (failure !== null) throw failure.error;
      const result = this.#only(resultsOf(reply));
      if (!reply.copied) throw new TypeError('copyIn: the statement is not a COPY FROM STDIN');
      return result;
    } finally {
      leave();
    }
  }

  /** Parses a statement once, to run it many times. */
  async prepare(sql: string): Promise<Statement> {
    const name = `s${++this.#statements}`;
    const reply = new Reply(this.session);
    await this.#complete(requests.prepare(name, sql), reply);
    return { name, fields: reply.fields, decoder: new RowDecoder(reply.fields) };
  }

  /** Makes the server forget a prepared statement. */
  async deallocate(statement: Statement): Promise<void> {
    await this.#complete(requests.deallocate(statement.name), new Reply(this.session));
  }

  /**
   * Asks the server, on a connection of its own, to cancel what it is doing for this client. If that comes in time, the request rejects with
   * the code 57014. A request that has been sent after it may be the one that is hit.
   */
  async cancel(): Promise<void> {
    const { pid, key } = this.#connection;
    await using stream = await open(this.#options);
    await stream.write(requests.cancelRequest(pid, key));
    await stream.read(1, { timeout: this.#options.timeout ?? DEFAULT_TIMEOUT_MS }); // the server closes the connection when it has sent the signal
  }

  /** Waits for the replies to all requests, and closes the connection. */
  close(): Promise<void> {
    return this.#pipeline.close(requests.message('X'));
  }

  /** Closes the connection at once. All requests reject. */
  abort(): void {
    this.#pipeline.fail(new Error('postgres: the client was aborted'));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  get #maxResult(): number {
    return this.#options.maxResult ?? DEFAULT_MAX_RESULT;
  }

  #request(
    statement: string | Statement,
    parameters: readonly requests.Parameter[],
  ): { request: Buffer; reply: Reply } {
    if (typeof statement === 'string') {
      return { request: requests.extendedQuery(statement, parameters), reply: new Reply(this.session) };
    }
    const { name, decoder, fields } = statement;
    return { request: requests.execute(name, parameters), reply: new Reply(this.session, null, decoder, fields) };
  }

  async #complete(request: Buffer, reply: Reply): Promise<Result[]> {
    const leave = await this.#pipeline.enter(request);
    try {
      await this.#pipeline.finish(reply, this.#maxResult);
      return resultsOf(reply);
    } finally {
      leave();
    }
  }

  async *#pieces<T>(request: Buffer, reply: Reply, take: () => T[]): AsyncGenerator<T, void> {
    const leave = await this.#pipeline.enter(request);
    try {
      while (!reply.ready) {
        await this.#pipeline.step(reply);
        yield* take();
      }
      resultsOf(reply);
    } finally {
      try {
        while (!reply.ready && !this.#pipeline.failed) {
          await this.#pipeline.step(reply);
          take();
        }
      } finally {
        leave();
      }
    }
  }

  /** Sends the data of a COPY as long as the server expects it. Returns the error of the source. */
  async #send(source: CopySource, reply: Reply): Promise<{ error: unknown } | null> {
    let failure: { error: unknown } | null = null;
    try {
      for await (const piece of source) {
        const bytes = typeof piece === 'string' ? Buffer.from(piece) : piece;
        for (let at = 0; at < bytes.length && reply.copying; at += MAX_PIECE) {
          await this.#stream.writeframe([COPY_DATA_TYPE, bytes.subarray(at, at + MAX_PIECE)], COPY_FRAMING);
        }
        if (!reply.copying) return null;
      }
    } catch (error) {
      failure = { error };
    }
    if (reply.copying) {
      void this.#stream.write(failure === null ? requests.message('c') : requests.copyFail(String(failure.error)));
    }
    return failure;
  }

  #only(results: Result[]): Result {
    const [result] = results;
    if (result !== undefined && results.length === 1) return result;
    throw this.#pipeline.fail(new ProtocolError(`${results.length} results for one statement`));
  }
}

function resultsOf(reply: Reply): Result[] {
  if (reply.error !== null) throw reply.error;
  return reply.results;
}
