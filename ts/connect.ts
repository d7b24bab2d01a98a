/**
 * Connecting: from a host and a port, or over a socket that exists already, to a {@link Stream}.
 *
 *     check     what was asked for, in one place, before anything is opened
 *     resolve   the addresses of the host
 *     race      the attempts (happy-eyeballs.ts)
 *     Stream    over the transport that came out
 */
import { lookup } from 'node:dns/promises';
import { Socket, isIP } from 'node:net';
import { Duplex } from 'node:stream';
import { ConnectionError, invalidType, outOfRange } from './errors.js';
import { interleave, race, type Address } from './happy-eyeballs.js';
import { checkLimit, type LimitOptions } from './reader.js';
import { Stream } from './stream.js';
import { DuplexTransport, connectionError } from './transports/duplex.js';
import { SocketTransport } from './transports/socket.js';
import {
  checkClientTls,
  checkNoTls,
  type ClientSsl,
  type HandshakeOptions,
  secure,
  type Tls,
} from './transports/tls.js';
import type { Transport } from './transports/transport.js';
import { unlessAborted, type WaitOptions } from './waiting.js';

/** Milliseconds from one attempt to the next: what RFC 8305 recommends. */
const ATTEMPT_DELAY_MS = 250;

/** How many addresses of the first family are tried before the other family has its turn. */
const FIRST_FAMILY_COUNT = 1;

/** What every kind of connecting takes. */
export interface ConnectBaseOptions extends LimitOptions, WaitOptions, HandshakeOptions {
  /** The longest frame without its separator, in bytes. Default 65536. asyncio: `limit` */
  limit?: number | undefined;
  /**
   * Speaks TLS: `true` for the defaults of Node, options as of `tls.connect()` (`ca`, `cert`, `key`, `ALPNProtocols`,
   * `rejectUnauthorized`, `minVersion`, ...), or a `SecureContext`. The call then waits for the handshake, too, and the peer is
   * who its certificate says. asyncio: `ssl`
   */
  ssl?: ClientSsl | undefined;
  /**
   * The name in the server's certificate, which is also sent to the server (SNI) unless it is an IP address. Default: the host;
   * needed together with `sock` and `ssl`. asyncio: `server_hostname`
   */
  serverHostname?: string | undefined;
  /** How long the TLS handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
  /** Ends the attempt: what was opened is closed, and the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** What `connect(host, port)` takes. */
export interface ConnectOptions extends ConnectBaseOptions {
  /** 4 or 6: connect to such addresses only; 0 (default): to any. asyncio: `family` */
  family?: 0 | 4 | 6 | undefined;
  /** Where to connect from: a name or an address of this machine, and a port, where 0 means any. asyncio: `local_addr` */
  localAddr?: readonly [host: string, port: number] | undefined;
  /** `TCP_NODELAY`: send small writes at once instead of gathering them in the kernel. Default true. */
  noDelay?: boolean | undefined;
  /** `SO_KEEPALIVE`: have the system find out about a peer that is gone. Default false. */
  keepAlive?: boolean | undefined;
}

/** What `connect({ sock })` takes. */
export interface ConnectSockOptions extends ConnectBaseOptions {
  /** A `net.Socket`, connected or connecting, or any `Duplex` of bytes. It belongs to the stream from now on. asyncio: `sock` */
  sock: Duplex;
}

/**
 * Connects to a TCP server.
 *
 * Resolves the host, and waits until one of its addresses is connected; several are raced by RFC 8305.
 *
 * ```ts
 * await using stream = await connect('127.0.0.1', 8888, { limit: 1024 });
 * await stream.write('hello\n');
 * console.log((await stream.readline()).toString());
 * ```
 *
 * asyncio: `connect`
 *
 * @throws (as a rejection) AggregateError when no address could be connected to: `errors` has a `ConnectionError` for each,
 * `code` is theirs, such as `ECONNREFUSED`
 * @throws (as a rejection) ConnectionError when the host is not found (`ENOTFOUND`, `EAI_AGAIN`), and when the TLS handshake
 * fails, with the code of the reason (`CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`, `ETIMEDOUT`, ...)
 * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an argument that is none
 */
export function connect(host: string, port: number, options?: ConnectOptions): Promise<Stream>;
/**
 * Makes a stream over a socket or `Duplex` that exists already. Waits for its connection when it is still connecting.
 *
 * The socket is the stream's from now on, also its errors; it becomes half-open. When the call rejects, because of the signal,
 * too, the socket is destroyed if it was still connecting, and left alone otherwise.
 */
export function connect(options: ConnectSockOptions): Promise<Stream>;
export async function connect(
  target: string | ConnectSockOptions,
  port?: number,
  options?: ConnectOptions,
): Promise<Stream> {
  if (typeof target === 'object' && target !== null) {
    if (port !== undefined) throw exclusive('port');
    const checked = checkSock(target);
    const plain = await over(checked.sock, checked.signal);
    const transport = checked.tls === null ? plain : await secure(checked.tls, plain, checked.signal);
    return new Stream(transport, { limit: checked.limit, host: checked.serverHostname });
  }
  const checked = checkTarget(target, port, options);
  const plain = await reach(checked);
  const transport = checked.tls === null ? plain : await secure(checked.tls, plain, checked.signal);
  if (checked.signal?.aborted === true) {
    // The signal came between the connection and this turn: nobody would close what the caller never gets.
    discard(transport);
    throw checked.signal.reason;
  }
  return new Stream(transport, { limit: checked.limit, host: checked.host });
}

// ---------------------------------------------------------------------------------------------- what is asked for

interface Base {
  readonly limit: number;
  readonly signal: AbortSignal | undefined;
  readonly tls: Tls | null;
  readonly serverHostname: string | undefined;
}

interface Target extends Base {
  readonly host: string;
  readonly port: number;
  readonly family: 0 | 4 | 6;
  readonly local: { readonly host: string; readonly port: number } | null;
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
}

function checkBase(options: ConnectBaseOptions, action: string, host?: string): Base {
  const { signal } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalidType('connect', 'signal', 'an AbortSignal', signal);
  }
  const limit = checkLimit('connect', options.limit);
  const { ssl, serverHostname } = options;
  if (ssl === undefined) checkNoTls('connect', options);
  const tls = ssl === undefined ? null : checkClientTls(action, ssl, options, host);
  return { limit, signal, tls, serverHostname };
}

function checkTarget(host: unknown, port: unknown, options: unknown = {}): Target {
  checkHost('host', host);
  checkPort('port', port, 1);
  if (typeof options !== 'object' || options === null) throw invalidType('connect', 'options', 'an object', options);
  if ('sock' in options && options.sock !== undefined) throw exclusive('sock');
  const given = options as ConnectOptions;
  const { family = 0, localAddr, noDelay = true, keepAlive = false } = given;
  if (family !== 0 && family !== 4 && family !== 6) throw outOfRange('connect', 'family', '0, 4 or 6', family);
  checkBoolean('noDelay', noDelay);
  checkBoolean('keepAlive', keepAlive);
  const base = checkBase(given, connecting(host, port), host);
  return { ...base, host, port, family, local: checkLocal(localAddr), noDelay, keepAlive };
}

function checkSock(options: ConnectSockOptions): Base & { readonly sock: Duplex } {
  const { sock } = options as { sock?: unknown };
  if (!isDuplex(sock)) throw invalidType('connect', 'sock', 'a net.Socket or a Duplex', sock);
  for (const name of ['host', 'port', 'family', 'localAddr']) {
    if ((options as unknown as Record<string, unknown>)[name] !== undefined) throw exclusive(name);
  }
  return { ...checkBase(options, 'connect'), sock };
}

/** By what it does, not by its class: a `Duplex` of the `readable-stream` package is as good. */
function isDuplex(value: unknown): value is Duplex {
  if (value instanceof Duplex) return true;
  if (typeof value !== 'object' || value === null) return false;
  const { read, write, pause, resume, destroy } = value as Record<string, unknown>;
  return [read, write, pause, resume, destroy].every((method) => typeof method === 'function');
}

function checkLocal(value: unknown): Target['local'] {
  if (value === undefined) return null;
  if (!Array.isArray(value) || value.length !== 2) {
    throw invalidType('connect', 'localAddr', 'a pair of host and port', value);
  }
  const [host, port] = value as unknown[];
  checkHost('the host of localAddr', host);
  checkPort('the port of localAddr', port, 0);
  return { host, port };
}

function checkHost(name: string, value: unknown): asserts value is string {
  if (typeof value !== 'string') throw invalidType('connect', name, 'a string', value);
  if (value === '' || value.includes('\0')) throw outOfRange('connect', name, 'a host name or an address', value);
}

function checkPort(name: string, value: unknown, least: 0 | 1): asserts value is number {
  const expected = `an integer from ${least} to 65535`;
  if (typeof value !== 'number') throw invalidType('connect', name, expected, value);
  if (!Number.isInteger(value) || value < least || value > 65535) throw outOfRange('connect', name, expected, value);
}

function checkBoolean(name: string, value: unknown): asserts value is boolean {
  if (typeof value !== 'boolean') throw invalidType('connect', name, 'a boolean', value);
}

function exclusive(name: string): Error {
  const what = name === 'sock' ? 'sock cannot be combined with host and port' : `sock cannot be combined with ${name}`;
  return Object.assign(new TypeError(`connect: ${what}`), { code: 'ERR_INVALID_ARG_TYPE' });
}

// ---------------------------------------------------------------------------------------------- host and port

async function reach(target: Target): Promise<SocketTransport> {
  const { host, port, local, noDelay, keepAlive, signal } = target;
  const action = connecting(host, port);
  const remotes = await resolve(host, target.family, action, signal);
  const locals = local === null ? null : await resolve(local.host, target.family, action, signal);

  const attempt = (remote: Address, wanted: AbortSignal): Promise<SocketTransport> => {
    const from = locals?.find(({ family }) => family === remote.family);
    if (locals !== null && from === undefined) {
      const reason = `localAddr ${String(local?.host)} has no IPv${remote.family} address`;
      return Promise.reject(new ConnectionError('EADDRNOTAVAIL', reason));
    }
    return SocketTransport.connect({
      host: remote.address,
      family: remote.family,
      port,
      localAddress: from?.address,
      localPort: local === null || local.port === 0 ? undefined : local.port,
      noDelay,
      keepAlive,
      signal: wanted,
    });
  };
  const { value } = await race<SocketTransport>({
    addresses: interleave(remotes, FIRST_FAMILY_COUNT),
    delay: ATTEMPT_DELAY_MS,
    attempt,
    discard,
    signal,
    action,
  });
  return value;
}

/** `connect example.org:80`, as messages begin. */
function connecting(host: string, port: number): string {
  return `connect ${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** All addresses of a host. */
async function resolve(
  host: string,
  family: 0 | 4 | 6,
  action: string,
  signal: AbortSignal | undefined,
): Promise<Address[]> {
  signal?.throwIfAborted();
  const version = isIP(host);
  if (version !== 0) {
    if (family === 0 || family === version) return [{ address: host, family: version as 4 | 6 }];
    throw new ConnectionError('EAI_ADDRFAMILY', `${action}: ${host} is not an IPv${family} address`);
  }
  try {
    // The system's resolver cannot be called off.
    const found = await unlessAborted(signal, lookup(host, { all: true, family }));
    return found as Address[];
  } catch (error) {
    if (signal?.aborted === true) throw signal.reason;
    const { code = 'ENOTFOUND', message } = error as NodeJS.ErrnoException;
    throw new ConnectionError(code, `${action}: ${message}`, { cause: error });
  }
}

/** Closes a connection that nobody wants any more. */
function discard(transport: Transport): void {
  transport.abort();
}

// ---------------------------------------------------------------------------------------------- an existing socket

async function over(sock: Duplex, signal: AbortSignal | undefined): Promise<DuplexTransport> {
  signal?.throwIfAborted();
  if (sock.destroyed) throw new ConnectionError('ENOTCONN', 'connect: sock is destroyed');
  if (!(sock instanceof Socket)) return new DuplexTransport(sock);
  if (sock.connecting) return connected(sock, signal);
  if (sock.pending) throw new ConnectionError('ENOTCONN', 'connect: sock is neither connected nor connecting');
  return SocketTransport.over(sock);
}

/** Waits until a socket that is connecting is connected; destroys it when that is not to be. */
function connected(socket: Socket, signal: AbortSignal | undefined): Promise<DuplexTransport> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off('connect', onConnect).off('error', onError).off('close', onClose);
      signal?.removeEventListener('abort', onAbort);
    };
    const onConnect = (): void => {
      // Before anything else may happen to the socket: the transport has the error that another listener may destroy it with.
      resolve(SocketTransport.over(socket));
      settle();
    };
    const onError = (error: Error): void => {
      settle();
      reject(connectionError(error));
    };
    const onClose = (): void => {
      settle();
      reject(new ConnectionError('ECONNABORTED', 'connect: sock was closed while it was connecting'));
    };
    const onAbort = (): void => {
      settle();
      socket.on('error', () => {});
      socket.destroy();
      reject(signal?.reason as Error);
    };
    socket.on('connect', onConnect).on('error', onError).on('close', onClose);
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
