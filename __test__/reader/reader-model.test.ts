/**
 * Random reads over random bytes in random chunks, compared with a model that is one Buffer and simple code. The model
 * knows all the bytes from the start: the result of a read must follow from them, never from how they were split. Reads that do not
 * wait are shown only the bytes that have arrived.
 */
// Runs once for each engine: no socket is read.
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { Framing } from 'sluice';
import type { Frames } from '#ts/reader/frames.js';
import type { LineEncoding } from '#ts/reader/decoding.js';
import type { ReaderIntake } from '#ts/reader/intake.js';
import { readerIntake, type StreamReader } from '#ts/reader/reader.js';
import { seed } from '../seed.js';
import { tuned } from './tuned.js';

/** Reads of one result, and the `n` or the framing that they take. */
type NumberKind = 'read' | 'readexactly' | 'peek' | 'readinto' | 'discard' | 'tryRead' | 'tryReadexactly';
type FrameKind = 'readframe' | 'frame' | 'tryReadframe' | 'readframes' | 'batches' | 'tryReadframes';

type Op =
  | { kind: 'readline' | 'readall' | 'next' | 'tryReadline' | 'tryReadall' }
  | { kind: NumberKind | 'window' | 'tryWindow'; n: number }
  | { kind: 'readuntil' | 'tryReaduntil' | FrameKind; cut: Cut }
  | { kind: 'line' | 'batch'; encoding: LineEncoding; keepEnds: boolean }
  | { kind: 'chunks'; n: number; times: number }
  | { kind: 'unread' | 'unreadFrames' | 'consume'; n: number };

interface Step {
  op: Op;
  /** Feeds one chunk before the read starts. */
  ahead: boolean;
  /** Ends the read if it is still waiting after this many more chunks. */
  abortAfter: number | null;
  /** Ends a loop by leaving it, not by its signal. */
  leave: boolean;
  /** Makes the reader release memory while the read waits, as an idle one does. */
  silent: boolean;
}

type Ending = 'eof' | 'error';
type Outcome<T = Buffer | null> = { value: T } | { error: string; partial?: Buffer; expected?: number | null };

// --- framings, and what the model knows of them

const OVER = { error: 'ERR_LIMIT_OVERRUN' } as const;
const MALFORMED = 'ERR_FRAME_MALFORMED';

/** The next frame, without what is skipped from `start` on; why it is refused; or how long it would have to be. */
type Found = { start: number; end: number } | { error: string } | { expected: number | null };

interface Cut {
  readonly framing: Framing;
  find(rest: Buffer, limit: number): Found;
}

function separators(...list: string[]): Cut {
  const longest = Math.max(...list.map((s) => s.length));
  const find = (rest: Buffer, limit: number): Found => {
    for (let end = 1; end <= rest.length; end++) {
      const matches = list.filter((s) => rest.subarray(0, end).toString('latin1').endsWith(s));
      if (matches.length === 0) continue;
      return end - Math.max(...matches.map((s) => s.length)) > limit ? OVER : { start: 0, end };
    }
    return rest.length + 1 - longest > limit ? OVER : { expected: null };
  };
  return { framing: list, find };
}

/** @param measure - the length of the frame, `null` while the bytes are too few to say, or the code of the error that refuses it */
function measured(
  framing: Framing,
  skip: number,
  measure: (rest: Buffer) => number | string | null,
  ownLimit?: number,
): Cut {
  const find = (rest: Buffer, readerLimit: number): Found => {
    const limit = ownLimit ?? readerLimit;
    const length = rest.length === 0 ? null : measure(rest);
    if (typeof length === 'string') return { error: length };
    if (length === null) return framing === MIRRORED && rest.length > limit ? OVER : { expected: null };
    if (length > limit) return OVER;
    return length > rest.length ? { expected: length } : { start: skip, end: length };
  };
  return { framing, find };
}

/** The body is as long as the header, which ends with a line feed. */
function mirrored(rest: Buffer): number | string | null {
  if (rest[0] === 0xff) return 'MINE';
  if (rest[0] === 0xc3) return MALFORMED;
  return rest.includes(0x0a) ? 2 * rest.indexOf(0x0a) + 1 : null;
}

const MIRRORED = {
  frameLength(bytes: Uint8Array, start: number, end: number): number {
    const length = mirrored(Buffer.from(bytes.subarray(start, end)));
    if (length === 'MINE') throw Object.assign(new Error('not my protocol'), { code: length });
    return length === MALFORMED ? -1 : Number(length ?? 0);
  },
};

const LINES = separators('\n');
const SEPARATORS = [
  LINES,
  separators('\r\n'),
  separators('\r\n\r\n'),
  separators('aa'),
  separators('b', 'ab'),
  separators('\n', '\r\n'),
  separators('xa', 'aab', 'b\n'),
];
const LENGTHS = [
  measured({ length: 'uint8', skip: 'header' }, 1, (rest) => 1 + rest[0]!),
  measured({ length: 'uint16be', offset: 1, adjust: -1 }, 0, (rest) => {
    if (rest.length < 3) return null;
    const value = rest.readUInt16BE(1);
    return value === 0 ? MALFORMED : 2 + value;
  }),
  measured({ length: 'varint', maxLengthBytes: 2, skip: 2 }, 2, (rest) => {
    const [low = 0, high] = rest;
    if (low < 0x80) return low === 0 ? MALFORMED : 1 + low;
    if (high === undefined) return null;
    return high < 0x80 ? 2 + (low & 0x7f) + 128 * high : MALFORMED;
  }),
  measured({ size: 3 }, 0, () => 3, 3),
  measured(MIRRORED, 0, mirrored),
];

// --- the model

class Model {
  /** The unread bytes, those that have not arrived included. */
  rest: Buffer;
  /** How many of them have arrived. */
  arrived = 0;
  /** How many of those that come next were dropped before they arrived, with an overlong line. */
  dropped = 0;

  constructor(
    all: Buffer,
    readonly limit: number,
    readonly ending: Ending | 'open',
  ) {
    this.rest = Buffer.from(all);
  }

  arrive(n: number): void {
    const gone = Math.min(n, this.dropped);
    this.dropped -= gone;
    this.arrived += n - gone;
  }

  drop(n: number): void {
    this.rest = this.rest.subarray(n);
    this.dropped += Math.max(0, n - this.arrived);
    this.arrived = Math.max(0, this.arrived - n);
  }

  unread(data: Buffer): void {
    this.rest = Buffer.concat([data, this.rest]);
    this.arrived += data.length;
  }

  take(n: number): Outcome {
    const value = this.rest.subarray(0, n);
    this.drop(n);
    return { value };
  }

  /** The outcome of a read that needs more bytes than are left. `kept`: what it consumes at EOF becomes its `partial`. */
  incomplete(expected: number | null, kept = true): Outcome | undefined {
    if (this.ending === 'open') return undefined;
    const partial = this.rest;
    if (!kept) this.drop(partial.length);
    if (this.ending === 'error') return { error: 'ECONNRESET' };
    this.drop(partial.length);
    return { error: 'ERR_INCOMPLETE_READ', partial: kept ? partial : Buffer.alloc(0), expected };
  }

  /** The next frame, with all its bytes in `whole`; `null` or an error at the end. */
  frame(cut: Cut): (Outcome & { whole?: Buffer }) | undefined {
    const found = cut.find(this.rest, this.limit);
    if ('error' in found) return found;
    if ('expected' in found) {
      if (this.rest.length === 0 && this.ending === 'eof') return { value: null };
      return this.incomplete(found.expected);
    }
    const whole = this.rest.subarray(0, found.end);
    this.drop(found.end);
    return { value: whole.subarray(found.start), whole };
  }

  line(): Outcome | undefined {
    const end = this.rest.indexOf('\n');
    if (end > this.limit || (end === -1 && this.rest.length > this.limit)) {
      this.drop(end === -1 ? this.rest.length : end + 1);
      return OVER;
    }
    return end === -1 ? this.all() : this.take(end + 1);
  }

  all(): Outcome | undefined {
    if (this.ending === 'open') return undefined;
    return this.ending === 'error' ? { error: 'ECONNRESET' } : this.take(this.rest.length);
  }

  /** What a read of any bytes gives: those that have arrived. */
  some(n: number): Outcome | undefined {
    const size = Math.min(n, this.arrived);
    return size > 0 ? this.take(size) : this.all();
  }

  /** Everything that has arrived, if that is enough. */
  window(atLeast: number): Outcome | undefined {
    const ended = this.arrived === this.rest.length;
    if (this.arrived < atLeast && (!ended || this.ending !== 'eof')) return ended ? this.all() : undefined;
    return { value: this.rest.subarray(0, this.arrived) };
  }

  /** The outcome of a read; undefined where it waits, or a `try` is undefined. */
  run(op: Op): Outcome | undefined {
    switch (op.kind) {
      case 'readline':
      case 'tryReadline':
      case 'next':
      case 'line':
      case 'batch':
        return this.line();
      case 'readall':
      case 'tryReadall':
        return this.all();
      case 'read':
      case 'readinto':
      case 'tryRead':
        return this.some(op.n);
      case 'readexactly':
      case 'tryReadexactly':
        return op.n <= this.rest.length ? this.take(op.n) : this.incomplete(op.n);
      case 'discard':
        if (op.n > this.rest.length) return this.incomplete(op.n, false);
        this.drop(op.n);
        return { value: null };
      case 'peek':
        if (op.n > this.rest.length && this.ending === 'error') return { error: 'ECONNRESET' };
        return { value: this.rest.subarray(0, op.n) };
      case 'window':
      case 'tryWindow':
        return this.window(op.n);
      case 'readuntil':
      case 'tryReaduntil': {
        const frame = this.frame(op.cut);
        return frame !== undefined && 'value' in frame && frame.value === null ? this.incomplete(null) : frame;
      }
      case 'readframe':
      case 'frame':
      case 'tryReadframe':
      case 'readframes':
      case 'batches':
      case 'tryReadframes':
        return this.frame(op.cut);
      default:
        throw new Error(`not modelled: ${op.kind}`);
    }
  }

  /** The model of the bytes that have arrived, and of the end if that has. */
  seen(ended: boolean): Model {
    const model = new Model(this.rest.subarray(0, this.arrived), this.limit, ended ? this.ending : 'open');
    model.arrived = this.arrived;
    return model;
  }
}

/** Feeds as a transport does: into the reader's own memory if it offers some, else from memory that is reused. */
class Source {
  readonly scratch = Buffer.alloc(64);
  readonly intake: ReaderIntake;
  target: Uint8Array | null = null;
  at = 0;
  constructor(
    readonly reader: StreamReader,
    readonly all: Buffer,
    readonly sizes: readonly number[],
    readonly ending: Ending,
    readonly direct: boolean,
  ) {
    this.intake = readerIntake(reader);
    if (direct) this.target = this.intake.readTarget();
  }

  turn = 0;
  ended = false;

  feed(): void {
    if (this.at === this.all.length) {
      this.ended = true;
      if (this.ending === 'eof') this.reader.feedEof();
      else this.reader.setException(Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
      return;
    }
    const wanted = this.sizes[this.turn++ % this.sizes.length] as number;
    const room = this.direct ? (this.target ?? this.scratch).length : wanted;
    const chunk = this.all.subarray(this.at, this.at + Math.min(wanted, room));
    this.at += chunk.length;
    if (!this.direct) {
      const copy = Buffer.from(chunk);
      this.reader.feedData(copy);
      copy.fill(0xee);
      return;
    }
    if (this.target === null) {
      this.scratch.set(chunk);
      this.intake.feed(this.scratch.subarray(0, chunk.length));
      this.scratch.fill(0xee);
    } else {
      this.target.set(chunk);
      this.intake.commit(chunk.length);
    }
    // Now and then too many others hold memory.
    this.target = this.intake.readTarget(this.turn % 5 > 0);
  }
}

async function outcome<T>(result: () => T | Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await result() };
  } catch (error) {
    const { code, partial, expected } = error as { code?: string; partial?: Buffer; expected?: number | null };
    if (code === undefined) throw error;
    return partial === undefined ? { error: code } : { error: code, partial, expected: expected ?? null };
  }
}

function turns(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const reason = Object.assign(new Error('changed my mind'), { code: 'ABORTED' });

/** The bytes of a line as a string. */
function text(line: Buffer, { encoding, keepEnds }: { encoding: LineEncoding; keepEnds: boolean }): string {
  const ended = line.at(-1) === 0x0a && !keepEnds;
  const body = ended ? line.subarray(0, line.at(-2) === 0x0d ? -2 : -1) : line;
  return body.toString(encoding);
}

// --- the reads

type Options = { signal?: AbortSignal } | undefined;
/** What a read gives: bytes, many frames or lines, or nothing. */
type Result = Buffer | Frames | string[] | null;
type Loop<T> = AsyncIterableIterator<T, undefined>;

/** A read that was started; `leave` ends the loop that it is a step of. */
interface Started {
  result: () => Promise<Result>;
  leave?: () => unknown;
}

function step<T>(loop: Loop<T>, of: (value: T) => Result, done: Result): Started {
  const next = loop.next();
  return {
    result: async () => {
      const { done: ended, value } = await next;
      return ended === true ? done : of(value);
    },
    leave: () => loop.return?.(),
  };
}

/** A read that waits; undefined for those that do not. */
function start(reader: StreamReader, op: Op, lines: Loop<Buffer>, options: Options): Started | undefined {
  const plain = (result: Promise<Result>): Started => ({ result: () => result });
  switch (op.kind) {
    case 'readline':
      return plain(reader.readline(options));
    case 'next':
      return { result: step(lines, (line) => line, Buffer.alloc(0)).result };
    case 'readall':
      return plain(reader.read(-1, options));
    case 'read':
      return plain(reader.read(op.n, options));
    case 'readexactly':
      return plain(reader.readexactly(op.n, options));
    case 'peek':
      return plain(reader.peek(op.n, options));
    case 'window':
      return plain(reader.window(op.n, options));
    case 'discard':
      return plain(reader.discard(op.n, options).then(() => null));
    case 'readuntil':
      return plain(reader.readuntil(op.cut.framing as string[], options));
    case 'readframe':
      return plain(reader.readframe(op.cut.framing, options));
    case 'readframes':
      return plain(reader.readframes(op.cut.framing, options));
    case 'frame':
      return step(reader.frames(op.cut.framing, options), (frame) => frame, null);
    case 'batches':
      return step(reader.frames(op.cut.framing, options).batches(), (frames) => frames, []);
    case 'line':
      return step(reader.lines({ ...op, ...options }), (line) => [line], []);
    case 'batch':
      return step(reader.lines({ ...op, ...options }).batches(), (batch) => batch, []);
    case 'readinto': {
      const memory = Buffer.alloc(op.n, 0xdd);
      const result = reader.readinto(memory, options).then((n) => {
        if (!memory.subarray(n).every((b) => b === 0xdd)) throw new Error('readinto wrote after its result');
        return memory.subarray(0, n);
      });
      return plain(result);
    }
    default:
      return undefined;
  }
}

/** A read that does not wait. */
function attempt(reader: StreamReader, op: Op): Result | undefined {
  switch (op.kind) {
    case 'tryRead':
      return reader.tryRead(op.n);
    case 'tryReadall':
      return reader.tryRead();
    case 'tryReadline':
      return reader.tryReadline();
    case 'tryReadexactly':
      return reader.tryReadexactly(op.n);
    case 'tryWindow':
      return reader.tryWindow(op.n);
    case 'tryReaduntil':
      return reader.tryReaduntil(op.cut.framing as string[]);
    case 'tryReadframe':
      return reader.tryReadframe(op.cut.framing);
    case 'tryReadframes':
      return reader.tryReadframes(op.cut.framing);
    default:
      throw new Error(`${op.kind} is not a try`);
  }
}

/** The kinds of which one read gives the results of many. */
const MANY: ReadonlySet<Op['kind']> = new Set(['readframes', 'batches', 'tryReadframes', 'line', 'batch']);

/** One run: the reader and the model, and what is on loan. */
class Run {
  readonly model: Model;
  readonly source: Source;
  readonly lines: Loop<Buffer>;
  readonly kept: { got: Buffer; was: Buffer }[] = [];
  taken = Buffer.alloc(0);
  lent: { frames: Frames; was: Buffer[]; whole: Buffer[] } | null = null;
  shown: { window: Buffer; was: Buffer } | null = null;

  constructor(
    readonly t: ExecutionContext,
    readonly reader: StreamReader,
    all: Buffer,
    sizes: readonly number[],
    ending: Ending,
    direct: boolean,
  ) {
    this.model = new Model(all, reader.limit, ending);
    this.source = new Source(reader, all, sizes, ending, direct);
    this.lines = reader[Symbol.asyncIterator]();
  }

  feed(): void {
    const before = this.source.at;
    this.source.feed();
    this.model.arrive(this.source.at - before);
  }

  /** What is on loan has not changed. */
  intact(): void {
    const { t, lent, shown } = this;
    if (lent !== null) t.deepEqual([...lent.frames], lent.was, 'frames changed while they were lent');
    if (shown !== null) t.deepEqual(shown.window, shown.was, 'a window changed while it was valid');
  }

  /** A read has begun: what was on loan is not any more. */
  expired(): void {
    if (this.lent !== null) {
      const { frames } = this.lent;
      for (const use of [() => frames.length, () => frames.at(0), () => frames.bytes, () => frames.unread(0)]) {
        this.t.throws(use, { code: 'ERR_FRAMES_EXPIRED' });
      }
    }
    this.lent = this.shown = null;
  }

  async step({ op, ahead, abortAfter, leave, silent }: Step): Promise<void> {
    const { t, model, source, reader } = this;
    if (ahead && !source.ended) this.feed();
    this.intact();
    if (op.kind === 'unread' || op.kind === 'unreadFrames' || op.kind === 'consume') this.move(op.kind, op.n);
    else if (op.kind === 'chunks') await this.chunks(op.n, op.times, abortAfter, leave);
    else if (op.kind.startsWith('try')) await this.try(op);
    else await this.read(op, abortAfter, leave, silent);
    this.intact();
    t.is(reader.buffered, model.arrived, `${op.kind}: bytes left`);
  }

  /** What is no read. */
  move(kind: 'unread' | 'unreadFrames' | 'consume', n: number): void {
    const { model, reader, lent } = this;
    if (kind === 'consume') {
      const size = Math.min(n, model.arrived);
      reader.consume(size);
      model.drop(size);
      this.expired();
    } else if (kind === 'unread') {
      const data = this.taken.subarray(Math.max(0, this.taken.length - n));
      reader.unread(data);
      model.unread(data);
      this.taken = this.taken.subarray(0, this.taken.length - data.length);
    } else if (lent !== null) {
      const from = n % (lent.was.length + 1);
      lent.frames.unread(from);
      model.unread(Buffer.concat(lent.whole.splice(from)));
      lent.was.splice(from);
    }
  }

  /** Feeds until the read has settled, or is ended. */
  async settle(promise: Promise<unknown>, abortAfter: number | null, end: () => void, silent = false): Promise<void> {
    let settled = false;
    void promise.finally(() => (settled = true));
    for (let chunks = 0; ; chunks++) {
      await turns();
      if (settled) return;
      if (abortAfter !== null && chunks >= abortAfter) {
        end();
        return;
      }
      if (this.source.ended) throw new Error('it still waits after the end');
      if (silent) readerIntake(this.reader).shrink();
      this.feed();
    }
  }

  async read(op: Op, abortAfter: number | null, leave: boolean, silent: boolean): Promise<void> {
    const { t, model, reader } = this;
    const controller = new AbortController();
    const started = start(reader, op, this.lines, abortAfter === null ? undefined : { signal: controller.signal });
    if (started === undefined) throw new Error(`${op.kind} is not started here`);
    const promise = outcome(started.result);
    this.expired();
    let left = false;
    const end = (): void => {
      left = leave && started.leave !== undefined;
      if (left) void started.leave?.();
      else controller.abort(reason);
    };
    await this.settle(promise, op.kind === 'next' ? null : abortAfter, end, silent);
    const got = await promise;
    if (left) t.true('value' in got && (got.value === null || got.value.length === 0), op.kind);
    else if (!('error' in got) || got.error !== 'ABORTED') this.check(op, got);
    // What a discard has dropped until then stays dropped.
    else if (op.kind === 'discard') model.drop(Math.min(op.n, model.arrived));
  }

  async try(op: Op): Promise<void> {
    const { t, model, reader, source } = this;
    const seen = model.seen(source.ended).run(op);
    const got = await outcome(() => attempt(reader, op) as Result);
    if (seen === undefined) {
      t.deepEqual(got, { value: undefined as never }, `${op.kind} should be undefined`);
      this.intact();
      return;
    }
    t.notDeepEqual(got, { value: undefined as never }, `${op.kind} has a result`);
    this.expired();
    this.check(op, got);
  }

  /** Compares what a read gave with what the model gives, and remembers what is on loan. */
  check(op: Op, got: Outcome<Result>): void {
    const { t, model } = this;
    if ('value' in got && MANY.has(op.kind)) {
      this.checkMany(op, got.value as Frames | string[]);
      return;
    }
    const expected = model.run(op) as (Outcome & { whole?: Buffer }) | undefined;
    const whole = expected?.whole;
    if (expected !== undefined) delete expected.whole;
    t.deepEqual(got, expected as Outcome<Result>, op.kind);
    if (!('value' in got) || got.value === null) return;
    const value = got.value as Buffer;
    if (op.kind === 'window' || op.kind === 'tryWindow') {
      this.shown = { window: value, was: Buffer.from(value) };
      return;
    }
    this.kept.push({ got: value, was: Buffer.from(value) });
    if (op.kind !== 'peek') this.taken = Buffer.concat([this.taken, whole ?? value]);
  }

  checkMany(op: Op, value: Frames | string[]): void {
    const { t, model, source } = this;
    const was: Buffer[] = [];
    const whole: Buffer[] = [];
    while (was.length < value.length) {
      const next = model.run(op) as (Outcome & { whole?: Buffer }) | undefined;
      if (next === undefined || 'error' in next || next.value === null) {
        throw new Error(`${op.kind} gave ${value.length}, and number ${was.length} is no frame`);
      }
      was.push(next.value);
      whole.push(next.whole ?? next.value);
    }
    if (value.length === 0) t.true(source.ended && model.ending === 'eof' && model.rest.length === 0, op.kind);
    this.taken = Buffer.concat([this.taken, ...whole]);
    if (op.kind === 'line' || op.kind === 'batch') {
      t.deepEqual(
        value,
        was.map((line) => text(line, op)),
      );
      return;
    }
    if (Array.isArray(value)) return;
    this.lent = { frames: value, was, whole };
    const latin1 = was.map((frame) => frame.toString('latin1'));
    t.deepEqual(value.texts('latin1'), latin1);
    t.deepEqual(
      [...value.ends].map((end, i) => value.bytes.subarray(value.starts[i], end)),
      was,
    );
    const more = value.length === 0 ? undefined : model.seen(source.ended).run(op);
    t.true(more === undefined || 'error' in more || more.value === null, `${op.kind} left a complete frame`);
  }

  /** A few steps of a loop over chunks, which is then left. */
  async chunks(n: number, times: number, abortAfter: number | null, leave: boolean): Promise<void> {
    const { t, model, reader } = this;
    const controller = new AbortController();
    const loop = reader.chunks(n, { signal: controller.signal });
    for (let i = 0, left = n; i < times; i++) {
      const promise = outcome(() => loop.next());
      this.expired();
      const end = leave ? (): unknown => loop.return?.() : (): void => controller.abort(reason);
      await this.settle(promise, abortAfter, end);
      const got = await promise;
      if ('error' in got) {
        if (got.error === 'ABORTED') return;
        t.deepEqual(got as Outcome, model.incomplete(n));
        t.is(model.arrived, 0);
        return;
      }
      if (got.value.done === true) break;
      const chunk = got.value.value;
      left -= chunk.length;
      t.deepEqual({ value: chunk } as Outcome, model.some(left + chunk.length));
      this.kept.push({ got: chunk, was: Buffer.from(chunk) });
      this.taken = Buffer.concat([this.taken, chunk]);
    }
    await loop.return?.();
  }

  async end(): Promise<void> {
    const { t, model, source, reader, kept } = this;
    while (!source.ended) this.feed();
    this.intact();
    t.is(reader.bytesRead, source.all.length);
    if (model.ending === 'eof') {
      t.deepEqual(await reader.read(), model.rest);
      t.true(reader.atEof());
    }
    for (const { got, was } of kept) t.deepEqual(got, was, 'a result changed after it was given');
  }
}

// --- any of them

const byte = fc.constantFrom(...Buffer.from('aab\r\n\nx'), 0, 1, 2, 3, 9, 20, 30, 0x80, 0x81, 0xc3, 0xa9, 0xff);
const bytes = fc.array(byte, { maxLength: 300, size: 'max' }).map((a) => Buffer.from(a));
const size = fc.integer({ min: 1, max: 60 });
const separator = fc.constantFrom(...SEPARATORS);
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom<Op>({ kind: 'readline' }, { kind: 'tryReadline' }) },
  { weight: 1, arbitrary: fc.constant<Op>({ kind: 'next' }) },
  { weight: 1, arbitrary: fc.constantFrom<Op>({ kind: 'readall' }, { kind: 'tryReadall' }) },
  {
    weight: 8,
    arbitrary: fc.record({ kind: fc.constantFrom('read', 'readexactly', 'peek', 'readinto'), n: size }),
  },
  {
    weight: 10,
    arbitrary: fc.record({
      kind: fc.constantFrom('tryRead', 'tryReadexactly', 'discard', 'window', 'window', 'tryWindow'),
      n: size,
    }),
  },
  { weight: 6, arbitrary: fc.record({ kind: fc.constantFrom('readuntil', 'tryReaduntil'), cut: separator }) },
  {
    weight: 16,
    arbitrary: fc.record({
      kind: fc.constantFrom<FrameKind>(
        ...(['readframe', 'frame', 'tryReadframe', 'readframes', 'readframes', 'batches', 'tryReadframes'] as const),
      ),
      cut: fc.oneof(separator, fc.constantFrom(...LENGTHS), fc.constantFrom(...LENGTHS)),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom('line', 'line', 'batch'),
      encoding: fc.constantFrom<LineEncoding>('utf8', 'utf8', 'latin1', 'ascii'),
      keepEnds: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('chunks'), n: size, times: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constantFrom('unread', 'unreadFrames', 'consume'), n: size }),
  },
);
const steps: fc.Arbitrary<Step> = fc.record({
  op,
  ahead: fc.boolean(),
  abortAfter: fc.option(fc.integer({ min: 0, max: 2 }), { freq: 4 }),
  leave: fc.boolean(),
  silent: fc.boolean(),
});

for (const direct of [false, true]) {
  test(`any reads of any chunks, ${direct ? 'fed as by a transport' : 'fed by feedData'}, return what the model returns`, async (t) => {
    const property = fc.asyncProperty(
      bytes,
      fc.array(steps, { maxLength: 60, size: 'max' }),
      fc.array(fc.constantFrom(1, 1, 2, 3, 7, 20, 64), { minLength: 1, maxLength: 20, size: 'max' }),
      fc.integer({ min: 1, max: 40 }),
      fc.constantFrom<Ending>('eof', 'error'),
      async (all, steps, sizes, limit, ending) => {
        const reader = tuned({ limit }, { largeRead: 16, fullChunk: 20, directRead: 24, directMost: 40 });
        const run = new Run(t, reader, all, sizes, ending, direct);
        for (const step of steps) await run.step(step);
        await run.end();
      },
    );
    await fc.assert(property, { seed: seed(t), numRuns: 400 });
  });
}
