/**
 * TLS over a connection that exists: checking what was asked for, the handshake on either side, and the transport that
 * comes out of it.
 *
 *     check       options to a ClientTls or a ServerTls; throws on nonsense, before anything is opened
 *     handshake   takes a socket or Duplex of which no transport reads any more; a TlsTransport, or an error and the socket
 *                 closed
 *
 * A handshake that fails rejects with one `ConnectionError`: the message says what was done with whom, the code is the
 * reason's (`CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`, `ERR_SSL_...`, `ETIMEDOUT`, `ECONNRESET`), which is the cause.
 *
 * The end. Node reports the end of the TCP connection as the end of file whether a `close_notify` came before it or not: an
 * attacker who can cut the connection can cut the stream, so that a protocol has to tell by itself that it is complete.
 */
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  connect,
  createSecureContext,
  createServer,
  type ConnectionOptions,
  type SecureContext,
  type Server,
  type TLSSocket,
  type TlsOptions,
} from 'node:tls';
import { ConnectionError, invalidType, outOfRange } from '../errors.js';
import { serverContext, setServerContext } from './accepted.js';
import { connectionError, type DuplexTransport } from './duplex.js';
import { SocketTransport } from './socket.js';
import { peerName } from './transport.js';

/** How long a handshake may take, in ms. asyncio: the same */
const HANDSHAKE_TIMEOUT_MS = 60_000;

/** The longest time that a timer of Node can be set to. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** How to be a TLS client: `true` for the defaults of Node, its options, or a context made of them. */
export type ClientSsl = true | ConnectionOptions | SecureContext;

/** How to be a TLS server: the options of Node, with a certificate and its key, or a context made of them. */
export type ServerSsl = TlsOptions | SecureContext;

/** What a TLS client takes besides {@link ClientSsl}. */
export interface HandshakeOptions {
  /**
   * The name in the server's certificate, which is also sent to the server (SNI) unless it is an IP address. Default: the
   * host that was connected to. asyncio: `server_hostname`
   */
  serverHostname?: string | undefined;
  /** How long the handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
}

/** A fact of the connection below, by asyncio's name. */
export type Facts = (name: string) => unknown;

/** What a handshake is to be done with. */
export interface HandshakeTarget {
  /** A connected socket, or a `Duplex`; it has no reader, and is destroyed when the handshake fails. */
  readonly raw: Duplex;
  /** What the connection below knows of itself. */
  readonly facts: Facts;
  /** The peer, as messages name it. */
  readonly peer: string | null;
  /** Ends the handshake: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** One side of TLS, ready to shake hands. */
export interface Tls {
  handshake(target: HandshakeTarget): Promise<TlsTransport>;
}

// ---------------------------------------------------------------------------------------------- the transport

/** A `Transport` over TLS of which the handshake is done. */
export class TlsTransport extends SocketTransport {
  readonly #tls: TLSSocket;
  readonly #facts: Facts;
  readonly #context: SecureContext | undefined;
  readonly #cipher: ReturnType<TLSSocket['getCipher']>;
  readonly #certificate: object | undefined;

  constructor(socket: TLSSocket, context: SecureContext | undefined, facts: Facts) {
    super(socket);
    this.#tls = socket;
    this.#context = context;
    this.#facts = facts;
    this.#cipher = socket.getCipher();
    const certificate = socket.getPeerCertificate() as object | null;
    this.#certificate = certificate === null || Object.keys(certificate).length === 0 ? undefined : certificate;
    // Node reports an error of TLS after the handshake, such as a broken record, and leaves the connection as it is.
    socket.on('error', () => socket.destroy());
  }

  /**
   * `cipher`: `{ name, standardName, version }`; `peercert`: what `getPeerCertificate()` of Node gives, undefined where the peer
   * has sent none; `sslcontext`: the `SecureContext`; `sslObject` and `socket`: the `TLSSocket`; the rest as without TLS.
   */
  override getExtraInfo(name: string): unknown {
    switch (name) {
      case 'cipher':
        return this.#cipher;
      case 'peercert':
        return this.#certificate;
      case 'sslcontext':
        return this.#context;
      case 'sslObject':
        return this.#tls;
      case 'peername':
      case 'sockname':
        return this.#facts(name) ?? super.getExtraInfo(name);
      default:
        return super.getExtraInfo(name);
    }
  }
}

// ---------------------------------------------------------------------------------------------- what is asked for

/** Options of `tls.connect()` that say where to connect to, and how to read: that is not for TLS to say here. */
const WHERE = new Set(['socket', 'host', 'port', 'path', 'lookup', 'timeout', 'onread', 'signal', 'servername']);

/**
 * How to be a client.
 *
 * @param host - the host that was connected to, where it is known: the default of `serverHostname`
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`; the error of Node for options that it refuses
 */
export function checkClientTls(action: string, ssl: unknown, options: HandshakeOptions, host?: string): Tls {
  const { serverHostname } = options;
  const timeout = checkTimeout(action, options.sslHandshakeTimeout);
  if (ssl !== true && (typeof ssl !== 'object' || ssl === null)) {
    throw invalidType(action, 'ssl', 'true, TLS options or a SecureContext', ssl);
  }
  const given: ConnectionOptions = ssl === true ? {} : isSecureContext(ssl) ? { secureContext: ssl } : { ...ssl };
  checkServerHostname(action, serverHostname);
  const name = serverHostname ?? given.servername ?? host;
  if (name === undefined && given.rejectUnauthorized !== false && given.checkServerIdentity === undefined) {
    throw invalidType(action, 'serverHostname', 'given where ssl is used without a host', serverHostname);
  }
  const checked: ConnectionOptions = Object.fromEntries(Object.entries(given).filter(([key]) => !WHERE.has(key)));
  checked.secureContext ??= ssl === true ? defaultContext() : createSecureContext(checked);
  if (name !== undefined) {
    checked.host = name;
    if (isIP(name) === 0) checked.servername = name;
  }
  return new ClientTls(action, checked, timeout);
}

/**
 * How to be a server.
 *
 * @throws as {@link checkClientTls}
 */
export function checkServerTls(action: string, ssl: unknown, options: HandshakeOptions): Tls {
  const timeout = checkTimeout(action, options.sslHandshakeTimeout);
  if (options.serverHostname !== undefined) {
    throw invalidType(action, 'serverHostname', 'left out on the side of the server', options.serverHostname);
  }
  if (typeof ssl !== 'object' || ssl === null) {
    throw invalidType(action, 'ssl', 'TLS options with a certificate and its key, or a SecureContext', ssl);
  }
  const { secureContext, ...given } = (isSecureContext(ssl) ? { secureContext: ssl } : ssl) as TlsOptions & {
    secureContext?: SecureContext;
  };
  const { pfx, key, cert, SNICallback, pskCallback } = given;
  if (secureContext === undefined && !(key && cert) && !pfx && !SNICallback && !pskCallback) {
    throw invalidType(action, 'ssl', 'TLS options with a certificate and its key', ssl);
  }
  // The time is kept here: Node's own limit begins anew with each byte that comes in.
  const server = createServer({ ...given, handshakeTimeout: LONGEST_TIMEOUT_MS });
  if (secureContext !== undefined && !setServerContext(server, secureContext)) {
    throw invalidType(action, 'ssl', 'TLS options: this runtime takes no SecureContext here', secureContext);
  }
  return new ServerTls(action, server, timeout);
}

/** `serverHostname` and `sslHandshakeTimeout` say something only about TLS. */
export function checkNoTls(action: string, options: HandshakeOptions): void {
  for (const name of ['serverHostname', 'sslHandshakeTimeout'] as const) {
    if (options[name] !== undefined) throw invalidType(action, name, 'used together with ssl', options[name]);
  }
}

function checkServerHostname(action: string, name: unknown): void {
  if (name === undefined) return;
  if (typeof name !== 'string') throw invalidType(action, 'serverHostname', 'a string', name);
  if (name === '' || name.includes('\0')) {
    throw outOfRange(action, 'serverHostname', 'a host name or an address', name);
  }
}

function checkTimeout(action: string, ms: unknown): number {
  if (ms === undefined) return HANDSHAKE_TIMEOUT_MS;
  if (typeof ms !== 'number') throw invalidType(action, 'sslHandshakeTimeout', 'a number of milliseconds', ms);
  if (!(ms > 0 && ms <= LONGEST_TIMEOUT_MS)) {
    const expected = `a number of milliseconds above 0, up to ${LONGEST_TIMEOUT_MS}`;
    throw outOfRange(action, 'sslHandshakeTimeout', expected, ms);
  }
  return ms;
}

/** By what it has: Node does not export the class. No option of TLS is called `context`. */
function isSecureContext(value: object): value is SecureContext {
  const { context } = value as { context?: unknown };
  return typeof context === 'object' && context !== null;
}

let defaults: SecureContext | null = null;

/** Made once: it holds the certificates of all authorities that Node trusts. */
function defaultContext(): SecureContext {
  return (defaults ??= createSecureContext());
}

// ---------------------------------------------------------------------------------------------- the handshake

/** TLS over a connection of which nothing has been read. The handshake takes it over, also its end. */
export function secure(tls: Tls, transport: DuplexTransport, signal: AbortSignal | undefined): Promise<TlsTransport> {
  const raw = transport.release(() => raw.destroy());
  const facts = (name: string): unknown => transport.getExtraInfo(name);
  return tls.handshake({ raw, facts, peer: peerName(transport), signal });
}

class ClientTls implements Tls {
  readonly #action: string;
  readonly #options: ConnectionOptions;
  readonly #timeout: number;

  constructor(action: string, options: ConnectionOptions, timeout: number) {
    this.#action = action;
    this.#options = options;
    this.#timeout = timeout;
  }

  handshake(target: HandshakeTarget): Promise<TlsTransport> {
    const context = this.#options.secureContext;
    return handshake(this.#action, this.#timeout, target, (done, failed) => {
      const socket = connect({ ...this.#options, socket: target.raw });
      socket.once('secureConnect', () => done(new TlsTransport(socket, context, target.facts)));
      socket.on('error', failed);
      socket.once('close', () => failed(null));
    });
  }
}

class ServerTls implements Tls {
  readonly #action: string;
  readonly #server: Server;
  readonly #timeout: number;

  constructor(action: string, server: Server, timeout: number) {
    this.#action = action;
    this.#server = server;
    this.#timeout = timeout;
  }

  handshake(target: HandshakeTarget): Promise<TlsTransport> {
    const context = serverContext(this.#server) ?? undefined;
    return handshake(this.#action, this.#timeout, target, (done, failed) => {
      // A TLS server takes any stream that is given to it as a 'connection', but does not tell by its events which of them
      // they are about. So each connection has a view of the server for itself: the same in all but where it reports to.
      const view = Object.create(this.#server) as Server;
      view.emit = (event: string, ...args: unknown[]): boolean => {
        if (event === 'secureConnection') {
          const socket = args[0] as TLSSocket;
          socket.disableRenegotiation();
          done(new TlsTransport(socket, context, target.facts));
        } else if (event === 'tlsClientError') {
          failed(clientError(args[0] as Error, args[1] as TLSSocket | undefined));
        } else {
          return (this.#server.emit as (event: string, ...args: unknown[]) => boolean)(event, ...args);
        }
        return true;
      };
      for (const listener of this.#server.listeners('connection')) listener.call(view, target.raw);
    });
  }
}

/** A client whose certificate is refused is hung up on, and the reason is only to be found at its socket. */
function clientError(error: Error, socket: TLSSocket | undefined): Error {
  // It is a code, whatever the types of Node say.
  const refused = socket?.authorizationError as unknown;
  if (typeof refused !== 'string') return error;
  return Object.assign(new Error(`the certificate of the client is refused: ${refused}`), { code: refused });
}

/**
 * Runs a handshake with a bound on the time. When it fails the connection is closed, and the rejection comes after that.
 *
 * @param begin - `failed` takes null when the connection was closed without an error
 */
function handshake(
  action: string,
  timeout: number,
  target: HandshakeTarget,
  begin: (done: (transport: TlsTransport) => void, failed: (error: Error | null) => void) => void,
): Promise<TlsTransport> {
  const { raw, signal, peer } = target;
  const where = `${action}: TLS handshake${peer === null ? '' : ` with ${peer}`}`;
  return new Promise((resolve, reject) => {
    let settled = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      return true;
    };
    const fail = (reason: unknown): void => {
      if (!settle()) return;
      raw.destroy();
      whenClosed(raw, () => reject(reason));
    };
    const onAbort = (): void => fail(signal?.reason);
    const timer = setTimeout(() => {
      fail(new ConnectionError('ETIMEDOUT', `${where}: not done within ${timeout} ms`));
    }, timeout);

    raw.on('error', ignore);
    // Else a peer that ends its side in the middle would be waited for. The transport makes the connection half-open again.
    raw.allowHalfOpen = false;
    if (signal?.aborted === true) {
      onAbort();
      return;
    }
    signal?.addEventListener('abort', onAbort, { once: true });
    if (raw.destroyed) {
      fail(new ConnectionError('ECONNRESET', `${where}: the connection is lost`, { cause: raw.errored ?? undefined }));
      return;
    }
    try {
      begin(
        (transport) => {
          if (settle()) resolve(transport);
          else transport.abort();
        },
        (error) => fail(handshakeError(where, error)),
      );
    } catch (error) {
      fail(error);
    }
  });
}

function handshakeError(where: string, error: Error | null): ConnectionError {
  if (error === null) return new ConnectionError('ECONNRESET', `${where}: the peer has closed the connection`);
  const { code = 'ECONNRESET', reason } = error as { code?: string; reason?: unknown };
  let words: string;
  // Node makes this one by itself when the end of the connection comes first.
  if (code === 'ECONNRESET' && (error as NodeJS.ErrnoException).errno === undefined) {
    words = 'the peer has closed the connection';
  } else {
    words = typeof reason === 'string' && code.startsWith('ERR_SSL') ? reason : connectionError(error).message;
  }
  return new ConnectionError(code, `${where}: ${words}`, { cause: error });
}

function whenClosed(stream: Duplex, then: () => void): void {
  let told = false;
  const tell = (): void => {
    if (told) return;
    told = true;
    then();
  };
  stream.once('close', tell);
  // A stream made with `emitClose: false` says nothing when it is done, nor does one that is closed already.
  setImmediate(() =>
    setImmediate(() => {
      if (stream.closed) tell();
    }),
  );
}

/** The listener for an error of a socket that nobody waits for any more. */
function ignore(): void {
  // Nothing is left to do.
}
