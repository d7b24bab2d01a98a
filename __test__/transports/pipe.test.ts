// Runs once: the sink is not a reader, and what depends on the way of reading is tested in both ways.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readSync, readdirSync, readlinkSync, rmSync, writeSync } from 'node:fs';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { Socket, connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex, PassThrough, Readable, type DuplexOptions } from 'node:stream';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError } from '#ts/errors.js';
import { readPipe, writePipe } from '#ts/transports/pipe.js';
import { SocketTransport } from '#ts/transports/socket.js';
import { StreamMode, type Transport, type TransportSink } from '#ts/transports/transport.js';
import { directory, fifo } from '../fifo.js';
import { root } from '../program.js';
import { RecordingSink, transportContract, turns, withReads, written, type PairMaker } from '../transport-contract.js';

/**
 * One end of two pipes in opposite directions. It closes as a duplex does: it sends its EOF, then drops incoming bytes
 * until there are none.
 */
class BothWays implements Transport {
  readonly mode = StreamMode.READWRITE;
  readonly #in: Transport;
  readonly #out: Transport;
  #sink: TransportSink | null = null;
  #open = 2;
  #reason: Error | null = null;
  #closing = false;
  #outLost = false;
  #dropped = 0;

  constructor(input: Transport, output: Transport) {
    this.#in = input;
    this.#out = output;
  }

  expectClose(timeout: number): void {
    this.#out.expectClose(timeout);
  }

  start(sink: TransportSink): void {
    this.#sink = sink;
    const drop = (count: number): boolean => {
      this.#dropped += count;
      return true;
    };
    this.#in.start({
      readTarget: (ahead) => (this.#closing ? null : sink.readTarget(ahead)),
      commit: (count) => (this.#closing ? drop(count) : sink.commit(count)),
      feed: (chunk) => (this.#closing ? drop(chunk.length) : sink.feed(chunk)),
      eof: () => {
        if (!this.#closing) sink.eof();
      },
      closed: (error) => {
        if (error !== null) this.#out.abort();
        this.#lost(error);
      },
    });
    this.#out.start({
      readTarget: () => null,
      commit: () => false,
      feed: () => false,
      eof: () => {},
      closed: (error) => {
        this.#outLost = true;
        if (this.#closing) void this.#linger();
        else if (error !== null) this.#in.resumeReading();
        this.#lost(error);
      },
    });
  }

  async #linger(): Promise<void> {
    for (let before = -1, rounds = 0; before !== this.#dropped && rounds < 1000; rounds++) {
      before = this.#dropped;
      await turns(4);
    }
    this.#in.close();
  }

  #lost(error: Error | null): void {
    if (!this.#closing) this.#reason ??= error;
    if (--this.#open === 0) this.#sink?.closed(this.#reason);
  }

  get canWriteEof(): boolean {
    return this.#out.canWriteEof;
  }
  get isClosing(): boolean {
    return this.#closing || this.#open < 2;
  }
  get pendingBytes(): number {
    return this.#out.pendingBytes;
  }
  pauseReading(): void {
    this.#in.pauseReading();
  }
  resumeReading(): void {
    this.#in.resumeReading();
  }
  write(data: Uint8Array, done: () => void): boolean {
    return this.#out.write(data, done);
  }
  writev(pieces: readonly Uint8Array[], done: () => void): boolean {
    return this.#out.writev(pieces, done);
  }
  writeEof(): void {
    this.#out.writeEof();
  }
  close(): void {
    if (this.#closing) return;
    this.#closing = true;
    if (this.#sink === null) this.#in.close();
    else this.#in.resumeReading();
    if (this.#outLost) void this.#linger();
    else this.#out.close();
  }
  abort(): void {
    this.#closing = true;
    this.#in.abort();
    this.#out.abort();
  }
  ref(): void {
    this.#in.ref();
    this.#out.ref();
  }
  unref(): void {
    this.#in.unref();
    this.#out.unref();
  }
  getExtraInfo(name: string): unknown {
    return this.#in.getExtraInfo(name);
  }
}

function pipes(reads: 'direct' | 'data'): PairMaker {
  return {
    name: `a pair of pipes, ${reads} reads`,
    connected: true,
    make: () => {
      const dir = mkdtempSync(join(tmpdir(), 'sluice-'));
      const there = fifo(dir, 'there');
      const back = fifo(dir, 'back');
      const [a, b] = withReads(reads, () => [
        new BothWays(readPipe('test', back.reader), writePipe('test', there.writer)),
        new BothWays(readPipe('test', there.reader), writePipe('test', back.writer)),
      ]);
      return Promise.resolve({ a, b, dispose: () => rmSync(dir, { recursive: true }) });
    },
  };
}

transportContract(test, [pipes('direct'), pipes('data')]);

test('a pair of fds carries bytes and EOF in one direction, and is then closed', async (t) => {
  const { reader, writer } = fifo(directory(t));
  const source = readPipe('test', reader);
  const target = writePipe('test', writer);
  const sink = new RecordingSink();
  const other = new RecordingSink();
  source.start(sink);
  target.start(other);
  t.deepEqual([source.mode, target.mode], [StreamMode.READ, StreamMode.WRITE]);
  t.deepEqual([source.canWriteEof, target.canWriteEof], [false, true]);
  t.deepEqual([source.getExtraInfo('pipe'), target.getExtraInfo('pipe')], [reader, writer]);
  await written(target, 'through');
  target.writeEof();
  await sink.until(() => sink.isClosed);
  await other.until(() => other.isClosed);
  t.is(sink.text, 'through');
  t.is(sink.eofs, 1);
  t.deepEqual([sink.closes, other.closes], [[null], [null]]);
});

test('an fd that is not a pipe is refused with the kind of file it is', (t) => {
  for (const [path, kind] of [
    ['/etc/passwd', 'a regular file'],
    [tmpdir(), 'a directory'],
  ] as const) {
    const fd = openSync(path, 'r');
    for (const make of [readPipe, writePipe]) {
      t.throws(() => make('connectReadPipe', fd), {
        instanceOf: TypeError,
        code: 'ERR_INVALID_FD_TYPE',
        message: `connectReadPipe: fd ${fd} is ${kind}, and must be a pipe, a FIFO, a socket or a character device`,
      });
    }
    closeSync(fd);
  }
});

// eslint-disable-next-line no-restricted-syntax -- only Linux shows the fd of a datagram socket
(process.platform === 'linux' ? test.serial : test.skip)('a datagram socket is not a pipe', async (t) => {
  const opened = (): string[] => readdirSync('/proc/self/fd').filter((fd) => kindOf(fd) === 'socket');
  const before = new Set(opened());
  const udp = createSocket('udp4');
  t.teardown(() => udp.close());
  udp.bind(0, '127.0.0.1');
  await once(udp, 'listening');
  const sockets = opened().filter((fd) => !before.has(fd));
  t.is(sockets.length, 1);
  t.throws(() => readPipe('connectReadPipe', Number(sockets[0])), {
    instanceOf: TypeError,
    code: 'ERR_INVALID_FD_TYPE',
    message: /^connectReadPipe: fd \d+ is a socket that is not a byte stream, such as a UDP socket, and must be /,
  });
});

/** The kind of an fd, or null if it is closed, as that of the listing itself. */
function kindOf(fd: string): string | null {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).split(':')[0] ?? null;
  } catch {
    return null;
  }
}

test('a closed fd is EBADF, and an invalid number ERR_OUT_OF_RANGE', (t) => {
  const error = t.throws(() => readPipe('connectReadPipe', 987_654), { instanceOf: ConnectionError, code: 'EBADF' });
  t.is(error?.message, 'connectReadPipe: fd 987654: bad file descriptor');
  for (const fd of [-1, 1.5, Number.NaN, 2 ** 31]) {
    t.throws(() => writePipe('connectWritePipe', fd), { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' });
  }
});

test('a value that is not a pipe is refused', (t) => {
  const decoding = new PassThrough();
  decoding.setEncoding('latin1');
  const source = new Readable({ read() {} });
  for (const value of [null, undefined, '0', {}, decoding]) {
    t.throws(() => readPipe('connectReadPipe', value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  }
  for (const value of [null, 'x', source]) {
    t.throws(() => writePipe('connectWritePipe', value), { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' });
  }
  t.throws(() => writePipe('connectWritePipe', source), {
    message: 'connectWritePipe: pipe must be an fd or a Writable, not an instance of Readable',
  });
});

test('the wrong end of a pipe is refused before anything is made of it', (t) => {
  const { reader, writer } = fifo(directory(t));
  const error = { instanceOf: TypeError, code: 'ERR_INVALID_FD_TYPE' };
  t.throws(() => readPipe('connectReadPipe', writer), {
    ...error,
    message: `connectReadPipe: fd ${writer} is the writing end of a pipe, and must be the reading end, open for reading`,
  });
  t.throws(() => writePipe('connectWritePipe', reader), {
    ...error,
    message: `connectWritePipe: fd ${reader} is the reading end of a pipe, and must be the writing end, open for writing`,
  });
  // Both ends are unchanged: nothing was sent, and both are open.
  t.is(writeSync(writer, 'x'), 1);
  t.is(readSync(reader, Buffer.alloc(9)), 1);
  closeSync(reader);
  closeSync(writer);
});

test('a read error is reported as the loss of the pipe', async (t) => {
  const server = createServer();
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [peer] = (await once(server, 'connection')) as [Socket];
  if (client.connecting) await once(client, 'connect');
  const sink = new RecordingSink();
  readPipe('test', client).start(sink);
  peer.resetAndDestroy();
  await sink.until(() => sink.isClosed);
  t.is(sink.eofs, 0);
  t.is(sink.closes.length, 1);
  t.like(sink.closes[0], { name: 'ConnectionError', code: 'ECONNRESET' });
});

/** How the pipes of child processes are read: into reused memory where that is possible, unless the environment forbids it. */
const directly = process.versions['bun'] === undefined && process.platform !== 'win32';
const PATHS = { direct: directly ? 'direct' : 'data', data: 'data' } as const;
const WAYS = ['direct', 'data'] as const;

function asSocket(stream: unknown): Socket {
  if (!(stream instanceof Socket)) throw new TypeError('not a net.Socket');
  return stream;
}

function readPathOf(transport: Transport): string {
  if (!(transport instanceof SocketTransport)) throw new TypeError('not over a net.Socket');
  return transport.readPath;
}

/** A child that writes 300,000 bytes, each the number of its 1,000. */
function writer(t: ExecutionContext): { stdout: Socket; everything: Buffer; exited: Promise<unknown> } {
  const body =
    'process.stdout.write(Buffer.concat(Array.from({ length: 300 }, (_, i) => Buffer.alloc(1000, i % 256))))';
  const child = spawn(process.execPath, ['-e', body], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const everything = Buffer.concat(Array.from({ length: 300 }, (_, i) => Buffer.alloc(1000, i % 256)));
  return { stdout: asSocket(child.stdout), everything, exited: once(child, 'exit') };
}

for (const reads of WAYS) {
  test(`what a child leaves in its stdout when it exits is read although reading is paused: ${reads}`, async (t) => {
    const { stdout, everything, exited } = writer(t);
    const source = withReads(reads, () => readPipe('test', stdout));
    t.is(readPathOf(source), PATHS[reads]);
    const sink = new RecordingSink();
    sink.goOn = false;
    source.start(sink);
    await sink.until(() => sink.bytes > 0);
    // A pipe holds 64 KiB, so the child can only exit if this goes on; Node then resumes streams that are paused.
    while (sink.eofs === 0) {
      await turns(1);
      source.resumeReading();
    }
    await exited;
    await sink.until(() => sink.isClosed);
    t.true(everything.equals(sink.data));
    t.deepEqual(sink.closes, [null]);
  });
}

const EARLIER: Record<string, (stdout: Socket) => Promise<unknown> | void> = {
  'a listener for data': (stdout) => {
    stdout.on('data', () => {});
    stdout.pause();
  },
  'something read': async (stdout) => {
    while (stdout.readableLength === 0) await turns(1);
    stdout.pause();
  },
};
for (const [what, before] of Object.entries(EARLIER)) {
  test(`the stdout of a child with ${what} before is read by 'data', and no byte is lost`, async (t) => {
    const { stdout, everything } = writer(t);
    await before(stdout);
    const source = readPipe('test', stdout);
    t.is(readPathOf(source), 'data');
    const sink = new RecordingSink();
    source.start(sink);
    await sink.until(() => sink.isClosed);
    t.true(everything.equals(sink.data));
  });
}

for (const reads of WAYS) {
  test(`process.stdin is read into reused memory unless SLUICE_READS forbids it: ${reads}`, async (t) => {
    const library = pathToFileURL(join(root, 'dist', 'transports', 'pipe.js')).href;
    const body = `import { readPipe } from ${JSON.stringify(library)}; console.log(readPipe('test', process.stdin).readPath);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', body], {
      env: { ...process.env, SLUICE_READS: reads },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.teardown(() => child.kill('SIGKILL'));
    const [answer] = (await once(child.stdout, 'data')) as [Buffer];
    t.is(answer.toString(), `${PATHS[reads]}\n`);
  });
}

test('a stream of the wrong direction is refused, one that has ended is not', async (t) => {
  const child = spawn(process.execPath, ['--version'], { stdio: ['pipe', 'ignore', 'ignore'] });
  t.teardown(() => child.kill());
  child.stdin.on('error', () => {});
  const duplex = new Duplex({ readable: false, write: () => {} } as DuplexOptions);
  for (const stream of [child.stdin, duplex]) {
    t.throws(() => readPipe('connectReadPipe', stream), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message:
        'connectReadPipe: pipe must be a stream that can be read from, not one that can only be written to, ' +
        'as the stdin of a child process is',
    });
  }
  t.throws(() => writePipe('connectWritePipe', new Duplex({ writable: false, read: () => {} } as DuplexOptions)), {
    instanceOf: TypeError,
    code: 'ERR_INVALID_ARG_TYPE',
    message: /^connectWritePipe: pipe must be a stream that can be written to, not one that can only be read from, /,
  });

  const ended = new PassThrough().end().resume();
  await once(ended, 'end');
  const sink = new RecordingSink();
  readPipe('connectReadPipe', ended).start(sink);
  await sink.until(() => sink.eofs === 1);
  t.is(sink.eofs, 1);
});

test('character devices work as pipes', async (t) => {
  const source = readPipe('test', openSync('/dev/zero', 'r'));
  const sink = new RecordingSink();
  sink.goOn = false;
  source.start(sink);
  await sink.until(() => sink.bytes > 0);
  t.true(sink.data.every((byte) => byte === 0));
  source.close();
  await sink.until(() => sink.isClosed);

  const empty = readPipe('test', openSync('/dev/null', 'r'));
  const nothing = new RecordingSink();
  empty.start(nothing);
  await nothing.until(() => nothing.isClosed);
  t.deepEqual([nothing.bytes, nothing.eofs, nothing.closes], [0, 1, [null]]);

  const target = writePipe('test', openSync('/dev/null', 'w'));
  const other = new RecordingSink();
  target.start(other);
  await written(target, 'gone');
  target.close();
  await other.until(() => other.isClosed);
  t.deepEqual(other.closes, [null]);
});
