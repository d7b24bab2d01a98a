/**
 * Streams that nobody has closed and nobody can reach any more.
 *
 * An open socket belongs to the event loop, which keeps the transport. Would the transport keep its stream, too, a stream
 * that its user forgot would stay open for the life of the process. So the transport holds a {@link StreamLink} in the place of
 * the stream, and the link holds the stream weakly:
 *
 *     user ---> Stream, reader, writer (each keeps the others) ---> transport <--- event loop
 *                      ^                                                |
 *                      '----------- weakly; strongly while retained -- link
 *
 * The stream is *retained* while a call waits for what only the connection can bring: bytes for a read, room for a write, the end
 * after a close. What arrives for a stream that is not retained goes to it as long as it is there.
 *
 * A stream that is collected while it is open has its connection aborted, and is reported once.
 */
import { Retain } from '../keeper.js';
import { peerName, type Transport, type TransportSink } from '../transports/transport.js';

/** Whoever keeps account of a stream: the server that accepted it. Must not hold the stream when it lets users forget it. */
export interface StreamOwner {
  /** The connection is gone; called once. */
  streamClosed(): void;
}

/** What the link passes on to. */
export interface ReadingSink extends TransportSink {
  /** Whether the next read may go to memory of the stream although no read waits. */
  readonly readsAhead: boolean;
}

/** The sink that a transport holds: passes everything on to the stream, as long as there is one. */
export class StreamLink<S extends ReadingSink = ReadingSink> implements TransportSink {
  /** What carries the stream; another one after an upgrade of the connection. */
  transport: Transport;

  readonly #weak: WeakRef<S>;
  #retained: S | null = null;
  #reasons = 0;
  /** What the stream's `readsAhead` was when it last got bytes. */
  #readsAhead = false;
  readonly #owner: StreamOwner | undefined;

  /** @param stream - open; it is watched from now on */
  constructor(stream: S, transport: Transport, owner: StreamOwner | undefined) {
    this.transport = transport;
    this.#weak = new WeakRef(stream);
    this.#owner = owner;
    registry.register(stream, this, this);
  }

  /** The stream, or null when it has been collected. */
  get stream(): S | null {
    return this.#retained ?? this.#weak.deref() ?? null;
  }

  /** Keeps the stream until the reason is released. */
  retain(stream: S, reason: Retain): void {
    this.#reasons |= reason;
    this.#retained = stream;
  }

  release(reason: Retain): void {
    this.#reasons &= ~reason;
    if (this.#reasons === 0) this.#retained = null;
  }

  /** The user closes the stream: it is no longer forgotten, and kept until it is closed. */
  closing(stream: S): void {
    this.retain(stream, Retain.CLOSE);
    registry.unregister(this);
  }

  readTarget(ahead: boolean): Uint8Array | null {
    // Asked after every read: without a need for it the stream is not looked up, which takes longer than all the rest of this.
    if (this.#retained === null && !this.#readsAhead) return null;
    return this.stream?.readTarget(ahead) ?? null;
  }

  // What comes for a stream that is gone stops the reading: it is about to be aborted.
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
    this.#retained = null;
    if (stream !== null) {
      registry.unregister(this);
      stream.closed(error);
    }
    this.#owner?.streamClosed();
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
      detail: 'Its connection is aborted. Close a stream that is done with: by `await using`, close() or abort().',
    });
  }
}

const registry = new FinalizationRegistry<StreamLink>((link) => {
  link.collected();
});
