// Runs once for each engine: no socket is read.
import { inspect } from 'node:util';
import { runInNewContext } from 'node:vm';
import test, { type ExecutionContext } from 'ava';
import type { Flow, ReaderIntake } from '#ts/reader/intake.js';
import { StreamReader, readerIntake } from '#ts/reader/reader.js';
import { type IncompleteReadError, type LimitOverrunError } from '#ts/errors.js';
import { tuned } from './tuned.js';

const text = (data: Uint8Array) => Buffer.from(data).toString('latin1');

function fed(data: string, limit?: number): StreamReader {
  const reader = new StreamReader(limit === undefined ? {} : { limit });
  reader.feedData(Buffer.from(data, 'latin1'));
  return reader;
}

/** Whether the promise is still pending after everything that could settle it has run. */
async function waits(promise: Promise<unknown>): Promise<boolean> {
  const waiting = Symbol('waiting');
  const turn = new Promise((resolve) => setImmediate(resolve, waiting));
  return (await Promise.race([promise.catch(() => undefined), turn])) === waiting;
}

async function failure<E extends Error>(t: ExecutionContext, promise: Promise<unknown>, code: string): Promise<E> {
  const error = await t.throwsAsync<Error & { code?: string }>(promise);
  t.is(error.code, code, error.message);
  return error as unknown as E;
}

/** The same bytes at once, byte by byte, and in pieces of three, followed by EOF. */
const cuttings: [string, number][] = [
  ['whole', Infinity],
  ['byte by byte', 1],
  ['in threes', 3],
];

function feedCut(reader: StreamReader, data: string, size: number): void {
  const all = Buffer.from(data, 'latin1');
  for (let at = 0; at < all.length; at += size) reader.feedData(all.subarray(at, at + size));
}

// ------------------------------------------------------------------------------------------------- the constructor

test('limit is 64 KiB by default', (t) => {
  t.is(new StreamReader().limit, 65536);
  t.is(new StreamReader({ limit: 3 }).limit, 3);
});

for (const limit of [0, -1, Number.NaN, Infinity, 1.5, 2 ** 53]) {
  test(`limit ${limit} is refused`, (t) => {
    const error = t.throws<RangeError & { code?: string }>(() => new StreamReader({ limit }), {
      instanceOf: RangeError,
    });
    t.is(error.code, 'ERR_OUT_OF_RANGE');
    t.true(error.message.includes(String(limit)), error.message);
  });
}

test('a limit that is not a number is refused', (t) => {
  const error = t.throws<TypeError & { code?: string }>(() => new StreamReader({ limit: '9' as unknown as number }));
  t.is(error.code, 'ERR_INVALID_ARG_TYPE');
  t.true(error.message.includes('"9"'), error.message);
});

test('invalid options: the constructor throws, and reads reject', async (t) => {
  for (const wrong of [null, 5] as unknown[]) {
    t.throws(() => new StreamReader(wrong as object), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
    await failure(t, fed('abc').read(2, wrong as object), 'ERR_INVALID_ARG_TYPE');
    await failure(t, fed('abc').readline(wrong as object), 'ERR_INVALID_ARG_TYPE');
    t.throws(() => fed('').setException(wrong as Error), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  }
});

// -------------------------------------------------------------------------------------------------------- feeding

test('feeding no bytes changes nothing', (t) => {
  const reader = fed('');
  t.is(reader.buffered, 0);
  t.is(reader.bytesRead, 0);
});

test('buffered counts the unread bytes, bytesRead all bytes fed', async (t) => {
  const reader = fed('line1\nline2\n');
  t.is(reader.buffered, 12);
  t.is(text(await reader.readline()), 'line1\n');
  t.is(reader.buffered, 6);
  t.is(reader.bytesRead, 12);
});

test('feedData after feedEof is refused', (t) => {
  const reader = fed('x');
  reader.feedEof();
  const error = t.throws<Error & { code?: string }>(() => reader.feedData(Buffer.from('yy')));
  t.is(error.code, 'ERR_FEED_AFTER_EOF');
  t.throws(() => reader.feedData(7 as unknown as Uint8Array), { instanceOf: TypeError });
});

test('feedData copies its argument', async (t) => {
  const reader = new StreamReader();
  const chunk = Buffer.from('abc\n');
  reader.feedData(chunk);
  chunk.fill(0);
  t.is(text(await reader.readline()), 'abc\n');
});

// ----------------------------------------------------------------------------------------------------------- read

test('read(0) is empty at once, also with data, at EOF and after an error', async (t) => {
  const reader = fed('abc');
  t.is((await reader.read(0)).length, 0);
  reader.setException(new Error('boom'));
  t.is((await reader.read(0)).length, 0);
  t.is(reader.buffered, 3);
});

test('read(n) returns the bytes that are buffered, at most n', async (t) => {
  const reader = fed('line1');
  t.is(text(await reader.read(30)), 'line1');
  reader.feedData(Buffer.from('line2'));
  t.is(text(await reader.read(2)), 'li');
  t.is(text(await reader.read(30)), 'ne2');
});

test('read(n) waits for the first byte, and at EOF resolves with an empty buffer', async (t) => {
  const reader = new StreamReader();
  const first = reader.read(1024);
  t.true(await waits(first));
  reader.feedData(Buffer.from('x'));
  t.is(text(await first), 'x');
  const last = reader.read(1024);
  reader.feedEof();
  t.is((await last).length, 0);
  t.is((await reader.read(5)).length, 0);
  t.true(reader.atEof());
});

test('read(-1) returns everything up to EOF, whatever the limit', async (t) => {
  const reader = new StreamReader({ limit: 3 });
  reader.feedData(Buffer.from('chunk1\n'));
  const all = reader.read(-1);
  reader.feedData(Buffer.from('chunk2'));
  t.true(await waits(all));
  t.is(reader.buffered, 13);
  reader.feedEof();
  t.is(text(await all), 'chunk1\nchunk2');
  t.is((await reader.read()).length, 0);
});

test('read(-1) returns several MB unchanged', async (t) => {
  const reader = new StreamReader();
  const all = reader.read();
  const chunk = Buffer.alloc(100_003, 'sluice');
  for (let i = 0; i < 40; i++) reader.feedData(chunk);
  reader.feedEof();
  t.true((await all).equals(Buffer.concat(Array.from({ length: 40 }, () => chunk))));
});

for (const n of [-2, 1.5, Number.NaN, 2 ** 53]) {
  test(`read(${n}) is refused`, async (t) => {
    const error = await failure<RangeError>(t, fed('abc').read(n), 'ERR_OUT_OF_RANGE');
    t.true(error instanceof RangeError && error.message.includes(String(n)), error.message);
  });
}

// ------------------------------------------------------------------------------------------------------- readline

test('readline returns lines of one chunk and keeps the rest', async (t) => {
  const reader = fed('line1\nline2\nline3');
  t.is(text(await reader.readline()), 'line1\n');
  t.is(text(await reader.readline()), 'line2\n');
  const third = reader.readline();
  t.true(await waits(third));
  reader.feedData(Buffer.from(' goes on\nrest'));
  t.is(text(await third), 'line3 goes on\n');
  t.is(reader.buffered, 4);
});

for (const [name, size] of cuttings) {
  test(`readline, ${name}: lines, an empty line, the rest at EOF`, async (t) => {
    const reader = new StreamReader();
    feedCut(reader, 'one\r\n\ntwo', size);
    reader.feedEof();
    t.deepEqual(
      [text(await reader.readline()), text(await reader.readline()), text(await reader.readline())],
      ['one\r\n', '\n', 'two'],
    );
    t.is((await reader.readline()).length, 0);
    t.true(reader.atEof());
  });

  test(`readline, ${name}: an overlong line is one error, then comes the next line`, async (t) => {
    const reader = new StreamReader({ limit: 4 });
    const first = reader.readline();
    feedCut(reader, 'far too long\nok\n', size);
    const error = await failure<LimitOverrunError>(t, first, 'ERR_LIMIT_OVERRUN');
    t.true(error.message.includes('limit of 4'), error.message);
    t.is(text(await reader.readline()), 'ok\n');
    reader.feedEof();
    t.is((await reader.readline()).length, 0);
  });
}

test('readline skips an overlong line whose end has not arrived, and other reads do not see it', async (t) => {
  const reader = fed('x'.repeat(10), 4);
  await failure(t, reader.readline(), 'ERR_LIMIT_OVERRUN');
  t.is(reader.buffered, 0);
  const next = reader.read(3);
  reader.feedData(Buffer.from('more of it'));
  t.true(await waits(next));
  reader.feedData(Buffer.from(' end\nabc'));
  t.is(text(await next), 'abc');
});

test('a large readexactly after an overlong line starts at the next line', async (t) => {
  const reader = fed('x'.repeat(10), 4);
  await failure(t, reader.readline(), 'ERR_LIMIT_OVERRUN');
  const body = reader.readexactly(100_000);
  reader.feedData(Buffer.from('tail\n'));
  reader.feedData(Buffer.alloc(100_000, 'b'));
  t.true((await body).equals(Buffer.alloc(100_000, 'b')));
});

test('a line as long as the limit is allowed, one byte more is not', async (t) => {
  const reader = fed('1234\n12345\nok\n', 4);
  t.is(text(await reader.readline()), '1234\n');
  const error = await failure<LimitOverrunError>(t, reader.readline(), 'ERR_LIMIT_OVERRUN');
  t.is(error.consumed, 5);
  t.is(text(await reader.readline()), 'ok\n');
});

test('lines beyond 8 KiB and many small ones are complete and never change', async (t) => {
  const reader = new StreamReader({ limit: 1 << 20 });
  const lines = Array.from({ length: 3000 }, (_, i) => `${i}:${'x'.repeat((i * 37) % 200)}\n`);
  lines.splice(1500, 0, `${'long'.repeat(20_000)}\n`);
  const got: Buffer[] = [];
  reader.feedData(Buffer.from(lines.slice(0, 2000).join('')));
  while (reader.buffered > 0) got.push(await reader.readline());
  reader.feedData(Buffer.from(lines.slice(2000).join('')));
  while (reader.buffered > 0) got.push(await reader.readline());
  t.deepEqual(got.map(text), lines);
});

test('a small result keeps at most 8 KiB alive', async (t) => {
  const reader = fed(`${'x'.repeat(9)}\n`.repeat(6000));
  for (let i = 0; i < 6000; i++) {
    const line = await reader.readline();
    if (line.buffer.byteLength > 8192) t.fail(`line ${i} keeps ${line.buffer.byteLength} bytes`);
  }
  reader.feedData(Buffer.alloc(50_000, 'y'));
  for (const n of [10, 4095]) {
    t.true((await reader.read(n)).buffer.byteLength <= 8192);
    t.true((await reader.readexactly(n)).buffer.byteLength <= 8192);
  }
  t.true((await reader.readexactly(20_000)).buffer.byteLength <= 20_000);
});

// ------------------------------------------------------------------------------------------------------ readuntil

for (const [name, size] of cuttings) {
  test(`readuntil, ${name}: a separator of several bytes; data after it stays`, async (t) => {
    const reader = new StreamReader();
    const first = reader.readuntil('AAA');
    feedCut(reader, 'some dataAAAmoreAAAtail', size);
    t.is(text(await first), 'some dataAAA');
    t.is(text(await reader.readuntil(Buffer.from('AAA'))), 'moreAAA');
    t.is(reader.buffered, 4);
  });

  test(`readuntil, ${name}: of several separators the earliest match end wins`, async (t) => {
    const reader = new StreamReader();
    const parts: Promise<Buffer>[] = [];
    feedCut(reader, 'one\r\ntwo\nthree\r\r\nend;;', size);
    for (let i = 0; i < 5; i++) {
      parts.push(reader.readuntil(['\r\n', '\n', '\r\r\n', ';']));
      await parts[i];
    }
    t.deepEqual((await Promise.all(parts)).map(text), ['one\r\n', 'two\n', 'three\r\r\n', 'end;', ';']);
  });

  test(`readuntil, ${name}: EOF rejects with the rest as partial data`, async (t) => {
    const reader = new StreamReader();
    const frame = reader.readuntil('\r\n\r\n');
    feedCut(reader, 'some\r\n\rdata', size);
    reader.feedEof();
    const error = await failure<IncompleteReadError>(t, frame, 'ERR_INCOMPLETE_READ');
    t.is(text(error.partial), 'some\r\n\rdata');
    t.is(error.expected, null);
    t.true(reader.atEof());
  });
}

test('readuntil over the limit leaves the data, with or without a separator', async (t) => {
  const reader = fed('some dataAA', 3);
  const missing = await failure<LimitOverrunError>(t, reader.readuntil('AAA'), 'ERR_LIMIT_OVERRUN');
  t.regex(missing.message, /not found/);
  t.is(missing.consumed, 9);
  t.is(reader.buffered, 11);
  reader.feedData(Buffer.from('A'));
  const found = await failure<LimitOverrunError>(t, reader.readuntil('AAA'), 'ERR_LIMIT_OVERRUN');
  t.regex(found.message, /is found/);
  t.is(found.consumed, 9);
  t.is(text(await reader.readexactly(found.consumed)), 'some data');
  t.is(text(await reader.readuntil('AAA')), 'AAA');
});

test('readuntil over the limit with a long separator: consumed stops where a match could begin, as in asyncio', async (t) => {
  const separator = `${'-'.repeat(20)}X`;
  for (const size of [1, 7, 100]) {
    const reader = new StreamReader({ limit: 60 });
    const waiting = reader.readuntil(separator);
    waiting.catch(() => {});
    for (let fed = 0; fed < 100; fed += size) reader.feedData('-'.repeat(Math.min(size, 100 - fed)));
    const error = await failure<LimitOverrunError>(t, waiting, 'ERR_LIMIT_OVERRUN');
    // At the first byte over the limit, or at the chunk that holds it.
    const buffered = Math.min(100, Math.ceil((60 + 21) / size) * size);
    t.is(error.consumed, buffered - 20);
    reader.feedData('X');
    const found = await failure<LimitOverrunError>(t, reader.readuntil(separator), 'ERR_LIMIT_OVERRUN');
    t.is(found.consumed, 80);
    await reader.readexactly(80);
    t.is(text(await reader.readuntil(separator)), separator);
  }
});

test('the limit does not count the separator', async (t) => {
  const reader = fed('abc\r\n\r\nabcd\r\n\r\n', 3);
  t.is(text(await reader.readuntil('\r\n\r\n')), 'abc\r\n\r\n');
  t.is((await failure<LimitOverrunError>(t, reader.readuntil('\r\n\r\n'), 'ERR_LIMIT_OVERRUN')).consumed, 4);
});

test('of separators with the same match end, the limit excludes the longest', async (t) => {
  t.is(text(await fed('abc\r\n', 3).readuntil(['\n', '\r\n'])), 'abc\r\n');
});

test('alternating separators and other reads never lose a byte', async (t) => {
  const reader = fed('GET / HTTP/1.1\r\nHost: x\r\n\r\n5\r\nhello0\r\n\r\n');
  t.is(text(await reader.readline()), 'GET / HTTP/1.1\r\n');
  t.is(text(await reader.readuntil('\r\n\r\n')), 'Host: x\r\n\r\n');
  t.is(text(await reader.readuntil('\r\n')), '5\r\n');
  t.is(text(await reader.readexactly(5)), 'hello');
  t.is(text(await reader.peek(1)), '0');
  t.is(text(await reader.readline()), '0\r\n');
  t.is(text(await reader.readuntil('\r\n')), '\r\n');
  t.is(reader.buffered, 0);
});

for (const separator of ['', new Uint8Array(0), [], ['a', '']]) {
  test(`an empty separator is refused: ${JSON.stringify(separator)}`, async (t) => {
    const error = await failure<RangeError>(t, fed('abc').readuntil(separator), 'ERR_SEPARATOR_EMPTY');
    t.true(error instanceof RangeError);
  });
}

test('a separator of the wrong type is refused', async (t) => {
  for (const wrong of [7, null, [7], { length: 1 }] as unknown[]) {
    await failure(t, fed('abc').readuntil(wrong as string), 'ERR_INVALID_ARG_TYPE');
  }
});

// ---------------------------------------------------------------------------------------------------- readexactly

test('readexactly(0) is empty, also at EOF', async (t) => {
  const reader = fed('');
  reader.feedEof();
  t.is((await reader.readexactly(0)).length, 0);
});

for (const n of [-1, 2 ** 53, 0.5, Number.NaN]) {
  test(`readexactly(${n}) is refused`, async (t) => {
    const error = await failure<RangeError>(t, fed('abc').readexactly(n), 'ERR_OUT_OF_RANGE');
    t.true(error.message.startsWith('readexactly') && error.message.includes(String(n)), error.message);
  });
}

for (const [name, size] of cuttings) {
  for (const n of [5, 70_000]) {
    test(`readexactly(${n}), ${name}: across chunks and beyond the limit; data after it stays`, async (t) => {
      const reader = new StreamReader({ limit: 2 });
      const data = 'abcdefg'.repeat(n);
      const body = reader.readexactly(n);
      feedCut(reader, data.slice(0, n + 2), n === 5 ? size : Math.max(size, 1000));
      t.is(text(await body), data.slice(0, n));
      t.is(text(await reader.read(10)), data.slice(n, n + 2));
    });
  }
}

test('readexactly at EOF rejects with the partial data and the expected number', async (t) => {
  for (const n of [10, 100_000]) {
    const reader = fed('four');
    const body = reader.readexactly(n);
    reader.feedEof();
    const error = await failure<IncompleteReadError>(t, body, 'ERR_INCOMPLETE_READ');
    t.is(text(error.partial), 'four');
    t.is(error.expected, n);
    t.is(error.message, `readexactly(${n}): 4 bytes read before EOF`);
    t.is((await reader.read()).length, 0);
  }
});

test('readexactly of more than can be allocated rejects, and consumes nothing', async (t) => {
  const reader = fed('still here\n');
  const error = await failure<RangeError>(t, reader.readexactly(Number.MAX_SAFE_INTEGER), 'ERR_BUFFER_TOO_LARGE');
  t.true(error.message.includes('9007199254740991'), error.message);
  await failure(t, reader.peek(2 ** 40), 'ERR_BUFFER_TOO_LARGE');
  t.is(text(await reader.readline()), 'still here\n');
});

// --------------------------------------------------------------------------------------- peek, unread and readinto

test('peek waits for n bytes, consumes nothing, and returns fewer only at EOF', async (t) => {
  const reader = fed('ab', 1);
  const peeked = reader.peek(4);
  t.true(await waits(peeked));
  reader.feedData(Buffer.from('cdef'));
  t.is(text(await peeked), 'abcd');
  t.is(reader.buffered, 6);
  reader.feedEof();
  t.is(text(await reader.peek(100)), 'abcdef');
  t.is((await reader.peek(0)).length, 0);
  t.is(text(await reader.read()), 'abcdef');
  t.is((await reader.peek(3)).length, 0);
});

test('a peeked buffer does not change when the bytes are read', async (t) => {
  const reader = fed('first\nsecond\n');
  const peeked = await reader.peek(6);
  await reader.readline();
  reader.feedData(Buffer.alloc(300_000, 'z'));
  t.is(text(peeked), 'first\n');
});

test('unread puts bytes back before all others, between listed lines, and at EOF', async (t) => {
  const reader = fed('one\ntwo\nthree\n');
  t.is(text(await reader.readline()), 'one\n');
  reader.unread(Buffer.from('zero\nhalf '));
  t.is(reader.buffered, 20);
  t.is(text(await reader.readline()), 'zero\n');
  t.is(text(await reader.readline()), 'half two\n');
  t.is(text(await reader.readline()), 'three\n');
  reader.feedEof();
  reader.unread(Buffer.from('last'));
  t.false(reader.atEof());
  t.is(text(await reader.readline()), 'last');
});

test('unread can put back more than the ring has room for', async (t) => {
  const reader = fed('tail');
  const front = Buffer.alloc(200_000, 'f');
  reader.unread(front);
  reader.feedEof();
  t.true((await reader.read()).equals(Buffer.concat([front, Buffer.from('tail')])));
});

test('unread while a read waits is refused with the name of that read', async (t) => {
  const reader = new StreamReader();
  const waiting = reader.readexactly(2);
  const error = t.throws<Error & { code?: string }>(() => reader.unread(Buffer.from('x')));
  t.is(error.code, 'ERR_CONCURRENT_READ');
  t.true(error.message.includes('readexactly'));
  reader.feedData(Buffer.from('ab'));
  t.is(text(await waiting), 'ab');
  t.throws(() => reader.unread(7 as unknown as Uint8Array), { instanceOf: TypeError });
});

test("readinto fills the caller's memory with 1 to length bytes, and resolves with 0 at EOF", async (t) => {
  const reader = new StreamReader();
  const memory = new Uint8Array(4);
  const first = reader.readinto(memory);
  t.true(await waits(first));
  reader.feedData(Buffer.from('abcdef'));
  t.is(await first, 4);
  t.is(text(memory), 'abcd');
  t.is(await reader.readinto(memory), 2);
  t.is(text(memory), 'efcd');
  reader.feedEof();
  t.is(await reader.readinto(memory), 0);
  t.is(await reader.readinto(new Uint8Array(0)), 0);
  await failure(t, reader.readinto([] as unknown as Uint8Array), 'ERR_INVALID_ARG_TYPE');
});

// ------------------------------------------------------------------------------------------------------ iteration

test('iteration returns lines with their ends; leaving the loop consumes nothing more', async (t) => {
  const reader = fed('a\nb\nc\nd');
  reader.feedEof();
  const lines: string[] = [];
  for await (const line of reader) {
    lines.push(text(line));
    if (lines.length === 2) break;
  }
  t.is(text(await reader.readline()), 'c\n');
  for await (const line of reader) lines.push(text(line));
  t.deepEqual(lines, ['a\n', 'b\n', 'd']);
});

test('an overlong line ends the loop with its error; a new loop continues after that line', async (t) => {
  const reader = fed('ok\nmuch too long\nfine\n', 4);
  reader.feedEof();
  const lines: string[] = [];
  const loop = async () => {
    for await (const line of reader) lines.push(text(line));
  };
  await failure(t, loop(), 'ERR_LIMIT_OVERRUN');
  await loop();
  t.deepEqual(lines, ['ok\n', 'fine\n']);
});

// --------------------------------------------------------------------------------------------------------- errors

test('buffered bytes come before the error, for every read that they satisfy', async (t) => {
  const boom = new Error('boom');
  const reader = fed('one\ntwo\nrest');
  reader.setException(boom);
  t.is(reader.exception(), boom);
  t.is(text(await reader.readline()), 'one\n');
  t.is(text(await reader.readuntil('\n')), 'two\n');
  t.is(await t.throwsAsync(reader.readline()), boom);
  t.is(await t.throwsAsync(reader.readexactly(5)), boom);
  t.is(await t.throwsAsync(reader.readexactly(500_000)), boom);
  t.is(await t.throwsAsync(reader.peek(5)), boom);
  t.is(await t.throwsAsync(reader.read()), boom);
  t.is(text(await reader.peek(4)), 'rest');
  t.is(text(await reader.read(2)), 're');
  t.is(text(await reader.readexactly(2)), 'st');
  t.is(await t.throwsAsync(reader.read(1)), boom);
  t.is(await t.throwsAsync(reader.readinto(new Uint8Array(1))), boom);
});

test('an error rejects a read that waits, and leaves the buffered bytes', async (t) => {
  const boom = new Error('boom');
  for (const wait of [
    (r: StreamReader) => r.readline(),
    (r: StreamReader) => r.read(),
    (r: StreamReader) => r.readexactly(1e6),
  ]) {
    const reader = fed('part');
    const promise = wait(reader);
    reader.setException(boom);
    t.is(await t.throwsAsync(promise), boom);
    t.is(text(await reader.read(10)), 'part');
  }
});

test('an error after EOF does not make reads fail', async (t) => {
  const reader = fed('rest');
  reader.feedEof();
  reader.setException(new Error('late'));
  t.is(text(await reader.read()), 'rest');
  t.is((await reader.readline()).length, 0);
  t.is(reader.exception()?.message, 'late');
});

// -------------------------------------------------------------------------------------------------- one at a time

test('a second read is refused at once, and the error names both', async (t) => {
  const reader = new StreamReader();
  const first = reader.readline();
  const seconds: [string, () => Promise<unknown>][] = [
    ['readexactly', () => reader.readexactly(3)],
    ['readexactly', () => reader.readexactly(3_000_000)],
    ['readuntil', () => reader.readuntil('x')],
    ['read', () => reader.read()],
    ['read', () => reader.read(0)],
    ['peek', () => reader.peek(1)],
    ['readinto', () => reader.readinto(new Uint8Array(1))],
    ['readline', () => reader.readline()],
  ];
  for (const [name, second] of seconds) {
    const error = await failure(t, second(), 'ERR_CONCURRENT_READ');
    t.is(error.message, `${name}: another read is waiting (readline)`);
  }
  reader.feedData(Buffer.from('line\n'));
  t.is(text(await first), 'line\n');
});

test('a read is refused while peek waits, also if lines are listed', async (t) => {
  const reader = fed('a\nb\nc\n');
  await reader.readline();
  await reader.readline();
  const peeked = reader.peek(10);
  await failure(t, reader.readline(), 'ERR_CONCURRENT_READ');
  await failure(t, reader.readuntil('\n'), 'ERR_CONCURRENT_READ');
  reader.feedEof();
  t.is(text(await peeked), 'c\n');
});

// --------------------------------------------------------------------------------------------------------- signal

for (const [name, start] of [
  ['readline', (r, signal) => r.readline({ signal })],
  ['read', (r, signal) => r.read(-1, { signal })],
  ['readexactly', (r, signal) => r.readexactly(8, { signal })],
  ['large readexactly', (r, signal) => r.readexactly(800_000, { signal })],
  ['readuntil', (r, signal) => r.readuntil('\r\n', { signal })],
  ['peek', (r, signal) => r.peek(8, { signal })],
] satisfies [string, (r: StreamReader, signal: AbortSignal) => Promise<unknown>][]) {
  test(`an aborted ${name} rejects with the reason and consumes nothing`, async (t) => {
    const reader = fed('abc');
    const controller = new AbortController();
    const promise = start(reader, controller.signal);
    reader.feedData(Buffer.from('de'));
    const reason = new Error('enough');
    controller.abort(reason);
    t.is(await t.throwsAsync(promise), reason);
    t.is(await t.throwsAsync(start(reader, AbortSignal.abort(reason))), reason);
    t.is(reader.buffered, 5);
    reader.feedData(Buffer.from('f\n'));
    t.is(text(await reader.readline()), 'abcdef\n');
  });
}

test("an aborted readinto does not write to the caller's memory afterwards", async (t) => {
  const reader = new StreamReader();
  const memory = Buffer.alloc(200_000, '-');
  const controller = new AbortController();
  const promise = reader.readinto(memory, { signal: controller.signal });
  const target = readerIntake(reader).readTarget();
  controller.abort();
  await t.throwsAsync(promise, { any: true, name: 'AbortError' });
  if (target === null) readerIntake(reader).feed(Buffer.from('late'));
  else readerIntake(reader).commit(target.length);
  t.true(memory.every((byte) => byte === '-'.charCodeAt(0)));
  t.is(text(await reader.read(4)), 'late');
});

test('readinto rejects if its memory is detached while it waits, and consumes nothing', async (t) => {
  for (const eof of [false, true]) {
    const reader = new StreamReader();
    const memory = new Uint8Array(10);
    const promise = reader.readinto(memory);
    structuredClone(memory.buffer, { transfer: [memory.buffer] });
    if (eof) reader.feedEof();
    else reader.feedData('hello');
    await failure(t, promise, 'ERR_INVALID_ARG_VALUE');
    t.is(text(await reader.read(5)), eof ? '' : 'hello');
  }
});

test('a small limit keeps the target for direct reads small', async (t) => {
  const tuning = { largeRead: 5000, fullChunk: 10, directRead: 16, directMost: 100 };
  for (const [limit, most] of [
    [1, 16],
    [5, 20],
    [1000, 100],
  ] as const) {
    const reader = tuned({ limit }, tuning);
    readerIntake(reader).feed(Buffer.alloc(1000, 'x'));
    await reader.readexactly(1000);
    readerIntake(reader).feed(Buffer.alloc(10));
    t.is(readerIntake(reader).readTarget()?.length, 16);
    readerIntake(reader).commit(16);
    t.is(readerIntake(reader).readTarget()?.length, most);
  }
});

test('setException accepts an error of another realm, and reads reject with it', async (t) => {
  const foreign = runInNewContext("new Error('from elsewhere')") as Error;
  t.false(foreign instanceof Error);
  const reader = fed('rest');
  reader.setException(foreign);
  t.is(reader.exception(), foreign);
  t.is(text(await reader.readexactly(4)), 'rest');
  t.is(await t.throwsAsync(reader.readline(), { any: true }), foreign);
});

test('setException refuses what only looks like an error', (t) => {
  for (const wrong of [{ name: 'Error', message: 'boom' }, runInNewContext("({ message: 'boom' })"), 'boom', null]) {
    const reader = new StreamReader();
    t.throws(() => reader.setException(wrong as Error), {
      code: 'ERR_INVALID_ARG_TYPE',
      message: /^setException: error /,
    });
    t.is(reader.exception(), null);
  }
});

test('a large read that ends with the IncompleteReadError of another stream leaves the bytes', async (t) => {
  const other = new StreamReader();
  other.feedData('other');
  other.feedEof();
  const reason = await failure<IncompleteReadError>(t, other.readexactly(50), 'ERR_INCOMPLETE_READ');

  const reader = new StreamReader();
  const controller = new AbortController();
  const aborted = reader.readexactly(100_000, { signal: controller.signal });
  reader.feedData('hello\n');
  controller.abort(reason);
  t.is(await t.throwsAsync(aborted), reason);
  t.is(reader.buffered, 6);
  const failed = reader.readexactly(100_000);
  reader.setException(reason);
  t.is(await t.throwsAsync(failed), reason);
  t.is(text(await reader.readline()), 'hello\n');
});

test('a signal passed as the options is refused, not ignored', async (t) => {
  const { signal } = new AbortController();
  const reader = fed('line\n');
  const error = await failure(t, reader.readline(signal as never), 'ERR_INVALID_ARG_TYPE');
  t.is(error.message, 'readline: options must be an object, { signal }, not an instance of AbortSignal');
  t.is(text(await reader.readline({ signal })), 'line\n');
});

test('an invalid signal is refused', async (t) => {
  await failure(t, fed('').readline({ signal: {} as AbortSignal }), 'ERR_INVALID_ARG_TYPE');
});

// --------------------------------------------------------------------------------------------------- back-pressure

/** A source that pauses when the reader answers `false`. */
class Source implements Flow {
  readonly calls: string[] = [];
  readonly #intake: ReaderIntake;

  constructor(reader: StreamReader) {
    this.#intake = readerIntake(reader);
    this.#intake.attach(this);
  }

  feed(size: number): boolean {
    const flowing = this.#intake.feed(Buffer.alloc(size));
    if (!flowing) this.calls.push('pause');
    return flowing;
  }

  resumeReading(): void {
    this.calls.push('resume');
  }
}

test('reading pauses above twice the limit and resumes at the limit', async (t) => {
  const reader = new StreamReader({ limit: 10 });
  const source = new Source(reader);
  source.feed(20);
  t.deepEqual(source.calls, []);
  source.feed(1);
  t.deepEqual(source.calls, ['pause']);
  await reader.read(10);
  t.deepEqual(source.calls, ['pause']);
  await reader.read(1);
  t.deepEqual(source.calls, ['pause', 'resume']);
});

test('bytes that did not come from the source count against the limit from its next chunk on', async (t) => {
  for (const add of [
    (r: StreamReader) => r.feedData(Buffer.alloc(21)),
    (r: StreamReader) => r.unread(Buffer.alloc(21)),
  ]) {
    const reader = new StreamReader({ limit: 10 });
    const source = new Source(reader);
    add(reader);
    t.deepEqual(source.calls, []);
    source.feed(1);
    t.deepEqual(source.calls, ['pause']);
    await reader.read(12);
    t.deepEqual(source.calls, ['pause', 'resume']);
    t.is(reader.buffered, 10);
  }
});

test('reading lines resumes a paused source, too', async (t) => {
  const reader = new StreamReader({ limit: 10 });
  const source = new Source(reader);
  t.false(readerIntake(reader).feed(Buffer.from('1234567\n'.repeat(4))));
  await reader.readline();
  await reader.readline();
  t.deepEqual(source.calls, []);
  await reader.readline();
  t.deepEqual(source.calls, ['resume']);
});

test('a read of more than the limit resumes reading, which pauses again afterwards', async (t) => {
  for (const wait of [
    (r: StreamReader) => r.readexactly(100),
    (r: StreamReader) => r.peek(100),
    (r: StreamReader) => r.readexactly(90_000),
  ]) {
    const reader = new StreamReader({ limit: 10 });
    const source = new Source(reader);
    source.feed(50);
    t.deepEqual(source.calls, ['pause']);
    const promise = wait(reader);
    t.deepEqual(source.calls, ['pause', 'resume']);
    let chunks = 0;
    while (await waits(promise)) {
      const flowing = source.feed(5000);
      chunks++;
      // Only the chunk that satisfies the read may leave too much buffered.
      t.is(flowing, (await waits(promise)) || reader.buffered <= 20, `after chunk ${chunks}`);
    }
    t.true(chunks > 0);
    await promise;
  }
});

test('an aborted large read leaves its bytes buffered, so reading pauses with the next chunk', async (t) => {
  const reader = new StreamReader({ limit: 10 });
  const source = new Source(reader);
  const controller = new AbortController();
  const promise = reader.readexactly(500_000, { signal: controller.signal });
  source.feed(1000);
  t.deepEqual(source.calls, []);
  controller.abort();
  await t.throwsAsync(promise, { any: true, name: 'AbortError' });
  t.is(reader.buffered, 1000);
  source.feed(1);
  t.deepEqual(source.calls, ['pause']);
  t.is(reader.buffered, 1001);
});

// ------------------------------------------------------------------------------------------ memory that is lent out

test('a busy source reads into the ring; unread and a late commit do not overlap in memory', async (t) => {
  const reader = tuned({ limit: 1000 }, { largeRead: 1000, fullChunk: 10, directRead: 16, directMost: 16 });
  t.is(readerIntake(reader).readTarget(), null);
  readerIntake(reader).feed(Buffer.from('0123456789'));
  const target = readerIntake(reader).readTarget();
  t.not(target, null);
  reader.unread(Buffer.from('in front of '.repeat(20)));
  (target as Uint8Array).set(Buffer.from('abcdefghijklmnop'));
  readerIntake(reader).commit(16);
  t.is(text(await reader.read(1000)), `${'in front of '.repeat(20)}0123456789abcdefghijklmnop`);
});

test('a busy source fills the free space of the ring, within bounds; a reader that keeps up gets larger targets', async (t) => {
  const reader = tuned({ limit: 1000 }, { largeRead: 5000, fullChunk: 10, directRead: 16, directMost: 24 });
  const room = (): number => readerIntake(reader).readTarget()?.length ?? 0;
  // Memory for more than that.
  readerIntake(reader).feed(Buffer.alloc(1000, 'x'));
  await reader.readexactly(1000);
  readerIntake(reader).feed(Buffer.alloc(10));
  t.is(room(), 16);
  // The previous bytes are unread, but they are few.
  readerIntake(reader).commit(16);
  t.is(room(), 24);
  readerIntake(reader).commit(24);
  t.is(room(), 16);
  await reader.readexactly(50);
  readerIntake(reader).commit(16);
  t.is(room(), 24);
  // Half of the smaller size keeps the source busy, less does not.
  await reader.readexactly(16);
  readerIntake(reader).commit(8);
  t.is(room(), 24);
  t.true(readerIntake(reader).commit(7));
  t.is(room(), 0);
  t.is(reader.buffered, 15);
});

test('the transport fills a large read in place; bytes after it go to the ring', async (t) => {
  const reader = new StreamReader();
  readerIntake(reader).feed(Buffer.from('head'));
  const promise = reader.readexactly(100_000);
  const target = readerIntake(reader).readTarget() as Uint8Array;
  t.is(target.length, 99_996);
  target.fill(1);
  readerIntake(reader).commit(99_996);
  const result = await promise;
  t.is(result.buffer, target.buffer);
  t.is(text(result.subarray(0, 4)), 'head');
  t.not(readerIntake(reader).readTarget()?.buffer, result.buffer);
});

test('after a large read that was filled in place the next target is small, since the next read may be as large', async (t) => {
  const reader = tuned({ limit: 1000 }, { largeRead: 100, fullChunk: 10, directRead: 16, directMost: 64 });
  const promise = reader.readexactly(100);
  readerIntake(reader).feed(Buffer.alloc(10));
  t.is(readerIntake(reader).readTarget()?.length, 90);
  readerIntake(reader).commit(90);
  t.is(readerIntake(reader).readTarget()?.length, 16);
  t.is((await promise).length, 100);
  readerIntake(reader).commit(16);
  t.true((readerIntake(reader).readTarget() as Uint8Array).length > 16);
  t.is(reader.buffered, 16);
});

test('bytes committed to the memory of an aborted read are delivered', async (t) => {
  const reader = new StreamReader();
  const controller = new AbortController();
  const promise = reader.readexactly(100_000, { signal: controller.signal });
  const target = readerIntake(reader).readTarget() as Uint8Array;
  controller.abort();
  await t.throwsAsync(promise, { any: true, name: 'AbortError' });
  target.set(Buffer.from('late\n'));
  readerIntake(reader).commit(5);
  t.is(text(await reader.readline()), 'late\n');
});

test('an overlong line is also skipped in memory that was lent before the line became overlong', async (t) => {
  const reader = tuned({ limit: 4 }, { largeRead: 1000, fullChunk: 10, directRead: 16, directMost: 16 });
  readerIntake(reader).feed(Buffer.from('x'.repeat(10)));
  const target = readerIntake(reader).readTarget() as Uint8Array;
  t.is(target.length, 16);
  await failure(t, reader.readline(), 'ERR_LIMIT_OVERRUN');
  target.set(Buffer.from('still long\nnext\n'));
  readerIntake(reader).commit(16);
  t.is(text(await reader.readline()), 'next\n');
  t.is(reader.buffered, 0);
});

test('inspect shows the state of a reader', async (t) => {
  const reader = fed('abcd', 123);
  t.is(inspect(reader), 'StreamReader { buffered: 4, limit: 123 }');
  const waiting = reader.readline();
  t.is(inspect(reader), "StreamReader { buffered: 4, limit: 123, waiting: 'readline' }");
  reader.feedEof();
  await waiting;
  t.is(inspect(reader), 'StreamReader { buffered: 0, eof, limit: 123 }');
  t.is(inspect([[[reader]]]), '[ [ [ [StreamReader] ] ] ]');
  const failed = fed('');
  failed.setException(new Error('boom'));
  t.is(inspect(failed), "StreamReader { buffered: 0, limit: 65536, exception: 'boom' }");
});

test('bytes put back while an overlong line is skipped: each overlong line is skipped to its own end', async (t) => {
  const reader = new StreamReader({ limit: 1 });
  reader.feedData(Buffer.from('aaaa'));
  await t.throwsAsync(reader.readline(), { code: 'ERR_LIMIT_OVERRUN' });
  reader.unread(Buffer.from('bb'));
  await t.throwsAsync(reader.readline(), { code: 'ERR_LIMIT_OVERRUN' });
  reader.feedData(Buffer.from('a\nb'));
  reader.feedData(Buffer.from('b\nc\n'));
  t.is(String(await reader.readline()), 'c\n');
  reader.feedEof();
  t.true(reader.atEof());
});

test('strings are fed and put back as UTF-8', async (t) => {
  const reader = new StreamReader();
  reader.feedData('é\n');
  reader.unread('ü');
  t.is(reader.buffered, 5);
  t.is(String(await reader.readline()), 'üé\n');
  for (const call of [() => reader.feedData(7 as never), () => reader.unread(null as never)]) {
    t.throws(call, { code: 'ERR_INVALID_ARG_TYPE', message: /data must be a string or a Uint8Array/ });
  }
});
