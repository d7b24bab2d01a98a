/**
 * Connecting: from a host and a port, or over a socket that exists already, to a {@link Stream}.
 *
 *     check     what was asked for, in one place, before anything is opened
 *     resolve   the addresses of the host
 *     race      the attempts (happy-eyeballs.ts)
 *     Stream    over the transport that came out
 */
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { checkedSignal, onAbort, type WaitOptions } from '../abort.js';
import {
  checkBoolean,
  checkCloseTimeout,
  checkFamily,
  checkFlags,
  checkInteger,
  checkLimit,
  checkObject,
  checkOptionNames,
  exclusive,
} from '../checks.js';
import { ConnectionError, coded, ignore, invalidType, outOfRange } from '../errors.js';
import type { LimitOptions } from '../reader/reader.js';
import { Stream } from '../stream/stream.js';
import { connectionError, systemWords } from '../system-errors.js';
import { secure, type Tls } from '../tls/handshake.js';
import {
  checkClientTls,
  checkNoServerHostname,
  checkNoTls,
  checkServerTls,
  type ClientSsl,
  type HandshakeOptions,
  type ServerSsl,
} from '../tls/options.js';
import { directReads } from '../transports/direct-reads.js';
import { DuplexTransport } from '../transports/duplex.js';
import { checkSocketFd, socketOver } from '../transports/fd.js';
import { take } from '../transports/in-use.js';
import { SocketTransport } from '../transports/socket.js';
import { StreamMode, hostAndPort, type Transport } from '../transports/transport.js';
import type { CloseOptions } from '../writer/writer.js';
import { interleave, race, type Address } from './happy-eyeballs.js';
import { resolve } from './resolve.js';

/** Milliseconds from one attempt to the next: what RFC 8305 recommends. */
const ATTEMPT_DELAY_MS = 250;

/** How many addresses of the first family are tried before the other family has its turn. */
const FIRST_FAMILY_COUNT = 1;

/** What every kind of connecting takes. */
export interface ConnectBaseOptions extends LimitOptions, CloseOptions, WaitOptions, HandshakeOptions {
  /** The longest frame without its separator, in bytes. Default 65536. asyncio: `limit` */
  limit?: number | undefined;
  /**
   * Speaks TLS: `true` for the defaults of Node, options as of `tls.connect()` (`ca`, `cert`, `key`, `ALPNProtocols`,
   * `rejectUnauthorized`, `minVersion`, ...), or a `SecureContext`. The call then waits for the handshake, too, and the peer is
   * who its certificate says. asyncio: `ssl`
   */
  ssl?: ClientSsl | undefined;
  /**
   * The name in the server's certificate, which is also sent to the server (SNI) unless it is an IP address. A dot at its end is
   * left out. Default: the host; needed together with `sock` and `ssl`. asyncio: `server_hostname`
   */
  serverHostname?: string | undefined;
  /** How long the TLS handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
  /**
   * How long `close` waits for the peer to end its TLS, in ms, once everything is sent; then the connection is destroyed. Default 1000,
   * as without TLS. asyncio: `ssl_shutdown_timeout` (30 seconds)
   */
  sslShutdownTimeout?: number | undefined;
  /** Ends the attempt: what was opened is closed, and the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** What `connect(host, port)` takes. */
export interface ConnectOptions extends ConnectBaseOptions {
  /** 4 or 6: connect to such addresses only; 0 (default): to any. asyncio: `family` */
  family?: 0 | 4 | 6 | undefined;
  /** 0 (default) or 6, the number of TCP, which is all that there is. asyncio: `proto` */
  proto?: 0 | 6 | undefined;
  /** How the name is resolved: the hints of `dns.lookup`, such as `dns.ADDRCONFIG`. Default 0. asyncio: `flags` */
  flags?: number | undefined;
  /**
   * How long after the start of one attempt the next begins, in ms, unless that one has failed before. Default 250. With null
   * the addresses are tried one after the other, each until it has failed. asyncio: `happy_eyeballs_delay` (seconds)
   */
  happyEyeballsDelay?: number | null | undefined;
  /**
   * How many addresses of the first family are tried before those of the other have their turn; 0: the order of the resolver.
   * Default 1, and 0 when `happyEyeballsDelay` is null. asyncio: `interleave`
   */
  interleave?: number | undefined;
  /** Where to connect from: a name or an address of this machine, and a port, where 0 means any. asyncio: `local_addr` */
  localAddr?: readonly [host: string, port: number] | undefined;
  /** `TCP_NODELAY`: send small writes at once instead of gathering them in the kernel. Default true. */
  noDelay?: boolean | undefined;
  /** `SO_KEEPALIVE`: have the system find out about a peer that is gone. Default false. */
  keepAlive?: boolean | undefined;
}

/** What `connect({ sock })` takes. */
export interface ConnectSockOptions extends Omit<ConnectBaseOptions, 'ssl'> {
  /**
   * A `net.Socket`, connected or connecting, any `Duplex`, or the fd of a connected socket. It belongs to the stream from now on. A
   * `Duplex` in object mode works when its chunks are strings or `Uint8Array`s, as with `connectReadPipe`. asyncio: `sock`
   */
  sock: Duplex | number;
  /**
   * True where this side is the server of the connection: for a socket that a `net.Server` has accepted, and for any other whose peer
   * is to be the client of TLS. {@link Stream.isServerSide} says so then, and `ssl` and `startTls` do the server's part of the
   * handshake. Default false. asyncio: `loop.connect_accepted_socket`
   */
  serverSide?: boolean | undefined;
  /**
   * Speaks TLS, as with `connect(host, port)`. With `serverSide: true` it is what a `StreamServer` takes: options as of
   * `tls.createServer()`, with a certificate and its key, or a `SecureContext`; `serverHostname` is an error then. asyncio: `ssl`
   */
  ssl?: ClientSsl | ServerSsl | undefined;
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
 * @throws (as a rejection) ConnectionError when the only address could not be connected to, with the code of the system, such as
 * `ECONNREFUSED`, and the `address`
 * @throws (as a rejection) AggregateError when none of several could: `errors` has such a `ConnectionError` for each, `code` is
 * theirs
 * @throws (as a rejection) ConnectionError when the host is not found (`ENOTFOUND`, `EAI_AGAIN`), and when the TLS handshake
 * fails, with the code of the reason (`CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`, `ETIMEDOUT`, ...)
 * @throws (as a rejection) Error or TypeError `connect: ssl: ...` for options of TLS that Node or OpenSSL refuses, with the code that
 * they give (`ERR_OSSL_PEM_NO_START_LINE`, `ERR_SSL_NO_CIPHER_MATCH`, ...); nothing was opened then
 * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an argument that is none
 */
export function connect(host: string, port: number, options?: ConnectOptions): Promise<Stream>;
/**
 * Makes a stream over a socket or `Duplex` that exists already. Waits for its connection when it is still connecting.
 *
 * The socket is the stream's from now on, also its errors; it becomes half-open. When the call rejects, also because of the signal,
 * the socket is destroyed if it was still connecting or a TLS handshake had begun, and is left alone otherwise. But the fd of a
 * socket that is not connected is closed, as Node gives none back.
 *
 * With `serverSide: true` this side is the server of the connection, for a socket that a `net.Server` has accepted:
 *
 * ```ts
 * const stream = await connect({ sock: accepted, serverSide: true });
 * await stream.startTls({ cert, key });
 * ```
 *
 * @throws (as a rejection) ConnectionError when the socket is not connected: `ENOTCONN`, also for one that listens, `EBADF`, or
 * why it could not connect
 * @throws (as a rejection) TypeError `ERR_INVALID_FD_TYPE` for an fd that is not of a socket, or of one of datagrams, such as UDP;
 * `ERR_INVALID_ARG_TYPE` for a `Duplex` that decodes to strings (`setEncoding`)
 * @throws (as a rejection) StateError `ERR_IN_USE` when there is, or was, a stream over the socket
 */
export function connect(options: ConnectSockOptions): Promise<Stream>;
export async function connect(
  target: string | ConnectSockOptions,
  port?: number,
  options?: ConnectOptions,
): Promise<Stream> {
  if (isOptions(target)) {
    if (port !== undefined) throw exclusive('connect', 'port');
    return connectSock('connect', target);
  }
  const checked = checkTarget(target, port, options);
  const plain = await reach(checked);
  const transport = checked.tls === null ? plain : await secure(checked.tls, plain, checked.signal);
  if (checked.signal?.aborted === true) {
    // The signal came between the connection and this turn: nobody would close what the caller never gets.
    discard(transport);
    throw checked.signal.reason;
  }
  return new Stream(transport, { limit: checked.limit, closeTimeout: checked.closeTimeout, host: checked.host });
}

/**
 * What `connect({ sock })` does, and the calls that are made of it.
 *
 * @param action - the call, as messages begin
 * @param check - looks at a socket of Node that there is a transport over, and throws where it is of the wrong kind
 */
export async function connectSock(
  action: string,
  options: ConnectSockOptions,
  check: (socket: unknown) => void = () => {},
): Promise<Stream> {
  const checked = checkSock(action, options);
  const plain = await over(action, checked.sock, checked.signal);
  try {
    check(plain.getExtraInfo('socket'));
  } catch (error) {
    discard(plain);
    throw error;
  }
  const transport = checked.tls === null ? plain : await secure(checked.tls, plain, checked.signal);
  const { limit, closeTimeout, serverHostname: host, serverSide } = checked;
  return new Stream(transport, { limit, closeTimeout, host, serverSide });
}

// ---------------------------------------------------------------------------------------------- what is asked for

export interface Base {
  readonly limit: number;
  readonly closeTimeout: number;
  readonly signal: AbortSignal | undefined;
  readonly tls: Tls | null;
  readonly serverHostname: string | undefined;
}

interface Target extends Base {
  readonly host: string;
  readonly port: number;
  readonly family: 0 | 4 | 6;
  readonly flags: number;
  readonly delay: number | null;
  readonly interleave: number;
  readonly local: { readonly host: string; readonly port: number } | null;
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
}

/** What an address has in common with that of a Unix socket. */
export function checkBase(call: string, options: ConnectBaseOptions, action: string, host?: string): Base {
  const { serverSide } = options as { serverSide?: unknown };
  if (serverSide !== undefined) throw invalidType(call, 'serverSide', 'used together with sock', serverSide);
  const { ssl } = options;
  return {
    ...checkCommon(call, options),
    tls: ssl === undefined ? null : checkClientTls(call, ssl, options, host, action),
  };
}

/** What an address and a socket that exists have in common. */
function checkCommon(call: string, options: ConnectBaseOptions | ConnectSockOptions): Omit<Base, 'tls'> {
  checkOptionNames(call, options);
  const signal = checkedSignal(call, options);
  const limit = checkLimit(call, options.limit);
  const closeTimeout = checkCloseTimeout(call, options.closeTimeout);
  if (options.ssl === undefined) checkNoTls(call, options);
  return { limit, closeTimeout, signal, serverHostname: options.serverHostname };
}

function checkTarget(host: unknown, givenPort: unknown, options: unknown = {}): Target {
  checkHost('host', host);
  const port = checkInteger('connect', 'port', givenPort, 1, 65535);
  checkObject('connect', 'options', options);
  if ('sock' in options && options.sock !== undefined) throw exclusive('connect', 'host and port');
  const given = options as ConnectOptions;
  const { localAddr, noDelay = true, keepAlive = false, happyEyeballsDelay: delay = ATTEMPT_DELAY_MS } = given;
  const family = checkFamily('connect', given.family ?? 0);
  const flags = checkFlags('connect', given.flags ?? 0);
  checkProto(given.proto ?? 0);
  checkDelay(delay);
  const first = checkInteger('connect', 'interleave', given.interleave ?? (delay === null ? 0 : FIRST_FAMILY_COUNT), 0);
  checkBoolean('connect', 'noDelay', noDelay);
  checkBoolean('connect', 'keepAlive', keepAlive);
  const base = checkBase('connect', given, connecting(host, port), host);
  const local = checkLocal(localAddr);
  return { ...base, host, port, family, flags, delay, interleave: first, local, noDelay, keepAlive };
}

interface Sock extends Base {
  readonly sock: Duplex | number;
  readonly serverSide: boolean;
}

function checkSock(action: string, options: ConnectSockOptions): Sock {
  const given = options as unknown as Record<string, unknown>;
  const { sock } = given;
  for (const name of OF_AN_ADDRESS) {
    if (given[name] === undefined) continue;
    throw sock === undefined ? ownArgument(action, name) : exclusive(action, name);
  }
  if (typeof sock !== 'number' && !isDuplex(sock)) {
    throw invalidType(action, 'sock', 'a net.Socket, a Duplex or an fd', sock);
  }
  const { ssl, serverSide = false } = options;
  checkBoolean(action, 'serverSide', serverSide);
  if (serverSide) checkNoServerHostname(action, options);
  const common = checkCommon(action, options);
  const check = serverSide ? checkServerTls : checkClientTls;
  return { ...common, sock, serverSide, tls: ssl === undefined ? null : check(action, ssl, options) };
}

/** Whether it is the form without host and port; an array or a `Buffer` is neither, but a host of the wrong type. */
function isOptions(target: unknown): target is ConnectSockOptions {
  return typeof target === 'object' && target !== null && !Array.isArray(target) && !ArrayBuffer.isView(target);
}

/** The options that say where and how to connect. */
const OF_AN_ADDRESS = [
  'host',
  'port',
  'path',
  'family',
  'proto',
  'flags',
  'happyEyeballsDelay',
  'interleave',
  'localAddr',
];

/** By what it does, not by its class: a `Duplex` of the `readable-stream` package is as good. */
function isDuplex(value: unknown): value is Duplex {
  if (value instanceof Duplex) return true;
  if (typeof value !== 'object' || value === null) return false;
  const { read, write, pause, resume, destroy } = value as Record<string, unknown>;
  return [read, write, pause, resume, destroy].every((method) => typeof method === 'function');
}

function checkProto(value: unknown): void {
  if (typeof value !== 'number') throw invalidType('connect', 'proto', '0 or 6, the number of TCP', value);
  if (value !== 0 && value !== 6) throw outOfRange('connect', 'proto', '0 or 6, the number of TCP', value);
}

function checkDelay(value: unknown): void {
  const expected = 'a number of milliseconds from 0 up, or null';
  if (value === null) return;
  if (typeof value !== 'number') throw invalidType('connect', 'happyEyeballsDelay', expected, value);
  if (!(value >= 0)) throw outOfRange('connect', 'happyEyeballsDelay', expected, value);
}

function checkLocal(value: unknown): Target['local'] {
  if (value === undefined) return null;
  if (!Array.isArray(value) || value.length !== 2) {
    throw invalidType('connect', 'localAddr', 'a pair of host and port', value);
  }
  const [host, port] = value as unknown[];
  checkHost('the host of localAddr', host);
  return { host, port: checkInteger('connect', 'the port of localAddr', port, 0, 65535) };
}

function checkHost(name: string, value: unknown): asserts value is string {
  if (typeof value !== 'string') throw invalidType('connect', name, 'a string', value);
  if (value === '' || value.includes('\0')) throw outOfRange('connect', name, 'a host name or an address', value);
}

/** Options alone, as `net.connect` takes them, with no socket among them. */
function ownArgument(action: string, name: string): Error {
  const form = action === 'connectUnix' ? 'connectUnix(path, options)' : 'connect(host, port, options)';
  const message = `${action}: ${name} is given without sock, so it must be ${form}`;
  return coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
}

// ---------------------------------------------------------------------------------------------- host and port

async function reach(target: Target): Promise<SocketTransport> {
  const { host, port, local, noDelay, keepAlive, signal } = target;
  const action = connecting(host, port);
  const remotes = await resolve(host, target, action);
  const from = local === null ? '' : `localAddr ${hostAndPort(local.host, local.port)}`;
  const locals = local === null ? null : await resolve(local.host, target, `${action}: ${from}`);

  const attempt = (remote: Address, wanted: AbortSignal): Promise<SocketTransport> => {
    const own = locals?.find(({ family }) => family === remote.family);
    if (locals !== null && own === undefined) {
      return Promise.reject(new ConnectionError('EADDRNOTAVAIL', `${from} has no IPv${remote.family} address`));
    }
    return SocketTransport.connect({
      host: remote.address,
      family: remote.family,
      port,
      localAddress: own?.address,
      localPort: local === null || local.port === 0 ? undefined : local.port,
      noDelay,
      keepAlive,
      signal: wanted,
    }).catch((error: unknown) => {
      throw notLocal(error, from);
    });
  };
  const { value } = await race<SocketTransport>({
    addresses: interleave(remotes, target.interleave),
    delay: target.delay,
    attempt,
    discard,
    signal,
    action,
  });
  return value;
}

/** What an attempt failed with; where the system refused the own address, that is what the message is about. */
function notLocal(error: unknown, from: string): unknown {
  if (!(error instanceof ConnectionError)) return error;
  const { cause } = error;
  if ((cause as NodeJS.ErrnoException | undefined)?.syscall !== 'bind') return error;
  return new ConnectionError(error.code, `${from}: ${systemWords(cause)}`, { cause });
}

/** `connect example.org:80`, as messages begin. */
function connecting(host: string, port: number): string {
  return `connect ${hostAndPort(host, port)}`;
}

/** Closes a connection that nobody wants any more. */
function discard(transport: Transport): void {
  transport.abort();
}

// ---------------------------------------------------------------------------------------------- an existing socket

async function over(action: string, sock: Duplex | number, signal: AbortSignal | undefined): Promise<DuplexTransport> {
  signal?.throwIfAborted();
  if (typeof sock === 'number') return overFd(action, sock);
  // Before anything is awaited: of two calls for one socket that is connecting, the second is refused.
  const giveBack = take(action, 'sock', sock, StreamMode.READWRITE);
  try {
    if (sock.destroyed) throw new ConnectionError('ENOTCONN', `${action}: sock is destroyed`);
    if (!(sock instanceof Socket)) return new DuplexTransport(sock);
    if (sock.connecting) return await connected(action, sock, signal);
    if (sock.pending) throw new ConnectionError('ENOTCONN', `${action}: sock is neither connected nor connecting`);
    return SocketTransport.over(sock);
  } catch (error) {
    giveBack();
    throw error;
  }
}

function overFd(action: string, fd: number): SocketTransport {
  checkSocketFd(action, 'sock', fd);
  // On Windows a read is handed to the system ahead of time: memory that is used again must not be lent to it.
  const reads = process.platform === 'win32' ? null : directReads();
  const onread = reads === null ? {} : { onread: reads };
  const options = { readable: true, writable: true, allowHalfOpen: true, ...onread };
  return new SocketTransport(socketOver(action, fd, 'a connected socket of TCP or a Unix one', options), reads);
}

/** Waits until a socket that is connecting is connected; destroys it when that is not to be. */
function connected(action: string, socket: Socket, signal: AbortSignal | undefined): Promise<DuplexTransport> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off('connect', onConnect).off('error', onError).off('close', onClose);
      forget();
    };
    const onConnect = (): void => {
      // Before anything else may happen to the socket: the transport has the error that another listener may destroy it with.
      try {
        resolve(SocketTransport.over(socket));
      } catch (error) {
        // A socket that is no stream of bytes: it was ours to connect, so it is ours to close.
        socket.destroy();
        reject(error);
      }
      settle();
    };
    const onError = (error: Error): void => {
      settle();
      const { address, port } = error as { address?: string; port?: number };
      const peer = address === undefined || port === undefined ? address : hostAndPort(address, port);
      reject(connectionError(error, peer));
    };
    const onClose = (): void => {
      settle();
      reject(new ConnectionError('ECONNABORTED', `${action}: sock was closed while it was connecting`));
    };
    socket.on('connect', onConnect).on('error', onError).on('close', onClose);
    const forget = onAbort(signal, () => {
      settle();
      socket.on('error', ignore).destroy();
      reject(signal?.reason as Error);
    });
  });
}
