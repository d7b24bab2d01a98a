/**
 * Positions in the order of writes for bytes from another source: a file, a TLS handshake.
 *
 *     written before | slot, at the head | written after it | slot | written after that | ...
 *     sent first     | sends by itself   | blocked until the head ends, then queued up to the next slot
 */
import { Deferred } from './deferred.js';

/** A reserved position in the order of writes. @internal */
export interface Reservation {
  /**
   * Resolves when the kernel has accepted everything that was written before. Rejects if the connection is lost before that, or if
   * writing is refused.
   */
  readonly ready: Promise<void>;
  /** Sends bytes at this position, one call at a time after {@link ready}. Their memory may be reused when the promise resolves. */
  send(data: Uint8Array): Promise<void>;
  /** Lets the writes after this position continue, once a `send` in progress has ended. May be called again. */
  end(): void;
}

/** The writer's side of a {@link Reservation}. */
export class WriteSlot {
  readonly ready = new Deferred();
  readonly action: string;
  /** The batch in flight from this slot. */
  sending: Deferred | null = null;
  ended = false;

  constructor(action: string) {
    this.action = action;
  }
}

/** The slot at the head, and the writes and slots after it. */
export class BlockedWrites {
  readonly head: WriteSlot;
  readonly #items: (Uint8Array | WriteSlot)[];
  /** How many written bytes are blocked. */
  bytes = 0;

  constructor(head: WriteSlot, items: (Uint8Array | WriteSlot)[] = []) {
    this.head = head;
    this.#items = items;
  }

  /** Adds a slot after everything that was written. */
  reserve(slot: WriteSlot): void {
    this.#items.push(slot);
  }

  /** Adds written bytes, which must not change until they are queued. */
  add(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#items.push(bytes);
    this.bytes += bytes.length;
  }

  /**
   * The head has ended: passes the blocked bytes to `queue`, up to the next slot that has not ended.
   *
   * @returns what is blocked from there on, or null
   */
  endHead(queue: (bytes: Uint8Array) => void): BlockedWrites | null {
    for (const [i, item] of this.#items.entries()) {
      if (!(item instanceof WriteSlot)) {
        this.bytes -= item.length;
        queue(item);
      } else if (!item.ended) {
        const next = new BlockedWrites(item, this.#items.slice(i + 1));
        next.bytes = this.bytes;
        return next;
      }
    }
    return null;
  }

  /** Rejects every slot: nothing will be sent any more. */
  drop(reason: (action: string) => Error): void {
    for (const slot of [this.head, ...this.#items]) {
      if (!(slot instanceof WriteSlot)) continue;
      const error = reason(slot.action);
      slot.sending?.reject(error);
      slot.ready.reject(error);
    }
  }
}
