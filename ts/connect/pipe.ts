/** Streams of one direction, over pipes. */
import { checkCloseTimeout, checkLimit, checkObject, checkOptionNames } from '../checks.js';
import type { LimitOptions } from '../reader/reader.js';
import { Stream } from '../stream/stream.js';
import { readPipe, writePipe, type ReadPipe, type WritePipe } from '../transports/pipe.js';
import type { CloseOptions } from '../writer/writer.js';

/** What `connectReadPipe` and `connectWritePipe` take. */
export interface ConnectPipeOptions extends LimitOptions, CloseOptions {
  /** The longest frame without its separator, in bytes. Default 65536. Of no effect on writing. asyncio: `limit` */
  limit?: number | undefined;
  /**
   * How long the reader at the other end may take nothing while `close` flushes, in ms; see {@link CloseOptions.closeTimeout}. Default
   * `Infinity`: the reader may be a pager, or a program that is busy.
   */
  closeTimeout?: number | undefined;
}

/**
 * Makes a stream that reads from a pipe: its mode is `READ`.
 *
 * `pipe` is an fd of a pipe, a FIFO, a socket, a terminal or another character device; or a `Readable`, such as `process.stdin`,
 * the `stdout` of a child process, an `fs` stream of a FIFO. It belongs to the stream from now on, is closed with it, and an fd
 * is made non-blocking. Waits for nothing.
 *
 * A `Readable` in object mode works when its chunks are strings or `Uint8Array`s: `Readable.from(['a', 'b'])`. Each string becomes
 * its UTF-8 by itself. Any other chunk ends the stream: after the bytes before it, reads reject with a TypeError
 * `ERR_INVALID_ARG_TYPE`. A `Readable` that decodes (`setEncoding`) is refused, because what is not valid in its encoding would be lost.
 *
 * While nobody reads, at most a few blocks, or objects, beyond `2 * limit` are taken from the pipe: who writes to it has to
 * wait. The stream ends when the last writer has closed, and is then closed by itself.
 *
 * ```ts
 * const child = spawn('ls');
 * await using lines = await connectReadPipe(child.stdout);
 * for await (const line of lines) console.log(line.toString());
 * ```
 *
 * Take the `stdout` of a child in the turn that has started it: when a child exits, Node throws away what nobody has begun to
 * read. `fd` 0 means `process.stdin`. A character device that is no terminal is read by the thread pool, one thread of which
 * waits as long as the device does.
 *
 * With a stream of {@link connectWritePipe} over the same `Duplex`, each closes its own direction: what comes in after this one
 * was closed is dropped, and the `Duplex` is destroyed when both are done. Alone, this one destroys it.
 *
 * asyncio: `connect_read_pipe`
 *
 * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE` when `pipe` is none of these, decodes to strings, or has no such
 * direction, as the `stdin` of a child process
 * @throws (as a rejection) TypeError `ERR_INVALID_FD_TYPE` when the fd is of a regular file, a directory, a block device, a socket
 * of datagrams, or is the other end of a pipe
 * @throws (as a rejection) StateError `ERR_IN_USE` when there is, or was, a stream over `pipe` in this direction; a `Duplex` serves
 * one in each. `process.stdout` and `process.stderr` serve any number
 * @throws (as a rejection) RangeError `ERR_OUT_OF_RANGE` for a number that is no fd, or a `limit` that is none
 * @throws (as a rejection) ConnectionError `EBADF` when the fd is not open, `ENOTCONN` when it is of a socket that is not connected,
 * as one that listens (such an fd is closed, as Node gives none back), `EEXIST` when this process uses it already
 */
// eslint-disable-next-line @typescript-eslint/require-await -- what is thrown becomes a rejection
export async function connectReadPipe(pipe: ReadPipe, options?: ConnectPipeOptions): Promise<Stream> {
  const checked = checkOptions('connectReadPipe', options);
  return new Stream(readPipe('connectReadPipe', pipe), checked);
}

/**
 * Makes a stream that writes to a pipe: its mode is `WRITE`.
 *
 * `pipe` is an fd as with {@link connectReadPipe}, or a `Writable`, such as `process.stdout` or the `stdin` of a child
 * process; one in object mode gets each chunk as a `Buffer`. It belongs to the stream from now on, is closed with it, and
 * an fd is made non-blocking. Waits for nothing.
 *
 * While the reader at the other end does not read, `await write()` and `drain()` wait. When it is gone, the next write, and what
 * waits, rejects with a {@link ConnectionError} `EPIPE`; it is not noticed before something is written, but for the `stdin` of a
 * child, which is closed when the child exits. `close` resolves where all that was written had been taken. `writeEof` ends, and
 * with that closes, the stream. A `Transform` (`zlib.createGzip()`) is ended, not destroyed: what is still to come out of it belongs
 * to whoever reads it.
 *
 * `process.stdout` and `process.stderr`, also as `fd` 1 and 2, belong to the process: closing the stream flushes it and leaves
 * them open, so that `console.log` goes on working.
 *
 * asyncio: `connect_write_pipe`
 *
 * @throws (as a rejection) the errors of {@link connectReadPipe}
 */
// eslint-disable-next-line @typescript-eslint/require-await -- what is thrown becomes a rejection
export async function connectWritePipe(pipe: WritePipe, options?: ConnectPipeOptions): Promise<Stream> {
  const checked = checkOptions('connectWritePipe', options);
  return new Stream(writePipe('connectWritePipe', pipe), checked);
}

function checkOptions(action: string, options: unknown = {}): Required<ConnectPipeOptions> {
  checkObject(action, 'options', options);
  checkOptionNames(action, options);
  const { limit, closeTimeout } = options as ConnectPipeOptions;
  // The reader of a pipe may be a pager: that it does not read is no fault.
  return { limit: checkLimit(action, limit), closeTimeout: checkCloseTimeout(action, closeTimeout, Infinity) };
}
