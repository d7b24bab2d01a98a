/** The sans-IO part of the HTTP example: heads, chunked bodies and answers, at every split, and what must be refused. */
// Runs once: it uses neither a reader nor a connection.
import test from 'ava';
import { Buffer } from 'node:buffer';
import fc from 'fast-check';
import { ChunkedDecoder, LAST_CHUNK, chunkHead } from '../../examples/protocols/http/chunked.js';
import { HeadParser, HttpError, type HeadLimits } from '../../examples/protocols/http/http.js';
import { bodyEnd, encodeHead, refusal, type Answer } from '../../examples/protocols/http/response.js';
import { seed } from '../seed.js';
import { REFUSED_CHUNKS, REFUSED_HEADS } from './http-requests.js';

interface Decoded {
  readonly line: string;
  readonly headers: readonly (readonly [string, string])[];
  readonly body: string;
}

/** The requests in these pieces, as a connection would parse them, and the bytes that are left. */
function decode(pieces: Iterable<Uint8Array>, limits?: HeadLimits): { requests: Decoded[]; left: number } {
  const parser = new HeadParser(limits);
  const requests: Decoded[] = [];
  let bytes = Buffer.alloc(0);
  let head: ReturnType<HeadParser['parse']> = null;
  let decoder: ChunkedDecoder | null = null;
  let body: Buffer[] = [];
  for (const piece of pieces) {
    bytes = Buffer.concat([bytes, piece]);
    for (;;) {
      if (head === null) {
        head = parser.parse(bytes);
        if (head === null) break;
        bytes = bytes.subarray(parser.end);
        decoder = head.length === null ? new ChunkedDecoder() : null;
      }
      if (decoder !== null) {
        const views: Buffer[] = [];
        bytes = bytes.subarray(decoder.decode(bytes, views));
        body.push(...views);
        if (!decoder.finished) break;
      } else {
        if (bytes.length < head.length!) break;
        body.push(bytes.subarray(0, head.length!));
        bytes = bytes.subarray(head.length!);
      }
      const { method, target, minor } = head;
      requests.push({
        line: `${method} ${target} ${minor}`,
        headers: [...head.headers()],
        body: Buffer.concat(body).toString('latin1'),
      });
      head = null;
      body = [];
    }
  }
  return { requests, left: bytes.length };
}

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1');
const headOf = (text: string, limits?: HeadLimits): NonNullable<ReturnType<HeadParser['parse']>> =>
  new HeadParser(limits).parse(latin1(text))!;

/** Pipelined requests with every kind of body. */
const REQUESTS = latin1(
  [
    'GET /a?b=c HTTP/1.1\r\nHost: a.example:8080\r\n\r\n',
    'POST /form HTTP/1.1\r\nhost:a\r\nContent-Length:  5\t \r\nX-Empty:\r\nX-Text: \xe4 "b",\tc \r\n\r\nhello',
    '\r\nPUT /up HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: Chunked\r\n\r\n',
    '5\r\nhello\r\n00A;name=value;other="x y"\r\n, \r\nworld!\r\n0\r\nX-Checksum: 1\r\n\r\n',
    'OPTIONS * HTTP/1.0\r\n\r\n',
    'DELETE http://b.example/c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    "M-SEARCH+!#$%&'*.^_`|~9 / HTTP/1.1\r\nHost:\r\nContent-Length: 0\r\n\r\n",
  ].join(''),
);
const EXPECTED = [
  { line: 'GET /a?b=c 1', headers: [['host', 'a.example:8080']], body: '' },
  {
    line: 'POST /form 1',
    headers: [['host', 'a'], ['content-length', '5'], ['x-empty', ''], ['x-text', '\xe4 "b",\tc']], // prettier-ignore
    body: 'hello',
  },
  {
    line: 'PUT /up 1',
    headers: [
      ['host', '[::1]:80'],
      ['transfer-encoding', 'Chunked'],
    ],
    body: 'hello, \r\nworld!',
  },
  { line: 'OPTIONS * 0', headers: [], body: '' },
  {
    line: 'DELETE http://b.example/c 1',
    headers: [
      ['host', 'a'],
      ['transfer-encoding', 'chunked'],
    ],
    body: '',
  },
  {
    line: "M-SEARCH+!#$%&'*.^_`|~9 / 1",
    headers: [
      ['host', ''],
      ['content-length', '0'],
    ],
    body: '',
  },
] as const;

test('pipelined requests are parsed with their fields and bodies', (t) => {
  t.deepEqual(decode([REQUESTS]), { requests: EXPECTED, left: 0 } as never);
});

test('the requests are the same however the bytes are cut', (t) => {
  for (let cut = 1; cut < REQUESTS.length; cut++) {
    const { requests } = decode([REQUESTS.subarray(0, cut), REQUESTS.subarray(cut)]);
    t.deepEqual(requests, EXPECTED, `cut at ${cut}`);
  }
  t.deepEqual(decode(Array.from(REQUESTS, (byte) => Buffer.of(byte))).requests, EXPECTED as never);
  const cuts = fc.array(fc.nat(REQUESTS.length), { maxLength: 20 });
  const property = fc.property(cuts, (positions) => {
    const ends = [...positions.sort((a, b) => a - b), REQUESTS.length];
    const pieces = ends.map((end, i) => REQUESTS.subarray(ends[i - 1] ?? 0, end));
    t.deepEqual(decode(pieces).requests, EXPECTED as never);
  });
  fc.assert(property, { seed: seed(t), numRuns: 200 });
});

test('bytes after a request are left', (t) => {
  for (const rest of ['G', 'GET / HTTP/1.1\r\nHost: a\r\n\r', '\r']) {
    const { requests, left } = decode([Buffer.concat([REQUESTS, latin1(rest)])]);
    t.is(requests.length, EXPECTED.length);
    t.is(left, rest.length);
  }
});

test('a request that is cut short is incomplete at every byte', (t) => {
  const one = REQUESTS.subarray(0, REQUESTS.indexOf('\r\nPUT'));
  const first = one.indexOf('POST');
  for (let end = 0; end < one.length; end++) {
    t.is(decode([one.subarray(0, end)]).requests.length, end < first ? 0 : 1, `${end} bytes`);
  }
});

/** The status with which the bytes are refused, in one piece and byte by byte; undefined if they are not. */
function refusedWith(bytes: Buffer): (number | undefined)[] {
  return [[bytes], Array.from(bytes, (byte) => Buffer.of(byte))].map((pieces) => {
    try {
      decode(pieces);
      return undefined;
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      return error.status;
    }
  });
}

for (const [what, text, status] of [...REFUSED_HEADS, ...REFUSED_CHUNKS]) {
  test(`${what} is refused with ${status}, in one piece and byte by byte`, (t) => {
    t.deepEqual(refusedWith(latin1(text)), [status, status]);
  });
}

test('a byte that is changed, removed or repeated makes another request or an HttpError, never anything else', (t) => {
  const statuses = new Set<number | undefined>();
  const text = REQUESTS.subarray(REQUESTS.indexOf('POST'), REQUESTS.indexOf('OPTIONS'));
  for (let at = 0; at < text.length; at++) {
    const [before, after] = [text.subarray(0, at), text.subarray(at + 1)];
    const wrong = [
      '',
      '\0',
      '\t',
      '\n',
      '\r',
      ' ',
      ':',
      ';',
      '-',
      '0',
      'f',
      '\x7f',
      '\xff',
      '\r\n',
      '\n\n',
      '\r\n\r\n',
    ];
    for (const other of [...wrong, String.fromCharCode(text[at]!, text[at]!)]) {
      try {
        const { requests, left } = decode([Buffer.concat([before, latin1(other), after])]);
        for (const { headers } of requests) for (const [, value] of headers) t.notRegex(value, /[\0\r\n\x7f]/);
        t.true(left < text.length + 4);
        statuses.add(undefined);
      } catch (error) {
        if (!(error instanceof HttpError)) throw error;
        statuses.add(error.status);
      }
    }
  }
  t.deepEqual([...statuses].sort(), [400, 505, undefined]);
});

test('random bytes make requests, nothing yet, or an HttpError', (t) => {
  const words = fc.constantFrom('GET ', '/ ', 'HTTP/1.1', '\r\n', '\r', '\n', 'Host: a', 'Content-Length: 2', ' ', '\0', '0', '5', 'ab'); // prettier-ignore
  const chunked = 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n';
  const property = fc.property(fc.constantFrom('', chunked), fc.array(words, { maxLength: 30 }), (start, list) => {
    try {
      decode([latin1(start), ...list.map(latin1)]);
    } catch (error) {
      t.true(error instanceof HttpError, String(error));
    }
  });
  fc.assert(property, { seed: seed(t), numRuns: 2000 });
  t.pass();
});

test('the limits of a head are checked before it is complete', (t) => {
  const limits = { maxHead: 100, maxTarget: 20, maxFields: 2 };
  t.is(headOf(`GET /${'a'.repeat(19)} HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n`, limits).header('x'), 'b');
  const status = (text: string): number | undefined => {
    try {
      headOf(text, limits);
      return undefined;
    } catch (error) {
      return (error as HttpError).status;
    }
  };
  t.is(status(`GET /${'a'.repeat(20)} `), 414);
  t.is(status('GET / HTTP/1.1\r\nHost: a\r\nX: b\r\nY: c\r\n'), 431);
  t.is(status(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'b'.repeat(80)}`), 431);
  t.is(status(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'b'.repeat(80)}\r\n\r\n`), 431);
  t.is(status('A'.repeat(101)), 414);
});

test('a head that drips in is parsed again only when a line ends', (t) => {
  const parser = new HeadParser();
  const text = latin1(`GET / HTTP/1.1\r\nHost: a\r\nX: ${'b'.repeat(1000)}\r\n\r\n`);
  t.is(parser.parse(text.subarray(0, 30)), null);
  // A byte that was seen before is not looked at again, until an LF arrives.
  const changed = Buffer.from(text);
  changed[0] = 0;
  t.is(parser.parse(changed.subarray(0, 1000)), null);
  t.throws(() => parser.parse(changed), { instanceOf: HttpError });
});

test('header returns all values of a name', (t) => {
  const head = headOf('GET / HTTP/1.1\r\nHost: a\r\nAccept: b\r\nACCEPT: c\r\nX-Other: d\r\n\r\n');
  t.is(head.header('accept'), 'b, c');
  t.is(head.header('x-other'), 'd');
  t.is(head.header('x-missing'), undefined);
});

test('the connection is kept as HTTP/1.1 and Connection say', (t) => {
  const kept = (version: string, connection: string): boolean =>
    headOf(`GET / HTTP/${version}\r\nHost: a\r\n${connection}\r\n`).keepAlive;
  t.true(kept('1.1', ''));
  t.true(kept('1.1', 'Connection: keep-alive\r\n'));
  t.false(kept('1.1', 'Connection: close\r\n'));
  t.false(kept('1.1', 'Connection: X, Close\r\n'));
  t.false(kept('1.1', 'Connection: keep-alive\r\nConnection: close\r\n'));
  t.true(kept('1.1', 'Connection: closed\r\n'));
  t.false(kept('1.0', ''));
  t.true(kept('1.0', 'Connection: Keep-Alive\r\n'));
  t.false(kept('1.0', 'Connection: Keep-Alive, close\r\n'));
  t.true(kept('1.3', ''));
});

test('a list with very many spaces does not keep the process busy', (t) => {
  // A search for a comma after each of the spaces would not come to its end within the time of a test.
  const value = `close${' \t'.repeat(1_000_000)}x, close`;
  const head = headOf(`GET / HTTP/1.1\r\nHost: a\r\nConnection: ${value}\r\n\r\n`, { maxHead: 2 ** 22 });
  t.false(head.keepAlive);
  t.true(headOf('GET / HTTP/1.1\r\nHost: a\r\nConnection: ,x close,, \t\r\n\r\n').keepAlive);
});

test('the host of a URL as target takes precedence over Host', (t) => {
  t.is(headOf('GET http://b:81/c HTTP/1.1\r\nHost: a\r\n\r\n').host, 'b:81');
  t.is(headOf('GET /http://b/ HTTP/1.1\r\nHost: a\r\n\r\n').host, 'a');
  t.is(headOf('GET / HTTP/1.0\r\n\r\n').host, '');
});

test('upgrade and expect count only where HTTP/1.1 allows them', (t) => {
  const upgrade = (version: string, connection: string): string | undefined =>
    headOf(`GET / HTTP/${version}\r\nHost: a\r\nConnection: ${connection}\r\nUpgrade: websocket\r\n\r\n`).upgrade;
  t.is(upgrade('1.1', 'keep-alive, Upgrade'), 'websocket');
  t.is(upgrade('1.1', 'keep-alive'), undefined);
  t.is(upgrade('1.0', 'upgrade'), undefined);
  const expects = (version: string, length: number): boolean =>
    headOf(`PUT / HTTP/${version}\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: ${length}\r\n\r\n`)
      .expectsContinue;
  t.true(expects('1.1', 1));
  t.false(expects('1.1', 0));
  t.false(expects('1.0', 1));
  t.false(headOf('PUT / HTTP/1.1\r\nHost: a\r\nExpect:\r\nContent-Length: 1\r\n\r\n').expectsContinue);
});

test('the decoder of chunks stops after the last one', (t) => {
  const decoder = new ChunkedDecoder();
  const pieces: Buffer[] = [];
  const bytes = latin1(`${chunkHead(300)}${'a'.repeat(300)}\r\n${LAST_CHUNK}GET /`);
  t.is(decoder.decode(bytes, pieces), bytes.length - 5);
  t.true(decoder.finished);
  t.is(Buffer.concat(pieces).toString(), 'a'.repeat(300));
  t.is(decoder.decode(latin1('GET /'), pieces), 0);
});

const asked = (
  method = 'GET',
  minor = 1,
  upgrade?: string,
): { method: string; minor: number; upgrade: string | undefined } => ({
  method,
  minor,
  upgrade,
});
const encoded = (answer: Answer, last = false, request = asked()): string =>
  encodeHead(answer, request, last).replace(/Date: .{29}\r\n/, '');

test('an answer says where its body ends and whether the connection is kept', (t) => {
  const OK = 'HTTP/1.1 200 OK\r\n';
  const pieces = [Buffer.from('a')];
  t.is(encoded({ status: 200, body: 'é' }), `${OK}Content-Length: 2\r\n\r\n`);
  t.is(
    encoded({ status: 200, headers: { 'X-A': 'b' } }, true),
    `${OK}X-A: b\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`,
  );
  t.is(encoded({ status: 200, body: Buffer.from('abc') }), `${OK}Content-Length: 3\r\n\r\n`);
  t.is(encoded({ status: 200, body: pieces }), `${OK}Transfer-Encoding: chunked\r\n\r\n`);
  t.is(encoded({ status: 200, body: pieces, length: 1 }), `${OK}Content-Length: 1\r\n\r\n`);
  t.is(encoded({ status: 200, body: pieces }, true, asked('GET', 0)), `${OK}Connection: close\r\n\r\n`);
  t.is(encoded({ status: 200 }, false, asked('GET', 0)), `${OK}Content-Length: 0\r\nConnection: keep-alive\r\n\r\n`);
  t.is(encoded({ status: 204 }), 'HTTP/1.1 204 No Content\r\n\r\n');
  t.is(encoded({ status: 304 }), 'HTTP/1.1 304 Not Modified\r\n\r\n');
  t.is(encoded({ status: 599 }), 'HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n');
  t.regex(encodeHead({ status: 200 }, asked(), false), /\r\nDate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n/);
  t.is(bodyEnd({ status: 200, body: 'a' }, asked()), 'length');
  t.is(bodyEnd({ status: 200, body: pieces }, asked()), 'chunked');
  t.is(bodyEnd({ status: 200, body: pieces }, asked('GET', 0)), 'close');
  t.is(bodyEnd({ status: 200, body: 'a' }, asked('HEAD')), 'no body');
  t.is(bodyEnd({ status: 204, body: 'a' }, asked()), 'no body');
});

test('an answer changes protocols only if the client has asked for it', (t) => {
  const upgrade = (): Promise<void> => Promise.resolve();
  const head = encoded({ status: 101, headers: { Upgrade: 'x' }, upgrade }, false, asked('GET', 1, 'x'));
  t.is(head, 'HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n');
  t.throws(() => encoded({ status: 101, upgrade }), { instanceOf: RangeError });
  t.throws(() => encoded({ status: 101 }, false, asked('GET', 1, 'x')), { instanceOf: RangeError });
  t.throws(() => encoded({ status: 200, upgrade }, false, asked('GET', 1, 'x')), { instanceOf: RangeError });
});

test('an answer cannot have what would become another header or another answer', (t) => {
  for (const value of ['a\r\nX: b', 'a\nb', 'a\rb', '\0', 'é', '\x7f']) {
    t.throws(() => encoded({ status: 200, headers: { X: value } }), { instanceOf: TypeError }, JSON.stringify(value));
  }
  for (const name of ['', 'a b', 'a:', 'a\r\nb', 'é', 'Content-Length', 'transfer-encoding', 'CONNECTION', 'Date']) {
    t.throws(() => encoded({ status: 200, headers: { [name]: 'a' } }), { instanceOf: TypeError }, JSON.stringify(name));
  }
  for (const status of [0, 99, 100, 102, 1000, NaN, 200.5]) {
    t.throws(() => encoded({ status }), { instanceOf: RangeError }, String(status));
  }
  t.is(encoded({ status: 200, headers: { 'Content-Length-X': '1' } }).split('\r\n')[1], 'Content-Length-X: 1');
});

test('a refused request is answered with the reason', (t) => {
  t.like(refusal(new HttpError(418, 'short and stout')), { status: 418, body: 'short and stout\n' });
});
