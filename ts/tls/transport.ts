/**
 * The transport over TLS.
 *
 * The end. Node reports the end of the TCP connection as the end of file whether a `close_notify` came before it or not: an
 * attacker who can cut the connection can cut the stream, so a protocol has to mark by itself that it is complete.
 */
import type { SecureContext, TLSSocket } from 'node:tls';
import { ConnectionError, showUnixPath } from '../errors.js';
import { SocketTransport } from '../transports/socket.js';
import { tlsFailure } from './errors.js';

/** A fact of the connection below, by asyncio's name. */
export type Facts = (name: string) => unknown;

/** The connection that TLS lies over. */
export interface Below {
  /** What it knows of itself. */
  readonly facts: Facts;
  /** The peer, as messages name it. */
  readonly peer: string | null;
}

/** A `Transport` over TLS of which the handshake is done. */
export class TlsTransport extends SocketTransport {
  readonly #tls: TLSSocket;
  readonly #facts: Facts;
  readonly #context: SecureContext | undefined;
  readonly #cipher: ReturnType<TLSSocket['getCipher']>;
  readonly #certificate: object | undefined;
  readonly #peer: string | null;
  readonly #shutdownTimeout: number;

  constructor(socket: TLSSocket, context: SecureContext | undefined, { facts, peer }: Below, shutdownTimeout: number) {
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
