/** Closing a server with `drain`: no answer to a request that was received is lost, and idle connections do not delay the close. */
// Runs once for each way of reading: the engine makes no difference to servers.
import test, { type ExecutionContext } from 'ava';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { connect as netConnect, type AddressInfo, type Socket } from 'node:net';
import tls from 'node:tls';
import { inspect } from 'node:util';
import {
  StreamServer,
  connect,
  connectUnix,
  type ClientHandler,
  type HandlerContext,
  type ServerCloseResult,
  type ServingOptions,
  type Stream,
} from 'sluice';
import { certificates } from '../certificates.js';
import { closedByPeer, deferred, dial as dialPort, echo, gather, portOf, quiet, turns, until } from '../loopback.js';
import { KINDS, serve as serveKind, type Kind, type Served } from './servers.js';

/** Longer than any test takes. */
const LONG_MS = 2 ** 31 - 1;

/** A server whose reports fail the test. */
function serve(t: ExecutionContext, kind: Kind, handler: ClientHandler, options: ServingOptions = {}): Promise<Served> {
  const onError = (error: unknown): void => t.fail(`reported: ${String(error)}`);
  return serveKind(t, kind, handler, { onError, shutdownTimeout: 60_000, ...options });
}

/** Notes when a close has ended. */
function closing(close: Promise<ServerCloseResult>): { done: boolean; result: Promise<ServerCloseResult> } {
  const state = { done: false, result: close };
  void close.finally(() => (state.done = true));
  return state;
}

function lines(count: number, from = 0): string {
  return Array.from({ length: count }, (_, i) => `${from + i}\n`).join('');
}

// ------------------------------------------------------------------------------------------------ under load

const CLIENTS = 100;
const ROUND = 20;

/** A client that sends its requests in rounds, and waits for all answers of one before it sends the next. */
class RoundClient {
  sent = 0;
  answers: string[] = [];
  readonly ended: Promise<void>;
  readonly #socket: Socket;
  #rest = '';

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('latin1').on('data', (text: string) => this.#received(text));
    this.ended = closedByPeer(socket);
    this.#next();
  }

  #next(): void {
    this.#socket.write(lines(ROUND, this.sent));
    this.sent += ROUND;
  }

  #received(text: string): void {
    const parts = (this.#rest + text).split('\n');
    this.#rest = parts.pop() ?? '';
    this.answers.push(...parts);
    if (this.answers.length === this.sent) this.#next();
  }
}

for (const kind of KINDS) {
  test(`${kind}: a restart under load loses no answer to a request that was received`, async (t) => {
    const handled: string[][] = [];
    let count = 0;
    const { server, dial } = await serve(t, kind, async (stream) => {
      const requests: string[] = [];
      const slow = handled.push(requests) % 2 === 0;
      for await (const line of stream.lines()) {
        requests.push(line);
        count++;
        // In half of the connections, most of a round is in the buffer when the server begins to close.
        if (slow) await turns(1);
        await stream.write(`${line}\n`);
      }
    });
    const clients: RoundClient[] = [];
    for (let i = 0; i < CLIENTS; i++) clients.push(new RoundClient(await dial()));
    await until(() => count > 3 * CLIENTS * ROUND);

    const before = clients.map(({ sent }) => sent);
    const result = await server.close({ drain: Infinity });
    await Promise.all(clients.map(({ ended }) => ended));
    t.deepEqual(result, { finished: CLIENTS, cutOff: 0 });
    const answered = clients.map(({ answers }) => answers.length);
    t.deepEqual(
      answered.map((number, i) => number >= before[i]!),
      answered.map(() => true),
      'every request that was sent before the close is answered',
    );
    t.is(
      answered.reduce((sum, number) => sum + number),
      count,
      'every request that a handler has read is answered, and the answer arrives',
    );
    t.deepEqual(clients.map(({ answers }) => answers.join(' ')).sort(), handled.map((some) => some.join(' ')).sort());
  });

  test(`${kind}: requests in progress are answered: 20 of 20`, async (t) => {
    const goOn = deferred();
    let working = 0;
    const { server, dial } = await serve(t, kind, async (stream) => {
      const request = String(await stream.readline());
      working++;
      await goOn.promise;
      await stream.write(`answer to ${request}`);
    });
    const sockets = await Promise.all(Array.from({ length: 20 }, dial));
    sockets.forEach((socket, i) => socket.write(`${i}\n`));
    const answers = sockets.map(gather);
    await until(() => working === 20);
    const close = closing(server.close({ drain: LONG_MS }));
    await turns(10);
    t.false(close.done);
    goOn.resolve();
    t.deepEqual(
      (await Promise.all(answers)).map(String),
      sockets.map((_, i) => `answer to ${i}\n`),
    );
    t.deepEqual(await close.result, { finished: 20, cutOff: 0 });
  });

  test(`${kind}: idle connections are closed at once, before one that is busy has finished`, async (t) => {
    const goOn = deferred();
    let started = 0;
    let finished = false;
    const { server, dial } = await serve(t, kind, async (stream) => {
      for await (const line of stream) {
        started++;
        if (String(line) === 'work\n') {
          await goOn.promise;
          finished = true;
        }
        await stream.write(line);
      }
    });
    const idle = await Promise.all([1, 2, 3].map(dial));
    for (const socket of idle) socket.write('hello\n');
    const busy = await dial();
    busy.write('work\n');
    await until(() => started === 4);
    const ends = idle.map(gather);
    const close = closing(server.close({ drain: Infinity }));
    t.deepEqual((await Promise.all(ends)).map(String), ['hello\n', 'hello\n', 'hello\n']);
    t.false(finished);
    t.false(close.done);
    const answer = gather(busy);
    goOn.resolve();
    t.is(String(await answer), 'work\n');
    t.deepEqual(await close.result, { finished: 4, cutOff: 0 });
  });

  test(`${kind}: bytes that the kernel has received when the close begins count as received`, async (t) => {
    let streams = 0;
    const { server, dial } = await serve(t, kind, (stream, context) => {
      streams++;
      return echo(stream, context);
    });
    const socket = await dial();
    await until(() => streams === 1);
    await turns(5);
    socket.write('one\ntwo\n');
    const [result, answer] = await Promise.all([server.close({ drain: Infinity }), gather(socket)]);
    t.is(String(answer), 'one\ntwo\n');
    t.deepEqual(result, { finished: 1, cutOff: 0 });
  });

  test(`${kind}: a connection whose reading back-pressure has paused is served to its last request`, async (t) => {
    const goOn = deferred();
    const streams: Stream[] = [];
    const { server, dial } = await serve(
      t,
      kind,
      async (stream) => {
        streams.push(stream);
        await goOn.promise;
        for await (const line of stream) await stream.write(line);
      },
      { limit: 64 },
    );
    const socket = await dial();
    const requests = lines(20_000);
    socket.write(requests);
    const answer = gather(socket);
    // One chunk is in the buffer of the reader, and everything else in the kernel.
    await until(() => (streams[0]?.buffered ?? 0) > 128 && socket.writableLength === 0);
    await turns(5);
    t.true(streams[0]!.buffered < requests.length);
    const close = server.close({ drain: Infinity });
    goOn.resolve();
    t.is(String(await answer), requests);
    t.deepEqual(await close, { finished: 1, cutOff: 0 });
  });

  test(`${kind}: a connection that is cut off when the time is over is counted, and gets what was written`, async (t) => {
    let started = 0;
    let after = 0;
    const { server, dial } = await serve(t, kind, async (stream, { draining }) => {
      const request = String(await stream.readline());
      started++;
      if (request === 'quick\n') {
        if (!draining.aborted) await once(draining, 'abort');
        await stream.write('done\n');
      } else if (request === 'stuck\n') {
        void stream.write('half of');
        await stream.waitClosed();
        while ((await stream.readline()).length > 0) after++;
      }
    });
    const idle = await dial();
    const quick = await dial();
    const stuck = await dial();
    quick.write('quick\n');
    stuck.write(`stuck\n${lines(100)}`);
    await until(() => started === 2);
    const ends = [idle, quick].map(gather);
    const rest = gather(stuck);
    const close = server.close({ drain: LONG_MS });
    t.deepEqual((await Promise.all(ends)).map(String), ['', 'done\n']);
    // A later call can only shorten the time.
    void server.close({ drain: Infinity });
    const shorter = server.close({ drain: 1 });
    t.deepEqual(await close, { finished: 2, cutOff: 1 });
    t.is(await shorter, await close);
    t.is(String(await rest), 'half of');
    t.is(after, 0, 'what is buffered is not handed out any more');
  });

  for (const end of ['close', 'abort'] as const) {
    test(`${kind}: ${end} while the server drains ends the time at once`, async (t) => {
      const goOn = deferred();
      let stream: Stream | undefined;
      let read = 0;
      const { server, dial } = await serve(t, kind, async (given) => {
        stream = given;
        await given.readline();
        await goOn.promise;
        for await (const _ of given) read++;
      });
      const socket = await dial();
      socket.write(lines(100));
      const ended = closedByPeer(socket);
      await until(() => (stream?.bytesRead ?? 0) > 0);
      const first = closing(server.close({ drain: Infinity }));
      await turns(10);
      t.false(first.done);
      t.false(stream?.isClosing());
      const second = server[end]();
      t.true(stream?.isClosing());
      await ended;
      goOn.resolve();
      t.deepEqual(await first.result, { finished: 0, cutOff: 1 });
      t.is(await second, await first.result);
      t.is(read, 0);
    });
  }

  test(`${kind}: a handler that works on several requests at once sends all answers before its stream is closed`, async (t) => {
    const goOn = deferred();
    let working = 0;
    const { server, dial } = await serve(t, kind, async (stream) => {
      const tasks: Promise<void>[] = [];
      for await (const line of stream.lines()) {
        working++;
        tasks.push(goOn.promise.then(() => stream.write(`${line}\n`)));
      }
      t.false(stream.isClosing());
      goOn.resolve();
      await Promise.all(tasks);
    });
    const socket = await dial();
    socket.write(lines(30));
    const answer = gather(socket);
    await until(() => working === 30);
    t.deepEqual(await server.close({ drain: Infinity }), { finished: 1, cutOff: 0 });
    t.is(String(await answer), lines(30));
  });

  test(`${kind}: after reading has ended, what the client still sends is dropped`, async (t) => {
    const ended = deferred();
    const goOn = deferred();
    let got = '';
    const { server, dial } = await serve(t, kind, async (stream) => {
      await stream.readline();
      ended.resolve();
      await goOn.promise;
      got = `${String(await stream.read())}${stream.buffered}`;
    });
    const socket = await dial();
    await turns(5);
    const close = server.close({ drain: Infinity });
    await ended.promise;
    socket.write('too late\n');
    await turns(20);
    goOn.resolve();
    await close;
    t.is(got, '0');
  });

  test(`${kind}: connections of a plain function, which has returned, are closed when they are idle`, async (t) => {
    const streams: Stream[] = [];
    const seen: string[] = [];
    const { server, dial } = await serve(t, kind, (stream) => {
      streams.push(stream);
      void (async () => {
        for await (const line of stream) {
          seen.push(String(line));
          await turns(1);
          await stream.write(line);
        }
      })();
    });
    const socket = await dial();
    await until(() => streams.length === 1);
    socket.write(lines(10));
    const [result, answer] = await Promise.all([server.close({ drain: Infinity }), gather(socket)]);
    t.is(String(answer), lines(10));
    t.is(seen.length, 10);
    t.deepEqual(result, { finished: 1, cutOff: 0 });
  });
}

// ------------------------------------------------------------------------------------------------ which reads wait

const FRAMING = { length: 'uint32be' } as const;

async function all(iterable: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of iterable);
}

/** Every call that can wait for bytes. */
const READS: Record<string, (stream: Stream) => Promise<unknown>> = {
  'read(5)': (stream) => stream.read(5),
  'read()': (stream) => stream.read(),
  readline: (stream) => stream.readline(),
  readuntil: (stream) => stream.readuntil('\r\n'),
  'readexactly(5)': (stream) => stream.readexactly(5),
  'readexactly(100000)': (stream) => stream.readexactly(100_000),
  peek: (stream) => stream.peek(5),
  readinto: (stream) => stream.readinto(Buffer.alloc(5)),
  window: (stream) => stream.window(5),
  'chunks()': (stream) => all(stream.chunks()),
  'chunks(5)': (stream) => all(stream.chunks(5)),
  discard: (stream) => stream.discard(5),
  'for await': (stream) => all(stream),
  'lines()': (stream) => all(stream.lines()),
  'lines().batches()': (stream) => all(stream.lines().batches()),
  readframe: (stream) => stream.readframe(FRAMING),
  readframes: (stream) => stream.readframes(FRAMING),
  'frames()': (stream) => all(stream.frames(FRAMING)),
  'frames().batches()': (stream) => all(stream.frames(FRAMING).batches()),
  'a read with a signal and a timeout': (stream) =>
    stream.readline({ signal: new AbortController().signal, timeout: 1e9 }),
};

for (const [name, read] of Object.entries(READS)) {
  test(`${name} that waits with an empty buffer ends as at EOF`, async (t) => {
    const started = deferred();
    // A handler that lets the error of an incomplete read pass has not failed.
    const { server, dial } = await serve(t, 'TCP', async (stream) => {
      started.resolve();
      await read(stream);
      t.is(stream.buffered, 0);
      t.is((await stream.read()).length, 0);
    });
    const ended = closedByPeer(await dial());
    await started.promise;
    t.deepEqual(await server.close({ drain: Infinity }), { finished: 1, cutOff: 0 });
    await ended;
  });
}

const PARTIAL: Record<string, [read: (stream: Stream) => Promise<unknown>, length: number]> = {
  readline: [(stream) => stream.readline(), 6],
  readuntil: [(stream) => stream.readuntil('\n'), 6],
  'readexactly(6)': [(stream) => stream.readexactly(6), 6],
  'readexactly(100000)': [(stream) => stream.readexactly(100_000), 100_000],
  peek: [(stream) => stream.peek(6).then(() => stream.readline()), 6],
  window: [(stream) => stream.window(6).then(() => stream.readline()), 6],
  'lines()': [(stream) => stream.lines().next(), 6],
  'frames()': [(stream) => stream.frames('\n').next(), 6],
  readframes: [(stream) => stream.readframes('\n'), 6],
  'a frame of 100000 bytes': [(stream) => stream.readframe({ size: 100_000 }), 100_000],
};

for (const [name, [read, length]] of Object.entries(PARTIAL)) {
  test(`a read that has a part of its frame is not idle: ${name}`, async (t) => {
    let stream: Stream | undefined;
    const { server, dial } = await serve(
      t,
      'TCP',
      async (given) => {
        stream = given;
        for (let i = 0; i < 2; i++) {
          await read(given);
          await given.write('answer\n');
        }
        await given.readline();
      },
      { limit: 200_000 },
    );
    const socket = await dial();
    const answers = gather(socket);
    const frame = `${'x'.repeat(length - 1)}\n`;
    socket.write(frame);
    socket.write('par');
    await until(() => stream?.bytesRead === length + 3);
    const close = closing(server.close({ drain: Infinity }));
    await turns(20);
    t.false(close.done);
    t.false(stream?.isClosing());
    socket.write(frame.slice(3));
    t.is(String(await answers), 'answer\nanswer\n');
    t.deepEqual(await close.result, { finished: 1, cutOff: 0 });
  });
}

// ------------------------------------------------------------------------------------------------ listeners, handshakes

for (const [kind, accept] of [
  ['TCP', undefined],
  ['Unix', undefined],
  ['TCP', () => true],
] as const) {
  const hook = accept === undefined ? '' : ' with an accept hook';
  test(`${kind}${hook}: connections that the kernel has queued are served, and later ones are refused`, async (t) => {
    let streams = 0;
    const handler: ClientHandler = (stream, context) => {
      streams++;
      return echo(stream, context);
    };
    const { server } = await serve(t, kind, handler, { accept });
    const address = server.sockets[0]!.address()!;
    const place = typeof address === 'string' ? { path: address } : { port: address.port, host: '127.0.0.1' };
    const sockets = Array.from({ length: 30 }, () => quiet(netConnect({ ...place, allowHalfOpen: true })));
    t.teardown(() => sockets.forEach((socket) => socket.destroy()));
    const answers = sockets.map((socket, i) => {
      socket.write(`${i}\n`);
      return gather(socket);
    });
    // Node asks the system to connect after the current operation; nothing is accepted before the event loop turns.
    await new Promise<void>((resolve) => process.nextTick(resolve));
    t.is(streams, 0);
    const close = server.close({ drain: Infinity });
    t.false(server.isServing());
    t.false(server.isBound());
    t.deepEqual(server.sockets, []);
    t.deepEqual(
      (await Promise.all(answers)).map(String),
      sockets.map((_, i) => `${i}\n`),
    );
    t.deepEqual(await close, { finished: 30, cutOff: 0 });
    const again = 'path' in place ? connectUnix(place.path) : connect('127.0.0.1', place.port);
    await t.throwsAsync(again, { code: kind === 'TCP' ? 'ECONNREFUSED' : 'ENOENT' });
  });
}

test('listeners close although new connections never stop', async (t) => {
  const { server } = await serve(t, 'TCP', (stream, context) => echo(stream, context), { backlog: 3 });
  const address = server.sockets[0]!.address()!;
  const { port } = address as { port: number };
  let refused = false;
  const flood = (): void => {
    if (refused) return;
    const socket = netConnect(port, '127.0.0.1');
    socket.on('error', () => (refused = true)).resume();
    socket.on('connect', flood).on('end', () => socket.destroy());
    t.teardown(() => socket.destroy());
  };
  for (let i = 0; i < 10; i++) flood();
  await turns(20);
  const { cutOff } = await server.close({ drain: Infinity });
  await until(() => refused);
  t.is(cutOff, 0);
});

test('a TLS handshake in progress finishes, and its connection is served by the draining server', async (t) => {
  const { ca } = await certificates();
  const contexts: HandlerContext[] = [];
  const { server, dialPlain } = await serve(t, 'TLS', (stream, context) => {
    contexts.push(context);
    t.true(context.draining.aborted);
    return echo(stream, context);
  });
  const accepted = once(server.sockets[0]!, 'connection');
  const plain = await dialPlain();
  await accepted;
  const close = closing(server.close({ drain: Infinity }));
  await turns(20);
  t.false(close.done);
  const secured = quiet(tls.connect({ socket: plain, ca, servername: 'localhost' }));
  secured.write('hello\n');
  t.is(String(await gather(secured)), 'hello\n');
  t.is(contexts.length, 1);
  t.deepEqual(await close.result, { finished: 1, cutOff: 0 });
});

test('a TLS handshake that does not finish ends with the time', async (t) => {
  const { server, dialPlain } = await serve(t, 'TLS', () => t.fail());
  const accepted = once(server.sockets[0]!, 'connection');
  const ended = closedByPeer(await dialPlain());
  await accepted;
  const close = closing(server.close({ drain: Infinity }));
  await turns(20);
  t.false(close.done);
  t.deepEqual(await server.close({ drain: 1 }), { finished: 0, cutOff: 0 });
  await ended;
});

test('a TLS handshake that fails does not keep the server open', async (t) => {
  const reports: unknown[] = [];
  const { server, dialPlain } = await serve(t, 'TLS', () => t.fail(), { onError: (error) => void reports.push(error) });
  const accepted = once(server.sockets[0]!, 'connection');
  const plain = await dialPlain();
  await accepted;
  const close = server.close({ drain: Infinity });
  plain.write('this is not TLS\n');
  t.deepEqual(await close, { finished: 0, cutOff: 0 });
  t.is(reports.length, 1);
});

test('an upgrade by startTls in progress finishes', async (t) => {
  const { ca, server: identity } = await certificates();
  const started = deferred();
  const { server } = await serve(t, 'TCP', async (stream, context) => {
    await stream.readline();
    void stream.write('go\n');
    const upgraded = stream.startTls(identity);
    started.resolve();
    await upgraded;
    await echo(stream, context);
  });
  await using client = await connect('127.0.0.1', (server.sockets[0]!.address() as AddressInfo).port);
  await client.write('STARTTLS\n');
  await started.promise;
  const close = closing(server.close({ drain: Infinity }));
  t.is(String(await client.readline()), 'go\n');
  await turns(20);
  t.false(close.done);
  const upgraded = client.startTls({ ca }, { serverHostname: 'localhost' });
  void client.write('hello\n');
  await upgraded;
  t.is(String(await client.read()), 'hello\n');
  t.deepEqual(await close.result, { finished: 1, cutOff: 0 });
});

// ------------------------------------------------------------------------------------------------ the signal

test('draining is aborted at once by every way of closing, with a reason that says so', async (t) => {
  const ends: ((server: Served['server']) => unknown)[] = [
    (server) => server.close({ drain: Infinity }),
    (server) => server.close({ drain: 0 }),
    (server) => server.close(),
    (server) => server.abort(),
  ];
  for (const end of ends) {
    const contexts: HandlerContext[] = [];
    const { server, dial } = await serve(t, 'TCP', async (stream, context) => {
      contexts.push(context);
      await stream.readline();
    });
    await dial();
    await dial();
    await until(() => contexts.length === 2);
    const [early, late] = contexts as [HandlerContext, HandlerContext];
    const { draining } = early;
    t.false(draining.aborted);
    server.closeClients();
    t.false(draining.aborted, 'closeClients does not close the server');
    void end(server);
    t.true(draining.aborted);
    t.is(early.draining, draining);
    t.true(late.draining.aborted);
    t.true(draining.reason instanceof DOMException);
    t.is((draining.reason as DOMException).name, 'AbortError');
    t.regex((draining.reason as DOMException).message, /draining/);
    t.is(late.draining.reason, draining.reason);
    t.false(early.signal.aborted);
    await server.close();
  }
});

test('a handler that rejects because of draining is not reported, and what it has written is sent', async (t) => {
  const size = 16 * 1024 * 1024;
  const handlers: ClientHandler[] = [
    (stream, { draining }) => stream.readline({ signal: draining }).then(() => undefined),
    (_stream, { draining }) => once(new EventTarget(), 'never', { signal: draining }).then(() => undefined),
  ];
  for (const handler of handlers) {
    let started = 0;
    const { server, dial } = await serve(t, 'TCP', async (stream, context) => {
      void stream.write(Buffer.alloc(size));
      started++;
      await handler(stream, context);
    });
    const socket = await dial();
    socket.pause();
    await until(() => started === 1);
    const close = server.close({ drain: Infinity });
    t.is((await gather(socket)).length, size);
    t.deepEqual(await close, { finished: 1, cutOff: 0 });
  }
});

test('a handler whose incomplete read fails because the server drains still has sent what it had written', async (t) => {
  const size = 16 * 1024 * 1024;
  for (const drain of [Infinity, 0]) {
    let started = 0;
    const { server, dial } = await serve(t, 'TCP', async (stream) => {
      void stream.write(Buffer.alloc(size));
      started++;
      await stream.readexactly(4);
    });
    const socket = await dial();
    socket.pause();
    await until(() => started === 1);
    const close = server.close({ drain });
    t.is((await gather(socket)).length, size, `drain: ${drain}`);
    t.deepEqual(await close, { finished: 1, cutOff: 0 });
  }
});

test('a listener of draining may close the server again', async (t) => {
  const started = deferred();
  const { server, dial } = await serve(t, 'TCP', async (stream, { draining }) => {
    draining.addEventListener('abort', () => void server.close());
    started.resolve();
    await stream.waitClosed();
  });
  const ended = closedByPeer(await dial());
  await started.promise;
  t.deepEqual(await server.close({ drain: Infinity }), { finished: 0, cutOff: 1 });
  await ended;
});

// ------------------------------------------------------------------------------------------------ the calls

test('serveForever with drain closes with drain when its signal is aborted', async (t) => {
  const goOn = deferred();
  const started = deferred();
  const server = new StreamServer(
    async (stream) => {
      const line = await stream.readline();
      started.resolve();
      await goOn.promise;
      await stream.write(line);
    },
    '127.0.0.1',
    0,
  );
  t.teardown(() => server.abort());
  const stop = new AbortController();
  const served = server.serveForever({ signal: stop.signal, drain: LONG_MS });
  await until(() => server.isServing());
  const socket = await dialPort(t, portOf(server));
  socket.write('request\n');
  const answer = gather(socket);
  await started.promise;
  const reason = new Error('stop');
  stop.abort(reason);
  t.false(server.isBound());
  await turns(10);
  goOn.resolve();
  t.is(String(await answer), 'request\n');
  t.is(await t.throwsAsync(served), reason);
  t.deepEqual(await server.close(), { finished: 1, cutOff: 0 });
});

test('an invalid drain is refused, and the server goes on', async (t) => {
  const { server, dial } = await serve(t, 'TCP', echo);
  const type = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
  const range = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };
  const cases: [unknown, typeof type | typeof range, RegExp][] = [
    [{ drain: '1' }, type, /drain must be a number of milliseconds, not "1"/],
    [{ drain: null }, type, /drain must be a number of milliseconds, not null/],
    [{ drain: -1 }, range, /drain .* not -1/],
    [{ drain: NaN }, range, /drain .* not NaN/],
    [{ drain: 2 ** 31 }, range, /drain .* not 2147483648/],
    [1000, type, /options must be an object, not 1000/],
    [null, type, /options must be an object, not null/],
  ];
  for (const [given, expected, message] of cases) {
    await t.throwsAsync(server.close(given as object), { ...expected, message });
    await t.throwsAsync(server.serveForever(given as object), { ...expected, message });
  }
  t.true(server.isServing());
  const socket = await dial();
  socket.end('hello\n');
  t.is(String(await gather(socket)), 'hello\n');
  for (const valid of [undefined, {}, { drain: undefined }, { drain: 0.5 }]) {
    await t.notThrowsAsync(server.close(valid));
  }
});

test('close with drain of a server that has no connection, or does not serve yet, ends at once', async (t) => {
  for (const start of ['new', 'bind', 'startServing'] as const) {
    const server = new StreamServer(() => t.fail(), '127.0.0.1', 0);
    if (start !== 'new') await server[start]();
    let waiting: Promise<void> | undefined;
    if (start === 'bind') {
      const accepted = once(server.sockets[0]!, 'connection');
      waiting = closedByPeer(await dialPort(t, portOf(server)));
      await accepted;
    }
    t.deepEqual(await server.close({ drain: Infinity }), { finished: 0, cutOff: 0 });
    await waiting;
    t.false(server.isBound());
  }
});

test('inspect shows that a server is draining', async (t) => {
  const goOn = deferred();
  let started = 0;
  const { server, dial } = await serve(t, 'TCP', async () => {
    started++;
    await goOn.promise;
  });
  await dial();
  await until(() => started === 1);
  const close = server.close({ drain: Infinity });
  t.is(inspect(server), 'StreamServer { draining, sockets: [], clients: 1 }');
  goOn.resolve();
  await close;
  t.is(inspect(server), 'StreamServer { closed, sockets: [], clients: 0 }');
});

// ------------------------------------------------------------------------------------------------ half received

const HALVES: [name: string, read: (stream: Stream) => Promise<unknown>][] = [
  ['readexactly', (stream) => stream.readexactly(1000)],
  ['discard', (stream) => stream.discard(1000)],
  [
    'chunks',
    async (stream) => {
      let count = 0;
      for await (const chunk of stream.chunks(1000)) count += chunk.length;
      return count;
    },
  ],
  [
    'the end of an overlong line',
    async (stream) => {
      await stream.readline().catch(() => {});
      await stream.readline();
    },
  ],
];

for (const [name, read] of HALVES) {
  test(`a drain waits for the rest of what a client has half sent: ${name}`, async (t) => {
    const given = deferred<Stream>();
    const handler: ClientHandler = async (stream) => {
      given.resolve(stream);
      await read(stream);
      await stream.write('ok\n');
    };
    const { server, dial } = await serve(t, 'TCP', handler, { limit: 100 });
    const socket = await dial();
    const answer = gather(socket);
    socket.write(Buffer.alloc(500, 'x'));
    const stream = await given.promise;
    await until(() => stream.bytesRead === 500);
    await turns(3);
    const close = closing(server.close({ drain: Infinity }));
    await turns(20);
    t.false(close.done);
    socket.write(Buffer.concat([Buffer.alloc(499, 'x'), Buffer.from('\nnext\n')]));
    t.is(String(await answer), 'ok\n');
    t.deepEqual(await close.result, { finished: 1, cutOff: 0 });
  });
}

test('a connection that maxAge ends while its handler is at work counts as cut off', async (t) => {
  const codes: unknown[] = [];
  const working = deferred();
  const handler: ClientHandler = async (stream) => {
    await stream.readline();
    working.resolve();
    await stream.waitClosed();
  };
  const onError = (error: unknown): void => void codes.push((error as { code?: unknown }).code);
  const { server, dial } = await serve(t, 'TCP', handler, { onError, maxAge: 200 });
  const socket = await dial();
  const end = closedByPeer(socket);
  socket.write('request\n');
  await working.promise;
  t.deepEqual(await server.close({ drain: Infinity }), { finished: 0, cutOff: 1 });
  await end;
  t.deepEqual(codes, ['ERR_MAX_AGE']);
});

/** More than the kernel accepts for a peer that does not read. */
const MUCH = 20_000_000;

const LEAVERS: Readonly<Record<string, ClientHandler>> = {
  'an async handler that has returned': async (stream) => {
    await stream.readline();
    void stream.write(Buffer.alloc(MUCH));
  },
  'a plain handler that has returned': (stream) => {
    void stream.readline().then(() => stream.readline());
    void stream.write(Buffer.alloc(MUCH));
  },
  'a handler that waits for its own close': async (stream) => {
    await stream.readline();
    void stream.write(Buffer.alloc(MUCH));
    await stream.close();
  },
};

for (const kind of KINDS) {
  for (const [name, handler] of Object.entries(LEAVERS)) {
    test(`${kind}: a client that does not read what was written before closeTimeout counts as cut off, and is reported once: ${name}`, async (t) => {
      const reports: [error: unknown, stream: Stream | null][] = [];
      const onError = (error: unknown, stream: Stream | null): void => void reports.push([error, stream]);
      let stream: Stream | null = null;
      const { server, dial } = await serve(
        t,
        kind,
        (given, context) => {
          stream = given;
          return handler(given, context);
        },
        { onError, closeTimeout: 300 },
      );
      const socket = (await dial()).pause();
      socket.write('request\n');
      await until(() => (stream?.writeBufferSize ?? 0) > 0);
      t.deepEqual(await server.close({ drain: Infinity }), { finished: 0, cutOff: 1 });
      t.is(reports.length, 1);
      const [error, reported] = reports[0]!;
      t.like(error, { name: 'ConnectionError', code: 'ETIMEDOUT' });
      t.regex((error as Error).message, /^close.*: the peer has accepted nothing for 300 ms/);
      t.is(reported, stream);
    });
  }
}

test('a startTls that times out while the server drains is the error of the handler, and not reported twice', async (t) => {
  const { server: ssl } = await certificates();
  const reports: unknown[] = [];
  const upgrading = deferred();
  const { server, dial } = await serve(
    t,
    'TCP',
    async (stream) => {
      await stream.readline();
      upgrading.resolve();
      await stream.startTls({ key: ssl.key, cert: ssl.cert }, { sslHandshakeTimeout: 100 });
    },
    { onError: (error) => void reports.push((error as Error).message) },
  );
  const socket = await dial();
  const end = closedByPeer(socket);
  socket.write('STARTTLS\n');
  await upgrading.promise;
  await server.close({ drain: Infinity });
  await end;
  t.is(reports.length, 1);
  t.regex(String(reports[0]), /^startTls: .*timed out after 100 ms/);
});

test('startTls after a drain has ended reading says so, and closes the connection', async (t) => {
  const { server: ssl } = await certificates();
  const failure = deferred<unknown>();
  let ended = false;
  const reading = deferred();
  const { server, dial } = await serve(t, 'TCP', async (stream) => {
    const line = stream.readline();
    reading.resolve();
    await line;
    ended = stream.atEof();
    await stream.startTls({ key: ssl.key, cert: ssl.cert }).catch((error: unknown) => {
      failure.resolve(error);
      throw error;
    });
  });
  const socket = await dial();
  await reading.promise;
  const end = closedByPeer(socket);
  t.deepEqual(await server.close({ drain: Infinity }), { finished: 1, cutOff: 0 });
  await end;
  t.true(ended);
  const error = (await failure.promise) as Error;
  t.like(error, { name: 'ConnectionError', code: 'ECONNRESET' });
  t.is(error.message, 'startTls: the server is closing and has ended reading');
});

test('a handler that fails because the close ended its startTls is not reported', async (t) => {
  const { server: ssl } = await certificates();
  const upgrading = deferred();
  const { server, dial } = await serve(t, 'TCP', async (stream) => {
    await stream.readline();
    const upgrade = stream.startTls({ key: ssl.key, cert: ssl.cert });
    upgrading.resolve();
    await upgrade;
  });
  const socket = await dial();
  socket.write('STARTTLS\n');
  await upgrading.promise;
  await turns(5);
  const end = closedByPeer(socket);
  await server.close();
  await end;
  t.pass();
});

test('bytes that arrive after reading has ended count as activity for idleTimeout, and in bytesRead', async (t) => {
  const goOn = deferred();
  const given = deferred<Stream>();
  const { server, dial } = await serve(t, 'TCP', async (stream) => {
    given.resolve(stream);
    await stream.readline();
    await goOn.promise;
    await stream.write('answer\n');
  });
  const socket = await dial();
  const answer = gather(socket);
  const stream = await given.promise;
  const close = server.close({ drain: Infinity });
  await turns(10);
  socket.write('late\n');
  await until(() => stream.bytesRead === 5);
  t.is(stream.buffered, 0);
  goOn.resolve();
  t.is(String(await answer), 'answer\n');
  t.deepEqual(await close, { finished: 1, cutOff: 0 });
});
