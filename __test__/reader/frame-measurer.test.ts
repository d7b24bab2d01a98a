/** Frames that a function measures, without a buffer. The reads that use them are tested in `framing.test.ts`. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { CustomLengths } from '#ts/buffer/framing.js';
import { FrameIndex } from '#ts/buffer/ring.js';
import { FrameMeasurer } from '#ts/reader/frame-measurer.js';

/** The first byte of a frame is its length; 0 if that byte has not arrived, which never happens here. */
const byFirstByte = new CustomLengths((bytes, start) => bytes[start] as number);

const bytes = (...values: number[]) => Buffer.from(values);
const summary = (words: Uint32Array) => [...words.subarray(0, FrameIndex.ENDS)];
const ends = (words: Uint32Array) =>
  [...words].slice(FrameIndex.ENDS, FrameIndex.ENDS + (words[FrameIndex.COUNT] as number));

test('all complete frames are listed, and the length of the next one is known', (t) => {
  const words = new Uint32Array(16);
  new FrameMeasurer().list(bytes(2, 0, 1, 4, 0, 0), words, 12, 100, byFirstByte, 'readframes');
  t.deepEqual(ends(words), [2, 3]);
  t.deepEqual(summary(words), [2, 3, 4, 0]);
});

test('a listing is continued without asking for a known length again', (t) => {
  const words = new Uint32Array(16);
  const asked: number[] = [];
  const lengths = new CustomLengths((data, start) => {
    asked.push(start);
    return data[start] as number;
  });
  const measurer = new FrameMeasurer();
  measurer.list(bytes(2, 0, 3), words, 12, 100, lengths, 'readframe');
  measurer.list(bytes(2, 0, 3, 0, 0, 1), words, 12, 100, lengths, 'readframe');
  t.deepEqual(ends(words), [2, 5, 6]);
  t.deepEqual(asked, [0, 2, 5]);
});

test('no more than `max` frames are listed', (t) => {
  const words = new Uint32Array(16);
  new FrameMeasurer().list(bytes(1, 1, 1, 1), words, 3, 100, byFirstByte, 'readframe');
  t.deepEqual(ends(words), [1, 2, 3]);
});

test('a frame over the limit is refused after the frames before it, and the error is taken once', (t) => {
  const words = new Uint32Array(16);
  const measurer = new FrameMeasurer();
  measurer.list(bytes(1, 9), words, 12, 5, byFirstByte, 'readframe');
  t.deepEqual(summary(words), [1, 1, 0, 1]);
  t.is(measurer.takeRefusal(), null, 'the frame before it was not returned yet');
  words.fill(0);
  measurer.list(bytes(9), words, 12, 5, byFirstByte, 'readframe');
  t.deepEqual(summary(words), [0, 0, 0, 1]);
  t.like(measurer.takeRefusal(), { error: { code: 'ERR_LIMIT_OVERRUN', consumed: 9 } });
  t.is(measurer.takeRefusal(), null);
  words.fill(0);
  measurer.list(bytes(9), words, 12, 5, byFirstByte, 'readframe');
  measurer.forget();
  t.is(measurer.takeRefusal(), null);
});

test('a frame without a length in more bytes than the limit is refused', (t) => {
  const words = new Uint32Array(16);
  const measurer = new FrameMeasurer();
  const unknown = new CustomLengths(() => 0);
  measurer.list(bytes(1, 2, 3), words, 12, 3, unknown, 'frames');
  t.is(words[FrameIndex.REFUSED], 0);
  measurer.list(bytes(1, 2, 3, 4), words, 12, 3, unknown, 'frames');
  t.is(words[FrameIndex.REFUSED], 1);
  t.like(measurer.takeRefusal(), {
    error: { message: 'frames: the frame has no length in 4 bytes, which is over the limit of 3' },
  });
});

test('what is no length is refused, with the first bytes of the frame', (t) => {
  for (const [length, shown] of [
    [-1, '-1'],
    [1.5, '1.5'],
    [undefined, 'undefined'],
    ['1', 'a value of type string'],
  ] as const) {
    const measurer = new FrameMeasurer();
    const wrong = new CustomLengths(() => length as number);
    measurer.list(Buffer.alloc(100, 7), new Uint32Array(16), 12, 1000, wrong, 'readframe');
    const error = measurer.takeRefusal()?.error as Error & { header: Buffer };
    t.is(error.message, `readframe: frameLength must return an integer of 0 or more, not ${shown}`);
    t.is(error.header.length, 64);
  }
});

test('while the function runs, reads are refused; afterwards, even if it throws, they are not', (t) => {
  const measurer = new FrameMeasurer();
  const thrown = new Error('no idea');
  const throwing = new CustomLengths(() => {
    t.true(measurer.measures);
    t.throws(() => measurer.check(), { code: 'ERR_CONCURRENT_READ', message: /\(readframe\)/ });
    throw thrown;
  });
  measurer.list(bytes(1), new Uint32Array(16), 12, 100, throwing, 'readframe');
  t.false(measurer.measures);
  t.notThrows(() => measurer.check());
  t.is(measurer.takeRefusal()?.error, thrown);
});
