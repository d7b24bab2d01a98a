/**
 * The reading half of a stream, sans-IO: bytes come in by `feedData`, frames go out by promises.
 *
 * How it works. Unread bytes lie in a ring, which the reader owns only while it has something to keep: a drained reader
 * gives its ring back to a pool. `readline` and `readuntil` do not search frame by frame: one search lists many frame ends
 * (the index), and complete frames are copied out of the ring up to 8 KiB at a time (the cut), of which each frame is a view.
 * So a call that finds its frame listed and cut moves two numbers and makes a view.
 *
 * Positions. `base`, `position`, the index and the cut count in one coordinate, which starts anew with every search:
 * `base` is the ring's oldest byte, `position` the oldest byte that no read has taken. The ring learns of taken bytes late
 * (`settle`), because telling it for each frame would cost more than the frame.
 *
 * One read waits at a time. It is an `attempt` that is made again whenever bytes, EOF or an error come in, so that a result
 * depends on the bytes alone and never on how they were cut into chunks.
 */
import { Buffer, isAscii } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { refusedWait, type WaitOptions } from '../abort.js';
import { checkLimit, isBytes } from '../checks.js';
import { createRing } from '../buffer/engine.js';
import { INDEX_WORDS, POOLED_WORDS, openStore, recycle, type Store } from '../buffer/pool.js';
import { FrameIndex, MAX_CAPACITY, type Listing, type Ring } from '../buffer/ring.js';
import { Separator } from '../buffer/separator.js';
import { SLAB_BYTES, allocateResult, bufferView, shareMemory } from '../buffer/slab.js';
import {
  IncompleteReadError,
  LimitOverrunError,
  StateError,
  coded,
  count,
  invalidType,
  outOfRange,
  tooLarge,
} from '../errors.js';
import { Hold, type Keeper } from '../keeper.js';
import { Fill } from './fill.js';
import { Frames, lineTexts, pieceEnd } from './frames.js';
import { watch } from './idle.js';
import {
  DONE,
  Lines,
  Loop,
  TextCut,
  checkLineForm,
  type LineForm,
  type LinesOptions,
  type LineSource,
} from './lines.js';

/** What a bounded reader takes. */
export interface LimitOptions {
  /** The longest frame, without its separator, in bytes; also where back-pressure begins (above twice of it). */
  limit?: number | undefined;
}

/** What a reader asks of the source of its bytes. */
export interface Flow {
  pauseReading(): void;
  resumeReading(): void;
}

/** A read that waits. */
class PendingRead {
  resolve: (value: never) => void = nothing;
  reject: (reason: unknown) => void = nothing;
  /** Takes back what waits for the signal. */
  unwatch: (() => void) | null = null;

  /**
   * @param attempt - the result, or undefined to go on waiting; throws to fail the read. It is given the reader, so that it need
   * not be a function of its own for each read
   * @param fill - where the bytes of a read are gathered that do not pass through the ring
   */
  constructor(
    readonly action: string,
    readonly attempt: (reader: StreamReader) => unknown,
    readonly fill: Fill | null = null,
    /** The loop that has begun it, which may end it. */
    readonly loop: object | null = null,
  ) {}
}

function nothing(): undefined {
  return undefined;
}

/** The most frames that are listed at once where they are handed out one by one. */
const MOST_FRAMES = POOLED_WORDS - FrameIndex.ENDS;

/** From this capacity on it is worth asking whether a ring is needed. */
const SPACIOUS = 32768;

/** Where the ways of reading part, in bytes. Tests set them low, to get at every way with little data. */
export interface ReaderTuning {
  /** From this size on a read that waits is filled by the transport itself, past the ring. */
  readonly largeRead: number;
  /** A chunk of this size says that the source has more than fits the transport's own memory. */
  readonly fullChunk: number;
  /** What a stream whose source is busy has the transport read at once, into its own ring: room for so much is made. */
  readonly directRead: number;
  /** The same at most, where there is room and the stream is read as fast as the bytes come. */
  readonly directMost: number;
}

/** What one direct read brings at most. Twice as much makes short frames cheaper by a tenth, from 64 KiB on by a fifth. */
const DIRECT_BYTES = 262144;

const TUNING: ReaderTuning = Object.freeze({
  largeRead: 65536,
  fullChunk: 65536,
  directRead: 65536,
  directMost: DIRECT_BYTES,
});

const LF = Separator.from('\n', 'readline');
const EMPTY = Buffer.alloc(0);
const NO_WORDS = new Uint32Array(0);

/**
 * The reading half of a stream. It does no input of its own: feed it from anything, also without a socket.
 *
 * ```ts
 * const reader = new StreamReader({ limit: 1024 });
 * reader.feedData(Buffer.from('hello\nwor'));
 * reader.feedData(Buffer.from('ld\n'));
 * reader.feedEof();
 * for await (const line of reader) console.log(line.toString());
 * ```
 *
 * asyncio: `StreamReader`
 */
export class StreamReader implements LineSource {
  readonly #limit: number;
  readonly #tuning: ReaderTuning;
  /** What the transport reads at once at most, and a ring is made for: a small limit is meant to keep memory small. */
  readonly #directMost: number;
  #flow: Flow | null = null;
  #keeper: Keeper | null = null;
  #paused = false;

  #store: Store | null = null;
  #base = 0;
  #position = 0;

  /**
   * The index: which separator it is for, the words of its listed ends that are not taken yet, where to search on. The separator stays
   * when all is taken, so that what comes next is listed for it at once.
   */
  #separator: Separator | null = null;
  #words: Uint32Array = NO_WORDS;
  #next = 0;
  #stop = 0;
  #resume = 0;
  #partial = 0;
  #overlong = false;
  /** Whether a search from there would find nothing new: all that is buffered has been looked at. */
  #exhausted = false;
  /** How many frames the next search lists at most: grows while only frames are read, so that mixed reads search little. */
  #batch = 1;
  /** Whether all frames were wanted last, however many. */
  #all = false;

  /** The cut: its memory, what to add to a position to get the offset there, and the position where it ends. */
  #cut: ArrayBufferLike = EMPTY.buffer;
  #cutShift = 0;
  #cutEnd = 0;
  /** The same for lines that are read as strings. */
  #text: TextCut | null = null;

  /** Frames in memory of a ring: until the next read begins, nothing is written to that ring, nor moved in it. */
  #loan: Frames | null = null;
  #lent: Store | null = null;

  #pending: PendingRead | null = null;
  /** How many lines are still to be dropped up to their ends: two when bytes were put back in front of the first. */
  #skipping = 0;
  #eof = false;
  #exception: Error | null = null;
  #hasThrown = false;
  #bytesRead = 0;

  /** How much the transport may read into the ring at once; 0: the source is not busy, and what it brings is fed. */
  #ahead = 0;
  /** Memory that the transport holds to read into: of the ring, of a fill, or of what was one of them. */
  #target: Uint8Array | null = null;
  #targetRing: Ring | null = null;
  #targetFill: Fill | null = null;

  /**
   * @param options - `limit`: the longest frame without its separator, in bytes (default 65536)
   * @throws RangeError `ERR_OUT_OF_RANGE` when the limit is not a positive integer
   */
  constructor(options?: LimitOptions);
  /** @internal */
  constructor(options: LimitOptions, tuning: ReaderTuning);
  constructor(options: LimitOptions = {}, tuning: ReaderTuning = TUNING) {
    if (typeof options !== 'object' || (options as unknown) === null) {
      throw invalidType('StreamReader', 'options', 'an object', options);
    }
    this.#limit = checkLimit('StreamReader', options.limit);
    this.#tuning = tuning;
    this.#directMost = Math.min(tuning.directMost, Math.max(tuning.directRead, 4 * this.#limit));
  }

  /** The longest frame without its separator, in bytes. asyncio: the `limit` argument */
  get limit(): number {
    return this.#limit;
  }

  /** Bytes received and not read yet. */
  get buffered(): number {
    const fill = this.#pending?.fill?.filled ?? 0;
    return (this.#store === null ? 0 : this.#store.ring.length - (this.#position - this.#base)) + fill;
  }

  /** Bytes received so far, read or not. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Whether the stream has ended and every byte has been read. asyncio: `at_eof` */
  atEof(): boolean {
    return this.#eof && this.buffered === 0;
  }

  /** The error that ended the stream, or null. asyncio: `exception` */
  exception(): Error | null {
    return this.#exception;
  }

  /** @internal Whether a read has rejected with {@link exception}, so that the caller knows of it. */
  get hasThrown(): boolean {
    return this.#hasThrown;
  }

  // ---------------------------------------------------------------------------------------------- the feeding side

  /**
   * Appends a copy of `data`, a string as UTF-8, to the buffer and wakes the read that waits. asyncio: `feed_data`
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE` when data is neither a string nor a Uint8Array
   * @throws StateError `ERR_FEED_AFTER_EOF` after {@link feedEof}
   */
  feedData(data: Uint8Array | string): void {
    const bytes = asBytes('feedData', data);
    if (this.#eof)
      throw new StateError('ERR_FEED_AFTER_EOF', `feedData: ${count(bytes.length, 'byte')} after feedEof()`);
    if (bytes.length > 0 && !this.feed(bytes) && this.#flow !== null) this.#flow.pauseReading();
  }

  /** Says that no more data will come. Waiting reads end as documented for each. asyncio: `feed_eof` */
  feedEof(): void {
    if (this.#eof || this.#exception !== null) return;
    this.#eof = true;
    this.#wake();
  }

  /**
   * Ends the stream with an error: bytes received before it are still read first, and the first read that they cannot
   * satisfy rejects with it, as do all later ones. After {@link feedEof} it changes nothing but {@link exception}: the stream
   * had come to its end. asyncio: `set_exception` (where reads fail at once, whatever was received)
   */
  setException(error: Error): void {
    if (!(error instanceof Error)) throw invalidType('setException', 'error', 'an Error', error);
    if (this.#exception !== null) return;
    this.#exception = error;
    this.#wake();
  }

  /**
   * @internal Connects the source, which is paused above twice the limit and resumed at the limit, and the stream that this
   * is a half of, if any: it is held while a read waits.
   */
  attach(flow: Flow, keeper: Keeper | null = this.#keeper): void {
    this.#flow = flow;
    this.#keeper = keeper;
  }

  /**
   * Keeps every read from beginning, as a read that waits does, until {@link release}: the bytes change their meaning.
   *
   * @internal
   * @throws StateError `ERR_CONCURRENT_READ` when a read waits
   */
  hold(action: string): void {
    if (this.#pending !== null) throw concurrent(action, this.#pending.action);
    this.#endLoan();
    this.#pending = new PendingRead(action, nothing);
    this.#keeper?.hold(Hold.READ);
  }

  /** @internal Ends {@link hold}. */
  release(): void {
    this.#pending = null;
    this.#keeper?.release(Hold.READ);
    if (this.#flowing()) this.#resumeReading();
    else this.#flow?.pauseReading();
  }

  /** @internal Copies up to `n` buffered bytes, which stay where they are. */
  preview(n: number): Buffer {
    return this.#copy(Math.min(n, this.#rewind()));
  }

  /** @internal Takes all that is buffered, and the EOF, as if they had never been received. */
  withdraw(): Buffer {
    this.#skipping = 0;
    this.#eof = false;
    const bytes = this.#take(this.#rewind());
    this.#bytesRead -= bytes.length;
    return bytes;
  }

  /** @internal See `ReadingSink`. */
  get readsAhead(): boolean {
    return this.#ahead > 0;
  }

  /** @internal See `TransportSink.readTarget`. */
  readTarget(ahead = true): Uint8Array | null {
    const fill = this.#pending?.fill ?? null;
    const afterFill = this.#targetFill !== null;
    this.#targetRing = null;
    this.#targetFill = null;
    this.#target = null;
    if (this.#skipping > 0 || this.#eof || this.#exception !== null) return null;
    if (fill !== null) {
      if (fill.target.length - fill.filled < this.#tuning.largeRead / 2) return null;
      this.#targetFill = fill;
      this.#target = fill.target.subarray(fill.filled);
    } else if (ahead && this.#ahead > 0) {
      this.#leaveLoan();
      this.#settle(true);
      const { ring } = this.#open();
      const { directRead } = this.#tuning;
      // Behind a large read comes another one more often than not, and what the ring gets now is then copied once more.
      const most = afterFill ? directRead : this.#ahead;
      const region = ring.reserve(directRead);
      this.#targetRing = ring;
      this.#target = region.length > most ? region.subarray(0, most) : region;
    }
    return this.#target;
  }

  /** @internal See `TransportSink.commit`. */
  commit(count: number): boolean {
    const target = this.#target;
    if (target === null || count <= 0) return !this.#paused;
    const fill = this.#pending?.fill ?? null;
    if (fill !== null && fill === this.#targetFill) {
      this.#bytesRead += count;
      this.#ahead = count === target.length ? this.#tuning.directRead : 0;
      fill.filled += count;
      this.#target = fill.target.subarray(fill.filled);
    } else if (
      fill === null &&
      this.#skipping === 0 &&
      this.#targetRing !== null &&
      this.#targetRing === this.#store?.ring
    ) {
      this.#bytesRead += count;
      this.#ahead = this.#aheadOf(count);
      this.#settle(true);
      const listing = this.#listing(this.#store);
      this.#targetRing.commit(count, listing);
      if (listing !== null) this.#listedIn(listing);
      this.#targetRing = null;
      this.#target = null;
    } else {
      // What the memory was lent for is gone (a cancelled read, a ring that was replaced): the bytes still count.
      return this.feed(target.subarray(0, count));
    }
    this.#wake();
    return this.#flowing();
  }

  /** @internal See `TransportSink.feed`. */
  feed(chunk: Uint8Array): boolean {
    const size = chunk.length;
    this.#bytesRead += size;
    this.#ahead = size >= this.#tuning.fullChunk ? this.#tuning.directRead : 0;
    let rest = chunk;
    if (this.#skipping > 0) rest = this.#skipIn(rest);
    const pending = this.#pending;
    if (pending !== null && pending.fill !== null) rest = this.#fillFrom(pending, pending.fill, rest);
    if (rest.length > 0) {
      try {
        this.#leaveLoan();
        this.#releaseTarget();
        this.#settle(true);
        const store = this.#open();
        const listing = this.#listing(store);
        store.ring.append(rest, listing);
        if (listing !== null) this.#listedIn(listing);
      } catch (error) {
        // Memory has run out. These bytes are lost, so nothing that comes behind them may be read.
        this.setException(error as Error);
        return false;
      }
    }
    this.#wake();
    return this.#flowing();
  }

  /** How much to read behind a direct read of `count` bytes, which are not in the ring yet. */
  #aheadOf(count: number): number {
    const { directRead } = this.#tuning;
    // The source has calmed down.
    if (count < directRead / 2) return 0;
    // Much only for who has taken what came before: others would have so much more lying about.
    return this.buffered <= directRead ? this.#directMost : directRead;
  }

  // ---------------------------------------------------------------------------------------------- the reading side

  /**
   * Reads up to `n` bytes, as soon as there is at least one; with `n` of -1 (the default) everything up to EOF.
   *
   * Waits for the first byte (with -1: for EOF). Resolves with an empty buffer at EOF and for `read(0)`. Not bounded by the
   * limit. asyncio: `read`
   *
   * @throws RangeError `ERR_OUT_OF_RANGE` (as a rejection) when n is not an integer of -1 or more
   */
  read(n = -1, options?: WaitOptions): Promise<Buffer> {
    if (!Number.isSafeInteger(n) || n < -1) return Promise.reject(badCount('read', n, -1));
    if (n === 0) return this.#refusal('read', options) ?? Promise.resolve(EMPTY);
    if (n === -1) return this.#readAll(options);
    return this.#begin('read', options, () => {
      const buffered = this.#rewind();
      if (buffered > 0) return this.#take(Math.min(n, buffered));
      return this.#ended() ? EMPTY : undefined;
    });
  }

  /**
   * Reads one line with its `\n`; at EOF what is left, and an empty buffer when nothing is.
   *
   * Waits for the end of the line. A line longer than the limit rejects once with {@link LimitOverrunError} and is skipped
   * up to its end, also when that has not arrived yet; the next call gives the next line. asyncio: `readline`
   */
  readline(options?: WaitOptions): Promise<Buffer> {
    if (this.#next < this.#stop && this.#separator === LF && options === undefined && this.#pending === null) {
      return resolved(this.#nextFrame());
    }
    return this.#begin('readline', options, StreamReader.#line);
  }

  static #line(this: void, reader: StreamReader): Buffer | undefined {
    const line = reader.#frame(LF, 'readline');
    return line ?? (reader.#ended() ? reader.#take(reader.#rewind()) : undefined);
  }

  /**
   * Reads up to and including the separator: a string (as UTF-8), bytes, or a list of them, of which the match that ends
   * first wins.
   *
   * Waits for the separator. A frame over the limit rejects with {@link LimitOverrunError} and is left in the buffer; at EOF
   * the rest is consumed and becomes the `partial` of an {@link IncompleteReadError}. asyncio: `readuntil`
   *
   * @throws RangeError `ERR_SEPARATOR_EMPTY` (as a rejection) when a separator is empty or the list is
   */
  readuntil(
    separator: string | Uint8Array | readonly (string | Uint8Array)[] = '\n',
    options?: WaitOptions,
  ): Promise<Buffer> {
    let wanted: Separator;
    try {
      wanted = Separator.from(separator, 'readuntil');
    } catch (error) {
      return Promise.reject(error);
    }
    if (this.#next < this.#stop && this.#separator === wanted && options === undefined && this.#pending === null) {
      return resolved(this.#nextFrame());
    }
    return this.#begin('readuntil', options, () => {
      const frame = this.#frame(wanted, 'readuntil');
      if (frame === undefined && this.#ended()) throw new IncompleteReadError(this.#take(this.#rewind()), null);
      return frame;
    });
  }

  /**
   * Reads exactly `n` bytes. Not bounded by the limit; memory for all n bytes is taken when the call has to wait.
   *
   * Waits for n bytes. At EOF the rest is consumed and becomes the `partial` of an {@link IncompleteReadError}.
   * asyncio: `readexactly`
   *
   * @throws RangeError (as a rejection) `ERR_OUT_OF_RANGE` when n is not an integer of 0 or more; `ERR_BUFFER_TOO_LARGE` when
   * n bytes cannot be allocated: nothing is consumed
   */
  readexactly(n: number, options?: WaitOptions): Promise<Buffer> {
    if (!Number.isSafeInteger(n) || n < 0) return Promise.reject(badCount('readexactly', n, 0));
    if (n === 0) return this.#refusal('readexactly', options) ?? Promise.resolve(EMPTY);
    let fill: Fill | null = null;
    if (n >= this.#tuning.largeRead && n > this.buffered) {
      // Checked in front of the allocation, which a call that is refused should not make.
      const refusal = this.#refusal('readexactly', options);
      if (refusal !== null) return refusal;
      try {
        fill = Fill.of(n);
      } catch (error) {
        return Promise.reject(tooLarge(`readexactly(${n})`, n, error));
      }
    }
    return this.#begin(
      'readexactly',
      options,
      () => {
        if (fill !== null) {
          if (fill.filled === n) return fill.target;
          if (!this.#ended()) return undefined;
          const error = new IncompleteReadError(fill.compact(), n);
          // They leave with the error, and are not to be put back.
          fill.filled = 0;
          throw error;
        }
        const buffered = this.#rewind();
        if (buffered >= n) return this.#take(n);
        if (!this.#ended()) return undefined;
        throw new IncompleteReadError(this.#take(buffered), n);
      },
      fill,
    );
  }

  /**
   * Looks at the next `n` bytes without consuming them; fewer only at EOF. Not bounded by the limit.
   *
   * @throws RangeError (as a rejection) `ERR_OUT_OF_RANGE` when n is not an integer of 0 or more; `ERR_BUFFER_TOO_LARGE` when
   * n bytes cannot be buffered
   */
  peek(n: number, options?: WaitOptions): Promise<Buffer> {
    if (!Number.isSafeInteger(n) || n < 0) return Promise.reject(badCount('peek', n, 0));
    if (n === 0) return this.#refusal('peek', options) ?? Promise.resolve(EMPTY);
    if (n > MAX_CAPACITY) return Promise.reject(tooLarge(`peek(${n})`, n));
    return this.#begin('peek', options, () => {
      const buffered = this.buffered;
      if (buffered < n && !this.#ended()) return undefined;
      const size = Math.min(n, buffered);
      return size === 0 ? EMPTY : this.#copy(size);
    });
  }

  /**
   * Reads 1 to `buffer.length` bytes into the caller's memory, as soon as there is at least one, and resolves with their
   * number; 0 at EOF and for an empty buffer. The memory must not be touched while the call waits.
   *
   * @throws TypeError (as a rejection) `ERR_INVALID_ARG_VALUE` when the memory is detached while the call waits: nothing is consumed
   */
  readinto(buffer: Uint8Array, options?: WaitOptions): Promise<number> {
    if (!isBytes(buffer)) {
      return Promise.reject(invalidType('readinto', 'buffer', 'a Uint8Array', buffer));
    }
    if (buffer.length === 0) return this.#refusal<number>('readinto', options) ?? Promise.resolve(0);
    return this.#begin('readinto', options, () => {
      if (buffer.length === 0) throw detached();
      const size = Math.min(buffer.length, this.#rewind());
      if (size > 0) {
        const from = this.#position - this.#base;
        this.#store?.ring.copyTo(buffer, 0, from, from + size);
        this.#advance(size);
        return size;
      }
      return this.#ended() ? 0 : undefined;
    });
  }

  /**
   * Puts `data`, a string as UTF-8, back in front of the unread bytes, for a parser that has read too far. Works at EOF, too.
   *
   * @throws StateError `ERR_CONCURRENT_READ` while a read waits: its bytes would come out of order
   */
  unread(data: Uint8Array | string): void {
    const bytes = asBytes('unread', data);
    if (this.#pending !== null) throw concurrent('unread', this.#pending.action);
    if (bytes.length === 0) return;
    this.#leaveLoan();
    this.#rewind();
    this.#putBack(bytes);
    if (!this.#flowing() && this.#flow !== null) this.#flow.pauseReading();
  }

  /**
   * All complete frames that are buffered, in place: for parsing many of them without a promise, a copy or an object for each.
   *
   * Waits for at least one. At EOF, when nothing is left, there are none: `length` is 0. What is handed out is consumed, and lies in
   * the memory of the reader: it is valid until the next read begins, see {@link Frames}. Bytes that come in meanwhile do not
   * touch it.
   *
   * Good frames in front of one over the limit are handed out first; when that is the next one, the call rejects as
   * {@link readuntil} does, and so it does when the stream ends in the middle of a frame.
   *
   * ```ts
   * for (let frames; (frames = await reader.readframes()).length > 0; ) {
   *   for (const frame of frames) handle(frame);
   * }
   * ```
   *
   * @param separator - as for {@link readuntil}
   * @throws LimitOverrunError, IncompleteReadError, RangeError `ERR_SEPARATOR_EMPTY` (as a rejection)
   */
  readframes(
    separator: string | Uint8Array | readonly (string | Uint8Array)[] = '\n',
    options?: WaitOptions,
  ): Promise<Frames> {
    let wanted: Separator;
    try {
      wanted = Separator.from(separator, 'readframes');
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#begin('readframes', options, () => {
      const frames = this.#lend(wanted);
      if (frames !== undefined || !this.#ended()) return frames;
      const rest = this.#take(this.#rewind());
      if (rest.length > 0) throw new IncompleteReadError(rest, null, 'readframes');
      return (this.#loan = new Frames(wanted));
    });
  }

  /**
   * The lines of the stream as strings: one by one, or by `lines().batches()` many at once. See {@link Lines}.
   *
   * ```ts
   * for await (const line of reader.lines()) console.log(line);
   * for await (const batch of reader.lines({ encoding: 'latin1' }).batches()) count += batch.length;
   * ```
   *
   * @param options - `encoding`: `utf8` (default), `latin1` or `ascii`; `keepEnds`: whether the strings end as the lines do (default
   * false); `signal`: ends the wait for the next line
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for options that are none
   */
  lines(options?: LinesOptions): Lines {
    return new Lines(this, checkLineForm(options));
  }

  /** @internal See {@link Lines.next}. */
  nextLine(form: LineForm, loop: object): Promise<IteratorResult<string, undefined>> {
    if (this.#next < this.#stop && this.#separator === LF && form.signal === undefined && this.#pending === null) {
      return Promise.resolve({ done: false, value: this.#nextText(form) });
    }
    const attempt = (): IteratorResult<string, undefined> | undefined => {
      if (this.#listed(LF, 'lines')) return { done: false, value: this.#nextText(form) };
      if (!this.#ended()) return undefined;
      const rest = this.#take(this.#rewind());
      return rest.length === 0 ? DONE : { done: false, value: rest.toString(form.encoding) };
    };
    return this.#begin('lines', form, attempt, null, loop);
  }

  /** @internal See {@link Lines.batches}. */
  nextLines(form: LineForm, loop: object): Promise<IteratorResult<string[], undefined>> {
    const attempt = (): IteratorResult<string[], undefined> | undefined => {
      const lines = this.#allTexts(form);
      if (lines !== undefined) return { done: false, value: lines };
      if (!this.#ended()) return undefined;
      const rest = this.#take(this.#rewind());
      return rest.length === 0 ? DONE : { done: false, value: [rest.toString(form.encoding)] };
    };
    return this.#begin('lines', form, attempt, null, loop);
  }

  /**
   * Lines with their `\n`, as {@link readline} gives them, until EOF. Leaving the loop consumes nothing more, also while it waits for
   * a line, and a new loop goes on where the last one left. asyncio: `__aiter__`
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer, undefined> {
    // By hand, because an async generator costs three promises a line.
    return new Loop<Buffer>(
      (loop) => {
        if (this.#next < this.#stop && this.#separator === LF && this.#pending === null) {
          return Promise.resolve({ done: false, value: this.#nextFrame() });
        }
        return this.#begin('readline', undefined, StreamReader.#lineResult, null, loop);
      },
      (loop) => this.leave(loop),
    );
  }

  static #lineResult(this: void, reader: StreamReader): IteratorResult<Buffer, undefined> | undefined {
    const line = StreamReader.#line(reader);
    if (line === undefined) return undefined;
    return line.length === 0 ? DONE : { done: false, value: line };
  }

  /** @internal See {@link LineSource.leave}. */
  leave(loop: object): void {
    const pending = this.#pending;
    if (pending?.loop !== loop) return;
    this.#finish(pending);
    pending.resolve(DONE as never);
    this.#pauseIfFull();
  }

  /** @internal `StreamReader { buffered: 4, eof, limit: 123, waiting: 'readline' }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[StreamReader]';
    const parts = [`buffered: ${this.buffered}`];
    if (this.#eof) parts.push('eof');
    parts.push(`limit: ${this.#limit}`);
    if (this.#pending !== null) parts.push(`waiting: ${inspect(this.#pending.action, options)}`);
    if (this.#exception !== null) parts.push(`exception: ${inspect(this.#exception.message, options)}`);
    return `StreamReader { ${parts.join(', ')} }`;
  }

  // ---------------------------------------------------------------------------------------------- waiting

  #begin<T>(
    action: string,
    options: WaitOptions | undefined,
    attempt: (reader: StreamReader) => T | undefined,
    fill: Fill | null = null,
    loop: object | null = null,
  ): Promise<T> {
    const refusal = this.#refusal<T>(action, options);
    if (refusal !== null) return refusal;
    try {
      if (fill !== null) this.#moveInto(fill);
      const result = attempt(this);
      if (result !== undefined) return Promise.resolve(result);
    } catch (error) {
      if (fill !== null) this.#putBackFill(fill);
      return Promise.reject(error);
    }
    // While it waits, which may be long, it needs no ring unless there are bytes.
    this.#settle();
    const ring = this.#store?.ring;
    if (ring !== undefined && ring.capacity >= SPACIOUS && ring.length < ring.capacity / 8) watch(this);
    const pending = new PendingRead(action, attempt, fill, loop);
    const result = new Promise<T>((resolve, reject) => {
      pending.resolve = resolve;
      pending.reject = reject;
    });
    this.#pending = pending;
    this.#keeper?.hold(Hold.READ);
    if (options?.signal !== undefined) this.#watch(pending, options.signal);
    // A read that waits needs bytes whatever the limit says: readexactly(n) must not stall when n exceeds it.
    if (this.#paused) this.#resumeReading();
    return result;
  }

  /** @internal See `Spacious`. */
  shrink(): void {
    const store = this.#store;
    // While a read waits no frame is lent. Some may be listed: peek waits beside them.
    if (store === null || this.#pending === null || store.ring === this.#targetRing) return;
    this.#settle(true);
    store.ring.trim(0);
    if (this.#next === this.#stop && store.words.length > INDEX_WORDS) {
      this.#words = store.words = new Uint32Array(INDEX_WORDS);
    }
  }

  // Apart from #begin, whose variables every read that waits would keep otherwise.
  #watch(pending: PendingRead, signal: AbortSignal): void {
    const onAbort = (): void => {
      this.#cancel(pending, signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    pending.unwatch = () => {
      signal.removeEventListener('abort', onAbort);
    };
  }

  /** Why a read cannot even begin, or null. */
  #refusal<T = Buffer>(action: string, options: WaitOptions | undefined): Promise<T> | null {
    const refusal = refusedWait<T>(action, options);
    if (refusal !== null) return refusal;
    if (this.#pending !== null) return Promise.reject(concurrent(action, this.#pending.action));
    this.#endLoan();
    return null;
  }

  /** Makes the attempt of the waiting read again. */
  #wake(): void {
    const pending = this.#pending;
    if (pending === null) return;
    let result: unknown;
    try {
      result = pending.attempt(this);
    } catch (error) {
      this.#fail(pending, error);
      return;
    }
    if (result === undefined) return;
    this.#finish(pending);
    pending.resolve(result as never);
  }

  #cancel(pending: PendingRead, reason: unknown): void {
    this.#fail(pending, reason);
    this.#pauseIfFull();
  }

  /** A read has ended early, for the sake of which more was received than may be buffered. */
  #pauseIfFull(): void {
    if (!this.#flowing() && this.#flow !== null) this.#flow.pauseReading();
  }

  #fail(pending: PendingRead, reason: unknown): void {
    this.#finish(pending);
    if (pending.fill !== null) this.#putBackFill(pending.fill);
    pending.reject(reason);
  }

  #finish(pending: PendingRead): void {
    this.#pending = null;
    this.#keeper?.release(Hold.READ);
    pending.unwatch?.();
  }

  /** Whether no more bytes will come. Throws the error that ended the stream: every byte that could be used has been. */
  #ended(): boolean {
    if (this.#eof) return true;
    if (this.#exception === null) return false;
    this.#hasThrown = true;
    throw this.#exception;
  }

  // ---------------------------------------------------------------------------------------------- back-pressure

  /** Whether the source may go on; false from above twice the limit until {@link #resumeReading}. */
  #flowing(): boolean {
    // While a read waits, all that has come is too little for it.
    if (!this.#paused && this.#pending === null && this.buffered > 2 * this.#limit) this.#paused = true;
    return !this.#paused;
  }

  /** Bytes were taken: goes on reading where few enough are left. */
  #relieve(): void {
    if (this.buffered <= this.#limit) this.#resumeReading();
  }

  #resumeReading(): void {
    this.#paused = false;
    if (!this.#eof && this.#exception === null) this.#flow?.resumeReading();
  }

  // ---------------------------------------------------------------------------------------------- the ring

  #open(): Store {
    return (this.#store ??= openStore());
  }

  /** Tells the ring what has been taken; gives a drained ring back, unless it is `kept` for what comes next. */
  #settle(kept = false): void {
    const store = this.#store;
    if (store === null) return;
    const taken = this.#position - this.#base;
    if (taken > 0) {
      store.ring.consume(taken);
      this.#base = this.#position;
    }
    if (kept || store.ring.length > 0 || this.#targetRing === store.ring) return;
    this.#store = null;
    this.#forget();
    recycle(store);
  }

  /** Drops the index, but for the separator, and the cut. */
  #forget(): void {
    this.#next = this.#stop = this.#resume = this.#partial = 0;
    this.#exhausted = false;
    this.#cut = EMPTY.buffer;
    this.#cutEnd = 0;
    this.#text = null;
    this.#base = this.#position = 0;
    this.#overlong = false;
  }

  /** Leaves frame-wise reading, for a read that takes bytes at any place: returns how many bytes are buffered. */
  #rewind(): number {
    const store = this.#store;
    if (this.#separator !== null) {
      this.#settle(true);
      this.#forget();
      this.#separator = null;
      this.#batch = 1;
    }
    if (store === null) return 0;
    return store.ring.length - (this.#position - this.#base);
  }

  /** Takes `size` buffered bytes as a result. */
  #take(size: number): Buffer {
    if (size === 0) return EMPTY;
    const result = this.#copy(size);
    this.#advance(size);
    return result;
  }

  #copy(size: number): Buffer {
    let result: Buffer;
    try {
      result = allocateResult(size);
    } catch (error) {
      throw tooLarge('read', size, error);
    }
    const from = this.#position - this.#base;
    this.#store?.ring.copyTo(result, 0, from, from + size);
    return result;
  }

  #advance(size: number): void {
    this.#position += size;
    this.#settle();
    if (this.#paused) this.#relieve();
  }

  #putBack(data: Uint8Array): void {
    this.#releaseTarget();
    this.#settle(true);
    this.#open().ring.unread(data);
  }

  /**
   * Moves the bytes to another ring when the transport holds memory of this one: that memory lies in the free part, which
   * the ring is about to write to. The transport may still fill it; `commit` then copies from there.
   */
  #releaseTarget(): void {
    const store = this.#store;
    const lent = this.#targetRing;
    if (store === null || lent === null || lent !== store.ring) return;
    this.#settle(true);
    const { length } = lent;
    const fresh: Store = { ring: createRing(), words: store.words };
    if (length > 0) {
      lent.copyTo(fresh.ring.reserve(length), 0, 0, length);
      fresh.ring.commit(length);
    }
    this.#store = fresh;
    this.#targetRing = null;
  }

  // ---------------------------------------------------------------------------------------------- frames

  /** The next frame, or undefined when it is not complete. Throws when it is over the limit. */
  #frame(separator: Separator, action: 'readline' | 'readuntil'): Buffer | undefined {
    return this.#listed(separator, action) ? this.#nextFrame() : undefined;
  }

  /** Whether the index lists a frame, after a search if need be. Throws when the next frame is over the limit. */
  #listed(separator: Separator, action: FrameAction): boolean {
    this.#all = false;
    if (this.#separator !== separator || (this.#next === this.#stop && !this.#exhausted)) this.#search(separator);
    if (this.#next < this.#stop) return true;
    this.#refuseOverlong(separator, action);
    return false;
  }

  /** Throws when the next frame, of which a search has found no end, is over the limit. */
  #refuseOverlong(separator: Separator, action: FrameAction): void {
    const store = this.#store;
    if (store === null) return;
    const skips = action === 'readline' || action === 'lines';
    if (this.#overlong) {
      const body = this.#words[FrameIndex.OVERLONG_BODY] as number;
      const error = new LimitOverrunError(
        `${action}: the separator is found, but the frame of ${count(body, 'byte')} is over the limit of ${this.#limit}`,
        body,
      );
      if (skips) {
        this.#rewind();
        this.#advance(body + separator.longest);
      }
      throw error;
    }
    const buffered = store.ring.length - (this.#position - this.#base);
    // In front of the last bytes, which a separator can begin with: asyncio counts so.
    const searched = buffered - separator.longest + 1;
    if (searched > this.#limit) {
      const error = new LimitOverrunError(
        `${action}: the separator is not found in ${count(buffered, 'byte')}, which is over the limit of ${this.#limit}`,
        searched,
      );
      if (skips) {
        this.#rewind();
        this.#skipping++;
        this.#advance(buffered);
      }
      throw error;
    }
  }

  /** Lists the frames that are complete, going on where the last search for the same separator ended. */
  #search(separator: Separator): void {
    this.#settle(true);
    this.#restart(separator);
    const store = this.#store;
    if (store === null || store.ring.length === 0) {
      this.#exhausted = true;
      return;
    }
    const listing = this.#state(store, separator);
    store.ring.list(listing);
    this.#listedIn(listing);
  }

  /** What a call that brings bytes is to list in `store`, where all that was taken is consumed; null: nothing. */
  #listing(store: Store): Listing | null {
    // The words of lent frames are lent with them, and a listed frame must not be taken before the loan ends.
    if (this.#separator === null || this.#next < this.#stop || this.#loan !== null) {
      this.#exhausted = false;
      return null;
    }
    this.#restart(this.#separator);
    return this.#state(store, this.#separator);
  }

  /** Begins an index at the next byte that is not taken. What was searched for the same separator is not searched again. */
  #restart(separator: Separator): void {
    const same = this.#separator === separator;
    const resume = same ? this.#resume - this.#position : 0;
    const partial = same ? this.#partial : 0;
    if (same) this.#batch = Math.min(this.#batch * 4, MOST_FRAMES);
    else if (this.#separator !== null) this.#batch = 1;
    this.#forget();
    this.#separator = separator;
    this.#resume = resume;
    this.#partial = partial;
  }

  /** The index in the words of `store`, to go on with. */
  #state(store: Store, separator: Separator): Listing {
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
    return { separator, words, limit: Math.min(this.#limit, MAX_CAPACITY), max };
  }

  /** Takes over what was listed. */
  #listedIn({ words, max }: Listing): void {
    const found = words[FrameIndex.COUNT] as number;
    const overlong = words[FrameIndex.OVERLONG_BODY] !== 0;
    this.#words = words;
    this.#next = FrameIndex.ENDS;
    this.#stop = FrameIndex.ENDS + found;
    this.#resume = words[FrameIndex.RESUME] as number;
    this.#partial = words[FrameIndex.PARTIAL] as number;
    this.#overlong = found === 0 && overlong;
    this.#exhausted = found === 0 || (found < max && !overlong);
  }

  /** Takes the next listed frame. */
  #nextFrame(): Buffer {
    const start = this.#position;
    const end = this.#words[this.#next] as number;
    const frame = end > this.#cutEnd ? this.#cutFrame(start, end) : this.#fromCut(start, end);
    this.#next++;
    this.#passed(end);
    return frame;
  }

  /** The frame from `start` to `end`, which was copied out with one before it. */
  #fromCut(start: number, end: number): Buffer {
    try {
      return bufferView(this.#cut, start + this.#cutShift, end - start);
    } catch {
      // The owner of one of those has detached the memory that they share. The ring still has the bytes.
      return this.#cutFrame(start, end);
    }
  }

  /** Takes the next listed line as a string. */
  #nextText({ encoding, keepEnds }: LineForm): string {
    const start = this.#position;
    const end = this.#words[this.#next] as number;
    let text = this.#text;
    if (!text?.has(start, end, encoding)) text = this.#makeTextCut(start, encoding);
    const line = text.take(end, keepEnds);
    this.#next++;
    this.#passed(end);
    return line;
  }

  /** A listed frame that ends at `end` was taken. */
  #passed(end: number): void {
    this.#position = end;
    if (this.#next === this.#stop) this.#settle();
    if (this.#paused) this.#relieve();
  }

  /** Decodes the next listed line, and with it as many of those behind it as make a piece. */
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
    return this.#inPlace(start - this.#base, end - this.#base);
  }

  /** Buffered bytes, by their positions in the ring: where they lie if that is one place, otherwise as a copy. */
  #inPlace(from: number, to: number): Buffer {
    const { ring } = this.#store as Store;
    const view = ring.view(from, to);
    if (view !== null) return view;
    const copy = allocateResult(to - from);
    ring.copyTo(copy, 0, from, to);
    return copy;
  }

  /**
   * Lists all complete frames, however many: leaves the index empty, as if all of them had been taken, and returns their
   * number. Their ends are in the words of the store.
   */
  #listAll(separator: Separator, action: FrameAction): number {
    this.#all = true;
    // What is listed and not taken yet is gone on with, unless something before it was taken.
    if (this.#next < this.#stop && (this.#separator !== separator || this.#position > 0)) this.#rewind();
    if (this.#separator !== separator || (this.#next === this.#stop && !this.#exhausted)) this.#search(separator);
    const store = this.#store;
    if (store === null || this.#next === this.#stop) {
      this.#refuseOverlong(separator, action);
      return 0;
    }
    while (!this.#exhausted && this.#words[FrameIndex.OVERLONG_BODY] === 0) {
      if (this.#stop === store.words.length) {
        const more = new Uint32Array(2 * store.words.length);
        more.set(store.words);
        store.words = more;
      }
      const listing = this.#state(store, separator);
      store.ring.list(listing);
      this.#listedIn(listing);
    }
    const listed = this.#stop - this.#next;
    this.#next = this.#stop;
    return listed;
  }

  /** Hands all complete frames out in place; undefined when there is none. */
  #lend(separator: Separator): Frames | undefined {
    const listed = this.#listAll(separator, 'readframes');
    if (listed === 0) return undefined;
    const ends = this.#words.subarray(FrameIndex.ENDS, FrameIndex.ENDS + listed);
    const size = ends[listed - 1] as number;
    const frames = new Frames(separator, this.#inPlace(0, size), ends);
    this.#loan = frames;
    this.#lent = this.#store;
    this.#position = size;
    if (this.#paused) this.#relieve();
    return frames;
  }

  /** A read begins: what was lent is to be used no more, and its memory is free again. */
  #endLoan(): void {
    const loan = this.#loan;
    if (loan === null) return;
    const lent = this.#lent;
    loan.expire();
    this.#loan = this.#lent = null;
    // Left already, and perhaps still in the hands of the transport, which must be the only one to write to it then.
    if (lent !== null && lent !== this.#store && lent.ring !== this.#targetRing) {
      lent.ring.consume(lent.ring.length);
      recycle(lent);
    }
  }

  /** Bytes come in while frames are lent: goes on in another ring, with the bytes behind the frames. */
  #leaveLoan(): void {
    const lent = this.#lent;
    if (lent === null || lent !== this.#store) return;
    const from = this.#position - this.#base;
    const { ring } = lent;
    const { length } = ring;
    const resume = this.#resume - this.#position;
    const partial = this.#partial;
    const exhausted = this.#exhausted;
    this.#store = null;
    this.#forget();
    if (length === from) return;
    const fresh = this.#open();
    // At once large enough for a whole read: it is about to be read into.
    const size = this.#ahead > 0 ? Math.max(length - from, this.#directMost) : length - from;
    ring.copyTo(fresh.ring.reserve(size), 0, from, length);
    fresh.ring.commit(length - from);
    this.#words = fresh.words;
    this.#resume = resume;
    this.#partial = partial;
    this.#exhausted = exhausted;
  }

  /** All complete lines as strings; undefined when there is none. */
  #allTexts(form: LineForm): string[] | undefined {
    const listed = this.#listAll(LF, 'lines');
    if (listed === 0) return undefined;
    const ends = this.#words.subarray(FrameIndex.ENDS, FrameIndex.ENDS + listed);
    const size = ends[listed - 1] as number;
    const lines = lineTexts(this.#inPlace(0, size), ends, form);
    this.#advance(size);
    return lines;
  }

  /** Copies the frame from `start` to `end` out of the ring, and with it as many listed bytes behind it as fit a slab. */
  #cutFrame(start: number, end: number): Buffer {
    const listed = this.#words[this.#stop - 1] as number;
    const size = Math.max(end - start, Math.min(SLAB_BYTES, listed - start));
    const memory = allocateResult(size);
    const from = start - this.#base;
    this.#store?.ring.copyTo(memory, 0, from, from + size);
    if (size === end - start) return memory;
    this.#cut = memory.buffer;
    shareMemory(this.#cut);
    this.#cutShift = memory.byteOffset - start;
    this.#cutEnd = start + size;
    return bufferView(this.#cut, memory.byteOffset, end - start);
  }

  /** What is left of a chunk behind the ends of the lines that are being skipped. */
  #skipIn(chunk: Uint8Array): Uint8Array {
    let rest = chunk;
    while (this.#skipping > 0) {
      const end = rest.indexOf(0x0a);
      if (end === -1) return EMPTY;
      this.#skipping--;
      rest = rest.subarray(end + 1);
    }
    return rest;
  }

  // ---------------------------------------------------------------------------------------------- fills

  #readAll(options: WaitOptions | undefined): Promise<Buffer> {
    const refusal = this.#refusal('read', options);
    if (refusal !== null) return refusal;
    const fill = Fill.untilEof(this.#tuning.largeRead);
    return this.#begin(
      'read',
      options,
      () => {
        if (this.#ended()) return fill.compact();
        if (fill.filled === fill.target.length) fill.grow(fill.filled + 1);
        return undefined;
      },
      fill,
    );
  }

  /** Moves what is buffered into a fill that begins. */
  #moveInto(fill: Fill): void {
    const buffered = this.#rewind();
    if (buffered === 0) return;
    if (fill.growing) fill.grow(buffered);
    const size = Math.min(buffered, fill.target.length);
    const from = this.#position - this.#base;
    this.#store?.ring.copyTo(fill.target, 0, from, from + size);
    fill.filled = size;
    this.#position += size;
    this.#settle();
  }

  /** Copies what a fill takes of the chunk; returns what is left. */
  #fillFrom(pending: PendingRead, fill: Fill, chunk: Uint8Array): Uint8Array {
    if (fill.growing && fill.target.length - fill.filled < chunk.length) {
      try {
        fill.grow(fill.filled + chunk.length);
      } catch (error) {
        this.#fail(pending, error);
        return chunk;
      }
    }
    return fill.take(chunk);
  }

  /** Gives the bytes of a fill that failed back to the ring, unless they left with the error. */
  #putBackFill(fill: Fill): void {
    if (fill.filled === 0) return;
    const { target, filled } = fill;
    fill.filled = 0;
    try {
      this.#putBack(target.subarray(0, filled));
    } catch (failure) {
      this.setException(tooLarge('read', filled, failure));
    }
  }
}

/** The reads that go frame by frame: those of lines skip one over the limit, the others leave it. */
type FrameAction = 'readline' | 'lines' | 'readuntil' | 'readframes';

/**
 * A promise of bytes that are there, one at least. Whatever a promise is resolved with is searched for a `then`, a `Buffer` on all of
 * its four prototypes: a third of what it costs to await a short line. V8's compiler leaves the search out where it knows the class,
 * which a look at an element tells it: from Node 22 on, where it knows the classes of typed arrays.
 */
function resolved(bytes: Buffer): Promise<Buffer> {
  // eslint-disable-next-line @typescript-eslint/no-meaningless-void-operator -- the look is what it is for
  void bytes[0];
  return Promise.resolve(bytes);
}

function detached(): TypeError {
  const message = 'readinto: the memory of the buffer was taken away while the call waited; nothing is consumed';
  return coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
}

function concurrent(action: string, waiting: string): StateError {
  return new StateError('ERR_CONCURRENT_READ', `${action}: another read is waiting (${waiting})`);
}

/** Bytes as callers give them: a string stands for its UTF-8. */
function asBytes(action: string, data: unknown): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data);
  if (isBytes(data)) return data;
  throw invalidType(action, 'data', 'a string or a Uint8Array', data);
}

function badCount(action: string, n: unknown, least: number): Error {
  return typeof n === 'number'
    ? outOfRange(action, 'n', `an integer from ${least} to ${Number.MAX_SAFE_INTEGER}`, n)
    : invalidType(action, 'n', 'an integer', n);
}
