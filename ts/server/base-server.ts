/**
 * The life cycle of a server, regardless of what it listens on: its listeners, and the connections that they have accepted.
 *
 *     new ---bind---> bound ---startServing---> serving ---close({ drain })---> draining ---time over, all gone, close, abort---> closed
 *      \________________\________________________\_________________________close, abort______________________________________/
 *
 * A connection is `waiting` until the server is serving, waits for its PROXY header and its TLS handshake if there are any, and then
 * becomes a {@link Client}. A client is removed when its handler has settled *and* its stream is closed. Closing the server waits for the
 * last client to be removed, for a bounded time. `drain.ts` says what happens while the server is draining.
 */
import type { AddressInfo, Server as Listener, Socket } from 'node:net';
import { inspect, type InspectOptions } from 'node:util';
import { checkedSignal, onAbort, type WaitOptions } from '../abort.js';
import { clock } from '../clock.js';
import { currentContext, type InContext } from '../context.js';
import {
  attributesOf,
  dropChannel,
  errorType,
  handlerTracing,
  type ConnectionAttributes,
  type DropReason,
  type HandlerMessage,
  type ServerDropMessage,
} from '../diagnostics.js';
import { ConnectionError, StateError, ignore, type TimeoutError } from '../errors.js';
import type { Stream } from '../stream/stream.js';
import { isConnectionTimeout, watchHandshake } from '../stream/timeouts.js';
import { secure, type Tls } from '../tls/handshake.js';
import { checkServerTls, type ServerSsl } from '../tls/options.js';
import { lastDescriptor } from '../transports/descriptors.js';
import { afterPoll } from '../transports/linger.js';
import { SocketTransport, type SocketOptions } from '../transports/socket.js';
import { hostAndPort, type Transport } from '../transports/transport.js';
import {
  Refusal,
  RefusalReports,
  announcedPeer,
  peerOf,
  type AddressCount,
  type Admission,
  type Peer,
} from './admission.js';
import {
  Client,
  Context,
  LEAVE_OPEN,
  isOnlyChecked,
  isPeersDoing,
  isReportedAbort,
  isThenable,
  whenSettled,
  type Accepted,
  type ClientHost,
} from './client.js';
import { CloseTally, DrainPeriod, checkDrain, type ServerCloseOptions, type ServerCloseResult } from './drain.js';
import type { Accepting, Listen, Listening } from './listen.js';
import type { CheckedServing, ClientHandler } from './options.js';
import { HeaderWait, announcesNoClient, untrusted, type CheckedProxy } from './proxy-protocol.js';
import type { ProxyInfo } from './proxy-header.js';
import { ServerCounters, type ServerStats } from './stats.js';
import { PeerWarnings, warn, warnInOneLine } from './warnings.js';

/** An `accept` that fails usually fails again at once. It is reported at most once in this interval, in ms. */
const ACCEPT_REPORT_INTERVAL_MS = 1000;

/** How a connection is reported that is too old before it becomes a client. */
const TIMED_OUT = 'a connection was aborted';

/** The parts of a server. */
export interface Serving {
  readonly handler: ClientHandler;
  /** Binds the addresses. */
  readonly listen: Listen;
  readonly options: CheckedServing;
  readonly noDelay: boolean;
  readonly keepAlive: boolean;
  /** Null if clients connect directly. */
  readonly proxy: CheckedProxy | null;
}

/** The common base of all servers. It cannot be created directly: see `StreamServer` and `UnixStreamServer`. */
export abstract class BaseStreamServer {
  /** The name of the class, for messages. */
  readonly #name: string;
  readonly #warnings: PeerWarnings;
  readonly #handler: ClientHandler;
  readonly #listen: Listen;
  readonly #options: CheckedServing;
  readonly #noDelay: boolean;
  readonly #keepAlive: boolean;
  /** What new handshakes use. */
  #tls: Tls | null;
  readonly #proxy: CheckedProxy | null;

  #listening: Listening[] = [];
  #binding: Promise<void> | null = null;
  #serving = false;
  /** The context of the call that began to serve. */
  #context: InContext | null = null;
  #forever = false;
  /** {@link #ended}, once the server begins to close. */
  #closing: Promise<ServerCloseResult> | null = null;
  /** The time in which connections may finish; null unless the server is draining. */
  #drain: DrainPeriod | null = null;
  /** The listeners of a draining server, until they have accepted the connections that were queued before. */
  #retiring: Listening[] = [];
  readonly #tally = new CloseTally();
  /** Is aborted when the server begins to close. */
  readonly #stop = new AbortController();
  readonly #ended: Promise<ServerCloseResult>;
  #end!: (result: ServerCloseResult) => void;

  /** Connections that wait until the server is serving. */
  readonly #waiting = new Map<Socket, Waiting>();
  /** Connections whose PROXY header is awaited. */
  readonly #headers = new Set<HeaderWait>();
  /** TLS handshakes in progress: the controller that aborts each of them, and a promise for its end. */
  readonly #handshakes = new Map<AbortController, Promise<void>>();
  readonly #clients = new Set<Client>();
  readonly #host = {
    changed: (client: Client) => this.#changed(client),
    ended: (bytesRead: number, bytesWritten: number) => this.#counters.ended(bytesRead, bytesWritten),
    aborted: (client: Client, error: Error) => {
      if (this.#isClosing) this.#tally.cutOff(client);
      this.#inContext(() => this.#reportPeer(error, client.stream, `the connection with ${client.peer} was aborted`));
    },
    draining: null as ClientHost['draining'],
  };
  #onIdle: (() => void) | null = null;
  #full = false;
  /** Whether the caller's `net.Server` refused the last connection. */
  #dropping = false;
  readonly #refusals = new RefusalReports();
  #acceptReportedAt = -Infinity;
  readonly #counters = new ServerCounters();

  /** @internal */
  constructor(name: string, { handler, listen, options, noDelay, keepAlive, proxy }: Serving) {
    this.#name = name;
    this.#warnings = new PeerWarnings(name);
    this.#handler = handler;
    this.#listen = listen;
    this.#options = options;
    this.#noDelay = noDelay;
    this.#keepAlive = keepAlive;
    this.#tls = options.tls;
    this.#proxy = proxy;
    this.#ended = new Promise((resolve) => {
      this.#end = resolve;
    });
  }

  /**
   * One listening `net.Server` for each address; empty unless the server is bound. `server.sockets[0].address()` is the first
   * address. asyncio: `sockets`
   */
  get sockets(): readonly Listener[] {
    return this.#listening.map(({ server }) => server);
  }

  /**
   * Returns the address of the first of {@link sockets}, as its `address()` does; null if the server is not bound. The others of a server
   * with several addresses are in `sockets`. asyncio: `sockets[0].getsockname()`
   */
  address(): AddressInfo | string | null {
    return this.sockets[0]?.address() ?? null;
  }

  /** @internal `StreamServer { serving, sockets: [ '127.0.0.1:8888' ], clients: 2 }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return `[${this.#name}]`;
    const sockets = this.sockets.map((socket) => {
      const address = socket.address();
      if (address === null || typeof address === 'string') return address ?? 'closed';
      return hostAndPort(address.address, address.port);
    });
    return `${this.#name} { ${this.#state}, sockets: ${inspect(sockets, options)}, clients: ${this.#clients.size} }`;
  }

  get #state(): string {
    if (this.#drain !== null) return 'draining';
    if (this.#closing !== null) return 'closed';
    if (this.#serving) return 'serving';
    return this.isBound() ? 'bound' : 'not bound';
  }

  /** Whether the server is bound to its addresses. asyncio: `is_bound` */
  isBound(): boolean {
    return this.#listening.length > 0;
  }

  /** Whether the handler is called for new connections. asyncio: `is_serving` */
  isServing(): boolean {
    return this.#serving;
  }

  /**
   * Returns the counters of the server: connections, refusals, bytes. Each call returns a new object, which does not change. The call looks at
   * every open connection.
   *
   * ```ts
   * const { connections, handlers, dropped } = server.stats();
   * ```
   */
  stats(): ServerStats {
    return this.#counters.stats(this.#connections, this.#clients);
  }

  /**
   * Binds the addresses and listens on them. Connections are accepted from now on, and wait for {@link startServing}. Does
   * nothing if the server is already bound. If it fails, nothing is bound, and it may be called again.
   *
   * **Waits** until the host names are resolved and the server listens on all addresses.
   *
   * **Errors**, all as rejections:
   * - `ConnectionError` with the system's code: `EADDRINUSE`, `EACCES` for a privileged port, `EADDRNOTAVAIL` for an address that
   *   does not belong to this machine, `ENOTFOUND` for a name that does not resolve
   * - `TypeError` `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for `reusePort` where it is not supported
   * - `StateError` `ERR_IN_USE` if another server uses the `net.Server` given as `sock`, or used it before
   * - `StateError` `ERR_SERVER_STATE` if the server is closed
   *
   * asyncio: `bind`
   */
  bind(): Promise<void> {
    if (this.#closing !== null) return Promise.reject(closed('bind'));
    return (this.#binding ??= this.#bind());
  }

  /**
   * Binds if the server is not bound yet, and begins to call the handler for each connection. Rejects as {@link bind} does.
   *
   * The handler is called in the `AsyncLocalStorage` context of this call, or of that of `serveForever`, whichever began to serve. So are
   * `accept` and `onError`, except that `onError` gets the failure of a handler in the context of that handler.
   *
   * asyncio: `start_serving`, whose context the handlers of asyncio have as well
   */
  async startServing(): Promise<void> {
    if (this.#closing !== null) throw closed('startServing');
    await this.bind();
    if (this.#closing !== null) throw closed('startServing');
    if (this.#serving) return;
    this.#serving = true;
    this.#context = currentContext();
    for (const [socket, { path, count }] of this.#waiting) {
      this.#waiting.delete(socket);
      this.#inContext(() => this.#serve(socket, path, count));
    }
  }

  /**
   * Runs the server: binds it and starts serving, unless that has already been done.
   *
   * **Waits** until the server is closed.
   *
   * **Errors**: those of {@link bind}, and `StateError` `ERR_SERVER_STATE` if another call is already running.
   *
   * **Cancellation**: aborting `signal` closes the server, with `drain` as in {@link close}. The call waits until it is closed, and
   * rejects with the signal's reason. `drain` is for this signal only: it has no effect without a `signal`, or on a later call of
   * {@link close}.
   *
   * asyncio: `serve_forever`
   */
  async serveForever(options?: Pick<WaitOptions, 'signal'> & ServerCloseOptions): Promise<void> {
    const signal = checkedSignal('serveForever', options);
    const drain = checkDrain('serveForever', options);
    if (this.#forever) throw new StateError('ERR_SERVER_STATE', 'serveForever: another call is running');
    if (this.#closing !== null) throw closed('serveForever');
    let aborted = false;
    const end = (): void => {
      aborted = this.#closing === null;
      void this.#shutDown(drain, false);
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
   * Stops listening, lets connections finish for `drain` ms, then flushes and closes every stream. Any number of calls share one closing.
   * A handler must not await it, because closing waits for the handler.
   *
   * Without `drain`, the reads of handlers end at once as at EOF: what was received and not read is dropped, because no answer to it could
   * be sent. What was written before is still sent.
   *
   * With or without `drain`, a handler that reads up to EOF cannot see from the bytes whether the client or the close has ended reading: loops
   * over `chunks()`, `read(n)` and `readinto` end normally, and `read()` resolves. If the messages of a protocol end at EOF, its handler must
   * check `draining.aborted || stream.isClosing()` before it trusts an EOF.
   *
   * With `drain`, no answer to a request that was received is lost, provided that the time suffices. What the kernel has received when the
   * close begins counts, and so do connections that it has queued and TLS handshakes in progress. The `draining` signals of the handlers
   * are aborted at once. Connections may go on with what they have received. Those that are idle end: as soon as a read, of any kind, waits
   * while nothing received is unread, reading ends as if the client had ended its side. So loops over the stream end, and the stream is
   * closed when the handler settles, or at once if it has already returned. A read that has a part of a frame waits for the rest. When no
   * connection is left, or the time is over, the close continues as without `drain`. Connections that wait for {@link startServing} are
   * dropped at once.
   *
   * ```ts
   * process.once('SIGTERM', () => server.close({ drain: 10_000 }));
   * ```
   *
   * **Waits** up to `drain` for the connections to finish, and then up to `shutdownTimeout` until all handlers have settled and all
   * streams are closed. Then it aborts the signals of the handlers and all streams, and waits up to `shutdownTimeout` once more. Handlers
   * that have still not settled are reported, each with its peer, and continue on their own.
   *
   * **While it is draining**, a call without `drain` and {@link abort} end the time at once, and a call with a shorter `drain` shortens it.
   *
   * **Errors** (as a rejection; the server stays as it is). TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid
   * `drain`.
   *
   * asyncio: `close`, which has no `drain`
   *
   * @returns how many connections have finished, and how many were cut off
   */
  close(options?: ServerCloseOptions): Promise<ServerCloseResult> {
    try {
      return this.#shutDown(checkDrain('close', options), false);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Like {@link close} without `drain`, but aborts every stream instead of flushing it. Shortens a `close` that is in progress.
   * asyncio: `abort`
   */
  abort(): Promise<ServerCloseResult> {
    return this.#shutDown(0, true);
  }

  /** `await using`: {@link close} without `drain`. asyncio: `__aexit__` */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * Flushes and closes all current streams; the server continues. The reads of handlers end at once, as with {@link close}, but `draining` is
   * not aborted. Does not wait. asyncio: `close_clients`
   */
  closeClients(): void {
    this.#endClients(false);
  }

  /**
   * Aborts all current streams; the server continues. The reads of handlers end at once, as with {@link close}, but `draining` is not
   * aborted. Does not wait. asyncio: `abort_clients`
   */
  abortClients(): void {
    this.#endClients(true);
  }

  /**
   * Exchanges the certificate, the key and all other TLS options, for example when a certificate was renewed. Every handshake that
   * begins after the call uses them, also those of connections that wait for {@link startServing}. Handshakes in progress finish with
   * the previous options, and established connections are not affected. TLS sessions of before cannot be resumed, unless both have the
   * same `ticketKeys`: their clients do a full handshake. `sslHandshakeTimeout` and `sslShutdownTimeout` stay as they are.
   *
   * ```ts
   * process.on('SIGHUP', () => {
   *   server.setSecureContext({ cert: readFileSync('cert.pem'), key: readFileSync('key.pem') });
   * });
   * ```
   *
   * @param ssl - replaces the option `ssl` completely: nothing of the previous options is kept, so pass `ca`, `requestCert`,
   * `ALPNProtocols` and `SNICallback` again if the server uses them
   * @throws StateError `ERR_SERVER_STATE` if the server was created without `ssl`
   * @throws the errors of the option `ssl`, if Node or OpenSSL refuses it; the previous options then stay in use
   *
   * asyncio: none; there, `SSLContext.load_cert_chain` changes the certificate of a context that is in use
   */
  setSecureContext(ssl: ServerSsl): void {
    if (this.#tls === null) {
      throw new StateError('ERR_SERVER_STATE', 'setSecureContext: the server was created without ssl');
    }
    this.#tls = checkServerTls('setSecureContext', ssl, this.#options.handshake, this.#name);
  }

  // ---------------------------------------------------------------------------------------------- listening

  get #isClosing(): boolean {
    return this.#closing !== null;
  }

  /** Handles an event, from which functions of the user's are called, in the context of `startServing`. */
  #inContext(handle: () => void): void {
    if (this.#context === null) handle();
    else this.#context(handle);
  }

  async #bind(): Promise<void> {
    const accepting: Accepting = {
      accepted: (socket, path) => this.#inContext(() => this.#accepted(socket, path)),
      failed: (error) => this.#inContext(() => this.#acceptFailed(error, 'accepting a connection failed')),
      dropped: () => this.#inContext(() => this.#dropped()),
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
    this.#reportDrop('sock', () => ({}));
    if (this.#dropping || this.#isClosing) return;
    this.#dropping = true;
    const message = `${this.#name}: the maxConnections or the blockList of sock refused a connection`;
    this.#reportPeer(new ConnectionError('ECONNREFUSED', message), null, null);
  }

  #accepted(socket: Socket, path: string | undefined): void {
    if (!this.#accepts) {
      drop(socket);
      return;
    }
    this.#counters.accepted++;
    this.#dropping = false;
    const open = this.#connections;
    if (open >= this.#options.maxConnections) {
      this.#reportDrop('maxConnections', () => attributesOfPeer(peerOf(socket, path)));
      drop(socket);
      if (this.#full) return;
      this.#full = true;
      const most = `maxConnections is ${this.#options.maxConnections}`;
      const message = `${this.#name}: refused a connection: there are ${open} already, and ${most}`;
      this.#reportPeer(new ConnectionError('ECONNREFUSED', message), null, null);
      return;
    }
    const { admission } = this.#options;
    // Behind a proxy, what it announces is checked, not the proxy.
    const direct = admission !== null && this.#proxy === null;
    const count = direct ? this.#admit(admission, peerOf(socket, path)) : null;
    if (count === undefined) {
      drop(socket);
      return;
    }
    const last = lastDescriptor(socket);
    if (last !== null) {
      this.#reportDrop('descriptors', () => ({}), last);
      this.#acceptFailed(last, null);
    }
    // The user's onError may have closed the server.
    if (this.#isOver) {
      drop(socket);
      this.#release(count);
    } else if (this.#serving || this.#isClosing) {
      this.#serve(socket, path, count);
    } else {
      this.#waiting.set(socket.on('error', ignore), { path, count });
      socket.once('close', () => {
        if (!this.#waiting.delete(socket)) return;
        this.#release(count);
      });
    }
  }

  /** How many connections there are, of any kind. */
  get #connections(): number {
    return this.#clients.size + this.#handshakes.size + this.#headers.size + this.#waiting.size;
  }

  /** Whether nothing becomes a client any more. While the server drains, what was accepted before still does. */
  get #isOver(): boolean {
    return this.#isClosing && this.#drain === null;
  }

  /** Whether connections are still accepted: while the server drains, those that were queued before. */
  get #accepts(): boolean {
    return !this.#isClosing || this.#retiring.length > 0;
  }

  #dropWaiting(): void {
    for (const [socket, { count }] of this.#waiting) {
      drop(socket);
      this.#release(count);
    }
    this.#waiting.clear();
  }

  /**
   * Asks the options that refuse connections, and reports a refusal. If it returns undefined, the connection is to be dropped.
   * Otherwise the result has to be passed to {@link #release} once, when the connection is over.
   *
   * @param peer - null if the peer is already gone
   */
  #admit(admission: Admission, peer: Peer | null): AddressCount | null | undefined {
    if (peer === null) return undefined;
    const admitted = admission.admit(peer);
    if (admitted instanceof Refusal) {
      const failure = admitted.kind === 'failed' ? admitted.failure : undefined;
      this.#reportDrop(admitted.kind, () => attributesOfPeer(peer), failure);
      this.#refused(admitted);
      return undefined;
    }
    // The user's hook may have closed the server. While it drains, what was accepted before may still become a client.
    if (!this.#isOver) return admitted;
    admission.release(admitted);
    return undefined;
  }

  /** Counts a refused connection, and reports it to the subscribers of `sluice:server.drop`. */
  #reportDrop(reason: DropReason, attributes: () => ConnectionAttributes, error?: unknown): void {
    this.#counters.dropped(reason);
    if (!dropChannel.hasSubscribers) return;
    const message: ServerDropMessage = { action: this.#name, reason, ...attributes() };
    if (error !== undefined) Object.assign(message, { error, errorType: errorType(error) });
    dropChannel.publish(message);
  }

  #refused(refusal: Refusal): void {
    const failed = refusal.kind === 'failed';
    // Without onError, refusals are counted together with the other errors that peers cause.
    const leftOut = failed || this.#options.onError !== null ? this.#refusals.due(refusal.kind) : 0;
    if (leftOut === null) return;
    if (failed) {
      this.#report(refusal.failure, null, String(refusal));
      return;
    }
    const more = leftOut === 0 ? '' : ` (and ${leftOut} more since the last report)`;
    const message = `${this.#name}: ${String(refusal)}${more}`;
    this.#reportPeer(new ConnectionError('ECONNREFUSED', message), null, null);
  }

  /** A connection is over, or was dropped before its handler was called: there is room for another one. */
  #release(count: AddressCount | null): void {
    this.#full = false;
    this.#options.admission?.release(count);
  }

  // ---------------------------------------------------------------------------------------------- serving

  #serve(socket: Socket, path: string | undefined, count: AddressCount | null): void {
    try {
      const options = { noDelay: this.#noDelay, keepAlive: this.#keepAlive, path };
      const accepted = { count, acceptedAt: this.#options.timeouts === null ? 0 : clock.now() };
      if (this.#proxy === null) this.#connected(SocketTransport.accepted(socket, options), accepted, null);
      else this.#awaitHeader(socket, options, this.#proxy);
    } catch (error) {
      drop(socket);
      this.#release(count);
      this.#report(error, null, 'accepting a connection failed');
    }
  }

  /** Waits for the PROXY header of one connection. Other connections are not affected. */
  #awaitHeader(socket: Socket, options: SocketOptions & { path: string | undefined }, proxy: CheckedProxy): void {
    const refusal = untrusted(this.#name, socket, proxy);
    if (refusal === null) {
      const { timeouts } = this.#options;
      this.#headers.add(new HeaderWait(this.#name, socket, options, proxy, timeouts, this.#headerReceiver));
      return;
    }
    if (refusal !== 'gone') {
      this.#reportDrop('proxyProtocol', () => attributesOfPeer(peerOf(socket, options.path)), refusal);
    }
    drop(socket);
    if (refusal !== 'gone') this.#reportPeer(refusal, null, null);
  }

  readonly #headerReceiver = {
    headerRead: (wait: HeaderWait, info: ProxyInfo): void => this.#inContext(() => this.#announced(wait, info)),
    headerFailed: (wait: HeaderWait, error: ConnectionError | TimeoutError | null): void =>
      this.#inContext(() => this.#headerFailed(wait, error)),
  };

  #headerFailed(wait: HeaderWait, error: ConnectionError | TimeoutError | null): void {
    this.#headers.delete(wait);
    this.#release(null);
    if (error instanceof ConnectionError) {
      this.#reportDrop('proxyProtocol', () => attributesOf(wait.transport), error);
    }
    if (error !== null) this.#reportPeer(error, null, isConnectionTimeout(error) ? TIMED_OUT : null);
    this.#endDrainIfDone();
  }

  /** A trusted proxy has announced a client. Nothing is read from the connection until it is passed on, or ended. */
  #announced(wait: HeaderWait, info: ProxyInfo): void {
    const { transport, acceptedAt } = wait;
    const { admission } = this.#options;
    const peer = announcedPeer(info);
    const count = admission === null || peer === null ? null : this.#admit(admission, peer);
    this.#headers.delete(wait);
    if (count === undefined) {
      transport.abort();
      this.#release(null);
    } else {
      try {
        const check = announcesNoClient(info, transport.getExtraInfo('peername'));
        this.#connected(transport, { count, acceptedAt }, check ? wait : null);
      } catch (error) {
        transport.abort();
        this.#release(count);
        this.#report(error, null, 'accepting a connection failed');
      }
    }
    this.#endDrainIfDone();
  }

  /** @param check - if a proxy has announced no client: its connection, which may only check whether the server is alive */
  #connected(transport: SocketTransport, accepted: Accepted, check: Pick<HeaderWait, 'onlyHeader'> | null): void {
    const tls = this.#tls;
    if (tls === null) this.#welcome(transport, accepted);
    else {
      const ending = new AbortController();
      this.#handshakes.set(ending, this.#secure(transport, tls, ending, accepted, check));
    }
  }

  /** Waits for the handshake of one connection. Other connections are not affected. */
  async #secure(
    plain: SocketTransport,
    tls: Tls,
    ending: AbortController,
    accepted: Accepted,
    check: Pick<HeaderWait, 'onlyHeader'> | null,
  ): Promise<void> {
    const { timeouts } = this.#options;
    const forget =
      timeouts === null ? ignore : watchHandshake(timeouts, accepted.acceptedAt, plain, (error) => ending.abort(error));
    try {
      const transport = await secure(tls, plain, ending.signal);
      this.#handshakes.delete(ending);
      if (ending.signal.aborted) {
        transport.abort();
        throw ending.signal.reason;
      }
      this.#welcome(transport, accepted);
    } catch (error) {
      this.#handshakes.delete(ending);
      this.#release(accepted.count);
      if (isConnectionTimeout(error)) this.#reportPeer(error, null, TIMED_OUT);
      // A handshake that the close itself aborted is not reported; one that had failed before the close is.
      if (error === ending.signal.reason || check?.onlyHeader === true) return;
      // Any peer can make handshakes fail as often as it likes, including those that a callback among the options refuses.
      if (error instanceof ConnectionError) this.#reportPeer(error, null, null);
      else this.#report(error, null, null);
    } finally {
      forget();
      this.#endDrainIfDone();
    }
  }

  #endHandshakes(): void {
    for (const ending of this.#handshakes.keys()) ending.abort();
  }

  #welcome(transport: Transport, accepted: Accepted): void {
    const client = new Client(transport, this.#options, accepted, this.#host);
    this.#clients.add(client);
    if (this.#isClosing) this.#tally.opened();
    // First, because the handler may begin to close the server.
    if (this.#drain !== null) client.drain();
    this.#handle(client, client.stream!);
  }

  #handle(client: Client, stream: Stream): void {
    if (handlerTracing.hasSubscribers) {
      const message = handlerMessage(stream);
      handlerTracing.run(message, () => this.#callHandler(client, stream, message));
    } else this.#callHandler(client, stream, null);
  }

  /** @param message - of the event that reports the handler; null if no one has subscribed */
  #callHandler(client: Client, stream: Stream, message: HandlerMessage | null): void {
    try {
      const result: unknown = this.#handler.call(undefined, stream, new Context(client));
      if (isThenable(result)) {
        whenSettled(
          result,
          (value) => {
            if (value !== LEAVE_OPEN) client.close();
            client.handlerSettled();
            settled(message, null);
          },
          (error) => {
            this.#failed(client, stream, error);
            settled(message, { error });
          },
        );
        return;
      }
    } catch (error) {
      this.#failed(client, stream, error);
      settled(message, { error });
      return;
    }
    client.handlerSettled();
    settled(message, null);
  }

  #failed(client: Client, stream: Stream, error: unknown): void {
    if (client.isCancellation(error)) {
      // What it has written before is still sent.
      client.close();
    } else {
      client.abort();
      if (!isReportedAbort(stream, error)) this.#handlerFailed(client, stream, error);
    }
    client.handlerSettled();
  }

  #handlerFailed(client: Client, stream: Stream, error: unknown): void {
    const what = `the handler of ${client.peer} failed`;
    if (!isPeersDoing(stream, error)) this.#report(error, stream, what);
    else if (!isOnlyChecked(stream)) this.#reportPeer(error, stream, what);
  }

  /** Removes a client that is gone. */
  #changed(client: Client): void {
    if (client.running || client.open || !this.#clients.delete(client)) return;
    this.#release(client.count);
    if (this.#clients.size > 0) return;
    this.#endDrainIfDone();
    this.#onIdle?.();
  }

  // ---------------------------------------------------------------------------------------------- closing

  #shutDown(drain: number, hard: boolean): Promise<ServerCloseResult> {
    if (this.#closing === null) {
      this.#closing = this.#ended;
      void this.#close(drain, hard);
    } else if (drain > 0) {
      this.#drain?.shorten(drain);
    } else if (this.#drain !== null) {
      this.#drain.end();
      this.#drain = null;
      this.#cutOff(hard);
    } else if (hard) {
      this.abortClients();
    }
    return this.#closing;
  }

  async #close(drain: number, hard: boolean): Promise<void> {
    const { shutdownTimeout } = this.#options;
    // Connections that wait for startServing have no handler that could answer them.
    if (this.#serving && drain > 0) this.#drain = new DrainPeriod(drain);
    this.#serving = false;
    this.#stop.abort();
    this.#retiring = this.#listening;
    this.#listening = [];
    this.#dropWaiting();
    for (const client of this.#clients) if (client.open) this.#tally.opened();
    this.#host.draining = new DOMException('The server is draining', 'AbortError');
    // A listener of the signal may close the server again.
    for (const client of this.#clients) client.announceDraining();
    if (this.#drain !== null) await this.#drainClients(this.#drain);
    this.#cutOff(hard);
    // A bind in progress sees that the server is closing, and unbinds.
    await this.#binding?.catch(ignore);

    // The handshakes end at once. One that had failed earlier must be reported before the server is closed.
    await Promise.all(this.#handshakes.values());

    if (!(await this.#idle(shutdownTimeout))) {
      const reason = new DOMException('The server is closed', 'AbortError');
      for (const client of this.#clients) client.cancel(reason);
      this.abortClients();
      if (!(await this.#idle(shutdownTimeout))) {
        for (const client of this.#clients) {
          if (!client.running) continue;
          const message = `${this.#name}: the handler of ${client.peer} ignored cancellation request`;
          const ignored = new StateError('ERR_SERVER_STATE', message);
          this.#inContext(() => this.#report(ignored, client.stream, null));
        }
        this.#clients.clear();
      }
    }
    this.#warnings.flush();
    this.#end(this.#tally.result());
  }

  /** Lets connections finish until the period is over. */
  async #drainClients(period: DrainPeriod): Promise<void> {
    for (const client of this.#clients) client.drain();
    await this.#acceptQueued(period);
    this.#stopListening();
    this.#endDrainIfDone();
    await period.over;
    this.#drain = null;
  }

  /**
   * Waits until the connections that the kernel has queued are accepted. libuv accepts one of them in each turn of the event loop. New ones
   * may follow for as long as the listeners are open, so the number is bounded.
   */
  async #acceptQueued(period: DrainPeriod): Promise<void> {
    // A kernel may queue one more than the backlog.
    const most = this.#counters.accepted + this.#retiring.length * (this.#options.backlog + 1);
    let before = -1;
    while (!period.isOver && before !== this.#counters.accepted && this.#counters.accepted < most) {
      before = this.#counters.accepted;
      await new Promise<void>(afterPoll);
    }
  }

  #endDrainIfDone(): void {
    if (this.#retiring.length > 0) return;
    if (this.#clients.size > 0 || this.#handshakes.size > 0 || this.#headers.size > 0) return;
    this.#drain?.end();
  }

  #stopListening(): void {
    for (const listening of this.#retiring) listening.close();
    this.#retiring = [];
  }

  /** Ends everything that is left. May be called again. */
  #cutOff(hard: boolean): void {
    this.#stopListening();
    for (const wait of this.#headers) wait.cancel();
    this.#headers.clear();
    this.#endHandshakes();
    this.#endClients(hard);
  }

  #endClients(hard: boolean): void {
    for (const client of this.#clients) {
      if (this.#isClosing && client.isCutOffBy(hard)) this.#tally.cutOff(client);
      client.end(hard);
    }
  }

  /** Waits until there are no clients, and resolves with true; or with false if that takes longer than `ms`. */
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

  /** Reports an error that a peer caused. Without `onError`, such errors must not flood the log. */
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

/** A connection that waits. */
interface Waiting {
  /** The path of its listener, if that is a Unix socket. */
  readonly path: string | undefined;
  readonly count: AddressCount | null;
}

function closed(action: string): StateError {
  return new StateError('ERR_SERVER_STATE', `${action}: the server is closed`);
}

function settled(message: HandlerMessage | null, failure: { readonly error: unknown } | null): void {
  if (message !== null) handlerTracing.settled(message, failure);
}

function handlerMessage(stream: Stream): HandlerMessage {
  const message: HandlerMessage = { ...attributesOf(stream), stream };
  if (message.localAddress !== undefined) message.serverAddress = message.localAddress;
  if (message.localPort !== undefined) message.serverPort = message.localPort;
  return message;
}

/** What is known about the peer of a connection that is refused. */
function attributesOfPeer(peer: Peer | null): ConnectionAttributes {
  if (peer === null) return {};
  if (peer.family === 'Unix') return { networkTransport: 'unix' };
  const networkType = peer.family === 'IPv4' ? 'ipv4' : 'ipv6';
  return { networkTransport: 'tcp', networkType, peerAddress: peer.address, peerPort: peer.port };
}

function drop(socket: Socket): void {
  socket.on('error', ignore).destroy();
}
