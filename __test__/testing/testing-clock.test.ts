/** `fakeClock` of `sluice/testing`, and what the module exports. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { StreamReader, streampair } from 'sluice';
import * as testing from 'sluice/testing';
import { clogged, fakeClock, settled } from 'sluice/testing';
import { pendingDeadlines } from '#ts/deadlines.js';

test('the module exports these names, and no others', (t) => {
  t.deepEqual(Object.keys(testing).sort(), ['broken', 'clogged', 'fakeClock', 'settled', 'splits', 'throttled']);
});

test.serial('a timeout of a call is over when the time has been advanced, and not before', async (t) => {
  using clock = fakeClock();
  const start = clock.now();
  let outcome = 'waits';
  const reading = new StreamReader().readline({ timeout: 30_000 }).catch((error: unknown) => {
    outcome = (error as Error).message;
  });
  await clock.advance(30_000 - 1);
  t.is(outcome, 'waits');
  await clock.advance(33);
  await reading;
  t.is(outcome, 'readline: timed out after 30000 ms');
  t.is(clock.now(), start + 30_032);
  t.is(pendingDeadlines(), 0);
});

test.serial('the program reacts between two timeouts, which one call advances over', async (t) => {
  using clock = fakeClock();
  const reader = new StreamReader();
  const times: number[] = [];
  const start = clock.now();
  const trying = (async () => {
    for (let i = 0; i < 3; i++) {
      await reader.readline({ timeout: 1000 }).catch(() => times.push(Math.floor((clock.now() - start) / 100)));
    }
  })();
  await clock.advance(4000);
  await trying;
  t.deepEqual(times, [10, 20, 30]);
});

test.serial('idleTimeout and writeTimeout of a pair, and closeTimeout with a clogged peer', async (t) => {
  using clock = fakeClock();
  const [idle, silent] = streampair({ idleTimeout: 60_000 });
  const reading = t.throwsAsync(idle.read(1), { code: 'ERR_IDLE_TIMEOUT' });
  await clock.advance(68_000);
  await reading;
  const [slow, peer] = streampair({ writeTimeout: 10_000, capacity: 1 });
  clogged(peer);
  void slow.write('abc');
  const written = t.throwsAsync(slow.flush(), { code: 'ERR_WRITE_TIMEOUT' });
  await clock.advance(12_000);
  await written;
  const [closing, other] = streampair({ closeTimeout: 30_000, capacity: 1 });
  clogged(other);
  void closing.write('abc');
  let ended = false;
  const closed = t.throwsAsync(closing.close(), { code: 'ETIMEDOUT' }).finally(() => (ended = true));
  await clock.advance(25_000);
  t.false(ended);
  await clock.advance(10_000);
  await closed;
  await Promise.all([silent.abort(), peer.abort(), other.abort()]);
});

test.serial('bytes that are on their way count before a timeout is checked', async (t) => {
  using clock = fakeClock();
  const [client, peer] = streampair({ idleTimeout: 1000 });
  for (let i = 0; i < 10; i++) {
    await peer.write('x');
    await clock.advance(900);
  }
  t.is(client.buffered, 10);
  await Promise.all([client.close(), peer.close()]);
});

test.serial('timeouts that run continue on the other clock with the time that they have left', async (t) => {
  const [client, peer] = streampair({ idleTimeout: 3_600_000 });
  const reading = t.throwsAsync(client.read(1, { timeout: 7_200_000 }), { code: 'ERR_IDLE_TIMEOUT' });
  const clock = fakeClock();
  await clock.advance(3_000_000);
  t.false(client.isClosing());
  await clock.advance(1_100_000);
  await reading;
  clock.restore();
  await peer.abort();
  // And back: what is nearly over on the fake clock is over after a moment of the system's.
  const fake = fakeClock();
  const late = new StreamReader().read(1, { timeout: 10_000 });
  await fake.advance(9990);
  fake.restore();
  await t.throwsAsync(late, { code: 'ERR_TIMEOUT' });
  t.is(pendingDeadlines(), 0);
});

test.serial('only one fake clock at a time, restored once and by using', async (t) => {
  const clock = fakeClock();
  t.throws(() => fakeClock(), {
    code: 'ERR_IN_USE',
    message: 'fakeClock: another fake clock is in use',
  });
  clock.restore();
  clock.restore();
  {
    using again = fakeClock();
    t.not(again, clock);
    clock.restore();
    t.throws(() => fakeClock(), { code: 'ERR_IN_USE' });
  }
  using last = fakeClock();
  for (const [ms, message] of [
    ['1', 'advance: ms must be a finite number of milliseconds of 0 or more, not "1"'],
    [-1, 'advance: ms must be a finite number of milliseconds of 0 or more, not -1'],
    [Infinity, 'advance: ms must be a finite number of milliseconds of 0 or more, not Infinity'],
  ] as const) {
    await t.throwsAsync(last.advance(ms as number), { message });
  }
  await settled();
});
