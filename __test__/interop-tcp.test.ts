/** socat and nc as peers over TCP, in either role, with half-close from either side. */
// Runs once for each way of reading: the peer sends the same bytes to either engine.
import { Buffer } from 'node:buffer';
import test, { type ExecutionContext } from 'ava';
import { connect, StreamServer } from 'sluice';
import { bytes } from './http.js';
import { clientContract, type Client } from './interop.js';
import { portOf } from './loopback.js';
import { Process, installed } from './program.js';

const clients: readonly Client[] = [
  { name: 'nc', arguments: (port) => ['-N', '127.0.0.1', port] },
  { name: 'socat', arguments: (port) => ['-t120', '-', `TCP4:127.0.0.1:${port}`] },
];

clientContract(test, clients, async (t, handler) => {
  const server = new StreamServer(handler, '127.0.0.1', 0, { onError: (error) => t.log(error) });
  t.teardown(() => server.abort());
  await server.startServing();
  return String(portOf(server));
});

/** socat, which accepts one connection and passes it to a shell command. */
async function listening(t: ExecutionContext, command: string): Promise<{ port: number; socat: Process }> {
  const args = ['-d', '-d', '-t120', 'TCP4-LISTEN:0,bind=127.0.0.1', `SYSTEM:${command}`];
  const socat = new Process(t, 'socat', args);
  const [, port] = await socat.complains(/listening on .*:(\d+)$/m);
  return { port: Number(port), socat };
}

test('connect to socat: after a half-close, the answer of a program that reads to EOF', async (t) => {
  if (!installed(t, 'socat')) return;
  const { port, socat } = await listening(t, 'wc -c');
  await using stream = await connect('127.0.0.1', port);
  const data = bytes(3_000_000);
  await stream.write(data);
  await stream.writeEof();
  t.is(Number((await stream.read()).toString()), data.length);
  await stream.close();
  t.is((await socat.ended).code, 0);
});

test('connect to socat: megabytes in both directions at once', async (t) => {
  if (!installed(t, 'socat')) return;
  const { port } = await listening(t, 'cat');
  await using stream = await connect('127.0.0.1', port);
  const data = bytes(8_000_000);
  const back = stream.readexactly(data.length);
  await stream.write(data);
  await stream.writeEof();
  t.true(data.equals(await back));
  t.is((await stream.read()).length, 0);
});

test('connect to nc: data in both directions, then EOF from nc', async (t) => {
  if (!installed(t, 'nc')) return;
  const nc = new Process(t, 'nc', ['-n', '-v', '-N', '-l', '127.0.0.1', '0'], { input: true });
  const [, port] = await nc.complains(/Listening on \S+ (\d+)$/m);
  await using stream = await connect('127.0.0.1', Number(port));
  nc.type('from nc\n');
  t.is((await stream.readline()).toString(), 'from nc\n');
  await stream.write('to nc\n');
  await nc.prints(/^to nc\n$/);
  nc.hangUp();
  t.is((await stream.read()).length, 0);
  await stream.close();
  t.is((await nc.ended).code, 0);
});

test('connect to nc: after EOF from nc, it can still be written to', async (t) => {
  if (!installed(t, 'nc')) return;
  const nc = new Process(t, 'nc', ['-n', '-v', '-N', '-l', '127.0.0.1', '0'], { input: true });
  const [, port] = await nc.complains(/Listening on \S+ (\d+)$/m);
  await using stream = await connect('127.0.0.1', Number(port));
  nc.type('all\n');
  nc.hangUp();
  t.is((await stream.read()).toString(), 'all\n');
  t.false(stream.isClosing());
  const data = bytes(1_000_000).map((byte) => 0x20 + (byte % 0x5f));
  await stream.write(data);
  await stream.close();
  const { code, stdout } = await nc.ended;
  t.is(code, 0);
  t.is(stdout, Buffer.from(data).toString());
});
