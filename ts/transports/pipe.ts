/**
 * Transports of one direction: over a file descriptor, or over a `Readable` or `Writable` of Node.
 *
 *     fd of a FIFO, a pipe or a socket     a net.Socket made around it; reads go into reused memory
 *     fd of a terminal                     a tty stream
 *     fd of another character device       an fs stream: the thread pool waits for it, as it cannot be polled
 *     fd 0, 1 and 2 of the main thread     process.stdin, stdout, stderr: a second handle around them would get no events
 *     anything else (a file, a directory)  refused: it cannot be waited for
 *
 * `process.stdout` and `process.stderr` are lent. They belong to the process, which may log to them at any time, so closing
 * a stream over them flushes it and leaves them open.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { ReadStream, WriteStream, isatty } from 'node:tty';
import { isMainThread } from 'node:worker_threads';
import { invalidKind, invalidType } from '../errors.js';
import { directReads, type DirectReads } from './direct-reads.js';
import { DuplexTransport, type ConnectionInfo } from './duplex.js';
import { checkPipeEnd, kindOf, socketOver, statsOf, wrongFd } from './fd.js';
import { take } from './in-use.js';
import { Lent } from './lent.js';
import { lacks } from './node-internals.js';
import { SocketInfo } from './socket-info.js';
import { SocketTransport } from './socket.js';
import { StreamMode, type Transport } from './transport.js';

/** What a pipe can be made of: an fd, or a stream of Node. */
export type ReadPipe = number | Readable;
/** What a pipe can be made of: an fd, or a stream of Node. */
export type WritePipe = number | Writable;

type OneWay = typeof StreamMode.READ | typeof StreamMode.WRITE;

/** The transport over a socket, which `pipe` was made into. */
function overSocket(socket: Socket, reads: DirectReads | null, mode: OneWay, pipe: unknown): SocketTransport {
  return new SocketTransport(socket, reads, mode, new PipeInfo(pipe, new SocketInfo(socket)));
}

/** The transport over any other stream. */
function overStream(stream: Readable | Writable, mode: OneWay, pipe: unknown): DuplexTransport {
  // The compiler does not choose between two overloads for a union.
  return new DuplexTransport(stream as Readable, mode as typeof StreamMode.READ, { info: new PipeInfo(pipe, null) });
}

/** Adds `pipe`, what the pipe was made of, as in asyncio. */
class PipeInfo implements ConnectionInfo {
  readonly #pipe: unknown;
  readonly #below: ConnectionInfo | null;

  constructor(pipe: unknown, below: ConnectionInfo | null) {
    this.#pipe = pipe;
    this.#below = below;
  }

  get(name: string): unknown {
    return name === 'pipe' ? this.#pipe : this.#below?.get(name);
  }
}

/**
 * The transport that reads from a pipe, which belongs to it from now on.
 *
 * @param action - what the caller does, for the messages
 * @throws TypeError `ERR_INVALID_ARG_TYPE` when it is neither an fd nor a `Readable`, or one that decodes to strings
 * @throws TypeError `ERR_INVALID_FD_TYPE` when the fd is of a file, a directory or anything else that is no pipe, or is the
 * other end of one
 * @throws StateError `ERR_IN_USE` when the stream is read already, by a transport
 * @throws ConnectionError `EBADF` when the fd is not open, `ENOTCONN` when it is of a socket without a peer
 */
export function readPipe(action: string, pipe: unknown): Transport {
  if (typeof pipe === 'number') return overFd(action, pipe, StreamMode.READ);
  if (!isReadable(pipe)) throw invalidType(action, 'pipe', 'an fd or a Readable', pipe);
  if (lacks(pipe, 'readable')) throw oneWay(action, 'read from', 'written to', 'as the stdin of a child process is');
  checkNotDecoding(action, pipe.readableEncoding);
  return over(action, pipe, StreamMode.READ, pipe);
}

/** The transport that writes to a pipe; the errors are those of {@link readPipe}. */
export function writePipe(action: string, pipe: unknown): Transport {
  if (typeof pipe === 'number') return overFd(action, pipe, StreamMode.WRITE);
  if (!isWritable(pipe)) throw invalidType(action, 'pipe', 'an fd or a Writable', pipe);
  if (lacks(pipe, 'writable')) throw oneWay(action, 'written to', 'read from', 'as process.stdin is');
  return overWritable(action, pipe, pipe);
}

function overWritable(action: string, stream: Writable, pipe: unknown): Transport {
  if (isStandard(stream)) return overStream(new Lent(stream), StreamMode.WRITE, pipe);
  return over(action, stream, StreamMode.WRITE, pipe);
}

function oneWay(action: string, wanted: string, there: string, example: string): TypeError {
  return invalidKind(action, 'pipe', `a stream that can be ${wanted}`, `one that can only be ${there}, ${example}`);
}

/** Only the fd is looked at: to read `process.stdout` makes it. */
function isStandard(stream: Writable): boolean {
  const { fd } = stream as { fd?: unknown };
  // In a worker they are streams to the main thread, without an fd.
  const possible = isMainThread ? fd === 1 || fd === 2 : true;
  return possible && (stream === process.stdout || stream === process.stderr);
}

// ---------------------------------------------------------------------------------------------- file descriptors

function overFd(action: string, fd: number, mode: OneWay): Transport {
  const reading = mode === StreamMode.READ;
  const stats = statsOf(action, 'pipe', fd);
  const terminal = isatty(fd);
  if (!terminal && !stats.isFIFO() && !stats.isSocket() && !stats.isCharacterDevice()) {
    throw wrongFd(action, fd, kindOf(stats), PIPE);
  }
  if (stats.isFIFO()) checkPipeEnd(action, fd, reading ? 'reading' : 'writing');
  if (isMainThread) {
    if (fd === 0 && reading) return over(action, process.stdin, mode, fd);
    if (fd === 1 && !reading) return overWritable(action, process.stdout, fd);
    if (fd === 2 && !reading) return overWritable(action, process.stderr, fd);
  }
  if (terminal) return over(action, reading ? new ReadStream(fd) : new WriteStream(fd), mode, fd);
  if (stats.isCharacterDevice()) {
    return overStream(reading ? createReadStream('', { fd }) : createWriteStream('', { fd }), mode, fd);
  }
  // On Windows a read is handed to the system ahead of time: memory that is used again must not be lent to it.
  const reads = reading && process.platform !== 'win32' ? directReads() : null;
  const onread = reads === null ? {} : { onread: reads };
  const socket = socketOver(action, fd, PIPE, { readable: reading, writable: !reading, ...onread });
  return overSocket(socket, reads, mode, fd);
}

/** What the fd of a pipe may be. */
const PIPE = 'a pipe, a FIFO, a socket or a character device';

/** The transport over a stream that somebody else has made, which is used in this direction by nobody else. */
function over(action: string, stream: Readable | Writable, mode: OneWay, pipe: unknown): Transport {
  const giveBack = take(action, 'pipe', stream, mode);
  try {
    return stream instanceof Socket ? overSocket(stream, null, mode, pipe) : overStream(stream, mode, pipe);
  } catch (error) {
    giveBack();
    throw error;
  }
}

// ---------------------------------------------------------------------------------------------- streams of Node

/** By what it does, not by its class: a stream of the `readable-stream` package is as good. */
function isReadable(value: unknown): value is Readable {
  if (!has(value, ['read', 'pause', 'resume', 'on', 'destroy'])) return false;
  const { readable, readableEnded, destroyed, errored } = value as Partial<Readable>;
  return readable !== false || readableEnded === true || destroyed === true || (errored ?? null) !== null;
}

function isWritable(value: unknown): value is Writable {
  if (!has(value, ['write', 'end', 'on', 'destroy'])) return false;
  const { writable, writableEnded, destroyed, errored } = value as Partial<Writable>;
  return writable !== false || writableEnded === true || destroyed === true || (errored ?? null) !== null;
}

function has(value: unknown, methods: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return methods.every((method) => typeof (value as Record<string, unknown>)[method] === 'function');
}

/** What is not valid in the encoding is lost by then. */
function checkNotDecoding(action: string, encoding: string | null): void {
  if ((encoding ?? null) === null) return;
  throw invalidKind(action, 'pipe', 'a stream of bytes', `a stream that decodes ${String(encoding)}`);
}
