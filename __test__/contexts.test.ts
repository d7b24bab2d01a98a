/** In which context of `AsyncLocalStorage` the functions of the user are called. */
// Runs once for each way of reading: it depends on sockets, not on the engine.
import { AsyncLocalStorage } from 'node:async_hooks';
import { channel } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { BlockList, type AddressInfo } from 'node:net';
import test from 'ava';
import { StreamServer, connect, type ClientHandler, type ServingOptions } from 'sluice';
import { certificates } from './certificates.js';
import { closedByPeer, echo, portOf, until } from './loopback.js';
import { KINDS, serve } from './server/servers.js';

const storage = new AsyncLocalStorage<unknown>();

for (const kind of KINDS) {
  const inContext = (
    t: Parameters<typeof serve>[0],
    store: string,
    handler: ClientHandler,
    options: Omit<ServingOptions, 'ssl'> = {},
  ) => storage.run(store, () => serve(t, kind, handler, options));

  test(`${kind}: a handler keeps the context of startServing after every kind of wait`, async (t) => {
    const seen: unknown[] = [];
    const note = (): void => void seen.push(storage.getStore());
    const { dial } = await inContext(t, 'serving', async (stream) => {
      note();
      await stream.readline();
      note();
      await stream.readexactly(100_000);
      note();
      await stream.readline({ timeout: 1 }).catch(note);
      stream.setWriteBufferLimits({ high: 0 });
      await stream.write('next\n');
      await stream.drain();
      note();
      for await (const line of stream.lines()) {
        note();
        if (line === 'last') break;
      }
      for await (const chunk of stream.chunks(2)) if (chunk.length > 0) note();
      await stream.read();
      note();
    });
    await storage.run('client', async () => {
      const socket = await dial();
      socket.write('one\n');
      socket.write(Buffer.alloc(100_000));
      await once(socket, 'data');
      socket.write('two\nlast\nxy');
      socket.end();
      await closedByPeer(socket);
    });
    t.true(seen.length >= 8);
    t.deepEqual([...new Set(seen)], ['serving']);
  });

  test(`${kind}: what a handler sets with enterWith is not seen by other handlers, or by the caller of startServing`, async (t) => {
    const seen: unknown[] = [];
    const { server, dial } = await inContext(t, 'serving', async (stream) => {
      seen.push(storage.getStore());
      storage.enterWith(`handler ${seen.length}`);
      const own = storage.getStore();
      await stream.write('hello\n');
      await stream.readline();
      t.is(storage.getStore(), own);
    });
    const sockets = [await dial(), await dial(), await dial()];
    await until(() => seen.length === 3);
    t.deepEqual(seen, ['serving', 'serving', 'serving']);
    t.is(storage.getStore(), undefined);
    for (const socket of sockets) {
      socket.end('bye\n');
      await closedByPeer(socket);
    }
    await server.close();
  });

  test.serial(
    `${kind}: a store that a subscriber binds to sluice:handler ends with the handler that it was bound for`,
    async (t) => {
      const start = channel('tracing:sluice:handler:start');
      const seen: unknown[] = [];
      const { dial } = await inContext(t, 'serving', async (stream) => {
        seen.push(storage.getStore());
        await stream.read(1);
        seen.push(storage.getStore());
        await stream.read(1);
      });
      start.bindStore(storage, () => 'bound');
      t.teardown(() => start.unbindStore(storage));
      const first = await dial();
      await until(() => seen.length === 1);
      start.unbindStore(storage);
      const second = await dial();
      await until(() => seen.length === 2);
      second.write('x');
      await until(() => seen.length === 3);
      first.write('x');
      await until(() => seen.length === 4);
      t.deepEqual(seen, ['bound', 'serving', 'serving', 'bound']);
      first.destroy();
      second.destroy();
    },
  );

  test(`${kind}: accept, and onError for a timeout, are called in the context of startServing`, async (t) => {
    const accepts: unknown[] = [];
    const errors: unknown[] = [];
    const { dial } = await inContext(
      t,
      'serving',
      async (stream) => {
        // The timer of both connections is made here.
        await storage.run('handler', async () => {
          stream.setTimeouts({ idleTimeout: 30 });
          await stream.read().catch(() => {});
        });
      },
      {
        accept: () => accepts.push(storage.getStore()) > 0,
        onError: (error) => void errors.push(`${(error as NodeJS.ErrnoException).code} ${String(storage.getStore())}`),
      },
    );
    await dial();
    await dial();
    await until(() => errors.length === 2);
    t.deepEqual(accepts, ['serving', 'serving']);
    t.deepEqual(errors, ['ERR_IDLE_TIMEOUT serving', 'ERR_IDLE_TIMEOUT serving']);
  });

  test(`${kind}: onError for a handler that fails is called in the context of the handler`, async (t) => {
    const errors: unknown[] = [];
    const { dial } = await inContext(
      t,
      'serving',
      async () => {
        storage.enterWith('handler');
        await Promise.reject(new TypeError('out of luck'));
      },
      { onError: () => void errors.push(storage.getStore()) },
    );
    await closedByPeer(await dial());
    t.deepEqual(errors, ['handler']);
  });
}

for (const secure of [false, true]) {
  const name = secure ? 'TLS' : 'TCP';
  test(`${name}: connections that waited since bind, and later ones, have the context of serveForever`, async (t) => {
    const { ca, server: identity } = await certificates();
    const seen: unknown[] = [];
    const server = storage.run(
      'constructor',
      () =>
        new StreamServer(
          async (stream) => {
            seen.push(storage.getStore());
            await stream.write('hello\n');
            await stream.read();
          },
          '127.0.0.1',
          0,
          secure ? { ssl: identity } : {},
        ),
    );
    t.teardown(() => server.abort());
    await storage.run('bind', () => server.bind());
    const dial = () => connect('localhost', portOf(server), secure ? { ssl: { ca } } : {});
    const early = storage.run('client', dial);
    if (!secure) await early;
    const serving = storage.run('serving', () => server.serveForever());
    const clients = [await early, await dial()];
    for (const client of clients) t.is((await client.readline()).toString(), 'hello\n');
    t.deepEqual(seen, ['serving', 'serving']);
    for (const client of clients) await client.close();
    await server.close();
    await serving;
  });

  test(`${name}: after a PROXY header, the handler and accept have the context of startServing`, async (t) => {
    const { ca, server: identity } = await certificates();
    const seen: unknown[] = [];
    const errors: unknown[] = [];
    const trusted = new BlockList();
    trusted.addAddress('127.0.0.1');
    const server = new StreamServer(
      async (stream) => {
        seen.push(storage.getStore());
        await stream.write(await stream.readline());
      },
      '127.0.0.1',
      0,
      {
        proxyProtocol: { trusted },
        accept: () => seen.push(storage.getStore()) > 0,
        onError: () => void errors.push(storage.getStore()),
        ...(secure ? { ssl: identity } : {}),
      },
    );
    t.teardown(() => server.abort());
    await storage.run('serving', () => server.startServing());
    const client = await connect('127.0.0.1', portOf(server));
    t.teardown(() => client.abort());
    await client.write('PROXY TCP4 192.0.2.1 192.0.2.2 1000 2000\r\n');
    if (secure) await client.startTls({ ca, servername: 'localhost' });
    await client.write('hello\n');
    t.is((await client.readline()).toString(), 'hello\n');
    t.deepEqual(seen, ['serving', 'serving']);
    await client.close();
    const broken = await connect('127.0.0.1', portOf(server));
    await broken.write('GET / HTTP/1.1\r\n\r\n');
    await broken.read().catch(() => {});
    await broken.abort();
    t.deepEqual(errors, ['serving']);
  });
}

test.serial('a store that is bound to sluice:connect is seen during the connect only', async (t) => {
  const start = channel('tracing:sluice:connect:start');
  start.bindStore(storage, () => 'bound');
  t.teardown(() => start.unbindStore(storage));
  const { server } = await serve(t, 'TLS', echo);
  const { ca } = await certificates();
  const during: unknown[] = [];
  const checkServerIdentity = (): undefined => void during.push(storage.getStore());
  await storage.run('caller', async () => {
    const stream = await connect('localhost', (server.sockets[0]!.address() as AddressInfo).port, {
      ssl: { ca, checkServerIdentity },
    });
    t.is(storage.getStore(), 'caller');
    await stream.write('hello\n');
    await stream.readline();
    t.is(storage.getStore(), 'caller');
    await stream.close();
  });
  t.deepEqual(during, ['bound']);
});
