/** The programs of the guides: all of them compile against the public types, and do what the guides say. */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { connect as dial, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { constants } from 'node:os';
import path from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import test from 'ava';
import fc from 'fast-check';
import * as sluice from 'sluice';
import { ConnectionError, IncompleteReadError, LimitOverrunError, StreamReader, StreamServer, connect } from 'sluice';
import ts from 'typescript';
import { sameBytes } from './bytes.js';
import { certificates } from './certificates.js';
import { Guide, blocks, compile, type Workplace } from './documents.js';
import { sparePort } from './loopback.js';
import { Program, root } from './program.js';
import { seed } from './seed.js';

// ------------------------------------------------------------------------------------------------ all documents

/** Documents whose programs have tests: in this file, in readme.test.ts, porting.test.ts, framings.test.ts, running-guide.test.ts, testing-guide.test.ts and diagnostics-guide.test.ts. */
const TESTED = [
  'README.md',
  'docs/behind-a-proxy.md',
  'docs/diagnostics.md',
  'docs/errors.md',
  'docs/framings.md',
  'docs/porting-from-asyncio.md',
  'docs/running-a-server.md',
  'docs/testing-a-protocol.md',
  'docs/tuning.md',
  'docs/which-way-to-read.md',
  'docs/with-other-streams.md',
  'docs/writing-a-protocol-parser.md',
];

test('every program in the documents compiles against the public types', async (t) => {
  t.deepEqual(await compile(t, TESTED), []);
});

/** Generated from declarations. */
const GENERATED = ['docs/sluice.api.md', 'docs/sluice-testing.api.md'];

test('no other document contains programs', async (t) => {
  const docs = (await readdir(path.join(root, 'docs'))).filter((name) => name.endsWith('.md'));
  const others = [
    'CONTRIBUTING.md',
    'CHANGELOG.md',
    'benchmarks/README.md',
    'npm/README.md',
    ...docs.map((name) => `docs/${name}`),
  ];
  for (const document of others) {
    if (TESTED.includes(document) || GENERATED.includes(document)) continue;
    const programs = (await blocks(document)).filter(({ language }) =>
      /^(?:[cm]?[jt]s|\w+script|py\w*)$/.test(language),
    );
    t.deepEqual(programs, [], document);
  }
});

// ------------------------------------------------------------------------------------------------ writing a protocol parser

const parsing = new Guide('docs/writing-a-protocol-parser.md');

type Value = string | number | Buffer | Error | null | Value[];

interface Parser {
  readonly need: number;
  readonly idle: boolean;
  parse(bytes: Buffer, values: Value[]): number;
}

async function parserClass(work: Workplace): Promise<new () => Parser> {
  return ((await work.load('resp.ts')) as { RespParser: new () => Parser }).RespParser;
}

/** Parses what a reader is fed in pieces, as the server does: the values, and how often the parser was called. */
async function parsed(
  RespParser: new () => Parser,
  bytes: Buffer,
  sizes: readonly number[],
): Promise<{ values: Value[]; calls: number; idle: boolean; left: number }> {
  const reader = new StreamReader({ limit: 64 });
  const parser = new RespParser();
  const values: Value[] = [];
  let calls = 0;
  let left = 0;
  const done = (async () => {
    for (;;) {
      const window = await reader.window(parser.need);
      left = window.length;
      if (window.length < parser.need) return;
      calls++;
      reader.consume(parser.parse(window, values));
    }
  })();
  // The first failure of the parser ends it, whatever else is fed.
  let failed = false;
  done.catch(() => (failed = true));
  for (let at = 0, turn = 0; at < bytes.length && !failed; turn++) {
    const size = sizes[turn % sizes.length] as number;
    // From memory that is used again at once, as a socket does.
    const chunk = Buffer.from(bytes.subarray(at, at + size));
    reader.feedData(chunk);
    chunk.fill(0xee);
    at += size;
    await new Promise(setImmediate);
  }
  reader.feedEof();
  await done;
  return { values, calls, idle: parser.idle, left };
}

function command(...words: (string | Buffer)[]): Buffer {
  return Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.flatMap((word) => [
      Buffer.from(`$${Buffer.byteLength(word)}\r\n`),
      Buffer.from(word as string),
      Buffer.from('\r\n'),
    ]),
  ]);
}

parsing.test('resp.ts', 'the parser returns the same values however the bytes are split', async (t, work) => {
  const RespParser = await parserClass(work);
  const encode = (value: Value): Buffer => {
    if (value === null) return Buffer.from('$-1\r\n');
    if (typeof value === 'string') return Buffer.from(`+${value}\r\n`);
    if (typeof value === 'number') return Buffer.from(`:${value}\r\n`);
    if (Buffer.isBuffer(value)) return Buffer.concat([Buffer.from(`$${value.length}\r\n`), value, Buffer.from('\r\n')]);
    if (value instanceof Error) return Buffer.from(`-${value.message}\r\n`);
    return Buffer.concat([Buffer.from(`*${value.length}\r\n`), ...value.map(encode)]);
  };
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300, size: 'max' }).map((array) => Buffer.from(array)),
    fc
      .array(fc.constantFrom('\r\n', '\r', '\n', 'x'), { maxLength: 20, size: 'max' })
      .map((list) => Buffer.from(list.join(''))),
  );
  const word = fc.string({ maxLength: 20 }).filter((text) => !/[\r\n]/.test(text));
  const { value } = fc.letrec<{ value: Value }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      word,
      fc.integer({ min: -999_999_999_999_999, max: 999_999_999_999_999 }),
      bytes,
      word.map((text) => new Error(text)),
      fc.constant(null),
      fc.array(tie('value'), { maxLength: 5 }),
    ),
  }));
  const plain = (item: Value): unknown => {
    if (item instanceof Error) return { error: item.message };
    if (Buffer.isBuffer(item)) return { hex: item.toString('hex') };
    return Array.isArray(item) ? item.map(plain) : item;
  };
  const property = fc.asyncProperty(
    fc.array(value, { maxLength: 12, size: 'max' }),
    fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1, maxLength: 20, size: 'max' }),
    async (values, sizes) => {
      const data = Buffer.concat(values.map(encode));
      for (const cuts of [[data.length + 1], [1], sizes]) {
        const { values: found, idle, left } = await parsed(RespParser, data, cuts);
        const [got, wanted] = [found, values].map((list) => JSON.stringify(list.map(plain)));
        if (got !== wanted || !idle || left > 0) throw new Error(`${got}, not ${wanted}`);
      }
    },
  );
  await t.notThrowsAsync(async () => fc.assert(property, { seed: seed(t), numRuns: 60 }));
});

parsing.test('resp.ts', 'commands that are typed by hand, between others, cut at every position', async (t, work) => {
  const RespParser = await parserClass(work);
  const bytes = Buffer.concat([
    Buffer.from('ping\r\n\r\n  \r\n'),
    command('GET', 'a\r\nb'),
    Buffer.from('Set  k \xe9 \n', 'latin1'),
    Buffer.from('QUIT\r\n'),
  ]);
  const expected = [
    [Buffer.from('ping')],
    [Buffer.from('GET'), Buffer.from('a\r\nb')],
    [Buffer.from('Set'), Buffer.from('k'), Buffer.of(0xe9)],
    [Buffer.from('QUIT')],
  ];
  for (let cut = 1; cut <= bytes.length; cut++) {
    sameBytes(t, (await parsed(RespParser, bytes, [cut, bytes.length])).values, expected);
  }
});

parsing.test('resp.ts', 'the parser waits once for a long string, whatever is in it', async (t, work) => {
  const RespParser = await parserClass(work);
  const large = Buffer.alloc(1_000_000, '\r\n$5\r\n');
  const { values, calls } = await parsed(RespParser, command('SET', 'k', large), [100, 10_000]);
  sameBytes(t, values, [[Buffer.from('SET'), Buffer.from('k'), large]]);
  t.is(calls, 2, 'once for what came first, once for the rest');
});

parsing.test(
  'resp.ts',
  'the parser refuses what is none of the protocol, at the same byte however the bytes come',
  async (t, work) => {
    const RespParser = await parserClass(work);
    for (const [bytes, message] of [
      ['?3\r\n', 'RESP: unknown type: "?"'],
      ['\0\r\n', 'RESP: unknown type: "\\u0000"'],
      ['*1\r\nGET\r\n', 'RESP: unknown type: "G"'],
      ['$x\r\n', 'RESP: invalid integer'],
      ['$\r\n', 'RESP: invalid integer'],
      ['$-\r\n', 'RESP: invalid integer'],
      ['$1\n\n', 'RESP: invalid integer'],
      ['$1\r\r\n', 'RESP: invalid integer'],
      [':1e3\r\n', 'RESP: invalid integer'],
      [':1234567890123456\r\n', 'RESP: integer of more than 15 digits'],
      ['$-2\r\n', 'RESP: negative length: -2'],
      ['*-2\r\n', 'RESP: negative length: -2'],
      ['$1\r\nabc\r\n', 'RESP: no CR LF after a string of 1 bytes'],
      ['$2\r\na\r\n\r\n', 'RESP: no CR LF after a string of 2 bytes'],
      ['$67108865\r\n', 'RESP: value of more than 67108864 bytes'],
      ['*2\r\n$1\r\na\r\n$67108860\r\n', 'RESP: value of more than 67108864 bytes'],
      ['*1048577\r\n', 'RESP: array of 1048577 items, the maximum is 1048576'],
      ['*1\r\n'.repeat(9), 'RESP: arrays nested more than 8 deep'],
      [`get ${'x'.repeat(65_536)}`, 'RESP: line of more than 65536 bytes'],
      [`+${'x'.repeat(65_536)}\r\n`, 'RESP: line of more than 65536 bytes'],
    ] as const) {
      const good = command('PING');
      const all = Buffer.concat([good, Buffer.from(bytes)]);
      for (const sizes of [[all.length], bytes.length < 100 ? [1] : [7000]]) {
        await t.throwsAsync(parsed(RespParser, all, sizes), { message }, JSON.stringify(bytes.slice(0, 30)));
      }
      const values: Value[] = [];
      t.throws(() => new RespParser().parse(all, values), { message });
      t.deepEqual(values, [[Buffer.from('PING')]], 'what came before is parsed');
    }
  },
);

parsing.test('resp.ts', 'many small items of one command are bounded as one long one is', async (t, work) => {
  const RespParser = await parserClass(work);
  const parser = new RespParser();
  const item = Buffer.from(`$60000\r\n${'x'.repeat(60_000)}\r\n`);
  parser.parse(Buffer.from('*1000000\r\n'), []);
  let items = 0;
  const fill = (): void => {
    for (; items < 2000; items++) t.is(parser.parse(item, []), item.length);
  };
  t.throws(fill, { message: 'RESP: value of more than 67108864 bytes' });
  t.is(items, Math.floor(67_108_864 / item.length));
});

parsing.test(
  ['kv-server.ts', 'resp.ts'],
  'the server answers pipelined requests, and continues to serve after an invalid one',
  async (t, work) => {
    const { port } = await work.serve('kv-server.ts');
    const talk = async (request: Buffer, expected: string, size = 7777): Promise<void> => {
      const socket = dial(port, '127.0.0.1');
      let answer = '';
      socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
      socket.on('error', () => {}).setNoDelay();
      for (let at = 0; at < request.length; at += size) {
        socket.write(request.subarray(at, at + size));
        if (size < 100) await new Promise(setImmediate);
      }
      socket.end();
      await once(socket, 'close');
      t.is(answer, expected);
    };
    const large = Buffer.alloc(300_000, 'line\r\nx');
    await talk(
      Buffer.concat([
        command('PING'),
        command('set', 'a', 'one'),
        command('GET', 'a'),
        command('SET', 'large', large),
        command('GET', 'large'),
        command('GET', 'none'),
        command('QUUX'),
        command('GET'),
      ]),
      `+PONG\r\n+OK\r\n$3\r\none\r\n+OK\r\n$300000\r\n${large.toString('latin1')}\r\n$-1\r\n` +
        '-ERR unknown command\r\n-ERR wrong number of arguments\r\n',
    );
    const small = Buffer.concat([command('Get', 'a'), Buffer.from('ping\r\n\r\nget a\r\n*0\r\n'), command('PING')]);
    for (const size of [1, 3, 1000]) await talk(small, '$3\r\none\r\n+PONG\r\n$3\r\none\r\n+PONG\r\n', size);
    // What redis-benchmark begins with.
    await talk(
      Buffer.concat([command('CONFIG', 'GET', 'save'), command('CONFIG', 'GET', 'appendonly')]),
      '*2\r\n$4\r\nsave\r\n$0\r\n\r\n*2\r\n$10\r\nappendonly\r\n$0\r\n\r\n',
    );
    const many = 10_000;
    await talk(Buffer.concat(Array<Buffer>(many).fill(command('SET', 'key:1', 'abc'))), '+OK\r\n'.repeat(many), 60_000);
    const complaint = '-ERR Protocol error: RESP: unknown type: "!"\r\n';
    await talk(Buffer.concat([command('PING'), Buffer.from('!3\r\n'), command('PING')]), `+PONG\r\n${complaint}`);
    await talk(Buffer.from('*1\r\n$99999999\r\n'), '-ERR Protocol error: RESP: value of more than 67108864 bytes\r\n');
    await talk(command('GET', 'a').subarray(0, 15), '');
    await talk(command('GET', 'a'), '$3\r\none\r\n');
  },
);

parsing.test(['resp-test.ts', 'resp.ts'], 'the test in the guide prints what it shows', async (t, work) => {
  t.is(
    await work.run('resp-test.ts'),
    '[\n  [ <Buffer 61 0d 0a 62>, -1 ],\n  [ <Buffer 73 65 74>, <Buffer 6b>, <Buffer 76> ],\n' +
      "  'OK',\n  null,\n  []\n]\n",
  );
});

parsing.test('smtp-server.ts', 'commands and messages in one batch, and cut anywhere', async (t, work) => {
  const { port } = await work.serve('smtp-server.ts');
  const session = Buffer.from(
    'EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: QUIT\r\n\r\n..dot\r\nDATA\r\n.\r\n' +
      'MAIL FROM:<a@b>\r\ndata\r\n.\r\nNOOP\r\nQUIT\r\n',
  );
  const expected =
    '220 ready\r\n' +
    '250 ok\r\n'.repeat(3) +
    '354 go ahead\r\n250 29 bytes\r\n250 ok\r\n354 go ahead\r\n250 0 bytes\r\n250 ok\r\n221 bye\r\n';
  for (const size of [session.length, 1, 20]) {
    const stream = await connect('127.0.0.1', port);
    for (let at = 0; at < session.length; at += size) {
      await stream.write(session.subarray(at, at + size));
      await new Promise(setImmediate);
    }
    t.is((await stream.read()).toString(), expected, `${size} bytes at a time`);
    await stream.close();
  }
});

parsing.test(['sum-client.ts', 'sum-server.ts'], 'frames by length in both directions', async (t, work) => {
  const { port } = await work.serve('sum-server.ts');
  t.is(await work.run('sum-client.ts', port), '{"sum":3}\n{"sum":12}\n{"sum":0}\n');
  const stream = await connect('127.0.0.1', port);
  await stream.write(Buffer.of(0x00, 0x10, 0x00, 0x00)); // 1 MiB with its length is over the limit
  t.is((await stream.read().catch(() => '')).length, 0);
  await stream.close();
});

parsing.test('rows.ts', 'rows are counted in place', async (t, work) => {
  t.is(await work.run('rows.ts'), '2\n');
});

parsing.test(
  'upload-server.ts',
  'bodies are hashed as they come, and one that is too large is skipped',
  async (t, work) => {
    const { port } = await work.serve('upload-server.ts');
    const body = Buffer.alloc(3_000_000, 'some bytes\n');
    const hash = (bytes: Buffer): string => `${createHash('sha256').update(bytes).digest('hex')}\n`;
    const stream = await connect('127.0.0.1', port);
    const tooLarge = Buffer.alloc(64 * 1024 * 1024 + 1, 'x');
    void stream.writelines([`${body.length}\n`, body, '0\n', `${tooLarge.length}\n`, tooLarge]);
    void stream.writelines(['5\n', '1\n2\n3', '-1\n']);
    t.is(
      (await stream.read()).toString(),
      `${hash(body)}${hash(Buffer.alloc(0))}at most 67108864 bytes\n${hash(Buffer.from('1\n2\n3'))}not a size\n`,
    );
    await stream.close();
  },
);

parsing.testWhole();

// ------------------------------------------------------------------------------------------------ which way to read

const choosing = new Guide('docs/which-way-to-read.md');

choosing.test('ways.ts', 'all ways of reading return the same lines', async (t, work) => {
  t.is(await work.run('ways.ts'), '[ 2000, 2000, 2000, 2000 ]\n');
});

choosing.test('three-ways.ts', 'a mixture is read in the same way however it is cut, and refused', async (t, work) => {
  type Way = (reader: StreamReader) => Promise<number>;
  const { awaiting, trying, inPlace } = (await work.load('three-ways.ts')) as Record<string, Way>;
  const bytes = Buffer.from('5\r\nhello0\r\n2\n\r\n1\r\n7');
  const sum = 'h\r7'.split('').reduce((total, letter) => total + letter.charCodeAt(0), 0);
  for (const way of [awaiting!, trying!, inPlace!]) {
    const read = async (...pieces: Uint8Array[]): Promise<number> => {
      const reader = new StreamReader();
      const reading = way(reader);
      reading.catch(() => {}); // reported below
      for (const piece of pieces) {
        reader.feedData(piece);
        await new Promise(setImmediate);
      }
      reader.feedEof();
      return reading;
    };
    t.is(await read(bytes), sum);
    for (let cut = 1; cut < bytes.length; cut++) t.is(await read(bytes.subarray(0, cut), bytes.subarray(cut)), sum);
    t.is(await read(...Array.from(bytes, (byte) => Buffer.of(byte))), sum);
    await t.throwsAsync(read(bytes, Buffer.from('3\r\nab')), { instanceOf: IncompleteReadError });
    await t.throwsAsync(read(bytes, Buffer.from('-1\r\n')), { instanceOf: RangeError, message: 'not a length: "-1"' });
    await t.throwsAsync(read(Buffer.from('1048577\n')), { message: /^a message has at most 1048576 bytes/ });
  }
});

// ------------------------------------------------------------------------------------------------ tuning

const tuning = new Guide('docs/tuning.md');

tuning.test('length-prefixed.ts', 'an excessive length is answered, and its body is not read', async (t, work) => {
  const { port } = await work.serve('length-prefixed.ts');
  const exchange = async (...bytes: number[]): Promise<string> => {
    const stream = await connect('127.0.0.1', port);
    await stream.write(Uint8Array.from(bytes));
    if (bytes.length < 20) await stream.writeEof();
    const answer = (await stream.read()).toString();
    await stream.close();
    return answer;
  };
  t.is(await exchange(0, 0, 0, 2, 1, 1, 0, 0, 0, 0), '2 bytes\n0 bytes\n');
  t.is(await exchange(0, 16, 0, 1, ...Array<number>(40).fill(1)), 'at most 1048576 bytes\n');
});

tuning.test('fan-out.ts', 'only a client that does not read is dropped', async (t, work) => {
  const { server, port } = await work.serve('fan-out.ts');
  const idle = dial(port, '127.0.0.1')
    .on('error', () => {})
    .pause();
  t.teardown(() => idle.destroy());
  await once(idle, 'connect');
  const stream = await connect('127.0.0.1', port);
  const line = `${'x'.repeat(60_000)}\n`;
  let dropped = false;
  void server
    .prints(/^dropped a client: write: \d+ bytes would exceed the max of 4194304: /m)
    .then(() => (dropped = true));
  // Until it is dropped: how much that takes depends on the buffers of the system.
  for (let sent = 0; !dropped; sent++) {
    await stream.write(line);
    t.is((await stream.readline()).length, line.length);
    if (sent > 5000) throw new Error('no client is dropped');
  }
  await stream.write('still here\n');
  t.is((await stream.readline()).toString(), 'still here\n');
  await stream.close();
});

tuning.test('proxy.ts', 'the proxy relays both directions up to EOF', async (t, work) => {
  const upstream = new StreamServer(async (stream) => {
    await stream.write('welcome\n');
    for await (const line of stream) await stream.write(line);
    await stream.write('bye\n');
  }, '127.0.0.1');
  await upstream.startServing();
  t.teardown(() => upstream.abort());
  const proxy = await work.start('proxy.ts', portOf(upstream));
  const [, port] = await proxy.prints(/^Serving on\b[^]*?\bport:? (\d+)\b/m);
  const stream = await connect('127.0.0.1', Number(port));
  const large = `${'y'.repeat(50_000)}\n`.repeat(20);
  void stream.write(large);
  void stream.writeEof();
  t.is((await stream.read()).toString(), `welcome\n${large}bye\n`);
  await stream.close();
});

tuning.test('idle-timeout.ts', 'an idle connection is closed', async (t, work) => {
  const { port } = await work.serve('idle-timeout.ts', { env: { ...process.env, IDLE_MS: '2000' } });
  const greeted = async (): Promise<{ stream: sluice.Stream; line: string }> => {
    const stream = await connect('127.0.0.1', port);
    void stream.write('hello\n');
    const line = await stream.readline().catch(() => '');
    return { stream, line: line.toString() };
  };
  let { stream, line } = await greeted();
  // On a busy machine the timeout may pass before the first line arrives.
  while (line === '') ({ stream, line } = await greeted());
  t.is(line, 'hello\n');
  const end = await stream.read().catch((error: unknown) => error);
  t.true(Buffer.isBuffer(end) ? end.length === 0 : end instanceof ConnectionError);
});

tuning.testWhole();

test('the numbers in the tuning guide are those in the sources', async (t) => {
  const text = await readFile(path.join(root, 'docs/tuning.md'), 'utf8');
  const rows = [...text.matchAll(/^\|[^|]+\| *(\d+) *\| *`(\w+)` in `(ts\/[\w/-]+\.ts)` *\|$/gm)];
  t.true(rows.length >= 10);
  for (const [, bytes, name, file] of rows) {
    const source = await readFile(path.join(root, file!), 'utf8');
    const [, value] = new RegExp(`^(?:export )?const ${name!} = ([\\d_ *]+);$`, 'm').exec(source) ?? [];
    t.truthy(value, `${name!} in ${file!}`);
    const number = value!
      .replaceAll('_', '')
      .split(/ \* /)
      .map((factor) => factor.split(' ** ').map(Number))
      .reduce((product, [base, exponent = 1]) => product * base! ** exponent, 1);
    t.is(number, Number(bytes), `${name!} in ${file!}`);
  }
});

test('the environment variables in the tuning guide are those in the sources', async (t) => {
  const text = await readFile(path.join(root, 'docs/tuning.md'), 'utf8');
  const named = [...text.matchAll(/^\| `(SLUICE_[A-Z]+)=/gm)].map(([, name]) => name!);
  const read = (await sources()).flatMap(({ code }) =>
    [...code.matchAll(/env(?:ironment)?(?:\.|\[')(SLUICE_[A-Z]+)/g)].map(([, name]) => name!),
  );
  t.deepEqual([...new Set(named)].sort(), [...new Set(read)].sort());
});

// ------------------------------------------------------------------------------------------------ errors

const errors = new Guide('docs/errors.md');

errors.test('records.ts', 'records: a complete one, one cut short, and EOF', async (t, work) => {
  t.is(await work.run('records.ts'), 'hi\nreadframe: 5 bytes read before EOF, of a frame of 13\nnull\n');
});

errors.test('too-long.ts', 'an overlong line is answered, and the connection closed', async (t, work) => {
  const { port } = await work.serve('too-long.ts');
  const stream = await connect('127.0.0.1', port);
  await stream.write(`fits\n${'x'.repeat(300_000)}\nlate\n`);
  t.is((await stream.read()).toString(), 'fits\nerror: a line has at most 100 bytes\n');
  await stream.close();
});

errors.test(
  'skip-large.ts',
  'a frame that is too long is skipped, and one that is far too long ends the connection',
  async (t, work) => {
    const { port } = await work.serve('skip-large.ts');
    const stream = await connect('127.0.0.1', port);
    const framing = { length: 'uint32be' } as const;
    for (const size of [996, 997, 500_000, 0]) await stream.writeframe(Buffer.alloc(size), framing);
    let answers = '';
    for (let i = 0; i < 4; i++) answers += (await stream.readline()).toString();
    t.is(answers, '996 bytes\ntoo long\ntoo long\n0 bytes\n');
    await stream.write(Buffer.of(0x7f, 0, 0, 0));
    t.is((await stream.read().catch(() => '')).length, 0);
    await stream.close();
  },
);

errors.test('retry.ts', 'the program retries until the server is there', async (t, work) => {
  const server = createServer((socket) => socket.end());
  const port = await sparePort(t);
  const program = await work.start('retry.ts', port);
  await program.prints(/^ECONNREFUSED: trying again$/m);
  await listenOn(server, port);
  t.teardown(() => closed(server));
  const { code, stdout, stderr } = await program.ended;
  t.is(stderr, '');
  t.is(code, 0);
  t.regex(stdout, /^(ECONNREFUSED: trying again\n)+Connected to true\n$/);
});

errors.test('retry.ts', 'an error that a retry cannot fix is reported at once', async (t, work) => {
  const file = await work.write('retry.ts', 8888);
  await writeFile(
    file,
    (await readFile(file, 'utf8')).replace('127.0.0.1', 'no-such-host.invalid').replace("'EAI_AGAIN'", ''),
  );
  const { code, stdout, stderr } = await new Program(t, file).ended;
  t.is(code, 1);
  t.is(stdout, '');
  t.regex(stderr, /ConnectionError.*no-such-host\.invalid/);
});

errors.test('lost.ts', 'the program distinguishes a reset from EOF', async (t, work) => {
  for (const reset of [true, false]) {
    let peer: Socket | undefined;
    const server = createServer((socket) => {
      peer = socket.on('error', () => {});
      socket.write('one\ntwo\nthr');
    });
    const port = await listenOn(server, 0);
    t.teardown(() => closed(server));
    const program = await work.start('lost.ts', port);
    await program.prints(/^line: two$/m);
    if (reset) peer!.resetAndDestroy();
    else peer!.end();
    const { code, stdout, stderr } = await program.ended;
    t.is(stderr, '');
    t.is(code, 0);
    const end = reset ? 'lost (ECONNRESET), in the middle of: thr\n' : 'line: thr\nend of file\n';
    t.is(stdout, `line: one\nline: two\n${end}`);
  }
});

errors.test('yes.ts', 'a program whose output is no longer read ends quietly', async (t, work) => {
  const child = spawn(process.execPath, [await work.write('yes.ts')], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.teardown(() => child.kill('SIGKILL'));
  let complaints = '';
  child.stderr.on('data', (piece: Buffer) => (complaints += piece.toString()));
  const [piece] = (await once(child.stdout, 'data')) as [Buffer];
  t.true(piece.toString().startsWith('y\ny\n'));
  child.stdout.destroy();
  t.deepEqual(await once(child, 'close'), [0, null]);
  t.is(complaints, '');
});

errors.test(
  'trust.ts',
  'the program distinguishes an untrusted certificate, a port without TLS, and a closed port',
  async (t, work) => {
    const { server: certificate } = await certificates();
    const untrusted = createTlsServer(certificate, (socket) => socket.on('error', () => {}).resume());
    t.is(await work.run('trust.ts', await listenOn(untrusted, 0)), 'not trusted: pass its CA certificate as ssl.ca\n');
    await closed(untrusted);
    const plain = createServer((socket) =>
      socket
        .on('error', () => {})
        .resume()
        .end('220 this is no TLS\r\n'),
    );
    const port = await listenOn(plain, await sparePort(t));
    t.regex(await work.run('trust.ts', port), /^no TLS, or no common version: ERR_SSL_\w+\n$/);
    await closed(plain);
    t.is(await work.run('trust.ts', port), 'no connection: ECONNREFUSED\n');
  },
);

errors.test('in-use.ts', 'a socket serves one stream', async (t, work) => {
  t.is(
    await work.run('in-use.ts'),
    'connect: sock is already used by a stream or a server, or was until that was closed\nstill there\n',
  );
});

errors.test('patience.ts', 'a read that timed out is repeated, and no data is lost', async (t, work) => {
  const server = createServer((socket) => {
    socket.on('error', () => {}).write('ye');
    socket.once('data', () => socket.end('s\n'));
  });
  const port = await listenOn(server, 0);
  t.teardown(() => closed(server));
  t.is(await work.run('patience.ts', port), 'answer: yes\n');
});

errors.test('stop.ts', 'the server stops on SIGTERM', async (t, work) => {
  const { server, port } = await work.serve('stop.ts');
  const stream = await connect('127.0.0.1', port);
  await stream.write('hello\n');
  t.is((await stream.readline()).toString(), 'hello\n');
  server.kill('SIGTERM');
  t.is((await stream.read()).length, 0);
  const { code, stdout, stderr } = await server.ended;
  t.is(stderr, '');
  t.is(code, 0);
  t.regex(stdout, /\nStopped\n$/);
});

errors.test('report.ts', 'client, network and program errors are reported differently', async (t, work) => {
  const { server, port } = await work.serve('report.ts');
  const say = async (text: string): Promise<string> => {
    const stream = await connect('127.0.0.1', port);
    await stream.write(text);
    await stream.writeEof();
    const answer = await stream.read().catch(() => 'lost');
    await stream.abort();
    return answer.toString();
  };
  t.is(await say('5\nhello'), 'hello');
  await say('5\nhel');
  await server.prints(/^the client disconnected early or sent bad data: readexactly\(5\): 3 bytes read before EOF$/m);
  await say('5000\n');
  await server.prints(/^unexpected error: 3 invalid length: 5000$/m);
  const socket = dial(port, '127.0.0.1').on('error', () => {});
  await once(socket, 'connect');
  socket.resetAndDestroy();
  await server.prints(/^network error: ECONNRESET$/m);
});

errors.testWhole();

// ------------------------------------------------------------------------------------------------ behind a proxy

const proxied = new Guide('docs/behind-a-proxy.md');

proxied.test('behind-a-proxy.ts', 'a server behind a proxy answers with the address of the client', async (t, work) => {
  const { port } = await work.serve('behind-a-proxy.ts');
  for (const [header, client] of [
    ['PROXY TCP4 203.0.113.7 192.0.2.1 50123 443', '203.0.113.7'],
    ['PROXY UNKNOWN', '127.0.0.1'],
  ]) {
    await using stream = await connect('127.0.0.1', port);
    await stream.write(`${header}\r\n`);
    t.is((await stream.read()).toString(), `You are ${client}\n`);
  }
});

proxied.testWhole();

/** Further codes from Node's TLS documentation. */
const OPENSSL = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** Codes that are only compared with those of the system: the library never reports them. */
const LOOKED_FOR = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'ECANCELED'];

test('the codes in the errors guide are those in the sources', async (t) => {
  const found = new Set<string>();
  for (const { code } of await sources()) {
    const file = ts.createSourceFile('source.ts', code, ts.ScriptTarget.ES2022, true);
    const visit = (node: ts.Node): void => {
      if (ts.isStringLiteral(node) && isCode(node.text)) found.add(node.text);
      ts.forEachChild(node, visit);
    };
    visit(file);
  }
  t.true(found.size > 40);
  t.deepEqual(
    LOOKED_FOR.filter((name) => !found.has(name)),
    [],
  );

  const guide = await readFile(path.join(root, 'docs/errors.md'), 'utf8');
  const prose = guide.replace(/^```[^]*?^```$/gm, '');
  const told = new Set([...prose.matchAll(/`([A-Z][A-Z_\d]+)`/g)].map(([, name]) => name!).filter(isCode));
  const missing = [...found].filter((name) => !told.has(name) && !LOOKED_FOR.includes(name));
  t.deepEqual(missing, [], 'codes of the sources that the guide does not have');

  // TLS codes are passed through: a test or a comment has to mention them.
  const tests = await readdir(path.join(root, '__test__'), { recursive: true });
  const others = tests.filter((name) => name.endsWith('.test.ts') && path.basename(name) !== 'guides.test.ts');
  const texts = await Promise.all(others.map((name) => readFile(path.join(root, '__test__', name), 'utf8')));
  const known = [...(await sources()).map(({ code }) => code), ...texts].join('\n');
  const unknown = [...told].filter(
    (name) => !(name in constants.errno || OPENSSL.has(name) || new RegExp(`\\b${name}\\b`).test(known)),
  );
  t.deepEqual(unknown, [], 'codes of the guide that nothing else has');
});

/** Whether it is the code of an error or a warning: of Node, of this library, or of the system. */
function isCode(text: string): boolean {
  return (
    /^(?:ERR_[A-Z_]+|SLUICE_(?:DEP\d+|UNCLOSED)|EAI_[A-Z]+|ENOTFOUND|UNKNOWN|(?:CERT|DEPTH|SELF|UNABLE)_[A-Z_\d]+)$/.test(
      text,
    ) || text in constants.errno
  );
}

test('failed reads leave the bytes that the errors guide says', async (t) => {
  const reads: Record<string, (reader: StreamReader) => Promise<unknown>> = {
    'read()': (reader) => reader.read(),
    peek: (reader) => reader.peek(5),
    readexactly: (reader) => reader.readexactly(5),
    readuntil: (reader) => reader.readuntil('\n'),
    readframes: (reader) => reader.readframes(),
    readframe: (reader) => reader.readframe(),
    frames: (reader) => reader.frames().next(),
    'frames().batches': (reader) => reader.frames().batches().next(),
    window: (reader) => reader.window(5),
    readline: (reader) => reader.readline(),
    'for await': async (reader) => reader[Symbol.asyncIterator]().next(),
    lines: (reader) => reader.lines().next(),
    batches: (reader) => reader.lines().batches().next(),
  };
  const framed = ['readframes', 'readframe', 'frames', 'frames().batches'];
  const looks = ['peek', 'window'];
  for (const [name, read] of Object.entries(reads)) {
    const lost = new StreamReader();
    lost.feedData('abc');
    const reason = new ConnectionError('ECONNRESET', 'lost');
    lost.setException(reason);
    t.is(await read(lost).catch((error: unknown) => error), reason, name);
    t.is((await lost.read(3)).toString(), 'abc', name);

    const ended = new StreamReader();
    ended.feedData('abc');
    ended.feedEof();
    const result = await read(ended).catch((error: unknown) => error);
    const incomplete = ['readexactly', 'readuntil', ...framed].includes(name);
    t.is(result instanceof IncompleteReadError, incomplete, name);
    if (result instanceof IncompleteReadError) t.is(result.partial.toString(), 'abc');
    t.is(ended.buffered, looks.includes(name) ? 3 : 0, name);

    const overlong = new StreamReader({ limit: 2 });
    overlong.feedData('abc\nd\n');
    const bounded = !['read()', 'readexactly', ...looks].includes(name);
    if (!bounded) continue;
    await t.throwsAsync(read(overlong), { instanceOf: LimitOverrunError }, name);
    const left = ['readuntil', ...framed].includes(name) ? 'abc\nd\n' : 'd\n';
    t.is((await overlong.peek(overlong.buffered)).toString(), left, name);
  }
});

test('what a read of frames by length leaves is what the errors guide says', async (t) => {
  const framing = { length: 'uint8', offset: 1, skip: 'header' } as const;
  const reads: Record<string, (reader: StreamReader) => Promise<unknown>> = {
    readframe: (reader) => reader.readframe(framing),
    readframes: (reader) => reader.readframes(framing),
    frames: (reader) => reader.frames(framing).next(),
    'frames().batches': (reader) => reader.frames(framing).batches().next(),
    tryReadframe: async (reader) => reader.tryReadframe(framing),
    tryReadframes: async (reader) => reader.tryReadframes(framing),
  };
  for (const [name, read] of Object.entries(reads)) {
    const ended = new StreamReader();
    ended.feedData(Buffer.of(7, 3, 1));
    ended.feedEof();
    const incomplete = await t.throwsAsync(read(ended), { instanceOf: IncompleteReadError }, name);
    t.deepEqual([...incomplete.partial], [7, 3, 1], name);
    t.is(incomplete.expected, 5, name);
    t.is(ended.buffered, 0, name);

    const overlong = new StreamReader({ limit: 4 });
    overlong.feedData(Buffer.of(7, 3));
    const limit = await t.throwsAsync(read(overlong), { instanceOf: LimitOverrunError }, name);
    t.is(limit.consumed, 5, name);
    t.is(overlong.buffered, 2, name);
    const skipped = overlong.discard(limit.consumed);
    overlong.feedData(Buffer.of(1, 2, 3, 8, 1, 9));
    await skipped;
    t.deepEqual([...(await overlong.readframe(framing))!], [9], name);
  }
});

test('what chunks and discard leave is what the errors guide says', async (t) => {
  for (const read of [
    async (reader: StreamReader) => {
      for await (const chunk of reader.chunks(5)) t.is(chunk.toString(), 'abc');
    },
    (reader: StreamReader) => reader.discard(5),
  ]) {
    const reader = new StreamReader();
    reader.feedData('abc');
    reader.feedEof();
    const error = await t.throwsAsync(read(reader), { instanceOf: IncompleteReadError });
    t.is(error.partial.length, 0);
    t.is(error.expected, 5);
    t.is(reader.buffered, 0);
  }
});

test('the errors guide has every exported error class', async (t) => {
  const guide = await readFile(path.join(root, 'docs/errors.md'), 'utf8');
  for (const name of Object.keys(sluice).filter((name) => name.endsWith('Error'))) {
    t.true(guide.includes(`\n## \`${name}\`\n`), name);
  }
});

// ------------------------------------------------------------------------------------------------ what they share

/** The sources of the library. */
async function sources(): Promise<{ name: string; code: string }[]> {
  const names = (await readdir(path.join(root, 'ts'), { recursive: true })).filter((name) => name.endsWith('.ts'));
  return Promise.all(names.map(async (name) => ({ name, code: await readFile(path.join(root, 'ts', name), 'utf8') })));
}

async function listenOn(server: Server, port: number): Promise<number> {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** Closes a server; its connections end by themselves. */
async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

function portOf(server: StreamServer): number {
  return (server.sockets[0]!.address() as AddressInfo).port;
}
