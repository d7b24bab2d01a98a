/** How a stream has ended, without a reader. */
import test from 'ava';
import { Ending } from '#ts/reader/ending.js';

test('after EOF the end is reached, even if an error comes later', (t) => {
  const ending = new Ending(true, null);
  t.true(ending.reached());
  ending.error = new Error('late');
  t.true(ending.reached());
  t.false(ending.hasThrown);
});

test('an error that ended the stream is thrown each time, and is then known to the caller', (t) => {
  const error = new Error('reset');
  const ending = new Ending(false, error);
  t.false(ending.hasThrown);
  t.is(
    t.throws(() => ending.reached()),
    error,
  );
  t.true(ending.hasThrown);
  t.is(
    t.throws(() => ending.reached()),
    error,
  );
});

test('without its EOF the stream goes on, unless an error has ended it as well', (t) => {
  t.is(new Ending(true, null).withoutEof(), null);
  const error = new Error('reset');
  const both = new Ending(true, error);
  t.is(both.withoutEof(), both);
  t.is(
    t.throws(() => both.reached()),
    error,
  );
});
