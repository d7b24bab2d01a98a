/** Two streams in memory. */
// Runs once for each engine: no socket is read.
import { spawnSync } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { ConnectionError, StreamMode, streampair, type StreamPairOptions } from 'sluice';
import { sameBytes } from '../bytes.js';
import { directory } from '../fifo.js';
import { LONGEST_MS, root } from '../program.js';
import { turns } from '../transport-contract.js';

test('what is written to one stream is read from the other, both ways', async (t) => {
  const [client, server] = streampair();
  await client.write('question\n');
  t.is((await server.readline()).toString(), 'question\n');
  await server.write('answer\n');
  t.is((await client.readline()).toString(), 'answer\n');
  t.deepEqual([client.mode, server.mode], [StreamMode.READWRITE, StreamMode.READWRITE]);
  t.deepEqual([client.isServerSide(), server.isServerSide()], [false, true]);
  t.is(client.getExtraInfo('peername'), undefined);
  await Promise.all([client.close(), server.close()]);
});

test('bytes arrive on a later turn, not during write', async (t) => {
  const [client, server] = streampair();
  await client.write('x');
  t.is(server.buffered, 0);
  await turns(2);
  t.is(server.buffered, 1);
  await client.abort();
});

test('a peer that does not read stops the writer, until it reads', async (t) => {
  const [client, server] = streampair({ limit: 10, capacity: 100 });
  client.setWriteBufferLimits({ high: 0 });
  let written = 0;
  const writing = (async () => {
    for (; written < 1000; written++) await client.write('x');
  })();
  await turns(300);
  // One chunk is received although it is over the limit; then the room in between is full; then the writer waits.
  t.true(written >= 100 && written <= 220, `${written}`);
  t.is(client.writeBufferSize, 1);
  t.is((await server.readexactly(1000)).length, 1000);
  await writing;
  await client.abort();
});

test('writeEof ends one direction, and the other goes on', async (t) => {
  const [client, server] = streampair();
  void client.write('all');
  await client.writeEof();
  t.is((await server.read()).toString(), 'all');
  await server.write('received');
  await server.close();
  t.is((await client.read()).toString(), 'received');
  await client.waitClosed();
  t.is(client.exception(), null);
});

test('after close the peer reads everything, then EOF; writing to it is a broken pipe', async (t) => {
  const [client, server] = streampair();
  const data = Buffer.alloc(300_000, 'abc');
  void client.write(data);
  const closed = client.close();
  sameBytes(t, await server.read(), data);
  await closed;
  await t.throwsAsync(
    async () => {
      for (;;) {
        await server.write('x');
        await server.drain();
      }
    },
    { instanceOf: ConnectionError, code: 'EPIPE' },
  );
});

test('after abort the peer reads what had arrived, then ECONNRESET', async (t) => {
  const [client, server] = streampair({ capacity: 8 });
  void client.write('one\ntwo\nthree\n');
  await client.abort();
  t.is((await server.readline()).toString(), 'one\n');
  t.is((await server.readline()).toString(), 'two\n');
  await t.throwsAsync(server.readline(), {
    instanceOf: ConnectionError,
    code: 'ECONNRESET',
    message: 'read: connection reset by peer',
  });
  await t.throwsAsync(server.write('x'), { code: 'ECONNRESET' });
});

test('a read that waits rejects when the peer aborts, and resolves with EOF when it closes', async (t) => {
  for (const how of ['abort', 'close'] as const) {
    const [client, server] = streampair();
    const reading = client.read(10);
    const outcome = how === 'abort' ? t.throwsAsync(reading, { code: 'ECONNRESET' }) : reading;
    await server[how]();
    await outcome;
    if (how === 'close') t.is((await reading).length, 0);
    await client.abort();
  }
});

test('a close whose peer accepts nothing ends after closeTimeout, and the peer gets what was accepted', async (t) => {
  const [client, server] = streampair({ closeTimeout: 20, capacity: 4, limit: 1 });
  server.transport.pauseReading();
  void client.write('123456789');
  // A watch of a close does not keep the process alive.
  const alive = setInterval(() => {}, 1000);
  await t.throwsAsync(client.close(), {
    code: 'ETIMEDOUT',
    message: 'close: the peer has accepted nothing for 20 ms while data was waiting to be sent',
  });
  clearInterval(alive);
  t.is((await server.readexactly(4)).toString(), '1234');
  await t.throwsAsync(server.read(1), { code: 'ECONNRESET' });
});

test('close ends although the peer neither reads nor ends, and the peer can still read everything', async (t) => {
  const [client, server] = streampair({ capacity: 10 });
  server.transport.pauseReading();
  await client.write('last words');
  await client.close();
  t.is(client.exception(), null);
  server.transport.resumeReading();
  t.is((await server.read()).toString(), 'last words');
  await server.close();
});

test('timeouts end a connection, and reach its peer as a reset', async (t) => {
  const [client, server] = streampair({ idleTimeout: 20 });
  server.setTimeouts({ idleTimeout: Infinity });
  const alive = setInterval(() => {}, 1000);
  const error = await t.throwsAsync(client.read(1), { code: 'ERR_IDLE_TIMEOUT' });
  clearInterval(alive);
  t.is(error?.message, 'idleTimeout: no byte to or from the peer for 20 ms');
  await t.throwsAsync(server.read(1), { code: 'ECONNRESET' });
});

test('sendfile sends a file, in the order of the writes', async (t) => {
  const file = path.join(directory(t), 'file');
  const data = Buffer.alloc(200_000, 'some file\n');
  await writeFile(file, data);
  const [client, server] = streampair();
  void client.write('before\n');
  const sent = client.sendfile(file);
  void client.write('after\n');
  void client.close();
  sameBytes(t, await server.read(), Buffer.concat([Buffer.from('before\n'), data, Buffer.from('after\n')]));
  t.is(await sent, data.length);
});

test('startTls is refused, and the stream goes on', async (t) => {
  const [client, server] = streampair();
  const message = 'startTls: the stream is in memory, not over a socket';
  await t.throwsAsync(client.startTls(true, { serverHostname: 'x' }), { code: 'ERR_TLS_STATE', message });
  await client.write('plain');
  t.is((await server.read(5)).toString(), 'plain');
  await client.abort();
});

test('two loops that answer each other let other work happen', async (t) => {
  const [client, server] = streampair();
  let stop = false;
  const echo = (async () => {
    for (;;) {
      const bytes = await server.read(100);
      if (bytes.length === 0) return server.close();
      await server.write(bytes);
    }
  })();
  void turns(50).then(() => (stop = true));
  while (!stop) {
    await client.write('ping');
    await client.readexactly(4);
  }
  await client.close();
  await echo;
  t.pass();
});

test('invalid options are refused', (t) => {
  for (const [options, message] of [
    [null, 'streampair: options must be an object, not null'],
    [{ capacity: 0 }, 'streampair: capacity must be an integer of 1 or more, not 0'],
    [{ capacity: '1' }, 'streampair: capacity must be an integer of 1 or more, not "1"'],
    [{ capacity: Infinity }, 'streampair: capacity must be an integer of 1 or more, not Infinity'],
    [{ limit: 0 }, 'streampair: limit must be a positive integer, not 0'],
    [{ idleTimeout: 0 }, 'streampair: idleTimeout must be a number of milliseconds above 0, or Infinity, not 0'],
  ] as const) {
    t.throws(() => streampair(options as unknown as StreamPairOptions), { message });
  }
});

test('a pair that is left open lets the process end', (t) => {
  const program = `
    import { streampair } from 'sluice';
    globalThis.pair = streampair({ idleTimeout: 3600000 });
    const [client] = globalThis.pair;
    void client.write('x');
    void client.read(1);
  `;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: root,
    encoding: 'utf8',
    timeout: LONGEST_MS,
  });
  t.deepEqual([status, stderr], [0, '']);
});
