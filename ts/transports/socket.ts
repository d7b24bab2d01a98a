/**
 * The transport over `net.Socket`, and how sockets are connected.
 *
 * A socket is read in one of two ways. *Direct*: through its `onread` option, libuv reads into memory that is reused for every read, which
 * has three times the throughput. The option must be set when the socket is made. So direct reads are for sockets that sluice makes, and for
 * accepted ones and pipes if `node-internals.ts` can set it later. *Data*: through `'data'` events, for all other sockets.
 * `SLUICE_READS=data` in the environment forces the second way. TLS has a way of its own: `tls/decrypted-reads.ts`.
 *
 * A socket that is read directly is also written to directly, past its `Writable` half, as long as the kernel accepts everything at once:
 * `writeAtOnce` in `node-internals.ts`.
 */
import { Socket, type LookupFunction } from 'node:net';
import { onAbort } from '../abort.js';
import { ConnectionError, ignore, showUnixPath } from '../errors.js';
import { unsentBytes } from '../system-calls.js';
import { connectionError } from '../system-errors.js';
import { directReads, type DirectReads } from './direct-reads.js';
import { DuplexTransport, type ConnectionInfo } from './duplex.js';
import {
  bytesAccepted,
  canWriteAtOnce,
  descriptorOf,
  readDirectly,
  readPastEnd,
  readRest,
  writeAtOnce,
} from './node-internals.js';
import { networkDenied } from './permission.js';
import { SocketInfo, isNamedPipe } from './socket-info.js';
import type { StreamKind } from './stream-kind.js';
import { StreamMode, hostAndPort } from './transport.js';

/** Options that are set on the socket of a new transport. */
export interface SocketOptions {
  /** `TCP_NODELAY`: small writes are sent immediately. Default true. */
  noDelay?: boolean | undefined;
  /** `SO_KEEPALIVE`: the system detects a peer that is gone. Default false. */
  keepAlive?: boolean | undefined;
}

/** Where to connect to, and from where. */
export interface ConnectSocketOptions extends SocketOptions {
  /** A TCP port, with `host`. */
  port?: number | undefined;
  /** A name or an address; default `localhost`. Only one address of a name is tried. */
  host?: string | undefined;
  /** Which addresses of a name to use: 4, 6, or 0 for any (default). */
  family?: number | undefined;
  localAddress?: string | undefined;
  localPort?: number | undefined;
  /** Resolves a name, as `dns.lookup` does. */
  lookup?: LookupFunction | undefined;
  /** The path of a Unix socket, instead of host and port. */
  path?: string | undefined;
  /** Ends the attempt: the socket is destroyed, and the call rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/** Sockets, of which `tls.TLSSocket` is one. */
export const SOCKET: StreamKind = {
  // The kernel, or the TLS engine, has copied the bytes when Node calls back.
  write(socket, data, written) {
    socket.write(data, written);
  },
  hasHalfClose: (socket: Socket) => !isNamedPipe(socket),
  accepted: bytesAccepted,
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

/** Sockets with direct reads: for them, what Node does not document may be used. */
const DIRECT_SOCKET: StreamKind = { ...SOCKET, canWriteAtOnce, writeAtOnce };

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
    super(socket, mode as typeof StreamMode.READWRITE, { kind: reads === null ? SOCKET : DIRECT_SOCKET, reads, info });
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
      // Nothing is read before there is a sink.
      socket.pause();
      socket.setNoDelay(noDelay);
      if (keepAlive) socket.setKeepAlive(true);

      const onError = (error: Error): void => {
        settle();
        const { syscall, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
        // Node reports no port if it is 0.
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
   * Over a socket that a server has just accepted. The server should be made with `pauseOnConnect: true`. Otherwise, if something is
   * read before this call, the socket continues with `'data'` events.
   *
   * @param options - `path`: the path that a Unix server listens on, for `sockname`
   * @param extend - adds to what is known about the connection
   */
  static accepted(
    socket: Socket,
    options: SocketOptions & { path?: string | undefined } = {},
    extend: (info: ConnectionInfo) => ConnectionInfo = (info) => info,
  ): SocketTransport {
    const { noDelay = true, keepAlive = false, path } = options;
    const offered = directReads();
    const reads = offered !== null && readDirectly(socket, offered) ? offered : null;
    const info = new SocketInfo(socket, path === undefined ? undefined : { peername: '', sockname: path });
    const transport = new SocketTransport(socket, reads, StreamMode.READWRITE, extend(info));
    if (path === undefined) socket.setNoDelay(noDelay);
    if (keepAlive) socket.setKeepAlive(true);
    return transport;
  }

  /** Over a connected socket of the user, which is read through `'data'` events and keeps its options. */
  static over(socket: Socket): SocketTransport {
    return new SocketTransport(socket);
  }
}

/** The options that were given. Node rejects some options whose value is undefined. */
function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never;
}

/** The error for a connection that Node's permission model forbids; null for any other error. */
function notAllowed(error: unknown, peer: string): ConnectionError | null {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code !== 'ERR_ACCESS_DENIED') return null;
  const words = networkDenied()?.message ?? message;
  return new ConnectionError(code, `connect ${showUnixPath(peer)}: ${words}`, { cause: error });
}
