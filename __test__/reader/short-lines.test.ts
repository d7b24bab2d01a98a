/** A waiting `readline` that gets a chunk which is exactly one short line: it does not go through the ring. */
import test from 'ava';
import { LimitOverrunError } from '#ts/errors.js';
import { StreamReader } from '#ts/reader/reader.js';

/** Feeds chunks from memory that is reused, as a transport does. */
function feeder(reader: StreamReader): (text: string) => void {
  const memory = Buffer.alloc(1024);
  return (text) => {
    memory.fill('?');
    const size = memory.write(text, 'latin1');
    reader.feedData(memory.subarray(0, size));
    memory.fill('!');
  };
}

test('the lines are the same whatever the chunks are, if a read waits for each', async (t) => {
  const long = 'x'.repeat(126);
  const text = `\na\n\nbc\n${long}y\n${long}yz\n${long}\n\n\nend`;
  const expected = text.split(/(?<=\n)/);
  for (let size = 1; size <= text.length; size++) {
    const reader = new StreamReader();
    const feed = feeder(reader);
    const lines: string[] = [];
    const reading = (async () => {
      for (let line; (line = await reader.readline()).length > 0;) lines.push(line.toString('latin1'));
    })();
    for (let i = 0; i < text.length; i += size) {
      feed(text.slice(i, i + size));
      await Promise.resolve();
      await Promise.resolve();
    }
    t.is(reader.bytesRead, text.length);
    reader.feedEof();
    await reading;
    t.deepEqual(lines, expected, `chunks of ${size}`);
  }
});

test('a line fed as one chunk is a copy, and the bytes after it are not affected', async (t) => {
  const reader = new StreamReader();
  const feed = feeder(reader);
  const first = reader.readline();
  feed('first\n');
  t.is(reader.buffered, 0);
  feed('sec');
  const line = await first;
  t.is(line.toString(), 'first\n');
  const second = reader.readline();
  feed('ond\n');
  t.is((await second).toString(), 'second\n');
  const third = reader.readline();
  feed('third\nfourth\nfi');
  t.is((await third).toString(), 'third\n');
  t.is(reader.buffered, 9);
  t.is((await reader.readline()).toString(), 'fourth\n');
  const fifth = reader.readexactly(4);
  feed('fth\n');
  t.is((await fifth).toString(), 'fift');
  t.is((await reader.readline()).toString(), 'h\n');
  t.is(line.toString(), 'first\n');
});

test('a loop over lines gets it as well', async (t) => {
  const reader = new StreamReader();
  const feed = feeder(reader);
  const iterator = reader[Symbol.asyncIterator]();
  for (const text of ['a\n', 'bc\n', '\n']) {
    const next = iterator.next();
    feed(text);
    const { done, value } = await next;
    t.deepEqual([done, value?.toString()], [false, text]);
  }
  const last = iterator.next();
  reader.feedEof();
  t.true((await last).done);
});

test('the limit bounds a line fed as one chunk as any other: one error, then the next line', async (t) => {
  const reader = new StreamReader({ limit: 4 });
  const feed = feeder(reader);
  const fits = reader.readline();
  feed('1234\n');
  t.is((await fits).toString(), '1234\n');
  const over = reader.readline();
  feed('12345\n');
  const error = await t.throwsAsync(over, { instanceOf: LimitOverrunError });
  t.is(error.code, 'ERR_LIMIT_OVERRUN');
  const next = reader.readline();
  feed('ok\n');
  t.is((await next).toString(), 'ok\n');
  // The rest of an overlong line comes together with the next line.
  const cut = reader.readline();
  feed('123456');
  await t.throwsAsync(cut, { instanceOf: LimitOverrunError });
  const after = reader.readline();
  feed('78\nxy\n');
  t.is((await after).toString(), 'xy\n');
});

test('a cancelled read of a line leaves a chunk that is one line to the next read', async (t) => {
  const reader = new StreamReader();
  const feed = feeder(reader);
  const controller = new AbortController();
  const cancelled = reader.readline({ signal: controller.signal });
  controller.abort(new Error('enough'));
  await t.throwsAsync(cancelled, { message: 'enough' });
  feed('line\n');
  t.is(reader.buffered, 5);
  t.is((await reader.readline()).toString(), 'line\n');
  const timed = reader.readline({ timeout: 60_000 });
  feed('more\n');
  t.is((await timed).toString(), 'more\n');
});
