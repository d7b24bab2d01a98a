/** The protocol examples over streams in memory, at every split and with a peer that is slow. */
// Runs once: the examples use only the public calls of a reader, which have tests of their own for each engine.
import test from 'ava';
import { streampair, type ClientHandler, type Stream } from 'sluice';
import { clogged, splits, throttled } from 'sluice/testing';
import { answer, http } from '../../examples/protocols/http/server.js';
import { RespServer } from '../../examples/protocols/resp/server.js';
import { receiver } from '../../examples/protocols/smtp/server.js';
import { WebSocketConnection } from '../../examples/protocols/websocket/connection.js';
import { newKey, parseResponse, upgradeRequest } from '../../examples/protocols/websocket/handshake.js';
import { echo, webSocketHandler } from '../../examples/protocols/websocket/server.js';
import { sameBytes } from '../bytes.js';
import { turns } from '../transport-contract.js';

/** Runs a handler as a server does. */
async function serve(handler: ClientHandler, stream: Stream): Promise<void> {
  await handler(stream, { signal: new AbortController().signal, draining: new AbortController().signal });
  await stream.close();
}

/** What a handler answers to bytes that arrive in parts. */
async function answers(handler: ClientHandler, send: (client: Stream) => Promise<void>): Promise<string> {
  const [client, server] = streampair();
  const served = serve(handler, server);
  await send(client);
  await client.writeEof();
  const all = (await client.read()).toString('latin1');
  await served;
  return all;
}

const command = (...words: string[]): string =>
  `*${words.length}\r\n${words.map((word) => `$${word.length}\r\n${word}\r\n`).join('')}`;

const REQUESTS: Record<string, readonly [handler: () => ClientHandler, request: string, expected: RegExp]> = {
  RESP: [
    () => new RespServer().handler,
    command('SET', 'a', 'one\r\n') + command('GET', 'a') + command('GET', 'none'),
    /^\+OK\r\n\$5\r\none\r\n\r\n\$-1\r\n$/,
  ],
  HTTP: [
    () => http(answer),
    'GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /none HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    /^HTTP\/1\.1 200 [^]*HTTP\/1\.1 404 /,
  ],
  SMTP: [
    () =>
      receiver({
        hostname: 'mx.example',
        onMessage: async (_, message) => {
          for await (const _piece of message);
        },
      }),
    'EHLO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nSubject: x\r\n\r\n..dot\r\n.\r\nQUIT\r\n',
    /^220 [^]*\r\n354 [^]*\r\n250 [^]*\r\n221 [^]*\r\n$/,
  ],
};

for (const [name, [handler, request, expected]] of Object.entries(REQUESTS)) {
  test(`${name}: the server answers the same at every split of the requests`, async (t) => {
    const dateless = (text: string): string => text.replaceAll(/^Date: .*\r\n/gim, '');
    let whole: string | null = null;
    for (const split of splits(request)) {
      const text = dateless(await answers(handler(), (client) => split.writeTo(client)));
      whole ??= text;
      t.is(text, whole, split.title);
    }
    t.regex(whole ?? '', expected);
  });
}

/** A WebSocket client and its server. */
async function webSocket(client: Stream, server: Stream): Promise<[WebSocketConnection, Promise<void>]> {
  const served = serve(webSocketHandler(echo), server);
  const key = newKey();
  void client.write(upgradeRequest(new URL('ws://example/'), key));
  parseResponse(await client.readuntil('\r\n\r\n'), key);
  return [new WebSocketConnection(client, 'client'), served];
}

test('WebSocket: messages of all sizes come back, also with room for few bytes and one byte in a turn', async (t) => {
  for (const slow of [false, true]) {
    const [client, server] = slow ? streampair({ limit: 256, capacity: 7 }) : streampair();
    if (slow) throttled(client, 1);
    const [connection, served] = await webSocket(client, server);
    for (const size of slow ? [0, 1, 125, 126, 1000] : [0, 1, 125, 126, 65_535, 65_536, 300_000]) {
      const message = Buffer.alloc(size, 'message ');
      void connection.send(message);
      sameBytes(t, await connection.receive(), message, `${size} bytes`);
    }
    await connection.close();
    t.is(connection.closeCode, 1000);
    await served;
  }
});

test('WebSocket: an echo whose client does not read stops reading, and continues', async (t) => {
  const [client, server] = streampair();
  const [connection, served] = await webSocket(client, server);
  clogged(client, { read: 0 });
  let sent = 0;
  const message = Buffer.alloc(1000, 'x');
  const sending = (async () => {
    for (; sent < 2000; sent++) await connection.send(message);
  })();
  await turns(2000);
  const before = sent;
  t.true(before < 1900, `${before}`);
  await turns(100);
  t.is(sent, before);
  clogged(client, { read: Infinity });
  for (let i = 0; i < 2000; i++) t.is((await connection.receive())?.length, 1000);
  await sending;
  await connection.close();
  await served;
});
