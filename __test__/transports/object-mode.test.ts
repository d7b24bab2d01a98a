/** Streams over Node streams in object mode, whose chunks are strings or bytes: pipes, and `connect({ sock })`. */
// Runs once: a Node stream is read in one way only, and the engine makes no difference to streams.
import { Buffer } from 'node:buffer';
import { Duplex, PassThrough, Readable, Writable, duplexPair } from 'node:stream';
import tls from 'node:tls';
import { runInNewContext } from 'node:vm';
import test from 'ava';
import { ConnectionError, connect, connectReadPipe, connectWritePipe, type Stream } from 'sluice';
import { certificates } from '../certificates.js';
import { turns, until } from '../loopback.js';

/** A source that pushes these chunks one by one. */
function chunksOf(chunks: readonly unknown[]): Readable {
  const left = [...chunks];
  return new Readable({
    objectMode: true,
    read() {
      this.push(left.length === 0 ? null : left.shift());
    },
  });
}

test('connectReadPipe reads the strings and bytes of a stream in object mode', async (t) => {
  await using letters = await connectReadPipe(Readable.from(['a', 'b']));
  t.is(String(await letters.read()), 'ab');
  t.true(letters.atEof());

  const foreign = runInNewContext('Uint8Array.of(102, 111, 114)') as Uint8Array;
  t.false(foreign instanceof Uint8Array);
  const mixed = ['line\nü', Buffer.from('€\n'), Uint8Array.of(0xff, 0x00), foreign, 'é'];
  await using stream = await connectReadPipe(Readable.from(mixed));
  t.is(String(await stream.readline()), 'line\n');
  t.is(String(await stream.readline()), 'ü€\n');
  t.deepEqual([...(await stream.readexactly(2))], [0xff, 0x00]);
  t.is(String(await stream.read()), 'foré');
  t.is(stream.exception(), null);
});

test('empty chunks of a stream in object mode are neither data nor EOF', async (t) => {
  const source = new Readable({ objectMode: true, read() {} });
  await using stream = await connectReadPipe(source);
  const reading = stream.read(10);
  for (const empty of ['', Buffer.alloc(0), '']) source.push(empty);
  await turns(5);
  t.false(stream.atEof());
  source.push('x');
  t.is(String(await reading), 'x');
  source.push('');
  const rest = stream.read(1);
  await turns(5);
  source.push('');
  source.push(null);
  t.is((await rest).length, 0);
  t.true(stream.atEof());
});

test('each string is encoded on its own: a lone surrogate, or half of a split pair, becomes U+FFFD', async (t) => {
  await using stream = await connectReadPipe(Readable.from(['a\ud83d', '\ude00b', '\ud83d\ude00', '\udc00']));
  t.is(String(await stream.read()), 'a\ufffd\ufffdb\u{1f600}\ufffd');
});

const strange: readonly [name: string, chunk: unknown, shown: string][] = [
  ['a number', 42, '42'],
  ['an object', { a: 1 }, 'an instance of Object'],
  ['an array', ['b'], 'an array of 1'],
  ['undefined', undefined, 'undefined'],
  ['a boolean', false, 'false'],
  ['wider integers', Uint16Array.of(1), 'an instance of Uint16Array'],
  ['an ArrayBuffer', new ArrayBuffer(1), 'an instance of ArrayBuffer'],
];

for (const [name, chunk, shown] of strange) {
  test(`a chunk that is neither a string nor bytes ends the stream, after the chunks before it: ${name}`, async (t) => {
    const source = chunksOf(['before\n', 'rest', chunk, 'behind\n']);
    const stream = await connectReadPipe(source);
    t.is(String(await stream.readline()), 'before\n');
    t.is(String(await stream.readexactly(4)), 'rest');
    const error = await t.throwsAsync(stream.readline(), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: `read: a chunk of the stream must be a string or a Uint8Array, not ${shown}`,
    });
    t.true(source.destroyed);
    t.true(stream.isClosing());
    t.is(stream.exception(), error);
    await t.throwsAsync(stream.read(), { is: error });
    t.is(stream.bytesRead, 11, 'what comes after it is dropped');
    await t.throwsAsync(stream.close(), { is: error });
  });
}

test('a source is destroyed while an invalid chunk waits: the error names the chunk, after the bytes before it', async (t) => {
  const source = new PassThrough({ objectMode: true });
  const stream = await connectReadPipe(source, { limit: 4 });
  source.write('0123456789');
  await until(() => stream.buffered === 10);
  for (const chunk of ['abc', {}, 'behind']) source.write(chunk);
  source.destroy();
  t.is(String(await stream.readexactly(13)), '0123456789abc');
  await t.throwsAsync(stream.read(), { instanceOf: TypeError, message: /not an instance of Object$/ });
});

test('a null among the chunks is an error of the source', async (t) => {
  const stream = await connectReadPipe(Readable.from(['a', null, 'b']));
  t.is(String(await stream.readexactly(1)), 'a');
  await t.throwsAsync(stream.read(), { code: 'ERR_STREAM_NULL_VALUES' });
});

test('a source in object mode waits while its stream is not read, and everything arrives in order', async (t) => {
  const count = 5000;
  let made = 0;
  const source = Readable.from(
    (function* () {
      for (; made < count; made++) yield made % 2 === 0 ? `line ${made}\n` : Buffer.from(`line ${made}\n`);
    })(),
  );
  await using stream = await connectReadPipe(source, { limit: 100 });
  await until(() => stream.buffered > 200);
  await turns(50);
  t.true(made < 200, `${made} of ${count} chunks were made`);
  let n = 0;
  for await (const line of stream.lines()) t.is(line, `line ${n++}`);
  t.is(n, count);
});

test('close drops later chunks of a source in object mode, even invalid ones', async (t) => {
  const [near, far] = duplexPair({ objectMode: true });
  const stream = await connect({ sock: near });
  far.write('hello\n');
  t.is(String(await stream.readline()), 'hello\n');
  const closed = stream.close();
  far.resume();
  for (const chunk of ['late', {}, 42, Buffer.from('late')]) far.write(chunk);
  far.end();
  await closed;
  t.is(stream.exception(), null);

  // One stream for each direction; the reading one is closed first.
  const [both, other] = duplexPair({ objectMode: true });
  const [reading, writing] = await Promise.all([connectReadPipe(both), connectWritePipe(both)]);
  await reading.close();
  other.resume().write({});
  other.write('dropped');
  await writing.write('last');
  const done = writing.close();
  other.end({});
  await done;
  t.is(writing.exception(), null);
});

test('a Writable in object mode receives Buffers, with back-pressure', async (t) => {
  const chunks: unknown[] = [];
  const waiting: (() => void)[] = [];
  const target = new Writable({
    objectMode: true,
    write(chunk, _encoding, done) {
      chunks.push(chunk);
      waiting.push(done);
    },
  });
  const stream = await connectWritePipe(target);
  void stream.write('text ü\n');
  void stream.writelines(['a', Buffer.from('b')]);
  const large = Buffer.alloc(200_000, 'c');
  let taken = false;
  const written = Promise.resolve(stream.write(large)).then(() => (taken = true));
  await turns(20);
  t.false(taken);
  t.true(stream.writeBufferSize > large.length);
  const freeing = (async () => {
    while (!target.writableFinished) {
      waiting.shift()?.();
      await turns(1);
    }
  })();
  await written;
  await stream.close();
  await freeing;
  t.true(chunks.every((chunk) => Buffer.isBuffer(chunk)));
  t.is(String(Buffer.concat(chunks as Buffer[])), `text ü\nab${String(large)}`);
});

test('connect({ sock }) over a Duplex in object mode works both ways, until an invalid chunk ends it', async (t) => {
  const [near, far] = duplexPair({ objectMode: true });
  const received: unknown[] = [];
  far.on('data', (chunk: unknown) => received.push(chunk));
  const stream = await connect({ sock: near });
  far.write('question\n');
  t.is(String(await stream.readline()), 'question\n');
  await stream.write('answer\n');
  await until(() => received.length > 0);
  t.deepEqual(received, [Buffer.from('answer\n')]);
  stream.unread('un');
  far.write(Buffer.from('read\n'));
  t.is(String(await stream.readline()), 'unread\n');
  far.write('last\n');
  far.write(new Map());
  t.is(String(await stream.readline()), 'last\n');
  const error = await t.throwsAsync(stream.readline(), {
    instanceOf: TypeError,
    code: 'ERR_INVALID_ARG_TYPE',
    message: /not an instance of Map$/,
  });
  const refused = await t.throwsAsync(stream.write('x'), { instanceOf: ConnectionError, code: 'ERR_INVALID_ARG_TYPE' });
  t.is(refused?.cause, error);
  t.true(near.destroyed);
});

/** The other end sees bytes; this end gives objects, some of them empty. */
function halfObjects(): [near: Duplex, far: Duplex] {
  const [a, far] = duplexPair();
  const near = new Duplex({
    objectMode: true,
    read: () => void a.resume(),
    write: (chunk, _encoding, done) => a.write(chunk, done),
    final: (done) => void a.end(done),
    destroy: (error, done) => {
      a.destroy();
      done(error);
    },
  });
  a.pause().on('data', (chunk: Buffer) => {
    near.push('');
    if (!near.push(chunk)) a.pause();
  });
  a.once('end', () => near.push(null));
  return [near, far];
}

test('TLS over a Duplex in object mode, from the start and by startTls, on both sides', async (t) => {
  const { ca, server: identity } = await certificates();
  const ssl = { ca };
  const serverHostname = 'localhost';
  const ways: ((sock: Duplex) => Promise<Stream>)[] = [
    (sock) => connect({ sock, ssl, serverHostname }),
    async (sock) => {
      const stream = await connect({ sock });
      await stream.startTls(ssl, { serverHostname });
      return stream;
    },
  ];
  for (const open of ways) {
    const [near, far] = halfObjects();
    const peer = new tls.TLSSocket(far, { isServer: true, ...identity });
    const body = Buffer.alloc(500_000, '0123456789abcdef');
    peer.on('error', () => {}).end(body);
    const stream = await open(near);
    t.teardown(() => stream.abort());
    t.true((await stream.read()).equals(body));
    // In memory this end does not notice that the other is gone.
    await stream.abort();
    t.true(near.destroyed);
  }

  // The handshake starts in chunks that were received before startTls.
  const [near, far] = halfObjects();
  const server = await connect({ sock: near, serverSide: true });
  t.teardown(() => server.abort());
  far.write('STARTTLS\n');
  const client = tls.connect({ socket: far, ca, servername: 'localhost' }).on('error', () => {});
  client.write('hello\n');
  t.is(String(await server.readline()), 'STARTTLS\n');
  await until(() => server.buffered > 0);
  await server.startTls(identity);
  t.is(String(await server.readline()), 'hello\n');
  client.end();
  t.is((await server.read()).length, 0);
  await server.abort();
});

test('an invalid chunk during the handshake ends the connection with an error', async (t) => {
  const { ca } = await certificates();
  const [near, far] = duplexPair({ objectMode: true });
  const stream = await connect({ sock: near });
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
  far.once('data', () => far.write({ not: 'bytes' }));
  const error = await t.throwsAsync(upgrade, { instanceOf: ConnectionError });
  t.regex(error?.message ?? '', /a string or a Uint8Array, not an instance of Object/);
  t.true(near.destroyed);
  await t.throwsAsync(stream.read(), { is: error });
});

/** What a program may destroy a stream with, and how the error message shows it. */
const REASONS: readonly [string, unknown, RegExp][] = [
  ['a string', 'gone', /the stream was destroyed with "gone"/],
  ['a number', 7, /the stream was destroyed with 7/],
  ['an object', { why: 'not' }, /the stream was destroyed with an instance of Object/],
  ['an Error of another realm', runInNewContext("new Error('from elsewhere')"), /destroyed with from elsewhere/],
];

for (const [what, reason, message] of REASONS) {
  test(`a Node stream destroyed with ${what} fails reads and writes with a ConnectionError`, async (t) => {
    async function* failing(): AsyncGenerator<string> {
      yield 'line\n';
      await Promise.resolve();
      throw reason;
    }
    await using reading = await connectReadPipe(Readable.from(failing()));
    t.is(String(await reading.readline()), 'line\n');
    const error = await t.throwsAsync(reading.readline(), { instanceOf: ConnectionError, code: 'ECONNRESET', message });
    t.is(error.cause, reason);

    const [near] = duplexPair();
    const both = await connect({ sock: near });
    const waiting = both.readline();
    near.destroy(reason as Error);
    await t.throwsAsync(waiting, { instanceOf: ConnectionError, code: 'ECONNRESET', message });
    await t.throwsAsync(both.write('lost'), { instanceOf: ConnectionError, code: 'ECONNRESET', message });

    const [raw] = duplexPair();
    const secured = connect({ sock: raw, ssl: true, serverHostname: 'localhost' });
    raw.destroy(reason as Error);
    await t.throwsAsync(secured, { instanceOf: ConnectionError, message: /^(?!.*undefined).*TLS handshake/ });
  });
}
