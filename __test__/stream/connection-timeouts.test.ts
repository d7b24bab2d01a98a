/** `idleTimeout`, `readTimeout`, `writeTimeout` and `maxAge` on a simulated clock. */
// Runs once for each engine: bytes do not come from a socket.
import test from 'ava';
import { ConnectionError, TimeoutError } from 'sluice';
import { pendingDeadlines } from '#ts/deadlines.js';
import type { Stream as InternalStream } from '#ts/stream/stream.js';
import { fakeClock } from '../fake-clock.js';
import { codeOf, settle, simulate, type Simulated } from './simulated.js';

/** How late a timeout may be. */
const late = (ms: number): number => Math.max(ms / 8, 32);

/** Ends a test: the streams leave no deadline. */
async function ended(...all: Simulated[]): Promise<number> {
  for (const { stream } of all) await stream.abort();
  return pendingDeadlines();
}

// ---------------------------------------------------------------------------------------------- idleTimeout

for (const ms of [1, 50, 100, 300, 1000, 30_000, 3_600_000]) {
  test.serial(`an idleTimeout of ${ms} ms is never over early, and at most an eighth or 32 ms late`, async (t) => {
    for (const phase of [0, 0.3, 3.9, 7.5, 100.1]) {
      const clock = fakeClock(t);
      const other = simulate({ idleTimeout: ms });
      clock.tick(phase);
      other.transport.deliver(Buffer.from('x'));
      const one = simulate({ idleTimeout: ms });
      clock.tick(ms);
      await settle();
      t.is(codeOf(one), null, `early: phase ${phase}`);
      clock.tick(late(ms));
      await settle();
      t.is(codeOf(one), 'ERR_IDLE_TIMEOUT', `late: phase ${phase}`);
      t.is(one.ends[0]?.message, `idleTimeout: no byte to or from 192.0.2.1:7 for ${ms} ms`);
      t.is(await ended(one, other), 0);
    }
  });
}

test.serial('a stream on which bytes arrive regularly is never idle', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 100 });
  for (let i = 0; i < 1000; i++) {
    one.transport.deliver(Buffer.from('x'));
    clock.tick(99);
  }
  await settle();
  t.is(codeOf(one), null);
  t.is(one.stream.buffered, 1000);
  t.is(await ended(one), 0);
});

test.serial('a stream whose written bytes the kernel accepts regularly is never idle', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 100 });
  for (let i = 0; i < 300; i++) {
    one.transport.room = 1;
    void one.stream.write('x');
    await settle();
    clock.tick(99);
  }
  await settle();
  t.is(codeOf(one), null);
  t.is(one.stream.bytesWritten, 300);
  t.is(await ended(one), 0);
});

test.serial(
  'bytes that leave the buffers of the kernel while more wait are activity, bytes that are only queued are not',
  async (t) => {
    const clock = fakeClock(t);
    const one = simulate({ idleTimeout: 100 });
    one.transport.room = 1000;
    void one.stream.write(Buffer.alloc(2000));
    one.transport.bytesUnsent = 1000;
    await settle();
    for (let i = 0; i < 500; i++) {
      clock.tick(99);
      one.transport.bytesUnsent--;
    }
    await settle();
    t.is(codeOf(one), null);
    for (let i = 0; i < 3; i++) {
      clock.tick(60);
      void one.stream.write('more');
      await settle();
    }
    t.is(codeOf(one), 'ERR_IDLE_TIMEOUT');
    t.is(await ended(one), 0);
  },
);

test.serial(
  'a stream whose reading is paused because nothing reads is idle; what had arrived can be read before the error',
  async (t) => {
    const clock = fakeClock(t);
    const one = simulate({ idleTimeout: 100 }, { limit: 10 });
    one.transport.deliver(Buffer.from('0123456789\n0123456789\n'));
    t.false(one.transport.flowing);
    clock.tick(200);
    await settle();
    t.is(codeOf(one), 'ERR_IDLE_TIMEOUT');
    t.is((await one.stream.readline()).toString(), '0123456789\n');
    t.is((await one.stream.readline()).toString(), '0123456789\n');
    t.is(await t.throwsAsync(one.stream.readline()), one.stream.exception()!);
    t.is(await ended(one), 0);
  },
);

test.serial('a look that comes late does not blame the peer: what the poll delivers counts', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 1000, readTimeout: 1000, writeTimeout: 1000 });
  void one.stream.write(Buffer.alloc(100));
  const line = one.stream.readline();
  one.transport.deliver(Buffer.from('a'));
  clock.tick(500);
  clock.poll = () => {
    clock.poll = () => {};
    one.transport.accept(10);
    one.transport.deliver(Buffer.from('b'));
  };
  clock.stall(3_600_000);
  await settle();
  t.is(codeOf(one), null);
  one.transport.deliver(Buffer.from('\n'));
  t.is((await line).toString(), 'ab\n');
  t.is(await ended(one), 0);
});

test.serial('the time for which this process was stopped does not count', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 1600 });
  clock.tick(800);
  clock.stall(3_600_000);
  await settle();
  t.is(codeOf(one), null);
  clock.tick(1600);
  await settle();
  t.is(codeOf(one), 'ERR_IDLE_TIMEOUT');
  t.is(await ended(one), 0);
});

// ---------------------------------------------------------------------------------------------- readTimeout

type Read = (stream: InternalStream) => Promise<unknown>;

/** Reads that wait for more than one byte, with a part of what they wait for. */
const READS: Record<string, [read: Read, part: string]> = {
  readline: [(stream) => stream.readline(), 'abc'],
  'for await': [(stream) => stream[Symbol.asyncIterator]().next(), 'abc'],
  lines: [(stream) => stream.lines().next(), 'abc'],
  'lines().batches()': [(stream) => stream.lines().batches().next(), 'abc'],
  readuntil: [(stream) => stream.readuntil(';'), 'abc\n'],
  'readuntil with several separators': [(stream) => stream.readuntil([';', '::']), 'abc:'],
  readexactly: [(stream) => stream.readexactly(100), 'abc'],
  'a large readexactly': [(stream) => stream.readexactly(1_000_000), 'abc'],
  'read to EOF': [(stream) => stream.read(), 'abc'],
  peek: [(stream) => stream.peek(100), 'abc'],
  window: [(stream) => stream.window(100), 'abc'],
  readframe: [(stream) => stream.readframe({ length: 'uint32be' }), '\0\0\0\x64a'],
  'a large readframe': [(stream) => stream.readframe({ length: 'uint32be', limit: 2e6 }), '\0\x10\0\0a'],
  readframes: [(stream) => stream.readframes({ size: 100 }), 'abc'],
  frames: [(stream) => stream.frames('\r\n').next(), 'abc'],
  discard: [(stream) => stream.discard(100), 'abc'],
};

for (const [name, [read, part]] of Object.entries(READS)) {
  test.serial(
    `${name}: bytes that drip in do not extend the readTimeout, which begins with the first one`,
    async (t) => {
      const clock = fakeClock(t);
      const one = simulate({ readTimeout: 1000 });
      const waiting = read(one.stream);
      waiting.catch(() => {});
      clock.tick(100_000);
      await settle();
      t.is(codeOf(one), null, 'nothing has arrived');
      one.transport.deliver(Buffer.from(part));
      for (let i = 0; i < 20; i++) {
        clock.tick(50);
        one.transport.deliver(Buffer.from('x'));
      }
      await settle();
      t.is(codeOf(one), null, 'early');
      clock.tick(late(1000));
      await settle();
      t.is(codeOf(one), 'ERR_READ_TIMEOUT');
      const error = await t.throwsAsync(waiting, { instanceOf: TimeoutError });
      t.true(error === one.stream.exception());
      t.is(error?.message, 'readTimeout: 192.0.2.1:7 has not completed within 1000 ms what a read waits for');
      t.is(await ended(one), 0);
    },
  );

  test.serial(`${name}: without a waiting read the readTimeout does not run`, async (t) => {
    const clock = fakeClock(t);
    const one = simulate({ readTimeout: 1000 });
    one.transport.deliver(Buffer.from(part));
    clock.tick(100_000);
    await settle();
    t.is(codeOf(one), null);
    read(one.stream).catch(() => {});
    clock.tick(1000);
    await settle();
    t.is(codeOf(one), null, 'early');
    clock.tick(late(1000));
    await settle();
    t.is(codeOf(one), 'ERR_READ_TIMEOUT');
    t.is(await ended(one), 0);
  });
}

test.serial('read(n), readinto and chunks are complete with their first byte, and have no readTimeout', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ readTimeout: 100 });
  const chunks = one.stream.chunks();
  const memory = Buffer.alloc(10);
  const reads = [() => one.stream.read(10), () => one.stream.readinto(memory), () => chunks.next()];
  for (let i = 0; i < 30; i++) {
    const waiting = reads[i % 3]!();
    clock.tick(90);
    one.transport.deliver(Buffer.from('x'));
    await waiting;
  }
  await settle();
  t.is(codeOf(one), null);
  t.is(await ended(one), 0);
});

test.serial('each frame has the whole readTimeout', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ readTimeout: 1000 });
  for (let i = 0; i < 100; i++) {
    const line = one.stream.readline();
    one.transport.deliver(Buffer.from('a'));
    clock.tick(990);
    one.transport.deliver(Buffer.from('b\n'));
    t.is((await line).toString(), 'ab\n');
  }
  t.is(codeOf(one), null);
  t.is(await ended(one), 0);
});

test.serial(
  'each frame has the whole readTimeout, also if its first bytes arrive with the end of the last one',
  async (t) => {
    const clock = fakeClock(t);
    const one = simulate({ readTimeout: 1000 });
    one.transport.deliver(Buffer.from('a'));
    for (let i = 0; i < 100; i++) {
      const line = one.stream.readline();
      clock.tick(990);
      one.transport.deliver(Buffer.from('b\na'));
      t.is((await line).toString(), 'ab\n');
    }
    t.is(codeOf(one), null);
    t.is(await ended(one), 0);
  },
);

test.serial('a read that is repeated with a timeout, or aborted, waits for the rest of the same frame', async (t) => {
  for (const cancel of ['timeout', 'signal'] as const) {
    const clock = fakeClock(t);
    const one = simulate({ readTimeout: 1000 });
    one.transport.deliver(Buffer.from('part'));
    let polls = 0;
    for (; codeOf(one) === null && polls < 100; polls++) {
      const controller = new AbortController();
      const line = one.stream.readline(cancel === 'timeout' ? { timeout: 50 } : { signal: controller.signal });
      line.catch(() => {});
      clock.tick(60);
      controller.abort();
      await settle();
    }
    t.is(codeOf(one), 'ERR_READ_TIMEOUT');
    // If no read waits at the moment of a look, the time since the last one does not count.
    t.true(polls > 1000 / 60 - 1 && polls <= 1500 / 60, `${polls} polls`);
    t.is((await one.stream.read(100)).toString(), 'part');
    t.is(await ended(one), 0);
  }
});

test.serial('a line that never ends is cut off by the readTimeout, also while it is skipped', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ readTimeout: 1000 }, { limit: 10 });
  const line = one.stream.readline();
  one.transport.deliver(Buffer.alloc(20, 'x'));
  await t.throwsAsync(line, { code: 'ERR_LIMIT_OVERRUN' });
  const next = one.stream.readline();
  next.catch(() => {});
  clock.tick(5000);
  await settle();
  t.is(codeOf(one), null, 'nothing arrives');
  for (let i = 0; i < 12; i++) {
    one.transport.deliver(Buffer.from('x'));
    clock.tick(100);
  }
  await settle();
  t.is(codeOf(one), 'ERR_READ_TIMEOUT');
  t.is(await ended(one), 0);
});

// ---------------------------------------------------------------------------------------------- writeTimeout

test.serial('the writeTimeout is over when bytes wait and the kernel accepts none', async (t) => {
  for (const ms of [20, 1000, 60_000]) {
    const clock = fakeClock(t);
    const one = simulate({ writeTimeout: ms });
    clock.tick(10 * ms);
    void one.stream.write(Buffer.alloc(100));
    await settle();
    clock.tick(ms);
    await settle();
    t.is(codeOf(one), null, 'early');
    clock.tick(late(ms));
    await settle();
    t.is(codeOf(one), 'ERR_WRITE_TIMEOUT');
    const message = `writeTimeout: 192.0.2.1:7 has accepted nothing for ${ms} ms, with 100 bytes waiting to be sent`;
    t.is(one.ends[0]?.message, message);
    t.is(await ended(one), 0);
  }
});

test.serial('a peer that goes on accepting bytes, however slowly, gets everything', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ writeTimeout: 1000 });
  void one.stream.write(Buffer.alloc(500));
  await settle();
  for (let i = 0; i < 200; i++) {
    clock.tick(990);
    one.transport.accept(1);
  }
  one.transport.bytesUnsent = 500;
  for (let i = 0; i < 200; i++) {
    clock.tick(990);
    one.transport.bytesUnsent--;
  }
  await settle();
  t.is(codeOf(one), null);
  one.transport.accept(300);
  await one.stream.flush();
  clock.tick(100_000);
  await settle();
  t.is(codeOf(one), null, 'nothing waits');
  t.is(await ended(one), 0);
});

test.serial('bytes that arrive do not extend the writeTimeout', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ writeTimeout: 100 });
  void one.stream.write('x');
  await settle();
  for (let i = 0; i < 13; i++) {
    clock.tick(10);
    one.transport.deliver(Buffer.from('x'));
  }
  await settle();
  t.is(codeOf(one), 'ERR_WRITE_TIMEOUT');
  t.is(await ended(one), 0);
});

// ---------------------------------------------------------------------------------------------- maxAge

test.serial('maxAge counts from when the connection was accepted, whatever happens on it', async (t) => {
  const clock = fakeClock(t);
  const acceptedAt = clock.now();
  clock.tick(300);
  const one = simulate({ maxAge: 1000 }, { acceptedAt });
  for (let i = 0; i < 70; i++) {
    clock.tick(10);
    one.transport.deliver(Buffer.from('x\n'));
    await one.stream.readline();
  }
  await settle();
  t.is(codeOf(one), null, 'early');
  clock.tick(24);
  await settle();
  t.is(codeOf(one), 'ERR_MAX_AGE');
  t.is(one.ends[0]?.message, 'maxAge: the connection with 192.0.2.1:7 is older than 1000 ms');
  t.is(await ended(one), 0);
});

test.serial('maxAge continues while the stream closes; the other timeouts do not', async (t) => {
  const clock = fakeClock(t);
  const all = { idleTimeout: 100, readTimeout: 100, writeTimeout: 100 };
  const one = simulate(all);
  const two = simulate({ ...all, maxAge: 1000 });
  const closing = [one, two].map(({ stream }) => {
    void stream.write(Buffer.alloc(100));
    const closed = stream.close();
    closed.catch(() => {});
    return closed;
  });
  clock.tick(900);
  await settle();
  t.deepEqual([one.ends, two.ends], [[], []]);
  t.is(pendingDeadlines(), 1);
  clock.tick(200);
  await settle();
  t.is(codeOf(one), null);
  t.is(codeOf(two), 'ERR_MAX_AGE');
  t.is(await t.throwsAsync(closing[1]!), two.ends[0]!);
  t.is(await ended(one, two), 0);
});

// ---------------------------------------------------------------------------------------------- what rejects

test.serial('calls that wait, and all later ones, reject with the timeout', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 100 });
  const { stream } = one;
  const reading = stream.readline();
  const writing = [stream.write(Buffer.alloc(100_000)), stream.drain(), stream.flush(), stream.writeEof()];
  const closed = stream.waitClosed();
  for (const waiting of [reading, closed, ...writing]) waiting.catch(() => {});
  clock.tick(200);
  await settle();
  const loss = stream.exception();
  t.true(loss instanceof TimeoutError);
  t.is(one.ends[0], loss);
  t.is(await t.throwsAsync(reading), loss!);
  for (const read of [stream.readline(), stream.read(), stream.readexactly(1), stream.lines().next()]) {
    t.is(await t.throwsAsync(read), loss!);
  }
  for (const waiting of [...writing, stream.write('x'), stream.writelines(['x']), stream.drain(), stream.flush()]) {
    const error = await t.throwsAsync<TimeoutError>(waiting, { instanceOf: TimeoutError, code: 'ERR_IDLE_TIMEOUT' });
    t.is(error?.cause, loss);
    t.regex(error?.message ?? '', /^\w+: the connection is lost: idleTimeout: no byte /);
  }
  for (const waiting of [closed, stream.waitClosed(), stream.close()]) t.is(await t.throwsAsync(waiting), loss!);
  t.is(one.ends.length, 1);
  t.is(await ended(one), 0);
});

test.serial('a connection that breaks just before its timeout is over reports what broke it', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 100 });
  const loss = new ConnectionError('ECONNRESET', 'read: connection reset');
  one.transport.lose(loss);
  clock.tick(200);
  await settle();
  t.deepEqual(one.ends, [loss]);
  t.is(one.stream.exception(), loss);
  t.is(await ended(one), 0);
});

// ---------------------------------------------------------------------------------------------- setTimeouts

test.serial('setTimeouts changes the timeouts that are given, and the others continue', async (t) => {
  const clock = fakeClock(t);
  const other = simulate({ idleTimeout: 2000 });
  const one = simulate({ idleTimeout: 1000 });
  clock.tick(500);
  one.stream.setTimeouts({ readTimeout: 50 });
  clock.tick(400);
  await settle();
  t.is(codeOf(one), null);
  clock.tick(100 + late(1000));
  await settle();
  t.is(codeOf(one), 'ERR_IDLE_TIMEOUT', 'the time before the call counts');
  other.transport.deliver(Buffer.from('x'));
  other.stream.setTimeouts({ idleTimeout: 300, readTimeout: undefined });
  clock.tick(300);
  await settle();
  t.is(codeOf(other), null, 'early');
  clock.tick(late(300));
  await settle();
  t.is(codeOf(other), 'ERR_IDLE_TIMEOUT', 'the new timeout applies');
  t.is(await ended(one, other), 0);
});

test.serial('setTimeouts, called again and again, does not put off the timeouts that it leaves', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 300 });
  let at = 0;
  for (let i = 0; codeOf(one) === null && at <= 2000; i++) {
    one.stream.setTimeouts({ readTimeout: 1000 + (i % 2) });
    clock.tick(15);
    at += 15;
    await settle();
  }
  t.is(codeOf(one), 'ERR_IDLE_TIMEOUT');
  t.true(at >= 300 && at <= 300 + late(300) + 15, `after ${at} ms`);
  t.is(await ended(one), 0);
});

test.serial('setTimeouts with Infinity turns a timeout off, and undefined leaves it', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ idleTimeout: 100, writeTimeout: 100 });
  one.stream.setTimeouts({ idleTimeout: Infinity });
  clock.tick(10_000);
  await settle();
  t.is(codeOf(one), null);
  void one.stream.write('x');
  await settle();
  one.stream.setTimeouts({ idleTimeout: Infinity, writeTimeout: undefined });
  clock.tick(200);
  await settle();
  t.is(codeOf(one), 'ERR_WRITE_TIMEOUT');
  const two = simulate({ idleTimeout: 100 });
  two.stream.setTimeouts({ idleTimeout: Infinity });
  t.is(pendingDeadlines(), 0, 'nothing is left to watch');
  two.stream.setTimeouts({ idleTimeout: 100 });
  clock.tick(200);
  await settle();
  t.is(codeOf(two), 'ERR_IDLE_TIMEOUT');
  t.is(await ended(one, two), 0);
});

test.serial('setTimeouts leaves maxAge as it is', async (t) => {
  const clock = fakeClock(t);
  const one = simulate({ maxAge: 1000, idleTimeout: 100 }, { acceptedAt: clock.now() });
  clock.tick(90);
  one.stream.setTimeouts({ idleTimeout: Infinity });
  one.stream.setTimeouts({ readTimeout: 100 });
  clock.tick(900);
  await settle();
  t.is(codeOf(one), null);
  clock.tick(10 + 24);
  await settle();
  t.is(codeOf(one), 'ERR_MAX_AGE');
  t.is(await ended(one), 0);
});

test.serial('setTimeouts has no effect on a stream that is closed, and refuses invalid values on any', async (t) => {
  fakeClock(t);
  const one = simulate({});
  await one.stream.abort();
  one.stream.setTimeouts({ idleTimeout: 100 });
  t.is(pendingDeadlines(), 0);
  for (const name of ['idleTimeout', 'readTimeout', 'writeTimeout']) {
    for (const value of [0, -1, NaN, -Infinity]) {
      t.throws(() => one.stream.setTimeouts({ [name]: value }), {
        code: 'ERR_OUT_OF_RANGE',
        message: `setTimeouts: ${name} must be a number of milliseconds above 0, or Infinity, not ${value}`,
      });
    }
    for (const value of ['5', null, 5n, {}]) {
      t.throws(() => one.stream.setTimeouts({ [name]: value }), { code: 'ERR_INVALID_ARG_TYPE' });
    }
  }
  for (const value of [undefined, null, 5]) {
    t.throws(() => one.stream.setTimeouts(value as never), { code: 'ERR_INVALID_ARG_TYPE' });
  }
});

// ---------------------------------------------------------------------------------------------- one watch for many

test.serial('streams with the same timeouts share one deadline, which does not keep the process alive', async (t) => {
  const clock = fakeClock(t);
  const all = Array.from({ length: 1000 }, () => simulate({ idleTimeout: 1000, readTimeout: 500 }));
  t.is(pendingDeadlines(), 1);
  t.is(clock.held, 0);
  const reading = all[0]!.stream.readline({ timeout: 10_000 });
  reading.catch(() => {});
  t.is(clock.held, 1, 'that of the call does');
  t.is(await ended(...all), 0);
  await settle();
  t.is(clock.held, 0);
});

test.serial('of many streams that come and go, each one has its own time', async (t) => {
  const clock = fakeClock(t);
  const ms = 1000;
  const open = new Map<Simulated, number>();
  let created = 0;
  let timedOut = 0;
  for (let step = 0; step < 2000; step++) {
    // A simple generator, so that the streams come and go in no order.
    const random = (step * 7919) % 101;
    if (random < 40) {
      open.set(simulate({ idleTimeout: ms }), clock.now());
      created++;
    } else {
      const [one] = [...open.keys()].slice((random * 31) % Math.max(open.size, 1));
      if (one !== undefined && random < 70) {
        one.transport.deliver(Buffer.from('x'));
        open.set(one, clock.now());
      } else if (one !== undefined && random < 80) {
        await one.stream.abort();
        open.delete(one);
      }
    }
    clock.tick(7);
    await settle();
    for (const [one, last] of open) {
      const passed = clock.now() - last;
      if (codeOf(one) === null) {
        t.true(passed <= ms + late(ms) + 7);
        continue;
      }
      t.true(passed >= ms);
      open.delete(one);
      timedOut++;
    }
  }
  t.true(created > 100 && timedOut > 50, `${created} streams, ${timedOut} timeouts`);
  t.is(await ended(...open.keys()), 0);
});
