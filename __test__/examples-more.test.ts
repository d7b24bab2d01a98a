/** The examples for TLS and pipes, run as a user runs them. */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { connect } from 'sluice';
import { certificates, type Identity } from './certificates.js';
import { directory } from './fifo.js';
import { example, Process, Program } from './program.js';

// http-headers

async function httpsServer(t: ExecutionContext, identity: Identity): Promise<number> {
  const server = createServer(identity, (request, response) => {
    response.writeHead(200, { 'X-Request': `${request.method} ${request.url} of ${request.headers.host}` });
    response.end('a body that HEAD leaves out');
  });
  server.on('tlsClientError', () => {});
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return (server.address() as AddressInfo).port;
}

async function trusting(t: ExecutionContext): Promise<NodeJS.ProcessEnv> {
  const file = path.join(directory(t), 'ca.pem');
  await writeFile(file, (await certificates()).ca);
  return { ...process.env, NODE_EXTRA_CA_CERTS: file };
}

test('http-headers prints the headers of an https URL', async (t) => {
  const port = await httpsServer(t, (await certificates()).server);
  const env = await trusting(t);
  for (const host of [`localhost:${port}`, `127.0.0.1:${port}`]) {
    const args = [example('http-headers'), `https://${host}/a/b?c=d`];
    const { code, stdout, stderr } = await new Process(t, process.execPath, args, { env }).ended;
    t.is(stderr, '');
    t.is(code, 0);
    const lines = stdout.trimEnd().split('\n');
    t.is(lines[0], 'HTTP header> HTTP/1.1 200 OK');
    t.true(lines.includes(`HTTP header> X-Request: HEAD /a/b?c=d of ${host}`));
  }
});

test('http-headers refuses an untrusted certificate', async (t) => {
  const { server, otherHost, expired } = await certificates();
  const env = await trusting(t);
  const cases = [
    { identity: server, env: process.env, code: 'UNABLE_TO_VERIFY_LEAF_SIGNATURE' },
    { identity: otherHost, env, code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    { identity: expired, env, code: 'CERT_HAS_EXPIRED' },
  ];
  for (const { identity, env, code } of cases) {
    const args = [example('http-headers'), `https://localhost:${await httpsServer(t, identity)}/`];
    const ended = await new Process(t, process.execPath, args, { env }).ended;
    t.is(ended.stdout, '');
    t.true(ended.stderr.includes(code), ended.stderr);
    t.not(ended.code, 0);
  }
});

// starttls

async function startTlsServer(t: ExecutionContext): Promise<{ server: Program; port: string; ca: string }> {
  const { ca, server } = await certificates();
  const where = directory(t);
  const files = {
    ca: path.join(where, 'ca.pem'),
    cert: path.join(where, 'cert.pem'),
    key: path.join(where, 'key.pem'),
  };
  await writeFile(files.ca, ca);
  await writeFile(files.cert, server.cert);
  await writeFile(files.key, server.key);
  const program = new Program(t, example('starttls'), ['server', files.cert, files.key, '0']);
  const [, port] = await program.prints(/^Serving on 127\.0\.0\.1:(\d+)$/m);
  return { server: program, port: port!, ca: files.ca };
}

test('starttls: a request is refused in plain text, and answered after encryption on the same stream', async (t) => {
  const { server, port, ca } = await startTlsServer(t);
  const client = await new Program(t, example('starttls'), ['client', ca, port, '127.0.0.1', 'localhost']).ended;
  t.is(client.stderr, '');
  t.is(
    client.stdout,
    [
      'WHISPER A Secret -> NO WHISPER',
      'STARTTLS -> OK begin',
      'Encrypted: TLSv1.3',
      'WHISPER A Secret -> OK a secret\n',
    ].join('\n'),
  );
  t.is(client.code, 0);
  server.kill('SIGINT');
  const { code, stderr } = await server.ended;
  t.is(stderr, '');
  t.is(code, 0);
});

test('starttls: a certificate for another name is refused', async (t) => {
  const { port, ca } = await startTlsServer(t);
  const client = await new Program(t, example('starttls'), ['client', ca, port, '127.0.0.1', 'other.example']).ended;
  t.regex(client.stderr, /ERR_TLS_CERT_ALTNAME_INVALID/);
  t.notRegex(client.stdout, /Encrypted/);
  t.not(client.code, 0);
});

test('starttls: plain text after the command is refused', async (t) => {
  const { server, port } = await startTlsServer(t);
  const stream = await connect('127.0.0.1', Number(port));
  t.teardown(() => stream.abort());
  await stream.write('STARTTLS\nWHISPER injected\n');
  const [message] = await server.complains(/startTls: .*/);
  t.regex(message, /17 bytes received before the upgrade and not read/);
  // The connection is aborted: the injected bytes had no effect.
  t.is((await stream.readline()).toString(), 'OK begin\n');
});

test('starttls prints its usage', async (t) => {
  const { code, stderr } = await new Program(t, example('starttls')).ended;
  t.regex(stderr, /^usage: /);
  t.is(code, 2);
});

// child-process-lines

function numbered(t: ExecutionContext, ...command: string[]): Program {
  return new Program(t, example('child-process-lines'), command);
}

test('child-process-lines numbers the lines of a command, also a last one without a line end', async (t) => {
  const { code, stdout, stderr } = await numbered(t, 'printf', 'one\\n\\nthree\\nfour').ended;
  t.is(stderr, '');
  t.is(stdout, '1: one\n2: \n3: three\n4: four\n4 lines, then exit code 0\n');
  t.is(code, 0);
});

test('child-process-lines reports an overlong line, and prints the next ones', async (t) => {
  const script = `process.stdout.write('a\\n' + 'x'.repeat(1e6) + '\\nb\\n'); process.exitCode = 3`;
  const { stdout, stderr } = await numbered(t, process.execPath, '-e', script).ended;
  t.is(stderr, '');
  t.is(stdout, '1: a\n2: (longer than 4096 bytes)\n3: b\n3 lines, then exit code 3\n');
});

test('child-process-lines prints while the child runs', async (t) => {
  // Runs until its output is no longer read. Not every runtime ends a program then, so it also ends by itself.
  const script = `setInterval(() => console.log('tick'), 20); setTimeout(() => process.exit(), 20_000)`;
  const program = numbered(t, process.execPath, '-e', script);
  t.is((await program.prints(/^3: (.*)$/m))[1], 'tick');
  program.kill('SIGTERM');
  await program.ended;
});

test('child-process-lines reports a command that does not exist', async (t) => {
  const { code, stderr } = await numbered(t, '/nowhere/to/be/found').ended;
  t.is(stderr, '/nowhere/to/be/found: spawn /nowhere/to/be/found ENOENT\n');
  t.is(code, 1);
});

test('child-process-lines runs without arguments', async (t) => {
  const { code, stdout } = await numbered(t).ended;
  t.regex(stdout, /^1: .*\n(\d+: .*\n)+\d+ lines, then exit code 0\n$/);
  t.is(code, 0);
});

// opentelemetry

interface ExportedSpan {
  readonly name: string;
  readonly kind: string;
  readonly status: string;
  readonly id: string;
  readonly parent: string | null;
  readonly attributes: Record<string, unknown>;
}

interface ExportedMetric {
  readonly name: string;
  readonly value: number;
  readonly attributes: Record<string, unknown>;
}

test('opentelemetry exports spans of connects and handlers, in their context, and the counters of the server', async (t) => {
  const { code, stdout, stderr } = await new Process(t, process.execPath, [example('opentelemetry')]).ended;
  t.is(stderr, '');
  t.is(code, 0);
  const lines = stdout.trimEnd().split('\n');
  t.is(lines[0], 'HELLO');
  const exported = <T>(kind: string): T[] =>
    lines.filter((line) => line.startsWith(`${kind} `)).map((line) => JSON.parse(line.slice(kind.length + 1)) as T);

  const spans = exported<ExportedSpan>('span');
  const named = (name: string): ExportedSpan[] => spans.filter((span) => span.name === name);
  const [job] = named('job');
  const [handler, ...otherHandlers] = named('handler');
  t.deepEqual(otherHandlers, []);
  t.is(named('work')[0]!.parent, handler!.id);
  const [first, second, failed] = named('connect 127.0.0.1');
  t.deepEqual([first!.parent, second!.parent, failed!.parent], [job!.id, job!.id, null]);
  t.like(first, { kind: 'CLIENT', status: 'UNSET' });
  t.like(failed, { kind: 'CLIENT', status: 'ERROR' });
  t.is(failed!.attributes['error.type'], 'ECONNREFUSED');
  t.is(handler!.kind, 'SERVER');
  // The two ends of one connection.
  const ends = (span: ExportedSpan, end: string): unknown => span.attributes[`network.${end}.port`];
  t.is(ends(handler!, 'peer'), ends(first!, 'local'));
  t.is(handler!.attributes['server.port'], first!.attributes['server.port']);

  const metrics = exported<ExportedMetric>('metric').map(({ name, value, attributes }) => ({
    name: [name, ...Object.values(attributes)].join(' '),
    value,
  }));
  t.deepEqual(Object.fromEntries(metrics.map(({ name, value }) => [name, value])), {
    'sluice.timeouts timeout ERR_TIMEOUT': 1,
    'sluice.server.connections': 1,
    'sluice.server.handlers': 1,
    'sluice.server.accepted': 2,
    'sluice.server.dropped maxConnections': 1,
    'sluice.server.io receive': 6,
    'sluice.server.io transmit': 6,
  });
});
