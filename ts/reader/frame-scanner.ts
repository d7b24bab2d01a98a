/**
 * The frames in a receive buffer: which are complete, which is over the limit, and how they are copied out together. Nothing else
 * knows how frames are listed.
 *
 * How it works. One search lists many frame ends (the index); `next` to `stop` are those that were not taken. Complete frames are
 * copied out of the ring up to 8 KiB at a time (the cut), and each frame is a view of the cut. So taking a frame that is listed and cut
 * moves two numbers and makes a view.
 *
 * A search goes on where the last one for the same separator ended, so waiting for a frame costs a time linear in its length. The
 * separator is remembered when the index is used up, and the call that brings more bytes lists their frames at once. A read that
 * does not go by frames calls `rewind` first, which drops the index.
 */
import { Buffer, isAscii } from 'node:buffer';
import { INDEX_WORDS, POOLED_WORDS, type Store } from '../buffer/pool.js';
import { FrameIndex, MAX_CAPACITY, type Listing } from '../buffer/ring.js';
import { Separator } from '../buffer/separator.js';
import { SLAB_BYTES, allocateResult, bufferView, shareMemory } from '../buffer/slab.js';
import { LimitOverrunError, count } from '../errors.js';
import { Frames, lineTexts, pieceEnd } from './frames.js';
import { TextCut, type LineForm } from './lines.js';
import { ReceiveBuffer } from './receive-buffer.js';

/** The reads that go frame by frame: those of lines skip one over the limit, the others leave it. */
export type FrameAction = 'readline' | 'lines' | 'readuntil' | 'readframes';

export const LF = Separator.from('\n', 'readline');

/** The most frames that are listed at once where they are handed out one by one. */
const MOST_FRAMES = POOLED_WORDS - FrameIndex.ENDS;

const EMPTY = Buffer.alloc(0);
const NO_WORDS = new Uint32Array(0);

/** Frames that follow each other, copied out of the ring in one piece. */
class FrameCut {
  constructor(
    readonly memory: ArrayBufferLike,
    /** What to add to a position to get the offset in the memory. */
    readonly shift: number,
    /** The position where it ends. */
    readonly end: number,
  ) {}
}

const NO_CUT = new FrameCut(EMPTY.buffer, 0, 0);

export class FrameScanner {
  readonly buffer = new ReceiveBuffer();
  readonly #limit: number;

  /** What the index is for; it stays when all is taken. */
  #separator: Separator | null = null;
  /** The words of the index, and in them the listed ends that were not taken. */
  #words: Uint32Array = NO_WORDS;
  #next = 0;
  #stop = 0;
  /** Where to search on, and what the engine knows of a separator that has begun there. */
  #resume = 0;
  #partial = 0;
  /** Whether the search ended at a frame that is over the limit, and is the next one. */
  #overlong = false;
  /** Whether a search from there would find nothing new: all that is buffered has been looked at. */
  #exhausted = false;
  /** How many frames the next search lists at most: grows while only frames are read, so that mixed reads search little. */
  #batch = 1;
  /** Whether all frames were wanted last, however many. */
  #all = false;

  #cut = NO_CUT;
  /** The same for lines that are read as strings. */
  #text: TextCut | null = null;

  /** How many lines are still to be dropped up to their ends: two when bytes were put back before the first. */
  #skipping = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  // ---------------------------------------------------------------------------------------------- bytes come in

  /** Whether the bytes that come in next may be the rest of a line that is to be dropped. */
  get skips(): boolean {
    return this.#skipping > 0;
  }

  /** Drops no more lines. */
  stopSkipping(): void {
    this.#skipping = 0;
  }

  /** What is left of a chunk after the ends of the lines that are being skipped. */
  skipIn(chunk: Uint8Array): Uint8Array {
    let rest = chunk;
    while (this.#skipping > 0) {
      const end = rest.indexOf(0x0a);
      if (end === -1) return EMPTY;
      this.#skipping--;
      rest = rest.subarray(end + 1);
    }
    return rest;
  }

  /** Buffers a copy of the chunk, and lists. `room`: what is about to be read into the ring afterwards. */
  append(chunk: Uint8Array, room: number): void {
    const store = this.buffer.openToWrite(room);
    const listing = this.#listing(store);
    store.ring.append(chunk, listing);
    if (listing !== null) this.#listedIn(listing);
  }

  /** Buffers `count` bytes that were read into the target in the ring, and lists. */
  commit(count: number): void {
    const { buffer } = this;
    buffer.settle(true);
    const store = buffer.store as Store;
    const listing = this.#listing(store);
    store.ring.commit(count, listing);
    buffer.dropTarget();
    if (listing !== null) this.#listedIn(listing);
  }

  // ---------------------------------------------------------------------------------------------- one by one

  /** Whether a frame is listed for this separator, without a search. Never while frames are lent. */
  has(separator: Separator): boolean {
    return this.#next < this.#stop && this.#separator === separator;
  }

  /** Whether the next frame is complete, after a search if need be. Throws when it is over the limit. */
  find(separator: Separator, action: FrameAction): boolean {
    this.#all = false;
    if (this.#separator !== separator || (this.#next === this.#stop && !this.#exhausted)) this.#search(separator);
    if (this.#next < this.#stop) return true;
    this.#refuseOverlong(separator, action);
    return false;
  }

  /** Takes the next listed frame. */
  take(): Buffer {
    const start = this.buffer.position;
    const end = this.#words[this.#next] as number;
    const frame = end > this.#cut.end ? this.#cutFrame(start, end) : this.#fromCut(start, end);
    this.#passed(end);
    return frame;
  }

  /** Takes the next listed line as a string. */
  takeText({ encoding, keepEnds }: LineForm): string {
    const start = this.buffer.position;
    const end = this.#words[this.#next] as number;
    let text = this.#text;
    if (!text?.has(start, end, encoding)) text = this.#makeTextCut(start, encoding);
    const line = text.take(end, keepEnds);
    this.#passed(end);
    return line;
  }

  // ---------------------------------------------------------------------------------------------- all at once

  /** Takes all complete frames and lends them in place; undefined when there is none. */
  lend(separator: Separator): Frames | undefined {
    const ends = this.#listAll(separator, 'readframes');
    if (ends === null) return undefined;
    const size = ends[ends.length - 1] as number;
    const frames = new Frames(separator, this.buffer.inPlace(0, size), ends);
    this.buffer.lend(frames, size);
    return frames;
  }

  /** Takes all complete lines as strings; undefined when there is none. */
  takeTexts(form: LineForm): string[] | undefined {
    const ends = this.#listAll(LF, 'lines');
    if (ends === null) return undefined;
    const { buffer } = this;
    const size = ends[ends.length - 1] as number;
    const lines = lineTexts(buffer.inPlace(0, size), ends, form);
    buffer.passed(size);
    buffer.settle();
    return lines;
  }

  // ---------------------------------------------------------------------------------------------- other reads

  /** Leaves reading by frames, for a read that takes bytes at any place: returns how many bytes are buffered. */
  rewind(): number {
    const { buffer } = this;
    if (this.#separator !== null) {
      this.#restart();
      this.#separator = null;
      this.#batch = 1;
    }
    return buffer.length;
  }

  /** Gives back memory that the unread bytes do not need. */
  shrink(): void {
    if (!this.buffer.trim()) return;
    const store = this.buffer.store as Store;
    if (this.#next === this.#stop && store.words.length > INDEX_WORDS) {
      this.#words = store.words = new Uint32Array(INDEX_WORDS);
    }
  }

  // ---------------------------------------------------------------------------------------------- the index

  /** Drops the index, but for the separator. */
  #restart(): void {
    this.buffer.restart();
    this.#next = this.#stop = this.#resume = this.#partial = 0;
    this.#exhausted = this.#overlong = false;
    this.#dropCuts();
  }

  #dropCuts(): void {
    this.#cut = NO_CUT;
    this.#text = null;
  }

  /** Begins an index at the next byte that is not taken. What was searched for the same separator is not searched again. */
  #restartFor(separator: Separator): void {
    const same = this.#separator === separator;
    const resume = same ? this.#resume - this.buffer.position : 0;
    const partial = same ? this.#partial : 0;
    if (same) this.#batch = Math.min(this.#batch * 4, MOST_FRAMES);
    else if (this.#separator !== null) this.#batch = 1;
    this.#restart();
    this.#separator = separator;
    this.#resume = resume;
    this.#partial = partial;
  }

  /** Lists the frames that are complete, going on where the last search for the same separator ended. */
  #search(separator: Separator): void {
    this.#restartFor(separator);
    const { store } = this.buffer;
    if (store === null || store.ring.length === 0) {
      this.#exhausted = true;
      return;
    }
    const listing = this.#listingOf(store, separator);
    store.ring.list(listing);
    this.#listedIn(listing);
  }

  /** What a call that brings bytes is to list in `store`, where all that was taken is consumed; null: nothing. */
  #listing(store: Store): Listing | null {
    // The words of lent frames are lent with them, and a listed frame must not be taken before the loan ends.
    if (this.#separator === null || this.#next < this.#stop || this.buffer.lends) {
      this.#exhausted = false;
      return null;
    }
    this.#restartFor(this.#separator);
    return this.#listingOf(store, this.#separator);
  }

  /** The index in the words of `store`, to go on with. */
  #listingOf(store: Store, separator: Separator): Listing {
    const listed = this.#stop - this.#next;
    let { words } = store;
    if (!this.#all && this.#batch > words.length && words.length < POOLED_WORDS) {
      // More than fit were listed by the last search, or nothing would have been gained by so large a batch.
      if (words[FrameIndex.COUNT] === words.length - FrameIndex.ENDS) words = new Uint32Array(POOLED_WORDS);
    }
    store.words = words;
    words[FrameIndex.COUNT] = listed;
    words[FrameIndex.RESUME] = this.#resume;
    words[FrameIndex.PARTIAL] = this.#partial;
    const room = words.length - FrameIndex.ENDS;
    const max = this.#all ? room : Math.min(this.#batch, room);
    return { framing: separator, words, limit: Math.min(this.#limit, MAX_CAPACITY), max };
  }

  /** Takes over what was listed. */
  #listedIn({ words, max }: Listing): void {
    const found = words[FrameIndex.COUNT] as number;
    const overlong = words[FrameIndex.REFUSED] !== 0;
    this.#words = words;
    this.#next = FrameIndex.ENDS;
    this.#stop = FrameIndex.ENDS + found;
    this.#resume = words[FrameIndex.RESUME] as number;
    this.#partial = words[FrameIndex.PARTIAL] as number;
    this.#overlong = found === 0 && overlong;
    this.#exhausted = found === 0 || (found < max && !overlong);
  }

  /**
   * Lists all complete frames, however many, and returns their ends in the words of the store; null when there is none. The
   * index is empty then, as if all of them had been taken.
   */
  #listAll(separator: Separator, action: FrameAction): Uint32Array | null {
    this.#all = true;
    // What is listed and not taken yet is gone on with, unless something before it was taken.
    if (this.#next < this.#stop && (this.#separator !== separator || this.buffer.position > 0)) this.rewind();
    if (this.#separator !== separator || (this.#next === this.#stop && !this.#exhausted)) this.#search(separator);
    const { store } = this.buffer;
    if (store === null || this.#next === this.#stop) {
      this.#refuseOverlong(separator, action);
      return null;
    }
    while (!this.#exhausted && this.#words[FrameIndex.REFUSED] === 0) {
      if (this.#stop === store.words.length) {
        const more = new Uint32Array(2 * store.words.length);
        more.set(store.words);
        store.words = more;
      }
      const listing = this.#listingOf(store, separator);
      store.ring.list(listing);
      this.#listedIn(listing);
    }
    const ends = this.#words.subarray(FrameIndex.ENDS, this.#stop);
    this.#next = this.#stop;
    return ends;
  }

  /** Throws when the next frame, of which a search has found no end, is over the limit. */
  #refuseOverlong(separator: Separator, action: FrameAction): void {
    const { buffer } = this;
    if (buffer.store === null) return;
    const skips = action === 'readline' || action === 'lines';
    if (this.#overlong) {
      const body = this.#words[FrameIndex.REFUSED] as number;
      const error = new LimitOverrunError(
        `${action}: the separator is found, but the frame of ${count(body, 'byte')} is over the limit of ${this.#limit}`,
        body,
      );
      if (skips) {
        this.rewind();
        buffer.advance(body + separator.longest);
      }
      throw error;
    }
    const buffered = buffer.length;
    // Without the last bytes, which a separator can begin with: asyncio counts so.
    const searched = buffered - separator.longest + 1;
    if (searched > this.#limit) {
      const error = new LimitOverrunError(
        `${action}: the separator is not found in ${count(buffered, 'byte')}, which is over the limit of ${this.#limit}`,
        searched,
      );
      if (skips) {
        this.rewind();
        this.#skipping++;
        buffer.advance(buffered);
      }
      throw error;
    }
  }

  // ---------------------------------------------------------------------------------------------- the cuts

  /** The next listed frame, which ends at `end`, was taken. */
  #passed(end: number): void {
    const { buffer } = this;
    buffer.passed(end);
    if (++this.#next === this.#stop) {
      // Nothing after the last listed end was copied.
      this.#dropCuts();
      buffer.settle();
    }
  }

  /** Copies the frame from `start` to `end` out of the ring, and with it as many listed bytes after it as fit a slab. */
  #cutFrame(start: number, end: number): Buffer {
    const listed = this.#words[this.#stop - 1] as number;
    const size = Math.max(end - start, Math.min(SLAB_BYTES, listed - start));
    const memory = allocateResult(size);
    this.buffer.copyOut(memory, start, start + size);
    if (size === end - start) return memory;
    const { buffer, byteOffset } = memory;
    shareMemory(buffer);
    this.#cut = new FrameCut(buffer, byteOffset - start, start + size);
    return bufferView(buffer, byteOffset, end - start);
  }

  /** The frame from `start` to `end`, which was copied out with one before it. */
  #fromCut(start: number, end: number): Buffer {
    try {
      return bufferView(this.#cut.memory, start + this.#cut.shift, end - start);
    } catch {
      // The owner of one of those has detached the memory that they share. The ring still has the bytes.
      return this.#cutFrame(start, end);
    }
  }

  /** Decodes the next listed line, and with it as many of those after it as make a piece. */
  #makeTextCut(start: number, encoding: LineForm['encoding']): TextCut {
    const piece = this.#piece(start, true);
    const ascii = isAscii(piece);
    this.#text = new TextCut(ascii ? piece : this.#piece(start, false), start, encoding, ascii);
    return this.#text;
  }

  /** The next listed lines, as many as make a piece. */
  #piece(start: number, ascii: boolean): Buffer {
    const words = this.#words;
    const end = words[pieceEnd(words, this.#next, this.#stop, start, ascii)] as number;
    return this.buffer.inPlace(start, end);
  }
}
