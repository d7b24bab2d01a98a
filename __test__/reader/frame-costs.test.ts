/** What reads cost, as counts of calls: into the engine, of functions that measure frames, and of copies. */
// Runs once for each engine: how sockets are read makes no difference.
import test, { type ExecutionContext } from 'ava';
import { StreamReader, connect, engine, type CustomFraming, type Framing, type LengthFraming } from 'sluice';
import { createRing } from '#ts/buffer/engine.js';
import { Lengths } from '#ts/buffer/lengths.js';
import { loadAddon } from '#ts/buffer/native.js';
import { readerIntake } from '#ts/reader/reader.js';
import { sameBytes } from '../bytes.js';
import { serving } from '../loopback.js';

/** Replaces functions by ones that count their calls, until the test is over. */
function counted(t: ExecutionContext, owner: object, names: readonly string[]): Record<string, number> {
  const functions = owner as Record<string, (...args: unknown[]) => unknown>;
  const counts: Record<string, number> = {};
  for (const name of names) {
    const call = functions[name]!;
    counts[name] = 0;
    functions[name] = function (this: unknown, ...args) {
      counts[name]!++;
      return call.apply(this, args);
    };
    t.teardown(() => void (functions[name] = call));
  }
  return counts;
}

type Frames = Pick<StreamReader, 'readframe' | 'readframes' | 'frames' | 'tryReadframe'>;

/** How often `append` of the ring calls its own `list`. */
const BY_APPEND = engine === 'native' ? 0 : 1;

/** Reads so many frames. */
const WAYS: Record<string, (stream: Frames, framing: Framing, many: number) => Promise<unknown>> = {
  async readframe(stream, framing, many) {
    for (let i = 0; i < many; i++) await stream.readframe(framing);
  },
  async tryReadframe(stream, framing, many) {
    for (let i = 0; i < many; i++) if (stream.tryReadframe(framing) === undefined) await stream.readframe(framing);
  },
  async readframes(stream, framing, many) {
    for (let i = 0; i < many;) i += (await stream.readframes(framing)).length;
  },
  async frames(stream, framing, many) {
    let i = 0;
    for await (const _ of stream.frames(framing)) if (++i === many) break;
  },
  async batches(stream, framing, many) {
    let i = 0;
    for await (const frames of stream.frames(framing).batches()) if ((i += frames.length) === many) break;
  },
};

const FRAME = Buffer.concat([Buffer.of(0, 0, 0, 60), Buffer.alloc(60, 'x')]);
const FRAMINGS: Framing[] = [{ length: 'uint32be', skip: 'header' }, { length: 'uint16be', offset: 2 }, { size: 64 }];

for (const [name, read] of Object.entries(WAYS)) {
  test.serial(`${name}: a chunk of many frames is one call into the ring, whatever their number`, async (t) => {
    const chunk = Buffer.concat(Array<Buffer>(900).fill(FRAME));
    for (const framing of FRAMINGS) {
      const reader = new StreamReader();
      const ring = counted(t, Object.getPrototypeOf(createRing()) as object, ['append', 'list', 'reserve', 'unread']);
      for (let i = 0; i < 20; i++) {
        const before = { ...ring };
        const reading = read(reader, framing, 900);
        reader.feedData(chunk);
        await reading;
        t.is(ring['append']! - before['append']!, 1);
        const lists = ring['list']! - before['list']! - BY_APPEND;
        // The first chunks teach the reader how many frames come at once.
        if (i > 8) t.is(lists, 0, `${JSON.stringify(framing)}, chunk ${i}`);
      }
      t.true(ring['list']! - 20 * BY_APPEND <= 12, `${ring['list']} calls to list`);
      t.is(ring['reserve']! + ring['unread']!, 0);
    }
  });

  test.serial(`${name}: over TCP, the native engine is called once per chunk, never once per frame`, async (t) => {
    const addon = loadAddon();
    if (addon === null || engine !== 'native') {
      t.log('the engine is not native');
      t.not(process.env['SLUICE_ENGINE'], 'native');
      return;
    }
    const chunk = Buffer.concat(Array<Buffer>(1024).fill(FRAME));
    const chunks = 100;
    const { port } = await serving(t, async (peer) => {
      for (let i = 0; i < chunks; i++) await peer.write(chunk);
    });
    for (const framing of FRAMINGS) {
      await using stream = await connect('127.0.0.1', port);
      const counts = counted(t, addon, Object.keys(addon));
      await read(stream, framing, chunks * 1024);
      const { append = 0, commit = 0, list = 0, reserve = 0, unread = 0 } = counts;
      t.log(`${JSON.stringify(framing)}: ${append} append, ${commit} commit, ${list} list, ${reserve} reserve`);
      t.true(append + commit > 0);
      // The first index lists only a few frames.
      t.true(list <= 12, `${list} calls list only`);
      t.true(reserve <= append + commit);
      t.is(unread, 0);
      t.true(append + commit + list + reserve < (chunks * 1024) / 100);
    }
  });
}

/** A frame of `size` bytes, of which the first two say how many; counts how often it is measured. */
function measuring(): { framing: CustomFraming; calls: () => number } {
  let calls = 0;
  const frameLength = (bytes: Uint8Array, start: number, end: number): number => {
    calls++;
    return end - start < 2 ? 0 : bytes[start]! * 256 + bytes[start + 1]!;
  };
  return { framing: { frameLength }, calls: () => calls };
}

/** A read that is cancelled at once. */
async function cancelled(t: ExecutionContext, reader: StreamReader, framing: Framing, meanwhile = ''): Promise<void> {
  const controller = new AbortController();
  const reading = reader.readframe(framing, { signal: controller.signal });
  if (meanwhile !== '') reader.feedData(meanwhile);
  controller.abort(new Error('enough'));
  await t.throwsAsync(reading, { message: 'enough' });
}

for (const largeRead of [65536, 16]) {
  test.serial(
    `a cancelled read does not have a frame measured again, with large reads from ${largeRead} bytes`,
    async (t) => {
      const { framing, calls } = measuring();
      const reader = new StreamReader();
      readerIntake(reader).tune({ largeRead, fullChunk: 65536, directRead: 65536, directMost: 65536 });
      reader.feedData(Buffer.of(0));
      await cancelled(t, reader, framing);
      t.is(calls(), 1, 'with one byte');
      await cancelled(t, reader, framing);
      t.is(calls(), 1, 'nothing has arrived');
      reader.feedData(Buffer.of(100));
      for (let i = 0; i < 20; i++) await cancelled(t, reader, framing, 'x');
      t.is(calls(), 2, 'with two bytes');
      const reading = reader.readframe(framing);
      reader.feedData(Buffer.alloc(78));
      t.is((await reading)?.length, 100);
      t.is(calls(), 2);
    },
  );
}

test.serial(
  'frames by length are measured a constant number of times for each chunk, however often reads are cancelled',
  async (t) => {
    const framing: LengthFraming = { length: 'uint16be' };
    const measured = counted(t, Lengths.prototype, ['measure']);
    const reader = new StreamReader();
    reader.feedData(Buffer.of(0x27, 0x10));
    for (let i = 0; i < 500; i++) await cancelled(t, reader, framing, 'xxxx');
    // Once by the engine, when a chunk comes, and once for the length that the read may be filled by.
    t.true(measured['measure']! <= 4 * 500, `${measured['measure']} calls`);
  },
);

test.serial(
  'reads of other kinds in between have a function measure each frame a few times, not all frames that follow',
  async (t) => {
    const { framing, calls } = measuring();
    const reader = new StreamReader();
    const frame = Buffer.concat([Buffer.of(0, 10), Buffer.alloc(8)]);
    reader.feedData(Buffer.concat(Array<Buffer>(1000).fill(frame)));
    for (let i = 0; i < 500; i++) {
      t.is((await reader.readframe(framing))?.length, 10);
      t.is((await reader.readexactly(10)).length, 10);
    }
    t.true(calls() <= 2 * 500, `${calls()} calls`);
  },
);

test.serial('a read(n) that waits copies the chunk once: nothing passes through a ring', async (t) => {
  const ring = counted(t, Object.getPrototypeOf(createRing()) as object, ['append', 'reserve', 'copyTo']);
  const reader = new StreamReader();
  const chunk = Buffer.alloc(1000, 'x');
  for (let i = 0; i < 50; i++) {
    const reading =
      i % 2 === 0
        ? reader.read(4000)
        : reader
            .chunks(4000)
            .next()
            .then(({ value }) => value!);
    reader.feedData(chunk);
    const bytes = await reading;
    sameBytes(t, bytes, chunk);
    t.not(bytes.buffer, chunk.buffer);
  }
  t.deepEqual(ring, { append: 0, reserve: 0, copyTo: 0 });
  const short = reader.read(10);
  reader.feedData(chunk);
  t.is((await short).length, 10);
  t.is(reader.buffered, 990, 'only what it does not take is buffered');
  t.is(ring['append'], 1);
});
