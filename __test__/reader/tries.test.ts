/** Reads that do not wait. What they give for any bytes and chunks: `reader-model.test.ts`. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { IncompleteReadError, LimitOverrunError, StreamReader, type Frames } from 'sluice';
import { readerIntake } from '#ts/reader/reader.js';

/** Every read that does not wait, with what it gives for `one\ntwo\nrest`, and for a stream that has ended. */
const TRIES: { name: string; run: (reader: StreamReader) => unknown; first: unknown; atEnd: unknown }[] = [
  { name: 'tryRead', run: (r) => text(r.tryRead(5)), first: 'one\nt', atEnd: '' },
  { name: 'tryReadline', run: (r) => text(r.tryReadline()), first: 'one\n', atEnd: '' },
  { name: 'tryReaduntil', run: (r) => text(r.tryReaduntil('wo')), first: 'one\ntwo', atEnd: IncompleteReadError },
  { name: 'tryReadexactly', run: (r) => text(r.tryReadexactly(6)), first: 'one\ntw', atEnd: IncompleteReadError },
  { name: 'tryReadframe', run: (r) => text(r.tryReadframe('\n')), first: 'one\n', atEnd: null },
  { name: 'tryReadframes', run: (r) => strings(r.tryReadframes()), first: ['one\n', 'two\n'], atEnd: [] },
  { name: 'tryWindow', run: (r) => text(r.tryWindow()), first: 'one\ntwo\nrest', atEnd: '' },
];

function text(bytes: Buffer | null | undefined): string | null | undefined {
  return bytes?.toString() ?? (bytes as null | undefined);
}

function strings(frames: Frames | undefined): string[] | undefined {
  return frames === undefined ? undefined : [...frames].map(String);
}

for (const { name, run, first, atEnd } of TRIES) {
  test(`${name} gives at once what the waiting form would, and undefined while that would wait`, (t) => {
    const reader = new StreamReader();
    t.is(run(reader), undefined);
    reader.feedData('one\ntwo\nrest');
    t.deepEqual(run(reader), first);
  });

  test(`${name} at EOF gives what the waiting form does`, (t) => {
    const reader = new StreamReader();
    reader.feedEof();
    if (typeof atEnd === 'function') t.throws(() => run(reader), { instanceOf: atEnd as typeof IncompleteReadError });
    else t.deepEqual(run(reader), atEnd);
  });

  test(`${name} throws the error that ended the stream, after what arrived before it`, (t) => {
    const reader = new StreamReader();
    const reset = Object.assign(new Error('reset'), { code: 'ECONNRESET' });
    reader.feedData('one\ntwo\nrest');
    reader.setException(reset);
    t.deepEqual(run(reader), first);
    const rest = reader.tryRead(100);
    t.is(rest === undefined ? 0 : 12 - rest.length, 12 - (rest?.length ?? 12));
    if (name === 'tryWindow') reader.consume(reader.buffered);
    t.is(
      t.throws(() => run(reader)),
      reset,
    );
  });

  test(`${name} is refused while a read waits`, async (t) => {
    const reader = new StreamReader();
    const waiting = reader.readline();
    t.throws(() => run(reader), {
      code: 'ERR_CONCURRENT_READ',
      message: /^try\w+: another read is waiting \(readline\)/,
    });
    reader.feedData('a\n');
    t.is((await waiting).toString(), 'a\n');
  });

  test(`${name} that gives undefined ends no loan, and one with a result does`, async (t) => {
    for (const rest of ['', 're']) {
      const reader = new StreamReader();
      reader.feedData(`a\nb\n${rest}`);
      const frames = await reader.readframes();
      if (rest === '') {
        t.is(run(reader), undefined);
        t.deepEqual(strings(frames), ['a\n', 'b\n']);
      }
      reader.feedData('st, two\nmore');
      t.deepEqual(strings(frames), ['a\n', 'b\n'], 'bytes that come in leave them alone');
      t.not(run(reader), undefined);
      t.throws(() => frames.length, { code: 'ERR_FRAMES_EXPIRED' });
    }
  });
}

test('tryReadexactly with an incomplete rest leaves lent frames and the rest alone', async (t) => {
  const reader = new StreamReader();
  reader.feedData('a\nb\nrest');
  const frames = await reader.readframes();
  for (let i = 0; i < 3; i++) t.is(reader.tryReadexactly(5), undefined);
  t.is(reader.tryReadline(), undefined);
  t.deepEqual(strings(frames), ['a\n', 'b\n']);
  reader.feedData('\nc');
  t.deepEqual(strings(frames), ['a\n', 'b\n']);
  t.is(text(reader.tryReadline()), 'rest\n');
  t.is(text(reader.tryRead(1)), 'c');
});

test('tryRead without a number is undefined until EOF, and then all the rest', (t) => {
  const reader = new StreamReader();
  reader.feedData('abc');
  t.is(reader.tryRead(), undefined);
  t.is(reader.tryRead(-1), undefined);
  reader.feedEof();
  t.is(text(reader.tryRead()), 'abc');
  t.is(text(reader.tryRead()), '');
});

test('a number of bytes that is invalid is refused at once', (t) => {
  const reader = new StreamReader();
  t.throws(() => reader.tryRead(-2), { code: 'ERR_OUT_OF_RANGE', message: /^tryRead: n must be .*-2/ });
  t.throws(() => reader.tryReadexactly(1.5), { code: 'ERR_OUT_OF_RANGE', message: /^tryReadexactly: n .*1.5/ });
  t.throws(() => reader.tryReadexactly('1' as never), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => reader.tryReadexactly(2 ** 40), { code: 'ERR_BUFFER_TOO_LARGE' });
  t.throws(() => reader.tryWindow(0), { code: 'ERR_OUT_OF_RANGE', message: /^tryWindow: atLeast must be .*0/ });
  t.is(reader.tryRead(0)?.length, 0);
  t.is(reader.tryReadexactly(0)?.length, 0);
});

test('an overlong line is refused once by tryReadline and skipped, also where its end has not arrived yet', (t) => {
  const reader = new StreamReader({ limit: 4 });
  reader.feedData('too long');
  t.throws(() => reader.tryReadline(), { instanceOf: LimitOverrunError, message: /^tryReadline: / });
  t.is(reader.tryReadline(), undefined);
  reader.feedData(' by far\nok\n');
  t.is(text(reader.tryReadline()), 'ok\n');
});

test('where back-pressure has paused reading, a try in vain lets bytes come in until it has its result', (t) => {
  for (const [run, size] of [
    [(r: StreamReader) => r.tryReadexactly(50), 50],
    [(r: StreamReader) => r.tryWindow(50), 50],
    [(r: StreamReader) => r.tryReadframe({ length: 'uint8', limit: 300 }), 50],
    [(r: StreamReader) => r.tryReadframes({ length: 'uint8', limit: 300 })?.at(0), 50],
  ] as const) {
    const reader = new StreamReader({ limit: 4 });
    const intake = readerIntake(reader);
    let flowing = true;
    intake.attach({ resumeReading: () => void (flowing = true) });
    const byte = Buffer.of(49);
    const feed = (): void => {
      if (!intake.feed(byte)) flowing = false;
    };
    while (flowing) feed();
    t.is(reader.buffered, 9, 'more than twice the limit');
    let result;
    let fed = 9;
    while ((result = run(reader)) === undefined) {
      t.true(flowing, 'polling must not come to a stop');
      for (; flowing && fed < size; fed++) feed();
    }
    t.is(fed, size);
    t.is(result?.length, size);
  }
});
