/** The programs of docs/diagnostics.md. `guides.test.ts` compiles them. */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { connect } from 'sluice';
import { Guide } from './documents.js';
import { serving, sparePort } from './loopback.js';

const guide = new Guide('docs/diagnostics.md');

guide.test(
  'connect-times.ts',
  'connects are printed with their time, and failed ones with their code',
  async (t, work) => {
    const { port } = await serving(t, (stream) => stream.close());
    t.regex(
      await work.run('connect-times.ts', port),
      new RegExp(`^127\\.0\\.0\\.1 port ${port}: connected after [\\d.]+ ms\n$`),
    );
    const spare = await sparePort(t);
    t.regex(
      await work.run('connect-times.ts', spare),
      new RegExp(`^127\\.0\\.0\\.1 port ${spare}: ECONNREFUSED after [\\d.]+ ms\n$`),
    );
  },
);

guide.test('log-context.ts', 'what handlers log names their connection', async (t, work) => {
  const { server, port } = await work.serve('log-context.ts');
  const clients = [await connect('127.0.0.1', port), await connect('127.0.0.1', port)];
  for (const [i, client] of clients.entries()) {
    await client.write(`hello ${i}\n`);
    t.is((await client.readline()).toString(), `You said: hello ${i}\n`);
  }
  for (const [i, client] of clients.entries()) {
    const own = (client.getExtraInfo('sockname') as { port: number }).port;
    await server.prints(new RegExp(`^\\[127\\.0\\.0\\.1 port ${own}\\] received hello ${i}$`, 'm'));
    await client.close();
    await server.prints(new RegExp(`^\\[127\\.0\\.0\\.1 port ${own}\\] closed$`, 'm'));
  }
  t.pass();
});

guide.test('counters.ts', 'the counters of the server are printed', async (t, work) => {
  const { server, port } = await work.serve('counters.ts', { env: { ...process.env, EVERY_MS: '20' } });
  const first = await connect('127.0.0.1', port);
  await first.write('hello\n');
  await first.readline();
  await server.prints(/^1 of 1 connections, 6 bytes read, 6 written$/m);
  await first.close();
  await server.prints(/^0 of 1 connections, 6 bytes read, 6 written$/m);
  t.pass();
});

guide.testWhole();
