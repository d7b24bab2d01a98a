/** Every framing in docs/framings.md splits real bytes of its protocol and writes them back; and those of other libraries. */
// Runs once for each engine: how the bytes get into a reader is no matter here.
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { StreamReader, StreamServer, connect, type CustomFraming, type Framing, type LengthFraming } from 'sluice';
import { sameBytes } from '../bytes.js';
import { Guide, folder, Workplace } from '../documents.js';
import { root } from '../program.js';
import { REDIS_REPLICATION, protocolFrames } from '../protocol-bytes.js';

const DOCUMENT = 'docs/framings.md';
const guide = new Guide(DOCUMENT);

/** The framings in the tables of the document, by protocol. */
async function lengthFramings(): Promise<Map<string, LengthFraming>> {
  const text = await readFile(path.join(root, DOCUMENT), 'utf8');
  const rows = text.matchAll(/^\| (.+?) +\| `(\{ length: [^`]+\})` +\|/gm);
  return new Map(
    Array.from(rows, ([, protocol, code]) => {
      return [protocol!, { ...(runInNewContext(`(${code!})`) as LengthFraming) }];
    }),
  );
}

/** The rows whose framing is a function: the protocol, the name of the framing and its program. */
async function customFramings(): Promise<{ protocol: string; name: string; file: string }[]> {
  const text = await readFile(path.join(root, DOCUMENT), 'utf8');
  const rows = text.matchAll(/^\| (.+?) +\| `(\w+)` in `([\w-]+\.ts)` +\|/gm);
  return Array.from(rows, ([, protocol, name, file]) => ({ protocol: protocol!, name: name!, file: file! }));
}

/** All frames of a reader that is fed `bytes` in pieces of `size`. */
async function cut(bytes: Buffer, size: number, framing: Framing, by: 'readframes' | 'readframe'): Promise<Buffer[]> {
  const reader = new StreamReader({ limit: 1024 * 1024 });
  const frames: Buffer[] = [];
  const done = (async () => {
    for (;;) {
      if (by === 'readframe') {
        const frame = await reader.readframe(framing);
        if (frame === null) return;
        frames.push(frame);
      } else {
        const found = await reader.readframes(framing);
        if (found.length === 0) return;
        for (const frame of found) frames.push(Buffer.from(frame));
      }
    }
  })();
  for (let at = 0; at < bytes.length; at += size) {
    reader.feedData(bytes.subarray(at, at + size));
    await Promise.resolve();
  }
  reader.feedEof();
  await done;
  return frames;
}

/** The bytes of the length field at the start of `bytes`. */
function fieldBytes(framing: LengthFraming, bytes: Uint8Array): number {
  if (framing.length !== 'varint') return Number(/\d+/.exec(framing.length)![0]) / 8;
  return bytes.findIndex((byte) => byte < 0x80) + 1;
}

test('each framing of the document cuts the bytes of its protocol, whole and byte by byte', async (t) => {
  const bytes = await protocolFrames();
  const framings = new Map<string, Framing>(await lengthFramings());
  const work = await workplace(t);
  for (const { protocol, name, file } of await customFramings()) {
    framings.set(protocol, ((await work.load(file)) as Record<string, CustomFraming>)[name]!);
  }
  t.deepEqual([...framings.keys()].sort(), Object.keys(bytes).sort(), 'every row has bytes, and all bytes have a row');
  for (const [protocol, framing] of framings) {
    const frames = bytes[protocol]!;
    t.true(frames.length > 1, protocol);
    const all = Buffer.concat(frames);
    for (const by of ['readframes', 'readframe'] as const) {
      for (const size of [all.length, 1, 7]) {
        sameBytes(t, await cut(all, size, framing, by), frames, `${protocol}: ${by}, ${size} bytes at a time`);
      }
    }
  }
});

test('skip: the header of each framing is left out', async (t) => {
  const bytes = await protocolFrames();
  for (const [protocol, framing] of await lengthFramings()) {
    const { offset = 0 } = framing;
    const bodies = bytes[protocol]!.map((frame) =>
      frame.subarray(offset + fieldBytes(framing, frame.subarray(offset))),
    );
    const skipping: LengthFraming = { ...framing, skip: 'header' };
    for (const by of ['readframes', 'readframe'] as const) {
      sameBytes(t, await cut(Buffer.concat(bytes[protocol]!), 11, skipping, by), bodies, protocol);
    }
  }
});

test('writeframe gives back the bytes that were read', async (t) => {
  const bytes = await protocolFrames();
  for (const [protocol, framing] of await lengthFramings()) {
    const { offset = 0 } = framing;
    const server = new StreamServer(
      async (stream) => {
        for await (const frame of stream.frames(framing)) {
          const field = fieldBytes(framing, frame.subarray(offset));
          await stream.writeframe([frame.subarray(0, offset), frame.subarray(offset + field)], framing);
        }
      },
      '127.0.0.1',
      0,
    );
    await server.startServing();
    const stream = await connect('127.0.0.1', (server.sockets[0]!.address() as { port: number }).port);
    const all = Buffer.concat(bytes[protocol]!);
    for (let at = 0; at < all.length; at += 1000) await stream.write(all.subarray(at, at + 1000));
    await stream.writeEof();
    t.is((await stream.read()).toString('hex'), all.toString('hex'), protocol);
    await stream.close();
    await server.close();
  }
});

guide.test(
  'ber.ts',
  'BER: tags and lengths that are not supported are refused, and nothing is consumed',
  async (t, work) => {
    const { BER } = (await work.load('ber.ts')) as { BER: CustomFraming };
    for (const [hex, message] of [
      ['3080', 'BER: length of 0 bytes'],
      ['3085', 'BER: length of 5 bytes'],
      ['1f01', 'BER: tags of more than one byte are not supported'],
    ] as const) {
      const reader = new StreamReader();
      reader.feedData(Buffer.from(hex, 'hex'));
      await t.throwsAsync(reader.readframe(BER), { message });
      t.is(reader.buffered, 2);
    }
  },
);

guide.test('zmtp.ts', 'ZMTP: a frame over the limit is refused when its length is there', async (t, work) => {
  const { ZMTP } = (await work.load('zmtp.ts')) as { ZMTP: CustomFraming };
  const reader = new StreamReader();
  reader.feedData(Buffer.from('020000000000200000', 'hex'));
  const error = await t.throwsAsync(reader.readframe(ZMTP), { code: 'ERR_LIMIT_OVERRUN' });
  t.is((error as unknown as { consumed: number }).consumed, 9 + 0x200000);
});

guide.test(
  'replica.ts',
  'a snapshot of Redis is read to its end, and the commands after it are left',
  async (t, work) => {
    const { readSnapshot } = (await work.load('replica.ts')) as {
      readSnapshot(stream: StreamReader, save: (chunk: Buffer) => Promise<void>): Promise<string>;
    };
    const { reply, snapshot, commands } = REDIS_REPLICATION;
    const all = Buffer.concat([Buffer.from(reply.toString().replace('$', '\n\n$')), snapshot, commands]);
    for (const size of [all.length, 1, 50]) {
      const reader = new StreamReader();
      const chunks: Buffer[] = [];
      const done = readSnapshot(reader, (chunk) => {
        chunks.push(chunk);
        return Promise.resolve();
      });
      for (let at = 0; at < all.length; at += size) {
        reader.feedData(all.subarray(at, at + size));
        await new Promise(setImmediate);
      }
      t.is(await done, '546f5c0a74407d3a120d1555bae45f77cd3d6dbf 0');
      sameBytes(t, Buffer.concat(chunks), snapshot);
      reader.feedEof();
      sameBytes(t, await reader.read(), commands);
    }

    const ended = new StreamReader();
    ended.feedData('+FULLRESYNC a 0\r\n\n');
    ended.feedEof();
    await t.throwsAsync(
      readSnapshot(ended, () => Promise.resolve()),
      { code: 'ERR_INCOMPLETE_READ' },
    );
  },
);

guide.testWhole();

// ------------------------------------------------------------------------------------------------ coming from other libraries

test('coming from other libraries: every framing on the page is one that a reader accepts', async (t) => {
  const text = await readFile(path.join(root, 'docs/coming-from-other-libraries.md'), 'utf8');
  const found = [...text.matchAll(/\{ (?:length: '|size: )[^}]*\}/g)].map(([code]) =>
    code.replace('size: n', 'size: 5'),
  );
  t.true(found.length > 10);
  for (const code of found) {
    const framing = { ...(runInNewContext(`(${code})`) as LengthFraming) };
    t.is(new StreamReader().tryReadframe(framing), undefined, code);
  }
});

/** A frame in hexadecimal, with the text of Netty's and tokio's own examples. */
function example(before: string, after = ''): Buffer {
  return Buffer.from(`${before}${Buffer.from('HELLO, WORLD').toString('hex')}${after}`, 'hex');
}

test('coming from Netty: its numbers in its own examples give the frames that it documents', async (t) => {
  const TYPES = { 1: 'uint8', 2: 'uint16be', 3: 'uint24be' } as const;
  for (const [offset, width, adjust, skip, bytes, expected] of [
    [0, 2, 0, 0, example('000c'), example('000c')],
    [0, 2, 0, 2, example('000c'), example('')],
    [0, 2, -2, 0, example('000e'), example('000e')],
    [2, 3, 0, 0, example('cafe00000c'), example('cafe00000c')],
    [0, 3, 2, 0, example('00000ccafe'), example('00000ccafe')],
    [1, 2, 1, 3, example('ca000cfe'), example('fe')],
    [1, 2, -3, 3, example('ca0010fe'), example('fe')],
  ] as const) {
    const framing: LengthFraming = { length: TYPES[width], offset, adjust, skip };
    sameBytes(t, await cut(Buffer.concat([bytes, bytes]), 5, framing, 'readframe'), [expected, expected]);
  }
});

test('coming from tokio-util: num_skip and length_adjustment give its frames', async (t) => {
  const TYPES = { 1: 'uint8', 2: 'uint16be', 3: 'uint24be' } as const;
  for (const [offset, width, adjustment, numSkip, bytes, expected] of [
    [0, 2, 0, undefined, example('000c'), example('')],
    [0, 2, 2, 0, example('000c'), example('000c')],
    [0, 2, -2, undefined, example('000e'), example('')],
    [2, 3, 2 + 3, 0, example('cafe00000c'), example('cafe00000c')],
    [1, 2, 1, undefined, example('ca000cfe'), example('fe')],
    [1, 2, -3, undefined, example('ca0010fe'), example('fe')],
    [0, 3, 0, 3 + 2, example('00000ccafe'), example('')],
  ] as const) {
    const header = offset + width;
    const framing: LengthFraming =
      numSkip === undefined
        ? { length: TYPES[width], offset, adjust: adjustment, skip: 'header' }
        : { length: TYPES[width], offset, adjust: adjustment + numSkip - header, skip: numSkip };
    sameBytes(t, await cut(Buffer.concat([bytes, bytes]), 5, framing, 'readframe'), [expected, expected]);
  }
});

async function workplace(t: Parameters<typeof folder>[0]): Promise<Workplace> {
  return new Workplace(t, await folder(t, 'framings-all'), await guide.programs());
}
