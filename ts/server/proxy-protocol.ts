/**
 * Connections that come through a proxy: which peers may announce clients, and how their headers are read from accepted sockets.
 *
 *     waiting ---the header is complete---> read ---next tick---> passed on, with what came after the header put back
 *        |                                    |
 *        '------------------------------------+---cancel()---> ended
 *        |
 *        '---malformed, cut short, too late, too old---> ended, and reported
 *
 * The transport of the connection is used from the first byte. So a connection that breaks while its header is awaited, and the bytes that
 * came together with the header, take the same way as later, whichever way the socket is read.
 */
import { BlockList, type Socket } from 'node:net';
import { isDeepStrictEqual } from 'node:util';
import { watchWait } from '../abort.js';
import { checkObject, checkTimeout } from '../checks.js';
import { clock } from '../clock.js';
import { ConnectionError, coded, count, ignore, invalidType, textOf, type TimeoutError } from '../errors.js';
import { watchHandshake, type ConnectionTimeouts } from '../stream/timeouts.js';
import type { ConnectionInfo } from '../transports/duplex.js';
import { afterPoll } from '../transports/linger.js';
import { SocketTransport } from '../transports/socket.js';
import { hostAndPort, peerName, type TransportSink } from '../transports/transport.js';
import { withoutZone } from './ip-address.js';
import { parseProxyHeader, type ProxyInfo } from './proxy-header.js';

const DEFAULT_TIMEOUT_MS = 5000;

/** The `proxyProtocol` option of a `UnixStreamServer`. */
export interface UnixProxyProtocolOptions {
  /**
   * How long the header may take from the moment the connection is served, in ms. It should be longer than a lost packet needs to be sent
   * again, which can be 3 s. Default 5000.
   */
  timeout?: number | undefined;
}

/** The `proxyProtocol` option of a `StreamServer`. */
export interface ProxyProtocolOptions extends UnixProxyProtocolOptions {
  /**
   * The addresses of the proxies: the only peers that may connect. The list may be changed while the server runs; it is consulted for each
   * new connection.
   */
  trusted: BlockList;
}

/** The checked option. */
export interface CheckedProxy {
  /** Null if every peer is trusted, because the permissions of a Unix socket decide who can connect. */
  readonly trusted: BlockList | null;
  readonly timeout: number;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` */
export function checkProxyProtocol(name: string, value: unknown, { unix }: { unix: boolean }): CheckedProxy | null {
  if (value === undefined) return null;
  checkObject(name, 'proxyProtocol', value);
  const { trusted, timeout = DEFAULT_TIMEOUT_MS } = value as { trusted?: unknown; timeout?: unknown };
  const ms = checkTimeout(name, 'proxyProtocol.timeout', timeout, { zero: false });
  if (unix && trusted !== undefined) {
    const message = `${name}: proxyProtocol.trusted is only for TCP: the permissions of the socket file (see mode) decide who can connect`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
  }
  if (!unix && !(trusted instanceof BlockList)) {
    throw invalidType(name, 'proxyProtocol.trusted', 'a net.BlockList of the proxies', trusted);
  }
  return { trusted: unix ? null : (trusted as BlockList), timeout: ms };
}

/**
 * The reason to refuse a connection: its peer is not a trusted proxy. Null if it is one, and `'gone'` for a connection that its peer has
 * already reset, whose address the system no longer knows.
 */
export function untrusted(name: string, socket: Socket, { trusted }: CheckedProxy): ConnectionError | 'gone' | null {
  if (trusted === null) return null;
  const { remoteAddress, remotePort = 0 } = socket;
  if (remoteAddress === undefined) return 'gone';
  const address = withoutZone(remoteAddress);
  if (trusted.check(address, address.includes(':') ? 'ipv6' : 'ipv4')) return null;
  const message = `${name}: refused a connection from ${hostAndPort(remoteAddress, remotePort)}: it is not a trusted proxy`;
  return new ConnectionError('ERR_PROXY_UNTRUSTED', message);
}

/** What is known about a connection that comes through a proxy. */
class ProxiedInfo implements ConnectionInfo {
  readonly #socket: ConnectionInfo;
  announced: ProxyInfo | undefined = undefined;

  constructor(socket: ConnectionInfo) {
    this.#socket = socket;
  }

  get(name: string): unknown {
    return name === 'proxy' ? this.announced : this.#socket.get(name);
  }
}

/**
 * Whether a proxy has announced no client, as for its health checks: it sends `LOCAL` or `UNKNOWN`; or, as HAProxy does with version 1, the
 * addresses of its own connection. Such a connection may also carry data: HAProxy sends `LOCAL` for clients on a Unix socket.
 */
export function announcesNoClient(info: ProxyInfo, peername: unknown): boolean {
  return info.source === null || isDeepStrictEqual(info.source, peername);
}

/** What a {@link HeaderWait} reports to. Exactly one of the two is called, once, unless the wait is cancelled. */
export interface HeaderReceiver {
  /** The header is complete. The connection is the receiver's from now on. */
  headerRead(wait: HeaderWait, info: ProxyInfo): void;
  /** The connection was ended. The error is null if the peer has closed it without sending anything. */
  headerFailed(wait: HeaderWait, error: ConnectionError | TimeoutError | null): void;
}

/** A connection whose header is awaited. */
export class HeaderWait implements TransportSink {
  readonly transport: SocketTransport;
  /** When the connection was accepted, by the clock. */
  readonly acceptedAt: number;
  readonly #name: string;
  readonly #info: ProxiedInfo;
  readonly #receiver: HeaderReceiver;
  readonly #forgetTimeout: () => void;
  readonly #forgetAge: () => void;
  #state: 'waiting' | 'read' | 'ended' = 'waiting';
  /** What was received: the first `#length` bytes. */
  #memory: Buffer = Buffer.alloc(0);
  #length = 0;
  /** How many bytes the header has. */
  #headerLength = 0;

  /** @param name - the class name of the server */
  constructor(
    name: string,
    socket: Socket,
    options: Parameters<typeof SocketTransport.accepted>[1],
    { timeout }: CheckedProxy,
    timeouts: ConnectionTimeouts | null,
    receiver: HeaderReceiver,
  ) {
    this.#name = name;
    this.#receiver = receiver;
    this.acceptedAt = clock.now();
    let info!: ProxiedInfo;
    this.transport = SocketTransport.accepted(socket, options, (plain) => (info = new ProxiedInfo(plain)));
    this.#info = info;
    this.#forgetTimeout = watchWait('', { timeout }, () => {
      // If the process was busy, the header may have arrived without being read.
      afterPoll(() => this.#fail('ETIMEDOUT', `timed out after ${timeout} ms: ${this.#received} received`));
    });
    this.#forgetAge =
      timeouts === null
        ? ignore
        : watchHandshake(timeouts, this.acceptedAt, this.transport, (error) => this.#failWith(error));
    this.transport.start(this);
  }

  /** Ends the connection without a report. May be called at any time before the connection is passed on. */
  cancel(): void {
    this.#end();
  }

  /** Whether nothing came after the header. Also known after the connection was closed. */
  get onlyHeader(): boolean {
    const { bytesRead } = this.transport.getExtraInfo('socket') as Socket;
    return bytesRead === this.#headerLength;
  }

  // ---------------------------------------------------------------------------------------------- the sink of the transport

  readTarget(): null {
    return null;
  }

  commit(): boolean {
    return false;
  }

  feed(chunk: Uint8Array): boolean {
    if (this.#state !== 'waiting') return false;
    this.#append(chunk);
    const received = this.#memory.subarray(0, this.#length);
    const parsed = parseProxyHeader(received);
    if (parsed.status === 'incomplete') return true;
    if (parsed.status === 'malformed') {
      this.#fail('ERR_PROXY_HEADER', `is malformed: ${parsed.reason}`);
      return false;
    }
    const { info, length } = parsed;
    this.#state = 'read';
    this.#forgetTimes();
    this.#info.announced = info;
    this.#headerLength = length;
    this.#memory = Buffer.alloc(0);
    this.transport.putBack(received.subarray(length));
    // Node is in the middle of a read, during which TLS cannot take over the socket.
    process.nextTick(() => {
      if (this.#state === 'read') this.#receiver.headerRead(this, info);
    });
    return false;
  }

  eof(): void {
    this.#lost('the peer has ended the connection');
  }

  closed(error: Error | null): void {
    this.#lost(error === null ? 'the connection was closed' : textOf(error), error);
  }

  // ---------------------------------------------------------------------------------------------- the end

  #lost(why: string, cause: Error | null = null): void {
    if (this.#length > 0)
      this.#fail('ERR_PROXY_HEADER', `is incomplete: ${this.#received} received, then ${why}`, cause);
    else if (this.#state === 'waiting') {
      this.#end();
      this.#receiver.headerFailed(this, null);
    }
  }

  #fail(code: string, what: string, cause: Error | null = null): void {
    if (this.#state !== 'waiting') return;
    const peer = peerName(this.transport) ?? 'a connection';
    const message = `${this.#name}: the PROXY header of ${peer} ${what}`;
    this.#failWith(new ConnectionError(code, message, cause === null ? undefined : { cause }));
  }

  #failWith(error: ConnectionError | TimeoutError): void {
    this.#end();
    this.#receiver.headerFailed(this, error);
  }

  #end(): void {
    this.#state = 'ended';
    this.#memory = Buffer.alloc(0);
    this.#forgetTimes();
    this.transport.abort();
  }

  #forgetTimes(): void {
    this.#forgetTimeout();
    this.#forgetAge();
  }

  get #received(): string {
    return count(this.#length, 'byte');
  }

  #append(chunk: Uint8Array): void {
    const length = this.#length + chunk.length;
    if (length > this.#memory.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(length, 2 * this.#memory.length));
      this.#memory.copy(larger, 0, 0, this.#length);
      this.#memory = larger;
    }
    this.#memory.set(chunk, this.#length);
    this.#length = length;
  }
}
