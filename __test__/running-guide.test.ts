/** The programs of the guide "Running a server". */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import test from 'ava';
import { StreamServer, connect } from 'sluice';
import { certificates, type Identity } from './certificates.js';
import { Guide } from './documents.js';
import { closedByPeer, dial } from './loopback.js';
import { root } from './program.js';

const running = new Guide('docs/running-a-server.md');

running.test('limits.ts', 'the limits are in force, and what exceeds them is reported', async (t, work) => {
  const { server, port } = await work.serve('limits.ts');
  const client = await connect('127.0.0.1', port);
  await client.write('hello\n');
  t.is((await client.readline()).toString(), 'hello\n');

  const endless = await dial(t, port);
  endless.write('x'.repeat(10_000));
  await closedByPeer(endless);
  await server.prints(/^127\.0\.0\.1 .*limit.*$/m);

  // 100 connections of one address are allowed, of which the client is one.
  const others = await Promise.all(Array.from({ length: 100 }, () => dial(t, port)));
  await Promise.race(others.map(closedByPeer));
  await server.prints(/^- .*maxConnectionsPerAddress is 100$/m);
  await client.write('still there\n');
  t.is((await client.readline()).toString(), 'still there\n');
  await client.abort();
});

running.test('graceful.ts', 'the server answers what it has received, and stops', async (t, work) => {
  const { server, port } = await work.serve('graceful.ts');
  const idle = await connect('127.0.0.1', port);
  await idle.write('hello\n');
  t.is((await idle.readline()).toString(), 'hello\n');
  const partial = await connect('127.0.0.1', port);
  await partial.write('one\ntw');
  t.is((await partial.readline()).toString(), 'one\n');
  server.kill('SIGTERM');
  t.is((await idle.readline()).length, 0, 'an idle connection is closed');
  await partial.write('o\n');
  t.is((await partial.readline()).toString(), 'two (closing)\n', 'a request that has begun is answered');
  t.is((await partial.readline()).length, 0);
  const { code, stdout, stderr } = await server.ended;
  t.is(stderr, '');
  t.is(code, 0);
  t.regex(stdout, /^2 connections finished, 0 were cut off$/m);
  await idle.close();
  await partial.close();
});

running.test('graceful.ts', 'a second signal stops the server at once', async (t, work) => {
  const { server, port } = await work.serve('graceful.ts');
  const idle = await connect('127.0.0.1', port);
  await idle.write('hello\n');
  t.is((await idle.readline()).toString(), 'hello\n');
  const stream = await connect('127.0.0.1', port);
  await stream.write('one\ntw');
  t.is((await stream.readline()).toString(), 'one\n');
  server.kill('SIGTERM');
  t.is((await idle.readline()).length, 0, 'the first signal has been received');
  server.kill('SIGTERM');
  const { code, stdout } = await server.ended;
  t.is(code, 0);
  t.regex(stdout, /^1 connections finished, 1 were cut off$/m);
  await idle.close();
  await stream.abort();
});

running.test('behind-proxy.ts', 'the handler knows the client, and other headers are refused', async (t, work) => {
  const { server, port } = await work.serve('behind-proxy.ts');
  const stream = await connect('127.0.0.1', port);
  await stream.write('PROXY TCP4 203.0.113.7 192.0.2.1 50123 443\r\nhello\n');
  t.is((await stream.readline()).toString(), '203.0.113.7 said: hello\n');
  await stream.close();
  const check = await connect('127.0.0.1', port);
  await check.write(Buffer.from('\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hello\n', 'latin1'));
  t.is((await check.readline()).toString(), 'the proxy itself said: hello\n');
  await check.close();
  const liar = await dial(t, port);
  liar.write('GET / HTTP/1.1\r\n\r\n');
  await closedByPeer(liar);
  await server.prints(/PROXY header of .* is malformed/);
});

running.test('certificates.ts', 'the certificate is exchanged while the server runs', async (t, work) => {
  const { ca, server: first, otherHost: second } = await certificates();
  const install = async ({ cert, key }: Identity): Promise<void> => {
    await writeFile(path.join(work.folder, 'cert.pem'), cert);
    await writeFile(path.join(work.folder, 'key.pem'), key);
  };
  await install(first);
  const { server, port } = await work.serve('certificates.ts');
  const served = async (serverHostname: string): Promise<void> => {
    await using stream = await connect('127.0.0.1', port, { ssl: { ca }, serverHostname });
    await stream.write('hello\n');
    t.is((await stream.readline()).toString(), 'hello\n');
  };
  await served('localhost');
  await install(second);
  server.kill('SIGHUP');
  await server.prints(/^New certificate$/m);
  await served('other.example');
  await install({ cert: first.cert, key: second.key });
  server.kill('SIGHUP');
  await server.prints(/^The old certificate stays in use: /m);
  await served('other.example');
});

running.testWhole();

test('the options in the guide exist, and its table has each of them', async (t) => {
  const guide = await readFile(path.join(root, 'docs/running-a-server.md'), 'utf8');
  const used = /new StreamServer\(serve, '127\.0\.0\.1', 8888, \{([^]*?)\n\}\);/.exec(guide)![1]!;
  const options = [...used.matchAll(/^ {2}(\w+)[:(]/gm)].map(([, name]) => name!);
  t.true(options.length > 10);
  for (const name of options) {
    if (name !== 'onError') t.true(guide.includes(`| \`${name}\``), name);
    // A wrong type is refused, so the option exists.
    t.throws(() => new StreamServer(() => {}, null, 0, { [name]: 'wrong' }), { instanceOf: TypeError }, name);
  }
});
