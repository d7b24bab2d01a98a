/** A waiting read and its bypass, without a reader. */
import test from 'ava';
import { Separator } from '#ts/buffer/separator.js';
import { Fill } from '#ts/reader/fill.js';
import { Bypass, PendingRead } from '#ts/reader/pending-read.js';

const nothing = () => undefined;

test('a pending read settles its promise once', async (t) => {
  const good = new PendingRead('read', nothing, null, null, 0);
  const result = good.settled<string>();
  good.resolve('bytes' as never);
  good.reject(new Error('too late'));
  t.is(await result, 'bytes');
  const bad = new PendingRead('read', nothing, null, null, 0);
  const failure = bad.settled();
  bad.reject(new Error('reset'));
  await t.throwsAsync(failure, { message: 'reset' });
});

test('a lock is no read, and a read is no lock', (t) => {
  t.true(PendingRead.lock('startTls').isLock);
  t.false(new PendingRead('read', nothing, null, null, 0).isLock);
});

test('a read without a bypass has no fill, and continues nothing', (t) => {
  const read = new PendingRead('read', nothing, null, null, 0);
  t.is(read.fill, null);
  t.false(read.continues);
});

test('the fill of a frame is there once its length is known', (t) => {
  const bypass = Bypass.ofFrame(Separator.from('\n', 'test'));
  const read = new PendingRead('readframe', nothing, bypass, null, 0);
  t.is(read.fill, null);
  bypass.fill = Fill.of(3);
  t.is(read.fill, bypass.fill);
  t.is(bypass.most, 0);
  t.is(new PendingRead('readexactly', nothing, Bypass.into(bypass.fill), null, 0).fill, bypass.fill);
});

test('a read of the next chunk converts what it takes of it, and may continue earlier reads', (t) => {
  const first = Bypass.ofChunk(10, (bytes) => bytes.length);
  t.is(first.most, 10);
  t.is(first.deliver(Buffer.from('four')), 4);
  t.false(new PendingRead('chunks', nothing, first, null, 0).continues);
  t.true(new PendingRead('chunks', nothing, Bypass.ofChunk(6, nothing, true), null, 0).continues);
});
