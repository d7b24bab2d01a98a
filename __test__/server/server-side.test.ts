/* eslint-disable @typescript-eslint/no-deprecated -- pairs have this option, too */
/** `connect({ sock, serverSide: true })`: a stream for the server's side over a socket that other code has accepted. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { once } from 'node:events';
import { createServer, connect as netConnect, type AddressInfo, type Socket } from 'node:net';
import { PassThrough, duplexPair, type Duplex, type DuplexOptions } from 'node:stream';
import { createSecureContext } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import {
  ConnectionError,
  StateError,
  connect,
  connectUnix,
  openConnection,
  openUnixConnection,
  type ConnectSockOptions,
  type Stream,
} from 'sluice';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { quiet } from '../loopback.js';

interface Kind {
  readonly name: string;
  /** An accepted socket, or a substitute, and the client's end of it. */
  ends(t: ExecutionContext): Promise<{ accepted: Duplex; client: Duplex }>;
  /** The stream for the server's side. */
  over(options: ConnectSockOptions): Promise<Stream>;
}

async function accept(t: ExecutionContext, at: string | number): Promise<{ accepted: Socket; client: Socket }> {
  const server = createServer({ allowHalfOpen: true });
  t.teardown(() => server.close());
  await once(typeof at === 'string' ? server.listen(at) : server.listen(at, '127.0.0.1'), 'listening');
  const connection = once(server, 'connection') as Promise<[Socket]>;
  const path = typeof at === 'string' ? { path: at } : { port: (server.address() as AddressInfo).port };
  const client = quiet(netConnect({ allowHalfOpen: true, ...path, host: '127.0.0.1' }));
  const [accepted] = await connection;
  t.teardown(() => [accepted, client].map((socket) => socket.destroy()));
  return { accepted, client };
}

const kinds: readonly Kind[] = [
  { name: 'TCP', ends: (t) => accept(t, 0), over: connect },
  { name: 'a Unix socket', ends: (t) => accept(t, unixPath(t)), over: connectUnix },
  { name: 'a Duplex', ends: () => paired(), over: connect },
  { name: 'a Duplex in object mode', ends: () => paired({ objectMode: true }), over: connect },
];

function paired(options: DuplexOptions = {}): Promise<{ accepted: Duplex; client: Duplex }> {
  const [accepted, client] = duplexPair(options);
  return Promise.resolve({ accepted, client });
}

const serverHostname = 'localhost';

for (const { name, ends, over } of kinds) {
  test(`${name}: with serverSide, startTls does the server's part of the handshake`, async (t) => {
    const { ca, server: identity } = await certificates();
    const { accepted, client } = await ends(t);
    const server = await over({ sock: accepted, serverSide: true });
    const dialled = await over({ sock: client });
    t.teardown(() => Promise.all([server.abort(), dialled.abort()]));
    t.deepEqual([server.isServerSide(), dialled.isServerSide()], [true, false]);
    await dialled.write('STARTTLS\n');
    t.is(String(await server.readline()), 'STARTTLS\n');
    await Promise.all([server.startTls(identity), dialled.startTls({ ca }, { serverHostname })]);
    await dialled.write('hello\n');
    t.is(String(await server.readline()), 'hello\n');
    await server.write('bye\n');
    t.is(String(await dialled.readline()), 'bye\n');
    t.true(server.isServerSide());
    t.truthy(server.getExtraInfo('cipher'));
  });

  test(`${name}: with serverSide and ssl, the call waits for the server's part of the handshake`, async (t) => {
    const { ca, server: identity } = await certificates();
    for (const ssl of [identity, createSecureContext(identity)]) {
      const { accepted, client } = await ends(t);
      const [server, dialled] = await Promise.all([
        over({ sock: accepted, serverSide: true, ssl, limit: 77 }),
        over({ sock: client, ssl: { ca }, serverHostname }),
      ]);
      t.teardown(() => Promise.all([server.abort(), dialled.abort()]));
      t.deepEqual([server.isServerSide(), server.limit, dialled.isServerSide()], [true, 77, false]);
      await dialled.write('hello\n');
      t.is(String(await server.readline()), 'hello\n');
      t.truthy(server.getExtraInfo('sslObject'));
      await t.throwsAsync(server.startTls(identity), { instanceOf: StateError, code: 'ERR_TLS_STATE' });
    }
  });

  test(`${name}: a client that does not speak TLS, or not in time, makes the call reject and closes the socket`, async (t) => {
    const { server: ssl } = await certificates();
    const talking = await ends(t);
    talking.client.write('GET / HTTP/1.0\r\n\r\n');
    const error = await t.throwsAsync(over({ sock: talking.accepted, serverSide: true, ssl }), {
      instanceOf: ConnectionError,
    });
    t.regex(error?.code ?? '', /^ERR_SSL_/);
    t.true(talking.accepted.destroyed);
    const silent = await ends(t);
    await t.throwsAsync(over({ sock: silent.accepted, serverSide: true, ssl, sslHandshakeTimeout: 40 }), {
      instanceOf: ConnectionError,
      code: 'ETIMEDOUT',
    });
    t.true(silent.accepted.destroyed);
  });

  test(`${name}: options that do not fit the server's side are refused, and the socket is left alone`, async (t) => {
    const { server: identity } = await certificates();
    const { accepted, client } = await ends(t);
    const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
    const wrong: [Record<string, unknown>, RegExp][] = [
      [{ serverSide: 'yes' }, /serverSide must be a boolean, not "yes"$/],
      [{ serverSide: true, ssl: true }, /ssl must be TLS options with a certificate and its key/],
      [{ serverSide: true, ssl: {} }, /ssl must be TLS options with a certificate and its key/],
      [{ serverSide: true, serverHostname }, /serverHostname cannot be used on the server side$/],
      [{ serverSide: true, ssl: identity, serverHostname }, /serverHostname cannot be used on the server side/],
      [{ serverSide: true, sslHandshakeTimeout: 5 }, /sslHandshakeTimeout can only be used together with ssl/],
      [{ serverSide: false, ssl: identity }, /serverHostname is required when ssl is used without a host/],
    ];
    for (const [options, message] of wrong) {
      await t.throwsAsync(over({ sock: accepted, ...options }), { ...TYPE, message });
    }
    const server = await over({ sock: accepted, serverSide: true });
    t.teardown(() => server.abort());
    client.write('untouched\n');
    t.is(String(await server.readline()), 'untouched\n');
    await t.throwsAsync(server.startTls(identity, { serverHostname }), TYPE);
    await t.throwsAsync(server.startTls(true), TYPE);
  });
}

test('openConnection and openUnixConnection accept serverSide, too', async (t) => {
  const { ca, server: identity } = await certificates();
  for (const [kind, open] of [
    [kinds[0]!, openConnection],
    [kinds[1]!, openUnixConnection],
  ] as const) {
    const { accepted, client } = await kind.ends(t);
    const [[reader, writer], dialled] = await Promise.all([
      open({ sock: accepted, serverSide: true, ssl: identity }),
      kind.over({ sock: client, ssl: { ca }, serverHostname }),
    ]);
    t.teardown(() => {
      writer.abort();
      return dialled.abort();
    });
    await dialled.write('hello\n');
    t.is(String(await reader.readline()), 'hello\n');
  }
});

test('serverSide requires sock', async (t) => {
  const wrong = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  for (const serverSide of [true, false]) {
    const message = 'serverSide can only be used together with sock';
    const options = { serverSide } as object;
    await t.throwsAsync(connect('127.0.0.1', 9, options), { ...wrong, message: `connect: ${message}` });
    await t.throwsAsync(connectUnix('/nowhere', options), { ...wrong, message: `connectUnix: ${message}` });
    await t.throwsAsync(openConnection('127.0.0.1', 9, options), { ...wrong, message: `connect: ${message}` });
  }
  t.false((await connect({ sock: new PassThrough(), serverSide: false })).isServerSide());
});
