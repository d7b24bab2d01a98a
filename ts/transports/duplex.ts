/**
 * The transport over any stream of Node: plain streams, sockets and TLS. It is composed of:
 *
 *     StreamKind    how the stream below behaves: `stream-kind.ts`; `socket.ts` and `tls/` have kinds of their own
 *     Reads         how bytes come in: `data-reads.ts`, `direct-reads.ts` for sockets, or `tls/decrypted-reads.ts`
 *     BatchSender   how bytes go out: `batch-sender.ts`
 *
 * This file has the rest: the life of the connection, and why it was lost.
 *
 *     open ---+--- close() ------> closing --- everything is sent ---> finished
 *             |                       |
 *             +--- abort() -----------+------> aborted
 *             |
 *             +--- the stream is gone -------> lost
 *             |
 *             +--- this direction has ended, another transport uses the stream for the other one ---> left
 *             |
 *             '--- release(), detach() ------> released --- close(), abort() ---> dismissed
 *
 * `abort(reason)`, for what the peer does or does not do, destroys the stream without a state of its own: the connection is then lost with
 * that reason.
 *
 * The stream is gone when it emits `'close'`. From any state in the first four lines, the life then ends in `closed`, which is reported to
 * the sink; `left` becomes `closed` on the next turn, while the stream stays open. `lost` lasts only while the bytes that the stream still
 * holds are delivered. `released` and `dismissed` are final, because another transport, or the
 * caller, has taken over the stream.
 *
 * Received bytes are delivered until this side closes, and dropped after that. Only `#endOfFile` reports the peer's end, and only
 * `#failure` knows what the stream has failed with.
 */
import { Socket } from 'node:net';
import type { Duplex, Readable, Writable } from 'node:stream';
import { ConnectionError, invalidKind, showUnixPath } from '../errors.js';
import { lossOf } from '../system-errors.js';
import { BatchSender } from './batch-sender.js';
import { DataReads, type Reads, type Receiver } from './data-reads.js';
import type { DirectReads } from './direct-reads.js';
import { markUsed, unmarkUsed } from './in-use.js';
import {
  FlushWatch,
  afterPoll,
  closeTimeoutError,
  linger,
  type Flushing,
  type Linger,
  type Lingering,
} from './linger.js';
import { asByteStream, sizeOf } from './object-mode.js';
import { TransportsByStream } from './shared-duplex.js';
import { NODE_STREAM, failureOf, isBroken, type NodeStream, type StreamKind } from './stream-kind.js';
import { StreamMode, peerName, type Transport, type TransportSink } from './transport.js';

/** See the top of this file. */
type Life = 'open' | 'closing' | 'finished' | 'aborted' | 'lost' | 'left' | 'closed' | 'released' | 'dismissed';

/** From how many bytes on the peer may not have received all of them, although the kernel has accepted them. */
const BULK_BYTES = 65536;

/** What is known about a connection, by asyncio's names. */
export interface ConnectionInfo {
  get(name: string): unknown;
}

/** What a transport is made with, besides its stream. */
export interface DuplexTransportOptions {
  /** Default: {@link NODE_STREAM}. */
  kind?: StreamKind;
  /** The direct reads that a socket was made with; without them the kind decides. */
  reads?: DirectReads | null;
  /** Answers `getExtraInfo`. */
  info?: ConnectionInfo;
}

const transports = new TransportsByStream<DuplexTransport>();

/** A `Transport` over a Node stream of bytes. */
export class DuplexTransport implements Transport, Receiver {
  readonly mode: StreamMode;
  readonly #stream: NodeStream;
  readonly #readable: Readable | null;
  readonly #writable: Writable | null;
  readonly #kind: StreamKind;
  readonly #info: ConnectionInfo | null;
  readonly #reads: Reads | null;
  /** Created by the first write: an idle connection should not pay for it. */
  #sender: BatchSender | null = null;
  #sink: TransportSink | null = null;

  #life: Life = 'open';
  /** Whether the peer's end was reported. */
  #eof = false;
  /** What the stream has failed with; once the transport is closed, the loss that the sink gets. */
  #reason: Error | null = null;
  /** How many received bytes were dropped. */
  #dropped = 0;
  /** Watches the peer while a close flushes. */
  #watch: FlushWatch | null = null;
  /** Waits for the peer once everything is sent. */
  #lingering: Linger | null = null;
  /** What closing calls once the stream was released. */
  #onDismiss: ((reason?: Error) => void) | null = null;

  /**
   * @param stream - a stream of bytes, or one in object mode whose chunks are bytes or strings. It belongs to the transport from now on
   * @param mode - the directions to use it in; `READ` for a `Readable`, `WRITE` for a `Writable`
   * @throws TypeError `ERR_INVALID_ARG_TYPE` if the stream decodes to strings, which loses bytes that are invalid in its encoding
   */
  constructor(stream: Duplex, mode?: typeof StreamMode.READWRITE, options?: DuplexTransportOptions);
  constructor(stream: Readable, mode: typeof StreamMode.READ, options?: DuplexTransportOptions);
  constructor(stream: Writable, mode: typeof StreamMode.WRITE, options?: DuplexTransportOptions);
  constructor(stream: NodeStream, mode: StreamMode = StreamMode.READWRITE, options: DuplexTransportOptions = {}) {
    const { kind = NODE_STREAM, reads = null, info = null } = options;
    this.mode = mode;
    this.#stream = stream;
    this.#readable = (mode & StreamMode.READ) !== 0 ? (stream as Readable) : null;
    this.#writable = (mode & StreamMode.WRITE) !== 0 ? (stream as Writable) : null;
    if (this.#readable !== null && this.#readable.readableEncoding !== null) {
      const encoding = this.#readable.readableEncoding;
      throw invalidKind('connect', 'sock', 'a stream of bytes', `a stream that decodes ${encoding}`);
    }
    this.#kind = kind;
    this.#info = info;
    reads?.join(stream as Socket, this);
    this.#reads =
      reads ??
      (this.#readable === null ? null : (kind.reads?.(this.#readable, this) ?? new DataReads(this.#readable, this)));
    this.#listen(mode);
    markUsed(stream, mode);
    if (stream.destroyed) {
      // Its 'close' may have been emitted already. If not, it comes before this.
      this.#reason = failureOf(stream);
      afterPoll(() => this.#streamClosed());
    }
  }

  #listen(mode: StreamMode): void {
    const stream = this.#stream;
    // Otherwise Node ends the writing side as soon as the peer has ended its own.
    if (mode === StreamMode.READWRITE) (stream as Duplex).allowHalfOpen = true;
    const other = transports.add(stream, this);
    if (other !== null) {
      (stream as Duplex).allowHalfOpen = true;
      const writing = mode === StreamMode.WRITE ? this : other;
      stream.once('finish', () => {
        if (!writing.#isOver) writing.#leave();
      });
    } else {
      stream.on('error', DuplexTransport.#onError);
      // on, not once, which costs three more objects for each connection: each event is emitted once.
      stream.on('close', DuplexTransport.#onClose);
    }
    this.#readable?.on('end', DuplexTransport.#onEnd);
    // One function for all streams. If the user has replaced it, theirs stays.
    if ('readRest' in this.#kind && !Object.hasOwn(stream, 'destroy')) {
      (stream as Duplex).destroy = DuplexTransport.#destroyStream;
    }
  }

  static readonly #ended = (transport: DuplexTransport): void => transport.#streamClosed();
  static readonly #finished = (transport: DuplexTransport): void => transport.#sent();

  static #onError(this: NodeStream, error: unknown): void {
    transports.each(this, (transport) => transport.#streamFailed(error));
  }

  static #onClose(this: NodeStream): void {
    transports.each(this, DuplexTransport.#ended);
    // V8 collects only the keys of a `WeakMap` while they are young. The transport, and with it the whole connection, would live on until
    // the next full collection, and every minor one until then would copy it.
    transports.delete(this);
  }

  static #onEnd(this: Readable): void {
    const transport = transports.reading(this);
    if (transport === undefined) return;
    if (!transport.#kind.endMayBeReset(this)) {
      transport.#endOfFile();
    } else {
      afterPoll(() => {
        if (transport.#failure === null) transport.#endOfFile();
      });
    }
    transport.#lingering?.check();
  }

  static #onFinish(this: Writable): void {
    transports.each(this, DuplexTransport.#finished);
  }

  /** Replaces `destroy` of a stream, which Node calls as soon as a write has failed. */
  static #destroyStream(this: Duplex, ...args: [error?: Error]): Duplex {
    const error: NodeJS.ErrnoException | undefined = args[0];
    if (error?.syscall === 'write' && !this.destroyed) {
      const transport = transports.reading(this);
      if (transport !== undefined) transport.#deliverRest(error.code);
    }
    return (Object.getPrototypeOf(this) as Duplex).destroy.apply(this, args);
  }

  get canWriteEof(): boolean {
    if (this.#writable === null) return false;
    if (this.#readable !== null && this.#kind.hasHalfClose?.(this.#stream) === false) return false;
    // The end of one direction of TLS ends the connection.
    return (this.#writable as Writable & { encrypted?: boolean }).encrypted !== true;
  }

  get isClosing(): boolean {
    return (this.#life !== 'open' && this.#life !== 'released') || isBroken(this.#stream);
  }

  get pendingBytes(): number {
    return this.#sender?.pending ?? 0;
  }

  get bytesAccepted(): number {
    return this.#sender === null ? 0 : this.#sender.accepted;
  }

  get bytesUnsent(): number {
    return this.#kind.unsent(this.#stream) ?? 0;
  }

  /** How bytes come in: through `'data'` events, or into memory that is reused. */
  get readPath(): 'data' | 'direct' {
    return this.#reads?.path ?? 'data';
  }

  getExtraInfo(name: string): unknown {
    return this.#info?.get(name);
  }

  ref(): void {
    (this.#stream as Partial<Pick<Socket, 'ref'>>).ref?.();
  }

  unref(): void {
    (this.#stream as Partial<Pick<Socket, 'unref'>>).unref?.();
  }

  // ---------------------------------------------------------------------------------------------- reading

  /** After {@link putBack}, called once more. */
  start(sink: TransportSink): void {
    this.#sink = sink;
    if (this.#life === 'closed') setImmediate(() => sink.closed(this.#reason));
    else if (this.#life === 'open' && this.#readable?.readableEnded === true) setImmediate(() => this.#endOfFile());
    else if (this.#life === 'open') this.#reads?.start();
  }

  /**
   * Takes the sink away, which has received more than it needed. Nothing is read until the next {@link start}, which delivers `rest` first,
   * or {@link release}, which leaves it to the next reader of the stream. Called by the sink in `feed`, which must return `false` then.
   *
   * @internal
   */
  putBack(rest: Uint8Array): void {
    this.#sink = null;
    this.#reads?.putBack(rest);
  }

  pauseReading(): void {
    if (this.#life === 'open') this.#reads?.pause();
  }

  resumeReading(): void {
    if (this.#life === 'open' && this.#sink !== null && !isBroken(this.#stream)) this.#reads?.resume();
  }

  /**
   * Delivers what the stream holds because reading was paused.
   *
   * @internal
   */
  deliver(): void {
    this.#reads?.deliver();
  }

  /** @internal */
  drops(count: number): boolean {
    if (this.#life === 'open' || this.#life === 'lost' || this.#life === 'released') return false;
    this.#dropped += count;
    return true;
  }

  /** @internal */
  readTarget(ahead: boolean): Uint8Array | null {
    if (this.drops(0)) return null;
    // In this order because most sinks offer no memory, and the second question takes longer.
    const target = this.#sink?.readTarget(ahead) ?? null;
    return target === null || this.isClosing ? null : target;
  }

  /** @internal */
  filled(count: number): boolean {
    if (this.drops(count)) return true;
    try {
      return this.#sink?.commit(count) ?? false;
    } catch (error) {
      this.failed(error);
      return false;
    }
  }

  /** @internal */
  received(chunk: Uint8Array): boolean {
    if (this.drops(chunk.length)) return true;
    try {
      return this.#sink?.feed(chunk) ?? false;
    } catch (error) {
      this.failed(error);
      return false;
    }
  }

  #endOfFile(): void {
    if (this.#eof || this.#life !== 'open' || this.#sink === null) return;
    this.#eof = true;
    this.#sink.eof();
    if (this.mode === StreamMode.READ) this.#leave();
  }

  /**
   * A write has failed, and Node is about to destroy the stream: delivers what the peer has sent before, even if reading was paused.
   *
   * @param code - what the write failed with
   */
  #deliverRest(code: string | undefined): void {
    if (this.#life !== 'open' || this.#eof || this.#sink === null) return;
    this.#reads?.deliverLast();
    let ended = false;
    const endSeen = this.#kind.readRest?.(this.#stream, (chunk) => {
      if (chunk === null) ended = true;
      else this.received(chunk);
    });
    // After a reset that the write has reported, the kernel reports an end. If the peer has ended its side, the write fails with EPIPE.
    if (ended || (endSeen === true && code === 'EPIPE')) this.#endOfFile();
  }

  // ---------------------------------------------------------------------------------------------- writing

  write(data: Uint8Array, done: () => void): boolean {
    return this.#batches().write(data, done);
  }

  writev(pieces: readonly Uint8Array[], done: () => void): boolean {
    return this.#batches().writev(pieces, done);
  }

  #batches(): BatchSender {
    return (this.#sender ??= new BatchSender(this.#writable, this.#kind, this));
  }

  writeEof(): void {
    if (this.#writable !== null && !this.isClosing && !this.#writable.writableEnded) this.#writable.end();
  }

  // ---------------------------------------------------------------------------------------------- the other transport

  /** The transport that uses the same stream for the other direction, or did. */
  get #other(): DuplexTransport | null {
    return transports.other(this.#stream, this);
  }

  /** Whether this transport no longer needs the stream. */
  get #isOver(): boolean {
    return this.#life === 'left' || this.#life === 'lost' || this.#life === 'closed';
  }

  /**
   * Ends this direction and leaves the stream to the other transport; `false` if there is none, or if it has ended, too.
   *
   * @param reason - why this direction is aborted, if it is not closed
   */
  #leave(reason: Error | null = null): boolean {
    const other = this.#other;
    if (other === null || other.#isOver || this.#stream.destroyed) return false;
    this.#life = 'left';
    setImmediate(() => {
      this.#streamClosed(reason);
      // Received bytes are dropped. A peer that cannot get rid of them might not read what the other transport writes.
      this.#reads?.resume();
    });
    return true;
  }

  /**
   * Gives up the stream, so that another transport can use it. Reading must be paused, and no write pending. This transport reports
   * nothing more, but continues to answer {@link getExtraInfo}. Closing it calls `onDismiss`, once; aborting it does so with the reason.
   *
   * @internal
   */
  release(onDismiss: (reason?: Error) => void): Duplex {
    this.#life = 'released';
    this.#onDismiss = onDismiss;
    this.#reads?.release();
    return asByteStream(this.#stream as Duplex);
  }

  /**
   * Gives up the stream, so that the caller can use it, with `rest` put back into it. Reading must be paused, and no write pending. This
   * transport reports nothing more, but continues to answer {@link getExtraInfo}; closing it has no effect.
   *
   * @internal
   */
  detach(rest: Uint8Array): Duplex {
    const stream = this.#stream as Duplex;
    this.#life = 'released';
    this.#reads?.detach();
    if (rest.length > 0) stream.unshift(rest);
    return stream;
  }

  /**
   * After {@link detach}: leaves nothing of this transport in the stream.
   *
   * @internal
   */
  forget(): void {
    const stream = this.#stream as Duplex;
    transports.delete(stream);
    stream
      .off('error', DuplexTransport.#onError)
      .off('close', DuplexTransport.#onClose)
      .off('end', DuplexTransport.#onEnd);
    if (Object.hasOwn(stream, 'destroy') && stream.destroy === DuplexTransport.#destroyStream) {
      delete (stream as Partial<Duplex>).destroy;
    }
    // The default, which most users of sockets rely on.
    if (stream instanceof Socket) stream.allowHalfOpen = false;
    unmarkUsed(stream, this.mode);
  }

  /** Whether the stream was released. If so, its new owner receives the call. */
  #dismissed(reason?: Error): boolean {
    if (this.#life === 'released') {
      this.#life = 'dismissed';
      this.#onDismiss?.(reason);
    }
    return this.#life === 'dismissed';
  }

  // ---------------------------------------------------------------------------------------------- closing

  close(): void {
    if (this.#dismissed() || this.#life !== 'open') return;
    const stream = this.#writable;
    if (stream === null) {
      this.#closeReading();
      return;
    }
    this.#life = 'closing';
    // Without reading, 'end' would not be emitted. And if bytes are unread, closing a TCP connection resets it, and the peer can lose what
    // was just sent.
    this.#reads?.resume();
    if (stream.writableFinished) {
      this.#sent();
      return;
    }
    stream.on('finish', DuplexTransport.#onFinish);
    if (!stream.writableEnded) stream.end();
  }

  #closeReading(): void {
    if (this.#leave()) return;
    this.#life = 'finished';
    if (this.#other !== null && (this.#stream as Duplex).writableFinished) {
      this.#reads?.resume();
      this.#linger();
    } else this.#destroy();
  }

  /** Everything is sent. */
  #sent(): void {
    if (this.#life !== 'closing' || this.#leave()) return;
    this.#life = 'finished';
    this.#watch?.stop();
    const outlives = this.mode === StreamMode.WRITE && this.#kind.outlivesWriting && this.#other === null;
    if (outlives && 'readable' in this.#stream && this.#stream.readable) setImmediate(() => this.#streamClosed());
    else this.#linger();
  }

  /** Drops what comes in for as long as {@link linger} says, then destroys the stream. */
  #linger(): void {
    const shared = this.#other !== null;
    if (shared && this.#readable === null) {
      // The other transport has ended and does not read any more.
      (this.#stream as Duplex).on('data', (chunk: unknown) => (this.#dropped += sizeOf(chunk)));
    }
    this.#lingering = linger(new DuplexTransport.#Closing(this), this.#kind.endTimeout);
    if (this.#readable === null && shared) (this.#stream as Duplex).once('end', () => this.#lingering?.check());
  }

  expectClose(timeout: number): void {
    if (this.#life !== 'open' || isBroken(this.#stream) || timeout === Infinity) return;
    this.#watch ??= new FlushWatch(new DuplexTransport.#Closing(this), timeout);
  }

  /** A transport that closes, as `linger.ts` sees it. */
  static readonly #Closing = class Closing implements Flushing, Lingering {
    readonly #transport: DuplexTransport;

    constructor(transport: DuplexTransport) {
      this.#transport = transport;
    }

    pending(): boolean {
      const transport = this.#transport;
      if ((transport.#sender?.pending ?? 0) > 0) return true;
      return transport.#life === 'closing' && transport.#writable?.writableFinished === false;
    }

    progress(): number {
      return this.#transport.#batches().progress;
    }

    giveUp(timeout: number): void {
      const transport = this.#transport;
      const message = `close${transport.#where}: the peer has accepted nothing for ${timeout} ms while data was waiting to be sent`;
      transport.#reason ??= closeTimeoutError(message, timeout, transport);
      transport.#destroy();
    }

    lost(): boolean {
      return this.#transport.#life === 'closed';
    }

    peerEnded(): boolean {
      const transport = this.#transport;
      if (transport.#readable !== null) return transport.#readable.readableEnded;
      return transport.#other === null || (transport.#stream as Duplex).readableEnded;
    }

    dropped(): number {
      return this.#transport.#dropped;
    }

    mayLose(): boolean {
      const transport = this.#transport;
      // The system answers what arrives after the close with a reset.
      return (transport.#sender?.total ?? 0) >= BULK_BYTES || transport.#dropped > 0;
    }

    unsent(): number | null {
      const transport = this.#transport;
      // Saves a system call for each connection that is accepted and closed.
      if ((transport.#sender?.total ?? 0) === 0) return 0;
      return transport.#kind.unsent(transport.#stream);
    }

    destroy(): void {
      this.#transport.#destroy();
    }
  };

  abort(reason?: Error): void {
    if (this.#dismissed(reason) || this.#isOver) return;
    // Only destroying the stream drops what is in flight.
    if (this.#batches().idle && this.#leave(reason)) {
      this.#writable?.end();
      return;
    }
    // A failure that is already known, but not reported yet, stays the reason.
    if (reason !== undefined) {
      this.#reason = this.#failure ?? reason;
      // Bun emits 'end' when a stream is destroyed without an error. That is not the end of the peer.
      this.#readable?.off('end', DuplexTransport.#onEnd);
    } else if (this.#life === 'open' || this.#life === 'closing')
      this.#life = this.#failure === null ? 'aborted' : 'closing';
    this.#destroy();
  }

  /**
   * The sink, or the stream of the user, has thrown. This ends the connection, and must not end the process.
   *
   * @internal
   */
  failed(error: unknown): void {
    const failure = error instanceof Error ? error : new Error(String(error));
    this.#reason = this.#failure ?? failure;
    this.#destroy(failure);
  }

  /** Node may have left the stream open: with `autoDestroy: false`, or after an error of TLS such as a broken record. */
  #streamFailed(error: unknown): void {
    this.#reason ??= lossOf(error);
    // After the close, and after a release, the stream is not ours.
    if (this.#life !== 'closed' && this.#life !== 'released' && this.#life !== 'dismissed') this.#destroy();
  }

  /** Destroys the stream, and makes sure that its end is reported. */
  #destroy(failure?: Error): void {
    this.#stream.destroy(failure);
    if (this.#kind.emitsClose) return;
    afterPoll(() => {
      if (this.#stream.closed) this.#streamClosed();
    });
  }

  // ---------------------------------------------------------------------------------------------- the end

  /** The stream is gone, or is left to another transport, with `reason` if that is not because this side has ended. */
  #streamClosed(reason: Error | null = null): void {
    if (this.#life === 'lost' || this.#life === 'closed') return;
    if (this.#life === 'released' || this.#life === 'dismissed') return;
    // If an end might have been a reset, and no error has followed, it was an end.
    if (this.#readable?.readableEnded === true && this.#failure === null) this.#endOfFile();
    if (this.#life === 'open') this.#life = 'lost';
    this.#sender?.stop();
    this.#watch?.stop();
    this.#lingering?.stop();
    // Bytes before errors: if reading was paused, the stream still holds what it had received before it failed.
    this.#reads?.deliverLast();
    this.#reads?.stop();
    this.#reason = reason ?? this.#loss();
    this.#life = 'closed';
    this.#sink?.closed(this.#reason);
  }

  /** What the stream has failed with, or null. */
  get #failure(): Error | null {
    return (this.#reason ??= failureOf(this.#stream));
  }

  /** The error to report when the stream is gone; null if this side has closed the connection, or both sides have ended theirs. */
  #loss(): Error | null {
    if (this.#life === 'finished' || this.#life === 'aborted' || this.#life === 'left') return null;
    const failure: NodeJS.ErrnoException | null = this.#failure;
    const code = failure?.code;
    // A stream that was cancelled has not failed: its owner has destroyed it, as Node does with the stdin of a child that has exited.
    const reason = code === 'ECANCELED' ? null : failure;
    if (this.mode === StreamMode.WRITE && (reason === null || code === 'ECONNRESET')) {
      // The reader is gone, which matters only if something was still to be read. It shows as a reset if the pipe is a socket pair, as
      // the pipes of child processes are, and something in it was unread.
      if (this.#sender?.cutOff !== true) return null;
      const cause = reason === null ? undefined : { cause: reason };
      return new ConnectionError('EPIPE', 'write: broken pipe: its reader is gone', cause);
    }
    if (reason !== null) return this.#kind.lossError(reason, peerName(this) ?? undefined);
    const read = this.#readable?.readableEnded ?? true;
    const written = this.#writable?.writableFinished ?? true;
    // Node closes a stream once both of its directions have ended.
    if (this.#life === 'closing' || (read && written)) return null;
    return new ConnectionError('ECONNRESET', `read${this.#where}: the stream was destroyed before its end`);
  }

  /** The peer, as messages name it. */
  get #where(): string {
    const peer = peerName(this);
    return peer === null ? '' : ` ${showUnixPath(peer)}`;
  }
}
