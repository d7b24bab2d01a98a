/** `throttled`, `broken`, `clogged` and `settled` of `sluice/testing`. */
// Runs once for each engine: no socket is read.
import { PassThrough } from 'node:stream';
import test from 'ava';
import { connect, streampair, type Stream } from 'sluice';
import { broken, clogged, settled, throttled, type Bytes } from 'sluice/testing';

async function chunksOf(stream: Stream): Promise<string[]> {
  const chunks: string[] = [];
  for (let chunk; (chunk = await stream.read(1000)).length > 0;) chunks.push(chunk.toString());
  return chunks;
}

test('a throttled stream sends at most so many bytes in a turn, and Infinity lifts that', async (t) => {
  const [client, end] = streampair();
  const peer = throttled(end, { write: 3 });
  t.is(peer, end);
  void peer.write('abcdefgh');
  await peer.writeEof();
  t.deepEqual(await chunksOf(client), ['abc', 'def', 'gh']);
  const [one, other] = streampair();
  throttled(throttled(other, 1), { write: Infinity });
  void other.write('abc');
  void other.close();
  t.deepEqual(await chunksOf(one), ['abc']);
});

test('a throttled stream receives at most so many bytes in a turn', async (t) => {
  const [client, peer] = streampair();
  throttled(peer, { read: 2 });
  void client.write('abcde');
  void client.close();
  t.deepEqual(await chunksOf(peer), ['ab', 'cd', 'e']);
});

test('a broken stream resets the connection after so many bytes that it has written', async (t) => {
  const [client, end] = streampair();
  await end.write('old ');
  const peer = broken(end, { write: 5 });
  await t.throwsAsync(peer.write(Buffer.alloc(5000, 'abcdefgh')), { code: 'ECONNRESET' });
  t.is((await client.readexactly(9)).toString(), 'old abcde');
  await t.throwsAsync(client.read(1), { code: 'ECONNRESET', message: 'read: connection reset by peer' });
  await t.throwsAsync(peer.read(1), {
    code: 'ECONNRESET',
    message: 'broken: the connection was reset after 5 bytes written',
  });
});

test('a broken stream resets the connection after so many bytes that it has read', async (t) => {
  const [client, end] = streampair();
  const peer = broken(end, { read: 3 });
  void client.write('abcdefgh');
  t.is((await peer.read(10)).toString(), 'abc');
  await t.throwsAsync(peer.read(1), {
    code: 'ECONNRESET',
    message: 'broken: the connection was reset after 3 bytes read',
  });
  await t.throwsAsync(client.read(1), { code: 'ECONNRESET' });
  await t.throwsAsync(client.write('x'), { code: 'ECONNRESET' });
});

test('a number breaks it in the direction that is first; 0 at once; bytes that stay below do not', async (t) => {
  const [client, peer] = streampair();
  broken(peer, 4);
  await peer.write('abc');
  await client.write('abc');
  await settled();
  t.is(peer.buffered, 3);
  t.is(client.exception(), null);
  await client.write('d');
  t.is((await peer.readexactly(4)).toString(), 'abcd');
  await t.throwsAsync(client.readexactly(4), { code: 'ECONNRESET' });
  const [one, other] = streampair();
  await one.write('x');
  broken(other, 0);
  await t.throwsAsync(other.read(1), { code: 'ECONNRESET' });
  await t.throwsAsync(one.read(1), { code: 'ECONNRESET' });
});

test('a clogged stream reads nothing, and its peer writes what the pair has room for', async (t) => {
  const [client, end] = streampair({ capacity: 10 });
  const peer = clogged(end, { read: 4 });
  client.setWriteBufferLimits({ high: 0 });
  let done = false;
  const writing = client.write('x'.repeat(20)).then(() => (done = true));
  await settled();
  t.is(peer.buffered, 4);
  t.is(client.transport.pendingBytes, 6);
  t.false(done);
  await peer.write('the other direction works');
  await settled();
  t.is(client.buffered, 25);
  clogged(peer, { read: Infinity });
  await writing;
  await settled();
  t.is(peer.buffered, 20);
  await Promise.all([client.close(), peer.close()]);
});

test('a clogged stream never sends what it writes, nor its end, until it is opened', async (t) => {
  const [client, peer] = streampair();
  clogged(peer);
  void peer.write('abc');
  void peer.writeEof();
  await settled();
  t.deepEqual([client.buffered, peer.writeBufferSize], [0, 3]);
  clogged(peer, Infinity);
  t.is((await client.read()).toString(), 'abc');
  await client.close();
});

test('a clogged peer ends the close of its peer by closeTimeout only', async (t) => {
  const [client, peer] = streampair({ capacity: 1, closeTimeout: 20 });
  clogged(peer);
  void client.write('abc');
  const alive = setInterval(() => {}, 1000);
  await t.throwsAsync(client.close(), { code: 'ETIMEDOUT' });
  clearInterval(alive);
  await peer.abort();
});

test('settled waits for all that is on its way, through any number of turns', async (t) => {
  const [client, peer] = streampair();
  throttled(peer, { write: 1 });
  void peer.write('x'.repeat(500));
  const answered = (async () => {
    const all = await client.readexactly(500);
    await client.write(`${all.length}`);
  })();
  await settled();
  t.is(peer.buffered, 3);
  await answered;
  await client.abort();
});

test('invalid arguments are refused', async (t) => {
  const [client] = streampair();
  const other = await connect({ sock: new PassThrough() });
  const amount = 'a number of bytes, or { read, write }';
  for (const [call, message] of [
    [() => throttled(other, 1), 'throttled: stream must be an end of a streampair, not an instance of Stream'],
    [() => broken(undefined as unknown as Stream, 1), 'broken: stream must be an end of a streampair, not undefined'],
    [() => throttled(client, 0), 'throttled: perTurn must be an integer of 1 or more, or Infinity, not 0'],
    [() => broken(client, { read: -1 }), 'broken: read must be an integer of 0 or more, or Infinity, not -1'],
    [() => clogged(client, { write: 1.5 }), 'clogged: write must be an integer of 0 or more, or Infinity, not 1.5'],
    [() => clogged(client, {}), `clogged: after must be ${amount}, not an instance of Object`],
    [() => broken(client, '1' as unknown as Bytes), `broken: after must be ${amount}, not "1"`],
  ] as const) {
    t.throws(call, { message });
  }
  await Promise.all([client.abort(), other.abort()]);
});
