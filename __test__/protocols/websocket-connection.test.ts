/** A connection of the WebSocket example: waiting, closing from either side, and what a peer can do to it. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { type StreamServer, type Stream } from 'sluice';
import { connectWebSocket, type ClientOptions } from '../../examples/protocols/websocket/client.js';
import type { WebSocketConnection } from '../../examples/protocols/websocket/connection.js';
import { acceptance, parseRequest, type HandshakeError } from '../../examples/protocols/websocket/handshake.js';
import {
  echo,
  webSocketHandler,
  type AcceptOptions,
  type WebSocketHandler,
} from '../../examples/protocols/websocket/server.js';
import type { WebSocketError } from '../../examples/protocols/websocket/websocket.js';
import { certificates } from '../certificates.js';
import { deferred, dial, gather, listen, serving, turns, until } from '../loopback.js';
import { Program, example } from '../program.js';
import { binary, close, decoded, ping, text } from './websocket-frames.js';

const REQUEST =
  'GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n';

/** Our client and our server. */
async function pair(
  t: ExecutionContext,
  handler: WebSocketHandler,
  options: ClientOptions & AcceptOptions = {},
): Promise<{ client: WebSocketConnection; errors: Error[]; server: StreamServer }> {
  const { server, port, errors } = await serving(t, webSocketHandler(handler, options));
  const client = await connectWebSocket(`ws://127.0.0.1:${port}/`, options);
  t.teardown(() => client.stream.abort());
  return { client, errors, server };
}

/** Our client, and a plain socket that has accepted it. */
async function withPeer(
  t: ExecutionContext,
  options: ClientOptions = {},
): Promise<{ client: WebSocketConnection; peer: Socket }> {
  const { promise, resolve } = deferred<Socket>();
  const { port } = await listen(t, (socket) => {
    socket.once('data', (head: Buffer) => {
      socket.write(acceptance(parseRequest(head).key));
      resolve(socket);
    });
  });
  const client = await connectWebSocket(`ws://127.0.0.1:${port}/`, options);
  t.teardown(() => client.stream.abort());
  return { client, peer: await promise };
}

const unmasked = { key: null };

test('a message is received once it is complete, and a timeout or a signal before that consumes nothing', async (t) => {
  const { client, peer } = await withPeer(t);
  const small = text('κόσμε', unmasked);
  const large = binary(Buffer.alloc(300_000, 'x'), unmasked);
  for (const bytes of [small, large]) {
    for (const end of [1, 3, bytes.length - 1]) {
      const before = client.stream.bytesRead;
      peer.write(bytes.subarray(0, end));
      const controller = new AbortController();
      const aborted = client.receive({ signal: controller.signal });
      await until(() => client.stream.bytesRead - before >= end);
      controller.abort(new Error('no more'));
      await t.throwsAsync(aborted, { message: 'no more' });
      await t.throwsAsync(client.receive({ timeout: 1 }), { code: 'ERR_TIMEOUT' });
      peer.write(bytes.subarray(end));
      const message = await client.receive();
      t.is(message!.length, bytes === small ? 5 : 300_000);
    }
  }
});

test('tryReceive returns what has arrived, also a large message, and null when the connection is closed', async (t) => {
  const { client, peer } = await withPeer(t);
  const poll = async (): Promise<unknown> => {
    let message: unknown;
    while ((message = client.tryReceive()) === undefined) await turns(1);
    return message;
  };
  t.is(client.tryReceive(), undefined);
  peer.write(Buffer.concat([text('a', unmasked), text('b', unmasked), binary(Buffer.alloc(500_000), unmasked)]));
  t.is(await poll(), 'a');
  t.is(client.tryReceive(), 'b');
  t.is(((await poll()) as Buffer).length, 500_000);
  peer.write(close(1000, '', unmasked));
  t.is(await poll(), null);
  t.is(client.tryReceive(), null);
});

test('only one receive may wait', async (t) => {
  const { client, peer } = await withPeer(t);
  const first = client.receive();
  await t.throwsAsync(client.receive(), { message: 'receive: another receive is waiting' });
  peer.write(text('a', unmasked));
  t.is(await first, 'a');
});

test('close sends the code and the reason, drops messages that arrive, and waits for the close frame of the peer', async (t) => {
  const { client, peer } = await withPeer(t);
  const received = gather(peer);
  peer.write(text('one', unmasked));
  t.is(await client.receive(), 'one');
  const closed = client.close(3000, 'done');
  t.is(client.close(), closed);
  const late = client.receive();
  peer.write(Buffer.concat([text('too late', unmasked), ping('too late', unmasked)]));
  peer.end(close(3000, 'and you', unmasked));
  await closed;
  t.is(await late, null);
  t.deepEqual([client.closeCode, client.closeReason], [3000, 'and you']);
  t.deepEqual(decoded(await received, true), ['close 3000 done']);
});

test('close also works while a receive waits, and within the messages of a batch', async (t) => {
  const { client, peer } = await withPeer(t);
  const waiting = client.receive();
  const closed = client.close();
  peer.end(Buffer.concat([text('too late', unmasked), close(1000, '', unmasked)]));
  t.is(await waiting, null);
  await closed;
  t.is(client.closeCode, 1000);

  const batch = await withPeer(t);
  batch.peer.end(Buffer.concat([text('a', unmasked), text('b', unmasked), close(1001, '', unmasked)]));
  t.is(await batch.client.receive(), 'a');
  await batch.client.close();
  t.is(batch.client.closeCode, 1001);
});

test('a peer that does not answer a close frame is left after closeTimeout', async (t) => {
  for (const waits of [true, false]) {
    const { client, peer } = await withPeer(t, { closeTimeout: 20 });
    peer.resume();
    const waiting = waits ? client.receive() : null;
    await client.close();
    t.is(client.closeCode, 1006);
    t.true(client.stream.isClosing());
    t.is(await client.receive(), null);
    if (waiting !== null) t.is(await waiting, null);
  }
});

test('a peer that sends without an end cannot keep close from ending', async (t) => {
  const { client, peer } = await withPeer(t, { closeTimeout: 20 });
  const flood = binary(Buffer.alloc(1000), unmasked);
  const pour = (): void => {
    while (!peer.destroyed && peer.write(flood));
  };
  peer.on('drain', pour).resume();
  pour();
  await client.close();
  t.is(client.closeCode, 1006);
});

test('after a close frame nothing can be sent, and a result that is not awaited is no unhandled rejection', async (t) => {
  const { client, peer } = await withPeer(t);
  peer.end(close(1000, '', unmasked));
  t.is(await client.receive(), null);
  await t.throwsAsync(client.send('x'), { name: 'WebSocketError' });
  await t.throwsAsync(client.sendFragments(['x']), { name: 'WebSocketError' });
  await t.throwsAsync(client.ping(), { name: 'WebSocketError' });
  void client.send('x');
  void client.ping();
  await turns(2);
  await client.close();
});

test('a code and a reason that no close frame can have are refused', async (t) => {
  const { client } = await withPeer(t);
  for (const code of [0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 1000.5]) {
    t.throws(() => client.close(code), { instanceOf: RangeError }, String(code));
  }
  t.throws(() => client.close(1000, 'é'.repeat(62)), { instanceOf: RangeError });
  t.throws(() => client.ping('é'.repeat(63)), { instanceOf: RangeError });
  t.false(client.stream.isClosing());
});

test('await using closes a connection', async (t) => {
  const codes: (number | null)[] = [];
  const { port } = await serving(
    t,
    webSocketHandler(async (connection) => {
      await echo(connection);
      codes.push(connection.closeCode);
    }),
  );
  {
    await using client = await connectWebSocket(`ws://127.0.0.1:${port}/`);
    await client.send('x');
    for await (const message of client) {
      t.is(message, 'x');
      break; // leaving the loop does not close it
    }
    await client.send('y');
    t.is(await client.receive(), 'y');
  }
  await until(() => codes.length === 1);
  t.deepEqual(codes, [1000]);
});

test('when the handler of a server is over, the connection is closed', async (t) => {
  const { client, errors } = await pair(t, (connection) => connection.send('bye'));
  t.is(await client.receive(), 'bye');
  t.is(await client.receive(), null);
  await client.close();
  t.is(client.closeCode, 1000);
  t.deepEqual(errors, []);
});

test('a server that drains closes its connections with 1001', async (t) => {
  const { client, errors, server } = await pair(t, echo);
  await client.send('x');
  t.is(await client.receive(), 'x');
  const drained = server.close({ drain: 60_000 });
  t.is(await client.receive(), null);
  t.is(client.closeCode, 1001);
  await client.close();
  t.deepEqual(await drained, { finished: 1, cutOff: 0 });
  t.deepEqual(errors, []);
});

test('a message in fragments is not mixed with others, and closes the connection if it cannot be completed', async (t) => {
  const { client } = await pair(t, echo);
  const { promise, resolve } = deferred();
  async function* parts(): AsyncGenerator<string> {
    yield 'a';
    await promise;
    yield 'b';
  }
  const sent = client.sendFragments(parts());
  await t.throwsAsync(client.send('x'), { message: /fragments/ });
  await t.throwsAsync(client.sendFragments(['x']), { message: /fragments/ });
  const answered = client.ping('within');
  resolve();
  await sent;
  t.is(await client.receive(), 'ab');
  await answered;
  await client.sendFragments([]);
  t.is((await client.receive())!.length, 0);

  await t.throwsAsync(client.sendFragments(['a', Buffer.from('b')]), { instanceOf: TypeError });
  t.is(await client.receive(), null);
  t.is(client.closeCode, 1011);
});

test('a message in fragments whose next part does not come ends with the connection', async (t) => {
  for (const [ending, reason] of [
    [Buffer.alloc(0), /the connection was closed/],
    [close(1001, '', unmasked), /the connection is closing/],
    [text('masked'), /the connection is closing/],
  ] as const) {
    const { client, peer } = await withPeer(t);
    const never = deferred();
    let next = false;
    const parts = async function* (): AsyncGenerator<string> {
      yield 'a';
      yield 'b';
      await never.promise;
      next = true;
      yield 'c';
      t.fail('another part was asked for');
    };
    const sent = t.throwsAsync(client.sendFragments(parts()), { message: reason });
    const received = client.receive().catch(() => null);
    peer.end(ending);
    await sent;
    await received;
    never.resolve();
    await until(() => next);
    await turns(2);
  }
});

test('a client that the server has closed leaves nothing open, also if the program does not close it', async (t) => {
  const { client, peer } = await withPeer(t);
  peer.end(close(1001, 'away', unmasked));
  for await (const message of client) t.fail(String(message));
  t.deepEqual([client.closeCode, client.closeReason], [1001, 'away']);
  await client.stream.waitClosed();
  t.is(await client.receive(), null);
  await client.close();
});

test('a pong answers its ping and those before it, and the loss of the connection rejects the others', async (t) => {
  const { client, peer } = await withPeer(t);
  const order: string[] = [];
  const pings = ['a', 'b', 'c', 'd'].map((data) =>
    client.ping(data).then(
      () => order.push(data),
      (error: unknown) => order.push(`${data} ${(error as WebSocketError).code}`),
    ),
  );
  const received = client.receive();
  peer.write(Buffer.concat([Buffer.of(0x8a, 1, 0x63), Buffer.of(0x8a, 1, 0x7a), text('x', unmasked)]));
  t.is(await received, 'x');
  await Promise.all(pings.slice(0, 3));
  t.deepEqual(order, ['a', 'b', 'c']);
  peer.end();
  await t.throwsAsync(client.receive(), { name: 'WebSocketError', message: /without a close frame/ });
  await Promise.all(pings);
  t.deepEqual(order, ['a', 'b', 'c', 'd 1006']);
});

test('a peer that sends pings and reads no answers does not use up the memory, and its last ping is answered', async (t) => {
  let stream: Stream | undefined;
  const { port } = await serving(
    t,
    webSocketHandler((connection) => {
      ({ stream } = connection);
      return echo(connection);
    }),
  );
  const socket = await dial(t, port);
  socket.pause();
  socket.write(REQUEST);
  const batch = Buffer.concat(Array.from({ length: 2000 }, (_, i) => ping(String(i).padEnd(125, '.'))));
  let most = 0;
  // Until the kernel accepts no more answers, and again as much.
  for (let rounds = 0, more = 20; rounds < 400 && more > 0; rounds++) {
    if (!socket.write(batch)) await once(socket, 'drain');
    most = Math.max(most, stream?.writeBufferSize ?? 0);
    if (most > 65_536) more--;
  }
  t.true(most > 65_536 && most < 200_000, String(most));
  socket.end(Buffer.concat([ping('the last one'), close(1000)]));
  const all = await gather(socket);
  t.deepEqual(decoded(all.subarray(all.indexOf('\r\n\r\n') + 4), false).slice(-2), ['pong the last one', 'close 1000']);
});

test('frames may follow the request, and the answer to it, in the same packet', async (t) => {
  const { port } = await serving(t, webSocketHandler(echo));
  const socket = await dial(t, port);
  socket.end(Buffer.concat([Buffer.from(REQUEST), text('early'), close(1000)]));
  const all = await gather(socket);
  t.deepEqual(decoded(all.subarray(all.indexOf('\r\n\r\n') + 4), false), ['text early', 'close 1000']);

  const peer = await listen(t, (accepted) => {
    accepted.once('data', (head: Buffer) => {
      accepted.write(Buffer.concat([Buffer.from(acceptance(parseRequest(head).key)), text('early', unmasked)]));
    });
  });
  const client = await connectWebSocket(`ws://127.0.0.1:${peer.port}/`, { closeTimeout: 1 });
  t.is(await client.receive(), 'early');
  await client.close();
});

test('a request that is refused is answered and reported, and the connection closed', async (t) => {
  const refuse: AcceptOptions['refuse'] = async ({ origin }) => (origin === 'https://evil.example' ? 403 : undefined);
  const { port, errors } = await serving(t, webSocketHandler(echo, { refuse }), { limit: 1000 });
  const ask = async (request: string, at = port, reported = errors): Promise<string> => {
    const before = reported.length;
    const socket = await dial(t, at);
    socket.write(request);
    const answer = (await gather(socket)).toString();
    // The handler settles after the client has read its answer, and those of two requests in any order.
    await until(() => reported.length > before);
    return answer.slice(0, answer.indexOf('\r\n'));
  };
  t.is(await ask(REQUEST.replace('\r\n\r\n', '\r\nOrigin: https://evil.example\r\n\r\n')), 'HTTP/1.1 403 Forbidden');
  t.is(await ask(REQUEST.replace(': 13', ': 12')), 'HTTP/1.1 426 Upgrade Required');
  t.is(await ask(`GET / HTTP/1.1\r\nX: ${'x'.repeat(1200)}`), 'HTTP/1.1 431 Request Header Fields Too Large');
  t.is(await ask('\x16\x03\x01\x02\0\r\n\r\n'), 'HTTP/1.1 400 Bad Request');
  const statusOf = (error: unknown): number => (error as HandshakeError).status;
  t.deepEqual(errors.map(statusOf), [403, 426, 431, 400]);

  const impatient = await serving(t, webSocketHandler(echo, { handshakeTimeout: 20 }));
  t.is(await ask('GET / HTTP/1.1\r\n', impatient.port, impatient.errors), 'HTTP/1.1 408 Request Timeout');
  t.is(statusOf(impatient.errors[0]), 408);
});

test('a client reports a refusal, an answer that does not come, and the end of the connection before it', async (t) => {
  const { port } = await serving(t, webSocketHandler(echo, { refuse: () => 404 }));
  t.is((await t.throwsAsync<HandshakeError>(connectWebSocket(`ws://127.0.0.1:${port}/`))).status, 404);
  const silent = await listen(t);
  const late = connectWebSocket(`ws://127.0.0.1:${silent.port}/`, { handshakeTimeout: 20 });
  await t.throwsAsync(late, { code: 'ERR_TIMEOUT' });
  const controller = new AbortController();
  const given = connectWebSocket(`ws://127.0.0.1:${silent.port}/`, { signal: controller.signal });
  controller.abort(new Error('not needed'));
  await t.throwsAsync(given, { message: 'not needed' });
  const gone = await listen(t, (socket) => socket.end('HTTP/1.1 101 x\r\n'));
  await t.throwsAsync(connectWebSocket(`ws://127.0.0.1:${gone.port}/`), { code: 'ERR_INCOMPLETE_READ' });
  const endless = await listen(t, (socket) => socket.write('x'.repeat(100_000)));
  await t.throwsAsync(connectWebSocket(`ws://127.0.0.1:${endless.port}/`), { code: 'ERR_LIMIT_OVERRUN' });
});

test('a URL that is not one of a WebSocket is refused', async (t) => {
  for (const url of ['http://a/', 'a', 'ws://a/#b', 'ws://user:secret@a/', 'ws://']) {
    await t.throwsAsync(connectWebSocket(url), { instanceOf: TypeError }, url);
  }
});

test('both sides work over TLS, also with large messages in both directions at once', async (t) => {
  const { ca, server: identity } = await certificates();
  const { port, errors } = await serving(t, webSocketHandler(echo), { ssl: identity });
  const client = await connectWebSocket(`wss://127.0.0.1:${port}/`, { ssl: { ca } });
  const messages = Array.from({ length: 8 }, (_, i) => Buffer.alloc(2 ** (i * 2.8), i));
  for (const message of messages) void client.send(message);
  for (const message of messages) t.true(message.equals((await client.receive()) as Buffer));
  await client.close();
  t.is(client.closeCode, 1000);
  t.deepEqual(errors, []);
});

test('the programs talk to each other, and the server stops with SIGTERM', async (t) => {
  const server = new Program(t, example('protocols/websocket/server'), ['0']);
  const [, url] = await server.prints(/Serving on (ws:\S+)/);
  const client = await new Program(t, example('protocols/websocket/client'), [url!, 'Hello', 'κόσμε']).ended;
  t.deepEqual({ ...client }, { code: 0, signal: null, stdout: 'Hello\nκόσμε\n', stderr: '' });

  const open = await connectWebSocket(url!);
  server.kill('SIGTERM');
  t.is(await open.receive(), null);
  t.is(open.closeCode, 1001);
  await open.close();
  const { code, signal, stderr } = await server.ended;
  t.deepEqual([code, signal, stderr], [0, null, '']);
});
