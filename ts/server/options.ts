/** The arguments of every server: the handler and the options. */
import {
  checkCloseTimeout,
  checkInteger,
  checkLimit,
  checkObject,
  checkOptionNames,
  checkTimeout,
  checkWriteBuffer,
} from '../checks.js';
import { invalidType } from '../errors.js';
import type { LimitOptions } from '../reader/reader.js';
import type { Stream } from '../stream/stream.js';
import { checkConnectionTimeouts, type TimeoutOptions, type ConnectionTimeouts } from '../stream/timeouts.js';
import type { Tls } from '../tls/handshake.js';
import { checkNoTls, checkServerTls, type HandshakeOptions, type ServerSsl } from '../tls/options.js';
import type { CloseOptions, WriteBufferOptions } from '../writer/writer.js';
import { checkAdmission, type AcceptHook, type Admission } from './admission.js';

const DEFAULT_BACKLOG = 100;
const DEFAULT_SHUTDOWN_TIMEOUT_MS = 60_000;

/** The second argument of a handler. */
export interface HandlerContext {
  /**
   * Is aborted if the server is closed and the handler has not settled within `shutdownTimeout`. Pass it to every call in the
   * handler that waits. A handler that rejects with the reason of this signal is not reported.
   */
  readonly signal: AbortSignal;
  /**
   * Is aborted as soon as the server begins to close, with or without `drain`. A handler may use it to end early: to stop waiting for the
   * next request, to say goodbye, or to end work that never ends by itself, such as a subscription. If it is aborted, an EOF may be that of
   * the close and not that of the client: see `close` of the server. A handler that rejects with the reason of this signal is not reported,
   * and what it has written is sent.
   */
  readonly draining: AbortSignal;
}

/**
 * Called for each connection.
 *
 * When the promise of an async handler resolves, the stream is closed if it is still open. A plain function that returns leaves
 * its stream open, because other code may use it; a stream that no code uses is closed and reported when it is garbage collected.
 * If a handler throws or rejects, its stream is aborted and the error is reported through `onError`.
 */
export type ClientHandler = (stream: Stream, context: HandlerContext) => void | PromiseLike<void>;

/** Receives errors that no caller can receive. The stream is null if the error does not concern one. */
export type ServerErrorHandler = (error: unknown, stream: Stream | null) => void | PromiseLike<void>;

/** The options of every server. */
export interface ServingOptions extends LimitOptions, CloseOptions, WriteBufferOptions, TimeoutOptions {
  /** The longest frame of each stream without its separator, in bytes. Default 65536. asyncio: `limit` */
  limit?: number | undefined;
  /** How many connections the kernel queues before they are accepted. Default 100. asyncio: `backlog` */
  backlog?: number | undefined;
  /**
   * The maximum number of open connections, 1 or more, including those that wait for `startServing` and those in a handshake.
   * Further connections are closed as soon as they are accepted. The first one after the maximum was reached is reported through
   * `onError`, with a `ConnectionError` `ECONNREFUSED`. Default `Infinity`.
   */
  maxConnections?: number | undefined;
  /**
   * Called for each connection, before anything is read from it, with what is known about the peer. The server refuses the connection if
   * the hook returns false: it closes the connection at once, without a TLS handshake and without a call of the handler. Options that
   * refuse connections (`maxConnections`, `blockList`, `maxConnectionsPerAddress`) are applied before it. With `proxyProtocol`, it is called
   * for the client that the proxy announces, when the header has been read.
   *
   * The hook must decide without waiting, because other connections wait meanwhile; do anything that takes longer in the handler. If it
   * throws, or returns anything but a boolean (such as a promise), the connection is refused and `onError` receives the error.
   */
  accept?: AcceptHook | undefined;
  /**
   * Receives the errors of handlers, of TLS handshakes and of `accept`, and handlers that ignore their cancellation. If it fails
   * itself, both errors are emitted as warnings. docs/errors.md describes what it receives when the process runs out of file
   * descriptors, and when connections are refused.
   *
   * Default: `process.emitWarning` with the type `StreamServerWarning`. Errors that peers can cause (a handler that fails because
   * its own connection was lost, a failed handshake, too many connections) are then one line without a stack, at most once a
   * second. The next line, or the close, reports how many were left out.
   */
  onError?: ServerErrorHandler | undefined;
  /**
   * How long `close` waits for the handlers, in ms, and how long it waits again after it has aborted their signals. Default
   * 60000. asyncio: `shutdown_timeout` (seconds)
   */
  shutdownTimeout?: number | undefined;
  /**
   * Uses TLS: options of `tls.createServer()` (`cert`, `key`, `ca`, `requestCert`, `ALPNProtocols`, `SNICallback`, ...), or a
   * `SecureContext`. The constructor throws for options that Node or OpenSSL refuses, with their code.
   *
   * The handler is called once the handshake is done. A handshake that fails is reported through `onError`, with a
   * `ConnectionError`, and does not affect other connections. If a callback (`SNICallback`, `ALPNCallback`, `pskCallback`) fails,
   * its handshake fails, and the callback's error is the `cause`. Clients cannot renegotiate: a connection that tries to ends
   * with an error.
   *
   * asyncio: `ssl`
   */
  ssl?: ServerSsl | undefined;
  /**
   * The longest time that a connection may exist, in ms, from the moment when the server accepts it (or, if it is accepted before
   * `startServing`, from then on), PROXY header, TLS handshake and closing included. When it is over, the connection is aborted as with the
   * other timeouts, with the code `ERR_MAX_AGE`; before the handler was called, `onError` receives the error without a stream. For a handler
   * that should finish what it does, use a shorter time of your own, after which it reads no more. Default `Infinity`.
   */
  maxAge?: number | undefined;
  /** How long a TLS handshake may take, in ms. Default 60000. asyncio: `ssl_handshake_timeout` (seconds) */
  sslHandshakeTimeout?: number | undefined;
  /**
   * How long closing a stream waits for the client to end its side of TLS after everything has been sent, in ms; then the
   * connection is destroyed. Default 1000, as without TLS. asyncio: `ssl_shutdown_timeout` (30 seconds)
   */
  sslShutdownTimeout?: number | undefined;
  /**
   * The most bytes that may wait to be sent to a client, 1 or more. A write that would exceed it rejects with a `ConnectionError`
   * `ERR_WRITE_OVERFLOW`, and the connection is aborted: a client that does not read cannot use more memory than this. `onError`
   * receives the error once, whichever code has written, and whether or not the handler fails. Below 65536 it also lowers the
   * watermarks. A handler can change it by `setWriteBufferLimits({ max })`, which describes what counts. Default `Infinity`.
   */
  maxWriteBuffer?: number | undefined;
}

/** The checked options, with their defaults. */
export interface CheckedServing {
  readonly limit: number;
  readonly closeTimeout: number;
  readonly maxWriteBuffer: number;
  readonly timeouts: ConnectionTimeouts | null;
  readonly backlog: number;
  readonly maxConnections: number;
  readonly onError: ServerErrorHandler | null;
  readonly shutdownTimeout: number;
  readonly tls: Tls | null;
  /** The options of handshakes; for `setSecureContext`. */
  readonly handshake: HandshakeOptions;
  /** Null if no option refuses connections by their peers. */
  readonly admission: Admission | null;
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
    maxWriteBuffer: checkWriteBuffer(name, 'maxWriteBuffer', given.maxWriteBuffer),
    timeouts: checkConnectionTimeouts(name, given, { age: true }),
    backlog: checkInteger(name, 'backlog', backlog, 1, 2 ** 31 - 1),
    maxConnections: maxConnections === Infinity ? Infinity : checkMaxConnections(name, maxConnections),
    onError,
    shutdownTimeout,
    tls: ssl === undefined ? null : checkServerTls(name, ssl, given),
    handshake: { sslHandshakeTimeout: given.sslHandshakeTimeout, sslShutdownTimeout: given.sslShutdownTimeout },
    admission: checkAdmission(name, given),
  };
}

function checkMaxConnections(action: string, value: unknown): number {
  const expected = 'an integer of 1 or more, or Infinity';
  return checkInteger(action, 'maxConnections', value, 1, Number.MAX_SAFE_INTEGER, expected);
}
