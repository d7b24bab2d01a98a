/**
 * The writing half of a stream: coalescing, watermarks, close.
 *
 * The path of a byte. `write` puts it into the queue: small pieces are copied, one after another, into a slab; large ones are kept by
 * reference. The queue goes to the transport as one batch: immediately for the first write of a turn, so that a single request is not
 * delayed; at the end of the turn for later writes, so that a hundred replies are one system call; and in between if the queue
 * reaches the high watermark. After a turn with several writes, another such turn is expected, whose first write waits for the others: sent
 * alone, it would take as long as all the others together. One batch is in flight at a time. The next one is sent when the kernel has
 * accepted it.
 *
 * Buffered bytes are those in the queue and those in flight. Above the high watermark the writer is *full*, until they are down to the
 * low one: `drain()` and the result of `write()` wait for that. A write that would make them more than the max aborts the connection.
 *
 * Life. Writes are accepted while the writer is open; the queue is sent while it is open or closing. When the connection ends, with an
 * error or without (`#loss`), each state has its successor:
 *
 *     open ---close()---> closing ---abort()---> aborted       abort() and an overflow also lead from open to aborted
 *       |                    |                      |
 *       v                    v                      v          the connection has ended
 *     lost                 closed                dropped
 */
import { Buffer } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { refusedWait, unlessEnded, type WaitOptions } from '../abort.js';
import type { Framing } from '../buffer/framing.js';
import { checkCloseTimeout, checkObject, checkWriteBuffer, isBytes } from '../checks.js';
import { limitChannel, publishLimit } from '../diagnostics.js';
import { ConnectionError, StateError, TimeoutError, invalidType } from '../errors.js';
import { Retain, type Keeper } from '../keeper.js';
import { Stopwatch } from '../stopwatch.js';
import { StreamMode, peerName, type Transport } from '../transports/transport.js';
import { Deferred, handled } from './deferred.js';
import { encodeFrame, type Payload } from './frame-encoder.js';
import {
  HIGH_WATERMARK,
  changedLimits,
  mostOf,
  overflow,
  sizeOf,
  withMax,
  type Limits,
  type WriteBufferLimits,
  type WriteBufferOptions,
} from './limits.js';
import { BlockedWrites, WriteSlot, type Reservation } from './reservation.js';
import { COPY_BYTES, WriteBatch } from './write-queue.js';

export type { WriteBufferLimits, WriteBufferOptions };

/** See the top of this file. */
type Life = 'open' | 'closing' | 'aborted' | 'lost' | 'closed' | 'dropped';

/** The end of the writing side: not requested, requested (sent once the queue is empty), sent. */
type End = 'open' | 'requested' | 'sent';

/** The successor of each state when the connection ends. */
const GONE: Readonly<Record<Life, Life>> = {
  open: 'lost',
  closing: 'closed',
  aborted: 'dropped',
  lost: 'lost',
  closed: 'closed',
  dropped: 'dropped',
};

/** How error messages describe the connection. */
const HOW: Readonly<Record<Life, string>> = {
  open: 'closing',
  closing: 'closing',
  aborted: 'aborted',
  lost: 'closed',
  closed: 'closed',
  dropped: 'aborted',
};

/**
 * If the kernel accepts everything at once, `for (;;) await stream.write(data)` never lets the event loop turn: no other connection is
 * served, and the loss of this one goes unnoticed. So each call deducts its bytes, plus a fixed cost, from an allowance. When it is used
 * up, the next wait takes one turn of the event loop.
 */
const TURN_ALLOWANCE = 1024 * 1024;
const CALL_COST = 256;

/** How many writes in a turn make the first write of the next turn wait for the end of that turn. */
const BURST_WRITES = 4;

/** The result of every call that does not have to wait. */
const RESOLVED: Promise<void> = Promise.resolve();

/** Ends the turn of writers for which it is already over. */
let endTurnsEarly: () => void;

/** Sends what writers have queued during the turn that has just ended. */
let endTurn: () => void;

/**
 * The internal side of a writer: what its stream, `sendfile` and `startTls` call. It has no state of its own; see
 * {@link writerOutlet}.
 *
 * @internal
 */
export interface WriterOutlet {
  /** Connects the stream that owns the writer: it knows the transport, and is retained while bytes are being sent or a call waits. */
  attach(keeper: Keeper): void;
  /** The writing half of `TransportSink.closed`. */
  connectionLost(error: Error | null): void;
  /** Whether the loss of the connection has made a call reject, other than `close` and `waitClosed`. */
  readonly hasThrown: boolean;
  /** Why the connection is lost, or null. After an overflow it is known before the transport reports it. */
  readonly loss: Error | null;
  /** See `StreamStats`. */
  readonly timeBlocked: number;
  /**
   * Reserves the next position in the order of writes, for bytes from another source: a file, a handshake. Everything written before
   * is sent first; everything written from now on waits until the reservation ends.
   *
   * @param action - the call that errors name
   */
  reserve(action: string): Reservation;
}

/** Returns the internal side of a writer. @internal */
export let writerOutlet: (writer: StreamWriter) => WriterOutlet;

/** Options of everything that is closed with a bound in time. */
export interface CloseOptions {
  /**
   * How long a peer may accept nothing while `close` flushes, in ms, counted from the last bytes that it accepted. After that the queue
   * is dropped, the connection is aborted, and `close` rejects with a `ConnectionError` `ETIMEDOUT`. A peer that reads slowly gets
   * everything, however long that takes. `Infinity`: no bound. Default 30000.
   *
   * A kernel reports progress in steps of up to a third of its send buffer. If the runtime does not report it at all (Windows, Bun, TLS
   * over a `Duplex`), only a complete batch of writes counts as progress: write large data in pieces there, or allow more time. If
   * `closeTimeout` ends a stream of a server, `onError` receives the error once, whether or not the handler has settled.
   */
  closeTimeout?: number | undefined;
}

/** A call that waits until the kernel has accepted the first `position` bytes of all that were ever written. */
interface Flush {
  /** The name of the method, for errors. */
  readonly action: string;
  readonly position: number;
  readonly deferred: Deferred;
}

/**
 * The writing half of a stream, usable alone over any transport.
 *
 * ```ts
 * writer.write('GET / HTTP/1.0\r\n');
 * writer.write('\r\n');
 * await writer.drain();
 * await writer.close();
 * ```
 *
 * asyncio: `StreamWriter`
 */
export class StreamWriter {
  /** The transport of a writer that is used alone; null: the stream knows it. */
  #transport: Transport | null;
  readonly #closeTimeout: number;
  #high = HIGH_WATERMARK;
  #low = HIGH_WATERMARK / 4;
  #max = Infinity;
  #bytesWritten = 0;
  #queued = 0;
  #inFlight = 0;
  /** How long the writer was full in all; it is full while it is running. Null until that happens for the first time. */
  #blocking: Stopwatch | null = null;
  /** How many writes this turn of the event loop has had. Later ones than the first are queued until it ends. */
  #turnWrites = 0;
  /** Whether the last turn with writes had so many that the first write of the next one is queued, too. */
  #bursts = false;
  /** The next of the writers that have written in this turn. */
  #nextInTurn: StreamWriter | null = null;
  /** The arrival of bytes after which a turn has ended early: see `#endTurnLater`. */
  #answered = 0;
  #allowance = TURN_ALLOWANCE;
  #turning = false;

  /** The queue, and the batch in flight. */
  #filling: WriteBatch | null = null;
  #flying: WriteBatch | null = null;

  #life: Life = 'open';
  /** The end of the writing side, and the promise that `writeEof` returns. */
  #end: End = 'open';
  #eofSent: Deferred | null = null;
  #loss: Error | null = null;
  #dropped = false;
  #hasThrown = false;

  /** The write slot at the head of the queue, if there is one, and what was written after it. */
  #blocked: BlockedWrites | null = null;
  /** Bytes that were sent in slots. */
  #slotBytes = 0;

  #drained: Deferred | null = null;
  #flushes: Flush[] | null = null;
  #closed: Deferred | null = null;

  /** The stream that this is a half of, and whether it is retained. */
  #keeper: Keeper | null = null;
  /** Created by the first write: an idle stream should not pay for it. */
  #onAccepted: (() => void) | null = null;
  #retained = false;

  /**
   * @param options - `closeTimeout`: how long a peer may accept nothing while {@link close} flushes, in ms, default 30000;
   * `maxWriteBuffer`: the initial `max` of {@link setWriteBufferLimits}, in bytes, default `Infinity`
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
   */
  constructor(transport: Transport, options: CloseOptions & WriteBufferOptions = {}) {
    checkObject('StreamWriter', 'options', options);
    this.#transport = transport;
    this.#closeTimeout = checkCloseTimeout('StreamWriter', options.closeTimeout);
    const max = checkWriteBuffer('StreamWriter', 'maxWriteBuffer', options.maxWriteBuffer);
    if (max !== Infinity) this.#limit(withMax({ high: this.#high, low: this.#low }, max));
  }

  /** The transport that carries the bytes. asyncio: `transport` */
  get transport(): Transport {
    return this.#transport ?? this.#keeper!.transport;
  }

  /** The number of bytes that `write` has accepted, sent or not, and that `sendfile` has sent. */
  get bytesWritten(): number {
    return this.#bytesWritten + this.#slotBytes + (this.#blocked?.bytes ?? 0);
  }

  /** The number of bytes written that the kernel has not accepted yet. asyncio: `transport.get_write_buffer_size()` */
  get writeBufferSize(): number {
    return this.#queued + this.#inFlight + (this.#blocked?.bytes ?? 0);
  }

  /** Whether `close` or `abort` was called, or the connection has ended. asyncio: `is_closing()` */
  isClosing(): boolean {
    return this.#life !== 'open' || this.transport.isClosing;
  }

  /**
   * Writes bytes, or a string as UTF-8. The first write of a turn of the event loop is sent at once; what the kernel does not accept,
   * and later writes of the same turn, are queued and sent together. After a turn with four writes or more, the first write of the next turn
   * is queued, too. {@link flush} sends what is queued without waiting for the end of the turn.
   *
   * Data of up to 4 KiB is copied. Larger data is sent from the caller's memory: do not change it until the result, or a `flush`, has
   * resolved. After an awaited `write` the memory can be reused.
   *
   * asyncio: `write()`, and `await writer.write()` of the generation with `Stream`
   *
   * **Waits**, if the result is awaited: not at all while no more than the high watermark is buffered, otherwise as {@link drain}; for
   * data of more than 4 KiB until the kernel has accepted it. This is back-pressure. The result need not be awaited, and its rejection
   * is never reported as unhandled.
   *
   * **Errors.** After `close` or `abort` the result rejects with a {@link ConnectionError} `ECONNRESET`, after the loss of the connection
   * with the code of the loss, and after `writeEof` with a {@link StateError} `ERR_WRITE_AFTER_EOF`. If the data would make the write
   * buffer exceed the `max` of {@link setWriteBufferLimits}, it rejects with a ConnectionError `ERR_WRITE_OVERFLOW`, and the connection is
   * aborted. Data that is neither a string nor a `Uint8Array` throws a TypeError `ERR_INVALID_ARG_TYPE`.
   */
  write(data: Uint8Array | string): Promise<void> {
    if (typeof data !== 'string' && !isBytes(data)) {
      throw invalidType('write', 'data', 'a string or Uint8Array', data);
    }
    if (this.#life !== 'open' || this.#end !== 'open') return this.#refused('write');
    if (this.#max !== Infinity && this.writeBufferSize + mostOf(data) > this.#max) {
      const size = sizeOf(data);
      if (this.#exceedsMax(size)) return this.#overflow('write', size);
    }
    this.#enqueue(data);
    return this.#written('write', isLent(data));
  }

  /**
   * Writes several pieces, in one system call if possible. If one of them has the wrong type, nothing is written. The result and the
   * errors are those of {@link write}. asyncio: `writelines()`
   */
  writelines(list: Iterable<Uint8Array | string>): Promise<void> {
    if (typeof (list as Partial<Iterable<unknown>> | null | undefined)?.[Symbol.iterator] !== 'function') {
      throw invalidType('writelines', 'list', 'an iterable of strings or Uint8Arrays', list);
    }
    if (typeof list === 'string' || isBytes(list)) return this.write(list);
    const pieces = [...list];
    for (const [i, piece] of pieces.entries()) {
      if (typeof piece !== 'string' && !isBytes(piece)) {
        throw invalidType('writelines', `list[${i}]`, 'a string or Uint8Array', piece);
      }
    }
    return this.#writeAll('writelines', pieces);
  }

  /** Writes several pieces in one batch. */
  #writeAll(action: string, pieces: readonly (Uint8Array | string)[]): Promise<void> {
    if (this.#life !== 'open' || this.#end !== 'open') return this.#refused(action);
    if (this.#max !== Infinity) {
      const size = pieces.reduce((sum, piece) => sum + sizeOf(piece), 0);
      if (this.#exceedsMax(size)) return this.#overflow(action, size);
    }
    for (const piece of pieces) this.#enqueue(piece);
    return this.#written(action, pieces.some(isLent));
  }

  /**
   * Data was queued: sends it, if it is time to, and returns the result of the call.
   *
   * @param lent - whether some of it is in the caller's memory, which is needed until the kernel has accepted it
   */
  #written(action: string, lent: boolean): Promise<void> {
    this.#moved(this.#turnWrites === 0 && (!this.#bursts || lent));
    if (lent && this.writeBufferSize > 0) return this.#untilAccepted(action);
    return this.#isFull() || this.#allowance <= 0 ? this.#wait() : RESOLVED;
  }

  /**
   * Writes one frame in one batch: the payload with its length field, or the payload and its separator. Pieces of more than 4 KiB are sent
   * from the caller's memory. The result and the errors are those of {@link write}.
   *
   * The payload is the frame without its length field: its first `offset` bytes go before the field. From a list of separators, the first
   * one is written. The payload is not checked for separators.
   *
   * ```ts
   * await writer.writeframe([header, body], { length: 'uint32be', offset: 1, adjust: -4 });
   * ```
   *
   * **Errors.** In addition to the errors of {@link write}, it throws those below, and nothing is written then.
   *
   * @param payload - bytes, a string (as UTF-8), or a list of these
   * @param framing - as for `readframes`; default `'\n'`
   * @throws RangeError `ERR_OUT_OF_RANGE` if the field cannot hold the length, if the length is negative, if the payload is shorter than
   * `offset` or does not have the given `size`, and if the frame is longer than the `limit` of the framing
   * @throws TypeError `ERR_INVALID_ARG_VALUE` for a framing by `frameLength`; `ERR_INVALID_ARG_TYPE` for a payload or framing of another type
   */
  writeframe(payload: Payload, framing: Framing = '\n'): Promise<void> {
    return this.#writeAll('writeframe', encodeFrame(payload, framing));
  }

  /**
   * Waits until the writer is not full. Any number of callers may wait. asyncio: `drain()`
   *
   * **Waits** only if more than the high watermark was buffered, until the low watermark is reached.
   *
   * **Errors** (as a rejection, also during the wait). {@link ConnectionError} if the connection is lost, with the code of the loss, or
   * was closed by this side (`ECONNRESET`).
   *
   * **Cancellation.** `signal` ends the wait; what was written is still sent.
   */
  drain(options?: WaitOptions): Promise<void> {
    const refusal = refusedWait<void>('drain', options);
    if (refusal !== null) return refusal;
    if (this.#life !== 'open') return this.#connectionRefused('drain');
    this.#allowance -= CALL_COST;
    if (!this.#isFull() && this.#allowance > 0 && !this.transport.isClosing) return RESOLVED;
    return unlessEnded('drain', options, this.#wait());
  }

  /**
   * Waits until the kernel has accepted every byte written before this call.
   *
   * **Errors** (as a rejection). {@link ConnectionError} if the connection is lost or aborted before that.
   *
   * **Cancellation.** `signal` ends the wait; what was written is still sent.
   */
  flush(options?: WaitOptions): Promise<void> {
    const refusal = refusedWait<void>('flush', options);
    if (refusal !== null) return refusal;
    if (this.#gone()) {
      return this.#loss !== null || this.#dropped ? this.#connectionRefused('flush') : RESOLVED;
    }
    if (this.#life === 'aborted') return this.#connectionRefused('flush');
    if (this.#inFlight === 0) this.#progress();
    if (this.writeBufferSize === 0 && !this.transport.isClosing) return RESOLVED;
    return unlessEnded('flush', options, this.#untilAccepted('flush'));
  }

  /** Whether `size` more bytes would be more than the max. */
  #exceedsMax(size: number): boolean {
    if (size === 0 || this.writeBufferSize + size <= this.#max) return false;
    // Writes that only wait for the end of the turn must not count: the kernel may have room for them.
    if (this.#queued > 0 && this.#inFlight === 0) this.#progress();
    return this.writeBufferSize + size > this.#max;
  }

  /** Aborts the connection instead of writing `size` bytes. The transport reports the loss later; calls on this writer fail at once. */
  #overflow(action: string, size: number): Promise<void> {
    const { transport } = this;
    // The connection is already lost, and the reason is about to be reported: these bytes would not have been sent anyway.
    if (transport.isClosing) return this.#wait();
    const facts = { max: this.#max, buffered: this.writeBufferSize, peer: peerName(transport) };
    const loss = overflow(action, size, facts);
    if (limitChannel.hasSubscribers) {
      publishLimit({ action, limit: facts.max, size: facts.buffered + size }, loss, transport);
    }
    this.#loss = loss;
    this.#life = 'aborted';
    this.#hasThrown = true;
    this.#keeper?.failing();
    this.#drop();
    transport.abort(loss);
    return handled(loss);
  }

  /** Waits until the kernel has accepted every byte written so far. */
  #untilAccepted(action: string): Promise<void> {
    const deferred = new Deferred();
    (this.#flushes ??= []).push({ action, position: this.#bytesWritten + (this.#blocked?.bytes ?? 0), deferred });
    this.#retain();
    return deferred.promise;
  }

  /**
   * Sets the watermarks at which callers wait and continue, and the most that may be buffered, in bytes. asyncio:
   * `transport.set_write_buffer_limits()`, which has no `max`
   *
   * **Watermarks.** If only one is given, `low` is a quarter of `high`, or `high` four times `low`. With `high: 0` callers wait for
   * every byte that the kernel has not accepted. If neither is given, both are set to their defaults, unless `max` is given alone.
   *
   * **Max.** A `write`, `writelines` or `writeframe` whose bytes, together with {@link writeBufferSize}, are more than `max` is refused.
   * The result rejects with a {@link ConnectionError} `ERR_WRITE_OVERFLOW`, nothing of the data is queued, what was queued is dropped, and
   * the connection is aborted with this error: all other calls on it reject with it, or with an error that has it as the cause. So a
   * peer that does not read cannot use more memory than `max`, however much is written for it.
   *
   * - Writes that are waiting only for the end of the turn are offered to the kernel first, and count only if it does not accept them.
   * - A single write of more than `max` bytes is always refused. Send such data in pieces, awaiting each, or by `sendfile`.
   * - The file of `sendfile` does not count, as it has a block of fixed size. What is written after it does, until it is sent.
   *
   * `max` stays as it is if it is not given; `Infinity` removes it. `max` alone leaves the watermarks as they are, but lowers those
   * that are above half of it: then a caller that awaits each write, of up to half of `max`, never exceeds it. A `max` below what is
   * buffered affects the next write.
   *
   * @throws RangeError `ERR_OUT_OF_RANGE` if they are not integers with 0 <= low <= high <= max and max > 0
   */
  setWriteBufferLimits(limits: WriteBufferLimits = {}): void {
    this.#limit(changedLimits({ high: this.#high, low: this.#low, max: this.#max }, limits));
    if (!this.#gone()) this.#moved(false);
  }

  #limit({ high, low, max }: Limits): void {
    this.#high = high;
    this.#low = low;
    this.#max = max;
  }

  /**
   * Whether the transport supports {@link writeEof}: not over TLS, and not over a named pipe of Windows.
   * asyncio: `can_write_eof()`
   */
  canWriteEof(): boolean {
    return this.transport.canWriteEof;
  }

  /**
   * Ends the writing side after everything that was written: the peer reads EOF, and the other direction continues. Calling it again
   * returns the same promise, which need not be awaited. asyncio: `write_eof()`
   *
   * **Waits** until the end has been sent.
   *
   * **Errors** (as a rejection). {@link ConnectionError} if the connection is closed or lost before that; StateError
   * `ERR_WRITE_EOF_UNSUPPORTED` if {@link canWriteEof} is false.
   */
  writeEof(): Promise<void> {
    if (this.#eofSent !== null) return this.#eofSent.promise;
    if (!this.transport.canWriteEof) {
      return handled(new StateError('ERR_WRITE_EOF_UNSUPPORTED', 'writeEof: this transport has no half-close'));
    }
    if (this.#life !== 'open') return this.#connectionRefused('writeEof');
    this.#end = 'requested';
    const sent = (this.#eofSent = new Deferred());
    if (this.#inFlight === 0) this.#progress();
    return sent.promise;
  }

  /**
   * Sends the queue, then closes the connection. May be called again, also concurrently: every call returns the same promise, which need
   * not be awaited. asyncio: `close()`, and `await stream.close()` of the generation with `Stream`
   *
   * **Waits** until the connection is closed. A peer that reads slowly gets everything, however long that takes. Once the kernel has
   * accepted everything, `close` waits at most one second (over TLS `sslShutdownTimeout`) for a peer that does not end its side.
   * {@link abort} does not wait.
   *
   * **Errors** (as a rejection). {@link ConnectionError}: the reason, if the connection is lost before it is closed; `ETIMEDOUT`, if the
   * peer accepts nothing for `closeTimeout` (30 s by default): the queue is then dropped.
   */
  close(): Promise<void> {
    if (this.#life === 'open') {
      this.#life = 'closing';
      this.#keeper?.closing();
      this.transport.expectClose(this.#closeTimeout);
      if (this.#inFlight === 0) this.#progress();
    }
    return this.#whenClosed();
  }

  /**
   * Waits until the connection is closed by either side: the promise of {@link close}, without starting to close.
   * asyncio: `wait_closed()`
   *
   * @param options - `signal`: ends the wait
   */
  waitClosed(options?: WaitOptions): Promise<void> {
    const refusal = refusedWait<void>('waitClosed', options);
    if (refusal !== null) return refusal;
    return unlessEnded('waitClosed', options, this.#whenClosed());
  }

  /** Closes the connection at once and drops the queue. {@link waitClosed} waits until that is done. asyncio: `abort()` */
  abort(): void {
    if (!this.#sending()) return;
    this.#life = 'aborted';
    this.#keeper?.closing();
    this.#drop();
    this.transport.abort();
  }

  /**
   * Returns a fact about the connection: `peername`, `sockname`, `socket`, ...; `fallback` if it is not known.
   * asyncio: `get_extra_info()`
   */
  getExtraInfo(name: string, fallback?: unknown): unknown {
    return this.transport.getExtraInfo(name) ?? fallback;
  }

  /** @internal `StreamWriter { buffered: 4, high: 65536, low: 16384, closing }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[StreamWriter]';
    const parts = [`buffered: ${this.writeBufferSize}`, `high: ${this.#high}`, `low: ${this.#low}`];
    if (this.#max !== Infinity) parts.push(`max: ${this.#max}`);
    if (this.#end !== 'open') parts.push('eof');
    if (this.#gone()) parts.push('closed');
    else if (this.isClosing()) parts.push('closing');
    if (this.#loss !== null) parts.push(`exception: ${inspect(this.#loss.message, options)}`);
    return `StreamWriter { ${parts.join(', ')} }`;
  }

  // ---------------------------------------------------------------------------------------------- the internal side

  static {
    class Outlet implements WriterOutlet {
      readonly #writer: StreamWriter;

      constructor(writer: StreamWriter) {
        this.#writer = writer;
      }

      attach(keeper: Keeper): void {
        this.#writer.#attach(keeper);
      }

      connectionLost(error: Error | null): void {
        this.#writer.#connectionLost(error);
      }

      get hasThrown(): boolean {
        return this.#writer.#hasThrown;
      }

      get loss(): Error | null {
        return this.#writer.#loss;
      }

      get timeBlocked(): number {
        const blocking = this.#writer.#blocking;
        return blocking === null ? 0 : blocking.total;
      }

      reserve(action: string): Reservation {
        return this.#writer.#reserve(action);
      }
    }

    writerOutlet = (writer) => new Outlet(writer);

    const forAllInTurn = (call: (writer: StreamWriter) => void): void => {
      for (let writer = takeTurn(); writer !== null;) {
        const next: StreamWriter | null = writer.#nextInTurn;
        writer.#nextInTurn = null;
        call(writer);
        writer = next;
      }
    };

    const endEarly = (writer: StreamWriter): void => {
      if (!writer.#endTurnEarly()) StreamWriter.#joinTurn(writer);
    };

    endTurnsEarly = () => {
      forAllInTurn(endEarly);
      if (lastInTurn !== null) process.nextTick(endTurn);
    };

    const end = (writer: StreamWriter): void => {
      writer.#bursts = writer.#turnWrites >= BURST_WRITES;
      writer.#turnWrites = 0;
      if (writer.#queued > 0 && writer.#inFlight === 0) writer.#progress();
    };

    endTurn = () => forAllInTurn(end);
  }

  #attach(keeper: Keeper): void {
    this.#keeper = keeper;
    this.#transport = null;
  }

  #connectionLost(error: Error | null): void {
    if (this.#gone()) return;
    this.#life = GONE[this.#life];
    this.#loss = error ?? this.#loss;
    const reserved = this.#blocked !== null;
    this.#drop();
    // Not returned to the pool: a Node stream that failed may still refer to the memory.
    this.#flying = null;
    if (this.#inFlight > 0) this.#dropped = true;
    this.#inFlight = 0;
    this.#blocking?.stop();

    const drained = this.#drained;
    const flushes = this.#flushes;
    this.#drained = null;
    this.#flushes = null;
    this.#hasThrown ||= drained !== null || flushes !== null || reserved;
    drained?.reject(this.#connectionError('drain'));
    for (const { action, deferred } of flushes ?? []) {
      if (this.#loss === null && !this.#dropped) deferred.resolve();
      else deferred.reject(this.#connectionError(action));
    }
    // Has no effect if the end was sent.
    this.#eofSent?.reject(this.#connectionError('writeEof'));
    if (this.#closed !== null) this.#settleClosed(this.#closed);
  }

  /** Whether the queue will still be sent. */
  #sending(): boolean {
    return this.#life === 'open' || this.#life === 'closing';
  }

  /** Whether the connection has ended. */
  #gone(): boolean {
    return this.#life === 'lost' || this.#life === 'closed' || this.#life === 'dropped';
  }

  /** Adds data to the queue, or to the writes after a slot. */
  #enqueue(data: Uint8Array | string): void {
    let size: number;
    if (this.#blocked !== null) {
      const bytes = typeof data === 'string' || data.length <= COPY_BYTES ? Buffer.from(data) : data;
      this.#blocked.add(bytes);
      size = bytes.length;
    } else {
      size = data.length === 0 ? 0 : this.#append(data);
    }
    this.#allowance -= size + CALL_COST;
  }

  /** Adds data, which is not empty, to the queue. Returns its size in bytes. */
  #append(data: Uint8Array | string): number {
    const batch = (this.#filling ??= WriteBatch.empty());
    let size = data.length;
    if (typeof data === 'string') size = batch.addString(data);
    else batch.addBytes(data);
    this.#queued += size;
    this.#bytesWritten += size;
    return size;
  }

  #reserve(action: string): Reservation {
    const slot = new WriteSlot(action);
    const { ready } = slot;
    if (this.#life !== 'open' || this.#end !== 'open') {
      slot.ended = true;
      this.#refused(action).catch(ready.reject);
    } else if (this.#blocked === null) {
      this.#blocked = new BlockedWrites(slot);
      this.#retain();
      if (this.#inFlight === 0) this.#progress();
    } else {
      this.#blocked.reserve(slot);
    }
    return {
      ready: ready.promise,
      send: (data) => this.#sendAt(slot, data),
      end: () => {
        slot.ended = true;
        if (slot.sending === null) this.#endSlot(slot);
      },
    };
  }

  #sendAt(slot: WriteSlot, data: Uint8Array): Promise<void> {
    if (this.#blocked?.head !== slot) return this.#connectionRefused(slot.action);
    const sending = (slot.sending = new Deferred());
    this.#slotBytes += data.length;
    const sent = (): void => {
      // The connection is going down: `#drop` has rejected the promise.
      if (this.#blocked?.head !== slot) return;
      slot.sending = null;
      sending.resolve();
      if (slot.ended) this.#endSlot(slot);
    };
    if (this.transport.write(data, sent)) sent();
    return sending.promise;
  }

  /** A slot has ended. If it is at the head, what was written after it is queued, up to the next slot. */
  #endSlot(slot: WriteSlot): void {
    const blocked = this.#blocked;
    if (blocked?.head !== slot) return;
    this.#blocked = blocked.endHead((bytes) => this.#append(bytes));
    if (this.#inFlight === 0) this.#progress();
  }

  /** Sends the queue if it is time to, and updates whether the writer is full. */
  #moved(atOnce: boolean): void {
    if (this.#queued > 0) {
      if (this.#turnWrites++ === 0) this.#endTurnLater();
      if (this.#inFlight === 0 && (atOnce || this.#queued >= this.#high)) this.#send();
    }
    this.#measure();
  }

  /**
   * A turn ends in a tick, because ticks run after the microtasks: by then a handler has answered all of a hundred buffered requests. But
   * a tick takes as long as the write itself. So a microtask looks first whether the turn is already over for every writer.
   */
  #endTurnLater(): void {
    if (lastInTurn === null) void RESOLVED.then(endTurnsEarly);
    StreamWriter.#joinTurn(this);
  }

  /** Adds a writer to the list of those that have written in this turn. */
  static #joinTurn(writer: StreamWriter): void {
    if (lastInTurn === null) firstInTurn = writer;
    else lastInTurn.#nextInTurn = writer;
    lastInTurn = writer;
  }

  /**
   * Ends the turn if the single write in it has answered the bytes that came in last: the handler reads again, and has to wait. Returns
   * whether it did. If the handler writes more after all, that is another turn, which is not ended early.
   */
  #endTurnEarly(): boolean {
    if (this.#turnWrites > 1 || this.#inFlight > 0 || this.#keeper === null) return false;
    const { answered } = this.#keeper;
    if (answered === 0 || answered === this.#answered) return false;
    this.#answered = answered;
    this.#bursts = false;
    this.#turnWrites = 0;
    if (this.#queued > 0) this.#progress();
    return true;
  }

  /** Passes the queue to the transport as one batch. Only called while nothing is in flight. */
  #send(): void {
    const size = this.#queued;
    if (size === 0) return;
    const batch = this.#filling!;
    this.#filling = null;
    this.#queued = 0;
    this.#inFlight = size;
    const onAccepted = (this.#onAccepted ??= () => {
      this.#accepted();
    });
    if (batch.send(this.transport, onAccepted)) {
      this.#inFlight = 0;
      batch.giveBack();
    } else {
      this.#flying = batch;
      this.#retain();
    }
  }

  /** The kernel has accepted the batch in flight. */
  #accepted(): void {
    if (!this.#sending()) return;
    this.#inFlight = 0;
    this.#flying?.giveBack();
    this.#flying = null;
    this.#progress();
  }

  /** Sends the queue, and wakes the calls that waited for bytes sent before. */
  #progress(): void {
    this.#send();
    this.#measure();
    if (this.#queued + this.#inFlight === 0) this.#blocked?.head.ready.resolve();
    this.#finish();
    this.#releaseIfIdle();
  }

  // A method: see `#canRead` of the stream.
  #isFull(): boolean {
    return this.#blocking !== null && this.#blocking.running;
  }

  #measure(): void {
    const blocked = this.#blocked?.bytes ?? 0;
    const size = this.#queued + this.#inFlight + blocked;
    if (size > this.#high) (this.#blocking ??= new Stopwatch()).start();
    else if (this.#isFull() && size <= this.#low) this.#blocking!.stop();
    if (this.#drained !== null) this.#wake();
    if (this.#flushes !== null && this.#sending())
      this.#wakeFlushes(this.#flushes, this.#bytesWritten + blocked - size);
  }

  #wakeFlushes(flushes: Flush[], accepted: number): void {
    let n = 0;
    for (; n < flushes.length; n++) {
      const flush = flushes[n]!;
      if (flush.position > accepted) break;
      flush.deferred.resolve();
    }
    if (n === flushes.length) this.#flushes = null;
    else flushes.splice(0, n);
  }

  /** The promise of all calls that wait for room, for a turn of the event loop, or for the reason of a loss. */
  #wait(): Promise<void> {
    this.#drained ??= new Deferred();
    this.#retain();
    if (this.#allowance <= 0 && !this.#turning) {
      this.#turning = true;
      setImmediate(() => {
        this.#turning = false;
        this.#allowance = TURN_ALLOWANCE;
        this.#wake();
        this.#releaseIfIdle();
      });
    }
    return this.#drained.promise;
  }

  #wake(): void {
    // If the transport is going down, it is about to report the reason, and the waiting calls must reject with that.
    if (
      this.#isFull() ||
      this.#turning ||
      this.#drained === null ||
      (this.transport.isClosing && this.#life === 'open')
    )
      return;
    const drained = this.#drained;
    this.#drained = null;
    drained.resolve();
  }

  /** After the last byte: sends the end of the writing side, or closes, if that was requested. */
  #finish(): void {
    if (this.#queued + this.#inFlight > 0 || this.#blocked !== null || !this.#sending()) return;
    if (this.#end === 'requested') {
      this.#end = 'sent';
      this.transport.writeEof();
      this.#eofSent?.resolve();
    }
    if (this.#life === 'closing') this.transport.close();
  }

  /** Empties the queue without sending it. */
  #drop(): void {
    if (this.#queued > 0) this.#dropped = true;
    this.#queued = 0;
    this.#filling?.giveBack();
    this.#filling = null;
    const blocked = this.#blocked;
    if (blocked === null) return;
    this.#dropped = true;
    blocked.drop((action) => this.#connectionError(action));
    this.#blocked = null;
    this.#bytesWritten += blocked.bytes;
  }

  /** Retains the stream while something waits that only the connection can complete. */
  #retain(): void {
    if (this.#retained) return;
    this.#retained = true;
    this.#keeper?.retain(Retain.WRITE);
  }

  #releaseIfIdle(): void {
    if (!this.#retained || this.#inFlight > 0 || this.#blocked !== null) return;
    if (this.#drained !== null || this.#flushes !== null || this.#closed !== null) return;
    this.#retained = false;
    this.#keeper?.release(Retain.WRITE);
  }

  #whenClosed(): Promise<void> {
    if (this.#closed === null) {
      this.#closed = new Deferred();
      if (this.#gone()) this.#settleClosed(this.#closed);
      else this.#retain();
    }
    return this.#closed.promise;
  }

  #settleClosed(closed: Deferred): void {
    if (this.#loss === null) closed.resolve();
    else closed.reject(this.#loss);
  }

  #refused(action: string): Promise<void> {
    if (this.#life !== 'open') return this.#connectionRefused(action);
    return handled(new StateError('ERR_WRITE_AFTER_EOF', `${action}: the writing side was ended by writeEof()`));
  }

  #connectionRefused(action: string): Promise<void> {
    if (this.#gone()) this.#hasThrown = true;
    return handled(this.#connectionError(action));
  }

  /** Whether this is a pipe whose reader is gone, which is not an error until something is written. */
  get #readerGone(): boolean {
    return this.#life === 'lost' && this.#end === 'open' && this.transport.mode === StreamMode.WRITE;
  }

  /** The error of `action`, with the code of the loss. */
  #connectionError(action: string): ConnectionError | TimeoutError {
    const loss = this.#loss;
    if (loss === null && this.#readerGone)
      return new ConnectionError('EPIPE', `${action}: the reader of the pipe is gone`);
    if (loss === null) {
      return new ConnectionError('ECONNRESET', `${action}: the connection is ${HOW[this.#life]}`);
    }
    const code: unknown = (loss as NodeJS.ErrnoException).code;
    const known = typeof code === 'string' ? code : 'ECONNRESET';
    const message = `${action}: the connection is lost: ${loss.message}`;
    if (loss instanceof TimeoutError) return new TimeoutError(message, loss.code, { cause: loss });
    return new ConnectionError(known, message, { cause: loss });
  }
}

/** The first and the last of the writers that have written in this turn of the event loop; each refers to the next. */
let firstInTurn: StreamWriter | null = null;
let lastInTurn: StreamWriter | null = null;

/** Empties the list of writers and returns the first. */
function takeTurn(): StreamWriter | null {
  const first = firstInTurn;
  firstInTurn = lastInTurn = null;
  return first;
}

/** Whether data is sent from the caller's memory, without a copy. */
function isLent(data: Uint8Array | string): boolean {
  return typeof data !== 'string' && data.length > COPY_BYTES;
}
