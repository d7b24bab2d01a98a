/** The WebSocket example, server and client, against npm's `ws` and Python's `websockets` in the other role. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { WebSocket, WebSocketServer } from 'ws';
import { connectWebSocket, type ClientOptions } from '../../examples/protocols/websocket/client.js';
import type { WebSocketConnection } from '../../examples/protocols/websocket/connection.js';
import type { HandshakeError } from '../../examples/protocols/websocket/handshake.js';
import { echo, webSocketHandler, type AcceptOptions } from '../../examples/protocols/websocket/server.js';
import type { Message, WebSocketError } from '../../examples/protocols/websocket/websocket.js';
import { certificates } from '../certificates.js';
import { serving, until } from '../loopback.js';
import { Process } from '../program.js';
import { pythonPackages } from './peers.js';

/** Messages of every kind and size of the length field. */
const MESSAGES: readonly Message[] = [
  'Hello',
  '',
  'κόσμε 😀',
  '\ufeffa byte order mark',
  Buffer.alloc(0),
  Buffer.from([0, 255]),
  ...[125, 126, 65_535, 65_536, 1024 * 1024].map((n) => Buffer.alloc(n, 'abcdefg')),
  'é'.repeat(40_000),
];

function same(a: unknown, b: Message): boolean {
  return Buffer.isBuffer(a) && Buffer.isBuffer(b) ? a.equals(b) : a === b;
}

// ------------------------------------------------------------------------------------------------ the client of ws

/** What a `ws` client receives, in order: messages as we represent them, and other events in words. */
class WsClient {
  readonly socket: WebSocket;
  readonly #events: unknown[] = [];
  #arrived: (() => void) | null = null;

  constructor(t: ExecutionContext, socket: WebSocket) {
    this.socket = socket;
    t.teardown(() => socket.terminate());
    const add = (event: unknown): void => {
      this.#events.push(event);
      this.#arrived?.();
    };
    socket.on('message', (data: Buffer, isBinary) => add(isBinary ? data : data.toString()));
    socket.on('ping', (data: Buffer) => add(`ping ${data.toString()}`));
    socket.on('pong', (data: Buffer) => add(`pong ${data.toString()}`));
    socket.on('close', (code, reason) => add(`close ${code} ${reason.toString()}`));
    socket.on('error', (error) => add(`error ${error.message}`));
    socket.on('unexpected-response', (_request, response) => add(`status ${response.statusCode}`));
  }

  async next(): Promise<unknown> {
    while (this.#events.length === 0) await new Promise<void>((resolve) => (this.#arrived = resolve));
    return this.#events.shift();
  }
}

async function wsClient(
  t: ExecutionContext,
  options: AcceptOptions = {},
  handler: (connection: WebSocketConnection) => Promise<void> = echo,
  protocols: string[] = [],
): Promise<{ client: WsClient; errors: Error[] }> {
  const { port, errors } = await serving(t, webSocketHandler(handler, options));
  const client = new WsClient(t, new WebSocket(`ws://127.0.0.1:${port}/path`, protocols));
  return { client, errors };
}

test('the server echoes messages of every kind and size to a client of ws', async (t) => {
  const { client, errors } = await wsClient(t);
  await once(client.socket, 'open');
  for (const message of MESSAGES) {
    client.socket.send(message);
    const answer = await client.next();
    t.true(same(answer, message), `${message.length}`);
  }
  for (const message of MESSAGES) client.socket.send(message); // all at once
  for (const message of MESSAGES) t.true(same(await client.next(), message));
  client.socket.close(1000, 'done');
  t.is(await client.next(), 'close 1000 ');
  t.deepEqual(errors, []);
});

test('the server assembles the fragments of a client of ws, and answers its pings between them', async (t) => {
  const { client } = await wsClient(t);
  await once(client.socket, 'open');
  const [a, b] = [Buffer.from('κό').subarray(0, 3), Buffer.concat([Buffer.from('κό').subarray(3), Buffer.from('σμε')])];
  client.socket.send(a, { binary: false, fin: false });
  client.socket.ping('now?');
  client.socket.send(b, { binary: false, fin: true });
  t.is(await client.next(), 'pong now?');
  t.is(await client.next(), 'κόσμε');
});

test('the server sends fragments and pings, and closes, as a client of ws expects it', async (t) => {
  const closed: unknown[] = [];
  const { client, errors } = await wsClient(t, {}, async (connection) => {
    await connection.sendFragments(['frag', '', 'mé', 'nts']);
    const answered = connection.ping('hello?');
    closed.push(await connection.receive());
    await answered;
    await connection.close(4001, 'enough');
    closed.push(connection.closeCode);
  });
  await once(client.socket, 'open');
  t.is(await client.next(), 'fragménts');
  t.is(await client.next(), 'ping hello?'); // answered by ws itself
  client.socket.send('go on');
  t.is(await client.next(), 'close 4001 enough');
  await until(() => closed.length === 2);
  t.deepEqual([closed, errors], [['go on', 4001], []]);
});

test('a client of ws sees why the server has failed the connection', async (t) => {
  const tooBig = await wsClient(t, { maxMessage: 1000 });
  await once(tooBig.client.socket, 'open');
  tooBig.client.socket.send(Buffer.alloc(1001));
  t.is(await tooBig.client.next(), 'close 1009 message of at least 1001 bytes, the maximum is 1000');
  await until(() => tooBig.errors.length === 1);
  t.is((tooBig.errors[0] as WebSocketError).code, 1009);

  const notText = await wsClient(t);
  await once(notText.client.socket, 'open');
  notText.client.socket.send(Buffer.from([0x61, 0xff]), { binary: false });
  t.is(await notText.client.next(), 'close 1007 text that is not UTF-8');

  const failing = await wsClient(t, {}, () => Promise.reject(new Error('a bug')));
  t.is(await failing.client.next(), 'close 1011 ');
  await until(() => failing.errors.length === 1);
  t.is(failing.errors[0]!.message, 'a bug');
});

test('a client of ws that is terminated is an error with the code 1006', async (t) => {
  const { client, errors } = await wsClient(t);
  await once(client.socket, 'open');
  client.socket.send('x');
  await client.next();
  client.socket.terminate();
  await until(() => errors.length === 1);
  t.is((errors[0] as WebSocketError).code, 1006);
});

test('the server agrees with a client of ws on a subprotocol, and refuses its request with a status', async (t) => {
  const { client } = await wsClient(t, { protocols: ['a', 'b'] }, echo, ['c', 'b', 'a']);
  await once(client.socket, 'open');
  t.is(client.socket.protocol, 'b');
  t.is(client.socket.extensions, ''); // it has offered compression

  const refused = await wsClient(t, { refuse: ({ target }) => (target === '/path' ? 403 : undefined) });
  t.is(await refused.client.next(), 'status 403');
});

// ------------------------------------------------------------------------------------------------ the server of ws

async function wsServer(
  t: ExecutionContext,
  onConnection: (socket: WebSocket) => void,
  options: ConstructorParameters<typeof WebSocketServer>[0] = {},
): Promise<string> {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, ...options });
  t.teardown(() => {
    for (const client of server.clients) client.terminate();
    server.close();
  });
  server.on('connection', (socket) => {
    socket.on('error', () => {});
    onConnection(socket);
  });
  await once(server, 'listening');
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}/`;
}

async function connected(t: ExecutionContext, url: string, options?: ClientOptions): Promise<WebSocketConnection> {
  const connection = await connectWebSocket(url, options);
  t.teardown(() => connection.stream.abort());
  return connection;
}

const wsEcho = (socket: WebSocket): void => {
  socket.on('message', (data: Buffer, isBinary) => socket.send(data, { binary: isBinary }));
};

test('a server of ws echoes messages of every kind and size to the client', async (t) => {
  const connection = await connected(t, await wsServer(t, wsEcho));
  for (const message of MESSAGES) {
    await connection.send(message);
    t.true(same(await connection.receive(), message), `${message.length}`);
  }
  for (const message of MESSAGES) void connection.send(message);
  for (const message of MESSAGES) t.true(same(await connection.receive(), message));
  await connection.close(1000, 'done');
  t.is(connection.closeCode, 1000);
  t.is(connection.stream.exception(), null);
});

test('a server of ws receives the fragments and the pings of the client, and its close frame', async (t) => {
  const closed = deferredClose();
  const url = await wsServer(t, (socket) => {
    wsEcho(socket);
    socket.on('close', (code, reason) => closed.resolve(`${code} ${reason.toString()}`));
  });
  const connection = await connected(t, url);
  await connection.sendFragments([Buffer.from('ab'), Buffer.alloc(0), Buffer.alloc(70_000, 'c')]);
  t.true(same(await connection.receive(), Buffer.concat([Buffer.from('ab'), Buffer.alloc(70_000, 'c')])));
  const answered = connection.ping(Buffer.from([1, 2, 3]));
  void connection.send('after the ping');
  t.is(await connection.receive(), 'after the ping');
  await answered;
  await connection.close(3999, 'büe');
  t.is(await closed.promise, '3999 büe');
  t.is(connection.closeCode, 3999);
});

test('the client assembles the fragments of a server of ws, answers its pings, and sees its close frame', async (t) => {
  const pongs: string[] = [];
  const url = await wsServer(t, (socket) => {
    socket.on('pong', (data) => pongs.push(data.toString()));
    socket.send('on', { fin: false });
    socket.ping('p');
    socket.send('e', { fin: true });
    socket.once('message', () => socket.close(4321, 'until tomorrow'));
  });
  const connection = await connected(t, url);
  t.is(await connection.receive(), 'one');
  await connection.send('x');
  t.is(await connection.receive(), null);
  t.deepEqual([connection.closeCode, connection.closeReason], [4321, 'until tomorrow']);
  await connection.close();
  t.deepEqual(pongs, ['p']);
});

test('the client sees that a message was too big for a server of ws, and that one has vanished', async (t) => {
  const connection = await connected(t, await wsServer(t, wsEcho, { maxPayload: 100 }));
  await connection.send('x'.repeat(101));
  t.is(await connection.receive(), null);
  t.is(connection.closeCode, 1009);

  const vanished = await connected(t, await wsServer(t, (socket) => socket.terminate()));
  await t.throwsAsync(vanished.receive(), { name: 'WebSocketError', code: 1006 as never });
});

test('the client agrees with a server of ws on a subprotocol, and reports the status of a refusal', async (t) => {
  const handleProtocols = (offered: Set<string>): string => [...offered].at(-1)!;
  const url = await wsServer(t, wsEcho, { handleProtocols, perMessageDeflate: true });
  t.is((await connected(t, url, { protocols: ['x', 'y'] })).protocol, 'y');

  const verifyClient = ({ origin }: { origin: string }): boolean => origin === 'https://good.example';
  const strict = await wsServer(t, wsEcho, { verifyClient });
  const good = await connected(t, strict, { headers: { Origin: 'https://good.example' } });
  await good.send('x');
  t.is(await good.receive(), 'x');
  const error = await t.throwsAsync<HandshakeError>(connectWebSocket(strict), { name: 'HandshakeError' });
  t.is(error.status, 401);
});

test('the client talks to a server of ws over TLS', async (t) => {
  const { server: identity, ca } = await certificates();
  const https = createServer(identity);
  t.teardown(() => https.close());
  const server = new WebSocketServer({ server: https });
  server.on('connection', wsEcho);
  https.listen(0, '127.0.0.1');
  await once(https, 'listening');
  const { port } = https.address() as AddressInfo;
  const connection = await connected(t, `wss://localhost:${port}/`, { ssl: { ca } });
  for (const message of MESSAGES) {
    await connection.send(message);
    t.true(same(await connection.receive(), message));
  }
  await connection.close();
  t.is(connection.closeCode, 1000);
});

function deferredClose(): { promise: Promise<string>; resolve: (how: string) => void } {
  let resolve!: (how: string) => void;
  const promise = new Promise<string>((done) => (resolve = done));
  return { promise, resolve };
}

// ------------------------------------------------------------------------------------------------ Python's websockets

const PYTHON_SERVER = `
import asyncio
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

async def handler(ws):
    try:
        await answer(ws)
    except ConnectionClosed:
        pass
    print('closed', ws.close_code, ws.close_reason, flush=True)

async def answer(ws):
    async for message in ws:
        if message == 'fragments':
            await ws.send(['frag', '', 'm\\u00e9', 'nts'])
        elif message == 'ping':
            await (await ws.ping(b'are you there?'))
            await ws.send('it is')
        elif message == 'close':
            await ws.close(4000, 'b\\u00fce')
        else:
            await ws.send(message)

async def main():
    async with serve(handler, '127.0.0.1', 0, subprotocols=['b', 'a'], max_size=2 * 1024 * 1024) as server:
        print('port', server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().create_future()

asyncio.run(main())
`;

test("the client talks to a server of Python's websockets", async (t) => {
  if (!pythonPackages(t, 'websockets')) return;
  const server = new Process(t, 'python3', ['-c', PYTHON_SERVER]);
  const [, port] = await server.prints(/port (\d+)/);
  const url = `ws://127.0.0.1:${port}/`;
  const connection = await connected(t, url, { protocols: ['a', 'c'] });
  t.is(connection.protocol, 'a');
  for (const message of MESSAGES) {
    await connection.send(message);
    t.true(same(await connection.receive(), message), `${message.length}`);
  }
  await connection.sendFragments(['fr', '', 'ag', 'ments']);
  t.is(await connection.receive(), 'fragménts');
  await connection.send('ping');
  t.is(await connection.receive(), 'it is'); // so it has received our answer
  const answered = connection.ping('and you?');
  await connection.send('yes');
  t.is(await connection.receive(), 'yes');
  await answered;
  await connection.close(3000, 'dönë');
  await server.prints(/closed 3000 dönë/);
  t.is(connection.closeCode, 3000);

  const closed = await connected(t, url, { protocols: ['a'] });
  await closed.send('close');
  t.is(await closed.receive(), null);
  t.deepEqual([closed.closeCode, closed.closeReason], [4000, 'büe']);
  await closed.close();

  const tooBig = await connected(t, url, { protocols: ['a'] });
  await tooBig.send(Buffer.alloc(2 * 1024 * 1024 + 1));
  t.is(await tooBig.receive(), null);
  t.is(tooBig.closeCode, 1009);
});

const PYTHON_CLIENT = `
import asyncio, sys
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

url = sys.argv[1]

async def closed_with(ws):
    try:
        while True:
            await ws.recv()
    except ConnectionClosed as error:
        return error.rcvd.code, error.rcvd.reason

async def main():
    async with connect(url, subprotocols=['c', 'b', 'a'], max_size=None, proxy=None) as ws:
        assert ws.subprotocol == 'b', ws.subprotocol
        for message in ['Hello', '', 'k\\u00f3sme \\U0001f600', b'', bytes(range(256)), bytes(65535), bytes(65536), bytes(1024 * 1024)]:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(['frag', '', 'm\\u00e9', 'nts'])
        assert await ws.recv() == 'fragm\\u00e9nts'
        await (await ws.ping(b'are you there?'))
        await ws.close(3001, 'done')
        assert ws.close_code == 3001, ws.close_code
    async with connect(url, proxy=None) as ws:
        await ws.send(bytes(1024 * 1024 + 1))
        code, _ = await closed_with(ws)
        assert code == 1009, code
    async with connect(url + 'closing', proxy=None) as ws:
        assert await closed_with(ws) == (4002, 'enough')
    try:
        async with connect(url + 'secret', proxy=None):
            raise AssertionError('not refused')
    except InvalidStatus as error:
        assert error.response.status_code == 403
    print('all as expected')

asyncio.run(main())
`;

test("a client of Python's websockets talks to the server", async (t) => {
  if (!pythonPackages(t, 'websockets')) return;
  const codes: (number | null)[] = [];
  const refuse: AcceptOptions['refuse'] = ({ target }) => (target === '/secret' ? 403 : undefined);
  const handler = webSocketHandler(
    async (connection, { target }) => {
      if (target === '/closing') return connection.close(4002, 'enough');
      await echo(connection).finally(() => codes.push(connection.closeCode));
    },
    { protocols: ['a', 'b'], refuse },
  );
  const { port } = await serving(t, handler);
  const { stdout, stderr } = await new Process(t, 'python3', ['-c', PYTHON_CLIENT, `ws://127.0.0.1:${port}/`]).ended;
  t.is(stderr, '');
  t.is(stdout, 'all as expected\n');
  t.deepEqual(codes, [3001, 1006]);
});
