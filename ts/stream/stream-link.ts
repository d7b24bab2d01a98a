/**
 * Abandoned streams: open, and unreachable for the program.
 *
 * An open socket belongs to the event loop, which keeps the transport alive. If the transport also kept its stream alive, an abandoned
 * stream would stay open for the life of the process. So the transport refers to a {@link StreamLink} instead of the stream, and the link
 * refers to the stream weakly:
 *
 *     user ---> Stream, reader, writer (each keeps the others) ---> transport <--- event loop
 *                      ^                                                |
 *                      '----------- weakly; strongly while retained -- link
 *
 * The stream is *retained* while a call waits for something that only the connection can provide: bytes for a read, room for a write,
 * the end after a close; and, if a server has accepted the connection, while the handler runs. Otherwise, bytes that arrive go to the
 * stream as long as it has not been collected.
 *
 * If a stream is collected while it is open, its connection is aborted, and one warning reports it. To notice that takes a `WeakRef` and an
 * entry in a `FinalizationRegistry`. They are made when the stream is open and not retained for the first time, because both are expensive
 * for the garbage collector: it keeps what they refer to until its next full collection, and minor ones copy it. So the stream of a handler
 * that settles, after which the server closes it, never has them.
 */
import type { TimeoutError } from '../errors.js';
import { Retain } from '../keeper.js';
import type { Flow } from '../reader/intake.js';
import { peerName, type Transport, type TransportSink } from '../transports/transport.js';
import { forgetStream, watchClosing, type Group, type Watched, type WatchedStream } from './timeouts.js';

/** The server that accepted the connection. It must not refer to a stream that its handler may abandon. */
export interface StreamOwner {
  /**
   * The connection has ended, with the reason if it was lost, or if this side has aborted it. Called once.
   *
   * @param stream - null if it has been collected
   */
  streamClosed(error: Error | null, stream: ReadingSink | null): void;
}

/** A stream, as the link sees it. */
export interface ReadingSink extends TransportSink, WatchedStream {
  /** Whether the transport may read into memory of the stream although no read waits. */
  readonly readsAhead: boolean;
  /** How many bytes were accepted for sending. */
  readonly bytesWritten: number;
  /** Aborts the connection because a timeout of it is over. */
  expire(error: TimeoutError): void;
}

/** The sink that a transport has: passes everything on to the stream, unless it has been collected. */
export class StreamLink<S extends ReadingSink = ReadingSink> implements TransportSink, Flow, Watched {
  /** The transport of the stream: the only place that names it. An upgrade of the connection replaces it. */
  transport: Transport;
  /** The timeouts of the stream: see `timeouts.ts`. */
  group: Group | null = null;
  slot = 0;

  /** Null until the stream is watched, and once this side closes it. */
  #weak: WeakRef<S> | null = null;
  #ticket: Ticket | null = null;
  #retained: S | null;
  #reasons: number;
  /** Whether this side closes the connection, or it has ended: the stream is not abandoned. */
  #ending = false;
  /** The stream's `readsAhead` after the last chunk. */
  #readsAhead = false;
  #owner: StreamOwner | undefined;

  /**
   * @param stream - an open stream
   * @param owner - its server, if there is one, which retains it until {@link disown}
   */
  constructor(stream: S, transport: Transport, owner: StreamOwner | undefined) {
    this.transport = transport;
    this.#owner = owner;
    this.#reasons = owner === undefined ? 0 : Retain.HANDLER;
    this.#retained = owner === undefined ? null : stream;
    if (owner === undefined) this.#watch(stream);
  }

  /** The stream, or null when it has been collected, or has ended and is not retained. */
  get stream(): S | null {
    return this.#retained ?? this.#weak?.deref() ?? null;
  }

  /** Keeps the stream alive until the reason is released. */
  retain(stream: S, reason: Retain): void {
    this.#reasons |= reason;
    this.#retained = stream;
  }

  release(reason: Retain): void {
    this.#reasons &= ~reason;
    const stream = this.#retained;
    if (this.#reasons !== 0 || stream === null) return;
    this.#retained = null;
    if (this.#weak === null && !this.#ending) this.#watch(stream);
  }

  /** The owner no longer retains the stream. */
  disown(): void {
    this.release(Retain.HANDLER);
  }

  /** The stream continues without its owner, for which it has ended, and without timeouts. */
  leaveOwner(): void {
    forgetStream(this);
    const owner = this.#owner;
    this.#owner = undefined;
    owner?.streamClosed(null, this.stream);
  }

  /** The program closes the stream: it is not abandoned, and stays alive until it is closed. */
  closing(stream: S): void {
    watchClosing(this);
    this.retain(stream, Retain.CLOSE);
    this.#unwatch();
  }

  expired(error: TimeoutError): void {
    const { stream } = this;
    if (stream === null) return;
    // Not abandoned: the program gets the error, or its server reports it.
    this.closing(stream);
    stream.expire(error);
  }

  #watch(stream: S): void {
    this.#weak = new WeakRef(stream);
    this.#ticket = { link: this };
    registry.register(stream, this.#ticket, this.#ticket);
  }

  #unwatch(): void {
    this.#ending = true;
    this.#weak = null;
    if (this.#ticket === null) return;
    registry.unregister(this.#ticket);
    this.#ticket.link = null;
    this.#ticket = null;
  }

  readTarget(ahead: boolean): Uint8Array | null {
    // Called after every read. Looking up the stream takes longer than everything else here, so it is done only if necessary.
    if ((this.#reasons & ~Retain.HANDLER) === 0 && !this.#readsAhead) return null;
    return this.stream?.readTarget(ahead) ?? null;
  }

  resumeReading(): void {
    this.transport.resumeReading();
  }

  // Bytes for a collected stream stop reading: the connection is about to be aborted.
  commit(count: number): boolean {
    const { stream } = this;
    if (stream === null) return false;
    const flowing = stream.commit(count);
    this.#readsAhead = stream.readsAhead;
    return flowing;
  }

  feed(chunk: Uint8Array): boolean {
    const { stream } = this;
    if (stream === null) return false;
    const flowing = stream.feed(chunk);
    this.#readsAhead = stream.readsAhead;
    return flowing;
  }

  eof(): void {
    this.stream?.eof();
  }

  closed(error: Error | null): void {
    const stream = this.stream;
    forgetStream(this);
    if (stream !== null) {
      this.#unwatch();
      stream.closed(error);
    }
    this.#owner?.streamClosed(error, stream);
    this.#reasons &= Retain.HANDLER;
    if (this.#reasons === 0) this.#retained = null;
  }

  /** The stream has been collected while it was open. */
  collected(): void {
    const { transport } = this;
    transport.abort();
    const peer = peerName(transport);
    const who = this.#owner === undefined ? 'a stream' : 'a stream of a server';
    process.emitWarning(`${who}${peer === null ? '' : ` with ${peer}`} was garbage collected while it was open`, {
      type: 'ResourceWarning',
      code: 'SLUICE_UNCLOSED',
      detail: 'Its connection was aborted. Close every stream: with `await using`, close() or abort().',
    });
  }
}

/** What the registry keeps: of a stream that has ended, nothing else, until the next full collection. */
interface Ticket {
  link: StreamLink | null;
}

const registry = new FinalizationRegistry<Ticket>(({ link }) => {
  link?.collected();
});
