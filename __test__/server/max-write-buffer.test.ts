/* eslint @typescript-eslint/no-floating-promises: off -- a broadcast does not await its writes */
/** The option `maxWriteBuffer` of servers: clients that do not read are cut off and reported, all others lose nothing. */
// Runs once: it is about outgoing data.
import { Buffer } from 'node:buffer';
import { createHash, type Hash } from 'node:crypto';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import {
  type ConnectionError,
  StreamServer,
  UnixStreamServer,
  type ClientHandler,
  type Stream,
  type StreamServerOptions,
} from 'sluice';
import { deferred, gather, turns, until } from '../loopback.js';
import { KINDS, serve, type Kind, type Served } from './servers.js';

const KB = 1024;
const MAX = 200 * KB;

interface Reporting extends Served {
  readonly reports: (readonly [error: ConnectionError, stream: Stream | null])[];
}

async function reporting(
  t: ExecutionContext,
  kind: Kind,
  handler: ClientHandler,
  options: { maxWriteBuffer?: number } = {},
): Promise<Reporting> {
  const reports: (readonly [ConnectionError, Stream | null])[] = [];
  const onError = (error: unknown, stream: Stream | null): void =>
    void reports.push([error as ConnectionError, stream]);
  return { ...(await serve(t, kind, handler, { maxWriteBuffer: MAX, onError, ...options })), reports };
}

/** Writes, without awaiting, until the stream is cut off. Returns the error of the write that was refused. */
async function overfill(stream: Stream): Promise<ConnectionError> {
  let error: ConnectionError | null = null;
  for (let i = 0; error === null; i++) {
    if (i > 5000) throw new Error('everything was accepted');
    stream.write(Buffer.alloc(20 * KB)).catch((reason: unknown) => (error ??= reason as ConnectionError));
    await turn();
  }
  return error;
}

for (const kind of KINDS) {
  test(`a handler that awaits writes of up to half of the max is not cut off, however slowly its peer reads (${kind})`, async (t) => {
    const piece = 2 * KB;
    // More than the kernel holds for a peer that does not read.
    const total = 16 * 1024 * KB;
    const waits = deferred();
    const handler: ClientHandler = async (stream) => {
      for (let sent = 0; sent < total; sent += piece) {
        const written = stream.write(Buffer.alloc(piece));
        // The peer reads only once a write waits.
        if (stream.writeBufferSize > piece) waits.resolve();
        await written;
      }
    };
    const { dial, reports } = await reporting(t, kind, handler, { maxWriteBuffer: 2 * piece });
    const client = await dial();
    client.pause();
    await waits.promise;
    const { length } = await gather(client);
    t.is(length, total);
    t.deepEqual(reports, []);
  });
}

/** What a client has received so far. */
interface Received {
  readonly digest: Hash;
  readonly ended: Promise<unknown>;
  bytes: number;
}

function receive(client: Socket): Received {
  const received: Received = { digest: createHash('sha256'), ended: once(client, 'end'), bytes: 0 };
  client.on('data', (chunk: Buffer) => {
    received.digest.update(chunk);
    received.bytes += chunk.length;
  });
  return received;
}

for (const kind of KINDS) {
  test(`${kind}: a handler whose write overflows is reported once, with the error of the write`, async (t) => {
    const { reports, dial } = await reporting(
      t,
      kind,
      async (stream) => {
        for (;;) {
          const result = stream.write(Buffer.alloc(20 * KB));
          // Awaited before that, the write would wait for the peer, which does not read.
          if (stream.isClosing()) await result;
          await turn();
        }
      },
      { maxWriteBuffer: 30 * KB },
    );
    (await dial()).pause();
    await until(() => reports.length > 0);
    await turns(10);
    t.is(reports.length, 1);
    const [error, stream] = reports[0]!;
    t.like(error, { name: 'ConnectionError', code: 'ERR_WRITE_OVERFLOW' });
    t.is(stream?.exception(), error);
    t.regex(error.message, /^write: 20480 bytes would exceed the max of 30720: \d+ bytes are still waiting to be sent/);
  });

  test(`${kind}: a broadcast from outside the handler is reported once, while the handler waits in a read`, async (t) => {
    const accepted = deferred<Stream>();
    const failed = deferred<unknown>();
    const { reports, dial } = await reporting(t, kind, async (stream) => {
      accepted.resolve(stream);
      try {
        await stream.readline();
      } catch (error) {
        failed.resolve(error);
        throw error;
      }
    });
    (await dial()).pause();
    const stream = await accepted.promise;
    const loss = await overfill(stream);
    const error = (await failed.promise) as ConnectionError;
    t.true(error === loss || error.cause === loss);
    await turns(10);
    t.deepEqual(reports, [[loss, stream]]);
  });

  test(`${kind}: an overflow is reported once if the handler has returned, or ignores it`, async (t) => {
    for (const async of [false, true]) {
      const accepted = deferred<Stream>();
      const settled = deferred();
      const handler: ClientHandler = async (stream) => {
        accepted.resolve(stream);
        await stream.readline().catch(() => {});
        settled.resolve();
      };
      const callback: ClientHandler = (stream) => {
        accepted.resolve(stream);
        settled.resolve();
      };
      const { reports, dial, server } = await reporting(t, kind, async ? handler : callback);
      (await dial()).pause();
      const stream = await accepted.promise;
      const loss = await overfill(stream);
      await settled.promise;
      await until(() => reports.length > 0);
      await turns(10);
      t.deepEqual(reports, [[loss, stream]]);
      await server.close();
      t.is(reports.length, 1);
    }
  });

  test(`${kind}: in a fan-out the clients that do not read are cut off, and all others receive everything`, async (t) => {
    const READING = 20;
    const STALLED = 5;
    const streams = new Set<Stream>();
    const { reports, dial, server } = await reporting(t, kind, async (stream) => {
      streams.add(stream);
      await stream.waitClosed().finally(() => streams.delete(stream));
    });
    const reading: Received[] = [];
    const stalled: Socket[] = [];
    for (let i = 0; i < READING + STALLED; i++) {
      const client = await dial();
      if (i % 5 === 0) stalled.push(client.pause());
      else reading.push(receive(client));
    }
    await until(() => streams.size === READING + STALLED);

    const digest = createHash('sha256');
    let sent = 0;
    let most = 0;
    for (let i = 0; i < 500 || reports.length < STALLED; i++) {
      const message = Buffer.alloc(64 + ((i * 97) % 4096), i);
      digest.update(message);
      sent += message.length;
      for (const stream of streams) stream.write(message);
      let buffered = 0;
      for (const stream of streams) buffered += stream.writeBufferSize;
      most = Math.max(most, buffered);
      // The producer is no faster than the clients that read. It does not wait for the others.
      if (i % 16 === 15) await until(() => reading.every(({ bytes }) => bytes > sent - MAX / 4));
    }
    await until(() => streams.size === READING);
    t.true(most <= (READING + STALLED) * MAX, `${most} bytes were buffered`);
    t.is(reports.length, STALLED);
    for (const [error, stream] of reports) {
      t.is(error.code, 'ERR_WRITE_OVERFLOW');
      t.is(stream?.exception(), error);
      t.is(stream?.writeBufferSize, 0);
    }
    server.closeClients();
    await Promise.all(reading.map(({ ended }) => ended));
    const expected = digest.digest('hex');
    for (const client of reading) t.is(client.digest.digest('hex'), expected);
    for (const client of stalled) client.destroy();
    await server.close();
    t.is(reports.length, STALLED);
  });
}

test('a handler that fails because of the overflow of another stream is reported itself', async (t) => {
  const streams: Stream[] = [];
  const begin = deferred();
  const { reports, dial } = await reporting(t, 'TCP', async (stream) => {
    streams.push(stream);
    if (streams.length === 1) {
      await stream.readline();
      return;
    }
    await begin.promise;
    await streams[0]!.write(Buffer.alloc(MAX + 1));
  });
  await dial();
  await until(() => streams.length === 1);
  await dial();
  await until(() => streams.length === 2);
  begin.resolve();
  await until(() => reports.length === 2);
  await turns(10);
  t.is(reports.length, 2);
  t.deepEqual(new Set(reports.map(([, stream]) => stream)), new Set(streams));
});

test('without onError an overflow is one warning of one line, that names the peer', async (t) => {
  const warnings: string[] = [];
  const warned = (warning: Error & { code?: string }): void => {
    if (warning.code === 'ERR_WRITE_OVERFLOW') warnings.push(warning.message);
  };
  process.on('warning', warned);
  t.teardown(() => process.off('warning', warned));
  const { dial } = await serve(t, 'TCP', (stream) => stream.write(Buffer.alloc(11)), { maxWriteBuffer: 10 });
  await dial();
  await until(() => warnings.length > 0);
  t.is(warnings.length, 1);
  t.regex(
    warnings[0]!,
    /^StreamServer: the connection with 127\.0\.0\.1:\d+ was aborted: write: 11 bytes would exceed the max of 10: 0 bytes .*127\.0\.0\.1:\d+$/,
  );
});

test('maxWriteBuffer is checked by the constructor', (t) => {
  const make = (maxWriteBuffer: unknown): void => {
    new StreamServer(() => {}, '127.0.0.1', 0, { maxWriteBuffer } as StreamServerOptions);
  };
  for (const bad of [0, -1, 1.5, NaN]) {
    const message = /^StreamServer: maxWriteBuffer must be an integer of 1 or more, or Infinity, not /;
    t.throws(() => make(bad), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message });
  }
  t.throws(() => make('1'), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(() => new UnixStreamServer(() => {}, '/nowhere', { maxWriteBuffer: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  for (const good of [1, 65536, Infinity, undefined]) t.notThrows(() => make(good));
});

test('a handler can change the max of its stream', async (t) => {
  const { reports, dial } = await reporting(t, 'TCP', async (stream) => {
    stream.setWriteBufferLimits({ max: Infinity });
    await stream.write(Buffer.alloc(MAX * 10));
  });
  const client = await dial();
  t.is((await gather(client)).length, MAX * 10);
  t.deepEqual(reports, []);
});

test('writes to a connection that is already lost reject with the loss, not with an overflow', async (t) => {
  const codes: unknown[] = [];
  const ready = deferred<Stream>();
  const { dial, reports } = await reporting(t, 'TCP', async (stream) => {
    await stream.readline();
    ready.resolve(stream);
    await new Promise(() => {});
  });
  const socket = await dial();
  socket.write('go\n');
  const stream = await ready.promise;
  // As after a write that has failed: the end is known, and is about to be reported.
  (stream.getExtraInfo('socket') as Socket).destroy(Object.assign(new Error('gone'), { code: 'ECONNRESET' }));
  const writes = Array.from({ length: 100 }, () => stream.write(Buffer.alloc(4000)));
  for (const result of await Promise.allSettled(writes)) {
    if (result.status === 'rejected') codes.push((result.reason as ConnectionError).code);
  }
  t.true(codes.length > 0);
  t.deepEqual([...new Set(codes)], ['ECONNRESET']);
  t.is((stream.exception() as ConnectionError | null)?.code, 'ECONNRESET');
  t.deepEqual(reports, []);
});
