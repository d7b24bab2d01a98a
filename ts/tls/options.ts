/** Checks the TLS options before anything is opened, and turns them into one side of a handshake. */
import { X509Certificate, createPrivateKey, type KeyObject as PrivateKey } from 'node:crypto';
import { isIP } from 'node:net';
import {
  DEFAULT_MAX_VERSION,
  DEFAULT_MIN_VERSION,
  createSecureContext,
  createServer,
  type ConnectionOptions,
  type KeyObject,
  type SecureContext,
  type SecureContextOptions,
  type Server,
  type TlsOptions,
} from 'node:tls';
import { LONGEST_TIMEOUT_MS, checkTimeout, isBytes, needs } from '../checks.js';
import { coded, invalidType, outOfRange } from '../errors.js';
import { LINGER_MS } from '../transports/linger.js';
import { serverContext, setServerContext } from '../transports/node-internals.js';
import { refused } from './errors.js';
import { ClientTls, ServerTls, guarded, type CallbackFailures, type Timeouts, type Tls } from './handshake.js';

/** How long a handshake may take by default, in ms, as in asyncio. */
const HANDSHAKE_TIMEOUT_MS = 60_000;

/** The options of a TLS client: `true` for Node's defaults, options of `tls.connect()`, or a context made from them. */
export type ClientSsl = true | ConnectionOptions | SecureContext;

/** The options of a TLS server: those of `tls.createServer()`, with a certificate and its key, or a context made from them. */
export type ServerSsl = TlsOptions | SecureContext;

/** The options of a handshake besides {@link ClientSsl} or {@link ServerSsl}. */
export interface HandshakeOptions {
  /**
   * The name that the server's certificate must be for. It is also sent to the server (SNI) unless it is an IP address. A
   * trailing dot is removed. Default: the host of the connection. asyncio: `server_hostname`
   */
  serverHostname?: string | undefined;
  /** How long the handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
  /**
   * How long `close` waits for the peer to end its side of TLS after everything has been sent, in ms. Default 1000. asyncio:
   * `ssl_shutdown_timeout` (30 seconds)
   */
  sslShutdownTimeout?: number | undefined;
}

/** Options of `tls.connect()` that say where to connect and how to read. sluice decides these itself, so they are ignored. */
const WHERE = new Set(['socket', 'host', 'port', 'path', 'lookup', 'timeout', 'onread', 'signal', 'servername']);

/**
 * Checks the options of a client.
 *
 * @param action - the name of the call, for messages about its arguments
 * @param host - the host of the connection, if it is known: the default of `serverHostname`
 * @param connecting - the start of messages about the handshake
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`; for options that Node or OpenSSL refuses, an error
 * with their code
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
    const message = `${action}: serverHostname is required when ssl is used without a host`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
  }
  const checked: ConnectionOptions = Object.fromEntries(Object.entries(given).filter(([key]) => !WHERE.has(key)));
  checkFunctions(action, checked, ['checkServerIdentity', 'pskCallback']);
  checkPeerOptions(action, checked);
  checked.secureContext = ssl === true ? defaultContext() : contextOf(action, checked);
  checkPair(action, checked);
  if (name !== undefined) {
    checked.host = name;
    if (isIP(name) === 0) checked.servername = name;
  }
  return new ClientTls(action, connecting, checked, timeouts);
}

/**
 * Checks the options of a server.
 *
 * @param action - the name of the call, for messages about its arguments
 * @param accepting - the start of messages about the handshake
 * @throws the errors of {@link checkClientTls}
 */
export function checkServerTls(action: string, ssl: unknown, options: HandshakeOptions, accepting = action): Tls {
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
  // Disable Node's own time limit, which restarts with each byte that arrives. `handshake.ts` limits the time.
  const made = (): Server =>
    createServer({ ...given, ...guarded(given, failures), handshakeTimeout: LONGEST_TIMEOUT_MS });
  let server: Server;
  try {
    server = made();
  } catch (error) {
    throw refused(action, given, error);
  }
  checkPair(action, given);
  checkAuthorities(action, given);
  if (secureContext !== undefined && !setServerContext(server, secureContext)) {
    throw invalidType(action, 'ssl', 'TLS options (this runtime does not accept a SecureContext here)', secureContext);
  }
  const context = serverContext(server);
  const another = (): Server => {
    const other = made();
    if (context !== null) setServerContext(other, context);
    return other;
  };
  return new ServerTls(accepting, server, another, timeouts, failures);
}

/**
 * OpenSSL compares a key only with a certificate of the same type, because a server may have one pair of each. If a server has a
 * certificate of one type and a key of another, every handshake fails.
 */
function checkPair(action: string, { cert, key, passphrase }: SecureContextOptions): void {
  if (!cert || !key) return;
  let matches: boolean;
  try {
    const keys = [key].flat().map((one) => privateKey(one, passphrase));
    matches = [cert].flat().some((one) => {
      const certificate = new X509Certificate(one);
      return keys.some((candidate) => certificate.checkPrivateKey(candidate));
    });
  } catch {
    // Node and OpenSSL have accepted it in a form that cannot be compared here.
    return;
  }
  if (matches) return;
  const message = `${action}: ssl: cert and key do not match: they are of different types`;
  throw coded(new Error(message), 'ERR_OSSL_X509_KEY_VALUES_MISMATCH');
}

function privateKey(key: string | Buffer | KeyObject, passphrase: string | undefined): PrivateKey {
  if (typeof key === 'string' || Buffer.isBuffer(key))
    return createPrivateKey({ key, ...(passphrase && { passphrase }) });
  const own = key.passphrase ?? passphrase;
  return createPrivateKey({ key: key.pem, ...(own && { passphrase: own }) });
}

/** Only a client checks the name of its peer. */
export function checkNoServerHostname(action: string, { serverHostname }: HandshakeOptions): void {
  if (serverHostname === undefined) return;
  const message = `${action}: serverHostname cannot be used on the server side`;
  throw coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
}

/** Refuses options that have no meaning without `ssl`. */
export function checkNoTls(action: string, options: HandshakeOptions): void {
  for (const name of ['serverHostname', 'sslHandshakeTimeout', 'sslShutdownTimeout'] as const) {
    if (options[name] !== undefined) throw needs(action, name, 'ssl');
  }
}

/**
 * The name in the form in which certificates contain it and the server receives it: without the trailing dot of an absolute
 * domain name, which RFC 6066, section 3, forbids.
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

/** A copy without the options whose value is undefined, because Node considers those invalid. */
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

/** Checks the options that Node only checks once there is a connection. */
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
      throw outOfRange(action, 'ssl: each of ALPNProtocols', 'a name of 1 to 255 bytes', name);
    }
  }
}

/** From the oldest to the newest. */
const VERSIONS = ['TLSv1', 'TLSv1.1', 'TLSv1.2', 'TLSv1.3'];

/** Refuses versions and ciphers that exclude each other. OpenSSL accepts them, and then fails on the first connection. */
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
    throw outOfRange(action, 'ssl: ciphers', `ciphers of ${max} (the maxVersion) or older`, ciphers);
  }
}

/** The `secureContext` of the options, or a new context made from them. */
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

/** Refuses authorities without a certificate. Node ignores them, so that no certificate of a peer could be verified. */
function checkAuthorities(action: string, { ca }: ConnectionOptions | TlsOptions): void {
  if (!ca) return;
  for (const given of [ca].flat()) {
    const bytes = typeof given === 'string' ? Buffer.from(given) : asBuffer(given);
    try {
      new X509Certificate(bytes);
    } catch (error) {
      throw refused(action, {}, error, 'ca');
    }
    // The class also accepts DER, but the option `ca` does not.
    if (!bytes.includes('-----BEGIN ')) throw invalidType(action, 'ssl: ca', 'certificates in PEM', given);
  }
}

function asBuffer({ buffer, byteOffset, byteLength }: NodeJS.ArrayBufferView): Buffer {
  return Buffer.from(buffer, byteOffset, byteLength);
}

function checkTimeouts(action: string, options: HandshakeOptions): Timeouts {
  const { sslHandshakeTimeout = HANDSHAKE_TIMEOUT_MS, sslShutdownTimeout = LINGER_MS } = options;
  return {
    handshake: checkTimeout(action, 'sslHandshakeTimeout', sslHandshakeTimeout, { zero: false }),
    shutdown: checkTimeout(action, 'sslShutdownTimeout', sslShutdownTimeout, { zero: false }),
  };
}

/** Checks for a property, because Node does not export the class. No TLS option is called `context`. */
function isSecureContext(value: object): value is SecureContext {
  const { context } = value as { context?: unknown };
  return typeof context === 'object' && context !== null;
}

let defaults: SecureContext | null = null;

/** Created once, because it holds the certificates of all authorities that Node trusts. */
function defaultContext(): SecureContext {
  return (defaults ??= createSecureContext());
}
