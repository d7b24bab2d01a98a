/**
 * The contract of every transport, run on each of a list of pair makers.
 *
 * The tests use only the `Transport` interface, with a sink that records its calls.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { ExecutionContext, TestFn } from 'ava';
import { forbidDirectReads } from '#ts/transports/direct-reads.js';
import type { Transport, TransportSink } from '#ts/transports/transport.js';
import { sameBytes } from './bytes.js';
import { randomFrom, seed } from './seed.js';

/** Two connected transports, and how to clean up after them. */
export interface Pair {
  readonly a: Transport;
  readonly b: Transport;
  /** Makes the peer of `b` go away as a crashed one does; absent where that is impossible. */
  reset?(): void;
  dispose(): void | Promise<void>;
}

export interface PairMaker {
  readonly name: string;
  make(): Promise<Pair>;
  /** Whether the loss of one end is visible at the other: for sockets, but not for a pair in memory. */
  readonly connected: boolean;
  /** False where half-close is not offered, although each direction ends separately (TLS). Default true. */
  readonly halfClose?: boolean;
}

/** Runs `body` with direct reads forbidden or allowed. */
export function withReads<T>(reads: 'data' | 'direct', body: () => T): T {
  const before = forbidDirectReads(reads === 'data');
  try {
    return body();
  } finally {
    forbidDirectReads(before);
  }
}

/** A sink that records its calls. */
export class RecordingSink implements TransportSink {
  readonly chunks: Buffer[] = [];
  readonly closes: (Error | null)[] = [];
  bytes = 0;
  reads = 0;
  eofs = 0;
  /** Calls after `closed`. */
  late = 0;
  /** What feed and commit return. */
  goOn = true;
  /** The memory for the next bytes. */
  target: () => Uint8Array | null = () => null;
  onBytes: (() => void) | null = null;

  readonly #waiting: { condition: () => boolean; resolve: () => void }[] = [];
  #lent: Uint8Array | null = null;

  readTarget(): Uint8Array | null {
    return (this.#lent = this.target());
  }

  commit(count: number): boolean {
    if (this.#lent === null) throw new Error('commit without a target');
    return this.#take(this.#lent.subarray(0, count));
  }

  feed(chunk: Uint8Array): boolean {
    return this.#take(chunk);
  }

  eof(): void {
    this.#note();
    this.eofs++;
    this.#wake();
  }

  closed(error: Error | null): void {
    this.#note();
    this.closes.push(error);
    this.#wake();
  }

  get data(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.data.toString('latin1');
  }

  get isClosed(): boolean {
    return this.closes.length > 0;
  }

  /** Waits until `condition` holds; checks it after each event. */
  until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ condition, resolve }));
  }

  #take(chunk: Uint8Array): boolean {
    this.#note();
    this.reads++;
    this.bytes += chunk.length;
    this.chunks.push(Buffer.from(chunk));
    this.onBytes?.();
    this.#wake();
    return this.goOn;
  }

  #note(): void {
    if (this.isClosed) this.late++;
  }

  #wake(): void {
    for (const waiting of this.#waiting.splice(0)) {
      if (waiting.condition()) waiting.resolve();
      else this.#waiting.push(waiting);
    }
  }
}

/** Writes one batch and waits until the kernel has it. */
export function written(transport: Transport, data: Uint8Array | string): Promise<void> {
  return new Promise((resolve) => {
    if (transport.write(Buffer.from(data), resolve)) resolve();
  });
}

/** Gives everything that may still happen the time to happen. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await turn();
}

const LARGE = 32 * 1024 * 1024;

/** Bytes in which every part differs from every other. */
function pattern(length: number, offset = 0): Buffer {
  const words = new Uint32Array(length >> 2);
  for (let i = 0; i < words.length; i++) words[i] = 4 * i + offset;
  return Buffer.from(words.buffer);
}

/** For all tests that need so much, and no test changes it. */
let large: Buffer | undefined;

function largePattern(): Buffer {
  return (large ??= pattern(LARGE));
}

/**
 * Limits how many tests run at once: close is bounded by a few seconds, which a hundred tests at once use up on a slow
 * machine.
 */
class Gate {
  readonly #waiting: (() => void)[] = [];
  #free = 4;

  async enter(): Promise<void> {
    if (this.#free === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#free--;
  }

  leave(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free++;
    else next();
  }
}

const gate = new Gate();

async function withPair(maker: PairMaker, body: (pair: Pair) => Promise<void>): Promise<void> {
  const pair = await maker.make();
  try {
    await body(pair);
  } finally {
    pair.a.abort();
    pair.b.abort();
    await pair.dispose();
  }
}

export function transportContract(test: TestFn, makers: readonly PairMaker[]): void {
  for (const maker of makers) {
    const run = (title: string, body: (t: ExecutionContext, pair: Pair) => Promise<void>): void => {
      test(`${maker.name}: ${title}`, async (t) => {
        await gate.enter();
        try {
          await withPair(maker, (pair) => body(t, pair));
        } finally {
          gate.leave();
        }
      });
    };

    const started = (pair: Pair): { a: RecordingSink; b: RecordingSink } => {
      const sinks = { a: new RecordingSink(), b: new RecordingSink() };
      pair.a.start(sinks.a);
      pair.b.start(sinks.b);
      return sinks;
    };

    run('bytes arrive in order, both ways', async (t, pair) => {
      const { a, b } = started(pair);
      for (const piece of ['one ', 'two ', 'three']) await written(pair.a, piece);
      await written(pair.b, 'four');
      await b.until(() => b.bytes === 13);
      await a.until(() => a.bytes === 4);
      t.is(b.text, 'one two three');
      t.is(a.text, 'four');
      t.is(pair.a.pendingBytes, 0);
      t.false(pair.a.isClosing);
      t.is(pair.a.mode, 3);
    });

    run('bytes sent before start are not lost', async (t, pair) => {
      pair.a.start(new RecordingSink());
      await written(pair.a, 'early');
      await turns();
      const b = new RecordingSink();
      pair.b.start(b);
      await b.until(() => b.bytes === 5);
      t.is(b.text, 'early');
    });

    run('a batch of any number of pieces arrives completely', async (t, pair) => {
      const { b } = started(pair);
      const pieces = Array.from({ length: 3000 }, (_, i) => Buffer.from(`${i}\n`));
      const expected = Buffer.concat(pieces);
      await new Promise<void>((resolve) => {
        if (pair.a.writev(pieces, resolve)) resolve();
      });
      await b.until(() => b.bytes === expected.length);
      sameBytes(t, b.data, expected);
      t.is(pair.a.pendingBytes, 0);
    });

    run('bytes are read into the memory of the sink where supported, and none are lost', async (t, pair) => {
      const { b } = started(pair);
      const memory = Buffer.alloc(1000);
      let asked = 0;
      b.target = () => (asked++ % 3 === 0 ? null : memory.subarray(0, 1 + (asked % 997)));
      const data = pattern(400_000);
      await written(pair.a, data);
      await b.until(() => b.bytes === data.length);
      sameBytes(t, b.data, data);
    });

    run('after the sink returns false, no more bytes are delivered until resumeReading', async (t, pair) => {
      const { b } = started(pair);
      b.goOn = false;
      const data = pattern(1024 * 1024);
      const sent = written(pair.a, data);
      await b.until(() => b.reads === 1);
      await turns();
      t.is(b.reads, 1);
      for (let reads = 2; reads < 5; reads++) {
        pair.b.resumeReading();
        await b.until(() => b.reads === reads);
        await turns(5);
        t.is(b.reads, reads);
      }
      b.goOn = true;
      pair.b.resumeReading();
      await b.until(() => b.bytes === data.length);
      await sent;
      sameBytes(t, b.data, data);
    });

    run('pauseReading stops the delivery of bytes, and EOF comes after them', async (t, pair) => {
      const { b } = started(pair);
      pair.b.pauseReading();
      await written(pair.a, 'held back');
      pair.a.writeEof();
      await turns();
      t.true(b.reads <= 1);
      t.is(b.eofs, 0);
      pair.b.resumeReading();
      await b.until(() => b.eofs === 1);
      t.is(b.text, 'held back');
    });

    run('half-close ends one direction; the connection closes when both have ended', async (t, pair) => {
      const { a, b } = started(pair);
      t.is(pair.a.canWriteEof, maker.halfClose ?? true);
      await written(pair.a, 'question');
      pair.a.writeEof();
      await b.until(() => b.eofs === 1);
      t.is(b.text, 'question');
      t.false(b.isClosed);
      await written(pair.b, 'ans');
      await a.until(() => a.bytes === 3);
      await written(pair.b, 'wer');
      pair.b.writeEof();
      await a.until(() => a.eofs === 1);
      t.is(a.text, 'answer');
      await a.until(() => a.isClosed);
      await b.until(() => b.isClosed);
      await turns();
      t.deepEqual([a.closes, b.closes], [[null], [null]]);
      t.deepEqual([a.late, b.late, a.eofs, b.eofs], [0, 0, 1, 1]);
    });

    run('a batch is pending while the peer does not read, and completes when it does', async (t, pair) => {
      const a = new RecordingSink();
      pair.a.start(a);
      const data = largePattern();
      let done = 0;
      t.false(pair.a.write(data, () => done++));
      await turns(50);
      t.is(done, 0);
      t.true(pair.a.pendingBytes > 0);
      const b = new RecordingSink();
      pair.b.start(b);
      await b.until(() => b.bytes === data.length);
      await turns();
      t.is(done, 1);
      t.is(pair.a.pendingBytes, 0);
      sameBytes(t, b.data, data);
    });

    run('close delivers the written bytes, then EOF, and is reported once, on a later turn', async (t, pair) => {
      const { a, b } = started(pair);
      await written(pair.a, 'last words');
      pair.a.close();
      pair.a.close();
      t.true(pair.a.isClosing);
      t.false(a.isClosed);
      await a.until(() => a.isClosed);
      await b.until(() => b.eofs === 1);
      t.is(b.text, 'last words');
      pair.b.close();
      await b.until(() => b.isClosed);
      await turns();
      t.deepEqual([a.closes, b.closes], [[null], [null]]);
      t.is(a.eofs, 0);
      t.is(a.late, 0);
    });

    run('close with unread bytes still delivers everything to the peer, without an error', async (t, pair) => {
      const { a, b } = started(pair);
      a.goOn = false;
      void written(pair.b, pattern(512 * 1024));
      await a.until(() => a.reads === 1);
      await turns();
      const data = pattern(64 * 1024, 7);
      await written(pair.a, data);
      pair.a.close();
      await b.until(() => b.eofs === 1 || b.isClosed);
      sameBytes(t, b.data, data);
      t.deepEqual(b.closes, []);
      await a.until(() => a.isClosed);
      t.deepEqual(a.closes, [null]);
      t.is(a.late, 0);
    });

    run('close completes although the peer never stops sending', async (t, pair) => {
      const { a, b } = started(pair);
      const chunk = pattern(256 * 1024);
      let sending = true;
      const sender = (async (): Promise<void> => {
        while (sending && !pair.b.isClosing) {
          await Promise.race([written(pair.b, chunk), b.until(() => b.isClosed), a.until(() => a.isClosed)]);
          await turn();
        }
      })();
      await a.until(() => a.bytes > chunk.length);
      const before = a.bytes;
      pair.a.close();
      await a.until(() => a.isClosed);
      sending = false;
      t.deepEqual(a.closes, [null]);
      t.is(a.bytes, before, 'nothing is delivered after close');
      pair.b.abort();
      await sender;
    });

    run('both sides may close at the same time', async (t, pair) => {
      const { a, b } = started(pair);
      pair.a.close();
      pair.b.close();
      await a.until(() => a.isClosed);
      await b.until(() => b.isClosed);
      await turns();
      t.deepEqual([a.closes, b.closes], [[null], [null]]);
    });

    run('close completes after a half-close, and after EOF from the peer', async (t, pair) => {
      const { a, b } = started(pair);
      pair.a.writeEof();
      await b.until(() => b.eofs === 1);
      pair.a.close();
      await a.until(() => a.isClosed);
      pair.b.close();
      await b.until(() => b.isClosed);
      t.deepEqual([a.closes, b.closes], [[null], [null]]);
    });

    run('abort drops a pending batch, and is reported once, on a later turn', async (t, pair) => {
      const a = new RecordingSink();
      pair.a.start(a);
      let done = 0;
      t.false(pair.a.write(largePattern(), () => done++));
      pair.a.abort();
      t.true(pair.a.isClosing);
      t.false(a.isClosed);
      pair.a.abort();
      await a.until(() => a.isClosed);
      await turns();
      t.is(done, 0);
      t.is(pair.a.pendingBytes, 0);
      t.deepEqual(a.closes, [null]);
      t.is(a.late, 0);
    });

    run('abort during close and close during abort are reported once', async (t, pair) => {
      const { a, b } = started(pair);
      pair.a.close();
      pair.a.abort();
      pair.b.abort();
      pair.b.close();
      await a.until(() => a.isClosed);
      await b.until(() => b.isClosed);
      await turns();
      t.is(a.closes.length, 1);
      t.is(b.closes.length, 1);
      t.deepEqual([a.closes[0], b.closes[0]], [null, null]);
    });

    run('close and abort before start are reported after start', async (t, pair) => {
      pair.a.close();
      pair.b.abort();
      await turns();
      const a = new RecordingSink();
      const b = new RecordingSink();
      pair.a.start(a);
      pair.b.start(b);
      t.false(a.isClosed);
      t.false(b.isClosed);
      await a.until(() => a.isClosed);
      await b.until(() => b.isClosed);
      await turns();
      t.deepEqual([a.closes, b.closes], [[null], [null]]);
      t.deepEqual([a.bytes, a.eofs, b.bytes, b.eofs], [0, 0, 0, 0]);
    });

    run('the sink may abort while it receives bytes', async (t, pair) => {
      const { a, b } = started(pair);
      b.onBytes = () => {
        pair.b.abort();
      };
      await written(pair.a, 'x');
      await b.until(() => b.isClosed);
      await turns();
      t.deepEqual(b.closes, [null]);
      t.is(b.late, 0);
      t.is(a.closes.length, maker.connected ? a.closes.length : 0);
    });

    run('pauseReading, resumeReading, write and writeEof do nothing after the end', async (t, pair) => {
      const { a } = started(pair);
      pair.a.abort();
      await a.until(() => a.isClosed);
      let done = 0;
      t.false(pair.a.write(Buffer.from('x'), () => done++));
      t.false(pair.a.writev([Buffer.from('x'), Buffer.from('y')], () => done++));
      pair.a.pauseReading();
      pair.a.resumeReading();
      pair.a.writeEof();
      pair.a.close();
      pair.a.abort();
      pair.a.ref();
      pair.a.unref();
      await turns();
      t.is(done, 0);
      t.deepEqual(a.closes, [null]);
      t.is(a.late, 0);
    });

    run('a sink that throws ends only its own connection', async (t, pair) => {
      const { b } = started(pair);
      const refusal = new RangeError('no memory for that');
      b.onBytes = () => {
        throw refusal;
      };
      await written(pair.a, 'x');
      await b.until(() => b.isClosed);
      t.deepEqual(b.closes, [refusal]);
    });

    run('random batches in both directions arrive unchanged while reading pauses and resumes', async (t, pair) => {
      const random = randomFrom(seed(t));
      const { a, b } = started(pair);
      const total = 4 * 1024 * 1024;
      const sends = [
        { from: pair.a, data: pattern(total, 1), to: b, reading: pair.b },
        { from: pair.b, data: pattern(total, 2), to: a, reading: pair.a },
      ];
      for (const { to, reading } of sends) {
        to.onBytes = () => {
          to.goOn = random(4) !== 0;
          if (!to.goOn) setImmediate(() => reading.resumeReading());
        };
      }
      await Promise.all(
        sends.map(async ({ from, data }) => {
          for (let at = 0; at < data.length;) {
            const end = Math.min(data.length, at + 1 + random(random(3) === 0 ? 300_000 : 3000));
            await written(from, data.subarray(at, end));
            at = end;
          }
          from.writeEof();
        }),
      );
      for (const { to, data } of sends) {
        await to.until(() => to.eofs === 1);
        t.is(to.bytes, data.length);
        sameBytes(t, to.data, data);
      }
    });

    if (!maker.connected) continue;

    run('abort reaches the peer', async (t, pair) => {
      const { a, b } = started(pair);
      pair.a.abort();
      await a.until(() => a.isClosed);
      await b.until(() => b.eofs === 1 || b.isClosed);
      t.is(b.bytes, 0);
    });

    run('writing to a peer that is gone ends the connection with the reason', async (t, pair) => {
      const { b } = started(pair);
      pair.a.abort();
      await b.until(() => b.eofs === 1 || b.isClosed);
      let done = 0;
      for (let i = 0; i < 1000 && !b.isClosed; i++) {
        if (pair.b.pendingBytes === 0) pair.b.write(Buffer.from('anyone?'), () => done++);
        await turn();
      }
      await b.until(() => b.isClosed);
      const [reason] = b.closes as (NodeJS.ErrnoException | null)[];
      t.true(reason instanceof Error);
      t.true(['EPIPE', 'ECONNRESET'].includes(reason?.code ?? ''), reason?.code);
      t.is(reason?.name, 'ConnectionError');
      // The kernel takes bytes that come before the reset, and with TLS that may be reported on a later turn.
      const told = done;
      t.true(told === 0 || maker.halfClose === false);
      await turns();
      t.is(done, told);
    });

    run('a reset is reported with its reason, after the bytes', async (t, pair) => {
      if (pair.reset === undefined) {
        t.pass('a Unix socket knows no reset');
        return;
      }
      const b = new RecordingSink();
      pair.b.start(b);
      pair.a.start(new RecordingSink());
      await written(pair.a, 'before the crash');
      await b.until(() => b.bytes === 16);
      pair.reset();
      await b.until(() => b.isClosed);
      const [reason] = b.closes as (NodeJS.ErrnoException | null)[];
      t.is(reason?.code, 'ECONNRESET');
      t.is(reason?.name, 'ConnectionError');
      t.regex(reason?.message ?? '', /connection reset by peer$/);
      t.true(reason?.cause instanceof Error);
      t.is(b.eofs, 0);
    });

    run('bytes that arrived before a reset are delivered although reading was paused', async (t, pair) => {
      if (pair.reset === undefined) {
        t.pass('a Unix socket knows no reset');
        return;
      }
      const { b } = started(pair);
      b.goOn = false;
      await written(pair.a, 'first');
      await b.until(() => b.bytes === 5);
      await written(pair.a, 'second');
      await turns();
      pair.reset();
      await turns();
      b.goOn = true;
      pair.b.resumeReading();
      await b.until(() => b.isClosed);
      t.is(b.text, 'firstsecond');
      t.is((b.closes[0] as NodeJS.ErrnoException | null)?.code, 'ECONNRESET');
    });
  }
}
