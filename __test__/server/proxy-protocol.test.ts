/** PROXY headers read from accepted sockets, before TLS and the handler. */
// Runs once for each way of reading: both engines receive the same bytes.
import { once } from 'node:events';
import { BlockList, connect as netConnect, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import tls from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StreamServer,
  UnixStreamServer,
  connect,
  type ClientHandler,
  type Peer,
  type ProxyInfo,
  type Stream,
  type StreamServerOptions,
  type Transport,
} from 'sluice';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import {
  closedByPeer,
  deferred,
  dial,
  echo,
  gather,
  portOf,
  quiet,
  serving,
  taking,
  turns,
  until,
} from '../loopback.js';
import { CLIENT, IPV6, LOCAL, TARGET, V1, tlv, v2, withChecksum } from './proxy-headers.js';

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');
LOOPBACK.addAddress('::1', 'ipv6');

/** A server that expects headers from any loopback address. */
function behind(
  t: ExecutionContext,
  handler: ClientHandler,
  options: StreamServerOptions = {},
  timeout?: number,
): ReturnType<typeof serving> {
  return serving(t, handler, { proxyProtocol: { trusted: LOOPBACK, timeout }, ...options });
}

const never: ClientHandler = () => {
  throw new Error('the handler was called');
};

/** Sends pieces so that the server receives each by itself. */
async function send(socket: Socket, pieces: readonly (Uint8Array | string)[]): Promise<void> {
  socket.setNoDelay(true);
  for (const piece of pieces) {
    await new Promise((done) => socket.write(piece, done));
    await turns(3);
  }
}

/** Each way of cutting bytes in two, and all bytes one by one. */
function cuts(bytes: Buffer): Buffer[][] {
  const all = [[bytes], Array.from(bytes, (_, i) => bytes.subarray(i, i + 1))];
  for (let i = 1; i < bytes.length; i++) all.push([bytes.subarray(0, i), bytes.subarray(i)]);
  return all;
}

const V2 = withChecksum({ tlvs: tlv(0x02, 'example.org') });
const VERSIONS: [name: string, header: Buffer][] = [
  ['version 1', Buffer.from(V1)],
  ['version 2', V2],
];

function proxyOf(stream: Stream): ProxyInfo {
  return stream.getExtraInfo('proxy') as ProxyInfo;
}

// --- The header and the bytes after it

for (const [name, header] of VERSIONS) {
  test.serial(`${name}: header and data may be cut anywhere, and the handler receives exactly the data`, async (t) => {
    const received: string[] = [];
    const { port, errors } = await behind(t, async (stream) => {
      t.deepEqual(proxyOf(stream).source as object, CLIENT);
      const { readPath } = stream.transport as Transport & { readPath: string };
      t.is(readPath, process.env['SLUICE_READS'] === 'data' ? 'data' : 'direct');
      const data = await stream.read();
      t.is(stream.bytesRead, data.length);
      received.push(data.toString());
      await stream.write(data);
    });
    const plans = cuts(Buffer.concat([header, Buffer.from('data\n')]));
    for (const pieces of plans) {
      const socket = await dial(t, port);
      const answer = gather(socket);
      await send(socket, pieces);
      socket.end();
      t.is((await answer).toString(), 'data\n');
    }
    t.deepEqual(received, Array<string>(plans.length).fill('data\n'));
    t.deepEqual(errors, []);
  });

  test.serial(`${name}: the handler is called when the header is complete, before any data`, async (t) => {
    const called = deferred<Stream>();
    const { port } = await behind(t, async (stream) => {
      called.resolve(stream);
      await echo(stream, undefined as never);
    });
    const socket = await dial(t, port);
    await send(socket, [header.subarray(0, -1)]);
    let early = true;
    void called.promise.then(() => t.false(early));
    await turns(10);
    early = false;
    await send(socket, [header.subarray(-1)]);
    const stream = await called.promise;
    t.is(stream.buffered, 0);
    socket.end('hello\n');
    t.is((await gather(socket)).toString(), 'hello\n');
  });

  test.serial(`${name}: megabytes of pipelined data arrive complete, with back-pressure`, async (t) => {
    const data = Buffer.alloc(4_000_000);
    for (let i = 0; i < data.length; i += 4) data.writeUInt32BE(i, i);
    const { port, errors } = await behind(
      t,
      async (stream) => {
        // More than 2 * limit arrives together with the header before anything is read.
        await turns(20);
        t.true(stream.buffered < 200_000);
        const pieces: Buffer[] = [];
        for (;;) {
          const piece = await stream.read(10_000);
          if (piece.length === 0) break;
          pieces.push(piece);
        }
        t.true(Buffer.concat(pieces).equals(data));
        await stream.write('done');
      },
      { limit: 1000 },
    );
    const socket = await dial(t, port);
    socket.end(Buffer.concat([header, data]));
    t.is((await gather(socket)).toString(), 'done');
    t.deepEqual(errors, []);
  });

  test.serial(`${name}: TLS after the header, in the same segment, cut, or later`, async (t) => {
    const { ca, server: identity } = await certificates();
    const seen: [unknown, unknown][] = [];
    const { port, errors } = await behind(
      t,
      async (stream) => {
        seen.push([proxyOf(stream).source, (stream.getExtraInfo('peername') as { address: string }).address]);
        t.true(stream.getExtraInfo('cipher') !== undefined);
        await echo(stream, undefined as never);
      },
      { ssl: identity },
    );
    const wholes = [1, 7, header.length - 1, header.length, header.length + 1, header.length + 5, header.length + 100];
    for (const cut of [...wholes, Infinity]) {
      const socket = await dial(t, port);
      const secured = quiet(tls.connect({ socket: prefixed(socket, header, cut), ca, servername: 'localhost' }));
      await once(secured, 'secureConnect');
      secured.end('over TLS\n');
      t.is((await gather(secured)).toString(), 'over TLS\n');
      socket.destroy();
    }
    t.deepEqual(seen, Array(wholes.length + 1).fill([CLIENT, '127.0.0.1']));
    t.deepEqual(errors, []);
  });
}

/** Sends the header before the first bytes, all in one write or cut at `cut`. */
function prefixed(socket: Socket, header: Buffer, cut: number): Duplex {
  let first = true;
  const duplex = new Duplex({
    read() {
      socket.resume();
    },
    write(chunk: Buffer, _encoding, done) {
      const bytes = first ? Buffer.concat([header, chunk]) : chunk;
      const at = first ? Math.min(cut, bytes.length) : bytes.length;
      first = false;
      void send(socket, at === bytes.length ? [bytes] : [bytes.subarray(0, at), bytes.subarray(at)]).then(() => done());
    },
    final(done) {
      socket.end(done);
    },
  });
  socket.on('data', (chunk) => {
    if (!duplex.push(chunk)) socket.pause();
  });
  socket.once('end', () => duplex.push(null));
  return duplex;
}

test.serial('after startTls, the stream still knows what was announced', async (t) => {
  const { ca, server: identity } = await certificates();
  const { port, errors } = await behind(t, async (stream) => {
    t.is((await stream.readline()).toString(), 'STARTTLS\n');
    const upgrade = stream.startTls(identity);
    await upgrade;
    await stream.write(`${JSON.stringify(proxyOf(stream).source)}\n`);
  });
  await using stream = await connect('127.0.0.1', port);
  await stream.write(`${V1}STARTTLS\n`);
  await stream.startTls({ ca }, { serverHostname: 'localhost' });
  t.deepEqual(JSON.parse((await stream.readline()).toString()), CLIENT);
  t.deepEqual(errors, []);
});

// --- What is announced

test.serial('getExtraInfo and messages: the client, and the proxy that announced it', async (t) => {
  const infos: ProxyInfo[] = [];
  const { port, errors } = await behind(t, async (stream) => {
    infos.push(proxyOf(stream));
    const peer = stream.getExtraInfo('peername') as { address: string };
    t.is(peer.address, '127.0.0.1');
    await stream.readline();
    throw new Error('out of luck');
  });
  const peers: string[] = [];
  for (const header of [V1, V2, v2({ kind: 0x21, addresses: IPV6 }), 'PROXY UNKNOWN\r\n', LOCAL]) {
    const socket = await dial(t, port);
    peers.push(`127.0.0.1:${socket.localPort}`);
    const gone = closedByPeer(socket);
    await send(socket, [header, 'line\n']);
    await gone;
  }
  t.deepEqual(infos[0], { version: 1, command: 'PROXY', source: CLIENT, destination: TARGET, tlvs: [] } as ProxyInfo);
  t.is(infos[1]?.version, 2);
  t.deepEqual(
    infos[1]?.tlvs.map(({ type, value }) => [type, value.length]),
    [
      [2, 11],
      [3, 4],
    ],
  );
  t.deepEqual(infos[4], { version: 2, command: 'LOCAL', source: null, destination: null, tlvs: [] } as ProxyInfo);
  t.true(Object.isFrozen(infos[1]) && Object.isFrozen(infos[1]?.tlvs));
  await until(() => errors.length === 5);
  t.deepEqual(
    errors.map(({ message }) => message),
    Array<string>(5).fill('out of luck'),
  );
});

test.serial('without onError, a warning names the client and the proxy', async (t) => {
  const { port } = await behind(
    t,
    async (stream) => {
      t.regex(String(stream.getExtraInfo('proxy') !== undefined), /true/);
      await stream.readexactly(10);
    },
    { onError: undefined },
  );
  const warned = once(process, 'warning') as Promise<[Error]>;
  const socket = await dial(t, port);
  const name = `203.0.113.7:50123 via 127.0.0.1:${socket.localPort}`;
  socket.end(`${V1}four`);
  const [warning] = await warned;
  t.is(warning.message, `StreamServer: the handler of ${name} failed: readexactly(10): 4 bytes read before EOF`);
});

test.serial('a connection that breaks is reported with the client and the proxy', async (t) => {
  const { port, errors } = await behind(t, async (stream) => {
    await stream.readline();
  });
  const socket = await dial(t, port);
  const name = `203.0.113.7:50123 via 127.0.0.1:${socket.localPort}`;
  await send(socket, [V1]);
  socket.resetAndDestroy();
  await until(() => errors.length > 0);
  t.is(errors[0]?.code, 'ECONNRESET');
  t.regex(errors[0]?.message ?? '', new RegExp(`^read ${name}: `));
});

test.serial('without the option, a header is data, and there is no proxy', async (t) => {
  const { port } = await serving(t, async (stream) => {
    t.is(stream.getExtraInfo('proxy'), undefined);
    await stream.write(await stream.readline());
  });
  const socket = await dial(t, port);
  socket.end(V1);
  t.is((await gather(socket)).toString(), V1);
});

// --- What is refused

test.serial(
  'a malformed header, or a cut one, ends the connection without a byte, a handler or a handshake',
  async (t) => {
    const { server: identity } = await certificates();
    for (const ssl of [undefined, identity]) {
      const { port, errors } = await behind(t, never, { ssl });
      const cases: [bytes: Buffer | string, message: RegExp][] = [
        ['GET / HTTP/1.1\r\n\r\n', /is malformed: byte 0 is 0x47/],
        [Buffer.from([0x16, 3, 1]), /is malformed: byte 0 is 0x16/],
        ['PROXY TCP4 203.0.113.7 192.0.2.1 50123 65536\r\n', /is malformed: a port is above 65535/],
        [`PROXY ${'x'.repeat(101)}`, /is malformed: it is longer than 107 bytes/],
        [v2({ length: 3 }), /is malformed: it announces 3 bytes/],
        [v2({ kind: 0x12 }), /is malformed: it announces datagrams/],
        [v2({ tlvs: tlv(3, 'zero') }), /is malformed: its checksum is wrong/],
      ];
      for (const [bytes, expected] of cases) {
        const before = errors.length;
        const socket = await dial(t, port);
        const received: Buffer[] = [];
        socket.on('data', (chunk) => received.push(chunk));
        const [gone, name] = [closedByPeer(socket), `127.0.0.1:${socket.localPort}`];
        await send(socket, [bytes]);
        await gone;
        t.deepEqual(received, []);
        t.is(errors.length, before + 1, String(expected));
        const error = errors.at(-1)!;
        t.true(error instanceof ConnectionError);
        t.is(error.code, 'ERR_PROXY_HEADER');
        t.true(error.message.startsWith(`StreamServer: the PROXY header of ${name} `), error.message);
        t.regex(error.message, expected);
      }
    }
  },
);

for (const [name, header] of VERSIONS) {
  test.serial(`${name}: a connection that ends within the header is reported once, at whatever byte`, async (t) => {
    const { port, errors } = await behind(t, never);
    for (let i = 1; i < header.length; i++) {
      for (const how of ['end', 'resetAndDestroy'] as const) {
        const socket = await dial(t, port);
        await send(socket, [header.subarray(0, i)]);
        socket[how]();
        await until(() => errors.length > 0);
        const [error] = errors.splice(0);
        t.is(error?.code, 'ERR_PROXY_HEADER');
        // If the reset overtakes the bytes, the system drops them.
        const before = how === 'end' ? `${i} byte` : '\\d+ byte';
        t.regex(error?.message ?? '', new RegExp(`is incomplete: ${before}s? received, then `));
        socket.destroy();
      }
    }
    await turns(20);
    t.deepEqual(errors, []);
  });
}

test.serial('a connection that closes without a byte is neither reported nor passed to the handler', async (t) => {
  const { server, port, errors } = await behind(t, never);
  for (const how of ['end', 'destroy', 'resetAndDestroy'] as const) {
    const taken = taking(server);
    const socket = await dial(t, port);
    await taken;
    await turns(3);
    socket[how]();
    if (how === 'end') await closedByPeer(socket);
  }
  await turns(20);
  t.deepEqual(errors, []);
  t.deepEqual(await connectionsOf(server), 0);
});

function connectionsOf(server: StreamServer | UnixStreamServer): Promise<number> {
  return new Promise((resolve, reject) => {
    server.sockets[0]!.getConnections((error, n) => (error === null ? resolve(n) : reject(error)));
  });
}

test.serial(
  'a peer that is not trusted is disconnected before it is read; the list may change while the server runs',
  async (t) => {
    const trusted = new BlockList();
    trusted.addAddress('127.0.0.2');
    const { port, errors } = await behind(t, echo, { proxyProtocol: { trusted } });
    const socket = await dial(t, port);
    const name = `127.0.0.1:${socket.localPort}`;
    const received = gather(socket).catch(() => Buffer.alloc(0));
    socket.write(`${V1}data\n`);
    t.is((await received).length, 0);
    await until(() => errors.length > 0);
    t.is(errors.length, 1);
    t.is(errors[0]?.code, 'ERR_PROXY_UNTRUSTED');
    t.is(errors[0]?.message, `StreamServer: refused a connection from ${name}: it is not a trusted proxy`);

    trusted.addAddress('127.0.0.1');
    const next = await dial(t, port);
    next.end(`${V1}data\n`);
    t.is((await gather(next)).toString(), 'data\n');
    t.is(errors.length, 1);
  },
);

test.serial('an IPv4 proxy is trusted on an IPv6 socket that accepts both', async (t) => {
  const trusted = new BlockList();
  trusted.addAddress('127.0.0.1');
  const { createServer } = await import('node:net');
  const sock = createServer({ pauseOnConnect: true });
  sock.listen(0, '::');
  await once(sock, 'listening');
  const server = new StreamServer(echo, null, 0, { sock, proxyProtocol: { trusted } });
  t.teardown(() => server.abort());
  await server.startServing();
  const socket = await dial(t, portOf(server));
  socket.end(`${V1}data\n`);
  t.is((await gather(socket)).toString(), 'data\n');
});

test.serial(
  'a header that does not arrive in time ends the connection; data that arrives does not extend the time',
  async (t) => {
    const { server, port, errors } = await behind(t, never, {}, 100);
    const silent = await dial(t, port);
    const slow = await dial(t, port);
    let stop = false;
    const dripping = (async () => {
      for (let i = 0; !stop; i++) {
        slow.write('PROXY UNKNOWN '[i] ?? 'x');
        await new Promise((done) => setTimeout(done, 20));
      }
    })();
    await Promise.all([closedByPeer(silent), closedByPeer(slow)]);
    stop = true;
    await dripping;
    await until(() => errors.length === 2);
    t.deepEqual(
      errors.map(({ code }) => code),
      ['ETIMEDOUT', 'ETIMEDOUT'],
    );
    t.deepEqual(
      errors.map(({ message }) =>
        /header of 127\.0\.0\.1:\d+ timed out after 100 ms: (0|[1-9]\d*) bytes? received$/.test(message),
      ),
      [true, true],
    );
    t.is(await connectionsOf(server), 0);
  },
);

test.serial('the timeout ends with the header: a connection that is silent afterwards stays open', async (t) => {
  const { port, errors } = await behind(t, echo, {}, 50);
  const first = await dial(t, port);
  await send(first, [V1]);
  // The deadline of the second is later than that of the first.
  const second = await dial(t, port);
  await closedByPeer(second);
  await until(() => errors.length === 1);
  first.end('still here\n');
  t.is((await gather(first)).toString(), 'still here\n');
});

test.serial(
  'a process that was busy for longer than the timeout still finds the header that arrived meanwhile',
  async (t) => {
    const { server, port, errors } = await behind(t, echo, {}, 50);
    const taken = taking(server);
    const socket = await dial(t, port);
    await taken;
    socket.end(`${V1}data\n`);
    const busyUntil = performance.now() + 200;
    while (performance.now() < busyUntil);
    t.is((await gather(socket)).toString(), 'data\n');
    t.deepEqual(errors, []);
  },
);

// --- The server

test.serial('a peer that sends no header delays no other, and counts against maxConnections', async (t) => {
  const { server, port, errors } = await behind(t, echo, { maxConnections: 3 });
  const silent = [await dial(t, port), await dial(t, port)];
  const third = await dial(t, port);
  third.write(`${V1}one\n`);
  const [one] = (await once(third, 'data')) as [Buffer];
  t.is(one.toString(), 'one\n');

  const refused = await dial(t, port);
  await closedByPeer(refused);
  await until(() => errors.length === 1);
  t.regex(errors[0]!.message, /refused a connection: there are 3 already/);

  // One that fails makes room.
  silent[0]!.write('x');
  await closedByPeer(silent[0]!);
  await until(() => errors.length === 2);
  const next = await dial(t, port);
  next.end(`${V1}two\n`);
  t.is((await gather(next)).toString(), 'two\n');
  t.is(await connectionsOf(server), 2);
});

for (const how of ['close', 'abort'] as const) {
  test.serial(`${how}() ends connections that wait for their header, and reports nothing`, async (t) => {
    const { server: identity } = await certificates();
    for (const ssl of [undefined, identity]) {
      const { server, port, errors } = await behind(t, never, { ssl });
      const sockets = [await dial(t, port), await dial(t, port), await dial(t, port)];
      await until(() => sockets.every((socket) => socket.readyState === 'open'));
      await send(sockets[1]!, ['PROXY TCP4']);
      await send(sockets[2]!, [V2.subarray(0, 20)]);
      const gone = sockets.map(closedByPeer);
      await server[how]();
      await Promise.all(gone);
      await turns(10);
      t.deepEqual(errors, []);
    }
  });
}

test.serial('close() in the moment between the header and the handler ends the connection', async (t) => {
  const { server, port, errors } = await behind(t, never);
  const accepted = once(server.sockets[0]!, 'connection') as Promise<[Socket]>;
  const socket = await dial(t, port);
  await accepted;
  const gone = closedByPeer(socket);
  // The server closes in the same turn in which it reads the header.
  const { nextTick } = process;
  t.teardown(() => (process.nextTick = nextTick));
  const closed = deferred();
  process.nextTick = ((callback: (...args: unknown[]) => void, ...args: unknown[]) => {
    if (String(new Error().stack).includes('HeaderWait.feed')) {
      process.nextTick = nextTick;
      void server.close().then(() => closed.resolve());
    }
    nextTick(callback, ...args);
  }) as typeof nextTick;
  socket.write(`${V1}data\n`);
  await closed.promise;
  await gone;
  t.deepEqual(errors, []);
});

test.serial('connections made between bind and startServing wait with their header', async (t) => {
  const server = new StreamServer(echo, '127.0.0.1', 0, { proxyProtocol: { trusted: LOOPBACK } });
  t.teardown(() => server.abort());
  await server.bind();
  const socket = await dial(t, portOf(server));
  socket.end(`${V1}early\n`);
  await turns(10);
  await server.startServing();
  t.is((await gather(socket)).toString(), 'early\n');
});

test.serial('a handler that throws at once aborts its connection with the data after the header', async (t) => {
  const { port, errors } = await behind(t, () => {
    throw new Error('no');
  });
  const socket = await dial(t, port);
  const gone = closedByPeer(socket);
  socket.write(`${V1}data\n`);
  await gone;
  await until(() => errors.length > 0);
  t.is(errors[0]?.message, 'no');
});

test.serial('a handler that does not read leaves nothing behind: the stream is flushed and closed', async (t) => {
  const { port, errors } = await behind(t, async (stream) => {
    await stream.write('bye');
  });
  for (const data of ['', 'unread', 'x'.repeat(50_000)]) {
    const socket = await dial(t, port);
    const answer = gather(socket);
    socket.write(`${V1}${data}`);
    t.is((await answer).toString(), 'bye');
    socket.end();
  }
  t.deepEqual(errors, []);
});

test.serial(
  'a health check (LOCAL, UNKNOWN, or the proxy itself) that ends without a byte reports nothing, with and without TLS',
  async (t) => {
    const { server: identity } = await certificates();
    for (const ssl of [undefined, identity]) {
      let calls = 0;
      let checks = 0;
      const { server, port, errors } = await behind(
        t,
        async (stream) => {
          calls++;
          await stream.readexactly(1);
        },
        { ssl },
      );
      for (const how of ['end', 'resetAndDestroy'] as const) {
        for (const kind of ['LOCAL', 'cut', 'UNKNOWN', 'itself'] as const) {
          const socket = await dial(t, port);
          const pieces = {
            LOCAL: [LOCAL],
            cut: [LOCAL.subarray(0, 5), LOCAL.subarray(5)],
            UNKNOWN: ['PROXY UNKNOWN\r\n'],
            itself: [`PROXY TCP4 127.0.0.1 127.0.0.1 ${socket.localPort} ${port}\r\n`],
          };
          await send(socket, pieces[kind]);
          checks++;
          if (ssl === undefined) await until(() => calls === checks);
          else await turns(10);
          socket[how]();
          socket.resume();
          await until(() => socket.closed);
        }
      }
      while ((await connectionsOf(server)) > 0) await turns(1);
      await turns(10);
      t.deepEqual(errors, []);
      if (ssl === undefined) t.is(calls, 8);

      // One that sends something is like any other connection.
      const socket = await dial(t, port);
      const gone = closedByPeer(socket);
      await send(socket, [LOCAL]);
      socket.end('x');
      await gone;
      if (ssl === undefined) {
        t.is(calls, 9);
        t.deepEqual(errors, []);
      } else {
        await until(() => errors.length === 1);
        t.regex(errors[0]!.message, /TLS handshake with 127\.0\.0\.1/);
      }
    }
  },
);

test.serial('a failed handshake after a PROXY header names the client and the proxy', async (t) => {
  const { server: identity } = await certificates();
  const { port, errors } = await behind(t, never, { ssl: identity });
  const socket = await dial(t, port);
  const name = `203.0.113.7:50123 via 127.0.0.1:${socket.localPort}`;
  socket.end(`${V1}no TLS`);
  await until(() => errors.length > 0);
  t.is(errors.length, 1);
  t.true(errors[0]!.message.includes(`TLS handshake with ${name}`));
});

for (const secure of [false, true]) {
  test(`maxAge includes the header: one that stays away or stops in the middle is reported once (${secure ? 'TLS' : 'TCP'})`, async (t) => {
    const ssl = secure ? (await certificates()).server : undefined;
    const streams: unknown[] = [];
    const errors: (Error & { code?: string })[] = [];
    const onError = (error: unknown, stream: Stream | null): void => {
      errors.push(error as Error);
      streams.push(stream);
    };
    const { server, port } = await behind(t, never, { ssl, maxAge: 200, maxConnections: 1, onError }, 2 ** 31 - 1);
    for (const pieces of [[], [V1.slice(0, 10)], [V1]]) {
      // With TLS, a handshake that never begins follows the header. Otherwise the handler would be called.
      if (pieces[0] === V1 && !secure) continue;
      const before = errors.length;
      const socket = await dial(t, port);
      const end = closedByPeer(socket);
      await send(socket, pieces);
      await end;
      await until(() => errors.length > before);
      await turns(5);
      t.is(errors.length, before + 1, 'once, and the next one is not refused');
      t.is(errors[before]?.code, 'ERR_MAX_AGE');
      t.regex(errors[before]?.message ?? '', /^maxAge: the connection with .*127\.0\.0\.1:\d+ is older than 200 ms$/);
    }
    t.true(streams.every((stream) => stream === null));
    t.deepEqual(await server.close({ drain: Infinity }), { finished: 0, cutOff: 0 });
  });
}

// --- Unix sockets, options

test.serial('a Unix server trusts every peer that can connect', async (t) => {
  const file = unixPath(t);
  const errors: unknown[] = [];
  const server = new UnixStreamServer(
    async (stream) => {
      t.deepEqual(proxyOf(stream).source as object, CLIENT);
      t.is(stream.getExtraInfo('sockname'), file);
      await echo(stream, undefined as never);
    },
    file,
    { proxyProtocol: {}, onError: (error) => void errors.push(error) },
  );
  t.teardown(() => server.abort());
  await server.startServing();
  for (const header of [Buffer.from(V1), V2]) {
    for (const pieces of cuts(Buffer.concat([header, Buffer.from('x\n')])).slice(0, 12)) {
      const socket = quiet(netConnect({ path: file, allowHalfOpen: true }));
      t.teardown(() => socket.destroy());
      const answer = gather(socket);
      await send(socket, pieces);
      socket.end();
      t.is((await answer).toString(), 'x\n');
    }
  }
  t.deepEqual(errors, []);
  const bad = quiet(netConnect(file));
  bad.write('nonsense');
  await closedByPeer(bad);
  await until(() => errors.length > 0);
  t.is((errors[0] as Error).message.slice(0, 59), 'UnixStreamServer: the PROXY header of a connection is malfo');
});

test.serial('invalid options throw', (t) => {
  const tcp = (proxyProtocol: unknown): StreamServer =>
    new StreamServer(never, null, 0, { proxyProtocol: proxyProtocol as never });
  const unix = (proxyProtocol: unknown): UnixStreamServer =>
    new UnixStreamServer(never, '/nowhere', { proxyProtocol: proxyProtocol as never });
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  t.throws(() => tcp(true), { ...type, message: 'StreamServer: proxyProtocol must be an object, not true' });
  t.throws(() => tcp(null), { ...type, message: /proxyProtocol must be an object, not null/ });
  t.throws(() => tcp({}), { ...type, message: /proxyProtocol\.trusted must be a net\.BlockList of the proxies/ });
  t.throws(() => tcp({ trusted: ['127.0.0.1'] }), { ...type, message: /not an array of 1/ });
  t.throws(() => tcp({ trusted: LOOPBACK, timeout: '5' }), { ...type, message: /proxyProtocol\.timeout must be/ });
  for (const timeout of [0, -1, NaN, Infinity, 2 ** 31]) {
    const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE', message: /proxyProtocol\.timeout must be/ };
    t.throws(() => tcp({ trusted: LOOPBACK, timeout }), range);
    t.throws(() => unix({ timeout }), range);
  }
  t.throws(() => unix({ trusted: LOOPBACK }), { ...type, message: /proxyProtocol\.trusted is only for TCP/ });
  t.notThrows(() => tcp(undefined));
  t.notThrows(() => unix({}));
  const limits = { proxyProtocol: {}, maxConnectionsPerAddress: 0 };
  t.throws(() => new UnixStreamServer(never, '/nowhere', limits), { message: /maxConnectionsPerAddress must be/ });
});

// --- Together with the other options of the edge

/** A v1 header of a client with this address. */
function announcing(address: string): string {
  return `PROXY TCP4 ${address} 192.0.2.1 50000 443\r\n`;
}

interface Behind {
  readonly dialled: () => Promise<Socket>;
  readonly errors: (Error & { readonly code?: string })[];
}

type ClientOptions = Pick<StreamServerOptions, 'accept' | 'blockList' | 'maxConnectionsPerAddress'>;

async function behindTcp(t: ExecutionContext, handler: ClientHandler, options: ClientOptions): Promise<Behind> {
  const { port, errors } = await behind(t, handler, options);
  return { dialled: () => dial(t, port), errors };
}

async function behindUnix(t: ExecutionContext, handler: ClientHandler, options: ClientOptions): Promise<Behind> {
  const file = unixPath(t);
  const errors: Error[] = [];
  const onError = (error: unknown): void => void errors.push(error as Error);
  const server = new UnixStreamServer(handler, file, { proxyProtocol: {}, onError, ...options });
  t.teardown(() => server.abort());
  await server.startServing();
  const dialled = async (): Promise<Socket> => {
    const socket = quiet(netConnect({ path: file, allowHalfOpen: true }));
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  return { dialled, errors };
}

for (const kind of ['TCP', 'Unix'] as const) {
  test(`${kind}: blockList, maxConnectionsPerAddress and accept concern the announced client, not the proxy`, async (t) => {
    const blockList = new BlockList();
    blockList.addAddress('203.0.113.1', 'ipv4');
    // The proxy itself is refused by no rule for clients.
    blockList.addAddress('127.0.0.1', 'ipv4');
    const asked: string[] = [];
    const accept = ({ address, port }: Peer): boolean => {
      asked.push(`${address} ${port}`);
      return address !== '203.0.113.2';
    };
    const options = { blockList, maxConnectionsPerAddress: 1, accept };
    const { dialled, errors } = await (kind === 'TCP' ? behindTcp : behindUnix)(t, echo, options);
    const answers = async (header: string): Promise<string> => {
      const socket = await dialled();
      socket.end(`${header}hello\n`);
      return (await gather(socket)).toString();
    };
    const first = await dialled();
    first.write(`${announcing('203.0.113.3')}hello\n`);
    t.is(String(((await once(first, 'data')) as [Buffer])[0]), 'hello\n');
    t.is(await answers(announcing('203.0.113.1')), '');
    t.is(await answers(announcing('203.0.113.2')), '');
    t.is(await answers(announcing('203.0.113.3')), '');
    t.is(await answers(announcing('203.0.113.4')), 'hello\n');
    first.end();
    await closedByPeer(first);
    // The place is free once the server has seen the end of the first connection.
    while ((await answers(announcing('203.0.113.3'))) === '') await turns(1);
    t.deepEqual(asked.slice(0, 3), ['203.0.113.3 50000', '203.0.113.2 50000', '203.0.113.4 50000']);
    const refused = errors.map(({ message }) => message);
    t.true(refused.some((message) => message.includes('203.0.113.1:50000')));
    t.true(refused.some((message) => message.includes('maxConnectionsPerAddress is 1')));
    t.true(errors.every(({ code }) => code === 'ECONNREFUSED'));
  });
}

test('a connection for which a proxy announces no client is not refused by rules for clients', async (t) => {
  const { port, errors } = await behind(t, echo, { accept: () => false });
  const socket = await dial(t, port);
  socket.end(Buffer.concat([LOCAL, Buffer.from('hello\n')]));
  t.is((await gather(socket)).toString(), 'hello\n');
  t.deepEqual(errors, []);
});

test('close({ drain }) waits for a header that has begun, and serves what follows', async (t) => {
  const { server, port, errors } = await behind(t, echo, { accept: () => true });
  const socket = await dial(t, port);
  const answer = gather(socket);
  await send(socket, [V1.slice(0, 10)]);
  const closing = server.close({ drain: Infinity });
  await turns(10);
  socket.write(`${V1.slice(10)}hello\n`);
  t.is((await answer).toString(), 'hello\n');
  t.deepEqual(await closing, { finished: 1, cutOff: 0 });
  t.deepEqual(errors, []);
});

test('close({ drain }) ends when the last header has failed', async (t) => {
  const { server, port, errors } = await behind(t, never);
  const socket = await dial(t, port);
  await send(socket, [V1.slice(0, 10)]);
  const closing = server.close({ drain: Infinity });
  socket.end('nonsense');
  t.deepEqual(await closing, { finished: 0, cutOff: 0 });
  t.is(errors.length, 1);
});
