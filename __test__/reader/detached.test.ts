/** A caller may detach the memory of a result: other results keep their bytes where possible, and no read fails. */
// Runs once for each engine: it is about the memory of results; sockets carry only single lines.
// The tests are serial: a buffer that one test detaches may hold lines of another.
import test from 'ava';
import vm from 'node:vm';
import { connect, StreamReader } from 'sluice';
import { allocateResult } from '#ts/buffer/slab.js';
import { echo, serving } from '../loopback.js';

/**
 * Moves memory as `postMessage(value, [memory])` does. False if it is gone; true if that was refused, or a copy was
 * made.
 */
function refused(memory: ArrayBufferLike): boolean {
  try {
    structuredClone(memory, { transfer: [memory as ArrayBuffer] });
  } catch (error) {
    return error instanceof Error && memory.byteLength > 0;
  }
  return memory.byteLength > 0;
}

/** Detaches memory in ways that most runtimes cannot forbid. Returns whether it is gone. */
function detach(bytes: Uint8Array): boolean {
  const memory = bytes.buffer as ArrayBuffer & { transfer?: () => ArrayBuffer };
  try {
    if (memory.transfer !== undefined) {
      memory.transfer();
    } else {
      // Before Node 21 there is no such method, but a byte stream does the same.
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

test.serial('memory that results share cannot be moved to another thread', async (t) => {
  const reader = new StreamReader({ limit: 1000 });
  // Short lines come from a slab. Long ones are copied together, into memory of their own.
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

test.serial('a large result owns its memory, which may be moved', async (t) => {
  const reader = new StreamReader();
  reader.feedData(Buffer.alloc(20_000, 'z'));
  const first = await reader.readexactly(10_000);
  const moved = structuredClone(first.buffer, { transfer: [first.buffer as ArrayBuffer] });
  t.is(first.length, 0);
  t.true(Buffer.from(moved).equals(Buffer.alloc(10_000, 'z')));
  t.true((await reader.readexactly(10_000)).equals(Buffer.alloc(10_000, 'z')));
});

test.serial(
  'detaching a line affects only lines that were already returned: all later lines arrive unchanged',
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

test.serial('a result of any size can be allocated after a slab was detached', (t) => {
  for (const size of [0, 1, 4095, 4096]) {
    detach(allocateResult(10));
    t.is(allocateResult(size).length, size);
  }
});

test.serial('detaching a line does not make the reads of other streams fail', async (t) => {
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

test.serial('a Uint8Array from another realm is accepted', async (t) => {
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
