/**
 * The search for complete frames: where it continues, how many frames it lists, and why it has stopped. The ends that it has found are in
 * the words of the ring; the `FrameScanner` has the index over them.
 *
 * A search continues where the last one for the same framing ended, so waiting for a frame takes time linear in its length. The engine
 * lists frames with a separator or a length; a `FrameMeasurer` those that the caller's own function measures.
 */
import { POOLED_WORDS, type PooledRing } from '../buffer/pool.js';
import { FrameIndex, MAX_CAPACITY, type Listing } from '../buffer/ring.js';
import { CustomLengths, type MeasuredFraming, type PreparedFraming } from '../buffer/framing.js';
import { Separator } from '../buffer/separator.js';
import { FrameMeasurer } from './frame-measurer.js';
import type { ReceiveBuffer } from './receive-buffer.js';
import type { FrameAction } from './refusals.js';

/** The most frames that are listed at once if they are returned one by one. */
const MOST_FRAMES = POOLED_WORDS - FrameIndex.ENDS;

export class FrameSearch {
  /** Whether it is for all frames, however many. */
  all = false;
  /** Whether a search would find nothing new, because all buffered bytes have been searched. */
  exhausted = false;
  /** The REFUSED word, if the next frame is refused; otherwise 0. */
  refused = 0;
  readonly #limit: number;
  /**
   * Where it continues, and what is known about the bytes there: for a separator the engine's PARTIAL, for frames that a function
   * measures the length of the frame, once the function has returned it.
   */
  #resume = 0;
  #partial = 0;
  /** The most frames that it lists. It grows while only frames are read, so that mixed reads search little. */
  #batch = 1;
  /** Created for the first framing with a function. */
  #measurer: FrameMeasurer | null = null;

  /** @param limit - the longest frame, without its separator, unless its framing has another limit */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Searches for the same framing again, from position `position` on: what was searched after it is not searched again. */
  continueFrom(position: number): void {
    const resume = this.#resume - position;
    const partial = this.#partial;
    this.#batch = Math.min(this.#batch * 4, MOST_FRAMES);
    this.restart();
    this.#resume = resume;
    this.#partial = partial;
  }

  /** Searches from the oldest unread byte on. */
  restart(): void {
    this.#resume = this.#partial = this.refused = 0;
    this.exhausted = false;
    this.#measurer?.forget();
  }

  /** Lists few frames again at first, for another framing. */
  startSmall(): void {
    this.#batch = 1;
  }

  /** The longest frame of this framing; for a separator, without it. No frame is longer than what can be buffered. */
  limitOf(framing: PreparedFraming): number {
    const limit = framing instanceof Separator ? this.#limit : (framing.limit ?? this.#limit);
    return Math.min(limit, MAX_CAPACITY);
  }

  // ---------------------------------------------------------------------------------------------- listing

  /** Lists frames after the `listed` ones that are in the words of the ring already. Returns the words. */
  list(buffer: ReceiveBuffer, framing: PreparedFraming, listed: number, action: FrameAction): Uint32Array {
    if (!(framing instanceof Separator) && framing.lengths instanceof CustomLengths) {
      return this.#measure(buffer, framing, framing.lengths, listed, action);
    }
    const store = buffer.store as PooledRing;
    const listing = this.listing(store, framing, listed) as Listing;
    store.ring.list(listing);
    this.listed(listing);
    return listing.words;
  }

  /** What a call to the engine has to list in `store`; null if the engine cannot. {@link listed} is called after it. */
  listing(store: PooledRing, framing: PreparedFraming, listed: number): Listing | null {
    const lister = framing instanceof Separator ? framing : framing.lengths;
    if (lister instanceof CustomLengths) return null;
    const words = this.#openWords(store, listed);
    return { framing: lister, words, limit: this.limitOf(framing), max: this.#mostListed(words) };
  }

  /** Continues after a listing. */
  listed({ words, max }: Pick<Listing, 'words' | 'max'>): void {
    const found = words[FrameIndex.COUNT] as number;
    const refused = words[FrameIndex.REFUSED] as number;
    this.#resume = words[FrameIndex.RESUME] as number;
    this.#partial = words[FrameIndex.PARTIAL] as number;
    this.refused = found === 0 ? refused : 0;
    this.exhausted = found === 0 || (found < max && refused === 0);
  }

  #measure(
    buffer: ReceiveBuffer,
    framing: MeasuredFraming,
    lengths: CustomLengths,
    listed: number,
    action: FrameAction,
  ): Uint32Array {
    const bytes = buffer.inOnePiece();
    const words = this.#openWords(buffer.store as PooledRing, listed);
    const max = this.#mostListed(words);
    this.#measurer ??= new FrameMeasurer();
    this.#measurer.list(bytes, words, max, this.limitOf(framing), lengths, action);
    this.listed({ words, max });
    return words;
  }

  /** How many frames to list at most. */
  #mostListed(words: Uint32Array): number {
    const room = words.length - FrameIndex.ENDS;
    return this.all ? room : Math.min(this.#batch, room);
  }

  /** The words of `store`, replaced by more of them if that is worth it, with the state of the search so far. */
  #openWords(store: PooledRing, listed: number): Uint32Array {
    let { words } = store;
    if (!this.all && this.#batch > words.length && words.length < POOLED_WORDS) {
      // Only if the last search has filled the words: otherwise there would be nothing to list in more of them.
      if (words[FrameIndex.COUNT] === words.length - FrameIndex.ENDS) words = new Uint32Array(POOLED_WORDS);
    }
    store.words = words;
    words[FrameIndex.COUNT] = listed;
    words[FrameIndex.RESUME] = this.#resume;
    words[FrameIndex.PARTIAL] = this.#partial;
    return words;
  }

  // ---------------------------------------------------------------------------------------------- frames that a function measures

  /** Whether a function of the caller's is measuring a frame right now. */
  get measures(): boolean {
    return this.#measurer !== null && this.#measurer.measures;
  }

  /** Throws if a function of the caller's is measuring a frame right now: it must not read from the stream. */
  checkIdle(): void {
    this.#measurer?.check();
  }

  /** The error with which the caller's function has refused the next frame, or null. The next read measures the frame again. */
  takeRefusal(): { readonly error: unknown } | null {
    const refusal = this.#measurer === null ? null : this.#measurer.takeRefusal();
    if (refusal !== null) this.exhausted = false;
    return refusal;
  }

  /** The length that the caller's function has returned for the next frame, which is incomplete; 0 if it needs more bytes. */
  get measured(): number {
    return this.#partial;
  }

  /** Remembers that length: the function is not called again for the frame. */
  recall(length: number): void {
    this.#partial = length;
  }
}
