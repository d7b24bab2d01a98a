/** Memory that an owner of a result gives away: what shares it keeps its bytes where that can be, and nobody's reads fail. */
// Runs once for each engine: it is about the memory of results; of sockets there is a line at a time.
// One after the other: what one test detaches another may have got a line in.
import test from 'ava';
import vm from 'node:vm';
import { connect, StreamReader } from 'sluice';
import { allocateResult } from '#ts/buffer/slab.js';
import { echo, serving } from '../loopback.js';

/** Moves memory as `postMessage(value, [memory])` does. False: it is gone. Else an error said no, or it was copied. */
function refused(memory: ArrayBufferLike): boolean {
  try {
    structuredClone(memory, { transfer: [memory as ArrayBuffer] });
  } catch (error) {
    return error instanceof Error && memory.byteLength > 0;
  }
  return memory.byteLength > 0;
}

/** Takes memory away from all who hold it, by ways that most runtimes do not let a mark forbid. Returns whether it is gone. */
function detach(bytes: Uint8Array): boolean {
  const memory = bytes.buffer as ArrayBuffer & { transfer?: () => ArrayBuffer };
  try {
    if (memory.transfer !== undefined) {
      memory.transfer();
    } else {
      // Before Node 21 JavaScript has no such call, but a byte stream does it.
      const start = (controller: ReadableByteStreamController): void => controller.enqueue(new Uint8Array(memory));
      new ReadableStream({ type: 'bytes', start });
    }
  } catch {
    return false;
  }
  return memory.byteLength === 0;
}

const lines = (count: number, size: number): string[] =>
  Array.from({ length: count }, (_, i) => `${i} `.padEnd(size - 1, 'x') + '\n');

test.serial('memory that results share is not moved to another thread', async (t) => {
  const reader = new StreamReader({ limit: 1000 });
  // Short: a part of a slab. Long: copied out together, in memory of their own.
  for (const sent of [lines(3, 10), lines(300, 50)]) {
    reader.feedData(sent.join(''));
    const kept: Buffer[] = [];
    for (const [i] of sent.entries()) {
      const line = await reader.readline();
      kept.push(line);
      t.true(refused(line.buffer), `line ${i}`);
    }
    t.deepEqual(kept.map(String), sent);
  }
  reader.feedData('a\nb\n');
  const frames = await reader.readframes();
  t.true(refused(frames.bytes.buffer), 'the memory of the reader');
  t.deepEqual(frames.texts(), ['a\n', 'b\n']);
});

test.serial('a large result has memory of its own, which may be moved', async (t) => {
  const reader = new StreamReader();
  reader.feedData(Buffer.alloc(20_000, 'z'));
  const first = await reader.readexactly(10_000);
  const moved = structuredClone(first.buffer, { transfer: [first.buffer as ArrayBuffer] });
  t.is(first.length, 0);
  t.true(Buffer.from(moved).equals(Buffer.alloc(10_000, 'z')));
  t.true((await reader.readexactly(10_000)).equals(Buffer.alloc(10_000, 'z')));
});

test.serial(
  'who detaches a line takes it from its own neighbours only: what was not handed out yet still comes',
  async (t) => {
    t.true(detach(Buffer.allocUnsafeSlow(10)), 'or the test tests nothing');
    const reader = new StreamReader();
    for (const sent of [lines(5, 10), lines(1000, 50)]) {
      reader.feedData(sent.join(''));
      for (const [i, expected] of sent.entries()) {
        const line = await reader.readline();
        t.is(line.toString(), expected);
        const gone = i % 7 === 0 && detach(line);
        t.is(line.toString(), gone ? '' : expected);
      }
    }
    t.is(reader.buffered, 0);
  },
);

test.serial('memory for a result of any size is had after a slab was detached', (t) => {
  for (const size of [0, 1, 4095, 4096]) {
    detach(allocateResult(10));
    t.is(allocateResult(size).length, size);
  }
});

test.serial('who detaches a line does not make the reads of other streams fail', async (t) => {
  const { port, errors } = await serving(t, echo);
  for (let i = 0; i < 20; i++) {
    await using client = await connect('127.0.0.1', port);
    await client.write(`line ${i}\nanother\n`);
    const line = await client.readline();
    t.is(line.toString(), `line ${i}\n`);
    detach(line);
    t.is((await client.readline()).toString(), 'another\n');
  }
  t.deepEqual(errors, []);
});

test.serial('bytes of another realm are bytes', async (t) => {
  const foreign = (code: string): Uint8Array => vm.runInNewContext(`Uint8Array.from(${code})`) as Uint8Array;
  const hi = foreign('[104, 105, 10]');
  t.false(hi instanceof Uint8Array, 'or the test tests nothing');

  const reader = new StreamReader();
  reader.feedData(hi);
  reader.unread(hi);
  t.is((await reader.readuntil(foreign('[10]'))).toString(), 'hi\n');
  const memory = foreign('[0, 0, 0, 0]');
  t.is(await reader.readinto(memory), 3);
  t.deepEqual([...memory], [104, 105, 10, 0]);

  const { port } = await serving(t, async (stream) => {
    await stream.write(await stream.read());
  });
  await using client = await connect('127.0.0.1', port);
  await client.write(hi);
  await client.writelines([hi, 'x', foreign('new Array(10000).fill(65)')]);
  await client.writelines(hi as never);
  await client.writeEof();
  t.is((await client.read()).toString(), `hi\nhi\nx${'A'.repeat(10_000)}hi\n`);
});
