/** The count of the frames that a reader has returned. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import fc from 'fast-check';
import { StreamReader } from 'sluice';
import { readerIntake } from '#ts/reader/reader.js';
import { seed } from '../seed.js';

const LENGTH = { length: 'uint8' } as const;
const KINDS = ['line', 'until', 'frames', 'batch', 'frame', 'size', 'any', 'peek', 'window', 'iterate'] as const;

interface Step {
  readonly chunk: string;
  readonly kind: (typeof KINDS)[number];
  readonly n: number;
}

/** Does one read if that does not have to wait, and returns how many frames it has returned. */
async function framesOf(reader: StreamReader, { kind, n }: Step): Promise<number> {
  const complete = reader.tryWindow()?.includes(0x0a) === true;
  switch (kind) {
    case 'line':
      return reader.tryReadline() === undefined ? 0 : 1;
    case 'until':
      return reader.tryReaduntil([';', '\n']) === undefined ? 0 : 1;
    case 'frames': {
      const frames = reader.tryReadframes('\n');
      if (frames === undefined) return 0;
      const kept = Math.min(n, frames.length);
      frames.unread(kept);
      return kept;
    }
    case 'batch': {
      if (!complete) return 0;
      const { value } = await reader.lines().batches().next();
      return value!.length;
    }
    case 'frame':
      return reader.tryReadframe('\n') === undefined ? 0 : 1;
    case 'size':
      return reader.tryReadframe({ size: 3 }) === undefined ? 0 : 1;
    case 'iterate': {
      if (!complete) return 0;
      const { done } = await reader.lines().next();
      return done === true ? 0 : 1;
    }
    case 'any':
      reader.tryRead(n + 1);
      return 0;
    case 'peek':
      if (reader.buffered > 0) await reader.peek(1);
      return 0;
    case 'window':
      if (reader.tryWindow() !== undefined) reader.consume(Math.min(1, reader.buffered));
      return 0;
  }
}

test('the count is that of the frames that any mixture of reads has returned', async (t) => {
  const step = fc.record({
    chunk: fc.string({ unit: fc.constantFrom('a', 'b', ';', '\n'), maxLength: 12 }),
    kind: fc.constantFrom(...KINDS),
    n: fc.nat({ max: 4 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const reader = new StreamReader();
      const intake = readerIntake(reader);
      let expected = 0;
      for (const each of steps) {
        reader.feedData(each.chunk);
        expected += await framesOf(reader, each);
        if (intake.framesRead !== expected) return false;
      }
      return true;
    }),
    { seed: seed(t), numRuns: 300 },
  );
  t.pass();
});

test('reads that wait count when they end, also by a chunk that is the line or fills the frame', async (t) => {
  const reader = new StreamReader({ limit: 1 << 20 });
  const intake = readerIntake(reader);
  const feeding = <T>(read: Promise<T>, ...chunks: (string | Uint8Array)[]): Promise<T> => {
    for (const chunk of chunks) reader.feedData(chunk);
    return read;
  };
  await feeding(reader.readline(), 'one\n');
  t.is(intake.framesRead, 1);
  await feeding(reader.readline(), 'tw', 'o\n');
  t.is(intake.framesRead, 2);
  await feeding(reader[Symbol.asyncIterator]().next(), 'three\n');
  t.is(intake.framesRead, 3);
  const large = Buffer.alloc(200_000);
  large.writeUInt32BE(large.length - 4);
  await feeding(
    reader.readframe({ length: 'uint32be' }),
    large.subarray(0, 100),
    large.subarray(100, 150_000),
    large.subarray(150_000),
  );
  t.is(intake.framesRead, 4);
  await feeding(reader.readframe(LENGTH), Uint8Array.of(2, 0), Uint8Array.of(0));
  t.is(intake.framesRead, 5);
  const controller = new AbortController();
  const cancelled = reader.readline({ signal: controller.signal });
  reader.feedData('par');
  controller.abort();
  await t.throwsAsync(cancelled, { any: true, name: 'AbortError' });
  t.is(intake.framesRead, 5);
  t.is((await feeding(reader.readline(), 't\nlast')).toString(), 'part\n');
  reader.feedEof();
  t.is((await reader.readline()).toString(), 'last');
  t.is((await reader.readline()).length, 0);
  t.is(intake.framesRead, 7);
});

test('lines and frames that are refused do not count, and the count survives the drop of unread bytes', async (t) => {
  const reader = new StreamReader({ limit: 4 });
  const intake = readerIntake(reader);
  reader.feedData('a\ntoo long\nb\nc\n');
  await reader.readline();
  await t.throwsAsync(reader.readline(), { code: 'ERR_LIMIT_OVERRUN' });
  await reader.readline();
  t.is(intake.framesRead, 2);
  intake.dropUnread();
  t.is(intake.framesRead, 2);
  reader.feedEof();
  t.is((await reader.readline()).length, 0);
  t.is(intake.framesRead, 2);
});
