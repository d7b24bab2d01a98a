/**
 * The opening handshake of WebSocket (RFC 6455, section 4), sans-IO: an HTTP/1.1 request to upgrade, and its answer. A head is everything up
 * to and including the empty line, as `readuntil('\r\n\r\n')` returns it.
 */
import { Buffer } from 'node:buffer';
import { createHash, randomBytes } from 'node:crypto';
import { STATUS_CODES } from 'node:http';

export interface UpgradeRequest {
  /** The path, with the query. */
  readonly target: string;
  /** By name in lower case. A field that was sent several times has its values joined by `, `. */
  readonly headers: ReadonlyMap<string, string>;
  readonly key: string;
  /** The subprotocols that the client offers, the one that it prefers first. */
  readonly protocols: readonly string[];
  /** The page that a browser connects from; undefined if the client is not a browser. */
  readonly origin: string | undefined;
}

/** The handshake has failed. `status` is what a server answers, or on the side of the client what it was answered. */
export class HandshakeError extends Error {
  override readonly name = 'HandshakeError';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

const TOKEN = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;
/**
 * A value begins and ends with another character than a space, so that there is only one way to match it. If spaces could belong to the
 * value or follow it, a few thousand of them and an invalid character would keep the process busy for a minute.
 */
const FIELD =
  /^([!#$%&'*+\-.^_`|~\dA-Za-z]+):[ \t]*(?:([!-~\x80-\xff](?:[\t\x20-\x7e\x80-\xff]*[!-~\x80-\xff])?)[ \t]*)?$/;

/** Fields that may be sent once: two different values could mean one thing to us and another thing to a proxy before us. */
const SINGLE = [
  'host',
  'origin',
  'content-length',
  'sec-websocket-key',
  'sec-websocket-version',
  'sec-websocket-accept',
];

/** Returns a new value for `Sec-WebSocket-Key`. */
export function newKey(): string {
  return randomBytes(16).toString('base64');
}

/** Returns the value for `Sec-WebSocket-Accept` that proves that the server has understood the request with this key. */
export function acceptKey(key: string): string {
  return createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
}

// ------------------------------------------------------------------------------------------------ the server

/** Checks the head of a request. Throws a {@link HandshakeError} with the status to answer. */
export function parseRequest(head: Buffer): UpgradeRequest {
  const [line, headers] = parseHead(head, 400);
  const [, method, target, minor] = /^([!-~]+) ([!-~]+) HTTP\/1\.(\d)$/.exec(line) ?? [];
  if (method === undefined || target === undefined) throw new HandshakeError(400, 'invalid request line');
  if (method !== 'GET') throw new HandshakeError(405, `the method is ${method}, not GET`);
  if (minor === '0') throw new HandshakeError(400, 'HTTP/1.0 cannot upgrade');
  if (!headers.has('host')) throw new HandshakeError(400, 'Host is missing');
  if (headers.has('transfer-encoding') || (headers.get('content-length') ?? '0') !== '0') {
    throw new HandshakeError(400, 'a request to upgrade has no body');
  }
  if (!lists(headers, 'upgrade', 'websocket') || !lists(headers, 'connection', 'upgrade')) {
    throw new HandshakeError(426, 'this is a WebSocket server');
  }
  if (headers.get('sec-websocket-version') !== '13') throw new HandshakeError(426, 'the version must be 13');
  const key = headers.get('sec-websocket-key') ?? '';
  if (!/^[A-Za-z\d+/]{21}[AQgw]==$/.test(key))
    throw new HandshakeError(400, 'Sec-WebSocket-Key is not 16 bytes in Base64');
  const protocols = items(headers, 'sec-websocket-protocol');
  if (!areProtocols(protocols)) {
    throw new HandshakeError(400, 'invalid Sec-WebSocket-Protocol');
  }
  return { target, headers, key, protocols, origin: headers.get('origin') };
}

/** The answer that accepts a request. After it both sides send frames. */
export function acceptance(key: string, protocol = ''): string {
  return (
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
    `Sec-WebSocket-Accept: ${acceptKey(key)}\r\n${protocol && `Sec-WebSocket-Protocol: ${protocol}\r\n`}\r\n`
  );
}

/** The answer that refuses a request. The connection is closed after it. */
export function refusal({ status, message }: HandshakeError): string {
  const fields =
    status === 405 ? 'Allow: GET\r\n' : status === 426 ? 'Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n' : '';
  return (
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Refused'}\r\n${fields}Connection: ${status === 426 ? 'upgrade, ' : ''}close\r\n` +
    `Content-Type: text/plain; charset=utf-8\r\nContent-Length: ${Buffer.byteLength(message) + 1}\r\n\r\n${message}\n`
  );
}

// ------------------------------------------------------------------------------------------------ the client

/**
 * The request of a client.
 *
 * @throws TypeError if the names of subprotocols or headers are not valid
 */
export function upgradeRequest(
  url: URL,
  key: string,
  protocols: readonly string[] = [],
  headers: Readonly<Record<string, string>> = {},
): string {
  const fields = [`Host: ${url.host}`, 'Upgrade: websocket', 'Connection: Upgrade', `Sec-WebSocket-Key: ${key}`];
  fields.push('Sec-WebSocket-Version: 13');
  if (!areProtocols(protocols)) {
    throw new TypeError(`invalid subprotocols: ${JSON.stringify(protocols)}`);
  }
  if (protocols.length > 0) fields.push(`Sec-WebSocket-Protocol: ${protocols.join(', ')}`);
  for (const [name, value] of Object.entries(headers)) {
    if (!FIELD.test(`${name}: ${value}`)) throw new TypeError(`invalid header: ${JSON.stringify(`${name}: ${value}`)}`);
    fields.push(`${name}: ${value}`);
  }
  return `GET ${url.pathname}${url.search} HTTP/1.1\r\n${fields.join('\r\n')}\r\n\r\n`;
}

/** Checks the answer to a request. Returns the subprotocol, or `''`; throws a {@link HandshakeError} if the server has not accepted. */
export function parseResponse(head: Buffer, key: string, protocols: readonly string[] = []): string {
  const [line, headers] = parseHead(head, 0);
  const status = Number(/^HTTP\/1\.1 (\d{3})(?: [\t\x20-\x7e\x80-\xff]*)?$/.exec(line)?.[1] ?? 0);
  if (status === 0) throw new HandshakeError(0, 'the answer is not HTTP/1.1');
  const refuse = (reason: string): HandshakeError => new HandshakeError(status, reason);
  if (status !== 101) throw refuse(`the server has answered ${status} instead of 101`);
  if (headers.get('upgrade')?.toLowerCase() !== 'websocket') throw refuse('the server has not upgraded to WebSocket');
  if (!lists(headers, 'connection', 'upgrade')) throw refuse('the server has not upgraded the connection');
  if (headers.get('sec-websocket-accept') !== acceptKey(key)) throw refuse('Sec-WebSocket-Accept is wrong');
  if (headers.has('sec-websocket-extensions')) throw refuse('the server uses an extension that was not offered');
  const protocol = headers.get('sec-websocket-protocol');
  if (protocol !== undefined && !protocols.includes(protocol))
    throw refuse(`subprotocol that was not offered: ${protocol}`);
  return protocol ?? '';
}

// ------------------------------------------------------------------------------------------------ both

/** The first line and the fields. What is not exactly a field is refused, such as one that is continued on the next line. */
function parseHead(head: Buffer, status: number): [line: string, headers: Map<string, string>] {
  const [line = '', ...fields] = head.toString('latin1').slice(0, -4).split('\r\n');
  const headers = new Map<string, string>();
  for (const field of fields) {
    const [, name, value = ''] = FIELD.exec(field) ?? [];
    if (name === undefined) throw new HandshakeError(status, 'invalid header');
    const known = name.toLowerCase();
    const before = headers.get(known);
    if (before !== undefined && SINGLE.includes(known)) throw new HandshakeError(status, `${name} was sent twice`);
    headers.set(known, before === undefined ? value : `${before}, ${value}`);
  }
  return [line, headers];
}

/** Whether these are names of subprotocols, each of them once. */
function areProtocols(names: readonly string[]): boolean {
  return names.every((name) => TOKEN.test(name)) && new Set(names).size === names.length;
}

function items(headers: ReadonlyMap<string, string>, name: string): string[] {
  const list = headers.get(name)?.split(',') ?? [];
  return list.map((item) => item.trim()).filter((item) => item !== '');
}

function lists(headers: ReadonlyMap<string, string>, name: string, item: string): boolean {
  return items(headers, name).some((each) => each.toLowerCase() === item);
}
