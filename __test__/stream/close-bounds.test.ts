// Runs once: it is about outgoing data; incoming data is dropped.
/**
 * How long close may take. While bytes are being sent, a peer that keeps taking some has as long as it needs; once the
 * kernel has everything, close waits about a second for a peer that neither reads nor ends.
 */
import { Buffer } from 'node:buffer';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, connect as dialPlain, type AddressInfo, type Socket } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import tls from 'node:tls';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import {
  StreamServer,
  UnixStreamServer,
  connect,
  connectUnix,
  connectWritePipe,
  engine,
  type ClientHandler,
  type ConnectOptions,
  type Stream,
  type StreamServerOptions,
} from 'sluice';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { closedByPeer, deferred, gather, portOf, quiet, until } from '../loopback.js';

type Kind = 'tcp' | 'unix' | 'tls' | 'startTls';
const KINDS: readonly Kind[] = ['tcp', 'unix', 'tls', 'startTls'];

/** More than the kernel accepts for a peer that does not read. */
const MUCH = 20_000_000;

/** How much a slow peer reads at once: part of what the kernel holds, and quick to read compared with the timeout. */
const SLOWLY = 2 ** 19;

const BULK = randomBytes(MUCH);

/** Long enough for a close that is bounded by a second, and shorter than the 30 s of a close without that bound. */
const FAR_MS = 20_000;
const STEP_MS = 100;

/** A stream, and a peer made with Node that reads nothing and keeps its side open. */
async function streamAndPeer(
  t: ExecutionContext,
  kind: Kind,
  side: 'client' | 'server',
  options: ConnectOptions & StreamServerOptions = {},
): Promise<[Stream, Socket]> {
  const pair = side === 'client' ? await clientOf(t, kind, options) : await servedOf(t, kind, options);
  const [stream, peer] = pair;
  t.teardown(() => {
    peer.destroy();
    return stream.abort();
  });
  quiet(peer).pause();
  return [stream, peer];
}

async function clientOf(t: ExecutionContext, kind: Kind, options: ConnectOptions): Promise<[Stream, Socket]> {
  const { ca, server: identity } = await certificates();
  const accepted = deferred<Socket>();
  const secure = { ...identity, allowHalfOpen: true } as tls.TlsOptions;
  const server =
    kind === 'tls'
      ? tls.createServer(secure, accepted.resolve)
      : createServer({ allowHalfOpen: true, pauseOnConnect: true }, accepted.resolve);
  t.teardown(() => server.close());
  if (kind === 'unix') {
    const file = unixPath(t);
    await once(server.listen(file), 'listening');
    return [await connectUnix(file, options), await accepted.promise];
  }
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const { port } = server.address() as AddressInfo;
  const { sslShutdownTimeout, ...plain } = options;
  const stream = await connect('127.0.0.1', port, kind === 'tls' ? { ...options, ssl: { ca } } : plain);
  const socket = await accepted.promise;
  if (kind !== 'startTls') return [stream, socket];
  const upgraded = new tls.TLSSocket(socket, { ...secure, isServer: true });
  await stream.startTls({ ca }, { sslShutdownTimeout });
  return [stream, upgraded];
}

async function servedOf(t: ExecutionContext, kind: Kind, options: StreamServerOptions): Promise<[Stream, Socket]> {
  const { ca, server: identity } = await certificates();
  const served = deferred<Stream>();
  const { sslShutdownTimeout, ...plain } = options;
  const handler: ClientHandler = async (stream) => {
    if (kind === 'startTls') await stream.startTls(identity, { sslShutdownTimeout });
    served.resolve(stream);
    // The test closes the stream, not the end of the handler.
    await stream.waitClosed().catch(() => {});
  };
  const file = unixPath(t);
  const server =
    kind === 'unix'
      ? new UnixStreamServer(handler, file, plain)
      : new StreamServer(handler, '127.0.0.1', 0, kind === 'tls' ? { ...options, ssl: identity } : plain);
  t.teardown(() => server.abort());
  await server.startServing();
  const place = server instanceof UnixStreamServer ? { path: file } : { host: '127.0.0.1', port: portOf(server) };
  const socket = dialPlain({ ...place, allowHalfOpen: true });
  t.teardown(() => socket.destroy());
  // Before it is connected, because a read that has begun on a named pipe of Windows takes everything.
  if (kind === 'unix') socket.pause();
  if (kind === 'tcp' || kind === 'unix') return [await served.promise, socket];
  const secured = tls.connect({ socket, ca, host: 'localhost', allowHalfOpen: true } as tls.ConnectionOptions);
  await once(secured, 'secureConnect');
  return [await served.promise, secured];
}

/** Fails if `closing` takes as long as a close without the bound. As in a close, a step that comes late counts for no more than its length. */
async function soon(t: ExecutionContext, closing: Promise<unknown>): Promise<void> {
  let closed = false;
  const settled = closing.then(() => (closed = true));
  for (let waited = 0; !closed && waited < FAR_MS; waited += STEP_MS) await Promise.race([settled, delay(STEP_MS)]);
  t.true(closed, 'not yet');
}

for (const kind of KINDS) {
  for (const side of ['client', 'server'] as const) {
    const where = `${kind}, ${side}`;

    test(`${where}: close gives up when the peer takes nothing for closeTimeout`, async (t) => {
      const [stream, peer] = await streamAndPeer(t, kind, side, { closeTimeout: 200 });
      void stream.write(Buffer.alloc(MUCH));
      const flushed = stream.flush();
      const error = await t.throwsAsync(stream.close(), { code: 'ETIMEDOUT' });
      t.regex(error.message, /^close[^:]*(:\d+)?: the peer has accepted nothing for 200 ms/);
      await t.throwsAsync(flushed, { code: 'ETIMEDOUT' });
      await t.throwsAsync(stream.waitClosed(), { code: 'ETIMEDOUT' });
      await closedByPeer(peer);
    });

    // Serial: the peer, which is in this process, needs its turns.
    test.serial(
      `${where}: a peer that reads slowly gets everything although that takes longer than closeTimeout`,
      async (t) => {
        const [stream, peer] = await streamAndPeer(t, kind, side, { closeTimeout: 400 });
        const chunks: Buffer[] = [];
        const ended = deferred();
        let taken = 0;
        let pauses = 0;
        peer.on('data', (chunk: Buffer) => {
          chunks.push(chunk);
          taken += chunk.length;
          if (taken < SLOWLY) return;
          taken = 0;
          pauses++;
          peer.pause();
          setTimeout(() => peer.resume(), 20);
        });
        peer.once('end', ended.resolve);
        peer.resume();
        void stream.write(BULK);
        await stream.close();
        await ended.promise;
        t.true(Buffer.concat(chunks).equals(BULK));
        t.true(pauses * 20 > 400, 'it took longer than the timeout');
      },
    );

    test(`${where}: close with a peer that reads nothing and keeps its side open takes about a second`, async (t) => {
      const [stream, peer] = await streamAndPeer(t, kind, side);
      const sent = randomBytes(100_000);
      await stream.write(sent);
      await soon(t, stream.close());
      t.true((await gather(peer)).equals(sent), 'what the kernel had taken arrives after the close');
    });

    test(`${where}: a slow peer that also sends gets everything if the kernel reports what is unsent`, async (t) => {
      const [stream, peer] = await streamAndPeer(t, kind, side);
      const sent = BULK.subarray(0, 4_000_000);
      const chunks: Buffer[] = [];
      const ended = deferred();
      let taken = 0;
      let total = 0;
      // About 1 MB a second: when the flush is done the kernel still holds most of it, for longer than the second that
      // close waits.
      peer.on('data', (chunk: Buffer) => {
        chunks.push(chunk);
        total += chunk.length;
        taken += chunk.length;
        if (taken < 65536) return;
        taken = 0;
        peer.pause();
        setTimeout(() => peer.resume(), 60);
      });
      peer.once('end', ended.resolve).once('close', ended.resolve);
      peer.resume();
      // Not until the end: what the peer's kernel holds is unknown, and a write to a closed connection would discard
      // it.
      const timer = setInterval(() => total < 1_200_000 && peer.write('ping\n'), 50);
      t.teardown(() => clearInterval(timer));
      void stream.write(sent);
      await stream.close();
      await ended.promise;
      const received = Buffer.concat(chunks);
      if (engine === 'native' && process.platform === 'linux')
        t.true(received.equals(sent), `${received.length} bytes`);
      // Without the system call such a peer gets only a second.
      else t.true(received.equals(sent.subarray(0, received.length)));
    });

    test(`${where}: close with a peer that keeps sending takes about a second`, async (t) => {
      const [stream, peer] = await streamAndPeer(t, kind, side);
      const timer = setInterval(() => peer.write('drip'), 20);
      t.teardown(() => clearInterval(timer));
      peer.resume();
      await stream.write('the end\n');
      await soon(t, stream.close());
    });
  }
}

for (const kind of ['tcp', 'tls'] as const) {
  test(`${kind}: peers that read nothing cannot fill a server: their connections end closeTimeout after the handlers`, async (t) => {
    const { ca, server: identity } = await certificates();
    let handlers = 0;
    const errors: unknown[] = [];
    const server = new StreamServer(
      (stream) => {
        handlers++;
        void stream.write(Buffer.alloc(MUCH));
        return Promise.resolve();
      },
      '127.0.0.1',
      0,
      {
        maxConnections: 4,
        closeTimeout: 200,
        ssl: kind === 'tls' ? identity : undefined,
        onError: (error) => void errors.push((error as { code?: unknown }).code),
      },
    );
    t.teardown(() => server.abort());
    await server.startServing();
    const dial = (): Socket => {
      const port = portOf(server);
      const socket = quiet(
        kind === 'tls' ? tls.connect({ host: '127.0.0.1', port, ca }) : dialPlain({ host: '127.0.0.1', port }),
      );
      t.teardown(() => socket.destroy());
      return socket.pause();
    };
    for (let i = 0; i < 4; i++) dial();
    await until(() => handlers === 4);
    await until(() => inspect(server).includes('clients: 0 '));
    const late = dial();
    await until(() => handlers === 5);
    t.false(late.destroyed);
    t.deepEqual(errors.slice(0, 4), Array(4).fill('ETIMEDOUT'), 'each is reported, once');
  });

  test(`${kind}: server.close with clients that read nothing takes about a second`, async (t) => {
    const { ca, server: identity } = await certificates();
    const served = deferred();
    const server = new StreamServer(
      async (stream) => {
        await stream.write('hello\n');
        served.resolve();
        await stream.readline();
      },
      '127.0.0.1',
      0,
      { ssl: kind === 'tls' ? identity : undefined },
    );
    t.teardown(() => server.abort());
    await server.startServing();
    const to = { host: '127.0.0.1', port: portOf(server), ca, allowHalfOpen: true };
    const socket = quiet(kind === 'tls' ? tls.connect(to) : dialPlain(to)).pause();
    t.teardown(() => socket.destroy());
    await served.promise;
    await soon(t, server.close());
  });
}

test('Duplex: close gives up a peer that takes nothing for closeTimeout, and waits for one that reads slowly', async (t) => {
  const stuck = new Duplex({ read() {}, write() {}, final() {} });
  const stream = await connect({ sock: stuck, closeTimeout: 100 });
  void stream.write('nobody takes it');
  await t.throwsAsync(stream.close(), { code: 'ETIMEDOUT' });
  t.true(stuck.destroyed);

  // One write, of which it takes 64 KiB at a time, in total for longer than the timeout.
  const chunks: Buffer[] = [];
  const slow = new Duplex({
    read() {},
    write(chunk: Buffer, _encoding, taken) {
      chunks.push(chunk);
      setTimeout(taken, 20);
    },
    final(done) {
      this.push(null);
      done();
    },
  });
  const patient = await connect({ sock: slow, closeTimeout: 100 });
  const sent = randomBytes(2_000_000);
  void patient.write(sent);
  await patient.close();
  t.true(Buffer.concat(chunks).equals(sent));
  t.true(chunks.length * 20 > 100, 'it took longer than the timeout');
});

test('a write pipe has no closeTimeout by default', async (t) => {
  const pipe = new PassThrough({ highWaterMark: 10 });
  const stream = await connectWritePipe(pipe);
  const sent = randomBytes(1000);
  void stream.write(sent.subarray(0, 500));
  void stream.write(sent.subarray(500));
  const closing = stream.close();
  t.true((await gather(pipe)).equals(sent));
  await closing;

  const stuck = new PassThrough({ highWaterMark: 10 });
  const given = await connectWritePipe(stuck, { closeTimeout: 50 });
  void given.write(sent.subarray(0, 500));
  void given.write(sent.subarray(500));
  await t.throwsAsync(given.close(), { code: 'ETIMEDOUT' });
});

test('every call with a closeTimeout option checks it', async (t) => {
  for (const [ms, code] of [
    [0, 'ERR_OUT_OF_RANGE'],
    [-1, 'ERR_OUT_OF_RANGE'],
    [NaN, 'ERR_OUT_OF_RANGE'],
    ['5' as never, 'ERR_INVALID_ARG_TYPE'],
  ] as const) {
    const expected = { code, message: /closeTimeout must be a number of milliseconds/ };
    await t.throwsAsync(connect('127.0.0.1', 9, { closeTimeout: ms }), expected);
    await t.throwsAsync(connect({ sock: new PassThrough(), closeTimeout: ms }), expected);
    await t.throwsAsync(connectUnix('/none', { closeTimeout: ms }), expected);
    await t.throwsAsync(connectWritePipe(new PassThrough(), { closeTimeout: ms }), expected);
    t.throws(() => new StreamServer(() => {}, '127.0.0.1', 0, { closeTimeout: ms }), expected);
    t.throws(() => new UnixStreamServer(() => {}, '/none', { closeTimeout: ms }), expected);
  }
});

test('if the runtime does not show what the kernel took, only complete batches count as progress', async (t) => {
  const [stream, peer] = await streamAndPeer(t, 'tcp', 'client', { closeTimeout: 200 });
  const { _handle: handle } = stream.getExtraInfo('socket') as { _handle: object };
  Object.defineProperty(handle, 'writeQueueSize', { value: undefined });
  const sent = randomBytes(100_000);
  await stream.write(sent);
  void stream.write(Buffer.alloc(MUCH));
  await t.throwsAsync(stream.close(), { code: 'ETIMEDOUT' });
  const received: Buffer[] = [];
  peer.on('data', (chunk: Buffer) => received.push(chunk));
  await closedByPeer(peer);
  t.true(Buffer.concat(received).subarray(0, sent.length).equals(sent));
});
