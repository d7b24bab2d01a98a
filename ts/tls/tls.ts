/**
 * TLS over a connection that exists: checking what was asked for, the handshake on either side, and the transport that
 * comes out of it.
 *
 *     check       options to a ClientTls or a ServerTls; throws on nonsense, before anything is opened
 *     handshake   takes a socket or Duplex of which no transport reads any more; a TlsTransport, or an error and the socket
 *                 closed
 *
 * Options that Node or OpenSSL refuses are one error of the call that was given them, which names the option where that can be
 * told; the code is theirs, and what they threw is the cause.
 *
 * A handshake that fails rejects with one `ConnectionError`: the message says what was done with whom, the code is the
 * reason's (`CERT_HAS_EXPIRED`, `ERR_TLS_CERT_ALTNAME_INVALID`, `ERR_SSL_...`, `ETIMEDOUT`, `ECONNRESET`), which is the cause. So
 * it is where a callback among the options is to blame: what it threw, or told, is the cause then.
 *
 * TLS that fails after the handshake (a record that is none of the peer's, an alert, a client certificate that a server of
 * TLS 1.3 refuses when the client is done already) is a `ConnectionError` of the same kind, for reads and for writes.
 *
 * The end. Node reports the end of the TCP connection as the end of file whether a `close_notify` came before it or not: an
 * attacker who can cut the connection can cut the stream, so that a protocol has to tell by itself that it is complete.
 */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  DEFAULT_MAX_VERSION,
  DEFAULT_MIN_VERSION,
  TLSSocket,
  checkServerIdentity as checkIdentity,
  connect,
  createSecureContext,
  createServer,
  type ConnectionOptions,
  type SecureContext,
  type Server,
  type TlsOptions,
} from 'node:tls';
import { inspect } from 'node:util';
import { onAbort } from '../abort.js';
import { LONGEST_TIMEOUT_MS, checkTimeout, isBytes } from '../checks.js';
import { ConnectionError, coded, ignore, invalidType, outOfRange, showUnixPath } from '../errors.js';
import { connectionError } from '../system-errors.js';
import type { DuplexTransport } from '../transports/duplex.js';
import { LINGER_MS, afterPoll } from '../transports/linger.js';
import { serverContext, setServerContext } from '../transports/node-internals.js';
import { SocketTransport } from '../transports/socket.js';
import { peerName } from '../transports/transport.js';

/** How long a handshake may take, in ms. asyncio: the same */
const HANDSHAKE_TIMEOUT_MS = 60_000;

/** How to be a TLS client: `true` for the defaults of Node, its options, or a context made of them. */
export type ClientSsl = true | ConnectionOptions | SecureContext;

/** How to be a TLS server: the options of Node, with a certificate and its key, or a context made of them. */
export type ServerSsl = TlsOptions | SecureContext;

/** What a TLS client takes besides {@link ClientSsl}. */
export interface HandshakeOptions {
  /**
   * The name in the server's certificate, which is also sent to the server (SNI) unless it is an IP address. A dot at its end is
   * left out. Default: the host that was connected to. asyncio: `server_hostname`
   */
  serverHostname?: string | undefined;
  /** How long the handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
  /**
   * How long `close` waits for the peer to end its side, in ms, once everything is sent. Default 1000. asyncio:
   * `ssl_shutdown_timeout` (30 seconds)
   */
  sslShutdownTimeout?: number | undefined;
}

/** How long the two ends of TLS may take, in ms. */
interface Timeouts {
  readonly handshake: number;
  readonly shutdown: number;
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
  readonly #peer: string | null;
  readonly #shutdownTimeout: number;

  constructor(
    socket: TLSSocket,
    context: SecureContext | undefined,
    { facts, peer }: HandshakeTarget,
    shutdownTimeout: number,
  ) {
    super(socket);
    this.#shutdownTimeout = shutdownTimeout;
    this.#tls = socket;
    this.#context = context;
    this.#facts = facts;
    this.#peer = peer;
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

  /** The end of TLS is told by both sides: that of the peer says that it has read what came before. */
  protected override get endTimeout(): number {
    return this.#shutdownTimeout;
  }

  protected override get peer(): string | undefined {
    return this.#peer ?? undefined;
  }

  protected override lossError(reason: Error): Error {
    const failure = tlsFailure(reason);
    if (failure === null || reason instanceof ConnectionError) return super.lossError(reason);
    const { syscall = 'read' } = reason as NodeJS.ErrnoException;
    const where = [syscall, showUnixPath(this.#peer ?? '')].filter(Boolean).join(' ');
    return new ConnectionError(failure.code, `${where}: ${failure.words}`, { cause: reason });
  }
}

// ---------------------------------------------------------------------------------------------- what is asked for

/** Options of `tls.connect()` that say where to connect to, and how to read: that is not for TLS to say here. */
const WHERE = new Set(['socket', 'host', 'port', 'path', 'lookup', 'timeout', 'onread', 'signal', 'servername']);

/**
 * How to be a client.
 *
 * @param action - the call, as messages about what it was given begin
 * @param host - the host that was connected to, where it is known: the default of `serverHostname`
 * @param connecting - as messages about the handshake begin
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`; an error with the code of the cause for options that
 * Node or OpenSSL refuses
 */
export function checkClientTls(
  action: string,
  ssl: unknown,
  options: HandshakeOptions,
  host?: string,
  connecting = action,
): Tls {
  const { serverHostname } = options;
  const timeouts = checkTimeouts(action, options);
  if (ssl !== true && (typeof ssl !== 'object' || ssl === null)) {
    throw invalidType(action, 'ssl', 'true, TLS options or a SecureContext', ssl);
  }
  const given: ConnectionOptions =
    ssl === true ? {} : isSecureContext(ssl) ? { secureContext: ssl } : copied(action, ssl);
  const wanted = certificateName(action, 'serverHostname', serverHostname);
  const servername = certificateName(action, 'ssl: servername', given.servername);
  const name = wanted ?? servername ?? certificateName(action, 'host', host);
  if (name === undefined && given.rejectUnauthorized !== false && given.checkServerIdentity === undefined) {
    throw invalidType(action, 'serverHostname', 'given where ssl is used without a host', serverHostname);
  }
  const checked: ConnectionOptions = Object.fromEntries(Object.entries(given).filter(([key]) => !WHERE.has(key)));
  checkFunctions(action, checked, ['checkServerIdentity', 'pskCallback']);
  checkPeerOptions(action, checked);
  checked.secureContext = ssl === true ? defaultContext() : contextOf(action, checked);
  if (name !== undefined) {
    checked.host = name;
    if (isIP(name) === 0) checked.servername = name;
  }
  return new ClientTls(action, connecting, checked, timeouts);
}

/**
 * How to be a server.
 *
 * @throws as {@link checkClientTls}
 */
export function checkServerTls(action: string, ssl: unknown, options: HandshakeOptions): Tls {
  const timeouts = checkTimeouts(action, options);
  checkNoServerHostname(action, options);
  if (typeof ssl !== 'object' || ssl === null) {
    throw invalidType(action, 'ssl', 'TLS options with a certificate and its key, or a SecureContext', ssl);
  }
  const { secureContext, ...given } = (
    isSecureContext(ssl) ? { secureContext: ssl } : copied(action, ssl)
  ) as TlsOptions & { secureContext?: SecureContext };
  checkContext(action, secureContext);
  const { pfx, key, cert, SNICallback, pskCallback } = given;
  if (secureContext === undefined && !(key && cert) && !pfx && !SNICallback && !pskCallback) {
    throw invalidType(action, 'ssl', 'TLS options with a certificate and its key', ssl);
  }
  checkFunctions(action, given, ['SNICallback', 'ALPNCallback', 'pskCallback']);
  checkPeerOptions(action, given);
  checkSuites(action, given);
  const failures: CallbackFailures = new WeakMap();
  // The time is kept here: Node's own limit begins anew with each byte that comes in.
  const made = (): Server =>
    createServer({ ...given, ...guarded(given, failures), handshakeTimeout: LONGEST_TIMEOUT_MS });
  let server: Server;
  try {
    server = made();
  } catch (error) {
    throw refused(action, given, error);
  }
  checkAuthorities(action, given);
  if (secureContext !== undefined && !setServerContext(server, secureContext)) {
    throw invalidType(action, 'ssl', 'TLS options: this runtime takes no SecureContext here', secureContext);
  }
  const context = serverContext(server);
  const another = (): Server => {
    const other = made();
    if (context !== null) setServerContext(other, context);
    return other;
  };
  return new ServerTls(action, server, another, timeouts, failures);
}

/** Only a client expects a name. */
export function checkNoServerHostname(action: string, { serverHostname }: HandshakeOptions): void {
  if (serverHostname === undefined) return;
  throw invalidType(action, 'serverHostname', 'left out on the side of the server', serverHostname);
}

/** They say something only about TLS. */
export function checkNoTls(action: string, options: HandshakeOptions): void {
  for (const name of ['serverHostname', 'sslHandshakeTimeout', 'sslShutdownTimeout'] as const) {
    if (options[name] !== undefined) throw invalidType(action, name, 'used together with ssl', options[name]);
  }
}

/**
 * A name as a certificate has it, and as it is sent to the server: without the dot that ends an absolute domain name, which RFC 6066,
 * section 3, forbids there.
 */
function certificateName(action: string, option: string, given: unknown): string | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== 'string') throw invalidType(action, option, 'a string', given);
  const name = given.endsWith('.') ? given.slice(0, -1) : given;
  if (name === '' || name.endsWith('.') || name.includes('\0')) {
    throw outOfRange(action, option, 'a host name or an address', given);
  }
  return name;
}

/** The options that were given: Node takes a key with the value undefined for one that was given wrongly. */
function copied(action: string, ssl: object): object {
  try {
    return Object.fromEntries(Object.entries(ssl).filter(([, value]) => value !== undefined));
  } catch (error) {
    throw refused(action, {}, error);
  }
}

function checkContext(action: string, context: unknown): void {
  if (context === undefined) return;
  if (typeof context !== 'object' || context === null || !isSecureContext(context)) {
    throw invalidType(action, 'ssl: secureContext', 'a SecureContext', context);
  }
}

function checkFunctions(action: string, options: object, names: readonly string[]): void {
  for (const name of names) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined && value !== null && typeof value !== 'function') {
      throw invalidType(action, `ssl: ${name}`, 'a function', value);
    }
  }
}

/** What Node looks at only when there is a connection. */
function checkPeerOptions(action: string, options: ConnectionOptions | TlsOptions): void {
  const { ALPNProtocols: protocols, minDHSize, session } = options as Record<string, unknown>;
  if (minDHSize !== undefined) {
    if (typeof minDHSize !== 'number') throw invalidType(action, 'ssl: minDHSize', 'a number of bits', minDHSize);
    if (!(minDHSize > 0)) throw outOfRange(action, 'ssl: minDHSize', 'a number of bits above 0', minDHSize);
  }
  if (session !== undefined && session !== null && !isBytes(session)) {
    throw invalidType(action, 'ssl: session', 'a Buffer', session);
  }
  if (protocols === undefined || protocols === null || ArrayBuffer.isView(protocols)) return;
  if (!Array.isArray(protocols)) throw invalidType(action, 'ssl: ALPNProtocols', 'a list of names', protocols);
  for (const name of protocols as unknown[]) {
    if (typeof name !== 'string' && !isBytes(name)) {
      throw invalidType(action, 'ssl: each of ALPNProtocols', 'a string or a Buffer', name);
    }
    const { length } = Buffer.from(name as string);
    if (length < 1 || length > 255) {
      throw outOfRange(action, 'ssl: each of ALPNProtocols', 'of 1 to 255 bytes', name);
    }
  }
}

/** From the oldest on. */
const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

/** Versions and ciphers that leave nothing to agree on: OpenSSL takes them, and fails with the first connection. */
function checkSuites(action: string, options: ConnectionOptions | TlsOptions): void {
  const { minVersion, maxVersion, secureProtocol, ciphers } = options;
  if (secureProtocol !== undefined) return;
  const [min, max] = [minVersion ?? DEFAULT_MIN_VERSION, maxVersion ?? DEFAULT_MAX_VERSION];
  const [least, most] = [VERSIONS.indexOf(min), VERSIONS.indexOf(max)];
  if (least < 0 || most < 0) return;
  if (least > most) {
    if (minVersion !== undefined) throw outOfRange(action, 'ssl: minVersion', `at most maxVersion, ${max}`, min);
    throw outOfRange(action, 'ssl: maxVersion', `at least the minimum, ${min}`, max);
  }
  if (typeof ciphers !== 'string' || max === 'TLSv1.3') return;
  const named = ciphers.split(':').filter((name) => name !== '');
  if (named.length > 0 && named.every((name) => /^!?TLS_/.test(name))) {
    throw outOfRange(action, 'ssl: ciphers', `some of up to ${max}, the maxVersion,`, ciphers);
  }
}

/** The context that the options hold, or ask for. */
function contextOf(action: string, options: ConnectionOptions): SecureContext {
  const { secureContext } = options;
  checkContext(action, secureContext);
  if (secureContext !== undefined) return secureContext;
  checkSuites(action, options);
  let context: SecureContext;
  try {
    context = createSecureContext(options);
  } catch (error) {
    throw refused(action, options, error);
  }
  checkAuthorities(action, options);
  return context;
}

/** Node passes over authorities in which it finds no certificate, and then each peer is one that nobody vouches for. */
function checkAuthorities(action: string, { ca }: ConnectionOptions | TlsOptions): void {
  if (!ca) return;
  for (const given of [ca].flat()) {
    const bytes = typeof given === 'string' ? Buffer.from(given) : asBuffer(given);
    try {
      new X509Certificate(bytes);
    } catch (error) {
      throw refused(action, {}, error, 'ca');
    }
    // The class takes DER as well.
    if (!bytes.includes('-----BEGIN ')) throw invalidType(action, 'ssl: ca', 'certificates in PEM', given);
  }
}

function asBuffer({ buffer, byteOffset, byteLength }: NodeJS.ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

/** What is handed to OpenSSL, which says what it dislikes, but not where it has found that. */
const PARTS = [
  'secureProtocol',
  'minVersion',
  'maxVersion',
  'ciphers',
  'ca',
  'cert',
  'key',
  'pfx',
  'sigalgs',
  'ecdhCurve',
  'dhparam',
  'crl',
] as const;

/** Options that are refused: `connect: ssl: cert: PEM routines: no start line`. */
function refused(action: string, options: object, error: unknown, option: string | null = null): Error {
  const { code } = (error ?? {}) as { code?: unknown };
  const raw = error instanceof Error ? error.message : inspect(error);
  const found = OPENSSL_ERROR.exec(raw);
  // Where OpenSSL has left no reason, this is what Node makes of it.
  const reason = found === null ? raw : found[2] === 'reason(0)' ? 'refused by OpenSSL' : `${found[1]}: ${found[2]}`;
  const named = /\boptions\.(\w+)/.test(raw);
  const part = named ? null : (option ?? blamed(options, code, raw));
  const words = named ? reason.replace(/\boptions\./, '') : reason;
  const message = `${action}: ssl: ${part === null ? '' : `${part}: `}${words}`;
  const Class = error instanceof TypeError ? TypeError : error instanceof RangeError ? RangeError : Error;
  return coded(new Class(message, { cause: error }), typeof code === 'string' ? code : 'ERR_INVALID_ARG_VALUE');
}

/** The option that is refused also by itself, or the two that do not go together; null where that cannot be told. */
function blamed(options: object, code: unknown, raw: string): string | null {
  if (code === 'ERR_OSSL_X509_KEY_VALUES_MISMATCH') return 'cert and key do not belong together';
  const given = options as Record<string, unknown>;
  for (const name of PARTS) {
    if (given[name] === undefined || given[name] === null) continue;
    const alone: Record<string, unknown> = { [name]: given[name] };
    const secret = name === 'key' || name === 'pfx';
    if (secret && given.passphrase !== undefined) alone.passphrase = given.passphrase;
    try {
      createSecureContext(alone);
    } catch {
      // What a wrong passphrase, or none, makes of a key may, once in some hundred times, look like one that is damaged.
      const told = /decrypt|mac verify|passphrase|interrupted/i.test(raw);
      const locked = told || given.passphrase !== undefined || isEncrypted(given[name]);
      return secret && locked ? `${name} or its passphrase` : name;
    }
  }
  return null;
}

function checkTimeouts(action: string, options: HandshakeOptions): Timeouts {
  const { sslHandshakeTimeout = HANDSHAKE_TIMEOUT_MS, sslShutdownTimeout = LINGER_MS } = options;
  return {
    handshake: checkTimeout(action, 'sslHandshakeTimeout', sslHandshakeTimeout, { zero: false }),
    shutdown: checkTimeout(action, 'sslShutdownTimeout', sslShutdownTimeout, { zero: false }),
  };
}

/** Whether a key, or one of several, says in its PEM that it takes a passphrase. */
function isEncrypted(key: unknown): boolean {
  if (Array.isArray(key)) return key.some(isEncrypted);
  return (typeof key === 'string' || isBytes(key)) && Buffer.from(key as string).includes('ENCRYPTED');
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
  readonly #connecting: string;
  readonly #options: ConnectionOptions;
  readonly #timeouts: Timeouts;

  constructor(action: string, connecting: string, options: ConnectionOptions, timeouts: Timeouts) {
    this.#action = action;
    this.#connecting = connecting;
    this.#options = options;
    this.#timeouts = timeouts;
  }

  handshake(target: HandshakeTarget): Promise<TlsTransport> {
    const { secureContext, checkServerIdentity, host, pskCallback, rejectUnauthorized } = this.#options;
    return handshake(this.#connecting, this.#timeouts.handshake, target, (done, failed) => {
      let failure: CallbackFailure | null = null;
      const options: ConnectionOptions = { ...this.#options, socket: target.raw };
      if (checkServerIdentity) {
        options.checkServerIdentity = (hostname, certificate) => {
          try {
            const verdict: unknown = checkServerIdentity(hostname, certificate);
            if (!verdict) return undefined;
            const refusal = new CallbackFailure('checkServerIdentity refuses the server', verdict);
            // Else it is the caller who looks at the verdict.
            if (rejectUnauthorized !== false) failure = refusal;
            return verdict instanceof Error ? verdict : refusal;
          } catch (error) {
            return (failure = new CallbackFailure('checkServerIdentity has thrown', error));
          }
        };
      }
      if (!checkServerIdentity && isIP(host ?? '') === 6) {
        // Node 22 (22.23) takes no IPv6 address for one there, and refuses each; another check of Node's knows them.
        options.checkServerIdentity = (hostname, certificate) =>
          new X509Certificate(certificate.raw).checkIP(hostname) === undefined
            ? checkIdentity(hostname, certificate)
            : undefined;
      }
      if (pskCallback) {
        options.pskCallback = (hint) => {
          try {
            return pskCallback(hint);
          } catch (error) {
            failure = new CallbackFailure('pskCallback has thrown', error);
            return null;
          }
        };
      }
      // Where the bytes pass without a turn of the event loop, as in memory, the whole handshake would be over before Node
      // listens for its end.
      target.raw.cork();
      let socket: TLSSocket;
      try {
        socket = connect(options);
      } catch (error) {
        throw refused(this.#action, {}, error);
      }
      socket.once('secureConnect', () => {
        if (failure !== null) failed(failure);
        else done(new TlsTransport(socket, secureContext, target, this.#timeouts.shutdown));
      });
      socket.on('error', (error: Error) => failed(failure ?? error));
      socket.once('close', () => failed(failure));
      target.raw.uncork();
    });
  }
}

class ServerTls implements Tls {
  readonly #action: string;
  readonly #server: Server;
  readonly #another: () => Server;
  readonly #timeouts: Timeouts;
  readonly #failures: CallbackFailures;

  constructor(action: string, server: Server, another: () => Server, timeouts: Timeouts, failures: CallbackFailures) {
    this.#action = action;
    this.#server = server;
    this.#another = another;
    this.#timeouts = timeouts;
    this.#failures = failures;
  }

  handshake(target: HandshakeTarget): Promise<TlsTransport> {
    const context = serverContext(this.#server) ?? undefined;
    return handshake(this.#action, this.#timeouts.handshake, target, (done, failed) => {
      // A TLS server takes any stream that is given to it as a 'connection', but does not tell by its events which of them
      // they are about. So each connection has a view of the server for itself: the same in all but where it reports to. Where
      // the server listens by functions that do not ask who they are called for (Bun), it has a server for itself.
      const common = this.#server.listeners('connection').every((listener) => Object.hasOwn(listener, 'prototype'));
      const view = common ? (Object.create(this.#server) as Server) : this.#another();
      view.emit = (event: string, ...args: unknown[]): boolean => {
        if (event === 'secureConnection') {
          const socket = args[0] as TLSSocket;
          socket.disableRenegotiation();
          done(new TlsTransport(socket, context, target, this.#timeouts.shutdown));
        } else if (event === 'tlsClientError') {
          const socket = args[1] as TLSSocket | undefined;
          const failure = socket === undefined ? undefined : this.#failures.get(socket);
          failed(failure ?? clientError(args[0] as Error, socket));
        } else {
          return (this.#server.emit as (event: string, ...args: unknown[]) => boolean)(event, ...args);
        }
        return true;
      };
      for (const listener of view.listeners('connection')) listener.call(view, target.raw);
    });
  }
}

/** A callback of the user's is to blame for a handshake that fails. What it threw, or told, is the cause. */
class CallbackFailure extends Error {
  constructor(what: string, reason: unknown) {
    super(`${what}: ${reason instanceof Error ? reason.message : inspect(reason)}`, { cause: reason });
  }
}

/** By the socket whose handshake it is. */
type CallbackFailures = WeakMap<object, CallbackFailure>;

/**
 * The callbacks of a server, none of which throws. One that fails refuses the handshake in the way that Node documents, and is
 * remembered: what Node reports of it depends on the callback and on the version, and may be an uncaught exception.
 */
function guarded(given: TlsOptions, failures: CallbackFailures): TlsOptions {
  const { SNICallback, ALPNCallback, pskCallback } = given;
  const guards: TlsOptions = {};
  const remember = (socket: unknown, failure: CallbackFailure): boolean => {
    if (!(socket instanceof TLSSocket)) return false;
    if (!failures.has(socket)) failures.set(socket, failure);
    return true;
  };
  if (SNICallback) {
    const call: (this: unknown, ...args: Parameters<NonNullable<TlsOptions['SNICallback']>>) => unknown = SNICallback;
    guards.SNICallback = function (this: unknown, servername, done) {
      const fail = (what: string, reason: unknown): void => {
        const failure = new CallbackFailure(what, reason);
        remember(this, failure);
        done(failure);
      };
      try {
        const returned = call.call(this, servername, (error: unknown, context) => {
          if (error) fail('SNICallback has failed', error);
          else done(null, context);
        });
        // An async function is one that fails by a rejection, which nothing else would look at.
        Promise.resolve(returned).catch((reason: unknown) => fail('SNICallback has failed', reason));
      } catch (error) {
        fail('SNICallback has thrown', error);
      }
    };
  }
  if (ALPNCallback) {
    guards.ALPNCallback = function (this: unknown, offer) {
      try {
        return ALPNCallback.call(this, offer);
      } catch (error) {
        const failure = new CallbackFailure('ALPNCallback has thrown', error);
        if (remember(this, failure)) return undefined;
        throw failure;
      }
    };
  }
  if (pskCallback) {
    guards.pskCallback = (socket, identity) => {
      try {
        return pskCallback(socket, identity);
      } catch (error) {
        remember(socket, new CallbackFailure('pskCallback has thrown', error));
        return null;
      }
    };
  }
  return guards;
}

/** A client whose certificate is refused is hung up on, and the reason is only to be found at its socket. */
function clientError(error: Error, socket: TLSSocket | undefined): Error {
  // It is a code, whatever the types of Node say.
  const refused = socket?.authorizationError as unknown;
  if (typeof refused !== 'string') return error;
  return coded(new Error(`the certificate of the client is refused: ${refused}`), refused);
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
  const name = showUnixPath(peer ?? '');
  const where = `${action}: TLS handshake${name === '' || action.endsWith(` ${name}`) ? '' : ` with ${name}`}`;
  return new Promise((resolve, reject) => {
    let settled = false;
    const settle = (): boolean => {
      if (settled) return false;
      settled = true;
      clearTimeout(timer);
      forget();
      return true;
    };
    const fail = (reason: unknown): void => {
      if (!settle()) return;
      raw.destroy();
      whenClosed(raw, () => reject(reason));
    };
    const abort = (): void => fail(signal?.reason);
    const forget = onAbort(signal, abort);
    const timer = setTimeout(() => {
      fail(new ConnectionError('ETIMEDOUT', `${where}: not done within ${timeout} ms`));
    }, timeout);

    raw.on('error', ignore);
    // Else a peer that ends its side in the middle would be waited for.
    raw.allowHalfOpen = false;
    if (signal?.aborted === true) {
      abort();
      return;
    }
    if (raw.destroyed) {
      fail(new ConnectionError('ECONNRESET', `${where}: the connection is lost`, { cause: raw.errored ?? undefined }));
      return;
    }
    try {
      begin(
        (transport) => {
          // From now on the end of the connection is the end of what is encrypted, which ends its own side in its time.
          raw.allowHalfOpen = true;
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
  const { code, errno } = error as NodeJS.ErrnoException;
  if (error instanceof CallbackFailure) {
    const { cause } = error;
    const { code: own } = (cause ?? {}) as { code?: unknown };
    const told = typeof own === 'string' && own !== '' ? own : 'ECONNABORTED';
    return new ConnectionError(told, `${where}: ${error.message}`, { cause });
  }
  // Node makes this one by itself when the end of the connection comes first.
  const ended = code === 'ECONNRESET' && errno === undefined;
  const failure = tlsFailure(error);
  const words = ended
    ? 'the peer has closed the connection'
    : (failure?.words.replace(/^TLS: /, '') ?? connectionError(error).message);
  return new ConnectionError(failure?.code ?? code ?? 'ECONNRESET', `${where}: ${words}`, { cause: error });
}

/** `[...:]error:0A000119:SSL routines:[function]:decryption failed or bad record mac[:file:line:...]` */
const OPENSSL_ERROR = /(?:^|[\s:])error:[\dA-F]+:([^:]*):[^:]*:([^:\n]+)/i;

/** What an error of TLS says, without what OpenSSL says of its own insides; null for any other error. */
function tlsFailure(error: Error): { code: string; words: string } | null {
  const { code, reason } = error as { code?: unknown; reason?: unknown };
  const found = OPENSSL_ERROR.exec(error.message);
  const known = typeof code === 'string' && /^ERR_(?:O?SSL|TLS)_/.test(code);
  const told = typeof reason === 'string' && (known || found !== null) ? reason : found?.[2];
  if (told === undefined) return known ? { code, words: error.message } : null;
  // Where a write meets it Node calls it EPROTO, and names no reason.
  const named = known ? code : `ERR_SSL_${told.toUpperCase().replace(/\W+/g, '_')}`;
  return { code: named, words: `TLS: ${told}` };
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
  afterPoll(() => {
    if (stream.closed) tell();
  });
}
