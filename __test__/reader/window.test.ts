/** Windows: everything unread in one piece; and bodies as they come. What they give for any bytes: `reader-model.test.ts`. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { IncompleteReadError, StreamReader } from 'sluice';
import { readerIntake } from '#ts/reader/reader.js';

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

// --- windows

test('window gives all that is buffered, consumes nothing, and consume takes what was parsed', async (t) => {
  const reader = new StreamReader();
  reader.feedData('hello');
  t.is((await reader.window()).toString(), 'hello');
  t.is(reader.buffered, 5);
  reader.consume(2);
  t.is((await reader.window()).toString(), 'llo');
  reader.consume(0);
  reader.consume(3);
  t.is(reader.buffered, 0);
  reader.feedEof();
  t.is((await reader.window()).length, 0, 'at EOF there is nothing');
});

test('window resolves once, when there are as many bytes as it needs, whatever the limit', async (t) => {
  const reader = new StreamReader({ limit: 4 });
  let wakes = 0;
  const waiting = reader.window(20).then((bytes) => {
    wakes++;
    return bytes.toString();
  });
  for (let i = 0; i < 19; i++) {
    reader.feedData('x');
    await turn();
  }
  t.is(wakes, 0);
  reader.feedData('yz');
  t.is(await waiting, `${'x'.repeat(19)}yz`);
});

test('window gives fewer bytes than it needs only at EOF', async (t) => {
  const reader = new StreamReader();
  const waiting = reader.window(10);
  reader.feedData('abc');
  reader.feedEof();
  t.is((await waiting).toString(), 'abc');
  t.is((await reader.window(10)).toString(), 'abc', 'they are still there');
});

test('window rejects with the error that ended the stream when that leaves too few bytes', async (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  const reset = new Error('reset');
  reader.setException(reset);
  t.is((await reader.window(3)).toString(), 'abc');
  t.is(await t.throwsAsync(reader.window(4)), reset);
  reader.consume(3);
  t.is(await t.throwsAsync(reader.window()), reset);
});

test('a cancelled window consumes nothing', async (t) => {
  const reader = new StreamReader();
  const controller = new AbortController();
  const waiting = reader.window(10, { signal: controller.signal });
  reader.feedData('abc');
  controller.abort(new Error('enough'));
  await t.throwsAsync(waiting, { message: 'enough' });
  t.is((await reader.read(10)).toString(), 'abc');
});

test('a window is in one piece, also where the bytes cross the end of the ring', async (t) => {
  const reader = new StreamReader();
  let next = 0;
  let read = 0;
  const bytes = (size: number): Buffer => Buffer.from(Array.from({ length: size }, () => next++ & 0xff));
  for (let i = 0; i < 400; i++) {
    reader.feedData(bytes(1 + ((i * 37) % 90)));
    const window = await reader.window();
    t.is(window.length, reader.buffered);
    t.true(window.every((byte, at) => byte === ((read + at) & 0xff)));
    const consumed = Math.min(window.length, (i * 53) % 97);
    reader.consume(consumed);
    read += consumed;
  }
});

for (const direct of [false, true]) {
  test(`a window stays as it is while bytes come in, ${direct ? 'read directly' : 'fed'}`, async (t) => {
    const reader = new StreamReader();
    const intake = readerIntake(reader);
    intake.tune({ largeRead: 65536, fullChunk: 16, directRead: 64, directMost: 64 });
    const chunk = Buffer.alloc(32, 0x61);
    intake.feed(chunk);
    for (let i = 0; i < 50; i++) {
      const window = await reader.window();
      const was = Buffer.from(window);
      for (let j = 0; j < 3; j++) {
        const target = direct ? intake.readTarget(true) : null;
        const letter = 0x62 + ((i * 3 + j) % 20);
        if (target === null) {
          intake.feed(Buffer.alloc(32, letter));
        } else {
          target.fill(letter, 0, 32);
          intake.commit(32);
        }
        t.deepEqual(window, was);
      }
      // Much of it, so that the ring has free memory on both sides.
      reader.consume(Math.min(reader.buffered, 96));
    }
    t.is(reader.bytesRead, 32 + 50 * 3 * 32);
  });
}

test('a window ends the loan of frames, and is refused while a read waits', async (t) => {
  const reader = new StreamReader();
  reader.feedData('a\nrest');
  const frames = await reader.readframes();
  t.is((await reader.window()).toString(), 'rest');
  t.throws(() => frames.length, { code: 'ERR_FRAMES_EXPIRED' });
  const waiting = reader.readline();
  await t.throwsAsync(reader.window(), { code: 'ERR_CONCURRENT_READ' });
  t.throws(() => reader.consume(1), { code: 'ERR_CONCURRENT_READ', message: /^consume: another read is waiting/ });
  reader.feedData('\n');
  await waiting;
});

test('consume takes at most what is buffered', (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  t.throws(() => reader.consume(4), {
    code: 'ERR_OUT_OF_RANGE',
    message: /^consume: n must be an integer from 0 to 3, not 4/,
  });
  t.throws(() => reader.consume(-1), { code: 'ERR_OUT_OF_RANGE' });
  t.throws(() => reader.consume('1' as never), { code: 'ERR_INVALID_ARG_TYPE' });
  t.is(reader.buffered, 3);
});

test('a window for an invalid number of bytes is refused', async (t) => {
  const reader = new StreamReader();
  for (const n of [0, -1, 1.5, NaN]) {
    await t.throwsAsync(reader.window(n), { code: 'ERR_OUT_OF_RANGE', message: /^window: atLeast must be/ });
  }
  await t.throwsAsync(reader.window('1' as never), { code: 'ERR_INVALID_ARG_TYPE' });
  await t.throwsAsync(reader.window(2 ** 40), { code: 'ERR_BUFFER_TOO_LARGE' });
});

// --- frames that are put back

test('frames.unread puts a frame and all after it back, whole, and keeps those before it', async (t) => {
  for (const arrived of ['', 'y\nz']) {
    for (let from = 0; from <= 4; from++) {
      const reader = new StreamReader();
      reader.feedData('one\ntwo\nthree\nfour\nx');
      const frames = await reader.readframes();
      if (arrived !== '') reader.feedData(arrived);
      frames.unread(from);
      const kept = ['one\n', 'two\n', 'three\n', 'four\n'];
      t.deepEqual([...frames].map(String), kept.slice(0, from));
      t.is(frames.length, from);
      t.is(frames.ends.length, from);
      t.is(frames.starts.length, from);
      t.is(frames.bytes.toString(), kept.slice(0, from).join(''));
      if (arrived !== '') reader.feedData('!');
      t.deepEqual([...frames].map(String), kept.slice(0, from), 'they stay valid');
      reader.feedEof();
      t.is((await reader.read()).toString(), `${kept.slice(from).join('')}x${arrived === '' ? '' : `${arrived}!`}`);
      t.throws(() => frames.length, { code: 'ERR_FRAMES_EXPIRED' });
    }
  }
});

test('frames.unread puts frames back also after bytes were read into the memory that they are in', async (t) => {
  for (let from = 0; from <= 3; from++) {
    const reader = new StreamReader();
    const intake = readerIntake(reader);
    intake.tune({ largeRead: 65536, fullChunk: 8, directRead: 64, directMost: 64 });
    intake.feed(Buffer.from('one\ntwo\nthree\nx'));
    const target = intake.readTarget()!;
    const frames = await reader.readframes();
    target.set(Buffer.from('yz'));
    intake.commit(2);
    frames.unread(from);
    const lines = ['one\n', 'two\n', 'three\n'];
    t.is(reader.buffered, lines.slice(from).join('').length + 3);
    t.deepEqual([...frames].map(String), lines.slice(0, from));
    reader.feedEof();
    t.is((await reader.read()).toString(), `${lines.slice(from).join('')}xyz`);
  }
});

test('frames.unread may be called again, with skipped bytes put back too, and not once the frames have expired', async (t) => {
  const reader = new StreamReader();
  reader.feedData(Buffer.from('\x01a\x01b\x01c\x01d'));
  const frames = await reader.readframes({ length: 'uint8', skip: 1 });
  t.deepEqual([...frames].map(String), ['a', 'b', 'c', 'd']);
  frames.unread(3);
  frames.unread(1);
  t.throws(() => frames.unread(2), {
    code: 'ERR_OUT_OF_RANGE',
    message: /^Frames.unread: index must be an integer from 0 to 1/,
  });
  t.is((await reader.readexactly(6)).toString(), '\x01b\x01c\x01d');
  t.throws(() => frames.unread(0), { code: 'ERR_FRAMES_EXPIRED' });
});

test('frames.unread within a loop over the frames ends that loop', async (t) => {
  const reader = new StreamReader();
  reader.feedData('HELO\nDATA\nline\n.\nQUIT\n');
  const seen: string[] = [];
  const commands = await reader.readframes();
  let i = 0;
  for (const command of commands) {
    seen.push(command.toString());
    i++;
    if (command.toString() === 'DATA\n') commands.unread(i);
  }
  t.deepEqual(seen, ['HELO\n', 'DATA\n']);
  t.is((await reader.readuntil('\n.\n')).toString(), 'line\n.\n');
  t.is((await reader.readline()).toString(), 'QUIT\n');
});

// --- bodies

test('chunks(n) gives exactly n bytes as they come, and leaves the rest', async (t) => {
  for (const size of [1, 3, 100]) {
    const reader = new StreamReader();
    const body = Buffer.from('a body of 20 bytes..and the rest');
    void (async () => {
      for (let at = 0; at < body.length; at += size) {
        await turn();
        reader.feedData(body.subarray(at, at + size));
      }
    })();
    const chunks: Buffer[] = [];
    for await (const chunk of reader.chunks(20)) {
      t.true(chunk.length > 0);
      chunks.push(chunk);
    }
    t.is(Buffer.concat(chunks).toString(), 'a body of 20 bytes..');
    t.is((await reader.readexactly(12)).toString(), 'and the rest');
  }
});

test('chunks() gives everything up to EOF, and chunks(0) nothing', async (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  for await (const chunk of reader.chunks(0)) t.fail(chunk.toString());
  setImmediate(() => {
    reader.feedData('def');
    reader.feedEof();
  });
  const chunks: string[] = [];
  for await (const chunk of reader.chunks()) chunks.push(chunk.toString());
  t.deepEqual(chunks, ['abc', 'def']);
});

test('chunks(n) of a stream that ends before is the error of readexactly', async (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  reader.feedEof();
  const chunks = reader.chunks(5);
  t.is((await chunks.next()).value?.toString(), 'abc');
  const error = await t.throwsAsync<IncompleteReadError>(chunks.next(), { instanceOf: IncompleteReadError });
  t.is(error.expected, 5);
  t.is(error.partial.length, 0);
  t.regex(error.message, /chunks\(5\): .* after 3 bytes of 5/);
});

test('leaving a loop over chunks leaves the rest unread, also while it waits', async (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  for await (const chunk of reader.chunks(10)) {
    t.is(chunk.toString(), 'abc');
    break;
  }
  const chunks = reader.chunks(10);
  const waiting = chunks.next();
  await chunks.return?.();
  t.true((await waiting).done);
  reader.feedData('def');
  t.is((await reader.read(10)).toString(), 'def');
});

test('a chunk is yours to keep', async (t) => {
  const reader = new StreamReader();
  const source = Buffer.from('abc');
  const waiting = reader.chunks().next();
  reader.feedData(source);
  source.fill(0);
  reader.feedData('def');
  t.is((await waiting).value?.toString(), 'abc');
});

test('discard drops exactly n bytes as they come, and keeps none of them', async (t) => {
  const reader = new StreamReader({ limit: 4 });
  reader.feedData('abc');
  await reader.discard(0);
  await reader.discard(2);
  const waiting = reader.discard(1000);
  for (let i = 0; i < 10; i++) {
    reader.feedData('x'.repeat(100));
    t.true(reader.buffered <= 1);
  }
  await waiting;
  t.is((await reader.read(10)).toString(), 'x');
});

test('discard of a stream that ends before, or with an invalid number, rejects', async (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  await t.throwsAsync(reader.discard(-1), { code: 'ERR_OUT_OF_RANGE', message: /^discard: n must be/ });
  t.throws(() => reader.chunks(1.5), { code: 'ERR_OUT_OF_RANGE', message: /^chunks: n must be/ });
  reader.feedEof();
  const error = await t.throwsAsync(reader.discard(5), { instanceOf: IncompleteReadError });
  t.regex(error?.message ?? '', /discard\(5\): .* after 3 bytes of 5/);
});
