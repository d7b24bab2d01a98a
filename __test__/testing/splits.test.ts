/** `splits` of `sluice/testing`. */
// Runs once for each engine: no socket is read.
import test from 'ava';
import { IncompleteReadError, streampair, type StreamReader } from 'sluice';
import { splits, type SplitsOptions } from 'sluice/testing';
import { turns } from '../transport-contract.js';

test('a message arrives whole, cut at every position, and byte by byte', (t) => {
  t.deepEqual(
    [...splits('abcd')].map(({ title, parts }) => [title, parts.map(String)]),
    [
      ['whole', ['abcd']],
      ['cut at 1 of 4', ['a', 'bcd']],
      ['cut at 2 of 4', ['ab', 'cd']],
      ['cut at 3 of 4', ['abc', 'd']],
      ['byte by byte', ['a', 'b', 'c', 'd']],
    ],
  );
  t.is([...splits(Buffer.of(0xff))].length, 2);
});

test('trailing bytes arrive together with the last byte of the message, and a parser leaves them', async (t) => {
  const all = splits('ab', { trailing: 'next' });
  t.deepEqual(
    [...all].map(({ parts }) => parts.map(String)),
    [['abnext'], ['a', 'bnext'], ['a', 'bnext']],
  );
  for (const { reader, title } of all) {
    t.is((await reader.readexactly(2)).toString(), 'ab', title);
    t.is((await reader.read()).toString(), 'next', title);
  }
});

test('a part arrives on a later turn once a read waits for it, and not before', async (t) => {
  const split = [...splits('abc')].at(-1)!;
  const { reader } = split;
  t.is(split.reader, reader);
  await turns();
  t.is(reader.buffered, 1);
  t.is((await reader.read(10)).toString(), 'a');
  await turns();
  t.is(reader.buffered, 0);
  const reading = reader.readexactly(2);
  await Promise.resolve();
  t.is(reader.buffered, 0);
  t.is((await reading).toString(), 'bc');
  t.false(reader.atEof());
  t.is((await reader.read(1)).length, 0);
  t.true(reader.atEof());
});

test('a read that is cancelled receives nothing, and the next one continues', async (t) => {
  const { reader } = [...splits('ab')].at(-1)!;
  await reader.read(1);
  const controller = new AbortController();
  const reading = reader.read(1, { signal: controller.signal });
  controller.abort(new Error('cancelled'));
  await t.throwsAsync(reading, { message: 'cancelled' });
  await turns();
  t.is(reader.buffered, 0);
  t.is((await reader.read(1)).toString(), 'b');
});

test('with EOF the reader ends after the bytes; without it a read waits', async (t) => {
  for (const { reader, title } of splits('abc')) {
    const error = await t.throwsAsync<IncompleteReadError>(reader.readexactly(4), { instanceOf: IncompleteReadError });
    t.is(error.partial.toString(), 'abc', title);
  }
  for (const { reader, title } of splits('abc', { eof: false })) {
    t.is((await reader.readexactly(3)).toString(), 'abc', title);
    let done = false;
    const controller = new AbortController();
    const reading = reader.read(1, { signal: controller.signal }).finally(() => (done = true));
    await turns(5);
    t.false(done, title);
    controller.abort(new Error('cancelled'));
    await t.throwsAsync(reading, { message: 'cancelled' });
  }
});

test('a parser that does not resume correctly is found out', async (t) => {
  // It takes what has arrived for the whole line.
  const careless = async (reader: StreamReader): Promise<string> => (await reader.read(100)).toString().trimEnd();
  const wrong: string[] = [];
  for (const { reader, title } of splits('line\r\n')) if ((await careless(reader)) !== 'line') wrong.push(title);
  t.deepEqual(wrong, ['cut at 1 of 6', 'cut at 2 of 6', 'cut at 3 of 6', 'byte by byte']);
});

test('the limit is that of the readers', async (t) => {
  for (const { reader } of splits('abcdef\n', { limit: 3 })) {
    t.is(reader.limit, 3);
    await t.throwsAsync(reader.readuntil('\n'), { code: 'ERR_LIMIT_OVERRUN' });
  }
});

test('writeTo writes each part when the one before has arrived', async (t) => {
  for (const split of splits('abcd')) {
    const [client, server] = streampair();
    const chunks: string[] = [];
    const reading = (async () => {
      for (let chunk; (chunk = await server.read(10)).length > 0;) chunks.push(chunk.toString());
    })();
    await split.writeTo(client);
    await client.close();
    await reading;
    t.deepEqual(chunks, split.parts.map(String), split.title);
    await server.close();
  }
});

test('invalid arguments are refused', (t) => {
  for (const [bytes, options, message] of [
    [1, {}, 'splits: bytes must be a string or Uint8Array, not 1'],
    ['', {}, 'splits: bytes must be at least 1 byte, not ""'],
    ['x', null, 'splits: options must be an object, not null'],
    ['x', { trailing: 1 }, 'splits: trailing must be a string or Uint8Array, not 1'],
    ['x', { eof: 1 }, 'splits: eof must be a boolean, not 1'],
    ['x', { limit: 0 }, 'splits: limit must be a positive integer, not 0'],
  ] as const) {
    t.throws(() => splits(bytes as string, options as unknown as SplitsOptions), { message });
  }
});
