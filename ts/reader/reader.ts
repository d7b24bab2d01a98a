/**
 * The reading half of a stream, sans-IO: bytes enter through `feedData`, and reads return them through promises.
 *
 * This file has the public calls, the read that waits, and back-pressure. The bytes are in a `ReceiveBuffer`, which knows which bytes are
 * unread and where they are; a `FrameScanner` over it knows which frames are complete. Large reads bypass both and go into a `Fill`.
 * `ReadAhead` decides how much the transport reads at once, and `Ending` records how the stream has ended. A reader creates each of these
 * when it is first needed, because most connections of a server are idle. A read that is cancelled consumes nothing: the bytes in its
 * `Fill` go back to the ring (`#putBack`).
 *
 * One read waits at a time, as a `PendingRead`. It has an `attempt` that is repeated whenever bytes, EOF or an error arrive. Its result
 * therefore depends on the bytes alone and never on how they were split into chunks.
 */
import { Buffer } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { checkedWait, isPlain, refusedWait, timedOut, watchWait, type WaitOptions } from '../abort.js';
import { checkInteger, checkLimit, isBytes, isError, notAnInteger } from '../checks.js';
import { MeasuredFraming, prepareFraming, type Framing, type PreparedFraming } from '../buffer/framing.js';
import { MAX_CAPACITY } from '../buffer/ring.js';
import { Separator, type Separators } from '../buffer/separator.js';
import { allocateResult } from '../buffer/slab.js';
import { IncompleteReadError, StateError, coded, count, invalidType, tooLarge } from '../errors.js';
import { Retain, type ReadKeeper } from '../keeper.js';
import { Stopwatch } from '../stopwatch.js';
import { Ending } from './ending.js';
import { Fill } from './fill.js';
import { withoutStart } from './frame-cut.js';
import { FrameLoop, type FrameSource } from './frame-loop.js';
import { FrameScanner, LF } from './frame-scanner.js';
import type { Frames } from './frames.js';
import { watch } from './idle.js';
import { TUNING, type Flow, type ReaderIntake, type ReaderTuning } from './intake.js';
import { Lines, checkLineForm, type LineForm, type LinesOptions } from './lines.js';
import { DONE, Loop } from './loop.js';
import { Bypass, PendingRead } from './pending-read.js';
import { ReadAhead } from './read-ahead.js';
import { reportRefusal, type FrameAction } from './refusals.js';

/** Options of everything that has a limit on frames. */
export interface LimitOptions {
  /** The longest frame, not counting its separator, in bytes. Reading pauses when more than twice as many bytes are unread. */
  limit?: number | undefined;
}

const EMPTY = Buffer.alloc(0);

/** Up to this size, a loop that looks for line feeds takes less time than the call that adds a chunk to the ring and searches it. */
const SHORT_LINE = 128;

/** Returns the internal side of a reader: see `intake.ts`. @internal */
export let readerIntake: (reader: StreamReader) => ReaderIntake;

/**
 * The reading half of a stream. It does no input of its own: it can be fed from any source, even without a socket.
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
  /** Made for a stream, or when it is first needed. */
  #intake: ReaderIntake | null = null;
  #flow: Flow | null = null;
  #keeper: ReadKeeper | null = null;
  /** How long back-pressure has paused the source, which is paused while it is running; null until that happens for the first time. */
  #pauses: Stopwatch | null = null;

  /** Null until something arrives, because most connections of a server are idle. */
  #scanner: FrameScanner | null = null;
  /** Null until the source is busy for the first time. */
  #readAhead: ReadAhead | null = null;

  #pending: PendingRead<StreamReader> | null = null;
  /** Null while more bytes may arrive. */
  #ending: Ending | null = null;
  #bytesRead = 0;
  /** How many bytes the last `try` needed if it returned undefined, otherwise 0. Until they are buffered, reading does not pause. */
  #wanted = 0;
  /** How many unread bytes {@link #dropUnread} has dropped: a caller that has them as a window may still consume them. */
  #dropped = 0;

  /**
   * @param options - `limit`: the longest frame, not counting its separator, in bytes (default 65536)
   * @throws RangeError `ERR_OUT_OF_RANGE` if the limit is not a positive integer
   */
  constructor(options: LimitOptions = {}) {
    if (typeof options !== 'object' || (options as unknown) === null) {
      throw invalidType('StreamReader', 'options', 'an object', options);
    }
    this.#limit = checkLimit('StreamReader', options.limit);
  }

  /** The longest frame, not counting its separator, in bytes. asyncio: the `limit` argument */
  get limit(): number {
    return this.#limit;
  }

  /** The number of bytes received and not read yet. */
  get buffered(): number {
    const fill = this.#pending?.fill?.filled ?? 0;
    return (this.#scanner === null ? 0 : this.#scanner.buffer.length) + fill;
  }

  /** The number of bytes received so far, read or not. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  /** Whether the stream has ended and every byte has been read. asyncio: `at_eof` */
  atEof(): boolean {
    return this.#hasEof() && this.buffered === 0;
  }

  /** The error that ended the stream, or null. asyncio: `exception` */
  exception(): Error | null {
    return this.#ending === null ? null : this.#ending.error;
  }

  // ---------------------------------------------------------------------------------------------- the feeding side

  /**
   * Appends a copy of `data` (a string as UTF-8) to the unread bytes and wakes the waiting read. asyncio: `feed_data`
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE` if data is neither a string nor a Uint8Array
   * @throws StateError `ERR_FEED_AFTER_EOF` after {@link feedEof}
   */
  feedData(data: Uint8Array | string): void {
    const bytes = asBytes('feedData', data);
    if (this.#hasEof())
      throw new StateError('ERR_FEED_AFTER_EOF', `feedData: ${count(bytes.length, 'byte')} after feedEof()`);
    if (bytes.length > 0) this.#feed(bytes);
  }

  /** Reports that no more data will arrive. A waiting read ends as its method documents. asyncio: `feed_eof` */
  feedEof(): void {
    this.#pauses?.stop();
    if (this.#ending !== null) return;
    this.#ending = new Ending(true, null);
    this.#wake();
  }

  /**
   * Ends the stream with an error. Bytes received before it can still be read: the first read that they cannot satisfy rejects with
   * the error, as do all later ones. After {@link feedEof} only {@link exception} changes, because the stream had already ended.
   * Only the first error counts. asyncio: `set_exception` (where reads fail at once, even if they could be satisfied)
   *
   * @param error - may come from another realm (`node:vm`)
   * @throws TypeError `ERR_INVALID_ARG_TYPE` if it is not an error
   */
  setException(error: Error): void {
    if (!isError(error)) throw invalidType('setException', 'error', 'an Error', error);
    this.#pauses?.stop();
    if (this.#ending === null) this.#ending = new Ending(false, error);
    else if (this.#ending.error === null) this.#ending.error = error;
    else return;
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

      attach(flow: Flow, keeper?: ReadKeeper): void {
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
        const readAhead = this.#reader.#readAhead;
        return readAhead !== null && readAhead.bytes > 0;
      }

      get eof(): boolean {
        return this.#reader.#hasEof();
      }

      get hasThrown(): boolean {
        return this.#reader.#ending?.hasThrown === true;
      }

      get waiting(): boolean {
        const pending = this.#reader.#pending;
        // Otherwise reads may be locked.
        return pending !== null && !pending.isLock;
      }

      get waitsEmpty(): boolean {
        const reader = this.#reader;
        // After an overlong line, its end is still awaited.
        if (reader.#scanner?.skips === true) return false;
        return this.waiting && this.unfinished === -1 && !reader.#pending!.continues;
      }

      dropUnread(): void {
        this.#reader.#dropUnread();
      }

      get unfinished(): number {
        return this.#reader.#unfinished();
      }

      lockReads(action: string): void {
        this.#reader.#lockReads(action);
      }

      unlockReads(): void {
        this.#reader.#unlockReads();
      }

      handOut(): number {
        const readAhead = this.#reader.#readsAhead();
        readAhead.handsOut = true;
        return readAhead.most;
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

      get framesRead(): number {
        const scanner = this.#reader.#scanner;
        return scanner === null ? 0 : scanner.framesRead;
      }

      get timePaused(): number {
        const pauses = this.#reader.#pauses;
        return pauses === null ? 0 : pauses.total;
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

  #attach(flow: Flow, keeper: ReadKeeper | undefined): void {
    this.#flow = flow;
    if (keeper !== undefined) this.#keeper = keeper;
  }

  #tune(tuning: ReaderTuning): void {
    this.#readAhead = new ReadAhead(this.#limit, tuning);
  }

  #lockReads(action: string): void {
    if (this.#pending !== null) throw concurrent(action, this.#pending.action);
    this.#scanner?.buffer.endLoan();
    this.#pending = PendingRead.lock(action);
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
    const scanner = this.#receive();
    scanner.stopSkipping();
    this.#ending = this.#ending === null ? null : this.#ending.withoutEof();
    const bytes = scanner.buffer.copy(scanner.rewind());
    this.#leaveScanner();
    if (this.#isPaused()) this.#relieve();
    this.#bytesRead -= bytes.length;
    return bytes;
  }

  #dropUnread(): void {
    if (this.#measures(() => this.#dropUnread())) return;
    const fill = this.#pending?.fill ?? null;
    if (fill !== null) fill.filled = 0;
    this.#dropped += this.buffered;
    this.#leaveScanner();
  }

  /**
   * Drops what is unread. The ring is not emptied, because it would go back to the pool: the caller may still be using frames or a window in
   * it, or the socket may have memory of it for its next read.
   */
  #leaveScanner(): void {
    const frames = this.#scanner === null ? 0 : this.#scanner.framesRead;
    this.#scanner = null;
    if (frames > 0) this.#receive().framesPassed(frames);
  }

  #readTarget(ahead: boolean): Uint8Array | null {
    const fill = this.#pending?.fill ?? null;
    const { buffer, skips } = this.#receive();
    const afterFill = buffer.targetsFill;
    buffer.dropTarget();
    if (skips || this.#ending !== null) return null;
    const { largeRead, directRead } = this.#tuning();
    if (fill !== null) {
      return fill.target.length - fill.filled < largeRead / 2 ? null : buffer.targetFill(fill);
    }
    const readAhead = this.#readAhead;
    if (!ahead || readAhead === null || readAhead.bytes === 0) return null;
    if (readAhead.handsOut && buffer.length === 0) {
      try {
        return buffer.targetFill(Fill.of(readAhead.bytes));
      } catch {
        // Memory has run out. The shared block needs none.
        return null;
      }
    }
    // Another large read is likely to follow, and then bytes that the ring gets now have to be copied once more.
    return buffer.targetRing(directRead, afterFill ? directRead : readAhead.bytes, readAhead.room);
  }

  #commit(count: number): boolean {
    if (this.#hasEof()) {
      this.#bytesRead += count;
      return true;
    }
    const scanner = this.#receive();
    const { buffer } = scanner;
    const { target } = buffer;
    if (target === null || count <= 0) return !this.#isPaused();
    const fill = this.#pending?.fill ?? null;
    if (fill !== null && buffer.targets(fill)) {
      this.#bytesRead += count;
      this.#readsAhead().filled(count === target.length);
      fill.filled += count;
      buffer.targetFill(fill);
    } else if (fill === null && !scanner.skips && buffer.targets(buffer.store?.ring)) {
      this.#bytesRead += count;
      this.#readsAhead().stored(count, this.buffered);
      scanner.commit(count);
    } else if (buffer.targetsFill && this.#handOut(target, count)) {
      return this.#flowing();
    } else {
      // The read was cancelled, or the ring replaced, since the transport got this memory. The bytes still count.
      return this.#feed(target.subarray(0, count));
    }
    this.#wake();
    return this.#flowing();
  }

  /** Resolves the waiting read with memory that the transport has read into, without a copy; see `ReadAhead.handsOut`. */
  #handOut(target: Uint8Array, count: number): boolean {
    const pending = this.#pending;
    const most = pending?.bypass?.most ?? 0;
    const scanner = this.#receive();
    if (pending === null || count > most || !this.#readsAhead().handsOut) return false;
    if (scanner.skips || scanner.buffer.length > 0) return false;
    // The result would keep much more memory alive than it has bytes.
    if (count < target.length / 2) return false;
    this.#bytesRead += count;
    this.#readsAhead().stored(count, 0);
    scanner.buffer.dropTarget();
    this.#finish(pending);
    pending.resolve(pending.bypass!.deliver(Buffer.from(target.buffer, target.byteOffset, count)) as never);
    return true;
  }

  #feed(chunk: Uint8Array): boolean {
    const size = chunk.length;
    this.#bytesRead += size;
    // This side has ended reading. What the peer still sends is dropped, so that its end can arrive.
    if (this.#hasEof()) return true;
    if (this.#readAhead !== null) this.#readAhead.fed(size);
    else if (size >= TUNING.fullChunk) this.#readsAhead().fed(size);
    const scanner = this.#receive();
    let rest = scanner.skips ? scanner.skipIn(chunk) : chunk;
    const pending = this.#pending;
    if (pending !== null && pending.bypass !== null) {
      const { bypass } = pending;
      if (bypass.fill !== null) rest = this.#fillFrom(pending, bypass.fill, rest);
      else if (bypass.most > 0 && rest.length > 0 && scanner.buffer.length === 0) {
        rest = this.#deliver(pending, bypass, rest);
      }
    } else if (pending !== null && rest.length <= SHORT_LINE && scanner.buffer.length === 0) {
      rest = this.#deliverLine(pending, scanner, rest);
    }
    if (rest.length > 0) {
      try {
        scanner.append(rest, this.#room());
      } catch (error) {
        // Memory has run out. These bytes are lost, so the bytes that follow must not be read.
        this.setException(error as Error);
        return false;
      }
    }
    this.#wake();
    return this.#flowing();
  }

  /** Resolves a read that takes any bytes with those of a chunk, copied once; returns the rest of the chunk. */
  #deliver(pending: PendingRead<StreamReader>, { most, deliver }: Bypass, chunk: Uint8Array): Uint8Array {
    const size = Math.min(most, chunk.length);
    let bytes: Buffer;
    try {
      bytes = allocateResult(size);
    } catch {
      // The ring may still have room. If it does not, the error is reported there.
      return chunk;
    }
    bytes.set(size === chunk.length ? chunk : chunk.subarray(0, size));
    this.#finish(pending);
    pending.resolve(deliver(bytes) as never);
    return chunk.subarray(size);
  }

  /**
   * Resolves a read of one line with a chunk that is exactly one short line, as a request often is: copied once, without the ring and a search.
   * Returns the rest of the chunk: nothing, or all of it.
   */
  #deliverLine(pending: PendingRead<StreamReader>, scanner: FrameScanner, chunk: Uint8Array): Uint8Array {
    const iterates = pending.attempt === StreamReader.#lineResult;
    if (!iterates && pending.attempt !== StreamReader.#line) return chunk;
    const last = chunk.length - 1;
    if (chunk[last] !== 0x0a || last > this.#limit) return chunk;
    for (let i = 0; i < last; i++) if (chunk[i] === 0x0a) return chunk;
    let line: Buffer;
    try {
      line = allocateResult(chunk.length);
    } catch {
      return chunk;
    }
    line.set(chunk);
    scanner.framesPassed(1);
    this.#finish(pending);
    pending.resolve((iterates ? { done: false, value: line } : line) as never);
    return EMPTY;
  }

  // ---------------------------------------------------------------------------------------------- the reading side

  /**
   * Reads 1 to `n` bytes, or with -1 (the default) everything until EOF. Not bounded by the limit. Resolves with an empty buffer at EOF
   * and for `read(0)`. asyncio: `read`
   *
   * **Waits** until there is at least one byte; with -1, until EOF.
   *
   * **Errors** (all as rejections). RangeError `ERR_OUT_OF_RANGE` if n is not an integer of -1 or more; StateError
   * `ERR_CONCURRENT_READ` while another read waits. With -1, RangeError `ERR_BUFFER_TOO_LARGE` if the bytes cannot be held in memory.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed.
   */
  read(n = -1, options?: WaitOptions): Promise<Buffer> {
    if (!Number.isSafeInteger(n) || n < -1) return Promise.reject(notAnInteger('read', 'n', n, -1));
    if (n === 0) return this.#refusal('read', options) ?? Promise.resolve(EMPTY);
    if (n === -1) return this.#readAll(options);
    const scanner = this.#scanner;
    if (scanner !== null && this.#pending === null && isPlain(options)) {
      scanner.buffer.endLoan();
      try {
        const buffered = scanner.rewind();
        if (buffered > 0) return this.#takeExactly(scanner, Math.min(n, buffered));
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return this.#waitRead(n, options);
  }

  // Not part of read, which would then allocate the closure's context even if bytes are buffered.
  #waitRead(n: number, options: WaitOptions | undefined): Promise<Buffer> {
    return this.#begin('read', options, () => this.#some(this.#receive(), n), Bypass.ofChunk(n, asItIs));
  }

  /** The result of `read(n)`, or undefined to wait. */
  #some(scanner: FrameScanner, n: number): Buffer | undefined {
    const buffered = scanner.rewind();
    if (buffered > 0) return scanner.buffer.take(Math.min(n, buffered));
    return this.#ended() ? EMPTY : undefined;
  }

  /**
   * Reads one line with its `\n`. At EOF it resolves with the remaining bytes, or with an empty buffer if there are none.
   * asyncio: `readline`
   *
   * **Waits** for the end of the line.
   *
   * **Errors** (all as rejections). A line longer than the limit: {@link LimitOverrunError}, once; the whole line is skipped, including
   * any part that has not arrived yet, and the next call returns the next line. StateError `ERR_CONCURRENT_READ` while another read
   * waits.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed.
   */
  readline(options?: WaitOptions): Promise<Buffer> {
    const scanner = this.#scanner;
    if (scanner?.has(LF) && this.#pending === null && isPlain(options)) return resolved(this.#taken(scanner));
    return this.#begin('readline', options, StreamReader.#line);
  }

  static #line(this: void, reader: StreamReader): Buffer | undefined {
    return reader.#nextBufferedLine(reader.#receive(), 'readline');
  }

  #nextBufferedLine(scanner: FrameScanner, action: FrameAction): Buffer | undefined {
    if (scanner.find(LF, action)) return scanner.take();
    return this.#ended() ? this.#takeLastLine() : undefined;
  }

  /**
   * Reads up to and including the separator: a string (as UTF-8), bytes, or a list of these. Of several, the match that ends first
   * wins. asyncio: `readuntil`
   *
   * **Waits** for the separator.
   *
   * **Errors** (all as rejections). A frame over the limit: {@link LimitOverrunError}; the bytes stay unread. EOF before the separator:
   * {@link IncompleteReadError}; the remaining bytes are consumed and are its `partial`. RangeError `ERR_SEPARATOR_EMPTY` if a separator
   * or the list is empty; StateError `ERR_CONCURRENT_READ` while another read waits.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed.
   */
  readuntil(separator: Separators = '\n', options?: WaitOptions): Promise<Buffer> {
    let wanted: Separator;
    try {
      wanted = Separator.from(separator, 'readuntil');
    } catch (error) {
      return Promise.reject(error);
    }
    const scanner = this.#scanner;
    if (scanner !== null && this.#pending === null && isPlain(options)) {
      const frame = this.#found(scanner, wanted, 'readuntil');
      if (frame !== null) return frame;
    }
    return this.#waitUntil(wanted, options);
  }

  #waitUntil(wanted: Separator, options: WaitOptions | undefined): Promise<Buffer> {
    return this.#begin('readuntil', options, () => this.#until(this.#receive(), wanted, 'readuntil'));
  }

  /** The result of `readuntil`, or undefined to wait. */
  #until(scanner: FrameScanner, wanted: Separator, action: FrameAction): Buffer | undefined {
    if (scanner.find(wanted, action)) return scanner.take();
    if (this.#ended()) throw scanner.incomplete(wanted, action);
    return undefined;
  }

  /**
   * Reads exactly `n` bytes. Not bounded by the limit; a call that has to wait allocates memory for all n bytes.
   * asyncio: `readexactly`
   *
   * **Waits** for n bytes.
   *
   * **Errors** (all as rejections). EOF before n bytes: {@link IncompleteReadError}; the remaining bytes are consumed and are its
   * `partial`. RangeError `ERR_OUT_OF_RANGE` if n is not an integer of 0 or more, or `ERR_BUFFER_TOO_LARGE` if n bytes cannot be
   * allocated: nothing is consumed. StateError `ERR_CONCURRENT_READ` while another read waits.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed.
   */
  readexactly(n: number, options?: WaitOptions): Promise<Buffer> {
    if (!Number.isSafeInteger(n) || n < 0) return Promise.reject(notAnInteger('readexactly', 'n', n, 0));
    if (n === 0) return this.#refusal('readexactly', options) ?? Promise.resolve(EMPTY);
    const scanner = this.#scanner;
    if (scanner !== null && this.#pending === null && isPlain(options)) {
      scanner.buffer.endLoan();
      try {
        if (scanner.rewind() >= n) return this.#takeExactly(scanner, n);
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return this.#waitExactly(n, options);
  }

  /** The next frame if it is complete, or why it is refused; null while it is incomplete. */
  #found(scanner: FrameScanner, wanted: PreparedFraming, action: FrameAction): Promise<Buffer> | null {
    if (!scanner.has(wanted)) {
      scanner.buffer.endLoan();
      try {
        if (!scanner.find(wanted, action)) return null;
      } catch (error) {
        if (this.#isPaused()) this.#relieve();
        reportRefusal(error, this.#keeper);
        return Promise.reject(error);
      }
    }
    return resolved(this.#taken(scanner));
  }

  #takeExactly(scanner: FrameScanner, n: number): Promise<Buffer> {
    const bytes = scanner.buffer.take(n);
    if (this.#isPaused()) this.#relieve();
    return resolved(bytes);
  }

  // Not part of readexactly, as for read.
  #waitExactly(n: number, options: WaitOptions | undefined): Promise<Buffer> {
    if (n < this.#tuning().largeRead || n <= this.buffered) {
      return this.#begin('readexactly', options, () => this.#exactly(this.#receive(), n, `readexactly(${n})`));
    }
    // A call that is refused must not allocate first.
    const refusal = this.#refusal('readexactly', options);
    if (refusal !== null) return refusal;
    let fill: Fill;
    try {
      fill = Fill.of(n);
    } catch (error) {
      return Promise.reject(tooLarge(`readexactly(${n})`, n, error));
    }
    const filled = (): Buffer | undefined => this.#filled(fill, `readexactly(${n})`, '');
    return this.#begin('readexactly', options, filled, Bypass.into(fill));
  }

  /** The result of `readexactly`, or undefined to wait. */
  #exactly(scanner: FrameScanner, n: number, action: string): Buffer | undefined {
    const buffered = scanner.rewind();
    if (buffered >= n) return scanner.buffer.take(n);
    if (!this.#ended()) return undefined;
    throw new IncompleteReadError(scanner.buffer.take(buffered), n, action);
  }

  /** The bytes of a fill if it is complete, or undefined to wait. `missing` as in `IncompleteReadError`. */
  #filled(fill: Fill, action: string, missing: string): Buffer | undefined {
    const expected = fill.target.length;
    if (fill.filled === expected) return fill.target;
    if (!this.#ended()) return undefined;
    const error = new IncompleteReadError(fill.compact(), expected, action, missing);
    // The error contains them, so they must not be put back.
    fill.filled = 0;
    throw error;
  }

  /**
   * Returns a copy of the next `n` bytes without consuming them; fewer only at EOF. Not bounded by the limit.
   *
   * **Waits** for n bytes, or EOF.
   *
   * **Errors** (all as rejections). RangeError `ERR_OUT_OF_RANGE` if n is not an integer of 0 or more, or `ERR_BUFFER_TOO_LARGE` if n
   * bytes cannot be buffered; StateError `ERR_CONCURRENT_READ` while another read waits.
   *
   * **Cancellation.** `signal` ends the wait.
   */
  peek(n: number, options?: WaitOptions): Promise<Buffer> {
    if (!Number.isSafeInteger(n) || n < 0) return Promise.reject(notAnInteger('peek', 'n', n, 0));
    if (n === 0) return this.#refusal('peek', options) ?? Promise.resolve(EMPTY);
    if (n > MAX_CAPACITY) return Promise.reject(tooLarge(`peek(${n})`, n));
    const scanner = this.#scanner;
    if (scanner !== null && this.#pending === null && scanner.buffer.length >= n && isPlain(options)) {
      scanner.buffer.endLoan();
      try {
        return resolved(scanner.buffer.copy(n));
      } catch (error) {
        return Promise.reject(error);
      }
    }
    return this.#begin('peek', options, () => {
      const buffered = this.buffered;
      if (buffered < n && !this.#ended()) return undefined;
      const size = Math.min(n, buffered);
      return size === 0 ? EMPTY : this.#receive().buffer.copy(size);
    });
  }

  /**
   * Reads 1 to `buffer.length` bytes into the caller's memory and resolves with their number; 0 at EOF and for an empty buffer. The
   * caller must not use the memory while the call waits.
   *
   * **Waits** until there is at least one byte.
   *
   * **Errors** (all as rejections). TypeError `ERR_INVALID_ARG_VALUE` if the memory is detached while the call waits: nothing is
   * consumed. StateError `ERR_CONCURRENT_READ` while another read waits.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed, and the memory is not written to.
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
   * Puts a copy of `data` (a string as UTF-8) back before the unread bytes, for a parser that has read too far. Works at EOF as well.
   *
   * @throws StateError `ERR_CONCURRENT_READ` while a read waits, because it would get the bytes out of order
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
   * Reads all complete frames that have arrived, in place: for parsing many of them without a promise, a copy or an object for each.
   *
   * The frames are consumed but stay in the reader's memory. They are valid until the next read begins; bytes that arrive in the
   * meantime do not change them. See {@link Frames}. At EOF, if no bytes are left, `length` is 0.
   *
   * **Waits** for at least one frame, or EOF.
   *
   * **Errors** (all as rejections). As {@link readuntil}, if the next frame is over the limit or is cut short by EOF; good frames before
   * it are returned first.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed.
   *
   * ```ts
   * for (let frames; (frames = await reader.readframes()).length > 0; ) {
   *   for (const frame of frames) handle(frame);
   * }
   * ```
   *
   * @param framing - how the stream is divided into frames, see {@link Framing}. A framing is checked and prepared when it is first used:
   * later changes to the object have no effect
   * @throws (as a rejection) {@link LimitOverrunError}, {@link FrameError}, {@link IncompleteReadError}; TypeError or RangeError for an
   * invalid framing
   */
  readframes(framing: Framing = '\n', options?: WaitOptions): Promise<Frames> {
    let wanted: PreparedFraming;
    try {
      wanted = prepareFraming(framing, 'readframes');
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#begin('readframes', options, () => this.#all(this.#receive(), wanted, 'readframes'));
  }

  /** The result of `readframes`, or undefined to wait. */
  #all(scanner: FrameScanner, wanted: PreparedFraming, action: FrameAction): Frames | undefined {
    const frames = scanner.lend(wanted, action);
    if (frames !== undefined || !this.#ended()) return frames;
    if (this.buffered > 0) throw scanner.incomplete(wanted, action);
    return scanner.lendNone(wanted);
  }

  /**
   * Reads one frame, without the bytes that `skip` of its framing leaves out. Resolves with `null` at EOF.
   *
   * **Waits** for the end of the frame. A large frame is read directly into its result, once its length is known and within the limit.
   *
   * **Errors** (all as rejections). A frame over the limit: {@link LimitOverrunError}; the bytes stay unread, and {@link discard} can drop
   * them if the length of the frame is known. A malformed frame: {@link FrameError}; the bytes stay unread. EOF within a frame:
   * {@link IncompleteReadError}; the remaining bytes are consumed and are its `partial`. StateError `ERR_CONCURRENT_READ` while another
   * read waits.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed.
   *
   * ```ts
   * const framing = { length: 'uint32be', skip: 'header' } as const;
   * for (let message; (message = await reader.readframe(framing)) !== null; ) handle(message);
   * ```
   *
   * @param framing - as for {@link readframes}
   */
  readframe(framing: Framing = '\n', options?: WaitOptions): Promise<Buffer | null> {
    let wanted: PreparedFraming;
    try {
      wanted = prepareFraming(framing, 'readframe');
    } catch (error) {
      return Promise.reject(error);
    }
    const scanner = this.#scanner;
    if (scanner !== null && this.#pending === null && isPlain(options)) {
      const frame = this.#found(scanner, wanted, 'readframe');
      if (frame !== null) return frame;
    }
    return this.#waitFrame(wanted, 'readframe', options, asItIs, null);
  }

  // Not part of readframe, as for read.
  #waitFrame<T>(
    wanted: PreparedFraming,
    action: FrameAction,
    options: WaitOptions | undefined,
    result: (frame: Buffer | null) => T,
    loop: object | null,
  ): Promise<T> {
    const bypass = Bypass.ofFrame(wanted);
    const attempt = (): T | undefined => {
      if (bypass.fill === null) {
        const scanner = this.#receive();
        const frame = this.#frame(scanner, wanted, action);
        if (frame !== undefined) return result(frame);
        if (!(wanted instanceof Separator)) this.#gather(scanner, wanted, action, bypass);
        return undefined;
      }
      const frame = this.#filled(bypass.fill, action, `, of a frame of ${bypass.fill.target.length}`);
      if (frame === undefined) return undefined;
      this.#receive().framesPassed(1);
      return result(withoutStart(frame, (wanted as MeasuredFraming).skipped(frame, 0)));
    };
    return this.#begin(action, options, attempt, bypass, loop);
  }

  /** The result of `readframe`, or undefined to wait. */
  #frame(scanner: FrameScanner, wanted: PreparedFraming, action: FrameAction): Buffer | null | undefined {
    if (scanner.find(wanted, action)) return scanner.take();
    if (!this.#ended()) return undefined;
    if (this.buffered > 0) throw scanner.incomplete(wanted, action);
    return null;
  }

  /** Lets the rest of a frame be read directly into its result, if its length is known and large enough. */
  #gather(scanner: FrameScanner, wanted: MeasuredFraming, action: FrameAction, bypass: Bypass): void {
    const length = scanner.announced(wanted);
    if (length < this.#tuning().largeRead) return;
    let fill: Fill;
    try {
      fill = Fill.of(length);
    } catch (error) {
      throw tooLarge(action, length, error);
    }
    bypass.fill = fill;
    this.#moveInto(fill);
  }

  /**
   * Returns an iterator over the frames until EOF: one at a time, each as a `Buffer` that is yours to keep, as {@link readframe} returns
   * it; or with `frames().batches()` many at once and in place, as {@link readframes} returns them. See {@link FrameLoop}.
   *
   * ```ts
   * for await (const message of reader.frames({ length: 'uint32be', skip: 'header' })) handle(message);
   * ```
   *
   * @param framing - as for {@link readframes}
   * @param options - `signal`, `timeout`: end the wait for the next frame
   * @throws TypeError, RangeError for an invalid framing or option
   */
  frames(framing: Framing = '\n', options?: WaitOptions): FrameLoop {
    const wanted = prepareFraming(framing, 'frames');
    return new FrameLoop(this.#frameSource(wanted, checkedWait('frames', options)));
  }

  #frameSource(wanted: PreparedFraming, options: WaitOptions | undefined): FrameSource {
    return {
      nextFrame: (loop) => {
        const scanner = this.#scanner;
        if (scanner?.has(wanted) && options?.signal === undefined && this.#pending === null) {
          return Promise.resolve({ done: false, value: this.#taken(scanner) });
        }
        return this.#waitFrame(wanted, 'frames', options, asIteration, loop);
      },
      nextFrames: (loop) => {
        const attempt = (): IteratorResult<Frames, undefined> | undefined => {
          const frames = this.#all(this.#receive(), wanted, 'frames');
          if (frames === undefined) return undefined;
          return frames.length === 0 ? DONE : { done: false, value: frames };
        };
        return this.#begin('frames', options, attempt, null, loop);
      },
      leave: (loop) => this.#leave(loop),
    };
  }

  // ---------------------------------------------------------------------------------------------- reading without waiting

  /**
   * {@link read} without waiting: the bytes if there are any, an empty buffer at EOF, otherwise undefined. With -1 (the default)
   * undefined until EOF.
   *
   * All `try` methods throw the errors with which the waiting method rejects. If a `try` returns undefined, nothing is consumed, and lent
   * {@link Frames} stay valid.
   *
   * @throws StateError `ERR_CONCURRENT_READ` while a read waits
   */
  tryRead(n = -1): Buffer | undefined {
    checkInteger('tryRead', 'n', n, -1);
    return this.#try('tryRead', n === -1 ? Infinity : 1, (scanner) => {
      if (n === 0) return EMPTY;
      if (n > 0) return this.#some(scanner, n);
      return this.#ended() ? this.#takeRest() : undefined;
    });
  }

  /**
   * {@link readline} without waiting: the next line if it is complete, at EOF the remaining bytes, otherwise undefined. See {@link tryRead}.
   *
   * ```ts
   * const line = reader.tryReadline() ?? (await reader.readline());
   * ```
   */
  tryReadline(): Buffer | undefined {
    const scanner = this.#scanner;
    if (scanner?.has(LF) && this.#pending === null) return this.#taken(scanner);
    return this.#try('tryReadline', 1, (lines) => this.#nextBufferedLine(lines, 'tryReadline'));
  }

  /** {@link readuntil} without waiting: the frame if it is complete, otherwise undefined. See {@link tryRead}. */
  tryReaduntil(separator: Separators = '\n'): Buffer | undefined {
    const wanted = Separator.from(separator, 'tryReaduntil');
    const scanner = this.#scanner;
    if (scanner?.has(wanted) && this.#pending === null) return this.#taken(scanner);
    return this.#try('tryReaduntil', 1, (frames) => this.#until(frames, wanted, 'tryReaduntil'));
  }

  /** {@link readexactly} without waiting: `n` bytes if that many are buffered, otherwise undefined. See {@link tryRead}. */
  tryReadexactly(n: number): Buffer | undefined {
    checkInteger('tryReadexactly', 'n', n, 0);
    if (n > MAX_CAPACITY) throw tooLarge(`tryReadexactly(${n})`, n);
    return this.#try('tryReadexactly', n, (scanner) => {
      return n === 0 ? EMPTY : this.#exactly(scanner, n, `tryReadexactly(${n})`);
    });
  }

  /** {@link readframe} without waiting: the next frame if it is complete, `null` at EOF, otherwise undefined. See {@link tryRead}. */
  tryReadframe(framing: Framing = '\n'): Buffer | null | undefined {
    const wanted = prepareFraming(framing, 'tryReadframe');
    const scanner = this.#scanner;
    if (scanner?.has(wanted) && this.#pending === null) return this.#taken(scanner);
    return this.#try('tryReadframe', 1, (frames) => {
      const frame = this.#frame(frames, wanted, 'tryReadframe');
      if (frame === undefined) this.#wantFrame(frames, wanted);
      return frame;
    });
  }

  /** {@link readframes} without waiting: all complete frames, none at EOF, undefined if no frame is complete. See {@link tryRead}. */
  tryReadframes(framing: Framing = '\n'): Frames | undefined {
    const wanted = prepareFraming(framing, 'tryReadframes');
    const attempt = (frames: FrameScanner): Frames | undefined => {
      const all = this.#all(frames, wanted, 'tryReadframes');
      if (all === undefined) this.#wantFrame(frames, wanted);
      return all;
    };
    return this.#try('tryReadframes', 1, attempt, true);
  }

  /** Lets enough bytes arrive for the frame that a `try` has not found complete, whatever the limit. */
  #wantFrame(scanner: FrameScanner, wanted: PreparedFraming): void {
    if (wanted instanceof Separator) return;
    this.#wanted = Math.max(this.#wanted, scanner.announced(wanted));
  }

  /**
   * The result of a read that does not wait.
   *
   * @param wanted - how many bytes it needs at least: reading does not pause before they are buffered, whatever the limit
   * @param lends - whether the result is in memory of the reader, and the attempt ends earlier loans
   */
  #try<T>(
    action: string,
    wanted: number,
    attempt: (scanner: FrameScanner) => T | undefined,
    lends = false,
  ): T | undefined {
    if (this.#pending !== null) throw concurrent(action, this.#pending.action);
    const scanner = this.#receive();
    const { buffer } = scanner;
    // Lent frames stay valid until there is a result. So the bytes after them are searched in another ring.
    if (buffer.lends) buffer.leaveLoan(this.#room());
    this.#wanted = wanted;
    let result: T | undefined;
    try {
      result = attempt(scanner);
    } catch (error) {
      this.#wanted = 0;
      buffer.endLoan();
      if (this.#isPaused()) this.#relieve();
      reportRefusal(error, this.#keeper);
      throw error;
    }
    if (result === undefined) {
      buffer.settle();
      if (this.#isPaused()) this.#resumeReading();
      return undefined;
    }
    this.#wanted = 0;
    if (!lends) buffer.endLoan();
    if (this.#isPaused()) this.#relieve();
    return result;
  }

  // ---------------------------------------------------------------------------------------------- windows

  /**
   * Returns all buffered bytes, in place and in one piece, for parsers that find the frames themselves. {@link consume} takes the bytes
   * that were parsed. A parser that needs more bytes than it got passes that number as `atLeast`: the call resolves once, when they have
   * arrived.
   *
   * The `Buffer` is valid until the next read, window or {@link consume} on the stream. Later use is not detected.
   *
   * **Waits** for `atLeast` bytes, which the limit does not bound. There are fewer only at EOF, and none if everything has been read.
   *
   * **Cancellation.** `signal` ends the wait; nothing is consumed.
   *
   * ```ts
   * for (let need = 1; ; ) {
   *   const bytes = await reader.window(need);
   *   if (bytes.length < need) break; // EOF
   *   const [parsed, missing] = parse(bytes);
   *   reader.consume(parsed);
   *   need = bytes.length - parsed + missing;
   * }
   * ```
   *
   * tokio: `fill_buf`. .NET: `PipeReader.ReadAtLeastAsync`
   *
   * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` if atLeast is not an integer of 1 or more, or
   * `ERR_BUFFER_TOO_LARGE` if that many bytes cannot be buffered
   */
  window(atLeast = 1, options?: WaitOptions): Promise<Buffer> {
    if (atLeast === 1) return this.#begin('window', options, StreamReader.#anyShown);
    try {
      checkWindow('window', atLeast);
    } catch (error) {
      return Promise.reject(error);
    }
    return this.#waitWindow(atLeast, options);
  }

  static #anyShown(this: void, reader: StreamReader): Buffer | undefined {
    return reader.#shown(reader.#receive(), 1);
  }

  // Not part of window, as for read.
  #waitWindow(atLeast: number, options: WaitOptions | undefined): Promise<Buffer> {
    return this.#begin('window', options, () => this.#shown(this.#receive(), atLeast));
  }

  /** {@link window} without waiting: undefined if there are fewer than `atLeast` bytes. See {@link tryRead}. */
  tryWindow(atLeast = 1): Buffer | undefined {
    checkWindow('tryWindow', atLeast);
    return this.#try('tryWindow', atLeast, (scanner) => this.#shown(scanner, atLeast), true);
  }

  /** The result of `window`, or undefined to wait. */
  #shown(scanner: FrameScanner, atLeast: number): Buffer | undefined {
    if (scanner.rewind() < atLeast && !this.#ended()) return undefined;
    return scanner.buffer.show();
  }

  /**
   * Takes the next `n` buffered bytes, usually those of a {@link window} that were parsed. .NET: `PipeReader.AdvanceTo`
   *
   * @throws StateError `ERR_CONCURRENT_READ` while a read waits; TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` if n is not
   * an integer from 0 to {@link buffered}
   */
  consume(n: number): void {
    if (this.#pending !== null) throw concurrent('consume', this.#pending.action);
    const scanner = this.#receive();
    const { buffer } = scanner;
    checkInteger('consume', 'n', n, 0, buffer.length + this.#dropped);
    buffer.endLoan();
    buffer.advance(Math.min(n, scanner.rewind()));
    if (this.#isPaused()) this.#relieve();
  }

  // ---------------------------------------------------------------------------------------------- bodies

  /**
   * Iterates over the next `n` bytes as they arrive, in `Buffer`s that are yours to keep; without `n`, over everything until EOF. For bodies
   * that are too large to be held in memory. Leaving the loop early leaves the rest unread.
   *
   * **Errors** (as a rejection). EOF before `n` bytes: the {@link IncompleteReadError} of {@link readexactly}, with an empty `partial`,
   * because the loop has already received the bytes that arrived.
   *
   * ```ts
   * for await (const chunk of stream.chunks(contentLength)) await file.write(chunk);
   * ```
   *
   * @param options - `signal`, `timeout`: end the wait for the next chunk
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` if n is not an integer of 0 or more
   */
  chunks(n?: number, options?: WaitOptions): AsyncIterableIterator<Buffer, undefined> {
    if (n !== undefined) checkInteger('chunks', 'n', n, 0);
    const wait = checkedWait('chunks', options);
    let left = n ?? Infinity;
    const handOut = (chunk: Buffer): IteratorResult<Buffer, undefined> => {
      left -= chunk.length;
      return { done: false, value: chunk };
    };
    const attempt = (): IteratorResult<Buffer, undefined> | undefined => {
      const scanner = this.#receive();
      const buffered = scanner.rewind();
      if (buffered > 0) return handOut(scanner.buffer.take(Math.min(left, buffered)));
      if (!this.#ended()) return undefined;
      if (n === undefined) return DONE;
      throw tooShort(`chunks(${n})`, n, left);
    };
    return new Loop(
      (loop) => {
        if (left === 0) return this.#refusal('chunks', wait) ?? Promise.resolve(DONE);
        const bypass = Bypass.ofChunk(left, handOut, n !== undefined && left < n);
        return this.#begin('chunks', wait, attempt, bypass, loop);
      },
      (loop) => this.#leave(loop),
    );
  }

  /**
   * Drops exactly `n` bytes, as they arrive: a body that the caller does not need, or a frame over the limit.
   *
   * **Waits** for the last of them.
   *
   * **Errors** (as a rejection). EOF before `n` bytes: {@link IncompleteReadError} with an empty `partial`.
   *
   * **Cancellation.** `signal` ends the wait; the bytes that have arrived until then stay dropped.
   *
   * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` if n is not an integer of 0 or more
   */
  async discard(n: number, options?: WaitOptions): Promise<void> {
    checkInteger('discard', 'n', n, 0);
    if (n === 0) return this.#refusal<undefined>('discard', options) ?? undefined;
    let left = n;
    const attempt = (): true | undefined => {
      const scanner = this.#receive();
      const dropped = Math.min(left, scanner.rewind());
      scanner.buffer.advance(dropped);
      left -= dropped;
      if (left === 0) return true;
      if (this.#ended()) throw tooShort(`discard(${n})`, n, left);
      return undefined;
    };
    await this.#begin('discard', options, attempt);
  }

  // ---------------------------------------------------------------------------------------------- lines as strings

  /**
   * Returns an iterator over the lines as strings: one at a time, or with `lines().batches()` many at once. See {@link Lines}.
   *
   * ```ts
   * for await (const line of reader.lines()) console.log(line);
   * for await (const batch of reader.lines({ encoding: 'latin1' }).batches()) count += batch.length;
   * ```
   *
   * @param options - `encoding`: `utf8` (default), `latin1` or `ascii`; `keepEnds`: whether the strings keep their line ends (default
   * false); `signal`, `timeout`: end the wait for the next line
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for invalid options
   */
  lines(options?: LinesOptions): Lines {
    return new Lines(readerIntake(this), checkLineForm(options));
  }

  #nextLine(form: LineForm, loop: object): Promise<IteratorResult<string, undefined>> {
    const scanner = this.#scanner;
    if (scanner?.has(LF) && form.signal === undefined && this.#pending === null) {
      const line = scanner.takeText(form);
      if (this.#isPaused()) this.#relieve();
      return Promise.resolve({ done: false, value: line });
    }
    const attempt = (): IteratorResult<string, undefined> | undefined => {
      const lines = this.#receive();
      if (lines.find(LF, 'lines')) return { done: false, value: lines.takeText(form) };
      if (!this.#ended()) return undefined;
      const rest = this.#takeLastLine();
      return rest.length === 0 ? DONE : { done: false, value: rest.toString(form.encoding) };
    };
    return this.#begin('lines', form, attempt, null, loop);
  }

  #nextLines(form: LineForm, loop: object): Promise<IteratorResult<string[], undefined>> {
    const attempt = (): IteratorResult<string[], undefined> | undefined => {
      const lines = this.#receive().takeTexts(form);
      if (lines !== undefined) return { done: false, value: lines };
      if (!this.#ended()) return undefined;
      const rest = this.#takeLastLine();
      return rest.length === 0 ? DONE : { done: false, value: [rest.toString(form.encoding)] };
    };
    return this.#begin('lines', form, attempt, null, loop);
  }

  /**
   * Iterates over lines with their `\n`, as {@link readline} returns them, until EOF. Leaving the loop consumes nothing more, even while
   * it waits for a line, and a new loop continues after the last line. asyncio: `__aiter__`
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Buffer, undefined> {
    // Not an async generator, which would cost three promises for each line.
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
    if (pending?.loop !== loop || this.#measures(() => this.#leave(loop))) return;
    this.#finish(pending);
    if (pending.bypass !== null) this.#putBack(pending.bypass);
    pending.resolve(DONE as never);
  }

  /** @internal `StreamReader { buffered: 4, eof, limit: 123, waiting: 'readline' }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[StreamReader]';
    const parts = [`buffered: ${this.buffered}`];
    if (this.#hasEof()) parts.push('eof');
    parts.push(`limit: ${this.#limit}`);
    if (this.#pending !== null) parts.push(`waiting: ${inspect(this.#pending.action, options)}`);
    const exception = this.exception();
    if (exception !== null) parts.push(`exception: ${inspect(exception.message, options)}`);
    return `StreamReader { ${parts.join(', ')} }`;
  }

  // ---------------------------------------------------------------------------------------------- waiting

  /** Starts a read: it ends at once, or waits. See {@link PendingRead} for the parameters. */
  #begin<T>(
    action: string,
    options: WaitOptions | undefined,
    attempt: (reader: StreamReader) => T | undefined,
    bypass: Bypass | null = null,
    loop: object | null = null,
  ): Promise<T> {
    const refusal = this.#refusal<T>(action, options);
    if (refusal !== null) return refusal;
    const from = this.#bytesRead - this.buffered;
    try {
      if (bypass !== null && bypass.fill !== null) this.#moveInto(bypass.fill);
      const result = this.#isUntouched() ? undefined : attempt(this);
      if (result !== undefined) {
        if (this.#isPaused()) this.#relieve();
        return Promise.resolve(result);
      }
      // Polling with this must not come to a stop.
      if (options?.timeout === 0) {
        if (this.#isPaused()) this.#resumeReading();
        throw timedOut(action, 0);
      }
    } catch (error) {
      if (bypass !== null) this.#putBack(bypass);
      // An overlong line was dropped, or the error contains the remaining bytes.
      if (this.#isPaused()) this.#relieve();
      reportRefusal(error, this.#keeper);
      return Promise.reject(error);
    }
    const buffer = this.#scanner?.buffer;
    // The wait may be long, and without unread bytes it needs no ring.
    buffer?.settle();
    if (buffer?.isSpacious()) watch(readerIntake(this));
    const pending = new PendingRead<StreamReader>(action, attempt, bypass, loop, from);
    const result = pending.settled<T>();
    this.#pending = pending;
    this.#keeper?.retain(Retain.READ);
    if (options !== undefined) this.#watch(pending, options);
    // A waiting read needs bytes regardless of the limit: readexactly(n) must not stall if n exceeds it.
    if (this.#isPaused()) this.#resumeReading();
    return result;
  }

  /**
   * Whether nothing has been received, not even the end, so that every read has to wait. An attempt would create a scanner, which a
   * connection that never sends anything should not pay for.
   */
  #isUntouched(): boolean {
    return this.#scanner === null && this.#ending === null;
  }

  #shrink(): void {
    // While a read waits, no frame is lent. Some may be listed: a waiting peek leaves them.
    if (this.#pending !== null) this.#scanner?.shrink();
  }

  // Not part of #begin: otherwise every waiting read would keep its variables alive.
  #watch(pending: PendingRead<StreamReader>, options: WaitOptions): void {
    const { signal, timeout } = options;
    if (signal === undefined && timeout === undefined) return;
    // Only a `frameLength` can have aborted it since it was checked.
    if (signal?.aborted === true) queueMicrotask(() => this.#fail(pending, signal.reason));
    pending.unwatch = watchWait(pending.action, options, (reason) => this.#fail(pending, reason));
  }

  /** The rejection of a read that cannot start, or null. Ends the loan of frames if it can. */
  #refusal<T = Buffer>(action: string, options: WaitOptions | undefined): Promise<T> | null {
    const refusal = refusedWait<T>(action, options);
    if (refusal !== null) return refusal;
    if (this.#pending !== null) return Promise.reject(concurrent(action, this.#pending.action));
    this.#scanner?.buffer.endLoan();
    this.#wanted = 0;
    return null;
  }

  /** Repeats the attempt of the waiting read. */
  #wake(): void {
    const pending = this.#pending;
    if (pending === null) return;
    if (this.#scanner?.measures === true) {
      this.#wakeLater();
      return;
    }
    let result: unknown;
    try {
      result = pending.attempt(this);
    } catch (error) {
      this.#fail(pending, error);
      reportRefusal(error, this.#keeper);
      return;
    }
    if (result === undefined) return;
    this.#finish(pending);
    pending.resolve(result as never);
  }

  // Not part of #wake, which would then allocate the closure's context each time.
  #wakeLater(): void {
    this.#measures(() => {
      this.#receive().searchAgain();
      this.#wake();
    });
  }

  #fail(pending: PendingRead<StreamReader>, reason: unknown): void {
    if (pending !== this.#pending || this.#measures(() => this.#fail(pending, reason))) return;
    this.#finish(pending);
    if (pending.bypass !== null) this.#putBack(pending.bypass);
    pending.reject(reason);
  }

  /**
   * Whether a `frameLength` is measuring, which has fed or ended the stream, or ended the read that waits. The read has its result, or
   * goes on waiting, first: `later` is called after it.
   */
  #measures(later: () => void): boolean {
    if (this.#scanner?.measures !== true) return false;
    queueMicrotask(later);
    return true;
  }

  #finish(pending: PendingRead<StreamReader>): void {
    this.#pending = null;
    this.#keeper?.release(Retain.READ);
    pending.unwatch?.();
  }

  #unfinished(): number {
    const { buffered } = this;
    const pending = this.#pending;
    // The position of the first unread byte: a read that is repeated waits for the rest of the same bytes.
    if (buffered > 0) return this.#bytesRead - buffered;
    // A read that drops bytes as they arrive, or waits after a line that is being skipped.
    return pending !== null && this.#bytesRead > pending.from ? pending.from : -1;
  }

  /** Whether EOF has arrived. Throws the error that ended the stream: the caller has used every byte that it could. */
  #ended(): boolean {
    return this.#ending !== null && this.#ending.reached();
  }

  #hasEof(): boolean {
    return this.#ending !== null && this.#ending.eof;
  }

  // ---------------------------------------------------------------------------------------------- back-pressure

  /** Whether the source may continue: the result of `feed` and `commit`. It is false from above twice the limit until {@link #resumeReading}. */
  #flowing(): boolean {
    // While a read waits, or after a try that returned undefined, the bytes that have arrived are too few.
    if (!this.#isPaused() && this.#pending === null && this.buffered > Math.max(2 * this.#limit, this.#wanted)) {
      (this.#pauses ??= new Stopwatch()).start();
    }
    return !this.#isPaused();
  }

  // A method: see `#canRead` of the stream.
  #isPaused(): boolean {
    return this.#pauses !== null && this.#pauses.running;
  }

  /** After bytes were consumed: resumes the source if few enough are left. */
  #relieve(): void {
    if (this.buffered <= this.#limit) this.#resumeReading();
  }

  #resumeReading(): void {
    this.#pauses?.stop();
    if (this.#ending === null) this.#flow?.resumeReading();
  }

  // ---------------------------------------------------------------------------------------------- what is received

  #receive(): FrameScanner {
    return (this.#scanner ??= new FrameScanner(this.#limit));
  }

  #readsAhead(): ReadAhead {
    return (this.#readAhead ??= new ReadAhead(this.#limit));
  }

  #tuning(): ReaderTuning {
    return this.#readAhead === null ? TUNING : this.#readAhead.tuning;
  }

  /** The size of a ring that is created now, because the transport is about to read into it. */
  #room(): number {
    return this.#readAhead === null ? 0 : this.#readAhead.room;
  }

  /** Takes a listed frame on the fast path, without {@link #begin}. */
  #taken(scanner: FrameScanner): Buffer {
    const frame = scanner.take();
    if (this.#isPaused()) this.#relieve();
    return frame;
  }

  /** Takes all unread bytes. */
  #takeRest(): Buffer {
    const scanner = this.#receive();
    return scanner.buffer.take(scanner.rewind());
  }

  /** The same for reads of lines. */
  #takeLastLine(): Buffer {
    const rest = this.#takeRest();
    if (rest.length > 0) this.#receive().framesPassed(1);
    return rest;
  }

  // ---------------------------------------------------------------------------------------------- fills

  #readAll(options: WaitOptions | undefined): Promise<Buffer> {
    const refusal = this.#refusal('read', options);
    if (refusal !== null) return refusal;
    const fill = Fill.untilEof(this.#tuning().largeRead);
    const filled = (): Buffer | undefined => {
      if (this.#ended()) return fill.compact();
      if (fill.filled === fill.target.length) fill.grow(fill.filled + 1);
      return undefined;
    };
    return this.#begin('read', options, filled, Bypass.into(fill));
  }

  /** Moves the unread bytes into a new fill. */
  #moveInto(fill: Fill): void {
    const scanner = this.#scanner;
    if (scanner === null) return;
    const buffered = scanner.rewind();
    if (buffered === 0) return;
    if (fill.growing) fill.grow(buffered);
    const size = Math.min(buffered, fill.target.length);
    scanner.buffer.copyTo(fill.target, size);
    fill.filled = size;
    scanner.buffer.advance(size);
  }

  /** Copies as much of the chunk as the fill has room for; returns the remaining bytes. */
  #fillFrom(pending: PendingRead<StreamReader>, fill: Fill, chunk: Uint8Array): Uint8Array {
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

  /** Puts the bytes of a failed or cancelled fill back into the ring, unless the error contains them. */
  #putBack({ fill, framing }: Bypass): void {
    if (fill === null || fill.filled === 0) return;
    const { target, filled } = fill;
    fill.filled = 0;
    try {
      const scanner = this.#receive();
      scanner.buffer.putBack(target.subarray(0, filled));
      if (framing instanceof MeasuredFraming) scanner.recall(framing, target.length);
    } catch (failure) {
      this.setException(tooLarge('read', filled, failure));
    }
  }
}

function asItIs<T>(value: T): T {
  return value;
}

function asIteration(frame: Buffer | null): IteratorResult<Buffer, undefined> {
  return frame === null ? DONE : { done: false, value: frame };
}

function checkWindow(action: string, atLeast: number): void {
  checkInteger(action, 'atLeast', atLeast, 1);
  if (atLeast > MAX_CAPACITY) throw tooLarge(`${action}(${atLeast})`, atLeast);
}

/** The error if EOF arrives with `left` of `n` bytes missing, the others of which were consumed as they arrived. */
function tooShort(action: string, n: number, left: number): IncompleteReadError {
  return new IncompleteReadError(EMPTY, n, action, `, after ${count(n - left, 'byte')} of ${n}`);
}

/**
 * Returns a promise that is already resolved with `bytes`, which are not empty.
 *
 * Reading an element lets V8's compiler conclude that `bytes` is a typed array (from Node 22 on), and it can then skip the search for a `then`
 * on the four prototypes of a `Buffer`. That search is a third of the cost of awaiting a short line.
 */
function resolved(bytes: Buffer): Promise<Buffer> {
  // eslint-disable-next-line @typescript-eslint/no-meaningless-void-operator -- only the access matters
  void bytes[0];
  return Promise.resolve(bytes);
}

function detached(): TypeError {
  const message = 'readinto: the memory of the buffer was detached while the call waited; nothing was consumed';
  return coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
}

function concurrent(action: string, waiting: string): StateError {
  return new StateError('ERR_CONCURRENT_READ', `${action}: another read is waiting (${waiting})`);
}

/** The bytes of an argument; a string as UTF-8. */
function asBytes(action: string, data: unknown): Uint8Array {
  if (typeof data === 'string') return Buffer.from(data);
  if (isBytes(data)) return data;
  throw invalidType(action, 'data', 'a string or a Uint8Array', data);
}
