/**
 * The transport over `net.Socket` (of which `tls.TLSSocket` is one).
 *
 * Two ways of reading. *Direct*: libuv reads into memory that is used again for every read, through the `onread` option
 * of the socket: three times the throughput of the other. It has to be asked for when the socket is made, so it is for
 * sockets that we connect ourselves, and for accepted ones as far as `node-internals.ts` can arrange it. *Data*: `'data'`
 * events, for all other sockets. `SLUICE_READS=data` in the environment forces the second.
 */
import { Socket, type LookupFunction } from 'node:net';
import { onAbort } from '../abort.js';
import { ConnectionError, ignore, showUnixPath } from '../errors.js';
import { unsentBytes } from '../system-calls.js';
import { connectionError } from '../system-errors.js';
import { directReads, type DirectReads } from './direct-reads.js';
import { DuplexTransport, type ConnectionInfo } from './duplex.js';
import { adopt, bytesTaken, descriptorOf, readPastEnd, readRest } from './node-internals.js';
import { networkDenied } from './permission.js';
import { SocketInfo } from './socket-info.js';
import type { StreamKind } from './stream-kind.js';
import { StreamMode, hostAndPort } from './transport.js';

/** What is set on a socket when a transport is made over it. */
export interface SocketOptions {
  /** `TCP_NODELAY`: small writes are sent at once. Default true. */
  noDelay?: boolean | undefined;
  /** `SO_KEEPALIVE`: the system finds out about a peer that is gone. Default false. */
  keepAlive?: boolean | undefined;
}

/** Where to connect to, and from where. */
export interface ConnectSocketOptions extends SocketOptions {
  /** A TCP port, with `host`. */
  port?: number | undefined;
  /** A name or an address; default `localhost`. A name is resolved to one address. */
  host?: string | undefined;
  /** 4 or 6: which addresses of a name to take; 0 (default): any. */
  family?: number | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
  /** Resolves a name, as `dns.lookup`. */
  lookup?: LookupFunction | undefined;
  /** The path of a Unix socket, in place of host and port. */
  path?: string | undefined;
  /** Ends the attempt: the socket is destroyed, the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Sockets, of which `tls.TLSSocket` is one. */
export const SOCKET: StreamKind = {
  // The kernel, or the TLS engine, has copied the bytes when Node calls back.
  write(socket, data, written) {
    socket.write(data, written);
  },
  accepted: bytesTaken,
  unsent(socket: Socket) {
    const fd = descriptorOf(socket);
    return fd === null ? null : unsentBytes(fd);
  },
  readRest,
  endMayBeReset: readPastEnd,
  endTimeout: null,
  // It is emitted when the descriptor is closed, which is after `closed` has become true.
  emitsClose: true,
  outlivesWriting: false,
  lossError: connectionError,
};

/** A `Transport` over a connected `net.Socket`. */
export class SocketTransport extends DuplexTransport {
  /**
   * @param socket - connected; it belongs to the transport from now on
   * @param reads - the direct reads that the socket was made with, if any
   * @param mode - the directions to use it in
   * @param info - answers `getExtraInfo`
   */
  constructor(
    socket: Socket,
    reads: DirectReads | null = null,
    mode: StreamMode = StreamMode.READWRITE,
    info: ConnectionInfo = new SocketInfo(socket),
  ) {
    super(socket, mode as typeof StreamMode.READWRITE, { kind: SOCKET, reads, info });
  }

  /**
   * Connects a new socket and waits until it is connected.
   *
   * @throws ConnectionError with the code of the system, such as `ECONNREFUSED`
   */
  static connect(options: ConnectSocketOptions): Promise<SocketTransport> {
    return new Promise((resolve, reject) => {
      const { noDelay = true, keepAlive = false, signal, path, ...tcp } = options;
      if (signal?.aborted === true) {
        reject(signal.reason as Error);
        return;
      }
      const reads = directReads();
      const onread = reads === null ? {} : { onread: reads };
      const socket = new Socket({ allowHalfOpen: true, ...onread });
      // Nothing is read before the sink is there.
      socket.pause();
      socket.setNoDelay(noDelay);
      if (keepAlive) socket.setKeepAlive(true);

      const onError = (error: Error): void => {
        settle();
        const { syscall, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
        // Node tells of a port only where it is not 0.
        const given = (syscall === 'bind' ? tcp.localPort : tcp.port) ?? 0;
        const name = path ?? hostAndPort(address ?? tcp.host ?? 'localhost', port ?? given);
        reject(notAllowed(error, name) ?? connectionError(error, name));
      };
      const onConnect = (): void => {
        settle();
        const info = new SocketInfo(socket, path === undefined ? undefined : { peername: path, sockname: '' });
        resolve(new SocketTransport(socket, reads, StreamMode.READWRITE, info));
      };
      const settle = (): void => {
        forget();
        socket.off('error', onError).off('connect', onConnect);
      };
      const forget = onAbort(signal, () => {
        settle();
        socket.once('error', ignore).destroy();
        reject(signal?.reason as Error);
      });
      socket.on('error', onError).on('connect', onConnect);
      try {
        if (path !== undefined) socket.connect({ path });
        else socket.connect({ ...defined(tcp), port: tcp.port!, autoSelectFamily: false });
      } catch (error) {
        settle();
        socket.destroy();
        throw notAllowed(error, path ?? hostAndPort(tcp.host ?? 'localhost', tcp.port ?? 0)) ?? error;
      }
    });
  }

  /**
   * Over a socket that a server has just accepted. The server should be made with `pauseOnConnect: true`, else what it
   * reads before this call keeps the socket on the `'data'` path.
   *
   * @param options - `path`: the path that a Unix server listens on, for `sockname`
   */
  static accepted(socket: Socket, options: SocketOptions & { path?: string | undefined } = {}): SocketTransport {
    const { noDelay = true, keepAlive = false, path } = options;
    const reads = directReads();
    const adopted = reads === null ? null : adopt(socket, reads);
    const ours = adopted ?? socket;
    const info = new SocketInfo(ours, path === undefined ? undefined : { peername: '', sockname: path });
    const transport = new SocketTransport(ours, adopted === null ? null : reads, StreamMode.READWRITE, info);
    if (path === undefined) ours.setNoDelay(noDelay);
    if (keepAlive) ours.setKeepAlive(true);
    return transport;
  }

  /** Over a connected socket of the user's: read by `'data'` events, its options left alone. */
  static over(socket: Socket): SocketTransport {
    return new SocketTransport(socket);
  }
}

/** The options that were given: Node takes a key with the value undefined for one that was given wrongly. */
function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

/** The error of a connection that Node's permission model forbids; null for any other error. */
function notAllowed(error: unknown, peer: string): ConnectionError | null {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== 'ERR_ACCESS_DENIED') return null;
  const words = networkDenied()?.message ?? message;
  return new ConnectionError(code, `connect ${showUnixPath(peer)}: ${words}`, { cause: error });
}
