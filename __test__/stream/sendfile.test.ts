// Runs once for each engine: the addon moves the position of a file; incoming data does not matter.
import { createHash, randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readSync } from 'node:fs';
import { appendFile, chmod, open, truncate, writeFile } from 'node:fs/promises';
import net from 'node:net';
import tls from 'node:tls';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StateError,
  connect,
  connectWritePipe,
  engine,
  type SendfileSource,
  type Stream,
} from 'sluice';
import { certificates } from '../certificates.js';
import { directory, fifo, openFds } from '../fifo.js';
import { gather, streamAndPeer, turns, until } from '../loopback.js';
import { seed } from '../seed.js';

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

// eslint-disable-next-line no-restricted-syntax -- only Linux shows the position of an open file
const onLinux = process.platform === 'linux' ? test : test.skip;
// eslint-disable-next-line no-restricted-syntax -- without the binary, and on Windows, the position cannot be set
const moving = engine === 'native' && process.platform !== 'win32' ? test : test.skip;

async function fileOf(t: ExecutionContext, data: Uint8Array | string): Promise<string> {
  const path = join(directory(t), 'file');
  await writeFile(path, data);
  return path;
}

/** A stream over memory, and the text sent so far. */
async function memory(): Promise<{ stream: Stream; text: () => string }> {
  const far = new PassThrough();
  const chunks: Buffer[] = [];
  far.on('data', (chunk: Buffer) => chunks.push(chunk));
  return { stream: await connectWritePipe(far), text: () => Buffer.concat(chunks).toString('latin1') };
}

async function all(t: ExecutionContext, send: (stream: Stream) => Promise<unknown>): Promise<Buffer> {
  const { stream, peer } = await streamAndPeer(t);
  const got = gather(peer);
  await send(stream);
  await stream.writeEof();
  const data = await got;
  peer.end();
  await stream.close();
  return data;
}

test.serial(
  'sendfile sends every byte of a large file after earlier writes, in constant memory, and leaves no fd open',
  async (t) => {
    const before = openFds();
    const data = randomBytes(24 * 1024 * 1024 + 7);
    const path = await fileOf(t, data);
    const { stream, peer } = await streamAndPeer(t);
    const hash = createHash('sha256');
    let size = 0;
    peer.on('data', (chunk: Buffer) => {
      hash.update(chunk);
      size += chunk.length;
    });
    void stream.write('header\n');
    t.is(await stream.sendfile(path), data.length);
    t.is(stream.bytesWritten, data.length + 7);
    await stream.close();
    await until(() => size === data.length + 7);
    peer.end();
    t.is(hash.digest('hex'), createHash('sha256').update('header\n').update(data).digest('hex'));
    await until(() => peer.destroyed);
    if (before !== null) t.true((openFds() ?? 0) <= before + 1, 'but for the listener');
  },
);

test('sendfile takes a path, a URL, a FileHandle or an fd, and leaves open files open', async (t) => {
  const path = await fileOf(t, '0123456789');
  const handle = await open(path);
  const fd = openSync(path, 'r');
  const data = await all(t, async (stream) => {
    for (const file of [path, pathToFileURL(path), handle, fd]) t.is(await stream.sendfile(file), 10);
  });
  t.is(String(data), '0123456789'.repeat(4));
  t.is((await handle.stat()).size, 10);
  await handle.close();
  closeSync(fd);
});

test('sendfile sends count bytes from offset, or fewer at the end of the file', async (t) => {
  const path = await fileOf(t, '0123456789');
  const { stream, text } = await memory();
  t.is(await stream.sendfile(path, 3), 7);
  t.is(await stream.sendfile(path, 2, 3), 3);
  t.is(await stream.sendfile(path, 8, 100), 2);
  t.is(await stream.sendfile(path, 10), 0);
  t.is(await stream.sendfile(path, 1000, 5), 0);
  await stream.flush();
  t.is(text(), '345678923489');
  await stream.close();
});

test('sendfile of an empty file sends nothing', async (t) => {
  const { stream, text } = await memory();
  t.is(await stream.sendfile(await fileOf(t, '')), 0);
  await stream.write('after');
  await stream.flush();
  t.is(text(), 'after');
  await stream.close();
});

/** Where the next read without a position starts, as the byte there: each byte of the file differs. */
function positionOf(fd: number): number | 'EOF' {
  const byte = Buffer.alloc(1);
  return readSync(fd, byte, 0, 1, null) === 1 ? byte[0]! : 'EOF';
}

const COUNTING = Uint8Array.from({ length: 256 }, (_, i) => i);

moving('the position of an open file is after the bytes sent, wherever it was before', async (t) => {
  const path = await fileOf(t, COUNTING);
  const { stream } = await memory();
  const fd = openSync(path, 'r');
  const handle = await open(path);
  for (const [file, number] of [
    [fd, fd],
    [handle, handle.fd],
  ] as const) {
    for (const [offset, count] of [
      [0, 4],
      [7, 2],
      [200, 20],
      [0, 1],
      [100, 50],
      [3, undefined],
      [255, 9],
      [0, 200],
    ] as const) {
      const sent = await stream.sendfile(file, offset, count);
      t.is(sent, Math.min(count ?? 256, 256 - offset));
      t.is(positionOf(number), offset + sent === 256 ? 'EOF' : offset + sent, `${offset}, ${count}`);
    }
  }
  closeSync(fd);
  await handle.close();
  await stream.close();
});

onLinux('without the binary the position is moved forward only', async (t) => {
  const path = await fileOf(t, COUNTING);
  const source = `
    import { openSync, readSync } from 'node:fs';
    import { PassThrough } from 'node:stream';
    import { connectWritePipe, engine } from 'sluice';
    const stream = await connectWritePipe(new PassThrough().resume());
    const fd = openSync(process.env.FILE, 'r');
    const byte = Buffer.alloc(1);
    const positions = [];
    for (const [offset, count] of [[0, 4], [100, 20], [120, 5], [60, 100], [3, 2]]) {
      await stream.sendfile(fd, offset, count);
      readSync(fd, byte, 0, 1, null);
      positions.push(byte[0]);
    }
    await stream.close();
    console.log(JSON.stringify([engine, ...positions]));`;
  const env = { ...process.env, FILE: path, SLUICE_ENGINE: 'typescript' };
  const args = ['--input-type=module', '--eval', source];
  t.deepEqual(JSON.parse(execFileSync(process.execPath, args, { env, encoding: 'utf8' })), [
    'typescript',
    ...[4, 120, 125, 160, 161],
  ]);
});

moving('if nothing is sent, the position does not change', async (t) => {
  const path = await fileOf(t, COUNTING);
  const { stream } = await memory();
  const fd = openSync(path, 'r');
  t.is(positionOf(fd), 0);
  t.is(await stream.sendfile(fd, 1000), 0);
  t.is(positionOf(fd), 1);
  await t.throwsAsync(stream.sendfile(fd, 5, 5, { signal: AbortSignal.abort(new Error('no')) }));
  t.is(positionOf(fd), 2);
  closeSync(fd);
  await stream.close();
});

moving('a failed sendfile leaves the position after the bytes sent', async (t) => {
  // Each eight bytes hold their own position.
  const data = Buffer.alloc(16 * 1024 * 1024);
  for (let at = 0; at < data.length; at += 8) data.writeDoubleLE(at, at);
  const path = await fileOf(t, data);
  const word = Buffer.alloc(8);
  const place = (fd: number): number => {
    t.is(readSync(fd, word, 0, 8, null), 8);
    return word.readDoubleLE(0);
  };

  // By the signal: the rest of the file starts there.
  const { stream, peer } = await streamAndPeer(t);
  const fd = openSync(path, 'r');
  const controller = new AbortController();
  const sending = stream.sendfile(fd, 80, undefined, { signal: controller.signal });
  await until(() => stream.bytesWritten > 262_144);
  controller.abort(new Error('enough'));
  await t.throwsAsync(sending, { message: 'enough' });
  const at = place(fd);
  t.true(at > 80 && at < data.length, `${at}`);
  t.is(at, 80 + stream.bytesWritten);
  const got = gather(peer);
  await stream.writeEof();
  t.deepEqual(digest(await got), digest(data.subarray(80, at)));
  peer.end();
  await stream.close();
  closeSync(fd);

  // By the loss of the connection, also for a file that was closed meanwhile: the error is that of the connection.
  for (const close of [false, true]) {
    const { stream, peer } = await streamAndPeer(t);
    const handle = await open(path);
    const sending = stream.sendfile(handle);
    await until(() => stream.bytesWritten > 262_144);
    peer.resetAndDestroy();
    if (close) await Promise.all([handle.close(), t.throwsAsync(sending, { instanceOf: Error })]);
    else {
      await t.throwsAsync(sending, { instanceOf: ConnectionError });
      const at = place(handle.fd);
      t.true(at > 0 && at < data.length && at % 131072 === 0, `${at}`);
      await handle.close();
    }
    await stream.abort();
  }
});

test('writes during sendfile are sent after the file, in the order of the calls', async (t) => {
  const path = await fileOf(t, randomBytes(700_001));
  const other = await fileOf(t, 'the second');
  const { readFile } = await import('node:fs/promises');
  const file = await readFile(path);
  const data = await all(t, async (stream) => {
    void stream.write('before ');
    const first = stream.sendfile(path);
    void stream.write('between ');
    void stream.writelines(['and ', Buffer.alloc(5000, 'x')]);
    const second = stream.sendfile(other);
    void stream.write(' after');
    const flushed = stream.flush();
    t.is(await first, file.length);
    t.is(await second, 10);
    await flushed;
    t.is(stream.bytesWritten, 7 + file.length + 12 + 5000 + 10 + 6);
  });
  const tail = `between and ${'x'.repeat(5000)}the second after`;
  t.is(digest(data), digest(Buffer.concat([Buffer.from('before '), file, Buffer.from(tail)])));
});

test('changing a buffer after a write during sendfile does not change what is sent', async (t) => {
  const path = await fileOf(t, 'file ');
  const { stream, text } = await memory();
  const buffer = Buffer.from('right');
  const sending = stream.sendfile(path);
  void stream.write(buffer);
  buffer.fill('!');
  await sending;
  await stream.flush();
  t.is(text(), 'file right');
  await stream.close();
});

test('writeEof and close wait for the file', async (t) => {
  const content = randomBytes(2_000_000);
  const path = await fileOf(t, content);
  for (const end of ['writeEof', 'close'] as const) {
    const { stream, peer } = await streamAndPeer(t);
    const got = gather(peer);
    const sending = stream.sendfile(path);
    void stream.write('!');
    const ended = stream[end]();
    await t.throwsAsync(stream.sendfile(path), { code: end === 'close' ? 'ECONNRESET' : 'ERR_WRITE_AFTER_EOF' });
    t.is(await sending, content.length);
    const data = await got;
    t.is(digest(data), digest(Buffer.concat([content, Buffer.from('!')])));
    peer.end();
    await ended;
    await stream.close();
  }
});

test('writes during sendfile count for back-pressure', async (t) => {
  const path = await fileOf(t, Buffer.alloc(16 * 1024 * 1024));
  const { stream, peer } = await streamAndPeer(t);
  const sending = stream.sendfile(path);
  let drained = false;
  const writing = stream.write(Buffer.alloc(100_000)).then(() => (drained = true));
  await turns(30);
  t.false(drained);
  peer.resume();
  await sending;
  await writing;
  t.true(drained);
  await stream.abort();
});

test('a file that shrinks or grows while it is sent: sendfile returns the number of bytes sent', async (t) => {
  const size = 32 * 1024 * 1024;
  for (const change of ['shrinks', 'grows'] as const) {
    const path = await fileOf(t, Buffer.alloc(size, 'a'));
    const { stream, peer } = await streamAndPeer(t);
    // The peer reads nothing: most of the file is not read yet.
    const sending = stream.sendfile(path);
    await turns(30);
    if (change === 'shrinks') await truncate(path, 1000);
    else await appendFile(path, 'more');
    let got = 0;
    peer.on('data', (chunk: Buffer) => (got += chunk.length));
    const sent = await sending;
    if (change === 'shrinks') t.true(sent < size, `${sent}`);
    else t.is(sent, size + 4);
    await stream.flush();
    await until(() => got === sent);
    await stream.abort();
  }
});

test('sendfile with fallback: false rejects with ERR_SENDFILE_NOT_AVAILABLE', async (t) => {
  const { stream, text } = await memory();
  await t.throwsAsync(stream.sendfile(await fileOf(t, 'x'), 0, undefined, { fallback: false }), {
    instanceOf: StateError,
    code: 'ERR_SENDFILE_NOT_AVAILABLE',
  });
  await stream.write('y');
  await stream.flush();
  t.is(text(), 'y');
  await stream.close();
});

test.serial('files that cannot be sent: the error says why, the stream stays usable, no fd is left open', async (t) => {
  const dir = directory(t);
  const path = join(dir, 'none');
  const { path: pipe, reader, writer } = fifo(dir);
  const before = openFds();
  const { stream, text } = await memory();
  const refused = async (file: SendfileSource, message: string, facts: object): Promise<void> => {
    const error = await t.throwsAsync(stream.sendfile(file, 1, 2), { message });
    t.like(error, facts);
  };
  await refused(path, `sendfile: ${path}, offset 1, count 2: no such file or directory`, {
    ...{ code: 'ENOENT', syscall: 'open', path, cause: { code: 'ENOENT' } },
  });
  await refused(dir, `sendfile: ${dir} must be a regular file, not a directory`, { code: 'EISDIR' });
  const folder = openSync(dir, 'r');
  await refused(folder, `sendfile: fd ${folder} must be a regular file, not a directory`, { code: 'EISDIR' });
  closeSync(folder);
  const wrong = { name: 'TypeError', code: 'ERR_INVALID_FD_TYPE' };
  await refused(pipe, `sendfile: ${pipe} must be a regular file, not a pipe`, wrong);
  await refused(reader, `sendfile: fd ${reader} must be a regular file, not a pipe`, wrong);
  await refused('/dev/zero', 'sendfile: /dev/zero must be a regular file, not a character device', wrong);
  await refused(987_654, 'sendfile: fd 987654, offset 1, count 2: bad file descriptor', {
    ...{ code: 'EBADF', cause: { code: 'EBADF' } },
  });
  await t.throwsAsync(stream.sendfile(987_654), { message: 'sendfile: fd 987654, offset 0: bad file descriptor' });
  const closed = await open(dir);
  await closed.close();
  await refused(closed, 'sendfile: a closed FileHandle, offset 1, count 2: file closed', { code: 'EBADF' });
  const writeOnly = openSync(join(dir, 'written'), 'w');
  await refused(
    writeOnly,
    `sendfile: fd ${writeOnly}, offset 1, count 2: it is not open for reading (bad file descriptor)`,
    { code: 'EBADF', syscall: 'read', cause: { code: 'EBADF' } },
  );
  closeSync(writeOnly);
  // A FIFO without a writer: opening it must not wait.
  const lonely = join(dir, 'lonely');
  execFileSync('mkfifo', [lonely]);
  await t.throwsAsync(stream.sendfile(lonely), { code: 'ERR_INVALID_FD_TYPE' });
  if (process.getuid?.() !== 0) {
    await writeFile(path, 'x');
    await chmod(path, 0);
    await t.throwsAsync(stream.sendfile(path), { code: 'EACCES' });
  }
  await stream.write('still here');
  await stream.flush();
  t.is(text(), 'still here');
  await stream.close();
  t.is(openFds(), before);
  closeSync(reader);
  closeSync(writer);
});

test('sendfile refuses invalid arguments', async (t) => {
  const { stream } = await memory();
  const send = stream.sendfile.bind(stream) as (...values: unknown[]) => Promise<number>;
  for (const value of [undefined, null, {}, true]) {
    await t.throwsAsync(send(value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  }
  for (const values of [
    ['x', '0'],
    ['x', 0, '1'],
    ['x', 0, 1, null],
    ['x', 0, 1, { fallback: 1 }],
    ['x', 0, 1, { signal: {} }],
  ]) {
    await t.throwsAsync(send(...values), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  }
  for (const values of [[-1], [1.5], ['x', -1], ['x', 0.5], ['x', 0, 0], ['x', 0, -1], ['x', 2 ** 60]]) {
    await t.throwsAsync(send(...values), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
  }
  await t.throwsAsync(send('a\0b'), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
  await t.throwsAsync(send(new URL('http://localhost/x')), {
    ...{ instanceOf: TypeError, code: 'ERR_INVALID_URL_SCHEME', message: /^sendfile: http:\/\/localhost\/x: / },
  });
  await t.throwsAsync(send('x', 0, 0), { message: 'sendfile: count must be an integer of 1 or more, not 0' });
  await stream.close();
});

test('sendfile on a closed stream rejects with ECONNRESET', async (t) => {
  const path = await fileOf(t, 'x');
  const { stream } = await streamAndPeer(t);
  await stream.close();
  await t.throwsAsync(stream.sendfile(path), { instanceOf: ConnectionError, code: 'ECONNRESET' });
});

test.serial(
  'when the peer goes away, sendfile and the calls after it reject, and the file is closed again',
  async (t) => {
    const path = await fileOf(t, Buffer.alloc(32 * 1024 * 1024));
    const before = openFds();
    const { stream, peer } = await streamAndPeer(t);
    const outcomes = [
      stream.sendfile(path),
      stream.sendfile(path),
      stream.write(Buffer.alloc(100_000)),
      stream.flush(),
    ];
    await turns(30);
    peer.resetAndDestroy();
    const errors = await Promise.all(outcomes.map((one) => t.throwsAsync(one, { instanceOf: ConnectionError })));
    for (const error of errors) t.true(['ECONNRESET', 'EPIPE'].includes(error.code));
    await t.throwsAsync(stream.sendfile(path), { code: (stream.exception() as ConnectionError).code });
    await stream.abort();
    // Except for the listener. Node closes the file on another thread, with some delay.
    await until(() => before === null || (openFds() ?? 0) <= before + 1);
  },
);

test('abort rejects the sendfile in progress and the waiting one', async (t) => {
  const path = await fileOf(t, Buffer.alloc(32 * 1024 * 1024));
  const { stream } = await streamAndPeer(t);
  const sending = stream.sendfile(path);
  const waiting = stream.sendfile(path);
  await turns(30);
  // Both at once, because which of them rejects first depends on the system.
  await Promise.all([
    t.throwsAsync(sending, { instanceOf: ConnectionError, code: 'ECONNRESET', message: /^sendfile: / }),
    t.throwsAsync(waiting, { instanceOf: ConnectionError, code: 'ECONNRESET' }),
    stream.abort(),
  ]);
});

test('a signal ends sendfile, and the stream stays usable', async (t) => {
  const path = await fileOf(t, Buffer.alloc(32 * 1024 * 1024, 'f'));
  const { stream, peer } = await streamAndPeer(t);
  const reason = new Error('enough');
  await t.throwsAsync(stream.sendfile(path, 0, undefined, { signal: AbortSignal.abort(reason) }), { is: reason });
  const first = new AbortController();
  const second = new AbortController();
  const sending = stream.sendfile(path, 0, undefined, { signal: first.signal });
  const waiting = stream.sendfile(path, 0, undefined, { signal: second.signal });
  void stream.write('behind');
  await turns(30);
  // The one that waits for its turn, then the one whose block is in flight.
  second.abort(reason);
  await t.throwsAsync(waiting, { is: reason });
  first.abort(reason);
  await t.throwsAsync(sending, { is: reason });
  void stream.write(' goes on');
  const got = gather(peer);
  await stream.writeEof();
  const text = (await got).toString('latin1');
  t.regex(text, /^f*behind goes on$/);
  t.true(text.length < 32 * 1024 * 1024);
  t.is(stream.bytesWritten, text.length);
  peer.end();
  await stream.close();
});

test('reading works during sendfile', async (t) => {
  const path = await fileOf(t, Buffer.alloc(4 * 1024 * 1024, 'f'));
  const { stream, peer } = await streamAndPeer(t);
  const sending = stream.sendfile(path);
  peer.write('a line\n');
  t.is(String(await stream.readline()), 'a line\n');
  peer.resume();
  t.is(await sending, 4 * 1024 * 1024);
  await stream.abort();
});

test('any sequence of writes and files is sent in the order of the calls', async (t) => {
  let state = seed(t) >>> 0;
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const content = randomBytes(600_000);
  const path = await fileOf(t, content);
  const expected: Buffer[] = [];
  const data = await all(t, async (stream) => {
    const calls: Promise<unknown>[] = [];
    for (let i = 0; i < 150; i++) {
      const choice = random(6);
      if (choice === 0) {
        const offset = random(content.length);
        const count = 1 + random(300_000);
        expected.push(content.subarray(offset, offset + count));
        calls.push(stream.sendfile(path, offset, count));
      } else {
        const piece = Buffer.alloc(random(4) === 0 ? random(60_000) : random(50), 65 + (i % 26));
        expected.push(piece);
        calls.push(stream.write(choice === 1 ? piece.toString('latin1') : piece));
      }
      if (random(8) === 0) await turns(random(4));
      if (random(30) === 0) await Promise.all(calls);
    }
    await Promise.all(calls);
  });
  t.is(digest(data), digest(Buffer.concat(expected)));
});

test('sendfile to a peer that does not read at first sends the whole file', async (t) => {
  const content = randomBytes(9_000_000);
  const path = await fileOf(t, content);
  const server = net.createServer({ pauseOnConnect: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  const accepted = new Promise<net.Socket>((resolve) => server.once('connection', resolve));
  const stream = await connect('127.0.0.1', (server.address() as net.AddressInfo).port);
  const socket = await accepted;
  let sent: number | null = null;
  const sending = stream.sendfile(path).then((count) => (sent = count));
  await turns(50);
  t.is(sent, null);
  const got = gather(socket);
  t.is(await sending, content.length);
  const closing = stream.close();
  t.is(digest(await got), digest(content));
  socket.end();
  await closing;
});

test('sendfile over TLS; around startTls, the order of the calls decides what is encrypted', async (t) => {
  const content = randomBytes(3_000_000);
  const path = await fileOf(t, content);
  const { ca, server: identity } = await certificates();
  const context = tls.createSecureContext(identity);
  const { stream, peer } = await streamAndPeer(t);
  const plain: Buffer[] = [];
  let size = 0;
  // The peer takes the file in plain text, then answers the handshake.
  const upgraded = new Promise<tls.TLSSocket>((resolve) => {
    const onData = (chunk: Buffer): void => {
      plain.push(chunk);
      size += chunk.length;
      if (size < content.length + 6) return;
      peer.off('data', onData);
      peer.pause();
      resolve(new tls.TLSSocket(peer, { isServer: true, secureContext: context }));
    };
    peer.on('data', onData);
  });
  void stream.write('plain ');
  const first = stream.sendfile(path);
  const upgrade = stream.startTls({ ca }, { serverHostname: 'localhost' });
  const second = stream.sendfile(path);
  void stream.write(' end');
  const secure = await upgraded;
  const got = gather(secure);
  await upgrade;
  t.deepEqual(await Promise.all([first, second]), [content.length, content.length]);
  const closing = stream.close();
  const secret = await got;
  secure.end();
  await closing;
  const first6 = Buffer.concat(plain).subarray(0, content.length + 6);
  t.is(digest(first6), digest(Buffer.concat([Buffer.from('plain '), content])));
  t.is(digest(secret), digest(Buffer.concat([content, Buffer.from(' end')])));
});
