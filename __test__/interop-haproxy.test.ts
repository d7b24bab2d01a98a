/** HAProxy before a server: it announces clients by the PROXY protocol, passes TLS through, and checks whether the server is alive. */
// Runs once for each way of reading: the peer sends the same bytes to either engine.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { BlockList, connect as netConnect, type Socket } from 'node:net';
import path from 'node:path';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { StreamServer, UnixStreamServer, type ClientHandler, type ProxyInfo, type SocketAddress } from 'sluice';
import { certificates } from './certificates.js';
import { directory } from './fifo.js';
import { echo, gather, quiet, serving, sparePort, until } from './loopback.js';
import { Process, installed } from './program.js';
import { reach } from './interop.js';

const LOOPBACK = new BlockList();
LOOPBACK.addAddress('127.0.0.1');
LOOPBACK.addAddress('::1', 'ipv6');

/**
 * Starts HAProxy with one listener and one server.
 *
 * @param bind - the address of the listener, as HAProxy writes it
 * @param server - the address and the options of the server
 */
async function haproxy(t: ExecutionContext, bind: string, server: string): Promise<Process> {
  const folder = directory(t);
  const config = `
global
  stats socket ${folder}/stats mode 600
defaults
  mode tcp
  timeout connect 60s
  timeout client 60s
  timeout server 60s
listen test
  bind ${bind}
  unique-id-format id-%ci
  server one ${server}
`;
  await writeFile(path.join(folder, 'haproxy.cfg'), config);
  const running = new Process(t, 'haproxy', ['-db', '-q', '-f', path.join(folder, 'haproxy.cfg')]);
  // It answers when it listens on everything.
  const ready = reach(path.join(folder, 'stats')).then(async (stream) => {
    await using answering = stream;
    await answering.write('show info\n');
    await answering.read();
    return null;
  });
  const ended = await Promise.race([ready, running.ended]);
  if (ended !== null) throw new Error(`haproxy ended:\n${ended.stderr}\n${config}`);
  return running;
}

/** A handler that records what was announced, and then echoes. */
function recording(infos: ProxyInfo[]): ClientHandler {
  return (stream, context) => {
    infos.push(stream.getExtraInfo('proxy') as ProxyInfo);
    return echo(stream, context);
  };
}

async function dialled(t: ExecutionContext, to: { port: number; host: string } | { path: string }): Promise<Socket> {
  const socket = quiet(netConnect({ ...to, allowHalfOpen: true }));
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

const VERSIONS = [
  { version: 1, option: 'send-proxy', types: [] },
  { version: 2, option: 'send-proxy-v2', types: [] },
  { version: 2, option: 'send-proxy-v2 proxy-v2-options crc32c,unique-id', types: [0x03, 0x05] },
] as const;

test.serial('a Unix server refuses and counts the TCP clients of HAProxy by their addresses', async (t) => {
  if (!installed(t, 'haproxy')) return;
  const back = path.join(directory(t), 'back');
  const blockList = new BlockList();
  blockList.addAddress('127.0.0.2');
  const errors: unknown[] = [];
  const options = { proxyProtocol: {}, blockList, maxConnectionsPerAddress: 1 };
  const onError = (error: unknown): void => void errors.push((error as { code?: unknown }).code);
  const server = new UnixStreamServer(echo, back, { ...options, onError });
  t.teardown(() => server.abort());
  await server.startServing();
  const port = await sparePort(t);
  await haproxy(t, `0.0.0.0:${port}`, `unix@${back} send-proxy-v2`);
  const first = await dialled(t, { port, host: '127.0.0.1' });
  first.write('first\n');
  t.is(String(((await once(first, 'data')) as [Buffer])[0]), 'first\n');
  for (const [host, answer] of Object.entries({ '127.0.0.1': '', '127.0.0.2': '', '127.0.0.3': 'next\n' })) {
    const socket = quiet(netConnect({ port, host: '127.0.0.1', localAddress: host, allowHalfOpen: true }));
    t.teardown(() => socket.destroy());
    socket.end('next\n');
    t.is((await gather(socket).catch(() => '')).toString(), answer, host);
  }
  t.deepEqual(errors, ['ECONNREFUSED', 'ECONNREFUSED']);
});

for (const { version, option, types } of VERSIONS) {
  for (const host of ['127.0.0.1', '::1']) {
    test.serial(`${option}: a client by ${host}, plain`, async (t) => {
      if (!installed(t, 'haproxy')) return;
      const infos: ProxyInfo[] = [];
      const { port, errors } = await serving(t, recording(infos), { proxyProtocol: { trusted: LOOPBACK } });
      const front = await sparePort(t);
      await haproxy(t, host === '::1' ? `[::1]:${front}` : `${host}:${front}`, `127.0.0.1:${port} ${option}`);
      for (const text of ['one\n', 'two\n'.repeat(50_000)]) {
        const socket = await dialled(t, { port: front, host });
        const family = host === '::1' ? 'IPv6' : 'IPv4';
        const source = { address: host, port: socket.localPort, family };
        socket.end(text);
        t.is((await gather(socket)).toString(), text);
        const info = infos.at(-1)!;
        t.like(info, { version, command: 'PROXY' });
        t.deepEqual(info.source as object, source);
        t.deepEqual(info.destination as object, { address: host, port: front, family });
        t.deepEqual(info.tlvs.map(({ type }) => type).sort(), [...types]);
        const id = info.tlvs.find(({ type }) => type === 0x05);
        if (types.length > 0) t.is(id?.value.toString(), `id-${host}`);
      }
      t.is(infos.length, 2);
      t.deepEqual(errors, []);
    });
  }

  test.serial(`${option}: TLS is passed through`, async (t) => {
    if (!installed(t, 'haproxy')) return;
    const { ca, server: identity } = await certificates();
    const infos: ProxyInfo[] = [];
    const options = { proxyProtocol: { trusted: LOOPBACK }, ssl: identity };
    const { port, errors } = await serving(t, recording(infos), options);
    const front = await sparePort(t);
    await haproxy(t, `127.0.0.1:${front}`, `127.0.0.1:${port} ${option}`);
    for (let i = 0; i < 5; i++) {
      const socket = await dialled(t, { port: front, host: '127.0.0.1' });
      const { localPort } = socket;
      const secured = quiet(tls.connect({ socket, ca, servername: 'localhost' }));
      await once(secured, 'secureConnect');
      secured.end('over TLS\n');
      t.is((await gather(secured)).toString(), 'over TLS\n');
      t.deepEqual(infos[i]?.source as object, { address: '127.0.0.1', port: localPort, family: 'IPv4' });
    }
    t.deepEqual(errors, []);
  });

  test.serial(`${option}: from a Unix socket to a Unix socket`, async (t) => {
    if (!installed(t, 'haproxy')) return;
    const folder = directory(t);
    const infos: ProxyInfo[] = [];
    const errors: unknown[] = [];
    const back = path.join(folder, 'back');
    const onError = (error: unknown): void => void errors.push(error);
    const server = new UnixStreamServer(recording(infos), back, { proxyProtocol: {}, onError });
    t.teardown(() => server.abort());
    await server.startServing();
    const front = path.join(folder, 'front');
    await haproxy(t, `unix@${front}`, `unix@${back} ${option}`);
    const socket = await dialled(t, { path: front });
    socket.end('local\n');
    t.is((await gather(socket)).toString(), 'local\n');
    // HAProxy does not announce paths.
    t.like(infos[0], { version, command: version === 2 ? 'LOCAL' : 'PROXY', source: null, destination: null });
    t.deepEqual(errors, []);

    // And a client that comes by TCP.
    const port = await sparePort(t);
    await haproxy(t, `127.0.0.1:${port}`, `unix@${back} ${option}`);
    const remote = await dialled(t, { port, host: '127.0.0.1' });
    const source = { address: '127.0.0.1', port: remote.localPort, family: 'IPv4' };
    remote.end('remote\n');
    t.is((await gather(remote)).toString(), 'remote\n');
    t.deepEqual(infos[1]?.source as object, source);
    t.deepEqual(errors, []);
  });

  for (const secure of [false, true]) {
    test.serial(
      `${option}: health checks ${secure ? 'of a TLS server' : 'of a plain server'} are not reported`,
      async (t) => {
        if (!installed(t, 'haproxy')) return;
        const { ca, server: identity } = await certificates();
        const infos: ProxyInfo[] = [];
        const ssl = secure ? identity : undefined;
        const { server, port, errors } = await serving(t, recording(infos), {
          ssl,
          proxyProtocol: { trusted: LOOPBACK },
        });
        let connections = 0;
        server.sockets[0]!.on('connection', () => connections++);
        const front = await sparePort(t);
        await haproxy(t, `127.0.0.1:${front}`, `127.0.0.1:${port} ${option} check check-send-proxy inter 20ms`);
        await until(() => connections >= 10);

        const socket = await dialled(t, { port: front, host: '127.0.0.1' });
        const { localPort } = socket;
        const isClient = ({ destination }: ProxyInfo): boolean => (destination as SocketAddress | null)?.port === front;
        const client = secure ? quiet(tls.connect({ socket, ca, servername: 'localhost' })) : socket;
        client.end('alive\n');
        t.is((await gather(client)).toString(), 'alive\n');
        // HAProxy resets a check as soon as it has sent the header, which may overtake it: then no handler is called.
        const [clients, checks] = [infos.filter(isClient), infos.filter((info) => !isClient(info))];
        t.deepEqual(
          clients.map(({ source }) => source as object),
          [{ address: '127.0.0.1', port: localPort, family: 'IPv4' }],
        );
        t.true(checks.every(({ command }) => command === (version === 2 ? 'LOCAL' : 'PROXY')));
        t.deepEqual(errors, []);
      },
    );
  }
}

test.serial(
  'a server without proxyProtocol gets the header as data, and HAProxy without send-proxy is refused',
  async (t) => {
    if (!installed(t, 'haproxy')) return;
    const { port, errors } = await serving(t, echo, { proxyProtocol: { trusted: LOOPBACK } });
    const front = await sparePort(t);
    await haproxy(t, `127.0.0.1:${front}`, `127.0.0.1:${port}`);
    const socket = await dialled(t, { port: front, host: '127.0.0.1' });
    socket.end('no header\n');
    t.is((await gather(socket).catch(() => Buffer.alloc(0))).length, 0);
    await until(() => errors.length > 0);
    t.is(errors[0]?.code, 'ERR_PROXY_HEADER');

    const plain = new StreamServer(echo, '127.0.0.1', 0);
    t.teardown(() => plain.abort());
    await plain.startServing();
    const other = await sparePort(t);
    const address = plain.sockets[0]!.address() as { port: number };
    await haproxy(t, `127.0.0.1:${other}`, `127.0.0.1:${address.port} send-proxy`);
    const client = await dialled(t, { port: other, host: '127.0.0.1' });
    const header = `PROXY TCP4 127.0.0.1 127.0.0.1 ${client.localPort} ${other}\r\n`;
    client.end('data\n');
    t.is((await gather(client)).toString(), `${header}data\n`);
  },
);
