/** How bytes over TLS come in: into memory that is reused, or by `'data'` events, with the same results. */
// Runs once: each test selects how TLS is read.
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import type { TlsTransport } from '#ts/tls/transport.js';
import { forbidDirectReads } from '#ts/transports/direct-reads.js';
import { readDecrypted } from '#ts/transports/node-internals.js';
import { SocketTransport } from '#ts/transports/socket.js';
import { sameBytes } from '../bytes.js';
import { certificates, secured } from '../certificates.js';
import { RecordingSink, turns, written } from '../transport-contract.js';

/** Of the runtimes, only Node decrypts in the handle of a socket; the library detects that by the properties of the handle. */
const shortened = process.versions['bun'] === undefined && process.versions['deno'] === undefined;

const RECORD_BYTES = 16384;

async function pair(t: ExecutionContext): Promise<{ client: TlsTransport; served: TlsTransport }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = await SocketTransport.connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  const both = await secured(client, SocketTransport.accepted((await accepted)[0]));
  server.close();
  t.teardown(() => {
    both.client.abort();
    both.served.abort();
  });
  return both;
}

const socketOf = (transport: TlsTransport): TLSSocket => transport.getExtraInfo('sslObject') as TLSSocket;

/** A sink that also records the memory of each chunk. */
class MemorySink extends RecordingSink {
  readonly memories = new Set<ArrayBufferLike>();

  override feed(chunk: Uint8Array): boolean {
    this.memories.add(chunk.buffer);
    return super.feed(chunk);
  }
}

/** Bytes in which each part is different. */
function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let i = 0; i + 4 <= length; i += 4) bytes.writeUInt32LE(i, i);
  return bytes;
}

for (const reads of ['direct', 'data'] as const) {
  /** Runs one after the other: which way is used depends on a setting of the whole process. */
  const each = (title: string, body: (t: ExecutionContext) => Promise<void>): void => {
    test.serial(`${reads}: ${title}`, async (t) => {
      const before = forbidDirectReads(reads === 'data');
      try {
        await body(t);
      } finally {
        forbidDirectReads(before);
      }
    });
  };

  each('which way is used', async (t) => {
    const { client, served } = await pair(t);
    const expected = reads === 'direct' && shortened ? 'direct' : 'data';
    t.is(client.readPath, expected);
    t.is(served.readPath, expected);
  });

  each('records of every size arrive unchanged, in the memory of the thread only if reads are direct', async (t) => {
    const { client, served } = await pair(t);
    const sink = new MemorySink();
    served.start(sink);
    client.start(new RecordingSink());
    const sent: Buffer[] = [];
    for (const size of [1, 2, RECORD_BYTES - 1, RECORD_BYTES, RECORD_BYTES + 1, 7, 3 * RECORD_BYTES, 100_000]) {
      const bytes = pattern(size);
      sent.push(bytes);
      await written(client, bytes);
      const total = Buffer.concat(sent).length;
      await sink.until(() => sink.bytes === total);
    }
    sameBytes(t, sink.data, Buffer.concat(sent));
    if (served.readPath === 'direct') t.is(sink.memories.size, 1);
    else t.true(sink.memories.size > 1);
  });

  each(
    'after false nothing is delivered, and what was decrypted meanwhile comes first after resumeReading',
    async (t) => {
      const { client, served } = await pair(t);
      const sink = new RecordingSink();
      sink.goOn = false;
      served.start(sink);
      client.start(new RecordingSink());
      const bytes = pattern(8 * RECORD_BYTES);
      await written(client, bytes);
      await sink.until(() => sink.reads === 1);
      await turns();
      t.is(sink.reads, 1);
      t.true(socketOf(served).readableLength > 0, 'Node reads on, so that it sees how the connection ends');
      sink.goOn = true;
      served.resumeReading();
      await written(client, 'the rest');
      await sink.until(() => sink.bytes === bytes.length + 8);
      sameBytes(t, sink.data, Buffer.concat([bytes, Buffer.from('the rest')]));
    },
  );

  each('a reader that stops for a turn after each chunk gets every byte once', async (t) => {
    const { client, served } = await pair(t);
    const sink = new RecordingSink();
    sink.onBytes = () => {
      served.pauseReading();
      setImmediate(() => {
        served.resumeReading();
      });
    };
    served.start(sink);
    client.start(new RecordingSink());
    const bytes = pattern(64 * RECORD_BYTES + 123);
    await written(client, bytes);
    await sink.until(() => sink.bytes === bytes.length);
    sameBytes(t, sink.data, bytes);
  });

  each('connections that share memory do not mix their bytes', async (t) => {
    const pairs = await Promise.all([pair(t), pair(t), pair(t)]);
    const sinks = pairs.map(({ client, served }) => {
      const sink = new RecordingSink();
      served.start(sink);
      client.start(new RecordingSink());
      return sink;
    });
    // The second one does not read until the others have everything.
    pairs[1].served.pauseReading();
    const bytes = pairs.map((_, i) => Buffer.alloc(20 * RECORD_BYTES, 97 + i));
    const all = Promise.all(pairs.map(({ client }, i) => written(client, bytes[i]!)));
    await Promise.all([0, 2].map((i) => sinks[i]!.until(() => sinks[i]!.bytes === bytes[i]!.length)));
    t.is(sinks[1]!.bytes, 0);
    pairs[1].served.resumeReading();
    await all;
    await sinks[1]!.until(() => sinks[1]!.bytes === bytes[1]!.length);
    for (const [i, sink] of sinks.entries()) sameBytes(t, sink.data, bytes[i]);
  });

  each('bytes before start are delivered first', async (t) => {
    const { client, served } = await pair(t);
    client.start(new RecordingSink());
    await written(client, 'early ');
    await turns();
    const sink = new RecordingSink();
    served.start(sink);
    await written(client, 'late');
    await sink.until(() => sink.bytes === 10);
    t.is(sink.text, 'early late');
  });

  each('bytes and the end before start are both reported', async (t) => {
    const { client, served } = await pair(t);
    client.start(new RecordingSink());
    await written(client, pattern(RECORD_BYTES));
    client.close();
    await turns();
    const sink = new RecordingSink();
    served.start(sink);
    await sink.until(() => sink.eofs === 1);
    sameBytes(t, sink.data, pattern(RECORD_BYTES));
  });

  each('after putBack, nothing is delivered until the next start, which delivers the rest first', async (t) => {
    const { client, served } = await pair(t);
    const first = new RecordingSink();
    first.goOn = false;
    first.onBytes = () => {
      served.putBack(first.data.subarray(4));
    };
    served.start(first);
    client.start(new RecordingSink());
    await written(client, 'headbody');
    await first.until(() => first.bytes === 8);
    await written(client, ', more');
    await turns();
    const second = new RecordingSink();
    served.start(second);
    await second.until(() => second.bytes === 10);
    t.is(second.text, 'body, more');
    t.is(first.bytes, 8);
  });

  each('a socket that was detached is an ordinary TLSSocket', async (t) => {
    const { client, served } = await pair(t);
    const sink = new RecordingSink();
    served.start(sink);
    client.start(new RecordingSink());
    await written(client, 'ours');
    await sink.until(() => sink.bytes === 4);
    served.pauseReading();
    const socket = served.detach(Buffer.from('unread, '));
    served.forget();
    let text = '';
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
    socket.resume();
    await written(client, 'theirs');
    while (text.length < 14) await turns(1);
    t.is(text, 'unread, theirs');
    socket.pause();
    await written(client, 'later');
    await turns();
    t.is(text, 'unread, theirs');
    socket.resume();
    while (text.length < 19) await turns(1);
    t.is(text, 'unread, theirslater');
    t.is(sink.bytes, 4);
    socket.destroy();
  });
}

/** A TLS socket of Node, connected. */
async function nodeSocket(t: ExecutionContext): Promise<{ socket: TLSSocket; peer: TLSSocket }> {
  const { ca, server: identity } = await certificates();
  const server = tls.createServer({ ...identity }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const secure = once(server, 'secureConnection') as Promise<[TLSSocket]>;
  const socket = tls.connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', ca });
  await once(socket, 'secureConnect');
  const [peer] = await secure;
  t.teardown(() => {
    socket.destroy();
    peer.destroy();
    server.close();
  });
  return { socket, peer };
}

test.serial('readDecrypted replaces the reads of a TLS socket once', async (t) => {
  const { socket, peer } = await nodeSocket(t);
  const memory = Buffer.alloc(RECORD_BYTES);
  let text = '';
  const callback = (count: number): boolean => {
    text += memory.toString('latin1', 0, count);
    return true;
  };
  t.is(readDecrypted(socket, memory, callback), shortened);
  t.false(
    readDecrypted(socket, memory, () => t.fail('the second callback is called')),
    'it has one already, or the runtime does not allow it',
  );
  if (!shortened) return;
  socket.on('data', () => t.fail('the bytes go to the callback'));
  peer.write('hello');
  while (text !== 'hello') await turns(1);
  t.pass();
});

test.serial('readDecrypted leaves a socket unchanged whose handle is different', async (t) => {
  for (const name of ['useUserBuffer', 'readStart', 'readStop', 'receive', '_externalStream']) {
    const { socket, peer } = await nodeSocket(t);
    const handle = Reflect.get(socket, '_handle') as object;
    Object.defineProperty(handle, name, { value: undefined, configurable: true });
    t.false(
      readDecrypted(socket, Buffer.alloc(RECORD_BYTES), () => t.fail('the callback is called')),
      name,
    );
    Reflect.deleteProperty(handle, name);
    peer.write('hello');
    const [chunk] = (await once(socket, 'data')) as [Buffer];
    t.is(chunk.toString(), 'hello');
  }
});

test.serial('readDecrypted refuses a socket without TLS, and one that was destroyed', async (t) => {
  const { socket } = await nodeSocket(t);
  const plain = net.connect({ port: socket.remotePort!, host: '127.0.0.1' });
  await once(plain, 'connect');
  const memory = Buffer.alloc(RECORD_BYTES);
  t.false(readDecrypted(plain, memory, () => true));
  plain.destroy();
  socket.destroy();
  t.false(readDecrypted(socket, memory, () => true));
});
