/** Timeouts of connections over every transport. */
// Runs once for each way of reading: the engine makes no difference to streams.
import test from 'ava';
import { closeSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import tls from 'node:tls';
import {
  StreamMode,
  TimeoutError,
  connect,
  connectReadPipe,
  connectUnix,
  connectWritePipe,
  streampair,
  type Stream,
  type TimeoutOptions,
} from 'sluice';
import { certificates } from '../certificates.js';
import { directory, fifo, unixPath } from '../fifo.js';
import { closedByPeer, dial, listen, listenTls, quiet, streamAndPeer, turns, until } from '../loopback.js';

const LARGE = 32 << 20;

/** A duplex whose peer neither sends nor accepts anything. */
function silentDuplex(): Duplex {
  return new Duplex({ read() {}, write() {} });
}

type Open = (t: Parameters<typeof listen>[0], timeouts: TimeoutOptions) => Promise<Stream>;

/** A stream of each kind whose peer is silent and reads nothing. */
const OPEN: Record<string, Open> = {
  async TCP(t, timeouts) {
    const { stream, peer } = await streamAndPeer(t, timeouts);
    peer.pause();
    return stream;
  },
  async TLS(t, timeouts) {
    const { ca, server } = await certificates();
    const port = await listenTls(t, server, (socket) => socket.pause());
    return connect('127.0.0.1', port, { ...timeouts, ssl: { ca } });
  },
  async 'TCP after startTls'(t, timeouts) {
    const { ca, server } = await certificates();
    const { port } = await listen(t, (socket) => {
      const secured = new tls.TLSSocket(socket, { isServer: true, ...server });
      quiet(secured).pause();
    });
    const stream = await connect('127.0.0.1', port, timeouts);
    await stream.startTls({ ca });
    return stream;
  },
  async Unix(t, timeouts) {
    const file = unixPath(t);
    const server = createServer({ pauseOnConnect: true }, quiet).listen(file);
    await once(server, 'listening');
    t.teardown(() => server.close());
    return connectUnix(file, timeouts);
  },
  async 'net.Socket'(t, timeouts) {
    const { port } = await listen(t, (socket) => socket.pause());
    return connect({ sock: await dial(t, port), ...timeouts });
  },
  memory(t, timeouts) {
    const [stream, peer] = streampair(timeouts);
    peer.setTimeouts({ idleTimeout: Infinity, readTimeout: Infinity, writeTimeout: Infinity });
    peer.transport.pauseReading();
    t.teardown(() => peer.abort());
    return Promise.resolve(stream);
  },
  Duplex: (_, timeouts) => connect({ sock: silentDuplex(), ...timeouts }),
  Readable: (_, timeouts) => connectReadPipe(new PassThrough(), timeouts),
  Writable: (_, timeouts) => connectWritePipe(silentDuplex(), timeouts),
};

if (process.platform !== 'win32') {
  OPEN['FIFO to read'] = (t, timeouts) => {
    const { reader, writer } = fifo(directory(t));
    t.teardown(() => closeSync(writer));
    return connectReadPipe(reader, timeouts);
  };
  OPEN['FIFO to write'] = (t, timeouts) => {
    const { reader, writer } = fifo(directory(t));
    t.teardown(() => closeSync(reader));
    return connectWritePipe(writer, timeouts);
  };
}

for (const [kind, open] of Object.entries(OPEN)) {
  test(`idleTimeout ends a connection without bytes: ${kind}`, async (t) => {
    const stream = await open(t, { idleTimeout: 50 });
    t.teardown(() => stream.abort());
    const error = await t.throwsAsync(stream.waitClosed(), { instanceOf: TimeoutError, code: 'ERR_IDLE_TIMEOUT' });
    t.is(stream.exception(), error);
    if (stream.mode !== StreamMode.WRITE) t.is(await t.throwsAsync(stream.readline()), error);
    if (stream.mode !== StreamMode.READ) {
      await t.throwsAsync(stream.write('x'), { instanceOf: TimeoutError, code: 'ERR_IDLE_TIMEOUT' });
      await t.throwsAsync(stream.drain(), { instanceOf: TimeoutError, code: 'ERR_IDLE_TIMEOUT' });
    }
  });

  if (kind === 'Readable' || kind === 'FIFO to read') continue;
  test(`writeTimeout ends a connection whose peer accepts nothing: ${kind}`, async (t) => {
    const stream = await open(t, { writeTimeout: 100 });
    t.teardown(() => stream.abort());
    const waits = [stream.write(Buffer.alloc(LARGE)), stream.drain(), stream.flush()];
    for (const wait of waits) wait.catch(() => {});
    const error = await t.throwsAsync(stream.waitClosed(), { instanceOf: TimeoutError, code: 'ERR_WRITE_TIMEOUT' });
    t.is(stream.exception(), error);
    for (const wait of waits) await t.throwsAsync(wait, { instanceOf: TimeoutError, code: 'ERR_WRITE_TIMEOUT' });
  });
}

test('a stream without timeouts gets them by setTimeouts', async (t) => {
  for (const open of Object.values(OPEN)) {
    const stream = await open(t, {});
    stream.setTimeouts({ idleTimeout: 20 });
    await t.throwsAsync(stream.waitClosed(), { code: 'ERR_IDLE_TIMEOUT' });
  }
});

test('readTimeout ends a connection of which a part of a line has arrived, which can then be read', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { readTimeout: 100 });
  peer.write('whole\npart');
  t.is((await stream.readline()).toString(), 'whole\n');
  const error = await t.throwsAsync(stream.readline(), { instanceOf: TimeoutError, code: 'ERR_READ_TIMEOUT' });
  t.is((await stream.read(100)).toString(), 'part');
  t.is(await t.throwsAsync(stream.read(100)), error);
});

test('a pipe that drips is cut off by its readTimeout', async (t) => {
  const source = new PassThrough();
  const timer = setInterval(() => source.write('x'), 5);
  t.teardown(() => clearInterval(timer));
  const stream = await connectReadPipe(source, { readTimeout: 100 });
  await t.throwsAsync(stream.readline(), { code: 'ERR_READ_TIMEOUT' });
  t.true(source.destroyed);
});

test('bytes that were held back because nothing read are delivered before an idleTimeout', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { limit: 1000 });
  peer.write(Buffer.alloc(2_000_000, 'a'));
  await until(() => stream.buffered > 2000);
  await turns(20);
  stream.setTimeouts({ idleTimeout: 50 });
  await t.throwsAsync(stream.waitClosed(), { code: 'ERR_IDLE_TIMEOUT' });
  const { bytesRead } = stream;
  let read = 0;
  const error = await t.throwsAsync(async () => {
    for (;;) read += (await stream.read(65536)).length;
  });
  t.is(error, stream.exception()!);
  t.is(read, bytesRead);
});

test('of two streams over one Duplex, one that is cut off leaves the other one open', async (t) => {
  const duplex = new PassThrough();
  const reading = await connectReadPipe(duplex, { idleTimeout: 50 });
  const writing = await connectWritePipe(duplex);
  t.teardown(() => writing.abort());
  const error = await t.throwsAsync(reading.waitClosed(), { instanceOf: TimeoutError, code: 'ERR_IDLE_TIMEOUT' });
  t.is(await t.throwsAsync(reading.read(1)), error);
  t.false(writing.isClosing());
  await writing.write('still open');
});

test('a handshake of startTls is not idle; it has a timeout of its own', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { idleTimeout: 50, readTimeout: 50, writeTimeout: 50 });
  peer.resume();
  const upgrade = stream.startTls(true, { serverHostname: 'localhost', sslHandshakeTimeout: 400 });
  await t.throwsAsync(upgrade, { code: 'ETIMEDOUT' });
  t.false(stream.exception() instanceof TimeoutError);
});

test('after startTls the timeouts apply to the encrypted connection', async (t) => {
  const { ca, server } = await certificates();
  const { port } = await listen(t, (socket) => {
    const secured = quiet(new tls.TLSSocket(socket, { isServer: true, ...server }));
    const timer = setInterval(() => secured.write('x'), 5);
    secured.once('close', () => clearInterval(timer));
    t.teardown(() => clearInterval(timer));
  });
  const stream = await connect('127.0.0.1', port, { readTimeout: 200, idleTimeout: 60_000 });
  await stream.startTls({ ca });
  await t.throwsAsync(stream.readline(), { code: 'ERR_READ_TIMEOUT' });
  t.true(stream.bytesRead > 0);
});

test('a flush that close waits for is bounded by closeTimeout, not by the timeouts of the connection', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { idleTimeout: 50, writeTimeout: 50, closeTimeout: 300 });
  peer.pause();
  void stream.write(Buffer.alloc(LARGE));
  await t.throwsAsync(stream.close(), { code: 'ETIMEDOUT', message: /for 300 ms/ });
});

test('the connection is closed for the peer, too', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { idleTimeout: 50 });
  await closedByPeer(peer);
  await t.throwsAsync(stream.close(), { code: 'ERR_IDLE_TIMEOUT' });
});

test('invalid timeouts are refused by every way of connecting, before anything is opened', async (t) => {
  const { port } = await listen(t);
  for (const name of ['idleTimeout', 'readTimeout', 'writeTimeout']) {
    for (const [value, code] of [
      [0, 'ERR_OUT_OF_RANGE'],
      [NaN, 'ERR_OUT_OF_RANGE'],
      ['5', 'ERR_INVALID_ARG_TYPE'],
    ] as const) {
      const options = { [name]: value } as TimeoutOptions;
      const message = new RegExp(`^\\w+: ${name} must be a number of milliseconds above 0, or Infinity, not `);
      await t.throwsAsync(connect('127.0.0.1', port, options), { code, message });
      await t.throwsAsync(connectUnix('/tmp/never', options), { code, message });
      await t.throwsAsync(connect({ sock: new PassThrough(), ...options }), { code, message });
      await t.throwsAsync(connectReadPipe(new PassThrough(), options), { code, message });
      await t.throwsAsync(connectWritePipe(new PassThrough(), options), { code, message });
    }
  }
});
