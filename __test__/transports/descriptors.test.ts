/**
 * Servers in processes that run out of file descriptors, and connections that are refused before the server sees them.
 */
// Runs once: it is about connections that are refused before anything is read.
import test from 'ava';
import { once } from 'node:events';
import { Socket, connect as netConnect, createServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { ConnectionError, StreamServer, UnixStreamServer, connect, connectUnix } from 'sluice';
import { descriptorOf } from '#ts/transports/node-internals.js';
import { lastDescriptor } from '#ts/transports/descriptors.js';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { closedByPeer, dial, echo, portOf, quiet, turns } from '../loopback.js';
import { Process, root } from '../program.js';
import { KINDS } from '../server/servers.js';

// eslint-disable-next-line no-restricted-syntax -- Windows has no limit on descriptors that a shell could set
const posix = process.platform === 'win32' ? test.skip : test;

for (const kind of KINDS) {
  posix(`the connection that takes the last descriptor is reported, and the server continues (${kind})`, async (t) => {
    const { ca, server: identity } = await certificates();
    const file = unixPath(t);
    const program = `
      import { StreamServer, UnixStreamServer } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/index.js')))};
      const echo = async (stream) => { for await (const line of stream) await stream.write(line); };
      const onError = (error, stream) => {
        if (error.code === 'EMFILE') console.log('report:', error.name, error.message, stream);
      };
      const options = { onError, shutdownTimeout: 50, ssl: ${kind === 'TLS' ? JSON.stringify(identity) : 'undefined'} };
      const server = ${
        kind === 'Unix'
          ? `new UnixStreamServer(echo, ${JSON.stringify(file)}, options)`
          : `new StreamServer(echo, '127.0.0.1', 0, options)`
      };
      await server.startServing();
      console.log('ready:', server.sockets[0].address().port ?? 0);
      process.stdin.on('end', () => server.close()).resume();`;
    // Newer versions of Node read these certificates on a thread, at any moment.
    const env = { ...process.env, NODE_EXTRA_CA_CERTS: undefined };
    const child = new Process(
      t,
      'sh',
      ['-c', 'ulimit -n 96; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', program],
      { env, input: true },
    );
    const port = Number((await child.prints(/ready: (\d+)/))[1]);
    const where = kind === 'Unix' ? { path: file } : { port, host: '127.0.0.1' };
    const peers: Socket[] = [];
    t.teardown(() => peers.forEach((peer) => peer.destroy()));
    let ended = 0;
    const report: { text?: string } = {};
    void child.prints(/report: (.*)\n/).then(
      (found) => (report.text = found[1] ?? ''),
      () => {},
    );
    // Linux reports which descriptor a connection gets; elsewhere only the peers notice that there are none left.
    const over = (): boolean => ended > 0 && (report.text !== undefined || process.platform !== 'linux');
    while (!over()) {
      const peer = quiet(netConnect(where)).resume();
      peers.push(peer);
      // A Unix socket whose queue is full refuses connections itself.
      const connected = await once(peer, 'connect').then(
        () => true,
        () => false,
      );
      if (connected) peer.once('close', () => ended++);
      await turns(1);
    }
    if (process.platform === 'linux') {
      t.is(
        report.text,
        'ConnectionError accept: this connection took the last of 96 file descriptors, and the next ones are closed as they come in null',
      );
    }
    t.true(ended > 0);

    for (const peer of peers) peer.destroy();
    for (;;) {
      // The server notices a little later that the others have ended.
      try {
        await using stream = await (kind === 'Unix'
          ? connectUnix(file)
          : connect('127.0.0.1', port, kind === 'TLS' ? { ssl: { ca }, serverHostname: 'localhost' } : {}));
        await stream.write('still here\n');
        if (String(await stream.readline()) === 'still here\n') break;
      } catch (error) {
        if (!(error instanceof ConnectionError)) throw error;
      }
    }
    child.hangUp();
    const { code, stderr } = await child.ended;
    t.is(code, 0, stderr);
    t.is(stderr, '');
  });
}

// eslint-disable-next-line no-restricted-syntax -- only Linux reports which descriptor a connection gets
(process.platform === 'linux' ? test : test.skip)(
  'an onError that closes the server when descriptors run out ends the connection that is reported, too',
  async (t) => {
    const program = `
      import { StreamServer } from ${JSON.stringify(pathToFileURL(path.join(root, 'dist/index.js')))};
      let closing = false;
      const onError = (error) => {
        if (error.code !== 'EMFILE' || closing) return;
        closing = true;
        void server.close();
      };
      const handler = () => {
        if (closing) console.log('the handler was called');
      };
      const server = new StreamServer(handler, '127.0.0.1', 0, { onError });
      await server.startServing();
      console.log('ready:', server.sockets[0].address().port);
      await server.serveForever();
      console.log('closed:', closing);`;
    const command = ['-c', 'ulimit -n 96; exec "$@"', 'sh', process.execPath, '--input-type=module', '-e', program];
    const child = new Process(t, 'sh', command);
    const port = Number((await child.prints(/ready: (\d+)/))[1]);
    let over = false;
    void child.ended.then(() => (over = true));
    while (!over) {
      const peer = quiet(netConnect(port, '127.0.0.1')).resume();
      t.teardown(() => peer.destroy());
      await Promise.race([once(peer, 'connect').catch(() => {}), child.ended]);
      await turns(1);
    }
    const { code, stdout, stderr } = await child.ended;
    t.is(code, 0, stderr);
    t.true(stdout.endsWith('closed: true\n'), stdout);
    t.false(stdout.includes('the handler was called'));
  },
);

test('a connection is not reported if descriptors are left, or if its descriptor is unknown', async (t) => {
  const sock = createServer();
  t.teardown(() => sock.close());
  await once(sock.listen(0, '127.0.0.1'), 'listening');
  const accepted = once(sock, 'connection') as Promise<[Socket]>;
  await dial(t, (sock.address() as AddressInfo).port);
  const [socket] = await accepted;
  const fd = descriptorOf(socket);
  t.true(fd === null || fd > 2);
  if (process.platform === 'linux' && process.versions['bun'] === undefined) t.not(fd, null);
  t.is(lastDescriptor(socket), null);
  socket.destroy();
  t.is(descriptorOf(new Socket()), null);
  t.is(lastDescriptor(new Socket()), null);
});

test('connections refused by maxConnections of sock are reported once, until one is accepted again', async (t) => {
  const errors: unknown[] = [];
  const onError = (error: unknown): void => void errors.push(error);
  const unix = unixPath(t);
  for (const kind of ['TCP', 'Unix'] as const) {
    errors.length = 0;
    const sock = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    sock.maxConnections = 1;
    sock.listen(kind === 'TCP' ? { port: 0, host: '127.0.0.1' } : { path: unix });
    const options = { sock, onError, shutdownTimeout: 50 };
    const server =
      kind === 'TCP' ? new StreamServer(echo, null, 0, options) : new UnixStreamServer(echo, null, options);
    t.teardown(() => server.abort());
    await server.startServing();
    const where = server instanceof StreamServer ? { port: portOf(server), host: '127.0.0.1' } : { path: unix };
    const peer = async (): Promise<Socket> => {
      const socket = quiet(netConnect({ ...where, allowHalfOpen: true }));
      t.teardown(() => socket.destroy());
      await once(socket, 'connect');
      return socket;
    };
    for (let round = 1; round <= 2; round++) {
      let first: Socket;
      for (;;) {
        first = await peer();
        first.write('ping\n');
        // Refused if the server has not noticed yet that the previous one has ended.
        const [outcome] = await Promise.race([
          once(first, 'data').then(() => ['served']),
          closedByPeer(first).then(() => ['refused']),
        ]);
        if (outcome === 'served') break;
      }
      const before = errors.length;
      for (let i = 0; i < 3; i++) await closedByPeer(await peer());
      t.is(errors.length, before + 1, `${kind}, ${round}`);
      first.end();
      await closedByPeer(first);
    }
    for (const error of errors) {
      t.true(error instanceof ConnectionError);
      t.is((error as ConnectionError).code, 'ECONNREFUSED');
      t.regex((error as Error).message, /Server: the maxConnections or the blockList of sock refused /);
    }
    await server.close();
  }
});
