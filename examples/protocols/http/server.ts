/**
 * An HTTP/1.1 server: keep-alive, pipelining, chunked bodies in both directions, Expect, limits, and a hook for WebSocket and other
 * protocols that begin with an upgrade.
 *
 *     node out/examples/protocols/http/server.js [PORT [HOST]]
 *
 *     curl http://127.0.0.1:8080/                   hello, world
 *     curl http://127.0.0.1:8080/length -d abc      3 bytes
 *     curl http://127.0.0.1:8080/echo -T FILE       the file, as it arrives
 *     curl http://127.0.0.1:8080/count/5            five lines, in chunks
 *
 * In a program of your own: `new StreamServer(http(handler), host, port, options)`; with the option `ssl` it speaks HTTPS. It leaves out
 * CONNECT, ranges, compression and the values of trailer fields.
 */
import { fileURLToPath } from 'node:url';
import { StreamServer, type ClientHandler, type HandlerContext, type Stream } from 'sluice';
import { RequestBody } from './body.js';
import { LAST_CHUNK, chunkHead } from './chunked.js';
import { HeadParser, HttpError, type HeadLimits, type RequestHead } from './http.js';
import {
  bodyEnd,
  encodeHead,
  isPieces,
  refusal,
  type Answer,
  type Asked,
  type BodyEnd,
  type Pieces,
} from './response.js';

/** Answers a request. An `HttpError` that it throws is answered with its status, anything else with 500. */
export type Handler = (
  request: RequestHead,
  body: RequestBody,
  context: HandlerContext,
) => Answer | PromiseLike<Answer>;

export interface HttpOptions extends HeadLimits {
  /** The default maximum of `body.bytes()`, in bytes. Status 413. Default 1 MiB. */
  readonly maxBody?: number;
  /** How long a body may take, in ms, from when the handler begins to read it. Status 408. Default 5 minutes. */
  readonly bodyTimeout?: number;
  /**
   * Receives what the handler throws or rejects with, except an `HttpError`; the answer is sent when it is done. If it fails itself, the
   * connection is aborted, and the server reports that error. Default `console.error`.
   */
  readonly onError?: (error: unknown, request: RequestHead) => void | PromiseLike<void>;
}

/** If a handler has not read the body: the most bytes of it that are dropped to keep the connection. */
const MAX_DROP = 262144;
/** While more than this is waiting to be sent, no further request of the connection is answered. */
const HIGH_WATER = 65536;
/** The longest text that is sent together with the head. */
const MAX_JOINED = 16384;
const NO_REQUEST: Asked = { method: '', minor: 1, upgrade: undefined };

/** Makes a handler of connections, for `StreamServer`, of a handler of requests. */
export function http(handler: Handler, options: HttpOptions = {}): ClientHandler {
  return (stream, context) => new Connection(stream, context, handler, options).serve();
}

class Connection {
  readonly #stream: Stream;
  readonly #context: HandlerContext;
  readonly #handler: Handler;
  readonly #options: HttpOptions;
  readonly #parser: HeadParser;
  /** How many bytes the next window needs for the parser to make progress. */
  #need = 1;
  /** Ends the wait for a body that is being sent; null until there is one. */
  #lost: ((error: unknown) => void) | null = null;
  /** Whether the server waits for its connections to end. */
  #draining = false;

  constructor(stream: Stream, context: HandlerContext, handler: Handler, options: HttpOptions) {
    this.#stream = stream;
    this.#context = context;
    this.#handler = handler;
    this.#options = options;
    this.#parser = new HeadParser(options);
    context.draining.addEventListener('abort', () => (this.#draining = true), { once: true });
  }

  /** When this settles, the stream is closed. What the client sends after an answer that is the last one is dropped. */
  async serve(): Promise<void> {
    const stream = this.#stream;
    for (;;) {
      let head: RequestHead | null | undefined;
      try {
        do {
          const bytes = stream.buffered < this.#need ? await stream.window(this.#need) : stream.tryWindow(this.#need);
          head = this.#parse(bytes!);
        } while (head === undefined);
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        const answer = refusal(error);
        await stream.write(encodeHead(answer, NO_REQUEST, true) + answer.body);
        return;
      }
      if (head === null) return;
      const { maxBody = 1024 * 1024, bodyTimeout = 300_000 } = this.#options;
      const body = new RequestBody(stream, head, maxBody, bodyTimeout);
      let answer: Answer;
      let end: BodyEnd;
      let last: boolean;
      let text: string;
      try {
        const result = this.#handler(head, body, this.#context);
        answer = 'then' in result ? await result : result;
        end = bodyEnd(answer, head);
        last = this.#isLast(head, body, answer, end);
        text = encodeHead(answer, head, last);
      } catch (error) {
        answer = await this.#failed(error, head);
        end = bodyEnd(answer, head);
        last = this.#isLast(head, body, answer, end);
        text = encodeHead(answer, head, last);
      }
      if (answer.upgrade !== undefined) {
        if (!body.finished && !(await body.drop(MAX_DROP))) return;
        void stream.write(text);
        await answer.upgrade(stream, this.#context);
        return;
      }
      const sending = this.#send(text, answer, end);
      if (sending !== undefined) await sending;
      if (last || (!body.finished && !(await body.drop(MAX_DROP)))) return;
      if (stream.writeBufferSize > HIGH_WATER) await stream.drain();
    }
  }

  /** The next head, null at EOF, or undefined if it has not arrived. */
  #parse(bytes: Buffer): RequestHead | null | undefined {
    if (bytes.length < this.#need) return null;
    const head = this.#parser.parse(bytes);
    this.#need = head === null ? bytes.length + 1 : 1;
    if (head === null) return undefined;
    this.#stream.consume(this.#parser.end);
    return head;
  }

  /** Whether the connection cannot be used for another request after this answer. */
  #isLast(head: RequestHead, body: RequestBody, answer: Answer, end: BodyEnd): boolean {
    if (!head.keepAlive || answer.close === true || end === 'close' || this.#draining) return true;
    if (body.finished) return false;
    if (!isPieces(answer.body)) return !body.canDrop(MAX_DROP);
    body.begin(); // the answer may be made of it, and its head must not come before `100 Continue`
    return false;
  }

  /** The answer for a handler that has thrown. Throws the error again if the connection is lost. */
  async #failed(error: unknown, head: RequestHead): Promise<Answer> {
    if (this.#stream.isClosing()) throw error;
    if (error instanceof HttpError) return refusal(error);
    const { onError = console.error }: HttpOptions = this.#options;
    await onError(error, head);
    return refusal(new HttpError(500, 'internal error'));
  }

  #send(head: string, { body, length }: Answer, end: BodyEnd): Promise<void> | undefined {
    const stream = this.#stream;
    if (end === 'no body' || body === undefined) void stream.write(head);
    else if (typeof body === 'string' && body.length <= MAX_JOINED) void stream.write(head + body);
    else if (isPieces(body)) return this.#unlessLost(this.#sendPieces(head, body, end, length));
    else return stream.writelines([head, body]);
    return undefined;
  }

  /** As `sending`, but rejects as soon as the connection is lost: the next piece of a body may never come. */
  #unlessLost(sending: Promise<void>): Promise<void> {
    if (this.#lost === null) {
      const lose = (error: unknown = new Error('the connection was closed')): void => this.#lost!(error);
      this.#stream.waitClosed().then(lose, lose);
    }
    return new Promise((resolve, reject) => {
      this.#lost = reject;
      sending.then(resolve, reject);
    });
  }

  /** If this rejects, the connection is aborted, so that the client does not take what it has got for the whole. */
  async #sendPieces(head: string, pieces: Pieces, end: BodyEnd, length = 0): Promise<void> {
    const stream = this.#stream;
    let sent = 0;
    await stream.write(head);
    for await (const piece of pieces) {
      sent += piece.length;
      if (end === 'length' && sent > length) break;
      if (end !== 'chunked') await stream.write(piece);
      else if (piece.length > 0) await stream.writelines([chunkHead(piece.length), piece, '\r\n']);
    }
    if (end === 'chunked') await stream.write(LAST_CHUNK);
    if (end === 'length' && sent !== length) throw new RangeError(`a body of ${length} bytes has ${sent} or more`);
  }
}

// ------------------------------------------------------------------------------------------------ the program

const TEXT = { 'Content-Type': 'text/plain' };

/** The handler of the program. */
export function answer(request: RequestHead, body: RequestBody): Answer | Promise<Answer> {
  const [, path = '', argument = ''] = /^\/([^/?]*)\/?([^?]*)/.exec(request.target) ?? [];
  if (path === '') return { status: 200, headers: TEXT, body: 'hello, world\n' };
  if (path === 'echo') return { status: 200, headers: { 'Content-Type': 'application/octet-stream' }, body };
  if (path === 'length') return length(body);
  if (path === 'count' && /^\d{1,9}$/.test(argument))
    return { status: 200, headers: TEXT, body: count(Number(argument)) };
  throw new HttpError(404, `nothing at ${request.target}`);
}

async function length(body: RequestBody): Promise<Answer> {
  return { status: 200, headers: TEXT, body: `${(await body.bytes()).length} bytes\n` };
}

function* count(n: number): Generator<Uint8Array, void> {
  for (let i = 1; i <= n; i++) yield Buffer.from(`${i}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [port = '8080', host = '127.0.0.1'] = process.argv.slice(2);
  const server = new StreamServer(http(answer), host, Number(port), {
    backlog: 511,
    maxConnections: 10_000,
    idleTimeout: 60_000,
    maxConnectionsPerAddress: 1000,
    readTimeout: 10_000, // of a head, or of a body that is read as a whole, from its first byte on
    writeTimeout: 30_000,
    onError(error) {
      console.error(error instanceof Error ? error.message : error);
    },
  });
  await server.startServing();
  for (const { address, port } of server.sockets.map((socket) => socket.address() as { address: string; port: number }))
    console.log(`Serving on ${address}:${port}`);
  for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => void server.close({ drain: 5000 }));
  await server.serveForever();
  console.log('Stopped');
}
