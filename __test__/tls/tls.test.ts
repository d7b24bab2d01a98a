// Runs once for each way of reading: the engine makes no difference to streams.
import { once } from 'node:events';
import { connect as netConnect, createServer, type AddressInfo, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import tls, { type TLSSocket } from 'node:tls';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  IncompleteReadError,
  StreamServer,
  connect,
  type ClientHandler,
  type ConnectOptions,
  type StreamServerOptions,
} from 'sluice';
import { certificates } from '../certificates.js';
import { closedByPeer, deferred, dial, echo, listen, listenTls, serving, taking, until } from '../loopback.js';
import { Program } from '../program.js';

/** A TLS server of ours; `errors` collects its reports. */
async function serve(
  t: ExecutionContext,
  options: StreamServerOptions = {},
  handler: ClientHandler = echo,
): ReturnType<typeof serving> {
  const { server: ssl } = await certificates();
  return serving(t, handler, { ssl, ...options });
}

/** A TLS client of Node's. */
async function nodeClient(t: ExecutionContext, port: number, options: tls.ConnectionOptions = {}): Promise<TLSSocket> {
  const { ca } = await certificates();
  const socket = tls.connect({ host: '127.0.0.1', port, ca, ...options }).on('error', () => {});
  t.teardown(() => socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

/** Relays connections to `port` one byte at a time, in both directions. */
async function drip(t: ExecutionContext, port: number): Promise<number> {
  const relay = async (from: Socket, to: Socket): Promise<void> => {
    for await (const chunk of from as AsyncIterable<Buffer>) {
      for (const byte of chunk) to.write(Buffer.of(byte));
    }
    to.end();
  };
  const { port: entry } = await listen(t, (socket) => {
    const onward = netConnect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
    socket.setNoDelay(true);
    for (const [from, to] of [
      [socket, onward],
      [onward, socket],
    ] as const) {
      from.on('error', () => to.destroy());
      relay(from, to).catch(() => to.destroy());
    }
  });
  return entry;
}

test('both sides ours: lines, a large body, and the facts in getExtraInfo', async (t) => {
  const { ca } = await certificates();
  const facts = deferred<Record<string, unknown>>();
  const body = Buffer.alloc(3_000_000, 'abcdefg');
  const { port, errors } = await serve(t, {}, async (stream) => {
    facts.resolve({
      peercert: stream.getExtraInfo('peercert', 'none'),
      version: (stream.getExtraInfo('cipher') as { version: string }).version,
      peername: stream.getExtraInfo('peername'),
      context: stream.getExtraInfo('sslcontext') !== undefined,
      side: stream.isServerSide(),
      half: stream.canWriteEof(),
    });
    await stream.write(await stream.readline());
    await stream.write(await stream.readexactly(body.length));
  });
  const stream = await connect('localhost', port, { ssl: { ca } });
  await stream.write('hello\n');
  t.is(String(await stream.readline()), 'hello\n');
  const answer = stream.readexactly(body.length);
  await stream.write(body);
  t.true((await answer).equals(body));
  t.is(String(await stream.read()), '');

  const cipher = stream.getExtraInfo('cipher') as Record<string, string>;
  t.deepEqual(Object.keys(cipher).sort(), ['name', 'standardName', 'version']);
  const certificate = stream.getExtraInfo('peercert') as tls.PeerCertificate;
  t.is(certificate.subject.CN, 'localhost');
  t.true(stream.getExtraInfo('sslObject') instanceof tls.TLSSocket);
  t.is(stream.getExtraInfo('socket'), stream.getExtraInfo('sslObject'));
  t.is(typeof (stream.getExtraInfo('sslcontext') as tls.SecureContext).context, 'object');
  t.is((stream.getExtraInfo('peername') as AddressInfo).port, port);
  t.deepEqual(await facts.promise, {
    peercert: 'none',
    version: 'TLSv1.3',
    peername: stream.getExtraInfo('sockname'),
    context: true,
    side: true,
    half: false,
  });
  await stream.close();
  t.is((stream.getExtraInfo('cipher') as Record<string, string>).version, 'TLSv1.3');
  t.is((stream.getExtraInfo('peername') as AddressInfo).port, port);
  t.deepEqual(errors, []);
});

test('a handshake and data that arrive byte by byte', async (t) => {
  const { ca } = await certificates();
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    const { port, errors } = await serve(t);
    await using stream = await connect('127.0.0.1', await drip(t, port), { ssl: { ca, maxVersion } });
    await stream.write('one\ntwo\n');
    t.is(String(await stream.readline()), 'one\n');
    t.is(String(await stream.readline()), 'two\n');
    t.deepEqual(errors, []);
  }
});

test('ssl may be a SecureContext, on both sides', async (t) => {
  const { ca, server } = await certificates();
  const served = tls.createSecureContext(server);
  const context = deferred<unknown>();
  const { port, errors } = await serve(t, { ssl: served }, async (stream, given) => {
    context.resolve(stream.getExtraInfo('sslcontext'));
    await echo(stream, given);
  });
  const trusting = tls.createSecureContext({ ca });
  await using stream = await connect('127.0.0.1', port, { ssl: trusting });
  await stream.write('x\n');
  t.is(String(await stream.readline()), 'x\n');
  t.is(stream.getExtraInfo('sslcontext'), trusting);
  t.is(await context.promise, served);
  t.deepEqual(errors, []);
});

test('SNI: a name is sent and checked, an address is checked but not sent; ALPN is negotiated', async (t) => {
  const { ca, server, otherHost } = await certificates();
  const asked: string[] = [];
  const seen: unknown[] = [];
  const { port } = await serve(
    t,
    {
      ssl: {
        ...server,
        ALPNProtocols: ['sluice/2', 'sluice/1'],
        SNICallback: (name, done) => {
          asked.push(name);
          done(null, tls.createSecureContext(name === 'other.example' ? otherHost : server));
        },
      },
    },
    async (stream) => {
      const socket = stream.getExtraInfo('sslObject') as TLSSocket;
      seen.push([(socket as TLSSocket & { servername: unknown }).servername, socket.alpnProtocol]);
      await stream.write('\n');
    },
  );
  const names = async (host: string, options: ConnectOptions): Promise<unknown> => {
    await using stream = await connect(host, port, options);
    await stream.readline();
    return (stream.getExtraInfo('peercert') as tls.PeerCertificate).subject.CN;
  };
  t.is(await names('127.0.0.1', { ssl: { ca, ALPNProtocols: ['sluice/1'] } }), 'localhost');
  t.is(await names('localhost', { ssl: { ca } }), 'localhost');
  t.is(await names('127.0.0.1', { ssl: { ca }, serverHostname: 'other.example' }), 'other.example');
  t.deepEqual(asked, ['localhost', 'other.example']);
  t.deepEqual(seen, [
    [false, 'sluice/1'],
    ['localhost', false],
    ['other.example', false],
  ]);
});

test('an untrusted certificate is a typed error, and the server continues', async (t) => {
  const { ca, otherCa, expired, stranger, otherHost, server } = await certificates();
  const cases = [
    { name: 'wrong authority', ssl: stranger, trust: { ca }, code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
    { name: 'no authority', ssl: server, trust: true as const, code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
    { name: 'expired', ssl: expired, trust: { ca }, code: 'CERT_HAS_EXPIRED' },
    { name: 'another host', ssl: otherHost, trust: { ca }, code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    { name: 'its authority is trusted', ssl: stranger, trust: { ca: otherCa }, code: null },
    { name: 'not checked', ssl: expired, trust: { rejectUnauthorized: false }, code: null },
  ];
  for (const { name, ssl, trust, code } of cases) {
    const { port } = await serve(t, { ssl });
    if (code === null) {
      await using stream = await connect('localhost', port, { ssl: trust });
      await stream.write('x\n');
      t.is(String(await stream.readline()), 'x\n', name);
    } else {
      const error = await t.throwsAsync(connect('localhost', port, { ssl: trust }), {
        instanceOf: ConnectionError,
        code,
        message: /^connect localhost:\d+: TLS handshake with (127\.0\.0\.1|\[::1\]):\d+: ./,
      });
      t.true(error?.cause instanceof Error, name);
    }
  }
});

test('a server can require a client certificate, and reports one it refuses', async (t) => {
  const { ca, client, stranger } = await certificates();
  const { server } = await certificates();
  const { port, errors } = await serve(t, { ssl: { ...server, ca, requestCert: true } }, async (stream) => {
    await stream.write(`${String((stream.getExtraInfo('peercert') as tls.PeerCertificate).subject.CN)}\n`);
  });
  await using stream = await connect('127.0.0.1', port, { ssl: { ca, ...client } });
  t.is(String(await stream.readline()), 'a client\n');
  t.deepEqual(errors, []);

  // With TLS 1.3 a client is done before the server refuses it.
  for (const [identity, code] of [
    [stranger, 'UNABLE_TO_VERIFY_LEAF_SIGNATURE'],
    [{}, 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE'],
  ] as const) {
    errors.length = 0;
    await t.throwsAsync(
      async () => {
        await using refused = await connect('127.0.0.1', port, { ssl: { ca, maxVersion: 'TLSv1.2', ...identity } });
        await refused.readexactly(1);
      },
      { any: true },
    );
    await until(() => errors.length > 0);
    t.is(errors[0]?.code, code);
    t.regex(errors[0]?.message ?? '', /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: ./);
  }
});

test('garbage instead of a handshake is an error on that connection only', async (t) => {
  const { ca } = await certificates();
  const { port, errors } = await serve(t);
  await using before = await connect('127.0.0.1', port, { ssl: { ca } });
  const rude = await dial(t, port);
  const closed = closedByPeer(rude);
  rude.end('GET / HTTP/1.0\r\n\r\n');
  await closed;
  await until(() => errors.length > 0);
  t.true(errors[0] instanceof ConnectionError);
  t.is(errors[0]?.code, 'ERR_SSL_HTTP_REQUEST');
  t.regex(errors[0]?.message ?? '', /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: http request$/);
  await using after = await connect('127.0.0.1', port, { ssl: { ca } });
  for (const stream of [before, after]) {
    await stream.write('still\n');
    t.is(String(await stream.readline()), 'still\n');
  }

  const { port: plain } = await listen(t, (socket) => socket.write('220 welcome\r\n'));
  await t.throwsAsync(connect('127.0.0.1', plain, { ssl: true }), {
    instanceOf: ConnectionError,
    code: 'ERR_SSL_WRONG_VERSION_NUMBER',
    message: /^connect 127\.0\.0\.1:\d+: TLS handshake: wrong version number$/,
  });
});

test('a peer that stops during the handshake is ETIMEDOUT, on either side, and delays no other connection', async (t) => {
  const { ca } = await certificates();
  const silent = await listen(t);
  await t.throwsAsync(connect('127.0.0.1', silent.port, { ssl: true, sslHandshakeTimeout: 50 }), {
    instanceOf: ConnectionError,
    code: 'ETIMEDOUT',
    message: /^connect 127\.0\.0\.1:\d+: TLS handshake: timed out after 50 ms$/,
  });

  // The default timeout, which is long enough for the other handshake on every machine.
  const patient = await serve(t);
  const slow = await dial(t, patient.port);
  slow.write(Buffer.of(0x16, 3, 1));
  await using other = await connect('127.0.0.1', patient.port, { ssl: { ca } });
  await other.write('meanwhile\n');
  t.is(String(await other.readline()), 'meanwhile\n');
  t.deepEqual(patient.errors, []);

  const { port, errors } = await serve(t, { sslHandshakeTimeout: 50 });
  const stopped = await dial(t, port);
  const closed = closedByPeer(stopped);
  stopped.write(Buffer.of(0x16, 3, 1));
  await closed;
  await until(() => errors.length > 0);
  t.is(errors[0]?.code, 'ETIMEDOUT');
});

test('a peer that closes during the handshake is ECONNRESET', async (t) => {
  const { port } = await listen(t, (socket) => socket.once('data', () => socket.end()));
  await t.throwsAsync(connect('127.0.0.1', port, { ssl: true }), {
    instanceOf: ConnectionError,
    code: 'ECONNRESET',
    message: /the peer closed the connection$/,
  });
  const served = await serve(t);
  const quitter = await dial(t, served.port);
  quitter.resume().end(Buffer.of(0x16, 3, 1));
  await until(() => served.errors.length > 0);
  t.is(served.errors[0]?.code, 'ECONNRESET');
});

test('a signal ends the handshake', async (t) => {
  const aborting = new AbortController();
  const reason = new Error('enough');
  const gone = deferred();
  const { port } = await listen(t, (socket) => {
    socket.once('data', () => aborting.abort(reason)).once('close', () => gone.resolve());
    socket.once('end', () => socket.end());
  });
  t.is(await t.throwsAsync(connect('127.0.0.1', port, { ssl: true, signal: aborting.signal })), reason);
  await gone.promise;
});

test('closing the server ends unfinished handshakes, without a report', async (t) => {
  const { port, server, errors } = await serve(t);
  const taken = taking(server);
  const half = await dial(t, port);
  const closed = closedByPeer(half);
  half.write(Buffer.of(0x16, 3, 1));
  await taken;
  await server.close();
  half.end();
  await closed;
  t.deepEqual(errors, []);
});

test('handshakes count as connections', async (t) => {
  const { port, server, errors } = await serve(t, { maxConnections: 1 });
  const taken = taking(server);
  const first = await dial(t, port);
  await taken;
  const second = await dial(t, port);
  await closedByPeer(second);
  t.is(errors[0]?.code, 'ECONNREFUSED');
  first.destroy();
});

test('renegotiation ends only its own connection, with an error', async (t) => {
  const { ca } = await certificates();
  const failed = deferred<unknown>();
  const { port } = await serve(t, {}, async (stream) => {
    await stream.write(await stream.readline());
    await stream.read().then(failed.resolve, failed.resolve);
  });
  await using other = await connect('127.0.0.1', port, { ssl: { ca } });
  const client = await nodeClient(t, port, { maxVersion: 'TLSv1.2' });
  client.write('x\n');
  await once(client, 'data');
  const closed = once(client, 'close');
  client.renegotiate({}, () => {});
  await closed;
  const error = (await failed.promise) as ConnectionError;
  t.is(error.code, 'ERR_TLS_RENEGOTIATION_DISABLED');
  await other.write('y\n');
  t.is(String(await other.readline()), 'y\n');
});

test('EOF with and without close_notify is EOF; half a frame is an IncompleteReadError', async (t) => {
  const { server, ca } = await certificates();
  let ends = 0;
  const port = await listenTls(t, server, (socket, below) => {
    socket.write('whole\npart', () => {
      if (ends++ === 0) socket.end();
      else below.destroy();
    });
  });
  for (let i = 0; i < 2; i++) {
    await using stream = await connect('127.0.0.1', port, { ssl: { ca } });
    t.is(String(await stream.readline()), 'whole\n');
    const error = await t.throwsAsync(stream.readuntil('\n'), { instanceOf: IncompleteReadError });
    t.is(String(error?.partial), 'part');
  }
});

test('close sends the queue, and close_notify', async (t) => {
  const { server, ca } = await certificates();
  const data = Buffer.alloc(4_000_000, 'z');
  const received = deferred<number>();
  const port = await listenTls(t, server, (socket) => {
    let size = 0;
    socket.on('data', (chunk: Buffer) => (size += chunk.length)).on('end', () => received.resolve(size));
  });
  const stream = await connect('127.0.0.1', port, { ssl: { ca } });
  void stream.write(data);
  await stream.close();
  t.is(await received.promise, data.length);
});

test('invalid options are refused before anything is opened', async (t) => {
  const { server } = await certificates();
  const wrong: [ConnectOptions, string, RegExp][] = [
    [{ serverHostname: 'x' }, 'ERR_INVALID_ARG_TYPE', /serverHostname can only be used together with ssl/],
    [{ sslHandshakeTimeout: 5 }, 'ERR_INVALID_ARG_TYPE', /sslHandshakeTimeout can only be used together with ssl/],
    [{ ssl: true, sslHandshakeTimeout: 0 }, 'ERR_OUT_OF_RANGE', /sslHandshakeTimeout must be .* not 0/],
    [{ ssl: true, sslHandshakeTimeout: -1 }, 'ERR_OUT_OF_RANGE', /sslHandshakeTimeout/],
    [{ ssl: true, sslHandshakeTimeout: NaN }, 'ERR_OUT_OF_RANGE', /sslHandshakeTimeout/],
    [{ ssl: true, sslHandshakeTimeout: '5' as never }, 'ERR_INVALID_ARG_TYPE', /sslHandshakeTimeout/],
    [{ ssl: true, serverHostname: '' }, 'ERR_OUT_OF_RANGE', /serverHostname/],
    [{ ssl: true, serverHostname: 5 as never }, 'ERR_INVALID_ARG_TYPE', /serverHostname/],
    [{ ssl: 'yes' as never }, 'ERR_INVALID_ARG_TYPE', /ssl must be true, TLS options or a SecureContext/],
  ];
  for (const [options, code, message] of wrong) {
    await t.throwsAsync(connect('127.0.0.1', 9, options), { code, message });
  }
  const make = (options: StreamServerOptions) => () => new StreamServer(echo, '127.0.0.1', 0, options);
  t.throws(make({ sslHandshakeTimeout: 5 }), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(make({ ssl: server, sslHandshakeTimeout: 0 }), { code: 'ERR_OUT_OF_RANGE' });
  t.throws(make({ ssl: true as never }), { code: 'ERR_INVALID_ARG_TYPE' });
  t.throws(make({ ssl: {} }), { code: 'ERR_INVALID_ARG_TYPE', message: /with a certificate and its key/ });
  t.throws(make({ ssl: { cert: 'no PEM', key: 'no PEM' } }), { message: /PEM|no start line/i });
});

test('sock: TLS over a connected socket requires serverHostname', async (t) => {
  const { ca } = await certificates();
  const { port } = await serve(t);
  const socket = await dial(t, port);
  await t.throwsAsync(connect({ sock: socket, ssl: { ca } }), {
    code: 'ERR_INVALID_ARG_TYPE',
    message: /serverHostname/,
  });
  await using stream = await connect({ sock: socket, ssl: { ca }, serverHostname: 'localhost' });
  await stream.write('x\n');
  t.is(String(await stream.readline()), 'x\n');
});

test('sock: TLS over a Duplex', async (t) => {
  const { ca } = await certificates();
  const { port, errors } = await serve(t);
  const socket = await dial(t, port);
  const sock = new Duplex({
    read: () => socket.resume(),
    write: (chunk: Buffer, _encoding, done) => void socket.write(chunk, () => done()),
    final: (done) => void socket.end(() => done()),
    destroy(error, done) {
      socket.destroy();
      done(error);
    },
  });
  socket.on('data', (chunk: Buffer) => {
    if (!sock.push(chunk)) socket.pause();
  });
  socket.on('end', () => sock.push(null));
  const stream = await connect({ sock, ssl: { ca }, serverHostname: 'localhost' });
  const data = Buffer.alloc(500_000, 'line\n');
  const answer = stream.readexactly(data.length);
  await stream.write(data);
  t.true((await answer).equals(data));
  await stream.close();
  t.true(socket.destroyed);
  t.deepEqual(errors, []);
});

test('a process whose handshakes failed in several ways ends by itself', async (t) => {
  const { code, stdout, stderr } = await new Program(t, fileURLToPath(new URL('./tls-failures.js', import.meta.url)))
    .ended;
  t.is(stderr, '');
  const codes =
    'ETIMEDOUT ECONNRESET ERR_SSL_WRONG_VERSION_NUMBER UNABLE_TO_VERIFY_LEAF_SIGNATURE ' +
    'ERR_OF_CALLBACK ERR_OSSL_PEM_NO_START_LINE ECONNRESET ERR_SSL_LATE no name enough ETIMEDOUT';
  t.is(stdout, `${codes}\n`);
  t.is(code, 0);
});

test('a listener that accepts and resets is ECONNRESET', async (t) => {
  const server = createServer((socket) => socket.on('error', () => {}).resetAndDestroy());
  t.teardown(() => server.close());
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  await t.throwsAsync(connect('127.0.0.1', (server.address() as AddressInfo).port, { ssl: true }), {
    code: 'ECONNRESET',
  });
});
