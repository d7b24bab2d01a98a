/** What is known about the connection of a socket, during its life and after it. */
import type { Socket } from 'node:net';
import type { ConnectionInfo } from './duplex.js';

/** The address of one end: asyncio has a tuple of host and port here. For a Unix socket it is the path, a string. */
export interface SocketAddress {
  readonly address: string;
  readonly port: number;
  readonly family: string;
}

/** The paths of the two ends of a Unix socket; '' for an end that has none. */
export interface UnixPaths {
  readonly peername: string;
  readonly sockname: string;
}

/**
 * Whether a connected socket is a named pipe of Windows. It has no half-close: libuv closes the pipe 50 ms after the end of one direction,
 * and whatever the peer sends later is lost.
 */
export function isNamedPipe(socket: Socket): boolean {
  return process.platform === 'win32' && socket.localAddress === undefined;
}

/** Answers `getExtraInfo` for a socket. */
export class SocketInfo implements ConnectionInfo {
  readonly #socket: Socket;
  /**
   * The addresses, or paths, of both ends. Until a caller asks for them, our own is the object that Node has, and the peer's is kept in
   * two parts, which needs no object.
   */
  #own: SocketAddress | string | undefined;
  #peer: SocketAddress | string | undefined;
  #peerPort: number | undefined;

  /** @param paths - of a Unix socket, if they are known; Node does not report them */
  constructor(socket: Socket, paths?: UnixPaths) {
    this.#socket = socket;
    this.#own = paths?.sockname;
    this.#peer = paths?.peername;
    this.#remember();
  }

  /**
   * `peername`, `sockname`: a {@link SocketAddress}, or the path of a Unix socket ('' if it has none); also known after the close.
   * `socket`: the `net.Socket`.
   */
  get(name: string): unknown {
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

  /** Reads the addresses while the socket still has them. */
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
}

function socketAddress(address: string, port: number): SocketAddress {
  return Object.freeze({ address, port, family: address.includes(':') ? 'IPv6' : 'IPv4' });
}
