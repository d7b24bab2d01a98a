import test, { type ExecutionContext } from 'ava';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { Socket, createServer, type AddressInfo, type Server } from 'node:net';
import { PassThrough, Readable, Writable, duplexPair } from 'node:stream';
import { Server as TlsServer, createServer as createTlsServer } from 'node:tls';
import { inspect } from 'node:util';
import { Stream, streamSide } from '#ts/stream/stream.js';
import { DuplexTransport } from '#ts/transports/duplex.js';
import {
  ConnectionError,
  IncompleteReadError,
  LimitOverrunError,
  StateError,
  StreamMode,
  connect,
  connectUnix,
  connectWritePipe,
} from 'sluice';
import { certificates } from '../certificates.js';
import { directory, fifo, unixPath } from '../fifo.js';
import { gather, quiet, streamAndPeer, turns, until } from '../loopback.js';

/** Whether the error of a failing `await using` is the error itself, not a SuppressedError. */
function plain(error: unknown): boolean {
  return error instanceof Error && error.name !== 'SuppressedError';
}

// ------------------------------------------------------------------------------------------------ reading and writing

test('every read method works over a socket', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.write('line\nuntil;exact12345rest\nlook');
  t.is(String(await stream.readline()), 'line\n');
  t.is(String(await stream.readuntil(';')), 'until;');
  t.is(String(await stream.readexactly(10)), 'exact12345');
  const memory = Buffer.alloc(4);
  t.is(await stream.readinto(memory), 4);
  t.is(String(memory), 'rest');
  t.is(String(await stream.readuntil()), '\n');
  t.is(String(await stream.peek(4)), 'look');
  t.is(stream.buffered, 4);
  t.is(String(await stream.readuntil(['x', 'ok'])), 'look');
  stream.unread(Buffer.from('again'));
  t.is(String(await stream.read(3)), 'aga');
  peer.end('!');
  t.is(String(await stream.read()), 'in!');
  t.true(stream.atEof());
  t.is((await stream.read()).length, 0);
  t.is(stream.bytesRead, 31);
});

test('every write method works over a socket', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const received = gather(peer);
  await stream.write('a');
  await stream.write(Buffer.from('b'));
  await stream.writelines(['c', new Uint8Array([100]), 'é']);
  await stream.drain();
  await stream.flush();
  t.is(stream.bytesWritten, 6);
  t.true(stream.canWriteEof());
  await stream.writeEof();
  t.is(String(await received), 'abcdé');
});

test('iteration returns lines with their ends, and leaving the loop keeps the stream open', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.end('one\ntwo\nthree\nlast');
  for await (const line of stream) {
    t.true(Buffer.isBuffer(line));
    t.is(String(line), 'one\n');
    break;
  }
  t.false(stream.isClosing());
  const rest: string[] = [];
  for await (const line of stream) rest.push(String(line));
  t.deepEqual(rest, ['two\n', 'three\n', 'last']);
  t.false(stream.isClosing());
});

test('a signal ends a wait, and the stream stays usable', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const controller = new AbortController();
  const reason = new Error('enough');
  const line = stream.readline({ signal: controller.signal });
  const closed = stream.waitClosed({ signal: controller.signal });
  controller.abort(reason);
  t.is(await t.throwsAsync(line), reason);
  t.is(await t.throwsAsync(closed), reason);
  t.is(await t.throwsAsync(stream.drain({ signal: controller.signal })), reason);
  t.is(await t.throwsAsync(stream.flush({ signal: controller.signal })), reason);
  peer.write('hello\n');
  t.is(String(await stream.readline()), 'hello\n');
});

test('a second read rejects with both names', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const first = stream.readline();
  const error = await t.throwsAsync(stream.readexactly(1), { instanceOf: StateError, code: 'ERR_CONCURRENT_READ' });
  t.regex(error?.message ?? '', /readexactly.*readline/);
  peer.write('x\n');
  t.is(String(await first), 'x\n');
});

test('the limit applies to a stream over a socket', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { limit: 8 });
  t.is(stream.limit, 8);
  peer.write('much too long a line\nshort\n');
  await t.throwsAsync(stream.readline(), { instanceOf: LimitOverrunError });
  t.is(String(await stream.readline()), 'short\n');
});

test('a peer that never stops sending fills the buffer up to twice the limit and one read', async (t) => {
  const limit = 100_000;
  const { stream, peer } = await streamAndPeer(t, { limit });
  const chunk = Buffer.alloc(65536, 'x');
  // While the peer can still write, more data is on its way.
  while (peer.write(chunk) || (await Promise.race([once(peer, 'drain').then(() => true), turns(200)])) === true);
  t.true(stream.buffered > limit, `${stream.buffered}`);
  t.true(stream.buffered <= 2 * limit + 65536, `${stream.buffered}`);
  t.is((await stream.readexactly(3 * limit)).length, 3 * limit);
  // A reader that keeps up gets larger reads.
  t.true(stream.buffered <= 2 * limit + 262_144, `${stream.buffered}`);
});

// ------------------------------------------------------------------------------------------------ half-close and loss

test('half-close leaves the other direction working, on both sides', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const received = gather(peer);
  await stream.write('question');
  await stream.writeEof();
  t.is(String(await received), 'question');
  peer.write('an');
  await turns(5);
  peer.end('swer');
  t.is(String(await stream.read()), 'answer');
  await stream.waitClosed();
  t.true(stream.isClosing());

  const other = await streamAndPeer(t);
  const late = gather(other.peer);
  other.peer.end('bye');
  t.is(String(await other.stream.read()), 'bye');
  t.false(other.stream.isClosing());
  await other.stream.write('still');
  await other.stream.write(' there');
  await other.stream.close();
  t.is(String(await late), 'still there');
});

test('writing after writeEof rejects with ERR_WRITE_AFTER_EOF', async (t) => {
  const { stream } = await streamAndPeer(t);
  await stream.writeEof();
  await t.throwsAsync(stream.write('x'), { instanceOf: StateError, code: 'ERR_WRITE_AFTER_EOF' });
});

test('bytes that arrived before a reset are read first, then every read rejects with the reason', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.write('one\ntwo\npar');
  await until(() => stream.buffered === 11);
  t.is(String(await stream.readline()), 'one\n');
  peer.resetAndDestroy();
  await t.throwsAsync(stream.waitClosed(), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  t.is(stream.exception(), await t.throwsAsync(stream.waitClosed()));
  t.is(String(await stream.readline()), 'two\n');
  t.is(String(await stream.read(2)), 'pa');
  await t.throwsAsync(stream.readline(), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  await t.throwsAsync(stream.readexactly(2), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  await t.throwsAsync(stream.write('x'), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  await t.throwsAsync(stream.drain(), { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

test('a waiting read rejects when the peer resets', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const line = stream.readline();
  peer.resetAndDestroy();
  await t.throwsAsync(line, { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

test('after EOF a later loss does not change the result of reads', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.end('all\n');
  t.is(String(await stream.readline()), 'all\n');
  t.is((await stream.readline()).length, 0);
  // The socket of the peer is closed entirely, so that more data is answered by a reset.
  peer.destroy();
  while (!stream.isClosing()) {
    void stream.write('x');
    await turns(1);
  }
  await t.throwsAsync(stream.waitClosed(), { instanceOf: ConnectionError });
  t.is((await stream.readline()).length, 0);
  t.true(stream.exception() instanceof ConnectionError);
});

test('a connection error needs no handler: it causes no unhandled rejection or uncaught exception', async (t) => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => {
    unhandled.push(error);
  };
  process.on('unhandledRejection', note);
  process.on('uncaughtException', note);
  t.teardown(() => {
    process.off('unhandledRejection', note);
    process.off('uncaughtException', note);
  });
  const { stream, peer } = await streamAndPeer(t);
  void stream.write(Buffer.alloc(8 * 1024 * 1024));
  peer.resetAndDestroy();
  await until(() => stream.exception() !== null);
  void stream.write('into the void');
  void stream.writelines(['into', 'the', 'void']);
  void stream.close();
  void stream.close();
  void stream.abort();
  await turns(20);
  t.deepEqual(unhandled, []);
});

test('a loop of write and drain against a dead peer ends', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.resetAndDestroy();
  const loop = async (): Promise<void> => {
    for (;;) {
      void stream.write('x');
      await stream.drain();
    }
  };
  await t.throwsAsync(loop(), { instanceOf: ConnectionError });
});

// ------------------------------------------------------------------------------------------------ closing

test('close sends the queue, and may be called again', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const data = Buffer.alloc(4 * 1024 * 1024, 'x');
  void stream.write(data);
  const closed = Promise.all([stream.close(), stream.close()]);
  t.true(stream.isClosing());
  t.is((await gather(peer)).length, data.length);
  await closed;
  await stream.close();
  await stream.waitClosed();
  t.is(stream.exception(), null);
});

test('close ends a waiting read as EOF does, even while it flushes', async (t) => {
  const reads: [string, (stream: Stream) => Promise<unknown>][] = [
    ['readline', (stream) => stream.readline()],
    ['read', (stream) => stream.read()],
    ['peek', (stream) => stream.peek(10)],
  ];
  for (const [name, read] of reads) {
    for (const how of ['close', 'abort'] as const) {
      const { stream, peer } = await streamAndPeer(t);
      peer.write('part');
      await until(() => stream.buffered === 4);
      const pending = read(stream);
      // More than the kernel accepts for a peer that does not read: the flush is still in progress when the read ends.
      void stream.write(Buffer.alloc(16 * 1024 * 1024));
      const closed = stream[how]();
      t.is(String(await pending), 'part', `${name} ${how}`);
      await stream.abort();
      await (how === 'abort' ? closed : t.notThrowsAsync(closed));
    }
  }
});

test('close makes a waiting readexactly or readuntil reject with IncompleteReadError', async (t) => {
  for (const read of [(stream: Stream) => stream.readexactly(10), (stream: Stream) => stream.readuntil(';')]) {
    const { stream, peer } = await streamAndPeer(t);
    peer.write('part');
    await until(() => stream.buffered === 4);
    const pending = read(stream);
    const closed = stream.close();
    const error = await t.throwsAsync(pending, { instanceOf: IncompleteReadError });
    t.is(String(error?.partial), 'part');
    await closed;
  }
});

test('bytes received before close can be read after it, later bytes are dropped', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.write('early\nrest');
  await until(() => stream.buffered === 10);
  void stream.write(Buffer.alloc(16 * 1024 * 1024));
  const closed = stream.close();
  peer.write('late\n');
  await turns(10);
  t.is(stream.buffered, 10);
  peer.resume();
  peer.end();
  await closed;
  t.is(String(await stream.readline()), 'early\n');
  t.is(String(await stream.readline()), 'rest');
  t.is((await stream.readline()).length, 0);
  t.true(stream.atEof());
});

test('close flushes to a peer that first sends its own bytes', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { limit: 1024 });
  const theirs = Buffer.alloc(32 * 1024 * 1024);
  const ours = Buffer.alloc(8 * 1024 * 1024);
  peer.pause();
  const sent = new Promise<void>((resolve) => {
    peer.write(theirs, () => resolve());
  });
  await until(() => stream.buffered > 2048);
  void stream.write(ours);
  const closed = stream.close();
  await sent;
  t.is((await gather(peer)).length, ours.length);
  await closed;
  t.true(stream.buffered <= 2048 + 65536);
});

test('abort drops the queue and never rejects', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const data = Buffer.alloc(64 * 1024 * 1024);
  const written = stream.write(data);
  const drained = stream.drain();
  await Promise.all([stream.abort(), stream.abort()]);
  await t.throwsAsync(written, { instanceOf: ConnectionError });
  await t.throwsAsync(drained, { instanceOf: ConnectionError });
  const received = await gather(peer).then(
    ({ length }) => length,
    () => 0,
  );
  t.true(received < data.length);
  await stream.abort();
  await stream.close();
});

test('writing after close rejects with ECONNRESET', async (t) => {
  const { stream } = await streamAndPeer(t);
  const closed = stream.close();
  await t.throwsAsync(stream.write('x'), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  await t.throwsAsync(stream.drain(), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  await closed;
  await t.throwsAsync(stream.write('x'), { instanceOf: ConnectionError, code: 'ECONNRESET' });
  await t.throwsAsync(stream.writelines(['x']), { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

// ------------------------------------------------------------------------------------------------ await using

test('await using closes the stream with a flush', async (t) => {
  const { stream: opened, peer } = await streamAndPeer(t);
  const received = gather(peer);
  {
    await using stream = opened;
    void stream.write('bye');
  }
  t.is(String(await received), 'bye');
  t.true(opened.isClosing());
});

test('await using does not throw the error that a call has already reported', async (t) => {
  const calls: [string, (stream: Stream) => Promise<unknown>, boolean][] = [
    ['a waiting read', (stream) => stream.readline(), false],
    ['a later read', (stream) => stream.readexactly(1), true],
    ['iteration', async (stream) => (await stream[Symbol.asyncIterator]().next()).value, false],
    ['a waiting drain', (stream) => (stream.write(Buffer.alloc(1 << 26)), stream.drain()), false],
    ['a waiting flush', (stream) => (stream.write(Buffer.alloc(1 << 26)), stream.flush()), false],
    ['a later write', (stream) => stream.write('x'), true],
    ['waitClosed', (stream) => stream.waitClosed(), false],
    ['close', (stream) => stream.close(), true],
  ];
  for (const [name, call, later] of calls) {
    const { stream: opened, peer } = await streamAndPeer(t);
    const error = await t.throwsAsync(async () => {
      await using stream = opened;
      if (later) {
        peer.resetAndDestroy();
        await until(() => stream.exception() !== null);
        await call(stream);
      } else {
        const result = call(stream);
        peer.resetAndDestroy();
        await result;
      }
    });
    t.true(plain(error), name);
    t.true(error instanceof ConnectionError, `${name}: ${String(error)}`);
  }
});

test('await using throws a loss that no call has reported', async (t) => {
  const before = await streamAndPeer(t);
  await t.throwsAsync(
    async () => {
      await using stream = before.stream;
      before.peer.resetAndDestroy();
      await until(() => stream.exception() !== null);
    },
    { instanceOf: ConnectionError, code: 'ECONNRESET' },
  );

  const during = await streamAndPeer(t);
  await t.throwsAsync(
    async () => {
      await using stream = during.stream;
      void stream.write(Buffer.alloc(1 << 26));
      // In a later turn than the one in which the block ends.
      setImmediate(() => during.peer.resetAndDestroy());
    },
    { instanceOf: ConnectionError },
  );
});

// ------------------------------------------------------------------------------------------------ modes

const READING: [string, (stream: Stream) => Promise<unknown>][] = [
  ['read', (stream) => stream.read()],
  ['readline', (stream) => stream.readline()],
  ['readexactly', (stream) => stream.readexactly(1)],
  ['readuntil', (stream) => stream.readuntil('x')],
  ['peek', (stream) => stream.peek(1)],
  ['readinto', (stream) => stream.readinto(Buffer.alloc(1))],
  ['for await', (stream) => stream[Symbol.asyncIterator]().next()],
  ['readframes', (stream) => stream.readframes()],
  ['lines', (stream) => stream.lines().next()],
  ['lines', (stream) => stream.lines().batches().next()],
];

const WRITING: [string, (stream: Stream) => Promise<unknown>][] = [
  ['write', (stream) => stream.write('x')],
  ['writelines', (stream) => stream.writelines(['x'])],
  ['drain', (stream) => stream.drain()],
  ['flush', (stream) => stream.flush()],
  ['writeEof', (stream) => stream.writeEof()],
];

test('a write-only stream refuses reads', async (t) => {
  const written: Buffer[] = [];
  const sink = new Writable({
    write(chunk: Buffer, _encoding, callback) {
      written.push(chunk);
      callback();
    },
  });
  const stream = new Stream(new DuplexTransport(sink, StreamMode.WRITE));
  t.is(stream.mode, StreamMode.WRITE);
  for (const [name, read] of READING) {
    const error = await t.throwsAsync(read(stream), { instanceOf: StateError, code: 'ERR_STREAM_WRITE_ONLY' });
    t.is(error?.message, `${name}: The stream is write-only`);
  }
  t.throws(() => stream.unread(Buffer.from('x')), { instanceOf: StateError, code: 'ERR_STREAM_WRITE_ONLY' });
  t.is(stream.buffered, 0);
  t.false(stream.atEof());
  await stream.write('out');
  await stream.close();
  t.is(String(Buffer.concat(written)), 'out');
  t.regex(inspect(stream), /^Stream \{ mode: WRITE, closed \}$/);
});

test('a read-only stream refuses writes', async (t) => {
  const source = new Readable({ read() {} });
  source.push('in\n');
  const stream = new Stream(new DuplexTransport(source, StreamMode.READ));
  t.is(stream.mode, StreamMode.READ);
  for (const [name, write] of WRITING) {
    const error = await t.throwsAsync(write(stream), { instanceOf: StateError, code: 'ERR_STREAM_READ_ONLY' });
    t.is(error?.message, `${name}: The stream is read-only`);
  }
  t.throws(() => stream.setWriteBufferLimits({ high: 1 }), { instanceOf: StateError, code: 'ERR_STREAM_READ_ONLY' });
  t.false(stream.canWriteEof());
  t.is(String(await stream.readline()), 'in\n');
  await stream.close();
});

test('a refused write that is not awaited causes no unhandled rejection', async (t) => {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => {
    unhandled.push(error);
  };
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  const stream = new Stream(new DuplexTransport(new Readable({ read() {} }), StreamMode.READ));
  void stream.write('x');
  void stream.writelines(['x']);
  await turns(3);
  t.deepEqual(unhandled, []);
  await stream.abort();
});

test('the modes are flags', (t) => {
  t.is(StreamMode.READ & StreamMode.WRITE, 0);
  t.is(StreamMode.READ | StreamMode.WRITE, StreamMode.READWRITE);
  const both: StreamMode = StreamMode.READ | StreamMode.WRITE;
  t.is(StreamMode[both], 'READWRITE');
});

// ------------------------------------------------------------------------------------------------ facts

test('getExtraInfo, mode, isServerSide and exception of a connection', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  t.is(stream.mode, StreamMode.READWRITE);
  t.false(stream.isServerSide());
  t.is(stream.exception(), null);
  t.like(stream.getExtraInfo('peername'), { address: '127.0.0.1', port: peer.localPort });
  t.like(stream.getExtraInfo('sockname'), { address: '127.0.0.1', port: peer.remotePort });
  t.is(stream.getExtraInfo('cipher'), undefined);
  t.is(stream.getExtraInfo('cipher', 'none'), 'none');
  t.is(stream.transport.getExtraInfo('peername'), stream.getExtraInfo('peername'));
  await stream.close();
  t.like(stream.getExtraInfo('peername'), { address: '127.0.0.1' });
});

test('watermarks can be set on the stream', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  stream.setWriteBufferLimits({ high: 0 });
  let taken = false;
  const written = Promise.resolve(stream.write(Buffer.alloc(32 * 1024 * 1024))).then(() => {
    taken = true;
  });
  await turns(5);
  t.false(taken);
  peer.resume();
  await written;
  t.throws(() => stream.setWriteBufferLimits({ high: -1 }), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
});

test('writeBufferSize counts the bytes that the kernel has not taken, and inspect shows them as queued', async (t) => {
  const size = 8_000_000;
  const { ca, server } = await certificates();
  const path = unixPath(t);
  const unix = await accepting(t, createServer({ allowHalfOpen: true }), path);
  const secure = await accepting(t, createTlsServer(server), 0);
  const [near, far] = duplexPair();
  const pipe = fifo(directory(t));
  const over: [string, Promise<Stream>, () => Readable | Promise<Readable>][] = [
    ['Unix', connectUnix(path), unix],
    ['TLS', connect('127.0.0.1', secure.port(), { ssl: { ca } }), secure],
    ['Duplex', connect({ sock: near }), () => far],
    ['pipe', connectWritePipe(pipe.writer), () => quiet(new Socket({ fd: pipe.reader, writable: false }))],
  ];
  const tcp = await streamAndPeer(t);
  over.push(['TCP', Promise.resolve(tcp.stream), () => tcp.peer]);
  for (const [kind, opening, peer] of over) {
    const stream = await opening;
    t.teardown(() => stream.abort());
    t.is(stream.writeBufferSize, 0, kind);
    t.notRegex(inspect(stream), /queued/, kind);
    void stream.write(Buffer.alloc(size));
    void stream.write('four');
    const queued = stream.writeBufferSize;
    t.true(queued >= 4 && queued <= size + 4, `${kind}: ${queued}`);
    t.is(queued, streamSide(stream).halves[1].writeBufferSize, kind);
    t.true(inspect(stream).includes(`queued: ${queued}`), `${kind}: ${inspect(stream)}`);
    (await peer()).resume();
    await stream.flush();
    t.is(stream.writeBufferSize, 0, kind);
    t.notRegex(inspect(stream), /queued/, kind);
    await stream.close();
  }
});

test('writeBufferSize is 0 without a writing side, and after the queue was dropped', async (t) => {
  const readOnly = new Stream(new DuplexTransport(new PassThrough(), StreamMode.READ));
  t.is(readOnly.writeBufferSize, 0);
  await readOnly.abort();
  const { stream } = await streamAndPeer(t);
  void stream.write(Buffer.alloc(8_000_000));
  t.true(stream.writeBufferSize > 0);
  await stream.abort();
  t.is(stream.writeBufferSize, 0);
  t.notRegex(inspect(stream), /queued/);
});

/** Starts a Node server; the returned function gives the accepted socket. */
async function accepting(
  t: ExecutionContext,
  server: Server,
  at: string | number,
): Promise<(() => Promise<Readable>) & { port: () => number }> {
  const accepted = new Promise<Socket>((resolve) => {
    server.on(server instanceof TlsServer ? 'secureConnection' : 'connection', (socket: Socket) => {
      t.teardown(() => socket.destroy());
      resolve(quiet(socket));
    });
  });
  t.teardown(() => server.close());
  await once(typeof at === 'string' ? server.listen(at) : server.listen(at, '127.0.0.1'), 'listening');
  return Object.assign(() => accepted, { port: () => (server.address() as AddressInfo).port });
}

test('inspect shows the state of a stream', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { limit: 123 });
  const peername = `peername: 127.0.0.1:${peer.localPort}`;
  peer.end('four');
  await until(() => stream.buffered === 4);
  await stream.peek(5);
  t.is(inspect(stream), `Stream { mode: READWRITE, buffered: 4, eof, limit: 123, ${peername} }`);
  t.is(inspect({ deep: { deeper: { deepest: stream } } }, { depth: 2 }).includes('[Stream]'), true);
  const closed = stream.close();
  t.is(inspect(stream), `Stream { mode: READWRITE, buffered: 4, eof, limit: 123, ${peername}, closing }`);
  await closed;
  t.is(inspect(stream), `Stream { mode: READWRITE, buffered: 4, eof, limit: 123, ${peername}, closed }`);

  const lost = await streamAndPeer(t);
  lost.peer.resetAndDestroy();
  await t.throwsAsync(lost.stream.waitClosed());
  t.regex(inspect(lost.stream), /closed, exception: '.*reset.*' \}$/);
});

// ------------------------------------------------------------------------------------------------ bad input

test('invalid arguments get typed errors that name the value, and the stream stays usable', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  t.regex((await t.throwsAsync(stream.readexactly(-1), range))?.message ?? '', /-1/);
  await t.throwsAsync(stream.readexactly(2 ** 53), range);
  await t.throwsAsync(stream.read(1.5), range);
  await t.throwsAsync(stream.readexactly(Number.MAX_SAFE_INTEGER), { code: 'ERR_BUFFER_TOO_LARGE' });
  await t.throwsAsync(stream.readuntil(''), { instanceOf: RangeError, code: 'ERR_SEPARATOR_EMPTY' });
  await t.throwsAsync(stream.readuntil([]), { instanceOf: RangeError, code: 'ERR_SEPARATOR_EMPTY' });
  await t.throwsAsync(async () => stream.write(42 as never), type);
  await t.throwsAsync(async () => stream.write(null as never), type);
  await t.throwsAsync(stream.readline({ signal: {} as never }), type);
  peer.write('fine\n');
  t.is(String(await stream.readline()), 'fine\n');
});

test('a stream can run over a Duplex that is not a socket', async (t) => {
  const echo = new PassThrough();
  await using stream = await connect({ sock: echo });
  await stream.write('there and back\n');
  t.is(String(await stream.readline()), 'there and back\n');
});
