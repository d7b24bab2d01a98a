/** Which connections a server admits: blockList, maxConnectionsPerAddress and accept. */
// Runs once: it is about which connections are accepted, before anything is read.
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { BlockList, connect as netConnect, createServer, type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import { inspect } from 'node:util';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StreamServer,
  UnixStreamServer,
  connect,
  type ClientHandler,
  type ConnectOptions,
  type Peer,
  type Stream,
  type StreamServerOptions,
} from 'sluice';
import { Admission, Refusal, RefusalReports, ipPeer, type AddressCount } from '#ts/server/admission.js';
import { certificates } from '../certificates.js';
import { openFds, unixPath } from '../fifo.js';
import { closedByPeer, deferred, echo, gather, portOf, quiet, serving, until } from '../loopback.js';

type Report = Error & { readonly code?: string };

/** A server on all of 127.0.0.0/8. */
async function guarded(
  t: ExecutionContext,
  options: StreamServerOptions,
  handler: ClientHandler = echo,
): Promise<{ server: StreamServer; port: number; errors: Report[] }> {
  const errors: Report[] = [];
  const onError = (error: unknown): void => void errors.push(error as Report);
  const server = new StreamServer(handler, '0.0.0.0', 0, { onError, ...options });
  t.teardown(() => server.abort());
  await server.startServing();
  return { server, port: portOf(server), errors };
}

/** A plain connection to 127.0.0.1 from an address of this machine. */
async function dialFrom(t: ExecutionContext, from: string, port: number): Promise<Socket> {
  const host = from.includes(':') ? '::1' : '127.0.0.1';
  const socket = quiet(netConnect({ port, host, localAddress: from, allowHalfOpen: true }));
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** Connects from an address. */
async function streamFrom(from: string, port: number, options: ConnectOptions = {}): Promise<Stream> {
  const host = from.includes(':') ? '::1' : '127.0.0.1';
  return connect(host, port, { localAddr: [from, 0], ...options });
}

/** Whether a connection from the address is answered; it is closed again. */
async function isServed(from: string, port: number, options: ConnectOptions = {}): Promise<boolean> {
  let stream: Stream | null = null;
  try {
    stream = await streamFrom(from, port, options);
    await stream.write('ping\n');
    return String(await stream.readline()) === 'ping\n';
  } catch (error) {
    if (!(error instanceof ConnectionError)) throw error;
    return false;
  } finally {
    await stream?.abort();
  }
}

/** Connects until the server has noticed that earlier connections are over, serves this one, and notices its end. */
async function eventually(
  t: ExecutionContext,
  from: string,
  server: StreamServer,
  options?: ConnectOptions,
): Promise<void> {
  let served = false;
  for (let tries = 0; tries < 1000 && !served; tries++) served = await isServed(from, portOf(server), options);
  t.true(served, `${from} is never served`);
  await until(() => inspect(server).includes('clients: 0'));
}

/** Expects that the server closes a connection from the address without sending anything. */
async function refuses(t: ExecutionContext, from: string, port: number): Promise<void> {
  const socket = await dialFrom(t, from, port);
  t.is((await gather(socket).catch(() => Buffer.alloc(0))).length, 0);
}

/** The options with and without TLS, and those of their clients. */
async function sides(): Promise<[string, StreamServerOptions, ConnectOptions][]> {
  const { ca, server } = await certificates();
  return [
    ['TCP', {}, {}],
    ['TLS', { ssl: server }, { ssl: { ca }, serverHostname: 'localhost' }],
  ];
}

// ------------------------------------------------------------------------------------------------ blockList

test('a connection from an address in the blockList is closed before the handshake and the handler', async (t) => {
  for (const [kind, options, client] of await sides()) {
    const blockList = new BlockList();
    blockList.addAddress('127.0.0.9');
    blockList.addSubnet('127.3.0.0', 16);
    const handled: unknown[] = [];
    const { port, errors } = await guarded(t, { ...options, blockList }, async (stream, context) => {
      handled.push((stream.getExtraInfo('peername') as AddressInfo).address);
      await echo(stream, context);
    });
    // Without a byte from this side: a handshake would wait for one.
    await refuses(t, '127.0.0.9', port);
    await refuses(t, '127.3.4.5', port);
    t.false(await isServed('127.0.0.9', port, client), kind);
    t.true(await isServed('127.0.0.1', port, client), kind);
    t.deepEqual(handled, ['127.0.0.1'], kind);
    t.like(errors[0], { name: 'ConnectionError', code: 'ECONNREFUSED' });
    t.regex(errors[0]?.message ?? '', /^StreamServer: refused 127\.0\.0\.9:\d+: it is in the blockList$/);
  }
});

test('rules that are added later count for new connections, not for open ones', async (t) => {
  const blockList = new BlockList();
  const { port } = await guarded(t, { blockList });
  const open = await streamFrom('127.0.0.9', port);
  await open.write('one\n');
  t.is(String(await open.readline()), 'one\n');
  blockList.addAddress('127.0.0.9');
  t.false(await isServed('127.0.0.9', port));
  await open.write('two\n');
  t.is(String(await open.readline()), 'two\n');
  await open.close();
});

test('the blockList matches IPv6 addresses, and rules for IPv4 match the IPv6 form of an address', async (t) => {
  const blockList = new BlockList();
  blockList.addRange('127.0.0.5', '127.0.0.9');
  const seen: Peer[] = [];
  const sock = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  await once(sock.listen({ port: 0, host: '::', ipv6Only: false }), 'listening');
  const { port } = sock.address() as AddressInfo;
  const errors: Report[] = [];
  await using server = new StreamServer(echo, null, 0, {
    sock,
    blockList,
    accept: (peer) => seen.push(peer) > 0,
    onError: (error) => void errors.push(error as Report),
  });
  await server.startServing();
  await refuses(t, '127.0.0.7', port);
  t.regex(errors[0]?.message ?? '', /^StreamServer: refused 127\.0\.0\.7:\d+: it is in the blockList$/);
  t.true(await isServed('127.0.0.4', port));
  t.true(await isServed('::1', port));
  t.deepEqual(
    seen.map(({ address, family }) => [address, family]),
    [
      ['127.0.0.4', 'IPv4'],
      ['::1', 'IPv6'],
    ],
  );
  blockList.addSubnet('::', 64, 'ipv6');
  await refuses(t, '::1', port);
});

// ------------------------------------------------------------------------------------------------ maxConnectionsPerAddress

test('an address has at most maxConnectionsPerAddress connections, others are served meanwhile', async (t) => {
  for (const [kind, options, client] of await sides()) {
    const { port, errors } = await guarded(t, { ...options, maxConnectionsPerAddress: 2 });
    const [first, second] = await Promise.all([
      streamFrom('127.0.0.2', port, client),
      streamFrom('127.0.0.2', port, client),
    ]);
    await refuses(t, '127.0.0.2', port);
    t.true(await isServed('127.0.0.3', port, client), kind);
    for (const stream of [first, second]) {
      await stream.write('still here\n');
      t.is(String(await stream.readline()), 'still here\n', kind);
    }
    t.is(errors[0]?.code, 'ECONNREFUSED');
    const message = errors[0]?.message ?? '';
    t.regex(message, /^StreamServer: refused 127\.0\.0\.2:\d+: there are 2 from 127\.0\.0\.2 already, and /);
    t.regex(message, /and maxConnectionsPerAddress is 2$/);
    await first.close();
    for (let served = false; !served;) served = await isServed('127.0.0.2', port, client);
    await second.close();
  }
});

test('a connection counts until its stream is closed and its handler has settled, however both happen', async (t) => {
  for (const [kind, options, client] of await sides()) {
    const blocked = deferred();
    const handler: ClientHandler = async (stream, context) => {
      const line = String(await stream.readline());
      if (line === 'ping\n') {
        await stream.write(line);
        await echo(stream, context);
      } else if (line === 'throw\n') throw new Error('on purpose');
      else if (line === 'abort\n') await stream.abort();
      else if (line === 'close\n') await stream.close();
      else if (line === 'settle\n') return;
      else if (line === 'block\n') await blocked.promise;
    };
    const { server, port } = await guarded(t, { ...options, maxConnectionsPerAddress: 1 }, handler);
    for (const line of ['throw\n', 'abort\n', 'close\n', 'settle\n']) {
      const stream = await streamFrom('127.0.0.2', port, client);
      await stream.write(line);
      await stream.read().catch(() => null);
      await stream.abort();
      await eventually(t, '127.0.0.2', server, client);
    }
    const closed = await streamFrom('127.0.0.2', port, client);
    await until(() => inspect(server).includes('clients: 1'));
    server.abortClients();
    await closed.read().catch(() => null);
    await closed.abort();
    await eventually(t, '127.0.0.2', server, client);

    const running = await streamFrom('127.0.0.2', port, client);
    await running.write('block\n');
    await running.abort();
    t.false(await isServed('127.0.0.2', port, client), `${kind}: the handler is still running`);
    blocked.resolve();
    await eventually(t, '127.0.0.2', server, client);
  }
});

test('a plain handler that has returned counts until its stream is closed', async (t) => {
  const streams: Stream[] = [];
  const { port } = await guarded(t, { maxConnectionsPerAddress: 1 }, (stream) => {
    streams.push(stream);
    void stream.write('hello\n');
  });
  const first = await streamFrom('127.0.0.2', port);
  t.is(String(await first.readline()), 'hello\n');
  await refuses(t, '127.0.0.2', port);
  await streams[0]?.close();
  await first.close();
  for (;;) {
    const again = await streamFrom('127.0.0.2', port);
    const greeted = String(await again.readline().catch(() => '')) === 'hello\n';
    await again.abort();
    if (greeted) break;
  }
  t.is(streams.length, 2);
});

test('a connection in a TLS handshake counts, and no longer when the handshake has failed', async (t) => {
  const { ca, server: ssl } = await certificates();
  const client = { ssl: { ca }, serverHostname: 'localhost' };
  const { server, port } = await guarded(t, { ssl, maxConnectionsPerAddress: 1 });
  for (const end of ['garbage', 'reset', 'end'] as const) {
    const silent = await dialFrom(t, '127.0.0.2', port);
    t.false(await isServed('127.0.0.2', port, client), end);
    t.true(await isServed('127.0.0.3', port, client), end);
    if (end === 'garbage') silent.write('GET / HTTP/1.1\r\n\r\n');
    else if (end === 'reset') silent.resetAndDestroy();
    else silent.end();
    if (end !== 'reset') await closedByPeer(silent);
    silent.destroy();
    await eventually(t, '127.0.0.2', server, client);
  }
});

test('connections that wait for startServing count', async (t) => {
  const errors: Report[] = [];
  const server = new StreamServer(echo, '0.0.0.0', 0, {
    maxConnectionsPerAddress: 1,
    onError: (error) => void errors.push(error as Report),
  });
  t.teardown(() => server.abort());
  await server.bind();
  const port = portOf(server);
  const first = await streamFrom('127.0.0.2', port);
  const other = await streamFrom('127.0.0.3', port);
  await refuses(t, '127.0.0.2', port);
  await server.startServing();
  await refuses(t, '127.0.0.2', port);
  for (const stream of [first, other]) {
    await stream.write('ping\n');
    t.is(String(await stream.readline()), 'ping\n');
    await stream.close();
  }
  await eventually(t, '127.0.0.2', server);
  t.like(errors[0], { code: 'ECONNREFUSED' });
});

test('connections that are reset before they are accepted are not counted', async (t) => {
  for (const [kind, options, client] of await sides()) {
    const accepted: Peer[] = [];
    const { server, port } = await guarded(t, {
      ...options,
      maxConnectionsPerAddress: 1,
      blockList: new BlockList(),
      accept: (peer) => accepted.push(peer) > 0,
    });
    const program = `
      const { connect } = require('node:net');
      let left = 20;
      for (let i = left; i > 0; i--) {
        const socket = connect({ port: ${port}, host: '127.0.0.1', localAddress: '127.0.0.2' }, () => {
          socket.resetAndDestroy();
          if (--left === 0) process.exit();
        });
      }`;
    // Meanwhile this process accepts nothing.
    execFileSync(process.execPath, ['-e', program]);
    await eventually(t, '127.0.0.2', server, client);
    t.true(await isServed('127.0.0.3', port, client), kind);
    t.true(accepted.every(({ address }) => address.startsWith('127.0.0.')));
  }
});

test('a flood from one address leaves the others served, and gives its descriptors back', async (t) => {
  let most = 0;
  let open = 0;
  const { server, port } = await guarded(t, { maxConnectionsPerAddress: 5 }, async (stream, context) => {
    const flooding = (stream.getExtraInfo('peername') as AddressInfo).address === '127.0.0.2';
    if (flooding) most = Math.max(most, ++open);
    try {
      await echo(stream, context);
    } finally {
      if (flooding) open--;
    }
  });
  t.true(await isServed('127.0.0.3', port));
  await until(() => inspect(server).includes('clients: 0'));
  const before = openFds();
  const flood = Promise.all(Array.from({ length: 300 }, () => dialFrom(t, '127.0.0.2', port)));
  for (let i = 0; i < 10; i++) t.true(await isServed(`127.0.0.${10 + i}`, port));
  const sockets = await flood;
  const gone = Promise.all(sockets.map(closedByPeer));
  t.true(await isServed('127.0.0.3', port));
  t.true(most >= 1 && most <= 5, String(most));
  for (const socket of sockets) socket.end();
  await gone;
  for (const socket of sockets) socket.destroy();
  await until(() => inspect(server).includes('clients: 0'));
  if (before !== null) await until(() => (openFds() ?? 0) <= before);
  await eventually(t, '127.0.0.2', server);
});

// ------------------------------------------------------------------------------------------------ accept

test('accept gets the address of the peer, and false closes the connection before anything else', async (t) => {
  for (const [kind, options, client] of await sides()) {
    const seen: Peer[] = [];
    let handled = 0;
    const hook = function (this: unknown, peer: Peer, ...more: unknown[]): boolean {
      t.is(this, undefined);
      t.deepEqual(more, []);
      seen.push(peer);
      return peer.address !== '127.0.0.2';
    };
    const { port, errors } = await guarded(t, { ...options, accept: hook }, async (stream, context) => {
      handled++;
      await echo(stream, context);
    });
    const refused = await dialFrom(t, '127.0.0.2', port);
    const { localPort } = refused;
    t.is((await gather(refused).catch(() => Buffer.alloc(0))).length, 0, kind);
    t.deepEqual(seen, [{ address: '127.0.0.2', family: 'IPv4', port: localPort }]);
    t.is(errors[0]?.code, 'ECONNREFUSED');
    t.is(errors[0]?.message, `StreamServer: refused 127.0.0.2:${localPort}: accept has returned false`);
    t.is(handled, 0);
    t.true(await isServed('127.0.0.1', port, client), kind);
    t.is(handled, 1);
  }
});

test('accept gets an IPv6 address, and is not called for connections that another option refuses', async (t) => {
  const seen: string[] = [];
  const blockList = new BlockList();
  blockList.addAddress('127.0.0.9');
  const errors: Report[] = [];
  const options = {
    blockList,
    maxConnections: 2,
    maxConnectionsPerAddress: 1,
    accept: ({ address, family }: Peer) => seen.push(`${family} ${address}`) > 0,
    onError: (error: unknown) => void errors.push(error as Report),
  };
  const server = new StreamServer(echo, ['0.0.0.0', '::1'], 0, options);
  t.teardown(() => server.abort());
  await server.startServing();
  const port = portOf(server);
  await refuses(t, '127.0.0.9', port);
  const first = await streamFrom('::1', port);
  await first.write('ping\n');
  await first.readline();
  await refuses(t, '::1', port);
  const second = await streamFrom('127.0.0.2', port);
  await second.write('ping\n');
  await second.readline();
  await refuses(t, '127.0.0.3', port);
  t.deepEqual(seen, ['IPv6 ::1', 'IPv4 127.0.0.2']);
  t.regex(errors[1]?.message ?? '', /: refused \[::1\]:\d+: there is 1 from 0:0:0:0::\/64 already, /);
  t.regex(errors[2]?.message ?? '', /maxConnections is 2$/);
  await first.close();
  await second.close();
});

test('a failing accept refuses the connection, is reported, and the server continues', async (t) => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  t.teardown(() => process.off('unhandledRejection', note));
  const failure = new Error('no answer from the hook');
  const cases: [string, (peer: Peer) => unknown, RegExp][] = [
    [
      'throws',
      () => {
        throw failure;
      },
      /^no answer from the hook$/,
    ],
    ['undefined', () => undefined, /^accept: the result must be true or false, not undefined$/],
    ['truthy', () => 1, /^accept: the result must be true or false, not 1$/],
    ['promise', async () => Promise.resolve(true), /^accept: .* not a promise: the hook must decide without waiting$/],
    ['rejects', () => Promise.reject(failure), /^accept: .* not a promise: the hook must decide without waiting$/],
  ];
  for (const [name, hook, message] of cases) {
    let handled = 0;
    const accept = (peer: Peer): boolean => (peer.address === '127.0.0.2' ? (hook(peer) as boolean) : true);
    const { port, errors } = await guarded(t, { accept }, async (stream, context) => {
      handled++;
      await echo(stream, context);
    });
    await refuses(t, '127.0.0.2', port);
    t.is(handled, 0, name);
    t.is(errors.length, 1, name);
    t.regex(errors[0]?.message ?? '', message, name);
    if (name === 'throws') t.is(errors[0], failure);
    else t.is(errors[0]?.code, 'ERR_INVALID_ARG_TYPE', name);
    t.true(await isServed('127.0.0.1', port), name);
  }
  t.deepEqual(unhandled, []);
});

test('accept may close the server: the connection is dropped, and nothing is left open', async (t) => {
  const serverOf: { server?: StreamServer } = {};
  let handled = 0;
  let closing: Promise<unknown> | undefined;
  const { server, port } = await guarded(
    t,
    {
      maxConnectionsPerAddress: 1,
      accept: () => {
        closing = serverOf.server?.close();
        return true;
      },
    },
    () => {
      handled++;
    },
  );
  serverOf.server = server;
  await refuses(t, '127.0.0.2', port);
  await closing;
  t.is(handled, 0);
  t.false(server.isBound());
});

test('accept of a Unix server gets a peer without an address', async (t) => {
  const seen: Peer[] = [];
  const errors: Report[] = [];
  const file = unixPath(t);
  let admit = false;
  await using server = new UnixStreamServer(echo, file, {
    accept: (peer) => seen.push(peer) > 0 && admit,
    onError: (error) => void errors.push(error as Report),
  });
  await server.startServing();
  const dial = async (): Promise<Socket> => {
    const socket = quiet(netConnect({ path: file, allowHalfOpen: true }));
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  t.is((await gather(await dial()).catch(() => '')).length, 0);
  admit = true;
  const socket = await dial();
  socket.end('ping\n');
  t.is(String(await gather(socket)), 'ping\n');
  const peer = { address: '', family: 'Unix', port: 0 };
  t.deepEqual<unknown[], unknown[]>(seen, [peer, peer]);
  t.like(errors[0], { code: 'ECONNREFUSED' });
  t.is(errors[0]?.message, 'UnixStreamServer: refused a connection: accept has returned false');
});

// ------------------------------------------------------------------------------------------------ reports

test.serial(
  'a flood is reported once in an interval, with the number of refusals that were not reported',
  async (t) => {
    const { now } = performance;
    t.teardown(() => {
      performance.now = now;
    });
    let time = 1_000_000;
    performance.now = () => time;
    const blockList = new BlockList();
    blockList.addAddress('127.0.0.2');
    let hooked = 0;
    const { port, errors } = await guarded(t, {
      blockList,
      accept({ address }) {
        hooked++;
        if (address === '127.0.0.3') throw new Error('on purpose');
        return address !== '127.0.0.4';
      },
    });
    for (let i = 0; i < 10; i++) for (const last of [2, 3, 4]) await refuses(t, `127.0.0.${last}`, port);
    t.is(hooked, 20);
    t.deepEqual(
      errors.map(({ message }) => message.replace(/:\d+/, ':PORT')),
      [
        'StreamServer: refused 127.0.0.2:PORT: it is in the blockList',
        'on purpose',
        'StreamServer: refused 127.0.0.4:PORT: accept has returned false',
      ],
    );
    time += 1000;
    await refuses(t, '127.0.0.2', port);
    t.regex(errors[3]?.message ?? '', /: it is in the blockList \(and 9 more since the last report\)$/);
  },
);

test.serial('without onError, refusals are warnings of one line, and a failing accept has its stack', async (t) => {
  const warnings: (Error & { code?: string; detail?: string })[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  const printers = process.listeners('warning');
  process.removeAllListeners('warning').on('warning', note);
  t.teardown(() => {
    process.off('warning', note);
    for (const printer of printers) process.on('warning', printer);
  });
  const blockList = new BlockList();
  blockList.addAddress('127.0.0.2');
  const { server, port } = await guarded(t, {
    onError: undefined,
    blockList,
    accept() {
      throw new Error('on purpose');
    },
  });
  for (let i = 0; i < 4; i++) await refuses(t, '127.0.0.2', port);
  await refuses(t, '127.0.0.1', port);
  await server.close();
  /** The refusals in warnings with a count: one when the server closes, or more if this process was stopped for a second. */
  const counted = (): number =>
    warnings.slice(1).reduce((sum, { message }) => sum + Number(/(\d+) ECONNREFUSED/.exec(message)?.[1] ?? 0), 0);
  await until(() => warnings.length > 1 && counted() >= 3);
  t.is(counted(), 3);
  const [refused] = warnings;
  t.is(refused?.code, 'ECONNREFUSED');
  t.regex(refused?.message ?? '', /^StreamServer: refused 127\.0\.0\.2:\d+: it is in the blockList$/);
  t.is(refused?.detail, undefined);
  const stacked = warnings.filter(({ detail }) => detail !== undefined);
  t.is(stacked.length, 1);
  t.regex(stacked[0]?.message ?? '', /^StreamServer: accept of 127\.0\.0\.1:\d+ failed: on purpose$/);
  t.regex(stacked[0]?.detail ?? '', /admission\.test/);
});

test('reports: the first of each kind, then one in a second, with the number of those left out', (t) => {
  let time = 0;
  const reports = new RefusalReports(() => time);
  t.is(reports.due('blockList'), 0);
  t.is(reports.due('blockList'), null);
  t.is(reports.due('accept'), 0);
  time = 999;
  t.is(reports.due('blockList'), null);
  time = 1000;
  t.is(reports.due('blockList'), 2);
  t.is(reports.due('blockList'), null);
  time = 5000;
  t.is(reports.due('blockList'), 1);
  t.is(reports.due('accept'), 0);
});

// ------------------------------------------------------------------------------------------------ counting

/** Admits a peer with the address. */
function admit(admission: Admission, address: string): AddressCount | null | Refusal {
  return admission.admit(ipPeer(address, 1234));
}

test('IPv6 addresses are counted by /64 in any notation, and IPv4 addresses in IPv6 form as IPv4', (t) => {
  const same: [string, string][] = [
    ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff'],
    ['2001:db8:1:2::1', '2001:0DB8:0001:0002:0:0:0:9'],
    ['2001:db8::1', '2001:db8:0:0:1::'],
    ['::1', '::2'],
    ['::1', '0:0:0:0:1:2:3:4'],
    ['1:2:3:4:5:6:7:8', '1:2:3:4::'],
    ['fe80::1%eth0', 'fe80::2%eth1'],
    ['64:ff9b::192.0.2.1', '64:ff9b::192.0.2.2'],
    ['192.0.2.1', '::ffff:192.0.2.1'],
    ['192.0.2.1', '::FFFF:c000:201'],
    ['192.0.2.1', '0:0:0:0:0:ffff:192.0.2.1'],
  ];
  const different: [string, string][] = [
    ['2001:db8:1:2::1', '2001:db8:1:3::1'],
    ['2001:db8:1:2::1', '2001:db8:1::2:1'],
    ['::1:0:0:0:1', '::1'],
    ['192.0.2.1', '192.0.2.2'],
    ['::ffff:192.0.2.1', '::ffff:192.0.2.2'],
    ['::ffff:192.0.2.1', '::1'],
    ['::192.0.2.1', '192.0.2.1'],
    ['1::ffff:192.0.2.1', '192.0.2.1'],
  ];
  for (const [one, other] of [...same, ...same.map(([a, b]) => [b, a] as const)]) {
    const admission = new Admission({ maxConnectionsPerAddress: 1 });
    t.false(admit(admission, one) instanceof Refusal);
    t.true(admit(admission, other) instanceof Refusal, `${one} and ${other}`);
  }
  for (const [one, other] of different) {
    const admission = new Admission({ maxConnectionsPerAddress: 1 });
    t.false(admit(admission, one) instanceof Refusal);
    t.false(admit(admission, other) instanceof Refusal, `${one} and ${other}`);
  }
});

test('a peer has its IPv4 address, also if it was announced in IPv6 form', (t) => {
  t.deepEqual(ipPeer('::ffff:192.0.2.1', 5), { address: '192.0.2.1', family: 'IPv4', port: 5 });
  t.deepEqual(ipPeer('192.0.2.1', 5), { address: '192.0.2.1', family: 'IPv4', port: 5 });
  t.deepEqual(ipPeer('fe80::1%lo', 5), { address: 'fe80::1%lo', family: 'IPv6', port: 5 });
});

test('rules for IPv4 refuse the IPv6 form of an address, and an address with a zone is checked without it', (t) => {
  const blockList = new BlockList();
  blockList.addAddress('192.0.2.1');
  blockList.addSubnet('198.51.100.0', 24);
  blockList.addRange('203.0.113.1', '203.0.113.9');
  blockList.addAddress('fe80::1', 'ipv6');
  const admission = new Admission({ blockList });
  for (const listed of ['192.0.2.1', '198.51.100.77', '203.0.113.5']) {
    for (const address of [listed, `::ffff:${listed}`]) t.true(admit(admission, address) instanceof Refusal, address);
  }
  t.true(admit(admission, 'fe80::1%eth0') instanceof Refusal);
  for (const address of ['192.0.2.2', '::ffff:192.0.2.2', 'fe80::2%eth0', '2001:db8::1']) {
    t.is(admit(admission, address), null, address);
  }
});

test('counts take no memory for addresses without open connections', (t) => {
  const admission = new Admission({ maxConnectionsPerAddress: 2, accept: ({ address }) => !address.endsWith('9') });
  const counts: (AddressCount | null | Refusal)[] = [];
  for (let i = 0; i < 1000; i++) {
    counts.push(admit(admission, `10.0.${i % 256}.1`), admit(admission, `2001:db8:0:${(i % 256).toString(16)}::1`));
  }
  t.is(admission.addresses, 512);
  // Refused connections are not counted.
  t.is(counts.filter((count) => count instanceof Refusal).length, 2000 - 1024);
  t.true(admit(admission, '192.0.2.9') instanceof Refusal);
  t.is(admission.addresses, 512);
  for (const count of counts) if (!(count instanceof Refusal)) admission.release(count);
  t.is(admission.addresses, 0);
  admission.release(null);
  t.false(admit(admission, '10.0.0.1') instanceof Refusal);
});

// ------------------------------------------------------------------------------------------------ options

test('invalid options are refused', async (t) => {
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  const expected = 'an integer of 1 or more, or Infinity';
  const cases: [unknown, typeof type | typeof range, string][] = [
    [{ blockList: ['10.0.0.0/8'] }, type, 'StreamServer: blockList must be a net.BlockList, not an array of 1'],
    [{ blockList: null }, type, 'StreamServer: blockList must be a net.BlockList, not null'],
    [{ maxConnectionsPerAddress: 0 }, range, `StreamServer: maxConnectionsPerAddress must be ${expected}, not 0`],
    [{ maxConnectionsPerAddress: 1.5 }, range, `StreamServer: maxConnectionsPerAddress must be ${expected}, not 1.5`],
    [{ maxConnectionsPerAddress: '1' }, type, `StreamServer: maxConnectionsPerAddress must be ${expected}, not "1"`],
    [{ accept: true }, type, 'StreamServer: accept must be a function, not true'],
  ];
  for (const [options, error, message] of cases) {
    t.throws(() => new StreamServer(echo, '127.0.0.1', 0, options as StreamServerOptions), { ...error, message });
  }
  const given = { blockList: undefined, maxConnectionsPerAddress: Infinity, accept: undefined };
  const { port } = await serving(t, echo, given);
  t.true(await isServed('127.0.0.1', port));
  for (const [name, value] of [
    ['blockList', new BlockList()],
    ['maxConnectionsPerAddress', 1],
    ['maxConnectionsPerAddress', Infinity],
  ] as const) {
    t.throws(() => new UnixStreamServer(echo, '/tmp/never-bound', { [name]: value }), {
      ...type,
      message: `UnixStreamServer: ${name} cannot be used without proxyProtocol: the peer of a Unix socket has no address`,
    });
  }
});

test('a TLS client of an address over its limit gets no answer to its handshake', async (t) => {
  const { ca, server: ssl } = await certificates();
  const { port } = await guarded(t, { ssl, maxConnectionsPerAddress: 1 });
  const first = await streamFrom('127.0.0.2', port, { ssl: { ca }, serverHostname: 'localhost' });
  const second = tls.connect({
    host: '127.0.0.1',
    port,
    localAddress: '127.0.0.2',
    ca,
    servername: 'localhost',
  } as never);
  const failure = deferred<Error>();
  second.once('error', failure.resolve).on('error', () => {});
  t.is(((await failure.promise) as Report).code, 'ECONNRESET');
  await first.close();
});
