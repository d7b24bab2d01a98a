/**
 * A stream: one reader and one writer over one transport.
 *
 * It adds what neither half can know: the mode, the end of both halves when the connection is lost, and closing. All else
 * is handed on; on the way of a read nothing is awaited and no promise is made here.
 *
 * Reading ends by itself in three ways, and each of them leaves what was received before it readable:
 *
 *     the peer ends its side          reads end as at EOF
 *     this side closes or aborts      likewise, from the call on; what still arrives is dropped
 *     the connection is lost          reads reject with the reason, unless the peer's EOF had come before
 */
import type { Buffer } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { StateError } from './errors.js';
import { StreamReader, type LimitOptions, type WaitOptions } from './reader.js';
import { sendfile, type SendfileOptions, type SendfileSource } from './sendfile.js';
import { StreamMode, peerName, type Transport, type TransportSink } from './transports/transport.js';
import { StreamLink, type Hold, type Keeper, type StreamOwner } from './unclosed.js';
import { StreamWriter } from './writer.js';

export { StreamMode, peerName, type StreamOwner };

/** What a stream is made with, besides its transport. */
export interface StreamOptions extends LimitOptions {
  /** Whether a server accepted the connection. Default false. */
  serverSide?: boolean | undefined;
  /** Who is told when the connection is gone. */
  owner?: StreamOwner | undefined;
}

type Written = ReturnType<StreamWriter['write']>;

/**
 * A connection that can be read and written, as far as its {@link mode} says. `connect` makes one, and a `StreamServer` hands
 * one to its handler.
 *
 * ```ts
 * await using stream = await connect('127.0.0.1', 8888);
 * await stream.write('hello\n');
 * console.log((await stream.readline()).toString());
 * ```
 *
 * A call in a direction that the stream does not have fails with a {@link StateError}: `ERR_STREAM_WRITE_ONLY` for reading,
 * `ERR_STREAM_READ_ONLY` for writing. It is a rejection wherever the call returns a promise.
 *
 * A stream that is garbage collected while it is open has its connection aborted, and is reported by a `ResourceWarning`
 * with the code `SLUICE_UNCLOSED`. That never happens while a call waits, or while written bytes are on their way.
 *
 * asyncio: `Stream`
 */
export class Stream implements TransportSink, Keeper {
  /** The directions of this stream, testable with `&`: `stream.mode & StreamMode.READ`. asyncio: `mode` */
  readonly mode: StreamMode;

  readonly #transport: Transport;
  readonly #reader: StreamReader;
  readonly #writer: StreamWriter;
  readonly #serverSide: boolean;
  readonly #link: StreamLink<Stream>;
  #peerEnded = false;
  #closedHere = false;
  /** Whether the user has a promise that tells of the end of the connection. */
  #closeAsked = false;
  #lost = false;
  #error: Error | null = null;

  /** @internal Streams come from `connect` and from servers. */
  constructor(transport: Transport, options: StreamOptions = {}) {
    this.mode = transport.mode;
    this.#transport = transport;
    this.#reader = new StreamReader({ limit: options.limit });
    this.#writer = new StreamWriter(transport);
    this.#serverSide = options.serverSide ?? false;
    this.#link = new StreamLink<Stream>(this, transport, options.owner);
    this.#reader.attach(transport, this);
    this.#writer.attach(this);
    transport.start(this.#link);
  }

  // ---------------------------------------------------------------------------------------------- reading

  /** The longest frame without its separator, in bytes. asyncio: the `limit` argument */
  get limit(): number {
    return this.#reader.limit;
  }

  /** Bytes received and not read yet. */
  get buffered(): number {
    return this.#reader.buffered;
  }

  /** Bytes received so far, read or not. */
  get bytesRead(): number {
    return this.#reader.bytesRead;
  }

  /**
   * Reads up to `n` bytes, as soon as there is at least one; with `n` of -1 (the default) everything up to EOF. Resolves with
   * an empty buffer at EOF. See {@link StreamReader.read}. asyncio: `read`
   */
  read(n?: number, options?: WaitOptions): Promise<Buffer> {
    return this.#readable ? this.#reader.read(n, options) : rejected(writeOnly('read'));
  }

  /**
   * Reads one line with its `\n`; at EOF what is left. A line over the limit rejects once with `LimitOverrunError` and is
   * skipped. See {@link StreamReader.readline}. asyncio: `readline`
   */
  readline(options?: WaitOptions): Promise<Buffer> {
    return this.#readable ? this.#reader.readline(options) : rejected(writeOnly('readline'));
  }

  /**
   * Reads up to and including the separator, or the first of several. See {@link StreamReader.readuntil} for what is left
   * when it fails. asyncio: `readuntil`
   */
  readuntil(
    separator?: string | Uint8Array | readonly (string | Uint8Array)[],
    options?: WaitOptions,
  ): Promise<Buffer> {
    return this.#readable ? this.#reader.readuntil(separator, options) : rejected(writeOnly('readuntil'));
  }

  /**
   * Reads exactly `n` bytes; `IncompleteReadError` with what there was when the stream ends before.
   * See {@link StreamReader.readexactly}. asyncio: `readexactly`
   */
  readexactly(n: number, options?: WaitOptions): Promise<Buffer> {
    return this.#readable ? this.#reader.readexactly(n, options) : rejected(writeOnly('readexactly'));
  }

  /** Looks at the next `n` bytes without consuming them; fewer only at EOF. See {@link StreamReader.peek}. */
  peek(n: number, options?: WaitOptions): Promise<Buffer> {
    return this.#readable ? this.#reader.peek(n, options) : rejected(writeOnly('peek'));
  }

  /** Reads 1 to `buffer.length` bytes into the caller's memory; resolves with their number, 0 at EOF. */
  readinto(buffer: Uint8Array, options?: WaitOptions): Promise<number> {
    return this.#readable ? this.#reader.readinto(buffer, options) : rejected(writeOnly('readinto'));
  }

  /** Puts `data` back in front of the unread bytes. See {@link StreamReader.unread}. */
  unread(data: Uint8Array): void {
    if (!this.#readable) throw writeOnly('unread');
    this.#reader.unread(data);
  }

  /** Whether the stream has ended and every byte has been read. asyncio: `at_eof` */
  atEof(): boolean {
    return this.#reader.atEof();
  }

  /**
   * Lines with their `\n`, as `readline` gives them, until EOF. Leaving the loop does not close the stream, and the next loop
   * or read goes on behind the last line. asyncio: `__aiter__`
   *
   * ```ts
   * for await (const line of stream) console.log(line.toString());
   * ```
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer, undefined> {
    return this.#readable ? this.#reader[Symbol.asyncIterator]() : failing(writeOnly('for await'));
  }

  // ---------------------------------------------------------------------------------------------- writing

  /** Bytes accepted for sending so far. */
  get bytesWritten(): number {
    return this.#writer.bytesWritten;
  }

  /**
   * Sends `data`, a string as UTF-8: as much at once as the kernel takes, the rest in the background. Awaiting the result
   * applies back-pressure; not awaiting it never causes an unhandled rejection. See {@link StreamWriter.write}.
   * asyncio: `write`
   */
  write(data: Uint8Array | string): Written {
    return this.#writable ? this.#writer.write(data) : refused('write');
  }

  /** Sends several pieces, as `write` would send them joined. asyncio: `writelines` */
  writelines(list: Iterable<Uint8Array | string>): Written {
    return this.#writable ? this.#writer.writelines(list) : refused('writelines');
  }

  /**
   * Sends a file, or the part of it from `offset` on, `count` bytes long: by default up to its end. Resolves with the number
   * of bytes sent, when the kernel has the last of them; fewer than `count` when the file ends before.
   *
   * The file comes behind everything written before this call, and what is written after the call, also while the file goes
   * out, comes behind the file. `writeEof` and `close` wait for it, too. Several files are sent in the order of the calls. It is
   * read into one block of 128 KiB, which is used again once the kernel has taken it: a file of any size takes that much memory.
   * The length is not fixed when it starts: a file that grows is sent to its new end, one that shrinks ends early.
   *
   * `file` is a path, a `file:` URL, a `FileHandle` or an fd of a regular file. What it opens, it closes; what was open stays open.
   * The position of such a file: it is at `offset + sent` afterwards, as in asyncio, if it was at `offset` before, and the system is
   * Linux; otherwise it stays what it was, because Node cannot set it. When sending fails, it may be a block further on.
   *
   * ```ts
   * stream.write(header);
   * const sent = await stream.sendfile('page.html');
   * ```
   *
   * When it rejects, for the signal or an error of the file, what was sent stays sent, how much that was is not told, and the
   * stream goes on with what was written behind the file. It differs from asyncio in that writing meanwhile is not refused and
   * reading is not paused.
   *
   * asyncio: `loop.sendfile`, where `offset` is set first and the position always updated
   *
   * @param count - 1 or more; as in asyncio, 0 is refused
   * @param options - `fallback`: false refuses to copy the bytes through this process, and so always fails on Node; `signal`
   * @throws (as a rejection) StateError `ERR_SENDFILE_NOT_AVAILABLE` with `fallback: false`
   * @throws (as a rejection) Error of the file system, such as `ENOENT`, `EACCES`, `EISDIR`
   * @throws (as a rejection) TypeError `ERR_INVALID_FD_TYPE` when it is not a regular file
   * @throws (as a rejection) ConnectionError when the connection is closed (`ECONNRESET`) or lost before the end
   */
  sendfile(file: SendfileSource, offset?: number, count?: number, options?: SendfileOptions): Promise<number> {
    return this.#writable ? sendfile(this.#writer, file, offset, count, options) : rejected(readOnly('sendfile'));
  }

  /** Waits until the write buffer is at its low watermark, if it went over the high one. asyncio: `drain` */
  drain(options?: WaitOptions): Promise<void> {
    return this.#writable ? this.#writer.drain(options) : rejected(readOnly('drain'));
  }

  /** Waits until every byte written so far has been handed to the kernel. */
  flush(options?: WaitOptions): Promise<void> {
    return this.#writable ? this.#writer.flush(options) : rejected(readOnly('flush'));
  }

  /** Whether {@link writeEof} works on this stream. asyncio: `can_write_eof` */
  canWriteEof(): boolean {
    return this.#writable && this.#writer.canWriteEof();
  }

  /** Ends the writing side once all is flushed; reading goes on. asyncio: `write_eof` */
  writeEof(): Promise<void> {
    return this.#writable ? this.#writer.writeEof() : rejected(readOnly('writeEof'));
  }

  /** Sets the watermarks of `drain`, in bytes. asyncio: `transport.set_write_buffer_limits` */
  setWriteBufferLimits(limits: Parameters<StreamWriter['setWriteBufferLimits']>[0]): void {
    if (!this.#writable) throw readOnly('setWriteBufferLimits');
    this.#writer.setWriteBufferLimits(limits);
  }

  // ---------------------------------------------------------------------------------------------- closing

  /**
   * Sends what is queued, then closes both directions. May be called again, also concurrently.
   *
   * Reading ends with the call: a waiting read ends as at EOF, what was received before can still be read, what arrives later
   * is dropped. Waits until the connection is gone. Rejects with the reason when it is lost before everything was sent.
   * asyncio: `close`
   */
  close(): Promise<void> {
    this.#closeAsked = true;
    this.#endReading();
    return this.#writer.close();
  }

  /**
   * Closes both directions at once and drops what is queued; reading ends as with {@link close}. Resolves when the connection
   * is gone, and never rejects. asyncio: `abort`
   */
  abort(): Promise<void> {
    this.#endReading();
    this.#writer.abort();
    return this.#writer.waitClosed().catch(() => {});
  }

  /** Waits until the connection is gone, whoever closes it; rejects with the reason when it is lost. asyncio: `wait_closed` */
  waitClosed(options?: WaitOptions): Promise<void> {
    this.#closeAsked = true;
    return this.#writer.waitClosed(options);
  }

  /** Whether the stream is being closed, or gone. asyncio: `is_closing` */
  isClosing(): boolean {
    return this.#writer.isClosing();
  }

  /**
   * `await using`: as {@link close}, except that the loss of the connection is not thrown again when an earlier call on this
   * stream has rejected because of it (awaited or not). What made the block fail then leaves it as it is, not inside of a
   * `SuppressedError`. A loss that nobody was told of, such as that of bytes which `close` was to send, is thrown.
   *
   * asyncio: `__aexit__`
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const told = this.#lost && (this.#closeAsked || this.#reader.hasThrown || this.#writer.hasThrown);
    this.#endReading();
    try {
      await this.#writer.close();
    } catch (error) {
      if (!told) throw error;
    }
  }

  // ---------------------------------------------------------------------------------------------- facts

  /** The transport below. asyncio: `transport` */
  get transport(): Transport {
    return this.#transport;
  }

  /**
   * A fact of the connection by asyncio's name, such as `peername`, `sockname` or `socket`; `fallback` where it is not known.
   * asyncio: `get_extra_info`
   */
  getExtraInfo(name: string, fallback?: unknown): unknown {
    return this.#writer.getExtraInfo(name, fallback);
  }

  /** Whether a server accepted this connection. asyncio: `is_server_side` */
  isServerSide(): boolean {
    return this.#serverSide;
  }

  /** The error that ended the connection, or null. asyncio: `exception` */
  exception(): Error | null {
    return this.#error ?? this.#reader.exception();
  }

  /** @internal `Stream { mode: READWRITE, buffered: 4, eof, limit: 123, peername: 127.0.0.1:8888 }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[Stream]';
    const parts = [`mode: ${modeName(this.mode)}`];
    if (this.#readable) {
      parts.push(`buffered: ${this.buffered}`);
      if (this.#peerEnded) parts.push('eof');
      parts.push(`limit: ${this.limit}`);
    }
    const peer = peerName(this);
    if (peer !== null) parts.push(`peername: ${peer}`);
    if (this.#lost) parts.push('closed');
    else if (this.isClosing()) parts.push('closing');
    const error = this.exception();
    if (error !== null) parts.push(`exception: ${inspect(error.message, { colors: options.colors ?? false })}`);
    return `Stream { ${parts.join(', ')} }`;
  }

  // ---------------------------------------------------------------------------------------------- the transport's side

  /** @internal See `TransportSink.readTarget`. */
  readTarget(): Uint8Array | null {
    return this.#reader.readTarget();
  }

  /** @internal See `TransportSink.commit`. */
  commit(count: number): boolean {
    return this.#closedHere || this.#reader.commit(count);
  }

  /** @internal See `TransportSink.feed`. */
  feed(chunk: Uint8Array): boolean {
    return this.#closedHere || this.#reader.feed(chunk);
  }

  /** @internal See `TransportSink.eof`. */
  eof(): void {
    this.#peerEnded = true;
    this.#reader.feedEof();
  }

  /** @internal See `TransportSink.closed`. */
  closed(error: Error | null): void {
    this.#lost = true;
    this.#error = error;
    // After its EOF the peer has nothing more to say, whatever becomes of what we send: reading has ended well.
    if (error === null || this.#peerEnded || this.#closedHere) this.#reader.feedEof();
    else this.#reader.setException(error);
    this.#writer.connectionLost(error);
  }

  // ---------------------------------------------------------------------------------------------- the halves' side

  /** @internal The two halves; either of them keeps the stream. */
  get halves(): [StreamReader, StreamWriter] {
    return [this.#reader, this.#writer];
  }

  /** @internal What the transport holds of the stream. */
  get link(): StreamLink<Stream> {
    return this.#link;
  }

  /** @internal See `Keeper.hold`. */
  hold(reason: Hold): void {
    this.#link.hold(this, reason);
  }

  /** @internal See `Keeper.release`. */
  release(reason: Hold): void {
    this.#link.release(reason);
  }

  /** @internal See `Keeper.closing`. */
  closing(): void {
    this.#link.closing(this);
    this.#endReading();
  }

  get #readable(): boolean {
    return (this.mode & StreamMode.READ) !== 0;
  }

  get #writable(): boolean {
    return (this.mode & StreamMode.WRITE) !== 0;
  }

  #endReading(): void {
    if (this.#closedHere) return;
    this.#closedHere = true;
    this.#reader.feedEof();
    // A peer that must get rid of its bytes before it takes ours would else keep the flush waiting for ever.
    if (!this.#lost) this.#transport.resumeReading();
  }
}

function modeName(mode: StreamMode): string {
  switch (mode) {
    case StreamMode.READ:
      return 'READ';
    case StreamMode.WRITE:
      return 'WRITE';
    default:
      return 'READWRITE';
  }
}

function writeOnly(action: string): StateError {
  return new StateError('ERR_STREAM_WRITE_ONLY', `${action}: The stream is write-only`);
}

function readOnly(action: string): StateError {
  return new StateError('ERR_STREAM_READ_ONLY', `${action}: The stream is read-only`);
}

function rejected<T>(error: Error): Promise<T> {
  return Promise.reject(error);
}

/** A write that is refused: as with every other, not awaiting it causes no unhandled rejection. */
function refused(action: string): Written {
  const result = Promise.reject<void>(readOnly(action));
  result.catch(() => {});
  return result;
}

function failing(error: Error): AsyncIterableIterator<Buffer, undefined> {
  const iterator: AsyncIterableIterator<Buffer, undefined> = {
    next: () => rejected(error),
    return: () => Promise.resolve({ done: true, value: undefined }),
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}
