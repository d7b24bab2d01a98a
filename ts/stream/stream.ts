/**
 * A stream: one reader and one writer over one transport.
 *
 * It adds what neither half can know: the mode, the end of both halves when the connection ends, and closing. All other calls are
 * passed on to a half. A read passes through here without an `await` and without another promise.
 *
 * Life:
 *
 *     open ---close(), abort(), dispose---> closing       of the stream or of its writer
 *       |                                      |
 *       v                                      v          the transport reports `closed`
 *     gone <-----------------------------------'
 *
 * `startTls` replaces the transport of an open stream. During its handshake the stream is open, and closing it ends the handshake.
 *
 * Each fact has one owner, which the others ask: the reader knows whether EOF has arrived and which error ended the connection, the
 * link knows the transport, the transport knows whether it is going down.
 *
 * Reading ends in four ways. In each case the bytes received before can still be read, except by the handler of a server that closes:
 *
 *     the peer ends its side          reads end as at EOF
 *     this side closes or aborts      the same, from that call on; bytes that arrive later are dropped
 *     its server drains               the same, once a read waits and nothing is left to read; writing goes on
 *     the connection is lost          reads reject with the reason, unless EOF has arrived before
 */
import type { Buffer } from 'node:buffer';
import type { Duplex } from 'node:stream';
import { inspect, type InspectOptions } from 'node:util';
import { checkedWait, withinTime, type WaitOptions } from '../abort.js';
import { checkObject, checkOptionNames } from '../checks.js';
import { ConnectionError, StateError, ignore, type TimeoutError } from '../errors.js';
import { prepareFraming, type Framing } from '../buffer/framing.js';
import type { Separators } from '../buffer/separator.js';
import { FrameLoop, type FrameSource } from '../reader/frame-loop.js';
import type { Frames } from '../reader/frames.js';
import { Lines, checkLineForm, type LineSource, type LinesOptions } from '../reader/lines.js';
import { Retain, type Keeper } from '../keeper.js';
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
import { StreamMode, peerName, type Transport } from '../transports/transport.js';
import type { Payload } from '../writer/frame-encoder.js';
import {
  StreamWriter,
  writerOutlet,
  type CloseOptions,
  type WriteBufferOptions,
  type WriterOutlet,
} from '../writer/writer.js';
import { sendfile, type SendfileOptions, type SendfileSource } from './sendfile.js';
import { detach, type Detachable } from './detach.js';
import { DrainWatch } from './drain-watch.js';
import { handedOverBy, markHandedOver, wasHandedOver, type HandedOver } from './hand-over.js';
import { openingTime, streamStats, type StreamStats } from './stats.js';
import type { Quiescent } from './quiesce.js';
import { startTls, type GiveUp, type Upgradable } from './start-tls.js';
import { StreamDuplex } from './to-duplex.js';
import { toWeb, type ByteStreams } from './to-web.js';
import { StreamLink, type ReadingSink, type StreamOwner } from './stream-link.js';
import {
  changeTimeouts,
  checkConnectionTimeouts,
  watchStream,
  type TimeoutOptions,
  type ConnectionTimeouts,
} from './timeouts.js';

export { StreamMode, peerName, type StreamOwner };

/** See the top of this file. */
type Life = 'open' | 'closing' | 'gone';

/** Options of a stream. */
export interface StreamOptions extends LimitOptions, CloseOptions, WriteBufferOptions {
  /** Whether a server accepted the connection. Default false. */
  serverSide?: boolean | undefined;
  /** The host that was connected to: `startTls` expects its certificate. */
  host?: string | undefined;
  /** Is notified when the connection has ended. */
  owner?: StreamOwner | undefined;
  /** The timeouts of the connection, if there are any, and when a server accepted it, by the clock. */
  timeouts?: ConnectionTimeouts | null | undefined;
  acceptedAt?: number | undefined;
}

/** Options of {@link Stream.startTls}. */
export interface StartTlsOptions extends HandshakeOptions, WaitOptions {}

/**
 * The internal side of a stream: what its transport (through the link), its two halves, servers and the deprecated calls use. Callers of the
 * package see only {@link Stream}.
 */
export interface StreamSide extends ReadingSink, Keeper {
  readonly stream: Stream;
  /** How the transport refers to the stream. */
  readonly link: StreamLink<StreamSide>;
  /** The reader and the writer. Each of them keeps the stream alive. */
  readonly halves: [StreamReader, StreamWriter];
  /** See `ReaderIntake.waitsEmpty`. */
  readonly waitsEmpty: boolean;
  /** Calls `idle` when a read waits, no byte is unread, and all that the kernel has received by now was read. Called once. */
  whenIdle(idle: () => void): void;
  /** Ends reading as if the peer had ended its side; the writing side stays open. Bytes that arrive later are dropped. */
  endReading(): void;
  /** Drops what was received and not read, so that reading ends at once when the caller closes the stream. */
  dropUnread(): void;
}

/** The protocol by which `node:stream/iter` asks any object for its bytes. */
const toAsyncStreamable: unique symbol = Symbol.for('Stream.toAsyncStreamable') as never;

/** How many times bytes have arrived, on any stream. */
let arrivals = 0;

/** The internal side of a stream. */
export let streamSide: (stream: Stream) => StreamSide;

type Written = ReturnType<StreamWriter['write']>;

/**
 * A connection that can be read and written, in the directions of its {@link mode}. `connect` returns one, and a `StreamServer` passes
 * one to its handler.
 *
 * ```ts
 * await using stream = await connect('127.0.0.1', 8888);
 * await stream.write('hello\n');
 * console.log((await stream.readline()).toString());
 * ```
 *
 * A call in a direction that the stream does not have fails with a {@link StateError}: `ERR_STREAM_WRITE_ONLY` for reading,
 * `ERR_STREAM_READ_ONLY` for writing. Calls that return a promise reject with it.
 *
 * If a stream is garbage collected while it is open, its connection is aborted, and a `ResourceWarning` with the code
 * `SLUICE_UNCLOSED` reports it. This never happens while a call waits or written bytes are being sent.
 *
 * asyncio: `Stream`
 */
export class Stream {
  /** The directions of this stream, testable with `&`: `stream.mode & StreamMode.READ`. asyncio: `mode` */
  readonly mode: StreamMode;

  readonly #reader: StreamReader;
  readonly #intake: ReaderIntake;
  /** Created by the first call that needs it: most streams are idle most of the time, and many only read. */
  #writer: StreamWriter | null = null;
  /** On the client's side the host that was connected to, if that is known; null on the server's side. */
  readonly #host: string | undefined | null;
  /** When it was opened: see `openingTime`. */
  readonly #opened = openingTime();
  readonly #closeTimeout: number | undefined;
  readonly #maxWriteBuffer: number | undefined;
  /** Ends the handshake of `startTls`; null if there is none. */
  #giveUp: GiveUp | null = null;
  readonly #link: StreamLink<StreamSide>;
  /** What everything but the caller sees of the stream. */
  #side: StreamSide | null = null;
  #life: Life = 'open';
  /** While the server drains: notices when this stream has nothing left to do. */
  #drainWatch: DrainWatch | null = null;
  /** The number of the last arrival of bytes on this stream. */
  #arrival = 0;
  /** Whether the caller has a promise that reports how the connection ended. */
  #endObserved = false;
  /** The directions that the caller may use: those of {@link mode}, or 0 once the stream was handed over. */
  #usable: StreamMode | 0;

  /** @internal `connect` and servers create streams. */
  constructor(transport: Transport, options: StreamOptions = {}) {
    this.mode = transport.mode;
    this.#usable = this.mode;
    this.#reader = new StreamReader({ limit: options.limit });
    this.#intake = readerIntake(this.#reader);
    this.#host = options.serverSide === true ? null : options.host;
    this.#closeTimeout = options.closeTimeout;
    this.#maxWriteBuffer = options.maxWriteBuffer;
    const side = streamSide(this);
    this.#link = new StreamLink(side, transport, options.owner);
    this.#intake.attach(this.#link, side);
    transport.start(this.#link);
    if (options.timeouts != null) watchStream(this.#link, options.timeouts, options.acceptedAt);
  }

  // ---------------------------------------------------------------------------------------------- reading

  /** The longest frame, not counting its separator, in bytes. asyncio: the `limit` argument */
  get limit(): number {
    return this.#reader.limit;
  }

  /** The number of bytes received and not read yet. */
  get buffered(): number {
    return this.#reader.buffered;
  }

  /** The number of bytes received so far, read or not. */
  get bytesRead(): number {
    return this.#reader.bytesRead;
  }

  /**
   * Reads 1 to `n` bytes, or with -1 (the default) everything until EOF. Resolves with an empty buffer at EOF. See
   * {@link StreamReader.read}. asyncio: `read`
   */
  read(n?: number, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.read(n, options) : rejected(this.#unreadable('read'));
  }

  /**
   * Reads one line with its `\n`, or at EOF the remaining bytes. A line over the limit is skipped, and the call rejects with
   * `LimitOverrunError`. See {@link StreamReader.readline}. asyncio: `readline`
   */
  readline(options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.readline(options) : rejected(this.#unreadable('readline'));
  }

  /**
   * Reads up to and including the separator, or the first of several. See {@link StreamReader.readuntil}, also for the bytes that remain
   * after a failure. asyncio: `readuntil`
   */
  readuntil(separator?: Separators, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.readuntil(separator, options) : rejected(this.#unreadable('readuntil'));
  }

  /**
   * Reads all complete frames that have arrived, in place: for parsing many of them without a promise, a copy or an object for each.
   * They are valid until the next read. Waits for at least one frame, or EOF. See
   * {@link StreamReader.readframes}, {@link Frames} and {@link Framing}.
   */
  readframes(framing?: Framing, options?: WaitOptions): Promise<Frames> {
    return this.#canRead() ? this.#reader.readframes(framing, options) : rejected(this.#unreadable('readframes'));
  }

  /**
   * Reads one frame, which is yours to keep, without the bytes that `skip` of its framing leaves out. Resolves with `null` at EOF. See
   * {@link StreamReader.readframe}.
   *
   * ```ts
   * const framing = { length: 'uint32be', skip: 'header' } as const;
   * for (let message; (message = await stream.readframe(framing)) !== null; ) handle(message);
   * ```
   */
  readframe(framing?: Framing, options?: WaitOptions): Promise<Buffer | null> {
    return this.#canRead() ? this.#reader.readframe(framing, options) : rejected(this.#unreadable('readframe'));
  }

  /**
   * Returns an iterator over the frames until EOF: one at a time, or with `frames().batches()` many at once, in place. See
   * {@link StreamReader.frames} and {@link FrameLoop}.
   *
   * ```ts
   * for await (const message of stream.frames({ length: 'uint32be', skip: 'header' })) handle(message);
   * ```
   */
  frames(framing?: Framing, options?: WaitOptions): FrameLoop {
    if (this.#canRead()) return this.#reader.frames(framing, options);
    prepareFraming(framing ?? '\n', 'frames');
    return new FrameLoop(noFrames(this.#unreadable('frames')));
  }

  /** {@link read} without waiting: undefined if it would have to wait. See {@link StreamReader.tryRead}. */
  tryRead(n?: number): Buffer | undefined {
    return this.#readable('tryRead').tryRead(n);
  }

  /**
   * {@link readline} without waiting: undefined if it would have to wait. See {@link StreamReader.tryReadline}.
   *
   * ```ts
   * const line = stream.tryReadline() ?? (await stream.readline());
   * ```
   */
  tryReadline(): Buffer | undefined {
    return this.#readable('tryReadline').tryReadline();
  }

  /** {@link readuntil} without waiting: undefined if it would have to wait. See {@link StreamReader.tryReaduntil}. */
  tryReaduntil(separator?: Separators): Buffer | undefined {
    return this.#readable('tryReaduntil').tryReaduntil(separator);
  }

  /** {@link readexactly} without waiting: undefined if it would have to wait. See {@link StreamReader.tryReadexactly}. */
  tryReadexactly(n: number): Buffer | undefined {
    return this.#readable('tryReadexactly').tryReadexactly(n);
  }

  /** {@link readframe} without waiting: undefined if it would have to wait, `null` at EOF. See {@link StreamReader.tryReadframe}. */
  tryReadframe(framing?: Framing): Buffer | null | undefined {
    return this.#readable('tryReadframe').tryReadframe(framing);
  }

  /** {@link readframes} without waiting: undefined if it would have to wait. See {@link StreamReader.tryReadframes}. */
  tryReadframes(framing?: Framing): Frames | undefined {
    return this.#readable('tryReadframes').tryReadframes(framing);
  }

  /**
   * Returns all buffered bytes, in place and in one piece, once there are `atLeast` bytes (fewer only at EOF): for parsers that find
   * the frames themselves. {@link consume} takes the bytes that were parsed. Valid until the next read, window or `consume`. See
   * {@link StreamReader.window}.
   */
  window(atLeast?: number, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.window(atLeast, options) : rejected(this.#unreadable('window'));
  }

  /** {@link window} without waiting: undefined if there are fewer than `atLeast` bytes. See {@link StreamReader.tryWindow}. */
  tryWindow(atLeast?: number): Buffer | undefined {
    return this.#readable('tryWindow').tryWindow(atLeast);
  }

  /** Takes the next `n` buffered bytes, usually those of a {@link window} that were parsed. See {@link StreamReader.consume}. */
  consume(n: number): void {
    this.#readable('consume').consume(n);
  }

  /**
   * Iterates over the next `n` bytes as they arrive, in `Buffer`s that are yours to keep; without `n`, over everything until EOF. Leaving
   * the loop early leaves the rest unread. See {@link StreamReader.chunks}.
   *
   * ```ts
   * for await (const chunk of stream.chunks(contentLength)) await file.write(chunk);
   * ```
   */
  chunks(n?: number, options?: WaitOptions): AsyncIterableIterator<Buffer, undefined> {
    return this.#canRead() ? this.#reader.chunks(n, options) : failing(this.#unreadable('chunks'));
  }

  /** Drops exactly `n` bytes, as they arrive. See {@link StreamReader.discard}. */
  discard(n: number, options?: WaitOptions): Promise<void> {
    return this.#canRead() ? this.#reader.discard(n, options) : rejected(this.#unreadable('discard'));
  }

  /**
   * Returns an iterator over the lines as strings: one at a time, or with `lines().batches()` many at once. See
   * {@link StreamReader.lines} and {@link Lines}.
   *
   * ```ts
   * for await (const line of stream.lines()) console.log(line);
   * ```
   */
  lines(options?: LinesOptions): Lines {
    return this.#canRead()
      ? this.#reader.lines(options)
      : new Lines(noLines(this.#unreadable('lines')), checkLineForm(options));
  }

  /**
   * Reads exactly `n` bytes. Rejects with `IncompleteReadError`, which has the bytes read, if the stream ends before that. See
   * {@link StreamReader.readexactly}. asyncio: `readexactly`
   */
  readexactly(n: number, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.readexactly(n, options) : rejected(this.#unreadable('readexactly'));
  }

  /** Returns a copy of the next `n` bytes without consuming them; fewer only at EOF. See {@link StreamReader.peek}. */
  peek(n: number, options?: WaitOptions): Promise<Buffer> {
    return this.#canRead() ? this.#reader.peek(n, options) : rejected(this.#unreadable('peek'));
  }

  /**
   * Reads 1 to `buffer.length` bytes into the caller's memory and resolves with their number; 0 at EOF. See
   * {@link StreamReader.readinto}.
   *
   * ```ts
   * const memory = Buffer.alloc(65536);
   * for (let n; (n = await from.readinto(memory)) > 0; ) await to.write(memory.subarray(0, n));
   * ```
   */
  readinto(buffer: Uint8Array, options?: WaitOptions): Promise<number> {
    return this.#canRead() ? this.#reader.readinto(buffer, options) : rejected(this.#unreadable('readinto'));
  }

  /** Puts `data` back before the unread bytes. See {@link StreamReader.unread}. */
  unread(data: Uint8Array | string): void {
    if (!this.#canRead()) throw this.#unreadable('unread');
    this.#reader.unread(data);
  }

  /** Whether the stream has ended and every byte has been read. asyncio: `at_eof` */
  atEof(): boolean {
    return this.#reader.atEof();
  }

  /**
   * Iterates over lines with their `\n`, as `readline` returns them, until EOF. Leaving the loop does not close the stream, and the next
   * loop or read continues after the last line. asyncio: `__aiter__`
   *
   * ```ts
   * for await (const line of stream) console.log(line.toString());
   * ```
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer, undefined> {
    return this.#canRead() ? this.#reader[Symbol.asyncIterator]() : failing(this.#unreadable('for await'));
  }

  /**
   * Iterates over everything until EOF in batches, each with all bytes that are buffered: the protocol of `node:stream/iter`, whose functions
   * accept this stream. Leaving the loop early leaves the rest unread.
   *
   * @internal
   */
  [toAsyncStreamable](): AsyncIterableIterator<Uint8Array[], undefined> {
    // Not a generator: that could not be left while it waits.
    const chunks = this.chunks();
    const batches: AsyncIterableIterator<Uint8Array[], undefined> = {
      next: async () => {
        const { done, value } = await chunks.next();
        return done === true ? { done, value: undefined } : { done: false, value: [value] };
      },
      return: async () => {
        await chunks.return?.();
        return { done: true, value: undefined };
      },
      [Symbol.asyncIterator]: () => batches,
    };
    return batches;
  }

  // ---------------------------------------------------------------------------------------------- writing

  /** The number of bytes accepted for sending so far. */
  get bytesWritten(): number {
    return this.#writer?.bytesWritten ?? 0;
  }

  /**
   * The number of bytes written that the kernel has not accepted yet: 0 before the first write, on a stream without a writing side, and
   * after the connection has ended. The `max` of {@link setWriteBufferLimits} bounds it. The file that `sendfile` is sending does
   * not count. asyncio: `transport.get_write_buffer_size`
   */
  get writeBufferSize(): number {
    return this.#writer?.writeBufferSize ?? 0;
  }

  /**
   * Sends `data` (a string as UTF-8): at once as much as the kernel accepts, the rest in the background. Awaiting the result applies
   * back-pressure; not awaiting it never causes an unhandled rejection. Data of more than 4 KiB is sent from the caller's memory: do not
   * change it until the result has resolved. See {@link StreamWriter.write}. asyncio: `write`
   */
  write(data: Uint8Array | string): Written {
    return this.#canWrite() ? this.#sender().write(data) : refused(this.#unwritable('write'));
  }

  /**
   * Sends one frame in one batch: the payload with its length field or its separator. Data of more than 4 KiB is sent from the caller's
   * memory, as with `write`. See {@link StreamWriter.writeframe}.
   *
   * ```ts
   * await stream.writeframe('hello', { length: 'uint32be' }); // 00 00 00 05 h e l l o
   * ```
   */
  writeframe(payload: Payload, framing?: Framing): Written {
    return this.#canWrite() ? this.#sender().writeframe(payload, framing) : refused(this.#unwritable('writeframe'));
  }

  /** Sends several pieces, in one system call if possible. See {@link StreamWriter.writelines}. asyncio: `writelines` */
  writelines(list: Iterable<Uint8Array | string>): Written {
    return this.#canWrite() ? this.#sender().writelines(list) : refused(this.#unwritable('writelines'));
  }

  /**
   * Sends a file, or `count` bytes of it from `offset` on; by default up to its end. Resolves with the number of bytes sent, which is less
   * than `count` if the file ends before.
   *
   * The file is sent after everything written before this call, and before everything written after it, even while the file is being
   * sent. `writeEof` and `close` wait for it as well. Several files are sent in the order of the calls. The file is read into one block of
   * 128 KiB, which is reused once the kernel has accepted it, so a file of any size needs only that much memory. The length is not fixed
   * at the start: a file that grows is sent to its new end, and one that shrinks ends early.
   *
   * `file` is a path, a `file:` URL, a `FileHandle` or an fd of a regular file. A file given by path or URL is opened and closed; an open
   * file stays open, and afterwards its position is `offset + sent`, even if sending fails; if nothing was sent, it is unchanged. Setting
   * the position needs the native engine, and is not possible on Windows. With the TypeScript engine on Linux it can only move forward,
   * by reading up to the new position; elsewhere it stays unchanged.
   *
   * ```ts
   * stream.write(header);
   * const sent = await stream.sendfile('page.html');
   * ```
   *
   * asyncio: `loop.sendfile`, which also refuses other writes in the meantime, and pauses reading
   *
   * **Waits** until the kernel has accepted the last byte.
   *
   * **Errors** (all as rejections). StateError `ERR_SENDFILE_NOT_AVAILABLE` with `fallback: false`; an Error of the file system, such as
   * `ENOENT`, `EACCES`, `EISDIR`, or `EBADF` for an fd that is not open, or not for reading, with Node's error as the `cause`; TypeError
   * `ERR_INVALID_FD_TYPE` if it is not a regular file; ConnectionError if the connection is closed (`ECONNRESET`) or lost before the end.
   * After an error of the file, bytes sent before stay sent, their number is not reported, and the stream continues with the next write.
   *
   * **Cancellation.** `signal` ends the sending, with the same effect as an error of the file.
   *
   * @param count - 1 or more; as in asyncio, 0 is refused
   * @param options - `fallback`: false refuses to copy the bytes through this process, and so always fails on Node; `signal`
   */
  sendfile(file: SendfileSource, offset?: number, count?: number, options?: SendfileOptions): Promise<number> {
    return this.#canWrite()
      ? sendfile(this.#outlet(), file, offset, count, options)
      : rejected(this.#unwritable('sendfile'));
  }

  /** Waits until the write buffer is down to the low watermark, if it was above the high one. See {@link StreamWriter.drain}. asyncio: `drain` */
  drain(options?: WaitOptions): Promise<void> {
    return this.#canWrite() ? this.#sender().drain(options) : rejected(this.#unwritable('drain'));
  }

  /** Waits until the kernel has accepted every byte written so far. See {@link StreamWriter.flush}. */
  flush(options?: WaitOptions): Promise<void> {
    return this.#canWrite() ? this.#sender().flush(options) : rejected(this.#unwritable('flush'));
  }

  /** Whether this stream supports {@link writeEof}. asyncio: `can_write_eof` */
  canWriteEof(): boolean {
    return this.#canWrite() && this.#sender().canWriteEof();
  }

  /** Ends the writing side after everything that was written; reading continues. See {@link StreamWriter.writeEof}. asyncio: `write_eof` */
  writeEof(): Promise<void> {
    return this.#canWrite() ? this.#sender().writeEof() : rejected(this.#unwritable('writeEof'));
  }

  /**
   * Sets the watermarks of `drain`, and the `max` of the write buffer, in bytes. A write that would exceed `max` rejects with
   * `ERR_WRITE_OVERFLOW`, and the connection is aborted. See {@link StreamWriter.setWriteBufferLimits}. asyncio:
   * `transport.set_write_buffer_limits`
   */
  setWriteBufferLimits(limits: Parameters<StreamWriter['setWriteBufferLimits']>[0]): void {
    if (!this.#canWrite()) throw this.#unwritable('setWriteBufferLimits');
    this.#sender().setWriteBufferLimits(limits);
  }

  // ---------------------------------------------------------------------------------------------- TLS

  /**
   * Upgrades the connection to TLS, as the server if {@link isServerSide} is true, otherwise as the client. Afterwards the stream
   * reads and writes decrypted bytes, and {@link getExtraInfo} knows `cipher`, `peercert`, `alpn` and the other facts about TLS. Data that is
   * written during the call is sent encrypted, after the handshake; no read can start. asyncio: `start_tls`
   *
   * ```ts
   * await stream.write('STARTTLS\r\n');
   * if ((await stream.readline()).toString().startsWith('220')) await stream.startTls(true);
   * ```
   *
   * Bytes that were received before and not read belong to TLS if they begin a TLS handshake. Anything else may have been injected by an
   * attacker and must not be mistaken for data of the authenticated peer: the upgrade is refused, and those bytes are dropped.
   *
   * **Waits** until everything written before is sent, then for the handshake.
   *
   * **Errors** (all as rejections). A failed handshake: ConnectionError with the code of the reason: `CERT_HAS_EXPIRED`,
   * `ERR_TLS_CERT_ALTNAME_INVALID`, `ERR_SSL_...`, `ECONNRESET`, `ETIMEDOUT` after `sslHandshakeTimeout`, `ECONNABORTED` after `close`.
   * A refused upgrade: StateError `ERR_TLS_PLAINTEXT_PENDING` for unread bytes that do not begin a TLS handshake; ConnectionError
   * `ECONNRESET` if the peer has already ended its side, or if the server of the stream is closing and has ended reading. In each of
   * these cases the connection is closed before the call rejects. Later reads and writes reject with the same error, or with a
   * ConnectionError `ECONNABORTED` with that as its cause, if it is not a ConnectionError.
   *
   * These leave the stream unchanged: StateError `ERR_CONCURRENT_READ` while a read waits; StateError `ERR_TLS_STATE` if the stream is
   * already encrypted, or cannot be; TypeError `ERR_INVALID_ARG_TYPE` and RangeError `ERR_OUT_OF_RANGE` for an invalid argument.
   *
   * **Cancellation.** Before the handshake has begun, `signal` leaves the stream unchanged. After that it closes the connection; the call
   * rejects with the signal's reason, and later reads and writes with a ConnectionError `ECONNABORTED` with the reason as its cause.
   *
   * @param ssl - a client: `true`, TLS options or a `SecureContext`; a server: TLS options with a certificate and its key, or a
   * `SecureContext`
   * @param options - `serverHostname`: the name in the certificate of the server, by default the host given to `connect`;
   * `sslHandshakeTimeout` in ms, by default 60000; `sslShutdownTimeout` in ms, by default 1000; `signal`
   */
  async startTls(ssl: ClientSsl | ServerSsl, options: StartTlsOptions = {}): Promise<void> {
    const action = 'startTls';
    const wait = checkedWait(action, options);
    checkOptionNames(action, options);
    this.#bothWays(action);
    const host = this.#host;
    const tls = host === null ? checkServerTls(action, ssl, options) : checkClientTls(action, ssl, options, host);
    const transport = this.#plainTransport(action);
    wait?.signal?.throwIfAborted();
    await withinTime(action, wait, (signal) => startTls(this.#upgradable(transport), tls, signal));
  }

  // ---------------------------------------------------------------------------------------------- other kinds of streams

  /**
   * Returns a Node `Duplex` over this stream, for everything that takes one: `pipeline`, `tls.connect({ socket })`, an `http.Agent`, ...
   * It starts with the bytes that are unread, and can be used in the directions of {@link mode}.
   *
   * From then on, calls of this stream that read or write are refused with a StateError `ERR_STREAM_HANDED_OVER`. {@link close},
   * {@link abort}, `setTimeouts` and the facts about the connection continue to work. `connect({ sock: duplex })` makes a stream of it again.
   *
   * ```ts
   * await pipeline(stream.toDuplex(), createGunzip(), createWriteStream('dump'));
   * ```
   *
   * - **Back-pressure** works in both directions. The duplex has a high watermark of 64 KiB in each, in addition to the buffers of the stream.
   *   While the peer sends much, a chunk has up to 256 KiB.
   * - **Half-close**: `end()` ends the writing side after everything that was written, also over TLS; reading continues. When the peer ends
   *   its side, the duplex emits `'end'`, and can be written to. Set its `allowHalfOpen` to false to end it then.
   * - **Closing**: the connection is closed once both sides have ended. `destroy()` before that aborts it.
   * - **Errors**: if the connection is lost, everything that was received is delivered first, as long as something consumes it. Then the
   *   duplex is destroyed, with the same error as calls of this stream would have rejected with.
   *
   * A server closes the stream when its handler has settled: wait for the end of the duplex in the handler.
   *
   * @throws StateError `ERR_STREAM_HANDED_OVER` if the stream was handed over before, `ERR_CONCURRENT_READ` while a read waits,
   * `ERR_TLS_STATE` during `startTls`
   */
  toDuplex(): Duplex {
    return new StreamDuplex(this.#handOver('toDuplex'));
  }

  /**
   * Returns web streams over this stream: a byte stream to read from, and a `WritableStream`. They start with the bytes that are unread. A
   * direction that {@link mode} lacks is closed.
   *
   * From then on, calls of this stream that read or write are refused, as after {@link toDuplex}. `connect({ web })` makes a stream of them
   * again.
   *
   * ```ts
   * const { readable, writable } = stream.toWeb();
   * await readable.pipeThrough(new DecompressionStream('gzip')).pipeTo(file);
   * ```
   *
   * - **Reading** fills the memory of a BYOB reader directly. Nothing is read ahead. `cancel()` ends only reading: what was received, and
   *   what follows, is dropped.
   * - **Writing** accepts bytes and strings; another chunk aborts the connection. Data of more than 4 KiB is sent from its own memory, which
   *   can be used again when the write has resolved. `desiredSize` counts bytes. `close()` ends the writing side after everything that was
   *   written, also over TLS; reading continues. `abort(reason)` aborts the connection, and the readable fails with the reason.
   * - **Closing**: the connection is closed once both sides have ended.
   * - **Errors**: if the connection is lost, everything that was received is read first. Then both fail, with the same error as calls of
   *   this stream would have rejected with.
   *
   * A server closes the stream when its handler has settled: wait for the end of both in the handler.
   *
   * @throws StateError `ERR_STREAM_HANDED_OVER` if the stream was handed over before, `ERR_CONCURRENT_READ` while a read waits,
   * `ERR_TLS_STATE` during `startTls`
   */
  toWeb(): ByteStreams {
    return toWeb(this.#handOver('toWeb'));
  }

  /**
   * Gives the Node socket of this stream back, with the bytes that are unread put back into it: for a connection whose protocol another
   * package continues, such as `http.Server#emit('connection')`, or `ws` after an upgrade. After that, the socket is as if sluice had never
   * used it: nothing consumes it yet, its `allowHalfOpen` is false, no listener is left, and errors are yours to handle.
   *
   * ```ts
   * const head = await stream.peek(4);
   * if (head.toString() === 'GET ') httpServer.emit('connection', await stream.detach());
   * ```
   *
   * The result is the socket that sluice made, a `TLSSocket` over TLS, or the `Duplex` that was passed as `sock`. It is a `Duplex` over this
   * stream, as from {@link toDuplex}, if there is no such object (`streampair`, pipes), or if the peer has already ended its side, because
   * nothing can be put back into a socket that has ended.
   *
   * **Waits** until the kernel has accepted everything that was written. Reads and writes that start meanwhile are refused.
   *
   * Afterwards calls of this stream that read or write are refused with a StateError `ERR_STREAM_HANDED_OVER`, and its timeouts have ended. Its
   * server does not count the connection any more, and neither waits for it nor closes it. Unless the result is a `Duplex` over this stream,
   * the stream is closed: `close` and `waitClosed` resolve.
   *
   * **Errors** (as a rejection; the stream is as before). ConnectionError if the connection is closing or is lost; StateError
   * `ERR_STREAM_HANDED_OVER` if the stream was handed over before, `ERR_CONCURRENT_READ` while a read waits, `ERR_TLS_STATE` during `startTls`.
   *
   * **Cancellation.** `signal` ends the wait; the stream is as before.
   */
  async detach(options?: WaitOptions): Promise<Duplex> {
    const action = 'detach';
    const wait = checkedWait(action, options);
    wait?.signal?.throwIfAborted();
    const source = this.#handOver(action);
    try {
      if (this.isClosing()) throw new ConnectionError('ECONNRESET', `${action}: the connection is closing`);
      const { transport } = this;
      if (transport instanceof DuplexTransport && this.mode === StreamMode.READWRITE) {
        const socket = await withinTime(action, wait, (signal) => detach(this.#detachable(transport), signal));
        if (socket !== null) return socket;
      }
    } catch (error) {
      this.#usable = this.mode;
      markHandedOver(this, null);
      throw error;
    }
    this.#link.leaveOwner();
    return new StreamDuplex(source);
  }

  /** The reading half. Throws if there is none. */
  #readable(action: string): StreamReader {
    if (!this.#canRead()) throw this.#unreadable(action);
    return this.#reader;
  }

  #upgradable(transport: DuplexTransport): Upgradable {
    return {
      ...this.#quiescent(transport),
      unread: () => this.#reader.buffered,
      readingEnded: () => this.#drainWatch?.wasIdle === true,
      onClose: (giveUp) => {
        this.#giveUp = giveUp;
      },
      move: (secured) => {
        this.#link.transport = secured;
        this.#intake.unlockReads();
        secured.start(this.#link);
      },
      lose: (error) => {
        const lost = this.#life === 'open' || this.writeBufferSize > 0;
        this.#link.closed(lost ? error : null);
      },
    };
  }

  #detachable(transport: DuplexTransport): Detachable {
    return {
      ...this.#quiescent(transport),
      leave: () => this.#link.closed(null),
    };
  }

  #quiescent(transport: DuplexTransport): Quiescent {
    return {
      intake: this.#intake,
      transport,
      reserve: (action) => this.#outlet().reserve(action),
      isClosing: () => this.isClosing(),
    };
  }

  /** Returns the transport to upgrade. Throws if there is none. */
  #plainTransport(action: string): DuplexTransport {
    const { transport } = this;
    this.#notUpgrading(action);
    if (transport instanceof TlsTransport || transport.getExtraInfo('sslObject') !== undefined) {
      throw new StateError('ERR_TLS_STATE', `${action}: the connection is already encrypted`);
    }
    const plain = this.#bothWays(action);
    if (this.isClosing()) throw new ConnectionError('ECONNRESET', `${action}: the connection is closing`);
    return plain;
  }

  /** Throws during `startTls`. */
  #notUpgrading(action: string): void {
    if (this.#giveUp !== null) throw new StateError('ERR_TLS_STATE', `${action}: another call is in progress`);
  }

  /** Returns the transport. Throws if it is not one of a Node stream, in both directions. */
  #bothWays(action: string): DuplexTransport {
    const refusal = wasHandedOver(this, action);
    if (refusal !== null) throw refusal;
    const { transport } = this;
    if (transport instanceof DuplexTransport && this.mode === StreamMode.READWRITE) return transport;
    const why = this.mode === StreamMode.READWRITE ? 'is in memory, not over a socket' : 'has only one direction';
    throw new StateError('ERR_TLS_STATE', `${action}: the stream ${why}`);
  }

  // ---------------------------------------------------------------------------------------------- closing

  /**
   * Sends the queue, then closes both directions. May be called again, also concurrently. asyncio: `close`
   *
   * Reading ends with the call: a waiting read ends as at EOF, bytes received before can still be read, and bytes that arrive later are
   * dropped.
   *
   * **Waits** until the connection has ended, with two bounds: the call rejects if the peer accepts nothing for `closeTimeout`, and once
   * everything is sent it waits at most one second (over TLS `sslShutdownTimeout`) for a peer that does not end its side. See
   * {@link StreamWriter.close}.
   *
   * **Errors** (as a rejection, which need not be handled). ConnectionError with the reason if the connection is lost before everything
   * was sent.
   */
  close(): Promise<void> {
    this.#endObserved = true;
    return this.#sender().close();
  }

  /**
   * Closes both directions at once and drops the queue; reading ends as with {@link close}. Resolves when the connection has ended, and
   * never rejects. asyncio: `abort`
   */
  abort(): Promise<void> {
    this.#sender().abort();
    return this.#sender().waitClosed().catch(ignore);
  }

  /** Waits until either side has closed the connection. Rejects with the reason if it is lost. asyncio: `wait_closed` */
  waitClosed(options?: WaitOptions): Promise<void> {
    this.#endObserved = true;
    return this.#sender().waitClosed(options);
  }

  /** Whether the stream is closing, or the connection has ended. asyncio: `is_closing` */
  isClosing(): boolean {
    return this.#life !== 'open' || this.transport.isClosing;
  }

  /**
   * `await using`: as {@link close}, except that the loss of the connection is not thrown again if an earlier call on this stream has
   * rejected because of it (awaited or not). The error that made the block fail then leaves it unchanged, not inside a
   * `SuppressedError`. A loss that no call has reported is thrown, for example of bytes that `close` was sending.
   *
   * asyncio: `__aexit__`
   */
  async [Symbol.asyncDispose](): Promise<void> {
    const reported = this.#writerThrew() || (this.#life === 'gone' && (this.#endObserved || this.#intake.hasThrown));
    try {
      await this.#sender().close();
    } catch (error) {
      if (!reported) throw error;
    }
  }

  /**
   * Changes `idleTimeout`, `readTimeout` and `writeTimeout` of the connection, see {@link TimeoutOptions}: for example after a login, or for
   * the time of a long request. A value of undefined leaves a timeout unchanged, and the time that it has run for counts; `Infinity` turns
   * it off. Has no effect on a stream that is closing.
   *
   * ```ts
   * stream.setTimeouts({ idleTimeout: 600_000 }); // the client has logged in
   * ```
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` if a timeout is not a number of milliseconds above 0, or `Infinity`
   */
  setTimeouts(timeouts: TimeoutOptions): void {
    checkObject('setTimeouts', 'timeouts', timeouts);
    checkConnectionTimeouts('setTimeouts', timeouts);
    if (this.#life === 'open') changeTimeouts(this.#link, timeouts);
  }

  // ---------------------------------------------------------------------------------------------- facts

  /** The transport that carries the bytes; `startTls` replaces it. asyncio: `transport` */
  get transport(): Transport {
    return this.#link.transport;
  }

  /**
   * Returns a fact about the connection by asyncio's name, such as `peername`, `sockname` or `socket`; `fallback` if it is not known.
   * `proxy` is a `ProxyInfo` if a server with `proxyProtocol` accepted the connection. asyncio: `get_extra_info`
   */
  getExtraInfo(name: string, fallback?: unknown): unknown {
    return this.transport.getExtraInfo(name) ?? fallback;
  }

  /** Whether this is the server's side: a server accepted the connection, or `serverSide` was given. asyncio: `is_server_side` */
  isServerSide(): boolean {
    return this.#host === null;
  }

  /** The error that ended the connection, or null. asyncio: `exception` */
  exception(): Error | null {
    return this.#reader.exception() ?? (this.#writer === null ? null : writerOutlet(this.#writer).loss);
  }

  /**
   * Returns the counters of the stream: bytes, frames, and for how long back-pressure has paused reading and blocked writing. Each call returns
   * a new object, which does not change.
   *
   * ```ts
   * const { bytesRead, bytesWritten, timeBlocked } = stream.stats();
   * ```
   */
  stats(): StreamStats {
    return streamStats(this, this.#opened, this.#intake, this.#writer === null ? null : writerOutlet(this.#writer));
  }

  /** @internal `Stream { mode: READWRITE, buffered: 4, eof, limit: 123, queued: 4, peername: 127.0.0.1:8888 }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[Stream]';
    const parts = [`mode: ${modeName(this.mode)}`];
    if ((this.mode & StreamMode.READ) !== 0) {
      parts.push(`buffered: ${this.buffered}`);
      if (this.#intake.eof) parts.push('eof');
      parts.push(`limit: ${this.limit}`);
    }
    if (this.writeBufferSize > 0) parts.push(`queued: ${this.writeBufferSize}`);
    const peer = peerName(this);
    if (peer !== null) parts.push(`peername: ${peer}`);
    const by = handedOverBy(this);
    if (by !== null) parts.push(`handed over: ${by}`);
    if (this.#life === 'gone') parts.push('closed');
    else if (this.isClosing()) parts.push('closing');
    const error = this.exception();
    if (error !== null) parts.push(`exception: ${inspect(error.message, { colors: options.colors ?? false })}`);
    return `Stream { ${parts.join(', ')} }`;
  }

  // ---------------------------------------------------------------------------------------------- the internal side

  static {
    // A class, made once, so that calls through it cost no more than calls of the stream's own methods.
    class Side implements StreamSide {
      readonly stream: Stream;

      constructor(stream: Stream) {
        this.stream = stream;
      }

      get link(): StreamLink<StreamSide> {
        return this.stream.#link;
      }

      get halves(): [StreamReader, StreamWriter] {
        return [this.stream.#reader, this.stream.#sender()];
      }

      readTarget(ahead: boolean): Uint8Array | null {
        return this.stream.#intake.readTarget(ahead);
      }

      get readsAhead(): boolean {
        return this.stream.#intake.readsAhead;
      }

      commit(count: number): boolean {
        const { stream } = this;
        stream.#arrived();
        return stream.#life !== 'open' || stream.#intake.commit(count);
      }

      feed(chunk: Uint8Array): boolean {
        const { stream } = this;
        stream.#arrived();
        return stream.#life !== 'open' || stream.#intake.feed(chunk);
      }

      eof(): void {
        this.stream.#reader.feedEof();
      }

      get received(): number {
        return this.stream.#intake.bytesRead;
      }

      get bytesWritten(): number {
        return this.stream.bytesWritten;
      }

      get accepted(): number {
        const { bytesAccepted } = this.transport;
        return bytesAccepted ?? this.stream.bytesWritten - this.stream.writeBufferSize;
      }

      get waiting(): boolean {
        return this.stream.#intake.waiting;
      }

      get unfinished(): number {
        return this.stream.#intake.unfinished;
      }

      get answered(): number {
        const { stream } = this;
        return stream.#arrival === arrivals && stream.#intake.waiting ? arrivals : 0;
      }

      get upgrading(): boolean {
        return this.stream.#giveUp !== null;
      }

      expire(error: TimeoutError): void {
        const giveUp = this.stream.#giveUp;
        if (giveUp === null) this.transport.abort(error);
        else giveUp(error);
      }

      closed(error: Error | null): void {
        this.stream.#closed(error);
      }

      get transport(): Transport {
        return this.stream.transport;
      }

      get waitsEmpty(): boolean {
        return this.stream.#intake.waitsEmpty;
      }

      whenIdle(idle: () => void): void {
        this.stream.#whenIdle(idle);
      }

      endReading(): void {
        this.stream.#reader.feedEof();
      }

      dropUnread(): void {
        this.stream.#intake.dropUnread();
      }

      retain(reason: Retain): void {
        const { stream } = this;
        stream.#link.retain(this, reason);
        if (stream.#drainWatch !== null && reason === Retain.READ) stream.#drainWatch.check();
      }

      release(reason: Retain): void {
        this.stream.#link.release(reason);
      }

      closing(): void {
        this.stream.#link.closing(this);
        this.stream.#closing();
      }

      failing(): void {
        this.stream.#link.closing(this);
      }
    }

    streamSide = (stream) => (stream.#side ??= new Side(stream));
  }

  #closed(error: Error | null): void {
    this.#life = 'gone';
    // After an EOF, of the peer or of our close, the error does not affect reads.
    if (error === null) this.#reader.feedEof();
    else this.#reader.setException(error);
    if (this.#writer !== null) writerOutlet(this.#writer).connectionLost(error);
  }

  #closing(): void {
    if (this.#life === 'open') {
      this.#life = 'closing';
      this.#reader.feedEof();
      // A peer that must get rid of its own bytes before it accepts ours would otherwise keep the flush waiting forever.
      this.transport.resumeReading();
    }
    this.#giveUp?.();
  }

  #whenIdle(idle: () => void): void {
    this.#drainWatch = new DrainWatch(this.#intake, this.limit, idle);
    this.#drainWatch.check();
  }

  #sender(): StreamWriter {
    return this.#writer ?? this.#makeWriter();
  }

  #makeWriter(): StreamWriter {
    const options = { closeTimeout: this.#closeTimeout, maxWriteBuffer: this.#maxWriteBuffer };
    const writer = new StreamWriter(this.transport, options);
    const outlet = writerOutlet(writer);
    outlet.attach(streamSide(this));
    this.#writer = writer;
    if (this.#life === 'gone') outlet.connectionLost(this.exception());
    return writer;
  }

  #outlet(): WriterOutlet {
    return writerOutlet(this.#sender());
  }

  #writerThrew(): boolean {
    return this.#writer !== null && writerOutlet(this.#writer).hasThrown;
  }

  /** Bytes have arrived. */
  #arrived(): void {
    this.#arrival = ++arrivals;
  }

  // Methods, not getters: V8 calls into its runtime to look up a private getter, which every read and write would pay for.
  #canRead(): boolean {
    return (this.#usable & StreamMode.READ) !== 0;
  }

  #canWrite(): boolean {
    return (this.#usable & StreamMode.WRITE) !== 0;
  }

  /** Why the caller cannot read. */
  #unreadable(action: string): StateError {
    return wasHandedOver(this, action) ?? writeOnly(action);
  }

  /** Why the caller cannot write. */
  #unwritable(action: string): StateError {
    return wasHandedOver(this, action) ?? readOnly(action);
  }

  /**
   * Gives the stream to another user, such as a `Duplex`: calls of the caller that read or write are refused from now on. Closing the stream,
   * and asking it for facts, continues to work.
   *
   * @param action - the call that hands it over, which later errors name
   * @throws StateError `ERR_STREAM_HANDED_OVER` if it was handed over before, `ERR_CONCURRENT_READ` while a read waits, `ERR_TLS_STATE` during
   * `startTls`
   */
  #handOver(action: string): HandedOver {
    const refusal = wasHandedOver(this, action);
    if (refusal !== null) throw refusal;
    this.#notUpgrading(action);
    // Throws while a read waits.
    this.#intake.lockReads(action);
    this.#intake.unlockReads();
    const writer = this.#sender();
    const source: HandedOver = {
      stream: this,
      reader: this.#canRead() ? this.#reader : null,
      writer: this.#canWrite() ? writer : null,
      whenEnded: () => writer.waitClosed(),
      endWriting: async () => {
        if (this.canWriteEof()) return writer.writeEof();
        await writer.flush();
        this.transport.writeEof();
      },
      endReading: () => {
        this.#intake.dropUnread();
        this.#reader.feedEof();
      },
    };
    this.#usable = 0;
    markHandedOver(this, action);
    return source;
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

/** A refused write. As with every write, not awaiting it causes no unhandled rejection. */
function refused(error: StateError): Written {
  const result = Promise.reject<void>(error);
  result.catch(ignore);
  return result;
}

/** The source of frames of a stream that the caller cannot read. */
function noFrames(error: StateError): FrameSource {
  return { nextFrame: () => rejected(error), nextFrames: () => rejected(error), leave: () => {} };
}

/** The source of lines of a stream that the caller cannot read. */
function noLines(error: StateError): LineSource {
  return { nextLine: () => rejected(error), nextLines: () => rejected(error), leave: () => {} };
}

function failing(error: Error): AsyncIterableIterator<Buffer, undefined> {
  const iterator: AsyncIterableIterator<Buffer, undefined> = {
    next: () => rejected(error),
    return: () => Promise.resolve({ done: true, value: undefined }),
    [Symbol.asyncIterator]: () => iterator,
  };
  return iterator;
}
