/** Memory of idle readers. The tests call `look` themselves: nothing here waits for a timer. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { StreamReader } from 'sluice';
import { look, watch } from '#ts/reader/idle.js';
import { readerIntake } from '#ts/reader/reader.js';
import { memory } from '../gc.js';

// On a busy machine the library's own timer could fire during a test.
const { setTimeout: real } = globalThis;
globalThis.setTimeout = ((callback: () => void, ms?: number) =>
  real(callback, callback === look ? 2 ** 31 - 1 : ms)) as typeof setTimeout;

const MIB = 2 ** 20;
const text = (data: Uint8Array): string => Buffer.from(data).toString('latin1');

test.serial('a reader releases its memory once, when no bytes arrived between two looks', (t) => {
  const reader = {
    bytesRead: 0,
    shrunk: 0,
    shrink() {
      this.shrunk++;
    },
  };
  watch(reader);
  watch(reader);
  reader.bytesRead += 5;
  look();
  t.is(reader.shrunk, 0, 'bytes have come in');
  reader.bytesRead += 5;
  look();
  t.is(reader.shrunk, 0, 'and more of them');
  look();
  t.is(reader.shrunk, 1);
  look();
  t.is(reader.shrunk, 1);
  watch(reader);
  look();
  t.is(reader.shrunk, 2, 'watched once more');
});

const reads: [string, (reader: StreamReader) => Promise<string>][] = [
  ['readline', async (reader) => text(await reader.readline())],
  ['readuntil', async (reader) => text(await reader.readuntil('\n'))],
  ['readexactly', async (reader) => text(await reader.readexactly(9))],
  ['peek', async (reader) => text(await reader.peek(9))],
  ['readframes', async (reader) => (await reader.readframes()).texts().join('')],
  ['lines', async (reader) => `${(await reader.lines().next()).value}\n`],
  ['batches', async (reader) => `${(await reader.lines().batches().next()).value?.join('\n')}\n`],
];

for (const [name, read] of reads) {
  test.serial(`${name}: a wait with few bytes buffered, after many, keeps little memory`, async (t) => {
    const before = await memory();
    const waiting: [StreamReader, Promise<string>][] = [];
    for (let i = 0; i < 20; i++) {
      const reader = new StreamReader({ limit: MIB });
      reader.feedData(Buffer.alloc(MIB, 'x'));
      reader.feedData('\ntail');
      t.is((await reader.readline()).length, MIB + 1);
      waiting.push([reader, read(reader)]);
    }
    t.true((await memory()) - before > 10 * MIB, 'or the test tests nothing');
    look();
    look();
    t.true((await memory()) - before < MIB);
    for (const [reader, result] of waiting) {
      t.is(reader.buffered, 4);
      reader.feedData(' end\n');
      t.is(await result, 'tail end\n');
      reader.feedData('more\n');
      if (name === 'peek') await reader.readline();
      t.is(text(await reader.readline()), 'more\n');
    }
  });
}

for (const [name, waits] of [
  ['peek', (reader: StreamReader) => reader.peek(100)],
  [
    'a lock on reads',
    (reader: StreamReader) => {
      readerIntake(reader).lockReads('startTls');
      return Promise.resolve();
    },
  ],
] as [string, (reader: StreamReader) => Promise<unknown>][]) {
  test.serial(`${name} keeps the frames that are listed after it`, async (t) => {
    const reader = new StreamReader({ limit: MIB });
    // So many that the list of their ends grows, and stays large.
    reader.feedData('many\n'.repeat(4000));
    t.is((await reader.readframes()).length, 4000);
    const first = reader.readline();
    reader.feedData('a\nb\nc\nd\ne\n');
    t.is(text(await first), 'a\n');
    t.is(text(await reader.readline()), 'b\n');
    const waiting = waits(reader);
    watch(readerIntake(reader));
    look();
    reader.feedData('x'.repeat(100) + '\n');
    await waiting;
    if (name !== 'peek') readerIntake(reader).unlockReads();
    for (const line of ['c\n', 'd\n', 'e\n', 'x'.repeat(100) + '\n']) t.is(text(await reader.readline()), line);
    t.is(reader.buffered, 0);
  });
}

test.serial('readframes that waits with an empty buffer after many frames keeps no memory', async (t) => {
  const before = await memory();
  const readers: StreamReader[] = [];
  for (let i = 0; i < 60; i++) {
    const reader = new StreamReader({ limit: MIB });
    reader.feedData(Buffer.alloc(MIB, 'x'));
    reader.feedData('\n');
    t.is((await reader.readframes()).length, 1);
    void reader.readframes();
    readers.push(reader);
  }
  // The pool keeps 8 MiB of rings.
  t.true((await memory()) - before < 12 * MIB);
  t.is(readers.length, 60);
});
