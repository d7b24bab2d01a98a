/** Frames that are copied out together, without a ring. */
import test from 'ava';
import { prepareFraming } from '#ts/buffer/framing.js';
import { FrameCut, cutEnd, firstFrame, withoutStart } from '#ts/reader/frame-cut.js';

const LF = prepareFraming('\n', 'test');
const header = prepareFraming({ length: 'uint8', skip: 'header' }, 'test');
const text = (data: Uint8Array | null) => (data === null ? null : Buffer.from(data).toString('latin1'));

test('the frames of a cut are views of its memory, at the positions of the buffer', (t) => {
  const bytes = Buffer.from('one\ntwo\n');
  const cut = new FrameCut(bytes, 100, LF);
  t.is(cut.end, 108);
  t.is(cut.skipping, null);
  t.is(text(cut.frame(104, 108)), 'two\n');
  t.is(cut.frame(104, 108)?.buffer, bytes.buffer);
});

test('frames whose framing skips their start are returned without it', (t) => {
  const cut = new FrameCut(Buffer.from('\x01a\x02bb'), 10, header);
  t.not(cut.skipping, null);
  t.is(text(cut.frameSkipping(12, 15)), 'bb');
  t.is(text(firstFrame(Buffer.from('\x01a\x02bb'), 2, header)), 'a');
  t.is(text(firstFrame(Buffer.from('one\ntwo\n'), 4, LF)), 'one\n');
});

test('a cut whose memory is detached has no frames', (t) => {
  const memory = new ArrayBuffer(4);
  const bytes = Buffer.from(memory);
  t.not(new FrameCut(Buffer.alloc(4), 0, LF).frame(2, 4), null);
  structuredClone(memory, { transfer: [memory] });
  t.is(new FrameCut(bytes, 0, LF).frame(2, 4), null);
  t.is(new FrameCut(bytes, 0, header).frameSkipping(2, 4), null);
});

/** Ends of `count` frames of `size` bytes each. */
const every = (size: number, count: number) => Uint32Array.from({ length: count }, (_, i) => (i + 1) * size);

test('short frames are cut 8 KiB at a time, even if the last one ends outside', (t) => {
  t.is(cutEnd(every(100, 1000), 0, 1000, 0), 8192);
  t.is(cutEnd(every(100, 1000), 500, 1000, 50_000), 58_192);
  t.is(cutEnd(every(100, 20), 0, 20, 0), 2000);
});

test('longer frames are cut so that none keeps more than 32 times its length alive', (t) => {
  t.is(cutEnd(every(1000, 1000), 0, 1000, 0), 32_000);
  t.is(cutEnd(every(20_000, 3), 0, 3, 0), 60_000);
  // The third frame is short: with it, the cut may have 8 KiB only, and it has more already.
  t.is(cutEnd(Uint32Array.of(5000, 10_000, 10_010), 0, 3, 0), 10_000);
});

test('a frame without its start shares the memory, or is a copy if little is left of a large one', (t) => {
  const frame = Buffer.alloc(100_000, 1);
  t.is(withoutStart(frame, 4).buffer, frame.buffer);
  const short = withoutStart(frame, 99_000);
  t.is(short.length, 1000);
  t.not(short.buffer, frame.buffer);
});
