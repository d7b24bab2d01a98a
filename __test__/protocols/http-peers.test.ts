/** The HTTP example with clients of other projects: curl, Node's client, wrk, h2load and ws. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import test, { type ExecutionContext } from 'ava';
import { Buffer } from 'node:buffer';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { Agent, request, type IncomingMessage, type RequestOptions } from 'node:http';
import path from 'node:path';
import WebSocket from 'ws';
import { answer, http } from '../../examples/protocols/http/server.js';
import { certificates } from '../certificates.js';
import { directory } from '../fifo.js';
import { serving } from '../loopback.js';
import { Process, Program, example, installed, type Ended } from '../program.js';

const LARGE = Buffer.alloc(
  3_000_000,
  Uint8Array.from({ length: 251 }, (_, i) => i),
);

function curl(t: ExecutionContext, cwd: string, ...args: readonly string[]): Promise<Ended> {
  return new Process(t, 'curl', ['-q', '-sS', '--noproxy', '*', '--max-time', '110', ...args], { cwd }).ended;
}

test('curl gets, posts and uploads, with a length and in chunks, and reuses its connection', async (t) => {
  if (!installed(t, 'curl')) return;
  const { port, errors } = await serving(t, http(answer));
  const folder = directory(t);
  await writeFile(path.join(folder, 'large'), LARGE);
  const url = `http://127.0.0.1:${port}`;
  const used = ['-w', '%{num_connects} %{http_code} %{errormsg}\n'];
  const { stdout, stderr } = await curl(
    t,
    folder,
    ...[...used, `${url}/`, '--next', ...used, '-d', 'abc', `${url}/length`, '--next', ...used, `${url}/count/3`],
    ...['--next', ...used, '-T', 'large', '-o', 'echo', `${url}/echo`],
    ...['--next', ...used, '-T', 'large', '-H', 'Transfer-Encoding: chunked', '-o', 'chunked', `${url}/echo`],
    ...['--next', ...used, '-I', '-o', 'head', `${url}/`, '--next', ...used, `${url}/missing`],
  );
  t.is(stderr, '');
  t.is(
    stdout,
    'hello, world\n1 200 \n3 bytes\n0 200 \n1\n2\n3\n0 200 \n0 200 \n0 200 \n0 200 \nnothing at /missing\n0 404 \n',
  );
  const { stdout: sums } = await new Process(t, 'sha256sum', ['echo', 'chunked'], { cwd: folder }).ended;
  const sum = createHash('sha256').update(LARGE).digest('hex');
  t.is(sums, `${sum}  echo\n${sum}  chunked\n`);
  t.deepEqual(errors, []);
});

test('curl waits for 100 Continue before it sends a large body', async (t) => {
  if (!installed(t, 'curl')) return;
  const { port } = await serving(t, http(answer, { maxBody: LARGE.length }));
  const folder = directory(t);
  await writeFile(path.join(folder, 'large'), LARGE);
  const wait = ['-v', '--expect100-timeout', '100', '-H', 'Expect: 100-continue', '--data-binary', '@large'];
  const url = `http://127.0.0.1:${port}`;
  const accepted = await curl(t, folder, ...wait, `${url}/length`);
  t.is(accepted.stdout, `${LARGE.length} bytes\n`);
  t.regex(accepted.stderr, /< HTTP\/1\.1 100 Continue[^]*< HTTP\/1\.1 200 OK/);
  const refused = await curl(t, folder, ...wait, `${url}/missing`);
  t.is(refused.stdout, 'nothing at /missing\n');
  t.notRegex(refused.stderr, /100 Continue\r?\n/);
});

test('curl speaks HTTPS and HTTP/1.0', async (t) => {
  if (!installed(t, 'curl')) return;
  const { ca, server } = await certificates();
  const { port } = await serving(t, http(answer), { ssl: server });
  const folder = directory(t);
  await writeFile(path.join(folder, 'ca.pem'), ca);
  const url = `https://localhost:${port}`;
  const { stdout, stderr } = await curl(t, folder, '-4', '--cacert', 'ca.pem', '-0', `${url}/count/2`, `${url}/`);
  t.is(stderr, '');
  t.is(stdout, '1\n2\nhello, world\n');
});

/** A request by Node's client. */
async function ask(options: RequestOptions, body: readonly Uint8Array[] = []): Promise<[IncomingMessage, Buffer]> {
  const asking = request(options);
  for (const piece of body) asking.write(piece);
  asking.end();
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  return [response, Buffer.concat(await response.toArray())];
}

test('the client of Node gets every kind of answer over one connection', async (t) => {
  const { port, errors, server } = await serving(t, http(answer));
  let connections = 0;
  server.sockets[0]!.on('connection', () => connections++);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  const options = { port, host: '127.0.0.1', agent };
  const [hello, text] = await ask({ ...options, path: '/' });
  t.is(text.toString(), 'hello, world\n');
  t.is(hello.headers['content-length'], '13');
  t.false(Number.isNaN(Date.parse(hello.headers.date!)));
  const pieces = [LARGE, Buffer.from('abc'), LARGE.subarray(7)];
  const [echo, back] = await ask({ ...options, path: '/echo', method: 'PUT' }, pieces);
  t.is(echo.headers['transfer-encoding'], 'chunked');
  t.true(back.equals(Buffer.concat(pieces)));
  const [, length] = await ask({ ...options, path: '/length', method: 'POST' }, [Buffer.from('a'), Buffer.from('bc')]);
  t.is(length.toString(), '3 bytes\n');
  const [head, none] = await ask({ ...options, path: '/', method: 'HEAD' });
  t.deepEqual([head.headers['content-length'], none.length], ['13', 0]);
  const [missing] = await ask({ ...options, path: '/missing' });
  t.is(missing.statusCode, 404);
  t.is(connections, 1);
  t.deepEqual(errors, []);
});

test('the client of Node waits for 100 Continue', async (t) => {
  const { port } = await serving(t, http(answer));
  const headers = { Expect: '100-continue', 'Content-Length': 3 };
  const asking = request({ port, host: '127.0.0.1', path: '/length', method: 'POST', headers });
  asking.flushHeaders();
  await once(asking, 'continue');
  asking.end('abc');
  const [response] = (await once(asking, 'response')) as [IncomingMessage];
  t.is(Buffer.concat(await response.toArray()).toString(), '3 bytes\n');
});

test('the client of ws shakes hands by an upgrade and gets a frame', async (t) => {
  const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
  const { port } = await serving(
    t,
    http((request) => ({
      status: 101,
      headers: {
        Upgrade: 'websocket',
        'Sec-WebSocket-Accept': createHash('sha1')
          .update(`${request.header('sec-websocket-key')}${GUID}`)
          .digest('base64'),
      },
      upgrade: async (stream) => {
        await stream.write(Buffer.from([0x81, 5, ...Buffer.from('hello')]));
        const [, length] = await stream.readexactly(2);
        await stream.discard(length! - 0x80 + 4);
        await stream.write(Buffer.from([0x81, 2, ...Buffer.from(`${length! - 0x80}!`)]));
        await stream.write(Buffer.from([0x88, 0]));
        await stream.read();
      },
    })),
  );
  const client = new WebSocket(`ws://127.0.0.1:${port}/`);
  const messages: string[] = [];
  client.on('message', (data: Buffer) => messages.push(data.toString()));
  client.on('open', () => client.send('abc'));
  const [code] = (await once(client, 'close')) as [number];
  t.deepEqual([messages, code], [['hello', '3!'], 1005]);
});

test('wrk gets an answer to every request, one at a time and pipelined', async (t) => {
  if (!installed(t, 'wrk')) return;
  const { port } = await serving(t, http(answer), { onError: () => {} });
  const script = path.join(directory(t), 'pipeline.lua');
  await writeFile(
    script,
    'init = function() local r = {} for i = 1, 16 do r[i] = wrk.format() end all = table.concat(r) end\n' +
      'request = function() return all end\n',
  );
  for (const more of [[], ['-s', script]]) {
    let stdout: string;
    do {
      // It runs for a time. On a busy machine that may be too short for a single request.
      const args = ['-t1', '-c8', '-d1', ...more, `http://127.0.0.1:${port}/`];
      ({ stdout } = await new Process(t, 'wrk', args).ended);
    } while (stdout.includes(' 0 requests in'));
    t.regex(stdout, /[1-9]\d* requests in/);
    t.notRegex(stdout, /Non-2xx|Socket errors: connect \d+, read [1-9]/);
  }
});

test('h2load --h1 gets an answer to every request, with and without a body', async (t) => {
  if (!installed(t, 'h2load')) return;
  const { port, errors } = await serving(t, http(answer));
  const body = path.join(directory(t), 'body');
  await writeFile(body, 'x'.repeat(1024));
  for (const [target, ...more] of [['/'], ['/length', '-d', body], ['/echo', '-d', body]] as const) {
    const args = ['--h1', '-n', '500', '-c', '10', '-m', '8', ...more, `http://127.0.0.1:${port}${target}`];
    const { stdout } = await new Process(t, 'h2load', args).ended;
    t.regex(stdout, /500 succeeded, 0 failed, 0 errored, 0 timeout/, target);
    t.regex(stdout, /status codes: 500 2xx/, target);
  }
  t.deepEqual(errors, []);
});

test('the program serves until SIGTERM', async (t) => {
  const server = new Program(t, example('protocols/http/server'), ['0']);
  const [, port] = await server.prints(/^Serving on 127\.0\.0\.1:(\d+)$/m);
  const agent = new Agent({ keepAlive: true });
  t.teardown(() => agent.destroy());
  const [, text] = await ask({ port, host: '127.0.0.1', path: '/count/2', agent });
  t.is(text.toString(), '1\n2\n');
  server.kill('SIGTERM');
  const { code, stdout, stderr } = await server.ended;
  t.is(stderr, '');
  t.regex(stdout, /Stopped\n$/);
  t.is(code, 0);
});
