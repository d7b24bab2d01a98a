// Runs once for each way of reading: the engine makes no difference to streams.
import test, { type ExecutionContext } from 'ava';
import { Buffer } from 'node:buffer';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { inspect } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ConnectionError,
  IncompleteReadError,
  StateError,
  StreamServer,
  connect,
  type ClientHandler,
  type ConnectOptions,
  type Stream,
  type StreamServerOptions,
} from 'sluice';
import { certificates } from '../certificates.js';
import {
  closedByPeer,
  deferred,
  dial,
  echo,
  gather,
  listen,
  portOf,
  sparePort,
  takePort,
  taking,
  turns,
  until,
} from '../loopback.js';
import { LONGEST_MS, root } from '../program.js';
import { warningsOf } from './servers.js';

interface Report {
  error: unknown;
  stream: Stream | null;
}

/** A server on a free port; its reports are collected in the list. */
function make(
  t: ExecutionContext,
  handler: ClientHandler,
  options: StreamServerOptions = {},
): { server: StreamServer; reports: Report[] } {
  const reports: Report[] = [];
  const onError = (error: unknown, stream: Stream | null): void => {
    reports.push({ error, stream });
  };
  const server = new StreamServer(handler, '127.0.0.1', 0, { shutdownTimeout: 50, onError, ...options });
  t.teardown(() => server.abort());
  return { server, reports };
}

const STATE = { instanceOf: StateError, code: 'ERR_SERVER_STATE' };

/** Whether an echo server answers. */
async function answers(port: number): Promise<boolean> {
  await using stream = await connect('127.0.0.1', port);
  await stream.write('ping\n');
  return String(await stream.readline()) === 'ping\n';
}

// ------------------------------------------------------------------------------------------------ bind, start, serve

test('address() is the first address while the server is bound, otherwise null', async (t) => {
  const server = new StreamServer(() => {}, ['127.0.0.1', '127.0.0.1'], 0);
  t.teardown(() => server.abort());
  t.is(server.address(), null);
  await server.bind();
  t.deepEqual(server.address(), server.sockets[0]?.address());
  t.is(server.address()?.address, '127.0.0.1');
  t.true((server.address()?.port ?? 0) > 0);
  await server.close();
  t.is(server.address(), null);
});

test('bind claims the address, and close releases it', async (t) => {
  const given = await sparePort(t);
  const server = new StreamServer(echo, '127.0.0.1', given);
  t.teardown(() => server.close());
  t.false(server.isBound());
  t.false(server.isServing());
  t.deepEqual(server.sockets, []);
  await Promise.all([server.bind(), server.bind()]);
  await server.bind();
  t.true(server.isBound());
  t.false(server.isServing());
  t.is(server.sockets.length, 1);
  const { address, port } = server.sockets[0]?.address() as AddressInfo;
  t.is(address, '127.0.0.1');
  t.is(port, given);
  await server.close();
  t.false(server.isBound());
  t.false(server.isServing());
  t.deepEqual(server.sockets, []);
  await t.throwsAsync(connect('127.0.0.1', port), { code: 'ECONNREFUSED' });
});

test('connections made between bind and startServing wait, with the data they sent', async (t) => {
  const seen: string[] = [];
  const { server } = make(t, async (stream) => {
    seen.push(String(await stream.readline()));
    await stream.write('done\n');
  });
  await server.bind();
  const early = await Promise.all([1, 2, 3].map(() => connect('127.0.0.1', portOf(server))));
  await Promise.all(early.map((stream, i) => stream.write(`${i}\n`)));
  const replies = early.map((stream) => stream.readline());
  await turns(20);
  t.deepEqual(seen, []);
  await Promise.all([server.startServing(), server.startServing()]);
  t.true(server.isServing());
  t.deepEqual((await Promise.all(replies)).map(String), ['done\n', 'done\n', 'done\n']);
  t.deepEqual(seen.sort(), ['0\n', '1\n', '2\n']);
  await Promise.all(early.map((stream) => stream.close()));
});

test('a waiting connection may break, and one that still waits is closed with the server', async (t) => {
  const { server, reports } = make(t, () => t.fail());
  await server.bind();
  const broken = await dial(t, portOf(server));
  broken.resetAndDestroy();
  await turns(10);
  const waiting = await connect('127.0.0.1', portOf(server));
  // The connection is made before the server has accepted it: it ends by EOF or by a reset.
  const ended = waiting.read().then(
    ({ length }) => t.is(length, 0),
    (error: unknown) => t.true(error instanceof ConnectionError),
  );
  await turns(10);
  await server.close();
  await ended;
  await waiting.abort();
  t.deepEqual(reports, []);
});

test('a waiting connection that broke is passed to the handler as a lost stream', async (t) => {
  const ended = deferred<string>();
  const { server, reports } = make(t, async (stream) => {
    try {
      ended.resolve(`read ${(await stream.read()).length}`);
    } catch (error) {
      ended.resolve(String((error as { code?: unknown }).code));
    }
  });
  await server.bind();
  const taken = taking(server);
  const broken = await dial(t, portOf(server));
  await taken;
  broken.resetAndDestroy();
  await turns(10);
  await server.startServing();
  t.is(await ended.promise, 'ECONNRESET');
  t.deepEqual(reports, []);
});

test('bind rejects with the system error, and can be tried again', async (t) => {
  const port = await sparePort(t);
  const taken = await listen(t, undefined, '127.0.0.1', port);
  const server = new StreamServer(echo, '127.0.0.1', port);
  t.teardown(() => server.close());
  await t.throwsAsync(server.bind(), { code: 'EADDRINUSE' });
  await t.throwsAsync(server.startServing(), { code: 'EADDRINUSE' });
  await t.throwsAsync(server.serveForever(), { code: 'EADDRINUSE' });
  t.false(server.isBound());
  taken.close();
  await turns(5);
  await server.startServing();
  t.true(await answers(port));
});

test('a server listens on all hosts of a list; if one fails, on none', async (t) => {
  const server = new StreamServer(echo, ['127.0.0.1', '127.0.0.2'], 0);
  t.teardown(() => server.close());
  await server.startServing();
  const addresses = server.sockets.map((socket) => socket.address() as AddressInfo);
  t.deepEqual(
    addresses.map(({ address }) => address),
    ['127.0.0.1', '127.0.0.2'],
  );
  for (const { address, port } of addresses) {
    await using stream = await connect(address, port);
    await stream.write('x\n');
    t.is(String(await stream.readline()), 'x\n');
  }

  const port = await takePort(t, '127.0.0.3');
  const failing = new StreamServer(echo, ['127.0.0.1', '127.0.0.3'], port);
  await t.throwsAsync(failing.bind(), { code: 'EADDRINUSE' });
  await t.throwsAsync(connect('127.0.0.1', port), { code: 'ECONNREFUSED' });
});

test('without a host the server listens on all interfaces', async (t) => {
  const server = new StreamServer(echo);
  t.teardown(() => server.close());
  await server.startServing();
  t.true(await answers(portOf(server)));
});

test("a host of undefined, null, '' or a list with null means every interface, with and without TLS", async (t) => {
  const { ca, server: identity } = await certificates();
  for (const ssl of [undefined, identity]) {
    const bound: string[][] = [];
    for (const host of [undefined, null, '', [null]]) {
      await using server = new StreamServer(echo, host, 0, { ssl });
      await server.startServing();
      bound.push(server.sockets.map((socket) => (socket.address() as AddressInfo).address));
      const options: ConnectOptions = ssl === undefined ? {} : { ssl: { ca }, serverHostname: 'localhost' };
      await using stream = await connect('127.0.0.1', portOf(server), options);
      await stream.write('ping\n');
      t.is(String(await stream.readline()), 'ping\n');
    }
    t.true(bound[0]?.includes('0.0.0.0'));
    for (const addresses of bound) t.deepEqual(addresses, bound[0]);
  }
  for (const [family, address] of [
    [4, '0.0.0.0'],
    [6, '::'],
  ] as const) {
    await using server = new StreamServer(echo, '', 0, { family });
    const bound = await server.bind().then(
      () => (server.sockets[0]?.address() as AddressInfo).address,
      (error: unknown) => (error as ConnectionError).code,
    );
    // A machine without IPv6 rejects.
    t.true(bound === address || (family === 6 && ['EAFNOSUPPORT', 'EADDRNOTAVAIL'].includes(bound)), bound);
    t.true(server.sockets.length <= 1);
  }
});

test('serveForever serves until the server is closed', async (t) => {
  const { server } = make(t, echo);
  const served = server.serveForever();
  await until(() => server.isServing());
  t.true(await answers(portOf(server)));
  const second = await t.throwsAsync(server.serveForever(), STATE);
  t.regex(second?.message ?? '', /serveForever/);
  await server.close();
  await served;
});

test('serveForever resolves if the server is closed before it has bound', async (t) => {
  const { server } = make(t, echo);
  const served = server.serveForever();
  await server.close();
  await t.notThrowsAsync(served);
  t.false(server.isBound());
});

test('serveForever closes the server and rejects when its signal is aborted', async (t) => {
  const { server } = make(t, echo);
  const controller = new AbortController();
  const served = server.serveForever({ signal: controller.signal });
  await until(() => server.isServing());
  const taken = taking(server);
  const client = await connect('127.0.0.1', portOf(server));
  await taken;
  const reason = new Error('enough');
  controller.abort(reason);
  t.is(await t.throwsAsync(served), reason);
  t.false(server.isBound());
  t.is((await client.read()).length, 0);
  await client.close();

  const early = make(t, echo).server;
  t.is(await t.throwsAsync(early.serveForever({ signal: AbortSignal.abort(reason) })), reason);
  await t.throwsAsync(early.bind(), STATE);
});

test('serveForever does not reject if its signal is aborted after close', async (t) => {
  const { server } = make(t, echo);
  const controller = new AbortController();
  const served = server.serveForever({ signal: controller.signal });
  await until(() => server.isServing());
  const closed = server.close();
  controller.abort();
  await closed;
  await t.notThrowsAsync(served);
});

test('a closed server cannot be started again', async (t) => {
  for (const before of [() => undefined, (server: StreamServer) => server.startServing()]) {
    const { server } = make(t, echo);
    await before(server);
    await server.close();
    for (const call of ['bind', 'startServing', 'serveForever'] as const) {
      const error = await t.throwsAsync(server[call](), STATE);
      t.is(error?.message, `${call}: the server is closed`);
    }
    await server.close();
    await server.abort();
  }
});

test('close during bind leaves nothing bound', async (t) => {
  const { server } = make(t, echo);
  const bound = server.bind();
  const closed = server.close();
  await t.throwsAsync(bound, STATE);
  await closed;
  t.deepEqual(server.sockets, []);
});

// ------------------------------------------------------------------------------------------------ handlers

test('the handler receives a server-side stream with the limit of the server', async (t) => {
  const got = deferred<Stream>();
  const { server } = make(t, (stream) => got.resolve(stream), { limit: 77 });
  await server.startServing();
  const client = await connect('127.0.0.1', portOf(server));
  const stream = await got.promise;
  t.true(stream.isServerSide());
  t.is(stream.limit, 77);
  t.like(stream.getExtraInfo('peername'), client.getExtraInfo('sockname') as object);
  t.like(stream.getExtraInfo('sockname'), client.getExtraInfo('peername') as object);
  await client.close();
});

test('when an async handler settles, its stream is flushed and closed', async (t) => {
  const data = Buffer.alloc(4 * 1024 * 1024, 'x');
  let stream: Stream | undefined;
  const { server, reports } = make(t, async (given) => {
    stream = given;
    await turns(1);
    void given.write(data);
  });
  await server.startServing();
  const client = await dial(t, portOf(server));
  t.is((await gather(client)).length, data.length);
  t.true(stream?.isClosing());
  t.deepEqual(reports, []);
});

test('a handler that returns no promise leaves its stream open', async (t) => {
  const got = deferred<Stream>();
  const { server } = make(t, (stream) => got.resolve(stream));
  await server.startServing();
  const client = await connect('127.0.0.1', portOf(server));
  const stream = await got.promise;
  await turns(20);
  t.false(stream.isClosing());
  await stream.write('later\n');
  t.is(String(await client.readline()), 'later\n');
  await client.close();
});

test('if a handler throws or rejects, its stream is aborted and the error reported; the server continues', async (t) => {
  const failures: Record<string, () => void | PromiseLike<void>> = {
    throws: () => {
      throw new Error('throws');
    },
    rejects: () => Promise.reject(new Error('rejects')),
    late: async () => {
      await turns(2);
      throw new Error('late');
    },
    thenable: () => ({ then: (_yes: unknown, no: (e: Error) => void) => no(new Error('thenable')) }) as never,
    trap: () => ({
      get then(): never {
        throw new Error('trap');
      },
    }),
  };
  const names = Object.keys(failures);
  let next = 0;
  const { server, reports } = make(t, (stream, context) => failures[names[next++] ?? '']?.() ?? echo(stream, context));
  await server.startServing();
  for (const name of names) {
    const client = await dial(t, portOf(server));
    await closedByPeer(client);
    const report = reports.at(-1);
    t.is((report?.error as Error).message, name);
    t.true(report?.stream?.isClosing());
  }
  t.is(reports.length, names.length);
  t.true(await answers(portOf(server)));
});

test('a reset by the peer fails the read of its handler, and nothing else', async (t) => {
  const { server, reports } = make(t, echo);
  await server.startServing();
  const peer = await dial(t, portOf(server));
  peer.resetAndDestroy();
  await until(() => reports.length === 1);
  t.true(reports[0]?.error instanceof ConnectionError);
  t.is((reports[0]?.error as ConnectionError).code, 'ECONNRESET');
  t.true(await answers(portOf(server)));
});

test('a silent or half-closed peer does not affect other connections', async (t) => {
  const { server, reports } = make(t, echo);
  await server.startServing();
  const silent = await dial(t, portOf(server));
  const half = await dial(t, portOf(server));
  half.end('last words');
  t.is(String(await gather(half)), 'last words');
  t.true(await answers(portOf(server)));
  t.false(silent.destroyed);
  t.deepEqual(reports, []);
});

test('a peer that never stops sending gets back-pressure', async (t) => {
  const limit = 4096;
  const got = deferred<Stream>();
  const { server } = make(t, (stream) => got.resolve(stream), { limit });
  await server.startServing();
  const peer = await dial(t, portOf(server));
  const stream = await got.promise;
  const chunk = Buffer.alloc(65536);
  const drained = async (): Promise<boolean | void> => Promise.race([once(peer, 'drain').then(() => true), turns(200)]);
  while (peer.write(chunk) || (await drained()) === true || stream.buffered <= limit);
  t.true(stream.buffered > limit);
  t.true(stream.buffered <= 2 * limit + 65536, `${stream.buffered}`);
});

test('errors are warnings if there is no onError, and if onError fails', async (t) => {
  const warnings = warningsOf(t);
  const handler: ClientHandler = () => {
    throw Object.assign(new Error('out of luck'), { code: 'E_LUCK' });
  };
  const fail = async (options: StreamServerOptions, expected: number): Promise<void> => {
    const server = new StreamServer(handler, '127.0.0.1', 0, options);
    await server.startServing();
    const peer = await dial(t, portOf(server));
    await until(() => warnings.length === expected);
    t.regex(
      warnings[expected === 1 ? 0 : expected - 2]?.message ?? '',
      new RegExp(`127.0.0.1:${peer.localPort}.*luck`),
    );
    await server.close();
  };
  await fail({}, 1);
  t.is(warnings[0]?.code, 'E_LUCK');
  await fail(
    {
      onError: () => {
        throw new Error('onError throws');
      },
    },
    3,
  );
  t.regex(warnings[2]?.message ?? '', /onError throws/);
  await fail({ onError: () => Promise.reject(new Error('onError rejects')) }, 5);
  t.regex(warnings[4]?.message ?? '', /onError rejects/);
});

test('a handler may throw a value that is not an error', async (t) => {
  const { server, reports } = make(t, () => {
    // eslint-disable-next-line @typescript-eslint/only-throw-error -- this is what the test is about
    throw null;
  });
  await server.startServing();
  await dial(t, portOf(server));
  await until(() => reports.length === 1);
  t.is(reports[0]?.error, null);
});

// ------------------------------------------------------------------------------------------------ accepting

test('a handler that never settles does not keep the server from accepting', async (t) => {
  let running = 0;
  const { server } = make(t, async (stream, context) => {
    running++;
    if (running > 30) await echo(stream, context);
    else await once(context.signal, 'abort');
  });
  await server.startServing();
  for (let i = 0; i < 30; i++) await dial(t, portOf(server));
  await until(() => running === 30);
  t.true(await answers(portOf(server)));
});

test('connections over maxConnections are dropped and reported once; a closed connection makes room', async (t) => {
  const { server, reports } = make(t, echo, { maxConnections: 2 });
  await server.startServing();
  const port = portOf(server);
  const first = await connect('127.0.0.1', port);
  const second = await connect('127.0.0.1', port);
  for (let i = 0; i < 3; i++) {
    const over = await dial(t, port);
    await closedByPeer(over);
  }
  t.is(reports.length, 1);
  t.like(reports[0]?.error, {
    ...{ name: 'ConnectionError', code: 'ECONNREFUSED' },
    message: 'StreamServer: refused a connection: there are 2 already, and maxConnections is 2',
  });
  t.is(reports[0]?.stream, null);
  for (const stream of [first, second]) {
    await stream.write('x\n');
    t.is(String(await stream.readline()), 'x\n');
  }
  await first.close();
  for (;;) {
    // The server notices a little later that the first has ended.
    const again = await dial(t, port);
    again.end('y\n');
    if (String(await gather(again).catch(() => '')) === 'y\n') break;
  }
  await second.close();
});

test('a failing accept is reported, not thrown, and not repeated at once', async (t) => {
  const { server, reports } = make(t, echo);
  await server.startServing();
  const failure = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE' });
  for (let i = 0; i < 5; i++) server.sockets[0]?.emit('error', failure);
  t.deepEqual(reports, [{ error: failure, stream: null }]);
  t.true(await answers(portOf(server)));
});

// ------------------------------------------------------------------------------------------------ close, abort

test('close ends the reads of handlers, flushes their writes, and waits for them', async (t) => {
  const started = deferred();
  const goOn = deferred();
  const order: string[] = [];
  const { server, reports } = make(
    t,
    async (stream) => {
      t.is(String(await stream.readexactly(4)), 'data');
      void stream.write('reply');
      started.resolve();
      t.is((await stream.readline()).length, 0);
      t.true(stream.isClosing());
      await goOn.promise;
      order.push('handler');
    },
    { shutdownTimeout: 60_000 },
  );
  await server.startServing();
  const client = await connect('127.0.0.1', portOf(server));
  await client.write('data');
  await started.promise;
  const closed = Promise.all([server.close(), server.close()]).then(() => order.push('closed'));
  t.false(server.isServing());
  t.is(String(await client.read()), 'reply');
  await client.close();
  goOn.resolve();
  await closed;
  t.deepEqual(order, ['handler', 'closed']);
  t.deepEqual(reports, []);
});

test('close aborts the signal of a handler that takes too long', async (t) => {
  const started = deferred();
  let reason: unknown;
  const { server, reports } = make(t, async (_stream, { signal }) => {
    started.resolve();
    t.false(signal.aborted);
    await once(signal, 'abort');
    reason = signal.reason;
  });
  await server.startServing();
  await dial(t, portOf(server));
  await started.promise;
  await server.close();
  t.is((reason as Error).name, 'AbortError');
  t.deepEqual(reports, []);
});

test('a handler that rejects because of its signal is not reported, any other failure is', async (t) => {
  const endings: ClientHandler[] = [
    (_stream, { signal }) => sleep(1e6, undefined, { signal }),
    async (_stream, { signal }) => {
      await once(signal, 'abort').then(() => Promise.reject(signal.reason as Error));
    },
    async (_stream, { signal }) => {
      await once(signal, 'abort');
      throw new Error('gone wrong');
    },
  ];
  let next = 0;
  const { server, reports } = make(t, (stream, context) => endings[next++]?.(stream, context));
  await server.startServing();
  await Promise.all(endings.map(() => dial(t, portOf(server))));
  await until(() => next === endings.length);
  await server.close();
  t.deepEqual(
    reports.map(({ error }) => (error as Error).message),
    ['gone wrong'],
  );
});

test('a handler that gets its signal after close finds it aborted', async (t) => {
  const started = deferred();
  const ask = deferred();
  const answer = deferred<boolean>();
  const { server } = make(t, async (_stream, context) => {
    started.resolve();
    await ask.promise;
    answer.resolve(context.signal.aborted && context.signal === context.signal);
  });
  await server.startServing();
  await dial(t, portOf(server));
  await started.promise;
  await server.close();
  ask.resolve();
  t.true(await answer.promise);
});

test('handlers that ignore their signal are reported, each with its peer', async (t) => {
  const release = deferred();
  let running = 0;
  const { server, reports } = make(
    t,
    async () => {
      running++;
      await release.promise;
    },
    { shutdownTimeout: 10 },
  );
  await server.startServing();
  const peers = [await dial(t, portOf(server)), await dial(t, portOf(server))];
  await until(() => running === 2);
  await server.close();
  t.deepEqual(
    reports.map(({ error }) => (error as Error).message).sort(),
    peers
      .map(({ localPort }) => `StreamServer: the handler of 127.0.0.1:${localPort} ignored cancellation request`)
      .sort(),
  );
  for (const { error, stream } of reports) {
    t.true(error instanceof StateError);
    t.true(stream?.isClosing());
  }
  release.resolve();
  await turns(5);
  t.is(reports.length, 2);
});

test('errors that a handler sees because the server closes its connection are not reported', async (t) => {
  const meet: ((stream: Stream) => Promise<void>)[] = [
    async (stream) => {
      await stream.readline();
      await stream.write('too late');
    },
    async (stream) => {
      await stream.readexactly(10);
    },
    async (stream) => {
      for (;;) await stream.write(Buffer.alloc(100_000));
    },
  ];
  for (const end of ['close', 'abort', 'closeClients', 'abortClients'] as const) {
    for (const handler of meet) {
      let settled = 0;
      const started = deferred();
      const { server, reports } = make(t, async (stream) => {
        started.resolve();
        await handler(stream).finally(() => settled++);
      });
      await server.startServing();
      const peer = await dial(t, portOf(server));
      peer.pause();
      await started.promise;
      await turns(3);
      void server[end]();
      if (end === 'closeClients' && handler === meet[2]) server.abortClients();
      await until(() => settled === 1);
      await server.close();
      t.deepEqual(reports, [], `${end}, ${String(handler)}`);
    }
  }
});

test('other errors of a handler are reported even while the server closes', async (t) => {
  const started = deferred();
  const { server, reports } = make(t, async (stream) => {
    started.resolve();
    await stream.readline();
    throw new Error('my own');
  });
  await server.startServing();
  await dial(t, portOf(server));
  await started.promise;
  await server.close();
  t.deepEqual(
    reports.map(({ error }) => (error as Error).message),
    ['my own'],
  );
});

test('close does not wait forever for a peer that does not read', async (t) => {
  const written = deferred();
  const { server, reports } = make(
    t,
    (stream) => {
      void stream.write(Buffer.alloc(64 * 1024 * 1024));
      written.resolve();
    },
    { shutdownTimeout: 10 },
  );
  await server.startServing();
  const peer = await dial(t, portOf(server));
  peer.pause();
  await written.promise;
  await server.close();
  t.deepEqual(reports, []);
});

test('abort drops the unsent data of handlers', async (t) => {
  const size = 64 * 1024 * 1024;
  const started = deferred();
  const ended = deferred<unknown>();
  const { server } = make(t, async (stream) => {
    void stream.write(Buffer.alloc(size));
    started.resolve();
    try {
      await stream.readexactly(1);
    } catch (error) {
      ended.resolve(error);
    }
  });
  await server.startServing();
  const peer = await dial(t, portOf(server));
  peer.pause();
  await started.promise;
  await Promise.all([server.abort(), server.abort()]);
  t.true((await ended.promise) instanceof IncompleteReadError);
  t.false(server.isBound());
  t.deepEqual(server.sockets, []);
  t.true((await gather(peer).catch(() => Buffer.alloc(0))).length < size);
});

test('abort ends a close in progress', async (t) => {
  const size = 64 * 1024 * 1024;
  let streams = 0;
  const { server } = make(
    t,
    async (stream) => {
      streams++;
      void stream.write(Buffer.alloc(size));
      await stream.read();
    },
    { shutdownTimeout: 2 ** 31 - 1 },
  );
  await server.startServing();
  const peer = await dial(t, portOf(server));
  peer.pause();
  await until(() => streams === 1);
  let over = false;
  const closed = server.close().then(() => (over = true));
  await turns(10);
  t.false(over, 'close waits for the peer, who takes nothing');
  await server.abort();
  await closed;
  t.false(server.isBound());
  t.true((await gather(peer).catch(() => Buffer.alloc(0))).length < size);
});

test('closeClients and abortClients leave the server serving', async (t) => {
  const reply = Buffer.alloc(1024 * 1024);
  let clients = 0;
  const { server, reports } = make(t, async (stream, context) => {
    clients++;
    if (clients <= 2) await stream.write(reply);
    await echo(stream, context);
  });
  await server.startServing();
  const flushed = await dial(t, portOf(server));
  const other = await dial(t, portOf(server));
  await until(() => clients === 2);
  server.closeClients();
  t.is((await gather(flushed)).length, reply.length);
  t.is((await gather(other)).length, reply.length);

  const aborted = await dial(t, portOf(server));
  await until(() => clients === 3);
  const ended = closedByPeer(aborted);
  server.abortClients();
  await ended;
  t.true(server.isServing());
  t.true(await answers(portOf(server)));
  t.deepEqual(reports, []);
});

test('await using closes the server', async (t) => {
  let port = 0;
  {
    await using server = new StreamServer(echo, '127.0.0.1', 0);
    await server.startServing();
    port = portOf(server);
    t.true(await answers(port));
  }
  await t.throwsAsync(connect('127.0.0.1', port), { code: 'ECONNREFUSED' });
  {
    await using never = new StreamServer(echo);
    t.false(never.isBound());
  }
});

// ------------------------------------------------------------------------------------------------ bad input

test('StreamServer cannot be subclassed', (t) => {
  class Mine extends StreamServer {}
  t.throws(() => new Mine(echo), { instanceOf: TypeError, code: 'ERR_ILLEGAL_CONSTRUCTOR', message: /final/ });
});

test('inspect shows the state of a server', async (t) => {
  const { server } = make(t, echo);
  t.is(inspect(server), 'StreamServer { not bound, sockets: [], clients: 0 }');
  await server.bind();
  t.is(inspect(server), `StreamServer { bound, sockets: [ '127.0.0.1:${portOf(server)}' ], clients: 0 }`);
  await server.startServing();
  const peer = await dial(t, portOf(server));
  await until(() => inspect(server).endsWith('clients: 1 }'));
  t.regex(inspect(server), /^StreamServer \{ serving, /);
  t.is(inspect([[[server]]]), '[ [ [ [StreamServer] ] ] ]');
  peer.end();
  await server.close();
  t.is(inspect(server), 'StreamServer { closed, sockets: [], clients: 0 }');
});

test('invalid arguments get typed errors that name the value', async (t) => {
  type Arguments = ConstructorParameters<typeof StreamServer>;
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  const cases: [unknown[], typeof type | typeof range, RegExp][] = [
    [[undefined], type, /handler must be a function, not undefined/],
    [['echo'], type, /handler must be a function, not "echo"/],
    [[echo, 42], type, /host .* not 42/],
    [[echo, ['']], range, /each host of a list must be a host name, an address or null, not ""$/],
    [[echo, ['127.0.0.1', '']], range, /each host of a list must be a host name, an address or null, not ""$/],
    [[echo, [undefined]], type, /host .* not undefined/],
    [[echo, 'a\0b'], range, /host .* not "a/],
    [[echo, '', 0, { sock: 3 }], type, /sock cannot be combined with host/],
    [[echo, []], range, /host .* not an array of 0/],
    [[echo, ['127.0.0.1', 1]], type, /host .* not 1/],
    [[echo, null, '80'], type, /port .* not "80"/],
    [[echo, null, -1], range, /port .* not -1/],
    [[echo, null, 65536], range, /port .* not 65536/],
    [[echo, null, 1.5], range, /port .* not 1.5/],
    [[echo, null, NaN], range, /port .* not NaN/],
    [[echo, null, 0, null], type, /options .* not null/],
    [[echo, null, 0, { limit: 0 }], range, /limit .* not 0/],
    [[echo, null, 0, { limit: -1 }], range, /limit .* not -1/],
    [[echo, null, 0, { limit: NaN }], range, /limit .* not NaN/],
    [[echo, null, 0, { limit: 1.5 }], range, /limit .* not 1.5/],
    [[echo, null, 0, { limit: '1' }], type, /limit .* not "1"/],
    [[echo, null, 0, { backlog: 0 }], range, /backlog .* not 0/],
    [
      [echo, null, 0, { maxConnections: 0 }],
      range,
      /maxConnections must be an integer of 1 or more, or Infinity, not 0$/,
    ],
    [
      [echo, null, 0, { maxConnections: 'many' }],
      type,
      /maxConnections must be an integer of 1 or more, or Infinity, not "many"$/,
    ],
    [[echo, null, 0, { shutdownTimeout: -1 }], range, /shutdownTimeout .* not -1/],
    [[echo, null, 0, { shutdownTimeout: 2 ** 31 }], range, /shutdownTimeout .* not 2147483648/],
    [[echo, null, 0, { shutdownTimeout: NaN }], range, /shutdownTimeout .* not NaN/],
    [[echo, null, 0, { onError: 'log' }], type, /onError .* not "log"/],
    [[echo, null, 0, { noDelay: 1 }], type, /noDelay .* not 1/],
    [[echo, null, 0, { keepAlive: 'yes' }], type, /keepAlive .* not "yes"/],
  ];
  for (const [given, expected, message] of cases) {
    t.throws(() => new StreamServer(...(given as Arguments)), { ...expected, message }, String(message));
  }
  const { server } = make(t, echo);
  await t.throwsAsync(server.serveForever({ signal: 1 as never }), type);
});

// ------------------------------------------------------------------------------------------------ the process

/** Runs a separate program; `descriptors` limits its file descriptors. */
async function run(program: string, descriptors?: number): Promise<{ code: number | null; out: string; err: string }> {
  const node = [process.execPath, '--input-type=module', '-e', program];
  const [command = '', ...args] =
    descriptors === undefined ? node : ['sh', '-c', `ulimit -n ${descriptors}; exec "$@"`, 'sh', ...node];
  // Newer versions of Node read these certificates on a thread, at any moment: one descriptor too many if they are
  // counted.
  const env = { ...process.env, NODE_EXTRA_CA_CERTS: undefined };
  // A program that hangs, or spins, must not outlive its test.
  const limits = { timeout: LONGEST_MS, killSignal: 'SIGKILL' } as const;
  const child = spawn(command, args, { cwd: root, env, stdio: ['ignore', 'pipe', 'pipe'], ...limits });
  const ended = once(child, 'close') as Promise<[code: number | null]>;
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  return { code, out, err };
}

test('the process ends by itself once the server and its clients are closed', async (t) => {
  const { code, out, err } = await run(`
    import { StreamServer, connect } from 'sluice';
    const server = new StreamServer(async (stream) => { await stream.read(); }, '127.0.0.1', 0);
    await server.startServing();
    const client = await connect('127.0.0.1', server.sockets[0].address().port);
    await client.close();
    await server.close();
    console.log('done');
  `);
  t.deepEqual({ code, out, err }, { code: 0, out: 'done\n', err: '' });
});

test('peers that reset at any moment do not end the process', async (t) => {
  const { code, out, err } = await run(`
    import net from 'node:net';
    import { StreamServer } from 'sluice';
    let reports = 0;
    const server = new StreamServer(
      async (stream) => { for (;;) await stream.write(Buffer.alloc(65536)); },
      '127.0.0.1', 0, { onError: () => { reports++; } },
    );
    await server.startServing();
    const { port } = server.sockets[0].address();
    for (let i = 0; i < 20; i++) {
      const peer = net.connect(port, '127.0.0.1').on('error', () => {});
      await new Promise((resolve) => peer.once('connect', resolve));
      for (let turn = 0; turn < i; turn++) await new Promise(setImmediate);
      peer.resetAndDestroy();
    }
    while (reports < 20) await new Promise(setImmediate);
    await server.close();
    console.log('done', reports);
  `);
  t.deepEqual({ code, out, err }, { code: 0, out: 'done 20\n', err: '' });
});

// eslint-disable-next-line no-restricted-syntax -- Windows has no limit on descriptors that a shell could set
const posix = process.platform === 'win32' ? test.skip : test;
posix('running out of file descriptors does not end the server', async (t) => {
  const { code, out, err } = await run(
    `
    import { openSync, closeSync } from 'node:fs';
    import net from 'node:net';
    import { StreamServer, connect } from 'sluice';
    let accepted = 0;
    const server = new StreamServer(
      async (stream) => { accepted++; for await (const line of stream) await stream.write(line); },
      '127.0.0.1', 0, { onError: () => {} },
    );
    await server.startServing();
    const { port } = server.sockets[0].address();
    const files = [];
    let refused;
    do {
      try {
        for (;;) files.push(openSync('/dev/null'));
      } catch (error) {
        if (error.code !== 'EMFILE') throw error;
      }
      // One descriptor for the client, none for the server to accept it with.
      closeSync(files.pop());
      const before = accepted;
      let code;
      const peer = net.connect(port, '127.0.0.1').on('error', (error) => { code = error.code; }).resume();
      while (!peer.closed && accepted === before) await new Promise(setImmediate);
      // Accepted all the same: the runtime gave a descriptor back meanwhile. Or it took the one that was for the client.
      refused = peer.closed && code !== 'EMFILE';
      peer.destroy();
    } while (!refused);
    console.log('refused');
    for (const file of files) closeSync(file);
    const client = await connect('127.0.0.1', port);
    await client.write('still here\\n');
    process.stdout.write(await client.readline());
    await client.close();
    await server.close();
  `,
    96,
  );
  t.deepEqual({ code, out, err }, { code: 0, out: 'refused\nstill here\n', err: '' });
});
