/**
 * How long a close may take. Two bounds follow each other:
 *
 *     close() --- {@link FlushWatch} ---> the kernel has everything --- {@link linger} ---> destroyed
 *
 * While bytes are being sent, the peer sets the pace. It may take any amount of time, provided that it accepts something in every
 * `closeTimeout`. Once the kernel has everything, the connection stays open only so that the peer does not lose any of it, and the time
 * for that is limited.
 *
 * If this process is stopped or busy, the peer must not be blamed for it. So both bounds are checked in steps, a step counts for no
 * more than its planned length however late it comes, and each check is made after the event loop has polled for input.
 */
import { afterPoll, clock, type Clock } from '../clock.js';
import { shared } from '../context.js';
import { publishTimeout, timeoutChannel } from '../diagnostics.js';
import { ConnectionError } from '../errors.js';
import type { Transport } from './transport.js';

export { afterPoll };

/** How long {@link linger} waits for the peer's end of file, in ms. */
export const LINGER_MS = 1000;

/** How long the peer must have sent nothing if a reset could make it lose what we have sent, in ms. */
const QUIET_MS = 100;

/** How many checks are made during one timeout, and the longest time between two checks of a {@link FlushWatch}, in ms. */
const CHECKS = 10;
const CHECK_MS = 1000;

/** The errors of {@link closeTimeoutError}. Others have the same code, such as that of a handshake that takes too long. */
const closeTimeouts = new WeakSet<Error>();

/** A close gives up on its peer after `timeout` ms: returns the error, and reports it. */
export function closeTimeoutError(
  message: string,
  timeout: number,
  connection: Pick<Transport, 'getExtraInfo'>,
): ConnectionError {
  const error = new ConnectionError('ETIMEDOUT', message);
  closeTimeouts.add(error);
  if (timeoutChannel.hasSubscribers) publishTimeout({ option: 'closeTimeout', timeout }, error, connection);
  return error;
}

/** Whether a close has given up on its peer with this error, and dropped what was waiting to be sent. */
export function isCloseTimeout(error: Error | null): error is ConnectionError {
  return error !== null && closeTimeouts.has(error);
}

/** What a {@link FlushWatch} watches. */
export interface Flushing {
  /** Whether the kernel has not accepted everything yet. */
  pending(): boolean;
  /** A number that changes whenever the kernel accepts something. */
  progress(): number;
  /** The peer has accepted nothing for `timeout` ms. */
  giveUp(timeout: number): void;
}

/** Calls `giveUp` if the peer accepts nothing for `timeout` ms while something waits to be sent. */
export class FlushWatch {
  readonly #flushing: Flushing;
  readonly #timeout: number;
  readonly #checks: FlushChecks;
  /** Null before the first check, because to ask for it takes a system call and most closes are over by then. */
  #progress: number | null = null;
  #idle = 0;

  constructor(flushing: Flushing, timeout: number) {
    this.#flushing = flushing;
    this.#timeout = timeout;
    this.#checks = FlushChecks.every(Math.min(CHECK_MS, timeout / CHECKS));
    this.#checks.add(this);
  }

  stop(): void {
    this.#checks.delete(this);
  }

  /** @param step - the planned time since the last check, in ms */
  check(step: number): void {
    const progress = this.#flushing.progress();
    this.#idle = this.#flushing.pending() && progress === this.#progress ? this.#idle + step : 0;
    this.#progress = progress;
    // Half a step less, because the sum of the steps is rounded.
    if (this.#idle < this.#timeout - step / 2) return;
    this.stop();
    this.#flushing.giveUp(this.#timeout);
  }
}

/**
 * The watches that are checked together, with one timer. Most closes are over before their first check, and making and clearing a timer
 * would cost more than the rest of the watch. The first check of a watch may come early, but only the later ones count any time.
 */
class FlushChecks {
  static readonly #all = new Map<number, FlushChecks>();

  readonly #step: number;
  readonly #clock: Clock = clock;
  readonly #watches = new Set<FlushWatch>();

  private constructor(step: number) {
    this.#step = step;
    this.#wait();
  }

  /** The checks that are made every `step` ms. */
  static every(step: number): FlushChecks {
    let checks = FlushChecks.#all.get(step);
    // Those of a clock that a test has replaced do not continue.
    if (checks === undefined || checks.#clock !== clock) FlushChecks.#all.set(step, (checks = new FlushChecks(step)));
    return checks;
  }

  add(watch: FlushWatch): void {
    this.#watches.add(watch);
  }

  delete(watch: FlushWatch): void {
    this.#watches.delete(watch);
  }

  #wait(): void {
    shared(() => this.#clock.setTimeout(() => this.#check(), this.#step).unref());
  }

  #check(): void {
    for (const watch of this.#watches) watch.check(this.#step);
    if (this.#watches.size > 0) this.#wait();
    else if (FlushChecks.#all.get(this.#step) === this) FlushChecks.#all.delete(this.#step);
  }
}

/** A connection on which this side has sent everything, including its end of file. */
export interface Lingering {
  /** Whether the connection is gone. */
  lost(): boolean;
  /** Whether the peer has ended its side. */
  peerEnded(): boolean;
  /** How many received bytes were dropped since the close. */
  dropped(): number;
  /** Whether the peer could lose some of what was sent by a reset, with which the system answers what arrives after the close. */
  mayLose(): boolean;
  /** How many bytes the kernel still has to send, or null if it cannot be asked. */
  unsent(): number | null;
  destroy(): void;
}

/**
 * Waits, then destroys the connection:
 *
 * - as soon as the peer has ended its side;
 * - after `timeout` ms; or, with a timeout of null, after {@link LINGER_MS}. If the kernel can be asked how much it still has to send,
 *   and that gets less, the peer is reading, and the time starts again;
 * - with a timeout of null, also as soon as nothing arrives in one turn of the event loop; or, if the peer could lose something by a
 *   reset, or the kernel still has something to send, in {@link QUIET_MS}.
 *
 * @returns has to be notified when the peer has ended its side
 */
export function linger(side: Lingering, timeout: number | null): Linger {
  const lingering = new Linger(side, timeout);
  lingering.check();
  return lingering;
}

/** See {@link linger}. */
export class Linger {
  readonly #side: Lingering;
  readonly #timeout: number | null;
  readonly #most: number;
  readonly #step: number;
  #left: number;
  #last = Date.now();
  /** How many bytes had been dropped at the last check; null before the first. */
  #before: number | null = null;
  #patient: boolean;
  #unsent = Infinity;
  #timer: NodeJS.Timeout | null = null;

  constructor(side: Lingering, timeout: number | null) {
    this.#side = side;
    this.#timeout = timeout;
    this.#most = timeout ?? LINGER_MS;
    this.#step = Math.max(QUIET_MS, this.#most / CHECKS);
    this.#left = this.#most;
    this.#patient = timeout !== null;
  }

  /** Checks immediately: the peer may have ended its side. */
  check(): void {
    const side = this.#side;
    if (side.lost()) return;
    if (side.peerEnded() || (this.#before !== null && this.#isOver(this.#before))) {
      this.stop();
      side.destroy();
      return;
    }
    this.#before = side.dropped();
    const check = (): void => this.check();
    if (!this.#patient) {
      afterPoll(check);
      return;
    }
    this.stop();
    // If the timer is late, input may have arrived that the event loop has not polled for.
    this.#timer = setTimeout(() => setImmediate(check), Math.min(this.#step, this.#left)).unref();
  }

  /** Forgets the connection, which is gone. Otherwise the timer would keep everything that belongs to it in memory. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #isOver(droppedBefore: number): boolean {
    const side = this.#side;
    const now = Date.now();
    this.#left -= Math.min(now - this.#last, this.#step);
    this.#last = now;
    const rest = side.unsent();
    // The first time, whether the peer has read is not known; if it has read everything, no more time is needed.
    if (rest !== null && rest < this.#unsent && (this.#unsent !== Infinity || rest > 0)) this.#left = this.#most;
    this.#unsent = rest ?? Infinity;
    if (this.#left <= 0) return true;
    const quiet = side.dropped() === droppedBefore;
    const mayLose = side.mayLose() || (rest !== null && rest > 0);
    if (this.#timeout === null && quiet && (this.#patient || !mayLose)) return true;
    this.#patient ||= quiet;
    return false;
  }
}
