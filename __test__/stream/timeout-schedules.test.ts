// Runs once: a deadline does not depend on the engine, and what is read has model tests for each.
/** Timeouts race with data: random schedules on a simulated clock, compared with a model that is told what happens. */
import test from 'ava';
import { TimeoutError } from 'sluice';
import { pendingDeadlines } from '#ts/deadlines.js';
import { fakeClock, type FakeClock } from '../fake-clock.js';
import { LONGEST_MS } from '../program.js';
import { seed } from '../seed.js';
import { codeOf, settle, simulate, type Simulated } from './simulated.js';

const SCHEDULES = Number(process.env['SLUICE_SCHEDULES'] ?? 15_000);

/** A small random number generator (mulberry32), because the schedules need many numbers. */
class Random {
  #state: number;

  constructor(state: number) {
    this.#state = state >>> 0;
  }

  /** An integer from 0 to n - 1. */
  below(n: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let x = this.#state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) % n;
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }
}

/** What the peer sends: lines of up to 20 bytes, no two stretches alike. */
const DATA = ((): Buffer => {
  const random = new Random(1);
  const bytes = Buffer.alloc(8192);
  for (let i = 0; i < bytes.length; i++) bytes[i] = 0x20 + random.below(95);
  for (let i = 0; i < bytes.length; i += 1 + random.below(20)) bytes[i] = 0x0a;
  return bytes;
})();

/** How late a timeout may be. */
const late = (ms: number): number => Math.max(ms / 8, 32);

/** The first failure of a schedule. It may happen in a callback of a promise. */
let failure: Error | null = null;

function fail(what: string): never {
  failure ??= new Error(what);
  throw failure;
}

/** A read that waits. */
interface Waiting {
  /** How many bytes it drops as they arrive, or null for a read that consumes nothing before it is complete. */
  readonly drops: number | null;
  readonly since: number;
  readonly timeout: number | undefined;
  readonly controller: AbortController | null;
}

/** One connection of a schedule and the model of it. */
class Actor {
  readonly one: Simulated;
  readonly idle: number;
  readonly read: number;
  readonly write: number;
  readonly #clock: FakeClock;
  readonly #random: Random;
  /** How many bytes were delivered and consumed, and when each byte arrived. */
  #delivered = 0;
  #consumed = 0;
  readonly #arrived: number[] = [];
  #eof = false;
  #waiting: Waiting | null = null;
  /** When a byte last moved; when the kernel last accepted something, or began to refuse. */
  #moved: number;
  #progress = 0;
  #endedAt: number | null = null;

  constructor(clock: FakeClock, random: Random) {
    this.#clock = clock;
    this.#random = random;
    const ms = (): number => random.of([Infinity, 5, 40, 100, 250, 1000]);
    this.idle = ms();
    this.read = ms();
    this.write = ms();
    this.one = simulate(
      { idleTimeout: this.idle, readTimeout: this.read, writeTimeout: this.write },
      { limit: random.of([32, 65536]) },
    );
    this.#moved = clock.now();
  }

  get ended(): boolean {
    return this.one.ends.length > 0;
  }

  /** Does something at random. */
  act(): void {
    const random = this.#random;
    const what = random.below(12);
    if (what < 4) this.#deliver();
    else if (what < 8) this.#startRead();
    else if (what < 9) this.#waiting?.controller?.abort(new Error('cancelled'));
    else if (what < 10) void this.one.stream.write(Buffer.alloc(1 + random.below(50)));
    else if (what < 11) this.#accept();
    else if (random.below(4) === 0) this.#end();
  }

  #deliver(): void {
    const { transport } = this.one;
    if (!transport.flowing || this.#eof || transport.isClosing) return;
    const end = this.#delivered + 1 + this.#random.below(this.#random.of([1, 8, 60]));
    const from = this.#delivered;
    for (let i = from; i < end; i++) this.#arrived.push(this.#clock.now());
    this.#delivered = end;
    this.#moved = this.#clock.now();
    transport.deliver(DATA.subarray(from, end), this.#random.below(2) === 0);
  }

  #end(): void {
    if (this.#eof || this.one.transport.isClosing) return;
    this.#eof = true;
    this.one.transport.eof();
  }

  #accept(): void {
    const { transport } = this.one;
    if (transport.isClosing || transport.pendingBytes === 0) return;
    this.#moved = this.#progress = this.#clock.now();
    transport.accept(this.#random.below(3) === 0 ? Infinity : 1 + this.#random.below(10));
  }

  #startRead(): void {
    if (this.#waiting !== null) return;
    const random = this.#random;
    const { stream } = this.one;
    const timeout = random.of([undefined, undefined, 0, 10, 70]);
    const controller = random.below(8) === 0 ? new AbortController() : null;
    const options = { timeout, signal: controller?.signal };
    const n = 1 + random.below(40);
    const at = this.#consumed;
    let drops: number | null = null;
    /** The bytes that the read has consumed, and, of a look at what stays unread, the bytes that it has shown. */
    let result: Promise<{ consumed?: Uint8Array | number; shown?: Uint8Array }>;
    switch (random.below(9)) {
      case 0:
        result = stream.readline(options).then((consumed) => ({ consumed }));
        break;
      case 1:
        result = stream.readuntil('\n', options).then((consumed) => ({ consumed }));
        break;
      case 2:
        result = stream.readexactly(n, options).then((consumed) => ({ consumed }));
        break;
      case 3:
        result = stream.read(n, options).then((consumed) => ({ consumed }));
        break;
      case 4:
        result = stream.peek(n, options).then((shown) => ({ shown }));
        break;
      case 5:
        result = stream.readframe({ size: n }, options).then((frame) => ({ consumed: frame ?? 0 }));
        break;
      case 6:
        result = stream.readframes('\n', options).then((frames) => ({ consumed: Buffer.concat([...frames]) }));
        break;
      case 7:
        result = stream.window(n, options).then((shown) => {
          shown = Buffer.from(shown);
          const consumed = random.below(shown.length + 1);
          stream.consume(consumed);
          return { consumed, shown };
        });
        break;
      default:
        drops = n;
        result = stream.discard(n, options).then(() => ({ consumed: n }));
    }
    const waiting: Waiting = { drops, since: this.#clock.now(), timeout, controller };
    this.#waiting = waiting;
    const settled = result.then(
      ({ consumed = 0, shown }) => {
        this.#waiting = null;
        const bytes = typeof consumed === 'number' ? DATA.subarray(at, at + consumed) : consumed;
        if (!DATA.subarray(at, at + bytes.length).equals(bytes)) fail('a read has returned other bytes than were sent');
        if (shown !== undefined && !DATA.subarray(at, at + shown.length).equals(shown)) fail('other bytes were shown');
        this.#consumed = at + bytes.length;
        if (this.#consumed > this.#delivered) fail('bytes were read that had not arrived');
      },
      (error: unknown) => {
        this.#waiting = null;
        this.#failed(waiting, at, error as Error & { code?: string; partial?: Uint8Array });
      },
    );
    settled.catch((error: unknown) => (failure ??= error as Error));
  }

  #failed(waiting: Waiting, at: number, error: Error & { code?: string; partial?: Uint8Array }): void {
    const { stream } = this.one;
    if (error.code === 'ERR_TIMEOUT') {
      const passed = this.#clock.now() - waiting.since;
      if (waiting.timeout === undefined || passed < waiting.timeout) fail('the timeout of a call was over early');
    } else if (error.code === 'ERR_INCOMPLETE_READ') {
      if (!this.#eof) fail('a read has seen an EOF that did not arrive');
      const partial = error.partial!;
      if (!DATA.subarray(at, at + partial.length).equals(partial)) fail('other bytes were left at the EOF');
      this.#consumed = at + partial.length;
    } else if (error.message !== 'cancelled' && error !== stream.exception()) {
      fail(`unexpected: ${error.stack ?? error.message}`);
    }
    // What was dropped stays dropped.
    if (waiting.drops !== null) {
      this.#consumed = stream.bytesRead - stream.buffered;
      if (this.#consumed < at || this.#consumed > at + waiting.drops) fail('discard has dropped too much');
    }
  }

  /** Compares what is visible with the model. */
  check(): void {
    const { ends, stream, transport } = this.one;
    const now = this.#clock.now();
    if (ends.length > 1) fail('the end was reported twice');
    if (this.#waiting === null && stream.bytesRead - stream.buffered !== this.#consumed) fail('bytes were lost');
    if (transport.pendingBytes > 0) this.#progress = Math.max(this.#progress, (this.#waitsSince ??= now));
    else this.#waitsSince = null;
    if (this.#endedAt !== null) return;
    const overdue = (since: number, ms: number): boolean => now - since > ms + late(ms);
    if (!this.ended) {
      if (overdue(this.#moved, this.idle)) fail('the idleTimeout is late');
      if (transport.pendingBytes > 0 && overdue(this.#progress, this.write)) fail('the writeTimeout is late');
      const head = this.#head();
      if (head !== null && overdue(Math.max(head, this.#waiting!.since), this.read)) fail('the readTimeout is late');
      return;
    }
    this.#endedAt = now;
  }

  #waitsSince: number | null = null;

  /** When the first byte of what a read waits for arrived; null if no read waits, or there is no such byte. */
  #head(): number | null {
    if (this.#waiting === null || this.#eof) return null;
    return this.#arrived[this.#consumed] ?? null;
  }

  /** Called at the moment when the connection is aborted, before anything else happens. */
  timedOut(code: string): void {
    const now = this.#clock.now();
    if (code === 'ERR_IDLE_TIMEOUT' && now - this.#moved < this.idle) fail('the idleTimeout is early');
    if (code === 'ERR_WRITE_TIMEOUT' && now - this.#progress < this.write) fail('the writeTimeout is early');
    if (code !== 'ERR_READ_TIMEOUT') return;
    const head = this.#arrived[this.#consumed];
    if (this.#waiting === null || head === undefined) fail('a readTimeout without an unfinished read');
    if (now - head < this.read) fail('the readTimeout is early');
  }

  /** Ends the connection, if no timeout has, and reads what is left. */
  async finish(): Promise<void> {
    const { one } = this;
    const { stream } = one;
    const timeout = codeOf(one);
    this.#waiting?.controller?.abort(new Error('cancelled'));
    if (timeout === null) {
      this.#eof = true;
      await stream.abort();
    }
    await settle();
    if (this.#waiting !== null) fail('a read waits on a connection that has ended');
    const rest: Buffer[] = [];
    let loss: unknown = null;
    try {
      for (let bytes; (bytes = await stream.read(100)).length > 0;) rest.push(bytes);
    } catch (error) {
      loss = error;
    }
    const left = Buffer.concat(rest);
    if (!DATA.subarray(this.#consumed, this.#delivered).equals(left)) fail('the rest is not what was left');
    if (timeout === null ? loss !== null : !this.#eof && loss !== stream.exception()) fail('another error at the end');
    if (timeout !== null) {
      if (!(stream.exception() instanceof TimeoutError) || one.ends[0] !== stream.exception()) fail('two errors');
      const late = (await stream.write('x').catch((error: unknown) => error)) as TimeoutError;
      if (late.code !== timeout || late.cause !== stream.exception()) fail('a write has another error');
    }
    if (one.ends.length !== 1) fail(`${one.ends.length} ends were reported`);
  }
}

async function schedule(clock: FakeClock, random: Random): Promise<Map<string, number>> {
  const actors = Array.from({ length: 1 + random.below(2) }, () => new Actor(clock, random));
  for (const actor of actors) {
    const { transport } = actor.one;
    const { abort } = transport;
    transport.abort = (reason) => {
      if (reason instanceof TimeoutError) actor.timedOut(reason.code);
      abort.call(transport, reason);
    };
  }
  const steps = 3 + random.below(8);
  for (let step = 0; step < steps; step++) {
    for (const actor of actors) actor.act();
    await settle();
    for (const actor of actors) actor.check();
    clock.tick(random.of([0, 1, 7, 20, 90, 300]));
    await settle();
    for (const actor of actors) actor.check();
    if (failure !== null) throw failure;
  }
  const outcomes = new Map<string, number>();
  for (const { one } of actors) outcomes.set(codeOf(one) ?? 'open', (outcomes.get(codeOf(one) ?? 'open') ?? 0) + 1);
  for (const actor of actors) await actor.finish();
  if (failure !== null) throw failure;
  if (pendingDeadlines() !== 0) fail(`${pendingDeadlines()} deadlines are left`);
  return outcomes;
}

test.serial(
  'no schedule of data, reads, cancellations and timeouts loses a byte, leaves a deadline or reports twice',
  async (t) => {
    t.timeout(LONGEST_MS);
    // Most of the time would go into the stacks of the errors.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    t.teardown(() => (Error.stackTraceLimit = stackTraceLimit));
    const clock = fakeClock(t);
    const first = seed(t);
    const outcomes = new Map<string, number>();
    for (let i = 0; i < SCHEDULES; i++) {
      try {
        for (const [what, n] of await schedule(clock, new Random(first + i)))
          outcomes.set(what, (outcomes.get(what) ?? 0) + n);
      } catch (error) {
        t.log(`SLUICE_SEED=${first + i} repeats schedule ${i}`);
        throw error;
      }
    }
    // Each outcome has been tried often.
    for (const what of ['open', 'ERR_IDLE_TIMEOUT', 'ERR_READ_TIMEOUT', 'ERR_WRITE_TIMEOUT']) {
      t.true((outcomes.get(what) ?? 0) > SCHEDULES / 100, `${what}: ${outcomes.get(what)}`);
    }
  },
);
