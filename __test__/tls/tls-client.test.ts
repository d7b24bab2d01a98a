/** A TLS client of ours with a Node server: no data is lost at the start, and the certificate must match the name. */
// Runs once: how TLS is read makes no difference to handshakes; tls.test.ts and decrypted-reads.test.ts have each way of reading.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import tls, { type TLSSocket } from 'node:tls';
import test from 'ava';
import { ConnectionError, connect, connectUnix, type ConnectOptions, type Stream } from 'sluice';
import { certificates } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { dial, listen, listenTls, resolving, turns } from '../loopback.js';

for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
  test(`${version}: data and EOF that arrive right after the handshake are not lost`, async (t) => {
    const { ca, server } = await certificates();
    const body = Buffer.alloc(200_000, '0123456789abcdef');
    for (const size of [1, 16_384, body.length]) {
      const data = body.subarray(0, size);
      const port = await listenTls(t, { ...server, maxVersion: version }, (socket) => socket.end(data));
      await using stream = await connect('127.0.0.1', port, { ssl: { ca }, limit: 1000 });
      await turns(30);
      t.true((await stream.read()).equals(data), `${size} bytes`);
    }
  });
}

test('the certificate must match serverHostname, not the address of the connection', async (t) => {
  const { ca, server, otherHost } = await certificates();
  const asked: (string | false)[] = [];
  const answer = (socket: TLSSocket): void => {
    asked.push((socket as TLSSocket & { servername: string | false }).servername);
    socket.end('x');
  };
  // Valid for localhost and 127.0.0.1.
  const port = await listenTls(t, server, answer);
  for (const serverHostname of ['other.example', '192.0.2.1', '::2']) {
    const error = await t.throwsAsync(connect('127.0.0.1', port, { ssl: { ca }, serverHostname }), {
      instanceOf: ConnectionError,
      code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    });
    t.true(error?.message.includes(serverHostname), error?.message);
  }
  // Valid for the name, not for the address.
  const other = await listenTls(t, otherHost, answer);
  const good: [number, ConnectOptions][] = [
    [other, { serverHostname: 'other.example', ssl: { ca } }],
    [other, { ssl: { ca, servername: 'other.example' } }],
    [port, { serverHostname: '::1', ssl: { ca } }],
    [port, { serverHostname: 'localhost', ssl: { ca } }],
    [port, { ssl: { ca } }],
  ];
  asked.length = 0;
  for (const [to, options] of good) {
    await using stream = await connect('127.0.0.1', to, options);
    t.is(String(await stream.read()), 'x');
  }
  t.deepEqual(asked, ['other.example', 'other.example', false, 'localhost', false]);
  for (const options of [{ ssl: { ca } }, { serverHostname: 'localhost', ssl: { ca } }]) {
    await t.throwsAsync(connect('127.0.0.1', other, options), { code: 'ERR_TLS_CERT_ALTNAME_INVALID' });
  }
});

test.serial('a dot at the end of a name is neither sent to the server nor compared with its certificate', async (t) => {
  const { ca, server, otherHost } = await certificates();
  const asked: string[] = [];
  const SNICallback = (name: string, done: (error: Error | null) => void): void => {
    asked.push(name);
    done(null);
  };
  const servernames: (string | false)[] = [];
  const answer = (socket: TLSSocket): void => {
    servernames.push((socket as TLSSocket & { servername: string | false }).servername);
    socket.end('x');
  };
  const port = await listenTls(t, { ...server, SNICallback }, answer);
  const other = await listenTls(t, { ...otherHost, SNICallback }, answer);
  resolving(t, ['127.0.0.1']);
  const compared: string[] = [];
  const checkServerIdentity = (name: string): undefined => void compared.push(name);
  const path = unixPath(t);
  const unix = tls.createServer({ ...server, SNICallback }, answer);
  t.teardown(() => unix.close());
  await once(unix.listen(path), 'listening');

  const opened = [
    () => connect('localhost.', port, { ssl: { ca } }),
    () => connect('127.0.0.1', port, { ssl: { ca }, serverHostname: 'localhost.' }),
    () => connect('127.0.0.1', port, { ssl: { ca, servername: 'localhost.' } }),
    () => connect('127.0.0.1', other, { ssl: { ca }, serverHostname: 'other.example.' }),
    () => connect('localhost.', port, { ssl: { ca, checkServerIdentity } }),
    () => connectUnix(path, { ssl: { ca }, serverHostname: 'localhost.' }),
    async () => connect({ sock: await dial(t, port), ssl: { ca }, serverHostname: 'localhost.' }),
    async () => upgraded(await connect('localhost.', port), { ca }),
    async () => upgraded(await connect('127.0.0.1', port), { ca }, 'localhost.'),
  ];
  for (const open of opened) {
    await using stream = await open();
    t.is(String(await stream.read()), 'x');
  }
  const names = opened.map((_, i) => (i === 3 ? 'other.example' : 'localhost'));
  t.deepEqual(asked, names);
  t.deepEqual(servernames, names);
  t.deepEqual(compared, ['localhost']);

  // An address is never sent as a name.
  await using numeric = await connect('127.0.0.1.', port, { ssl: { ca } });
  t.is(String(await numeric.read()), 'x');
  t.deepEqual([asked.length, servernames.at(-1)], [names.length, false]);

  // The name is compared without its dot, too.
  await t.throwsAsync(connect('localhost.', other, { ssl: { ca } }), {
    code: 'ERR_TLS_CERT_ALTNAME_INVALID',
    message: /Host: localhost\. is not in the cert's altnames/,
  });
});

test('a name of dots only, or with several at its end, is refused before anything is opened', async (t) => {
  const { ca } = await certificates();
  const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  for (const name of ['.', 'localhost..', '..']) {
    const wrong = `must be a host name or an address, not ${JSON.stringify(name)}`;
    await t.throwsAsync(connect('127.0.0.1', 9, { ssl: { ca }, serverHostname: name }), {
      ...range,
      message: `connect: serverHostname ${wrong}`,
    });
    await t.throwsAsync(connect('127.0.0.1', 9, { ssl: { ca, servername: name } }), {
      ...range,
      message: `connect: ssl: servername ${wrong}`,
    });
    await t.throwsAsync(connect(name, 9, { ssl: { ca } }), { ...range, message: `connect: host ${wrong}` });
  }
});

/** The stream, after its upgrade. */
async function upgraded(stream: Stream, ssl: tls.ConnectionOptions, serverHostname?: string): Promise<Stream> {
  await stream.startTls(ssl, { serverHostname });
  return stream;
}

test('the race is for the TCP connection: a refusing address is skipped, and TCP options apply', async (t) => {
  const { ca, server } = await certificates();
  const seen: (number | undefined)[] = [];
  const port = await listenTls(t, server, (socket) => {
    seen.push(socket.remotePort);
    socket.end('x');
  });
  // On machines where localhost is ::1 as well, that attempt fails first.
  await using stream = await connect('localhost', port, { ssl: { ca }, localAddr: ['127.0.0.1', 0], keepAlive: true });
  t.is(String(await stream.read()), 'x');
  t.deepEqual(seen, [(stream.getExtraInfo('sockname') as AddressInfo).port]);
  const { port: closed, close } = await listen(t);
  close();
  await turns(3);
  const error = await t.throwsAsync(connect('127.0.0.1', closed, { ssl: { ca } }), {
    instanceOf: ConnectionError,
    code: 'ECONNREFUSED',
  });
  t.is(error?.message, `connect 127.0.0.1:${closed}: ECONNREFUSED (connection refused)`);
});

test('a reader that pauses and resumes gets every byte, in order', async (t) => {
  const { ca, server } = await certificates();
  const body = Buffer.alloc(5_000_000);
  for (let i = 0; i < body.length; i += 4) body.writeUInt32LE(i, i);
  const port = await listenTls(t, server, (socket) => socket.end(body));
  await using stream = await connect('127.0.0.1', port, { ssl: { ca }, limit: 1000 });
  const parts: Buffer[] = [];
  for (let n = 1; ; n = (n * 7) % 9973) {
    const part = await stream.read(n);
    if (part.length === 0) break;
    parts.push(part);
    if (n % 5 === 0) await turns(1);
  }
  t.true(Buffer.concat(parts).equals(body));
});
