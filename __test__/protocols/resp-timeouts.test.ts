/** Which clients the server of the RESP example cuts off, and which not. */
// Runs once: the timeouts are the same for either engine.
import test, { type ExecutionContext } from 'ava';
import { connect, type Stream, type StreamServer } from 'sluice';
import { fakeClock } from 'sluice/testing';
import { respServer } from '../../examples/protocols/resp/server.js';
import { portOf, until } from '../loopback.js';

async function serve(t: ExecutionContext): Promise<{ server: StreamServer; codes: unknown[] }> {
  const codes: unknown[] = [];
  const onError = (error: unknown): void => void codes.push((error as { code?: string }).code);
  const server = respServer('127.0.0.1', 0, { onError });
  t.teardown(() => server.abort());
  await server.startServing();
  return { server, codes };
}

async function open(t: ExecutionContext, server: StreamServer, request: string): Promise<Stream> {
  const stream = await connect('127.0.0.1', portOf(server), { limit: 1024 });
  t.teardown(() => stream.abort());
  await stream.write(request);
  return stream;
}

test.serial('a client that does not complete its request is cut off, an idle subscriber is not', async (t) => {
  using clock = fakeClock();
  const { server, codes } = await serve(t);
  const subscriber = await open(t, server, 'SUBSCRIBE news\r\n');
  await subscriber.readexactly(33);
  // The reply shows that the server has what follows it, too.
  const slow = await open(t, server, 'PING\r\n*2\r\n$4\r\nECHO\r\n$67000000\r\nx');
  await slow.readexactly(7);
  for (let i = 0; i < 60 && codes.length === 0; i++) {
    await slow.write('x').catch(() => {});
    await clock.advance(2000);
  }
  await until(() => codes.length > 0);
  t.deepEqual(codes, ['ERR_READ_TIMEOUT']);
  await clock.advance(3_600_000);
  await subscriber.write('PING\r\n');
  t.is((await subscriber.readexactly(20)).toString(), '*2\r\n$4\r\npong\r\n$0\r\n\r\n');
});

test.serial('a client that does not read its replies is cut off', async (t) => {
  using clock = fakeClock();
  const { server, codes } = await serve(t);
  const word = `$60000\r\n${'x'.repeat(60_000)}\r\n`;
  const stream = await open(t, server, '');
  void stream.write(`*2\r\n$4\r\nECHO\r\n${word}`.repeat(500)).catch(() => {});
  for (let i = 0; i < 60 && codes.length === 0; i++) await clock.advance(2000);
  await until(() => codes.length > 0);
  t.deepEqual(codes, ['ERR_WRITE_TIMEOUT']);
});
