/**
 * Places in the order of what is written, for bytes that come from elsewhere: those of a file, those of a TLS handshake.
 *
 *     written before | slot, at the head | written after it | slot | written after that | ...
 *     goes out first | sends by itself   | held until the head is released, then queued up to the next slot
 */
import { Deferred } from './deferred.js';

/** A place in the order of what is written. @internal */
export interface Reservation {
  /** All that was written before is with the kernel. Rejects when the connection is lost before, and where writing is refused. */
  readonly ready: Promise<void>;
  /** Sends bytes at this place, one call at a time after {@link ready}; their memory may be used again when it resolves. */
  send(data: Uint8Array): Promise<void>;
  /** Lets go what was written after this place, once a send that is under way has ended. May be called again. */
  release(): void;
}

/** The writer's side of a {@link Reservation}. */
export class WriteSlot {
  readonly ready = new Deferred();
  readonly action: string;
  /** The batch in flight at this place. */
  sending: Deferred | null = null;
  released = false;

  constructor(action: string) {
    this.action = action;
  }
}

/** The slot at the head, and what was written after it with the slots further back. */
export class HeldWrites {
  readonly head: WriteSlot;
  readonly #items: (Uint8Array | WriteSlot)[];
  /** How many bytes are held. */
  bytes = 0;

  constructor(head: WriteSlot, items: (Uint8Array | WriteSlot)[] = []) {
    this.head = head;
    this.#items = items;
  }

  /** Adds a slot after all that was written. */
  reserve(slot: WriteSlot): void {
    this.#items.push(slot);
  }

  /** Keeps bytes back, which must stay as they are until then. */
  hold(bytes: Uint8Array): void {
    if (bytes.length > 0) this.#items.push(bytes);
    this.bytes += bytes.length;
  }

  /**
   * The head is released: hands what was held to `queue`, up to the next slot that is not released.
   *
   * @returns what is held from there on, or null
   */
  leave(queue: (bytes: Uint8Array) => void): HeldWrites | null {
    for (const [i, item] of this.#items.entries()) {
      if (!(item instanceof WriteSlot)) {
        this.bytes -= item.length;
        queue(item);
      } else if (!item.released) {
        const next = new HeldWrites(item, this.#items.slice(i + 1));
        next.bytes = this.bytes;
        return next;
      }
    }
    return null;
  }

  /** Nothing will be sent at any slot any more. */
  drop(reason: (action: string) => Error): void {
    for (const slot of [this.head, ...this.#items]) {
      if (!(slot instanceof WriteSlot)) continue;
      const error = reason(slot.action);
      slot.sending?.reject(error);
      slot.ready.reject(error);
    }
  }
}
