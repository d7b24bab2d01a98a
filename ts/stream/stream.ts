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
import { checkedSignal, type WaitOptions } from '../abort.js';
import { checkOptionNames } from '../checks.js';
import { ConnectionError, StateError, ignore } from '../errors.js';
import { prepareFraming, type Framing, type Separators } from '../buffer/framing.js';
import { FrameLoop, type FrameSource } from '../reader/frame-loop.js';
import type { Frames } from '../reader/frames.js';
import { Lines, checkLineForm, type LineSource, type LinesOptions } from '../reader/lines.js';
import type { Keeper, Retain } from '../keeper.js';
import type { ReaderIntake } from '../reader/intake.js';
import { StreamReader, readerIntake, type LimitOptions } from '../reader/reader.js';
import {
  checkClientTls,
  checkServerTls,
  type ClientSsl,
  type HandshakeOptions,
  type ServerSsl,
} from '../tls/options.js';
import { TlsTransport } from '../tls/transport.js';
import { DuplexTransport } from '../transports/duplex.js';
import { StreamMode, peerName, type Transport, type TransportSink } from '../transports/transport.js';
import type { Payload } from '../writer/frame-encoder.js';
import { StreamWriter, writerOutlet, type CloseOptions, type WriterOutlet } from '../writer/writer.js';
import { sendfile, type SendfileOptions, type SendfileSource } from './sendfile.js';
import { startTls, type Upgradable } from './start-tls.js';
import { StreamLink, type StreamOwner } from './stream-link.js';

export { StreamMode, peerName, type StreamOwner };

/** What a stream is made with, besides its transport. */
export interface StreamOptions extends LimitOptions, CloseOptions {
  /** Whether a server accepted the connection. Default false. */
  serverSide?: boolean | undefined;
  /** The host that was connected to: whose certificate `startTls` expects. */
  host?: string | undefined;
  /** Who is told when the connection is gone. */
  owner?: StreamOwner | undefined;
}

/** What {@link Stream.startTls} takes. */
export interface StartTlsOptions extends HandshakeOptions, WaitOptions {}

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

  #transport: Transport;
  readonly #reader: StreamReader;
  readonly #intake: ReaderIntake;
  /** Made for the first call that needs it: most streams are idle most of the time, and many only read. */
  #writer: StreamWriter | null = null;
  readonly #serverSide: boolean;
  readonly #host: string | undefined;
  readonly #closeTimeout: number | undefined;
  /** Ends the handshake that is under way. */
  #giveUp: (() => void) | null = null;
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
    this.#intake = readerIntake(this.#reader);
    this.#serverSide = options.serverSide ?? false;
    this.#host = options.host;
    this.#closeTimeout = options.closeTimeout;
    this.#link = new StreamLink<Stream>(this, transport, options.owner);
    this.#intake.attach(transport, this);
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
    return this.#canRead() ? this.#reader.read(n, options) : rejected(writeOnly('read'));
  }

  /**
   * Reads one line with its `\n`; at EOF what is left. A line over the limit rejects once with `LimitOverrunError` and is
   * skipped. See {@link StreamReader.readline}. asyncio: `readline`
   */
  readline(options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.readline(options) : rejected(writeOnly('readline'));
  }

  /**
   * Reads up to and including the separator, or the first of several. See {@link StreamReader.readuntil} for what is left
   * when it fails. asyncio: `readuntil`
   */
  readuntil(separator?: Separators, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.readuntil(separator, options) : rejected(writeOnly('readuntil'));
  }

  /**
   * All complete frames that are buffered, in place, valid until the next read: for parsing many of them without a promise, a
   * copy or an object for each. At least one, except at EOF. See {@link StreamReader.readframes}, {@link Frames} and {@link Framing}.
   */
  readframes(framing?: Framing, options?: WaitOptions): Promise<Frames> {
    return this.#canRead() ? this.#reader.readframes(framing, options) : rejected(writeOnly('readframes'));
  }

  /**
   * Reads one frame, which is yours to keep, without what `skip` of its framing leaves out; `null` at EOF. See
   * {@link StreamReader.readframe}.
   *
   * ```ts
   * const framing = { length: 'uint32be', skip: 'header' } as const;
   * for (let message; (message = await stream.readframe(framing)) !== null; ) handle(message);
   * ```
   */
  readframe(framing?: Framing, options?: WaitOptions): Promise<Buffer | null> {
    return this.#canRead() ? this.#reader.readframe(framing, options) : rejected(writeOnly('readframe'));
  }

  /**
   * The frames of the stream until EOF: one by one, or by `frames().batches()` many at once, in place. See {@link StreamReader.frames}.
   *
   * ```ts
   * for await (const message of stream.frames({ length: 'uint32be', skip: 'header' })) handle(message);
   * ```
   */
  frames(framing?: Framing, options?: WaitOptions): FrameLoop {
    if (this.#canRead()) return this.#reader.frames(framing, options);
    prepareFraming(framing ?? '\n', 'frames');
    return new FrameLoop(NO_FRAMES);
  }

  /** {@link read} without waiting: undefined where it would have to wait. See {@link StreamReader.tryRead}. */
  tryRead(n?: number): Buffer | undefined {
    return this.#readable('tryRead').tryRead(n);
  }

  /**
   * {@link readline} without waiting: undefined where it would have to wait. See {@link StreamReader.tryReadline}.
   *
   * ```ts
   * const line = stream.tryReadline() ?? (await stream.readline());
   * ```
   */
  tryReadline(): Buffer | undefined {
    return this.#readable('tryReadline').tryReadline();
  }

  /** {@link readuntil} without waiting: undefined where it would have to wait. See {@link StreamReader.tryReaduntil}. */
  tryReaduntil(separator?: Separators): Buffer | undefined {
    return this.#readable('tryReaduntil').tryReaduntil(separator);
  }

  /** {@link readexactly} without waiting: undefined where it would have to wait. See {@link StreamReader.tryReadexactly}. */
  tryReadexactly(n: number): Buffer | undefined {
    return this.#readable('tryReadexactly').tryReadexactly(n);
  }

  /** {@link readframe} without waiting: undefined where it would have to wait, `null` at EOF. See {@link StreamReader.tryReadframe}. */
  tryReadframe(framing?: Framing): Buffer | null | undefined {
    return this.#readable('tryReadframe').tryReadframe(framing);
  }

  /** {@link readframes} without waiting: undefined where it would have to wait. See {@link StreamReader.tryReadframes}. */
  tryReadframes(framing?: Framing): Frames | undefined {
    return this.#readable('tryReadframes').tryReadframes(framing);
  }

  /**
   * Everything that is buffered, in place and in one piece, once there are `atLeast` bytes (fewer only at EOF): for parsers that find
   * the frames themselves. {@link consume} takes what was parsed. Valid until the next read, window or `consume`. See
   * {@link StreamReader.window}.
   */
  window(atLeast?: number, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.window(atLeast, options) : rejected(writeOnly('window'));
  }

  /** {@link window} without waiting: undefined while there are fewer than `atLeast` bytes. See {@link StreamReader.tryWindow}. */
  tryWindow(atLeast?: number): Buffer | undefined {
    return this.#readable('tryWindow').tryWindow(atLeast);
  }

  /** Takes the next `n` buffered bytes, as a rule those of a {@link window} that were parsed. See {@link StreamReader.consume}. */
  consume(n: number): void {
    this.#readable('consume').consume(n);
  }

  /**
   * The next `n` bytes as they arrive, in buffers that are yours to keep; without `n` everything up to EOF. Leaving the loop early leaves the
   * rest unread. See {@link StreamReader.chunks}.
   *
   * ```ts
   * for await (const chunk of stream.chunks(contentLength)) await file.write(chunk);
   * ```
   */
  chunks(n?: number, options?: WaitOptions): AsyncIterableIterator<Buffer, undefined> {
    return this.#canRead() ? this.#reader.chunks(n, options) : failing(writeOnly('chunks'));
  }

  /** Drops exactly `n` bytes, as they arrive. See {@link StreamReader.discard}. */
  discard(n: number, options?: WaitOptions): Promise<void> {
    return this.#canRead() ? this.#reader.discard(n, options) : rejected(writeOnly('discard'));
  }

  /**
   * The lines of the stream as strings: one by one, or by `lines().batches()` many at once. See {@link StreamReader.lines} and
   * {@link Lines}.
   *
   * ```ts
   * for await (const line of stream.lines()) console.log(line);
   * ```
   */
  lines(options?: LinesOptions): Lines {
    return this.#canRead() ? this.#reader.lines(options) : new Lines(NO_LINES, checkLineForm(options));
  }

  /**
   * Reads exactly `n` bytes; `IncompleteReadError` with what there was when the stream ends before.
   * See {@link StreamReader.readexactly}. asyncio: `readexactly`
   */
  readexactly(n: number, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.readexactly(n, options) : rejected(writeOnly('readexactly'));
  }

  /** Looks at the next `n` bytes without consuming them; fewer only at EOF. See {@link StreamReader.peek}. */
  peek(n: number, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.peek(n, options) : rejected(writeOnly('peek'));
  }

  /**
   * Reads 1 to `buffer.length` bytes into the caller's memory; resolves with their number, 0 at EOF. See
   * {@link StreamReader.readinto}.
   *
   * ```ts
   * const memory = Buffer.alloc(65536);
   * for (let n; (n = await from.readinto(memory)) > 0; ) await to.write(memory.subarray(0, n));
   * ```
   */
  readinto(buffer: Uint8Array, options?: WaitOptions): Promise<number> {
    return this.#canRead() ? this.#reader.readinto(buffer, options) : rejected(writeOnly('readinto'));
  }

  /** Puts `data` back in front of the unread bytes. See {@link StreamReader.unread}. */
  unread(data: Uint8Array | string): void {
    if (!this.#canRead()) throw writeOnly('unread');
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
    return this.#canRead() ? this.#reader[Symbol.asyncIterator]() : failing(writeOnly('for await'));
  }

  // ---------------------------------------------------------------------------------------------- writing

  /** Bytes accepted for sending so far. */
  get bytesWritten(): number {
    return this.#writer?.bytesWritten ?? 0;
  }

  /**
   * Bytes written that the kernel has not taken yet: 0 before the first write, on a stream without a writing side, and when the
   * connection is gone. It is what the watermarks of {@link setWriteBufferLimits} are compared with. The file that `sendfile` is
   * sending does not count. asyncio: `transport.get_write_buffer_size`
   */
  get writeBufferSize(): number {
    return this.#writer?.writeBufferSize ?? 0;
  }

  /**
   * Sends `data`, a string as UTF-8: as much at once as the kernel takes, the rest in the background. Awaiting the result
   * applies back-pressure; not awaiting it never causes an unhandled rejection. Data of more than 4 KiB is sent from where it
   * is, so leave it as it is until the result has resolved. See {@link StreamWriter.write}. asyncio: `write`
   */
  write(data: Uint8Array | string): Written {
    return this.#canWrite() ? this.#sender().write(data) : refused('write');
  }

  /**
   * Sends one frame: the payload with its length field or its separator, in one batch, copied or sent from where it is as by `write`. See
   * {@link StreamWriter.writeframe}.
   *
   * ```ts
   * await stream.writeframe('hello', { length: 'uint32be' }); // 00 00 00 05 h e l l o
   * ```
   */
  writeframe(payload: Payload, framing?: Framing): Written {
    return this.#canWrite() ? this.#sender().writeframe(payload, framing) : refused('writeframe');
  }

  /** Sends several pieces, as `write` would send them joined. asyncio: `writelines` */
  writelines(list: Iterable<Uint8Array | string>): Written {
    return this.#canWrite() ? this.#sender().writelines(list) : refused('writelines');
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
   * The position of such a file is `offset + sent` afterwards, also when sending fails; it stays what it was when nothing was
   * sent. Setting it takes the native engine, and no Windows. With the TypeScript engine it is moved ahead on Linux, by reading up
   * to the place, and stays where the place lies behind it; everywhere else it stays what it was.
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
   * asyncio: `loop.sendfile`
   *
   * @param count - 1 or more; as in asyncio, 0 is refused
   * @param options - `fallback`: false refuses to copy the bytes through this process, and so always fails on Node; `signal`
   * @throws (as a rejection) StateError `ERR_SENDFILE_NOT_AVAILABLE` with `fallback: false`
   * @throws (as a rejection) Error of the file system, such as `ENOENT`, `EACCES`, `EISDIR`, `EBADF` for an fd that is not open,
   * or not for reading; that of Node is the `cause`
   * @throws (as a rejection) TypeError `ERR_INVALID_FD_TYPE` when it is not a regular file
   * @throws (as a rejection) ConnectionError when the connection is closed (`ECONNRESET`) or lost before the end
   */
  sendfile(file: SendfileSource, offset?: number, count?: number, options?: SendfileOptions): Promise<number> {
    return this.#canWrite() ? sendfile(this.#outlet(), file, offset, count, options) : rejected(readOnly('sendfile'));
  }

  /** Waits until the write buffer is at its low watermark, if it went over the high one. asyncio: `drain` */
  drain(options?: WaitOptions): Promise<void> {
    return this.#canWrite() ? this.#sender().drain(options) : rejected(readOnly('drain'));
  }

  /** Waits until every byte written so far has been handed to the kernel. */
  flush(options?: WaitOptions): Promise<void> {
    return this.#canWrite() ? this.#sender().flush(options) : rejected(readOnly('flush'));
  }

  /** Whether {@link writeEof} works on this stream. asyncio: `can_write_eof` */
  canWriteEof(): boolean {
    return this.#canWrite() && this.#sender().canWriteEof();
  }

  /** Ends the writing side once all is flushed; reading goes on. asyncio: `write_eof` */
  writeEof(): Promise<void> {
    return this.#canWrite() ? this.#sender().writeEof() : rejected(readOnly('writeEof'));
  }

  /** Sets the watermarks of `drain`, in bytes. asyncio: `transport.set_write_buffer_limits` */
  setWriteBufferLimits(limits: Parameters<StreamWriter['setWriteBufferLimits']>[0]): void {
    if (!this.#canWrite()) throw readOnly('setWriteBufferLimits');
    this.#sender().setWriteBufferLimits(limits);
  }

  // ---------------------------------------------------------------------------------------------- TLS

  /**
   * Upgrades the connection to TLS, on the side of the client or of the server, as {@link isServerSide} says. Waits until all
   * that was written before is sent, then for the handshake. Afterwards the stream reads and writes decrypted bytes, and
   * {@link getExtraInfo} knows `cipher`, `peercert`, `sslcontext` and `sslObject`. What is written while it waits is sent
   * encrypted, after the handshake; no read can begin.
   *
   * ```ts
   * await stream.write('STARTTLS\r\n');
   * if ((await stream.readline()).toString().startsWith('220')) await stream.startTls(true);
   * ```
   *
   * Bytes that were received before and not read belong to TLS when they begin as a TLS handshake. Anything else may have been
   * injected by an attacker, and must not pass for what the peer says afterwards: the upgrade is refused, the connection is closed
   * before the call rejects, and those bytes are dropped, never read. An upgrade also fails, and closes the connection, when the
   * peer has already ended its side.
   *
   * A handshake that fails, that takes longer than `sslHandshakeTimeout`, or that is ended by the signal or by `close`, closes
   * the connection before the call rejects. With a signal that is with its reason.
   *
   * After a refused upgrade, or a handshake that was ended by the signal, reads and writes reject with a `ConnectionError`
   * `ECONNABORTED` that has the reason as its cause; after any other failure with the error of the call. The stream stays as it is
   * when an argument is invalid, when a read waits, when the connection is encrypted already, and when the signal is aborted before
   * the handshake has begun.
   *
   * @param ssl - a client: `true`, TLS options or a `SecureContext`; a server: TLS options with a certificate and its key, or a
   * `SecureContext`
   * @param options - `serverHostname`: the name in the certificate of the server, by default the host given to `connect`;
   * `sslHandshakeTimeout` in ms, by default 60000; `sslShutdownTimeout` in ms, by default 1000; `signal`
   *
   * asyncio: `start_tls`
   *
   * @throws (as a rejection) ConnectionError for a handshake that failed, with the code of the reason: `CERT_HAS_EXPIRED`,
   * `ERR_TLS_CERT_ALTNAME_INVALID`, `ERR_SSL_...`, `ECONNRESET`, `ETIMEDOUT`
   * @throws (as a rejection) StateError `ERR_TLS_PLAINTEXT_PENDING` when unread bytes do not begin a TLS handshake, and the
   * connection is closed; `ERR_CONCURRENT_READ` while a read waits; `ERR_TLS_STATE` when the stream is encrypted already, or cannot be
   * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an argument that is none
   */
  async startTls(ssl: ClientSsl | ServerSsl, options: StartTlsOptions = {}): Promise<void> {
    const action = 'startTls';
    const signal = checkedSignal(action, options);
    checkOptionNames(action, options);
    this.#bothWays(action);
    const tls = this.#serverSide
      ? checkServerTls(action, ssl, options)
      : checkClientTls(action, ssl, options, this.#host);
    const transport = this.#plainTransport(action);
    signal?.throwIfAborted();
    await startTls(this.#upgradable(transport), tls, signal);
  }

  /** The reading half. Throws where there is none. */
  #readable(action: string): StreamReader {
    if (!this.#canRead()) throw writeOnly(action);
    return this.#reader;
  }

  #upgradable(transport: DuplexTransport): Upgradable {
    return {
      intake: this.#intake,
      unread: () => this.#reader.buffered,
      transport,
      reserve: (action) => this.#outlet().reserve(action),
      isClosing: () => this.isClosing(),
      peerEnded: () => this.#peerEnded,
      onClose: (giveUp) => {
        this.#giveUp = giveUp;
      },
      withdrawEnd: () => {
        this.#peerEnded = false;
      },
      move: (secured) => {
        this.#transport = this.#link.transport = secured;
        this.#outlet().moveTo(secured);
        this.#intake.attach(secured);
        this.#intake.unlockReads();
        secured.start(this.#link);
      },
      lose: (error) => {
        const lost = !this.#closedHere || this.#sender().writeBufferSize > 0;
        this.#link.closed(lost ? error : null);
      },
    };
  }

  /** The transport to upgrade. Throws where there is nothing to upgrade. */
  #plainTransport(action: string): DuplexTransport {
    const transport = this.#transport;
    if (this.#giveUp !== null) throw new StateError('ERR_TLS_STATE', `${action}: another call is under way`);
    if (transport instanceof TlsTransport || transport.getExtraInfo('sslObject') !== undefined) {
      throw new StateError('ERR_TLS_STATE', `${action}: the connection is encrypted already`);
    }
    const plain = this.#bothWays(action);
    if (this.isClosing()) throw new ConnectionError('ECONNRESET', `${action}: the connection is closing`);
    return plain;
  }

  /** The transport. Throws where it does not carry both directions. */
  #bothWays(action: string): DuplexTransport {
    const transport = this.#transport;
    if (transport instanceof DuplexTransport && this.mode === StreamMode.READWRITE) return transport;
    throw new StateError('ERR_TLS_STATE', `${action}: there is no connection of both directions`);
  }

  // ---------------------------------------------------------------------------------------------- closing

  /**
   * Sends what is queued, then closes both directions. May be called again, also concurrently.
   *
   * Reading ends with the call: a waiting read ends as at EOF, what was received before can still be read, what arrives later
   * is dropped. Waits until the connection is gone, with the bounds that {@link StreamWriter.close} describes: a peer that takes nothing
   * for `closeTimeout` is given up, and one that does not end its side is waited for at most one second (over TLS
   * `sslShutdownTimeout`). Rejects with the reason when the connection is lost before everything was sent. asyncio: `close`
   */
  close(): Promise<void> {
    this.#closeAsked = true;
    this.#endReading();
    return this.#sender().close();
  }

  /**
   * Closes both directions at once and drops what is queued; reading ends as with {@link close}. Resolves when the connection
   * is gone, and never rejects. asyncio: `abort`
   */
  abort(): Promise<void> {
    this.#endReading();
    this.#sender().abort();
    return this.#sender().waitClosed().catch(ignore);
  }

  /** Waits until the connection is gone, whoever closes it; rejects with the reason when it is lost. asyncio: `wait_closed` */
  waitClosed(options?: WaitOptions): Promise<void> {
    this.#closeAsked = true;
    return this.#sender().waitClosed(options);
  }

  /** Whether the stream is being closed, or gone. asyncio: `is_closing` */
  isClosing(): boolean {
    return this.#writer?.isClosing() ?? (this.#lost || this.#transport.isClosing);
  }

  /**
   * `await using`: as {@link close}, except that the loss of the connection is not thrown again when an earlier call on this
   * stream has rejected because of it (awaited or not). What made the block fail then leaves it as it is, not inside of a
   * `SuppressedError`. A loss that nobody was told of, such as that of bytes which `close` was to send, is thrown.
   *
   * asyncio: `__aexit__`
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const told = this.#lost && (this.#closeAsked || this.#intake.hasThrown || this.#writerThrew());
    this.#endReading();
    try {
      await this.#sender().close();
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
    return this.#transport.getExtraInfo(name) ?? fallback;
  }

  /** Whether this is the server's side: a server accepted the connection, or `serverSide` says so. asyncio: `is_server_side` */
  isServerSide(): boolean {
    return this.#serverSide;
  }

  /** The error that ended the connection, or null. asyncio: `exception` */
  exception(): Error | null {
    return this.#error ?? this.#reader.exception();
  }

  /** @internal `Stream { mode: READWRITE, buffered: 4, eof, limit: 123, queued: 4, peername: 127.0.0.1:8888 }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[Stream]';
    const parts = [`mode: ${modeName(this.mode)}`];
    if (this.#canRead()) {
      parts.push(`buffered: ${this.buffered}`);
      if (this.#peerEnded) parts.push('eof');
      parts.push(`limit: ${this.limit}`);
    }
    if (this.writeBufferSize > 0) parts.push(`queued: ${this.writeBufferSize}`);
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
  readTarget(ahead: boolean): Uint8Array | null {
    return this.#intake.readTarget(ahead);
  }

  /** @internal See `ReadingSink`. */
  get readsAhead(): boolean {
    return this.#intake.readsAhead;
  }

  /** @internal See `TransportSink.commit`. */
  commit(count: number): boolean {
    return this.#closedHere || this.#intake.commit(count);
  }

  /** @internal See `TransportSink.feed`. */
  feed(chunk: Uint8Array): boolean {
    return this.#closedHere || this.#intake.feed(chunk);
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
    if (this.#writer !== null) writerOutlet(this.#writer).connectionLost(error);
  }

  // ---------------------------------------------------------------------------------------------- the halves' side

  /** @internal The two halves; either of them keeps the stream. */
  get halves(): [StreamReader, StreamWriter] {
    return [this.#reader, this.#sender()];
  }

  /** @internal What the transport holds of the stream. */
  get link(): StreamLink<Stream> {
    return this.#link;
  }

  /** @internal See `Keeper.retain`. */
  retain(reason: Retain): void {
    this.#link.retain(this, reason);
  }

  /** @internal See `Keeper.release`. */
  release(reason: Retain): void {
    this.#link.release(reason);
  }

  /** @internal See `Keeper.closing`. */
  closing(): void {
    this.#link.closing(this);
    this.#endReading();
    this.#giveUp?.();
  }

  #sender(): StreamWriter {
    return this.#writer ?? this.#makeWriter();
  }

  #makeWriter(): StreamWriter {
    const writer = new StreamWriter(this.#transport, { closeTimeout: this.#closeTimeout });
    const outlet = writerOutlet(writer);
    outlet.attach(this);
    this.#writer = writer;
    if (this.#lost) outlet.connectionLost(this.#error);
    return writer;
  }

  #outlet(): WriterOutlet {
    return writerOutlet(this.#sender());
  }

  #writerThrew(): boolean {
    return this.#writer !== null && writerOutlet(this.#writer).hasThrown;
  }

  // Methods and no getters: V8 looks a private getter up by a call into its runtime, on each read and write.
  #canRead(): boolean {
    return (this.mode & StreamMode.READ) !== 0;
  }

  #canWrite(): boolean {
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
  result.catch(ignore);
  return result;
}

/** What a stream without a reading side answers to those who wait for lines. */
const NO_FRAMES: FrameSource = {
  nextFrame: () => rejected(writeOnly('frames')),
  nextFrames: () => rejected(writeOnly('frames')),
  leave: () => {},
};

const NO_LINES: LineSource = {
  nextLine: () => rejected(writeOnly('lines')),
  nextLines: () => rejected(writeOnly('lines')),
  leave: () => {},
};

function failing(error: Error): AsyncIterableIterator<Buffer, undefined> {
  const iterator: AsyncIterableIterator<Buffer, undefined> = {
    next: () => rejected(error),
    return: () => Promise.resolve({ done: true, value: undefined }),
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}
