/**
 * The handshake, on either side: takes a socket or `Duplex` that no transport reads any more, and gives a {@link TlsTransport}; or an
 * error, and the socket closed.
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
import { ConnectionError, ignore, showUnixPath } from '../errors.js';
import type { DuplexTransport } from '../transports/duplex.js';
import { afterPoll } from '../transports/linger.js';
import { serverContext } from '../transports/node-internals.js';
import { peerName } from '../transports/transport.js';
import { lossOf } from '../system-errors.js';
import { CallbackFailure, clientError, handshakeError, refused } from './errors.js';
import { TlsTransport, type Below } from './transport.js';

/** How long the two ends of TLS may take, in ms. */
export interface Timeouts {
  readonly handshake: number;
  readonly shutdown: number;
}

/** What a handshake is to be done with. */
export interface HandshakeTarget extends Below {
  /** A connected socket, or a `Duplex`; it has no reader, and is destroyed when the handshake fails. */
  readonly raw: Duplex;
  /** Ends the handshake: it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** One side of TLS, ready to shake hands. */
export interface Tls {
  handshake(target: HandshakeTarget): Promise<TlsTransport>;
}

/** TLS over a connection of which nothing has been read. The handshake takes it over, also its end. */
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

/** By the socket whose handshake it is. */
export type CallbackFailures = WeakMap<object, CallbackFailure>;

/**
 * The callbacks of a server, none of which throws. One that fails refuses the handshake in the way that Node documents, and is
 * remembered: what Node reports of it depends on the callback and on the version, and may be an uncaught exception.
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

// ---------------------------------------------------------------------------------------------- both sides

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
