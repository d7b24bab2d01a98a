/** Frames in place and lines as strings over every transport, with real data and pauses. */
import { createHash } from 'node:crypto';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { StreamServer, UnixStreamServer, connect, connectReadPipe, connectUnix, type Stream } from 'sluice';
import { certificates } from '../certificates.js';
import { directory } from '../fifo.js';
import { portOf } from '../loopback.js';
import { seed } from '../seed.js';

const MUCH = 6 * 1024 * 1024;

/** Lines of all lengths, most of them short, some of them not ASCII. */
function lines(first: number): Buffer {
  let state = first;
  const random = (n: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * n);
  };
  const parts: string[] = [];
  for (let bytes = 0; bytes < MUCH;) {
    const length = random(50) === 0 ? random(30_000) : random(100);
    const part = `${(random(9) === 0 ? 'é' : 'x').repeat(length)}${random(3) === 0 ? '\r' : ''}\n`;
    parts.push(part);
    bytes += part.length;
  }
  return Buffer.from(parts.join(''));
}

const digest = (data: Iterable<string | Uint8Array>): string => {
  const hash = createHash('sha256');
  for (const piece of data) hash.update(piece);
  return hash.digest('hex');
};

type Dial = (t: ExecutionContext, data: Buffer) => Promise<Stream>;

async function overTcp(t: ExecutionContext, data: Buffer, encrypted: boolean): Promise<Stream> {
  const tls = encrypted ? await certificates() : null;
  const server = new StreamServer(
    async (stream) => {
      await stream.write(data);
    },
    '127.0.0.1',
    0,
    tls === null ? {} : { ssl: { key: tls.server.key, cert: tls.server.cert } },
  );
  await server.startServing();
  t.teardown(() => server.abort());
  return connect('127.0.0.1', portOf(server), tls === null ? {} : { ssl: { ca: tls.ca }, serverHostname: 'localhost' });
}

const transports: readonly (readonly [string, Dial])[] = [
  ['TCP', (t, data) => overTcp(t, data, false)],
  ['TLS', (t, data) => overTcp(t, data, true)],
  [
    'Unix socket',
    async (t, data) => {
      const file = path.join(directory(t), 'frames.sock');
      const server = new UnixStreamServer(async (stream) => {
        await stream.write(data);
      }, file);
      await server.startServing();
      t.teardown(() => server.abort());
      return connectUnix(file);
    },
  ],
  [
    'pipe',
    (_t, data) => {
      const pipe = new PassThrough();
      pipe.end(data);
      return connectReadPipe(pipe);
    },
  ],
];

for (const [name, dial] of transports) {
  test(`${name}: frames do not change while more data arrives`, async (t) => {
    const data = lines(seed(t));
    await using stream = await dial(t, data);
    const seen: Buffer[] = [];
    let left = 0;
    for (let frames; (frames = await stream.readframes()).length > 0; left++) {
      const copy = Buffer.from(frames.bytes);
      // Turns of the event loop in which the transport continues to read.
      for (let i = left % 4; i > 0; i--) await turn();
      if (!frames.bytes.equals(copy)) t.fail('lent memory has changed');
      t.deepEqual(digest(frames), digest([copy]));
      seen.push(copy);
    }
    t.true(stream.atEof());
    t.is(digest(seen), digest([data]));
  });

  test(`${name}: alternating lines and batches of lines return every line of the data`, async (t) => {
    const data = lines(seed(t));
    await using stream = await dial(t, data);
    const seen: string[] = [];
    while (!stream.atEof()) {
      let n = 0;
      for await (const line of stream.lines({ keepEnds: true })) if (seen.push(line) && ++n === 1000) break;
      for await (const batch of stream.lines({ keepEnds: true }).batches()) {
        for (const line of batch) seen.push(line);
        if (++n > 1005) break;
      }
    }
    t.is(
      seen.length,
      data.reduce((count, byte) => count + (byte === 10 ? 1 : 0), 0),
    );
    t.is(digest(seen), digest([data]));
  });
}
