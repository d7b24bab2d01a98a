/**
 * The transport of two streams that are connected in memory: no socket, no descriptor, no system call.
 *
 *     MemoryTransport <---- Lane ----- MemoryTransport     each end sends into one lane and receives from the other
 *                      ----- Lane --->
 *
 * A lane has what a kernel has for one direction of a socket: room for a number of bytes, and the facts that the sender has ended it, that
 * the sender is gone, or that the receiver is gone. Everything else behaves as over a socket. Bytes are copied when they are accepted, and
 * delivered on a later turn of the event loop. Each end does everything in its turn ({@link MemoryTransport.wake}), and neither calls the
 * other.
 *
 * The life of an end:
 *
 *     open ---+--- close() ------> closing --- everything is accepted ---> finished --- see linger.ts ---> over
 *             |                       |
 *             +--- the peer aborts, or is gone when something is written ----> lost --- the rest is delivered ---> over
 *             |                       |
 *             +--- abort() -----------+----------------------------------------------------------------------> over
 *             |
 *             '--- both directions have ended ---------------------------------------------------------------> over
 *
 * `over` becomes `closed` in the next turn, which reports it to the sink.
 */
import { Buffer } from 'node:buffer';
import { ConnectionError, count } from '../errors.js';
import { connectionError, systemError } from '../system-errors.js';
import { FlushWatch, closeTimeoutError, linger, type Flushing, type Linger, type Lingering } from './linger.js';
import { StreamMode, type Transport, type TransportSink } from './transport.js';

/** See the top of this file. */
type Life = 'open' | 'closing' | 'finished' | 'lost' | 'over' | 'closed';

/** The size of the blocks that small writes are copied into, one after another. */
const BLOCK_BYTES = 16384;

/** The most bytes that are delivered at once, as from a socket. */
const READ_BYTES = 65536;

/** How many ends have something to do in the next turn. */
let waking = 0;

/** Whether bytes, ends or closes are on their way in any pair of this thread. */
export function memoryIsBusy(): boolean {
  return waking > 0;
}

/** Bytes in flight: those from `start` to `end`. */
interface Block {
  readonly bytes: Buffer;
  start: number;
  end: number;
}

/** What a test does to one direction: see `testing/`. Counts are of all bytes since the pair was made. */
export interface Impairment {
  /** The most bytes that are delivered in one turn. */
  rate: number;
  /** After how many bytes nothing more is accepted, or delivered. */
  acceptMost: number;
  deliverMost: number;
  /** After how many bytes accepted the sender's end breaks, or delivered the receiver's. */
  acceptBreak: number;
  deliverBreak: number;
  /** How many there were when that was set. */
  acceptFrom: number;
  deliverFrom: number;
}

/** One direction. */
class Lane implements Impairment {
  readonly #capacity: number;
  readonly #blocks: Block[] = [];
  /** The bytes of the batch that are not accepted yet; they belong to the sender. */
  #rest: Uint8Array[] = [];
  /** How many bytes are in flight, and how many of the batch are not accepted yet. */
  size = 0;
  pending = 0;
  accepted = 0;
  delivered = 0;
  /** The sender has ended it: EOF follows the bytes. */
  ended = false;
  /** The sender has aborted: an error follows the bytes. */
  reset = false;
  /** The receiver is gone. */
  cut = false;

  rate = Infinity;
  acceptMost = Infinity;
  deliverMost = Infinity;
  acceptBreak = Infinity;
  deliverBreak = Infinity;
  acceptFrom = 0;
  deliverFrom = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** How many bytes may be delivered in this turn. */
  get deliverable(): number {
    return Math.max(0, Math.min(this.size, this.rate, Math.min(this.deliverMost, this.deliverBreak) - this.delivered));
  }

  /** Whether EOF may be delivered. */
  get isAtEnd(): boolean {
    return this.ended && this.size + this.pending === 0 && this.delivered < this.deliverMost;
  }

  /** Takes a batch, of which it copies as much as there is room for. */
  add(pieces: readonly Uint8Array[]): void {
    for (const piece of pieces) {
      if (piece.length === 0) continue;
      this.#rest.push(piece);
      this.pending += piece.length;
    }
    this.accept();
  }

  /** Copies as much of the batch as there is room for. Returns how many bytes that is. */
  accept(): number {
    const before = this.accepted;
    while (this.#rest.length > 0) {
      const most = Math.min(this.acceptMost, this.acceptBreak) - this.accepted;
      const [piece] = this.#rest as [Uint8Array];
      const length = Math.min(piece.length, this.#capacity - this.size, most);
      if (length <= 0) break;
      this.#copy(piece.subarray(0, length));
      if (length === piece.length) this.#rest.shift();
      else this.#rest[0] = piece.subarray(length);
      this.size += length;
      this.accepted += length;
      this.pending -= length;
    }
    return this.accepted - before;
  }

  #copy(bytes: Uint8Array): void {
    let block = this.#blocks.at(-1);
    if (block === undefined || block.bytes.length - block.end < bytes.length) {
      const room = Math.min(this.#capacity, BLOCK_BYTES);
      block = { bytes: Buffer.allocUnsafeSlow(Math.max(bytes.length, room)), start: 0, end: 0 };
      this.#blocks.push(block);
    }
    block.bytes.set(bytes, block.end);
    block.end += bytes.length;
  }

  /** Takes the next bytes in one piece: from 1 to `most`. There must be some. The memory is not used again. */
  take(most: number): Uint8Array {
    const [block] = this.#blocks as [Block];
    const length = Math.min(most, block.end - block.start);
    const bytes = block.bytes.subarray(block.start, block.start + length);
    block.start += length;
    if (block.start === block.end) this.#blocks.shift();
    this.size -= length;
    this.delivered += length;
    return bytes;
  }

  /** Drops the bytes in flight. Returns how many there were. */
  drop(): number {
    const { size } = this;
    this.#blocks.length = 0;
    this.size = 0;
    this.delivered += size;
    return size;
  }

  /** The sender gives up the rest of its batch. */
  abandon(): void {
    this.#rest = [];
    this.pending = 0;
    if (!this.ended) this.reset = true;
  }
}

/** One end of a pair. */
export class MemoryTransport implements Transport {
  readonly mode = StreamMode.READWRITE;
  readonly canWriteEof = true;

  readonly #in: Lane;
  readonly #out: Lane;
  #peer!: MemoryTransport;
  #sink: TransportSink | null = null;
  #life: Life = 'open';
  #reason: Error | null = null;
  /** Whether this end has something to do in the next turn. */
  #awake = false;
  #flowing = true;
  /** Whether the peer's end was reported. */
  #eof = false;
  #done: (() => void) | null = null;
  /** How many received bytes were dropped since the close. */
  #dropped = 0;
  #watch: FlushWatch | null = null;
  #lingering: Linger | null = null;

  private constructor(incoming: Lane, outgoing: Lane) {
    this.#in = incoming;
    this.#out = outgoing;
  }

  /**
   * Makes two connected ends.
   *
   * @param capacity - how many bytes can be in flight in each direction
   */
  static pair(capacity: number): [MemoryTransport, MemoryTransport] {
    const there = new Lane(capacity);
    const back = new Lane(capacity);
    const one = new MemoryTransport(back, there);
    const other = new MemoryTransport(there, back);
    one.#peer = other;
    other.#peer = one;
    return [one, other];
  }

  get isClosing(): boolean {
    return this.#life !== 'open';
  }

  get pendingBytes(): number {
    return this.#out.pending;
  }

  get bytesAccepted(): number {
    return this.#out.accepted;
  }

  /** What this end reads from, and what it writes to; {@link impaired} must follow a change. */
  get incoming(): Impairment & { readonly delivered: number } {
    return this.#in;
  }

  get outgoing(): Impairment & { readonly accepted: number } {
    return this.#out;
  }

  /** A test has changed what happens in one direction. */
  impaired(): void {
    this.#refill(this.#out, this);
    this.#refill(this.#in, this.#peer);
    this.wake();
    this.#peer.wake();
  }

  getExtraInfo(): undefined {
    return undefined;
  }

  ref(): void {}
  unref(): void {}

  start(sink: TransportSink): void {
    this.#sink = sink;
    this.wake();
  }

  // ---------------------------------------------------------------------------------------------- reading

  pauseReading(): void {
    this.#flowing = false;
  }

  resumeReading(): void {
    if (this.#flowing) return;
    this.#flowing = true;
    this.wake();
  }

  #deliver(sink: TransportSink): void {
    const lane = this.#in;
    const all = this.#life === 'lost';
    let left = all ? lane.size : lane.deliverable;
    while (left > 0 && (this.#flowing || all)) {
      const target = sink.readTarget(false);
      const bytes = lane.take(Math.min(left, target?.length ?? READ_BYTES));
      left -= bytes.length;
      target?.set(bytes);
      const flowing = target === null ? sink.feed(bytes) : sink.commit(bytes.length);
      // The sink may have closed or aborted.
      if (this.#life !== 'open' && this.#life !== 'lost') return;
      if (!flowing) this.#flowing = false;
    }
    this.#refill(lane, this.#peer);
    if (lane.deliverable > 0 && this.#flowing) this.wake();
    if (lane.isAtEnd && (this.#flowing || all) && !this.#eof) {
      this.#eof = true;
      sink.eof();
    }
  }

  /** Has a lane accept more from its sender, if there is room. */
  #refill(lane: Lane, sender: MemoryTransport): void {
    if (lane.pending > 0 && !lane.cut && lane.accept() > 0) sender.wake();
  }

  // ---------------------------------------------------------------------------------------------- writing

  write(data: Uint8Array, done: () => void): boolean {
    return this.writev([data], done);
  }

  writev(pieces: readonly Uint8Array[], done: () => void): boolean {
    if (this.#life !== 'open') return false;
    const lane = this.#out;
    if (lane.cut) {
      this.#lose();
      return false;
    }
    lane.add(pieces);
    if (lane.size > 0) this.#peer.wake();
    if (this.#breaks()) return false;
    if (lane.pending === 0) return true;
    this.#done = done;
    return false;
  }

  writeEof(): void {
    if (this.#life !== 'open') return;
    this.#out.ended = true;
    this.#peer.wake();
    this.wake();
  }

  // ---------------------------------------------------------------------------------------------- the turn

  /** Has this end look at its lanes in the next turn of the event loop. */
  wake(): void {
    if (this.#awake || this.#sink === null || this.#life === 'closed') return;
    this.#awake = true;
    waking++;
    setImmediate(MemoryTransport.#turn, this);
  }

  static readonly #turn = (end: MemoryTransport): void => {
    end.#awake = false;
    waking--;
    try {
      end.#act(end.#sink!);
    } catch (error) {
      // The sink has thrown. This ends the connection, and must not end the process.
      end.abort(error instanceof Error ? error : new Error(String(error)));
    }
  };

  #act(sink: TransportSink): void {
    if (!this.#isOver && this.#life !== 'finished') {
      const gone = this.#in.reset || (this.#out.cut && this.#out.pending > 0);
      // Once everything is accepted, a close has succeeded.
      if (gone && (this.#life === 'open' || this.#out.pending > 0)) this.#lose();
    }
    if (this.#life === 'open') {
      this.#deliver(sink);
      this.#accepted();
      if (this.#breaks()) return;
      // Either call may have ended it.
      if ((this.#life as Life) === 'open' && this.#eof && this.#out.ended) this.#life = 'over';
    } else if (this.#life === 'closing' || this.#life === 'finished') {
      this.#dropped += this.#in.drop();
      this.#refill(this.#in, this.#peer);
      if (this.#in.size > 0) this.wake();
      this.#accepted();
      if (this.#life === 'closing' && this.#out.pending === 0) this.#sent();
      else this.#lingering?.check();
      return;
    } else if (this.#life === 'lost') {
      this.#deliver(sink);
      this.#life = 'over';
    }
    if (this.#life === 'over') this.#end(sink);
  }

  #accepted(): void {
    const done = this.#done;
    if (done === null || this.#out.pending > 0) return;
    this.#done = null;
    done();
  }

  // ---------------------------------------------------------------------------------------------- closing

  get #isOver(): boolean {
    return this.#life === 'lost' || this.#life === 'over' || this.#life === 'closed';
  }

  expectClose(timeout: number): void {
    if (this.#life !== 'open' || timeout === Infinity) return;
    this.#watch ??= new FlushWatch(new MemoryTransport.#Closing(this), timeout);
  }

  close(): void {
    if (this.#life !== 'open') return;
    this.#life = 'closing';
    this.wake();
  }

  /** Everything is accepted. */
  #sent(): void {
    this.#life = 'finished';
    this.#watch?.stop();
    this.#out.ended = true;
    this.#peer.wake();
    this.#lingering = linger(new MemoryTransport.#Closing(this), null);
  }

  /** An end that closes, as `linger.ts` sees it. */
  static readonly #Closing = class Closing implements Flushing, Lingering {
    readonly #end: MemoryTransport;

    constructor(end: MemoryTransport) {
      this.#end = end;
    }

    pending(): boolean {
      return this.#end.#out.pending > 0;
    }

    progress(): number {
      return this.#end.#out.accepted;
    }

    giveUp(timeout: number): void {
      const message = `close: the peer has accepted nothing for ${timeout} ms while data was waiting to be sent`;
      this.#end.abort(closeTimeoutError(message, timeout, this.#end));
    }

    lost(): boolean {
      return this.#end.#isOver;
    }

    peerEnded(): boolean {
      const lane = this.#end.#in;
      return lane.reset || (lane.ended && lane.size + lane.pending === 0);
    }

    dropped(): number {
      return this.#end.#dropped;
    }

    /** What was accepted stays in the lane until the peer reads it. */
    mayLose(): boolean {
      return false;
    }

    unsent(): null {
      return null;
    }

    destroy(): void {
      this.#end.#life = 'over';
      this.#end.wake();
    }
  };

  abort(reason?: Error): void {
    if (this.#life === 'over' || this.#life === 'closed') return;
    // A failure that is already known stays the reason; and a close that has sent everything has succeeded.
    if (this.#life === 'open' || this.#life === 'closing') this.#reason = reason ?? null;
    this.#life = 'over';
    this.#leave();
    this.wake();
  }

  /** Whether a test has had the connection break after a number of bytes that is now reached. */
  #breaks(): boolean {
    const { accepted, acceptBreak, acceptFrom } = this.#out;
    const { delivered, deliverBreak, deliverFrom } = this.#in;
    if (accepted < acceptBreak && delivered < deliverBreak) return false;
    const after =
      accepted < acceptBreak
        ? `${count(deliverBreak - deliverFrom, 'byte')} read`
        : `${count(acceptBreak - acceptFrom, 'byte')} written`;
    this.abort(new ConnectionError('ECONNRESET', `broken: the connection was reset after ${after}`));
    return true;
  }

  /** The peer is gone. What it had sent is delivered before that is reported. */
  #lose(): void {
    // Once this side has closed, nothing is delivered any more.
    this.#life = this.#life === 'open' ? 'lost' : 'over';
    const failure = this.#in.reset ? systemError('read', 'ECONNRESET') : systemError('write', 'EPIPE');
    this.#reason = connectionError(failure);
    this.wake();
  }

  /** This end neither sends nor receives any more. */
  #leave(): void {
    this.#out.abandon();
    this.#in.cut = true;
    this.#in.drop();
    this.#done = null;
    this.#peer.wake();
  }

  #end(sink: TransportSink): void {
    this.#leave();
    this.#life = 'closed';
    this.#watch?.stop();
    this.#lingering?.stop();
    sink.closed(this.#reason);
  }
}
