/** Frames in place and lines as strings. `reader-model.test.ts` covers any bytes, chunks and interleaved reads. */
// Runs once for each engine: no socket is read.
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { Frames, StreamReader, type Lines, type LinesOptions } from 'sluice';
import { readerIntake } from '#ts/reader/reader.js';
import { Separator } from '#ts/buffer/separator.js';
import { gc } from '../gc.js';
import { seed } from '../seed.js';
import { tuned } from './tuned.js';

function fed(data: string | Uint8Array, limit?: number): StreamReader {
  const reader = new StreamReader({ limit });
  reader.feedData(typeof data === 'string' ? Buffer.from(data) : data);
  return reader;
}

function ended(data: string | Uint8Array, limit?: number): StreamReader {
  const reader = fed(data, limit);
  reader.feedEof();
  return reader;
}

/** A reader that is fed `size` bytes at a time while it is read. */
function dripped(data: Uint8Array, size = 1, limit?: number): StreamReader {
  const reader = new StreamReader({ limit });
  void (async () => {
    for (let i = 0; i < data.length; i += size) {
      await new Promise((resolve) => setImmediate(resolve));
      reader.feedData(data.subarray(i, i + size));
    }
    reader.feedEof();
  })();
  return reader;
}

async function all<T>(list: AsyncIterable<T>): Promise<T[]> {
  const result: T[] = [];
  for await (const item of list) result.push(item);
  return result;
}

const strings = (frames: Iterable<Buffer>): string[] => [...frames].map((frame) => frame.toString());

// --- Frames

test('readframes returns all complete frames, with their separators, by index, iteration, bytes and texts', async (t) => {
  const reader = fed('one\ntwo\n\nthree\nfo');
  const frames = await reader.readframes();
  t.is(frames.length, 4);
  t.deepEqual(strings(frames), ['one\n', 'two\n', '\n', 'three\n']);
  t.deepEqual(
    [0, 1, 2, 3].map((i) => frames.at(i)?.toString()),
    strings(frames),
  );
  t.is(frames.at(-1)?.toString(), 'three\n');
  t.is(frames.at(-4)?.toString(), 'one\n');
  t.is(frames.at(4), undefined);
  t.is(frames.at(-5), undefined);
  t.is(frames.bytes.toString(), 'one\ntwo\n\nthree\n');
  t.deepEqual([...frames.ends], [4, 8, 9, 15]);
  t.true(frames.ends instanceof Uint32Array);
  t.true(Buffer.isBuffer(frames.at(0)));
  t.deepEqual(frames.texts(), ['one\n', 'two\n', '\n', 'three\n']);
  t.deepEqual(frames.texts('utf8', { keepEnds: false }), ['one', 'two', '', 'three']);
  t.deepEqual(frames.texts('hex', { keepEnds: false }), ['6f6e65', '74776f', '', '7468726565']);
  t.is(reader.buffered, 2, 'what was handed out is consumed');
  reader.feedData(Buffer.from('ur\n'));
  t.deepEqual(strings(await reader.readframes()), ['four\n']);
});

test('readframes waits for one frame, and is empty at EOF', async (t) => {
  const reader = new StreamReader();
  const waiting = reader.readframes('\r\n');
  reader.feedData(Buffer.from('one\r'));
  reader.feedData(Buffer.from('\ntwo'));
  t.deepEqual(strings(await waiting), ['one\r\n']);
  const next = reader.readframes('\r\n');
  reader.feedData(Buffer.from('\r\n'));
  reader.feedEof();
  t.deepEqual(strings(await next), ['two\r\n']);
  for (let i = 0; i < 2; i++) {
    const none = await reader.readframes('\r\n');
    t.is(none.length, 0);
    t.is(none.at(0), undefined);
    t.deepEqual([...none], []);
    t.deepEqual(none.texts(), []);
    t.is(none.bytes.length, 0);
    t.is(none.ends.length, 0);
  }
  t.true(reader.atEof());
});

test('EOF within a frame is an IncompleteReadError with the partial frame, then readframes is empty', async (t) => {
  const reader = ended('one\ntwo');
  t.deepEqual(strings(await reader.readframes()), ['one\n']);
  await t.throwsAsync(reader.readframes(), {
    code: 'ERR_INCOMPLETE_READ',
    message: 'readframes: 3 bytes read before EOF without the separator',
  });
  t.is((await reader.readframes()).length, 0);
});

test('good frames are returned before an overlong one, which stays and is refused as by readuntil', async (t) => {
  const reader = ended('one\ntwo\nmuch too long\nend\n', 5);
  t.deepEqual(strings(await reader.readframes()), ['one\n', 'two\n']);
  for (const read of [reader.readframes(), reader.readuntil('\n')]) {
    await t.throwsAsync(read, { code: 'ERR_LIMIT_OVERRUN', message: /13 bytes is over the limit of 5/ });
  }
  t.is((await reader.readexactly(14)).toString(), 'much too long\n');
  t.deepEqual(strings(await reader.readframes()), ['end\n']);

  const endless = fed('x'.repeat(7), 5);
  await t.throwsAsync(endless.readframes(), {
    code: 'ERR_LIMIT_OVERRUN',
    message: /^readframes: the separator is not found in 7 bytes/,
  });
  t.is(endless.buffered, 7);
});

test('with several separators, the longest one that ends a frame is cut from its text', async (t) => {
  const frames = await fed('a\r\nb\nc|\r\n').readframes(['\n', '\r\n', '|']);
  t.deepEqual(frames.texts(), ['a\r\n', 'b\n', 'c|', '\r\n']);
  t.deepEqual(frames.texts('latin1', { keepEnds: false }), ['a', 'b', 'c', '']);
});

test('frames are valid until the next read starts, and throw afterwards', async (t) => {
  const reads: ((reader: StreamReader) => unknown)[] = [
    (reader) => reader.read(1),
    (reader) => reader.read(0),
    (reader) => reader.readline(),
    (reader) => reader.readuntil('\n'),
    (reader) => reader.readexactly(1),
    (reader) => reader.peek(1),
    (reader) => reader.readinto(Buffer.alloc(1)),
    (reader) => reader.readframes(),
    (reader) => reader.lines().next(),
    (reader) => reader.lines().batches().next(),
    (reader) => reader[Symbol.asyncIterator]().next(),
  ];
  for (const read of reads) {
    const reader = fed('one\ntwo\nrest');
    const frames = await reader.readframes();
    reader.feedData(Buffer.from('\nmore\n'));
    t.deepEqual(strings(frames), ['one\n', 'two\n']);
    t.is(inspect(frames), 'Frames { length: 2, bytes: 8 }');
    const iterator = frames[Symbol.iterator]();
    iterator.next();
    await read(reader);
    const uses = [
      () => frames.length,
      () => frames.at(0),
      () => frames.bytes,
      () => frames.ends,
      () => frames.texts(),
      () => [...frames],
      () => iterator.next(),
    ];
    for (const use of uses) {
      t.throws(use, { code: 'ERR_FRAMES_EXPIRED', message: /valid until the next read on their stream/ }, String(read));
    }
    t.is(inspect(frames), 'Frames { expired }');
  }
});

test('frames stay valid after a refused read, feedData, unread and feedEof', async (t) => {
  const reader = fed('one\ntwo\nrest');
  const frames = await reader.readframes();
  await t.throwsAsync(reader.read(-2), { code: 'ERR_OUT_OF_RANGE' });
  await t.throwsAsync(reader.readline({ signal: AbortSignal.abort(new Error('no')) }), { message: 'no' });
  reader.feedData(Buffer.alloc(300_000, 'x'));
  reader.unread(Buffer.from('again '));
  reader.feedEof();
  t.deepEqual(strings(frames), ['one\n', 'two\n']);
  t.is((await reader.readexactly(11)).toString(), 'again restx');
  t.is((await reader.read()).length, 299_999);
});

test('the transport never reads into memory that is lent', async (t) => {
  const reader = tuned({ limit: 64 }, { largeRead: 1024, fullChunk: 32, directRead: 48, directMost: 64 });
  const line = (i: number): string => `${String(i).padStart(6, '.')}\n`;
  let fedLines = 0;
  let bytes = Buffer.alloc(0);
  let target: Uint8Array | null = null;
  const feed = (): void => {
    while (bytes.length < 48) bytes = Buffer.concat([bytes, Buffer.from(line(fedLines++))]);
    const chunk = bytes.subarray(0, 48);
    bytes = bytes.subarray(48);
    if (target === null) readerIntake(reader).feed(Buffer.from(chunk));
    else {
      target.set(chunk);
      readerIntake(reader).commit(chunk.length);
    }
    target = readerIntake(reader).readTarget();
  };
  let seen = 0;
  let direct = 0;
  for (let i = 0; i < 500; i++) {
    feed();
    const frames = await reader.readframes();
    const expected = Array.from(frames, (_, k) => line(seen + k));
    seen += frames.length;
    for (let more = i % 4; more > 0; more--) {
      feed();
      if (target !== null) direct++;
      t.deepEqual(strings(frames), expected);
    }
  }
  t.true(seen > 3000 && direct > 500, `${seen} lines, ${direct} times`);
});

test('readframes returns more frames than one index can list', async (t) => {
  for (const count of [1020, 1021, 1022, 2045, 2046, 8189, 8190, 70_000]) {
    const reader = fed('\n'.repeat(count - 1) + 'é\nrest', 65536);
    const frames = await reader.readframes();
    t.is(frames.length, count);
    t.is(frames.bytes.length, count + 2);
    t.true(frames.ends.every((end, i) => end === (i === count - 1 ? count + 2 : i + 1)));
    t.is(frames.at(-1)?.toString(), 'é\n');
    const texts = frames.texts();
    t.is(texts.length, count);
    t.is(texts.at(-1), 'é\n');
    reader.feedData(Buffer.from('\n'));
    t.deepEqual(strings(await reader.readframes()), ['rest\n']);

    const lines = await all(
      ended('\n'.repeat(count - 1) + 'é\nrest', 65536)
        .lines()
        .batches(),
    );
    t.deepEqual(
      lines.map((batch) => batch.length),
      [count, 1],
    );
    t.is(lines[0]?.at(-1), 'é');
  }
});

test('an overlong frame is refused after a full index of frames', async (t) => {
  for (const count of [1020, 2044]) {
    const reader = ended('\n'.repeat(count) + 'too long\nok\n', 4);
    t.is((await reader.readframes()).length, count);
    await t.throwsAsync(reader.readframes(), { code: 'ERR_LIMIT_OVERRUN' });
    const lines: (string | string[])[] = [];
    const again = ended('\n'.repeat(count) + 'too long\nok\n', 4);
    await t.throwsAsync(
      async () => {
        for await (const batch of again.lines().batches()) lines.push(batch);
      },
      { code: 'ERR_LIMIT_OVERRUN' },
    );
    t.is(lines[0]?.length, count);
    t.deepEqual(await all(again.lines()), ['ok']);
  }
});

test('a signal ends the wait, and consumes nothing', async (t) => {
  const reader = fed('one');
  const reason = new Error('changed my mind');
  for (const read of [
    (signal: AbortSignal) => reader.readframes('\n', { signal }),
    (signal: AbortSignal) => reader.lines({ signal }).next(),
    (signal: AbortSignal) => reader.lines({ signal }).batches().next(),
  ]) {
    const controller = new AbortController();
    const waiting = read(controller.signal);
    await t.throwsAsync(reader.readline(), { code: 'ERR_CONCURRENT_READ', message: /readline.*(readframes|lines)/ });
    controller.abort(reason);
    t.is(await t.throwsAsync(waiting), reason);
    t.is(reader.buffered, 3);
  }
  reader.feedData(Buffer.from('\n'));
  t.deepEqual(strings(await reader.readframes()), ['one\n']);
});

test('reading frames resumes a paused source', async (t) => {
  const calls: string[] = [];
  const reader = new StreamReader({ limit: 10 });
  const intake = readerIntake(reader);
  intake.attach({ resumeReading: () => calls.push('resume') });
  for (const read of [() => reader.readframes(), () => reader.lines().batches().next()]) {
    t.false(intake.feed(Buffer.from('line\n'.repeat(5))));
    t.deepEqual(calls, []);
    await read();
    t.deepEqual(calls.splice(0), ['resume']);
  }
});

test('invalid arguments are refused, and are not a read', async (t) => {
  const reader = fed('one\n');
  await t.throwsAsync(reader.readframes(''), { code: 'ERR_SEPARATOR_EMPTY', message: /^readframes/ });
  await t.throwsAsync(reader.readframes(7 as never), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /^readframes: framing must be a separator .* not 7$/,
  });
  const frames = await reader.readframes();
  t.throws(() => frames.texts('klingon' as never), {
    code: 'ERR_OUT_OF_RANGE',
    message: /^texts: encoding.*"klingon"/,
  });
  t.throws(() => frames.texts(7 as never), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => frames.texts('utf8', 7 as never), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => frames.texts('utf8', { keepEnds: 1 as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  for (const encoding of ['utf16le', 'hex', 'base64', 'klingon']) {
    t.throws(() => reader.lines({ encoding: encoding as never }), {
      code: 'ERR_OUT_OF_RANGE',
      message: /^lines: encoding/,
    });
  }
  t.throws(() => reader.lines({ encoding: 7 as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => reader.lines({ keepEnds: 'yes' as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => reader.lines({ signal: 'yes' as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => reader.lines(null as never), { code: 'ERR_INVALID_ARG_TYPE' });
  t.deepEqual(strings(frames), ['one\n'], 'none of that was a read');
});

// --- Texts

const encodings = [
  'utf8',
  'utf-8',
  'latin1',
  'binary',
  'ascii',
  'hex',
  'base64',
  'base64url',
  'utf16le',
  'ucs2',
  'UTF8' as 'utf8',
] as const;

test('texts decodes each frame as toString does, whatever the bytes', (t) => {
  const piece = fc.oneof(
    fc.constantFrom('a', 'line', '\r', 'é', '€', '😀', '\ufeff', '\u2028').map((text) => Buffer.from(text)),
    fc.constantFrom(0xff, 0xc3, 0xa9, 0xe2, 0x82, 0xac, 0xf0, 0x80).map((byte) => Buffer.of(byte)),
    fc.integer({ min: 0, max: 5000 }).map((size) => Buffer.alloc(size, 'y')),
  );
  const frame = fc.array(piece, { maxLength: 6, size: 'max' }).map((pieces) => Buffer.concat(pieces));
  const property = fc.property(
    fc.array(frame, { maxLength: 40, size: 'max' }),
    fc.constantFrom<(string | Buffer)[]>(['\n'], ['\r\n'], ['|', '\n'], [Buffer.of(0xa9)], [Buffer.of(0xe2), '€']),
    fc.constantFrom(...encodings),
    fc.boolean(),
    (bodies, separators, encoding, keepEnds) => {
      const separator = Separator.from(separators, 'test');
      const sequences = separator.sequences.map((sequence) => Buffer.from(sequence));
      const list = bodies.map((body, i) => Buffer.concat([body, sequences[i % sequences.length] as Buffer]));
      let end = 0;
      const ends = Uint32Array.from(list, ({ length }) => (end += length));
      const bytes = Buffer.concat(list);
      const expected = list.map((frame) => {
        const matches = sequences.filter((s) => frame.length >= s.length && frame.subarray(-s.length).equals(s));
        const cut = keepEnds ? 0 : Math.max(...matches.map((s) => s.length));
        return frame.toString(encoding, 0, frame.length - cut);
      });
      const texts = new Frames(separator, bytes, ends).texts(encoding, { keepEnds });
      if (JSON.stringify(texts) !== JSON.stringify(expected)) {
        throw new Error(`${JSON.stringify(texts)}, not ${JSON.stringify(expected)}`);
      }
    },
  );
  t.notThrows(() => fc.assert(property, { seed: seed(t), numRuns: 500 }));
});

// --- Lines

/** Checks the lines of the same bytes, one by one and in batches, for several chunk sizes. */
async function everyWay(
  t: ExecutionContext,
  data: string | Buffer,
  expected: string[],
  options?: LinesOptions,
): Promise<void> {
  const bytes = Buffer.from(data as string);
  for (const size of [bytes.length + 1, 1, 2, 3, 7]) {
    const flat = async (make: (lines: Lines) => AsyncIterable<string | string[]>): Promise<string[]> =>
      (await all(make(dripped(bytes, size).lines(options)))).flat();
    t.deepEqual(await flat((lines) => lines), expected, `one by one, chunks of ${size}`);
    t.deepEqual(await flat((lines) => lines.batches()), expected, `batches, chunks of ${size}`);
  }
}

test('lines end at LF only, and one CR before the LF is removed with it', async (t) => {
  await everyWay(t, 'a\nb\r\nc\r\r\n\r\n\nd\re\n\u2028f\u0085g\vh\n', [
    'a',
    'b',
    'c\r',
    '',
    '',
    'd\re',
    '\u2028f\u0085g\vh',
  ]);
  await everyWay(t, 'a\r\nb\n', ['a\r\n', 'b\n'], { keepEnds: true });
});

test('a carriage return before a line feed is removed also among many lines without one', async (t) => {
  const plain = Array.from({ length: 3000 }, (_, i) => `line ${i}`);
  const ends = plain.map((_, i) => (i === 1500 || i === 2999 ? '\r\n' : '\n'));
  const data = plain.map((line, i) => line + (ends[i] as string)).join('');
  t.deepEqual((await all(ended(data).lines().batches())).flat(), plain);
  const kept = await all(ended(data).lines({ keepEnds: true }).batches());
  t.is(kept.flat().join(''), data);
});

test('the bytes after the last LF are the last line, unchanged', async (t) => {
  await everyWay(t, 'a\nb', ['a', 'b']);
  await everyWay(t, 'a\nb\r', ['a', 'b\r']);
  await everyWay(t, '\r', ['\r']);
  await everyWay(t, 'a\nb', ['a\n', 'b'], { keepEnds: true });
  await everyWay(t, '', []);
  await everyWay(t, '\n', ['']);
});

test('UTF-8: characters across chunks, invalid bytes, byte-order marks', async (t) => {
  await everyWay(t, 'é€😀\n😀€é\r\nplain\n', ['é€😀', '😀€é', 'plain']);
  await everyWay(t, '\ufeffone\n\ufefftwo\n', ['\ufeffone', '\ufefftwo']);
  const invalid = Buffer.from([0x61, 0xff, 0x0a, 0xe2, 0x82, 0x0a, 0xac, 0x62, 0x0d, 0x0a, 0xf0, 0x9f]);
  await everyWay(t, invalid, ['a\ufffd', '\ufffd', '\ufffdb', '\ufffd']);
  await everyWay(t, invalid, ['a\ufffd\n', '\ufffd\n', '\ufffdb\r\n', '\ufffd'], { keepEnds: true });
});

test('latin1, binary and ascii decode one character per byte', async (t) => {
  const bytes = Buffer.from('sch\xf6n\r\n\xff\n', 'latin1');
  await everyWay(t, bytes, ['schön', 'ÿ'], { encoding: 'latin1' });
  await everyWay(t, bytes, ['schön', 'ÿ'], { encoding: 'binary' });
  await everyWay(t, bytes, ['schvn', '\x7f'], { encoding: 'ascii' });
  await everyWay(t, Buffer.from('\x8a\x8d\n', 'latin1'), ['\n\r'], { encoding: 'ascii' });
  await everyWay(t, Buffer.from('a\x8d\nb\r\n', 'latin1'), ['a\r', 'b'], { encoding: 'ascii' });
});

test('long lines, and lines about as long as a slab, are decoded whole', async (t) => {
  for (const mark of ['x', 'é']) {
    const lines = [1, 4094, 4095, 4096, 4097, 8190, 8191, 8192, 8193, 1, 2, 20_000, 3].map((n) => mark.repeat(n));
    const data = Buffer.from(`${lines.join('\r\n')}\r\n`);
    for (const size of [data.length, 5000]) {
      t.deepEqual(await all(dripped(data, size).lines()), lines);
      t.deepEqual((await all(dripped(data, size).lines().batches())).flat(), lines);
    }
  }
});

test('only the lines that were returned are consumed', async (t) => {
  const reader = ended('one\ntwo\nthree\nfour\n12345rest of it\nlast\n');
  for await (const line of reader.lines()) if (line === 'two') break;
  t.is((await reader.readline()).toString(), 'three\n');
  const seen: string[] = [];
  for await (const line of reader.lines()) {
    if (line === 'four') seen.push((await reader.readexactly(5)).toString());
    seen.push(line);
  }
  t.deepEqual(seen, ['12345', 'four', 'rest of it', 'last']);
  t.true(reader.atEof());

  const mixed = ended('a\nb\nc\nd\ne\nf\n');
  const lines = mixed.lines();
  const kept = mixed.lines({ keepEnds: true, encoding: 'latin1' });
  t.is((await lines.next()).value, 'a');
  t.is((await kept.next()).value, 'b\n');
  t.is((await mixed.readuntil('\n')).toString(), 'c\n');
  t.is((await lines.next()).value, 'd');
  t.deepEqual(await all(lines.batches()), [['e', 'f']]);
  t.deepEqual(await lines.next(), { done: true, value: undefined });
});

test('a line over the limit ends the loop with one error; a new loop continues with the next line', async (t) => {
  const bytes = Buffer.from('ok\nmuch too long\nfine\nand again too long\n\nend\n');
  for (const size of [bytes.length, 1, 5]) {
    for (const batches of [false, true]) {
      const reader = dripped(bytes, size, 6);
      const seen: string[] = [];
      const errors: unknown[] = [];
      for (;;) {
        try {
          const lines = reader.lines();
          for await (const item of batches ? lines.batches() : lines) seen.push(...[item].flat());
          break;
        } catch (error) {
          errors.push((error as NodeJS.ErrnoException).code);
          seen.push('!');
        }
      }
      t.deepEqual(seen, ['ok', '!', 'fine', '!', '', 'end'], `chunks of ${size}`);
      t.deepEqual(errors, ['ERR_LIMIT_OVERRUN', 'ERR_LIMIT_OVERRUN']);
    }
  }
});

test('a connection error is reported after the lines that were received', async (t) => {
  for (const batches of [false, true]) {
    const reader = fed('one\ntwo\nhal');
    reader.setException(new Error('gone'));
    const seen: string[] = [];
    await t.throwsAsync(
      async () => {
        const lines = reader.lines();
        for await (const item of batches ? lines.batches() : lines) seen.push(...[item].flat());
      },
      { message: 'gone' },
    );
    t.deepEqual(seen, ['one', 'two']);
    t.is((await reader.read(10)).toString(), 'hal');
  }
});

// Serial: the memory of other tests would be counted.
test.serial('a line that is kept keeps little memory alive', async (t) => {
  const chunk = Buffer.from(`${'x'.repeat(40)}\n`.repeat(1500));
  for (const batches of [false, true]) {
    const reader = new StreamReader();
    const kept: string[] = [];
    gc();
    const before = process.memoryUsage().heapUsed;
    for (let i = 0; i < 1000; i++) {
      reader.feedData(chunk);
      const lines = reader.lines();
      if (batches) {
        const { value } = await lines.batches().next();
        kept.push(value?.[700] ?? '');
      } else {
        for (let k = 0; k < 1500; k++) {
          const { value } = await lines.next();
          if (k === 700) kept.push(value ?? '');
        }
      }
    }
    gc();
    const each = (process.memoryUsage().heapUsed - before) / kept.length;
    t.true(each < 12_000, `${each} bytes for each line`);
    t.is(kept.join('').length, 40_000);
  }
});
