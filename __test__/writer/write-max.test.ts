/* eslint @typescript-eslint/no-floating-promises: off -- the promises of writes need not be awaited: that is part of the test */
/** `setWriteBufferLimits({ max })` and the option `maxWriteBuffer`: on a fake transport, and on each kind of connection. */
// Runs once for each way of reading: it is about outgoing data, and about bytes that have already arrived.
import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough, duplexPair, type Duplex } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import tls from 'node:tls';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  connect,
  connectReadPipe,
  connectUnix,
  connectWritePipe,
  type ConnectOptions,
  type Stream,
} from 'sluice';
import { StreamWriter, writerOutlet } from '#ts/writer/writer.js';
import { certificates } from '../certificates.js';
import { directory, fifo, unixPath } from '../fifo.js';
import { deferred, gather, listen, listenTls, quiet, turns, until } from '../loopback.js';
import { FakeTransport, make } from './fake-transport.js';

const overflow = { instanceOf: ConnectionError, code: 'ERR_WRITE_OVERFLOW' } as const;
const KB = 1024;

/** A writer whose transport accepts nothing. */
function clogged(max: number): { transport: FakeTransport; writer: StreamWriter } {
  const made = make(true);
  made.writer.setWriteBufferLimits({ max });
  return made;
}

// ---------------------------------------------------------------------------------------------- what counts

test('exactly max may be buffered; one byte more rejects, is not queued, and aborts the connection', async (t) => {
  const { transport, writer } = clogged(100);
  writer.write(Buffer.alloc(60));
  writer.write(Buffer.alloc(40));
  t.is(writer.writeBufferSize, 100);
  await turns(1);
  t.false(writer.isClosing());
  const written = writer.bytesWritten;
  const error = await t.throwsAsync(writer.write('x'), overflow);
  t.is(error.message, 'write: 1 byte would exceed the max of 100: 100 bytes are still waiting to be sent to nobody');
  t.is(writer.bytesWritten, written);
  t.true(writer.isClosing());
  t.is(transport.abortReason, error);
  t.deepEqual(transport.calls.at(-1), 'abort');
});

test('what the kernel has accepted no longer counts', async (t) => {
  const { transport, writer } = clogged(100);
  for (let round = 0; round < 5; round++) {
    writer.write(Buffer.alloc(100));
    t.is(writer.writeBufferSize, 100);
    transport.unclog(true);
    t.is(writer.writeBufferSize, 0);
    await turns(1);
  }
  t.false(writer.isClosing());
});

test('a single write of more than max is refused even if nothing is buffered', async (t) => {
  const { transport, writer } = make();
  writer.setWriteBufferLimits({ max: 100 });
  await writer.write(Buffer.alloc(100));
  await turns(1);
  const error = await t.throwsAsync(writer.write(Buffer.alloc(101)), overflow);
  t.regex(error.message, /^write: 101 bytes would exceed the max of 100: 0 bytes are still waiting/);
  t.deepEqual(transport.calls, ['write 100', 'abort']);
});

test('writes of one turn that the kernel has room for do not add up', async (t) => {
  const { transport, writer } = make();
  writer.setWriteBufferLimits({ max: 100 });
  for (let i = 0; i < 50; i++) writer.write(Buffer.alloc(30, i));
  await turns(1);
  t.false(writer.isClosing());
  t.is(Buffer.concat(transport.taken).length, 1500);
});

test('writelines and writeframe count all of their pieces, and queue none of them if they are refused', async (t) => {
  for (const most of [10, 9]) {
    const lines = clogged(most);
    const frame = clogged(most);
    const results = [
      [lines, lines.writer.writelines(['abc', Buffer.from('defg'), 'hij'])],
      [frame, frame.writer.writeframe(['ab', Buffer.from('cdef')], { length: 'uint32be' })],
    ] as const;
    for (const [{ transport, writer }, result] of results) {
      if (most === 10) {
        t.is(writer.writeBufferSize, 10);
        t.false(writer.isClosing());
      } else {
        const error = await t.throwsAsync(result, overflow);
        t.regex(error.message, /^write(lines|frame): 10 bytes would exceed the max of 9: 0 bytes are/);
        t.deepEqual(transport.calls, ['abort']);
      }
    }
  }
});

test('strings count in bytes of UTF-8', async (t) => {
  for (const text of ['a'.repeat(12), 'é'.repeat(6), '€'.repeat(4), '🌍'.repeat(3), '\ud800'.repeat(4)]) {
    const fits = clogged(12);
    fits.writer.write(text);
    t.is(fits.writer.writeBufferSize, 12, text);
    const not = clogged(11);
    await t.throwsAsync(not.writer.write(text), { ...overflow, message: /^write: 12 bytes would exceed/ }, text);
    const list = clogged(11);
    await t.throwsAsync(list.writer.writelines([text]), { ...overflow, message: /^writelines: 12 bytes/ }, text);
  }
});

test('an empty write is never refused', (t) => {
  const { writer } = clogged(100);
  writer.write(Buffer.alloc(100));
  writer.setWriteBufferLimits({ max: 10 });
  for (const nothing of ['', new Uint8Array()]) writer.write(nothing);
  writer.writelines([]);
  t.false(writer.isClosing());
});

test('what is written after a reserved position counts, what is sent at the position does not', async (t) => {
  const { transport, writer } = clogged(10);
  const reservation = writerOutlet(writer).reserve('sendfile');
  await reservation.ready;
  const sending = reservation.send(Buffer.alloc(1000));
  writer.write(Buffer.alloc(10));
  t.false(writer.isClosing());
  await t.throwsAsync(writer.write('x'), overflow);
  await t.throwsAsync(sending, { ...overflow, message: /^sendfile: the connection is lost: write: 1 byte would/ });
  t.is(transport.calls.at(-1), 'abort');
});

// ---------------------------------------------------------------------------------------------- the loss

test('every call that waits, and every later one, rejects with the overflow as its cause', async (t) => {
  const { transport, writer } = clogged(100);
  writer.setWriteBufferLimits({ high: 10, max: 100 });
  const waiting = [writer.write(Buffer.alloc(100)), writer.drain(), writer.flush(), writer.waitClosed()];
  const loss = await t.throwsAsync(writer.write('more'), overflow);
  const later = [writer.write('x'), writer.drain(), writer.flush(), writer.writelines(['x']), writer.writeEof()];
  writerOutlet(writer).connectionLost(transport.abortReason ?? null);
  const afterwards = [writer.write('x'), writer.drain(), writer.flush(), writer.close(), writer.waitClosed()];
  for (const result of [...waiting, ...later, ...afterwards]) {
    const error = await t.throwsAsync(result, overflow);
    t.true(error === loss || error.cause === loss, inspect(error));
  }
  t.is(writer.writeBufferSize, 0);
});

test('after an overflow abort does nothing more, and the loss stays even if the transport reports none', async (t) => {
  const { transport, writer } = clogged(1);
  const loss = await t.throwsAsync(writer.write('more'), overflow);
  writer.abort();
  t.is(transport.calls.filter((call) => call === 'abort').length, 1);
  writerOutlet(writer).connectionLost(null);
  t.is(await t.throwsAsync(writer.close()), loss);
});

// ---------------------------------------------------------------------------------------------- the limits

/** What `inspect` shows of the limits. */
function limits(writer: StreamWriter): number[] {
  return ['high', 'low', 'max'].map((name) => {
    const found = new RegExp(`${name}: (\\d+)`).exec(inspect(writer))?.[1];
    return found === undefined ? Infinity : Number(found);
  });
}

test('max alone leaves the watermarks, and lowers those above half of it; the watermarks alone leave max', (t) => {
  const { writer } = make();
  const after = (given?: Parameters<StreamWriter['setWriteBufferLimits']>[0]): number[] => {
    writer.setWriteBufferLimits(given);
    return limits(writer);
  };
  t.deepEqual(limits(writer), [65536, 16384, Infinity]);
  t.deepEqual(after({ high: 1000, low: 900 }), [1000, 900, Infinity]);
  t.deepEqual(after({ max: 2000 }), [1000, 900, 2000]);
  t.deepEqual(after({ max: 1000 }), [500, 125, 1000]);
  t.deepEqual(after({ max: 500 }), [250, 62, 500]);
  t.deepEqual(after({ high: 100 }), [100, 25, 500]);
  t.deepEqual(after({ low: 50 }), [200, 50, 500]);
  t.deepEqual(after({ low: 400 }), [400, 400, 500]);
  t.deepEqual(after(), [250, 62, 500]);
  t.deepEqual(after({ max: Infinity }), [250, 62, Infinity]);
  t.deepEqual(after(), [65536, 16384, Infinity]);
  t.deepEqual(after({ high: 10, low: 5, max: 10 }), [10, 5, 10]);
  t.deepEqual(limits(new StreamWriter(new FakeTransport(), { maxWriteBuffer: 1000 })), [500, 125, 1000]);
  t.deepEqual(limits(new StreamWriter(new FakeTransport(), { maxWriteBuffer: 131_072 })), [65536, 16384, 131_072]);
});

test('a max below high, or that is not a number of bytes, is refused, and nothing changes', (t) => {
  const { writer } = make();
  writer.setWriteBufferLimits({ high: 400, low: 100, max: 500 });
  const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  for (const [given, message] of [
    [{ high: 100, max: 99 }, /max must be at least high, 100, not 99$/],
    [{ high: 501 }, /high must be at most max, 500, not 501$/],
    [{ low: 501 }, /low must be at most high, 500, not 501$/],
    [{ low: 60, max: 50 }, /low must be at most high, 50, not 60$/],
    [{ max: 0 }, /max must be an integer of 1 or more, or Infinity, not 0$/],
    [{ max: 1.5 }, /max must be/],
    [{ max: NaN }, /max must be/],
    [{ max: -1 }, /max must be/],
  ] as const) {
    t.throws(() => writer.setWriteBufferLimits(given), { ...range, message });
  }
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  for (const max of ['1', null, 1n]) t.throws(() => writer.setWriteBufferLimits({ max } as never), type);
  t.deepEqual(limits(writer), [400, 100, 500]);
  t.throws(() => new StreamWriter(new FakeTransport(), { maxWriteBuffer: 0 }), range);
});

test('connect, connectUnix and the pipes check maxWriteBuffer before they open anything', async (t) => {
  const bad = { maxWriteBuffer: 0 };
  const range = {
    instanceOf: RangeError,
    code: 'ERR_OUT_OF_RANGE',
    message: /: maxWriteBuffer must be an integer of 1/,
  };
  const [one, two] = duplexPair();
  await t.throwsAsync(connect('127.0.0.1', 1, bad), range);
  await t.throwsAsync(connect({ sock: one, ...bad }), range);
  await t.throwsAsync(connectUnix('/nowhere', bad), range);
  await t.throwsAsync(connectReadPipe(one, bad), range);
  await t.throwsAsync(connectWritePipe(two, bad), range);
});

// ---------------------------------------------------------------------------------------------- real connections

interface Connected {
  readonly stream: Stream;
  /** The other end, which does not read; a stand-in if that is a process. */
  readonly peer: Duplex;
}

type Options = Pick<ConnectOptions, 'maxWriteBuffer'>;

/** How each kind of connection is made. */
const KINDS: Readonly<Record<string, (t: ExecutionContext, options: Options) => Promise<Connected>>> = {
  async TCP(t, options) {
    const accepted = deferred<Socket>();
    const { port } = await listen(t, accepted.resolve);
    return { stream: await connect('127.0.0.1', port, options), peer: await accepted.promise };
  },
  async TLS(t, options) {
    const { ca, server } = await certificates();
    const accepted = deferred<Socket>();
    const port = await listenTls(t, server, accepted.resolve);
    return { stream: await connect('127.0.0.1', port, { ...options, ssl: { ca } }), peer: await accepted.promise };
  },
  async startTls(t, options) {
    const { ca, server } = await certificates();
    const accepted = deferred<Socket>();
    const { port } = await listen(t, (socket) => {
      accepted.resolve(quiet(new tls.TLSSocket(socket, { ...server, isServer: true })));
    });
    const stream = await connect('127.0.0.1', port, options);
    await stream.startTls({ ca }, { serverHostname: 'localhost' });
    return { stream, peer: await accepted.promise };
  },
  async Unix(t, options) {
    const path = unixPath(t);
    const accepted = deferred<Socket>();
    const server = createServer((socket) => accepted.resolve(quiet(socket)));
    t.teardown(() => server.close());
    await once(server.listen(path), 'listening');
    return { stream: await connectUnix(path, options), peer: await accepted.promise };
  },
  async Duplex(_, options) {
    const [ours, theirs] = duplexPair();
    return { stream: await connect({ sock: ours, ...options }), peer: theirs };
  },
  async 'child process'(t, options) {
    const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], {
      stdio: ['pipe', 'ignore', 'ignore'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    return { stream: await connectWritePipe(child.stdin, options), peer: new PassThrough() };
  },
};

for (const [kind, make] of Object.entries(KINDS)) {
  test(`${kind}: a peer that does not read is cut off, and the error is the loss of the stream`, async (t) => {
    const max = 300 * KB;
    const { stream, peer } = await make(t, { maxWriteBuffer: max });
    t.teardown(() => {
      peer.destroy();
      return stream.abort();
    });
    const reads = kind !== 'child process';
    const reading = reads ? t.throwsAsync(stream.readline(), overflow) : null;
    let loss: ConnectionError | null = null;
    let most = 0;
    for (let i = 0; loss === null; i++) {
      if (i > 10_000) throw new Error('everything was accepted');
      stream.write(Buffer.alloc(10 * KB)).catch((error: unknown) => (loss ??= error as ConnectionError));
      most = Math.max(most, stream.writeBufferSize);
      if (i % 10 === 9) await turns(1);
    }
    const first = loss as ConnectionError;
    t.is(first.code, 'ERR_WRITE_OVERFLOW');
    t.true(most <= max);
    t.is(stream.exception(), first);
    t.true(stream.isClosing());
    for (const result of [stream.write('x'), stream.drain(), stream.flush(), stream.close(), stream.waitClosed()]) {
      const error = await t.throwsAsync(result, overflow);
      t.true(error === first || error.cause === first);
    }
    if (reading !== null) {
      const error = await reading;
      t.true(error === first || error.cause === first);
      await t.throwsAsync(stream.read(1), overflow);
    }
    t.is(stream.exception(), first);
    t.is(stream.writeBufferSize, 0);
    await stream.abort();
  });
}

test('a fifo whose reader does not read is cut off', async (t) => {
  const { writer, reader } = fifo(directory(t));
  const stream = await connectWritePipe(writer, { maxWriteBuffer: 100 * KB });
  const held = await connectReadPipe(reader, { limit: KB });
  t.teardown(() => held.abort());
  stream.write(Buffer.alloc(100 * KB));
  for (let i = 0; i < 100 && !stream.isClosing(); i++) stream.write(Buffer.alloc(10 * KB));
  await t.throwsAsync(stream.close(), overflow);
});

test('what had arrived before an overflow can still be read, after that reads reject', async (t) => {
  for (const kind of ['TCP', 'TLS', 'Unix', 'Duplex'] as const) {
    const { stream, peer } = await KINDS[kind]!(t, { maxWriteBuffer: KB });
    peer.write('one\ntwo\nthree');
    await until(() => stream.buffered === 13);
    const loss = await t.throwsAsync(stream.write(Buffer.alloc(KB + 1)), overflow);
    t.is((await stream.readline()).toString(), 'one\n', kind);
    await t.throwsAsync(stream.waitClosed(), overflow);
    t.is((await stream.readline()).toString(), 'two\n', kind);
    t.is(await t.throwsAsync(stream.readline(), overflow), loss, kind);
    peer.destroy();
  }
});

test('what the kernel had accepted before an overflow still reaches the peer', async (t) => {
  const { stream, peer } = await KINDS['TCP']!(t, {});
  await stream.write(Buffer.alloc(KB, 1));
  stream.setWriteBufferLimits({ max: KB });
  await t.throwsAsync(stream.write(Buffer.alloc(KB + 1)), overflow);
  t.is((await buffer(peer)).length, KB);
});

test('await using: an overflow that a write has rejected with is not thrown again', async (t) => {
  for (const kind of ['TCP', 'TLS', 'Unix', 'Duplex'] as const) {
    const { stream, peer } = await KINDS[kind]!(t, { maxWriteBuffer: 10 });
    const used = async (): Promise<void> => {
      await using one = stream;
      await one.write(Buffer.alloc(11));
    };
    const error = await t.throwsAsync(used(), overflow);
    t.is(error, stream.exception() as ConnectionError, kind);
    peer.destroy();
  }
});

test('during startTls an overflow ends the handshake, and its error is that of the handshake and of the stream', async (t) => {
  const { ca } = await certificates();
  const { port, sockets } = await listen(t);
  const stream = await connect('127.0.0.1', port, { maxWriteBuffer: KB });
  const upgrade = t.throwsAsync(stream.startTls({ ca }, { serverHostname: 'localhost' }), overflow);
  // The handshake has begun, and the peer does not answer.
  await until(() => sockets[0] !== undefined && sockets[0].readableLength > 0);
  const queued = stream.write(Buffer.alloc(KB));
  t.is(stream.writeBufferSize, KB);
  const loss = await t.throwsAsync(stream.write('x'), overflow);
  t.is(stream.exception(), loss);
  t.is(await upgrade, loss);
  await t.throwsAsync(stream.readline(), overflow);
  await t.throwsAsync(stream.waitClosed(), overflow);
  await queued.catch(() => {});
  t.is(stream.exception(), loss);
});

test('writes during startTls that stay within max are sent after the handshake', async (t) => {
  const { ca, server } = await certificates();
  const received = deferred<Buffer>();
  const { port } = await listen(t, (socket) => {
    const secured = quiet(new tls.TLSSocket(socket, { ...server, isServer: true }));
    void gather(secured).then(received.resolve, received.reject);
  });
  const stream = await connect('127.0.0.1', port, { maxWriteBuffer: 10 });
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
  stream.write('01234');
  stream.write('56789');
  await upgrade;
  await stream.close();
  t.is((await received.promise).toString(), '0123456789');
});

test('sendfile: the file does not count, what is written after it does', async (t) => {
  const path = join(directory(t), 'file');
  await writeFile(path, Buffer.alloc(8_000_000));
  const { stream, peer } = await KINDS['TCP']!(t, { maxWriteBuffer: 10 });
  const whole = buffer(peer);
  const sent = stream.sendfile(path);
  stream.write('0123456789');
  t.is(await sent, 8_000_000);
  await stream.close();
  t.is((await whole).length, 8_000_010);

  const other = await KINDS['TCP']!(t, { maxWriteBuffer: 10 });
  const stuck = t.throwsAsync(other.stream.sendfile(path), overflow);
  other.stream.write('0123456789');
  await turns(3);
  const loss = await t.throwsAsync(other.stream.write('x'), overflow);
  t.is((await stuck).cause, loss);
  await t.throwsAsync(other.stream.close(), overflow);
});

test('a duplex with a stream for each direction: an overflow with nothing in flight leaves the other direction open', async (t) => {
  const [ours, theirs] = duplexPair();
  const reader = await connectReadPipe(ours);
  const writer = await connectWritePipe(ours, { maxWriteBuffer: 10 });
  const loss = await t.throwsAsync(writer.write(Buffer.alloc(11)), overflow);
  t.is(await t.throwsAsync(writer.close(), overflow), loss);
  t.is(writer.exception(), loss);
  theirs.write('still here\n');
  t.is((await reader.readline()).toString(), 'still here\n');
  await reader.abort();
  theirs.destroy();
});

test('without max, any number of bytes is buffered', async (t) => {
  const { stream, peer } = await KINDS['TCP']!(t, {});
  for (let i = 0; i < 200; i++) stream.write(Buffer.alloc(100 * KB));
  t.false(stream.isClosing());
  peer.resume();
  await stream.flush();
  await stream.abort();
});
