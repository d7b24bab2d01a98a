/** Where a StreamServer listens. */
// Runs once: it is about how a server listens, before anything is read.
import test from 'ava';
import { createServer, type AddressInfo } from 'node:net';
import { ConnectionError, StreamServer, connect, type ClientHandler, type StreamServerOptions } from 'sluice';
import { portOf, takePort, turns } from '../loopback.js';

const hello: ClientHandler = async (stream) => {
  await stream.write('hello');
};

async function greets(host: string, port: number): Promise<boolean> {
  await using stream = await connect(host, port);
  return String(await stream.read()) === 'hello';
}

test('without a host, the server listens on IPv4 and IPv6 on one port; family selects one', async (t) => {
  await using server = new StreamServer(hello);
  await server.startServing();
  const addresses = server.sockets.map((socket) => socket.address() as AddressInfo);
  t.is(addresses[0]?.address, '0.0.0.0');
  t.is(new Set(addresses.map(({ port }) => port)).size, 1);
  t.true(await greets('127.0.0.1', portOf(server)));
  await using four = new StreamServer(hello, null, 0, { family: 4 });
  await four.bind();
  t.deepEqual(
    four.sockets.map((socket) => (socket.address() as AddressInfo).address),
    ['0.0.0.0'],
  );
});

test('several hosts with port 0 share a port, and a duplicate host is listened on once', async (t) => {
  await using server = new StreamServer(hello, ['127.0.0.1', '127.0.0.2', '127.0.0.1', 'localhost']);
  await server.startServing();
  const addresses = server.sockets.map((socket) => socket.address() as AddressInfo);
  t.is(addresses.filter(({ address }) => address === '127.0.0.1').length, 1);
  t.is(new Set(addresses.map(({ port }) => port)).size, 1);
  t.true(await greets('127.0.0.2', portOf(server)));
});

test('an unavailable address is one typed error, and nothing stays bound', async (t) => {
  const port = await takePort(t, '127.0.0.2');
  const cases: [string, number, string][] = [
    ['127.0.0.2', port, 'EADDRINUSE'],
    ['192.0.2.1', port, 'EADDRNOTAVAIL'],
    ['no-such-host.invalid', port, ''],
  ];
  for (const [host, number, code] of cases) {
    const server = new StreamServer(hello, ['127.0.0.1', host], number);
    const error = await t.throwsAsync(server.bind(), { instanceOf: ConnectionError });
    if (code !== '') t.is(error.code, code);
    t.true(error.message.startsWith(`bind ${host}:${number}: `), error.message);
    await t.throwsAsync(connect('127.0.0.1', port), { code: 'ECONNREFUSED' });
  }
});

test('reusePort lets two servers share a port, or fails with a clear error', async (t) => {
  await using one = new StreamServer(hello, '127.0.0.1', 0, { reusePort: true });
  const failure = await one.bind().then(
    () => null,
    (error: unknown) => error as { code?: string },
  );
  if (failure !== null) {
    t.is(failure.code, 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM');
    return;
  }
  await using other = new StreamServer(hello, '127.0.0.1', portOf(one), { reusePort: true });
  await t.notThrowsAsync(other.bind());
});

test('sock can be a net.Server that is already listening', async (t) => {
  const sock = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await turns(5);
  await using server = new StreamServer(hello, null, 0, { sock });
  await server.startServing();
  t.true(await greets('127.0.0.1', portOf(server)));
  await server.close();
  t.false(sock.listening);
});

test('invalid options throw', (t) => {
  const cases: [StreamServerOptions, RegExp][] = [
    [{ family: 5 as never }, /family .* not 5/],
    [{ flags: 1 }, /flags .* not 1/],
    [{ reusePort: 1 as never }, /reusePort .* not 1/],
    [{ reuseAddress: process.platform === 'win32' }, /reuseAddress is always/],
    [{ sock: {} as never }, /sock must be/],
    [{ sock: createServer(() => {}) }, /without a 'connection' listener/],
  ];
  for (const [options, message] of cases) t.throws(() => new StreamServer(hello, null, 0, options), { message });
  t.throws(() => new StreamServer(hello, 'localhost', 0, { sock: createServer() }), { message: /combined with host/ });
});
