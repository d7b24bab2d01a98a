/** The fake clock of `sluice/testing`, for one test. */
import type { ExecutionContext } from 'ava';
import { setClock } from '#ts/clock.js';
import { pendingDeadlines } from '#ts/deadlines.js';
import { FakeClock } from '#ts/testing/fake-clock.js';

export { FakeClock };

/** Puts a fake clock in place of the system's until the test is over; only in serial tests. Then no deadline may be left. */
export function fakeClock(t: ExecutionContext): FakeClock {
  const clock = new FakeClock();
  t.is(pendingDeadlines(), 0, 'no deadline is left of an earlier test');
  setClock(clock);
  t.teardown(() => clock.restore());
  return clock;
}
