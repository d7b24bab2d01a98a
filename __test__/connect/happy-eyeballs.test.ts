// Runs once: no socket is made.
import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';

import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';

import { type AttemptError, ConnectionError } from '#ts/errors.js';
import {
  type Address,
  type AttemptState,
  type RaceOptions,
  type RaceStep,
  RaceState,
  interleave,
  race,
} from '#ts/connect/happy-eyeballs.js';

import { seed } from '../seed.js';

// ---------------------------------------------------------------------------------------------------------- interleave

/** Addresses of these families (`'664'`) that encode their position. */
function addressesOf(families: string): Address[] {
  return Array.from(families, (family, i) =>
    family === '6' ? { address: `2001:db8::${i}`, family: 6 } : { address: `192.0.2.${i}`, family: 4 },
  );
}

// The expected positions are the results of CPython 3.11.
for (const [families, firstFamilyCount, expected] of [
  ['', 0, []],
  ['', 1, []],
  ['6', 3, [0]],
  ['46', 1, [0, 1]],
  ['4444', 2, [0, 1, 2, 3]],
  ['466', 1, [0, 1, 2]],
  ['666444', 0, [0, 1, 2, 3, 4, 5]],
  ['666444', 1, [0, 3, 1, 4, 2, 5]],
  ['666444', 2, [0, 1, 3, 2, 4, 5]],
  ['666444', 3, [0, 1, 2, 3, 4, 5]],
  ['666444', 9, [0, 1, 2, 3, 4, 5]],
  ['644466', 2, [0, 4, 1, 5, 2, 3]],
  ['6644466', 3, [0, 1, 5, 2, 6, 3, 4]],
] as const) {
  test(`interleave: '${families}' with ${firstFamilyCount} of the first family ahead`, (t) => {
    const addresses = addressesOf(families);
    t.deepEqual(
      interleave(addresses, firstFamilyCount),
      expected.map((i) => addresses[i] as Address),
    );
    t.deepEqual(addresses, addressesOf(families), 'the list given is left alone');
  });
}

for (const firstFamilyCount of [-1, 0.5, NaN, Infinity, '1' as unknown as number]) {
  test(`interleave: ${JSON.stringify(firstFamilyCount)} (${firstFamilyCount}) is refused`, (t) => {
    t.throws(() => interleave(addressesOf('64'), firstFamilyCount), {
      instanceOf: RangeError,
      code: 'ERR_OUT_OF_RANGE',
    });
  });
}

test('interleave: every order keeps each family in order and alternates after the head start', (t) => {
  const families = fc.array(fc.constantFrom('4', '6'), { maxLength: 12 }).map((list) => list.join(''));
  t.notThrows(() => {
    fc.assert(
      fc.property(families, fc.integer({ min: 1, max: 14 }), (list, firstFamilyCount) => {
        const addresses = addressesOf(list);
        const order = interleave(addresses, firstFamilyCount);
        for (const family of [4, 6]) {
          const ofFamily = (from: Address[]): Address[] => from.filter((address) => address.family === family);
          assert.deepEqual(ofFamily(order), ofFamily(addresses));
        }
        assert.equal(order.length, addresses.length);

        const firstOfAll = addresses[0]?.family;
        const others = addresses.filter(({ family }) => family !== firstOfAll).length;
        const head = Math.min(firstFamilyCount, addresses.length - others);
        assert.ok(order.slice(0, head).every(({ family }) => family === firstOfAll));
        // Both families last for this long after the head.
        const both = Math.min(2 * others, 2 * (addresses.length - others - head));
        for (let i = 0; i < both; i++) assert.equal(order[head + i]?.family === firstOfAll, i % 2 === 1);
      }),
      { seed: seed(t), numRuns: 500 },
    );
  });
});

// ----------------------------------------------------------------------------------------------- the state, step by step

/** The steps without their data: `arm, start 0`. */
function told(steps: readonly RaceStep<string>[]): string {
  return steps.map((step) => ('index' in step ? `${step.kind} ${step.index}` : step.kind)).join(', ');
}

test('state: the timer starts the next attempt, and the first success ends the race', (t) => {
  const state = new RaceState<string>(3, true);
  t.is(state.phase, 'idle');
  t.is(told(state.begin()), 'arm, start 0');
  t.is(told(state.elapsed()), 'arm, start 1');
  t.deepEqual(state.attempts, ['running', 'running', 'waiting']);
  t.deepEqual(state.succeeded(0, 'zero'), [
    { kind: 'disarm' },
    { kind: 'win', index: 0, value: 'zero' },
    { kind: 'abort', index: 1 },
  ]);
  t.is(state.phase, 'won');
  t.deepEqual(state.attempts, ['won', 'aborted', 'waiting']);
  t.deepEqual(state.succeeded(1, 'one'), [{ kind: 'discard', value: 'one' }]);
  t.deepEqual(state.attempts, ['won', 'discarded', 'waiting']);
  t.is(told(state.cancel()), '');
});

test('state: only the failure of the last attempt started starts the next one early', (t) => {
  const state = new RaceState<string>(4, true);
  state.begin();
  state.elapsed();
  t.is(told(state.failed(0, 'a')), '');
  t.is(told(state.failed(1, 'b')), 'disarm, arm, start 2');
  t.is(told(state.elapsed()), 'start 3', 'nothing is left for the timer to start');
  t.false(state.armed);
  t.is(told(state.failed(3, 'd')), '');
  t.deepEqual(state.failed(2, 'c'), [{ kind: 'fail', errors: ['a', 'b', 'c', 'd'] }]);
  t.is(state.phase, 'failed');
});

test('state: without a timer an attempt starts when the one before has failed', (t) => {
  const state = new RaceState<string>(2, false);
  t.is(told(state.begin()), 'start 0');
  t.is(told(state.failed(0, 'a')), 'start 1');
  t.is(told(state.succeeded(1, 'one')), 'win 1');
});

test('state: an aborted attempt may fail later without effect', (t) => {
  const state = new RaceState<string>(2, true);
  state.begin();
  state.elapsed();
  t.is(told(state.cancel()), 'cancel, abort 0, abort 1');
  t.is(told(state.failed(0, 'a')), '');
  t.is(told(state.succeeded(1, 'one')), 'discard');
  t.deepEqual(state.attempts, ['failed', 'discarded']);
});

test('state: impossible events are refused', (t) => {
  t.throws(() => new RaceState(0, true).begin(), { message: 'a race needs an attempt' });
  const state = new RaceState<string>(2, false);
  t.throws(() => state.failed(0, 'a'), { message: 'attempt 0 is waiting' });
  state.begin();
  t.throws(() => state.begin(), { message: 'the race has begun: racing' });
  t.throws(() => state.elapsed(), { message: 'the timer is not armed' });
  t.throws(() => state.succeeded(7, 'x'), { message: 'attempt 7 is unknown' });
  state.succeeded(0, 'zero');
  t.throws(() => state.succeeded(0, 'zero'), { message: 'attempt 0 is won' });

  const cancelled = new RaceState<string>(2, true);
  t.is(told(cancelled.cancel()), 'cancel');
  t.throws(() => cancelled.begin(), { message: 'the race has begun: cancelled' });
});

/** Tracks what must hold after every event, from the steps alone. */
class StepKeeper {
  readonly started: number[] = [];
  readonly aborted = new Set<number>();
  timer = false;
  endings = 0;
  discarded = 0;

  take(steps: readonly RaceStep<string>[]): void {
    for (const step of steps) {
      if (step.kind === 'arm') {
        if (this.timer) throw new Error('armed twice');
        this.timer = true;
      } else if (step.kind === 'disarm') {
        if (!this.timer) throw new Error('disarmed twice');
        this.timer = false;
      } else if (step.kind === 'start') this.started.push(step.index);
      else if (step.kind === 'abort') this.aborted.add(step.index);
      else if (step.kind === 'discard') this.discarded++;
      else this.endings++;
    }
  }
}

type RaceEvent = readonly ['begin' | 'elapsed' | 'cancel'] | readonly ['succeeded' | 'failed', number];

function replay(count: number, staggered: boolean, events: readonly RaceEvent[]): [RaceState<string>, StepKeeper] {
  const state = new RaceState<string>(count, staggered);
  const keeper = new StepKeeper();
  for (const [kind, index] of events) {
    if (kind === 'elapsed') keeper.timer = false;
    if (kind === 'succeeded') keeper.take(state.succeeded(index, `value ${index}`));
    else if (kind === 'failed') keeper.take(state.failed(index, `error ${index}`));
    else keeper.take(state[kind]());
  }
  return [state, keeper];
}

function possible(state: RaceState<string>): RaceEvent[] {
  const events: RaceEvent[] = [];
  if (state.phase === 'idle') events.push(['begin']);
  if (state.phase === 'idle' || state.phase === 'racing') events.push(['cancel']);
  if (state.armed) events.push(['elapsed']);
  for (const [index, attempt] of state.attempts.entries()) {
    if (attempt === 'running' || attempt === 'aborted') events.push(['succeeded', index], ['failed', index]);
  }
  return events;
}

for (const staggered of [true, false]) {
  test(`state: invariants hold for every sequence of events of up to three attempts, ${staggered ? 'with' : 'without'} a timer`, (t) => {
    const wrong: string[] = [];
    const ends = new Set<string>();
    let sequences = 0;

    const walk = (count: number, events: readonly RaceEvent[]): void => {
      const [state, keeper] = replay(count, staggered, events);
      const has = (wanted: AttemptState): number => state.attempts.filter((attempt) => attempt === wanted).length;
      const racing = state.phase === 'racing';
      const check = (what: string, holds: boolean): void => {
        if (!holds) wrong.push(`${what}: ${JSON.stringify(events)}`);
      };
      check('starts are in order', keeper.started.join() === [...keeper.started.keys()].join());
      check('every start shows', keeper.started.length === count - has('waiting'));
      check('timer as in the steps', keeper.timer === state.armed);
      check('a timer only while it can start something', state.armed === (racing && staggered && has('waiting') > 0));
      check('one ending', keeper.endings === (racing || state.phase === 'idle' ? 0 : 1));
      check('attempts run only while racing', has('running') === 0 || racing);
      check('a race has a running attempt', !racing || has('running') > 0);
      check(
        'while some wait, the last one started runs',
        !racing || has('waiting') === 0 || state.attempts[keeper.started.length - 1] === 'running',
      );
      check('one winner', has('won') === (state.phase === 'won' ? 1 : 0));
      check(
        'the losers were aborted',
        [...keeper.aborted].every((index) => ['aborted', 'failed', 'discarded'].includes(state.attempts[index] ?? '')),
      );
      check('late success closed', keeper.discarded === has('discarded'));
      check('no attempt is aborted while racing', !racing || keeper.aborted.size === 0);
      check('failed only when all have', state.phase !== 'failed' || has('failed') === count);
      check('more than one attempt at a time only with a timer', staggered || has('running') <= 1);

      const next = possible(state);
      if (next.length === 0) {
        sequences++;
        ends.add(state.phase);
      }
      for (const event of next) walk(count, [...events, event]);
    };
    for (const count of [1, 2, 3]) walk(count, []);

    t.deepEqual(wrong.slice(0, 5), []);
    t.deepEqual([...ends].sort(), ['cancelled', 'failed', 'won']);
    t.true(sequences > 20);
    t.log(`${sequences} sequences`);
  });
}

// ---------------------------------------------------------------------------------------------------- simulated races

/** Lets every promise that can settle do so. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A clock that a test advances; timers for the same moment fire in the order in which they were set. */
class FakeClock {
  now = 0;
  #timers: { at: number; callback: () => void }[] = [];

  get pending(): number {
    return this.#timers.length;
  }

  after(ms: number, callback: () => void): object {
    const timer = { at: this.now + ms, callback };
    this.#timers.push(timer);
    return timer;
  }

  clear(timer: unknown): void {
    this.#timers = this.#timers.filter((other) => other !== timer);
  }

  /** Fires one timer after the other; calls `before` at each moment, after all its effects. */
  async run(before: () => void = () => {}): Promise<void> {
    for (;;) {
      await settled();
      const next = this.#timers.reduce<{ at: number; callback: () => void } | null>(
        (first, timer) => (first === null || timer.at < first.at ? timer : first),
        null,
      );
      if (next === null || next.at > this.now) before();
      if (next === null) return;
      this.clear(next);
      this.now = next.at;
      next.callback();
    }
  }
}

/** The failures of a race; a single address has its own error. */
const attemptErrors = (error: unknown): AttemptError[] =>
  error instanceof AggregateError ? (error.errors as AttemptError[]) : [error as AttemptError];

/** The result of an attempt: `ms` after its start, unless it throws at once or obeys its signal. */
interface Plan {
  readonly fate: 'connects' | 'fails' | 'never' | 'throws';
  readonly ms: number;
  /** Whether it stops when its signal is aborted; otherwise it continues to its result. */
  readonly obeys: boolean;
}

type Outcome =
  | { readonly kind: 'won'; readonly winner: number }
  | { readonly kind: 'failed' }
  | { readonly kind: 'cancelled' }
  | { readonly kind: 'never' };

/** A race over simulated attempts. */
class Simulation {
  readonly clock = new FakeClock();
  readonly controller = new AbortController();
  readonly addresses: Address[];
  readonly started: number[] = [];
  readonly startTimes: number[] = [];
  readonly signals: AbortSignal[] = [];
  readonly connected: number[] = [];
  readonly discarded: number[] = [];
  readonly asked: number[] = [];
  readonly reason = new Error('given up');
  raceTimers = 0;
  settledAt = NaN;
  outcome: Outcome = { kind: 'never' };
  error: unknown;

  constructor(readonly plans: readonly Plan[]) {
    this.addresses = addressesOf(plans.map((_, i) => (i % 2 === 0 ? '6' : '4')).join(''));
  }

  options(delay: number | null | undefined): RaceOptions<number, Address> {
    return {
      addresses: this.addresses,
      delay,
      attempt: (address, signal) => this.#attempt(this.addresses.indexOf(address), signal),
      discard: (value) => void this.discarded.push(value),
      signal: this.controller.signal,
      action: 'connect example.org:80',
      clock: {
        setTimeout: (callback, ms) => {
          this.raceTimers++;
          this.asked.push(ms);
          return this.clock.after(ms, () => {
            this.raceTimers--;
            callback();
          });
        },
        clearTimeout: (timer) => {
          this.raceTimers--;
          this.clock.clear(timer);
        },
      },
    };
  }

  begin(delay: number | null | undefined): void {
    race(this.options(delay)).then(
      ({ value, address }) => {
        this.outcome = { kind: 'won', winner: this.addresses.indexOf(address) };
        this.settledAt = this.clock.now;
        if (value !== this.addresses.indexOf(address)) throw new Error('the value of another attempt');
      },
      (error: unknown) => {
        this.outcome = { kind: error === this.reason ? 'cancelled' : 'failed' };
        this.settledAt = this.clock.now;
        this.error = error;
      },
    );
  }

  #attempt(index: number, signal: AbortSignal): Promise<number> {
    this.started.push(index);
    this.startTimes.push(this.clock.now);
    this.signals.push(signal);
    const { fate, ms, obeys } = this.plans[index] as Plan;
    const refused = Object.assign(new Error(`refused ${index}`), { code: 'ECONNREFUSED' });
    if (fate === 'throws') throw refused;
    return new Promise((resolve, reject) => {
      const end = (): void => {
        if (fate === 'fails') {
          reject(refused);
        } else {
          this.connected.push(index);
          resolve(index);
        }
      };
      const timer = fate === 'never' || ms === 0 ? null : this.clock.after(ms, end);
      if (fate !== 'never' && ms === 0) end();
      if (!obeys) return;
      signal.addEventListener('abort', () => {
        if (timer !== null) this.clock.clear(timer);
        reject(signal.reason as Error);
      });
    });
  }
}

/**
 * Computes the expected result without events: each start follows from the one before, the end is the earliest of three
 * moments, and a start counts if it comes before the end.
 */
function foretold(
  plans: readonly Plan[],
  delay: number,
  abortAt: number,
): { starts: number[]; end: number; outcome: Outcome } {
  const starts: number[] = [];
  const failures: number[] = [];
  const successes: number[] = [];
  for (const [i, { fate, ms }] of plans.entries()) {
    const start = i === 0 ? 0 : Math.min((starts[i - 1] ?? 0) + delay, failures[i - 1] ?? 0);
    starts.push(start);
    failures.push(fate === 'fails' ? start + ms : fate === 'throws' ? start : Infinity);
    successes.push(fate === 'connects' ? start + ms : Infinity);
  }
  const won = Math.min(...successes);
  const winner = successes.indexOf(won);
  const failed = Math.max(...failures);
  const end = Math.min(won, failed, abortAt);
  const outcome: Outcome =
    end === Infinity
      ? { kind: 'never' }
      : end === abortAt
        ? { kind: 'cancelled' }
        : end === won
          ? { kind: 'won', winner }
          : { kind: 'failed' };
  const counts = (start: number, i: number): boolean =>
    start < end ||
    (outcome.kind === 'won' && i <= winner && start === end) ||
    (outcome.kind === 'failed' && start === end);
  return { starts: starts.filter((start, i) => start !== Infinity && counts(start, i)), end, outcome };
}

// Each duration sets its own bit below 1024, and the abort another one: no two independent events coincide, so the
// expected result does not depend on which comes first.
const planOf = (index: number): fc.Arbitrary<Plan> =>
  fc.record({
    fate: fc.constantFrom('connects', 'fails', 'fails', 'never', 'throws'),
    ms: fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 0, max: 9 }).map((k) => k * 1024 + 2 ** index) },
      { weight: 1, arbitrary: fc.constant(0) },
    ),
    obeys: fc.boolean(),
  });

const schedules = fc.record({
  plans: fc.integer({ min: 1, max: 8 }).chain((n) => fc.tuple(...Array.from({ length: n }, (_, i) => planOf(i)))),
  delay: fc.oneof(
    { weight: 6, arbitrary: fc.integer({ min: 0, max: 5 }).map((k) => k * 1024) },
    { weight: 1, arbitrary: fc.constantFrom(null, undefined, Infinity) },
  ),
  abortAt: fc.oneof(
    { weight: 3, arbitrary: fc.constant(Infinity) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 20 }).map((k) => k * 1024 + 512) },
  ),
});

test('race: random schedules end as computed, and nothing runs afterwards', async (t) => {
  const seen: Record<Outcome['kind'], number> = { won: 0, failed: 0, cancelled: 0, never: 0 };
  let late = 0;

  await t.notThrowsAsync(
    fc.assert(
      fc.asyncProperty(schedules, async ({ plans, delay, abortAt }) => {
        const simulation = new Simulation(plans);
        const { clock, controller, reason, signals } = simulation;
        const staggered = Number.isFinite(delay ?? Infinity);
        const expected = foretold(plans, delay ?? Infinity, abortAt);
        if (abortAt !== Infinity) clock.after(abortAt, () => controller.abort(reason));
        simulation.begin(delay);

        await clock.run(() => {
          assert.deepEqual(
            simulation.startTimes,
            expected.starts.filter((start) => start <= clock.now),
            `the attempts started by ${clock.now}`,
          );
          assert.equal(
            simulation.raceTimers > 0,
            clock.now < expected.end && staggered && simulation.started.length < plans.length,
          );
        });

        assert.deepEqual(simulation.outcome, expected.outcome);
        assert.deepEqual(simulation.started, [...simulation.started.keys()], 'the order of the addresses');
        assert.equal(clock.pending, 0);
        seen[simulation.outcome.kind]++;
        if (expected.outcome.kind === 'never') return;

        assert.equal(simulation.settledAt, expected.end);
        assert.equal(getEventListeners(controller.signal, 'abort').length, 0);
        const winner = expected.outcome.kind === 'won' ? expected.outcome.winner : -1;
        for (const index of simulation.started) {
          const { fate, ms } = plans[index] as Plan;
          const start = simulation.startTimes[index] ?? NaN;
          const failedBefore = fate === 'throws' || (fate === 'fails' && start + ms <= expected.end);
          if (index === winner) assert.equal(signals[index]?.aborted, false, 'the winner is not aborted');
          else if (!failedBefore) assert.equal(signals[index]?.aborted, true, `attempt ${index} is aborted`);
        }
        assert.deepEqual(
          simulation.discarded,
          simulation.connected.filter((index) => index !== winner),
          'what connected and did not win is closed, once',
        );
        late += simulation.discarded.length;
        if (expected.outcome.kind === 'failed') {
          assert.deepEqual(
            attemptErrors(simulation.error).map(({ address, cause }) => [address, (cause as Error).message]),
            simulation.addresses.map(({ address }, i) => [address, `refused ${i}`]),
          );
        }
      }),
      { seed: seed(t), numRuns: 1000 },
    ),
  );
  t.log({ ...seen, late });
  for (const [kind, times] of Object.entries(seen)) t.true(times > 0, `${kind} occurs`);
  t.true(late > 0);
});

// -------------------------------------------------------------------------------------------------------- named cases

const connects = (ms: number): Plan => ({ fate: 'connects', ms, obeys: true });
const fails = (ms: number): Plan => ({ fate: 'fails', ms, obeys: true });
const never: Plan = { fate: 'never', ms: 0, obeys: true };
const throws: Plan = { fate: 'throws', ms: 0, obeys: true };

for (const { name, plans, delay, starts, winner, at } of [
  {
    name: 'the first address never answers',
    plans: [never, connects(20)],
    delay: 250,
    starts: [0, 250],
    winner: 1,
    at: 270,
  },
  { name: 'the first refuses at once', plans: [fails(0), connects(20)], delay: 250, starts: [0, 0], winner: 1, at: 20 },
  { name: 'the first throws', plans: [throws, connects(20)], delay: 250, starts: [0, 0], winner: 1, at: 20 },
  {
    name: 'all but the last throw',
    plans: [throws, throws, throws, connects(1)],
    delay: 250,
    starts: [0, 0, 0, 0],
    winner: 3,
    at: 1,
  },
  {
    name: 'the first answers after 300 ms while the second is still trying',
    plans: [connects(300), connects(100)],
    delay: 250,
    starts: [0, 250],
    winner: 0,
    at: 300,
  },
  {
    name: 'a slow only route connects',
    plans: [connects(5000), fails(10), never],
    delay: 250,
    starts: [0, 250, 260],
    winner: 0,
    at: 5000,
  },
  { name: 'a single slow address connects', plans: [connects(9000)], delay: 250, starts: [0], winner: 0, at: 9000 },
  {
    name: 'a failure starts the delay anew',
    plans: [never, fails(100), never, connects(10)],
    delay: 250,
    starts: [0, 250, 350, 600],
    winner: 3,
    at: 610,
  },
  {
    name: 'the failure of an earlier attempt does not hurry the next',
    plans: [fails(300), never, connects(10)],
    delay: 250,
    starts: [0, 250, 500],
    winner: 2,
    at: 510,
  },
  {
    name: 'a delay of 0 starts all at once',
    plans: [connects(9), never, connects(5)],
    delay: 0,
    starts: [0, 0, 0],
    winner: 2,
    at: 5,
  },
  ...(
    [
      ['null: one after the other', null],
      ['undefined: one after the other', undefined],
      ['Infinity: one after the other', Infinity],
    ] as const
  ).map(([what, delay]) => ({
    name: `delay ${what}`,
    plans: [fails(4000), connects(10)],
    delay,
    starts: [0, 4000],
    winner: 1,
    at: 4010,
  })),
] as const) {
  test(`race: ${name}`, async (t) => {
    const simulation = new Simulation(plans);
    simulation.begin(delay);
    await simulation.clock.run();
    t.deepEqual(simulation.outcome, { kind: 'won', winner });
    t.deepEqual(simulation.startTimes, [...starts]);
    t.is(simulation.settledAt, at);
    t.deepEqual(
      simulation.signals.map((signal) => signal.aborted),
      starts.map((_, i) => i !== winner && plans[i]?.fate !== 'throws' && plans[i]?.fate !== 'fails'),
    );
  });
}

test('race: an attempt that loses gets the reason from its signal', async (t) => {
  const simulation = new Simulation([never, connects(1)]);
  simulation.begin(10);
  await simulation.clock.run();
  const reason: unknown = simulation.signals[0]?.reason;
  t.true(reason instanceof ConnectionError);
  t.like(reason, {
    code: 'ECONNABORTED',
    message: 'connect example.org:80: 2001:db8::0: another address was faster',
  });
});

test('race: a connection made after the race was won is discarded', async (t) => {
  const simulation = new Simulation([{ fate: 'connects', ms: 400, obeys: false }, connects(10)]);
  simulation.begin(250);
  await simulation.clock.run();
  t.deepEqual(simulation.outcome, { kind: 'won', winner: 1 });
  t.deepEqual(simulation.discarded, [0]);
});

// ------------------------------------------------------------------------------------------------------------- errors

const coded = (code: string | undefined, message: string): Error => Object.assign(new Error(message), { code });

/** A race that fails with these reasons, one for each address; resolves with its error. */
function failure<E extends Error = AggregateError>(
  t: ExecutionContext,
  reasons: readonly unknown[],
  instanceOf: new (...args: never[]) => E = AggregateError as never,
): Promise<E> {
  const addresses = addressesOf(reasons.map((_, i) => (i % 2 === 0 ? '4' : '6')).join(''));
  return t.throwsAsync(
    race({
      addresses,
      delay: null,
      attempt: (address) => Promise.reject(reasons[addresses.indexOf(address)] as Error),
      discard: () => t.fail('nothing connected'),
      action: 'connect example.org:80',
    }),
    { instanceOf: instanceOf as never },
  );
}

test('race: if all attempts fail, one error lists each, in order', async (t) => {
  const reasons = [coded('ETIMEDOUT', 'no answer'), coded('ETIMEDOUT', 'connect ETIMEDOUT'), coded('ETIMEDOUT', '')];
  const error = await failure(t, reasons);
  t.is(
    error.message,
    'connect example.org:80: all 3 attempts failed: ' +
      '192.0.2.0 ETIMEDOUT (no answer), 2001:db8::1 ETIMEDOUT (connect ETIMEDOUT), 192.0.2.2 ETIMEDOUT',
  );
  t.like(error, { code: 'ETIMEDOUT' });
  t.deepEqual(
    attemptErrors(error).map(({ address, family, code, cause }) => ({ address, family, code, cause })),
    [
      { address: '192.0.2.0', family: 4, code: 'ETIMEDOUT', cause: reasons[0] },
      { address: '2001:db8::1', family: 6, code: 'ETIMEDOUT', cause: reasons[1] },
      { address: '192.0.2.2', family: 4, code: 'ETIMEDOUT', cause: reasons[2] },
    ],
  );
  t.true(attemptErrors(error).every((each) => each instanceof ConnectionError));
});

test('race: if the attempts failed differently, the code is that of the last address', async (t) => {
  t.like(await failure(t, [coded('ENETUNREACH', 'a'), coded('ECONNREFUSED', 'b')]), { code: 'ECONNREFUSED' });
  // The order of the addresses decides, not which attempt failed last.
  const simulation = new Simulation([]);
  const [first, last] = addressesOf('64');
  const running = race({
    ...simulation.options(250),
    addresses: [first as Address, last as Address],
    attempt: (address) =>
      new Promise((_, reject) => {
        const [ms, code] = address === first ? [400, 'ETIMEDOUT'] : [1, 'ECONNREFUSED'];
        simulation.clock.after(ms, () => {
          reject(coded(code, ''));
        });
      }),
  });
  const [error] = await Promise.all([t.throwsAsync(running, { instanceOf: AggregateError }), simulation.clock.run()]);
  t.like(error, { code: 'ECONNREFUSED' });
});

test('race: a single address that fails has its own error', async (t) => {
  const reason = coded('ECONNREFUSED', 'connect ECONNREFUSED 192.0.2.0:80');
  const error = await failure(t, [reason], ConnectionError);
  t.is(error.message, 'connect example.org:80: 192.0.2.0 ECONNREFUSED (connect ECONNREFUSED 192.0.2.0:80)');
  t.like(error, { code: 'ECONNREFUSED', address: '192.0.2.0', family: 4, cause: reason });
});

test('race: a reason without a code, or that is not an error, is listed as well', async (t) => {
  const error = await failure(t, [new Error('odd'), undefined, 'text', { code: 7 }, coded('', 'empty')]);
  t.is(
    error.message,
    'connect example.org:80: all 5 attempts failed: 192.0.2.0 UNKNOWN (odd), 2001:db8::1 UNKNOWN (undefined), ' +
      '192.0.2.2 UNKNOWN ("text"), 2001:db8::3 UNKNOWN (an instance of Object), 192.0.2.4 UNKNOWN (empty)',
  );
  t.like(error, { code: 'UNKNOWN' });
});

test('race: an empty list of addresses is a typed error', async (t) => {
  const simulation = new Simulation([]);
  await t.throwsAsync(race(simulation.options(250)), {
    instanceOf: ConnectionError,
    code: 'ENOTFOUND',
    message: 'connect example.org:80: there is no address to connect to',
  });
  t.is(getEventListeners(simulation.controller.signal, 'abort').length, 0);
});

for (const delay of [-1, NaN, -Infinity, '250' as unknown as number]) {
  test(`race: a delay of ${delay} (${typeof delay}) is refused`, async (t) => {
    const simulation = new Simulation([connects(1)]);
    await t.throwsAsync(race(simulation.options(delay)), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
    t.deepEqual(simulation.started, []);
  });
}

test('race: a delay longer than the runtime can wait is capped, not ignored', async (t) => {
  const simulation = new Simulation([never, connects(1)]);
  simulation.begin(Number.MAX_VALUE);
  t.deepEqual(simulation.asked, [2 ** 31 - 1]);
  simulation.controller.abort(simulation.reason);
  await simulation.clock.run();
  t.is(simulation.raceTimers, 0);
});

// -------------------------------------------------------------------------------------------------------------- abort

test('race: aborted before the start, no attempt starts', async (t) => {
  const simulation = new Simulation([connects(1)]);
  simulation.controller.abort(simulation.reason);
  simulation.begin(250);
  await simulation.clock.run();
  t.deepEqual(simulation.outcome, { kind: 'cancelled' });
  t.deepEqual(simulation.started, []);
  t.deepEqual(simulation.asked, []);
});

test('race: aborted while attempts run, all get the reason, and later connections are discarded', async (t) => {
  const simulation = new Simulation([never, { fate: 'connects', ms: 500, obeys: false }, connects(1)]);
  simulation.clock.after(400, () => simulation.controller.abort(simulation.reason));
  simulation.begin(250);
  await simulation.clock.run();
  t.deepEqual(simulation.outcome, { kind: 'cancelled' });
  t.is(simulation.settledAt, 400);
  t.deepEqual(simulation.startTimes, [0, 250]);
  t.deepEqual(
    simulation.signals.map((signal) => signal.reason as unknown),
    [simulation.reason, simulation.reason],
  );
  t.deepEqual(simulation.discarded, [1]);
  t.is(simulation.raceTimers, 0);
  t.is(getEventListeners(simulation.controller.signal, 'abort').length, 0);
});

test('race: aborted afterwards, the winner keeps its connection', async (t) => {
  const simulation = new Simulation([connects(1), never]);
  simulation.begin(250);
  await simulation.clock.run();
  simulation.controller.abort(simulation.reason);
  await simulation.clock.run();
  t.deepEqual(simulation.outcome, { kind: 'won', winner: 0 });
  t.false(simulation.signals[0]?.aborted);
  t.deepEqual(simulation.discarded, []);
});

test('race: an attempt may abort the race while it starts', async (t) => {
  const simulation = new Simulation([never, never]);
  const { attempt, ...options } = simulation.options(250);
  const running = race({
    ...options,
    attempt: (address, signal) => {
      simulation.controller.abort(simulation.reason);
      return attempt(address, signal);
    },
  });
  t.is(await t.throwsAsync(running), simulation.reason);
  t.is(simulation.raceTimers, 0);
  t.deepEqual(simulation.started, [0]);
  t.true(simulation.signals[0]?.aborted);
});

test('race: a loser that aborts the race when it is stopped does not affect the winner', async (t) => {
  const simulation = new Simulation([never, connects(1)]);
  const { attempt, ...options } = simulation.options(10);
  const running = race({
    ...options,
    attempt: (address, signal) => {
      signal.addEventListener('abort', () => simulation.controller.abort(simulation.reason));
      return attempt(address, signal);
    },
  });
  await simulation.clock.run();
  t.is((await running).value, 1);
});

test('race: the list may change after the race has started', async (t) => {
  const simulation = new Simulation([fails(5), connects(5)]);
  const addresses = [...simulation.addresses];
  const running = race({ ...simulation.options(250), addresses });
  addresses.length = 0;
  await simulation.clock.run();
  t.is((await running).address, simulation.addresses[1] as Address);
});

test('race: the default clock is that of the runtime', async (t) => {
  const addresses = addressesOf('64');
  const result = await race({
    addresses,
    delay: 1,
    attempt: (address) => (address.family === 6 ? new Promise<string>(() => {}) : Promise.resolve('connected')),
    discard: () => t.fail('nothing came too late'),
  });
  t.deepEqual(result, { value: 'connected', address: addresses[1] as Address });
});
