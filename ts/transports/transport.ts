/**
 * The boundary between a stream and whatever carries its bytes.
 *
 * A transport owns a socket, a pipe or a `Duplex`; it knows nothing of frames, limits or watermarks. A sink is the stream
 * above it. Each direction of the conversation has one rule:
 *
 * - Reading: the transport asks the sink where the next bytes go ({@link TransportSink.readTarget}), or reads into memory
 *   of its own and lends it ({@link TransportSink.feed}). When either call answers `false`, it stops reading until
 *   {@link Transport.resumeReading}. Bytes that were on their way may still be delivered once.
 * - Writing: the stream hands over one batch at a time and waits until it is told that the batch has reached the kernel.
 * - The end: {@link TransportSink.eof} at most once; {@link TransportSink.closed} exactly once, last of all, whoever closed
 *   the connection and why. After `closed` no pending `done` is called any more.
 */

/** The directions a stream can be used in: bit flags, testable with `&`. asyncio: `StreamMode` */
export enum StreamMode {
  READ = 1,
  WRITE = 2,
  READWRITE = 3,
}

/** What a transport reports to. */
export interface TransportSink {
  /**
   * Memory that the next read may fill directly, or `null` to have the transport read into memory of its own and call
   * {@link feed}. The memory belongs to the transport until it calls {@link commit} or asks again.
   *
   * @param ahead - whether it may be memory that no read waits for: the transport may have to hold it for as long as nothing comes in
   */
  readTarget(ahead: boolean): Uint8Array | null;
  /** The first `count` bytes of the last read target were filled. `false` asks the transport to stop reading. */
  commit(count: number): boolean;
  /** Bytes in memory that the transport will use again: the sink copies what it keeps. `false` asks to stop reading. */
  feed(chunk: Uint8Array): boolean;
  /** The peer will send nothing more. The writing side is not touched by it. */
  eof(): void;
  /** The connection is gone: `null` after a close that this side asked for, the reason otherwise. */
  closed(error: Error | null): void;
}

/** What carries the bytes of a stream. */
export interface Transport {
  /** The directions this transport has. */
  readonly mode: StreamMode;
  /** Whether {@link writeEof} works: false where there is no writing side, and where its end would cut off reading (TLS). */
  readonly canWriteEof: boolean;
  /** Whether `close` or `abort` was called or the connection is lost. */
  readonly isClosing: boolean;
  /** Bytes handed to `write` or `writev` that have not reached the kernel yet. */
  readonly pendingBytes: number;

  /** Connects the sink and begins to read. Called once, before anything else. */
  start(sink: TransportSink): void;
  pauseReading(): void;
  resumeReading(): void;

  /**
   * Hands one batch over. `true`: all of it has reached the kernel already, and `done` will not be called. `false`: `done`
   * is called, from a later turn, once it has; until then the memory belongs to the transport. A failure is reported by
   * `sink.closed` alone.
   */
  write(data: Uint8Array, done: () => void): boolean;
  /** As {@link write}, for several pieces in as few system calls as the transport can make of them. */
  writev(pieces: readonly Uint8Array[], done: () => void): boolean;
  /** Ends the writing side; the reading side goes on. The stream calls it when nothing is pending. */
  writeEof(): void;

  /**
   * The stream will close the connection once everything it has written is sent: from now on a peer that takes nothing for `timeout`
   * ms, while something waits to be sent, is given up. The connection is destroyed then, and `sink.closed` gets an `ETIMEDOUT`.
   */
  expectClose(timeout: number): void;
  /**
   * Closes both directions in the orderly way of the transport (end of file to the peer, TLS shutdown), bounded in time.
   * The stream calls it when nothing is pending; received bytes are dropped from now on. Ends with `sink.closed`.
   */
  close(): void;
  /** Closes both directions at once and drops what is pending. Ends with `sink.closed`, on a later turn. */
  abort(): void;

  /** Keeps the process alive (or not) while the connection is open, as `socket.ref()` and `unref()`. */
  ref(): void;
  unref(): void;

  /** Facts of the connection by asyncio's names: `peername`, `sockname`, `socket`, `cipher`, ... ; undefined: not known. */
  getExtraInfo(name: string): unknown;
}

/** `[::1]:80`, as messages name an address and its port. @internal */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`;
}

/** The peer of a transport, or of a stream, as messages name it; null where it has no name. @internal */
export function peerName(connection: { getExtraInfo(name: string): unknown }): string | null {
  const peer = connection.getExtraInfo('peername');
  if (typeof peer === 'string') return peer === '' ? null : peer;
  if (typeof peer !== 'object' || peer === null) return null;
  const { address, port } = peer as { address?: unknown; port: number };
  if (typeof address !== 'string') return null;
  return hostAndPort(address, port);
}
