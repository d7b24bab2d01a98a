/** The programs of the guides: all of them compile against the public types, and do what the guides say. */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { connect as dial, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { constants } from 'node:os';
import path from 'node:path';
import { createServer as createTlsServer } from 'node:tls';
import test from 'ava';
import fc from 'fast-check';
import * as sluice from 'sluice';
import {
  ConnectionError,
  IncompleteReadError,
  LimitOverrunError,
  StreamReader,
  StreamServer,
  connect,
  type Frames,
} from 'sluice';
import ts from 'typescript';
import { certificates } from './certificates.js';
import { Guide, blocks, type Workplace } from './documents.js';
import { sparePort } from './loopback.js';
import { Program, root } from './program.js';
import { seed } from './seed.js';

// ------------------------------------------------------------------------------------------------ all documents

/** Documents whose programs have tests: in this file, in readme.test.ts and in porting.test.ts. */
const TESTED = [
  'README.md',
  'docs/errors.md',
  'docs/porting-from-asyncio.md',
  'docs/tuning.md',
  'docs/writing-a-protocol-parser.md',
];

/** Generated from declarations. */
const GENERATED = ['docs/sluice.api.md'];

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
  readonly values: Value[];
  readonly missing: number;
  push(frames: Frames): void;
  pushBytes(part: Buffer): void;
}

async function parserClass(work: Workplace): Promise<new () => Parser> {
  return ((await work.load('resp.ts')) as { RespParser: new () => Parser }).RespParser;
}

test('the parser has at most 60 lines', async (t) => {
  const code = (await parsing.programs()).get('resp.ts');
  t.true(code!.trimEnd().split('\n').length <= 60);
});

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
          // From memory that is reused at once, as by a socket.
          const chunk = Buffer.from(data.subarray(at, at + size));
          reader.feedData(chunk);
          chunk.fill(0xee);
          at += size;
          await Promise.resolve();
        }
        reader.feedEof();
        // Byte strings with many line ends may exceed the line limit, which does not concern the parser.
        await done;
        const [got, wanted] = [parser.values, values].map((list) => JSON.stringify(list.map(plain)));
        if (got !== wanted) throw new Error(`${got}, not ${wanted}`);
      }
    },
  );
  await t.notThrowsAsync(async () => fc.assert(property, { seed: seed(t), numRuns: 150 }));
});

parsing.test('resp.ts', 'the parser refuses bytes that violate the protocol', async (t, work) => {
  const RespParser = await parserClass(work);
  for (const [bytes, message] of [
    ['?3\r\n', 'RESP: unknown type: ?'],
    ['$x\r\n', 'RESP: not a number: $x'],
    [':1e3\r\n', 'RESP: not a number: :1e3'],
    ['\r\n', 'RESP: not a number: \r'],
    ['$1\r\nabc\r\n', 'RESP: string length mismatch'],
    ['$2\r\na\r\n\r\n', 'RESP: string length mismatch'],
  ] as const) {
    const reader = new StreamReader();
    reader.feedData(Buffer.from(bytes));
    const frames = await reader.readframes('\r\n');
    t.throws(() => new RespParser().push(frames), { message });
  }
});

parsing.test(
  ['kv-server.ts', 'resp.ts'],
  'the server answers pipelined requests, and continues to serve after an invalid one',
  async (t, work) => {
    const { port } = await work.serve('kv-server.ts');
    const talk = async (request: Buffer, expected: string): Promise<void> => {
      const socket = dial(port, '127.0.0.1');
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
  },
);

parsing.test(['resp-test.ts', 'resp.ts'], 'the test in the guide prints what it shows', async (t, work) => {
  t.is(await work.run('resp-test.ts'), "[ [ 1, <Buffer 61 0d 0a 62> ], 'OK' ]\n");
});

parsing.testWhole();

// ------------------------------------------------------------------------------------------------ tuning

const tuning = new Guide('docs/tuning.md');

tuning.test('ways.ts', 'all ways of reading return the same lines', async (t, work) => {
  t.is(await work.run('ways.ts'), '[ 2000, 2000, 2000, 2000 ]\n');
});

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
  void server.prints(/^dropped a client that does not read$/m).then(() => (dropped = true));
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
  t.is(await work.run('records.ts'), 'hi\nreadexactly(9): 1 byte read before EOF\nnull\n');
});

errors.test('too-long.ts', 'an overlong line is answered, and the connection closed', async (t, work) => {
  const { port } = await work.serve('too-long.ts');
  const stream = await connect('127.0.0.1', port);
  await stream.write(`fits\n${'x'.repeat(300_000)}\nlate\n`);
  t.is((await stream.read()).toString(), 'fits\nerror: a line has at most 100 bytes\n');
  await stream.close();
});

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
    readline: (reader) => reader.readline(),
    'for await': async (reader) => reader[Symbol.asyncIterator]().next(),
    lines: (reader) => reader.lines().next(),
    batches: (reader) => reader.lines().batches().next(),
  };
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
    const incomplete = ['readexactly', 'readuntil', 'readframes'].includes(name);
    t.is(result instanceof IncompleteReadError, incomplete, name);
    if (result instanceof IncompleteReadError) t.is(result.partial.toString(), 'abc');
    t.is(ended.buffered, name === 'peek' ? 3 : 0, name);

    const overlong = new StreamReader({ limit: 2 });
    overlong.feedData('abc\nd\n');
    const bounded = !['read()', 'peek', 'readexactly'].includes(name);
    if (!bounded) continue;
    await t.throwsAsync(read(overlong), { instanceOf: LimitOverrunError }, name);
    const left = ['readuntil', 'readframes'].includes(name) ? 'abc\nd\n' : 'd\n';
    t.is((await overlong.peek(overlong.buffered)).toString(), left, name);
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
