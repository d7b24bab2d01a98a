/**
 * The reading half of a stream, sans-IO: bytes come in by `feedData`, frames go out by promises.
 *
 * This file has the public calls, the read that waits, the end of the stream and its error, and back-pressure. The bytes are in a
 * `ReceiveBuffer`, which knows what is unread and where; a `FrameScanner` over it knows which frames are complete. Large reads go past
 * both into a `Fill`. A reader makes the first two when it first reads or receives something.
 *
 * One read waits at a time. It is an `attempt` that is made again whenever bytes, EOF or an error come in, so that a result
 * depends on the bytes alone and never on how they were cut into chunks.
 */
import { Buffer } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { refusedWait, type WaitOptions } from '../abort.js';
import { checkLimit, isBytes } from '../checks.js';
import { MAX_CAPACITY } from '../buffer/ring.js';
import { Separator } from '../buffer/separator.js';
import { IncompleteReadError, StateError, coded, count, invalidType, outOfRange, tooLarge } from '../errors.js';
import { Retain, type Keeper } from '../keeper.js';
import { Fill } from './fill.js';
import { FrameScanner, LF } from './frame-scanner.js';
import { Frames } from './frames.js';
import { watch } from './idle.js';
import { TUNING, type Flow, type ReaderIntake, type ReaderTuning } from './intake.js';
import { DONE, Lines, Loop, checkLineForm, type LineForm, type LinesOptions } from './lines.js';

/** What a bounded reader takes. */
export interface LimitOptions {
  /** The longest frame, without its separator, in bytes; also where back-pressure begins (above twice of it). */
  limit?: number | undefined;
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

const EMPTY = Buffer.alloc(0);

/** Returns the internal side of a reader: see `intake.ts`. @internal */
export let readerIntake: (reader: StreamReader) => ReaderIntake;

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
export class StreamReader {
  readonly #limit: number;
  #tuning = TUNING;
  /** Made for a stream, or when it is first needed. */
  #intake: ReaderIntake | null = null;
  #flow: Flow | null = null;
  #keeper: Keeper | null = null;
  #paused = false;

  /** The frames over the receive buffer; null until something is read or received, because most readers of a server are idle. */
  #scanner: FrameScanner | null = null;

  #pending: PendingRead | null = null;
  #eof = false;
  #exception: Error | null = null;
  #hasThrown = false;
  #bytesRead = 0;
  /** How much the transport may read into the ring at once; 0: the source is not busy, and what it brings is fed. */
  #ahead = 0;

  /**
   * @param options - `limit`: the longest frame without its separator, in bytes (default 65536)
   * @throws RangeError `ERR_OUT_OF_RANGE` when the limit is not a positive integer
   */
  constructor(options: LimitOptions = {}) {
    if (typeof options !== 'object' || (options as unknown) === null) {
      throw invalidType('StreamReader', 'options', 'an object', options);
    }
    this.#limit = checkLimit('StreamReader', options.limit);
  }

  /** The longest frame without its separator, in bytes. asyncio: the `limit` argument */
  get limit(): number {
    return this.#limit;
  }

  /** Bytes received and not read yet. */
  get buffered(): number {
    const fill = this.#pending?.fill?.filled ?? 0;
    return (this.#scanner === null ? 0 : this.#scanner.buffer.length) + fill;
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
    if (bytes.length > 0) this.#feed(bytes);
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

  // ---------------------------------------------------------------------------------------------- the internal side

  static {
    // A class, made once, so that calls through it cost no more than calls of the reader's own methods.
    class Intake implements ReaderIntake {
      readonly #reader: StreamReader;

      constructor(reader: StreamReader) {
        this.#reader = reader;
      }

      attach(flow: Flow, keeper?: Keeper): void {
        this.#reader.#attach(flow, keeper);
      }

      readTarget(ahead = true): Uint8Array | null {
        return this.#reader.#readTarget(ahead);
      }

      commit(count: number): boolean {
        return this.#reader.#commit(count);
      }

      feed(chunk: Uint8Array): boolean {
        return this.#reader.#feed(chunk);
      }

      get readsAhead(): boolean {
        return this.#reader.#ahead > 0;
      }

      get hasThrown(): boolean {
        return this.#reader.#hasThrown;
      }

      lockReads(action: string): void {
        this.#reader.#lockReads(action);
      }

      unlockReads(): void {
        this.#reader.#unlockReads();
      }

      preview(n: number): Buffer {
        return this.#reader.#preview(n);
      }

      withdraw(): Buffer {
        return this.#reader.#withdraw();
      }

      nextLine(form: LineForm, loop: object): Promise<IteratorResult<string, undefined>> {
        return this.#reader.#nextLine(form, loop);
      }

      nextLines(form: LineForm, loop: object): Promise<IteratorResult<string[], undefined>> {
        return this.#reader.#nextLines(form, loop);
      }

      leave(loop: object): void {
        this.#reader.#leave(loop);
      }

      get bytesRead(): number {
        return this.#reader.#bytesRead;
      }

      shrink(): void {
        this.#reader.#shrink();
      }

      tune(tuning: ReaderTuning): void {
        this.#reader.#tune(tuning);
      }
    }

    readerIntake = (reader) => (reader.#intake ??= new Intake(reader));
  }

  #attach(flow: Flow, keeper: Keeper | undefined): void {
    this.#flow = flow;
    if (keeper !== undefined) this.#keeper = keeper;
  }

  #tune(tuning: ReaderTuning): void {
    this.#tuning = tuning;
  }

  #lockReads(action: string): void {
    if (this.#pending !== null) throw concurrent(action, this.#pending.action);
    this.#scanner?.buffer.endLoan();
    this.#pending = new PendingRead(action, nothing);
    this.#keeper?.retain(Retain.READ);
  }

  #unlockReads(): void {
    this.#pending = null;
    this.#keeper?.release(Retain.READ);
    if (this.#flowing()) this.#resumeReading();
  }

  #preview(n: number): Buffer {
    const scanner = this.#receive();
    return scanner.buffer.copy(Math.min(n, scanner.rewind()));
  }

  #withdraw(): Buffer {
    this.#receive().stopSkipping();
    this.#eof = false;
    const bytes = this.#takeRest();
    if (this.#paused) this.#relieve();
    this.#bytesRead -= bytes.length;
    return bytes;
  }

  #readTarget(ahead: boolean): Uint8Array | null {
    const fill = this.#pending?.fill ?? null;
    const { buffer, skips } = this.#receive();
    const afterFill = buffer.targetsFill;
    buffer.dropTarget();
    if (skips || this.#eof || this.#exception !== null) return null;
    const { largeRead, directRead } = this.#tuning;
    if (fill !== null) {
      return fill.target.length - fill.filled < largeRead / 2 ? null : buffer.targetFill(fill);
    }
    if (!ahead || this.#ahead === 0) return null;
    // After a large read comes another one more often than not, and what the ring gets now is then copied once more.
    return buffer.targetRing(directRead, afterFill ? directRead : this.#ahead, this.#room());
  }

  #commit(count: number): boolean {
    const scanner = this.#receive();
    const { buffer } = scanner;
    const { target } = buffer;
    if (target === null || count <= 0) return !this.#paused;
    const fill = this.#pending?.fill ?? null;
    if (fill !== null && buffer.targets(fill)) {
      this.#bytesRead += count;
      this.#ahead = count === target.length ? this.#tuning.directRead : 0;
      fill.filled += count;
      buffer.targetFill(fill);
    } else if (fill === null && !scanner.skips && buffer.targets(buffer.store?.ring)) {
      this.#bytesRead += count;
      this.#ahead = this.#aheadOf(count);
      scanner.commit(count);
    } else {
      // What the memory was lent for is gone (a cancelled read, a ring that was replaced): the bytes still count.
      return this.#feed(target.subarray(0, count));
    }
    this.#wake();
    return this.#flowing();
  }

  #feed(chunk: Uint8Array): boolean {
    const size = chunk.length;
    this.#bytesRead += size;
    this.#ahead = size >= this.#tuning.fullChunk ? this.#tuning.directRead : 0;
    const scanner = this.#receive();
    let rest = scanner.skips ? scanner.skipIn(chunk) : chunk;
    const pending = this.#pending;
    if (pending !== null && pending.fill !== null) rest = this.#fillFrom(pending, pending.fill, rest);
    if (rest.length > 0) {
      try {
        scanner.append(rest, this.#room());
      } catch (error) {
        // Memory has run out. These bytes are lost, so nothing that comes after them may be read.
        this.setException(error as Error);
        return false;
      }
    }
    this.#wake();
    return this.#flowing();
  }

  /** How much to read after a direct read of `count` bytes, which are not in the ring yet. */
  #aheadOf(count: number): number {
    const { directRead } = this.#tuning;
    // The source has calmed down.
    if (count < directRead / 2) return 0;
    // Much only where what came before was taken: other readers would have so much more unread data.
    return this.buffered <= directRead ? this.#directMost() : directRead;
  }

  /** What the transport reads at once at most, and a ring is made for: a small limit is meant to keep memory small. */
  #directMost(): number {
    const { directMost, directRead } = this.#tuning;
    return Math.min(directMost, Math.max(directRead, 4 * this.#limit));
  }

  /** How large to make a ring that is made now: it is about to be read into. */
  #room(): number {
    return this.#ahead > 0 ? this.#directMost() : 0;
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
      const scanner = this.#receive();
      const buffered = scanner.rewind();
      if (buffered > 0) return scanner.buffer.take(Math.min(n, buffered));
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
    const scanner = this.#scanner;
    if (scanner?.has(LF) && options === undefined && this.#pending === null) return resolved(this.#taken(scanner));
    return this.#begin('readline', options, StreamReader.#line);
  }

  static #line(this: void, reader: StreamReader): Buffer | undefined {
    const scanner = reader.#receive();
    if (scanner.find(LF, 'readline')) return scanner.take();
    return reader.#ended() ? reader.#takeRest() : undefined;
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
    const scanner = this.#scanner;
    if (scanner?.has(wanted) && options === undefined && this.#pending === null) return resolved(this.#taken(scanner));
    return this.#begin('readuntil', options, () => {
      const frames = this.#receive();
      if (frames.find(wanted, 'readuntil')) return frames.take();
      if (this.#ended()) throw new IncompleteReadError(this.#takeRest(), null);
      return undefined;
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
    const scanner = this.#scanner;
    if (scanner !== null && options === undefined && this.#pending === null) {
      scanner.buffer.endLoan();
      if (scanner.rewind() >= n) return this.#takeExactly(scanner, n);
    }
    return this.#waitExactly(n, options);
  }

  #takeExactly(scanner: FrameScanner, n: number): Promise<Buffer> {
    try {
      const bytes = scanner.buffer.take(n);
      if (this.#paused) this.#relieve();
      return resolved(bytes);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  // Apart from readexactly, which would make what the attempt needs even when the bytes are there.
  #waitExactly(n: number, options: WaitOptions | undefined): Promise<Buffer> {
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
        const scanner = this.#receive();
        const buffered = scanner.rewind();
        if (buffered >= n) return scanner.buffer.take(n);
        if (!this.#ended()) return undefined;
        throw new IncompleteReadError(scanner.buffer.take(buffered), n);
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
      return size === 0 ? EMPTY : this.#receive().buffer.copy(size);
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
      const scanner = this.#receive();
      const size = Math.min(buffer.length, scanner.rewind());
      if (size > 0) {
        scanner.buffer.copyTo(buffer, size);
        scanner.buffer.advance(size);
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
    const scanner = this.#receive();
    scanner.buffer.leaveLoan(this.#room());
    scanner.rewind();
    scanner.buffer.putBack(bytes);
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
      const scanner = this.#receive();
      const frames = scanner.lend(wanted);
      if (frames !== undefined || !this.#ended()) return frames;
      const rest = this.#takeRest();
      if (rest.length > 0) throw new IncompleteReadError(rest, null, 'readframes');
      const none = new Frames(wanted);
      scanner.buffer.lend(none);
      return none;
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
    return new Lines(readerIntake(this), checkLineForm(options));
  }

  #nextLine(form: LineForm, loop: object): Promise<IteratorResult<string, undefined>> {
    const scanner = this.#scanner;
    if (scanner?.has(LF) && form.signal === undefined && this.#pending === null) {
      const line = scanner.takeText(form);
      if (this.#paused) this.#relieve();
      return Promise.resolve({ done: false, value: line });
    }
    const attempt = (): IteratorResult<string, undefined> | undefined => {
      const lines = this.#receive();
      if (lines.find(LF, 'lines')) return { done: false, value: lines.takeText(form) };
      if (!this.#ended()) return undefined;
      const rest = this.#takeRest();
      return rest.length === 0 ? DONE : { done: false, value: rest.toString(form.encoding) };
    };
    return this.#begin('lines', form, attempt, null, loop);
  }

  #nextLines(form: LineForm, loop: object): Promise<IteratorResult<string[], undefined>> {
    const attempt = (): IteratorResult<string[], undefined> | undefined => {
      const lines = this.#receive().takeTexts(form);
      if (lines !== undefined) return { done: false, value: lines };
      if (!this.#ended()) return undefined;
      const rest = this.#takeRest();
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
        const scanner = this.#scanner;
        if (scanner?.has(LF) && this.#pending === null) {
          return Promise.resolve({ done: false, value: this.#taken(scanner) });
        }
        return this.#begin('readline', undefined, StreamReader.#lineResult, null, loop);
      },
      (loop) => this.#leave(loop),
    );
  }

  static #lineResult(this: void, reader: StreamReader): IteratorResult<Buffer, undefined> | undefined {
    const line = StreamReader.#line(reader);
    if (line === undefined) return undefined;
    return line.length === 0 ? DONE : { done: false, value: line };
  }

  #leave(loop: object): void {
    const pending = this.#pending;
    if (pending?.loop !== loop) return;
    this.#finish(pending);
    pending.resolve(DONE as never);
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
      if (result !== undefined) {
        if (this.#paused) this.#relieve();
        return Promise.resolve(result);
      }
    } catch (error) {
      if (fill !== null) this.#putBackFill(fill);
      // An overlong line was dropped, or the rest left with the error.
      if (this.#paused) this.#relieve();
      return Promise.reject(error);
    }
    const buffer = this.#scanner?.buffer;
    // While it waits, which may be long, it needs no ring unless there are bytes.
    buffer?.settle();
    if (buffer?.isSpacious()) watch(readerIntake(this));
    const pending = new PendingRead(action, attempt, fill, loop);
    const result = new Promise<T>((resolve, reject) => {
      pending.resolve = resolve;
      pending.reject = reject;
    });
    this.#pending = pending;
    this.#keeper?.retain(Retain.READ);
    if (options?.signal !== undefined) this.#watch(pending, options.signal);
    // A read that waits needs bytes whatever the limit says: readexactly(n) must not stall when n exceeds it.
    if (this.#paused) this.#resumeReading();
    return result;
  }

  #shrink(): void {
    // While a read waits no frame is lent. Some may be listed: peek waits beside them.
    if (this.#pending !== null) this.#scanner?.shrink();
  }

  // Apart from #begin, whose variables every read that waits would keep otherwise.
  #watch(pending: PendingRead, signal: AbortSignal): void {
    const onAbort = (): void => {
      this.#fail(pending, signal.reason);
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
    this.#scanner?.buffer.endLoan();
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

  #fail(pending: PendingRead, reason: unknown): void {
    this.#finish(pending);
    if (pending.fill !== null) this.#putBackFill(pending.fill);
    pending.reject(reason);
  }

  #finish(pending: PendingRead): void {
    this.#pending = null;
    this.#keeper?.release(Retain.READ);
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

  // ---------------------------------------------------------------------------------------------- what is received

  #receive(): FrameScanner {
    return (this.#scanner ??= new FrameScanner(this.#limit));
  }

  /** Takes a listed frame, outside of {@link #begin}. */
  #taken(scanner: FrameScanner): Buffer {
    const frame = scanner.take();
    if (this.#paused) this.#relieve();
    return frame;
  }

  /** Takes all that is buffered. */
  #takeRest(): Buffer {
    const scanner = this.#receive();
    return scanner.buffer.take(scanner.rewind());
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
    const scanner = this.#receive();
    const buffered = scanner.rewind();
    if (buffered === 0) return;
    if (fill.growing) fill.grow(buffered);
    const size = Math.min(buffered, fill.target.length);
    scanner.buffer.copyTo(fill.target, size);
    fill.filled = size;
    scanner.buffer.advance(size);
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
      this.#receive().buffer.putBack(target.subarray(0, filled));
    } catch (failure) {
      this.setException(tooLarge('read', filled, failure));
    }
  }
}

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
