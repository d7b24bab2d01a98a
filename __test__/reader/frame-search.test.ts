/** The search for frames over a receive buffer, without the index over what it finds. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { prepareFraming, type Framing } from '#ts/buffer/framing.js';
import { FrameIndex } from '#ts/buffer/ring.js';
import { FrameSearch } from '#ts/reader/frame-search.js';
import { ReceiveBuffer } from '#ts/reader/receive-buffer.js';

/** A search in a buffer that holds `data`. `list` returns the ends in the words. */
function searching(data: string, limit = 100) {
  const buffer = new ReceiveBuffer();
  const search = new FrameSearch(limit);
  buffer.open().ring.append(Buffer.from(data, 'latin1'));
  const list = (framing: Framing, listed = 0): number[] => {
    const words = search.list(buffer, prepareFraming(framing, 'readframes'), listed, 'readframes');
    return [...words].slice(FrameIndex.ENDS, FrameIndex.ENDS + (words[FrameIndex.COUNT] as number));
  };
  return { buffer, search, list };
}

const byFirstByte = { frameLength: (bytes: Uint8Array, start: number) => bytes[start] as number };

test('frames with a separator, a length, and a length by a function are listed in the same form', (t) => {
  for (const [framing, data] of [
    ['\n', 'a\nbb\nc'],
    [{ length: 'uint8', adjust: -1 }, '\x02a\x03bb\x09'],
    [byFirstByte, '\x02a\x03bb\x09'],
  ] as const) {
    const { search, list } = searching(data);
    search.all = true;
    t.deepEqual(list(framing), [2, 5]);
    t.true(search.exhausted);
    t.is(search.refused, 0);
  }
});

test('few frames are listed at first, then more while the framing stays; another framing starts small again', (t) => {
  const { search, list } = searching('\n'.repeat(100));
  t.is(list('\n').length, 1);
  t.false(search.exhausted);
  for (const more of [4, 16, 64, 100]) {
    search.continueFrom(1);
    search.restart();
    t.is(list('\n').length, more);
  }
  t.true(search.exhausted);
  search.startSmall();
  search.restart();
  t.is(list('\n').length, 1);
  search.all = true;
  search.restart();
  t.is(list('\n').length, 100);
});

test('a listing is continued after the frames that it has', (t) => {
  const { buffer, search, list } = searching('a\nb');
  search.all = true;
  t.deepEqual(list('\n'), [2]);
  buffer.open().ring.append(Buffer.from('\ncc\nd'));
  t.deepEqual(list('\n', 1), [2, 4, 7]);
});

test('a search continues where it ended, counted from the bytes that are still unread', (t) => {
  const starts: number[] = [];
  const framing = {
    frameLength(bytes: Uint8Array, start: number) {
      starts.push(start);
      return bytes[start] as number;
    },
  };
  const { buffer, search, list } = searching('\x02a\x05b');
  search.all = true;
  t.deepEqual(list(framing), [2]);
  t.is(search.measured, 5);
  buffer.passed(2);
  search.continueFrom(buffer.position);
  buffer.restart();
  buffer.open().ring.append(Buffer.from('cde'));
  t.deepEqual(list(framing), [5]);
  t.deepEqual(starts, [0, 2], 'the length of the second frame was known');
});

test('a length that is recalled is not measured again', (t) => {
  const { search, list } = searching('\x63aa');
  search.recall(3);
  t.deepEqual(list(byFirstByte), [3]);
});

test('a frame that is refused ends the search; those before it are listed first', (t) => {
  const { search, list } = searching('a\nfar too long\n', 5);
  search.all = true;
  t.deepEqual(list('\n'), [2]);
  t.is(search.refused, 0);
  const first = searching('far too long\n', 5);
  t.deepEqual(first.list('\n'), []);
  t.is(first.search.refused, 12);
  first.search.restart();
  t.is(first.search.refused, 0);
});

test('what a function refuses is an error that is taken once, and then the frame is measured again', (t) => {
  const { search, list } = searching('\x09aa', 5);
  t.is(search.takeRefusal(), null);
  t.deepEqual(list(byFirstByte), []);
  t.true(search.exhausted);
  t.like(search.takeRefusal(), { error: { code: 'ERR_LIMIT_OVERRUN' } });
  t.false(search.exhausted);
  t.is(search.takeRefusal(), null);
});

test('the limit of a framing counts instead of the limit of the stream', (t) => {
  const search = new FrameSearch(100);
  t.is(search.limitOf(prepareFraming('\n', 'test')), 100);
  t.is(search.limitOf(prepareFraming({ length: 'uint8' }, 'test')), 100);
  t.is(search.limitOf(prepareFraming({ length: 'uint8', limit: 7 }, 'test')), 7);
  t.is(search.limitOf(prepareFraming({ size: 200 }, 'test')), 200);
});
