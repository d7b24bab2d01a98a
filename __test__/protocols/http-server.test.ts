/** The HTTP example over connections: the order of answers, bodies, Expect, upgrades, refusals and closing. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import test, { type ExecutionContext } from 'ava';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import type { ConnectionError, StreamServer, StreamServerOptions } from 'sluice';
import { HttpError } from '../../examples/protocols/http/http.js';
import type { Answer } from '../../examples/protocols/http/response.js';
import { answer, http, type Handler, type HttpOptions } from '../../examples/protocols/http/server.js';
import { closedByPeer, deferred, dial, gather, serving, until } from '../loopback.js';
import { REFUSED_CHUNKS, REFUSED_HEADS } from './http-requests.js';

interface Served {
  readonly server: StreamServer;
  readonly port: number;
  /** What the server has reported. */
  readonly errors: readonly ConnectionError[];
  /** What handlers have thrown. */
  readonly thrown: readonly unknown[];
}

async function serve(
  t: ExecutionContext,
  handler: Handler,
  options: HttpOptions = {},
  serverOptions: StreamServerOptions = {},
): Promise<Served> {
  const thrown: unknown[] = [];
  const onError = (error: unknown): void => void thrown.push(error);
  return { ...(await serving(t, http(handler, { onError, ...options }), serverOptions)), thrown };
}

/** Answers with the request line and the body. */
const show: Handler = async ({ method, target }, body) => ({
  status: 200,
  body: `${method} ${target} ${(await body.bytes()).toString('latin1')}`,
});

/** Sends the bytes, without ending this side, and returns everything up to EOF, without dates. */
async function exchange(t: ExecutionContext, port: number, text: string): Promise<string> {
  const socket = await dial(t, port);
  socket.write(Buffer.from(text, 'latin1'));
  return undated(await gather(socket));
}

function undated(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/Date: .{29}\r\n/g, '');
}

/** Collects what a socket receives. */
function collected(socket: Socket): () => string {
  const pieces: Buffer[] = [];
  socket.on('data', (piece: Buffer) => pieces.push(piece));
  return () => undated(Buffer.concat(pieces));
}

const get = (target: string, more = ''): string => `GET ${target} HTTP/1.1\r\nHost: a\r\n${more}\r\n`;
const LAST = 'Connection: close\r\n';
const ok = (body: string, more = ''): string =>
  `HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n${more}\r\n${body}`;

test('pipelined requests are answered in order, whatever their handlers take', async (t) => {
  const first = deferred();
  const { port } = await serve(t, async ({ target }) => {
    if (target === '/1') await first.promise;
    return { status: 200, body: target };
  });
  const socket = await dial(t, port);
  const received = collected(socket);
  socket.write(get('/1') + get('/2') + get('/3', LAST));
  first.resolve();
  await once(socket, 'end');
  t.is(received(), ok('/1') + ok('/2') + ok('/3', LAST));
});

test('a thousand pipelined requests are answered, with and without bodies', async (t) => {
  const { port } = await serve(t, show);
  let requests = '';
  let answers = '';
  for (let i = 0; i < 999; i++) {
    const body = 'x'.repeat(i % 7);
    requests +=
      i % 3 === 0
        ? `POST /${i} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n`
        : `POST /${i} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    answers += ok(`POST /${i} ${i % 3 === 0 ? 'abc' : body}`);
  }
  t.is(await exchange(t, port, requests + get('/end', LAST)), answers + ok('GET /end ', LAST));
});

test('nothing after the last request of a connection is answered', async (t) => {
  const targets: string[] = [];
  const { port } = await serve(t, ({ target }) => {
    targets.push(target);
    return { status: 200, body: target, close: target === '/close' };
  });
  t.is(await exchange(t, port, get('/1', LAST) + get('/2')), ok('/1', LAST));
  t.is(await exchange(t, port, get('/close') + get('/2')), ok('/close', LAST));
  t.is(await exchange(t, port, 'GET /1 HTTP/1.0\r\n\r\n' + get('/2')), ok('/1', LAST));
  const kept = 'Connection: keep-alive\r\n';
  t.is(await exchange(t, port, `GET /1 HTTP/1.0\r\n${kept}\r\n${get('/close')}`), ok('/1', kept) + ok('/close', LAST));
  t.deepEqual(targets, ['/1', '/close', '/1', '/1', '/close']);
});

test('a client that ends its side gets the answers to what it has sent', async (t) => {
  const { port, errors } = await serve(t, show);
  const socket = await dial(t, port);
  socket.end(`${get('/1')}${get('/2')}GET /3 HT`);
  t.is(undated(await gather(socket)), ok('GET /1 ') + ok('GET /2 '));
  t.deepEqual(errors, []);
});

test('each refused request is answered with one error, and neither it nor what follows is handled', async (t) => {
  const targets: string[] = [];
  const { port, errors, thrown } = await serve(t, async ({ target }, body) => {
    targets.push(target);
    await body.bytes();
    targets.push(`${target} complete`);
    return { status: 200 };
  });
  const all = [...REFUSED_HEADS, ...REFUSED_CHUNKS].map(async ([what, text, status]) => {
    // Only a request that ends can be followed by another one.
    const smuggled = what.includes('never ends') ? '' : get('/smuggled').repeat(2);
    const answered = await exchange(t, port, text + smuggled);
    t.regex(answered, new RegExp(`^HTTP/1\\.1 ${status} [^]*Connection: close\r\n\r\n.+\n$`), what);
    t.is(answered.split('HTTP/1.1 ').length, 2, what);
  });
  await Promise.all(all);
  t.deepEqual([...new Set(targets)], ['/first']);
  t.is(targets.length, REFUSED_CHUNKS.length);
  t.deepEqual([errors, thrown], [[], []]);
});

test('requests before a refused one are answered first', async (t) => {
  const { port } = await serve(t, show);
  const answered = await exchange(t, port, `${get('/1')}${get('/2')}GET / HTTP/1.1\n\n`);
  t.true(answered.startsWith(`${ok('GET /1 ')}${ok('GET /2 ')}HTTP/1.1 400 Bad Request\r\n`));
  t.is(answered.split('HTTP/1.1 ').length, 4);
});

test('a refusal arrives although the client goes on sending', async (t) => {
  const { port } = await serve(t, show, { maxHead: 1000 });
  const socket = await dial(t, port);
  const received = collected(socket);
  socket.write(get('/', `X: ${'a'.repeat(2_000_000)}\r\n`));
  await once(socket, 'end');
  t.regex(received(), /^HTTP\/1\.1 431 /);
});

test('a body over the maximum is refused with 413', async (t) => {
  const { port } = await serve(t, show, { maxBody: 3 });
  const post = (more: string): Promise<string> => exchange(t, port, `POST / HTTP/1.1\r\nHost: a\r\n${more}`);
  t.is(await post(`Content-Length: 3\r\n${LAST}\r\nabc`), ok('POST / abc', LAST));
  t.regex(await post('Content-Length: 4000000000\r\n\r\nabc'), /^HTTP\/1\.1 413 [^]*Connection: close\r\n/);
  const next = get('/', LAST);
  const chunked = '2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n';
  t.regex(await post(`Transfer-Encoding: chunked\r\n\r\n${chunked}${next}`), /^HTTP\/1\.1 413 [^]*200 OK/);
  t.regex(await post(`Content-Length: 4\r\n\r\nabcd${next}`), /^HTTP\/1\.1 413 [^]*200 OK/, 'it is dropped');
});

test('a body can be read in pieces, as they arrive', async (t) => {
  const seen: string[] = [];
  const arrived = deferred();
  const { port } = await serve(t, async (_request, body) => {
    for await (const piece of body) {
      seen.push(piece.toString());
      arrived.resolve();
    }
    return { status: 200 };
  });
  for (const [head, first, rest] of [
    ['Content-Length: 6', 'abc', 'def'],
    ['Transfer-Encoding: chunked', '3\r\nabc\r\n3', '\r\ndef\r\n0\r\n\r\n'],
  ] as const) {
    seen.length = 0;
    const socket = await dial(t, port);
    const received = collected(socket);
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${LAST}${head}\r\n\r\n${first}`);
    await arrived.promise;
    await until(() => seen.length > 0);
    socket.write(rest);
    await once(socket, 'end');
    t.is(received(), ok('', LAST));
    t.is(seen.join(''), 'abcdef');
    t.is(seen[0], 'abc');
  }
});

test('a body that is not read, or not to its end, is dropped, and the next request is answered', async (t) => {
  const { port } = await serve(t, async ({ target }, body) => {
    if (target === '/some') for await (const piece of body) return { status: 200, body: piece };
    return { status: 200, body: target };
  });
  for (const target of ['/none', '/some']) {
    const start = `POST ${target} HTTP/1.1\r\nHost: a\r\n`;
    const body = get('/smuggled');
    const rest = get('/next', LAST);
    const length = `${start}Content-Length: ${body.length}\r\n\r\n${body}`;
    const chunked = `${start}Transfer-Encoding: chunked\r\n\r\n${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
    const expected = ok(target === '/some' ? body : target) + ok('/next', LAST);
    t.is(await exchange(t, port, length + rest), expected);
    t.is(await exchange(t, port, chunked + rest), expected);
  }
});

test('a connection is closed rather than a large body dropped', async (t) => {
  const { port } = await serve(t, () => ({ status: 200 }));
  const start = 'POST / HTTP/1.1\r\nHost: a\r\n';
  t.is(await exchange(t, port, `${start}Content-Length: 9999999\r\n\r\n`), ok('', LAST));
  const chunk = `10000\r\n${'a'.repeat(65536)}\r\n`;
  t.is(await exchange(t, port, `${start}Transfer-Encoding: chunked\r\n\r\n${chunk.repeat(20)}`), ok(''));
});

test('a body that ends early is an error of the handler, and closes the connection', async (t) => {
  const failures: unknown[] = [];
  const { port, errors } = await serve(t, async (_request, body) => {
    const all = await body.bytes().catch((error: unknown) => failures.push(error));
    return { status: 200, body: String(all) };
  });
  for (const body of ['Content-Length: 5\r\n\r\nabc', 'Transfer-Encoding: chunked\r\n\r\n5\r\nabc']) {
    const socket = await dial(t, port);
    socket.end(`POST / HTTP/1.1\r\nHost: a\r\n${body}`);
    t.is(undated(await gather(socket)), ok(String(failures.length), LAST));
  }
  t.deepEqual(
    failures.map((error) => error instanceof HttpError && error.status),
    [400, 400],
  );
  t.deepEqual(errors, []);
});

test('100 Continue is sent when the handler reads the body, and only if none of it is there', async (t) => {
  const { port } = await serve(t, show);
  const start = 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n';
  const socket = await dial(t, port);
  const received = collected(socket);
  socket.write(`${start}\r\n`);
  await until(() => received() === 'HTTP/1.1 100 Continue\r\n\r\n');
  socket.write('abc');
  await until(() => received().endsWith('abc'));
  t.is(received(), `HTTP/1.1 100 Continue\r\n\r\n${ok('POST / abc')}`);
  t.is(await exchange(t, port, `${start}${LAST}\r\nabc`), ok('POST / abc', LAST));
});

test('an answer without reading an expected body closes the connection', async (t) => {
  const { port } = await serve(t, () => ({ status: 403 }));
  const start = 'POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n';
  t.is(await exchange(t, port, start), `HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n${LAST}\r\n`);
});

test('an answer that is made of an expected body asks for it first', async (t) => {
  const { port } = await serve(t, (_request, body) => ({ status: 200, body, length: 3 }));
  const socket = await dial(t, port);
  const received = collected(socket);
  socket.write('POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n');
  await until(() => received() === `HTTP/1.1 100 Continue\r\n\r\n${ok('abc').slice(0, -3)}`);
  socket.write('abc');
  await until(() => received() === `HTTP/1.1 100 Continue\r\n\r\n${ok('abc')}`);
  t.pass();
});

test('an upgrade gets the bytes after the request, with those that come later', async (t) => {
  const { port } = await serve(t, (request) => ({
    status: 101,
    headers: { Upgrade: request.upgrade! },
    upgrade: async (stream) => {
      for await (const line of stream.lines()) await stream.write(`${line.toUpperCase()}\n`);
    },
  }));
  const upgrade = (more: string): string => get('/', `Connection: upgrade\r\nUpgrade: shout\r\n${more}`);
  for (const request of [upgrade(''), `${upgrade('Content-Length: 3\r\n')}abc`]) {
    const socket = await dial(t, port);
    const received = collected(socket);
    socket.write(`${request}first\nsec`);
    const head = 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: shout\r\nConnection: Upgrade\r\n\r\n';
    await until(() => received() === `${head}FIRST\n`);
    socket.end('ond\n');
    await once(socket, 'end');
    t.is(received(), `${head}FIRST\nSECOND\n`);
  }
});

test('an upgrade for a client that has not asked for it is an error of the handler', async (t) => {
  const upgrade = (): Promise<void> => Promise.reject(new Error('called'));
  const { port, thrown } = await serve(t, () => ({ status: 101, upgrade }));
  t.regex(await exchange(t, port, get('/', LAST)), /^HTTP\/1\.1 500 /);
  t.regex(await exchange(t, port, `GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n`), /^HTTP\/1\.1 500 /);
  t.deepEqual(
    thrown.map((error) => (error as Error).name),
    ['RangeError', 'RangeError'],
  );
});

test('an answer in pieces is chunked, has a length, or ends with the connection', async (t) => {
  async function* pieces(): AsyncGenerator<Uint8Array> {
    for (const piece of ['abc', '', 'defghijklmno']) yield await Promise.resolve(Buffer.from(piece));
  }
  const { port } = await serve(t, ({ target }) => ({
    status: 200,
    body: pieces(),
    ...(target === '/length' ? { length: 15 } : {}),
  }));
  const coding = 'Transfer-Encoding: chunked\r\n';
  t.is(
    await exchange(t, port, get('/') + get('/length', LAST)),
    `HTTP/1.1 200 OK\r\n${coding}\r\n3\r\nabc\r\nc\r\ndefghijklmno\r\n0\r\n\r\n${ok('abcdefghijklmno', LAST)}`,
  );
  t.is(
    await exchange(t, port, 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n'),
    `HTTP/1.1 200 OK\r\n${LAST}\r\nabcdefghijklmno`,
  );
});

test('an answer in pieces that fails, or does not have its length, aborts the connection', async (t) => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield await Promise.resolve(Buffer.from('abc'));
    throw new Error('on purpose');
  }
  const answers: Record<string, Answer> = {
    '/fails': { status: 200, body: failing() },
    '/short': { status: 200, body: [Buffer.from('abc')], length: 4 },
    '/long': { status: 200, body: [Buffer.from('abc')], length: 2 },
  };
  const { port, errors } = await serve(t, ({ target }) => answers[target]!);
  for (const target of Object.keys(answers)) {
    const received = await exchange(t, port, get(target) + get('/next')).catch(() => '');
    t.notRegex(received, /\r\n0\r\n|abc$/);
  }
  t.deepEqual(
    errors.map((error) => error.message),
    ['on purpose', 'a body of 4 bytes has 3 or more', 'a body of 2 bytes has 3 or more'],
  );
});

test('an answer whose next piece does not come ends with the connection', async (t) => {
  const never = deferred();
  let next = false;
  async function* pieces(): AsyncGenerator<Uint8Array> {
    yield Buffer.from('a');
    await never.promise;
    next = true;
    yield Buffer.from('b');
    t.fail('another piece was asked for');
  }
  const { port, errors, server } = await serve(t, ({ target }) => ({
    status: 200,
    body: target === '/' ? [Buffer.from('x')] : pieces(),
  }));
  for (const lose of [(socket: Socket) => socket.resetAndDestroy(), () => server.abortClients()]) {
    const socket = await dial(t, port);
    const received = collected(socket);
    socket.on('error', () => {});
    socket.write(get('/') + get('/pieces'));
    await until(() => received().endsWith('1\r\na\r\n'));
    lose(socket);
    await until(() => server.stats().handlers === 0);
  }
  t.true(errors.length > 0);
  await server.close();
  never.resolve();
  await until(() => next);
});

test('a malformed body that the handler does not read, or sends back, causes no second answer', async (t) => {
  const { port, errors } = await serve(t, ({ target }, body) => ({
    status: 200,
    body: target === '/echo' ? body : 'abc',
  }));
  const post = (path: string): string =>
    `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\nx\r\n${get('/smuggled')}`;
  t.is(await exchange(t, port, post('/')), ok('abc'));
  t.deepEqual(errors, []);
  const echoed = await exchange(t, port, post('/echo')).catch(() => '');
  t.notRegex(echoed, /HTTP[^]*HTTP|\r\n0\r\n/);
  t.deepEqual(
    errors.map((error) => error.message),
    ['invalid size of a chunk'],
  );
});

test('HEAD is answered like GET, without the body', async (t) => {
  const { port } = await serve(t, ({ target }) => ({
    status: 200,
    body: target === '/pieces' ? [Buffer.from('a')] : 'abc',
  }));
  const head = (target: string, more = ''): string => get(target, more).replace('GET', 'HEAD');
  t.is(
    await exchange(t, port, head('/') + head('/pieces') + head('/', LAST)),
    'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n' +
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n' +
      `HTTP/1.1 200 OK\r\nContent-Length: 3\r\n${LAST}\r\n`,
  );
});

test('what a handler throws is answered, and the connection is kept', async (t) => {
  const { port, thrown, errors } = await serve(t, ({ target }) => {
    if (target === '/http') throw new HttpError(404, 'nothing here');
    if (target === '/rejects') return Promise.reject(new Error('rejected'));
    if (target === '/header') return { status: 200, headers: { X: 'a\r\nSet-Cookie: b' } };
    throw new Error('thrown');
  });
  const answered = await exchange(t, port, get('/http') + get('/rejects') + get('/header') + get('/throws', LAST));
  t.deepEqual(
    answered.match(/HTTP\/1.1 \d+/g),
    [404, 500, 500, 500].map((status) => `HTTP/1.1 ${status}`),
  );
  t.true(answered.includes('nothing here'));
  t.false(answered.includes('rejected') || answered.includes('Set-Cookie'));
  t.is(thrown.length, 3);
  t.deepEqual(errors, []);
});

test('a handler may answer with any thenable, and an onError that fails aborts the connection', async (t) => {
  const bug = new Error('a bug');
  const { port, thrown } = await serve(t, ({ target }) => ({
    then: (resolve, reject) => void (target === '/' ? resolve?.({ status: 200 }) : reject?.(bug)) as never,
  }));
  const answered = await exchange(t, port, get('/') + get('/fails', LAST));
  t.deepEqual(answered.match(/HTTP\/1.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 500']);
  t.deepEqual(thrown, [bug]);

  const onError = (error: unknown): Promise<void> => Promise.reject(new Error('not written', { cause: error }));
  const failing = await serve(t, () => Promise.reject(bug), { onError });
  t.is(await exchange(t, failing.port, get('/', LAST)).catch(() => ''), '');
  await until(() => failing.errors.length > 0);
  t.like(failing.errors, [{ message: 'not written', cause: bug }]);
});

test('a client that does not read pauses its own requests only', async (t) => {
  let handled = 0;
  const large = Buffer.alloc(100_000, 'a');
  const { port } = await serve(t, ({ target }) => {
    if (target === '/large') handled++;
    return { status: 200, body: target === '/large' ? large : target };
  });
  const slow = await dial(t, port);
  slow.pause();
  slow.write(get('/large').repeat(1000));
  await until(() => handled > 0);
  t.is(await exchange(t, port, get('/other', LAST)), ok('/other', LAST));
  t.true(handled < 1000, `${handled} handled`);
  let size = 0;
  slow.on('data', (piece: Buffer) => (size += piece.length)).resume();
  await until(() => handled === 1000 && size > 1000 * large.length);
});

test('a server that drains answers what has arrived, and closes its connections', async (t) => {
  const running = deferred();
  const go = deferred();
  const { port, server } = await serve(t, async ({ target }) => {
    if (target === '/slow') {
      running.resolve();
      await go.promise;
    }
    return { status: 200, body: target };
  });
  const idle = await dial(t, port);
  const received = collected(idle);
  idle.write(get('/1'));
  await until(() => received() === ok('/1'));
  const slow = exchange(t, port, get('/slow'));
  await running.promise;
  const closed = server.close({ drain: 60_000 });
  await once(idle, 'end');
  go.resolve();
  t.is(await slow, ok('/slow', LAST));
  t.deepEqual(await closed, { finished: 2, cutOff: 0 });
});

test('a head that is not complete in time ends the connection, however it drips in', async (t) => {
  const { port, errors } = await serve(t, show, {}, { readTimeout: 100 });
  const socket = await dial(t, port);
  const dripping = setInterval(() => socket.write('X: a\r\n'), 10);
  t.teardown(() => clearInterval(dripping));
  socket.write('GET / HTTP/1.1\r\n');
  await closedByPeer(socket);
  await until(() => errors.length > 0);
  t.is(errors[0]!.code, 'ERR_READ_TIMEOUT');
});

const DRIPS: readonly [string, string, Handler][] = [
  ['with a length, read as a whole', 'Content-Length: 100\r\n', show],
  [
    'with a length, read in pieces',
    'Content-Length: 100\r\n',
    async (_, body) => {
      for await (const piece of body) if (piece.length === 0) break;
      return { status: 200 };
    },
  ],
  ['in chunks', 'Transfer-Encoding: chunked\r\n', show],
];

for (const [kind, field, handler] of DRIPS) {
  test(`a body that drips in for too long is answered with 408, and the connection is closed: ${kind}`, async (t) => {
    const { port, errors, thrown } = await serve(t, handler, { bodyTimeout: 300 });
    const socket = await dial(t, port);
    const received = collected(socket);
    socket.write(`POST / HTTP/1.1\r\nHost: a\r\n${field}\r\n`);
    const dripping = setInterval(() => socket.write(field.startsWith('T') ? '1\r\nx\r\n' : 'x'), 20);
    t.teardown(() => clearInterval(dripping));
    socket.on('error', () => {});
    await new Promise((resolve) => socket.once('close', resolve));
    t.regex(
      received(),
      /^HTTP\/1\.1 408 Request Timeout\r\n[^]*Connection: close\r\n\r\nthe body has taken more than 300 ms\n$/,
    );
    t.deepEqual([...errors, ...thrown], []);
  });
}

test('a header can be sent more than once', async (t) => {
  const { port } = await serve(t, () => ({ status: 204, headers: { 'Set-Cookie': ['a=1', 'b=2'], Vary: 'x' } }));
  const text = 'HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nVary: x\r\nConnection: close\r\n\r\n';
  t.is(await exchange(t, port, get('/', LAST)), text);
  const { port: bad, thrown } = await serve(t, () => ({
    status: 200,
    headers: { 'Set-Cookie': ['a=1', 'b\r\nc: d'] },
  }));
  t.regex(await exchange(t, bad, get('/', LAST)), /^HTTP\/1\.1 500 /);
  t.regex(String(thrown[0]), /TypeError: the header Set-Cookie cannot be/);
});

test('the program answers its four paths', async (t) => {
  const { port } = await serve(t, answer);
  const post = (path: string): string => `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc`;
  const received = await exchange(
    t,
    port,
    get('/') + post('/length') + post('/echo') + get('/count/2?x') + get('/x', LAST),
  );
  const parts = received.split(/HTTP\/1\.1 /).map((part) => part.replace(/\r\n[^]*\r\n\r\n(?=[^0])/, ' '));
  t.deepEqual(parts.slice(1), [
    '200 OK hello, world\n',
    '200 OK 3 bytes\n',
    '200 OK 3\r\nabc\r\n0\r\n\r\n',
    '200 OK 2\r\n1\n\r\n2\r\n2\n\r\n0\r\n\r\n',
    '404 Not Found nothing at /x\n',
  ]);
});
