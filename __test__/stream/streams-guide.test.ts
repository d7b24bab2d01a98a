/** The programs of the guide "With other streams". */
// Runs once: they are programs over the public API, which has tests of its own for each engine.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { once } from 'node:events';
import { connect } from 'sluice';
import { Guide } from '../documents.js';

const streams = new Guide('docs/with-other-streams.md');

streams.test('upper-server.ts', 'a server passes the rest of a connection through a pipeline', async (t, work) => {
  const { port } = await work.serve('upper-server.ts');
  await using stream = await connect('127.0.0.1', port);
  await stream.write('UPPER\nloud ');
  await stream.write('words');
  await stream.writeEof();
  t.is((await stream.read(-1)).toString(), 'LOUD WORDS');
});

streams.test('agent.ts', 'an agent connects by streams', async (t, work) => {
  const server = createServer((_request, response) => response.end('ok'));
  t.teardown(() => server.close());
  await once(server.listen(0, '127.0.0.1'), 'listening');
  t.is(await work.run('agent.ts', (server.address() as AddressInfo).port), '200\n');
});

streams.test('unzip.ts', 'a body is decompressed by web streams', async (t, work) => {
  t.is(await work.run('unzip.ts'), 'a compressed body\n');
});

streams.test('over-web.ts', 'a stream over web streams', async (t, work) => {
  t.is(await work.run('over-web.ts'), 'an echo\n\n');
});

streams.test('one-port.ts', 'a server speaks HTTP and a protocol of lines on one port', async (t, work) => {
  const { port } = await work.serve('one-port.ts');
  const response = await fetch(`http://127.0.0.1:${port}/path`);
  t.is(await response.text(), 'You asked for /path\n');
  await using stream = await connect('127.0.0.1', port);
  await stream.write('hello\n');
  t.is((await stream.readline()).toString(), 'You said hello\n');
});

streams.testWhole();
