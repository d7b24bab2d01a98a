/** `writeframe`: what it sends, that `readframe` gives it back, and what it refuses. */
// Runs once for each engine: the frames are read back.
/* eslint @typescript-eslint/no-floating-promises: off -- the promises of the writer need not be awaited: that is part of the test */
import test, { type ExecutionContext } from 'ava';
import { connect, type Framing, type LengthFraming, type Payload, type Stream } from 'sluice';
import { sameBytes } from '../bytes.js';
import { deferred, serving } from '../loopback.js';
import { turns } from '../transport-contract.js';
import { make } from './fake-transport.js';

/** Two connected streams. */
async function pair(t: ExecutionContext): Promise<readonly [Stream, Stream]> {
  const accepted = deferred<Stream>();
  const { port } = await serving(t, (stream) => accepted.resolve(stream));
  const stream = await connect('127.0.0.1', port);
  t.teardown(() => stream.abort());
  return [stream, await accepted.promise];
}

/** The field, written byte by byte. */
function field(type: LengthFraming['length'], value: number): Buffer {
  const [, bits, order] = /^uint(\d+)(be|le)?$/.exec(type) ?? [];
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  if (bits !== undefined) {
    const fixed = bytes.subarray(8 - Number(bits) / 8);
    return order === 'le' ? fixed.reverse() : fixed;
  }
  if (type === 'quic') {
    const log = [2 ** 6, 2 ** 14, 2 ** 30].filter((bound) => value >= bound).length;
    const shortest = bytes.subarray(8 - 2 ** log);
    shortest[0]! |= log << 6;
    return shortest;
  }
  const groups: number[] = [];
  for (let rest = value; groups.length === 0 || rest > 0; rest = Math.floor(rest / 128)) groups.push(rest % 128);
  return Buffer.from(groups.map((group, i) => (i < groups.length - 1 ? group | 0x80 : group)));
}

const bytesOf = (payload: Payload): Buffer =>
  Buffer.concat([payload].flat().map((piece) => Buffer.from(piece as string)));

const TYPES = [
  'uint8',
  'uint16be',
  'uint16le',
  'uint24be',
  'uint24le',
  'uint32be',
  'uint32le',
  'uint48be',
  'uint48le',
  'uint64be',
  'uint64le',
  'varint',
  'quic',
] as const;

const VISIBLE = Uint8Array.from({ length: 90 }, (_, i) => 0x21 + i);

/** A payload of `size` bytes in every form, cut within and next to the first `offset` bytes. */
function forms(size: number, offset: number): Payload[] {
  const bytes = Buffer.alloc(size, VISIBLE);
  const text = bytes.toString();
  const cuts = [0, 1, offset, offset + 1, size].filter((cut) => cut <= size);
  return [
    bytes,
    text,
    [text],
    ...cuts.map((cut) => [bytes.subarray(0, cut), text.slice(cut)]),
    ['', ...Array.from(text.slice(0, 12)), '', bytes.subarray(12)],
  ];
}

for (const length of TYPES) {
  test(`${length}: over a socket, readframe gives back what writeframe has sent, in both directions`, async (t) => {
    const [a, b] = await pair(t);
    for (const offset of [0, 1, 5]) {
      for (const adjust of [0, -2, 3]) {
        const framing: LengthFraming = { length, offset, adjust, limit: 2 ** 20 };
        const least = offset + Math.max(adjust, 0);
        for (const size of [least, least + 1, 90, ...(length === 'uint8' ? [] : [300, 5000, 17_000])]) {
          for (const [i, payload] of forms(size, offset).entries()) {
            const [from, to] = i % 2 === 0 ? [a, b] : [b, a];
            const bytes = bytesOf(payload);
            const header = Buffer.concat([bytes.subarray(0, offset), field(length, size - offset - adjust)]);
            const whole = Buffer.concat([header, bytes.subarray(offset)]);
            const before = from.bytesWritten;
            const written = from.writeframe(payload, framing);
            t.is(from.bytesWritten - before, whole.length);
            sameBytes(t, await to.readframe(framing), whole, JSON.stringify(framing));
            await written;
          }
        }
        const payload = bytesOf(forms(40, offset)[0]!);
        a.writeframe(payload, framing);
        sameBytes(t, await b.readframe({ ...framing, skip: 'header' }), payload.subarray(offset));
      }
    }
  });
}

test('a string is written as UTF-8, and counted in bytes', async (t) => {
  const [a, b] = await pair(t);
  const framing: LengthFraming = { length: 'uint16be', offset: 1, skip: 'header' };
  a.writeframe('é€😀', framing);
  // The field splits the first character, which takes two bytes.
  t.deepEqual(await b.readframe(framing), Buffer.from('é€😀').subarray(1));
});

test('an empty payload is a frame with a length of 0', async (t) => {
  for (const payload of ['', [], new Uint8Array(), ['', Buffer.alloc(0)]] as Payload[]) {
    const { transport, writer } = make();
    await writer.writeframe(payload, { length: 'uint32be' });
    t.deepEqual(Buffer.concat(transport.taken), Buffer.alloc(4));
    t.is(writer.bytesWritten, 4);
  }
});

test('a separator is appended, of a list the first one; the default is a line feed', async (t) => {
  for (const [framing, end] of [
    [undefined, '\n'],
    ['\r\n', '\r\n'],
    [Buffer.from(';'), ';'],
    [['--', '\n'], '--'],
  ] as const) {
    for (const payload of ['ab', Buffer.from('ab'), ['a', Buffer.from('b')], ['ab', '']]) {
      const { transport, writer } = make();
      await writer.writeframe(payload, framing);
      t.is(transport.text, `ab${end}`);
      t.is(transport.calls.length, 1, 'one batch');
    }
  }
  const [a, b] = await pair(t);
  a.writeframe('one', ['\r\n', '\n']);
  a.writeframe('', ['\r\n', '\n']);
  t.is((await b.readframe(['\r\n', '\n']))?.toString(), 'one\r\n');
  t.is((await b.readframe(['\r\n', '\n']))?.toString(), '\r\n');
});

test('a frame of one size is written as it is', async (t) => {
  const [a, b] = await pair(t);
  a.writeframe(['ab', Buffer.from('cd')], { size: 4 });
  t.is((await b.readframe({ size: 4 }))?.toString(), 'abcd');
});

test('a frame is one batch: header and payload leave by one call', async (t) => {
  for (const size of [10, 5000, 100_000]) {
    const { transport, writer } = make();
    await writer.writeframe(Buffer.alloc(size, 'x'), { length: 'uint32be', offset: 2 });
    t.deepEqual(transport.calls, [`write ${size + 4}`]);
  }
});

test('pieces of more than 4 KiB are sent from where they are, smaller ones are copied', async (t) => {
  for (const [size, lent] of [
    [4096, false],
    [4097, true],
    [1_000_000, true],
  ] as const) {
    for (const offset of [0, 3]) {
      const { transport, writer } = make(true);
      const memory = Buffer.alloc(size + offset, 'a');
      const written = writer.writeframe(['-', memory], { length: 'uint32be', offset: offset > 0 ? offset + 1 : 0 });
      const shared = transport.pieces.filter((piece) => piece.buffer === memory.buffer);
      t.deepEqual(
        shared.map((piece) => piece.length),
        lent ? [size] : [],
        `${size} bytes, ${offset} of them before the field`,
      );
      let settled = false;
      void written.then(() => (settled = true));
      await turns();
      t.is(settled, !lent, 'it resolves once the memory can be used again');
      memory.fill('b');
      transport.unclog();
      await written;
      const bytes = Buffer.concat(transport.taken);
      t.is(bytes.length, 1 + offset + size + 4);
      t.is(bytes.at(-1), (lent ? 'b' : 'a').charCodeAt(0));
    }
  }
});

// --- what is refused

const MiB64 = Buffer.alloc(2 ** 26);

const REFUSED: [string, Payload, Framing, RegExp][] = [
  ['uint8, 256 bytes', Buffer.alloc(256), { length: 'uint8' }, /256 bytes.* 256 .*uint8, 0 to 255/],
  ['uint8 that counts itself', 'x'.repeat(255), { length: 'uint8', adjust: -1 }, /255 bytes.* 256 .*uint8, 0 to 255/],
  ['uint16be', Buffer.alloc(65536), { length: 'uint16be' }, /65536 .*uint16be, 0 to 65535/],
  ['uint16le', ['x', Buffer.alloc(65535)], { length: 'uint16le' }, /65536 .*uint16le, 0 to 65535/],
  ['uint24be', Buffer.alloc(2 ** 24), { length: 'uint24be' }, /16777216 .*uint24be, 0 to 16777215/],
  ['uint24le', Buffer.alloc(2 ** 24), { length: 'uint24le' }, /16777216 .*uint24le, 0 to 16777215/],
  ['uint32be', Array<Buffer>(64).fill(MiB64), { length: 'uint32be' }, /4294967296 .*uint32be, 0 to 4294967295/],
  ['uint32le', Array<Buffer>(64).fill(MiB64), { length: 'uint32le' }, /4294967296 .*uint32le, 0 to 4294967295/],
  ['uint48be', '', { length: 'uint48be', adjust: -(2 ** 48) }, /281474976710656 .*uint48be, 0 to 281474976710655/],
  ['uint48le', '', { length: 'uint48le', adjust: -(2 ** 48) }, /281474976710656 .*uint48le, 0 to 281474976710655/],
  ...(['uint64be', 'uint64le', 'varint', 'quic'] as const).map((length): [string, Payload, Framing, RegExp] => [
    `${length} above 2 ** 53 - 1`,
    'x',
    { length, adjust: Number.MIN_SAFE_INTEGER },
    /9007199254740992 .*, 0 to 9007199254740991/,
  ]),
  ['a varint of one byte', Buffer.alloc(128), { length: 'varint', maxLengthBytes: 1 }, /128 .*varint, 0 to 127/],
  ['a varint of two bytes', Buffer.alloc(16384), { length: 'varint', maxLengthBytes: 2 }, /16384 .*varint, 0 to 16383/],
  ['a negative value', 'abc', { length: 'uint8', adjust: 4 }, /3 bytes.* -1 .*uint8, 0 to 255/],
  ['a payload shorter than offset', 'abc', { length: 'uint8', offset: 4 }, /3 bytes.* 4 bytes before the length field/],
  ['over framing.limit', 'abc', { length: 'uint16be', limit: 4 }, /3 bytes.*5 is over framing.limit, 4/],
  ['shorter than skip', 'abc', { length: 'uint16be', skip: 6 }, /3 bytes.*5 .*framing.skip, 6/],
  ['too short for the size', 'abc', { size: 4 }, /4 bytes \(framing.size\), not 3/],
  ['too long for the size', 'abcde', { size: 4 }, /4 bytes \(framing.size\), not 5/],
];

for (const [name, payload, framing, message] of REFUSED) {
  test(`writeframe refuses with a RangeError that has the numbers: ${name}`, async (t) => {
    const { transport, writer } = make();
    t.throws(() => writer.writeframe(payload, framing), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message });
    t.is(writer.bytesWritten, 0);
    writer.write('after');
    await turns();
    t.is(transport.text, 'after', 'nothing of it is written');
  });
}

test('a value that the field just holds is written', async (t) => {
  for (const [framing, size] of [
    [{ length: 'uint8' }, 255],
    [{ length: 'uint16be' }, 65535],
    [{ length: 'varint', maxLengthBytes: 1 }, 127],
    [{ length: 'varint', maxLengthBytes: 2 }, 16383],
    [{ length: 'uint16be', limit: 5 }, 3],
    [{ length: 'uint8', adjust: 4 }, 4],
    [{ length: 'uint8', offset: 4 }, 4],
    [{ length: 'uint16be', skip: 6 }, 4],
  ] as [LengthFraming, number][]) {
    const { transport, writer } = make();
    await writer.writeframe(Buffer.alloc(size), framing);
    t.is(Buffer.concat(transport.taken).length, writer.bytesWritten);
    t.true(writer.bytesWritten > size);
  }
});

const WRONG: [string, unknown, unknown, string, RegExp][] = [
  ['a number', 5, '\n', 'ERR_INVALID_ARG_TYPE', /payload must be a string, a Uint8Array or an array of those, not 5/],
  ['null', null, '\n', 'ERR_INVALID_ARG_TYPE', /payload must be .*null/],
  ['an ArrayBuffer', new ArrayBuffer(4), '\n', 'ERR_INVALID_ARG_TYPE', /payload must be .*ArrayBuffer/],
  ['a list with a number', ['a', 5], { length: 'uint8' }, 'ERR_INVALID_ARG_TYPE', /payload\[1\] must be .*5/],
  ['a list in a list', [['a']], { length: 'uint8' }, 'ERR_INVALID_ARG_TYPE', /payload\[0\] must be/],
  ['a framing by frameLength', 'a', { frameLength: () => 1 }, 'ERR_INVALID_ARG_VALUE', /frameLength/],
  ['a framing of another type', 'a', 7, 'ERR_INVALID_ARG_TYPE', /framing must be .*7/],
  ['an empty framing', 'a', {}, 'ERR_INVALID_ARG_TYPE', /framing must be/],
];

for (const [name, payload, framing, code, message] of WRONG) {
  test(`writeframe refuses with a TypeError that names the argument: ${name}`, async (t) => {
    const { transport, writer } = make();
    const call = (): unknown => writer.writeframe(payload as Payload, framing as Framing);
    t.throws(call, { instanceOf: TypeError, code, message });
    t.is(writer.bytesWritten, 0);
    await turns();
    t.deepEqual(transport.calls, []);
    writer.close();
    t.throws(call, { code }, 'also after close');
  });
}

test('writeframe after close, abort and writeEof rejects as write does', async (t) => {
  const ends = {
    close: (stream: Stream) => void stream.close(),
    abort: (stream: Stream) => stream.abort(),
    writeEof: (stream: Stream) => void stream.writeEof(),
  };
  for (const [name, end] of Object.entries(ends)) {
    const [stream] = await pair(t);
    end(stream);
    const written = await t.throwsAsync(Promise.resolve(stream.write('x')), undefined, name);
    const framed = await t.throwsAsync(Promise.resolve(stream.writeframe('x', { length: 'uint8' })), undefined, name);
    t.is((framed as NodeJS.ErrnoException).code, (written as NodeJS.ErrnoException).code);
    t.is(framed?.constructor, written?.constructor);
    t.is(framed?.message, written?.message.replace('write:', 'writeframe:'));
    t.is(stream.bytesWritten, 0);
  }
});

test('a writeframe that is refused or lost need not be awaited: no rejection is unhandled', async (t) => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  const [stream] = await pair(t);
  stream.writeframe('x'.repeat(1_000_000));
  stream.writeframe(Buffer.alloc(8_000_000), { length: 'uint32be' });
  stream.writeEof();
  stream.writeframe('x');
  stream.abort();
  stream.writeframe('x', { length: 'uint8' });
  stream.writeframe(Buffer.alloc(8_000_000), { length: 'uint32be' });
  await turns(5);
  t.deepEqual(unhandled, []);
});

test('writeframe applies back-pressure as write does', async (t) => {
  const { transport, writer } = make(true);
  const framing: LengthFraming = { length: 'uint16be' };
  t.is(writer.writeframe('x', framing), writer.drain(), 'one resolved promise while there is room');
  let full: Promise<void> | null = null;
  while (writer.writeBufferSize <= 65536) full = writer.writeframe('x'.repeat(1000), framing);
  let settled = false;
  void full?.then(() => (settled = true));
  await turns();
  t.false(settled);
  transport.unclog();
  await full;
});
