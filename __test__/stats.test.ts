/** What `stream.stats()` and `server.stats()` count, over every transport. */
// Runs once for each way of reading: the engine makes no difference to streams.
import { once } from 'node:events';
import { BlockList } from 'node:net';
import { Duplex, PassThrough } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import {
  StreamServer,
  UnixStreamServer,
  connect,
  connectReadPipe,
  connectUnix,
  connectWritePipe,
  streampair,
  type Stream,
} from 'sluice';
import { certificates } from './certificates.js';
import { fakeClock } from './fake-clock.js';
import { closedByPeer, deferred, portOf, quiet, until } from './loopback.js';
import { KINDS, breakOff, serve, type Kind } from './server/servers.js';

type Pair = (t: ExecutionContext, limit: number) => Promise<[client: Stream, server: Stream]>;

/** Connects to a server of any kind. */
async function dialStream(server: StreamServer | UnixStreamServer, kind: Kind, limit: number): Promise<Stream> {
  if (server instanceof UnixStreamServer) return connectUnix(server.sockets[0]!.address() as string, { limit });
  const { ca } = await certificates();
  return connect('localhost', portOf(server), kind === 'TLS' ? { limit, ssl: { ca } } : { limit });
}

function overSockets(kind: Kind): Pair {
  return async (t, limit) => {
    const accepted = deferred<Stream>();
    const over = deferred();
    const { server } = await serve(
      t,
      kind,
      (stream) => {
        accepted.resolve(stream);
        return over.promise;
      },
      { limit },
    );
    t.teardown(() => over.resolve());
    return [await dialStream(server, kind, limit), await accepted.promise];
  };
}

const PAIRS: Record<string, Pair> = {
  TCP: overSockets('TCP'),
  TLS: overSockets('TLS'),
  Unix: overSockets('Unix'),
  async Duplex(_, limit) {
    const [there, back] = [new PassThrough(), new PassThrough()];
    const client = await connect({ sock: Duplex.from({ readable: back, writable: there }), limit });
    const server = await connect({ sock: Duplex.from({ readable: there, writable: back }), limit, serverSide: true });
    return [client, server];
  },
  memory: (_, limit) => Promise.resolve(streampair({ limit })),
};

const LARGE = 16 << 20;

for (const [name, open] of Object.entries(PAIRS)) {
  test(`${name}: stats() counts bytes and frames, and what is buffered`, async (t) => {
    const before = Date.now();
    const [client, server] = await open(t, 1000);
    t.teardown(() => Promise.all([client.abort(), server.abort()]));
    const { openedAt, ...none } = server.stats();
    t.true(Math.abs(openedAt - before) < 60_000);
    t.deepEqual(none, {
      bytesRead: 0,
      bytesWritten: 0,
      framesRead: 0,
      buffered: 0,
      writeBufferSize: 0,
      timePaused: 0,
      timeBlocked: 0,
    });
    await client.write('one\n');
    await server.readline();
    t.is(server.stats().framesRead, 1);
    await client.write('two\nthree;four;five\nsix\nseven\n');
    await client.writeframe('eight', { length: 'uint8' });
    await client.write('rest');
    await server.readline();
    await server.readuntil(';');
    t.is(server.stats().framesRead, 3);
    const frames = await server.readframes(';');
    const { length } = frames;
    t.is(server.stats().framesRead, 3 + length);
    frames.unread(0);
    t.is(server.stats().framesRead, 3);
    await server.readuntil(';');
    for await (const line of server.lines()) if (line === 'six') break;
    t.is(server.stats().framesRead, 6);
    await server.readline();
    await server.readframe({ length: 'uint8' });
    await server.peek(4);
    t.is(server.stats().framesRead, 8);
    t.is(server.stats().bytesRead, client.stats().bytesWritten);
    t.is(server.stats().buffered, 4);
    await server.read(2);
    const now = server.stats();
    t.is(now.framesRead, 8);
    t.is(now.buffered, 2);
    t.is(now.openedAt, openedAt);

    await client.close();
    t.is((await server.readline()).toString(), 'st');
    await server.close();
    t.like(server.stats(), { bytesRead: now.bytesRead, framesRead: 9, buffered: 0, writeBufferSize: 0, openedAt });
  });

  test.serial(
    `${name}: stats() has the times for which back-pressure has paused reading and blocked writing`,
    async (t) => {
      const clock = fakeClock(t);
      const [client, server] = await open(t, 1000);
      t.teardown(() => Promise.all([client.abort(), server.abort()]));
      const times = (): [number, number] => [server.stats().timePaused, client.stats().timeBlocked];
      const stall = async (): Promise<void> => {
        const [paused, blocked] = times();
        await until(() => {
          clock.tick(1);
          return server.stats().timePaused > paused && client.stats().timeBlocked > blocked;
        });
      };
      clock.tick(1000);
      t.deepEqual(times(), [0, 0]);

      const writing = client.write(Buffer.alloc(LARGE));
      t.true(client.stats().writeBufferSize > 0);
      await stall();
      let [paused, blocked] = times();
      clock.tick(5000);
      t.deepEqual(times(), [paused + 5000, blocked + 5000]);

      await server.discard(LARGE);
      await writing;
      [paused, blocked] = times();
      clock.tick(5000);
      t.deepEqual(times(), [paused, blocked]);
      t.deepEqual([client.stats().timePaused, server.stats().timeBlocked], [0, 0]);

      void client.write(Buffer.alloc(LARGE));
      await stall();
      await Promise.all([client.abort(), server.abort()]);
      [paused, blocked] = times();
      clock.tick(5000);
      t.deepEqual(times(), [paused, blocked]);
    },
  );
}

test.serial('times go on evenly when the clock is replaced', async (t) => {
  const clock = fakeClock(t);
  const [client, server] = streampair({ limit: 10 });
  t.teardown(() => Promise.all([client.abort(), server.abort()]));
  void client.write(Buffer.alloc(LARGE));
  clock.tick(100);
  t.is(client.stats().timeBlocked, 100);
  clock.restore();
  const between = client.stats().timeBlocked;
  t.true(between >= 100 && between < 60_000, `${between}`);
  const again = fakeClock(t);
  const before = client.stats().timeBlocked;
  again.tick(100);
  t.is(client.stats().timeBlocked, before + 100);
});

test('a stream that only reads or only writes has zeros for the other side', async (t) => {
  const pipe = new PassThrough();
  const [reader, writer] = [await connectReadPipe(pipe), await connectWritePipe(pipe)];
  await writer.write('one\n');
  await reader.readline();
  t.like(reader.stats(), { bytesRead: 4, bytesWritten: 0, framesRead: 1, timeBlocked: 0 });
  t.like(writer.stats(), { bytesRead: 0, bytesWritten: 4, framesRead: 0, timePaused: 0 });
  await writer.close();
  await reader.close();
});

for (const kind of KINDS) {
  test(`${kind}: server.stats() counts connections, handlers, refusals and bytes, of ended connections, too`, async (t) => {
    const { server, dial, dialPlain } = await serve(
      t,
      kind,
      async (stream) => {
        for await (const line of stream) {
          if (line.toString() === 'end\n') break;
          await stream.write('answer\n');
        }
      },
      { maxConnections: 2, onError() {} },
    );
    const none = server.stats();
    t.deepEqual(none, {
      connections: 0,
      accepted: 0,
      handlers: 0,
      dropped: {
        maxConnections: 0,
        maxConnectionsPerAddress: 0,
        blockList: 0,
        accept: 0,
        failed: 0,
        proxyProtocol: 0,
        sock: 0,
        descriptors: 0,
      },
      bytesRead: 0,
      bytesWritten: 0,
    });
    const first = await dial();
    first.write('hello\n');
    await once(first, 'data');
    const second = await dial();
    second.write('hi\n');
    await once(second, 'data');
    await closedByPeer(await dialPlain());
    await until(() => server.stats().dropped.maxConnections === 1);
    t.like(server.stats(), { connections: 2, accepted: 3, handlers: 2, bytesRead: 9, bytesWritten: 14 });

    first.end('end\n');
    await closedByPeer(first);
    await until(() => server.stats().connections === 1);
    t.like(server.stats(), { connections: 1, accepted: 3, handlers: 1, bytesRead: 13, bytesWritten: 14 });
    t.is(none.accepted, 0);
    await server.close();
    t.like(server.stats(), { connections: 0, accepted: 3, handlers: 0, bytesRead: 13, bytesWritten: 14 });
  });

  test(`${kind}: server.stats() counts the bytes of a stream that the handler has left open`, async (t) => {
    const kept: Stream[] = [];
    const { server, dial } = await serve(t, kind, (stream) => void kept.push(stream));
    const socket = await dial();
    socket.write('hello\n');
    await until(() => server.stats().bytesRead === 6);
    t.like(server.stats(), { connections: 1, handlers: 0 });
    await kept[0]!.write('bye\n');
    breakOff(socket);
    await until(() => server.stats().connections === 0);
    t.like(server.stats(), { bytesRead: 6, bytesWritten: 4 });
  });
}

test('server.stats() counts connections that wait for startServing or for their handshake', async (t) => {
  const { ca, server: identity } = await certificates();
  const server = new StreamServer((stream) => stream.close(), '127.0.0.1', 0, { ssl: identity, onError() {} });
  t.teardown(() => server.abort());
  await server.bind();
  const client = connect('localhost', portOf(server), { ssl: { ca } });
  await until(() => server.stats().connections === 1);
  t.like(server.stats(), { accepted: 1, handlers: 0 });
  await server.startServing();
  await (await client).close();
  const plain = await connect('127.0.0.1', portOf(server));
  await until(() => server.stats().accepted === 2);
  await until(() => server.stats().connections === 1);
  t.is(server.stats().handlers, 0);
  await plain.abort();
  await until(() => server.stats().connections === 0);
});

test('server.stats() counts refusals by their reason', async (t) => {
  const blockList = new BlockList();
  let answer: () => boolean = () => true;
  const { server, dialPlain } = await serve(
    t,
    'TCP',
    async (stream) => {
      await stream.read();
    },
    { blockList, accept: () => answer(), maxConnectionsPerAddress: 1, onError() {} } as object,
  );
  const first = await dialPlain();
  await until(() => server.stats().handlers === 1);
  await closedByPeer(await dialPlain());
  t.is(server.stats().dropped.maxConnectionsPerAddress, 1);
  first.destroy();
  await until(() => server.stats().connections === 0);
  answer = () => false;
  await closedByPeer(await dialPlain());
  t.is(server.stats().dropped.accept, 1);
  answer = () => {
    throw new Error('out of luck');
  };
  await closedByPeer(await dialPlain());
  t.is(server.stats().dropped.failed, 1);
  blockList.addAddress('127.0.0.1');
  quiet(await dialPlain());
  await until(() => server.stats().dropped.blockList === 1);
  t.is(server.stats().accepted, 5);
});
