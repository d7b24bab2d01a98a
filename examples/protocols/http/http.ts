/**
 * HTTP/1.1 requests, without sockets: the parser of a request's head, and how long its body is.
 *
 * It is strict (RFC 9112), because another program in front of a server may understand a doubtful request differently: that is how
 * requests are smuggled. Everything that the RFC lets a server refuse is refused, with the status of {@link HttpError}, and the position of
 * the next request is then unknown: answer, and close the connection. In particular: line ends other than CR LF, folded lines, spaces
 * before a colon, control characters, more than one Content-Length or Host, Content-Length together with Transfer-Encoding, and any
 * Transfer-Encoding but `chunked`.
 */

/** A request that is refused. The connection should be closed after the answer. */
export class HttpError extends Error {
  override readonly name = 'HttpError';

  /** @param status - of the answer, 400 to 599; the message is its body */
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export interface HeadLimits {
  /** The most bytes of a head: the request line and all header fields. Status 431. Default 16384. */
  readonly maxHead?: number;
  /** The most bytes of a request target. Status 414. Default 8192. */
  readonly maxTarget?: number;
  /** The most header fields. Status 431. Default 100. */
  readonly maxFields?: number;
}

const TOKEN = 1;
const TARGET = 2;
const VALUE = 4;
/** Where each byte may stand. */
const CLASS = new Uint8Array(256);
for (let byte = 0; byte < 256; byte++) {
  if (/[!#$%&'*+.^_`|~0-9A-Za-z-]/.test(String.fromCharCode(byte))) CLASS[byte]! |= TOKEN;
  if (byte > 0x20 && byte < 0x7f && byte !== 0x23) CLASS[byte]! |= TARGET; // no `#`: a fragment is never sent
  if (byte === 0x09 || (byte >= 0x20 && byte !== 0x7f)) CLASS[byte]! |= VALUE;
}
const [HT, LF, CR, SP, COLON] = [0x09, 0x0a, 0x0d, 0x20, 0x3a];
const VERSION = Buffer.from('HTTP/1.1\r\n');
const NONE: readonly string[] = [];
const HOST = /^(?:\[[\d:.a-f]+\]|[\w.~!$&'()*+;=%-]*)(?::\d{0,5})?$/i;

/** The head of a request. */
export class RequestHead {
  /** As the client has sent it; methods are case-sensitive. */
  readonly method: string;
  /** As the client has sent it: usually a path with a query, for proxies a URL, `*` for OPTIONS. */
  readonly target: string;
  /** 0 or 1: the version is HTTP/1.`minor`. */
  readonly minor: number;
  /** The host that the client wants, with its port. Empty if it has sent none. */
  readonly host: string;
  /** The length of the body in bytes, or null if it is chunked. */
  readonly length: number | null;
  /** Whether the client wants to send another request on this connection. */
  readonly keepAlive: boolean;
  /** Whether the client waits for `100 Continue` before it sends the body. */
  readonly expectsContinue: boolean;
  /** The protocols that the client would like to change to, such as `websocket`, or undefined. */
  readonly upgrade: string | undefined;
  readonly #text: string;
  /** Of each field: where its name and its value begin and end. */
  readonly #fields: readonly number[];

  /** @internal Call {@link HeadParser.parse}. `text` is the head, from the method on. */
  constructor(text: string, method: number, target: number, minor: number, fields: readonly number[]) {
    this.#text = text;
    this.#fields = fields;
    this.method = text.slice(0, method);
    this.target = text.slice(method + 1, target);
    this.minor = minor;

    let host: string | undefined;
    let length: string | undefined;
    let coding: string | undefined;
    let connection = '';
    let expect = '';
    let upgrade: string | undefined;
    for (let i = 0; i < fields.length; i += 4) {
      const size = fields[i + 1]! - fields[i]!;
      if (size !== 4 && size !== 6 && size !== 7 && size !== 10 && size !== 14 && size !== 17) continue;
      const name = this.#name(i);
      const value = this.#value(i);
      if (name === 'host') {
        if (host !== undefined) throw new HttpError(400, 'more than one Host');
        host = value;
      } else if (name === 'content-length') {
        if (length !== undefined) throw new HttpError(400, 'more than one Content-Length');
        length = value;
      } else if (name === 'transfer-encoding') coding = coding === undefined ? value : `${coding},${value}`;
      else if (name === 'connection') connection += `,${value}`;
      else if (name === 'expect') expect += `,${value}`;
      else if (name === 'upgrade') upgrade = upgrade === undefined ? value : `${upgrade}, ${value}`;
    }
    this.host = effectiveHost(this.method, this.target, minor, host);
    this.length = bodyLength(minor, length, coding);
    const options = connection === '' ? NONE : members(connection);
    this.keepAlive = !options.includes('close') && (minor === 1 || options.includes('keep-alive'));
    this.upgrade = minor === 1 && options.includes('upgrade') ? upgrade : undefined;
    const expectations = expect === '' ? NONE : members(expect);
    if (expectations.some((one) => one !== '' && one !== '100-continue'))
      throw new HttpError(417, 'unknown expectation');
    this.expectsContinue = minor === 1 && this.length !== 0 && expectations.includes('100-continue');
  }

  /** The value of a header field, whose name is given in lower case; of several with that name, all of them, separated by commas. */
  header(name: string): string | undefined {
    let found: string | undefined;
    for (let i = 0; i < this.#fields.length; i += 4) {
      if (this.#fields[i + 1]! - this.#fields[i]! !== name.length || this.#name(i) !== name) continue;
      found = found === undefined ? this.#value(i) : `${found}, ${this.#value(i)}`;
    }
    return found;
  }

  /** All header fields, in their order: the name in lower case, and the value. */
  *headers(): IterableIterator<[name: string, value: string]> {
    for (let i = 0; i < this.#fields.length; i += 4) yield [this.#name(i), this.#value(i)];
  }

  #name(i: number): string {
    return this.#text.slice(this.#fields[i], this.#fields[i + 1]).toLowerCase();
  }

  #value(i: number): string {
    return this.#text.slice(this.#fields[i + 2], this.#fields[i + 3]);
  }
}

/** Parses one head after another. One object for each connection. */
export class HeadParser {
  /** How many bytes of the window the last head took. */
  end = 0;
  readonly #maxHead: number;
  readonly #maxTarget: number;
  readonly #maxFields: number;
  /** How many bytes of an incomplete head were searched for the end of a line. */
  #searched = 0;

  constructor({ maxHead = 16384, maxTarget = 8192, maxFields = 100 }: HeadLimits = {}) {
    this.#maxHead = maxHead;
    this.#maxTarget = maxTarget;
    this.#maxFields = maxFields;
  }

  /**
   * Parses the head at the beginning of `bytes`. Returns null if it is incomplete: call again with the same bytes and more.
   *
   * @throws HttpError if it cannot be the head of a request, as soon as the line that is wrong is complete
   */
  parse(bytes: Buffer): RequestHead | null {
    // Bytes that drip in are parsed again only when another line is complete.
    if (this.#searched > 0 && bytes.indexOf(LF, this.#searched) === -1) return this.#incomplete(bytes);
    const head = this.#head(bytes);
    if (head === null) return this.#incomplete(bytes);
    if (this.end > this.#maxHead) throw this.#tooLarge(this.end);
    this.#searched = 0;
    return head;
  }

  #incomplete(bytes: Buffer): null {
    if (bytes.length > this.#maxHead) {
      if (bytes.includes(LF)) throw this.#tooLarge(bytes.length);
      throw new HttpError(414, `request line of more than ${this.#maxHead} bytes`);
    }
    this.#searched = bytes.length;
    return null;
  }

  #tooLarge(size: number): HttpError {
    return new HttpError(431, `head of ${size} bytes or more, the maximum is ${this.#maxHead}`);
  }

  #head(bytes: Buffer): RequestHead | null {
    const end = bytes.length;
    // Some clients send an empty line after a body.
    if (end === 1 && bytes[0] === CR) return null;
    const start = bytes[0] === CR && bytes[1] === LF ? 2 : 0;
    let at = past(bytes, start, TOKEN);
    const method = at - start;
    if (at === end) return null;
    if (method === 0 || bytes[at] !== SP) throw unexpected('method', bytes, at);
    at = past(bytes, at + 1, TARGET);
    const target = at - start;
    if (at === end) return null;
    if (target - method - 1 > this.#maxTarget) {
      throw new HttpError(414, `target of ${target - method - 1} bytes, the maximum is ${this.#maxTarget}`);
    }
    if (target === method + 1 || bytes[at] !== SP) throw unexpected('target', bytes, at);
    at++;
    for (let i = 0; i < VERSION.length; i++) {
      if (at + i === end) return null;
      const isDigit = (i === 5 || i === 7) && bytes[at + i]! >= 0x30 && bytes[at + i]! <= 0x39;
      if (bytes[at + i] !== VERSION[i] && !isDigit) throw unexpected('version', bytes, at + i);
    }
    if (bytes[at + 5] !== 0x31)
      throw new HttpError(505, `HTTP/${bytes.toString('latin1', at + 5, at + 8)} is not supported`);
    const minor = bytes[at + 7] === 0x30 ? 0 : 1;
    at += VERSION.length;

    const fields: number[] = [];
    for (; at < end && bytes[at] !== CR; at += 2) {
      const name = at;
      const colon = past(bytes, name, TOKEN);
      if (colon === end) return null;
      if (colon === name || bytes[colon] !== COLON) throw unexpected('name of a header field', bytes, colon);
      at = past(bytes, colon + 1, VALUE);
      if (at === end || (bytes[at] === CR && at + 1 === end)) return null;
      if (bytes[at] !== CR || bytes[at + 1] !== LF) throw unexpected('value of a header field', bytes, at);
      let first = colon + 1;
      let last = at;
      while (first < last && (bytes[first] === SP || bytes[first] === HT)) first++;
      while (last > first && (bytes[last - 1] === SP || bytes[last - 1] === HT)) last--;
      if (fields.length === 4 * this.#maxFields) throw new HttpError(431, `more than ${this.#maxFields} header fields`);
      fields.push(name - start, colon - start, first - start, last - start);
    }
    if (at + 1 >= end) return null;
    if (bytes[at + 1] !== LF) throw unexpected('end of the head', bytes, at + 1);
    this.end = at + 2;
    return new RequestHead(bytes.toString('latin1', start, at), method, target, minor, fields);
  }
}

/** The position of the first byte, from `at` on, that is not of this class. */
function past(bytes: Buffer, at: number, wanted: number): number {
  const end = bytes.length;
  while (at < end && (CLASS[bytes[at]!]! & wanted) !== 0) at++;
  return at;
}

function unexpected(where: string, bytes: Buffer, at: number): HttpError {
  const byte = bytes[at]!.toString(16).padStart(2, '0');
  return new HttpError(400, `${where}: unexpected byte 0x${byte} at ${at}`);
}

/**
 * The members of a list that is separated by commas, in lower case. Not with `trim`, which removes other characters than HTTP allows, and
 * not split at commas with spaces around them: that would look through a long run of spaces once for each of them.
 */
function members(value: string): string[] {
  const list = value.toLowerCase().split(',');
  return list.map((member) => /[^ \t](?:.*[^ \t])?/.exec(member)?.[0] ?? '');
}

function effectiveHost(method: string, target: string, minor: number, host: string | undefined): string {
  if (method === 'CONNECT') throw new HttpError(501, 'CONNECT is not supported');
  if (host === undefined && minor === 1) throw new HttpError(400, 'no Host');
  if (host !== undefined && !HOST.test(host)) throw new HttpError(400, 'invalid Host');
  if (target.startsWith('/') || (target === '*' && method === 'OPTIONS')) return host ?? '';
  const authority = /^https?:\/\/([^/?]+)/i.exec(target)?.[1];
  if (authority === undefined || !HOST.test(authority)) throw new HttpError(400, 'invalid target');
  return authority; // it takes precedence over Host
}

function bodyLength(minor: number, length: string | undefined, coding: string | undefined): number | null {
  if (coding === undefined) {
    if (length === undefined) return 0;
    if (!/^\d{1,15}$/.test(length)) throw new HttpError(400, 'invalid Content-Length');
    return Number(length);
  }
  if (length !== undefined) throw new HttpError(400, 'both Content-Length and Transfer-Encoding');
  if (minor === 0) throw new HttpError(400, 'Transfer-Encoding in HTTP/1.0');
  const codings = members(coding);
  if (codings.at(-1) !== 'chunked' || codings.indexOf('chunked') !== codings.length - 1) {
    throw new HttpError(400, 'invalid Transfer-Encoding');
  }
  if (codings.length > 1) throw new HttpError(501, 'only the Transfer-Encoding chunked is supported');
  return null;
}
