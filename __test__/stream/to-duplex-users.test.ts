/** The duplexes of `toDuplex()` as the connections of other packages. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import * as http from 'node:http';
import type { Duplex } from 'node:stream';
import tls from 'node:tls';
import { promisify } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import { StreamServer, connect, type Stream } from 'sluice';
import ssh2 from 'ssh2';
import { WebSocket, WebSocketServer } from 'ws';
import { certificates } from '../certificates.js';
import { portOf } from '../loopback.js';
import { tcp } from './connected.js';

/** The duplexes of the two ends of a connection. */
async function duplexes(t: ExecutionContext): Promise<[client: Duplex, server: Duplex]> {
  const [client, server] = await tcp(t);
  // The end of a test is the loss of its connections.
  return [client.toDuplex().on('error', () => {}), server.toDuplex().on('error', () => {})];
}

test('tls.connect({ socket }) and new TLSSocket() encrypt over two duplexes', async (t) => {
  const { ca, server: identity } = await certificates();
  const [near, far] = await duplexes(t);
  const server = new tls.TLSSocket(far, { isServer: true, ...identity });
  const client = tls.connect({ socket: near, ca, servername: 'localhost' });
  await once(client, 'secureConnect');
  t.true(client.authorized);
  const payload = Buffer.alloc(300_000, 'x');
  client.end(payload);
  const chunks: Buffer[] = [];
  server.on('data', (chunk: Buffer) => chunks.push(chunk));
  await once(server, 'end');
  t.true(Buffer.concat(chunks).equals(payload));
  server.end();
  client.resume();
  await once(client, 'close');
});

/** A server of `node:http` whose connections are duplexes of streams. */
async function httpServer(
  t: ExecutionContext,
  listener: http.RequestListener,
): Promise<{ port: number; server: http.Server }> {
  const server = http.createServer(listener);
  const streams = new StreamServer(
    async (stream: Stream) => {
      server.emit('connection', stream.toDuplex());
      await stream.waitClosed();
    },
    '127.0.0.1',
    0,
  );
  t.teardown(() => streams.abort());
  await streams.startServing();
  return { port: portOf(streams), server };
}

for (const keepAlive of [false, true]) {
  test(`an http.Agent connects by duplexes, and an http.Server serves them; keepAlive: ${keepAlive}`, async (t) => {
    const { port } = await httpServer(t, (request, response) => {
      void request
        .toArray()
        .then((chunks) => response.end(`${request.url}: ${Buffer.concat(chunks as Buffer[]).length}`));
    });
    let connections = 0;
    class StreamAgent extends http.Agent {
      override createConnection(_options: object, callback?: (error: Error | null, stream: Duplex) => void): undefined {
        connections++;
        void connect('127.0.0.1', port).then((stream) => {
          t.teardown(() => stream.abort());
          callback?.(null, stream.toDuplex());
        });
      }
    }
    const agent = new StreamAgent({ keepAlive, maxSockets: 1 });
    t.teardown(() => agent.destroy());
    for (const path of ['/one', '/two']) {
      const request = http.request({ agent, path, method: 'POST', host: 'localhost' });
      request.end(Buffer.alloc(200_000));
      const [response] = (await once(request, 'response')) as [http.IncomingMessage];
      t.is(Buffer.concat((await response.toArray()) as Buffer[]).toString(), `${path}: 200000`);
    }
    t.is(connections, keepAlive ? 1 : 2);
  });
}

test('ws: a client and a server exchange messages over duplexes', async (t) => {
  const { port, server } = await httpServer(t, (_request, response) => response.end());
  const sockets = new WebSocketServer({ server });
  t.teardown(() => sockets.close());
  sockets.on('connection', (socket) => {
    socket.on('message', (data, binary) => socket.send(data, { binary }));
  });
  const stream = await connect('127.0.0.1', port);
  t.teardown(() => stream.abort());
  const duplex = stream.toDuplex();
  const client = new WebSocket('ws://localhost/', { createConnection: (() => duplex) as never });
  await once(client, 'open');
  for (const message of [Buffer.from('short'), Buffer.alloc(500_000, 7)]) {
    client.send(message);
    const [answer] = (await once(client, 'message')) as [Buffer];
    t.true(answer.equals(message));
  }
  client.close(1000);
  const [code] = (await once(client, 'close')) as [number];
  t.is(code, 1000);
});

test('ssh2: a client and a server run a command over duplexes', async (t) => {
  const [near, far] = await duplexes(t);
  // Of the keys that ssh2 itself makes, it refuses some as malformed.
  const { privateKey: hostKey } = generateKeyPairSync('ec', {
    namedCurve: 'prime256v1',
    privateKeyEncoding: { type: 'sec1', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  });
  const server = new ssh2.Server({ hostKeys: [hostKey] }, (connection) => {
    connection.on('authentication', (attempt) => attempt.accept());
    connection.on('session', (accept) => {
      accept().on('exec', (acceptExec, _reject, { command }) => {
        const channel = acceptExec();
        channel.write(`ran ${command}`);
        channel.exit(0);
        channel.end();
      });
    });
    connection.on('error', () => {});
  });
  server.injectSocket(far as never);
  const client = new ssh2.Client();
  const ready = once(client, 'ready');
  client.connect({ sock: near, username: 'u', password: 'p' });
  await ready;
  const channel = await promisify((done: (error: Error | undefined, channel: ssh2.ClientChannel) => void) =>
    client.exec('uptime', done),
  )();
  const chunks: Buffer[] = [];
  channel.on('data', (chunk: Buffer) => chunks.push(chunk));
  const [code] = (await once(channel, 'close')) as [number];
  t.is(Buffer.concat(chunks).toString(), 'ran uptime');
  t.is(code, 0);
  client.end();
  await once(client, 'close');
});
