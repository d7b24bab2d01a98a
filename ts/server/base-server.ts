/**
 * The life of a server, whatever it listens on: its listeners, and the connections that they have accepted.
 *
 *     new ---bind---> bound ---startServing---> serving ---close, abort---> closed
 *      \________________\______________________________________________/
 *
 * A connection is `waiting` until the server is serving, then a {@link Client}: it goes when its handler has settled *and*
 * its stream is closed. Closing the server waits for the last client to go, with a bound on the time.
 */
import type { Server as Listener, Socket } from 'node:net';
import { inspect, type InspectOptions } from 'node:util';
import { checkedSignal, onAbort, type WaitOptions } from '../abort.js';
import { checkCloseTimeout, checkInteger, checkLimit, checkObject, checkOptionNames, checkTimeout } from '../checks.js';
import { ConnectionError, IncompleteReadError, StateError, ignore, invalidType } from '../errors.js';
import type { LimitOptions } from '../reader.js';
import type { StreamLink } from '../stream/stream-link.js';
import { Stream, peerName, type StreamOwner } from '../stream/stream.js';
import { secure, type Tls } from '../tls/handshake.js';
import { checkNoTls, checkServerTls, type ServerSsl } from '../tls/options.js';
import { lastDescriptor } from '../transports/descriptors.js';
import { SocketTransport } from '../transports/socket.js';
import { hostAndPort, type Transport } from '../transports/transport.js';
import type { CloseOptions } from '../writer/writer.js';
import type { Accepting, Listen, Listening } from './listen.js';
import { PeerWarnings, warn, warnInOneLine } from './warnings.js';

const DEFAULT_BACKLOG = 100;
const DEFAULT_SHUTDOWN_TIMEOUT_MS = 60_000;

/** A failing `accept` fails again at once and goes on failing: it is told this often at most, in ms. */
const ACCEPT_REPORT_INTERVAL_MS = 1000;

/**
 * What a handler resolves with to have its stream left open, as if it were a plain function that returned.
 *
 * @internal
 */
export const LEAVE_OPEN = Symbol('leave open');

// eslint-disable-next-line @typescript-eslint/unbound-method -- it is called for a promise below
const { then: promiseThen } = Promise.prototype;

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

/** What a server is made of. */
export interface Serving {
  readonly handler: ClientHandler;
  /** Takes the addresses. */
  readonly listen: Listen;
  readonly options: CheckedServing;
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
}

/** What servers of all kinds have in common. It is not made by itself: see `StreamServer` and `UnixStreamServer`. */
export abstract class BaseStreamServer {
  /** The class, as messages name it. */
  readonly #name: string;
  readonly #warnings: PeerWarnings;
  readonly #handler: ClientHandler;
  readonly #listen: Listen;
  readonly #options: CheckedServing;
  readonly #noDelay: boolean;
  readonly #keepAlive: boolean;

  #listening: Listening[] = [];
  #binding: Promise<void> | null = null;
  #serving = false;
  #forever = false;
  #closing: Promise<void> | null = null;
  /** Aborted when the server begins to close. */
  readonly #stop = new AbortController();
  readonly #ended: Promise<void>;
  #end!: () => void;

  /** Connections that wait to be served, each with the path of its listener where that is a Unix socket. */
  readonly #waiting = new Map<Socket, string | undefined>();
  /** TLS handshakes that are under way: what ends each of them, and its end. */
  readonly #handshakes = new Map<AbortController, Promise<void>>();
  readonly #clients = new Set<Client>();
  #onIdle: (() => void) | null = null;
  #full = false;
  /** Whether the `net.Server` of the caller has refused the last connection. */
  #dropping = false;
  #acceptReportedAt = -Infinity;

  /** @internal */
  constructor(name: string, { handler, listen, options, noDelay, keepAlive }: Serving) {
    this.#name = name;
    this.#warnings = new PeerWarnings(name);
    this.#handler = handler;
    this.#listen = listen;
    this.#options = options;
    this.#noDelay = noDelay;
    this.#keepAlive = keepAlive;
    this.#ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /**
   * What the server listens on: one `net.Server` for each address, empty unless the server is bound. For the addresses:
   * `server.sockets[0].address()`. asyncio: `sockets`
   */
  get sockets(): readonly Listener[] {
    return this.#listening.map(({ server }) => server);
  }

  /** @internal `StreamServer { serving, sockets: [ '127.0.0.1:8888' ], clients: 2 }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return `[${this.#name}]`;
    const state =
      this.#closing !== null ? 'closed' : this.#serving ? 'serving' : this.isBound() ? 'bound' : 'not bound';
    const sockets = this.sockets.map((socket) => {
      const address = socket.address();
      if (address === null || typeof address === 'string') return address ?? 'closed';
      return hostAndPort(address.address, address.port);
    });
    return `${this.#name} { ${state}, sockets: ${inspect(sockets, options)}, clients: ${this.#clients.size} }`;
  }

  /** Whether the address is taken. asyncio: `is_bound` */
  isBound(): boolean {
    return this.#listening.length > 0;
  }

  /** Whether connections are handed to the handler. asyncio: `is_serving` */
  isServing(): boolean {
    return this.#serving;
  }

  /**
   * Takes the address. Connections are accepted from now on, and wait for {@link startServing}. Does nothing when the server
   * is bound; may be called again when it has failed. asyncio: `bind`
   *
   * When it fails, nothing is bound.
   *
   * @throws (as a rejection) ConnectionError with the code of the system: `EADDRINUSE`, `EACCES` for a privileged port,
   * `EADDRNOTAVAIL` for an address that is not of this machine, `ENOTFOUND` for a name that does not resolve
   * @throws (as a rejection) TypeError `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for `reusePort` where there is none
   * @throws (as a rejection) StateError `ERR_SERVER_STATE` when the server is closed
   */
  bind(): Promise<void> {
    if (this.#closing !== null) return Promise.reject(closed('bind'));
    return (this.#binding ??= this.#bind());
  }

  /** Binds if need be, and begins to hand connections to the handler. asyncio: `start_serving` */
  async startServing(): Promise<void> {
    if (this.#closing !== null) throw closed('startServing');
    await this.bind();
    if (this.#closing !== null) throw closed('startServing');
    if (this.#serving) return;
    this.#serving = true;
    for (const [socket, path] of this.#waiting) {
      this.#waiting.delete(socket);
      this.#serve(socket, path);
    }
  }

  /**
   * Binds and starts if need be, and waits until the server is closed. When `signal` is aborted, closes the server, waits
   * for that, and rejects with the reason of the signal. asyncio: `serve_forever`
   *
   * @throws (as a rejection) what {@link bind} does; StateError `ERR_SERVER_STATE` when another call is running
   */
  async serveForever(options?: WaitOptions): Promise<void> {
    const signal = checkedSignal('serveForever', options);
    if (this.#forever) throw new StateError('ERR_SERVER_STATE', 'serveForever: another call is running');
    if (this.#closing !== null) throw closed('serveForever');
    let aborted = false;
    const end = (): void => {
      aborted = this.#closing === null;
      void this.close();
    };
    this.#forever = true;
    const forget = onAbort(signal, end);
    try {
      if (signal?.aborted === true) {
        end();
      } else {
        await this.startServing().catch((error: unknown) => {
          if (!this.#isClosing) throw error;
        });
      }
      await this.#ended;
    } finally {
      forget();
      this.#forever = false;
    }
    if (aborted) throw signal?.reason;
  }

  /**
   * Stops listening and closes every stream, with a flush. Waits `shutdownTimeout` for the handlers to settle and the streams
   * to close, then aborts the signals of the handlers and all streams and waits as long once more. Handlers that have not
   * settled by then are reported, each with its peer, and left to themselves.
   *
   * Any number of calls share one closing; none of them rejects. A handler must not wait for it, for it waits for the handler.
   * asyncio: `close`
   */
  close(): Promise<void> {
    return (this.#closing ??= this.#shutDown(false));
  }

  /** As {@link close}, without flushing: every stream is aborted. Cuts a `close` that is under way short. asyncio: `abort` */
  abort(): Promise<void> {
    if (this.#closing !== null) this.abortClients();
    return (this.#closing ??= this.#shutDown(true));
  }

  /** `await using`: {@link close}. asyncio: `__aexit__` */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Closes the streams that there are now, with a flush; the server goes on. Does not wait. asyncio: `close_clients` */
  closeClients(): void {
    for (const client of this.#clients) client.end(false);
  }

  /** Aborts the streams that there are now; the server goes on. Does not wait. asyncio: `abort_clients` */
  abortClients(): void {
    for (const client of this.#clients) client.end(true);
  }

  // ---------------------------------------------------------------------------------------------- listening

  get #isClosing(): boolean {
    return this.#closing !== null;
  }

  async #bind(): Promise<void> {
    const accepting: Accepting = {
      accepted: (socket, path) => this.#accepted(socket, path),
      failed: (error) => this.#acceptFailed(error, 'accepting a connection failed'),
      dropped: () => this.#dropped(),
    };
    let opened: Listening[] = [];
    try {
      opened = await this.#listen(accepting, this.#stop.signal);
      if (this.#isClosing) throw closed('bind');
    } catch (error) {
      for (const listening of opened) listening.close();
      this.#dropWaiting();
      this.#binding = null;
      throw this.#isClosing ? closed('bind') : error;
    }
    this.#listening = opened;
  }

  #acceptFailed(error: Error, what: string | null): void {
    const now = performance.now();
    if (now - this.#acceptReportedAt < ACCEPT_REPORT_INTERVAL_MS) return;
    this.#acceptReportedAt = now;
    if (this.#options.onError === null) warnInOneLine(this.#name, error, what);
    else this.#report(error, null, what);
  }

  #dropped(): void {
    if (this.#dropping || this.#isClosing) return;
    this.#dropping = true;
    const message = `${this.#name}: a connection was closed as it came in, by the maxConnections or the blockList of sock`;
    this.#reportPeer(new ConnectionError('ECONNREFUSED', message), null, null);
  }

  #accepted(socket: Socket, path: string | undefined): void {
    if (this.#isClosing) {
      drop(socket);
      return;
    }
    this.#dropping = false;
    const count = this.#clients.size + this.#handshakes.size + this.#waiting.size;
    if (count >= this.#options.maxConnections) {
      drop(socket);
      if (this.#full) return;
      this.#full = true;
      const most = `maxConnections is ${this.#options.maxConnections}`;
      const message = `${this.#name}: a connection was closed as it came in: there are ${count} already, and ${most}`;
      this.#reportPeer(new ConnectionError('ECONNREFUSED', message), null, null);
      return;
    }
    const last = lastDescriptor(socket);
    if (last !== null) this.#acceptFailed(last, null);
    if (this.#serving) {
      this.#serve(socket, path);
    } else {
      this.#waiting.set(socket.on('error', ignore), path);
      socket.once('close', () => {
        if (this.#waiting.delete(socket)) this.#full = false;
      });
    }
  }

  #dropWaiting(): void {
    for (const socket of this.#waiting.keys()) drop(socket);
    this.#waiting.clear();
  }

  // ---------------------------------------------------------------------------------------------- serving

  #serve(socket: Socket, path: string | undefined): void {
    const { tls } = this.#options;
    try {
      const options = { noDelay: this.#noDelay, keepAlive: this.#keepAlive, path };
      const transport = SocketTransport.accepted(socket, options);
      if (tls === null) this.#welcome(transport);
      else {
        const ending = new AbortController();
        this.#handshakes.set(ending, this.#secure(transport, tls, ending));
      }
    } catch (error) {
      drop(socket);
      this.#report(error, null, 'accepting a connection failed');
    }
  }

  /** Waits for the handshake of one connection, while the others go on. */
  async #secure(plain: SocketTransport, tls: Tls, ending: AbortController): Promise<void> {
    try {
      const transport = await secure(tls, plain, ending.signal);
      this.#handshakes.delete(ending);
      if (ending.signal.aborted) transport.abort();
      else this.#welcome(transport);
    } catch (error) {
      this.#handshakes.delete(ending);
      this.#full = false;
      // What had failed before the server was closed is told, also where the close comes in between.
      if (error === ending.signal.reason) return;
      // Whoever connects can have a handshake fail, as often as it likes: also one that a callback of the options refuses.
      if (error instanceof ConnectionError) this.#reportPeer(error, null, null);
      else this.#report(error, null, null);
    }
  }

  #endHandshakes(): void {
    for (const ending of this.#handshakes.keys()) ending.abort();
  }

  #welcome(transport: Transport): void {
    const client = new Client(transport, this.#options, this.#releaseIfGone);
    this.#clients.add(client);
    this.#handle(client, client.stream!);
  }

  #handle(client: Client, stream: Stream): void {
    try {
      const result: unknown = this.#handler.call(undefined, stream, new Context(client));
      if (isThenable(result)) {
        whenSettled(
          result,
          (value) => {
            if (value !== LEAVE_OPEN) client.close();
            client.handlerSettled();
          },
          (error) => this.#failed(client, stream, error),
        );
        return;
      }
    } catch (error) {
      this.#failed(client, stream, error);
      return;
    }
    client.handlerSettled();
  }

  #failed(client: Client, stream: Stream, error: unknown): void {
    client.abort();
    if (!client.isCancellation(error)) {
      const what = `the handler of ${client.peer} failed`;
      if (isLossOf(stream, error)) this.#reportPeer(error, stream, what);
      else this.#report(error, stream, what);
    }
    client.handlerSettled();
  }

  readonly #releaseIfGone = (client: Client): void => {
    if (client.running || client.open || !this.#clients.delete(client)) return;
    this.#full = false;
    if (this.#clients.size === 0) this.#onIdle?.();
  };

  // ---------------------------------------------------------------------------------------------- closing

  async #shutDown(hard: boolean): Promise<void> {
    const { shutdownTimeout } = this.#options;
    this.#serving = false;
    this.#stop.abort();
    for (const listening of this.#listening) listening.close();
    this.#listening = [];
    this.#dropWaiting();
    this.#endHandshakes();
    if (hard) this.abortClients();
    else this.closeClients();
    // A bind under way sees that the server is closing, and gives its address back.
    await this.#binding?.catch(ignore);

    // They end at once, and one that had failed before is reported before the server is closed.
    await Promise.all(this.#handshakes.values());

    if (!(await this.#idle(shutdownTimeout))) {
      const reason = new DOMException('The server is closed', 'AbortError');
      for (const client of this.#clients) {
        client.cancel(reason);
        client.end(true);
      }
      if (!(await this.#idle(shutdownTimeout))) {
        for (const client of this.#clients) {
          if (!client.running) continue;
          const message = `${this.#name}: the handler of ${client.peer} ignored cancellation request`;
          this.#report(new StateError('ERR_SERVER_STATE', message), client.stream, null);
        }
        this.#clients.clear();
      }
    }
    this.#warnings.flush();
    this.#end();
  }

  /** Waits until there are no clients: true; false when the time is up first. */
  #idle(ms: number): Promise<boolean> {
    if (this.#clients.size === 0) return Promise.resolve(true);
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#onIdle = null;
        resolve(false);
      }, ms);
      this.#onIdle = () => {
        this.#onIdle = null;
        clearTimeout(timer);
        resolve(true);
      };
    });
  }

  // ---------------------------------------------------------------------------------------------- reporting

  /** Reports what a peer has caused: without `onError` it must not flood the log. */
  #reportPeer(error: Error, stream: Stream | null, what: string | null): void {
    if (this.#options.onError === null) this.#warnings.report(error, what);
    else this.#report(error, stream, what);
  }

  #report(error: unknown, stream: Stream | null, what: string | null): void {
    const { onError } = this.#options;
    if (onError === null) {
      warn(this.#name, error, what);
      return;
    }
    const failed = (failure: unknown): void => {
      warn(this.#name, error, what);
      warn(this.#name, failure, 'onError failed');
    };
    try {
      const result: unknown = onError(error, stream);
      if (isThenable(result)) whenSettled(result, ignore, failed);
    } catch (failure) {
      failed(failure);
    }
  }
}

/** A connection that was handed to the handler. */
class Client implements StreamOwner {
  readonly #link: StreamLink<Stream>;
  /** The stream while the handler runs; after that the stream is the handler's business, which may forget it. */
  #held: Stream | null;
  /** Whether the handler has not settled yet. */
  running = true;
  /** Whether the connection is not gone yet. */
  open = true;
  /** Whether the server has ended the connection while the handler ran. */
  #ended = false;
  #controller: AbortController | null = null;
  #reason: DOMException | null = null;
  readonly #changed: (client: Client) => void;

  constructor(
    transport: Transport,
    { limit, closeTimeout }: Pick<CheckedServing, 'limit' | 'closeTimeout'>,
    changed: (client: Client) => void,
  ) {
    this.#changed = changed;
    this.#held = new Stream(transport, { limit, closeTimeout, serverSide: true, owner: this });
    this.#link = this.#held.link;
  }

  /** Null when the stream was forgotten. */
  get stream(): Stream | null {
    return this.#held ?? this.#link.stream;
  }

  /** The server ends the connection, with what is queued or without: what the handler meets then is no failure of it. */
  end(hard: boolean): void {
    if (this.running) this.#ended = true;
    if (hard) this.abort();
    else this.close();
  }

  /** Closes the stream, without waiting for that; an error of the connection concerns nobody then. */
  close(): void {
    const { stream } = this;
    if (stream === null) this.#link.transport.abort();
    else stream.close().catch(ignore);
  }

  /** Aborts the stream, without waiting for that. */
  abort(): void {
    const { stream } = this;
    if (stream === null) this.#link.transport.abort();
    else void stream.abort();
  }

  streamClosed(): void {
    this.open = false;
    this.#changed(this);
  }

  handlerSettled(): void {
    this.running = false;
    this.#held = null;
    this.#changed(this);
  }

  /** Made when it is first asked for: most handlers never do, and an idle connection should not pay for it. */
  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#reason !== null) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  cancel(reason: DOMException): void {
    this.#reason = reason;
    this.#controller?.abort(reason);
  }

  /**
   * Whether a handler failed just because the server ended its connection (a write that is refused, a frame cut short), or
   * cancelled it. Node's own functions wrap the reason as the cause.
   */
  isCancellation(error: unknown): boolean {
    if (this.#ended && (error instanceof IncompleteReadError || isLocalClose(error))) return true;
    if (this.#reason === null) return false;
    return error === this.#reason || (error instanceof Error && error.cause === this.#reason);
  }

  get peer(): string {
    return peerName(this.#link.transport) ?? 'an unknown peer';
  }
}

/** Whether a call was refused because the connection of the stream was lost: by no close of this side. */
function isLossOf(stream: Stream, error: unknown): error is ConnectionError {
  const loss = stream.exception();
  return error instanceof ConnectionError && loss !== null && (error === loss || error.cause === loss);
}

/** Whether a call was refused because this side has closed the connection: a loss from elsewhere is the cause of its error. */
function isLocalClose(error: unknown): boolean {
  return error instanceof ConnectionError && error.code === 'ECONNRESET' && error.cause === undefined;
}

/** What the handler may see of its client. */
class Context implements HandlerContext {
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
  }

  get signal(): AbortSignal {
    return this.#client.signal;
  }
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

function closed(action: string): StateError {
  return new StateError('ERR_SERVER_STATE', `${action}: the server is closed`);
}

function drop(socket: Socket): void {
  socket.on('error', ignore).destroy();
}

/**
 * Whether a function of the user's returned something to wait for. It is waited for as by `await`, never by its own `then`.
 *
 * @internal
 */
export function isThenable(value: unknown): value is PromiseLike<unknown> {
  return (
    (typeof value === 'object' || typeof value === 'function') &&
    value !== null &&
    typeof (value as { then?: unknown }).then === 'function'
  );
}

/**
 * Waits as `await` does: a thenable of any make settles once, with what the promise that it resolves with gives, and a promise by
 * itself, whatever `then` it was given. (`await` takes 200 bytes more for each handler that runs.)
 */
function whenSettled(
  result: PromiseLike<unknown>,
  done: (value: unknown) => void,
  failed: (error: unknown) => void,
): void {
  void Reflect.apply(promiseThen, Promise.resolve(result), [done, failed]);
}
