// Runs once for each way of reading: the engine makes no difference to streams.
/** Bytes that a peer sent before it went away are read, even if a write of ours is the first call to fail. */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect as netConnect, type NetConnectOpts, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  StreamServer,
  UnixStreamServer,
  connect,
  connectReadPipe,
  connectUnix,
  connectWritePipe,
  type ConnectionError,
  type Stream,
} from 'sluice';
import { sameBytes } from '../bytes.js';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { DepartingPeer } from './departing-peer.js';
import type { Kind, Place } from './departing-thread.js';
import { portOf } from '../loopback.js';

type Side = 'a client' | 'a handler';

/** Small, so that back-pressure pauses reading early. */
const LIMIT = 1000;

/** A stream to a peer in another thread. */
async function streamTo(t: ExecutionContext, kind: Kind, side: Side): Promise<[Stream, DepartingPeer]> {
  const file = unixPath(t);
  const peer = new DepartingPeer(t);
  const stream =
    side === 'a client' ? await dialled(kind, await peer.listen(kind, file)) : await accepted(t, kind, file, peer);
  t.teardown(() => stream.abort());
  return [stream, peer];
}

async function dialled(kind: Kind, place: Place): Promise<Stream> {
  if ('path' in place) return connectUnix(place.path, { limit: LIMIT });
  const { ca } = await certificates();
  return connect(place.host, place.port, { limit: LIMIT, ssl: kind === 'tls' ? { ca } : undefined });
}

async function accepted(t: ExecutionContext, kind: Kind, file: string, peer: DepartingPeer): Promise<Stream> {
  const { server: identity } = await certificates();
  let arrived!: (stream: Stream) => void;
  const arrival = new Promise<Stream>((resolve) => (arrived = resolve));
  const options = { limit: LIMIT, ssl: kind === 'tls' ? identity : undefined };
  const server =
    kind === 'unix' ? new UnixStreamServer(arrived, file, options) : new StreamServer(arrived, '127.0.0.1', 0, options);
  t.teardown(() => server.abort());
  await server.startServing();
  const place = server instanceof UnixStreamServer ? { path: file } : { host: '127.0.0.1', port: portOf(server) };
  const [stream] = await Promise.all([arrival, peer.connect(kind, place)]);
  return stream;
}

/** Resolves when the kernel has the bytes, after encryption with TLS. */
async function sent(stream: Stream, text: string): Promise<void> {
  await stream.write(text);
  await stream.flush();
  await turn();
}

/** Writes until a write fails; resolves with the code of its error. */
async function writeUntilRefused(stream: Stream): Promise<string> {
  for (;;) {
    try {
      await stream.write('more');
      await stream.drain();
      await turn();
    } catch (error) {
      return (error as ConnectionError).code;
    }
  }
}

/** Everything up to the end, and the code of the error at the end; null at EOF. */
async function readAll(stream: Stream): Promise<[Buffer, string | null]> {
  const chunks: Buffer[] = [];
  try {
    for (let chunk; (chunk = await stream.read(65536)).length > 0;) chunks.push(chunk);
    return [Buffer.concat(chunks), null];
  } catch (error) {
    return [Buffer.concat(chunks), (error as ConnectionError).code];
  }
}

/** Streams over a socket that the user has connected. */
const OVER_SOCKETS: readonly [string, (socket: Socket) => Promise<{ reading: Stream; writing: Stream }>][] = [
  [
    'connect({ sock })',
    async (sock) => {
      const stream = await connect({ sock, limit: LIMIT });
      return { reading: stream, writing: stream };
    },
  ],
  [
    'a read pipe and a write pipe over one socket',
    async (socket) => ({
      reading: await connectReadPipe(socket, { limit: LIMIT }),
      writing: await connectWritePipe(socket),
    }),
  ],
];

for (const [name, over] of OVER_SOCKETS) {
  test(`${name}: bytes before a reset are read although the next write fails first`, async (t) => {
    const peer = new DepartingPeer(t);
    const socket = netConnect((await peer.listen('tcp', '')) as NetConnectOpts);
    await once(socket, 'connect');
    const { reading, writing } = await over(socket);
    t.teardown(() => Promise.all([reading.abort(), writing.abort()]));
    const words = randomBytes(2016);
    void writing.write(Buffer.alloc(200_000));
    peer.departNow({ read: 10, words, by: 'reset' });
    void writing.write('one write more');
    const [received, code] = await readAll(reading);
    sameBytes(t, received, words);
    t.regex(code ?? 'EOF', /^(EPIPE|ECONNRESET)$/);
  });
}

for (const kind of ['tcp', 'unix', 'tls'] as const) {
  for (const side of ['a client', 'a handler'] as const) {
    const where = `${kind}, ${side}`;

    test(`${where}: bytes before an orderly end are read although the next write fails first`, async (t) => {
      const [stream, peer] = await streamTo(t, kind, side);
      const words = randomBytes(2016);
      await sent(stream, '0123456789');
      peer.departNow({ read: 10, words, by: 'end' });
      void stream.write('one write more');
      sameBytes(t, await readAll(stream), [words, null]);
      t.regex(await writeUntilRefused(stream), /^(EPIPE|ECONNRESET)$/);
    });

    test(`${where}: bytes before a reset are read although the next write fails first`, async (t) => {
      const [stream, peer] = await streamTo(t, kind, side);
      const words = randomBytes(2016);
      await sent(stream, '0123456789');
      void stream.write(Buffer.alloc(200_000));
      peer.departNow({ read: 10, words, by: 'reset' });
      void stream.write('one write more');
      const [received, code] = await readAll(stream);
      sameBytes(t, received, words);
      t.regex(code ?? 'EOF', /^(EPIPE|ECONNRESET)$/);
      await t.throwsAsync(stream.write('after the loss'), { code: code as string });
    });

    test(`${where}: bytes that back-pressure left in the kernel are read although the next write fails first`, async (t) => {
      const [stream, peer] = await streamTo(t, kind, side);
      const [first, words] = [randomBytes(8000), randomBytes(30_000)];
      await sent(stream, '0123456789');
      await peer.say(first);
      while (stream.buffered < first.length) await turn();
      peer.departNow({ read: 10, words, by: 'end' });
      t.regex(await writeUntilRefused(stream), /^(EPIPE|ECONNRESET)$/);
      sameBytes(t, await readAll(stream), [Buffer.concat([first, words]), null]);
    });
  }
}

test('if the runtime does not show the descriptor, the loss is reported after the bytes that were already read', async (t) => {
  const [stream, peer] = await streamTo(t, 'tcp', 'a client');
  const { _handle: handle } = stream.getExtraInfo('socket') as { _handle: object };
  Object.defineProperty(handle, 'fd', { value: -1 });
  await sent(stream, '0123456789');
  await peer.say(Buffer.from('read before'));
  while (stream.buffered === 0) await turn();
  void stream.write(Buffer.alloc(200_000));
  peer.departNow({ read: 10, words: randomBytes(2016), by: 'reset' });
  void stream.write('one write more');
  const [received, code] = await readAll(stream);
  t.is(String(received.subarray(0, 11)), 'read before');
  t.regex(code ?? 'EOF', /^(EPIPE|ECONNRESET)$/);
});
