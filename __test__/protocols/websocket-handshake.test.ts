/** The handshake of the WebSocket example, without a connection. Section numbers are those of RFC 6455. */
// Runs once: it reads from no stream.
import { Buffer } from 'node:buffer';
import test from 'ava';
import {
  HandshakeError,
  acceptKey,
  acceptance,
  newKey,
  parseRequest,
  parseResponse,
  refusal,
  upgradeRequest,
} from '../../examples/protocols/websocket/handshake.js';

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';

/** A request with some fields replaced, or with null left out. */
function request(changes: Readonly<Record<string, string | null>> = {}, line = 'GET /chat?room=1 HTTP/1.1'): Buffer {
  const fields: Record<string, string | null> = {
    Host: 'server.example.com',
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Key': KEY,
    'Sec-WebSocket-Version': '13',
    ...changes,
  };
  const lines = Object.entries(fields).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}\r\n`]));
  return Buffer.from(`${line}\r\n${lines.join('')}\r\n`, 'latin1');
}

function response(
  changes: Readonly<Record<string, string | null>> = {},
  line = 'HTTP/1.1 101 Switching Protocols',
): Buffer {
  const fields: Record<string, string | null> = {
    Upgrade: 'websocket',
    Connection: 'Upgrade',
    'Sec-WebSocket-Accept': acceptKey(KEY),
    ...changes,
  };
  const lines = Object.entries(fields).flatMap(([name, value]) => (value === null ? [] : [`${name}: ${value}\r\n`]));
  return Buffer.from(`${line}\r\n${lines.join('')}\r\n`, 'latin1');
}

test('1.3: the accept value is that of the example in the RFC', (t) => {
  t.is(acceptKey(KEY), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
});

test('4.1: a client sends GET with Host, Upgrade, Connection, a key of 16 random bytes and version 13', (t) => {
  const key = newKey();
  t.is(Buffer.from(key, 'base64').length, 16);
  t.not(newKey(), key);
  t.is(
    upgradeRequest(new URL('ws://example.com:8080/a/b?c=d'), key),
    'GET /a/b?c=d HTTP/1.1\r\nHost: example.com:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      `Sec-WebSocket-Key: ${key}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  );
  t.regex(upgradeRequest(new URL('ws://example.com:80'), key), /^GET \/ HTTP\/1\.1\r\nHost: example\.com\r\n/);
});

test('4.1: what a client sends is what a server understands', (t) => {
  const head = upgradeRequest(new URL('ws://h/p'), KEY, ['b', 'a'], {
    Origin: 'https://o.example',
    Cookie: 'a=1; b=2',
  });
  const parsed = parseRequest(Buffer.from(head));
  t.is(parsed.target, '/p');
  t.is(parsed.key, KEY);
  t.is(parsed.origin, 'https://o.example');
  t.deepEqual(parsed.protocols, ['b', 'a']);
  t.is(parsed.headers.get('cookie'), 'a=1; b=2');
  t.is(parseResponse(Buffer.from(acceptance(KEY, 'a')), KEY, ['b', 'a']), 'a');
  t.is(parseResponse(Buffer.from(acceptance(KEY)), KEY, ['b', 'a']), '');
});

test('4.1: a client refuses to send names and values that are not valid', (t) => {
  const url = new URL('ws://h/');
  for (const name of ['', 'a b', 'a,b', 'a\r\nX: y', 'ä'])
    t.throws(() => upgradeRequest(url, KEY, [name]), { instanceOf: TypeError });
  t.throws(() => upgradeRequest(url, KEY, ['a', 'a']), { instanceOf: TypeError });
  for (const headers of [{ 'a b': '' }, { a: 'b\r\nc: d' }, { a: 'b\nc' }, { '': 'a' }, { a: 'b\0' }, { a: '€' }]) {
    t.throws(() => upgradeRequest(url, KEY, [], headers as unknown as Record<string, string>), {
      instanceOf: TypeError,
    });
  }
});

test('4.1: a client accepts an answer whatever the case of names and tokens', (t) => {
  t.is(parseResponse(response(), KEY), '');
  t.is(parseResponse(response({ Upgrade: 'WebSocket', Connection: 'keep-alive, UPGRADE' }), KEY), '');
  const lower = response().toString('latin1').replace('Sec-WebSocket-Accept', 'sec-websocket-accept');
  t.is(parseResponse(Buffer.from(lower), KEY), '');
  t.is(parseResponse(response({}, 'HTTP/1.1 101'), KEY), '');
  t.is(parseResponse(response({ Server: '' }), KEY), '');
});

const BAD_ANSWERS: readonly (readonly [why: string, head: Buffer, status: number, message: RegExp])[] = [
  ['another status', response({}, 'HTTP/1.1 403 Forbidden'), 403, /answered 403/],
  ['a redirection', response({ Location: 'ws://x/' }, 'HTTP/1.1 302 Found'), 302, /answered 302/],
  ['HTTP/1.0', response({}, 'HTTP/1.0 101 Switching Protocols'), 0, /not HTTP\/1\.1/],
  ['no HTTP', response({}, 'hello'), 0, /not HTTP\/1\.1/],
  ['a status of four digits', response({}, 'HTTP/1.1 1010 x'), 0, /not HTTP\/1\.1/],
  ['no Upgrade', response({ Upgrade: null }), 101, /not upgraded/],
  ['another Upgrade', response({ Upgrade: 'h2c' }), 101, /not upgraded/],
  ['no Connection', response({ Connection: null }), 101, /not upgraded/],
  ['another Connection', response({ Connection: 'close' }), 101, /not upgraded/],
  ['no accept value', response({ 'Sec-WebSocket-Accept': null }), 101, /Accept is wrong/],
  ['the key as accept value', response({ 'Sec-WebSocket-Accept': KEY }), 101, /Accept is wrong/],
  [
    'the accept value of another key',
    response({ 'Sec-WebSocket-Accept': acceptKey(newKey()) }),
    101,
    /Accept is wrong/,
  ],
  ['an extension', response({ 'Sec-WebSocket-Extensions': 'permessage-deflate' }), 101, /extension/],
  ['a subprotocol', response({ 'Sec-WebSocket-Protocol': 'chat' }), 101, /subprotocol/],
  ['a header without colon', response({}, 'HTTP/1.1 101 x\r\nfoo'), 0, /invalid header/],
];

for (const [why, head, status, message] of BAD_ANSWERS) {
  test(`4.1: a client fails the connection for ${why}`, (t) => {
    t.throws(() => parseResponse(head, KEY), { instanceOf: HandshakeError, message });
    t.is(t.throws<HandshakeError>(() => parseResponse(head, KEY)).status, status);
  });
}

test('4.1: a client refuses a subprotocol that differs from those that it offers', (t) => {
  t.is(parseResponse(response({ 'Sec-WebSocket-Protocol': 'a' }), KEY, ['b', 'a']), 'a');
  for (const protocol of ['A', 'c', 'a, b', '']) {
    t.throws(() => parseResponse(response({ 'Sec-WebSocket-Protocol': protocol }), KEY, ['b', 'a']), {
      message: /subprotocol/,
    });
  }
});

test('4.2.1: a server accepts a request whatever the case of names and tokens, with fields that it does not know', (t) => {
  t.is(parseRequest(request()).target, '/chat?room=1');
  parseRequest(request({ Upgrade: 'WebSocket', Connection: 'keep-alive, Upgrade', 'X-Other': '\u00e9 \t x' }));
  parseRequest(
    request({ Upgrade: 'h2c, websocket', 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' }),
  );
  parseRequest(
    Buffer.from(
      request()
        .toString('latin1')
        .toLowerCase()
        .replace('get', 'GET')
        .replace('http', 'HTTP')
        .replace(KEY.toLowerCase(), KEY),
    ),
  );
  parseRequest(request({ 'Content-Length': '0' }));
  t.deepEqual(parseRequest(request({ 'Sec-WebSocket-Protocol': 'chat,superchat , x' })).protocols, [
    'chat',
    'superchat',
    'x',
  ]);
  const twice = request({ 'Sec-WebSocket-Protocol': 'a\r\nSec-WebSocket-Protocol: b' });
  t.deepEqual(parseRequest(twice).protocols, ['a', 'b']);
  t.is(parseRequest(request({ Origin: 'null' })).origin, 'null');
  t.is(parseRequest(request()).origin, undefined);
});

const BAD_REQUESTS: readonly (readonly [why: string, head: Buffer, status: number])[] = [
  ['another method', request({}, 'POST / HTTP/1.1'), 405],
  ['HTTP/1.0', request({}, 'GET / HTTP/1.0'), 400],
  ['HTTP/2', request({}, 'GET / HTTP/2'), 400],
  ['no target', request({}, 'GET HTTP/1.1'), 400],
  ['two spaces', request({}, 'GET  / HTTP/1.1'), 400],
  ['a space in the target', request({}, 'GET /a b HTTP/1.1'), 400],
  ['no Host', request({ Host: null }), 400],
  ['two Hosts', request({ Host: 'a\r\nHost: b' }), 400],
  ['no Upgrade', request({ Upgrade: null }), 426],
  ['another Upgrade', request({ Upgrade: 'websocket2' }), 426],
  ['no Connection', request({ Connection: null }), 426],
  ['another Connection', request({ Connection: 'keep-alive' }), 426],
  ['no key', request({ 'Sec-WebSocket-Key': null }), 400],
  ['an empty key', request({ 'Sec-WebSocket-Key': '' }), 400],
  ['a key of 15 bytes', request({ 'Sec-WebSocket-Key': Buffer.alloc(15).toString('base64') }), 400],
  ['a key of 17 bytes', request({ 'Sec-WebSocket-Key': Buffer.alloc(17).toString('base64') }), 400],
  ['a key that is not Base64', request({ 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZ===' }), 400],
  ['two keys', request({ 'Sec-WebSocket-Key': `${KEY}\r\nSec-WebSocket-Key: ${KEY}` }), 400],
  ['no version', request({ 'Sec-WebSocket-Version': null }), 426],
  ['version 8', request({ 'Sec-WebSocket-Version': '8' }), 426],
  ['two versions', request({ 'Sec-WebSocket-Version': '13\r\nSec-WebSocket-Version: 8' }), 400],
  ['a subprotocol that is no token', request({ 'Sec-WebSocket-Protocol': 'a b' }), 400],
  ['a subprotocol that is offered twice', request({ 'Sec-WebSocket-Protocol': 'a, a' }), 400],
  ['a body', request({ 'Content-Length': '5' }), 400],
  ['a body of unknown length', request({ 'Transfer-Encoding': 'chunked' }), 400],
  ['two lengths', request({ 'Content-Length': '0\r\nContent-Length: 5' }), 400],
  ['a field that continues on the next line', request({ 'X-Folded': 'a\r\n b' }), 400],
  ['a space before the colon', request({ 'Host ': 'a' }), 400],
  ['a field without a name', request({ '': 'a' }), 400],
  ['a field without a colon', request({}, 'GET / HTTP/1.1\r\nfoo'), 400],
  ['a bare LF', request({ 'X-A': 'a\nSec-WebSocket-Version: 8' }), 400],
  ['a bare CR', request({ 'X-A': 'a\rb' }), 400],
  ['a NUL', request({ 'X-A': 'a\0b' }), 400],
  ['a line before the request', request({}, '\r\nGET / HTTP/1.1'), 400],
  ['nothing', Buffer.from('\r\n\r\n'), 400],
];

test('a field with very many spaces does not keep the process busy', (t) => {
  // A search that tries each way to divide the spaces would not come to its end within the time of a test.
  const spaces = ' \t'.repeat(30_000);
  for (const value of [`${spaces}\x01`, `x${spaces}\x01`, `x${spaces}x${spaces}\x01`]) {
    t.throws(() => parseRequest(request({ 'X-A': value })), { instanceOf: HandshakeError, message: 'invalid header' });
  }
  t.is(parseRequest(request({ 'X-A': `${spaces}a${spaces}b${spaces}` })).headers.get('x-a'), `a${spaces}b`);
  t.is(parseRequest(request({ 'X-A': spaces })).headers.get('x-a'), '');
});

for (const [why, head, status] of BAD_REQUESTS) {
  test(`4.2.1: a server refuses a request with ${why}`, (t) => {
    t.is(t.throws<HandshakeError>(() => parseRequest(head), { instanceOf: HandshakeError }).status, status);
  });
}

test('4.2.2: the answer has the status, Upgrade, Connection, the accept value and the subprotocol', (t) => {
  t.is(
    acceptance(KEY, 'chat'),
    'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n',
  );
});

test('4.4: a refusal because of the version lists the one that is supported', (t) => {
  const answer = refusal(new HandshakeError(426, 'the version must be 13'));
  t.regex(answer, /^HTTP\/1\.1 426 Upgrade Required\r\n(.*\r\n)*Sec-WebSocket-Version: 13\r\n/);
  t.regex(answer, /\r\nUpgrade: websocket\r\n/);
  t.regex(answer, /\r\nContent-Length: 23\r\n\r\nthe version must be 13\n$/);
  t.regex(refusal(new HandshakeError(405, 'no')), /\r\nAllow: GET\r\n/);
  t.regex(refusal(new HandshakeError(403, 'no')), /^HTTP\/1\.1 403 Forbidden\r\nConnection: close\r\n/);
});

test('a request or an answer with any byte replaced is understood, or gives one HandshakeError', (t) => {
  let refused = 0;
  for (const [head, parse] of [
    [request({ 'Sec-WebSocket-Protocol': 'a, b' }), (bytes: Buffer) => parseRequest(bytes)],
    [response(), (bytes: Buffer) => parseResponse(bytes, KEY)],
  ] as const) {
    for (let at = 0; at < head.length - 4; at++) {
      for (const byte of [0x00, 0x0a, 0x0d, 0x20, 0x2c, 0x3a, 0x61, 0x7f, 0xff]) {
        const bytes = Buffer.from(head);
        bytes[at] = byte;
        try {
          parse(bytes);
        } catch (error) {
          if (!(error instanceof HandshakeError)) throw error;
          refused++;
        }
      }
    }
  }
  t.true(refused > 1000);
});
