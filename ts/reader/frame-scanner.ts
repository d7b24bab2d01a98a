/**
 * The frames in a receive buffer: which frames are complete, how reads take them, and which one is over the limit or malformed. Only this
 * file knows which frames are listed.
 *
 * How it works. One search lists many frame ends (the index); `next` to `stop` are those that no read has returned yet. Where the search
 * continues, and how much it lists, is in a `FrameSearch`. The framing is remembered when the index is used up, and the call that brings
 * more bytes lists their frames at once. A read that does not return frames calls `rewind` first, which drops the index.
 *
 * Complete frames are copied out of the ring many at a time, as a `FrameCut` or a `TextCut`, and each frame is a part of the cut. So
 * returning a frame that is listed and cut moves two numbers and creates a view: the index and the cuts are fields of one object.
 */
import { Buffer, isAscii } from 'node:buffer';
import { INDEX_WORDS, type PooledRing } from '../buffer/pool.js';
import { FrameIndex, type Listing } from '../buffer/ring.js';
import { CustomLengths, MeasuredFraming, type PreparedFraming } from '../buffer/framing.js';
import type { Lengths } from '../buffer/lengths.js';
import { Separator } from '../buffer/separator.js';
import { allocateResult } from '../buffer/slab.js';
import { IncompleteReadError } from '../errors.js';
import { TextCut, lineTexts, pieceEnd } from './decoding.js';
import { FrameCut, NO_CUT, cutEnd, firstFrame } from './frame-cut.js';
import { FrameSearch } from './frame-search.js';
import { Frames, type FrameOwner } from './frames.js';
import type { LineForm } from './lines.js';
import { ReceiveBuffer } from './receive-buffer.js';
import { endless, malformed, overLimit, overlong, skipsOverlong, type FrameAction } from './refusals.js';

export const LF = Separator.from('\n', 'readline');

const EMPTY = Buffer.alloc(0);
const NO_WORDS = new Uint32Array(0);

export class FrameScanner implements FrameOwner {
  readonly buffer = new ReceiveBuffer();
  readonly #search: FrameSearch;

  /** The framing of the index; it stays when every listed frame was returned. */
  #framing: PreparedFraming | null = null;
  /** The words of the index, and where the listed ends that no read has returned are in them. */
  #words: Uint32Array = NO_WORDS;
  #next: number = FrameIndex.ENDS;
  #stop: number = FrameIndex.ENDS;
  /** How many frames reads have returned, without those of the index. */
  #frames = 0;

  /** Copies of listed frames. */
  #cut = NO_CUT;
  /** The same for lines that are read as strings. */
  #text: TextCut | null = null;

  /** How many lines are still to be dropped up to their ends: two if bytes were put back before the first. */
  #skipping = 0;

  /** @param limit - the longest frame, not counting its separator, in bytes */
  constructor(limit: number) {
    this.#search = new FrameSearch(limit);
  }

  // ---------------------------------------------------------------------------------------------- bytes arrive

  /** Whether the next bytes that arrive may be the rest of a line that is to be dropped. */
  get skips(): boolean {
    return this.#skipping > 0;
  }

  /** How many frames reads have returned. */
  get framesRead(): number {
    return this.#frames + this.#next - FrameIndex.ENDS;
  }

  /** Counts frames that reads have returned without the index. */
  framesPassed(count: number): void {
    this.#frames += count;
  }

  /** Whether a function of the caller's is measuring a frame right now. */
  get measures(): boolean {
    return this.#search.measures;
  }

  /** Has the next read search again: bytes may have come in while a frame was being measured. */
  searchAgain(): void {
    this.#search.exhausted = false;
  }

  /** Stops dropping lines. */
  stopSkipping(): void {
    this.#skipping = 0;
  }

  /** Returns the rest of a chunk after the ends of the lines that are being skipped. */
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

  /** Buffers a copy of the chunk, and lists frames. `room`: how many bytes are about to be read into the ring afterwards. */
  append(chunk: Uint8Array, room: number): void {
    const store = this.buffer.openToWrite(room);
    const listing = this.#continued(store);
    if (listing === null) {
      this.buffer.append(chunk);
      return;
    }
    store.ring.append(chunk, listing);
    this.#listedBy(listing);
  }

  /** Buffers `count` bytes that were read into the target in the ring, and lists frames. */
  commit(count: number): void {
    const { buffer } = this;
    buffer.settle(true);
    const store = buffer.store as PooledRing;
    const listing = this.#continued(store);
    store.ring.commit(count, listing);
    buffer.dropTarget();
    if (listing !== null) this.#listedBy(listing);
  }

  // ---------------------------------------------------------------------------------------------- one by one

  /** Whether a frame is listed for this framing, without a search. Never while frames are lent. */
  has(framing: PreparedFraming): boolean {
    return this.#next < this.#stop && this.#framing === framing;
  }

  /** Whether the next frame is complete, after a search if necessary. Throws if it is over the limit or malformed. */
  find(framing: PreparedFraming, action: FrameAction): boolean {
    this.#search.all = false;
    if (this.#needsSearch(framing)) this.#searchFor(framing, action);
    if (this.#next < this.#stop) return true;
    this.#refuse(framing, action);
    return false;
  }

  /** Takes the next listed frame, without the bytes that its framing skips. */
  take(): Buffer {
    const start = this.buffer.position;
    const end = this.#words[this.#next] as number;
    const cut = this.#cut;
    let frame = null;
    if (end <= cut.end) frame = cut.skipping === null ? cut.frame(start, end) : cut.frameSkipping(start, end);
    frame ??= this.#cutFrame(start, end);
    this.#passed(end);
    return frame;
  }

  /** Takes the next listed line as a string. */
  takeText({ encoding, keepEnds }: LineForm): string {
    const start = this.buffer.position;
    const end = this.#words[this.#next] as number;
    let text = this.#text;
    if (!text?.has(start, end, encoding)) text = this.#cutText(start, encoding);
    const line = text.take(end, keepEnds);
    this.#passed(end);
    return line;
  }

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

  /**
   * The length of the next frame, which {@link find} has found incomplete, according to its header; 0 if the header is incomplete as
   * well.
   */
  announced(framing: MeasuredFraming): number {
    if (framing.lengths instanceof CustomLengths) return this.#search.measured;
    return Math.max(0, this.#measureNext(framing.lengths));
  }

  /** Remembers the length of the frame that begins at the oldest unread byte: a function of the caller's is not asked for it again. */
  recall(framing: MeasuredFraming, length: number): void {
    if (!(framing.lengths instanceof CustomLengths)) return;
    this.#restartFor(framing);
    this.#search.recall(length);
  }

  /** The error for a stream that has ended within a frame, of which `rest` has arrived. `expected` is the length of the whole frame. */
  incomplete(framing: PreparedFraming, action: string): IncompleteReadError {
    if (framing instanceof Separator) {
      return new IncompleteReadError(this.buffer.take(this.rewind()), null, action);
    }
    const expected = this.announced(framing);
    const rest = this.buffer.take(this.rewind());
    return IncompleteReadError.ofFrame(rest, expected === 0 ? null : expected, action);
  }

  // ---------------------------------------------------------------------------------------------- all at once

  /** Takes all complete frames and lends them in place; undefined if there are none. */
  lend(framing: PreparedFraming, action: FrameAction): Frames | undefined {
    const ends = this.#findAll(framing, action);
    if (ends === null) return undefined;
    const size = ends[ends.length - 1] as number;
    const frames = new Frames(framing, this.buffer.inPlace(0, size), ends, this);
    this.buffer.lend(frames, size);
    return frames;
  }

  /** Lends no frames: the result at the end of a stream that has ended between two frames. */
  lendNone(framing: PreparedFraming): Frames {
    const none = new Frames(framing);
    this.buffer.lend(none);
    return none;
  }

  unreadFrames(rest: Buffer, at: number, count: number): void {
    const { buffer } = this;
    this.#frames -= count;
    if (buffer.unlend(at)) {
      this.rewind();
      return;
    }
    buffer.leaveLoan(0);
    this.rewind();
    buffer.putBack(rest);
  }

  /** Takes all complete lines as strings; undefined if there are none. */
  takeTexts(form: LineForm): string[] | undefined {
    const ends = this.#findAll(LF, 'lines');
    if (ends === null) return undefined;
    const { buffer } = this;
    const size = ends[ends.length - 1] as number;
    const lines = lineTexts(buffer.inPlace(0, size), ends, form);
    buffer.passed(size);
    buffer.settle();
    return lines;
  }

  /**
   * Lists all complete frames, however many, and returns their ends in the words of the store; null if there are none. Afterwards the
   * index is empty, as if all of them had been taken.
   */
  #findAll(framing: PreparedFraming, action: FrameAction): Uint32Array | null {
    const search = this.#search;
    search.all = true;
    // A listing for the same framing is continued, unless some of its frames were returned already.
    if (this.#next < this.#stop && (this.#framing !== framing || this.buffer.position > 0)) this.rewind();
    if (this.#needsSearch(framing)) this.#searchFor(framing, action);
    const { store } = this.buffer;
    if (store === null || this.#next === this.#stop) {
      this.#refuse(framing, action);
      return null;
    }
    while (!search.exhausted && this.#words[FrameIndex.REFUSED] === 0) {
      if (this.#stop === store.words.length) {
        const more = new Uint32Array(2 * store.words.length);
        more.set(store.words);
        store.words = more;
      }
      this.#listed(search.list(this.buffer, framing, this.#stop - this.#next, action));
    }
    const ends = this.#words.subarray(FrameIndex.ENDS, this.#stop);
    this.#next = this.#stop;
    return ends;
  }

  // ---------------------------------------------------------------------------------------------- other reads

  /** Ends reading by frames, for a read that takes bytes regardless of frames. Returns how many bytes are buffered. */
  rewind(): number {
    const { buffer } = this;
    if (this.#framing !== null) {
      this.#search.checkIdle();
      this.#dropIndex();
      this.#search.restart();
      this.#search.startSmall();
      this.#framing = null;
    }
    return buffer.length;
  }

  /** Releases memory that the unread bytes do not need. */
  shrink(): void {
    if (!this.buffer.trim()) return;
    const store = this.buffer.store as PooledRing;
    if (this.#next === this.#stop && store.words.length > INDEX_WORDS) {
      this.#words = store.words = new Uint32Array(INDEX_WORDS);
    }
  }

  // ---------------------------------------------------------------------------------------------- the index

  #needsSearch(framing: PreparedFraming): boolean {
    return this.#framing !== framing || (this.#next === this.#stop && !this.#search.exhausted);
  }

  /** Lists the frames that are complete, continuing where the last search for the same framing ended. */
  #searchFor(framing: PreparedFraming, action: FrameAction): void {
    const search = this.#search;
    search.checkIdle();
    this.#restartFor(framing);
    const { store } = this.buffer;
    if (store === null || store.ring.length === 0) search.exhausted = true;
    else this.#listed(search.list(this.buffer, framing, 0, action));
  }

  /** What a call that brings bytes has to list in `store`, in which every returned byte is consumed; null: nothing. */
  #continued(store: PooledRing): Listing | null {
    const framing = this.#framing;
    // The words of lent frames are lent with them, and a listed frame must not be returned before the loan ends.
    if (framing === null || isCustom(framing) || this.#next < this.#stop || this.buffer.lends) {
      this.#search.exhausted = false;
      return null;
    }
    this.#restartFor(framing);
    return this.#search.listing(store, framing, 0);
  }

  /** Begins an index at the next unread byte. Bytes that were searched for the same framing are not searched again. */
  #restartFor(framing: PreparedFraming): void {
    const search = this.#search;
    if (this.#framing === framing) {
      search.continueFrom(this.buffer.position);
    } else {
      search.restart();
      if (this.#framing !== null) search.startSmall();
    }
    this.#dropIndex();
    this.#framing = framing;
  }

  /** Drops the index, except its framing. Positions change, so the cuts are dropped as well. */
  #dropIndex(): void {
    this.buffer.restart();
    this.#frames += this.#next - FrameIndex.ENDS;
    this.#next = this.#stop = FrameIndex.ENDS;
    this.#dropCuts();
  }

  #listedBy(listing: Listing): void {
    this.#search.listed(listing);
    this.#listed(listing.words);
  }

  /** Updates the index after a listing. */
  #listed(words: Uint32Array): void {
    this.#words = words;
    this.#next = FrameIndex.ENDS;
    this.#stop = FrameIndex.ENDS + (words[FrameIndex.COUNT] as number);
  }

  // ---------------------------------------------------------------------------------------------- the cuts

  #dropCuts(): void {
    this.#cut = NO_CUT;
    this.#text = null;
  }

  /** Copies the frame from `start` to `end` out of the ring, together with as many of the listed frames after it as fit into a cut. */
  #cutFrame(start: number, end: number): Buffer {
    const framing = this.#framing;
    const to = cutEnd(this.#words, this.#next, this.#stop, start);
    const bytes = allocateResult(to - start);
    this.buffer.copyOut(bytes, start, to);
    if (to > end) this.#cut = new FrameCut(bytes, start, framing);
    return firstFrame(bytes, end - start, framing);
  }

  /** Decodes the next listed line, together with as many of the lines after it as fit into a piece. */
  #cutText(start: number, encoding: LineForm['encoding']): TextCut {
    const piece = this.#piece(start, true);
    const ascii = isAscii(piece);
    this.#text = new TextCut(ascii ? piece : this.#piece(start, false), start, encoding, ascii);
    return this.#text;
  }

  /** The next listed lines, as many as fit into a piece. */
  #piece(start: number, ascii: boolean): Buffer {
    const words = this.#words;
    return this.buffer.inPlace(start, words[pieceEnd(words, this.#next, this.#stop, start, ascii)] as number);
  }

  // ---------------------------------------------------------------------------------------------- frames that are refused

  /** Throws if the next frame, whose end no search has found, is over the limit or malformed. */
  #refuse(framing: PreparedFraming, action: FrameAction): void {
    if (framing instanceof Separator) {
      this.#refuseOverlong(framing, action);
      return;
    }
    const refusal = this.#search.takeRefusal();
    if (refusal !== null) throw refusal.error;
    if (this.#search.refused > 0) throw this.#refusedLength(framing, action);
  }

  /** Why the engine has refused the next frame. */
  #refusedLength(framing: MeasuredFraming, action: FrameAction): Error {
    const lengths = framing.lengths as Lengths;
    const length = this.#measureNext(lengths);
    if (length > 0) return overLimit(action, length, this.#search.limitOf(framing));
    return malformed(action, lengths, this.buffer.copy(Math.min(lengths.longestHeader, this.buffer.length)));
  }

  /** The result of `Lengths.measure` for the next frame. Only its length field is copied, because many bytes may precede it. */
  #measureNext(lengths: Lengths): number {
    const { buffer } = this;
    const { offset, longestHeader } = lengths;
    const from = Math.min(offset, buffer.length);
    const to = Math.min(longestHeader, buffer.length);
    const field = new Uint8Array(to - from);
    buffer.copyOut(field, buffer.position + from, buffer.position + to);
    return lengths.measure(field, -offset, field.length);
  }

  /** The same for separators. */
  #refuseOverlong(separator: Separator, action: FrameAction): void {
    const { buffer } = this;
    if (buffer.store === null) return;
    const limit = this.#search.limitOf(separator);
    const body = this.#search.refused;
    if (body > 0) {
      if (skipsOverlong(action)) {
        this.rewind();
        buffer.advance(body + separator.longest);
      }
      throw overlong(action, body, limit);
    }
    const buffered = buffer.length;
    // Without the last bytes, with which a separator may begin: asyncio counts this way.
    const searched = buffered - separator.longest + 1;
    if (searched <= limit) return;
    if (skipsOverlong(action)) {
      this.rewind();
      this.#skipping++;
      buffer.advance(buffered);
    }
    throw endless(action, buffered, searched, limit);
  }
}

/** Whether the caller's own function measures the frames. */
function isCustom(framing: PreparedFraming): boolean {
  return framing instanceof MeasuredFraming && framing.lengths instanceof CustomLengths;
}
