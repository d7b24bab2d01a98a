/** What every server takes: the options, the handler, and where errors are reported. */
import { checkCloseTimeout, checkInteger, checkLimit, checkObject, checkOptionNames, checkTimeout } from '../checks.js';
import { invalidType } from '../errors.js';
import type { LimitOptions } from '../reader/reader.js';
import type { Stream } from '../stream/stream.js';
import type { Tls } from '../tls/handshake.js';
import { checkNoTls, checkServerTls, type ServerSsl } from '../tls/options.js';
import type { CloseOptions } from '../writer/writer.js';

const DEFAULT_BACKLOG = 100;
const DEFAULT_SHUTDOWN_TIMEOUT_MS = 60_000;

/** What a handler gets besides the stream. */
export interface HandlerContext {
  /**
   * Aborted when the server is closed and the handler has not settled within `shutdownTimeout`. Pass it on to what the
   * handler waits for. A handler that rejects with the reason of this signal is not reported.
   */
  readonly signal: AbortSignal;
}

/**
 * Called for each connection.
 *
 * When the promise of an async handler settles, the stream is closed if it is still open. A plain function that returns
 * leaves its stream open: somebody else has it now, and if nobody has, it is closed and reported when it is collected. A
 * handler that throws or rejects has its stream aborted and its error reported through `onError`.
 */
export type ClientHandler = (stream: Stream, context: HandlerContext) => void | PromiseLike<void>;

/** Where errors that nobody waits for are reported; the stream is null when none is concerned. */
export type ServerErrorHandler = (error: unknown, stream: Stream | null) => void | PromiseLike<void>;

/** What every server takes. */
export interface ServingOptions extends LimitOptions, CloseOptions {
  /** The longest frame of its streams without separator, in bytes. Default 65536. asyncio: `limit` */
  limit?: number | undefined;
  /** How many connections the kernel queues before they are accepted. Default 100. asyncio: `backlog` */
  backlog?: number | undefined;
  /**
   * How many connections there may be at once, 1 or more, those that wait for `startServing` and those in their handshake
   * included. One more is closed as soon as it is accepted: its peer sees a connection that ends at once. The first one after the
   * cap was reached is reported through `onError`, with a `ConnectionError` `ECONNREFUSED`. Default `Infinity`: no cap.
   */
  maxConnections?: number | undefined;
  /**
   * Where a failing handler, a failing TLS handshake, a failing `accept` and handlers that ignore their cancellation are reported. Of
   * running out of file descriptors it receives what can be known: see docs/errors.md.
   * When it fails itself, both errors become warnings. Default: `process.emitWarning` with the type `StreamServerWarning`. What a
   * peer causes (a handler that fails because its own connection is lost, a handshake that fails, one connection too many) is
   * then one line without a stack, at most once a second; the next line, or that of the close, has the count of those left out.
   */
  onError?: ServerErrorHandler | undefined;
  /** How long `close` waits for the handlers, and again after their signal was aborted, in ms. Default 60000.
   * asyncio: `shutdown_timeout` (seconds) */
  shutdownTimeout?: number | undefined;
  /**
   * Speaks TLS: options as of `tls.createServer()` (`cert`, `key`, `ca`, `requestCert`, `ALPNProtocols`, `SNICallback`, ...), or a
   * `SecureContext`. The handler is called when the handshake is done; one that fails is reported through `onError`, with a
   * `ConnectionError`, and concerns no other connection. A client may not renegotiate: its connection ends with an error.
   * The constructor throws for options that Node or OpenSSL refuses, with their code; a callback that fails (`SNICallback`,
   * `ALPNCallback`, `pskCallback`) fails its handshake, and what it threw or told is the `cause` of what is reported.
   * asyncio: `ssl`
   */
  ssl?: ServerSsl | undefined;
  /** How long a TLS handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
  /**
   * How long closing a stream waits for the client to end its TLS, in ms, once everything is sent; then the connection is destroyed.
   * Default 1000, as without TLS. asyncio: `ssl_shutdown_timeout` (30 seconds)
   */
  sslShutdownTimeout?: number | undefined;
}

/** The options with their defaults. */
export interface CheckedServing {
  readonly limit: number;
  readonly closeTimeout: number;
  readonly backlog: number;
  readonly maxConnections: number;
  readonly onError: ServerErrorHandler | null;
  readonly shutdownTimeout: number;
  readonly tls: Tls | null;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` */
export function checkServing(name: string, handler: unknown, options: unknown): CheckedServing {
  if (typeof handler !== 'function') throw invalidType(name, 'handler', 'a function', handler);
  checkObject(name, 'options', options);
  checkOptionNames(name, options);
  const given = options as ServingOptions;
  const { backlog = DEFAULT_BACKLOG, maxConnections = Infinity, onError = null } = given;
  const { shutdownTimeout = DEFAULT_SHUTDOWN_TIMEOUT_MS, ssl } = given;
  if (onError !== null && typeof onError !== 'function') throw invalidType(name, 'onError', 'a function', onError);
  checkTimeout(name, 'shutdownTimeout', shutdownTimeout, { zero: true });
  if (ssl === undefined) checkNoTls(name, given);
  return {
    limit: checkLimit(name, given.limit),
    closeTimeout: checkCloseTimeout(name, given.closeTimeout),
    backlog: checkInteger(name, 'backlog', backlog, 1, 2 ** 31 - 1),
    maxConnections: maxConnections === Infinity ? Infinity : checkMaxConnections(name, maxConnections),
    onError,
    shutdownTimeout,
    tls: ssl === undefined ? null : checkServerTls(name, ssl, given),
  };
}

function checkMaxConnections(action: string, value: unknown): number {
  const expected = 'an integer of 1 or more, or Infinity';
  return checkInteger(action, 'maxConnections', value, 1, Number.MAX_SAFE_INTEGER, expected);
}
