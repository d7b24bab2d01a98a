// Runs once: a Node stream is read in one way only, and the sink is not a reader.
import * as streams from 'node:stream';
import { Duplex, PassThrough, Readable, Writable } from 'node:stream';
import test from 'ava';
import { ConnectionError } from '#ts/errors.js';
import { connectionError } from '#ts/system-errors.js';
import { DuplexTransport } from '#ts/transports/duplex.js';
import { NODE_STREAM } from '#ts/transports/stream-kind.js';
import { StreamMode } from '#ts/transports/transport.js';
import { RecordingSink, transportContract, turns, written } from '../transport-contract.js';

/** Two connected streams in memory; each calls back only when the other wants more. */
class End extends Duplex {
  peer: End | null = null;
  #wanted: (() => void) | null = null;

  override _read(): void {
    this.peer?.more();
  }

  more(): void {
    const wanted = this.#wanted;
    this.#wanted = null;
    wanted?.();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    this.#wanted = callback;
    // In pieces, as from a socket: the chunks read must not depend on the chunks written.
    for (let at = 0; at < chunk.length; at += 65536) this.peer?.push(chunk.subarray(at, at + 65536));
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.peer?.push(null);
    callback();
  }
}

/** In object mode, with empty chunks before each chunk. */
class ObjectEnd extends End {
  constructor() {
    super({ objectMode: true });
  }

  override push(chunk: unknown): boolean {
    if (chunk === null) return super.push(null);
    super.push('');
    super.push(new Uint8Array(0));
    return super.push(chunk);
  }
}

function ends(make = (): End => new End()): [End, End] {
  const a = make();
  const b = make();
  a.peer = b;
  b.peer = a;
  return [a, b];
}

transportContract(test, [
  {
    name: 'Duplex in memory',
    connected: false,
    make: () => {
      const [a, b] = ends();
      return Promise.resolve({ a: new DuplexTransport(a), b: new DuplexTransport(b), dispose: () => undefined });
    },
  },
  {
    name: 'Duplex in object mode',
    connected: false,
    make: () => {
      const [a, b] = ends(() => new ObjectEnd());
      return Promise.resolve({ a: new DuplexTransport(a), b: new DuplexTransport(b), dispose: () => undefined });
    },
  },
]);

test('a stream that decodes is refused with the name of its encoding, also in object mode', (t) => {
  for (const options of [{ encoding: 'utf8' }, { encoding: 'utf8', objectMode: true }] as const) {
    t.throws(() => new DuplexTransport(new PassThrough(options)), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'connect: sock must be a stream of bytes, not a stream that decodes utf8',
    });
  }
});

test('written memory may be reused even if the stream keeps a reference to it', async (t) => {
  const through = new PassThrough();
  const transport = new DuplexTransport(through);
  const sink = new RecordingSink();
  sink.goOn = true;
  const memory = Buffer.from('first');
  t.true(transport.write(memory, () => t.fail()));
  memory.write('XXXXX');
  t.true(transport.writev([memory.subarray(0, 1), memory.subarray(1, 2)], () => t.fail()));
  memory.fill('Y');
  transport.start(sink);
  await sink.until(() => sink.bytes === 7);
  t.is(sink.text, 'firstXX');
  transport.abort();
});

test('a Readable delivers bytes and EOF, and cannot be written to', async (t) => {
  const source = Readable.from([Buffer.from('one'), Buffer.from('two')], { objectMode: false });
  const transport = new DuplexTransport(source, StreamMode.READ);
  const sink = new RecordingSink();
  transport.start(sink);
  t.is(transport.mode, StreamMode.READ);
  t.false(transport.canWriteEof);
  t.false(transport.write(Buffer.from('x'), () => t.fail()));
  await sink.until(() => sink.isClosed);
  t.is(sink.text, 'onetwo');
  t.is(sink.eofs, 1);
  t.deepEqual(sink.closes, [null]);
});

test('close destroys a Readable', async (t) => {
  const source = new Readable({ read: () => undefined });
  const transport = new DuplexTransport(source, StreamMode.READ);
  const sink = new RecordingSink();
  transport.start(sink);
  transport.close();
  await sink.until(() => sink.isClosed);
  t.true(source.destroyed);
  t.deepEqual(sink.closes, [null]);
  t.is(sink.eofs, 0);
});

test('close flushes and ends a Writable', async (t) => {
  const chunks: Buffer[] = [];
  let ended = false;
  const drain = new Writable({
    write: (chunk: Buffer, _encoding, callback) => {
      chunks.push(chunk);
      setImmediate(callback);
    },
    final: (callback) => {
      ended = true;
      callback();
    },
  });
  const transport = new DuplexTransport(drain, StreamMode.WRITE);
  const sink = new RecordingSink();
  transport.start(sink);
  await written(transport, 'out');
  transport.close();
  await sink.until(() => sink.isClosed);
  t.is(Buffer.concat(chunks).toString(), 'out');
  t.true(ended);
  t.deepEqual([sink.closes, sink.eofs], [[null], 0]);
});

/** A stream under a transport whose sink has received 5 bytes and wants no more. */
async function full(): Promise<{ stream: Duplex; sink: RecordingSink }> {
  const stream = new Duplex({ read: () => undefined, write: (_chunk, _encoding, callback) => callback() });
  const transport = new DuplexTransport(stream);
  const sink = new RecordingSink();
  sink.goOn = false;
  transport.start(sink);
  stream.push('taken');
  await sink.until(() => sink.bytes === 5);
  return { stream, sink };
}

test('a stream that fails: its buffered bytes are delivered before its error', async (t) => {
  const { stream, sink } = await full();
  stream.push('held ');
  stream.push('back');
  await turns();
  t.is(sink.bytes, 5);
  const failure = new Error('broken');
  stream.destroy(failure);
  await sink.until(() => sink.isClosed);
  t.is(sink.text, 'takenheld back');
  t.deepEqual(sink.closes, [failure]);
  t.is(sink.late, 0);
});

test('a stream destroyed without an error: its bytes are delivered once, then ECONNRESET', async (t) => {
  const { stream, sink } = await full();
  stream.push('held');
  stream.destroy();
  await sink.until(() => sink.isClosed);
  t.is(sink.text, 'takenheld');
  t.is((sink.closes[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
  t.true(sink.closes[0] instanceof ConnectionError);
});

test('a write that fails, immediately or later, is reported only by closed', async (t) => {
  for (const later of [false, true]) {
    const failure = new Error('disk full');
    const stream = new Duplex({
      read: () => undefined,
      write: (_chunk, _encoding, callback) => {
        if (later) setImmediate(callback, failure);
        else callback(failure);
      },
    });
    const transport = new DuplexTransport(stream);
    const sink = new RecordingSink();
    transport.start(sink);
    t.false(transport.write(Buffer.from('x'), () => t.fail()));
    if (!later) t.true(transport.isClosing);
    await sink.until(() => sink.isClosed);
    t.deepEqual(sink.closes, [failure]);
  }
});

test('a stream whose write throws ends only its own connection', async (t) => {
  for (const many of [false, true]) {
    const failure = new Error('not implemented');
    const stream = new Duplex({
      read: () => undefined,
      write: () => {
        throw failure;
      },
    });
    const transport = new DuplexTransport(stream);
    const sink = new RecordingSink();
    transport.start(sink);
    const piece = Buffer.from('x');
    t.false(many ? transport.writev([piece, piece], () => t.fail()) : transport.write(piece, () => t.fail()));
    await sink.until(() => sink.isClosed);
    t.deepEqual(sink.closes, [failure]);
  }
});

test('a stream that never emits close is reported as closed all the same', async (t) => {
  const stream = new Duplex({
    emitClose: false,
    read: () => undefined,
    write: (_chunk, _encoding, callback) => callback(),
  });
  const transport = new DuplexTransport(stream);
  const sink = new RecordingSink();
  transport.start(sink);
  transport.close();
  await sink.until(() => sink.isClosed);
  t.deepEqual(sink.closes, [null]);
});

for (const [name, options] of [
  ['is not destroyed by it', { autoDestroy: false }],
  ['never says that it is closed', { emitClose: false }],
] as const) {
  test(`a stream that fails and ${name}: the bytes it holds first, then its own error`, async (t) => {
    const failure = new Error('broken');
    const pieces = ['one', 'two'];
    const stream = new Readable({
      ...options,
      read() {
        const piece = pieces.shift();
        if (piece === undefined) throw failure;
        this.push(piece);
      },
    });
    const transport = new DuplexTransport(stream, StreamMode.READ);
    const sink = new RecordingSink();
    sink.goOn = false;
    transport.start(sink);
    await sink.until(() => sink.isClosed);
    t.is(sink.text, 'onetwo');
    t.deepEqual(sink.closes, [failure]);
    t.true(stream.destroyed);
  });
}

test('a stream that was destroyed before is reported as closed, with its error if it has one', async (t) => {
  const stream = new PassThrough();
  stream.destroy();
  await turns();
  const sink = new RecordingSink();
  const transport = new DuplexTransport(stream);
  transport.start(sink);
  t.true(transport.isClosing);
  await sink.until(() => sink.isClosed);
  t.is((sink.closes[0] as NodeJS.ErrnoException).code, 'ECONNRESET');

  const failed = new PassThrough();
  const failure = new Error('long ago');
  failed.on('error', () => {
    // It is checked below.
  });
  failed.destroy(failure);
  await turns();
  const failedSink = new RecordingSink();
  new DuplexTransport(failed).start(failedSink);
  await failedSink.until(() => failedSink.isClosed);
  t.deepEqual(failedSink.closes, [failure]);
});

test('duplexPair of Node works', async (t) => {
  const { duplexPair } = streams as unknown as { duplexPair?: () => [Duplex, Duplex] };
  if (duplexPair === undefined) {
    t.pass('this Node has none');
    return;
  }
  const [left, right] = duplexPair();
  const a = new DuplexTransport(left);
  const b = new DuplexTransport(right);
  const sinkA = new RecordingSink();
  const sinkB = new RecordingSink();
  a.start(sinkA);
  b.start(sinkB);
  await written(a, 'over');
  a.writeEof();
  await sinkB.until(() => sinkB.eofs === 1);
  t.is(sinkB.text, 'over');
  b.close();
  await sinkB.until(() => sinkB.isClosed);
  await sinkA.until(() => sinkA.isClosed);
  t.deepEqual([sinkA.closes, sinkB.closes], [[null], [null]]);
});

test('a connection error keeps its code, and its message names the address', (t) => {
  const system = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET', errno: -104, syscall: 'read' });
  const wrapped = connectionError(system, '192.0.2.1:80');
  t.true(wrapped instanceof ConnectionError);
  t.is((wrapped as NodeJS.ErrnoException).code, 'ECONNRESET');
  t.is(wrapped.cause, system);
  t.is(connectionError(wrapped), wrapped);
  if (process.platform === 'linux') t.is(wrapped.message, 'read 192.0.2.1:80: connection reset by peer');
  const own = new Error('mine');
  t.is(connectionError(own, 'x'), own);
});

test('close gives up when the stream never takes the end of file within the expected time', async (t) => {
  const stream = new Duplex({
    read: () => undefined,
    write: (_chunk, _encoding, callback) => callback(),
    final: () => undefined,
  });
  const transport = new DuplexTransport(stream);
  const sink = new RecordingSink();
  transport.start(sink);
  transport.expectClose(50);
  transport.close();
  t.false(sink.isClosed);
  await sink.until(() => sink.isClosed);
  t.is((sink.closes[0] as NodeJS.ErrnoException).code, 'ETIMEDOUT');
  t.true(stream.destroyed);
});

/** Streams whose every end may be a reset, as that of a TCP socket may if its peer is gone. */
const doubtful = { ...NODE_STREAM, endMayBeReset: () => true };

test('a doubted EOF is reported before closed, also if closed follows at once', async (t) => {
  const stream = new Duplex({ read: () => undefined, write: (_chunk, _encoding, callback) => callback() });
  const transport = new DuplexTransport(stream, StreamMode.READWRITE, { kind: doubtful });
  const sink = new RecordingSink();
  transport.start(sink);
  stream.push('the last bytes');
  stream.push(null);
  transport.writeEof();
  await sink.until(() => sink.isClosed);
  t.is(sink.text, 'the last bytes');
  t.is(sink.eofs, 1);
  t.deepEqual(sink.closes, [null]);
});
