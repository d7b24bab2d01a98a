/** How much the transport reads at once, without a reader. */
import test from 'ava';
import { TUNING } from '#ts/reader/intake.js';
import { ReadAhead } from '#ts/reader/read-ahead.js';

const tuning = { largeRead: 64, fullChunk: 100, directRead: 80, directMost: 400 };

test('a small chunk means that the source is not busy: nothing is read ahead, and a ring needs no extra room', (t) => {
  const ahead = new ReadAhead(1000, tuning);
  t.deepEqual([ahead.bytes, ahead.room], [0, 0]);
  ahead.fed(99);
  t.deepEqual([ahead.bytes, ahead.room], [0, 0]);
});

test('after a full chunk the transport reads directly, and a new ring has room for the most that it reads', (t) => {
  const ahead = new ReadAhead(1000, tuning);
  ahead.fed(100);
  t.deepEqual([ahead.bytes, ahead.room], [80, 400]);
  ahead.fed(1);
  t.is(ahead.bytes, 0);
});

test('more is read at once while the caller keeps up, and less once it does not', (t) => {
  const ahead = new ReadAhead(1000, tuning);
  ahead.stored(80, 80);
  t.is(ahead.bytes, 400);
  ahead.stored(400, 81);
  t.is(ahead.bytes, 80);
  ahead.stored(39, 0);
  t.is(ahead.bytes, 0);
});

test('a small limit keeps the ring small, but not below one direct read', (t) => {
  for (const [limit, most] of [
    [1, 80],
    [20, 80],
    [50, 200],
    [100, 400],
    [101, 400],
  ] as const) {
    const ahead = new ReadAhead(limit, tuning);
    ahead.stored(80, 0);
    t.is(ahead.bytes, most, `limit ${limit}`);
    t.is(ahead.room, most, `limit ${limit}`);
  }
});

test('a read into a large result is followed by another direct read only if it was full', (t) => {
  const ahead = new ReadAhead(1000, tuning);
  ahead.filled(true);
  t.is(ahead.bytes, 80);
  ahead.filled(false);
  t.is(ahead.bytes, 0);
});

test('the sizes outside of tests are those of TUNING', (t) => {
  t.is(new ReadAhead(1).tuning, TUNING);
});
