/**
 * The TLS handshake, on either side. It takes over a socket or `Duplex` that no transport reads any more, and returns a
 * {@link TlsTransport}. If it fails, the socket is closed.
 *
 * A client compares the name in the server's certificate here: Node does it in `connect`, with the name that `options.ts` has put into
 * `host`, unless the caller has a `checkServerIdentity` of its own.
 */
import { X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { Duplex } from 'node:stream';
import {
  TLSSocket,
  checkServerIdentity as checkIdentity,
  connect,
  type ConnectionOptions,
  type Server,
  type TlsOptions,
} from 'node:tls';
import { onAbort } from '../abort.js';
import {
  attributesOf,
  handshakeTracing,
  publishTimeout,
  timeoutChannel,
  type HandshakeMessage,
} from '../diagnostics.js';
import { ConnectionError, ignore, showUnixPath } from '../errors.js';
import type { DuplexTransport } from '../transports/duplex.js';
import { afterPoll } from '../transports/linger.js';
import { serverContext } from '../transports/node-internals.js';
import { peerName } from '../transports/transport.js';
import { lossOf } from '../system-errors.js';
import { CallbackFailure, clientError, handshakeError, refused } from './errors.js';
import { TlsTransport, type Below } from './transport.js';

/** How long the handshake and the end of TLS may take, in ms. */
export interface Timeouts {
  readonly handshake: number;
  readonly shutdown: number;
}

/** The connection of a handshake. */
export interface HandshakeTarget extends Below {
  /** A connected socket or a `Duplex` that has no reader. It is destroyed if the handshake fails. */
  readonly raw: Duplex;
  /** Cancels the handshake, which rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** One side of TLS, ready for a handshake. */
export interface Tls {
  handshake(target: HandshakeTarget): Promise<TlsTransport>;
}

/**
 * Does a handshake on a connection from which nothing has been read. The handshake takes over the connection, and closes it if it
 * fails.
 */
export function secure(tls: Tls, transport: DuplexTransport, signal: AbortSignal | undefined): Promise<TlsTransport> {
  const raw = transport.release(() => raw.destroy());
  const facts = (name: string): unknown => transport.getExtraInfo(name);
  return tls.handshake({ raw, facts, peer: peerName(transport), signal });
}

export class ClientTls implements Tls {
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
    return traced(this.#action, 'client', target, () => this.#handshake(target));
  }

  #handshake(target: HandshakeTarget): Promise<TlsTransport> {
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
            // With `rejectUnauthorized: false` the caller checks the result itself.
            if (rejectUnauthorized !== false) failure = refusal;
            return verdict instanceof Error ? verdict : refusal;
          } catch (error) {
            return (failure = new CallbackFailure('checkServerIdentity has thrown', error));
          }
        };
      }
      if (!checkServerIdentity && isIP(host ?? '') === 6) {
        // Node 22 (22.23) does not recognise IPv6 addresses here and refuses all of them. `checkIP` does recognise them.
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
      // If the bytes pass without a turn of the event loop, as in memory, the whole handshake could finish before Node listens
      // for the end. So hold back the output until all listeners are attached.
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
      socket.on('error', (error: unknown) => failed(failure ?? lossOf(error)));
      socket.once('close', () => failed(failure));
      target.raw.uncork();
    });
  }
}

export class ServerTls implements Tls {
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
    return traced(this.#action, 'server', target, () => this.#handshake(target));
  }

  #handshake(target: HandshakeTarget): Promise<TlsTransport> {
    const context = serverContext(this.#server) ?? undefined;
    return handshake(this.#action, this.#timeouts.handshake, target, (done, failed) => {
      // A TLS server accepts any stream that is passed to its 'connection' listeners, but its events do not say which stream they
      // belong to. So each connection gets its own view of the server, which differs only in where events go. If the listeners of
      // the server do not use `this` (Bun), each connection gets its own server instead.
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
          failed(failure ?? clientError(lossOf(args[0]), socket));
        } else {
          return (this.#server.emit as (event: string, ...args: unknown[]) => boolean)(event, ...args);
        }
        return true;
      };
      for (const listener of view.listeners('connection')) listener.call(view, target.raw);
    });
  }
}

// ---------------------------------------------------------------------------------------------- the callbacks of a server

/** The failures, by the socket of the handshake. */
export type CallbackFailures = WeakMap<object, CallbackFailure>;

/**
 * The callbacks of a server, wrapped so that none of them throws. A callback that fails refuses the handshake in the way that
 * Node documents, and its error is recorded. Without this, what Node reports depends on the callback and the version, and may be
 * an uncaught exception.
 */
export function guarded(given: TlsOptions, failures: CallbackFailures): TlsOptions {
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
        // An async callback fails by a rejection, which Node would not handle.
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

// ---------------------------------------------------------------------------------------------- both sides

/** Does a handshake, and reports it to the subscribers of `sluice:handshake`. */
function traced(
  action: string,
  side: HandshakeMessage['side'],
  { facts }: HandshakeTarget,
  work: () => Promise<TlsTransport>,
): Promise<TlsTransport> {
  if (!handshakeTracing.hasSubscribers) return work();
  const message: HandshakeMessage = { action, side, ...attributesOf({ getExtraInfo: facts }) };
  return handshakeTracing.promise(message, work, (transport) => {
    const cipher = transport.getExtraInfo('cipher') as { name?: string; version?: string } | undefined;
    const socket = transport.getExtraInfo('sslObject') as TLSSocket;
    const alpn = transport.getExtraInfo('alpn') as string | undefined;
    const name = transport.getExtraInfo('servername') as string | undefined;
    const version = socket.getProtocol() ?? cipher?.version;
    if (version !== undefined) message.tlsProtocolVersion = version;
    if (cipher?.name !== undefined) message.tlsCipher = cipher.name;
    if (alpn !== undefined) message.tlsNextProtocol = alpn;
    if (name !== undefined) message.tlsServerName = name;
  });
}

/**
 * Runs a handshake with a time limit. If it fails, the connection is closed first, and then the promise rejects.
 *
 * @param begin - calls `failed` with null if the connection was closed without an error
 */
function handshake(
  action: string,
  timeout: number,
  target: HandshakeTarget,
  begin: (done: (transport: TlsTransport) => void, failed: (error: Error | null) => void) => void,
): Promise<TlsTransport> {
  const { raw, facts, signal, peer } = target;
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
      const error = new ConnectionError('ETIMEDOUT', `${where}: timed out after ${timeout} ms`);
      if (timeoutChannel.hasSubscribers) {
        publishTimeout({ option: 'sslHandshakeTimeout', timeout }, error, { getExtraInfo: facts });
      }
      fail(error);
    }, timeout);

    raw.on('error', ignore);
    // Otherwise the handshake would wait for a peer that has ended its side.
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
          // From now on TLS reports the end of the connection, and ends its own side when it is ready.
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

function whenClosed(stream: Duplex, then: () => void): void {
  let called = false;
  const closed = (): void => {
    if (called) return;
    called = true;
    then();
  };
  stream.once('close', closed);
  // A stream created with `emitClose: false` emits no 'close', and neither does one that is already closed.
  afterPoll(() => {
    if (stream.closed) closed();
  });
}
