/** OpenSSL's client and server as peers: handshakes that succeed, and those that fail. */
// Runs once for each way of reading: the peer sends the same bytes to either engine.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { connect as netConnect } from 'node:net';
import path from 'node:path';
import { createSecureContext, type TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { connect, StreamServer, type ClientHandler, type StreamServerOptions } from 'sluice';
import { certificates, type Identity } from './certificates.js';
import { directory } from './fifo.js';
import { echo, portOf, serving, until } from './loopback.js';
import { Process, installed } from './program.js';

/** The certificates as files, as openssl requires. */
async function files(t: ExecutionContext): Promise<string> {
  const where = directory(t);
  const { ca, otherCa, ...identities } = await certificates();
  await writeFile(path.join(where, 'ca.pem'), ca);
  await writeFile(path.join(where, 'other-ca.pem'), otherCa);
  for (const [name, { cert, key }] of Object.entries<Identity>(identities)) {
    await writeFile(path.join(where, `${name}.pem`), `${cert}\n${key}\n`);
  }
  return where;
}

// ------------------------------------------------------------------------------------------------ our server

interface Served {
  readonly errors: Error[];
  client(...args: readonly string[]): Process;
  readonly port: number;
}

async function serve(
  t: ExecutionContext,
  options: StreamServerOptions,
  handler: ClientHandler = echo,
): Promise<Served> {
  const where = await files(t);
  const { port, errors } = await serving(t, handler, options);
  return {
    errors,
    port,
    client: (...args) =>
      new Process(t, 'openssl', ['s_client', '-connect', `127.0.0.1:${port}`, ...args], { cwd: where, input: true }),
  };
}

const TRUST = ['-CAfile', 'ca.pem', '-verify_return_error', '-verify_hostname', 'localhost'];
/** Ends with its input. It would take a line that begins with k, q or r for a command. */
const QUIET = [...TRUST, '-quiet', '-no_ign_eof'];

/** The server still serves the next client. */
async function servesOn(t: ExecutionContext, { client }: Served): Promise<void> {
  const next = client(...QUIET);
  next.type('still here\n');
  await next.prints(/^still here\n$/);
  next.hangUp();
  t.is((await next.ended).code, 0);
}

for (const version of ['tls1_2', 'tls1_3']) {
  test(`s_client, ${version}: a handshake, lines in both directions, EOF`, async (t) => {
    if (!installed(t, 'openssl')) return;
    const { server: ssl } = await certificates();
    const served = await serve(t, { ssl });
    const client = served.client(...QUIET, `-${version}`);
    client.type('one\n');
    await client.prints(/^one\n$/);
    client.type('two\n');
    await client.prints(/^two\n$/m);
    client.hangUp();
    const { code, stdout } = await client.ended;
    t.is(code, 0);
    t.is(stdout, 'one\ntwo\n');
    t.deepEqual(served.errors, []);
  });
}

test('s_client: renegotiation is refused, and ends only that connection', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { server: ssl } = await certificates();
  const served = await serve(t, { ssl });
  const client = served.client(...TRUST, '-tls1_2');
  client.type('before\n');
  await client.prints(/^before$/m);
  // s_client takes a line with only R as a command.
  client.type('R\n');
  await client.complains(/^RENEGOTIATING$/m).catch(() => client.prints(/^RENEGOTIATING$/m));
  t.not((await client.ended).code, 0);
  await until(() => served.errors.length > 0);
  t.is(served.errors.length, 1);
  await servesOn(t, served);
});

test('s_client: an unknown authority or an expired certificate fails the handshake', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { server, expired } = await certificates();
  const unknown = await serve(t, { ssl: server });
  const one = await unknown.client('-CAfile', 'other-ca.pem', '-verify_return_error').ended;
  t.not(one.code, 0);
  t.regex(one.stderr, /unable to get local issuer certificate/);
  await until(() => unknown.errors.length > 0);
  t.regex(unknown.errors[0]!.message, /^StreamServer: TLS handshake with 127\.0\.0\.1:\d+: /);
  await servesOn(t, unknown);
  t.is(unknown.errors.length, 1);

  const old = await serve(t, { ssl: expired });
  const two = await old.client('-CAfile', 'ca.pem', '-verify_return_error').ended;
  t.not(two.code, 0);
  t.regex(two.stderr, /certificate has expired/);
  await until(() => old.errors.length > 0);
  t.is(old.errors.length, 1);
});

test('s_client: SNI selects the certificate', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { server, otherHost } = await certificates();
  const asked: string[] = [];
  const served = await serve(t, {
    ssl: {
      ...server,
      SNICallback: (name, done) => {
        asked.push(name);
        done(null, createSecureContext(name === 'other.example' ? otherHost : server));
      },
    },
  });
  for (const name of ['other.example', 'localhost']) {
    const trust = ['-CAfile', 'ca.pem', '-verify_return_error', '-verify_hostname', name];
    const client = served.client(...trust, '-quiet', '-no_ign_eof', '-servername', name);
    client.type(`${name}\n`);
    await client.prints(new RegExp(`^${name}\n$`));
    client.hangUp();
    t.is((await client.ended).code, 0);
  }
  t.deepEqual(asked, ['other.example', 'localhost']);
  t.deepEqual(served.errors, []);
});

test('s_client: ALPN and a client certificate', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { server, ca } = await certificates();
  const ssl = { ...server, ca, requestCert: true, rejectUnauthorized: true, ALPNProtocols: ['lines/1'] };
  const seen: unknown[] = [];
  const served = await serve(t, { ssl }, async (stream, context) => {
    const tls = stream.getExtraInfo('sslObject') as TLSSocket;
    const certificate = stream.getExtraInfo('peercert') as { subject: { CN: string } };
    seen.push([tls.alpnProtocol, certificate.subject.CN]);
    await echo(stream, context);
  });
  const known = served.client(...QUIET, '-alpn', 'nothing,lines/1', '-cert', 'client.pem', '-key', 'client.pem');
  known.type('acquainted\n');
  await known.prints(/^acquainted\n$/);
  known.hangUp();
  await known.ended;
  t.deepEqual(seen, [['lines/1', 'a client']]);

  const unknown = served.client(...QUIET);
  t.not((await unknown.ended).code, 0);
  await until(() => served.errors.length > 0);
  t.is(seen.length, 1);
});

test('s_client: if it is killed, its connection ends; if it goes during the handshake, that is reported', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { server: ssl } = await certificates();
  const ends: string[] = [];
  const served = await serve(t, { ssl }, async (stream) => {
    try {
      for await (const line of stream) {
        if (line.toString() === 'still here\n') await stream.write(line);
      }
      ends.push('end of file');
    } catch (error) {
      ends.push((error as NodeJS.ErrnoException).code ?? String(error));
    }
  });
  const client = served.client(...TRUST);
  await client.prints(/Verify return code: 0 \(ok\)/);
  client.kill('SIGKILL');
  await client.ended;
  await until(() => ends.length > 0);
  // The system closes the connection of a killed process; with a reset, if it left data unread.
  t.true(['end of file', 'ECONNRESET'].includes(ends[0]!), ends[0]);
  t.deepEqual(served.errors, []);

  const early = netConnect(served.port, '127.0.0.1');
  await once(early, 'connect');
  // The header of a TLS record whose body never arrives.
  early.end(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00]));
  await until(() => served.errors.length > 0);
  t.is((served.errors[0] as NodeJS.ErrnoException).code, 'ECONNRESET');
  early.destroy();
  await servesOn(t, served);
});

test('s_client -starttls: a mail server upgrades its stream', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { server: ssl } = await certificates();
  const served = await serve(t, {}, async (stream, context) => {
    await stream.write('220 localhost\r\n');
    t.regex((await stream.readline()).toString(), /^EHLO /);
    await stream.write('250-localhost\r\n250 STARTTLS\r\n');
    t.is((await stream.readline()).toString(), 'STARTTLS\r\n');
    await stream.write('220 go ahead\r\n');
    await stream.startTls(ssl);
    await echo(stream, context);
  });
  const client = served.client(...QUIET, '-starttls', 'smtp');
  client.type('encrypted\n');
  await client.prints(/^encrypted$/m);
  client.hangUp();
  t.is((await client.ended).code, 0);
  t.deepEqual(served.errors, []);
});

// ------------------------------------------------------------------------------------------------ our client

interface Peer {
  readonly port: number;
  readonly server: Process;
}

async function openssl(t: ExecutionContext, ...args: readonly string[]): Promise<Peer> {
  const options = ['s_server', '-accept', '127.0.0.1:0', ...args];
  const server = new Process(t, 'openssl', options, { cwd: await files(t), input: true });
  const [, port] = await server.prints(/^ACCEPT 127\.0\.0\.1:(\d+)$/m);
  return { port: Number(port), server };
}

async function trusting(): Promise<{ ssl: { ca: string }; serverHostname: string }> {
  return { ssl: { ca: (await certificates()).ca }, serverHostname: 'localhost' };
}

for (const version of ['tls1_2', 'tls1_3']) {
  test(`s_server, ${version}: a handshake, lines in both directions, EOF`, async (t) => {
    if (!installed(t, 'openssl')) return;
    const { port } = await openssl(t, '-cert', 'server.pem', '-rev', `-${version}`);
    await using stream = await connect('127.0.0.1', port, await trusting());
    const { version: spoken } = stream.getExtraInfo('cipher') as { version: string };
    t.regex(spoken, /^TLSv1/);
    t.is((stream.getExtraInfo('sslObject') as TLSSocket).getProtocol(), version.replace('tls1_', 'TLSv1.'));
    for (const line of ['abc', '12345', 'x'.repeat(5000)]) {
      await stream.write(`${line}\n`);
      t.is((await stream.readline()).toString(), `${Buffer.from(line).reverse().toString()}\n`);
    }
    // The line that makes `-rev` hang up.
    await stream.write('CLOSE\n');
    t.is((await stream.read()).length, 0);
  });
}

test('s_server: invalid certificates are refused, each with its reason', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { ca, otherCa } = await certificates();
  const cases = [
    { cert: 'server', ssl: { ca: otherCa }, serverHostname: 'localhost', code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
    { cert: 'stranger', ssl: { ca }, serverHostname: 'localhost', code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
    { cert: 'expired', ssl: { ca }, serverHostname: 'localhost', code: 'CERT_HAS_EXPIRED' },
    { cert: 'otherHost', ssl: { ca }, serverHostname: 'localhost', code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    { cert: 'server', ssl: { ca }, serverHostname: 'other.example', code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
  ];
  for (const { cert, code, ...options } of cases) {
    const { port } = await openssl(t, '-cert', `${cert}.pem`);
    const error = await t.throwsAsync(connect('127.0.0.1', port, options), { name: 'ConnectionError', code });
    t.true(error.message.startsWith(`connect 127.0.0.1:${port}: TLS handshake`), error.message);
  }
});

test('s_server: SNI requests the certificate for a name', async (t) => {
  if (!installed(t, 'openssl')) return;
  const names = ['-servername', 'other.example', '-cert2', 'otherHost.pem', '-key2', 'otherHost.pem'];
  const { port } = await openssl(t, '-cert', 'server.pem', '-rev', ...names);
  const { ca } = await certificates();
  for (const serverHostname of ['other.example', 'localhost']) {
    await using stream = await connect('127.0.0.1', port, { ssl: { ca }, serverHostname });
    const certificate = stream.getExtraInfo('peercert') as { subject: { CN: string } };
    t.is(certificate.subject.CN, serverHostname);
  }
});

test('s_server: ALPN and a client certificate', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { port } = await openssl(t, '-cert', 'server.pem', '-Verify', '1', '-CAfile', 'ca.pem', '-alpn', 'x/1', '-rev');
  const { ca, client } = await certificates();
  const ssl = { ca, ...client, ALPNProtocols: ['y/2', 'x/1'] };
  await using stream = await connect('127.0.0.1', port, { ssl, serverHostname: 'localhost' });
  t.is((stream.getExtraInfo('sslObject') as TLSSocket).alpnProtocol, 'x/1');
  await stream.write('ab\n');
  t.is((await stream.readline()).toString(), 'ba\n');
});

test('s_server: EOF when it is killed, and an error if it sends plain text instead of a handshake', async (t) => {
  if (!installed(t, 'openssl')) return;
  const { port, server } = await openssl(t, '-cert', 'server.pem');
  await using stream = await connect('127.0.0.1', port, await trusting());
  await stream.write('line\n');
  await server.prints(/^line$/m);
  server.type('answer\n');
  t.is((await stream.readline()).toString(), 'answer\n');
  server.kill('SIGKILL');
  const end = await stream.read().catch((error: unknown) => (error as NodeJS.ErrnoException).code);
  t.true(end === 'ECONNRESET' || end?.length === 0, String(end));

  const plain = new StreamServer((one) => one.write('not TLS at all\n'), '127.0.0.1');
  t.teardown(() => plain.abort());
  await plain.startServing();
  await t.throwsAsync(connect('127.0.0.1', portOf(plain), await trusting()), {
    name: 'ConnectionError',
    message: /TLS handshake/,
  });
});
