/**
 * Everything that uses undocumented parts of Node: `_handle`, the symbols in which a socket keeps its option `onread`, `_sharedCreds`,
 * `_readableState`, `_writableState`.
 *
 *     readDirectly                     direct reads for sockets that others have made
 *     readDecrypted                    what TLS has decrypted, in memory that is reused
 *     readPastEnd                      an end of file that may be a reset
 *     readRest                         what the kernel still holds for a socket on which a write has failed
 *     bytesAccepted, descriptorOf      how much the kernel has accepted; the file descriptor
 *     canWriteAtOnce, writeAtOnce      writes that the kernel accepts at once
 *     stopDirectReads                  the end of direct reads, before TLS takes over a socket
 *     serverContext, setServerContext  the TLS context of a server
 *     lacks                            a `Duplex` with only one direction
 *
 * If anything differs from what a function expects, it changes nothing, and its result (`null`, `false`) makes the caller use the public
 * API. Features are detected on the object at hand, never by the name of the runtime: Deno has handles that work as Node's do, Bun has
 * different ones.
 */
import { readSync } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import type { SecureContext, Server as TlsServer } from 'node:tls';

interface Handle {
  /** With it, one stream can be stacked on another inside Node. */
  readonly _externalStream?: unknown;
  reading?: boolean;
  readStart(): number;
  getpeername?(out: object): number;
  /** The file descriptor; absent or negative if the runtime does not expose it, as on Windows. */
  readonly fd?: unknown;
  /** Bytes written to the handle, and how many of them the kernel has not accepted yet. */
  readonly bytesWritten?: unknown;
  readonly writeQueueSize?: unknown;
  /** TLS only: decrypts bytes as if they had just been received. */
  receive?(ciphertext: Uint8Array): void;
  /** TLS only: the handle below. */
  readonly _parent?: Handle | null;
  readStop(): number;
  useUserBuffer(buffer: Uint8Array): void;
  /** Passes bytes to the kernel, and returns 0 or an error. If the kernel does not accept all of them, the rest is queued. */
  writeBuffer?(request: WriteRequest, data: Uint8Array): number;
}

/** What Node creates for each write to a handle. The handle uses it only if the kernel does not accept everything at once. */
interface WriteRequest {
  /** -1 unless the handle has used it. */
  getAsyncId(): number;
  oncomplete?: (status: number, handle: unknown, error: unknown) => void;
  /** The bytes, which must stay alive until `oncomplete` is called. */
  buffer?: Uint8Array;
  /** The text of an error, if the handle has one. */
  error?: unknown;
}

type WriteRequestClass = new () => WriteRequest;

interface Insides {
  _handle: Handle | null;
  /** The option `onread`, see {@link OnReadKeys}. */
  [key: symbol]: unknown;
}

/** The option `onread` with a function for the memory of the next read. */
export interface OnRead {
  readonly buffer: () => Uint8Array;
  readonly callback: (count: number, memory: Uint8Array) => boolean;
}

/** The symbols in which a socket keeps its option `onread`. */
interface OnReadKeys {
  /** The memory for the next read; null without the option. */
  readonly memory: symbol;
  readonly buffer: symbol;
  readonly callback: symbol;
}

/** Null if the runtime keeps the option elsewhere; undefined until it is needed. */
let onReadKeys: OnReadKeys | null | undefined;

/** Finds the symbols by making a socket with the option: each must have the value that Node derives from it. */
function findOnReadKeys(): OnReadKeys | null {
  const onread: OnRead = { buffer: () => new Uint8Array(0), callback: () => true };
  // The types have the option only for `connect`.
  const options: SocketConstructorOpts & { onread: OnRead } = { onread };
  const probe = new Socket(options) as unknown as Insides;
  const symbols = Object.getOwnPropertySymbols(probe);
  const key = (name: string, value: unknown): symbol | undefined =>
    symbols.find((symbol) => symbol.description === name && probe[symbol] === value);
  const memory = key('kBuffer', true);
  const buffer = key('kBufferGen', onread.buffer);
  const callback = key('kBufferCb', onread.callback);
  return memory === undefined || buffer === undefined || callback === undefined ? null : { memory, buffer, callback };
}

/**
 * Lets a socket of which nothing was read yet, and that nothing listens to, read through `onread`, and pauses it. Node documents this option
 * only for sockets that the program makes itself; a second socket around the same handle would have it, but takes as long to make as the
 * first.
 *
 * @returns false, with the socket unchanged, if the runtime does not allow this
 */
export function readDirectly(socket: Socket, { buffer, callback }: OnRead): boolean {
  const insides = socket as unknown as Insides;
  const handle = insides._handle;
  if (!isHandle(handle) || socket.constructor !== Socket) return false;
  if (socket.destroyed || socket.connecting || !socket.readable) return false;
  if (socket.bytesRead !== 0 || socket.bytesWritten !== 0 || socket.readableLength !== 0) return false;
  if (socket.readableEncoding !== null) return false;
  if (socket.listenerCount('data') > 0 || socket.listenerCount('readable') > 0) return false;
  // A read that has begun on Windows fills memory of the socket.
  if (handle.reading === true && process.platform === 'win32') return false;
  const keys = (onReadKeys ??= findOnReadKeys());
  if (keys === null || insides[keys.memory] !== null) return false;
  let memory: Uint8Array;
  try {
    memory = buffer();
  } catch {
    return false;
  }
  socket.pause();
  if (handle.reading === true) {
    handle.reading = false;
    handle.readStop();
  }
  insides[keys.memory] = memory;
  insides[keys.buffer] = buffer;
  insides[keys.callback] = callback;
  handle.useUserBuffer(memory);
  return true;
}

/**
 * Lets a TLS socket read through `onread`, into `memory`, instead of into a new `ArrayBuffer` for each record. Nothing else changes: it
 * reads on until `callback` returns false, or something calls its `pause`.
 *
 * The memory can be shared by all TLS sockets of the thread: the TLS engine copies into it and calls back without interruption.
 *
 * @returns false, with the socket unchanged, if the runtime does not allow this
 */
export function readDecrypted(socket: Socket, memory: Uint8Array, callback: OnRead['callback']): boolean {
  const insides = socket as unknown as Insides;
  const handle = insides._handle;
  // Only a handle that can be stacked decrypts inside Node, and only TLS can be passed bytes to decrypt.
  if (socket.destroyed || !isHandle(handle)) return false;
  if (handle._externalStream === undefined || typeof handle.receive !== 'function') return false;
  const keys = (onReadKeys ??= findOnReadKeys());
  // Without a function for the memory of the next read, Node continues with the same memory.
  if (keys === null || insides[keys.memory] !== null || insides[keys.buffer] !== null) return false;
  insides[keys.memory] = memory;
  insides[keys.callback] = callback;
  handle.useUserBuffer(memory);
  return true;
}

/**
 * Reads once more after an end of file that may be a reset.
 *
 * If libuv finds a reset together with the last bytes, it reports an end of file, and a stream that was cut off would appear complete. But
 * if this side is still open and the socket has no peer any more, it was reset. Whether the peer had ended its side before the reset shows
 * only in another read, which returns the end again, or the error.
 *
 * @returns whether an `'error'` may follow with the next poll for input
 */
export function readPastEnd(socket: Socket): boolean {
  if (socket.destroyed || socket.writableEnded) return false;
  const handle = (socket as unknown as Insides)._handle;
  if (!isHandle(handle) || typeof handle.getpeername !== 'function') return false;
  // Undefined for TLS over a Unix socket, whose handle has no such method.
  const status: unknown = handle.getpeername({});
  return typeof status === 'number' && status !== 0 && handle.readStart() === 0;
}

/** How many bytes {@link readRest} requests in one system call. */
const REST_BYTES = 65536;

/**
 * The most bytes that {@link readRest} reads, which is more than a kernel holds for a socket with usual settings. On a Unix socket the peer
 * may still be able to send after our write has failed, and could otherwise keep this reading.
 */
const MOST_REST_BYTES = 2 ** 26;

/**
 * Reads what the kernel still holds for a socket on which a write has just failed, without waiting. Node closes the descriptor of such a
 * socket immediately, and what the peer sent before it left would be lost.
 *
 * Over TLS, the bytes are passed to the engine that decrypts them, which passes them to the socket's `push`; that is replaced meanwhile.
 *
 * @param received - gets each chunk, in memory that is reused, and null for an end that TLS has decrypted
 * @returns whether the kernel has reported the end of the stream after the last byte; false if the descriptor is not available
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
      // EAGAIN: nothing is left. Any other error is that of the connection, which the write has already reported.
      return false;
    }
    if (count === 0) return true;
    taken += count;
    received(memory.subarray(0, count));
  }
  return false;
}

/** How many of the bytes written to a socket the kernel has accepted, or null if the runtime does not expose this. */
export function bytesAccepted(socket: object): number | null {
  const handle = (socket as Partial<Insides>)._handle ?? null;
  const { bytesWritten, writeQueueSize } = (handle === null ? null : handlesOf(handle).at(-1)) ?? {};
  return typeof bytesWritten === 'number' && typeof writeQueueSize === 'number' ? bytesWritten - writeQueueSize : null;
}

/** A handle and those below it: TLS is stacked on the handle of a socket, or on other TLS. */
function handlesOf(handle: Handle): Handle[] {
  const handles = [handle];
  for (let below = handle._parent; below; below = below._parent) handles.push(below);
  return handles;
}

/**
 * The class of the requests, and one that no handle has used yet. Null if the requests of the runtime are different; undefined before the
 * first write.
 */
let requestClass: WriteRequestClass | null | undefined;
let unusedRequest: WriteRequest | null = null;

/** Whether {@link writeAtOnce} may be used for a stream. */
export function canWriteAtOnce(stream: object): boolean {
  if (requestClass === null || stream.constructor !== Socket) return false;
  const handle = (stream as unknown as Insides)._handle;
  return isHandle(handle) && typeof handle.writeBuffer === 'function' && !Object.hasOwn(handle, 'writeBuffer');
}

/**
 * Writes to a socket past its `Writable` half, which takes as long as everything else that JavaScript does for a short write. It has no
 * part in a write that the kernel accepts at once: what `write` would do then is update counters that end up as they were, and call back.
 *
 * @returns true if the kernel has accepted all bytes. If the result is false, the caller must call `write` of the socket with the same bytes,
 * immediately. If a part of them is already in the kernel, or the attempt has failed, the socket then continues with the request, or the
 * error, as if it had made the attempt itself.
 */
export function writeAtOnce(socket: Socket, data: Uint8Array): boolean {
  // What is in the socket has to be sent before. The timer of `setTimeout` is restarted by `write`.
  if (socket.writableLength !== 0 || !socket.writable || socket.writableCorked !== 0) return false;
  if (socket.connecting || (socket.timeout ?? 0) !== 0) return false;
  const handle = (socket as unknown as Insides)._handle;
  if (handle?.writeBuffer === undefined) return false;
  const request = unusedRequest;
  if (request === null) {
    if (requestClass === undefined) learnRequests(handle);
    return false;
  }
  const status = handle.writeBuffer(request, data);
  if (status === 0 && request.getAsyncId() === -1) return true;
  unusedRequest = new requestClass!();
  onNextWrite(handle, (own) => {
    own.error = request.error;
    if (status !== 0) return status;
    // What the last call has stored for Node about its outcome is still there.
    request.buffer = data;
    request.oncomplete = (outcome, from, error) => own.oncomplete?.(outcome, from, error);
    return status;
  });
  return false;
}

/** Learns the class of the requests from the next write of a socket. */
function learnRequests(handle: Handle): void {
  onNextWrite(handle, (request, data) => {
    requestClass ??= classOf(request);
    if (requestClass !== null) unusedRequest ??= new requestClass();
    return handle.writeBuffer!(request, data);
  });
}

/**
 * The class of a request that no handle has used yet; null if it is not as expected. Node.js 26 makes one only if the kernel does not accept
 * everything at once, so there the public API takes little more time.
 */
function classOf(request: WriteRequest | null): WriteRequestClass | null {
  if (request === null || typeof request !== 'object') return null;
  const Class = request.constructor as WriteRequestClass;
  if (typeof request.oncomplete !== 'function' || typeof request.getAsyncId !== 'function') return null;
  // Deno has such a class, too, but what its id says is something else.
  if (!isNative(Class)) return null;
  return Class.length === 0 && request.getAsyncId() === -1 && new Class().getAsyncId() === -1 ? Class : null;
}

/** Whether a function is implemented by the runtime, and not in JavaScript. */
function isNative(call: unknown): boolean {
  return Function.prototype.toString.call(call).includes('[native code]');
}

/** Replaces the next write of a handle. */
function onNextWrite(handle: Handle, write: (request: WriteRequest, data: Uint8Array) => number): void {
  handle.writeBuffer = (request, data) => {
    delete handle.writeBuffer;
    return write(request, data);
  };
}

/** The file descriptor of a socket, or null if the runtime or the system does not expose it. */
export function descriptorOf(socket: Socket): number | null {
  const fd = (socket as unknown as Insides)._handle?.fd;
  return typeof fd === 'number' && fd >= 0 ? fd : null;
}

/**
 * Ends direct reads of a socket that TLS is about to take over, or that is not read any more. In Node, TLS is stacked on the handle and
 * receives what is read. If handles cannot be stacked (Deno), encrypted bytes would still be read into our memory, and the handshake would
 * wait for them forever. Setting empty memory prevents this.
 */
export function stopDirectReads(socket: Socket): void {
  const handle = (socket as unknown as Insides)._handle;
  if (isHandle(handle) && handle._externalStream === undefined) handle.useUserBuffer(new Uint8Array(0));
}

/** The context that a TLS server has made from its options, or null if the runtime keeps it elsewhere. */
export function serverContext(server: TlsServer): SecureContext | null {
  const context = (server as unknown as { _sharedCreds?: Partial<SecureContext> })._sharedCreds;
  return typeof context?.context === 'object' ? (context as SecureContext) : null;
}

/**
 * Makes a TLS server use an existing context. Node documents this only for a single `TLSSocket`, but one without a server neither checks
 * the certificate of the client nor reports what fails after the handshake.
 *
 * @returns false if the runtime does not allow it
 */
export function setServerContext(server: TlsServer, context: SecureContext): boolean {
  if (serverContext(server) === null) return false;
  (server as unknown as { _sharedCreds: SecureContext })._sharedCreds = context;
  return true;
}

/**
 * Whether a `Duplex` was made with only one direction, as the streams of a child process are. The public API does not distinguish this
 * from a direction that has ended.
 */
export function lacks(stream: object, direction: 'readable' | 'writable'): boolean {
  const { _readableState: reading, _writableState: writing } = stream as {
    _readableState?: { readable?: unknown };
    _writableState?: { writable?: unknown };
  };
  return (direction === 'readable' ? reading?.readable : writing?.writable) === false;
}

function isHandle(handle: Partial<Handle> | null | undefined): handle is Handle {
  return (
    typeof handle?.useUserBuffer === 'function' &&
    typeof handle.readStart === 'function' &&
    typeof handle.readStop === 'function'
  );
}
