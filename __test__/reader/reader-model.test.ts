/**
 * Random reads over random bytes in random chunks, compared with a model that is one Buffer and simple code. The model
 * knows all the bytes from the start: the result of a read must follow from them, never from how they were split.
 */
// Runs once for each engine: no socket is read.
import test from 'ava';
import fc from 'fast-check';
import type { Frames } from '#ts/reader/frames.js';
import type { LineEncoding } from '#ts/reader/lines.js';
import type { ReaderIntake } from '#ts/reader/intake.js';
import { readerIntake, type StreamReader } from '#ts/reader/reader.js';
import { seed } from '../seed.js';
import { tuned } from './tuned.js';

type Op =
  | { kind: 'readline' | 'readall' | 'next' }
  | { kind: 'read' | 'readexactly' | 'peek' | 'readinto'; n: number }
  | { kind: 'readuntil' | 'readframes'; separators: string[] }
  | { kind: 'line' | 'batch'; encoding: LineEncoding; keepEnds: boolean }
  | { kind: 'unread'; n: number };

interface Step {
  op: Op;
  /** Feeds one chunk before the read starts. */
  ahead: boolean;
  /** Aborts the read if it is still waiting after this many more chunks. */
  abortAfter: number | null;
  /** Makes the reader release memory while the read waits, as an idle one does. */
  silent: boolean;
}

type Outcome<T = Buffer> = { value: T } | { error: string; partial?: Buffer; expected?: number | null };

class Model {
  rest: Buffer;
  constructor(
    all: Buffer,
    readonly limit: number,
    readonly ending: 'eof' | 'error',
  ) {
    this.rest = Buffer.from(all);
  }

  take(n: number): Outcome {
    const value = this.rest.subarray(0, n);
    this.rest = this.rest.subarray(n);
    return { value };
  }

  incomplete(expected: number | null): Outcome {
    if (this.ending === 'error') return { error: 'ECONNRESET' };
    const partial = this.rest;
    this.rest = Buffer.alloc(0);
    return { error: 'ERR_INCOMPLETE_READ', partial, expected };
  }

  run(op: Op): Outcome {
    switch (op.kind) {
      case 'readline':
      case 'next':
      case 'line':
      case 'batch': {
        const end = this.rest.indexOf('\n');
        if (end > this.limit || (end === -1 && this.rest.length > this.limit)) {
          this.rest = end === -1 ? Buffer.alloc(0) : this.rest.subarray(end + 1);
          return { error: 'ERR_LIMIT_OVERRUN' };
        }
        if (end !== -1) return this.take(end + 1);
        return this.ending === 'error' ? { error: 'ECONNRESET' } : this.take(this.rest.length);
      }
      case 'readuntil':
      case 'readframes': {
        for (let end = 1; end <= this.rest.length; end++) {
          const matches = op.separators.filter((s) => this.rest.subarray(0, end).toString('latin1').endsWith(s));
          if (matches.length === 0) continue;
          const body = end - Math.max(...matches.map((s) => s.length));
          return body > this.limit ? { error: 'ERR_LIMIT_OVERRUN' } : this.take(end);
        }
        const longest = Math.max(...op.separators.map((s) => s.length));
        if (this.rest.length + 1 - longest > this.limit) return { error: 'ERR_LIMIT_OVERRUN' };
        return this.incomplete(null);
      }
      case 'readexactly':
        return op.n <= this.rest.length ? this.take(op.n) : this.incomplete(op.n);
      case 'peek':
        if (op.n > this.rest.length && this.ending === 'error') return { error: 'ECONNRESET' };
        return { value: this.rest.subarray(0, op.n) };
      case 'readall':
        return this.ending === 'error' ? { error: 'ECONNRESET' } : this.take(this.rest.length);
      default:
        throw new Error(`not modelled: ${op.kind}`);
    }
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
    readonly ending: 'eof' | 'error',
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

async function outcome<T>(promise: Promise<T>): Promise<Outcome<T>> {
  try {
    return { value: await promise };
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

/** The result of a read of many frames at once. */
type Many = Frames | string[];

function startMany(reader: StreamReader, op: Op, signal?: AbortSignal): Promise<Many> | null {
  switch (op.kind) {
    case 'readframes':
      return reader.readframes(op.separators, { signal });
    case 'line':
      return reader
        .lines({ ...op, signal })
        .next()
        .then(({ done, value }) => (done === true ? [] : [value]));
    case 'batch':
      return reader
        .lines({ ...op, signal })
        .batches()
        .next()
        .then(({ done, value }) => (done === true ? [] : value));
    default:
      return null;
  }
}

function start(reader: StreamReader, op: Op, iterator: AsyncIterator<Buffer>, signal?: AbortSignal): Promise<Buffer> {
  const options = signal === undefined ? undefined : { signal };
  switch (op.kind) {
    case 'readline':
      return reader.readline(options);
    case 'next':
      return iterator.next().then((r) => (r.done === true ? Buffer.alloc(0) : r.value));
    case 'readall':
      return reader.read(-1, options);
    case 'read':
      return reader.read(op.n, options);
    case 'readexactly':
      return reader.readexactly(op.n, options);
    case 'peek':
      return reader.peek(op.n, options);
    case 'readuntil':
      return reader.readuntil(op.separators, options);
    case 'readinto': {
      const memory = Buffer.alloc(op.n, 0xdd);
      return reader.readinto(memory, options).then((n) => {
        if (!memory.subarray(n).every((b) => b === 0xdd)) throw new Error('readinto wrote behind its result');
        return memory.subarray(0, n);
      });
    }
    default:
      throw new Error(`${op.kind} is not started here`);
  }
}

const byte = fc.constantFrom(...Buffer.from('aab\r\n\nx'), 0xc3, 0xa9, 0xff);
const bytes = fc.array(byte, { maxLength: 300, size: 'max' }).map((a) => Buffer.from(a));
const size = fc.integer({ min: 1, max: 60 });
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 6, arbitrary: fc.constant<Op>({ kind: 'readline' }) },
  { weight: 1, arbitrary: fc.constant<Op>({ kind: 'next' }) },
  { weight: 1, arbitrary: fc.constant<Op>({ kind: 'readall' }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constantFrom('read', 'readexactly', 'peek', 'readinto'),
      n: size,
    }),
  },
  {
    weight: 6,
    arbitrary: fc
      .constantFrom(['\n'], ['\r\n'], ['\r\n\r\n'], ['aa'], ['b', 'ab'], ['\n', '\r\n'], ['xa', 'aab', 'b\n'])
      .map<Op>((separators) => ({ kind: 'readuntil', separators: [...separators] })),
  },
  {
    weight: 5,
    arbitrary: fc
      .constantFrom(['\n'], ['\n'], ['\r\n'], ['aa'], ['b', 'ab'], ['xa', 'aab', 'b\n'])
      .map<Op>((separators) => ({ kind: 'readframes', separators: [...separators] })),
  },
  {
    weight: 5,
    arbitrary: fc.record({
      kind: fc.constantFrom('line', 'line', 'batch'),
      encoding: fc.constantFrom<LineEncoding>('utf8', 'utf8', 'latin1', 'ascii'),
      keepEnds: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('unread'), n: size }) },
);
const step: fc.Arbitrary<Step> = fc.record({
  op,
  ahead: fc.boolean(),
  abortAfter: fc.option(fc.integer({ min: 0, max: 2 }), { freq: 4 }),
  silent: fc.boolean(),
});

for (const direct of [false, true]) {
  test(`any reads of any chunks, ${direct ? 'fed as by a transport' : 'fed by feedData'}, return what the model returns`, async (t) => {
    const run = fc.asyncProperty(
      bytes,
      fc.array(step, { maxLength: 60, size: 'max' }),
      fc.array(fc.constantFrom(1, 1, 2, 3, 7, 20, 64), { minLength: 1, maxLength: 20, size: 'max' }),
      fc.integer({ min: 1, max: 40 }),
      fc.constantFrom<'eof' | 'error'>('eof', 'error'),
      async (all, steps, sizes, limit, ending) => {
        const reader = tuned({ limit }, { largeRead: 16, fullChunk: 20, directRead: 24, directMost: 40 });
        const model = new Model(all, limit, ending);
        const source = new Source(reader, all, sizes, ending, direct);
        const iterator = reader[Symbol.asyncIterator]();
        const kept: { got: Buffer; was: Buffer }[] = [];
        let taken = Buffer.alloc(0);
        let lent: { frames: Frames; was: Buffer[] } | null = null;
        const intact = (): void => {
          if (lent !== null) t.deepEqual([...lent.frames], lent.was, 'frames changed while they were lent');
        };

        for (const { op, ahead, abortAfter, silent } of steps) {
          if (ahead && !source.ended) source.feed();
          intact();
          if (op.kind === 'unread') {
            const data = taken.subarray(Math.max(0, taken.length - op.n));
            reader.unread(data);
            model.rest = Buffer.concat([data, model.rest]);
            taken = taken.subarray(0, taken.length - data.length);
            intact();
            continue;
          }
          const controller = new AbortController();
          const signal = abortAfter === null ? undefined : controller.signal;
          let settled = false;
          const many = startMany(reader, op, signal);
          const promise = outcome<Buffer | Many>(many ?? start(reader, op, iterator, signal)).finally(
            () => (settled = true),
          );
          if (lent !== null) {
            const { frames } = lent;
            for (const use of [() => frames.length, () => frames.at(0), () => frames.bytes, () => [...frames]]) {
              t.throws(use, { code: 'ERR_FRAMES_EXPIRED' });
            }
            lent = null;
          }
          let chunks = 0;
          for (;;) {
            await turns();
            if (settled) break;
            if (abortAfter !== null && chunks >= abortAfter && op.kind !== 'next') {
              controller.abort(reason);
              break;
            }
            if (source.ended) throw new Error(`${op.kind} still waits after the end`);
            if (silent) readerIntake(reader).shrink();
            source.feed();
            chunks++;
          }
          const got = await promise;
          if ('error' in got && got.error === 'ABORTED') continue;
          if (op.kind === 'readframes' || op.kind === 'line' || op.kind === 'batch') {
            if ('error' in got) {
              t.deepEqual(got, model.run(op), op.kind);
              continue;
            }
            const value = got.value as Many;
            const was: Buffer[] = [];
            while (was.length < value.length) {
              const next = model.run(op);
              if ('error' in next)
                throw new Error(`${op.kind} gave ${value.length}, and number ${was.length} is an error`);
              was.push(next.value);
            }
            if (value.length === 0) t.true(source.ended && ending === 'eof' && model.rest.length === 0, op.kind);
            if (op.kind !== 'line' && op.kind !== 'batch') {
              lent = { frames: value as Frames, was };
              intact();
              t.deepEqual(
                (value as Frames).texts('latin1'),
                was.map((frame) => frame.toString('latin1')),
              );
            } else {
              t.deepEqual(
                value,
                was.map((line) => text(line, op)),
              );
            }
            taken = Buffer.concat([taken, ...was]);
            continue;
          }
          if (op.kind === 'read' || op.kind === 'readinto') {
            if ('value' in got) {
              const n = (got.value as Buffer).length;
              t.true(
                n <= op.n && (n > 0 || (model.rest.length === 0 && source.ended)),
                `${op.kind}(${op.n}) gave ${n}`,
              );
              t.deepEqual(got, model.take(n));
            } else {
              t.deepEqual(got, { error: 'ECONNRESET' });
              t.is(model.rest.length, 0);
            }
          } else {
            t.deepEqual(got, model.run(op), op.kind);
          }
          if ('value' in got) {
            const value = got.value as Buffer;
            kept.push({ got: value, was: Buffer.from(value) });
            if (op.kind !== 'peek') taken = Buffer.concat([taken, value]);
          }
        }
        while (!source.ended) source.feed();
        intact();
        t.is(reader.bytesRead, all.length);
        if (ending === 'eof') {
          // The rest of an overlong line: the model discarded it at once, the reader as it arrived.
          t.deepEqual(await reader.read(), model.rest);
          t.true(reader.atEof());
        }
        for (const { got, was } of kept) t.deepEqual(got, was, 'a result changed after it was given');
      },
    );
    await fc.assert(run, { seed: seed(t), numRuns: 400 });
  });
}
