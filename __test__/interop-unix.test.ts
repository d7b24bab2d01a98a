/** socat and nc as peers over Unix sockets, in either role, with half-close from either side. */
// Runs once for each way of reading: the peer sends the same bytes to either engine.
import { readFile } from 'node:fs/promises';
import { Buffer } from 'node:buffer';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { connectUnix, UnixStreamServer } from 'sluice';
import { directory } from './fifo.js';
import { bytes } from './http.js';
import { clientContract, reach, sum, summed, type Client } from './interop.js';
import { Process, installed } from './program.js';

const clients: readonly Client[] = [
  { name: 'nc', arguments: (file) => ['-N', '-U', file] },
  { name: 'socat', arguments: (file) => ['-t120', '-', `UNIX-CONNECT:${file}`] },
];

clientContract(test, clients, async (t, handler) => {
  const file = path.join(directory(t), 'service.sock');
  const server = new UnixStreamServer(handler, file, { onError: (error) => t.log(error) });
  t.teardown(() => server.abort());
  await server.startServing();
  return file;
});

test('connectUnix to nc: data in both directions, then EOF from nc', async (t) => {
  if (!installed(t, 'nc')) return;
  const file = path.join(directory(t), 'nc.sock');
  const nc = new Process(t, 'nc', ['-N', '-l', '-U', file], { input: true });
  await using stream = await reach(file);
  await stream.write('to nc\n');
  await nc.prints(/^to nc\n$/);
  nc.type('from nc\n');
  nc.hangUp();
  t.is((await stream.read()).toString(), 'from nc\n');
  await stream.close();
  t.is((await nc.ended).code, 0);
});

test('connectUnix to socat: after a half-close, the answer of a program that reads to EOF', async (t) => {
  if (!installed(t, 'socat')) return;
  const file = path.join(directory(t), 'socat.sock');
  const socat = new Process(t, 'socat', ['-t120', `UNIX-LISTEN:${file}`, 'SYSTEM:wc -c']);
  await using stream = await reach(file);
  const data = bytes(1_000_000);
  await stream.write(data);
  await stream.writeEof();
  t.is(Number((await stream.read()).toString()), data.length);
  await stream.close();
  t.is((await socat.ended).code, 0);
});

test('socat connects to an abstract name of ours, and we to its own', async (t) => {
  if (process.platform !== 'linux') {
    t.log('only Linux has abstract names');
    t.pass();
    return;
  }
  if (!installed(t, 'socat')) return;
  const name = `sluice-interop-${process.pid}`;
  const server = new UnixStreamServer(sum, `\0${name}`);
  t.teardown(() => server.abort());
  await server.startServing();
  // The libuv of Node 20 pads an abstract name with zero bytes, which are part of it; the other side must do the same.
  const padded = (await readFile('/proc/net/unix', 'latin1')).includes(`@${name}@`);
  const form = padded ? ',unix-tightsocklen=0' : '';
  t.log(padded ? 'this runtime fills abstract names up' : 'this runtime takes abstract names as they are');
  const client = new Process(t, 'socat', ['-t120', '-', `ABSTRACT-CONNECT:${name}${form}`], { input: true });
  client.type('abc');
  client.hangUp();
  t.is((await client.ended).stdout, summed(Buffer.from('abc')));

  const socat = new Process(t, 'socat', ['-d', '-d', '-t120', `ABSTRACT-LISTEN:${name}-2${form}`, 'SYSTEM:cat']);
  await socat.complains(/listening on/);
  await using stream = await connectUnix(`\0${name}-2`);
  await stream.write('there and back\n');
  t.is((await stream.readline()).toString(), 'there and back\n');
});

// Serial, with a stopped clock: a socket that does not listen is stale after a second, which may pass on a busy machine
// before this one listens.
test.serial('a socket that is bound and about to listen is not replaced as stale', async (t) => {
  if (!installed(t, 'python3')) return;
  const { now } = Date;
  const stopped = now();
  Date.now = () => stopped;
  t.teardown(() => (Date.now = now));
  const file = path.join(directory(t), 'service.sock');
  const script = [
    'import socket, sys',
    'listener = socket.socket(socket.AF_UNIX)',
    `listener.bind(${JSON.stringify(file)})`,
    'print("bound", flush=True)',
    'sys.stdin.readline()',
    'listener.listen()',
    'print("listens", flush=True)',
    'sys.stdin.readline()',
    'listener.setblocking(False)',
    'try:',
    '  while True: listener.accept()',
    'except BlockingIOError: pass',
    'print("ends", flush=True)',
  ].join('\n');
  const python = new Process(t, 'python3', ['-c', script], { input: true });
  await python.prints(/^bound$/m);
  const server = new UnixStreamServer(sum, file, { onError: (error) => t.log(error) });
  t.teardown(() => server.abort());
  const refused = t.throwsAsync(server.startServing(), { code: 'EADDRINUSE' });
  // Time enough to find that the socket does not listen, and to remove the file.
  await sleep(200);
  python.type('\n');
  await python.prints(/^listens$/m);
  await refused;
  await using stream = await connectUnix(file);
  python.type('\n');
  t.is((await python.ended).code, 0);
  t.is((await stream.read()).length, 0);
});
