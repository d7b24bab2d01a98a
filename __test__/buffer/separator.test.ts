// Runs once: nothing is read.
import test from 'ava';
import { Separator, type Separators } from '#ts/buffer/separator.js';

const bytesOf = (value: Separators) => Separator.from(value, 't').sequences.map((sequence) => [...sequence]);

test('strings are UTF-8, byte arrays are used as they are', (t) => {
  t.deepEqual(bytesOf('\r\n'), [[13, 10]]);
  t.deepEqual(bytesOf('é'), [[0xc3, 0xa9]]);
  t.deepEqual(bytesOf(Uint8Array.of(0, 255)), [[0, 255]]);
  t.deepEqual(bytesOf(Buffer.from('xabx').subarray(1, 3)), [[97, 98]]);
  t.deepEqual(bytesOf(['\n', Buffer.from('\r\n'), 'é']), [[10], [13, 10], [0xc3, 0xa9]]);
});

test('duplicate sequences count once', (t) => {
  t.deepEqual(bytesOf(['a', 'b', Buffer.from('a'), 'b', 'ab']), [[97], [98], [97, 98]]);
  t.is(Separator.from(['\n', Buffer.from('\n')], 't').byte, 10);
});

test('a separator knows its longest and shortest sequence and its last bytes', (t) => {
  const separator = Separator.from(['\n', '\r\n', 'end', 'and'], 't');
  t.is(separator.longest, 3);
  t.is(separator.shortest, 1);
  t.is(separator.byte, -1);
  t.deepEqual([...separator.lastBytes], [10, 100]);
  t.deepEqual(
    separator.byLastByte[10]!.map((sequence) => Buffer.from(sequence).toString()),
    ['\r\n', '\n'],
  );
  t.is(separator.byLastByte[13], undefined);
  t.is(Separator.from('\xff', 't').byte, -1);
  t.is(Separator.from(Uint8Array.of(255), 't').byte, 255);
});

test('the same value is built once, also when values alternate', (t) => {
  // Of this test alone: a separator that is cached already may be the oldest one, which the next new one replaces.
  const values: readonly (() => Separators)[] = [
    () => 'once\r\n',
    () => 'once\n',
    () => Buffer.from('once\r\n'),
    () => Buffer.from('once\n'),
    () => ['once\r\n', 'once\n'],
    () => ['once\n', Buffer.from('once\r\n')],
    () => ['once\n\r', 'once\n'],
  ];
  const first = values.map((make) => Separator.from(make(), 't'));
  for (let round = 0; round < 3; round++) {
    values.forEach((make, i) => {
      t.is(Separator.from(make(), 't'), first[i]!);
      t.is(Separator.from(make(), 't'), first[i]!);
    });
  }
  t.is(new Set(first.slice(4)).size, 3);
});

test('lists whose concatenated bytes are equal are different separators', (t) => {
  t.deepEqual(bytesOf(['ab', 'c']), [[97, 98], [99]]);
  t.deepEqual(bytesOf(['a', 'bc']), [[97], [98, 99]]);
  t.deepEqual(bytesOf(['a', '1:b']), [[97], [49, 58, 98]]);
  t.deepEqual(bytesOf(['a', 'b']), [[97], [98]]);
});

test("a change to the caller's array is noticed, and the earlier separator keeps its bytes", (t) => {
  const bytes = Uint8Array.of(1, 2);
  const before = Separator.from(bytes, 't');
  bytes[1] = 3;
  t.deepEqual(bytesOf(bytes), [[1, 3]]);
  t.deepEqual([...before.sequences[0]!], [1, 2]);

  const item = Uint8Array.of(1, 2);
  const list: (string | Uint8Array)[] = ['\n', item];
  t.deepEqual(bytesOf(list), [[10], [1, 2]]);
  item[0] = 9;
  t.deepEqual(bytesOf(list), [[10], [9, 2]]);
  list[0] = ';';
  t.deepEqual(bytesOf(list), [[59], [9, 2]]);
  list.push('\0');
  t.deepEqual(bytesOf(list), [[59], [9, 2], [0]]);
  list.length = 1;
  t.deepEqual(bytesOf(list), [[59]]);
  list[0] = Uint8Array.of(59);
  t.deepEqual(bytesOf(list), [[59]]);
});

test('byte arrays are compared by their bytes, strings as strings', (t) => {
  t.deepEqual(bytesOf(['é']), [[0xc3, 0xa9]]);
  t.deepEqual(bytesOf([Buffer.from('é', 'latin1')]), [[0xe9]]);
  t.deepEqual(bytesOf([Buffer.from('é')]), [[0xc3, 0xa9]]);
});

test('the cache is bounded: a separator that was evicted is built again, correctly', (t) => {
  const first = Separator.from('separator 0', 't');
  for (let i = 1; i < 1000; i++) {
    t.is(Buffer.from(Separator.from(`separator ${i}`, 't').sequences[0]!).toString(), `separator ${i}`);
    t.deepEqual(bytesOf(Uint8Array.of(i >> 8, i & 255, 1)), [[i >> 8, i & 255, 1]]);
    t.deepEqual(bytesOf([`${i}`, '\n']), [[...Buffer.from(`${i}`)], [10]]);
  }
  const again = Separator.from('separator 0', 't');
  t.not(again, first);
  t.deepEqual(again.sequences, first.sequences);
  t.is(Separator.from('separator 999', 't'), Separator.from('separator 999', 't'));

  // The last long separator is cached; very long ones never are.
  for (const [size, kept] of [
    [10_000, true],
    [100_000, false],
  ] as const) {
    const long = 'x'.repeat(size);
    for (const [value, other] of [
      [long, `${long}y`],
      [Buffer.from(long), Buffer.from(`${long}y`)],
      [
        [long, '\n'],
        [long, 'y'],
      ],
    ] as const) {
      const before = Separator.from(value, 't');
      t.is(before.longest, size);
      t.is(Separator.from(value, 't') === before, kept);
      Separator.from(other, 't');
      t.not(Separator.from(value, 't'), before);
    }
  }
});

test('an empty separator is a RangeError', (t) => {
  const empty = (message: string) => ({ instanceOf: RangeError, code: 'ERR_SEPARATOR_EMPTY', message });
  t.throws(() => Separator.from('', 'readuntil'), empty('readuntil: the separator is an empty string'));
  t.throws(() => Separator.from(Buffer.alloc(0), 'readuntil'), empty('readuntil: the separator holds no bytes'));
  t.throws(() => Separator.from([], 'readframes'), empty('readframes: the list of separators is empty'));
  t.throws(() => Separator.from(['\n', ''], 'readuntil'), empty('readuntil: separator[1] is empty'));
  t.throws(() => Separator.from([new Uint8Array()], 'readuntil'), empty('readuntil: separator[0] is empty'));
});

test('an invalid separator is a TypeError, also after a valid one', (t) => {
  const wrong: readonly unknown[] = [
    undefined,
    null,
    10,
    10n,
    {},
    Symbol('x'),
    /\n/,
    new Uint16Array(1),
    new ArrayBuffer(1),
  ];
  t.is(Separator.from(['\n'], 't').byte, 10);
  for (const value of wrong) {
    t.throws(() => Separator.from(value as string, 'readuntil'), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: /^readuntil: separator must be a string, a Uint8Array or an array of those, not /,
    });
    t.throws(() => Separator.from([value as string], 'readuntil'), {
      instanceOf: TypeError,
      code: 'ERR_INVALID_ARG_TYPE',
      message: /^readuntil: separator\[0\] must be a string or a Uint8Array, not /,
    });
  }
  t.throws(() => Separator.from(['a', ['b']] as unknown as string[], 'readuntil'), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /separator\[1\]/,
  });
  const sparse = new Array<string>(2);
  sparse[0] = 'a';
  t.throws(() => Separator.from(sparse, 'readuntil'), { code: 'ERR_INVALID_ARG_TYPE', message: /separator\[1\]/ });
});
