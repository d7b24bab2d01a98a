/** Which messages are settled, that is, acknowledged or refused: on this side those that were received, on the other those published. */
import { ProtocolError, RefusedError } from './errors.js';

/** Tags from 1 upwards, each of which is settled once, mostly in order. */
class Tags {
  /** The lowest that is not settled. */
  lowest = 1;
  /** Those above it that are. */
  readonly #early = new Set<number>();

  settled(tag: number): boolean {
    return tag < this.lowest || this.#early.has(tag);
  }

  settle(tag: number): void {
    if (tag !== this.lowest) this.#early.add(tag);
    else while (this.#early.delete(++this.lowest));
  }

  settleAll(last: number): void {
    this.lowest = last + 1;
    this.#early.clear();
  }
}

/** The messages received on a channel. */
export class Acknowledgements {
  readonly #tags = new Tags();
  #received = 0;
  /** All up to this one are settled, but the broker does not know; 0 if it does. */
  #due = 0;

  /** The broker numbers the messages of a channel from 1. One that it does not wait for is settled at once. */
  received(tag: number, settled: boolean): void {
    if (tag !== ++this.#received) throw new ProtocolError(`message ${tag} where ${this.#received} is the next`, 503);
    if (settled) this.#tags.settle(tag);
  }

  /**
   * Acknowledges a message: `now` unless all before it are settled. If they are, it can wait, so that many are acknowledged at once
   * by {@link flush}; then the result says whether it is the `first` to wait.
   */
  ack(tag: number): 'now' | 'first' | 'later' {
    const inOrder = tag === this.#tags.lowest;
    this.settle(tag);
    if (!inOrder) return 'now';
    const how = this.#due === 0 ? 'first' : 'later';
    this.#due = tag;
    return how;
  }

  /** A message is settled in another way, which the broker knows about. */
  settle(tag: number): void {
    if (tag > this.#received || this.#tags.settled(tag))
      throw new RangeError(`Message ${tag} does not wait for an answer`);
    this.#tags.settle(tag);
  }

  /** The broker delivers all messages that are not settled again, with new tags. */
  recovered(): void {
    this.#tags.settleAll(this.#received);
  }

  /** The message up to which to acknowledge now, or 0. */
  flush(): number {
    const due = this.#due;
    this.#due = 0;
    return due;
  }
}

interface Waiter {
  readonly tag: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The messages published on a channel with confirms. */
export class Confirms {
  readonly #tags = new Tags();
  #published = 0;
  #refused: number[] = [];
  /** In ascending order of their tags. */
  readonly #waiters: Waiter[] = [];
  #error: Error | null = null;

  get published(): number {
    return this.#published;
  }

  publish(): number {
    return ++this.#published;
  }

  /** The broker has accepted or refused a message, or with `multiple` all up to and including it. With `multiple`, a tag of 0 means all. */
  settle(tag: number, multiple: boolean, accepted: boolean): void {
    const last = tag === 0 && multiple ? this.#published : tag;
    const tags = this.#tags;
    if (last > this.#published || last < 1 || (tags.settled(last) && tag !== 0)) {
      throw new ProtocolError(`confirms message ${last}, which does not wait for it`, 503);
    }
    for (let each = multiple ? tags.lowest : last; each <= last; each++) {
      if (tags.settled(each)) continue;
      tags.settle(each);
      if (!accepted) this.#refused.push(each);
    }
    while (this.#waiters.length > 0 && this.#waiters[0]!.tag < tags.lowest) this.#settled(this.#waiters.shift()!);
  }

  /** Waits until a message and all before it are settled. */
  wait(tag: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const waiter = { tag, resolve, reject };
      if (tag < this.#tags.lowest) {
        this.#settled(waiter);
        return;
      }
      if (this.#error !== null) {
        reject(this.#error);
        return;
      }
      let at = this.#waiters.length;
      while (at > 0 && this.#waiters[at - 1]!.tag > tag) at--;
      this.#waiters.splice(at, 0, waiter);
    });
  }

  /** No more confirms will come. */
  fail(error: Error): void {
    this.#error = error;
    for (const { reject } of this.#waiters.splice(0)) reject(error);
  }

  /** Each refusal is reported once. */
  #settled({ tag, resolve, reject }: Waiter): void {
    const refused = this.#refused.filter((each) => each <= tag);
    if (refused.length === 0) {
      resolve();
      return;
    }
    this.#refused = this.#refused.filter((each) => each > tag);
    reject(new RefusedError(refused));
  }
}
