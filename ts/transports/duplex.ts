/**
 * A transport over any byte stream of Node: what the public API of `Readable`, `Writable` and `Duplex` gives, nothing else.
 *
 * The socket transport is built on it: writing, half-close, the end and its reasons are the same there; a socket adds
 * reading into reused memory, the facts of the connection, and memory that need not be copied.
 *
 * Life. `open` until this side closes or the stream is lost. Closing runs `end()`, waits for `'finish'` (the end of file
 * is on its way), drops what still comes in for a moment, and destroys. Whatever happens, `'close'` of the stream ends it,
 * and that is reported to the sink once.
 */
import type { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { ConnectionError, invalidKind, showUnixPath } from '../errors.js';
import { connectionError, lossOf } from '../system-errors.js';
import { markUsed } from './in-use.js';
import { FlushWatch, afterPoll, linger } from './linger.js';
import { readRest } from './node-internals.js';
import { asByteStream, bytesOf, sizeOf } from './object-mode.js';
import { TransportsByStream } from './shared-duplex.js';
import { StreamMode, type Transport, type TransportSink } from './transport.js';

/** What is wrong with a pipe that nobody reads. */
const BROKEN_PIPE = 'broken pipe: its reader is gone';

/** How many bytes a stream of Node is given at once. */
const CHUNK_BYTES = 65536;

/** From how many bytes on a connection may still have some to send when the kernel has taken all of them. */
const BULK_BYTES = 65536;

const transports = new TransportsByStream<DuplexTransport>();

/** A `Transport` over a Node stream of bytes. */
export class DuplexTransport implements Transport {
  readonly mode: StreamMode;
  protected readonly readable: Readable | null;
  protected readonly writable: Writable | null;

  readonly #stream: Readable | Writable;
  #sink: TransportSink | null = null;
  #reason: Error | null = null;
  #onData: ((chunk: unknown) => void) | null = null;

  #closing = false;
  /** Nothing that comes in, and no error, is of interest any more: this side is done. */
  #done = false;
  #lost = false;
  #ended = false;
  #discarding = false;
  #discarded = 0;
  /** Watches the peer while a close flushes. */
  #watch: FlushWatch | null = null;
  /** Whether the stream was left to the transport of the other direction. */
  #left = false;
  /** Set when the stream has gone to another transport: what a call of `close` or `abort` is to do then. */
  #onAbandon: (() => void) | null = null;

  #pending = 0;
  /** How many bytes were handed over. */
  #sent = 0;
  /** Bytes handed over have not been taken, and will not be. */
  #cutOff = false;
  #batchDone: (() => void) | null = null;
  #onWritten: ((error?: Error | null) => void) | null = null;
  /** Callbacks still to come of writes that were complete when `write` returned. */
  #completed = 0;

  /**
   * @param stream - a stream of bytes, or one in object mode whose chunks are bytes or strings; it belongs to the transport from
   * now on
   * @param mode - the directions to use it in; `READ` for a `Readable`, `WRITE` for a `Writable`
   * @throws TypeError `ERR_INVALID_ARG_TYPE` when the stream decodes to strings, which loses what is not valid in its encoding
   */
  constructor(stream: Duplex, mode?: typeof StreamMode.READWRITE);
  constructor(stream: Readable, mode: typeof StreamMode.READ);
  constructor(stream: Writable, mode: typeof StreamMode.WRITE);
  constructor(stream: Duplex | Readable | Writable, mode: StreamMode = StreamMode.READWRITE) {
    this.mode = mode;
    this.#stream = stream;
    this.readable = (mode & StreamMode.READ) !== 0 ? (stream as Readable) : null;
    this.writable = (mode & StreamMode.WRITE) !== 0 ? (stream as Writable) : null;
    if (this.readable !== null && this.readable.readableEncoding !== null) {
      throw invalidKind(
        'connect',
        'sock',
        'a stream of bytes',
        `a stream that decodes ${this.readable.readableEncoding}`,
      );
    }
    // Else Node ends the writing side as soon as the peer has ended its own.
    if (mode === StreamMode.READWRITE) (stream as Duplex).allowHalfOpen = true;

    const other = transports.add(stream, this);
    if (other !== null) {
      (stream as Duplex).allowHalfOpen = true;
      const writing = mode === StreamMode.WRITE ? this : other;
      stream.once('finish', () => writing.#leave());
    } else {
      stream.on('error', DuplexTransport.#onError);
      // on, not once, which costs three more objects for each connection: either event comes once.
      stream.on('close', DuplexTransport.#onClose);
    }
    this.readable?.on('end', DuplexTransport.#onEnd);
    markUsed(stream, mode);
    if (stream.destroyed) {
      // Its 'close' may be over already; where it is still to come, it comes first.
      if (stream.errored !== null) this.#reason ??= lossOf(stream.errored);
      afterPoll(() => this.#connectionLost());
    }
  }

  static #onError(this: Readable | Writable, error: unknown): void {
    for (const transport of transports.of(this)) transport.#reason ??= lossOf(error);
  }

  /**
   * A write to `socket` has failed, and Node is about to destroy it: what the peer sent before is delivered first, also where reading
   * was paused.
   *
   * @param code - what the write failed with
   */
  protected static deliverRest(socket: Socket, code: string | undefined): void {
    const transport = transports.reading(socket);
    if (transport !== undefined) transport.#deliverRest(socket, code);
  }

  #deliverRest(socket: Socket, code: string | undefined): void {
    if (this.#discarding || this.#ended || this.#lost || this.#sink === null || this.#onAbandon !== null) return;
    this.#deliverBuffered();
    let ended = false;
    const take = (chunk: Uint8Array | null): boolean => {
      if (chunk === null) ended = true;
      else this.received(chunk);
      return true;
    };
    socket.push = take;
    try {
      // A reset that the write has reported looks like an end afterwards. Where the peer had ended first it is EPIPE.
      if (readRest(socket, take) && code === 'EPIPE') ended = true;
    } finally {
      delete (socket as Partial<Socket>).push;
    }
    if (ended) this.#endOfFile();
  }

  static #onClose(this: Readable | Writable): void {
    for (const transport of transports.of(this)) transport.#connectionLost();
  }

  static #onEnd(this: Readable): void {
    const transport = transports.reading(this);
    if (transport === undefined) return;
    if (!transport.doubtsEnd()) {
      transport.#endOfFile();
      return;
    }
    afterPoll(() => {
      // The error may be there while its 'close' is still to come.
      if (transport.#reason === null && this.errored === null) transport.#endOfFile();
    });
  }

  /** Reports the end of this direction and leaves the stream to the other one; `false` where there is none any more. */
  #leave(): boolean {
    const other = transports.other(this.#stream, this);
    if (other === null || other.#lost || other.#left || this.#stream.destroyed) return false;
    this.#left = true;
    this.#done = true;
    this.#closing = true;
    this.#discarding = true;
    setImmediate(() => {
      this.#connectionLost();
      // What still comes in is dropped, so that a peer that has to get rid of it takes what is written.
      this.readable?.resume();
    });
    return true;
  }

  /** Whether there is, or was, a transport of the other direction. */
  get #shared(): boolean {
    return transports.other(this.#stream, this) !== null;
  }

  get canWriteEof(): boolean {
    return this.writable !== null;
  }

  get isClosing(): boolean {
    return this.#closing || this.#lost || this.#stream.destroyed || this.#stream.errored !== null;
  }

  get pendingBytes(): number {
    return this.#pending;
  }

  /** How bytes come in: by `'data'` events, or into memory that is used again. */
  readonly readPath: 'data' | 'direct' = 'data';

  start(sink: TransportSink): void {
    this.#sink = sink;
    if (this.#lost) {
      setImmediate(() => {
        this.#report();
      });
    } else if (this.readable !== null && !this.#closing) {
      if (this.readable.readableEnded) setImmediate(() => this.#endOfFile());
      else this.startReading(this.readable);
    }
  }

  /** Begins to read; a way of reading that is not `'data'` hands its bytes to {@link received}. */
  protected startReading(readable: Readable): void {
    this.#onData = (chunk) => {
      if (!this.#chunkReceived(chunk)) readable.pause();
    };
    readable.on('data', this.#onData);
    readable.resume();
  }

  /** How long closing waits for the end of the peer when all is sent, in ms; null: as long as it takes to spare the peer a loss. */
  protected get endTimeout(): number | null {
    return null;
  }

  /** Whether the stream is to be left alone when all is written: what comes out of it is read by somebody else. */
  protected get outlivesWriting(): boolean {
    return false;
  }

  /** Whether the end that was just reported may be an error, which is reported within a turn if it is one. */
  protected doubtsEnd(): boolean {
    return false;
  }

  /** As {@link received}, for a chunk that may be anything where the stream is in object mode: one that is no bytes ends it. */
  #chunkReceived(chunk: unknown): boolean {
    if (this.#discarding) {
      this.#discarded += sizeOf(chunk);
      return true;
    }
    let bytes: Uint8Array;
    try {
      bytes = bytesOf(chunk);
    } catch (error) {
      // What comes after it must not be taken for what follows the bytes before it.
      this.#discarding = true;
      this.#reason ??= error as Error;
      this.failed(error);
      this.destroyStream();
      return false;
    }
    return bytes.length === 0 || this.received(bytes);
  }

  /** Hands `chunk` to the sink, or drops it where the transport is closing. `false`: stop reading. */
  protected received(chunk: Uint8Array): boolean {
    const sink = this.receiver(chunk.length);
    if (sink === null) return true;
    try {
      return sink.feed(chunk);
    } catch (error) {
      this.failed(error);
      return false;
    }
  }

  /** The sink, or null when received bytes are to be dropped. */
  protected receiver(count: number): TransportSink | null {
    if (!this.#discarding) return this.#sink;
    this.#discarded += count;
    return null;
  }

  /** The sink, or the user's stream, threw: that ends this connection, and must not end the process. */
  protected failed(error: unknown): void {
    this.#stream.destroy(error instanceof Error ? error : new Error(String(error)));
  }

  pauseReading(): void {
    if (!this.#discarding && this.#onAbandon === null) this.readable?.pause();
  }

  resumeReading(): void {
    if (this.#sink !== null && this.#onAbandon === null && !this.isClosing) this.readable?.resume();
  }

  /**
   * Hands what has come in and waits in the stream, because reading was paused, to the sink.
   *
   * @internal
   */
  deliver(): void {
    // Each read() emits 'data', paused or not.
    while (this.readable !== null && this.#onData !== null && this.readable.readableLength > 0) {
      if (this.readable.read() === null) break;
    }
  }

  /**
   * Gives the stream up, for another transport to be made over it: this one reports nothing more. Reading has to be paused,
   * and nothing pending. It goes on answering {@link getExtraInfo}; closing it calls `onAbandon`, once.
   *
   * @internal
   */
  release(onAbandon: () => void): Duplex {
    this.#onAbandon = onAbandon;
    if (this.#onData !== null) this.readable?.off('data', this.#onData);
    this.#onData = null;
    return asByteStream(this.#stream as Duplex);
  }

  /** Whether the stream is not ours any more; then whoever has it hears of the close. */
  #abandoned(): boolean {
    if (this.#onAbandon === null) return false;
    if (!this.#closing) {
      this.#closing = true;
      this.#onAbandon();
    }
    return true;
  }

  /**
   * The bytes as the stream may keep them. A `Duplex` may hold on to a chunk for as long as it likes after it has called
   * back (a `PassThrough` does), while the memory given to {@link write} is used again then.
   */
  protected lend(data: Uint8Array): Uint8Array {
    return Buffer.from(data);
  }

  /** The most bytes that the stream gets at once: what it has taken shows only by whole chunks. */
  protected get chunkBytes(): number {
    return CHUNK_BYTES;
  }

  #handOver(stream: Writable, data: Uint8Array, written?: (error?: Error | null) => void): void {
    const bytes = this.lend(data);
    const most = this.chunkBytes;
    let from = 0;
    for (; bytes.length - from > most; from += most) stream.write(bytes.subarray(from, from + most));
    stream.write(from === 0 ? bytes : bytes.subarray(from), written);
  }

  write(data: Uint8Array, done: () => void): boolean {
    const stream = this.#beginBatch(done, data.length);
    if (stream === null) return false;
    try {
      this.#handOver(stream, data, this.#written());
    } catch (error) {
      this.failed(error);
    }
    return this.#batchWritten(stream);
  }

  writev(pieces: readonly Uint8Array[], done: () => void): boolean {
    let total = 0;
    for (const piece of pieces) total += piece.length;
    const stream = this.#beginBatch(done, total);
    if (stream === null) return false;
    const last = pieces.length - 1;
    stream.cork();
    for (let i = 0; i < last; i++) this.#handOver(stream, pieces[i]!);
    this.#handOver(stream, pieces[last]!, this.#written());
    try {
      stream.uncork();
    } catch (error) {
      this.failed(error);
    }
    return this.#batchWritten(stream);
  }

  /** The stream to write to, or null where the connection is gone (which is, or will be, reported). */
  #beginBatch(done: () => void, size: number): Writable | null {
    const stream = this.writable;
    if (stream === null || this.#lost || stream.destroyed || stream.errored !== null) {
      this.#cutOff = true;
      return null;
    }
    this.#batchDone = done;
    this.#pending = size;
    this.#sent += size;
    return stream;
  }

  /** Whether all of the batch was taken at once: then its callback, which Node calls later all the same, is to be ignored. */
  #batchWritten(stream: Writable): boolean {
    // A write that failed at once leaves nothing in the stream either.
    if (stream.writableLength !== 0 || stream.errored !== null || stream.destroyed) return false;
    this.#pending = 0;
    this.#batchDone = null;
    this.#completed++;
    return true;
  }

  /** One function for all writes: Node gathers equal callbacks of one turn into one tick. Made when it is first needed. */
  #written(): (error?: Error | null) => void {
    return (this.#onWritten ??= (error) => {
      this.#batchEnded(error ?? null);
    });
  }

  #batchEnded(error: Error | null): void {
    if (this.#completed > 0) {
      this.#completed--;
      return;
    }
    // Node calls back without an error also where a destroyed handle cancelled the write.
    if (error !== null || this.#lost || this.#stream.destroyed) return;
    const done = this.#batchDone;
    this.#batchDone = null;
    this.#pending = 0;
    done?.();
  }

  writeEof(): void {
    if (this.writable !== null && !this.isClosing && !this.writable.writableEnded) this.writable.end();
  }

  close(): void {
    if (this.#abandoned() || this.#closing || this.#lost) return;
    this.#closing = true;
    this.#discarding = true;
    const stream = this.writable;
    if (stream === null) {
      this.#done = true;
      if (this.#leave()) return;
      if (this.#shared && (this.#stream as Duplex).writableFinished) {
        this.readable?.resume();
        this.#linger();
      } else this.destroyStream();
      return;
    }
    // Without reading there is no 'end', and what lies unread makes a TCP close a reset, which takes what we have just
    // sent away from the peer.
    this.readable?.resume();
    if (stream.writableFinished) {
      if (!this.#leave()) this.#linger();
    } else {
      stream.once('finish', () => {
        if (!this.#left && !this.#leave()) this.#linger();
      });
      if (!stream.writableEnded) stream.end();
    }
  }

  /** Everything is sent: drops what comes in for as long as {@link linger} says, then destroys. */
  #linger(): void {
    this.#done = true;
    this.#watch?.stop();
    const shared = this.#shared;
    if (!shared && this.outlivesWriting) {
      setImmediate(() => this.#connectionLost());
      return;
    }
    if (shared && this.readable === null) {
      // The other transport reads no more: it was the first of the two to be done.
      (this.#stream as Duplex).on('data', (chunk: unknown) => (this.#discarded += sizeOf(chunk)));
    }
    const peer = this.readable ?? (shared ? (this.#stream as Duplex) : null);
    const look = linger(
      {
        lost: () => this.#lost,
        peerEnded: () => peer?.readableEnded !== false,
        discarded: () => this.#discarded,
        // A reset is the answer to what arrives at a connection that is gone.
        mayLose: () => this.#sent >= BULK_BYTES || this.#discarded > 0,
        unsent: () => this.unsent(),
        destroy: () => this.destroyStream(),
      },
      this.endTimeout,
    );
    peer?.once('end', look);
  }

  expectClose(timeout: number): void {
    if (this.isClosing || this.#onAbandon !== null || timeout === Infinity) return;
    this.#watch ??= new FlushWatch(
      {
        pending: () => this.#pending > 0 || (this.#closing && this.writable?.writableFinished === false),
        taken: () => this.bytesTaken(),
      },
      timeout,
      () => {
        const where = this.peer === undefined ? '' : ` ${showUnixPath(this.peer)}`;
        const message = `close${where}: the peer has taken nothing for ${timeout} ms, and something is still to be sent`;
        this.#reason ??= new ConnectionError('ETIMEDOUT', message);
        this.destroyStream();
      },
    );
  }

  /** How many bytes the kernel still has to send, or null where that cannot be asked. */
  protected unsent(): number | null {
    return null;
  }

  /** How many bytes the kernel has taken, as far as that can be seen: only changes matter. */
  protected bytesTaken(): number {
    return this.#sent - (this.writable?.writableLength ?? 0);
  }

  abort(): void {
    if (this.#abandoned() || this.#lost || this.#left) return;
    // What is pending cannot be taken back from the stream, but by destroying it.
    const idle = this.writable === null || (this.#batchDone === null && this.writable.writableLength === 0);
    if (idle && this.#leave()) {
      this.writable?.end();
      return;
    }
    this.#closing = true;
    this.#discarding = true;
    // A loss that is known already, if not reported yet, stays the reason.
    if (this.#stream.errored === null) this.#done = true;
    this.destroyStream();
  }

  /** Destroys the stream and sees to it that its end is reported. */
  protected destroyStream(): void {
    this.#stream.destroy();
    // A stream made with `emitClose: false` says nothing when it is done.
    afterPoll(() => {
      if (this.#stream.closed) this.#connectionLost();
    });
  }

  ref(): void {
    // Only a handle of the event loop keeps the process alive, and a plain stream has none that it would show.
  }

  unref(): void {
    // As ref().
  }

  getExtraInfo(_name: string): unknown {
    return undefined;
  }

  /** The peer as error messages name it. */
  protected get peer(): string | undefined {
    return undefined;
  }

  /** What the stream failed with, as the stream above is told of it. */
  protected lossError(reason: Error): Error {
    return connectionError(reason, this.peer);
  }

  #endOfFile(): void {
    if (this.#ended || this.#discarding || this.#lost || this.#sink === null || this.#onAbandon !== null) return;
    this.#ended = true;
    this.#sink.eof();
    if (this.mode === StreamMode.READ) this.#leave();
  }

  #connectionLost(): void {
    if (this.#lost || this.#onAbandon !== null) return;
    // An end that was doubted, and that no error has followed, is one.
    const { errored } = this.#stream;
    if (this.readable?.readableEnded === true && this.#reason === null && errored === null) this.#endOfFile();
    this.#lost = true;
    if (this.#batchDone !== null) this.#cutOff = true;
    this.#batchDone = null;
    this.#pending = 0;
    this.#watch?.stop();
    this.ended();
    this.#report();
  }

  /** The connection is gone. */
  protected ended(): void {}

  #report(): void {
    const sink = this.#sink;
    if (sink === null) return;
    this.#deliverBuffered();
    sink.closed(this.#lossReason());
  }

  /** Bytes before errors: what had come in before the stream failed is still in it where reading was paused. */
  #deliverBuffered(): void {
    if (this.readable === null || this.#onData === null) return;
    this.readable.off('data', this.#onData);
    for (;;) {
      const chunk: unknown = this.#discarding ? null : this.readable.read();
      if (chunk === null) break;
      this.#chunkReceived(chunk);
    }
  }

  #lossReason(): Error | null {
    if (this.#done) return null;
    const { errored } = this.#stream;
    const failure: NodeJS.ErrnoException | null = this.#reason ?? (errored === null ? null : lossOf(errored));
    const code = failure?.code;
    // What was cancelled had not failed: whoever owns the stream destroyed it, as Node does with the input of a child that is gone.
    const reason = code === 'ECANCELED' ? null : failure;
    if (this.mode === StreamMode.WRITE && (reason === null || code === 'ECONNRESET')) {
      // The reader is gone. That concerns only what was still to be read by it; of a socket pair, which Node gives its
      // children for pipes, the system tells it by a reset where something lies unread.
      if (!this.#cutOff) return null;
      return new ConnectionError('EPIPE', `write: ${BROKEN_PIPE}`, reason === null ? undefined : { cause: reason });
    }
    if (reason !== null) return this.lossError(reason);
    const read = this.readable?.readableEnded ?? true;
    const written = this.writable?.writableFinished ?? true;
    // Node closes a stream by itself once both of its directions have come to their end.
    if (this.#closing || (read && written)) return null;
    const where = this.peer === undefined ? '' : ` ${this.peer}`;
    return new ConnectionError('ECONNRESET', `read${where}: the stream was destroyed before its end`);
  }
}
