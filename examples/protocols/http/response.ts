/** The answer to a request, and the bytes of its head. */
import { STATUS_CODES } from 'node:http';
import type { HandlerContext, Stream } from 'sluice';
import type { HttpError, RequestHead } from './http.js';

/** A body that comes in pieces. */
export type Pieces = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** What a handler returns. */
export interface Answer {
  readonly status: number;
  /**
   * Printable ASCII; a list makes several headers, such as `Set-Cookie`. The server adds `Date`, `Connection`, `Content-Length` and
   * `Transfer-Encoding`.
   */
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** Pieces are sent as they come: in chunks, or with a `length` as they are. */
  readonly body?: string | Uint8Array | Pieces;
  /** The length, in bytes, of a body that comes in pieces. */
  readonly length?: number;
  /** Whether to close the connection after the answer. */
  readonly close?: boolean;
  /**
   * With the status 101: takes the connection over once the head of the answer is written. Bytes that the client has sent after its
   * request are unread. The connection is closed when the promise settles.
   */
  readonly upgrade?: (stream: Stream, context: HandlerContext) => Promise<void>;
}

/** What an answer depends on. */
export type Asked = Pick<RequestHead, 'method' | 'minor' | 'upgrade'>;

/** How the receiver knows where the body ends. */
export type BodyEnd = 'no body' | 'length' | 'chunked' | 'close';

export function bodyEnd({ status, body, length }: Answer, { method, minor }: Asked): BodyEnd {
  if (status < 200 || status === 204 || status === 304 || method === 'HEAD') return 'no body';
  if (length !== undefined || !isPieces(body)) return 'length';
  return minor === 1 ? 'chunked' : 'close';
}

export function isPieces(body: Answer['body']): body is Pieces {
  return typeof body === 'object' && !(body instanceof Uint8Array);
}

const NAME = /^(?!(?:connection|content-length|date|transfer-encoding)$)[!#$%&'*+.^_`|~\da-z-]+$/i;
const VALUE = /^[\t\x20-\x7e]*$/;

/**
 * The head of an answer, with the empty line after it.
 *
 * @param last - whether the connection is closed afterwards
 * @throws TypeError, RangeError for what cannot be sent: a value with a line end would become another header, or another answer
 */
export function encodeHead(answer: Answer, { minor, upgrade }: Asked, last: boolean): string {
  const { status, headers } = answer;
  const changes = status === 101 && upgrade !== undefined;
  if (changes !== (answer.upgrade !== undefined) || (!changes && !(status >= 200 && status <= 999))) {
    throw new RangeError(`a request cannot be answered with the status ${status}`);
  }
  let text = statusLine(status) + dateLine();
  if (headers !== undefined) {
    for (const name of Object.keys(headers)) {
      const value = headers[name]!;
      if (!NAME.test(name)) throw new TypeError(`a header cannot have the name ${JSON.stringify(name)}`);
      if (typeof value === 'string') text += header(name, value);
      else for (const each of value) text += header(name, each);
    }
  }
  if (status >= 200 && status !== 204 && status !== 304) {
    const length = lengthOf(answer);
    if (length !== undefined) text += `Content-Length: ${length}\r\n`;
    else if (minor === 1) text += 'Transfer-Encoding: chunked\r\n';
  }
  if (status === 101) return `${text}Connection: Upgrade\r\n\r\n`;
  if (last) return `${text}Connection: close\r\n\r\n`;
  return minor === 1 ? `${text}\r\n` : `${text}Connection: keep-alive\r\n\r\n`;
}

function header(name: string, value: string): string {
  if (!VALUE.test(value)) throw new TypeError(`the header ${name} cannot be ${JSON.stringify(value)}`);
  return `${name}: ${value}\r\n`;
}

function lengthOf({ body, length }: Answer): number | undefined {
  if (body === undefined) return 0;
  if (typeof body === 'string') return Buffer.byteLength(body);
  return body instanceof Uint8Array ? body.length : length;
}

/** The answer to a request that is refused. */
export function refusal({ status, message }: HttpError): Answer & { body: string } {
  return { status, headers: { 'Content-Type': 'text/plain; charset=utf-8' }, body: `${message}\n` };
}

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  let line = statusLines.get(status);
  if (line === undefined) {
    if (!Number.isInteger(status)) throw new RangeError(`a status is an integer, not ${status}`);
    statusLines.set(status, (line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`));
  }
  return line;
}

let second = 0;
let date = '';

/** Made once a second. */
function dateLine(): string {
  const now = Math.floor(Date.now() / 1000);
  if (now !== second) {
    second = now;
    date = `Date: ${new Date(now * 1000).toUTCString()}\r\n`;
  }
  return date;
}
