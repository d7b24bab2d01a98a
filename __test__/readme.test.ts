/** The programs of the README: they compile against the public types, and work together as the README says. */
// Runs once: they are programs over the public API, which has tests of its own for each engine and each way of reading.
import { readFile, readdir, stat } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import test from 'ava';
import { StreamReader, StreamServer, connect, type Stream } from 'sluice';
import { Guide } from './documents.js';
import { root } from './program.js';

const readme = new Guide('README.md');

test('the server and its client have at most 20 lines together', async (t) => {
  const programs = await readme.programs();
  const code = ['line-server.mjs', 'line-client.mjs'].map((name) => programs.get(name)!).join('');
  t.true(code.trimEnd().split('\n').length <= 20);
});

readme.test(['line-server.mjs', 'line-client.mjs'], 'the server answers the lines of its clients', async (t, work) => {
  const { port } = await work.serve('line-server.mjs');
  for (let i = 0; i < 2; i++) t.is(await work.run('line-client.mjs', port), 'You said: Hello World!\n');
});

readme.test(
  'line-server.mjs',
  'on SIGTERM the server closes the connections that are idle and ends',
  async (t, work) => {
    const { server, port } = await work.serve('line-server.mjs');
    const stream = await connect('127.0.0.1', port);
    await stream.write('one\n');
    t.is(String(await stream.readline()), 'You said: one\n');
    server.kill('SIGTERM');
    t.is((await stream.read()).length, 0);
    await stream.close();
    const { code, stderr } = await server.ended;
    t.is(stderr, '');
    t.is(code, 0);
  },
);

readme.test('message.mjs', 'messages are read with their bodies', async (t, work) => {
  const { readMessage } = (await work.load('message.mjs')) as {
    readMessage: (stream: StreamReader) => Promise<{ head: string; body: Buffer }>;
  };
  const reader = new StreamReader();
  reader.feedData('POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET / HTTP/1.1\r\n\r\n');
  t.deepEqual(await readMessage(reader), {
    head: 'POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n',
    body: Buffer.from('hello'),
  });
  t.is((await readMessage(reader)).body.length, 0);
});

readme.test('echo-frames.mjs', 'frames come back with their length', async (t, work) => {
  const { echo } = (await work.load('echo-frames.mjs')) as { echo: (stream: Stream) => Promise<void> };
  const server = new StreamServer(echo, '127.0.0.1');
  await server.startServing();
  t.teardown(() => server.abort());
  const stream = await connect('127.0.0.1', (server.sockets[0]!.address() as AddressInfo).port);
  const frames = Buffer.from('\0\0\0\x05hello\0\0\0\0\0\0\0\x01!');
  await stream.write(frames);
  await stream.writeEof();
  t.deepEqual(await stream.read(), frames);
  await stream.close();
});

readme.testWhole();

test('the links in the documents lead to existing files', async (t) => {
  const names = await readdir(path.join(root, 'docs'));
  const docs = names.filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`);
  for (const document of ['README.md', 'CONTRIBUTING.md', 'CHANGELOG.md', ...docs]) {
    const text = await readFile(path.join(root, document), 'utf8');
    for (const [, link] of text.matchAll(/\]\(((?!https?:)[^)#]+)/g)) {
      const target = path.resolve(root, path.dirname(document), link!);
      await t.notThrowsAsync(stat(target), `${document}: ${link!}`);
    }
  }
});
