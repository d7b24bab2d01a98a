// Runs once for each way of reading: the engine makes no difference to streams.
import { spawn, type ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, createReadStream, createWriteStream, openSync, readSync, writeSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { Duplex, PassThrough, Writable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import { createGzip, gunzipSync } from 'node:zlib';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StateError,
  StreamMode,
  connect,
  connectReadPipe,
  connectWritePipe,
  socketpair,
  type Stream,
} from 'sluice';
import { directory, fifo, openFds, unixPath } from '../fifo.js';
import { turns, until } from '../loopback.js';
import { root } from '../program.js';

/** What a child does with its standard input. */
const COPY = 'process.stdin.pipe(process.stdout);';
const IGNORE = 'setInterval(() => {}, 60_000);';
const READ_ONCE = "process.stdin.once('data', () => process.exit());";

function child(t: ExecutionContext, body: string): ChildProcess {
  const started = spawn(process.execPath, ['-e', body], { stdio: ['pipe', 'pipe', 'inherit'] });
  t.teardown(() => started.kill('SIGKILL'));
  return started;
}

/** The two ends of a connection. */
async function bothEnds(t: ExecutionContext, sockets: boolean): Promise<[Duplex, Duplex]> {
  if (sockets) {
    const pair = await socketpair();
    t.teardown(() => pair.forEach((one) => one.destroy()));
    return pair;
  }
  const ends: Duplex[] = [];
  const waiting: ((() => void) | null)[] = [null, null];
  for (const at of [0, 1]) {
    ends.push(
      new Duplex({
        read: () => {
          const resume = waiting[at];
          waiting[at] = null;
          resume?.();
        },
        write: (chunk, _encoding, callback) => {
          if (ends[1 - at]!.push(chunk)) callback();
          else waiting[1 - at] = callback;
        },
        final: (callback) => {
          ends[1 - at]!.push(null);
          callback();
        },
      }),
    );
  }
  return ends as [Duplex, Duplex];
}

/** A program that has sluice as `S`, with `stdio` as its standard streams. */
function script(
  t: ExecutionContext,
  body: string,
  stdio: ('pipe' | number)[] = ['pipe', 'pipe', 'pipe'],
): ChildProcess {
  const code = `import * as S from ${JSON.stringify(pathToFileURL(join(root, 'dist', 'index.js')).href)};\n${body}`;
  const started = spawn(process.execPath, ['--input-type=module', '-e', code], { stdio, cwd: root });
  t.teardown(() => started.kill('SIGKILL'));
  return started;
}

async function output(program: ChildProcess): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    program[name]?.on('data', (chunk: Buffer) => (texts[name] += chunk.toString('latin1')));
  }
  const [code] = (await once(program, 'close')) as [number | null];
  return { code, ...texts };
}

async function pipeStreams(t: ExecutionContext, limit?: number): Promise<{ reading: Stream; writing: Stream }> {
  const { reader, writer } = fifo(directory(t));
  const reading = await connectReadPipe(reader, { limit });
  const writing = await connectWritePipe(writer);
  t.teardown(() => Promise.all([reading.abort(), writing.abort()]));
  return { reading, writing };
}

// Serial: it counts the fds of the process.
test.serial('bytes and EOF pass through a named pipe', async (t) => {
  const before = openFds();
  const { reading, writing } = await pipeStreams(t, 77);
  t.is(reading.limit, 77);
  t.is(reading.mode, StreamMode.READ);
  t.is(writing.mode, StreamMode.WRITE);
  await writing.write('one\ntwo\nthr');
  t.is(String(await reading.readline()), 'one\n');
  await writing.writeEof();
  t.is(String(await reading.read()), 'two\nthr');
  t.true(reading.atEof());
  await Promise.all([reading.waitClosed(), writing.waitClosed()]);
  await Promise.all([reading.close(), writing.close()]);
  // Fewer, if the runtime had a file of its own open before.
  t.true((openFds() ?? 0) <= (before ?? 0));
});

test('a read pipe refuses writes, and a write pipe refuses reads', async (t) => {
  const { reading, writing } = await pipeStreams(t);
  const error = { instanceOf: StateError, code: 'ERR_STREAM_READ_ONLY', message: 'write: The stream is read-only' };
  await t.throwsAsync(reading.write('x'), error);
  await t.throwsAsync(reading.sendfile('/etc/passwd'), { ...error, message: 'sendfile: The stream is read-only' });
  await t.throwsAsync(writing.read(), {
    instanceOf: StateError,
    code: 'ERR_STREAM_WRITE_ONLY',
    message: 'read: The stream is write-only',
  });
});

test('close of a read pipe resolves while the writer is open, whose next write fails', async (t) => {
  const { reading, writing } = await pipeStreams(t);
  const waiting = reading.read(5);
  await reading.close();
  t.is((await waiting).length, 0);
  await t.throwsAsync(
    async () => {
      for (;;) await writing.write('anyone?');
    },
    { instanceOf: ConnectionError },
  );
  await t.throwsAsync(writing.waitClosed(), { instanceOf: ConnectionError, code: 'EPIPE' });
});

// Serial: it counts the fds of the process.
test.serial('write and drain wait while a pipe is full, and resolve when it is read', async (t) => {
  const { reader, writer } = fifo(directory(t));
  const before = openFds();
  const writing = await connectWritePipe(writer);
  const data = Buffer.alloc(1024 * 1024, 'clog');
  let written = false;
  let drained = false;
  void writing.write(data).then(() => (written = true));
  void writing.drain().then(() => (drained = true));
  await turns(50);
  t.deepEqual([written, drained], [false, false]);
  const reading = await connectReadPipe(reader);
  const got = await reading.readexactly(data.length);
  t.true(got.equals(data));
  await until(() => written && drained);
  await writing.close();
  await reading.close();
  t.is(openFds(), before === null ? null : before - 2);
});

test('a reader that goes away rejects the pending write and drain with EPIPE', async (t) => {
  const { reader, writer } = fifo(directory(t));
  const writing = await connectWritePipe(writer);
  const pending = [writing.write(Buffer.alloc(1024 * 1024)), writing.drain(), writing.flush()];
  await turns(20);
  closeSync(reader);
  for (const one of pending) await t.throwsAsync(one, { instanceOf: ConnectionError, code: 'EPIPE' });
  await t.throwsAsync(writing.close(), { instanceOf: ConnectionError, code: 'EPIPE' });
  t.is((writing.exception() as ConnectionError).code, 'EPIPE');
});

test('a process that writes to a pipe waits while its stream is not read, and no data is lost', async (t) => {
  const total = 8 * 1024 * 1024;
  // It reports each block written on its standard error.
  const body = `
    const { writeSync } = await import('node:fs');
    const block = Buffer.alloc(65536);
    for (let at = 0; at < ${total}; at += block.length) {
      block.fill(at / 65536);
      for (let done = 0; done < block.length;) {
        try { done += writeSync(1, block, done); } catch (e) { if (e.code !== 'EAGAIN') throw e; }
      }
      writeSync(2, '.');
    }`;
  const program = script(t, body);
  let blocks = 0;
  program.stderr?.on('data', (dots: Buffer) => (blocks += dots.length));
  const stream = await connectReadPipe(program.stdout as NonNullable<typeof program.stdout>, { limit: 1000 });
  await until(() => blocks > 0);
  for (let before = -1; before !== blocks;) {
    before = blocks;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  t.true(blocks * 65536 < total / 4, `${blocks} blocks`);
  t.true(stream.buffered <= 256 * 1024);
  const hash = createHash('sha256');
  let size = 0;
  for (;;) {
    const piece = await stream.read(100_000);
    if (piece.length === 0) break;
    hash.update(piece);
    size += piece.length;
  }
  t.is(size, total);
  const expected = createHash('sha256');
  for (let i = 0; i < total / 65536; i++) expected.update(Buffer.alloc(65536, i));
  t.is(hash.digest('hex'), expected.digest('hex'));
});

test('the stdout of a child is read line by line, its stdin is written to', async (t) => {
  const cat = child(t, COPY);
  const lines = await connectReadPipe(cat.stdout as NonNullable<typeof cat.stdout>);
  const input = await connectWritePipe(cat.stdin as NonNullable<typeof cat.stdin>);
  const got: string[] = [];
  const reading = (async () => {
    for await (const line of lines) got.push(String(line));
  })();
  for (let i = 0; i < 2000; i++) await input.write(`line ${i}\n`);
  await input.close();
  await reading;
  t.is(got.length, 2000);
  t.is(got[1999], 'line 1999\n');
  await lines.close();
});

test('a child that does not read causes back-pressure; one that was killed, EPIPE', async (t) => {
  const sleeper = child(t, IGNORE);
  const input = await connectWritePipe(sleeper.stdin as NonNullable<typeof sleeper.stdin>);
  let taken = false;
  const writing = input.write(Buffer.alloc(4 * 1024 * 1024)).then(() => (taken = true));
  await turns(50);
  t.false(taken);
  sleeper.kill('SIGKILL');
  await t.throwsAsync(writing, { instanceOf: ConnectionError, code: 'EPIPE', message: /^(?!.*\bread\b)/ });
  await t.throwsAsync(input.write('more'), { instanceOf: ConnectionError, code: 'EPIPE' });
});

test('a pipe that is destroyed during a write rejects with EPIPE, whatever error Node gives', async (t) => {
  const sleeper = child(t, IGNORE);
  const stdin = sleeper.stdin as NonNullable<typeof sleeper.stdin>;
  const input = await connectWritePipe(stdin);
  const writing = input.write(Buffer.alloc(4 * 1024 * 1024));
  await turns(5);
  // As Node does when it notices the end of a child before that of its pipe.
  stdin.destroy(Object.assign(new Error('write ECANCELED'), { code: 'ECANCELED' }));
  await t.throwsAsync(writing, { instanceOf: ConnectionError, code: 'EPIPE', message: /^(?!.*\bread\b)/ });
  await t.throwsAsync(input.write('more'), { instanceOf: ConnectionError, code: 'EPIPE' });
});

test('a write that fails with EOF, as on Windows when the reader of a pipe goes away, rejects with EPIPE', async (t) => {
  for (const both of [false, true]) {
    const stream = new Duplex({ read: () => {}, write: () => {} });
    const writing = both ? await connect({ sock: stream }) : await connectWritePipe(stream);
    const pending = writing.write(Buffer.alloc(4 * 1024 * 1024));
    await turns(5);
    stream.destroy(Object.assign(new Error('write EOF'), { code: 'EOF', errno: -4095, syscall: 'write' }));
    const broken = { instanceOf: ConnectionError, code: 'EPIPE', message: /^write: .*broken pipe$/ };
    await t.throwsAsync(pending, broken);
    await t.throwsAsync(writing.write('more'), broken);
    t.is((writing.exception() as ConnectionError).message, 'write: broken pipe');
  }
});

test('after a child has read everything and ended, close resolves and a write rejects with EPIPE', async (t) => {
  // One child leaves data unread, which the system reports as a reset.
  for (const unread of [false, true]) {
    for (const writes of [false, true]) {
      const done = unread ? child(t, IGNORE) : child(t, READ_ONCE);
      const input = await connectWritePipe(done.stdin as NonNullable<typeof done.stdin>);
      const gone = Promise.all([once(done, 'exit'), once(done.stdin as NonNullable<typeof done.stdin>, 'close')]);
      await input.write('x\n');
      if (unread) done.kill('SIGKILL');
      await gone;
      await turns(5);
      if (writes) {
        const error = { instanceOf: ConnectionError, code: 'EPIPE', message: /^write: (?!.*\bread\b)/ };
        await t.throwsAsync(input.write('y'), error);
      }
      await t.notThrowsAsync(input.waitClosed());
      await t.notThrowsAsync(input.close());
      t.is(input.exception(), null);
    }
  }
});

for (const kind of ['sockets', 'Duplexes']) {
  for (const first of ['reading', 'writing'] as const) {
    test(`one stream for each direction of a Duplex, ${first} closed first: ${kind}`, async (t) => {
      const [a, b] = await bothEnds(t, kind === 'sockets');
      const peer = await connect({ sock: b });
      const streams = { reading: await connectReadPipe(a, { limit: 1000 }), writing: await connectWritePipe(a) };
      const { reading, writing } = streams;
      await peer.write('to a\n');
      t.is(String(await reading.readline()), 'to a\n');
      if (first === 'reading') {
        const big = Buffer.alloc(5_000_000, 'big');
        const sent = writing.write(big);
        // Far more than the limit, so reading is paused when it is closed; and the peer sends on.
        const dropped = Array.from({ length: 10 }, () => peer.write(Buffer.alloc(1_000_000)));
        await until(() => peer.writeBufferSize > 0);
        await reading.close();
        t.false(a.destroyed);
        await Promise.all(dropped);
        await peer.drain();
        t.true((await peer.readexactly(big.length)).equals(big));
        await sent;
        await writing.write('more\n');
        t.is(String(await peer.readline()), 'more\n');
        await writing.close();
        t.is((await peer.read()).length, 0);
      } else {
        await writing.write('from a\n');
        await writing.close();
        t.false(a.destroyed);
        t.is(String(await peer.read()), 'from a\n');
        await peer.write('still\n');
        t.is(String(await reading.readline()), 'still\n');
        await reading.close();
      }
      await until(() => a.destroyed);
      t.is(reading.exception(), null);
      t.is(writing.exception(), null);
      await peer.close().catch(() => {});
    });
  }
}

test('fs streams of a named pipe are accepted', async (t) => {
  const { path, reader, writer } = fifo(directory(t));
  // Both ends are open already, so that neither open waits for the other.
  const reading = await connectReadPipe(createReadStream(path));
  const writing = await connectWritePipe(createWriteStream(path));
  await writing.write('through fs\n');
  t.is(String(await reading.readline()), 'through fs\n');
  await writing.close();
  closeSync(reader);
  closeSync(writer);
  t.is((await reading.read()).length, 0);
  await reading.close();
});

test('a connected Unix socket can be a read pipe', async (t) => {
  const path = unixPath(t);
  const program = script(
    t,
    `const net = await import('node:net');
     const server = net.createServer((s) => { s.end('from the server\\n'); server.close(); });
     server.listen(${JSON.stringify(path)}, () => console.log('ready'));`,
  );
  await once(program.stdout as NonNullable<typeof program.stdout>, 'data');
  const connected = net.connect(path);
  t.teardown(() => connected.destroy());
  await once(connected, 'connect');
  const stream = await connectReadPipe(connected);
  t.is(String(await stream.read()), 'from the server\n');
  await stream.close();
});

test('fd 0 can be a socket', async (t) => {
  // Node gives its children sockets as pipes.
  const program = script(
    t,
    `const stream = await S.connectReadPipe(0);
     for await (const line of stream) console.log('got ' + line);
     console.log('end');`,
  );
  program.stdin?.end('a\nb\n');
  const { code, stdout } = await output(program);
  t.is(stdout, 'got a\n\ngot b\n\nend\n');
  t.is(code, 0);
});

test('a closed stream over process.stdin does not keep the process alive', async (t) => {
  const program = script(
    t,
    `const stream = await S.connectReadPipe(process.stdin);
     const line = await stream.readline();
     await stream.close();
     console.log('closed after ' + line);`,
  );
  // The other end stays open.
  program.stdin?.write('one\ntwo\n');
  const { code, stdout } = await output(program);
  t.is(stdout, 'closed after one\n\n');
  t.is(code, 0);
});

for (const pipe of ['process.stdout', '1']) {
  test(`${pipe}: closing the stream flushes it and leaves standard output open`, async (t) => {
    const program = script(
      t,
      `const big = 'x'.repeat(300000) + '\\n';
       for (let i = 0; i < 3; i++) {
         const stream = await S.connectWritePipe(${pipe});
         stream.write(big);
         stream.writelines(['a', 'b\\n']);
         if (i === 1) await stream.writeEof();
         await stream.close();
         console.log('open after ' + i);
         if (process.stdout.listenerCount('error') > 0) console.log('a listener is left');
       }`,
    );
    const { code, stdout, stderr } = await output(program);
    const big = `${'x'.repeat(300000)}\nab\n`;
    t.is(stderr, '');
    t.true(stdout === [0, 1, 2].map((i) => `${big}open after ${i}\n`).join(''));
    t.is(code, 0);
  });
}

test('many streams over standard output cause no leak warning, and leave no listener', async (t) => {
  const program = script(
    t,
    `const before = process.stdout.getMaxListeners();
     const streams = [];
     for (let i = 0; i < 30; i++) streams.push(await S.connectWritePipe(i % 2 ? process.stdout : 1));
     for (const [i, stream] of streams.entries()) await stream.write(i + ' ');
     process.stdout.removeAllListeners('error');
     streams.push(await S.connectWritePipe(process.stdout));
     if (process.stdout.listenerCount('error') !== 1) console.log('not listened to');
     for (const stream of streams) await stream.close();
     if (process.stdout.listenerCount('error') > 0) console.log('a listener is left');
     if (process.stdout.getMaxListeners() !== before) console.log('another limit');`,
  );
  const { code, stdout, stderr } = await output(program);
  t.is(stderr, '');
  t.is(stdout, Array.from({ length: 30 }, (_, i) => `${i} `).join(''));
  t.is(code, 0);
});

test('a broken standard output rejects, and does not end the process', async (t) => {
  const program = script(
    t,
    `const stream = await S.connectWritePipe(process.stdout);
     process.stdin.once('data', async () => {
       const codes = [];
       for (let i = 0; i < 100 && codes.length === 0; i++) {
         await stream.write('x'.repeat(100000)).catch((e) => codes.push(e.name, e.code));
         await new Promise(setImmediate);
       }
       await stream.drain().catch((e) => codes.push(e.code));
       await stream.abort();
       process.stderr.write(codes.join());
       process.stdin.destroy();
     });
     process.stderr.write('ready');`,
  );
  const { stderr, stdin, stdout } = program;
  await once(stderr as NonNullable<typeof stderr>, 'data');
  stdout?.destroy();
  await once(stdout as NonNullable<typeof stdout>, 'close');
  stdin?.write('go');
  const result = await output(program);
  t.is(result.stderr, 'ConnectionError,EPIPE,EPIPE');
  t.is(result.code, 0);
});

test('standard output may be a file, its fd may not', async (t) => {
  const path = join(directory(t), 'out');
  const fd = openSync(path, 'w+');
  const body = `const stream = await S.connectWritePipe(process.stdout); await stream.write('to a file\\n'); await stream.close();
    await S.connectWritePipe(1).catch((e) => process.stderr.write(e.code));`;
  const program = script(t, body, ['pipe', fd, 'pipe']);
  const { code, stderr } = await output(program);
  const text = Buffer.alloc(100);
  const size = readSync(fd, text, 0, 100, 0);
  closeSync(fd);
  t.is(text.toString('latin1', 0, size), 'to a file\n');
  t.is(stderr, 'ERR_INVALID_FD_TYPE');
  t.is(code, 0);
});

// eslint-disable-next-line no-restricted-syntax -- script(1) has other options elsewhere
(process.platform === 'linux' ? test : test.skip)('the fds of a terminal can be read and written', async (t) => {
  // script(1) gives the program a terminal of its own.
  const body = `
    const fs = await import('node:fs');
    const stream = await S.connectWritePipe(fs.openSync('/dev/tty', 'w'));
    const input = await S.connectReadPipe(fs.openSync('/dev/tty', 'r'));
    await stream.write('prompt\\n');
    const line = await input.readline();
    await stream.write('heard ' + line);
    await stream.close();
    await input.close();`;
  const url = pathToFileURL(join(root, 'dist', 'index.js')).href;
  const code = `import * as S from '${url}';${body}`;
  const program = spawn('script', ['-qec', `"$SLUICE_NODE" --input-type=module -e "$SLUICE_CODE"`, '/dev/null'], {
    env: { ...process.env, SLUICE_NODE: process.execPath, SLUICE_CODE: code, SHELL: '/bin/sh' },
    cwd: root,
  });
  t.teardown(() => program.kill('SIGKILL'));
  const result = output(program);
  await once(program.stdout, 'data');
  program.stdin.write('words\n');
  const { stdout, code: status } = await result;
  t.regex(stdout, /prompt\r\n/);
  t.regex(stdout, /heard words\r\n/);
  t.is(status, 0);
});

test('other Node streams, a PassThrough and a Writable, are accepted', async (t) => {
  const through = new PassThrough();
  const reading = await connectReadPipe(through);
  t.is(reading.getExtraInfo('pipe'), through);
  through.write('ab');
  t.is(String(await reading.readexactly(2)), 'ab');
  const failure = new Error('the source broke');
  through.destroy(failure);
  await t.throwsAsync(reading.read(), { is: failure });

  const chunks: Buffer[] = [];
  const target = new Writable({
    write(chunk: Buffer, _encoding, done) {
      chunks.push(chunk);
      setImmediate(done);
    },
  });
  const writing = await connectWritePipe(target);
  await writing.writelines(['a', 'b', Buffer.alloc(10_000, 'c')]);
  await writing.close();
  t.is(Buffer.concat(chunks).length, 10_002);
  t.true(target.writableFinished);
});

for (const end of ['close', 'writeEof and close', 'disposal'] as const) {
  test(`a Transform accepts everything before all its output is read: ${end} truncates nothing`, async (t) => {
    const data = randomBytes(300_000);
    const gzip = createGzip();
    const stream = await connectWritePipe(gzip);
    const chunks: Buffer[] = [];
    gzip.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      gzip.pause();
      setImmediate(() => gzip.resume());
    });
    const closed = once(gzip, 'close');
    for (let at = 0; at < data.length; at += 1000) void stream.write(data.subarray(at, at + 1000));
    if (end === 'writeEof and close') await stream.writeEof();
    if (end === 'disposal') await stream[Symbol.asyncDispose]();
    else await stream.close();
    t.is(stream.exception(), null);
    await closed;
    t.true(gunzipSync(Buffer.concat(chunks)).equals(data));
  });
}

test('a Transform is destroyed by abort, and when the second of two streams over it is closed', async (t) => {
  const aborted = createGzip();
  const stream = await connectWritePipe(aborted);
  await stream.write('x');
  await stream.abort();
  t.true(aborted.destroyed);

  const both = new PassThrough();
  const reading = await connectReadPipe(both);
  const writing = await connectWritePipe(both);
  await writing.write('x');
  await reading.close();
  t.false(both.destroyed);
  await writing.close();
  t.true(both.destroyed);
});

test('a stream that has ended reads as EOF, a destroyed one rejects with its error', async (t) => {
  const over = new PassThrough();
  over.end();
  over.resume();
  await once(over, 'close');
  const stream = await connectReadPipe(over);
  t.is((await stream.read()).length, 0);
  await stream.close();
  const broken = new PassThrough();
  broken.on('error', () => {}).destroy(new Error('broken before'));
  await t.throwsAsync((await connectReadPipe(broken)).read(), { message: 'broken before' });
});

test('invalid arguments reject, and the fd is left unchanged', async (t) => {
  const { reader, writer } = fifo(directory(t));
  for (const make of [connectReadPipe, connectWritePipe] as ((...values: unknown[]) => Promise<Stream>)[]) {
    await t.throwsAsync(make('/tmp/fifo'), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
    await t.throwsAsync(make(reader, { limit: 0 }), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
    await t.throwsAsync(make(reader, 'x'), { instanceOf: TypeError });
    await t.throwsAsync(make(999_999), { instanceOf: ConnectionError, code: 'EBADF' });
  }
  for (const options of [{ encoding: 'utf8' }, { encoding: 'utf8', objectMode: true }] as const) {
    await t.throwsAsync(connectReadPipe(new PassThrough(options)), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: 'connectReadPipe: pipe must be a stream of bytes, not a stream that decodes utf8',
    });
  }
  const fd = openSync('/etc/passwd', 'r');
  await t.throwsAsync(connectReadPipe(fd), { instanceOf: TypeError, code: 'ERR_INVALID_FD_TYPE' });
  closeSync(fd);
  writeSync(writer, 'x');
  t.is(readSync(reader, Buffer.alloc(1)), 1);
  closeSync(reader);
  closeSync(writer);
});
