/**
 * Transports for one direction: over a file descriptor, or over a `Readable` or `Writable` of Node.
 *
 *     fd of a FIFO, a pipe or a socket     a net.Socket made for it
 *     fd of a terminal                     a tty stream
 *     fd of another character device       an fs stream, for which a thread of the pool waits, because it cannot be polled
 *     fd 0, 1 and 2 of the main thread     process.stdin, stdout, stderr; a second handle for the same fd would get no events
 *     anything else (a file, a directory)  refused, because it is always ready and nothing can wait for it
 *
 * Sockets read into reused memory: those made here, and others (`process.stdin` if it is a pipe, the `stdout` of a child) unless something
 * was read from them, or listens to them, before.
 *
 * `process.stdout` and `process.stderr` are lent ({@link Lent}). They belong to the process, which may log to them at any time, so closing
 * a stream over one of them flushes it and leaves it open.
 */
import { createReadStream, createWriteStream } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { ReadStream, WriteStream, isatty } from 'node:tty';
import { isMainThread } from 'node:worker_threads';
import { invalidKind, invalidType } from '../errors.js';
import { directReadsOfGiven, type DirectReads } from './direct-reads.js';
import { DuplexTransport, type ConnectionInfo } from './duplex.js';
import { checkPipeEnd, isPipe, kindOf, socketOver, statsOf, wrongFd } from './fd.js';
import { claim } from './in-use.js';
import { Lent } from './lent.js';
import { lacks, readDirectly } from './node-internals.js';
import { SocketInfo } from './socket-info.js';
import { SocketTransport } from './socket.js';
import { StreamMode, type Transport } from './transport.js';

/** What a pipe can be made from: a file descriptor, or a stream of Node. */
export type ReadPipe = number | Readable;
/** What a pipe can be made from: a file descriptor, or a stream of Node. */
export type WritePipe = number | Writable;

type OneWay = typeof StreamMode.READ | typeof StreamMode.WRITE;

/** @param pipe - what the caller gave, and the socket was made from */
function overSocket(socket: Socket, reads: DirectReads | null, mode: OneWay, pipe: unknown): SocketTransport {
  return new SocketTransport(socket, reads, mode, new PipeInfo(pipe, new SocketInfo(socket)));
}

/** As {@link overSocket}, for any other stream. */
function overStream(stream: Readable | Writable, mode: OneWay, pipe: unknown): DuplexTransport {
  // The compiler does not choose between two overloads for a union.
  return new DuplexTransport(stream as Readable, mode as typeof StreamMode.READ, { info: new PipeInfo(pipe, null) });
}

/** Adds `pipe`, what the caller gave, as asyncio does. */
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
 * @param action - what the caller does, for messages
 * @throws TypeError `ERR_INVALID_ARG_TYPE` if it is neither an fd nor a `Readable`, or a `Readable` that decodes to strings
 * @throws TypeError `ERR_INVALID_FD_TYPE` if the fd is that of a file, a directory or anything else that is not a pipe, or is the wrong
 * end of a pipe
 * @throws StateError `ERR_IN_USE` if a transport already reads the stream
 * @throws ConnectionError `EBADF` if the fd is not open, `ENOTCONN` if it is a socket without a peer
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

/** Compares the fd first, because reading `process.stdout` creates it. */
function isStandard(stream: Writable): boolean {
  const { fd } = stream as { fd?: unknown };
  // In a worker thread they are streams to the main thread, without an fd.
  const possible = isMainThread ? fd === 1 || fd === 2 : true;
  return possible && (stream === process.stdout || stream === process.stderr);
}

// ---------------------------------------------------------------------------------------------- file descriptors

function overFd(action: string, fd: number, mode: OneWay): Transport {
  const reading = mode === StreamMode.READ;
  const stats = statsOf(action, 'pipe', fd);
  const terminal = isatty(fd);
  if (!terminal && !isPipe(stats) && !stats.isSocket() && !stats.isCharacterDevice()) {
    throw wrongFd(action, fd, kindOf(stats), PIPE);
  }
  if (isPipe(stats)) checkPipeEnd(action, fd, reading ? 'reading' : 'writing');
  if (isMainThread) {
    if (fd === 0 && reading) return over(action, process.stdin, mode, fd);
    if (fd === 1 && !reading) return overWritable(action, process.stdout, fd);
    if (fd === 2 && !reading) return overWritable(action, process.stderr, fd);
  }
  if (terminal) return over(action, reading ? new ReadStream(fd) : new WriteStream(fd), mode, fd);
  if (stats.isCharacterDevice()) {
    return overStream(reading ? createReadStream('', { fd }) : createWriteStream('', { fd }), mode, fd);
  }
  const reads = reading ? directReadsOfGiven() : null;
  const onread = reads === null ? {} : { onread: reads };
  const socket = socketOver(action, fd, PIPE, { readable: reading, writable: !reading, ...onread });
  return overSocket(socket, reads, mode, fd);
}

/** What the fd of a pipe can be. */
const PIPE = 'a pipe, a FIFO, a socket or a character device';

/** The transport over an existing stream, which no other transport may use in this direction. */
function over(action: string, stream: Readable | Writable, mode: OneWay, pipe: unknown): Transport {
  const giveBack = claim(action, 'pipe', stream, mode);
  try {
    if (!(stream instanceof Socket)) return overStream(stream, mode, pipe);
    const offered = mode === StreamMode.READ ? directReadsOfGiven() : null;
    const reads = offered !== null && readDirectly(stream, offered) ? offered : null;
    return overSocket(stream, reads, mode, pipe);
  } catch (error) {
    giveBack();
    throw error;
  }
}

// ---------------------------------------------------------------------------------------------- streams of Node

/** Checks what it can do, not its class, so that the streams of the `readable-stream` package are accepted. */
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

/** Such a stream has already lost the bytes that are invalid in its encoding. */
function checkNotDecoding(action: string, encoding: string | null): void {
  if ((encoding ?? null) === null) return;
  throw invalidKind(action, 'pipe', 'a stream of bytes', `a stream that decodes ${String(encoding)}`);
}
