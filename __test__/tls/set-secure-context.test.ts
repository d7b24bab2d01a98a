/** Exchanging the certificate of a running server. */
// Runs once: how TLS is read makes no difference to handshakes; tls.test.ts and decrypted-reads.test.ts have each way of reading.
import { X509Certificate, generateKeyPairSync } from 'node:crypto';
import { connect as netConnect } from 'node:net';
import { createSecureContext, type ConnectionOptions, type DetailedPeerCertificate, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { ConnectionError, StreamServer, UnixStreamServer, connect, connectUnix, type Stream } from 'sluice';
import { certificates, type Identity } from '../certificates.js';
import { unixPath } from '../fifo.js';
import {
  closedByPeer,
  deferred,
  dial,
  echo,
  listen,
  portOf,
  quiet,
  serving,
  taking,
  turns,
  until,
} from '../loopback.js';

/** The fingerprint of a certificate. */
function printOf({ cert }: Identity): string {
  return new X509Certificate(cert).fingerprint256;
}

/** The fingerprint of the certificate that the server has presented. */
function presented(stream: Stream): string {
  return (stream.getExtraInfo('peercert') as DetailedPeerCertificate).fingerprint256;
}

/** Connects without a check of the certificate: the test compares fingerprints. */
function client(port: number, options: ConnectionOptions = {}): Promise<Stream> {
  return connect('127.0.0.1', port, {
    ssl: { rejectUnauthorized: false, ...options },
    serverHostname: 'localhost',
  });
}

async function answers(stream: Stream): Promise<boolean> {
  await stream.write('ping\n');
  return String(await stream.readline()) === 'ping\n';
}

/** Relays one connection to `port`, but only the first `bytes` bytes of the client until `open` is called. */
async function gate(t: ExecutionContext, port: number, bytes: number): Promise<{ entry: number; open: () => void }> {
  const opened = deferred();
  const { port: entry } = await listen(t, (socket) => {
    const onward = quiet(netConnect({ port, host: '127.0.0.1', noDelay: true }));
    t.teardown(() => onward.destroy());
    onward.pipe(socket);
    socket.once('data', (chunk: Buffer) => {
      socket.pause();
      onward.write(chunk.subarray(0, bytes));
      void opened.promise.then(() => {
        onward.write(chunk.subarray(bytes));
        socket.pipe(onward);
      });
    });
  });
  return { entry, open: opened.resolve };
}

test('new handshakes use the new certificate, established connections continue with the old one', async (t) => {
  const { server: old, otherHost: renewed } = await certificates();
  const { server, port, errors } = await serving(t, echo, { ssl: old });
  const before = await client(port);
  t.is(presented(before), printOf(old));
  server.setSecureContext(renewed);
  const after = await client(port);
  t.is(presented(after), printOf(renewed));
  t.true(await answers(before));
  t.true(await answers(after));
  server.setSecureContext(createSecureContext(old));
  const again = await client(port);
  t.is(presented(again), printOf(old));
  for (const stream of [before, after, again]) {
    t.true(await answers(stream));
    await stream.close();
  }
  t.deepEqual(errors, []);
});

test('a handshake in progress finishes with the previous certificate', async (t) => {
  const { server: old, otherHost: renewed } = await certificates();
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    for (const bytes of [0, 10, 1_000_000]) {
      const { server, port, errors } = await serving(t, echo, { ssl: old });
      const accepted = taking(server);
      const { entry, open } = await gate(t, port, bytes);
      const connecting = client(entry, { maxVersion });
      await accepted;
      server.setSecureContext(renewed);
      const other = await client(port, { maxVersion });
      t.is(presented(other), printOf(renewed));
      open();
      const stream = await connecting;
      t.is(presented(stream), printOf(old), `${maxVersion}, ${bytes} bytes before`);
      t.true(await answers(stream));
      await stream.close();
      await other.close();
      t.deepEqual(errors, []);
    }
  }
});

test('connections that wait for startServing use the options that are in use when their handshake begins', async (t) => {
  const { server: old, otherHost: renewed } = await certificates();
  const server = new StreamServer(echo, '127.0.0.1', 0, { ssl: old });
  t.teardown(() => server.abort());
  await server.bind();
  const accepted = taking(server);
  const connecting = client(portOf(server));
  await accepted;
  server.setSecureContext(renewed);
  await server.startServing();
  const stream = await connecting;
  t.is(presented(stream), printOf(renewed));
  await stream.close();
});

test('certificates exchanged under load: no handshake fails, and a client sees the certificate of its time', async (t) => {
  const { server: one, otherHost: two } = await certificates();
  const identities = [one, two] as const;
  const { server, port, errors } = await serving(t, echo, { ssl: one });
  let exchanges = 0;
  let connections = 0;
  const ROUNDS = 40;
  const load = async (maxVersion: 'TLSv1.2' | 'TLSv1.3'): Promise<void> => {
    while (exchanges < ROUNDS) {
      const begun = exchanges;
      const stream = await client(port, { maxVersion });
      connections++;
      // The handshake began at some time between these two moments.
      const ended = exchanges;
      const possible = new Set<string>();
      for (let i = begun; i <= ended; i++) possible.add(printOf(identities[(i % 2) as 0 | 1]));
      t.true(possible.has(presented(stream)), `${begun} to ${ended}`);
      t.true(await answers(stream));
      await stream.close();
    }
  };
  const exchange = async (): Promise<void> => {
    for (let i = 1; i <= ROUNDS; i++) {
      const served = connections;
      await until(() => connections > served);
      // At any moment of the handshakes that are in progress.
      await turns(i % 7);
      server.setSecureContext(identities[(i % 2) as 0 | 1]);
      exchanges = i;
      // A handshake that begins after the call.
      const stream = await client(port);
      t.is(presented(stream), printOf(identities[(i % 2) as 0 | 1]));
      await stream.close();
    }
  };
  const clients = [1, 2, 3].flatMap(() => [load('TLSv1.2'), load('TLSv1.3')]);
  await Promise.all([exchange(), ...clients]);
  t.true(connections >= ROUNDS);
  t.deepEqual(errors, []);
});

test('all options are exchanged: ALPN, and whether clients need a certificate', async (t) => {
  const { ca, server: identity, client: own } = await certificates();
  const { server, port, errors } = await serving(t, echo, { ssl: { ...identity, ALPNProtocols: ['x/1'] } });
  const offer = { ca, ALPNProtocols: ['x/1', 'x/2'] };
  const first = await client(port, offer);
  t.is(first.getExtraInfo('alpn'), 'x/1');
  server.setSecureContext({ ...identity, ca, requestCert: true, ALPNProtocols: ['x/2'] });
  const second = await client(port, { ...offer, ...own });
  t.is(second.getExtraInfo('alpn'), 'x/2');
  t.true(await answers(second));
  await t.throwsAsync(client(port, { ...offer, maxVersion: 'TLSv1.2' }), { instanceOf: ConnectionError });
  await until(() => errors.length === 1);
  t.regex(errors[0]?.message ?? '', /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: /);
  await first.close();
  await second.close();
});

test('a session of the previous certificate is not resumed with the new one', async (t) => {
  const { server: old, otherHost: renewed } = await certificates();
  const { server, port } = await serving(t, echo, { ssl: old });
  for (const maxVersion of ['TLSv1.2', 'TLSv1.3'] as const) {
    server.setSecureContext(old);
    const session = deferred<Buffer>();
    const first = await client(port, { maxVersion });
    (first.getExtraInfo('sslObject') as TLSSocket).once('session', session.resolve);
    t.true(await answers(first));
    const kept =
      maxVersion === 'TLSv1.3' ? await session.promise : (first.getExtraInfo('sslObject') as TLSSocket).getSession();
    await first.close();
    const resumed = await client(port, { maxVersion, session: kept });
    t.true((resumed.getExtraInfo('sslObject') as TLSSocket).isSessionReused(), maxVersion);
    await resumed.close();
    server.setSecureContext(renewed);
    const second = await client(port, { maxVersion, session: kept });
    t.false((second.getExtraInfo('sslObject') as TLSSocket).isSessionReused());
    t.is(presented(second), printOf(renewed), maxVersion);
    t.true(await answers(second));
    await second.close();
  }
});

test('sslHandshakeTimeout stays as it is', async (t) => {
  const { server: old, otherHost: renewed } = await certificates();
  const { server, port, errors } = await serving(t, echo, { ssl: old, sslHandshakeTimeout: 20 });
  server.setSecureContext(renewed);
  await closedByPeer(await dial(t, port));
  await until(() => errors.length === 1);
  t.is(errors[0]?.code, 'ETIMEDOUT');
  t.regex(errors[0]?.message ?? '', /timed out after 20 ms$/);
});

test('refused options leave the previous certificate in use', async (t) => {
  const { server: identity, otherHost } = await certificates();
  const { server, port, errors } = await serving(t, echo, { ssl: identity });
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  const cases: [unknown, { instanceOf?: typeof Error; code: string }, RegExp][] = [
    [
      undefined,
      type,
      /^setSecureContext: ssl must be TLS options with a certificate and its key, or a SecureContext, not undefined$/,
    ],
    [true, type, /^setSecureContext: ssl must be .* not true$/],
    [{}, type, /^setSecureContext: ssl must be TLS options with a certificate and its key, not an instance of Object$/],
    [{ ...identity, cert: 'x' }, { code: 'ERR_OSSL_PEM_NO_START_LINE' }, /^setSecureContext: ssl: cert: /],
    [
      { cert: identity.cert, key: otherHost.key },
      { code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH' },
      /^setSecureContext: ssl: cert and key do not match: /,
    ],
    [
      { cert: identity.cert, key: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) },
      { code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH' },
      /^setSecureContext: ssl: cert and key do not match: they are of different types$/,
    ],
    [{ ...identity, SNICallback: 1 }, type, /^setSecureContext: ssl: SNICallback must be a function, not 1$/],
  ];
  for (const [ssl, expected, message] of cases) {
    t.throws(() => server.setSecureContext(ssl as never), { ...expected, message } as never, String(message));
  }
  const stream = await client(port);
  t.is(presented(stream), printOf(identity));
  await stream.close();
  t.deepEqual(errors, []);
});

test('a server without ssl refuses; a closed one accepts the options, and stays closed', async (t) => {
  const { server: identity } = await certificates();
  const refused = {
    name: 'StateError',
    code: 'ERR_SERVER_STATE',
    message: 'setSecureContext: the server was created without ssl',
  };
  const { server: plain } = await serving(t, echo);
  t.throws(() => plain.setSecureContext(identity), refused);
  const unix = new UnixStreamServer(echo, unixPath(t));
  t.throws(() => unix.setSecureContext(identity), refused);
  const { server } = await serving(t, echo, { ssl: identity });
  await server.close();
  server.setSecureContext(identity);
  t.false(server.isBound());
  await t.throwsAsync(server.startServing(), { code: 'ERR_SERVER_STATE' });
});

test('a Unix server can exchange its certificate, too', async (t) => {
  const { server: old, otherHost: renewed } = await certificates();
  const file = unixPath(t);
  await using server = new UnixStreamServer(echo, file, { ssl: old });
  await server.startServing();
  for (const identity of [old, renewed]) {
    server.setSecureContext(identity);
    const stream = await connectUnix(file, { ssl: { rejectUnauthorized: false }, serverHostname: 'localhost' });
    t.is(presented(stream), printOf(identity));
    t.true(await answers(stream));
    await stream.close();
  }
});
