/**
 * The timeouts of connections: `idleTimeout`, `readTimeout`, `writeTimeout` and `maxAge`.
 *
 * They cost nothing when a byte arrives, is written or is read. Streams with the same timeouts form a {@link Group}, which looks at all of
 * them about sixteen times during the shortest one, and compares counters of each stream with those of its last look. A timeout is over
 * when they have not changed for that long. So it is never over early, and at most a sixteenth of it plus 16 ms late.
 *
 *     Group ----> Watch    one for each timeout: the counters of the last look, of all streams in one typed array
 *       '-------> Watched  the link of each stream, not the stream itself, which may be abandoned
 *
 * A group has one deadline (see `deadlines.ts`), in the background: it does not keep the process alive.
 *
 * A peer must not be blamed if this process is busy or stopped. So a look comes after the event loop has polled for input, and however late
 * it comes, it counts for little more than the time that was planned.
 */
import { clock, onClockChange } from '../clock.js';
import { Deadline, STEP_MS, setDeadline, withdrawDeadline } from '../deadlines.js';
import { publishTimeout, timeoutChannel } from '../diagnostics.js';
import { TimeoutError, count, invalidType, outOfRange, showUnixPath } from '../errors.js';
import { peerName, type Transport } from '../transports/transport.js';

/**
 * How long a connection may do nothing, or too little. When one of these times is over, the connection is aborted with a
 * {@link TimeoutError}. Reads that wait, and all later ones, reject with that error, once they have returned what had arrived; writes,
 * `drain`, `flush` and `sendfile` reject with a `TimeoutError` of the same code whose `cause` it is. A server reports it once, through
 * `onError`.
 *
 * All times are in milliseconds, above 0. They are checked now and then, for all connections of a thread together: a timeout is never over
 * early, and at most an eighth, or 32 ms, late. They do not keep the process alive; an open socket does. While `close` sends what was
 * written, `closeTimeout` applies instead; during the TLS handshake of `startTls`, `sslHandshakeTimeout`.
 */
export interface TimeoutOptions {
  /**
   * The most time without a byte in either direction: none has arrived, and the kernel has accepted none. The code of the error is
   * `ERR_IDLE_TIMEOUT`. Default `Infinity`.
   *
   * It does not matter why no byte moves. A handler that computes or waits for something else for that long is idle, and so is a stream
   * whose unread bytes have paused reading: use a timeout that is longer than that, or `setTimeouts` for the time of the work.
   */
  idleTimeout?: number | undefined;
  /**
   * The most time that the peer may take to complete what a read waits for, from its first byte on: a line, a frame, the n bytes of
   * `readexactly` or `discard`, with `read()` everything up to EOF. Bytes do not extend it, however fast they arrive. A read
   * that waits for the first byte may wait forever (see `idleTimeout`), and so may the peer while no read waits. A read that is cancelled
   * and started again continues with the same bytes, and with their time. The code of the error is `ERR_READ_TIMEOUT`. Default `Infinity`.
   *
   * `read(n)`, `readinto` and each chunk of `chunks` are complete with their first byte, so it does not concern them.
   */
  readTimeout?: number | undefined;
  /**
   * The most time for which the peer may accept nothing while bytes wait to be sent, as with `closeTimeout`, whose documentation says
   * what counts as progress. The code of the error is `ERR_WRITE_TIMEOUT`. Default `Infinity`.
   */
  writeTimeout?: number | undefined;
}

/** The timeouts of a stream, checked. They do not change; streams with equal ones are watched together. */
export class ConnectionTimeouts {
  readonly key: string;

  constructor(
    readonly idle = Infinity,
    readonly read = Infinity,
    readonly write = Infinity,
    readonly age = Infinity,
  ) {
    this.key = [idle, read, write, age].join();
  }
}

const NONE = new ConnectionTimeouts();

/**
 * The timeouts among the options of `action`, or null if there are none.
 *
 * @param age - whether `maxAge` is one of them
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
 */
export function checkConnectionTimeouts(
  action: string,
  options: TimeoutOptions & { maxAge?: number | undefined },
  { age = false } = {},
): ConnectionTimeouts | null {
  const timeouts = new ConnectionTimeouts(
    checkTime(action, 'idleTimeout', options.idleTimeout),
    checkTime(action, 'readTimeout', options.readTimeout),
    checkTime(action, 'writeTimeout', options.writeTimeout),
    age ? checkTime(action, 'maxAge', options.maxAge) : Infinity,
  );
  return timeouts.key === NONE.key ? null : timeouts;
}

function checkTime(action: string, name: string, ms: unknown): number | undefined {
  if (ms === undefined) return undefined;
  const expected = 'a number of milliseconds above 0, or Infinity';
  if (typeof ms !== 'number') throw invalidType(action, name, expected, ms);
  if (!(ms > 0)) throw outOfRange(action, name, expected, ms);
  return ms;
}

/** The link of a stream, which may have been collected. */
export interface Watched {
  /** The group that watches the stream, and its index there. Only this file changes them. */
  group: Group | null;
  slot: number;
  readonly transport: Transport;
  readonly stream: WatchedStream | null;
  /** A timeout of the stream is over. Called once. */
  expired(error: TimeoutError): void;
}

/** The counters of an open stream. */
export interface WatchedStream {
  /** How many bytes have been received. */
  readonly received: number;
  /** How many bytes the kernel has accepted. */
  readonly accepted: number;
  /** Whether a read waits. */
  readonly waiting: boolean;
  /** Identifies what has arrived in part, as an integer: the same number until it is complete. -1: nothing. */
  readonly unfinished: number;
  /** Whether a TLS handshake is in progress, which has a timeout of its own. */
  readonly upgrading: boolean;
}

/** Begins to watch an open stream. */
export function watchStream(link: Watched, timeouts: ConnectionTimeouts, acceptedAt?: number): void {
  Group.of(timeouts).add(link, acceptedAt);
}

/** Forgets a stream that has ended. */
export function forgetStream(link: Watched): void {
  link.group?.remove(link);
}

/** This side closes the stream: from now on `closeTimeout` applies, and the age. */
export function watchClosing(link: Watched): void {
  if (link.group !== null) change(link, new ConnectionTimeouts(Infinity, Infinity, Infinity, link.group.timeouts.age));
}

/** Changes the timeouts that are given, which are valid. The others continue. */
export function changeTimeouts(link: Watched, { idleTimeout, readTimeout, writeTimeout }: TimeoutOptions): void {
  const { idle, read, write, age } = link.group?.timeouts ?? NONE;
  change(link, new ConnectionTimeouts(idleTimeout ?? idle, readTimeout ?? read, writeTimeout ?? write, age));
}

function change(link: Watched, timeouts: ConnectionTimeouts): void {
  const { group } = link;
  if (timeouts.key === (group?.timeouts ?? NONE).key) return;
  if (timeouts.key === NONE.key) group?.remove(link);
  else if (group === null) Group.of(timeouts).add(link);
  else Group.of(timeouts).moveFrom(group, link);
}

/**
 * Calls `expire` with an error when a connection without a stream, in its handshake, becomes too old.
 *
 * @returns a function that forgets it
 */
export function watchHandshake(
  { age }: ConnectionTimeouts,
  acceptedAt: number,
  transport: Transport,
  expire: (error: TimeoutError) => void,
): () => void {
  if (age === Infinity) return () => {};
  const peer = describePeer(transport);
  const deadline = new Deadline(() => {
    const error = tooOld(peer, age);
    if (timeoutChannel.hasSubscribers) publishTimeout({ option: 'maxAge', timeout: age }, error, transport);
    expire(error);
  }, true);
  setDeadline(deadline, Math.max(acceptedAt + age - clock.now(), 0));
  return () => withdrawDeadline(deadline);
}

/** Whether an error is that of a connection whose time is over, not that of a call. */
export function isConnectionTimeout(error: unknown): error is TimeoutError {
  return error instanceof TimeoutError && error.code !== 'ERR_TIMEOUT';
}

// ---------------------------------------------------------------------------------------------- groups

/** The open streams that have the same timeouts. A group without streams is given up. */
export class Group {
  static readonly #all = new Map<string, Group>();

  readonly timeouts: ConnectionTimeouts;
  readonly #watches: readonly Watch[];
  readonly #links: Watched[] = [];
  readonly #deadline = new Deadline(() => clock.afterPoll(() => this.#look()), true);

  constructor(timeouts: ConnectionTimeouts) {
    this.timeouts = timeouts;
    const { idle, read, write, age } = timeouts;
    // In this order because the first one that is over is reported, and it should be the most specific one.
    this.#watches = [new AgeWatch(age), new ReadWatch(read), new WriteWatch(write), new IdleWatch(idle)].filter(
      ({ ms }) => ms < Infinity,
    );
  }

  static of(timeouts: ConnectionTimeouts): Group {
    const { key } = timeouts;
    let group = Group.#all.get(key);
    if (group === undefined) Group.#all.set(key, (group = new Group(timeouts)));
    return group;
  }

  static {
    onClockChange((shift) => {
      for (const group of Group.#all.values()) for (const watch of group.#watches) watch.shift(shift);
    });
  }

  add(link: Watched, acceptedAt?: number): void {
    const now = clock.now();
    const slot = this.#links.push(link) - 1;
    if (slot === 0) this.#start(now);
    for (const watch of this.#watches) watch.add(slot, link, acceptedAt ?? now);
    link.group = this;
    link.slot = slot;
  }

  /** Takes over a stream from another group. A timeout that is the same in both continues. */
  moveFrom(other: Group, link: Watched): void {
    const before = link.slot;
    this.add(link);
    for (const watch of this.#watches) {
      const same = other.#watches.find(({ name, ms }) => name === watch.name && ms === watch.ms);
      if (same !== undefined) watch.continue(link.slot, same, before);
    }
    other.#removeAt(before);
    this.#schedule(clock.now());
  }

  remove(link: Watched): void {
    this.#removeAt(link.slot);
    link.group = null;
  }

  #removeAt(slot: number): void {
    const last = this.#links.pop()!;
    const left = this.#links.length;
    if (slot !== left) {
      this.#links[slot] = last;
      last.slot = slot;
    }
    for (const watch of this.#watches) watch.remove(slot, left);
    if (left > 0) return;
    withdrawDeadline(this.#deadline);
    Group.#all.delete(this.timeouts.key);
  }

  #start(now: number): void {
    for (const watch of this.#watches) watch.start(now);
    this.#schedule(now);
  }

  #schedule(now: number): void {
    let next = Infinity;
    for (const watch of this.#watches) next = Math.min(next, watch.next);
    withdrawDeadline(this.#deadline);
    setDeadline(this.#deadline, Math.max(next - now, 0));
  }

  #look(): void {
    // The last stream may have left since the deadline.
    if (this.#links.length === 0) return;
    const now = clock.now();
    const due = this.#watches.filter((watch) => watch.next <= now);
    for (const watch of due) watch.beginLook(now);
    const over: [link: Watched, error: TimeoutError, watch: Watch][] = [];
    for (const [slot, link] of this.#links.entries()) {
      const { stream } = link;
      // It has been collected, and its connection is about to be aborted.
      if (stream === null) continue;
      for (const watch of due) {
        if (watch.isOver(slot, stream, link.transport)) {
          over.push([link, watch.error(link.transport), watch]);
          break;
        }
      }
    }
    for (const [link] of over) this.remove(link);
    if (this.#links.length > 0) this.#schedule(now);
    for (const [link, error, watch] of over) {
      if (timeoutChannel.hasSubscribers) {
        publishTimeout({ option: watch.name, timeout: watch.ms }, error, link.transport);
      }
      link.expired(error);
    }
  }
}

// ---------------------------------------------------------------------------------------------- watches

/** How often a watch looks during its timeout. */
const LOOKS = 16;

/** What has happened to a timeout since the last look: it does not run, it starts again, the time does not count, or it counts. */
type Change = 'stopped' | 'started' | 'paused' | 'continues';

/** One timeout of all streams of a group. */
abstract class Watch {
  /** The name of the option. */
  abstract readonly name: string;
  readonly ms: number;
  /** When to look next, as the clock counts. */
  next = 0;
  /** The time that counts. It falls behind the clock if looks come late. */
  #time = 0;
  /** The same at the look before the last. */
  #timeBefore = 0;
  #lookedAt = 0;
  readonly #step: number;

  /**
   * A row for each stream: when its timeout began to run, as {@link #time} counts; then the counters of the last look. NaN: none.
   * All in one array, because an object for each stream would take several times as much memory.
   */
  protected cells: Float64Array;
  readonly #width: number;

  constructor(ms: number, counters: number) {
    this.ms = ms;
    this.#step = Math.max(STEP_MS, ms / LOOKS);
    this.#width = 1 + counters;
    this.cells = new Float64Array(this.#width);
  }

  start(now: number): void {
    this.#lookedAt = now;
    this.next = now + this.#step;
  }

  /** The clock was replaced: adds `ms` to the times on it. */
  shift(ms: number): void {
    this.#lookedAt += ms;
    this.next += ms;
  }

  /** Begins a look: {@link isOver} is then called for each stream. */
  beginLook(now: number): void {
    this.#timeBefore = this.#time;
    this.#time = this.#timeAt(now);
    this.#lookedAt = now;
    this.next = now + this.#step;
  }

  /** Whether the timeout of a stream is over. */
  isOver(slot: number, stream: WatchedStream, transport: Transport): boolean {
    const { cells } = this;
    const at = slot * this.#width;
    const change = this.compare(at + 1, stream, transport);
    if (change === 'stopped') {
      cells.fill(NaN, at, at + this.#width);
      return false;
    }
    if (change === 'started') cells[at] = this.#time;
    if (change === 'paused') cells[at]! += this.#time - this.#timeBefore;
    const left = cells[at]! + this.ms - this.#time;
    this.next = Math.min(this.next, this.#lookedAt + left);
    return left <= 0;
  }

  /** Adds a stream, whose timeout starts now. */
  add(slot: number, { stream, transport }: Watched, _acceptedAt: number): void {
    const at = slot * this.#width;
    // Only a quarter more than necessary, to bound the memory for each stream.
    if (at >= this.cells.length) this.#resize(slot + Math.ceil(slot / 4) + 1);
    this.cells.fill(NaN, at, at + this.#width);
    if (stream === null || this.compare(at + 1, stream, transport) === 'stopped') return;
    this.cells[at] = this.#timeAt(clock.now());
  }

  /** Continues the timeout of a stream that comes from the same watch of another group, where its row was `before`. */
  continue(slot: number, from: Watch, before: number): void {
    const width = this.#width;
    this.cells.set(from.cells.subarray(before * width, (before + 1) * width), slot * width);
    this.cells[slot * width]! += this.aheadOf(from);
    const now = clock.now();
    const left = this.cells[slot * width]! + this.ms - this.#timeAt(now);
    // A stream that moves more often than a group looks would otherwise never be looked at.
    if (left < this.#step) this.next = Math.min(this.next, now + left);
  }

  /** Removes a stream; that of the last row gets its row. */
  remove(slot: number, last: number): void {
    const width = this.#width;
    this.cells.copyWithin(slot * width, last * width, (last + 1) * width);
    if (last * 3 * width < this.cells.length) this.#resize(last + Math.ceil(last / 4) + 1);
  }

  /**
   * Compares the counters of a stream with those of its last look, and replaces them.
   *
   * @param at - where the counters are in {@link cells}
   */
  protected abstract compare(at: number, stream: WatchedStream, transport: Transport): Change;

  /** The error of a stream whose timeout is over. */
  abstract error(transport: Transport): TimeoutError;

  /** Replaces one counter. Returns whether it has changed. */
  protected replace(at: number, value: number): boolean {
    if (this.cells[at] === value) return false;
    this.cells[at] = value;
    return true;
  }

  /** How far the time of this watch is ahead of the time of another one. */
  protected aheadOf(other: Watch): number {
    const now = clock.now();
    return this.#timeAt(now) - (this.countsBetweenLooks ? other.#timeAt(now) : other.#time);
  }

  /** Whether the time since the last look counts for a stream that moves to another group. */
  protected get countsBetweenLooks(): boolean {
    return true;
  }

  #timeAt(now: number): number {
    return this.#time + Math.min(now - this.#lookedAt, 2 * (this.#step + STEP_MS));
  }

  #resize(streams: number): void {
    const cells = new Float64Array(streams * this.#width);
    cells.set(this.cells.subarray(0, Math.min(this.cells.length, cells.length)));
    this.cells = cells;
  }
}

/** No byte moves in either direction. */
class IdleWatch extends Watch {
  readonly name = 'idleTimeout';

  constructor(ms: number) {
    super(ms, 2);
  }

  protected compare(at: number, stream: WatchedStream, transport: Transport): Change {
    // Neither number ever gets less, so their sum changes whenever one of them does.
    const moved = this.replace(at, stream.received + stream.accepted);
    const sent = this.replace(at + 1, unsent(transport));
    return moved || sent || stream.upgrading ? 'started' : 'continues';
  }

  error(transport: Transport): TimeoutError {
    const message = `${this.name}: no byte to or from ${describePeer(transport)} for ${this.ms} ms`;
    return new TimeoutError(message, 'ERR_IDLE_TIMEOUT');
  }
}

/** Added to the counter of a {@link ReadWatch} while no read waits. */
const NOT_WAITING = 0.5;

/** A read waits for the rest of what it has received a part of. The time for which no read waits does not count. */
class ReadWatch extends Watch {
  readonly name = 'readTimeout';

  constructor(ms: number) {
    super(ms, 1);
  }

  // It is not known whether a read has waited since the last look.
  protected override get countsBetweenLooks(): boolean {
    return false;
  }

  protected compare(at: number, { waiting, unfinished }: WatchedStream): Change {
    if (unfinished === -1) return 'stopped';
    const before = this.cells[at]!;
    this.cells[at] = waiting ? unfinished : unfinished + NOT_WAITING;
    if (Math.floor(before) !== unfinished) return 'started';
    // A read that began to wait since the last look may have waited for a moment only.
    return waiting && before === unfinished ? 'continues' : 'paused';
  }

  error(transport: Transport): TimeoutError {
    const message = `${this.name}: ${describePeer(transport)} has not completed within ${this.ms} ms what a read waits for`;
    return new TimeoutError(message, 'ERR_READ_TIMEOUT');
  }
}

/** The kernel accepts none of the bytes that wait to be sent. */
class WriteWatch extends Watch {
  readonly name = 'writeTimeout';

  constructor(ms: number) {
    super(ms, 2);
  }

  protected compare(at: number, { accepted }: WatchedStream, transport: Transport): Change {
    if (transport.pendingBytes === 0) return 'stopped';
    const moved = this.replace(at, accepted);
    const sent = this.replace(at + 1, unsent(transport));
    return moved || sent ? 'started' : 'continues';
  }

  error(transport: Transport): TimeoutError {
    const queued = count(transport.pendingBytes, 'byte');
    const message = `${this.name}: ${describePeer(transport)} has accepted nothing for ${this.ms} ms, with ${queued} waiting to be sent`;
    return new TimeoutError(message, 'ERR_WRITE_TIMEOUT');
  }
}

/** The connection is too old. The rows have the time when it was accepted, as the clock counts. */
class AgeWatch extends Watch {
  readonly name = 'maxAge';

  constructor(ms: number) {
    super(ms, 0);
  }

  override isOver(slot: number): boolean {
    const over = this.cells[slot]! + this.ms;
    this.next = Math.min(this.next, over);
    return over <= clock.now();
  }

  override add(slot: number, link: Watched, acceptedAt: number): void {
    super.add(slot, link, acceptedAt);
    this.cells[slot] = acceptedAt;
  }

  override shift(ms: number): void {
    super.shift(ms);
    // Rows without a stream have no time that matters.
    this.cells.forEach((acceptedAt, slot) => (this.cells[slot] = acceptedAt + ms));
  }

  protected override aheadOf(): number {
    return 0;
  }

  protected compare(): Change {
    return 'continues';
  }

  error(transport: Transport): TimeoutError {
    return tooOld(describePeer(transport), this.ms);
  }
}

function tooOld(peer: string, ms: number): TimeoutError {
  return new TimeoutError(`maxAge: the connection with ${peer} is older than ${ms} ms`, 'ERR_MAX_AGE');
}

/** How many of the bytes that the kernel has accepted it still has to send. It is only asked while more bytes wait. */
function unsent(transport: Transport): number {
  return transport.pendingBytes === 0 ? 0 : (transport.bytesUnsent ?? 0);
}

function describePeer(transport: Transport): string {
  const peer = peerName(transport);
  return peer === null ? 'the peer' : showUnixPath(peer);
}
