/** How long a connection on which everything is sent stays open for its peer. */
// Runs once: it concerns no engine and no way of reading.
import test from 'ava';
import { FlushWatch, linger, type Flushing, type Lingering } from '#ts/transports/linger.js';

/** What a connection answers in its nth check, from 1 on. By default its peer is silent, has all that was sent, and does not end its side. */
type Answers = {
  readonly [Name in 'peerEnded' | 'dropped' | 'mayLose' | 'unsent']?: (check: number) => ReturnType<Lingering[Name]>;
};

/** The number of the check at which the connection is destroyed. */
function destroyedAt(answers: Answers, timeout: number | null = null): Promise<number> {
  const { peerEnded = () => false, dropped = () => 0, mayLose = () => false, unsent = () => 0 } = answers;
  return new Promise((resolve) => {
    // The timers of the wait do not keep the process alive.
    const alive = setInterval(() => {}, 1000);
    let check = 0;
    linger(
      {
        lost: () => {
          check++;
          return false;
        },
        peerEnded: () => peerEnded(check),
        dropped: () => dropped(check),
        mayLose: () => mayLose(check),
        unsent: () => unsent(check),
        destroy: () => {
          clearInterval(alive);
          resolve(check);
        },
      },
      timeout,
    );
  });
}

test('without anything to lose, a connection whose peer is silent for one turn of the event loop is destroyed', async (t) => {
  t.is(await destroyedAt({}), 2);
  t.is(await destroyedAt({ unsent: () => null }), 2);
  t.is(await destroyedAt({ dropped: (check) => Math.min(check, 5) }), 6);
});

test('what the kernel still has to send is not destroyed by a peer that sends again after a silent turn', async (t) => {
  // A reset, with which the system answers what arrives after the close, would drop it.
  const sending: Answers = {
    dropped: (check) => (check <= 2 ? 0 : check),
    unsent: (check) => 1000 - check,
    peerEnded: (check) => check >= 6,
  };
  t.is(await destroyedAt(sending), 6);
  t.is(await destroyedAt({ ...sending, unsent: () => 0, mayLose: () => true }), 6);
});

test('a peer that is silent for longer is not waited for, although the kernel still has something to send', async (t) => {
  t.is(await destroyedAt({ unsent: () => 1000 }), 3);
  t.is(await destroyedAt({ unsent: (check) => 1000 - check }), 3);
});

test('the time of a peer that keeps sending starts again as long as it reads', async (t) => {
  // It has read everything at the sixth check. A single step is as long as the whole time.
  const checks = await destroyedAt({ dropped: (check) => check, unsent: (check) => Math.max(0, 6 - check) }, 100);
  t.true(checks > 6, `${checks} checks`);
});

test('with a timeout, silence ends nothing before the peer has ended its side', async (t) => {
  t.is(await destroyedAt({ peerEnded: (check) => check >= 4 }, 1000), 4);
});

/** The number of checks until a peer that accepts nothing, or nothing after the nth check, is given up. */
function givenUpAt(timeout: number, acceptsUntil = 0): Promise<number> {
  return new Promise((resolve) => {
    const alive = setInterval(() => {}, 1000);
    let check = 0;
    const flushing: Flushing = {
      pending: () => true,
      progress: () => Math.min(++check, acceptsUntil),
      giveUp: (ms) => {
        clearInterval(alive);
        resolve(ms === timeout ? check : NaN);
      },
    };
    new FlushWatch(flushing, timeout);
  });
}

test('a close gives up on a peer that accepts nothing in ten checks after the first one', async (t) => {
  t.is(await givenUpAt(50), 11);
  t.is(await givenUpAt(50, 5), 15);
});

test('closes that are checked together each have their own time', async (t) => {
  const early = [givenUpAt(100), givenUpAt(100, 3)];
  // Begins between two checks of the others.
  await new Promise((resolve) => setTimeout(resolve, 25));
  const late = givenUpAt(100);
  t.deepEqual(await Promise.all([...early, late, givenUpAt(60)]), [11, 13, 11, 11]);
});

test('a close that is over is not checked any more', async (t) => {
  let checks = 0;
  const flushing: Flushing = { pending: () => true, progress: () => ++checks, giveUp: () => t.fail() };
  const watch = new FlushWatch(flushing, 50);
  const other = givenUpAt(50);
  watch.stop();
  t.is(await other, 11);
  t.is(checks, 0);
});
