/** The RESP examples against the programs and libraries of Redis, in both roles. */
// Runs once: the examples use only the public calls of a stream, and each way of reading has its own tests of sockets.
import { Redis as IoRedis } from 'ioredis';
import { createClient, RESP_TYPES } from 'redis';
import test, { type ExecutionContext } from 'ava';
import { connect, type Stream, StreamServer } from 'sluice';
import { ConnectionLostError, RespClient, type ClientOptions } from '../../examples/protocols/resp/client.js';
import { ReplyError } from '../../examples/protocols/resp/replies.js';
import { RespServer, respServer } from '../../examples/protocols/resp/server.js';
import { sameBytes } from '../bytes.js';
import { deferred, listen, portOf, sparePort, until } from '../loopback.js';
import { example, installed, Process, Program } from '../program.js';
import { dataFolder, peer } from './peers.js';

async function server(t: ExecutionContext): Promise<{ server: StreamServer; port: number; errors: unknown[] }> {
  const errors: unknown[] = [];
  const server = respServer('127.0.0.1', 0, { onError: (error) => void errors.push(error) });
  t.teardown(() => server.abort());
  await server.startServing();
  return { server, port: portOf(server), errors };
}

async function redisServer(t: ExecutionContext, port: number, ...more: string[]): Promise<Process> {
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', dataFolder(t), ...more];
  return peer(t, port, 'redis-server', options);
}

async function client(t: ExecutionContext, port: number, options?: ClientOptions): Promise<RespClient> {
  const client = await RespClient.connect('127.0.0.1', port, options);
  t.teardown(() => client.close());
  return client;
}

async function cli(t: ExecutionContext, port: number, ...words: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Process(t, 'redis-cli', ['-p', String(port), ...words]).ended;
  t.is(stderr, '');
  t.is(code, 0);
  return stdout;
}

// ------------------------------------------------------------------------------------------------ the server

test('redis-cli works with the server, in RESP 2 and RESP 3', async (t) => {
  if (!installed(t, 'redis-cli')) return;
  const { port } = await server(t);
  for (const version of ['-2', '-3']) {
    t.is(await cli(t, port, version, 'SET', 'key', 'a\r\nb é'), 'OK\n');
    t.is(await cli(t, port, version, 'GET', 'key'), 'a\r\nb é\n');
    t.is(await cli(t, port, version, 'GET', 'none'), '\n');
    t.is(await cli(t, port, version, 'MSET', 'a', '1', 'b', '2'), 'OK\n');
    t.is(await cli(t, port, version, 'MGET', 'a', 'none', 'b'), '1\n\n2\n');
    t.is(await cli(t, port, version, 'SET', 'a', '3', 'NX'), '\n');
    t.is(await cli(t, port, version, 'INCRBY', 'a', '41'), '42\n');
    t.is(await cli(t, port, version, 'RPUSH', 'list', 'b', 'c'), '2\n');
    t.is(await cli(t, port, version, 'LPUSH', 'list', 'a'), '3\n');
    t.is(await cli(t, port, version, 'LRANGE', 'list', '-3', '-1'), 'a\nb\nc\n');
    t.is(await cli(t, port, version, 'LPOP', 'list'), 'a\n');
    t.is(await cli(t, port, version, 'RPOP', 'list'), 'c\n');
    t.is(await cli(t, port, version, 'TYPE', 'list'), 'list\n');
    t.is(await cli(t, port, version, 'DEL', 'list', 'a', 'none'), '2\n');
    t.regex(await cli(t, port, version, 'LPUSH', 'key', 'x'), /^WRONGTYPE /);
    t.regex(await cli(t, port, version, 'INCR', 'key'), /^ERR value is not an integer/);
    t.regex(await cli(t, port, version, 'NONSENSE'), /^ERR unknown command 'NONSENSE'/);
    t.regex(await cli(t, port, version, 'GET'), /^ERR wrong number of arguments for 'get' command/);
  }
});

test('redis-cli --pipe sends many requests without waiting, and gets a reply to each', async (t) => {
  if (!installed(t, 'redis-cli')) return;
  const { port } = await server(t);
  const pipe = new Process(t, 'redis-cli', ['-p', String(port), '--pipe'], { input: true });
  const count = 5000;
  pipe.type(
    Array.from({ length: count }, (_, i) => `*3\r\n$3\r\nSET\r\n$8\r\n${10_000_000 + i}\r\n$1\r\nx\r\n`).join(''),
  );
  pipe.hangUp();
  const { stdout } = await pipe.ended;
  t.regex(stdout, new RegExp(`errors: 0, replies: ${count}`));
  t.is(await cli(t, port, 'DBSIZE'), `${count}\n`);
});

test('redis-benchmark gets what it expects', async (t) => {
  if (!installed(t, 'redis-benchmark')) return;
  const { port, errors } = await server(t);
  for (const [pipeline, size] of [
    ['1', '3'],
    ['16', '4096'],
  ] as const) {
    const options = ['-p', String(port), '-n', '500', '-c', '5', '-P', pipeline, '-d', size, '-r', '20', '--csv'];
    const tests = 'ping_inline,ping_mbulk,set,get,incr,lpush,rpush,lpop,rpop,lrange_100,mset';
    const run = await new Process(t, 'redis-benchmark', [...options, '-t', tests]).ended;
    t.is(run.code, 0, run.stdout + run.stderr);
    t.notRegex(run.stdout + run.stderr, /error|unknown|wrong|warning/i);
    t.is(run.stdout.match(/^"(?!test)/gm)?.length, 12);
  }
  // It counts the replies of all connections together and leaves when it has enough: some connections still have replies on the way.
  const codes = errors.map((error) => (error as { code?: string }).code);
  t.deepEqual(
    codes.filter((code) => code !== 'ECONNRESET' && code !== 'EPIPE'),
    [],
    String(errors),
  );
});

test('ioredis pipelines, subscribes and receives binary data', async (t) => {
  const { port } = await server(t);
  const redis = new IoRedis(port, '127.0.0.1');
  const subscriber = redis.duplicate();
  t.teardown(() => redis.disconnect());
  t.teardown(() => subscriber.disconnect());
  const pipeline = redis.pipeline();
  for (let i = 0; i < 1000; i++) pipeline.set(`key:${i}`, `value ${i}`).get(`key:${i}`);
  const results = await pipeline.exec();
  t.is(results?.length, 2000);
  t.deepEqual(results?.at(-1), [null, 'value 999']);

  const bytes = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
  await redis.rpush('list', bytes, 'x');
  t.deepEqual(await redis.lrangeBuffer('list', 0, -1), [bytes, Buffer.from('x')]);
  await redis.set(bytes, 'binary key');
  t.is(await redis.get(bytes), 'binary key');

  await subscriber.subscribe('news', 'weather');
  const message = deferred<string[]>();
  subscriber.on('message', (...words: string[]) => message.resolve(words));
  t.is(await redis.publish('news', 'hello'), 1);
  t.deepEqual(await message.promise, ['news', 'hello']);
  await subscriber.unsubscribe('news');
  t.is(await redis.publish('news', 'hello'), 0);
});

for (const RESP of [2, 3] as const) {
  test(`node-redis speaks RESP ${RESP} with the server`, async (t) => {
    const { port } = await server(t);
    const redis = createClient({ socket: { host: '127.0.0.1', port }, RESP });
    t.teardown(() => redis.destroy());
    await redis.connect();
    const binary = redis.withTypeMapping({ [RESP_TYPES.BLOB_STRING]: Buffer });
    const value = Buffer.alloc(100_000, 'ab\r\n');
    const [set, get, none, range] = await Promise.all([
      redis.set('key', value),
      binary.get('key'),
      redis.get('none'),
      redis.lPush('list', ['a', 'b']).then(() => redis.lRange('list', 0, -1)),
    ]);
    t.is(set, 'OK');
    sameBytes(t, Buffer.from(get as unknown as Buffer), value);
    t.is(none, null);
    t.deepEqual(range, ['b', 'a']);
    await t.throwsAsync(redis.incr('key'), { message: /not an integer/ });

    const subscriber = redis.duplicate();
    t.teardown(() => subscriber.destroy());
    await subscriber.connect();
    const message = deferred<[string, string]>();
    await subscriber.subscribe('news', (text, channel) => message.resolve([text, channel]));
    t.is(await redis.publish('news', 'hello'), 1);
    t.deepEqual(await message.promise, ['hello', 'news']);
  });
}

test('large words come back as they were sent, however late the client reads', async (t) => {
  let serving: Stream | undefined;
  const { handler } = new RespServer();
  const server = new StreamServer((stream, context) => handler((serving = stream), context), '127.0.0.1', 0);
  t.teardown(() => server.abort());
  await server.startServing();
  const stream = await connect('127.0.0.1', portOf(server), { limit: 1024 });
  t.teardown(() => stream.abort());
  const expected: string[] = [];
  const requests = Array.from({ length: 200 }, (_, i) => {
    const word = `$60000\r\n${String.fromCharCode(97 + (i % 26)).repeat(60_000)}\r\n`;
    const config = i % 3 === 0;
    expected.push(config ? `*2\r\n${word}$0\r\n\r\n` : word);
    return config
      ? `*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n${word}`
      : `*2\r\n$4\r\n${i % 3 === 1 ? 'PING' : 'ECHO'}\r\n${word}`;
  });
  const sending = stream.write(requests.join(''));
  // The system takes no more from the server until the client reads.
  await until(() => serving !== undefined && serving.writeBufferSize > 0);
  const replies = await stream.readexactly(expected.join('').length);
  t.true(replies.equals(Buffer.from(expected.join(''))));
  await sending;
});

test('a reply that is too long is one error, and those before and after it arrive', async (t) => {
  const { port, errors } = await server(t);
  const redis = await client(t, port);
  const value = 'v'.repeat(16_000);
  const large = 'x'.repeat(30_000);
  const calls = [
    redis.call('MSET', 'key', value, 'large', large),
    redis.call('GET', 'large'),
    redis.call('MGET', ...Array<string>(65_000).fill('key')),
    redis.call('MGET', ...Array<string>(65_000).fill('large')),
    redis.call('MGET', 'key', 'large'),
  ];
  const settled = await Promise.allSettled(calls);
  t.deepEqual(
    settled.map((result) => (result.status === 'fulfilled' ? result.value : (result.reason as Error).message)),
    [
      'OK',
      large,
      'ERR the reply is longer than 100663296 bytes',
      'ERR the reply is longer than 100663296 bytes',
      [value, large],
    ],
  );
  t.deepEqual(errors, []);
});

test('commands in a request of HTTP are not executed', async (t) => {
  const { port, errors } = await server(t);
  const redis = await client(t, port);
  await redis.call('SET', 'key', 'value');
  for (const head of ['POST / HTTP/1.1\r\n', 'PUT / HTTP/1.1\r\nHost: x\r\n']) {
    const stream = await connect('127.0.0.1', port);
    await stream.write(`${head}Content-Length: 10\r\n\r\nFLUSHALL\r\n`);
    t.regex((await stream.read()).toString(), /-ERR Protocol error: [^\r\n]+\r\n$/);
    await stream.close();
  }
  t.is(await redis.call('GET', 'key'), 'value');
  t.deepEqual(errors, []);
});

test('in RESP 2, a client that is subscribed can only change that, PING and QUIT', async (t) => {
  const { port } = await server(t);
  const stream = await connect('127.0.0.1', port);
  t.teardown(() => stream.abort());
  await stream.write('SUBSCRIBE news\r\nSET key value\r\nHELLO 3\r\nPING\r\nUNSUBSCRIBE\r\nGET key\r\nQUIT\r\n');
  const refused = (name: string): string =>
    `-ERR Can't execute '${name}': only (UN)SUBSCRIBE, PING and QUIT are allowed in this context\r\n`;
  const subscribed = '*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n';
  const pong = '*2\r\n$4\r\npong\r\n$0\r\n\r\n';
  const unsubscribed = '*3\r\n$11\r\nunsubscribe\r\n$4\r\nnews\r\n:0\r\n';
  const replies = [subscribed, refused('set'), refused('hello'), pong, unsubscribed, '$-1\r\n', '+OK\r\n'];
  t.is((await stream.read()).toString(), replies.join(''));

  const redis = await client(t, port);
  await redis.subscribe('news', () => {});
  t.is(await redis.call('SET', 'key', 'value'), 'OK');
});

test('a connection has one id, and no two have the same', async (t) => {
  const { port } = await server(t);
  const clients = await Promise.all([client(t, port), client(t, port)]);
  const ids = await Promise.all(
    clients.map((redis) => Promise.all([redis.call('CLIENT', 'ID'), redis.call('CLIENT', 'ID')])),
  );
  for (const [first, second] of ids) t.is(first, second);
  t.not(ids[0]![0], ids[1]![0]);
});

test('a client that sends garbage gets the earlier replies, one error and the end of the connection', async (t) => {
  const { port, errors } = await server(t);
  for (const garbage of ['*1\r\n$-5\r\n', '*99999999\r\n', '*1\r\n:1\r\n', '*1\r\n$9999999999\r\n']) {
    const stream = await connect('127.0.0.1', port);
    await stream.write(`PING\r\n${garbage}PING\r\n`);
    t.regex((await stream.read()).toString(), /^\+PONG\r\n-ERR Protocol error: [^\r\n]+\r\n$/);
    await stream.close();
  }
  t.deepEqual(errors, []);
});

test('a subscriber that does not read is cut off, and the others get every message', async (t) => {
  const errors: unknown[] = [];
  const server = respServer('127.0.0.1', 0, { maxWriteBuffer: 1_000_000, onError: (error) => void errors.push(error) });
  t.teardown(() => server.abort());
  await server.startServing();
  const stalled = await connect('127.0.0.1', portOf(server), { limit: 1024 });
  t.teardown(() => stalled.abort());
  await stalled.write('SUBSCRIBE news\r\n');
  t.regex((await stalled.readexactly(25)).toString(), /subscribe/);
  const reader = await client(t, portOf(server));
  const publisher = await client(t, portOf(server));
  let received = 0;
  await reader.subscribe('news', () => {
    received++;
  });
  const message = 'x'.repeat(100_000);
  let sent = 0;
  for (let receivers = 2; receivers === 2; sent++)
    receivers = (await publisher.call('PUBLISH', 'news', message)) as number;
  await until(() => received === sent);
  t.is((errors[0] as { code?: string }).code, 'ERR_WRITE_OVERFLOW');
});

test('the program serves, and ends by SIGTERM after it has answered', async (t) => {
  const program = new Program(t, example('protocols/resp/server'), ['0']);
  const [, port] = await program.prints(/^Serving on 127\.0\.0\.1:(\d+)$/m);
  const { stdout } = await new Program(t, example('protocols/resp/client'), ['127.0.0.1', port!, 'ECHO', 'hi']).ended;
  t.is(stdout, 'hi\n');
  program.kill('SIGTERM');
  t.regex((await program.ended).stdout, /\nStopped\n$/);
});

// ------------------------------------------------------------------------------------------------ the client

for (const protocol of [2, 3] as const) {
  test(`the client works with redis-server in RESP ${protocol}`, async (t) => {
    if (!installed(t, 'redis-server')) return;
    const port = await sparePort(t);
    await redisServer(t, port);
    const redis = await client(t, port, { protocol });
    t.is(redis.protocol, protocol);
    const calls = Array.from({ length: 5000 }, (_, i) => [
      redis.call('SET', `key:${i}`, `välue ${i}`),
      redis.call('GET', `key:${i}`),
    ]).flat();
    const replies = await Promise.all(calls);
    t.deepEqual(replies.slice(-2), ['OK', 'välue 4999']);
    t.is(replies.filter((reply) => reply === 'OK').length, 5000);

    await redis.call('RPUSH', 'list', ...Array.from({ length: 1000 }, (_, i) => i));
    t.deepEqual(
      await redis.call('LRANGE', 'list', 0, -1),
      Array.from({ length: 1000 }, (_, i) => String(i)),
    );
    t.is(await redis.call('INCRBY', 'n', '9007199254740993'), 9007199254740993n);
    t.is(await redis.call('GET', 'none'), null);
    await redis.call('HSET', 'hash', 'a', 1, 'b', 2);
    const pairs = await redis.call('HGETALL', 'hash');
    t.deepEqual(pairs instanceof Map ? [...pairs].flat() : pairs, ['a', '1', 'b', '2']);
    const error = await t.throwsAsync(redis.call('LPUSH', 'key:1', 'x'), { instanceOf: ReplyError });
    t.regex(error.message, /^WRONGTYPE /);
    t.is(await redis.call('GET', 'key:1'), 'välue 1');

    const subscriber = await client(t, port, { protocol, buffers: true });
    const messages: unknown[] = [];
    await subscriber.subscribe('news', (message, channel) => void messages.push(message.toString(), channel));
    t.is(await redis.call('PUBLISH', 'news', 'hello'), 1);
    await until(() => messages.length > 0);
    t.deepEqual(messages, ['hello', 'news']);
    if (protocol === 3) t.deepEqual(await subscriber.call('GET', 'key:2'), Buffer.from('välue 2'));
    await subscriber.unsubscribe('news');
    t.is(await redis.call('PUBLISH', 'news', 'hello'), 0);
    t.deepEqual(await subscriber.call('GET', 'key:3'), Buffer.from('välue 3'));
  });
}

test('pushes of redis-server that are not messages go to onPush, between replies', async (t) => {
  if (!installed(t, 'redis-server')) return;
  const port = await sparePort(t);
  await redisServer(t, port);
  const pushes: unknown[] = [];
  const redis = await client(t, port, { onPush: (push) => void pushes.push(push) });
  await redis.call('CLIENT', 'TRACKING', 'ON');
  t.is(await redis.call('GET', 'key'), null);
  const other = await client(t, port);
  await other.call('SET', 'key', 'new');
  await until(() => pushes.length > 0);
  t.deepEqual(pushes, [['invalidate', ['key']]]);
  t.is(await redis.call('GET', 'key'), 'new');
});

test('the client authenticates, and connect rejects if the password is wrong', async (t) => {
  if (!installed(t, 'redis-server')) return;
  const port = await sparePort(t);
  await redisServer(t, port, '--requirepass', 'secret');
  for (const protocol of [2, 3] as const) {
    const redis = await client(t, port, { protocol, password: 'secret' });
    t.is(await redis.call('PING'), 'PONG');
    const wrong = RespClient.connect('127.0.0.1', port, { protocol, password: 'wrong' });
    await t.throwsAsync(wrong, { instanceOf: ReplyError, message: /^WRONGPASS/ });
  }
  const redis = await client(t, port).catch((error: unknown) => error);
  t.true(redis instanceof ReplyError && redis.message.startsWith('NOAUTH'));
});

test('when redis-server restarts, the client connects again and renews its subscriptions', async (t) => {
  if (!installed(t, 'redis-server')) return;
  const port = await sparePort(t);
  const first = await redisServer(t, port);
  const redis = await client(t, port, { retries: 1000, pause: 1 });
  const messages: unknown[] = [];
  await redis.subscribe('news', (message) => void messages.push(message));
  const blocked = redis.call('BLPOP', 'list', 0);
  first.kill('SIGKILL');
  await t.throwsAsync(blocked, { instanceOf: ConnectionLostError });
  const later = redis.call('PING');
  await redisServer(t, port);
  t.is(await later, 'PONG');
  const publisher = await client(t, port);
  while ((await publisher.call('PUBLISH', 'news', 'again')) === 0);
  await until(() => messages.length > 0);
  t.deepEqual(messages, ['again']);
});

test('calls that wait for a connection reject when all retries have failed', async (t) => {
  const { server: ours, port } = await server(t);
  const redis = await client(t, port, { retries: 1, pause: 1 });
  t.is(await redis.call('PING'), 'PONG');
  await ours.close();
  await t.throwsAsync(redis.closed, { code: 'ECONNREFUSED' });
  await t.throwsAsync(redis.call('PING'), { instanceOf: ConnectionLostError });
});

test('a server that sends garbage, or a reply without a request, loses its calls with the reason', async (t) => {
  for (const garbage of ['nonsense\r\n', '+OK\r\n+OK\r\n+OK\r\n', '$5\r\nabcdefg', '*1\r\n', '']) {
    let greeted = false;
    const { port } = await listen(t, (socket) => {
      socket.on('data', () => {
        if (greeted) socket.end(garbage);
        else socket.write('%0\r\n');
        greeted = true;
      });
    });
    const redis = await client(t, port, { retries: 0 });
    const [first] = await Promise.allSettled([redis.call('GET', 'a'), redis.call('GET', 'b')]).then((all) =>
      all.slice(-1),
    );
    if (garbage.startsWith('+')) t.is(first!.status, 'fulfilled');
    else t.true(first!.status === 'rejected' && first!.reason instanceof ConnectionLostError, garbage);
  }
});

test('close waits for the replies to all calls, and later calls reject', async (t) => {
  const { port } = await server(t);
  const redis = await client(t, port);
  const calls = Array.from({ length: 1000 }, (_, i) => redis.call('INCRBY', 'n', i));
  await redis.close();
  await redis.closed;
  t.is((await Promise.all(calls)).at(-1), (1000 * 999) / 2);
  await t.throwsAsync(redis.call('PING'), { instanceOf: ConnectionLostError });
});
