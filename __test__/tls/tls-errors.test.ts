/** The errors when TLS fails: one typed error that names the call or the peer, and the option at fault. */
// Runs once for each way of reading: the engine makes no difference to errors of TLS.
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { connect as netConnect, type Socket } from 'node:net';
import tls, { type PeerCertificate, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StreamServer,
  UnixStreamServer,
  connect,
  connectUnix,
  type ClientHandler,
  type ClientSsl,
  type ServerSsl,
  type Stream,
} from 'sluice';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import {
  closedByPeer,
  deferred,
  echo,
  listen,
  portOf,
  quiet,
  serving,
  streamAndPeer,
  turns,
  until,
} from '../loopback.js';

const VERSIONS = ['TLSv1.2', 'TLSv1.3'] as const;

/** A TLS server of ours; `errors` collects its reports. */
function serve(t: ExecutionContext, ssl: ServerSsl, handler: ClientHandler = echo): ReturnType<typeof serving> {
  return serving(t, handler, { ssl });
}

/** A relay of one connection to `port`, whose two sockets a test can write to. */
async function relay(
  t: ExecutionContext,
  port: number,
): Promise<{ port: number; client: () => Socket; server: () => Socket }> {
  let onward: Socket;
  const entry = await listen(t, (socket) => {
    onward = quiet(netConnect({ port, host: '127.0.0.1', allowHalfOpen: true }));
    t.teardown(() => onward.destroy());
    socket.pipe(onward).pipe(socket);
  });
  return { port: entry.port, client: () => entry.sockets[0]!, server: () => onward };
}

/** Checks the error of a connection that TLS has ended. */
function isTlsError(t: ExecutionContext, error: unknown, code: RegExp, message: RegExp): void {
  t.true(error instanceof ConnectionError, String(error));
  const { code: actual, message: text, cause } = error as ConnectionError;
  t.regex(actual, code);
  t.regex(text, message);
  t.notRegex(text, /error:|openssl|\.c:|\n/, 'nothing of the insides of OpenSSL');
  t.true(cause instanceof Error);
  t.not(cause, error);
}

const caught = (promise: PromiseLike<unknown>): Promise<unknown> =>
  Promise.resolve(promise).then(
    () => 'no error',
    (error: unknown) => error,
  );

// --- After the handshake

test('a TLS 1.3 client refused for lack of a certificate gets the error from its reads and writes', async (t) => {
  const { ca, server } = await certificates();
  const { port, errors } = await serve(t, { ...server, ca, requestCert: true });
  const stream = await connect('127.0.0.1', port, { ssl: { ca, minVersion: 'TLSv1.3' } });
  const error = await caught(stream.readline());
  const message = new RegExp(`^read 127\\.0\\.0\\.1:${port}: TLS: tlsv13 alert certificate required$`);
  isTlsError(t, error, /^ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED$/, message);
  t.is(stream.exception(), error as Error);
  for (const call of ['write', 'drain'] as const) {
    const later = await t.throwsAsync(call === 'write' ? Promise.resolve(stream.write('x')) : stream.drain(), {
      instanceOf: ConnectionError,
      code: 'ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED',
    });
    t.is(later?.message, `${call}: the connection is lost: ${(error as Error).message}`);
    t.is(later?.cause, error);
  }
  await t.throwsAsync(stream.close(), { is: error as Error });
  t.true((stream.getExtraInfo('socket') as Socket).destroyed);
  await until(() => errors.length > 0);
  t.is(errors.length, 1);
  t.is(errors[0]?.code, 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE');
});

// A record of application data that is encrypted with no key of the connection.
const FORGED = Buffer.from(`1703030020${'ab'.repeat(32)}`, 'hex');

for (const version of VERSIONS) {
  for (const side of ['client', 'server'] as const) {
    for (const [what, bytes, own, alert] of [
      [
        'garbage',
        Buffer.from('no record of any kind'),
        /^ERR_SSL_(WRONG_VERSION_NUMBER|BAD_RECORD_TYPE)$/,
        /(PROTOCOL_VERSION|UNEXPECTED_MESSAGE)$/,
      ],
      ['a forged record', FORGED, /BAD_RECORD_MAC$|CIPHER_OPERATION_FAILED$/, /BAD_RECORD_MAC$/],
    ] as const) {
      test(`${what} in a connection of ${version}, to the ${side}, is a typed error on both sides`, async (t) => {
        const { ca, server } = await certificates();
        const { port, errors } = await serve(t, server);
        const between = await relay(t, port);
        const stream = await connect('127.0.0.1', between.port, {
          ssl: { ca, minVersion: version, maxVersion: version },
        });
        await stream.write('x\n');
        t.is(String(await stream.readline()), 'x\n');
        const reading = caught(stream.readline());
        between[side]().write(bytes);
        const peer = `127\\.0\\.0\\.1:${side === 'client' ? between.port : '\\d+'}`;
        const message = new RegExp(`^read ${peer}: TLS: [a-z0-9 ]+$`);
        const other = new RegExp(`^read 127\\.0\\.0\\.1:\\d+: TLS: [a-z0-9/ ]*alert [a-z ]+$`);
        await until(() => errors.length > 0);
        const [atServer, atClient] = [errors[0], await reading];
        isTlsError(t, side === 'client' ? atClient : atServer, own, message);
        isTlsError(t, side === 'client' ? atServer : atClient, alert, other);
        t.is(errors.length, 1);
        t.true((stream.getExtraInfo('socket') as Socket).destroyed);
      });
    }
  }
}

test('a pending drain rejects with the TLS error', async (t) => {
  const { ca, server } = await certificates();
  const hold = deferred();
  t.teardown(hold.resolve);
  const { port } = await serve(t, server, () => hold.promise);
  const between = await relay(t, port);
  const stream = await connect('127.0.0.1', between.port, { ssl: { ca } });
  void stream.write(Buffer.alloc(16_000_000));
  const draining = caught(stream.drain());
  between.client().write(FORGED);
  const error = await draining;
  t.true(error instanceof ConnectionError);
  t.is((error as ConnectionError).code, 'ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC');
  t.regex((error as Error).message, /^drain: the connection is lost: read 127\.0\.0\.1:\d+: TLS: decryption failed/);
});

test('an OpenSSL error that Node reports as a system error keeps its reason; other errors are left alone', async (t) => {
  const { ca, server } = await certificates();
  const { port } = await serve(t, server);
  const text =
    '80DC8252EC7F0000:error:0A00010F:SSL routines:ssl3_write_bytes:bad length:../ssl/record/rec_layer_s3.c:1:\n';
  const reason = Object.assign(new Error(`write EPROTO ${text}`), { code: 'EPROTO', errno: -71, syscall: 'write' });
  const failed = await connect('127.0.0.1', port, { ssl: { ca } });
  const reading = caught(failed.read());
  (failed.getExtraInfo('socket') as Socket).destroy(reason);
  isTlsError(t, await reading, /^ERR_SSL_BAD_LENGTH$/, new RegExp(`^write 127\\.0\\.0\\.1:${port}: TLS: bad length$`));

  const stream = await connect('127.0.0.1', port, { ssl: { ca } });
  const mine = new Error('mine');
  const read = t.throwsAsync(stream.read(), { is: mine });
  (stream.getExtraInfo('socket') as Socket).destroy(mine);
  await read;
});

test('a reset after the handshake is reported as without TLS', async (t) => {
  const { ca, server } = await certificates();
  const { port, errors } = await serve(t, server);
  const between = await relay(t, port);
  const stream = await connect('127.0.0.1', between.port, { ssl: { ca } });
  await stream.write('x\n');
  t.is(String(await stream.readline()), 'x\n');
  const reading = caught(stream.read());
  between.client().resetAndDestroy();
  between.server().resetAndDestroy();
  const error = (await reading) as ConnectionError;
  t.true(error instanceof ConnectionError);
  t.is(error.code, 'ECONNRESET');
  t.is(error.message, `read 127.0.0.1:${between.port}: connection reset by peer`);
  await until(() => errors.length > 0);
  t.is(errors[0]?.code, 'ECONNRESET');
  t.regex(errors[0]?.message ?? '', /^read 127\.0\.0\.1:\d+: connection reset by peer$/);
});

// --- Options

interface Refusal {
  readonly ssl: Record<string, unknown>;
  readonly code: string | RegExp;
  /** The message after `<the call>: ssl: `. */
  readonly says: RegExp;
  /** Whether the error of Node or OpenSSL is its cause. */
  readonly caused?: boolean;
}

async function refusals(): Promise<Record<string, Refusal>> {
  const { server, stranger, ca } = await certificates();
  const key = createPrivateKey(server.key).export({
    type: 'pkcs8',
    format: 'pem',
    cipher: 'aes-256-cbc',
    passphrase: 'right',
  });
  const { cert } = server;
  return {
    'cert without PEM': { ssl: { ...server, cert: 'none' }, code: 'ERR_OSSL_PEM_NO_START_LINE', says: /^cert: PEM/ },
    'key without PEM': { ssl: { cert, key: 'none' }, code: /^ERR_OSSL_/, says: /^key: / },
    'a cut cert': { ssl: { ...server, cert: cert.slice(0, 200) }, code: /^ERR_OSSL_PEM_/, says: /^cert: PEM/ },
    'cert and key swapped': { ssl: { cert: server.key, key: cert }, code: /^ERR_OSSL_PEM_/, says: /^cert: PEM/ },
    'key of another': {
      ssl: { cert, key: stranger.key },
      code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH',
      says: /^cert and key do not match: /,
    },
    'key of another type': {
      ssl: { cert, key: generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }) },
      code: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH',
      says: /^cert and key do not match: they are of different types$/,
      caused: false,
    },
    'wrong passphrase': {
      ssl: { cert, key, passphrase: 'wrong' },
      code: /^ERR_OSSL_/,
      says: /^key or its passphrase: /,
    },
    'no passphrase': { ssl: { cert, key }, code: /^ERR_/, says: /^key or its passphrase: / },
    'ca without PEM': { ssl: { ...server, ca: 'none' }, code: 'ERR_OSSL_PEM_NO_START_LINE', says: /^ca: PEM/ },
    'one of several ca': { ssl: { ...server, ca: [ca, Buffer.from('x')] }, code: /^ERR_OSSL_/, says: /^ca: / },
    pfx: { ssl: { pfx: Buffer.from('none') }, code: 'ERR_INVALID_ARG_VALUE', says: /^pfx: not enough data$/ },
    crl: { ssl: { ...server, crl: 'none' }, code: /^ERR_/, says: /^crl: / },
    minVersion: {
      ssl: { ...server, minVersion: 'TLSv9' },
      code: 'ERR_TLS_INVALID_PROTOCOL_VERSION',
      says: /^minVersion: "TLSv9" is not a valid minimum TLS protocol version$/,
    },
    'versions crossed': {
      ssl: { ...server, minVersion: 'TLSv1.3', maxVersion: 'TLSv1.2' },
      code: 'ERR_OUT_OF_RANGE',
      says: /^minVersion must be at most maxVersion, TLSv1\.2, not "TLSv1\.3"$/,
      caused: false,
    },
    'maxVersion below the default minimum': {
      ssl: { ...server, maxVersion: 'TLSv1.1' },
      code: 'ERR_OUT_OF_RANGE',
      says: /^maxVersion must be at least the minimum, TLSv1\.2, not "TLSv1\.1"$/,
      caused: false,
    },
    'ciphers of another version': {
      ssl: { ...server, ciphers: 'TLS_AES_128_GCM_SHA256', maxVersion: 'TLSv1.2' },
      code: 'ERR_OUT_OF_RANGE',
      says: /^ciphers must be ciphers of TLSv1\.2 \(the maxVersion\) or older, /,
      caused: false,
    },
    ciphers: { ssl: { ...server, ciphers: 'NONE' }, code: 'ERR_SSL_NO_CIPHER_MATCH', says: /^ciphers: SSL routines: / },
    'type of ciphers': {
      ssl: { ...server, ciphers: 5 },
      code: 'ERR_INVALID_ARG_TYPE',
      says: /^The "ciphers" property must be of type string\./,
    },
    ecdhCurve: { ssl: { ...server, ecdhCurve: 'none' }, code: /^ERR_/, says: /^ecdhCurve: / },
    sigalgs: { ssl: { ...server, sigalgs: 'none' }, code: /^ERR_/, says: /^sigalgs: / },
    ALPNProtocols: {
      ssl: { ...server, ALPNProtocols: 5 },
      code: 'ERR_INVALID_ARG_TYPE',
      says: /^ALPNProtocols must be a list of names, not 5$/,
      caused: false,
    },
    'a long name of ALPNProtocols': {
      ssl: { ...server, ALPNProtocols: ['x'.repeat(256)] },
      code: 'ERR_OUT_OF_RANGE',
      says: /^each of ALPNProtocols must be a name of 1 to 255 bytes/,
      caused: false,
    },
    secureContext: {
      ssl: { secureContext: {} },
      code: 'ERR_INVALID_ARG_TYPE',
      says: /^secureContext must be a SecureContext/,
      caused: false,
    },
    'a getter that throws': {
      ssl: Object.defineProperty({}, 'cert', { enumerable: true, get: () => JSON.parse('no JSON') as unknown }),
      code: 'ERR_INVALID_ARG_VALUE',
      says: /JSON/,
    },
  };
}

function isRefusal(t: ExecutionContext, error: unknown, call: string, name: string, refusal: Refusal): void {
  const what = `${call}, ${name}`;
  t.true(error instanceof Error, what);
  const { message, code, cause } = error as Error & { code: string };
  t.is(message.slice(0, call.length + 7), `${call}: ssl: `, what);
  t.regex(message.slice(call.length + 7), refusal.says, what);
  t.false(error instanceof ConnectionError, what);
  if (typeof refusal.code === 'string') t.is(code, refusal.code, what);
  else t.regex(code, refusal.code, what);
  t.is(cause instanceof Error, refusal.caused ?? true, what);
  t.notRegex(message, /error:|\n/, what);
}

test('invalid options are refused with the call and the option, before anything is opened', async (t) => {
  const listener = await listen(t);
  const { port } = listener;
  const socketPath = unixPath(t);
  const { stream, peer } = await streamAndPeer(t);
  for (const [name, refusal] of Object.entries(await refusals())) {
    const ssl = refusal.ssl as ClientSsl;
    const serverHostname = 'localhost';
    isRefusal(t, await caught(connect('127.0.0.1', port, { ssl })), 'connect', name, refusal);
    isRefusal(t, await caught(connect({ sock: peer, ssl, serverHostname })), 'connect', name, refusal);
    isRefusal(t, await caught(connectUnix(socketPath, { ssl, serverHostname })), 'connectUnix', name, refusal);
    isRefusal(t, await caught(stream.startTls(ssl, { serverHostname })), 'startTls', name, refusal);
    const server = { ssl: refusal.ssl as ServerSsl };
    if ('cert' in refusal.ssl || 'pfx' in refusal.ssl || 'secureContext' in refusal.ssl) {
      for (const [call, make] of [
        ['StreamServer', () => new StreamServer(echo, '127.0.0.1', 0, server)],
        ['UnixStreamServer', () => new UnixStreamServer(echo, socketPath, server)],
      ] as const) {
        isRefusal(t, t.throws(make, { any: true }), call, name, refusal);
      }
    }
  }
  await turns(5);
  t.is(listener.sockets.length, 0, 'nothing was opened');
  peer.write('plain\n');
  t.is(String(await stream.readline()), 'plain\n', 'the stream is as it was');
});

test('startTls of a server: invalid options leave the stream unchanged', async (t) => {
  const accepted = deferred<Stream>();
  const server = new StreamServer((stream) => accepted.resolve(stream), '127.0.0.1', 0);
  await server.startServing();
  t.teardown(() => server.abort());
  const client = await connect('127.0.0.1', portOf(server));
  t.teardown(() => client.abort());
  const stream = await accepted.promise;
  for (const [name, refusal] of Object.entries(await refusals())) {
    if (!('cert' in refusal.ssl || 'pfx' in refusal.ssl)) continue;
    isRefusal(t, await caught(stream.startTls(refusal.ssl)), 'startTls', name, refusal);
  }
  await client.write('plain\n');
  t.is(String(await stream.readline()), 'plain\n');
});

test('callbacks that are not functions are refused, on the side that uses them', async (t) => {
  const { server } = await certificates();
  for (const name of ['checkServerIdentity', 'pskCallback']) {
    await t.throwsAsync(connect('127.0.0.1', 9, { ssl: { [name]: 5 } }), {
      code: 'ERR_INVALID_ARG_TYPE',
      message: `connect: ssl: ${name} must be a function, not 5`,
    });
  }
  for (const name of ['SNICallback', 'ALPNCallback', 'pskCallback']) {
    t.throws(() => new StreamServer(echo, '127.0.0.1', 0, { ssl: { ...server, [name]: 5 } as ServerSsl }), {
      code: 'ERR_INVALID_ARG_TYPE',
      message: `StreamServer: ssl: ${name} must be a function, not 5`,
    });
  }
  t.throws(
    () => new StreamServer(echo, '127.0.0.1', 0, { ssl: { ...server, ALPNCallback: () => 'x', ALPNProtocols: ['x'] } }),
    { code: 'ERR_TLS_ALPN_CALLBACK_WITH_PROTOCOLS', message: /^StreamServer: ssl: The ALPNCallback and ALPNProtocols/ },
  );
});

test('an option with the value undefined counts as missing', async (t) => {
  const { ca, server } = await certificates();
  const { port, errors } = await serve(t, { ...server, SNICallback: undefined, minVersion: undefined });
  const ssl = { ca, checkServerIdentity: undefined, minDHSize: undefined, ALPNProtocols: undefined } as ClientSsl;
  await using stream = await connect('127.0.0.1', port, { ssl });
  await stream.write('x\n');
  t.is(String(await stream.readline()), 'x\n');
  t.deepEqual(errors, []);
});

// --- Callbacks

const boom = new Error('boom');
const coded = Object.assign(new TypeError('not this one'), { code: 'ERR_MINE' });

type Check = (hostname: string, certificate: PeerCertificate) => Error | undefined;

const CHECKS: [string, Check, string, RegExp, unknown][] = [
  ['throws', () => fails(boom), 'ECONNABORTED', /checkServerIdentity has thrown: boom$/, boom],
  ['throws a string', () => fails('text'), 'ECONNABORTED', /checkServerIdentity has thrown: 'text'$/, 'text'],
  ['returns an error', () => boom, 'ECONNABORTED', /checkServerIdentity refuses the server: boom$/, boom],
  [
    'returns an error with a code',
    () => coded,
    'ERR_MINE',
    /checkServerIdentity refuses the server: not this one$/,
    coded,
  ],
];

function fails(reason: unknown): never {
  throw reason;
}

for (const [what, checkServerIdentity, code, message, cause] of CHECKS) {
  test(`a checkServerIdentity that ${what} ends connect and startTls`, async (t) => {
    const { ca, server } = await certificates();
    for (const version of VERSIONS) {
      const { port } = await serve(t, server);
      const between = await relay(t, port);
      const ssl = { ca, checkServerIdentity, minVersion: version, maxVersion: version };
      const error = await t.throwsAsync(connect('127.0.0.1', between.port, { ssl }), {
        instanceOf: ConnectionError,
        code,
        message,
      });
      t.true(error?.message.startsWith(`connect 127.0.0.1:${between.port}: TLS handshake: check`));
      t.is(error?.cause, cause);
      await closedByPeer(between.client());

      const plain = new StreamServer(async (stream) => stream.startTls(server), '127.0.0.1', 0, { onError: () => {} });
      await plain.startServing();
      t.teardown(() => plain.abort());
      const stream = await connect('127.0.0.1', portOf(plain));
      const late = await t.throwsAsync(stream.startTls(ssl), { instanceOf: ConnectionError, code, message });
      t.true(late?.message.startsWith(`startTls: TLS handshake with 127.0.0.1:${portOf(plain)}: check`));
      t.is(late?.cause, cause);
      t.true((stream.getExtraInfo('socket') as Socket).destroyed);
      await t.throwsAsync(stream.read(), { is: late });
    }
  });
}

test('checkServerIdentity with rejectUnauthorized: false: a returned error is ignored, a thrown one is not', async (t) => {
  const { ca, server } = await certificates();
  const { port } = await serve(t, server);
  const over = (checkServerIdentity: Check): Promise<Stream> =>
    connect('127.0.0.1', port, { ssl: { ca, rejectUnauthorized: false, checkServerIdentity } });
  await using stream = await over(() => boom);
  t.is((stream.getExtraInfo('socket') as TLSSocket).authorized, false);
  await stream.write('x\n');
  t.is(String(await stream.readline()), 'x\n');
  const error = await t.throwsAsync(
    over(() => fails(boom)),
    { instanceOf: ConnectionError, message: /checkServerIdentity has thrown: boom$/ },
  );
  t.is(error?.cause, boom);
});

test("checkServerIdentity gets Node's arguments, and may delegate to Node's function", async (t) => {
  const { ca, server, otherHost } = await certificates();
  const asked: string[] = [];
  const checkServerIdentity: Check = (hostname, certificate) => {
    asked.push(hostname);
    return tls.checkServerIdentity(hostname, certificate);
  };
  const good = await serve(t, server);
  await using stream = await connect('127.0.0.1', good.port, { ssl: { ca, checkServerIdentity } });
  t.false(stream.isClosing());
  const other = await serve(t, otherHost);
  await t.throwsAsync(connect('127.0.0.1', other.port, { ssl: { ca, checkServerIdentity } }), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
  });
  t.deepEqual(asked, ['127.0.0.1', '127.0.0.1']);
});

type Sni = NonNullable<tls.TlsOptions['SNICallback']>;
const later = (call: () => void): unknown => setImmediate(call);

const SNI: [string, Sni, string, RegExp, unknown][] = [
  ['throws', () => fails(boom), 'ECONNABORTED', /: SNICallback has thrown: boom$/, boom],
  ['passes an error', (_name, done) => done(boom), 'ECONNABORTED', /: SNICallback has failed: boom$/, boom],
  [
    'passes an error with a code',
    (_name, done) => done(coded),
    'ERR_MINE',
    /: SNICallback has failed: not this one$/,
    coded,
  ],
  ['passes an error later', (_name, done) => later(() => done(boom)), 'ECONNABORTED', /has failed: boom$/, boom],
  [
    'rejects as an async function',
    async () => Promise.reject(boom),
    'ECONNABORTED',
    /: SNICallback has failed: boom$/,
    boom,
  ],
  ['passes a string', (_name, done) => done('text' as never), 'ECONNABORTED', /has failed: 'text'$/, 'text'],
];

for (const [what, SNICallback, code, message, cause] of SNI) {
  test(`an SNICallback that ${what} is reported by the server`, async (t) => {
    const { ca, server } = await certificates();
    for (const version of VERSIONS) {
      const { port, errors } = await serve(t, { ...server, SNICallback });
      const ssl = { ca, minVersion: version, maxVersion: version };
      await t.throwsAsync(connect('127.0.0.1', port, { ssl, serverHostname: 'localhost' }), {
        instanceOf: ConnectionError,
        code: 'ECONNRESET',
      });
      await until(() => errors.length > 0);
      await turns(5);
      t.is(errors.length, 1);
      t.true(errors[0] instanceof ConnectionError);
      t.is(errors[0]?.code, code);
      t.regex(errors[0]?.message ?? '', /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: SNICallback /);
      t.regex(errors[0]?.message ?? '', message);
      t.is(errors[0]?.cause, cause);
      // Without a name the callback is not called, and the server continues.
      await using other = await connect('127.0.0.1', port, { ssl: { ca } });
      await other.write('x\n');
      t.is(String(await other.readline()), 'x\n');
    }
  });
}

test('a thrown error of ALPNCallback or pskCallback is reported; a refusal by ALPNCallback stays one', async (t) => {
  const { ca, server } = await certificates();
  const reported = async (
    options: tls.TlsOptions,
    client: tls.ConnectionOptions,
  ): Promise<[ConnectionError, unknown]> => {
    const { port, errors } = await serve(t, { ...server, ...options });
    const error = await caught(connect('127.0.0.1', port, { ssl: { ca, ...client } }));
    t.true(error instanceof ConnectionError);
    await until(() => errors.length > 0);
    await turns(5);
    t.is(errors.length, 1);
    t.true(errors[0] instanceof ConnectionError);
    return [errors[0]!, error];
  };
  for (const version of VERSIONS) {
    const client = { ALPNProtocols: ['a', 'b'], minVersion: version, maxVersion: version };
    const [thrown] = await reported({ ALPNCallback: () => fails(boom) }, client);
    t.regex(thrown.message, /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: ALPNCallback has thrown: boom$/);
    t.is(thrown.code, 'ECONNABORTED');
    t.is(thrown.cause, boom);
    const [none, atClient] = await reported({ ALPNCallback: () => undefined }, client);
    t.is(none.code, 'ERR_SSL_NO_APPLICATION_PROTOCOL');
    t.regex((atClient as ConnectionError).code, /ALERT_NO_APPLICATION_PROTOCOL$/);
  }
  const psk = {
    ciphers: 'PSK',
    maxVersion: 'TLSv1.2' as const,
    checkServerIdentity: () => undefined,
    pskCallback: () => ({ psk: Buffer.from('00', 'hex'), identity: 'me' }),
  };
  const [thrown] = await reported({ ciphers: 'PSK', maxVersion: 'TLSv1.2', pskCallback: () => fails(boom) }, psk);
  t.regex(thrown.message, /: pskCallback has thrown: boom$/);
  t.is(thrown.cause, boom);
  const known = { ciphers: 'PSK', maxVersion: 'TLSv1.2' as const, pskCallback: () => Buffer.from('00', 'hex') };
  const [, atClient] = await reported(known, { ...psk, pskCallback: () => fails(boom) });
  t.regex((atClient as Error).message, /^connect 127\.0\.0\.1:\d+: TLS handshake: pskCallback has thrown: boom$/);
  t.is((atClient as Error).cause, boom);
  const { port } = await serve(t, { ...server, ...known });
  await using stream = await connect('127.0.0.1', port, { ssl: psk });
  await stream.write('x\n');
  t.is(String(await stream.readline()), 'x\n');
});

// --- Interrupted handshakes

for (const version of VERSIONS) {
  for (const how of ['ends', 'is reset', 'stops'] as const) {
    test(`a handshake of ${version} that ${how} at any point is one typed error on each unfinished side`, async (t) => {
      const { ca, server } = await certificates();
      const reports: unknown[] = [];
      const patient = new StreamServer(echo, '127.0.0.1', 0, {
        ssl: server,
        sslHandshakeTimeout: how === 'stops' ? 300 : undefined,
        onError: (error) => void reports.push(error),
      });
      await patient.startServing();
      t.teardown(() => patient.abort());
      const ssl = { ca, minVersion: version, maxVersion: version };
      // How many bytes of the server's first flight, or of the client's, are relayed.
      for (const [fromServer, fromClient] of [
        [0, Infinity],
        [3, Infinity],
        [60, Infinity],
        [200, Infinity],
        [Infinity, 0],
        [Infinity, 4],
        [Infinity, 100],
      ] as const) {
        reports.length = 0;
        const place = `${fromServer} of the server, ${fromClient} of the client`;
        const entry = await listen(t, (client) => {
          const onward = quiet(netConnect({ port: portOf(patient), host: '127.0.0.1', allowHalfOpen: true }));
          t.teardown(() => onward.destroy());
          pass(client, onward, fromClient, () => cut(client, onward));
          pass(onward, client, fromServer, () => cut(client, onward));
        });
        const options = { ssl, sslHandshakeTimeout: how === 'stops' ? 300 : undefined };
        const error = await caught(connect('127.0.0.1', entry.port, options));
        t.true(error instanceof ConnectionError, `${place}: ${String(error)}`);
        const code = how === 'stops' ? 'ETIMEDOUT' : 'ECONNRESET';
        t.is((error as ConnectionError).code, code, place);
        t.regex((error as Error).message, /^connect 127\.0\.0\.1:\d+: TLS handshake: [^:]+(: [^:]+)?$/, place);
        // A client that ends before all its bytes were relayed has not started a handshake either.
        await until(() => reports.length > 0);
        await turns(3);
        t.is(reports.length, 1, place);
        const [report] = reports as [ConnectionError];
        t.true(report instanceof ConnectionError, place);
        t.true(['ECONNRESET', 'ETIMEDOUT'].includes(report.code), `${place}: ${report.message}`);
        t.regex(report.message, /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: /, place);
        entry.close();
      }

      function cut(client: Socket, onward: Socket): void {
        for (const socket of [client, onward]) {
          if (how === 'ends') socket.end();
          else if (how === 'is reset') socket.resetAndDestroy();
        }
      }
    });
  }
}

test('a failed handshake is reported, also if the server is closed right afterwards', async (t) => {
  const { server: ssl } = await certificates();
  const errors: unknown[] = [];
  const onError = (error: unknown): void => void errors.push(error);
  const server = new StreamServer(echo, '127.0.0.1', 0, { ssl, onError, sslHandshakeTimeout: 50 });
  await server.startServing();
  const silent = quiet(netConnect(portOf(server), '127.0.0.1'));
  silent.resume();
  await once(silent, 'end');
  await server.close();
  t.deepEqual(
    errors.map((error) => (error as ConnectionError).code),
    ['ETIMEDOUT'],
  );

  const early = new StreamServer(echo, '127.0.0.1', 0, { ssl, onError });
  await early.startServing();
  const waiting = quiet(netConnect(portOf(early), '127.0.0.1'));
  await once(waiting, 'connect');
  await turns(5);
  await early.close();
  t.is(errors.length, 1, 'a handshake that the close has ended is no failure');
  waiting.destroy();
});

/** Relays the first `count` bytes, then nothing more. */
function pass(from: Socket, to: Socket, count: number, then: () => void): void {
  let left = count;
  from.on('data', (chunk: Buffer) => {
    if (left <= 0 && count !== 0) return;
    to.write(chunk.subarray(0, left));
    left -= chunk.length;
    if (left <= 0) then();
  });
  from.on('end', () => to.end());
}

test('renegotiation is refused with a typed error that names the peer', async (t) => {
  const { ca, server } = await certificates();
  const failed = deferred<unknown>();
  const { port } = await serve(t, server, async (stream) => {
    await stream.write(await stream.readline());
    failed.resolve(await caught(stream.read()));
  });
  const client = tls.connect({ host: '127.0.0.1', port, ca, maxVersion: 'TLSv1.2' }).on('error', () => {});
  t.teardown(() => client.destroy());
  await once(client, 'secureConnect');
  client.write('x\n');
  await once(client, 'data');
  const closed = once(client, 'close');
  const { localPort } = client;
  client.renegotiate({}, () => {});
  await closed;
  const message = new RegExp(`^read 127\\.0\\.0\\.1:${localPort}: TLS session renegotiation disabled`);
  isTlsError(t, await failed.promise, /^ERR_TLS_RENEGOTIATION_DISABLED$/, message);
});
