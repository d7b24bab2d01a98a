/** The programs of the guides: they compile against the public types, and do what is said of them. */
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect as dial } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { StreamReader, type Frames } from 'sluice';
import { complaints, folder, snippets, transpile } from './documents.js';
import { Program } from './program.js';
import { seed } from './seed.js';

const GUIDE = 'docs/writing-a-protocol-parser.md';

type Value = string | number | Buffer | Error | null | Value[];

interface Parser {
  readonly values: Value[];
  readonly missing: number;
  push(frames: Frames): void;
  pushBytes(part: Buffer): void;
}

/** The programs of the guide in a folder, ready to run. */
async function programs(t: ExecutionContext): Promise<string> {
  const where = await folder(t, `guide-${t.title.replace(/\W+/g, '-')}`);
  for (const { name, code } of await snippets(GUIDE)) {
    const free = code.replace('6379', '0');
    await writeFile(path.join(where, name.replace('.ts', '.mjs')), transpile(free));
  }
  return where;
}

async function parserClass(t: ExecutionContext): Promise<new () => Parser> {
  const file = pathToFileURL(path.join(await programs(t), 'resp.mjs')).href;
  const { RespParser } = (await import(file)) as { RespParser: new () => Parser };
  return RespParser;
}

test('the programs use the public types rightly, and the parser has 60 lines', async (t) => {
  const where = await folder(t, 'guide-types');
  const files: string[] = [];
  for (const { name, code } of await snippets(GUIDE)) {
    const file = path.join(where, name.replace('.ts', '.mts'));
    await writeFile(file, code);
    files.push(file);
    if (name === 'resp.ts') t.true(code.trimEnd().split('\n').length <= 60);
  }
  t.deepEqual(
    files.map((file) => path.basename(file)),
    ['resp.mts', 'kv-server.mts', 'resp-test.mts'],
  );
  t.deepEqual(complaints(files, { noUncheckedIndexedAccess: true }), []);
});

test('the parser gives the same values however the bytes come', async (t) => {
  const RespParser = await parserClass(t);
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
      fc.integer({ min: -999_999_999, max: 999_999_999 }),
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
        const reader = new StreamReader({ limit: 64 });
        const parser = new RespParser();
        const done = (async () => {
          for (;;) {
            if (parser.missing > 0) {
              parser.pushBytes(await reader.readexactly(parser.missing));
            } else {
              const frames = await reader.readframes('\r\n');
              if (frames.length === 0) return;
              parser.push(frames);
            }
          }
        })();
        for (let at = 0, turn = 0; at < data.length; turn++) {
          const size = cuts[turn % cuts.length] as number;
          // From memory that is used again at once, as a socket does.
          const chunk = Buffer.from(data.subarray(at, at + size));
          reader.feedData(chunk);
          chunk.fill(0xee);
          at += size;
          await Promise.resolve();
        }
        reader.feedEof();
        // Byte strings with many line ends may run over the limit of a line, which is no matter of the parser's.
        await done;
        const [got, wanted] = [parser.values, values].map((list) => JSON.stringify(list.map(plain)));
        if (got !== wanted) throw new Error(`${got}, not ${wanted}`);
      }
    },
  );
  await t.notThrowsAsync(async () => fc.assert(property, { seed: seed(t), numRuns: 150 }));
});

test('the parser refuses what is none of the protocol', async (t) => {
  const RespParser = await parserClass(t);
  for (const [bytes, message] of [
    ['?3\r\n', 'RESP: no such type: ?'],
    ['$x\r\n', 'RESP: not a number: $x'],
    [':1e3\r\n', 'RESP: not a number: :1e3'],
    ['\r\n', 'RESP: not a number: \r'],
    ['$1\r\nabc\r\n', 'RESP: a string of another length'],
    ['$2\r\na\r\n\r\n', 'RESP: a string of another length'],
  ] as const) {
    const reader = new StreamReader();
    reader.feedData(Buffer.from(bytes));
    const frames = await reader.readframes('\r\n');
    t.throws(() => new RespParser().push(frames), { message });
  }
});

test('the server answers pipelined requests, and goes on after a bad one', async (t) => {
  const where = await programs(t);
  const server = new Program(t, path.join(where, 'kv-server.mjs'));
  const [, port] = await server.prints(/^Serving on port (\d+)/m);
  const talk = async (request: Buffer, expected: string): Promise<void> => {
    const socket = dial(Number(port), '127.0.0.1');
    let answer = '';
    socket.setEncoding('latin1').on('data', (text: string) => (answer += text));
    socket.on('error', () => {});
    for (let at = 0; at < request.length; at += 7777) socket.write(request.subarray(at, at + 7777));
    socket.end();
    await once(socket, 'close');
    t.is(answer, expected);
  };
  const command = (...words: (string | Buffer)[]): Buffer =>
    Buffer.concat([
      Buffer.from(`*${words.length}\r\n`),
      ...words.flatMap((word) => [Buffer.from(`$${word.length}\r\n`), Buffer.from(word), Buffer.from('\r\n')]),
    ]);
  const large = Buffer.alloc(300_000, 'line\r\nx');
  await talk(
    Buffer.concat([
      command('PING'),
      command('SET', 'a', 'one'),
      command('GET', 'a'),
      command('SET', 'large', large),
      command('GET', 'large'),
      command('GET', 'none'),
      command('QUUX'),
    ]),
    `+PONG\r\n+OK\r\n$3\r\none\r\n+OK\r\n$300000\r\n${large.toString('latin1')}\r\n$-1\r\n-ERR unknown command\r\n`,
  );
  await talk(Buffer.from('nonsense\r\n'), '');
  await talk(command('GET', 'a'), '$3\r\none\r\n');
});

test('the test of the guide prints what it says', async (t) => {
  const { code, stdout, stderr } = await new Program(t, path.join(await programs(t), 'resp-test.mjs')).ended;
  t.is(stderr, '');
  t.is(code, 0);
  t.is(stdout, "[ [ 1, <Buffer 61 0d 0a 62> ], 'OK' ]\n");
});
