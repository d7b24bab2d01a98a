/** Timeouts of the connections of a server: which ones are cut off, and that each is reported once. */
// Runs once for each way of reading: the engine makes no difference to servers.
import test, { type ExecutionContext } from 'ava';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { StreamServer, TimeoutError, UnixStreamServer, type ClientHandler, type Stream } from 'sluice';
import { pendingDeadlines } from '#ts/deadlines.js';
import { certificates } from '../certificates.js';
import { closedByPeer, deferred, echo, turns, until } from '../loopback.js';
import { KINDS, serve, warningsOf } from './servers.js';

interface Report {
  readonly error: Error & { code?: string };
  readonly stream: Stream | null;
}

/** Collects what a server reports. */
function reporting(): { reports: Report[]; onError: (error: unknown, stream: Stream | null) => void } {
  const reports: Report[] = [];
  return { reports, onError: (error, stream) => void reports.push({ error: error as Error, stream }) };
}

/** Sends something every few milliseconds until the test is over or the socket is closed. */
function sending(t: ExecutionContext, socket: Socket, data: string): void {
  const timer = setInterval(() => socket.write(data), 5);
  const stop = (): void => clearInterval(timer);
  t.teardown(stop);
  socket.once('close', stop);
}

for (const kind of KINDS) {
  test(`a client that drips bytes is cut off and reported once, and one that sends lines is served (${kind})`, async (t) => {
    const { reports, onError } = reporting();
    const { dial } = await serve(t, kind, echo, { readTimeout: 300, onError });
    const [slow, steady, silent] = [await dial(), await dial(), await dial()];
    let received = 0;
    steady.on('data', (chunk: Buffer) => (received += chunk.length));
    sending(t, slow, 'x');
    sending(t, steady, 'line\n');
    await closedByPeer(slow);
    const before = received;
    t.true(before > 0);
    await until(() => received >= before + 50);
    t.is(silent.readyState, 'open', 'a client that sends nothing has sent no part of a line');
    await turns(5);
    t.is(reports.length, 1);
    const [{ error, stream }] = reports as [Report];
    t.true(error instanceof TimeoutError);
    t.is(error.code, 'ERR_READ_TIMEOUT');
    t.is(stream?.exception(), error);
  });

  test(`an idle client is cut off and reported once, and one that sends lines is served (${kind})`, async (t) => {
    const { reports, onError } = reporting();
    const { dial } = await serve(t, kind, echo, { idleTimeout: 300, onError });
    const [idle, steady] = [await dial(), await dial()];
    let received = 0;
    steady.on('data', (chunk: Buffer) => (received += chunk.length));
    sending(t, steady, 'line\n');
    await closedByPeer(idle);
    const before = received;
    await until(() => received >= before + 50);
    await turns(5);
    t.deepEqual(
      reports.map(({ error }) => error.code),
      ['ERR_IDLE_TIMEOUT'],
    );
  });

  test(`a client that reads nothing is cut off and reported once (${kind})`, async (t) => {
    const { reports, onError } = reporting();
    const chunk = Buffer.alloc(1 << 20);
    const handler: ClientHandler = async (stream) => {
      for (;;) await stream.write(chunk);
    };
    const { dial } = await serve(t, kind, handler, { writeTimeout: 300, onError });
    const [clogged, reading] = [await dial(), await dial()];
    let received = 0;
    reading.on('data', (data: Buffer) => (received += data.length));
    clogged.pause();
    await until(() => reports.length > 0);
    const before = received;
    await until(() => received > before + 2 * chunk.length);
    await closedByPeer(clogged);
    await turns(5);
    t.deepEqual(
      reports.map(({ error }) => error.code),
      ['ERR_WRITE_TIMEOUT'],
    );
  });

  test(`a connection that is too old is cut off and reported once, however busy it is (${kind})`, async (t) => {
    const { reports, onError } = reporting();
    // The age includes the handshake, which can take long on a busy machine.
    const { dial } = await serve(t, kind, echo, { maxAge: 3000, onError });
    const busy = await dial();
    sending(t, busy, 'line\n');
    await closedByPeer(busy);
    await until(() => reports.length > 0);
    await turns(5);
    t.deepEqual(
      reports.map(({ error }) => error.code),
      ['ERR_MAX_AGE'],
    );
  });
}

test.serial('a timeout is reported once, whatever the handler makes of it', async (t) => {
  const other = new Error('something else');
  const handlers: Record<string, ClientHandler> = {
    'rejects with it': (stream) => stream.readline().then(() => {}),
    'rejects with that of a write': (stream) =>
      stream.readline().then(
        () => {},
        () => stream.write('x'),
      ),
    'rejects with one that has it as the cause': (stream) =>
      stream.readline().then(
        () => {},
        (cause: unknown) => Promise.reject(new Error('request failed', { cause })),
      ),
    'catches it': (stream) =>
      stream.readline().then(
        () => {},
        () => {},
      ),
    'rejects with another error': (stream) =>
      stream.readline().then(
        () => {},
        () => Promise.reject(other),
      ),
    'has returned': () => {},
    'has returned, and waits': (stream) => void stream.readline().catch(() => {}),
    'closes the stream': (stream) =>
      stream.readline().then(
        () => {},
        () => stream.close(),
      ),
  };
  for (const [name, handler] of Object.entries(handlers)) {
    const { reports, onError } = reporting();
    const streams: Stream[] = [];
    const { server, dial } = await serve(
      t,
      'TCP',
      (stream, context) => {
        // A stream that nothing refers to might be collected first.
        streams.push(stream);
        return handler(stream, context);
      },
      { idleTimeout: 50, onError },
    );
    const client = await dial();
    await closedByPeer(client);
    await until(() => reports.length > 0);
    await turns(5);
    await server.close();
    const expected = name === 'rejects with another error' ? ['ERR_IDLE_TIMEOUT', undefined] : ['ERR_IDLE_TIMEOUT'];
    t.deepEqual(
      reports.map(({ error }) => error.code),
      expected,
      name,
    );
    t.is(reports[0]?.stream, streams[0], name);
  }
  t.is(pendingDeadlines(), 0);
});

test('a handler that works for longer than the idleTimeout without a byte is idle; setTimeouts turns that off', async (t) => {
  const { reports, onError } = reporting();
  const work = deferred();
  const { dial } = await serve(
    t,
    'TCP',
    async (stream) => {
      const line = (await stream.readline()).toString();
      if (line === 'patient\n') stream.setTimeouts({ idleTimeout: Infinity });
      await work.promise;
      await stream.write(line);
    },
    { idleTimeout: 100, onError },
  );
  const [patient, other] = [await dial(), await dial()];
  patient.write('patient\n');
  other.write('other\n');
  await closedByPeer(other);
  work.resolve();
  const [answer] = (await once(patient, 'data')) as [Buffer];
  t.is(answer.toString(), 'patient\n');
  await until(() => reports.length > 0);
  t.deepEqual(
    reports.map(({ error }) => error.code),
    ['ERR_IDLE_TIMEOUT'],
  );
});

test('maxAge includes the handshake: one that stops in the middle is ended and reported once, without a stream', async (t) => {
  const { reports, onError } = reporting();
  let served = 0;
  const { server, dialPlain } = await serve(t, 'TLS', () => (served++, undefined), {
    maxAge: 200,
    maxConnections: 1,
    onError,
  });
  const stopped = await dialPlain();
  await closedByPeer(stopped);
  await until(() => reports.length > 0);
  await turns(5);
  t.is(reports.length, 1);
  const [{ error, stream }] = reports as [Report];
  t.is(error.code, 'ERR_MAX_AGE');
  t.regex(error.message, /^maxAge: the connection with 127\.0\.0\.1:\d+ is older than 200 ms$/);
  t.is(stream, null);
  t.is(served, 0);
  // Its slot is free: the next one is not refused.
  await closedByPeer(await dialPlain());
  await until(() => reports.length > 1);
  t.is(reports[1]?.error.code, 'ERR_MAX_AGE');
  t.is(served, 0);
  await server.close();
});

test.serial(
  'without onError, timeouts are one line without a stack, and the close reports how many were left out',
  async (t) => {
    const warnings = warningsOf(t);
    const { server, dial } = await serve(t, 'TCP', echo, { idleTimeout: 50 });
    const clients = [await dial(), await dial(), await dial()];
    await Promise.all(clients.map(closedByPeer));
    await server.close();
    await turns(5);
    const [first] = warnings;
    t.regex(
      first?.message ?? '',
      /^StreamServer: the connection with 127\.0\.0\.1:\d+ was aborted: idleTimeout: no byte to or from 127\.0\.0\.1:\d+ for 50 ms$/,
    );
    t.is(first?.code, 'ERR_IDLE_TIMEOUT');
    const left = warnings
      .slice(1)
      .map(({ message }) => Number(/: (\d+) more connections? failed/.exec(message)?.[1] ?? 1));
    t.is(
      left.reduce((sum, n) => sum + n, 1),
      3,
    );
  },
);

test('invalid timeouts are refused by the constructors of both servers', async (t) => {
  const { server: identity } = await certificates();
  for (const name of ['idleTimeout', 'readTimeout', 'writeTimeout', 'maxAge']) {
    for (const make of [
      (options: object) => new StreamServer(echo, '127.0.0.1', 0, options),
      (options: object) => new StreamServer(echo, '127.0.0.1', 0, { ...options, ssl: identity }),
      (options: object) => new UnixStreamServer(echo, '/tmp/never', options),
    ]) {
      const message = new RegExp(`^\\w+: ${name} must be a number of milliseconds above 0, or Infinity, not `);
      for (const value of [0, -5, NaN]) t.throws(() => make({ [name]: value }), { code: 'ERR_OUT_OF_RANGE', message });
      for (const value of ['5', null])
        t.throws(() => make({ [name]: value }), { code: 'ERR_INVALID_ARG_TYPE', message });
      t.notThrows(() => make({ [name]: Infinity }));
    }
  }
});
