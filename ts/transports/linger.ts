/**
 * How long a close may take. Two bounds follow each other:
 *
 *     close() --- {@link FlushWatch} ---> everything is with the kernel --- {@link linger} ---> destroyed
 *
 * While bytes are being sent, the peer sets the pace: it may take as long as it likes, as long as the kernel gets rid of something every
 * `closeTimeout`. Once the kernel has everything, this side has nothing left to do but to spare the peer a loss, and that is bounded
 * in absolute terms.
 *
 * A process that was stopped, or is busy, must not blame the peer for it. So both count the time between two looks by what they had
 * planned, not by the clock, and look only after the event loop has polled for input.
 */

/** How long received bytes are dropped after our end of file while the peer has not sent its own, in ms. */
export const LINGER_MS = 1000;

/** For how long the peer may send nothing meanwhile, in ms, where a reset could cost it what we have sent. */
const QUIET_MS = 100;

/** How often a {@link FlushWatch} looks for progress during one timeout, and the longest time between two looks, in ms. */
const LOOKS = 10;
const LOOK_MS = 1000;

/** Calls `then` after the event loop has polled for input once: one whole poll lies between two immediates. */
export function afterPoll(then: () => void): void {
  setImmediate(() => setImmediate(then));
}

/** What a {@link FlushWatch} watches. */
export interface Flushing {
  /** Whether something was handed over that the kernel has not taken yet. */
  pending(): boolean;
  /** A number that changes whenever the kernel takes something. */
  taken(): number;
}

/** Gives up a peer that takes nothing for `timeout` ms while something waits to be sent to it. */
export class FlushWatch {
  readonly #flushing: Flushing;
  readonly #timeout: number;
  readonly #giveUp: () => void;
  readonly #step: number;
  #timer: NodeJS.Timeout;
  #taken: number;
  #idle = 0;

  constructor(flushing: Flushing, timeout: number, giveUp: () => void) {
    this.#flushing = flushing;
    this.#timeout = timeout;
    this.#giveUp = giveUp;
    this.#step = Math.min(LOOK_MS, timeout / LOOKS);
    this.#taken = flushing.taken();
    this.#timer = this.#wait();
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #wait(): NodeJS.Timeout {
    return setTimeout(() => this.#look(), this.#step).unref();
  }

  #look(): void {
    const taken = this.#flushing.taken();
    this.#idle = this.#flushing.pending() && taken === this.#taken ? this.#idle + this.#step : 0;
    this.#taken = taken;
    // The steps add up to the timeout but for what rounding takes from them.
    if (this.#idle < this.#timeout - this.#step / 2) this.#timer = this.#wait();
    else this.#giveUp();
  }
}

/** A side that has sent everything, its end of file included. */
export interface Lingering {
  /** Whether the connection is gone. */
  lost(): boolean;
  /** Whether the peer has ended its side. */
  peerEnded(): boolean;
  /** How many received bytes were dropped since the close. */
  discarded(): number;
  /** Whether a reset, which is the answer to what arrives at a closed connection, could cost the peer some of what was sent. */
  mayLose(): boolean;
  /** How many bytes the kernel still has to send, or null where that cannot be asked. */
  unsent(): number | null;
  destroy(): void;
}

/**
 * Waits before the connection is destroyed: until the peer has ended its side, for `timeout` ms at most. With a timeout of null, until
 * a turn of the event loop brings nothing; where a reset could cost the peer something, until {@link QUIET_MS} bring nothing; and in any
 * case for {@link LINGER_MS} at most.
 *
 * @returns looks at once; to be called when the peer has ended
 */
export function linger(side: Lingering, timeout: number | null): () => void {
  const most = timeout ?? LINGER_MS;
  const step = Math.max(QUIET_MS, most / LOOKS);
  let left = most;
  let last = Date.now();
  let before = -1;
  let patient = timeout !== null;
  let unsent = Infinity;
  const look = (): void => {
    if (side.lost()) return;
    const now = Date.now();
    left -= Math.min(now - last, step);
    last = now;
    // A peer that goes on reading has all the time it takes, also where it sends something meanwhile.
    const rest = side.unsent();
    if (rest !== null && rest < unsent && unsent !== Infinity) left = most;
    unsent = rest ?? Infinity;
    const quiet = side.discarded() === before;
    const spared = timeout === null && quiet && (patient || !side.mayLose());
    if (left <= 0 || spared || side.peerEnded()) {
      side.destroy();
      return;
    }
    before = side.discarded();
    patient ||= quiet;
    // A timer that is late may be followed by input that has not been polled for.
    if (patient) setTimeout(() => setImmediate(look), Math.min(step, left)).unref();
    else afterPoll(look);
  };
  look();
  return look;
}
