/** One-way streams over pipes. */
import { checkCloseTimeout, checkLimit, checkObject, checkOptionNames, checkWriteBuffer } from '../checks.js';
import type { LimitOptions } from '../reader/reader.js';
import { Stream, type StreamOptions } from '../stream/stream.js';
import { checkConnectionTimeouts, type TimeoutOptions } from '../stream/timeouts.js';
import { readPipe, writePipe, type ReadPipe, type WritePipe } from '../transports/pipe.js';
import type { CloseOptions, WriteBufferOptions } from '../writer/writer.js';

/** The options of `connectReadPipe` and `connectWritePipe`. A timeout of the other direction has no effect. */
export interface ConnectPipeOptions extends LimitOptions, CloseOptions, WriteBufferOptions, TimeoutOptions {
  /** The longest frame without its separator, in bytes. Default 65536. Does not affect writing. asyncio: `limit` */
  limit?: number | undefined;
  /**
   * How long the reader at the other end may accept nothing while `close` flushes, in ms; see {@link CloseOptions.closeTimeout}.
   * Default `Infinity`, because the reader may be a pager or a busy program.
   */
  closeTimeout?: number | undefined;
}

/**
 * Creates a stream that reads from a pipe; its mode is `READ`. Does not wait.
 *
 * ```ts
 * const child = spawn('ls');
 * await using lines = await connectReadPipe(child.stdout);
 * for await (const line of lines) console.log(line.toString());
 * ```
 *
 * `pipe` is an fd of a pipe, a FIFO, a socket, a terminal or another character device; or a `Readable`, such as `process.stdin`,
 * the `stdout` of a child process, or an `fs` stream of a FIFO. The stream owns it from now on and closes it. An fd is made
 * non-blocking. `fd` 0 means `process.stdin`. A character device that is not a terminal is read in the thread pool, where it
 * occupies one thread while it waits.
 *
 * Connect the `stdout` of a child process in the same turn of the event loop in which you start the child: when a child exits,
 * Node discards any output that is not being read.
 *
 * A `Readable` in object mode is accepted if its chunks are strings or `Uint8Array`s: `Readable.from(['a', 'b'])`. Each string is
 * encoded as UTF-8 separately. Any other chunk ends the stream: reads return the bytes before it and then reject with a
 * `TypeError` `ERR_INVALID_ARG_TYPE`. A `Readable` that decodes (`setEncoding`) is refused, because bytes that are not valid in
 * its encoding would be lost.
 *
 * While the program does not read, the stream takes at most a few blocks, or objects, beyond `2 * limit` from the pipe, and the
 * writer at the other end has to wait. The stream reaches EOF when the last writer has closed the pipe, and then closes itself.
 *
 * If {@link connectWritePipe} uses the same `Duplex`, each of the two streams closes its own direction. Data that arrives after
 * this stream was closed is dropped, and the `Duplex` is destroyed when both are closed. A stream that is the only one over the
 * `Duplex` destroys it.
 *
 * **Errors**, all as rejections:
 * - `TypeError` `ERR_INVALID_ARG_TYPE` if `pipe` is none of these, decodes to strings, or cannot be read, such as the `stdin` of
 *   a child process
 * - `TypeError` `ERR_INVALID_FD_TYPE` if the fd belongs to a regular file, a directory, a block device or a datagram socket, or
 *   is the other end of a pipe
 * - `StateError` `ERR_IN_USE` if a stream already uses `pipe` in this direction, or used it before. A `Duplex` can have one
 *   stream for each direction, `process.stdout` and `process.stderr` any number
 * - `RangeError` `ERR_OUT_OF_RANGE` for an invalid fd or an invalid `limit`
 * - `ConnectionError` `EBADF` if the fd is not open; `ENOTCONN` if it is a socket that is not connected, such as a listening one
 *   (the fd is closed, because Node cannot give it back); `EEXIST` if this process already uses the fd
 *
 * asyncio: `connect_read_pipe`
 */
// eslint-disable-next-line @typescript-eslint/require-await -- what is thrown becomes a rejection
export async function connectReadPipe(pipe: ReadPipe, options?: ConnectPipeOptions): Promise<Stream> {
  const checked = checkOptions('connectReadPipe', options);
  return new Stream(readPipe('connectReadPipe', pipe), checked);
}

/**
 * Creates a stream that writes to a pipe; its mode is `WRITE`. Does not wait.
 *
 * `pipe` is an fd, as in {@link connectReadPipe}, or a `Writable`, such as `process.stdout` or the `stdin` of a child process.
 * One in object mode receives each chunk as a `Buffer`. The stream owns it from now on and closes it. An fd is made non-blocking.
 *
 * While the reader at the other end does not read, `await write()` and `drain()` wait. When the reader is gone, the next write
 * and all calls that wait reject with a {@link ConnectionError} `EPIPE`. This is only detected by writing, except for the `stdin`
 * of a child process, which is closed when the child exits.
 *
 * `close` resolves if everything that was written has been accepted. `writeEof` ends the stream and thereby closes it. A
 * `Transform` (`zlib.createGzip()`) is ended, not destroyed: its remaining output can still be read from it.
 *
 * `process.stdout` and `process.stderr`, also as `fd` 1 and 2, belong to the process. Closing the stream flushes them and leaves
 * them open, so that `console.log` continues to work.
 *
 * **Errors**: those of {@link connectReadPipe}.
 *
 * asyncio: `connect_write_pipe`
 */
// eslint-disable-next-line @typescript-eslint/require-await -- what is thrown becomes a rejection
export async function connectWritePipe(pipe: WritePipe, options?: ConnectPipeOptions): Promise<Stream> {
  const checked = checkOptions('connectWritePipe', options);
  return new Stream(writePipe('connectWritePipe', pipe), checked);
}

function checkOptions(action: string, options: unknown = {}): StreamOptions {
  checkObject(action, 'options', options);
  checkOptionNames(action, options);
  const given = options as ConnectPipeOptions;
  return {
    limit: checkLimit(action, given.limit),
    // The reader of a pipe may be a pager, which does not read for as long as the user looks at a page.
    closeTimeout: checkCloseTimeout(action, given.closeTimeout, Infinity),
    maxWriteBuffer: checkWriteBuffer(action, 'maxWriteBuffer', given.maxWriteBuffer),
    timeouts: checkConnectionTimeouts(action, given),
  };
}
