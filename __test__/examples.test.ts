/** Every example, run as a user runs it: a process with arguments, judged by its output and exit code. */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { createServer, type Server } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { connect, type AddressInfo } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { engine } from 'sluice';
import { directory } from './fifo.js';
import { sparePort } from './loopback.js';
import { example, Program } from './program.js';

// tcp-echo-server, tcp-echo-client

async function echoServer(t: ExecutionContext): Promise<{ server: Program; port: string }> {
  const server = new Program(t, example('tcp-echo-server'), ['0']);
  const [, port] = await server.prints(/^Serving on 127\.0\.0\.1:(\d+)$/m);
  return { server, port: port! };
}

test.serial('the echo client gets its message back from the echo server', async (t) => {
  const { server, port } = await echoServer(t);
  for (const message of ['Hello World!', 'ünïcödé']) {
    const client = await new Program(t, example('tcp-echo-client'), [port, '127.0.0.1', message]).ended;
    t.is(client.stderr, '');
    t.is(client.stdout, `Send: ${message}\nReceived: ${message}\nClose the connection\n`);
    t.is(client.code, 0);
  }
  server.kill('SIGINT');
  const { code, stdout, stderr } = await server.ended;
  t.is(stderr, '');
  t.is(code, 0);
  t.regex(stdout, /sent 13 bytes\n(.*\n)*.*sent 12 bytes\nStopped\n$/);
});

test.serial('the echo server stops on SIGTERM with a client still connected', async (t) => {
  const { server, port } = await echoServer(t);
  const client = connect(Number(port), '127.0.0.1');
  client.on('error', () => {});
  t.teardown(() => client.destroy());
  await server.prints(/ connected$/m);
  server.kill('SIGTERM');
  const { code, stderr } = await server.ended;
  t.is(stderr, '');
  t.is(code, 0);
});

test.serial('the echo client reports that the connection was refused', async (t) => {
  const client = await new Program(t, example('tcp-echo-client'), [String(await sparePort(t))]).ended;
  t.not(client.code, 0);
  t.regex(client.stderr, /ECONNREFUSED/);
});

// http-headers

async function httpServer(t: ExecutionContext): Promise<string> {
  const server: Server = createServer((request, response) => {
    response.writeHead(200, { 'X-Request': `${request.method} ${request.url}`, 'X-Host': request.headers.host });
    response.end('a body that HEAD leaves out');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test.serial('http-headers prints the headers of a URL', async (t) => {
  const host = await httpServer(t);
  const { code, stdout, stderr } = await new Program(t, example('http-headers'), [`http://${host}/a/b?c=d`]).ended;
  t.is(stderr, '');
  t.is(code, 0);
  const lines = stdout.trimEnd().split('\n');
  t.is(lines[0], 'HTTP header> HTTP/1.1 200 OK');
  t.true(lines.includes('HTTP header> X-Request: HEAD /a/b?c=d'));
  t.true(lines.includes(`HTTP header> X-Host: ${host}`));
  t.true(lines.every((line) => line.startsWith('HTTP header> ')));
});

test.serial('http-headers prints its usage', async (t) => {
  for (const args of [[], ['no url'], ['ftp://127.0.0.1/']]) {
    const { code, stdout, stderr } = await new Program(t, example('http-headers'), args).ended;
    t.is(stdout, '');
    t.regex(stderr, /^usage: /);
    t.is(code, 2);
  }
});

// socketpair-wait

test.serial('socketpair-wait receives what the other end writes, then EOF', async (t) => {
  const { code, stdout, stderr } = await new Program(t, example('socketpair-wait')).ended;
  t.is(stderr, '');
  t.is(stdout, 'Received: abc\nEnd of stream: true, 0 bytes left\n');
  t.is(code, 0);
});

// serve-file

async function fileOf(t: ExecutionContext, content: string | Buffer): Promise<string> {
  const file = path.join(directory(t), 'a file.txt');
  await writeFile(file, content);
  return file;
}

/** Serves the content, and checks that every read method returns all of it: so many lines, blocks and bytes. */
async function servesWhole(t: ExecutionContext, content: string | Buffer, lines: number): Promise<void> {
  const file = await fileOf(t, content);
  const { code, stdout, stderr } = await new Program(t, example('serve-file'), [file]).ended;
  t.is(stderr, '');
  t.is(code, 0);
  const [head, ...rows] = stdout.trimEnd().split('\n');
  const bytes = Buffer.byteLength(content);
  const inBytes = bytes === 1 ? '1 byte' : `${bytes} bytes`;
  const size = bytes < 10_000 ? inBytes : `${(bytes / 1e6).toFixed(2)} MB`;
  t.true(head!.startsWith(`Serving ${file} (${size}) on `), head);
  t.true(head!.endsWith(`, ${engine} engine`), head);
  const found = rows.map((row) =>
    /^(.+?) {2,}([\d,]+) (\w+) +(\d+) bytes? +(?:[1-9]\d* (?:MB|bytes?)\/s|-) +sha256 ok$/.exec(row)?.slice(1),
  );
  const count = (n: number): string => n.toLocaleString('en');
  const exact = ['readline', 'for await', 'readuntil', 'lines'].map((name) => [
    name,
    count(lines),
    'lines',
    String(bytes),
  ]);
  t.deepEqual(found.slice(0, 4), exact);
  // The number of pieces depends on how the bytes arrive.
  const any = found.slice(4).map((row) => row?.filter((_, i) => i !== 1));
  t.deepEqual(any, [
    ['batches', 'batches', String(bytes)],
    ['readframes', 'batches', String(bytes)],
    ['readexactly', 'blocks', String(bytes)],
    ['read', 'chunks', String(bytes)],
  ]);
  t.is(found[6]?.[1], count(Math.ceil(bytes / 65536)));
}

test.serial('serve-file serves a text of many lines', async (t) => {
  const lines = Array.from({ length: 20_000 }, (_, i) => `${i} ${'x'.repeat(i % 97)}\r\n`);
  await servesWhole(t, lines.join(''), lines.length);
});

test.serial('serve-file serves a file without a final newline', (t) => servesWhole(t, 'one\ntwo\nthree', 3));

test.serial('serve-file serves a single byte', (t) => servesWhole(t, '\n', 1));

test.serial('serve-file serves an empty file', (t) => servesWhole(t, '', 0));

test.serial('serve-file serves a file of empty lines', (t) => servesWhole(t, '\n'.repeat(1000), 1000));

test.serial('serve-file serves binary data', (t) => {
  const bytes = Buffer.alloc(300_000, Buffer.from(Array.from({ length: 256 }, (_, i) => (i * 167) % 256)));
  return servesWhole(t, bytes, bytes.reduce((n, byte) => n + Number(byte === 0x0a), 0) + Number(bytes.at(-1) !== 0x0a));
});

test.serial('serve-file serves a line at the limit', (t) => servesWhole(t, `${'y'.repeat(2 ** 20)}\nlast\n`, 2));

async function refuses(t: ExecutionContext, args: readonly string[], reason: RegExp, status = 1): Promise<void> {
  const { code, stderr } = await new Program(t, example('serve-file'), args).ended;
  t.regex(stderr, reason);
  t.is(stderr.trimEnd().split('\n').length, 1, stderr);
  t.is(code, status);
}

test.serial('serve-file reports the number of an overlong line', async (t) => {
  const file = await fileOf(t, `short\n${'y'.repeat(2 ** 20 + 1)}\nlast\n`);
  await refuses(t, [file], /a file\.txt: line 2 is longer than the limit of 1048576 bytes; --limit=BYTES raises it/);
  const raised = await new Program(t, example('serve-file'), ['--limit=1048577', file]).ended;
  t.is(raised.code, 0, raised.stderr);
});

test.serial('serve-file reports a missing file and a directory', async (t) => {
  const empty = directory(t);
  await refuses(t, [path.join(empty, 'nothing')], /nothing: no such file$/m);
  await refuses(t, [empty], /: is a directory$/m);
});

test.serial('serve-file answers an invalid command line with its usage', async (t) => {
  const usage = String.raw`; usage: npm start -- \[--limit=BYTES\] \[FILE\]$`;
  for (const [args, reason] of [
    [['one', 'two'], 'one FILE at a time'],
    [['--limit=0'], '--limit must be a positive integer, not 0'],
    [['--limit=many'], '--limit must be a positive integer, not many'],
    [['--limit=1.5'], '--limit must be a positive integer, not 1.5'],
    [['--limit='], '--limit must be a positive integer, not empty'],
    [['--limit'], "Option '--limit <value>' argument missing"],
    [['--help=yes'], "Option '-h, --help' does not take an argument"],
    [['--speed=1'], "Unknown option '--speed'"],
    [['-x'], "Unknown option '-x'"],
  ] as const) {
    await refuses(t, args, new RegExp(`^serve-file: ${reason}${usage}`, 'm'), 2);
  }
});

test.serial('serve-file --help prints the usage, and serves nothing', async (t) => {
  for (const option of ['--help', '-h']) {
    const { code, stdout, stderr } = await new Program(t, example('serve-file'), [option, 'no such file']).ended;
    t.is(stderr, '');
    t.is(code, 0);
    t.regex(stdout, /^usage: npm start -- \[--limit=BYTES\] \[FILE\]\n/);
    for (const word of ['FILE', '--limit=BYTES', '--help']) t.regex(stdout, new RegExp(`^ +(-h, )?${word} `, 'm'));
    t.notRegex(stdout, /Serving/);
  }
});

test.serial('serve-file without a file serves at least 5 MB of text', async (t) => {
  const { code, stdout, stderr } = await new Program(t, example('serve-file')).ended;
  t.is(stderr, '');
  t.is(code, 0);
  const [, bytes] = /^readline .* (\d+) bytes .* sha256 ok$/m.exec(stdout) ?? [];
  t.true(Number(bytes) >= 5e6, stdout);
});

test.serial('serve-file is interrupted by Ctrl-C at once', async (t) => {
  const file = await fileOf(t, Buffer.alloc(256 * 2 ** 20, 'a line\n'));
  const program = new Program(t, example('serve-file'), [file]);
  await program.prints(/^Serving /m);
  program.kill('SIGINT');
  const { code, stdout, stderr } = await program.ended;
  t.is(stderr, 'Interrupted\n');
  t.is(code, 130);
  t.notRegex(stdout, /^read /m);
});
