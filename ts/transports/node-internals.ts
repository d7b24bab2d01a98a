/**
 * The handle behind a `net.Socket`: accepted sockets that read into reused memory, an end that may be none, what the kernel still
 * holds for a socket whose write has failed, and how much of what was written it has taken.
 *
 * Node documents the `onread` option for sockets that connect, and gives no way to ask for it on a socket that a server
 * accepted. The option works on any handle, though: so the handle of the accepted socket is moved to a new `net.Socket`
 * made with it. This is the only file that touches what Node does not document (`_handle`, `_server`, `_sharedCreds`,
 * `_readableState`, `_writableState`); where anything looks different from what is known, nothing is changed and `null` tells
 * the caller to read by `'data'` events. What a runtime has is asked of the object at hand, never of the runtime's name: Deno
 * has handles that do the same as Node's, Bun has others.
 *
 * The server's count of connections moves along: it goes down when the new socket is destroyed, so that `server.close()`
 * and `maxConnections` work as ever. The accepted socket is left without handle; whoever still holds it finds that it
 * reads as not connected, and that writing to it fails.
 */
import { readSync } from 'node:fs';
import { Socket, type OnReadOpts, type Server, type SocketConstructorOpts } from 'node:net';
import type { SecureContext, Server as TlsServer } from 'node:tls';

interface Handle {
  /** What one stream of Node's is stacked upon another by. */
  readonly _externalStream?: unknown;
  reading?: boolean;
  readStart(): number;
  getpeername?(out: object): number;
  /** The file descriptor; absent, or negative, where the runtime does not show it, as on Windows. */
  readonly fd?: unknown;
  /** Bytes handed to the handle, and how many of them it has not passed to the kernel yet. */
  readonly bytesWritten?: unknown;
  readonly writeQueueSize?: unknown;
  /** TLS only: decrypts bytes as if they had just been read. */
  receive?(ciphertext: Uint8Array): void;
  /** TLS only: the handle below. */
  readonly _parent?: Handle | null;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
}

interface Insides {
  _handle: Handle | null;
  _server: Server | null;
  server: Server | null;
}

interface AdoptingOpts extends SocketConstructorOpts {
  handle: Handle;
  pauseOnCreate: boolean;
  onread: OnReadOpts;
}

/**
 * Moves the connection of a socket that a server has just accepted, and of which nothing was read yet, to a new socket
 * that is paused and reads by `onread`.
 *
 * @returns the new socket, half-open; or null, with `socket` as it was, where the runtime does not allow it
 */
export function adopt(socket: Socket, onread: OnReadOpts): Socket | null {
  const old = socket as unknown as Insides;
  const handle = old._handle;
  if (!isHandle(handle) || socket.constructor !== Socket) return null;
  if (socket.destroyed || socket.connecting || !socket.readable || !socket.writable) return null;
  if (socket.bytesRead !== 0 || socket.bytesWritten !== 0 || socket.readableLength !== 0) return null;
  if (handle.reading === true) {
    // A read that Windows has begun goes on into memory of the old socket.
    if (process.platform === 'win32') return null;
    handle.reading = false;
    handle.readStop();
  }

  old._handle = null;
  const adopted = made({ handle, allowHalfOpen: true, pauseOnCreate: true, onread });
  if (adopted === null) {
    old._handle = handle;
    return null;
  }
  const insides = adopted as unknown as Insides;
  insides.server = old.server;
  insides._server = old._server;
  old._server = null;
  return adopted;
}

/**
 * Reads once more behind an end of file that looks wrong.
 *
 * A reset that is found in one go with the last bytes comes out of libuv as an end of file, and a stream that was cut off
 * would pass for a whole one. But a socket of which this side is still open and which has no peer any more was reset. Only
 * another read can tell whether the peer had ended its side before: it gives the end again, or the error.
 *
 * @returns whether an `'error'` may follow in the next poll for input
 */
export function readPastEnd(socket: Socket): boolean {
  if (socket.destroyed || socket.writableEnded) return false;
  const handle = (socket as unknown as Insides)._handle;
  if (!isHandle(handle) || typeof handle.getpeername !== 'function') return false;
  // Undefined where TLS lies over a Unix socket, whose handle has no such method.
  const status: unknown = handle.getpeername({});
  return typeof status === 'number' && status !== 0 && handle.readStart() === 0;
}

/** How many bytes one system call of {@link readRest} asks for. */
const REST_BYTES = 65536;

/**
 * The most bytes that {@link readRest} takes: more than a kernel holds for a socket unless it was tuned to. A peer that can still
 * send, which a failed write does not rule out on a Unix socket, could otherwise keep it reading.
 */
const MOST_REST_BYTES = 2 ** 26;

/**
 * Reads what the kernel still holds for a socket of which a write has just failed, without waiting. Node closes the descriptor of such
 * a socket at once, and what the peer sent before it went away would be lost.
 *
 * Over TLS the bytes are passed to the engine that decrypts them, and come out of the socket's `push`, which is replaced meanwhile.
 *
 * @param received - gets each chunk, in memory that is reused, and null for an end that TLS has decrypted
 * @returns whether the kernel has reported the end of the stream after the last byte; false where the descriptor is not available
 */
export function readRest(socket: Socket, received: (chunk: Uint8Array | null) => void): boolean {
  const handle = (socket as unknown as Insides)._handle;
  const fd = descriptorOf(socket);
  if (!isHandle(handle) || fd === null || process.platform === 'win32') return false;
  const decrypter = handlesOf(handle).findLast((one) => typeof one.receive === 'function');
  if (decrypter === undefined && (socket as Socket & { encrypted?: boolean }).encrypted === true) return false;
  socket.push = (chunk: Uint8Array | null) => {
    received(chunk);
    return true;
  };
  try {
    return readAll(fd, (chunk) => {
      if (decrypter === undefined) received(chunk);
      else decrypter.receive?.(chunk);
    });
  } finally {
    delete (socket as Partial<Socket>).push;
  }
}

/** Reads a descriptor without waiting. Returns whether the end was reported. */
function readAll(fd: number, received: (chunk: Uint8Array) => void): boolean {
  const memory = Buffer.allocUnsafeSlow(REST_BYTES);
  for (let taken = 0; taken < MOST_REST_BYTES;) {
    let count: number;
    try {
      count = readSync(fd, memory, 0, REST_BYTES, null);
    } catch {
      // EAGAIN: nothing is left. Any other error is that of the connection, of which the write has told already.
      return false;
    }
    if (count === 0) return true;
    taken += count;
    received(memory.subarray(0, count));
  }
  return false;
}

/** How many bytes written to a socket the kernel has taken, or null where the runtime does not show it. */
export function bytesTaken(socket: object): number | null {
  const handle = (socket as Partial<Insides>)._handle ?? null;
  const { bytesWritten, writeQueueSize } = (handle === null ? null : handlesOf(handle).at(-1)) ?? {};
  return typeof bytesWritten === 'number' && typeof writeQueueSize === 'number' ? bytesWritten - writeQueueSize : null;
}

/** A handle and those below it: TLS lies over the handle of a socket, or over other TLS. */
function handlesOf(handle: Handle): Handle[] {
  const handles = [handle];
  for (let below = handle._parent; below; below = below._parent) handles.push(below);
  return handles;
}

/** The file descriptor of a socket, or null where the runtime does not say, or the system has none. */
export function descriptorOf(socket: Socket): number | null {
  const fd = (socket as unknown as Insides)._handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : null;
}

/**
 * Ends the reads into memory of ours, for a socket that TLS is about to take over and that nothing reads any more. In Node TLS
 * is laid over the handle and takes its reads for itself. Where handles cannot be stacked like that (Deno), what is encrypted
 * would go on into our memory, and the handshake would wait for it; there no memory is as good as none lent.
 */
export function lendNoMore(socket: Socket): void {
  const handle = (socket as unknown as Insides)._handle;
  if (isHandle(handle) && handle._externalStream === undefined) handle.useUserBuffer(new Uint8Array(0));
}

/** The context that a TLS server has made of its options, or null where the runtime keeps it elsewhere. */
export function serverContext(server: TlsServer): SecureContext | null {
  const context = (server as unknown as { _sharedCreds?: Partial<SecureContext> })._sharedCreds;
  return typeof context?.context === 'object' ? (context as SecureContext) : null;
}

/**
 * Has a TLS server use a context that exists already: Node documents that for a single socket only, and a socket on its own
 * neither checks the certificate of a client nor reports what fails after the handshake.
 *
 * @returns false where the runtime does not allow it
 */
export function setServerContext(server: TlsServer, context: SecureContext): boolean {
  if (serverContext(server) === null) return false;
  (server as unknown as { _sharedCreds: SecureContext })._sharedCreds = context;
  return true;
}

/**
 * Whether a `Duplex` was made with one direction only, as the streams of a child process are. What Node makes public does not
 * tell that from a direction that has come to its end.
 */
export function lacks(stream: object, direction: 'readable' | 'writable'): boolean {
  const { _readableState: reading, _writableState: writing } = stream as {
    _readableState?: { readable?: unknown };
    _writableState?: { writable?: unknown };
  };
  return (direction === 'readable' ? reading?.readable : writing?.writable) === false;
}

/** A socket around the handle, or null where the runtime makes none, or makes one around something else. */
function made(options: AdoptingOpts): Socket | null {
  try {
    const socket = new Socket(options);
    return (socket as unknown as Insides)._handle === options.handle ? socket : null;
  } catch {
    return null;
  }
}

function isHandle(handle: Partial<Handle> | null | undefined): handle is Handle {
  return (
    typeof handle?.useUserBuffer === 'function' &&
    typeof handle.readStart === 'function' &&
    typeof handle.readStop === 'function'
  );
}
