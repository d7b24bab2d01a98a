/** `{ timeout }` of the calls that wait: what they reject with, and what that leaves. */
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { createServer } from 'node:net';
import { getEventListeners, once } from 'node:events';
import test from 'ava';
import { StreamReader, TimeoutError, connect, connectUnix } from 'sluice';
import { Deadline, setDeadline, withdrawDeadline } from '#ts/deadlines.js';
import { unixPath } from './fifo.js';
import { deferred, listen, streamAndPeer } from './loopback.js';
import { LONGEST_MS, root } from './program.js';

const READS: Record<string, (reader: StreamReader, timeout: number) => Promise<unknown>> = {
  read: (reader, timeout) => reader.read(100, { timeout }),
  'read to EOF': (reader, timeout) => reader.read(-1, { timeout }),
  readline: (reader, timeout) => reader.readline({ timeout }),
  readuntil: (reader, timeout) => reader.readuntil('\r\n', { timeout }),
  readexactly: (reader, timeout) => reader.readexactly(100, { timeout }),
  'a large readexactly': (reader, timeout) => reader.readexactly(1_000_000, { timeout }),
  peek: (reader, timeout) => reader.peek(100, { timeout }),
  readinto: (reader, timeout) => reader.readinto(Buffer.alloc(100), { timeout }),
  readframe: (reader, timeout) => reader.readframe({ length: 'uint32be' }, { timeout }),
  readframes: (reader, timeout) => reader.readframes({ size: 100 }, { timeout }),
  frames: (reader, timeout) => reader.frames('\r\r', { timeout }).next(),
  'frames().batches()': (reader, timeout) => reader.frames('\r\r', { timeout }).batches().next(),
  lines: (reader, timeout) => reader.lines({ timeout }).next(),
  'lines().batches()': (reader, timeout) => reader.lines({ timeout }).batches().next(),
  window: (reader, timeout) => reader.window(100, { timeout }),
  chunks: (reader, timeout) => reader.chunks(100, { timeout }).next(),
  discard: (reader, timeout) => reader.discard(100, { timeout }),
};

/** These are satisfied, or begin to consume, with any byte. */
const ANY_BYTE = new Set(['read', 'readinto', 'chunks', 'discard']);

for (const [name, read] of Object.entries(READS)) {
  for (const timeout of [0, 20]) {
    test(`${name} rejects with a TimeoutError after ${timeout} ms, and nothing is consumed`, async (t) => {
      const reader = new StreamReader();
      const bytes = ANY_BYTE.has(name) ? '' : '\0\0\0\x01';
      if (bytes !== '') reader.feedData(bytes);
      const error = await t.throwsAsync(read(reader, timeout), { instanceOf: TimeoutError });
      t.is(error?.code, 'ERR_TIMEOUT');
      t.regex(error?.message ?? '', new RegExp(`^\\w+: timed out after ${timeout} ms$`));
      t.is(reader.buffered, bytes.length);
      reader.feedData('after\n');
      t.is((await reader.readexactly(bytes.length + 6)).toString(), `${bytes}after\n`);
    });
  }

  test(`${name} with a timeout that is invalid is refused`, async (t) => {
    const reader = new StreamReader();
    for (const timeout of [-1, NaN, -Infinity]) {
      await t.throwsAsync(async () => read(reader, timeout), {
        code: 'ERR_OUT_OF_RANGE',
        message: /^\w+: timeout must be a number of milliseconds of 0 or more, not /,
      });
    }
    for (const timeout of ['5', null, 5n]) {
      await t.throwsAsync(async () => read(reader, timeout as never), { code: 'ERR_INVALID_ARG_TYPE' });
    }
    t.is(reader.buffered, 0);
  });
}

test('a read that need not wait succeeds with any timeout', async (t) => {
  for (const timeout of [0, 1, 2 ** 31, 1e300, Infinity]) {
    const reader = new StreamReader();
    reader.feedData('one\ntwo\n\0\x01a01234567');
    t.is((await reader.readline({ timeout })).toString(), 'one\n');
    t.is((await reader.readuntil('\n', { timeout })).toString(), 'two\n');
    t.is((await reader.readframe({ length: 'uint16be', skip: 2 }, { timeout }))?.toString(), 'a');
    t.is((await reader.peek(1, { timeout })).toString(), '0');
    t.is((await reader.readexactly(2, { timeout })).toString(), '01');
    t.is((await reader.read(2, { timeout })).toString(), '23');
    t.is((await reader.window(1, { timeout })).toString(), '4567');
    await reader.discard(1, { timeout });
    t.is((await reader.chunks(3, { timeout }).next()).value?.toString(), '567');
  }
});

test('a long timeout is no special case: the read waits for its bytes', async (t) => {
  for (const timeout of [2 ** 31, 2 ** 53, 1e300, Infinity]) {
    const reader = new StreamReader();
    const waiting = reader.readline({ timeout });
    await new Promise((resolve) => setTimeout(resolve, 30));
    reader.feedData('late\n');
    t.is((await waiting).toString(), 'late\n');
  }
});

test('in a loop the timeout is that of each wait', async (t) => {
  const reader = new StreamReader();
  reader.feedData('one\ntwo\n');
  const lines: string[] = [];
  await t.throwsAsync(
    async () => {
      for await (const line of reader.lines({ timeout: 30 })) {
        lines.push(line);
        if (lines.length < 2) await new Promise((resolve) => setTimeout(resolve, 40));
      }
    },
    { instanceOf: TimeoutError, message: 'lines: timed out after 30 ms' },
  );
  t.deepEqual(lines, ['one', 'two']);
});

test('of signal and timeout the first counts', async (t) => {
  const reader = new StreamReader();
  const reason = new Error('enough');
  const controller = new AbortController();
  const waiting = reader.readline({ signal: controller.signal, timeout: 3_600_000 });
  controller.abort(reason);
  t.is(await t.throwsAsync(waiting), reason);
  const late = new AbortController();
  await t.throwsAsync(reader.readline({ signal: late.signal, timeout: 5 }), { instanceOf: TimeoutError });
  late.abort(reason);
  reader.feedData('x\n');
  t.is((await reader.readline()).toString(), 'x\n');
});

test('polling with a timeout of 0 does not come to a stop when reading is paused', async (t) => {
  const { stream, peer } = await streamAndPeer(t, { limit: 1000 });
  peer.write(Buffer.alloc(200_000, 0x61));
  for (;;) {
    try {
      t.is((await stream.readexactly(200_000, { timeout: 0 })).length, 200_000);
      return;
    } catch (error) {
      if (!(error instanceof TimeoutError)) throw error;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
});

test('drain, flush and sendfile reject with a TimeoutError, and what was written is still sent', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.pause();
  const size = 20_000_000;
  void stream.write(Buffer.alloc(size, 0x61));
  for (const timeout of [0, 10]) {
    const message = new RegExp(`^\\w+: timed out after ${timeout} ms$`);
    await t.throwsAsync(stream.drain({ timeout }), { instanceOf: TimeoutError, message });
    await t.throwsAsync(stream.flush({ timeout }), { instanceOf: TimeoutError, message });
    await t.throwsAsync(stream.waitClosed({ timeout }), { instanceOf: TimeoutError, message });
    await t.throwsAsync(stream.sendfile(path.join(root, 'package.json'), 0, undefined, { timeout }), {
      instanceOf: TimeoutError,
      message,
    });
  }
  const { signal } = new AbortController();
  for (const wait of [() => stream.drain({ signal, timeout: 5 }), () => stream.flush({ signal, timeout: 5 })]) {
    await t.throwsAsync(wait(), { instanceOf: TimeoutError });
    t.is(getEventListeners(signal, 'abort').length, 0, 'a wait that has ended has no listener left');
  }
  await t.throwsAsync(stream.drain({ timeout: -1 }), { code: 'ERR_OUT_OF_RANGE', message: /^drain: timeout/ });
  let received = 0;
  peer.on('data', (chunk) => (received += chunk.length));
  peer.resume();
  await stream.flush({ timeout: LONGEST_MS });
  const closing = stream.close();
  await once(peer, 'end');
  t.is(received, size);
  peer.end();
  await closing;
});

test('connect and connectUnix reject with a TimeoutError when the handshake takes too long, and close the socket', async (t) => {
  const { port, sockets } = await listen(t);
  for (const timeout of [0, 30]) {
    await t.throwsAsync(connect('127.0.0.1', port, { ssl: true, timeout }), {
      instanceOf: TimeoutError,
      message: `connect: timed out after ${timeout} ms`,
    });
  }
  for (const socket of sockets) if (!socket.closed) await once(socket.resume().end(), 'close');
  const file = unixPath(t);
  const server = createServer().listen(file);
  await once(server, 'listening');
  t.teardown(() => server.close());
  await t.throwsAsync(connectUnix(file, { ssl: true, serverHostname: 'localhost', timeout: 30 }), {
    instanceOf: TimeoutError,
    message: 'connectUnix: timed out after 30 ms',
  });
  const stream = await connect('127.0.0.1', port, { timeout: LONGEST_MS });
  await stream.abort();
  await t.throwsAsync(connect('127.0.0.1', port, { timeout: -1 }), {
    code: 'ERR_OUT_OF_RANGE',
    message: /^connect: timeout/,
  });
});

test('startTls rejects with a TimeoutError when the handshake takes too long, and closes the connection', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  peer.resume();
  await t.throwsAsync(stream.startTls(true, { serverHostname: 'localhost', timeout: 30 }), {
    instanceOf: TimeoutError,
    message: 'startTls: timed out after 30 ms',
  });
  await t.throwsAsync(stream.readline(), { code: 'ECONNABORTED' });
});

// --- deadlines

test('deadlines end in their order, and one that ends may withdraw another or set a new one', async (t) => {
  const ended: string[] = [];
  const { promise, resolve } = deferred();
  const withdrawn = new Deadline(() => ended.push('withdrawn'));
  const first = new Deadline(() => {
    ended.push('first');
    withdrawDeadline(withdrawn);
    setDeadline(new Deadline(resolve), 1);
  });
  setDeadline(new Deadline(() => ended.push('second')), 60);
  setDeadline(first, 20);
  setDeadline(withdrawn, 60);
  await promise;
  t.is(ended[0], 'first');
  t.false(ended.includes('withdrawn'));
  withdrawDeadline(first);
});

test('a process ends without waiting for the timeouts of calls that have finished, and not before those that wait', (t) => {
  const program = `
    import { StreamReader } from 'sluice';
    const reader = new StreamReader();
    const line = reader.readline({ timeout: 3_600_000 });
    reader.feedData('one\\n');
    console.log(String(await line).trim());
    await reader.readline({ timeout: 50 }).catch((error) => console.log(error.code));
  `;
  const { stdout, stderr, status } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
    timeout: LONGEST_MS,
    encoding: 'utf8',
  });
  t.is(stderr, '');
  t.is(stdout, 'one\nERR_TIMEOUT\n');
  t.is(status, 0);
});
