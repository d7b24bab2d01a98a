/** Measures how long something has been the case, in all. */
import { clock, onClockChange } from './clock.js';

/** What was added to the time by replacing the clock. */
let shifts = 0;

onClockChange((shift) => {
  shifts += shift;
});

/** The time, which continues evenly when the clock is replaced. */
function now(): number {
  return clock.now() - shifts;
}

/** Counts the time while it is running. Owners create it when it runs for the first time, because it never does for most connections. */
export class Stopwatch {
  running = false;
  #since = 0;
  #total = 0;

  start(): void {
    if (this.running) return;
    this.running = true;
    this.#since = now();
  }

  stop(): void {
    if (!this.running) return;
    this.running = false;
    this.#total += now() - this.#since;
  }

  /** The time so far, in ms. */
  get total(): number {
    return this.running ? this.#total + now() - this.#since : this.#total;
  }
}
