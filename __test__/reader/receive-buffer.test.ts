/** The unread bytes of a reader, without frames or waiting. The reads that use them are tested in `reader.test.ts`. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { Separator } from '#ts/buffer/separator.js';
import { Fill } from '#ts/reader/fill.js';
import { Frames } from '#ts/reader/frames.js';
import { ReceiveBuffer } from '#ts/reader/receive-buffer.js';

const LF = Separator.from('\n', 'test');
const text = (data: Uint8Array) => Buffer.from(data).toString('latin1');

function append(buffer: ReceiveBuffer, data: string): void {
  buffer.openToWrite(0).ring.append(Buffer.from(data, 'latin1'));
}

function holding(data: string): ReceiveBuffer {
  const buffer = new ReceiveBuffer();
  append(buffer, data);
  return buffer;
}

/** Lends everything up to `end`, as one frame. */
function lend(buffer: ReceiveBuffer, end: number): Frames {
  const frames = new Frames(LF, buffer.inPlace(buffer.position, end), Uint32Array.of(end));
  buffer.lend(frames, end);
  return frames;
}

test('bytes are taken in the order in which they arrived; copies consume nothing', (t) => {
  const buffer = holding('abc');
  append(buffer, 'defg');
  t.is(buffer.length, 7);
  t.is(text(buffer.copy(2)), 'ab');
  t.is(text(buffer.take(3)), 'abc');
  buffer.advance(1);
  const target = Buffer.from('......');
  buffer.copyTo(target, 2);
  t.is(text(target), 'ef....');
  t.is(buffer.length, 3);
  t.is(text(buffer.take(3)), 'efg');
  t.is(buffer.length, 0);
  t.is(text(buffer.take(0)), '');
});

test('a copy that cannot be allocated is a RangeError, and consumes nothing', (t) => {
  const buffer = holding('abc');
  t.throws(() => buffer.take(2 ** 52), { instanceOf: RangeError, code: 'ERR_BUFFER_TOO_LARGE' });
  t.is(text(buffer.take(3)), 'abc');
});

test('a drained buffer owns no ring, unless it is kept for the next bytes', (t) => {
  const buffer = new ReceiveBuffer();
  t.is(buffer.store, null);
  append(buffer, 'abc');
  buffer.passed(3);
  t.is(buffer.length, 0);
  buffer.settle(true);
  t.not(buffer.store, null);
  buffer.settle();
  t.is(buffer.store, null);
  append(buffer, 'd');
  buffer.advance(1);
  t.is(buffer.store, null);
});

test('positions increase while bytes are taken and arrive, until the count restarts', (t) => {
  const buffer = holding('abcdef');
  buffer.passed(2);
  buffer.settle();
  append(buffer, 'gh');
  t.is(buffer.position, 2);
  const target = Buffer.alloc(3);
  buffer.copyOut(target, 5, 8);
  t.is(text(target), 'fgh');
  t.is(text(buffer.inPlace(2, 4)), 'cd');
  buffer.passed(4);
  buffer.restart();
  t.is(buffer.position, 0);
  t.is(text(buffer.inPlace(0, 4)), 'efgh');
});

test('positions continue after the buffer was drained', (t) => {
  const buffer = holding('abc');
  buffer.passed(3);
  buffer.settle();
  t.is(buffer.store, null);
  append(buffer, 'de');
  t.is(buffer.position, 3);
  t.is(text(buffer.inPlace(3, 5)), 'de');
  t.is(text(buffer.take(2)), 'de');
});

test('bytes in place lie in the ring; if they wrap around, they are copied', (t) => {
  const buffer = holding('0'.repeat(1000));
  const { ring } = buffer.open();
  const { capacity } = ring;
  ring.append(Buffer.alloc(capacity - 1000, '1'));
  buffer.passed(600);
  buffer.settle();
  append(buffer, '2'.repeat(500));
  t.is(buffer.store?.ring, ring);
  t.is(ring.capacity, capacity, 'wraps rather than grows');
  const inPlace = buffer.inPlace(600, 610);
  t.is(inPlace.buffer, buffer.inPlace(610, 620).buffer);
  const wrapped = buffer.inPlace(capacity - 1, capacity + 2);
  t.is(text(wrapped).slice(1), '22');
  t.not(wrapped.buffer, inPlace.buffer);
  buffer.advance(buffer.length);
});

test('bytes that are put back come first, also in a drained buffer', (t) => {
  const buffer = holding('abcd');
  buffer.advance(2);
  buffer.putBack(Buffer.from('xyz'));
  t.is(text(buffer.take(4)), 'xyzc');
  buffer.advance(1);
  buffer.putBack(Buffer.from('!'));
  t.is(text(buffer.take(1)), '!');
});

// ------------------------------------------------------------------------------------------------- memory that is lent

test('lent frames do not change while bytes arrive, which follow those that were not lent', (t) => {
  const buffer = holding('one\ntw');
  const frames = lend(buffer, 4);
  t.true(buffer.lends);
  const { bytes } = frames;
  t.is(buffer.length, 2);
  for (let i = 0; i < 100; i++) append(buffer, 'o'.repeat(1000));
  t.is(text(bytes), 'one\n');
  t.is(buffer.length, 100_002);
  buffer.endLoan();
  t.false(buffer.lends);
  t.throws(() => frames.bytes, { code: 'ERR_FRAMES_EXPIRED' });
  t.is(buffer.position, 4);
  t.is(text(buffer.take(4)), 'twoo');
});

test('when everything is lent, bytes that arrive get another ring', (t) => {
  const buffer = holding('one\n');
  const lent = buffer.store;
  const { bytes } = lend(buffer, 4);
  append(buffer, 'two\n');
  t.not(buffer.store, lent);
  t.is(text(bytes), 'one\n');
  t.is(text(buffer.take(4)), 'two\n');
  buffer.endLoan();
});

test('bytes can be put back while frames are lent', (t) => {
  const buffer = holding('one\ntwo');
  const { bytes } = lend(buffer, 4);
  buffer.leaveLoan(0);
  buffer.putBack(Buffer.from('ONE'));
  t.is(text(bytes), 'one\n');
  t.is(text(buffer.take(6)), 'ONEtwo');
  buffer.endLoan();
});

test('a ring that replaces a lent one is large enough for the next read into it', (t) => {
  const buffer = holding('one\ntwo');
  lend(buffer, 4);
  buffer.leaveLoan(100_000);
  t.true(buffer.open().ring.capacity >= 100_000, String(buffer.open().ring.capacity));
  buffer.endLoan();
  t.is(text(buffer.take(3)), 'two');
});

test('an empty Frames at EOF is a loan as well: it expires, too', (t) => {
  const buffer = new ReceiveBuffer();
  const none = new Frames(LF);
  buffer.lend(none);
  t.true(buffer.lends);
  t.is(none.length, 0);
  buffer.endLoan();
  t.throws(() => none.length, { code: 'ERR_FRAMES_EXPIRED' });
});

test('the target for the transport has a size within the bounds, and lies in the ring', (t) => {
  const buffer = holding('abc');
  const target = buffer.targetRing(1000, 1500, 0)!;
  t.true(target.length >= 1000 && target.length <= 1500, String(target.length));
  t.is(buffer.target, target);
  t.true(buffer.targets(buffer.store?.ring));
  t.false(buffer.targetsFill);
  target.set(Buffer.from('def'));
  buffer.store?.ring.commit(3);
  buffer.dropTarget();
  t.is(buffer.target, null);
  t.false(buffer.targets(buffer.store?.ring));
  t.is(text(buffer.take(6)), 'abcdef');
});

test('the transport gets no memory for which bytes that the caller sees would have to move', (t) => {
  const buffer = holding('abc');
  const seen = buffer.show();
  const store = buffer.store!;
  const { room } = store.ring;
  t.is(buffer.targetRing(room + 1, room + 1, 0), null);
  t.is(buffer.target, null);
  t.is(buffer.store, store, 'the bytes are not moved to another ring either');
  t.is(buffer.targetRing(room, room, 0)?.length, room, 'what is free can be read into');
  t.is(text(seen), 'abc');
  buffer.dropTarget();
  buffer.endLoan();
  t.is(buffer.targetRing(room + 1, room + 1, 0)?.length, room + 1);
  t.is(text(buffer.take(3)), 'abc');
});

test('a caller that sees the bytes in place gets each chunk in one piece with the rest of the one before, in the same ring', (t) => {
  const buffer = new ReceiveBuffer();
  const rings = new Set<unknown>();
  for (let i = 0; i < 100; i++) {
    const rest = buffer.length;
    const chunk = Buffer.alloc(1000 + i, i);
    buffer.openToWrite(0);
    buffer.append(chunk);
    const seen = buffer.show();
    rings.add(buffer.store!.ring);
    t.deepEqual(seen, Buffer.concat([Buffer.alloc(rest, i - 1), chunk]));
    buffer.endLoan();
    // A rest of up to 96 bytes.
    buffer.advance(seen.length - (i % 97));
  }
  t.true(rings.size <= 3, `${rings.size} rings: one after each time that nothing was left`);
});

test('a chunk that arrives while the caller sees the bytes does not move them', (t) => {
  const buffer = holding('abc');
  const seen = buffer.show();
  const chunk = Buffer.alloc(2 * buffer.store!.ring.capacity, 'x');
  buffer.openToWrite(0);
  buffer.append(chunk);
  t.is(text(seen), 'abc');
  t.is(text(buffer.take(3)), 'abc');
  t.deepEqual(buffer.take(chunk.length), chunk);
});

for (const [name, write] of [
  ['arrive', (buffer: ReceiveBuffer) => append(buffer, 'xyz')],
  ['are put back', (buffer: ReceiveBuffer) => buffer.putBack(Buffer.from('xyz'))],
] as const) {
  test(`memory that the transport holds is not written to when bytes ${name}`, (t) => {
    const buffer = holding('abc');
    const target = buffer.targetRing(64, 64, 0)!;
    target.fill(0x2e);
    write(buffer);
    t.is(text(target), '.'.repeat(64));
    t.false(buffer.targets(buffer.store?.ring), 'the ring was replaced');
    t.is(buffer.target, target, 'the transport may still fill it');
    t.is(text(buffer.take(6)), name === 'arrive' ? 'abcxyz' : 'xyzabc');
  });
}

test('a ring that the transport reads into is neither returned to the pool nor trimmed', (t) => {
  const buffer = holding('abc');
  buffer.targetRing(64, 64, 0);
  const { store } = buffer;
  t.false(buffer.trim());
  buffer.advance(3);
  buffer.settle();
  t.is(buffer.store, store);
  buffer.dropTarget();
  t.true(buffer.trim());
  t.is(store?.ring.capacity, 0);
  buffer.settle();
  t.is(buffer.store, null);
});

test('a lent ring that was replaced goes to another reader only once the transport does not hold it', (t) => {
  for (const held of [true, false]) {
    const buffer = holding('one\ntwo');
    const lent = buffer.store;
    buffer.targetRing(64, 64, 0);
    lend(buffer, 4);
    if (!held) buffer.dropTarget();
    buffer.leaveLoan(0);
    buffer.endLoan();
    const other = holding('other');
    t.is(other.store === lent, !held);
    t.is(text(other.take(5)), 'other');
    t.is(text(buffer.take(3)), 'two');
  }
});

test('the transport reads into the missing part of a fill', (t) => {
  const buffer = new ReceiveBuffer();
  const fill = Fill.of(10);
  fill.take(Buffer.from('abcd'));
  const target = buffer.targetFill(fill);
  t.is(target.length, 6);
  t.true(buffer.targetsFill);
  t.true(buffer.targets(fill));
  t.false(buffer.targets(Fill.of(10)));
  target.set(Buffer.from('efghij'));
  t.is(text(fill.target), 'abcdefghij');
  t.is(buffer.store, null);
});

test('a ring much larger than its contents is spacious, and trimming it loses no bytes', (t) => {
  const buffer = holding('a'.repeat(100_000));
  t.false(buffer.isSpacious());
  buffer.advance(99_990);
  t.true(buffer.isSpacious());
  t.true(buffer.trim());
  t.false(buffer.isSpacious());
  t.is(text(buffer.take(10)), 'a'.repeat(10));
  t.false(new ReceiveBuffer().trim());
});
