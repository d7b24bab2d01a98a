/**
 * The transport over TLS.
 *
 * Node reports the end of the TCP connection as the end of the stream whether a `close_notify` came before it or not. An attacker who
 * can cut the connection can therefore cut the stream, so a protocol must mark its own end.
 */
import type { SecureContext, TLSSocket } from 'node:tls';
import { ConnectionError, showUnixPath } from '../errors.js';
import { connectionError } from '../system-errors.js';
import { DuplexTransport, type ConnectionInfo } from '../transports/duplex.js';
import { SocketInfo } from '../transports/socket-info.js';
import { SOCKET } from '../transports/socket.js';
import { StreamMode } from '../transports/transport.js';
import { decryptedReads } from './decrypted-reads.js';
import { tlsFailure } from './errors.js';

/** Answers `getExtraInfo` for a connection. */
export type Facts = (name: string) => unknown;

/** The connection that carries TLS. */
export interface Below {
  /** What is known about it. */
  readonly facts: Facts;
  /** The peer, as messages name it. */
  readonly peer: string | null;
}

/** A `Transport` over TLS whose handshake is complete. */
export class TlsTransport extends DuplexTransport {
  /** @param shutdownTimeout - how long a close waits for the peer's end: it shows that the peer has read everything before it */
  constructor(socket: TLSSocket, context: SecureContext | undefined, { facts }: Below, shutdownTimeout: number) {
    super(socket, StreamMode.READWRITE, {
      kind: {
        ...SOCKET,
        reads: (_, receiver) => decryptedReads(socket, receiver),
        endTimeout: shutdownTimeout,
        lossError: tlsLoss,
      },
      info: new TlsInfo(socket, context, facts),
    });
  }
}

/** What is known about a connection over TLS. */
class TlsInfo implements ConnectionInfo {
  readonly #tls: TLSSocket;
  readonly #context: SecureContext | undefined;
  readonly #facts: Facts;
  readonly #socket: SocketInfo;
  readonly #cipher: ReturnType<TLSSocket['getCipher']>;
  readonly #certificate: object | undefined;

  constructor(tls: TLSSocket, context: SecureContext | undefined, facts: Facts) {
    this.#tls = tls;
    this.#context = context;
    this.#facts = facts;
    this.#socket = new SocketInfo(tls);
    this.#cipher = tls.getCipher();
    const certificate = tls.getPeerCertificate() as object | null;
    this.#certificate = certificate === null || Object.keys(certificate).length === 0 ? undefined : certificate;
  }

  /**
   * `cipher`: `{ name, standardName, version }`; `peercert`: what Node's `getPeerCertificate()` returns, undefined if the peer has sent
   * none; `sslcontext`: the `SecureContext`; `sslObject` and `socket`: the `TLSSocket`; `alpn`: the protocol that ALPN has agreed on, and
   * `servername`: the name that the client has sent (SNI), both undefined if there is none; everything else as without TLS.
   */
  get(name: string): unknown {
    switch (name) {
      case 'cipher':
        return this.#cipher;
      case 'peercert':
        return this.#certificate;
      case 'sslcontext':
        return this.#context;
      case 'sslObject':
        return this.#tls;
      case 'alpn':
        // Node has false for none.
        return this.#tls.alpnProtocol || undefined;
      case 'servername':
        return this.#tls.servername || undefined;
      case 'peername':
      case 'sockname':
        return this.#facts(name) ?? this.#socket.get(name);
      case 'proxy':
        return this.#facts(name);
      default:
        return this.#socket.get(name);
    }
  }
}

function tlsLoss(reason: Error, peer: string | undefined): Error {
  const failure = tlsFailure(reason);
  if (failure === null || reason instanceof ConnectionError) return connectionError(reason, peer);
  const { syscall = 'read' } = reason as NodeJS.ErrnoException;
  const where = [syscall, showUnixPath(peer ?? '')].filter(Boolean).join(' ');
  return new ConnectionError(failure.code, `${where}: ${failure.words}`, { cause: reason });
}
