/**
 * Closing a server without losing the answer to a request that was received.
 *
 *     close({ drain }) --- queued connections are accepted ---> listeners closed --- all gone, time over, close(), abort() ---> cut off
 *
 * Until they are cut off, connections may go on with what they have received. One whose read waits with nothing unread is idle, and ends.
 * This file has the options, the time, and the count of what has become of the connections. `base-server.ts` has the rest.
 */
import { checkObject, checkTimeout } from '../checks.js';

/** Options of `close` of a server. */
export interface ServerCloseOptions {
  /**
   * How long connections may go on with what they have received, in ms, before the server closes them. `Infinity`: as long as they take.
   * Default 0: they are closed at once.
   */
  drain?: number | undefined;
}

/**
 * What has become of the connections that were open when a server began to close, or were accepted after that. Each one that was passed to
 * the handler is counted once.
 */
export interface ServerCloseResult {
  /** Connections that had ended, or were idle: a read was waiting, and nothing was received that had not been read. */
  readonly finished: number;
  /**
   * Connections that the server has ended before they had finished: their handler was at work or had unread data, or data that was written
   * was dropped, by `abort()`, or after `closeTimeout` or `shutdownTimeout`.
   */
  readonly cutOff: number;
}

/** @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` */
export function checkDrain(action: string, options: ServerCloseOptions | undefined): number {
  if (options === undefined) return 0;
  checkObject(action, 'options', options);
  const { drain = 0 } = options;
  return checkTimeout(action, 'drain', drain, { zero: true, infinity: true });
}

/** The time in which connections may finish. */
export class DrainPeriod {
  /** Resolves when it is over. */
  readonly over: Promise<void>;
  isOver = false;
  #resolve!: () => void;
  #timer: NodeJS.Timeout | undefined;
  #end = Infinity;

  constructor(ms: number) {
    this.over = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.shorten(ms);
  }

  /** Ends the period in `ms`, unless it ends before that. */
  shorten(ms: number): void {
    const end = performance.now() + ms;
    if (this.isOver || !(end < this.#end)) return;
    this.#end = end;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.end(), ms);
  }

  end(): void {
    this.isOver = true;
    clearTimeout(this.#timer);
    this.#resolve();
  }
}

/** Counts the connections of a server that is closing. */
export class CloseTally {
  #opened = 0;
  readonly #cut = new Set<object>();

  opened(): void {
    this.#opened++;
  }

  /** May be called several times for one connection. */
  cutOff(client: object): void {
    this.#cut.add(client);
  }

  result(): ServerCloseResult {
    const cutOff = this.#cut.size;
    this.#cut.clear();
    return { finished: this.#opened - cutOff, cutOff };
  }
}
