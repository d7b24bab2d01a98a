/**
 * The frames in a receive buffer: which frames are complete, which one is over the limit or malformed, and how they are copied out
 * together. Only this file knows how frames are listed.
 *
 * How it works. One search lists many frame ends (the index); `next` to `stop` are those that no read has returned yet. Complete frames
 * are copied out of the ring many at a time (the cut), and each frame is a view of the cut. So returning a frame that is listed and cut
 * moves two numbers and creates a view.
 *
 * A search continues where the last one for the same framing ended, so waiting for a frame takes time linear in its length. The
 * framing is remembered when the index is used up, and the call that brings more bytes lists their frames at once. A read that
 * does not return frames calls `rewind` first, which drops the index.
 *
 * The engine lists frames with a separator or a length. If the caller's own function measures the frames, it is called here, when a read
 * needs a frame and never when bytes arrive.
 */
import { Buffer, isAscii } from 'node:buffer';
import { INDEX_WORDS, POOLED_WORDS, type PooledRing } from '../buffer/pool.js';
import { FrameIndex, MAX_CAPACITY, type Listing } from '../buffer/ring.js';
import { CustomLengths, MeasuredFraming, type PreparedFraming } from '../buffer/framing.js';
import { malformation, type Lengths } from '../buffer/lengths.js';
import { Separator } from '../buffer/separator.js';
import { SLAB_BYTES, allocateResult, bufferView, shareMemory } from '../buffer/slab.js';
import { FrameError, IncompleteReadError, LimitOverrunError, StateError, count } from '../errors.js';
import { TextCut, lineTexts, pieceEnd } from './decoding.js';
import { Frames, type FrameOwner } from './frames.js';
import type { LineForm } from './lines.js';
import { ReceiveBuffer } from './receive-buffer.js';

/** The reads that return frames. Those that return lines skip a line over the limit; the others leave the frame in the buffer. */
export type FrameAction =
  | 'readline'
  | 'tryReadline'
  | 'lines'
  | 'readuntil'
  | 'tryReaduntil'
  | 'readframe'
  | 'tryReadframe'
  | 'readframes'
  | 'tryReadframes'
  | 'frames';

export const LF = Separator.from('\n', 'readline');

/** The most frames that are listed at once if they are returned one by one. */
const MOST_FRAMES = POOLED_WORDS - FrameIndex.ENDS;

const EMPTY = Buffer.alloc(0);
const NO_WORDS = new Uint32Array(0);

/** How many times its own length a frame may keep alive, if that is more than a slab. */
const KEPT_TIMES = 32;
/** Below this length, a slab has many frames already, and a larger cut gains nothing. */
const LARGE_CUT_FROM = 512;
/** The most bytes of a malformed frame that its error contains. */
const SHOWN_HEADER = 64;

/** Consecutive frames, copied out of the ring in one piece. */
class FrameCut {
  readonly memory: ArrayBufferLike;
  /** The number to add to a position to get the offset in the memory. */
  readonly shift: number;

  constructor(
    readonly bytes: Buffer,
    /** The position where it begins. */
    readonly start: number,
    /** The position where it ends. */
    readonly end: number,
  ) {
    // Kept because reading `buffer` of a view is a call into the runtime.
    this.memory = bytes.buffer;
    this.shift = bytes.byteOffset - start;
  }
}

const NO_CUT = new FrameCut(EMPTY, 0, 0);

export class FrameScanner implements FrameOwner {
  readonly buffer = new ReceiveBuffer();
  readonly #limit: number;

  /** The framing of the index; it stays when every listed frame was returned. */
  #framing: PreparedFraming | null = null;
  /** How many bytes at the start of each frame reads omit: see `MeasuredFraming.skip`. */
  #skip = 0;
  /** The words of the index, and where the listed ends that no read has returned are in them. */
  #words: Uint32Array = NO_WORDS;
  #next = 0;
  #stop = 0;
  /**
   * Where the next search continues, and what is known about the bytes there: for a separator the engine's PARTIAL, for frames that a
   * function measures the length of the frame, once the function has returned it.
   */
  #resume = 0;
  #partial = 0;
  /** Whether the search ended at a frame that it refuses, which is the next one. */
  #refused = false;
  /** The error with which a function that measures frames has refused the next one. */
  #refusal: { readonly error: unknown } | null = null;
  /** The read for which the caller's function is measuring frames right now. */
  #measuring: FrameAction | null = null;
  /** Whether a search would find nothing new, because all buffered bytes have been searched. */
  #exhausted = false;
  /** The most frames that the next search lists. It grows while only frames are read, so that mixed reads search little. */
  #batch = 1;
  /** Whether the last search was for all frames, however many. */
  #all = false;

  #cut = NO_CUT;
  /** The same for lines that are read as strings. */
  #text: TextCut | null = null;

  /** How many lines are still to be dropped up to their ends: two if bytes were put back before the first. */
  #skipping = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  // ---------------------------------------------------------------------------------------------- bytes arrive

  /** Whether the next bytes that arrive may be the rest of a line that is to be dropped. */
  get skips(): boolean {
    return this.#skipping > 0;
  }

  /** Whether a function of the caller's is measuring a frame right now. */
  get measures(): boolean {
    return this.#measuring !== null;
  }

  /** Has the next read search again: bytes may have come in while a frame was being measured. */
  searchAgain(): void {
    this.#exhausted = false;
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
    const listing = this.#listing(store);
    store.ring.append(chunk, listing);
    if (listing !== null) this.#listedIn(listing);
  }

  /** Buffers `count` bytes that were read into the target in the ring, and lists frames. */
  commit(count: number): void {
    const { buffer } = this;
    buffer.settle(true);
    const store = buffer.store as PooledRing;
    const listing = this.#listing(store);
    store.ring.commit(count, listing);
    buffer.dropTarget();
    if (listing !== null) this.#listedIn(listing);
  }

  // ---------------------------------------------------------------------------------------------- one by one

  /** Whether a frame is listed for this framing, without a search. Never while frames are lent. */
  has(framing: PreparedFraming): boolean {
    return this.#next < this.#stop && this.#framing === framing;
  }

  /** Whether the next frame is complete, after a search if necessary. Throws if it is over the limit or malformed. */
  find(framing: PreparedFraming, action: FrameAction): boolean {
    this.#all = false;
    if (this.#framing !== framing || (this.#next === this.#stop && !this.#exhausted)) this.#search(framing, action);
    if (this.#next < this.#stop) return true;
    this.#refuse(framing, action);
    return false;
  }

  /** Takes the next listed frame, without the bytes that its framing skips. */
  take(): Buffer {
    const start = this.buffer.position;
    const end = this.#words[this.#next] as number;
    let frame;
    if (this.#skip === 0) frame = end > this.#cut.end ? this.#cutFrame(start, end) : this.#fromCut(start, end);
    else frame = this.#takeSkipping(start, end, this.#framing as MeasuredFraming);
    this.#passed(end);
    return frame;
  }

  /**
   * The length of the next frame, which {@link find} has found incomplete, according to its header; 0 if the header is incomplete as
   * well.
   */
  announced(framing: MeasuredFraming): number {
    if (framing.lengths instanceof CustomLengths) return this.#partial;
    return Math.max(0, this.#measureNext(framing.lengths));
  }

  /** Remembers the length of the frame that begins at the oldest unread byte: a function of the caller's is not asked for it again. */
  recall(framing: MeasuredFraming, length: number): void {
    if (!(framing.lengths instanceof CustomLengths)) return;
    this.#restartFor(framing);
    this.#partial = length;
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

  /** Takes all complete frames and lends them in place; undefined if there are none. */
  lend(framing: PreparedFraming, action: FrameAction): Frames | undefined {
    const ends = this.#listAll(framing, action);
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

  unreadFrames(rest: Buffer, at: number): void {
    const { buffer } = this;
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

  /** Ends reading by frames, for a read that takes bytes regardless of frames. Returns how many bytes are buffered. */
  rewind(): number {
    const { buffer } = this;
    if (this.#framing !== null) {
      if (this.#measuring !== null) throw measuring(this.#measuring);
      this.#restart();
      this.#framing = null;
      this.#batch = 1;
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

  /** Drops the index, except its framing. */
  #restart(): void {
    this.buffer.restart();
    this.#next = this.#stop = this.#resume = this.#partial = 0;
    this.#exhausted = this.#refused = false;
    this.#refusal = null;
    this.#dropCuts();
  }

  #dropCuts(): void {
    this.#cut = NO_CUT;
    this.#text = null;
  }

  /** Begins an index at the next unread byte. Bytes that were searched for the same framing are not searched again. */
  #restartFor(framing: PreparedFraming): void {
    const same = this.#framing === framing;
    const resume = same ? this.#resume - this.buffer.position : 0;
    const partial = same ? this.#partial : 0;
    if (same) this.#batch = Math.min(this.#batch * 4, MOST_FRAMES);
    else if (this.#framing !== null) this.#batch = 1;
    this.#restart();
    if (!same) this.#skip = framing instanceof Separator ? 0 : framing.skip;
    this.#framing = framing;
    this.#resume = resume;
    this.#partial = partial;
  }

  /** Lists the frames that are complete, continuing where the last search for the same framing ended. */
  #search(framing: PreparedFraming, action: FrameAction): void {
    if (this.#measuring !== null) throw measuring(this.#measuring);
    this.#restartFor(framing);
    const { store } = this.buffer;
    if (store === null || store.ring.length === 0) {
      this.#exhausted = true;
      return;
    }
    this.#list(store, framing, action);
  }

  /** Continues the index in the words of `store`. */
  #list(store: PooledRing, framing: PreparedFraming, action: FrameAction): void {
    if (framing instanceof MeasuredFraming && framing.lengths instanceof CustomLengths) {
      const bytes = this.buffer.inOnePiece();
      const words = this.#openWords(this.buffer.store as PooledRing);
      const max = this.#mostListed(words);
      this.#measuring = action;
      try {
        this.#listMeasured(bytes, words, max, framing, framing.lengths, action);
      } finally {
        this.#measuring = null;
      }
      this.#listedIn({ words, max });
      return;
    }
    const listing = this.#listingOf(
      store,
      framing,
      framing instanceof Separator ? framing : (framing.lengths as Lengths),
    );
    store.ring.list(listing);
    this.#listedIn(listing);
  }

  /** What a call that brings bytes has to list in `store`, in which every returned byte is consumed; null: nothing. */
  #listing(store: PooledRing): Listing | null {
    const framing = this.#framing;
    const lister = framing instanceof MeasuredFraming ? framing.lengths : framing;
    // The words of lent frames are lent with them, and a listed frame must not be returned before the loan ends.
    if (lister === null || lister instanceof CustomLengths || this.#next < this.#stop || this.buffer.lends) {
      this.#exhausted = false;
      return null;
    }
    this.#restartFor(framing as PreparedFraming);
    return this.#listingOf(store, framing as PreparedFraming, lister);
  }

  /** The index in the words of `store`, to be continued. */
  #listingOf(store: PooledRing, framing: PreparedFraming, lister: Separator | Lengths): Listing {
    const words = this.#openWords(store);
    return { framing: lister, words, limit: this.#limitOf(framing), max: this.#mostListed(words) };
  }

  /** How many frames to list at most. */
  #mostListed(words: Uint32Array): number {
    const room = words.length - FrameIndex.ENDS;
    return this.#all ? room : Math.min(this.#batch, room);
  }

  /** The words of `store`, replaced by more of them if that is worth it, with the state of the listing so far. */
  #openWords(store: PooledRing): Uint32Array {
    let { words } = store;
    if (!this.#all && this.#batch > words.length && words.length < POOLED_WORDS) {
      // Only if the last search has filled the words: otherwise there would be nothing to list in more of them.
      if (words[FrameIndex.COUNT] === words.length - FrameIndex.ENDS) words = new Uint32Array(POOLED_WORDS);
    }
    store.words = words;
    words[FrameIndex.COUNT] = this.#stop - this.#next;
    words[FrameIndex.RESUME] = this.#resume;
    words[FrameIndex.PARTIAL] = this.#partial;
    return words;
  }

  /** The longest frame of this framing; for a separator, without it. No frame is longer than what can be buffered. */
  #limitOf(framing: PreparedFraming): number {
    const limit = framing instanceof Separator ? this.#limit : (framing.limit ?? this.#limit);
    return Math.min(limit, MAX_CAPACITY);
  }

  /** Updates the index after a listing. */
  #listedIn({ words, max }: Pick<Listing, 'words' | 'max'>): void {
    const found = words[FrameIndex.COUNT] as number;
    const refused = words[FrameIndex.REFUSED] !== 0;
    this.#words = words;
    this.#next = FrameIndex.ENDS;
    this.#stop = FrameIndex.ENDS + found;
    this.#resume = words[FrameIndex.RESUME] as number;
    this.#partial = words[FrameIndex.PARTIAL] as number;
    this.#refused = found === 0 && refused;
    this.#exhausted = found === 0 || (found < max && !refused);
  }

  /** Continues a listing by the caller's function, in the words that {@link #listedIn} then reads: at most `max` frames. */
  #listMeasured(
    bytes: Buffer,
    words: Uint32Array,
    max: number,
    framing: MeasuredFraming,
    lengths: CustomLengths,
    action: FrameAction,
  ): void {
    const limit = this.#limitOf(framing);
    const end = bytes.length;
    let found = words[FrameIndex.COUNT] as number;
    let start = this.#resume;
    let known = this.#partial;
    let refused = false;
    while (found < max && start < end) {
      let length;
      try {
        length = known === 0 ? measured(lengths, bytes, start, end, action) : known;
        if (length === 0 ? end - start > limit : length > limit) {
          throw overLimit(action, length === 0 ? end - start : length, limit, length === 0);
        }
      } catch (error) {
        // The frames before it are returned first; then it is measured again.
        if (found === 0) this.#refusal = { error };
        refused = true;
        known = 0;
        break;
      }
      known = length;
      if (length === 0 || length > end - start) break;
      known = 0;
      start += length;
      words[FrameIndex.ENDS + found++] = start;
    }
    words[FrameIndex.COUNT] = found;
    words[FrameIndex.RESUME] = start;
    words[FrameIndex.PARTIAL] = known;
    words[FrameIndex.REFUSED] = refused ? 1 : 0;
  }

  /**
   * Lists all complete frames, however many, and returns their ends in the words of the store; null if there are none. Afterwards the
   * index is empty, as if all of them had been taken.
   */
  #listAll(framing: PreparedFraming, action: FrameAction): Uint32Array | null {
    this.#all = true;
    // A listing for the same framing is continued, unless some of its frames were returned already.
    if (this.#next < this.#stop && (this.#framing !== framing || this.buffer.position > 0)) this.rewind();
    if (this.#framing !== framing || (this.#next === this.#stop && !this.#exhausted)) this.#search(framing, action);
    const { store } = this.buffer;
    if (store === null || this.#next === this.#stop) {
      this.#refuse(framing, action);
      return null;
    }
    while (!this.#exhausted && this.#words[FrameIndex.REFUSED] === 0) {
      if (this.#stop === store.words.length) {
        const more = new Uint32Array(2 * store.words.length);
        more.set(store.words);
        store.words = more;
      }
      this.#list(store, framing, action);
    }
    const ends = this.#words.subarray(FrameIndex.ENDS, this.#stop);
    this.#next = this.#stop;
    return ends;
  }

  // ---------------------------------------------------------------------------------------------- frames that are refused

  /** Throws if the next frame, whose end no search has found, is over the limit or malformed. */
  #refuse(framing: PreparedFraming, action: FrameAction): void {
    if (framing instanceof Separator) this.#refuseOverlong(framing, action);
    else if (this.#refusal !== null) throw this.#takeRefusal();
    else if (this.#refused) throw this.#refusedLength(framing, action);
  }

  /** The error with which the caller's function has refused the next frame. The next read measures the frame again. */
  #takeRefusal(): unknown {
    const { error } = this.#refusal as { readonly error: unknown };
    this.#refusal = null;
    this.#exhausted = false;
    return error;
  }

  /** Why the engine has refused the next frame. */
  #refusedLength(framing: MeasuredFraming, action: FrameAction): Error {
    const lengths = framing.lengths as Lengths;
    const length = this.#measureNext(lengths);
    if (length > 0) return overLimit(action, length, this.#limitOf(framing), false);
    const header = this.buffer.copy(Math.min(lengths.longestHeader, this.buffer.length));
    const size = lengths.headerLength(header, 0);
    const shown = header.subarray(0, Math.min(size, SHOWN_HEADER));
    return new FrameError(`${action}: the frame is malformed: ${malformation(lengths, header)}`, Buffer.from(shown));
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
    const skips = action === 'readline' || action === 'lines' || action === 'tryReadline';
    if (this.#refused) {
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
    // Without the last bytes, with which a separator may begin: asyncio counts this way.
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

  /** Copies the frame from `start` to `end` out of the ring, together with as many of the listed frames after it as fit into a cut. */
  #cutFrame(start: number, end: number): Buffer {
    const size = this.#cutEnd(start, end) - start;
    const memory = allocateResult(size);
    this.buffer.copyOut(memory, start, start + size);
    if (size === end - start) return memory;
    const { buffer, byteOffset } = memory;
    shareMemory(buffer);
    this.#cut = new FrameCut(memory, start, start + size);
    return bufferView(buffer, byteOffset, end - start);
  }

  /** Where the cut that begins with the frame from `start` to `end` ends, so that no frame in it keeps too much memory alive. */
  #cutEnd(start: number, end: number): number {
    const words = this.#words;
    const stop = this.#stop;
    let length = end - start;
    const last = words[stop - 1] as number;
    // The last frame that begins in the slab may not end in it. It is copied again later.
    if (length < LARGE_CUT_FROM) return Math.max(end, Math.min(start + SLAB_BYTES, last));
    let cut = end;
    for (let i = this.#next + 1; i < stop; i++) {
      const next = words[i] as number;
      length = Math.min(length, next - cut);
      if (next - start > Math.max(SLAB_BYTES, KEPT_TIMES * length)) break;
      cut = next;
    }
    return cut;
  }

  /** The frame from `start` to `end`, which was copied out together with an earlier one. */
  #fromCut(start: number, end: number): Buffer {
    try {
      return bufferView(this.#cut.memory, start + this.#cut.shift, end - start);
    } catch {
      // The owner of another frame has detached the memory that they share. The ring still has the bytes.
      return this.#cutFrame(start, end);
    }
  }

  /** The frame from `start` to `end` without the bytes that its framing skips. */
  #takeSkipping(start: number, end: number, framing: MeasuredFraming): Buffer {
    if (end > this.#cut.end || this.#cut.memory.byteLength === 0) {
      const frame = this.#cutFrame(start, end);
      return withoutStart(frame, framing.skipped(frame, 0));
    }
    const { bytes, memory, start: cutStart, shift } = this.#cut;
    const from = cutStart + framing.skipped(bytes, start - cutStart);
    const size = end - from;
    if (keepsTooMuch(size, bytes.length)) return withoutStart(bytes.subarray(0, end - cutStart), from - cutStart);
    return bufferView(memory, from + shift, size);
  }

  /** Decodes the next listed line, together with as many of the lines after it as fit into a piece. */
  #makeTextCut(start: number, encoding: LineForm['encoding']): TextCut {
    const piece = this.#piece(start, true);
    const ascii = isAscii(piece);
    this.#text = new TextCut(ascii ? piece : this.#piece(start, false), start, encoding, ascii);
    return this.#text;
  }

  /** The next listed lines, as many as fit into a piece. */
  #piece(start: number, ascii: boolean): Buffer {
    const words = this.#words;
    const end = words[pieceEnd(words, this.#next, this.#stop, start, ascii)] as number;
    return this.buffer.inPlace(start, end);
  }
}

/** Whether a result of `size` bytes in a copy of `copied` bytes would keep more alive than a result may. */
function keepsTooMuch(size: number, copied: number): boolean {
  return copied > SLAB_BYTES && copied > KEPT_TIMES * size;
}

/** A frame without its first `skipped` bytes: in its memory, or as a copy if little of a large frame is left. */
export function withoutStart(frame: Buffer, skipped: number): Buffer {
  const rest = frame.subarray(skipped);
  if (!keepsTooMuch(rest.length, frame.buffer.byteLength)) return rest;
  const copy = allocateResult(rest.length);
  copy.set(rest);
  return copy;
}

/** The length that the caller's function returns, checked. */
function measured(lengths: CustomLengths, bytes: Buffer, start: number, end: number, action: FrameAction): number {
  const length: unknown = lengths.measure(bytes, start, end);
  if (Number.isSafeInteger(length) && (length as number) >= 0) return length as number;
  const answer =
    typeof length === 'number' || length === undefined ? String(length) : `a value of type ${typeof length}`;
  throw new FrameError(
    `${action}: frameLength must return an integer of 0 or more, not ${answer}`,
    Buffer.from(bytes.subarray(start, Math.min(end, start + SHOWN_HEADER))),
  );
}

function overLimit(action: FrameAction, length: number, limit: number, unknown: boolean): LimitOverrunError {
  const what = unknown ? `has no length in ${count(length, 'byte')}, which is` : `of ${count(length, 'byte')} is`;
  return new LimitOverrunError(`${action}: the frame ${what} over the limit of ${limit}`, length);
}

function measuring(action: FrameAction): StateError {
  return new StateError(
    'ERR_CONCURRENT_READ',
    `frameLength: it cannot read from the stream that it measures a frame of (${action})`,
  );
}
