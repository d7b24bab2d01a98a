/**
 * The writing half of a stream: coalescing, watermarks, close.
 *
 * The path of a byte. `write` puts it into the queue: small pieces are copied, one behind the other, into a slab; large
 * ones are kept by reference. The queue is handed to the transport as one batch: at once for the first write of a turn, so
 * that a single request is not delayed; at the end of the turn for what followed, so that a hundred replies are one system
 * call; in between when the queue reaches the high watermark. One batch is in flight at a time; the next one leaves when
 * the kernel has taken it.
 *
 * Buffered bytes are those queued and those in flight. Above the high watermark the writer is *full*, until they are down
 * to the low one: that is what `drain()`, and the result of `write()`, wait for.
 *
 * Life. Writes are accepted while the writer is open; what is queued is sent while it is open or closing. When the connection is gone,
 * with an error or without (`#loss`), each state has its successor:
 *
 *     open ---close()---> closing ---abort()---> aborted       open goes to aborted by abort(), too
 *       |                    |                      |
 *       v                    v                      v          the connection is gone
 *     lost                 closed                dropped
 */
import { Buffer } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { refusedWait, unlessAborted, type WaitOptions } from '../abort.js';
import type { Framing } from '../buffer/framing.js';
import { checkCloseTimeout, checkInteger, checkObject, isBytes } from '../checks.js';
import { ConnectionError, StateError, invalidType, outOfRange } from '../errors.js';
import { Retain, type Keeper } from '../keeper.js';
import { StreamMode, type Transport } from '../transports/transport.js';
import { Deferred, handled } from './deferred.js';
import { encodeFrame, type Payload } from './frame-encoder.js';
import { HeldWrites, WriteSlot, type Reservation } from './reservation.js';
import { COPY_BYTES, WriteBatch } from './write-queue.js';

/** See the top of this file. */
type Life = 'open' | 'closing' | 'aborted' | 'lost' | 'closed' | 'dropped';

/** Where the end of the writing side stands: not asked for, to be sent after all that was written, sent. */
type End = 'open' | 'asked' | 'sent';

/** What the loss of the connection makes of each state. */
const GONE: Readonly<Record<Life, Life>> = {
  open: 'lost',
  closing: 'closed',
  aborted: 'dropped',
  lost: 'lost',
  closed: 'closed',
  dropped: 'dropped',
};

/** How messages name the connection of a call that is refused. */
const HOW: Readonly<Record<Life, string>> = {
  open: 'closing',
  closing: 'closing',
  aborted: 'aborted',
  lost: 'closed',
  closed: 'closed',
  dropped: 'aborted',
};

/** The default high watermark, in bytes; the low one is a quarter of it. asyncio: the same */
const HIGH_WATERMARK = 65536;

/**
 * Where the kernel takes everything, `for (;;) await stream.write(data)` would never let the event loop turn: no other
 * connection would be served, and the loss of this one not noticed. So each call takes its bytes, and this much for itself,
 * from an allowance; when it is used up the next wait takes one turn of the event loop.
 */
const TURN_ALLOWANCE = 1024 * 1024;
const CALL_COST = 256;

/** One promise for every call that need not wait. */
const RESOLVED: Promise<void> = Promise.resolve();

/** Sends what a writer has gathered in the turn that is over. */
let finishTurn: (writer: StreamWriter) => void;

/**
 * The internal side of a writer: what its stream, `sendfile` and `startTls` call. It has no state of its own; see
 * {@link writerOutlet}.
 *
 * @internal
 */
export interface WriterOutlet {
  /** Connects the stream that owns the writer: it is retained while bytes are being sent or a call waits. */
  attach(keeper: Keeper): void;
  /** The writing half of `TransportSink.closed`. */
  connectionLost(error: Error | null): void;
  /** Whether the loss of the connection has made a call reject, other than `close` and `waitClosed`. */
  readonly hasThrown: boolean;
  /**
   * Reserves the next position in the order of writes, for bytes from another source: a file, a handshake. Everything written before
   * is sent first; everything written from now on waits until the reservation ends.
   *
   * @param action - the call that errors name
   */
  reserve(action: string): Reservation;
  /** Continues over another transport. The caller has a reservation, and no batch is in flight. */
  moveTo(transport: Transport): void;
}

/** Returns the internal side of a writer. @internal */
export let writerOutlet: (writer: StreamWriter) => WriterOutlet;

/** The watermarks of a writer, in bytes. */
export interface WriteBufferLimits {
  /** Above this many buffered bytes writers wait. Default: four times `low`, or 65536. */
  high?: number | undefined;
  /** At this many, or fewer, they go on. Default: a quarter of `high`. */
  low?: number | undefined;
}

/** What a writer that can be closed takes. */
export interface CloseOptions {
  /**
   * How long a peer may take nothing while `close` flushes, in ms, counted from the last bytes that the kernel could pass on. Then what
   * is still queued is dropped, the connection is aborted, and `close` rejects with a `ConnectionError` `ETIMEDOUT`. A peer that reads
   * slowly gets everything, however long that takes. `Infinity`: no bound. Default 30000.
   *
   * A kernel shows progress in steps of up to a third of its send buffer. Where the runtime does not show it at all (Windows, Bun, TLS
   * over a `Duplex`), a batch of writes that is taken whole is the progress: write large data in pieces there, or give it more time. A
   * stream of a server that is given up is not reported through `onError`.
   */
  closeTimeout?: number | undefined;
}

/** A `flush()` that waits until `position` bytes of all that were ever written are with the kernel. */
interface Flush {
  /** The method that waits, as errors name it. */
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
  #transport: Transport;
  readonly #closeTimeout: number;
  #high = HIGH_WATERMARK;
  #low = HIGH_WATERMARK / 4;
  #bytesWritten = 0;
  #queued = 0;
  #inFlight = 0;
  #full = false;
  /** Whether this turn of the event loop has seen a write, so that later ones are gathered until it ends. */
  #turn = false;
  #allowance = TURN_ALLOWANCE;
  #turning = false;

  /** The queue, and the batch in flight. */
  #filling: WriteBatch | null = null;
  #flying: WriteBatch | null = null;

  #life: Life = 'open';
  /** The end of the writing side, and the promise of it. */
  #end: End = 'open';
  #eofSent: Deferred | null = null;
  #loss: Error | null = null;
  #dropped = false;
  #hasThrown = false;

  /** The slot at the head of the queue, while there is one, and what was written after it. */
  #held: HeldWrites | null = null;
  /** Bytes that were sent at slots. */
  #slotBytes = 0;

  #drained: Deferred | null = null;
  #flushes: Flush[] | null = null;
  #closed: Deferred | null = null;

  /** The stream that this is a half of, and whether it is retained. */
  #keeper: Keeper | null = null;
  /** Made when something is written: an idle stream should not pay for it. */
  #onTaken: (() => void) | null = null;
  #keeping = false;

  /**
   * @param options - `closeTimeout`: how long a peer may take nothing while {@link close} flushes, in ms, default 30000
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
   */
  constructor(transport: Transport, options: CloseOptions = {}) {
    checkObject('StreamWriter', 'options', options);
    this.#transport = transport;
    this.#closeTimeout = checkCloseTimeout('StreamWriter', options.closeTimeout);
  }

  /** What carries the bytes. asyncio: `transport` */
  get transport(): Transport {
    return this.#transport;
  }

  /** Bytes that `write` has accepted, whether they have left or not, and those that `sendfile` has sent. */
  get bytesWritten(): number {
    return this.#bytesWritten + this.#slotBytes + (this.#held?.bytes ?? 0);
  }

  /** Bytes written that the kernel has not taken yet. asyncio: `transport.get_write_buffer_size()` */
  get writeBufferSize(): number {
    return this.#queued + this.#inFlight + (this.#held?.bytes ?? 0);
  }

  /** Whether `close` or `abort` was called, or the connection is lost. asyncio: `is_closing()` */
  isClosing(): boolean {
    return this.#life !== 'open' || this.transport.isClosing;
  }

  /**
   * Writes bytes, or a string as UTF-8. Tries the connection at once; what it does not take, and further writes of the same
   * turn of the event loop, are queued and sent together.
   *
   * Data of up to 4 KiB is copied. Larger data is sent from where it is: leave it as it is until the result, or a `flush`, has
   * resolved. So memory can be used again as soon as its `write` was awaited.
   *
   * The result need not be awaited. Awaiting it applies back-pressure: it resolves at once while no more than the high
   * watermark is buffered, else as {@link drain}; for data of more than 4 KiB, when the kernel has taken it. After `close` or
   * `abort` it rejects with a {@link ConnectionError} `ECONNRESET`, after the loss of the connection with the code of that, after
   * `writeEof` with a {@link StateError} `ERR_WRITE_AFTER_EOF`; a rejection that nobody awaits is not reported as unhandled.
   *
   * asyncio: `write()`, and `await writer.write()` of the generation with `Stream`
   *
   * @throws TypeError `ERR_INVALID_ARG_TYPE` when the data is neither a string nor a `Uint8Array`
   */
  write(data: Uint8Array | string): Promise<void> {
    if (typeof data !== 'string' && !isBytes(data)) {
      throw invalidType('write', 'data', 'a string or Uint8Array', data);
    }
    if (this.#life !== 'open' || this.#end !== 'open') return this.#refused('write');
    this.#enqueue(data);
    this.#moved(!this.#turn);
    if (isLent(data) && this.writeBufferSize > 0) return this.#untilTaken('write');
    return this.#full || this.#allowance <= 0 ? this.#wait() : RESOLVED;
  }

  /**
   * Writes several pieces, in one system call where possible. Nothing is written when one of them is of a wrong type.
   *
   * The result and the errors are those of {@link write}. asyncio: `writelines()`
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
    for (const piece of pieces) this.#enqueue(piece);
    this.#moved(!this.#turn);
    if (pieces.some(isLent) && this.writeBufferSize > 0) return this.#untilTaken(action);
    return this.#full || this.#allowance <= 0 ? this.#wait() : RESOLVED;
  }

  /**
   * Writes one frame: the payload with its length field, or with its separator after it, in one batch. Large pieces are sent from where they
   * are, as by {@link write}. The result and the errors are those of {@link write}.
   *
   * The payload is the frame without its length field: its first `offset` bytes go before the field. Of a list of separators the first
   * is written; whether the payload contains it is not checked.
   *
   * ```ts
   * await writer.writeframe([header, body], { length: 'uint32be', offset: 1, adjust: -4 });
   * ```
   *
   * **Errors** Nothing is written when it throws.
   *
   * @param payload - bytes, a string (as UTF-8), or a list of those
   * @param framing - as for `readframes`; default `'\n'`
   * @throws RangeError `ERR_OUT_OF_RANGE` when the field cannot hold the length or that would be negative, when the payload is shorter than
   * `offset` or not of the `size`, and when the frame is longer than the `limit` of the framing
   * @throws TypeError `ERR_INVALID_ARG_VALUE` for a framing by `frameLength`; `ERR_INVALID_ARG_TYPE` for a payload or framing of another type
   */
  writeframe(payload: Payload, framing: Framing = '\n'): Promise<void> {
    return this.#writeAll('writeframe', encodeFrame(payload, framing));
  }

  /**
   * Waits until more may be written: resolves at once unless the writer is full, which it is from more than the high
   * watermark buffered down to the low one. Any number of callers may wait.
   *
   * Rejects with a {@link ConnectionError} when the connection is lost, with the code of the loss, or was closed by this side
   * (`ECONNRESET`), also while it waits. asyncio: `drain()`
   *
   * @param options - `signal`: ends the wait; what was written stays written
   */
  drain(options?: WaitOptions): Promise<void> {
    const refusal = refusedWait<void>('drain', options);
    if (refusal !== null) return refusal;
    if (this.#life !== 'open') return this.#connectionRefused('drain');
    this.#allowance -= CALL_COST;
    if (!this.#full && this.#allowance > 0 && !this.transport.isClosing) return RESOLVED;
    return unlessAborted(options?.signal, this.#wait());
  }

  /**
   * Waits until every byte written before this call is with the kernel. Rejects with a {@link ConnectionError} when the
   * connection is lost, or aborted, before that.
   *
   * @param options - `signal`: ends the wait; what was written stays written
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
    return unlessAborted(options?.signal, this.#untilTaken('flush'));
  }

  /** Waits until the kernel has taken every byte written so far. */
  #untilTaken(action: string): Promise<void> {
    const deferred = new Deferred();
    (this.#flushes ??= []).push({ action, position: this.#bytesWritten + (this.#held?.bytes ?? 0), deferred });
    this.#keep();
    return deferred.promise;
  }

  /**
   * Sets the watermarks, in bytes. One of them gives the other: `low` a quarter of `high`, `high` four times `low`. With
   * `high: 0` every byte that the kernel has not taken makes writers wait. asyncio: `transport.set_write_buffer_limits()`
   *
   * @throws RangeError `ERR_OUT_OF_RANGE` when they are not integers with 0 <= low <= high
   */
  setWriteBufferLimits(limits: WriteBufferLimits = {}): void {
    const action = 'setWriteBufferLimits';
    checkObject(action, 'limits', limits);
    const high = limits.high ?? (limits.low === undefined ? HIGH_WATERMARK : 4 * limits.low);
    const low = limits.low ?? Math.floor(high / 4);
    if (limits.high !== undefined) checkInteger(action, 'high', limits.high, 0);
    if (limits.low !== undefined) checkInteger(action, 'low', limits.low, 0);
    if (low > high) throw outOfRange(action, 'low', `at most high, ${high}`, low);
    this.#high = high;
    this.#low = low;
    if (!this.#gone()) this.#moved(false);
  }

  /** Whether {@link writeEof} works here. asyncio: `can_write_eof()` */
  canWriteEof(): boolean {
    return this.transport.canWriteEof;
  }

  /**
   * Ends the writing side after all that was written: the peer reads to the end, the other direction goes on. Resolves when
   * the end is sent; called again it gives the same promise. It need not be awaited.
   *
   * Rejects with a {@link ConnectionError} when the connection is closed or lost before. asyncio: `write_eof()`
   *
   * @throws (as a rejection) StateError `ERR_WRITE_EOF_UNSUPPORTED` where {@link canWriteEof} is false
   */
  writeEof(): Promise<void> {
    if (this.#eofSent !== null) return this.#eofSent.promise;
    if (!this.transport.canWriteEof) {
      return handled(new StateError('ERR_WRITE_EOF_UNSUPPORTED', 'writeEof: this transport has no half-close'));
    }
    if (this.#life !== 'open') return this.#connectionRefused('writeEof');
    this.#end = 'asked';
    const sent = (this.#eofSent = new Deferred());
    if (this.#inFlight === 0) this.#progress();
    return sent.promise;
  }

  /**
   * Sends what is queued, then closes the connection. Resolves when it is closed, rejects with the error when it was lost by
   * one. May be called again, also concurrently: every call gives the same promise. It need not be awaited.
   *
   * A peer that reads slowly gets everything, however long that takes. One that takes nothing for `closeTimeout` (30 s by default) is
   * given up: what is queued is dropped, and the call rejects with a {@link ConnectionError} `ETIMEDOUT`. Once everything is with the
   * kernel, a peer that does not end its side is waited for at most one second, or over TLS `sslShutdownTimeout`. {@link abort}
   * does not wait.
   * asyncio: `close()`, and `await stream.close()` of the generation with `Stream`
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
   * Waits until the connection is closed, whoever closes it; like the promise of {@link close}, without starting to close.
   * asyncio: `wait_closed()`
   *
   * @param options - `signal`: ends the wait
   */
  waitClosed(options?: WaitOptions): Promise<void> {
    const refusal = refusedWait<void>('waitClosed', options);
    if (refusal !== null) return refusal;
    return unlessAborted(options?.signal, this.#whenClosed());
  }

  /** Closes at once and drops what is queued; {@link waitClosed} tells when that is done. asyncio: `abort()` */
  abort(): void {
    if (!this.#sending()) return;
    this.#life = 'aborted';
    this.#keeper?.closing();
    this.#drop();
    this.transport.abort();
  }

  /**
   * A fact of the connection: `peername`, `sockname`, `socket`, ...; `fallback` where it is not known.
   * asyncio: `get_extra_info()`
   */
  getExtraInfo(name: string, fallback?: unknown): unknown {
    return this.transport.getExtraInfo(name) ?? fallback;
  }

  /** @internal `StreamWriter { buffered: 4, high: 65536, low: 16384, closing }` */
  [inspect.custom](depth: number, options: InspectOptions): string {
    if (depth < 0) return '[StreamWriter]';
    const parts = [`buffered: ${this.writeBufferSize}`, `high: ${this.#high}`, `low: ${this.#low}`];
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

      reserve(action: string): Reservation {
        return this.#writer.#reserve(action);
      }

      moveTo(transport: Transport): void {
        this.#writer.#moveTo(transport);
      }
    }

    writerOutlet = (writer) => new Outlet(writer);

    finishTurn = (writer) => {
      writer.#turn = false;
      if (writer.#queued > 0 && writer.#inFlight === 0) writer.#progress();
    };
  }

  #attach(keeper: Keeper): void {
    this.#keeper = keeper;
  }

  #moveTo(transport: Transport): void {
    this.#transport = transport;
  }

  #connectionLost(error: Error | null): void {
    if (this.#gone()) return;
    this.#life = GONE[this.#life];
    this.#loss = error;
    const reserved = this.#held !== null;
    this.#drop();
    // Not given back to the pool: a stream that failed may still hold the memory.
    this.#flying = null;
    if (this.#inFlight > 0) this.#dropped = true;
    this.#inFlight = 0;
    this.#full = false;

    const drained = this.#drained;
    const flushes = this.#flushes;
    this.#drained = null;
    this.#flushes = null;
    this.#hasThrown = drained !== null || flushes !== null || reserved;
    drained?.reject(this.#connectionError('drain'));
    for (const { action, deferred } of flushes ?? []) {
      if (error === null && !this.#dropped) deferred.resolve();
      else deferred.reject(this.#connectionError(action));
    }
    // Without effect where the end was sent.
    this.#eofSent?.reject(this.#connectionError('writeEof'));
    if (this.#closed !== null) this.#settleClosed(this.#closed);
  }

  /** Whether what is queued is still to be sent. */
  #sending(): boolean {
    return this.#life === 'open' || this.#life === 'closing';
  }

  /** Whether the connection is gone. */
  #gone(): boolean {
    return this.#life === 'lost' || this.#life === 'closed' || this.#life === 'dropped';
  }

  /** Puts data into the queue. */
  #enqueue(data: Uint8Array | string): void {
    let size: number;
    if (this.#held !== null) {
      const bytes = typeof data === 'string' || data.length <= COPY_BYTES ? Buffer.from(data) : data;
      this.#held.hold(bytes);
      size = bytes.length;
    } else {
      size = data.length === 0 ? 0 : this.#append(data);
    }
    this.#allowance -= size + CALL_COST;
  }

  /** Puts data that is not empty at the end of the queue. */
  #append(data: Uint8Array | string): number {
    const batch = (this.#filling ??= WriteBatch.take());
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
      slot.released = true;
      this.#refused(action).catch(ready.reject);
    } else if (this.#held === null) {
      this.#held = new HeldWrites(slot);
      this.#keep();
      if (this.#inFlight === 0) this.#progress();
    } else {
      this.#held.reserve(slot);
    }
    return {
      ready: ready.promise,
      send: (data) => this.#sendAt(slot, data),
      release: () => {
        slot.released = true;
        if (slot.sending === null) this.#leave(slot);
      },
    };
  }

  #sendAt(slot: WriteSlot, data: Uint8Array): Promise<void> {
    if (this.#held?.head !== slot) return this.#connectionRefused(slot.action);
    const sending = (slot.sending = new Deferred());
    this.#slotBytes += data.length;
    const sent = (): void => {
      // Where the connection is going down, `#drop` has rejected it, or will.
      if (this.#held?.head !== slot) return;
      slot.sending = null;
      sending.resolve();
      if (slot.released) this.#leave(slot);
    };
    if (this.transport.write(data, sent)) sent();
    return sending.promise;
  }

  /** A slot is released: where it is at the head, what was held after it is queued, up to the next one. */
  #leave(slot: WriteSlot): void {
    const held = this.#held;
    if (held?.head !== slot) return;
    this.#held = held.leave((bytes) => this.#append(bytes));
    if (this.#inFlight === 0) this.#progress();
  }

  /** Sends what has to go, and finds out whether the writer is full. */
  #moved(atOnce: boolean): void {
    if (this.#queued > 0) {
      if (!this.#turn) {
        this.#turn = true;
        endTurnOf(this);
      }
      if (this.#inFlight === 0 && (atOnce || this.#queued >= this.#high)) this.#send();
    }
    this.#measure();
  }

  /** Hands the queue over as one batch. Only called with nothing in flight. */
  #send(): void {
    const size = this.#queued;
    if (size === 0) return;
    const batch = this.#filling!;
    this.#filling = null;
    this.#queued = 0;
    this.#inFlight = size;
    const onTaken = (this.#onTaken ??= () => {
      this.#taken();
    });
    if (batch.send(this.transport, onTaken)) {
      this.#inFlight = 0;
      batch.giveBack();
    } else {
      this.#flying = batch;
      this.#keep();
    }
  }

  /** The kernel has taken the batch in flight. */
  #taken(): void {
    if (!this.#sending()) return;
    this.#inFlight = 0;
    this.#flying?.giveBack();
    this.#flying = null;
    this.#progress();
  }

  /** Sends what is queued, and wakes whoever waited for what has left. */
  #progress(): void {
    this.#send();
    this.#measure();
    if (this.#queued + this.#inFlight === 0) this.#held?.head.ready.resolve();
    this.#finish();
    this.#letGo();
  }

  #measure(): void {
    const held = this.#held?.bytes ?? 0;
    const size = this.#queued + this.#inFlight + held;
    if (size > this.#high) this.#full = true;
    else if (this.#full && size <= this.#low) this.#full = false;
    if (this.#drained !== null) this.#wake();
    if (this.#flushes !== null && this.#sending()) this.#wakeFlushes(this.#flushes, this.#bytesWritten + held - size);
  }

  #wakeFlushes(flushes: Flush[], taken: number): void {
    let n = 0;
    for (; n < flushes.length; n++) {
      const flush = flushes[n]!;
      if (flush.position > taken) break;
      flush.deferred.resolve();
    }
    if (n === flushes.length) this.#flushes = null;
    else flushes.splice(0, n);
  }

  /** The promise of all who wait for room, for a turn of the event loop, or for the news of a loss. */
  #wait(): Promise<void> {
    this.#drained ??= new Deferred();
    this.#keep();
    if (this.#allowance <= 0 && !this.#turning) {
      this.#turning = true;
      setImmediate(() => {
        this.#turning = false;
        this.#allowance = TURN_ALLOWANCE;
        this.#wake();
        this.#letGo();
      });
    }
    return this.#drained.promise;
  }

  #wake(): void {
    // Where the transport is going down, the reason is about to be reported: that is what the waiting must see.
    if (this.#full || this.#turning || this.#drained === null || (this.transport.isClosing && this.#life === 'open'))
      return;
    const drained = this.#drained;
    this.#drained = null;
    drained.resolve();
  }

  /** What was to follow the last byte: the end of file, the close. */
  #finish(): void {
    if (this.#queued + this.#inFlight > 0 || this.#held !== null || !this.#sending()) return;
    if (this.#end === 'asked') {
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
    const held = this.#held;
    if (held === null) return;
    this.#dropped = true;
    held.drop((action) => this.#connectionError(action));
    this.#held = null;
    this.#bytesWritten += held.bytes;
  }

  /** Keeps the stream while something is under way that only the connection can bring to its end. */
  #keep(): void {
    if (this.#keeping) return;
    this.#keeping = true;
    this.#keeper?.retain(Retain.WRITE);
  }

  #letGo(): void {
    if (!this.#keeping || this.#inFlight > 0 || this.#held !== null) return;
    if (this.#drained !== null || this.#flushes !== null || this.#closed !== null) return;
    this.#keeping = false;
    this.#keeper?.release(Retain.WRITE);
  }

  #whenClosed(): Promise<void> {
    if (this.#closed === null) {
      this.#closed = new Deferred();
      if (this.#gone()) this.#settleClosed(this.#closed);
      else this.#keep();
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

  /** Whether this is a pipe that the other end has closed, which is no error until something is to be written. */
  get #readerGone(): boolean {
    return this.#life === 'lost' && this.#end === 'open' && this.transport.mode === StreamMode.WRITE;
  }

  /** Why `action` cannot be, with the code of the loss. */
  #connectionError(action: string): ConnectionError {
    const loss = this.#loss;
    if (loss === null && this.#readerGone)
      return new ConnectionError('EPIPE', `${action}: the reader of the pipe is gone`);
    if (loss === null) {
      return new ConnectionError('ECONNRESET', `${action}: the connection is ${HOW[this.#life]}`);
    }
    const code: unknown = (loss as NodeJS.ErrnoException).code;
    const known = typeof code === 'string' ? code : 'ECONNRESET';
    return new ConnectionError(known, `${action}: the connection is lost: ${loss.message}`, { cause: loss });
  }
}

/** Writers that have written in this turn of the event loop. */
let turnWriters: StreamWriter[] = [];

function endTurnOf(writer: StreamWriter): void {
  // Ticks run when the microtasks are done: a handler that answers a hundred buffered requests has answered them by then.
  if (turnWriters.push(writer) === 1) process.nextTick(endTurn);
}

function endTurn(): void {
  const writers = turnWriters;
  turnWriters = [];
  for (const writer of writers) finishTurn(writer);
}

/** Whether data is sent from the caller's memory. */
function isLent(data: Uint8Array | string): boolean {
  return typeof data !== 'string' && data.length > COPY_BYTES;
}
