/**
 * The transport over `net.Socket` (of which `tls.TLSSocket` is one).
 *
 * Two ways of reading. *Direct*: libuv reads into memory that is used again for every read, through the `onread` option
 * of the socket: three times the throughput of the other. It has to be asked for when the socket is made, so it is for
 * sockets that we connect ourselves, and for accepted ones as far as `node-internals.ts` can arrange it. *Data*: `'data'`
 * events, for all other sockets. `SLUICE_READS=data` in the environment forces the second.
 */
import { Socket, type LookupFunction } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { onAbort } from '../abort.js';
import { ConnectionError, ignore, showUnixPath } from '../errors.js';
import { unsentBytes } from '../system-calls.js';
import { connectionError } from '../system-errors.js';
import { directReads, type DirectReader, type DirectReads } from './direct-reads.js';
import { DuplexTransport } from './duplex.js';
import { adopt, bytesTaken, lendNoMore, readPastEnd, descriptorOf } from './node-internals.js';
import { networkDenied } from './permission.js';
import { StreamMode, hostAndPort } from './transport.js';

/** The address of one end: asyncio has a tuple of host and port here. For a Unix socket it is the path, a string. */
export interface SocketAddress {
  readonly address: string;
  readonly port: number;
  readonly family: string;
}

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

/** A `Transport` over a connected `net.Socket`. */
export class SocketTransport extends DuplexTransport implements DirectReader {
  override readonly readPath: 'data' | 'direct';
  readonly #socket: Socket;
  readonly #reads: DirectReads | null;
  /**
   * The addresses, or paths, of both ends. Until they are asked for, our own is the object that Node has, and that of the peer is
   * in two parts, which needs none.
   */
  #own: SocketAddress | string | undefined;
  #peer: SocketAddress | string | undefined;
  #peerPort: number | undefined;

  /**
   * @param socket - connected; it belongs to the transport from now on
   * @param reads - the direct reads that the socket was made with, if any
   * @param mode - the directions to use it in
   */
  constructor(socket: Socket, reads: DirectReads | null = null, mode: StreamMode = StreamMode.READWRITE) {
    super(socket, mode as typeof StreamMode.READWRITE);
    this.#socket = socket;
    this.#reads = reads;
    this.readPath = reads === null ? 'data' : 'direct';
    // One function for all sockets. One that somebody else has put there stays.
    if (!Object.hasOwn(socket, 'destroy')) socket.destroy = SocketTransport.#destroy;
    this.#remember();
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
        const transport = new SocketTransport(socket, reads);
        if (path !== undefined) transport.#nameUnix(path, '');
        resolve(transport);
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
    const transport = adopted === null ? new SocketTransport(socket) : new SocketTransport(adopted, reads);
    if (path === undefined) transport.#socket.setNoDelay(noDelay);
    else transport.#nameUnix('', path);
    if (keepAlive) transport.#socket.setKeepAlive(true);
    return transport;
  }

  /** Over a connected socket of the user's: read by `'data'` events, its options left alone. */
  static over(socket: Socket): SocketTransport {
    return new SocketTransport(socket);
  }

  /** Replaces `destroy` of a socket. */
  static #destroy(this: Socket, ...args: Parameters<Socket['destroy']>): Socket {
    const { code, syscall } = (args[0] ?? {}) as NodeJS.ErrnoException;
    if (syscall === 'write' && !this.destroyed) SocketTransport.deliverRest(this, code);
    return (Object.getPrototypeOf(this) as Socket).destroy.apply(this, args);
  }

  protected override bytesTaken(): number {
    const taken = bytesTaken(this.#socket) ?? super.bytesTaken();
    return taken - (this.unsent() ?? 0);
  }

  protected override unsent(): number | null {
    const fd = descriptorOf(this.#socket);
    return fd === null ? null : unsentBytes(fd);
  }

  /** True but for TLS, where the end of one direction ends the connection. */
  override get canWriteEof(): boolean {
    return super.canWriteEof && (this.#socket as Socket & { encrypted?: boolean }).encrypted !== true;
  }

  /** @internal */
  override release(onAbandon: () => void): Duplex {
    if (this.#reads !== null) {
      lendNoMore(this.#socket);
      this.#reads.letGo();
    }
    return super.release(onAbandon);
  }

  protected override startReading(readable: Readable): void {
    if (this.#reads === null) {
      super.startReading(readable);
    } else {
      this.#reads.join(this);
      readable.resume();
    }
  }

  override close(): void {
    if (this.#reads !== null) {
      this.#reads.paused = false;
      this.#reads.join(this);
    }
    super.close();
  }

  /** @internal */
  directTarget(ahead: boolean): Uint8Array | null {
    // In this order because most streams want no memory of their own, and the other question takes longer.
    const target = this.receiver(0)?.readTarget(ahead) ?? null;
    return target === null || this.isClosing ? null : target;
  }

  protected override ended(): void {
    this.#reads?.letGo();
  }

  /** @internal */
  directFilled(count: number): boolean {
    const sink = this.receiver(count);
    if (sink === null) return true;
    try {
      return sink.commit(count);
    } catch (error) {
      this.failed(error);
      return false;
    }
  }

  /** @internal */
  directReceived(chunk: Uint8Array): boolean {
    return this.received(chunk);
  }

  override pauseReading(): void {
    if (this.#reads !== null && !this.isClosing) this.#reads.paused = true;
    super.pauseReading();
  }

  override resumeReading(): void {
    if (this.#reads !== null) this.#reads.paused = false;
    super.resumeReading();
  }

  protected override doubtsEnd(): boolean {
    return readPastEnd(this.#socket);
  }

  protected override get chunkBytes(): number {
    return Infinity;
  }

  /** The kernel, or the TLS engine, has copied the bytes by the time it calls back. */
  protected override lend(data: Uint8Array): Uint8Array {
    return data;
  }

  /** A socket always says when it is closed: when the descriptor is, which is later than `closed` turns true. */
  protected override destroyStream(): void {
    this.#socket.destroy();
  }

  override ref(): void {
    this.#socket.ref();
  }

  override unref(): void {
    this.#socket.unref();
  }

  /**
   * `peername`, `sockname`: a {@link SocketAddress}, or the path of a Unix socket ('' where it has none); known also after
   * the close. `socket`: the `net.Socket`.
   */
  override getExtraInfo(name: string): unknown {
    switch (name) {
      case 'peername':
        this.#remember();
        return this.#peername;
      case 'sockname':
        this.#remember();
        return this.#sockname;
      case 'socket':
        return this.#socket;
      default:
        return undefined;
    }
  }

  protected override get peer(): string | undefined {
    const peer = this.#peername;
    return typeof peer === 'object' ? hostAndPort(peer.address, peer.port) : peer === '' ? undefined : peer;
  }

  /** Asks while the socket can still tell. */
  #remember(): void {
    if (this.#peer === undefined) {
      const { remoteAddress, remotePort } = this.#socket;
      this.#peer = remoteAddress;
      this.#peerPort = remotePort;
    }
    if (this.#own === undefined) {
      const own = this.#socket.address();
      if ('address' in own) this.#own = own;
    }
  }

  get #peername(): SocketAddress | string | undefined {
    const [peer, port] = [this.#peer, this.#peerPort];
    if (typeof peer === 'string' && port !== undefined) this.#peer = socketAddress(peer, port);
    return this.#peer;
  }

  get #sockname(): SocketAddress | string | undefined {
    const own = this.#own;
    if (typeof own === 'object' && !Object.isFrozen(own)) this.#own = socketAddress(own.address, own.port);
    return this.#own;
  }

  #nameUnix(peername: string, sockname: string): void {
    this.#peer = peername;
    this.#own = sockname;
  }
}

function socketAddress(address: string, port: number): SocketAddress {
  return Object.freeze({ address, port, family: address.includes(':') ? 'IPv6' : 'IPv4' });
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
