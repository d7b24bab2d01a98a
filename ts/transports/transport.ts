/**
 * The boundary between a stream and what carries its bytes.
 *
 * A transport owns a socket, a pipe or a `Duplex`, and knows nothing about frames, limits or watermarks. Its sink is the stream above it.
 * The rules:
 *
 * - Reading: the transport asks the sink where the next bytes go ({@link TransportSink.readTarget}), or reads into memory of its own
 *   and lends that ({@link TransportSink.feed}). If {@link TransportSink.commit} or `feed` returns `false`, the transport stops
 *   reading until {@link Transport.resumeReading}. Bytes that were already on their way may still be delivered once.
 * - Writing: the stream hands over one batch at a time, and waits until the transport reports that the batch has reached the kernel.
 * - The end: {@link TransportSink.eof} is called at most once. {@link TransportSink.closed} is called exactly once, as the last call, no
 *   matter which side closed the connection and why. No pending `done` is called after it.
 */

/** The directions a stream can be used in: bit flags, testable with `&`. asyncio: `StreamMode` */
export enum StreamMode {
  READ = 1,
  WRITE = 2,
  READWRITE = 3,
}

/** What a transport reports to: the stream above it. */
export interface TransportSink {
  /**
   * Memory for the next read to fill directly, or `null` if the transport is to read into memory of its own and call {@link feed}.
   * The memory belongs to the transport until it calls {@link commit} or asks again.
   *
   * @param ahead - whether to return memory even if no read waits. The transport may then keep that memory for as long as nothing arrives
   */
  readTarget(ahead: boolean): Uint8Array | null;
  /** The first `count` bytes of the last read target were filled. `false`: stop reading. */
  commit(count: number): boolean;
  /** Bytes in memory that the transport reuses, so the sink copies what it keeps. `false`: stop reading. */
  feed(chunk: Uint8Array): boolean;
  /** The peer will send nothing more. The writing side is not affected. */
  eof(): void;
  /** The connection is gone. `error` is `null` if this side has closed it without a reason, and the reason otherwise. */
  closed(error: Error | null): void;
}

/** What carries the bytes of a stream. */
export interface Transport {
  /** The directions of this transport. */
  readonly mode: StreamMode;
  /** Whether {@link writeEof} works: false without a writing side, and over TLS, where ending it would also end reading. */
  readonly canWriteEof: boolean;
  /** Whether `close` or `abort` was called, or the connection is lost. */
  readonly isClosing: boolean;
  /** Bytes handed to `write` or `writev` that have not reached the kernel yet. */
  readonly pendingBytes: number;
  /** How many bytes the kernel has accepted, as far as is known. Without it, only complete batches count as accepted. */
  readonly bytesAccepted?: number;
  /** How many of these the kernel still has to send; 0 if that is not known. */
  readonly bytesUnsent?: number;

  /** Connects the sink and begins to read. Called once. */
  start(sink: TransportSink): void;
  /** Stops reading. Bytes that were already on their way may still be delivered once. */
  pauseReading(): void;
  /** Continues to read, after {@link pauseReading} or after the sink has returned `false`. */
  resumeReading(): void;

  /**
   * Hands over one batch. `true`: all of it has already reached the kernel, and `done` is not called. `false`: `done` is called on a
   * later turn, once all of it has; until then the memory belongs to the transport. A failure is reported only through `sink.closed`.
   */
  write(data: Uint8Array, done: () => void): boolean;
  /** As {@link write}, for several pieces, in as few system calls as possible. */
  writev(pieces: readonly Uint8Array[], done: () => void): boolean;
  /** Ends the writing side; reading continues. The stream calls this when nothing is pending. */
  writeEof(): void;

  /**
   * The stream will close the connection once everything it has written is sent. If the peer accepts nothing for `timeout` ms while
   * something waits to be sent, the connection is destroyed, and `sink.closed` gets an `ETIMEDOUT`.
   */
  expectClose(timeout: number): void;
  /**
   * Closes both directions in an orderly way: end of file to the peer, TLS shutdown. The time is bounded. The stream calls this when
   * nothing is pending. Received bytes are dropped from now on. Ends with `sink.closed`.
   */
  close(): void;
  /**
   * Closes both directions immediately and drops what is pending. Ends with `sink.closed`, on a later turn.
   *
   * @param reason - the error that `sink.closed` gets, unless the connection has already failed with another one
   */
  abort(reason?: Error): void;

  /** Keeps the process alive while the connection is open, as `socket.ref()` does; this is the default. */
  ref(): void;
  /** Lets the process exit although the connection is open, as `socket.unref()` does. */
  unref(): void;

  /** What is known about the connection, by asyncio's names: `peername`, `sockname`, `socket`, `cipher`, ...; undefined if unknown. */
  getExtraInfo(name: string): unknown;
}

/** An address and its port as messages show them: `[::1]:80`. @internal */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/**
 * The peer of a transport or a stream, as messages name it, or null if it has no name. If a proxy has announced the client, both are
 * named: `203.0.113.7:50123 via 192.0.2.1:4000`.
 *
 * @internal
 */
export function peerName(connection: { getExtraInfo(name: string): unknown }): string | null {
  const peer = nameOf(connection.getExtraInfo('peername'));
  const announced = connection.getExtraInfo('proxy') as { source?: unknown } | undefined;
  const source = nameOf(announced?.source);
  return source === null || peer === null || source === peer ? (source ?? peer) : `${source} via ${peer}`;
}

function nameOf(peer: unknown): string | null {
  if (typeof peer === 'string') return peer === '' ? null : peer;
  if (typeof peer !== 'object' || peer === null) return null;
  const { address, port } = peer as { address?: unknown; port: number };
  if (typeof address !== 'string') return null;
  return hostAndPort(address, port);
}
