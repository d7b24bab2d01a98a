/**
 * Connects to a host and port, or uses an existing socket, and returns a {@link Stream}.
 *
 *     check     all arguments and options, before anything is opened
 *     resolve   the addresses of the host
 *     race      the connection attempts (happy-eyeballs.ts)
 *     Stream    over the transport of the attempt that won
 */
import { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { checkedSignal, checkedTimeout, onAbort, withinTime, type WaitOptions } from '../abort.js';
import {
  checkBoolean,
  checkCloseTimeout,
  checkFamily,
  checkFlags,
  checkInteger,
  checkLimit,
  checkObject,
  checkOptionNames,
  checkWriteBuffer,
  exclusive,
  needs,
} from '../checks.js';
import { attributesOf, connectTracing, type ConnectMessage } from '../diagnostics.js';
import { ConnectionError, coded, ignore, invalidType, outOfRange } from '../errors.js';
import type { LimitOptions } from '../reader/reader.js';
import { Stream } from '../stream/stream.js';
import { checkConnectionTimeouts, type TimeoutOptions, type ConnectionTimeouts } from '../stream/timeouts.js';
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
import { directReadsOfGiven } from '../transports/direct-reads.js';
import { DuplexTransport } from '../transports/duplex.js';
import { checkSocketFd, socketOver } from '../transports/fd.js';
import { claim } from '../transports/in-use.js';
import { SocketTransport } from '../transports/socket.js';
import { duplexOver, isWebStreams, type WebStreams } from '../transports/web.js';
import { StreamMode, hostAndPort, type Transport } from '../transports/transport.js';
import type { CloseOptions, WriteBufferOptions } from '../writer/writer.js';
import { interleave, race, type Address } from './happy-eyeballs.js';
import { resolve } from './resolve.js';

/** Milliseconds between the starts of two attempts, as RFC 8305 recommends. */
const ATTEMPT_DELAY_MS = 250;

/** How many addresses of the first family are tried before the first address of the other family. */
const FIRST_FAMILY_COUNT = 1;

/** The options that all ways of connecting share. */
export interface ConnectBaseOptions
  extends LimitOptions, CloseOptions, WriteBufferOptions, TimeoutOptions, WaitOptions, HandshakeOptions {
  /** The longest frame without its separator, in bytes. Default 65536. asyncio: `limit` */
  limit?: number | undefined;
  /**
   * Uses TLS: `true` for Node's defaults, options of `tls.connect()` (`ca`, `cert`, `key`, `ALPNProtocols`, `rejectUnauthorized`,
   * `minVersion`, ...), or a `SecureContext`. The call then also waits for the handshake, which verifies the server's
   * certificate. asyncio: `ssl`
   */
  ssl?: ClientSsl | undefined;
  /**
   * The name that the server's certificate must be for. It is also sent to the server (SNI) unless it is an IP address. A
   * trailing dot is removed. Default: the host; required if `sock` and `ssl` are used together. asyncio: `server_hostname`
   */
  serverHostname?: string | undefined;
  /** How long the TLS handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
  /**
   * How long `close` waits for the peer to end its side of TLS after everything has been sent, in ms; then the connection is
   * destroyed. Default 1000, as without TLS. asyncio: `ssl_shutdown_timeout` (30 seconds)
   */
  sslShutdownTimeout?: number | undefined;
  /** Aborting it closes everything that was opened, and the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * The most milliseconds until the connection can be used, handshake included. After that, everything that was opened is closed, and the
   * call rejects with a `TimeoutError`. Default, and `Infinity`: no limit.
   */
  timeout?: number | undefined;
}

/** The options of `connect(host, port)`. */
export interface ConnectOptions extends ConnectBaseOptions {
  /** 4 or 6 for addresses of that family only; 0 (default) for both. asyncio: `family` */
  family?: 0 | 4 | 6 | undefined;
  /** The protocol number: 6 for TCP, or 0 (default). No other is supported. asyncio: `proto` */
  proto?: 0 | 6 | undefined;
  /** How the name is resolved: the `hints` of `dns.lookup`, such as `dns.ADDRCONFIG`. Default 0. asyncio: `flags` */
  flags?: number | undefined;
  /**
   * How long after the start of one attempt the next one starts, in ms, unless the first one fails earlier. Default 250. With
   * null the addresses are tried one after another, each after the previous one has failed. asyncio: `happy_eyeballs_delay`
   * (seconds)
   */
  happyEyeballsDelay?: number | null | undefined;
  /**
   * How many addresses of the first family are tried before the first address of the other family; 0 keeps the order of the
   * resolver. Default 1, or 0 if `happyEyeballsDelay` is null. asyncio: `interleave`
   */
  interleave?: number | undefined;
  /**
   * The local address to connect from: a name or an address of this machine, and a port, where 0 means any. asyncio: `local_addr`
   */
  localAddr?: readonly [host: string, port: number] | undefined;
  /** `TCP_NODELAY`: the kernel sends small writes at once instead of collecting them. Default true. */
  noDelay?: boolean | undefined;
  /** `SO_KEEPALIVE`: the system detects peers that have disappeared. Default false. */
  keepAlive?: boolean | undefined;
}

/** The options of `connect({ sock })`. */
export interface ConnectSockOptions extends Omit<ConnectBaseOptions, 'ssl'> {
  /**
   * A connected or connecting `net.Socket`, any `Duplex`, or the fd of a connected socket. The stream owns it from now on. A
   * `Duplex` in object mode is accepted if its chunks are strings or `Uint8Array`s, as in `connectReadPipe`. asyncio: `sock`
   */
  sock: Duplex | number;
  /**
   * True if this side is the server of the connection: for a socket that a `net.Server` has accepted, or for any other socket
   * whose peer will be the TLS client. {@link Stream.isServerSide} then returns true, and `ssl` and `startTls` do the server's
   * side of the handshake. Default false. asyncio: `loop.connect_accepted_socket`
   */
  serverSide?: boolean | undefined;
  /**
   * Uses TLS, as in `connect(host, port)`. With `serverSide: true` it takes the same values as `StreamServer`: options of
   * `tls.createServer()` with a certificate and its key, or a `SecureContext`. `serverHostname` cannot be used then. asyncio:
   * `ssl`
   */
  ssl?: ClientSsl | ServerSsl | undefined;
}

/** The options of `connect({ web })`. */
export interface ConnectWebOptions extends Omit<ConnectSockOptions, 'sock'> {
  /** The two directions of the connection, which the stream locks: a `ReadableStream` and a `WritableStream`. */
  web: WebStreams;
}

/**
 * Connects to a TCP server.
 *
 * ```ts
 * await using stream = await connect('127.0.0.1', 8888, { limit: 1024 });
 * await stream.write('hello\n');
 * console.log((await stream.readline()).toString());
 * ```
 *
 * **Waits** until the host name is resolved, one of its addresses is connected and, with `ssl`, the TLS handshake is done. If
 * there are several addresses, the attempts are raced as RFC 8305 describes.
 *
 * **Errors**, all as rejections:
 * - `ConnectionError` if the only address could not be connected to, with the system's code, such as `ECONNREFUSED`, and the
 *   `address`
 * - `AggregateError` if none of several addresses could be connected to: `errors` has one such `ConnectionError` for each
 *   address, and `code` is the code that they share, or that of the last one
 * - `ConnectionError` if the host is not found (`ENOTFOUND`, `EAI_AGAIN`) or the TLS handshake fails (`CERT_HAS_EXPIRED`,
 *   `ERR_TLS_CERT_ALTNAME_INVALID`, `ETIMEDOUT`, ...)
 * - `Error` or `TypeError` (`connect: ssl: ...`) for TLS options that Node or OpenSSL refuses, with their code
 *   (`ERR_OSSL_PEM_NO_START_LINE`, `ERR_SSL_NO_CIPHER_MATCH`, ...), before anything is opened
 * - `TypeError` `ERR_INVALID_ARG_TYPE` or `RangeError` `ERR_OUT_OF_RANGE` for an invalid argument
 *
 * **Cancellation**: aborting `signal` ends name resolution, all attempts and the handshake, and closes everything that was
 * opened.
 *
 * asyncio: `connect`
 */
export function connect(host: string, port: number, options?: ConnectOptions): Promise<Stream>;
/**
 * Creates a stream over an existing socket or `Duplex`.
 *
 * The stream owns the socket from now on, handles its errors, and makes it half-open. With `serverSide: true` this side is the
 * server of the connection, for a socket that a `net.Server` has accepted:
 *
 * ```ts
 * const stream = await connect({ sock: accepted, serverSide: true });
 * await stream.startTls({ cert, key });
 * ```
 *
 * **Waits** until the socket is connected, if it is still connecting, and, with `ssl`, until the TLS handshake is done.
 *
 * **Errors**, all as rejections. The socket is destroyed if it was still connecting or the TLS handshake had begun, and is left
 * untouched otherwise. An fd of a socket that is not connected is closed, because Node cannot give it back.
 * - `ConnectionError` if the socket is not connected (`ENOTCONN`, also for a listening socket), the fd is not open (`EBADF`), or
 *   the connection attempt fails, with its code
 * - `TypeError` `ERR_INVALID_FD_TYPE` for an fd that is not a socket, or is a datagram socket (UDP)
 * - `TypeError` `ERR_INVALID_ARG_TYPE` for a `Duplex` that decodes to strings (`setEncoding`)
 * - `StateError` `ERR_IN_USE` if a stream already uses the socket, or used it before
 * - the TLS errors of `connect(host, port)`
 *
 * **Cancellation**: aborting `signal` has the same effect on the socket as an error.
 *
 * asyncio: `connect` with `sock`
 */
export function connect(options: ConnectSockOptions): Promise<Stream>;
/**
 * Creates a stream over a `ReadableStream` and a `WritableStream`, which it locks: those of a `WebSocketStream`, of a worker, of a process of
 * Deno, of a pair of `TransformStream`s, ...
 *
 * ```ts
 * const stream = await connect({ web: { readable, writable } });
 * ```
 *
 * - Back-pressure works in both directions. Each write is a copy in memory of its own, which its receiver can keep or transfer.
 * - `close` closes the writable, then cancels the readable once the peer has ended its side, or after a second. `abort` cancels the
 *   readable at once, and aborts the writable if it has not accepted everything that was written.
 * - If the readable fails, or a write to the writable does, the connection is lost, with that error as the reason. If it is not an `Error`,
 *   the reason is a ConnectionError `ECONNRESET` with it as the cause.
 * - `ssl`, `startTls` and the other options work as for `connect({ sock })`. `getExtraInfo` knows nothing.
 *
 * **Errors**, all as rejections. TypeError `ERR_INVALID_ARG_TYPE` for an invalid argument; StateError `ERR_IN_USE` if one of the two is
 * locked; the TLS errors of `connect(host, port)`. A chunk that is neither bytes nor a string ends the connection with a TypeError.
 *
 * asyncio: none
 */
export function connect(options: ConnectWebOptions): Promise<Stream>;
export async function connect(
  target: string | ConnectSockOptions | ConnectWebOptions,
  port?: number,
  options?: ConnectOptions,
): Promise<Stream> {
  if (isOptions(target)) {
    if (port !== undefined) throw exclusive('connect', 'port');
    return connectSock('connect', target);
  }
  const checked = checkTarget(target, port, options);
  return traced(
    { action: 'connect', serverAddress: checked.host, serverPort: checked.port, networkTransport: 'tcp' },
    checked.tls !== null,
    () => withinTime('connect', checked, (signal) => connectTarget({ ...checked, signal })),
  );
}

/** Connects, and reports it to the subscribers of `sluice:connect`. */
export function traced(facts: Omit<ConnectMessage, 'tls'>, tls: boolean, work: () => Promise<Stream>): Promise<Stream> {
  if (!connectTracing.hasSubscribers) return work();
  const message: ConnectMessage = { ...facts, tls };
  return connectTracing.promise(message, work, (stream) => {
    Object.assign(message, attributesOf(stream));
    message.result = stream;
  });
}

async function connectTarget(checked: Target): Promise<Stream> {
  const plain = await reach(checked);
  const transport = checked.tls === null ? plain : await secure(checked.tls, plain, checked.signal);
  if (checked.signal?.aborted === true) {
    // The signal was aborted after the transport was connected: the caller never receives the transport, so close it here.
    discard(transport);
    throw checked.signal.reason;
  }
  const { limit, closeTimeout, maxWriteBuffer, timeouts, host } = checked;
  return new Stream(transport, { limit, closeTimeout, maxWriteBuffer, timeouts, host });
}

/**
 * The implementation of `connect({ sock })`, which other calls share.
 *
 * @param action - the name of the call, with which error messages begin
 * @param check - receives the Node socket of the transport, and throws if it is of the wrong kind
 */
export async function connectSock(
  action: string,
  options: ConnectSockOptions | ConnectWebOptions,
  check: (socket: unknown) => void = () => {},
): Promise<Stream> {
  const checked = checkSock(action, options);
  return traced({ action }, checked.tls !== null, () =>
    withinTime(action, checked, (signal) => connectOver(action, { ...checked, signal }, check)),
  );
}

async function connectOver(action: string, checked: Sock, check: (socket: unknown) => void): Promise<Stream> {
  const plain = await over(action, checked.sock, checked.signal);
  try {
    check(plain.getExtraInfo('socket'));
  } catch (error) {
    discard(plain);
    throw error;
  }
  const transport = checked.tls === null ? plain : await secure(checked.tls, plain, checked.signal);
  const { limit, closeTimeout, maxWriteBuffer, timeouts, serverHostname: host, serverSide } = checked;
  return new Stream(transport, { limit, closeTimeout, maxWriteBuffer, timeouts, host, serverSide });
}

// ---------------------------------------------------------------------------------------------- arguments and options

export interface Base {
  readonly limit: number;
  readonly closeTimeout: number;
  readonly maxWriteBuffer: number;
  readonly timeouts: ConnectionTimeouts | null;
  readonly signal: AbortSignal | undefined;
  readonly timeout: number | undefined;
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

/** Checks the options that TCP addresses and Unix socket paths share. */
export function checkBase(call: string, options: ConnectBaseOptions, action: string, host?: string): Base {
  const { serverSide } = options as { serverSide?: unknown };
  if (serverSide !== undefined) throw needs(call, 'serverSide', 'sock');
  const { ssl } = options;
  return {
    ...checkCommon(call, options),
    tls: ssl === undefined ? null : checkClientTls(call, ssl, options, host, action),
  };
}

/** Checks the options that addresses and existing sockets share. */
function checkCommon(call: string, options: ConnectBaseOptions | Omit<ConnectSockOptions, 'sock'>): Omit<Base, 'tls'> {
  checkOptionNames(call, options);
  const signal = checkedSignal(call, options);
  const limit = checkLimit(call, options.limit);
  const closeTimeout = checkCloseTimeout(call, options.closeTimeout);
  const maxWriteBuffer = checkWriteBuffer(call, 'maxWriteBuffer', options.maxWriteBuffer);
  if (options.ssl === undefined) checkNoTls(call, options);
  return {
    limit,
    closeTimeout,
    maxWriteBuffer,
    timeouts: checkConnectionTimeouts(call, options),
    signal,
    timeout: checkedTimeout(call, options),
    serverHostname: options.serverHostname,
  };
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
  readonly sock: Duplex | WebStreams | number;
  readonly serverSide: boolean;
}

function checkSock(action: string, options: ConnectSockOptions | ConnectWebOptions): Sock {
  const given = options as unknown as Record<string, unknown>;
  const { web } = given;
  if (web !== undefined && given.sock !== undefined) throw exclusive(action, 'web');
  const sock = web ?? given.sock;
  for (const name of OF_AN_ADDRESS) {
    if (given[name] === undefined) continue;
    if (sock === undefined) throw ownArgument(action, name);
    throw exclusive(action, name, web === undefined ? 'sock' : 'web');
  }
  if (web !== undefined) {
    if (!isWebStreams(web)) throw invalidType(action, 'web', '{ readable, writable } of web streams', web);
  } else if (typeof sock !== 'number' && !isDuplex(sock)) {
    throw invalidType(action, 'sock', 'a net.Socket, a Duplex or an fd', sock);
  }
  const { ssl, serverSide = false } = options;
  checkBoolean(action, 'serverSide', serverSide);
  if (serverSide) checkNoServerHostname(action, options);
  const common = checkCommon(action, options);
  const check = serverSide ? checkServerTls : checkClientTls;
  return {
    ...common,
    sock: sock as Sock['sock'],
    serverSide,
    tls: ssl === undefined ? null : check(action, ssl, options),
  };
}

/** Whether this is the form without host and port. An array or a `Buffer` counts as a host of the wrong type. */
function isOptions(target: unknown): target is ConnectSockOptions | ConnectWebOptions {
  return typeof target === 'object' && target !== null && !Array.isArray(target) && !ArrayBuffer.isView(target);
}

/** The options that describe an address, which exclude `sock`. */
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

/** Checks the methods, not the class, because a `Duplex` of the `readable-stream` package works too. */
function isDuplex(value: unknown): value is Duplex {
  if (value instanceof Duplex) return true;
  if (typeof value !== 'object' || value === null) return false;
  const { read, write, pause, resume, destroy } = value as Record<string, unknown>;
  return [read, write, pause, resume, destroy].every((method) => typeof method === 'function');
}

function checkProto(value: unknown): void {
  if (typeof value !== 'number') throw invalidType('connect', 'proto', '0 or 6 (TCP)', value);
  if (value !== 0 && value !== 6) throw outOfRange('connect', 'proto', '0 or 6 (TCP)', value);
}

function checkDelay(value: unknown): void {
  const expected = 'a number of milliseconds of 0 or more, or null';
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

/** The error for an options object without `sock`, the form in which `net.connect` takes an address. */
function ownArgument(action: string, name: string): Error {
  const form = action === 'connectUnix' ? 'connectUnix(path, options)' : 'connect(host, port, options)';
  const message = `${action}: ${name} was given without sock; use ${form}`;
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

/** The error of an attempt. If the system refused to bind the local address, the message is about that address. */
function notLocal(error: unknown, from: string): unknown {
  if (!(error instanceof ConnectionError)) return error;
  const { cause } = error;
  if ((cause as NodeJS.ErrnoException | undefined)?.syscall !== 'bind') return error;
  return new ConnectionError(error.code, `${from}: ${systemWords(cause)}`, { cause });
}

/** `connect example.org:80`: the start of error messages. */
function connecting(host: string, port: number): string {
  return `connect ${hostAndPort(host, port)}`;
}

/** Closes a connection that is no longer needed. */
function discard(transport: Transport): void {
  transport.abort();
}

// ---------------------------------------------------------------------------------------------- an existing socket

async function over(action: string, sock: Sock['sock'], signal: AbortSignal | undefined): Promise<DuplexTransport> {
  signal?.throwIfAborted();
  if (typeof sock === 'number') return overFd(action, sock);
  if (isWebStreams(sock)) return new DuplexTransport(duplexOver(action, sock));
  // This must come before the first await, so that of two calls for the same connecting socket the second is refused.
  const giveBack = claim(action, 'sock', sock, StreamMode.READWRITE);
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
  const reads = directReadsOfGiven();
  const onread = reads === null ? {} : { onread: reads };
  const options = { readable: true, writable: true, allowHalfOpen: true, ...onread };
  return new SocketTransport(socketOver(action, fd, 'a connected TCP or Unix socket', options), reads);
}

/** Waits until a connecting socket is connected. Destroys it if the attempt fails or is cancelled. */
function connected(action: string, socket: Socket, signal: AbortSignal | undefined): Promise<DuplexTransport> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      socket.off('connect', onConnect).off('error', onError).off('close', onClose);
      forget();
    };
    const onConnect = (): void => {
      // Create the transport at once, so that it sees the error if another 'connect' listener destroys the socket.
      try {
        resolve(SocketTransport.over(socket));
      } catch (error) {
        // The socket is not a stream of bytes. This call waited for its connection, so this call closes it.
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
