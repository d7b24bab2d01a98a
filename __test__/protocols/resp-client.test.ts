/** The client of the RESP example against servers that are silent, cut their replies short, or send what they must not. */
// Runs once: the replies come from the same calls on either engine.
import type { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { TimeoutError } from 'sluice';
import { ConnectionLostError, RespClient, type ClientOptions } from '../../examples/protocols/resp/client.js';
import { ReplyError } from '../../examples/protocols/resp/replies.js';
import { listen, turns, until } from '../loopback.js';

/** A server that answers the n-th batch of requests of each connection with the n-th reply; null ends the connection. */
async function scripted(
  t: ExecutionContext,
  ...replies: readonly (string | Buffer | null)[]
): Promise<{ port: number; sockets: Socket[]; requests: string[] }> {
  const sockets: Socket[] = [];
  const requests: string[] = [];
  const { port } = await listen(t, (socket) => {
    sockets.push(socket);
    const left = [...replies];
    socket.on('data', (data: Buffer) => {
      requests.push(data.toString());
      const reply = left.shift();
      if (reply === null) socket.end();
      else if (reply !== undefined) socket.write(reply);
    });
    socket.on('end', () => socket.end());
  });
  return { port, sockets, requests };
}

const HELLO = '%1\r\n+proto\r\n:3\r\n';

async function connected(t: ExecutionContext, port: number, options: ClientOptions = {}): Promise<RespClient> {
  const client = await RespClient.connect('127.0.0.1', port, { retries: 0, ...options });
  t.teardown(() => client.close());
  return client;
}

test('a server that accepts and says nothing ends the attempt to connect after the timeout', async (t) => {
  const { port } = await scripted(t);
  await t.throwsAsync(RespClient.connect('127.0.0.1', port, { timeout: 50, connection: { timeout: 30_000 } }), {
    instanceOf: TimeoutError,
    message: /greeting within 50 ms/,
  });
});

test('a reply that ends at any byte rejects its call and those after it', async (t) => {
  const whole = '*4\r\n$3\r\none\r\n:2\r\n%1\r\n+a\r\n#t\r\n_\r\n';
  for (let length = 0; length < whole.length; length++) {
    const { port, sockets } = await scripted(t, HELLO);
    const client = await connected(t, port);
    const calls = [client.call('LRANGE', 'a', 0, -1), client.call('PING')];
    sockets[0]!.end(whole.slice(0, length));
    for (const call of calls) await t.throwsAsync(call, { instanceOf: ConnectionLostError });
    await client.close();
  }
});

test('what a server must not send ends the connection with one error', async (t) => {
  for (const [bad, cause] of [
    ['?\r\n', /unknown type/],
    [':1x\r\n', /invalid value/],
    ['$-5\r\n', /length/],
    ['$99999999999\r\n', /./],
    ['*99999999\r\n', /items|length/],
    ['*1\r\n'.repeat(1000), /nested/],
    [`+${'x'.repeat(200_000)}`, /line of more/],
  ] as const) {
    const { port } = await scripted(t, HELLO, bad);
    const client = await connected(t, port);
    const lost = await t.throwsAsync(client.call('GET', 'a'), { instanceOf: ConnectionLostError }, bad.slice(0, 20));
    t.regex(String(lost.cause), cause);
    await client.close();
  }
});

test('a reply that was not asked for ends the connection', async (t) => {
  const { port, sockets } = await scripted(t, HELLO, '+OK\r\n+OK\r\n');
  const client = await connected(t, port);
  t.is(await client.call('GET', 'a'), 'OK');
  await until(() => sockets[0]!.destroyed);
  await client.close();
});

test('a subscription that the server refuses is not one: the next attempt asks again', async (t) => {
  const { port, requests } = await scripted(t, HELLO, '-NOPERM no\r\n', '>3\r\n+subscribe\r\n+news\r\n:1\r\n');
  const client = await connected(t, port);
  await t.throwsAsync(
    client.subscribe('news', () => {}),
    { instanceOf: ReplyError },
  );
  await client.subscribe('news', () => {});
  t.is(requests.filter((request) => request.includes('SUBSCRIBE')).length, 2);
});

test('a push without a channel calls no listener, and what a callback throws or rejects with goes to onError', async (t) => {
  const pushes = '>1\r\n+message\r\n>2\r\n+message\r\n_\r\n>1\r\n+invalidate\r\n>0\r\n+OK\r\n';
  const message = '>3\r\n+message\r\n+news\r\n+text\r\n';
  const subscribed = '>3\r\n+subscribe\r\n+news\r\n:1\r\n';
  const bug = new Error('a bug');
  const failures: (() => void | PromiseLike<void>)[] = [
    () => {
      throw bug;
    },
    () => Promise.reject(bug),
    () => ({ then: (_, reject) => void reject?.(bug) as never }),
  ];
  for (const fail of failures) {
    const { port } = await scripted(t, HELLO, pushes, subscribed + message, '+PONG\r\n');
    const thrown: unknown[] = [];
    const onError = (error: unknown): void => void thrown.push(error);
    const client = await connected(t, port, { onPush: fail, onError });
    t.is(await client.call('SET', 'a', 'b'), 'OK');
    await client.subscribe('news', fail);
    t.is(await client.call('PING'), 'PONG');
    await until(() => thrown.length === 3);
    t.deepEqual(thrown, [bug, bug, bug]);
  }
});

test('a server that closes every connection after its greeting is not asked without a pause', async (t) => {
  const { port, sockets } = await scripted(t, HELLO);
  const client = await connected(t, port, { pause: 1_000_000 });
  sockets[0]!.end();
  await until(() => sockets[0]!.destroyed);
  await turns(50);
  t.is(sockets.length, 1);
  const waiting = client.call('PING');
  await client.close();
  await t.throwsAsync(waiting, { instanceOf: ConnectionLostError });
});

test('a call that is made when another one is lost waits for the next connection', async (t) => {
  const { port, sockets } = await scripted(t, HELLO, '+one\r\n');
  const client = await connected(t, port, { retries: 10, pause: 1 });
  const again = client.call('GET', 'a').catch(() => client.call('GET', 'b'));
  sockets[0]!.resetAndDestroy();
  t.is(await again, 'one');
});

test('close ends a client whose new connection has not been greeted, and its calls reject', async (t) => {
  let accepted = 0;
  const { port } = await listen(t, (socket) => {
    if (++accepted > 1) return;
    socket.write(HELLO);
    setImmediate(() => socket.end());
  });
  const client = await connected(t, port, { retries: 10, pause: 1 });
  await until(() => accepted === 2);
  const call = client.call('PING');
  await client.close();
  await t.throwsAsync(call, { instanceOf: ConnectionLostError });
  await client.closed;
});
