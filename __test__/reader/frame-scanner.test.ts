/**
 * The frames in a receive buffer, without waiting. The search is tested on its own in `frame-search.test.ts`, the reads that use the
 * frames in `reader.test.ts` and `frames.test.ts`.
 */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { Separator } from '#ts/buffer/separator.js';
import { FrameScanner, LF } from '#ts/reader/frame-scanner.js';
import { type LimitOverrunError } from '#ts/errors.js';

const text = (data: Uint8Array) => Buffer.from(data).toString('latin1');
const plain = { encoding: 'utf8', keepEnds: false } as const;

function append(scanner: FrameScanner, data: string): void {
  scanner.append(Buffer.from(data, 'latin1'), 0);
}

function holding(data: string, limit = 65536): FrameScanner {
  const scanner = new FrameScanner(limit);
  append(scanner, data);
  return scanner;
}

/** All complete frames, or the first `most` of them, one by one. */
function taken(scanner: FrameScanner, separator: Separator, most = Infinity): string[] {
  const frames: string[] = [];
  while (frames.length < most && scanner.find(separator, 'readuntil')) frames.push(text(scanner.take()));
  return frames;
}

test('a frame is found when its separator arrives, and is returned with it', (t) => {
  const scanner = holding('on');
  t.false(scanner.find(LF, 'readline'));
  t.false(scanner.has(LF));
  append(scanner, 'e\ntwo\nthr');
  t.true(scanner.has(LF), 'the call that brings the bytes lists them');
  t.true(scanner.find(LF, 'readline'));
  t.is(text(scanner.take()), 'one\n');
  t.true(scanner.find(LF, 'readline'));
  t.is(text(scanner.take()), 'two\n');
  t.false(scanner.find(LF, 'readline'));
  t.is(scanner.buffer.length, 3);
});

test('frames depend neither on how the bytes were split, nor on when each frame is taken', (t) => {
  const data = 'a\r\nbb\r\r\n\r\nccc\rd\n\r\nrest';
  const frames = ['a\r\n', 'bb\r\r\n', '\r\n', 'ccc\rd\n\r\n'];
  for (const separators of ['\r\n', ['\r\n', '\r\n\r\n\r\n']]) {
    const separator = Separator.from(separators, 'test');
    for (let size = 1; size <= data.length; size++) {
      for (const eager of [true, false]) {
        const scanner = new FrameScanner(100);
        const found: string[] = [];
        for (let at = 0; at < data.length; at += size) {
          append(scanner, data.slice(at, at + size));
          if (eager) found.push(...taken(scanner, separator));
        }
        found.push(...taken(scanner, separator));
        t.deepEqual(found, frames, `pieces of ${size}, ${eager ? 'eager' : 'late'}`);
        t.is(scanner.buffer.length, 4);
      }
    }
  }
});

test('a chunk that arrives while frames are listed is searched after those are taken', (t) => {
  const scanner = holding('a\nb\nc');
  t.true(scanner.find(LF, 'readline'));
  t.is(text(scanner.take()), 'a\n');
  t.true(scanner.find(LF, 'readline'));
  append(scanner, 'c\nd\n');
  t.deepEqual(taken(scanner, LF), ['b\n', 'cc\n', 'd\n']);
  t.is(scanner.buffer.store, null, 'a drained ring is given back');
});

test('a read with another separator, or of bytes, discards the listed frames', (t) => {
  const scanner = holding('a\nb;c\nd;e\n');
  t.true(scanner.find(LF, 'readline'));
  t.is(text(scanner.take()), 'a\n');
  const semicolon = Separator.from(';', 'test');
  t.true(scanner.find(semicolon, 'readuntil'));
  t.is(text(scanner.take()), 'b;');
  t.true(scanner.find(LF, 'readline'));
  t.is(scanner.rewind(), 6);
  t.false(scanner.has(LF));
  t.is(text(scanner.buffer.take(3)), 'c\nd');
  t.deepEqual(taken(scanner, LF), [';e\n']);
});

test('frames of one chunk share memory of up to 8 KiB, separate from the ring', (t) => {
  const line = 'x'.repeat(99) + '\n';
  const scanner = holding(line.repeat(1000));
  const kept: Buffer[] = [];
  while (scanner.find(LF, 'readline')) kept.push(scanner.take());
  t.is(kept.length, 1000);
  append(scanner, '-'.repeat(100_000));
  for (const frame of kept) {
    t.is(text(frame), line);
    t.true(frame.buffer.byteLength <= 8192, String(frame.buffer.byteLength));
  }
  const memories = new Set(kept.map((frame) => frame.buffer));
  t.true(memories.size < 50, `${memories.size} pieces of memory for 1000 frames`);
});

test('frames whose shared memory was detached are copied again', (t) => {
  const scanner = holding(Array.from({ length: 100 }, (_, i) => `line ${i}\n`).join(''));
  // The first searches list only a few frames, and a frame that is listed alone shares no memory.
  for (let i = 0; i < 30; i++) {
    t.true(scanner.find(LF, 'readline'));
    t.is(text(scanner.take()), `line ${i}\n`);
  }
  t.true(scanner.find(LF, 'readline'));
  const { buffer: memory } = scanner.take();
  try {
    (memory as ArrayBuffer & { transfer?: () => ArrayBuffer }).transfer?.();
  } catch (error) {
    // Newer versions of Node refuse to detach the memory, because it is marked.
    t.true(error instanceof TypeError);
    t.true(memory.byteLength > 0);
  }
  for (let i = 31; i < 100; i++) {
    t.true(scanner.find(LF, 'readline'));
    t.is(text(scanner.take()), `line ${i}\n`);
  }
});

// ------------------------------------------------------------------------------------------------- over the limit

function overrun(scanner: FrameScanner, separator: Separator, action: 'readline' | 'readuntil'): number {
  try {
    scanner.find(separator, action);
  } catch (error) {
    return (error as LimitOverrunError).consumed;
  }
  return -1;
}

test('a frame over the limit is refused each time, and its bytes stay', (t) => {
  const scanner = holding('ok\nfar too long\n', 5);
  t.deepEqual([scanner.find(LF, 'readuntil'), text(scanner.take())], [true, 'ok\n']);
  t.is(overrun(scanner, LF, 'readuntil'), 12);
  t.is(overrun(scanner, LF, 'readuntil'), 12);
  t.is(scanner.buffer.length, 13);
  const unfinished = holding('abcdef', 5);
  t.is(overrun(unfinished, LF, 'readuntil'), 6);
  t.is(unfinished.buffer.length, 6);
});

test('a refused frame keeps its length when memory is released', (t) => {
  // So many frames that they are listed in more words than a listing has at first, which are then released.
  const scanner = holding('x\n'.repeat(20_000) + 'far too long\nok\n', 5);
  t.is(taken(scanner, LF, 20_000).length, 20_000);
  t.is(overrun(scanner, LF, 'readuntil'), 12);
  t.true((scanner.buffer.store?.words.length ?? 0) > 1024);
  scanner.shrink();
  t.is(scanner.buffer.store?.words.length, 1024);
  t.is(overrun(scanner, LF, 'readuntil'), 12);
  t.is(overrun(scanner, LF, 'readline'), 12);
  t.deepEqual(taken(scanner, LF), ['ok\n']);
});

test('a line over the limit is refused once and discarded', (t) => {
  const scanner = holding('far too long\nok\n', 5);
  t.is(overrun(scanner, LF, 'readline'), 12);
  t.false(scanner.skips);
  t.deepEqual(taken(scanner, LF), ['ok\n']);
});

test('a line over the limit whose end has not arrived is discarded up to its end', (t) => {
  const scanner = holding('far too', 5);
  t.is(overrun(scanner, LF, 'readline'), 7);
  t.is(scanner.buffer.length, 0);
  t.true(scanner.skips);
  t.is(text(scanner.skipIn(Buffer.from(' lo'))), '');
  t.true(scanner.skips);
  t.is(text(scanner.skipIn(Buffer.from('ng\nok\n'))), 'ok\n');
  t.false(scanner.skips);
});

test('two discarded lines, one put back before the other, are each discarded to their own end', (t) => {
  const scanner = holding('first, too', 5);
  t.is(overrun(scanner, LF, 'readline'), 10);
  scanner.buffer.putBack(Buffer.from('second, too'));
  t.is(overrun(scanner, LF, 'readline'), 11);
  t.is(text(scanner.skipIn(Buffer.from('1\n2\nok\n'))), 'ok\n');
  t.false(scanner.skips);
  append(scanner, 'abcdef');
  t.is(overrun(scanner, LF, 'readline'), 6);
  scanner.stopSkipping();
  t.false(scanner.skips);
});

// ------------------------------------------------------------------------------------------------- strings, and all at once

test('lines as strings: one at a time, mixed with bytes, and all at once', (t) => {
  const scanner = holding('a\r\nb\xc3\xa4\nc\nd\ne\r\nf');
  t.true(scanner.find(LF, 'lines'));
  t.is(scanner.takeText(plain), 'a');
  t.true(scanner.find(LF, 'lines'));
  t.is(scanner.takeText({ encoding: 'latin1', keepEnds: true }), 'b\xc3\xa4\n');
  t.true(scanner.find(LF, 'lines'));
  t.is(text(scanner.take()), 'c\n');
  t.deepEqual(scanner.takeTexts(plain), ['d', 'e']);
  t.is(scanner.takeTexts(plain), undefined);
  t.is(scanner.buffer.length, 1);
});

test('all complete frames are lent in place, however many; no frames are listed meanwhile', (t) => {
  const scanner = holding('x\n'.repeat(50_000) + 'y');
  const frames = scanner.lend(LF, 'readframes');
  t.is(frames?.length, 50_000);
  t.is(frames?.ends[49_999], 100_000);
  t.is(scanner.buffer.length, 1);
  append(scanner, '\nz\n');
  t.false(scanner.has(LF));
  t.is(frames?.bytes.length, 100_000);
  scanner.buffer.endLoan();
  t.deepEqual(taken(scanner, LF), ['y\n', 'z\n']);
  t.is(scanner.lend(LF, 'readframes'), undefined);
});

test('frames that are already listed are lent with the others, also after some were taken', (t) => {
  for (const first of [0, 1, 7]) {
    const scanner = holding('a\n'.repeat(20));
    for (let i = 0; i < first; i++) {
      t.true(scanner.find(LF, 'readline'));
      t.is(text(scanner.take()), 'a\n');
    }
    t.true(scanner.find(LF, 'readline'));
    const frames = scanner.lend(LF, 'readframes');
    t.is(frames?.length, 20 - first);
    t.deepEqual(
      [...(frames?.ends ?? [])],
      Array.from({ length: 20 - first }, (_, i) => 2 * i + 2),
    );
    scanner.buffer.endLoan();
  }
});

test('good frames before an overlong one are lent first', (t) => {
  const scanner = holding('a\nb\nfar too long\nc\n', 5);
  t.deepEqual([...(scanner.lend(LF, 'readframes')?.ends ?? [])], [2, 4]);
  scanner.buffer.endLoan();
  t.throws(() => scanner.lend(LF, 'readframes'), {
    code: 'ERR_LIMIT_OVERRUN',
    message: /readframes.*12 bytes.*limit of 5/,
  });
  t.is(scanner.buffer.length, 15);
});

test('bytes that were read into the ring are searched when they are committed', (t) => {
  const scanner = holding('on');
  t.false(scanner.find(LF, 'readline'));
  scanner.buffer.targetRing(64, 64, 0)!.set(Buffer.from('e\ntwo\n'));
  scanner.commit(6);
  t.true(scanner.has(LF));
  t.is(scanner.buffer.target, null);
  t.deepEqual(taken(scanner, LF), ['one\n', 'two\n']);
});

test('memory is released while unread bytes remain', (t) => {
  const scanner = holding('x\n'.repeat(100_000) + 'rest');
  t.is(scanner.takeTexts(plain)?.length, 100_000);
  scanner.shrink();
  t.true((scanner.buffer.store?.words.length ?? 0) <= 1024);
  t.false(scanner.buffer.isSpacious());
  append(scanner, '\nmore\n');
  t.deepEqual(taken(scanner, LF), ['rest\n', 'more\n']);
});
