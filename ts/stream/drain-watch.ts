/**
 * Notices when a stream that is to end soon has nothing left to do: a read waits, no byte is unread, and what the kernel had received when
 * the watch began has been read.
 *
 *     stale ---a poll of the event loop has read everything---> current
 *
 * Only a poll for input shows what the kernel holds. While the stream is stale, each read that waits with nothing unread therefore gets
 * one complete poll. A poll that brings nothing finds the stream idle. One that brings bytes has emptied the kernel's buffer, unless they
 * are so many that back-pressure may have paused reading, or that libuv may have left some for the next poll. From then on the stream is
 * current, and idle as soon as a read waits with nothing unread. More polls would never end for a client that sends its next request as
 * soon as it has an answer.
 *
 * Between the moments at which a read begins to wait the watch does nothing, so a busy stream costs nothing.
 */
import type { ReaderIntake } from '../reader/intake.js';
import { afterPoll } from '../transports/linger.js';

/** Less than libuv reads from a socket in one poll: 32 times 64 KiB. */
const POLL_BYTES = 1024 * 1024;

/** More than a kernel holds for a socket with usual settings. */
const KERNEL_BYTES = 64 * 1024 * 1024;

/** What the watch knows of the reader. */
type DrainedReader = Pick<ReaderIntake, 'waitsEmpty' | 'bytesRead'>;

export class DrainWatch {
  readonly #reader: DrainedReader;
  /** The most bytes that a poll can bring without back-pressure. */
  readonly #unpaused: number;
  readonly #idle: () => void;
  readonly #from: number;
  /** Whether the stream was found idle. */
  wasIdle = false;
  #current = false;
  #checking = false;

  /**
   * @param limit - of the reader
   * @param idle - called when the stream is idle; it may end reading
   */
  constructor(reader: DrainedReader, limit: number, idle: () => void) {
    this.#reader = reader;
    this.#unpaused = Math.min(2 * limit, POLL_BYTES);
    this.#idle = idle;
    this.#from = reader.bytesRead;
  }

  /** A read may have begun to wait. */
  check(): void {
    if (this.#checking || !this.#reader.waitsEmpty) return;
    this.#checking = true;
    // The read that waits is still being set up.
    if (this.#current) queueMicrotask(() => this.#checked());
    else this.#poll(this.#reader.bytesRead);
  }

  #poll(before: number): void {
    afterPoll(() => {
      const { bytesRead } = this.#reader;
      this.#current = bytesRead - before <= this.#unpaused || bytesRead - this.#from > KERNEL_BYTES;
      this.#checked();
    });
  }

  #checked(): void {
    this.#checking = false;
    if (!this.#reader.waitsEmpty) return;
    if (this.#current) {
      this.wasIdle = true;
      this.#idle();
    } else this.check();
  }
}
