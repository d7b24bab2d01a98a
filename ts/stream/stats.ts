/** What `stream.stats()` counts. */

/** The counters of a stream. Times are in milliseconds. After the connection has ended, they stay as they were. */
export interface StreamStats {
  /** When the stream was opened, after the TLS handshake if there was one, as a time of `Date.now()`. */
  openedAt: number;
  /** How many bytes were received so far, read or not. */
  bytesRead: number;
  /** How many bytes were accepted for sending so far, sent or not. */
  bytesWritten: number;
  /**
   * How many frames the reads by frames have returned: lines, also as strings, what `readuntil` returns, and frames of any framing. The last
   * line counts even without a line end. Frames that were put back do not count, except those put back by `unread` of the stream.
   */
  framesRead: number;
  /** How many received bytes are not read yet. */
  buffered: number;
  /** How many written bytes the kernel has not accepted yet. */
  writeBufferSize: number;
  /** For how long back-pressure has paused reading: more than twice the limit was unread, and no read was waiting. */
  timePaused: number;
  /** For how long callers had to wait before they wrote more: the write buffer was above the high watermark, and not down to the low one. */
  timeBlocked: number;
}

/** The parts of a stream that have counters. */
interface Counted {
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly buffered: number;
  readonly writeBufferSize: number;
}

/** The time of the process at which a stream is opened. In whole milliseconds, because a fraction takes memory of its own. */
export function openingTime(): number {
  return Math.round(performance.now());
}

/**
 * @param opened - what {@link openingTime} has returned
 * @param outlet - null if nothing was ever written
 */
export function streamStats(
  stream: Counted,
  opened: number,
  intake: { readonly framesRead: number; readonly timePaused: number },
  outlet: { readonly timeBlocked: number } | null,
): StreamStats {
  return {
    openedAt: Math.round(performance.timeOrigin + opened),
    bytesRead: stream.bytesRead,
    bytesWritten: stream.bytesWritten,
    framesRead: intake.framesRead,
    buffered: stream.buffered,
    writeBufferSize: stream.writeBufferSize,
    timePaused: intake.timePaused,
    timeBlocked: outlet === null ? 0 : outlet.timeBlocked,
  };
}
