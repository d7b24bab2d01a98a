/** Makes TLS handshakes fail in several ways, prints the codes, and must end by itself: run by `tls.test.ts`. */
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { connect as tlsConnect } from 'node:tls';
import { StreamServer, connect, type ConnectOptions } from 'sluice';
import { certificates } from '../certificates.js';

const { ca, server: identity, stranger } = await certificates();
const codes: unknown[] = [];

async function fail(port: number, options: ConnectOptions): Promise<void> {
  const error: unknown = await connect('127.0.0.1', port, options).catch((reason: unknown) => reason);
  codes.push((error as { code?: string }).code ?? (error as Error).message);
}

/** A plain server for one connection. */
async function oneConnection(onConnection: (socket: Socket) => void): Promise<number> {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    server.close();
    onConnection(socket.on('error', () => {}).on('end', () => socket.end()));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

await fail(await oneConnection((socket) => socket.resume()), { ssl: true, sslHandshakeTimeout: 50 });
await fail(await oneConnection((socket) => socket.end().resume()), { ssl: true });
await fail(await oneConnection((socket) => socket.resume().write('220 welcome\r\n')), { ssl: true });

const server = new StreamServer(() => {}, '127.0.0.1', 0, { ssl: stranger, onError: () => {} });
await server.startServing();
await fail((server.sockets[0]?.address() as AddressInfo).port, { ssl: { ca } });
await server.close();

// Callbacks and options of the user that fail, with a server that accepts.
const good = new StreamServer(
  async (stream) => {
    await stream.read();
  },
  '127.0.0.1',
  0,
  {
    ssl: {
      ...identity,
      SNICallback: () => {
        throw new Error('no name');
      },
    },
    // Clients that give up are reported, too.
    onError: (error) => void named.push((error as Error).cause),
  },
);
const named: unknown[] = [];
await good.startServing();
const goodPort = (good.sockets[0]?.address() as AddressInfo).port;
const throwing = (): never => {
  throw Object.assign(new Error('no'), { code: 'ERR_OF_CALLBACK' });
};
await fail(goodPort, { ssl: { ca, checkServerIdentity: throwing } });
await fail(goodPort, { ssl: { ca, cert: 'none', key: 'none' } });
await fail(goodPort, { ssl: { ca }, serverHostname: 'localhost' });

// A failure after the handshake.
const late = await connect('127.0.0.1', goodPort, { ssl: { ca } });
const other = tlsConnect({ port: goodPort, host: '127.0.0.1', ca }).on('error', () => {});
await once(other, 'secureConnect');
(late.getExtraInfo('socket') as Socket).destroy(Object.assign(new Error('late'), { code: 'ERR_SSL_LATE' }));
await late.read().catch((error: unknown) => codes.push((error as { code?: string }).code));
other.destroy();
await good.close();
codes.push(named.map((cause) => (cause as Error | undefined)?.message).find((message) => message === 'no name'));

const signal = AbortSignal.timeout(50);
const aborting = new AbortController();
signal.addEventListener('abort', () => aborting.abort(new Error('enough')));
await fail(await oneConnection((socket) => socket.resume()), { ssl: true, signal: aborting.signal });

// The server's side: a client that sends nothing.
const failed = new Promise<void>((resolve) => {
  const patient = new StreamServer(() => {}, '127.0.0.1', 0, {
    ssl: identity,
    sslHandshakeTimeout: 50,
    onError: (error) => {
      codes.push((error as { code?: string }).code);
      void patient.close().then(() => resolve());
    },
  });
  void patient.startServing().then(() => {
    void connect('127.0.0.1', (patient.sockets[0]?.address() as AddressInfo).port).then(async (silent) => {
      await silent.read();
      await silent.close();
    });
  });
});
await failed;
process.stdout.write(`${codes.join(' ')}\n`);
