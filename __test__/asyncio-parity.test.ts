/** Cases from asyncio's own tests that no other file covers: sendfile over TLS, and TLS after EOF. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { Buffer } from 'node:buffer';
import { open, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { connect, StreamServer, type Stream } from 'sluice';
import { certificates } from './certificates.js';
import { directory } from './fifo.js';
import { bytes } from './http.js';
import { deferred, portOf } from './loopback.js';

interface Connected {
  readonly stream: Stream;
  /** The stream at the server's end. */
  readonly peer: Stream;
}

async function connected(t: ExecutionContext): Promise<Connected> {
  const { ca, server: ssl } = await certificates();
  const accepted = deferred<Stream>();
  // A plain handler: the stream stays open.
  const server = new StreamServer((stream) => accepted.resolve(stream), '127.0.0.1', 0, { ssl });
  t.teardown(() => server.abort());
  await server.startServing();
  const stream = await connect('127.0.0.1', portOf(server), { ssl: { ca } });
  t.teardown(() => stream.abort());
  return { stream, peer: await accepted.promise };
}

const DATA = bytes(1_000_003);

async function file(t: ExecutionContext): Promise<string> {
  const name = path.join(directory(t), 'data');
  await writeFile(name, DATA);
  return name;
}

test('sendfile over TLS sends the whole file, and leaves the position of an open one at its end', async (t) => {
  const { stream, peer } = await connected(t);
  await using handle = await open(await file(t));
  const received = peer.readexactly(DATA.length);
  t.is(await stream.sendfile(handle), DATA.length);
  t.true(DATA.equals(await received));
  if (process.platform === 'linux') {
    const { bytesRead } = await handle.read(Buffer.alloc(1), 0, 1, null);
    t.is(bytesRead, 0);
  }
});

/** Reads to EOF and closes; otherwise the close of the other side would wait. */
async function readAndClose(peer: Stream): Promise<Buffer> {
  const received = await peer.read();
  await peer.close();
  return received;
}

test('sendfile over TLS: the file is sent between the writes before and after it', async (t) => {
  const { stream, peer } = await connected(t);
  const received = readAndClose(peer);
  void stream.write('before ');
  const sending = stream.sendfile(await file(t));
  void stream.write(' after');
  t.is(await sending, DATA.length);
  await stream.close();
  t.true(Buffer.concat([Buffer.from('before '), DATA, Buffer.from(' after')]).equals(await received));
});

test('sendfile over TLS: offset and count select a part of the file', async (t) => {
  const { stream, peer } = await connected(t);
  const received = peer.readexactly(100_100);
  const name = await file(t);
  t.is(await stream.sendfile(name, 1000, 100_000), 100_000);
  t.is(await stream.sendfile(name, DATA.length - 100, 1000), 100);
  t.true(Buffer.concat([DATA.subarray(1000, 101_000), DATA.subarray(-100)]).equals(await received));
});

test('sendfile over TLS: the peer may close once it has everything', async (t) => {
  const { stream, peer } = await connected(t);
  const received = peer.readexactly(DATA.length);
  const closed = received.then(() => peer.close());
  t.is(await stream.sendfile(await file(t)), DATA.length);
  t.true(DATA.equals(await received));
  t.is((await stream.read()).length, 0);
  await stream.close();
  await closed;
});

test('sendfile over TLS rejects if the peer aborts', async (t) => {
  const { stream, peer } = await connected(t);
  const name = await file(t);
  await writeFile(name, Buffer.alloc(64 * 1024 * 1024));
  const sending = stream.sendfile(name);
  await peer.readexactly(1024);
  await peer.abort();
  await t.throwsAsync(sending, { name: 'ConnectionError' });
});

test('TLS: after close, getExtraInfo still works, writes reject and reads are at EOF', async (t) => {
  const { stream, peer } = await connected(t);
  const received = readAndClose(peer);
  await stream.close();
  const { name } = stream.getExtraInfo('cipher') as { name: string };
  t.is(typeof name, 'string');
  t.truthy(stream.getExtraInfo('peername'));
  await t.throwsAsync(async () => stream.write('late'), { code: 'ECONNRESET' });
  t.is((await stream.read()).length, 0);
  t.is((await received).length, 0);
});

test('TLS: data that the peer sent before it closed is read, even if this side has just written', async (t) => {
  const { stream, peer } = await connected(t);
  await peer.write(DATA);
  const closed = peer.close();
  void stream.write('is not read by anybody');
  t.true(DATA.equals(await stream.read()));
  await stream.close().catch(() => {});
  await closed;
});
