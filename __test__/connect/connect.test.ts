// Runs once for each way of reading: the engine makes no difference to streams.
import test from 'ava';
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { Socket, connect as netConnect } from 'node:net';
import { PassThrough, Readable, duplexPair } from 'node:stream';
import { ConnectionError, StreamServer, connect, socketpair, type AttemptError, type Stream } from 'sluice';
import {
  deferred,
  gather,
  listen,
  portOf,
  quiet,
  resolving,
  resolvingBy,
  sparePort,
  streamAndPeer,
  turns,
  until,
} from '../loopback.js';

const TYPE = { instanceOf: TypeError, code: 'ERR_INVALID_ARG_TYPE' };
const RANGE = { instanceOf: RangeError, code: 'ERR_OUT_OF_RANGE' };

// ------------------------------------------------------------------------------------------------ host and port

test('connect accepts an address and a name', async (t) => {
  const { port, sockets } = await listen(t);
  for (const host of ['127.0.0.1', 'localhost']) {
    const stream = await connect(host, port, { limit: 99 });
    t.is(stream.limit, 99);
    t.like(stream.getExtraInfo('peername'), { address: '127.0.0.1', port });
    await stream.close();
  }
  await until(() => sockets.length === 2);
});

test('connect accepts an IPv6 address', async (t) => {
  const listening = await listen(t, undefined, '::1').catch(() => null);
  if (listening === null) {
    t.log('this machine has no IPv6');
    await t.throwsAsync(connect('::1', 9), { instanceOf: ConnectionError });
    return;
  }
  const stream = await connect('::1', listening.port, { family: 6 });
  t.like(stream.getExtraInfo('peername'), { address: '::1', port: listening.port });
  await stream.close();
});

test.serial(
  'the addresses of a name are tried until one connects; if none does, the error lists them all',
  async (t) => {
    resolving(t, ['127.0.0.2', '127.0.0.3', '127.0.0.1']);
    const { port, close } = await listen(t, (socket) => socket.end('here'), '127.0.0.1', await sparePort(t));
    {
      await using stream = await connect('three.example', port);
      t.like(stream.getExtraInfo('peername'), { address: '127.0.0.1', port });
      t.is(String(await stream.read()), 'here');
    }
    close();
    await turns(3);
    const error = await t.throwsAsync<AggregateError>(connect('three.example', port), { instanceOf: AggregateError });
    t.regex(error?.message ?? '', /^connect three\.example:\d+: all 3 attempts failed: /);
    t.deepEqual(
      (error?.errors as { address: string }[]).map(({ address }) => address),
      ['127.0.0.2', '127.0.0.3', '127.0.0.1'],
    );
  },
);

test('if the only address fails, the error is that of the attempt', async (t) => {
  const port = await sparePort(t);
  const error = (await t.throwsAsync(connect('127.0.0.1', port), { instanceOf: ConnectionError })) as AttemptError;
  t.like(error, { code: 'ECONNREFUSED', address: '127.0.0.1', family: 4 });
  t.is(error.message, `connect 127.0.0.1:${port}: ECONNREFUSED (connection refused)`);
  t.true(error.cause instanceof ConnectionError);
});

test('a name that is not found rejects with its host and port', async (t) => {
  const error = await t.throwsAsync(connect('no-such-host.invalid', 80), { instanceOf: ConnectionError });
  t.regex(error?.message ?? '', /^connect no-such-host\.invalid:80: /);
  t.true(error?.cause instanceof Error);
});

test.serial(
  'a resolver that returns no address is ENOTFOUND with the name, for connect, localAddr and bind',
  async (t) => {
    resolving(t, []);
    const code = 'ENOTFOUND';
    for (const family of [0, 4, 6] as const) {
      await t.throwsAsync(connect('nowhere.example', 80, { family }), {
        instanceOf: ConnectionError,
        code,
        message: 'connect nowhere.example:80: no address found for nowhere.example',
      });
    }
    const server = new StreamServer(() => {}, 'nowhere.example', 8080);
    await t.throwsAsync(server.bind(), {
      instanceOf: ConnectionError,
      code,
      message: 'bind nowhere.example:8080: no address found for nowhere.example',
    });
    t.false(server.isBound());
    resolvingBy(t, (host) => (host === '127.0.0.1' ? [host] : []));
    await t.throwsAsync(connect('127.0.0.1', 80, { localAddr: ['nowhere.example', 0] }), {
      instanceOf: ConnectionError,
      code,
      message: 'connect 127.0.0.1:80: localAddr nowhere.example:0: no address found for nowhere.example',
    });
    // The name has addresses, but none of this family.
    resolving(t, ['127.0.0.1']);
    await t.throwsAsync(connect('four.example', 80, { family: 6 }), {
      instanceOf: ConnectionError,
      code: 'EAI_ADDRFAMILY',
      message: 'connect four.example:80: four.example has no IPv6 address',
    });
  },
);

test('an address of the other family is refused', async (t) => {
  await t.throwsAsync(connect('127.0.0.1', 80, { family: 6 }), {
    instanceOf: ConnectionError,
    code: 'EAI_ADDRFAMILY',
    message: 'connect 127.0.0.1:80: 127.0.0.1 is not an IPv6 address',
  });
  await t.throwsAsync(connect('::1', 80, { family: 4 }), {
    instanceOf: ConnectionError,
    message: 'connect [::1]:80: ::1 is not an IPv4 address',
  });
});

test('localAddr sets the local address and port', async (t) => {
  const { port, sockets } = await listen(t);
  const first = await connect('127.0.0.1', port, { localAddr: ['127.0.0.1', 0] });
  const from = (first.getExtraInfo('sockname') as { port: number }).port;
  await first.abort();
  await until(() => sockets.length === 1);
  t.is(sockets[0]?.remotePort, from);

  const own = await sparePort(t);
  const second = await connect('127.0.0.1', port, { localAddr: ['localhost', own], family: 4 });
  t.like(second.getExtraInfo('sockname'), { address: '127.0.0.1', port: own });
  await second.abort();

  await t.throwsAsync(connect('127.0.0.1', port, { localAddr: ['::1', 7] }), {
    ...{ instanceOf: ConnectionError, code: 'EADDRNOTAVAIL', message: /localAddr \[::1\]:7 has no IPv4 address/ },
  });
  await t.throwsAsync(connect('127.0.0.1', port, { localAddr: ['nowhere.invalid', 0] }), {
    instanceOf: ConnectionError,
    message: new RegExp(`^connect 127.0.0.1:${port}: localAddr nowhere.invalid:0: .*nowhere.invalid$`),
  });
  const foreign = await t.throwsAsync(connect('127.0.0.1', port, { localAddr: ['192.0.2.1', 0] }));
  t.is(
    foreign?.message,
    `connect 127.0.0.1:${port}: EADDRNOTAVAIL (localAddr 192.0.2.1:0: address not available)`,
    'the address and port that it was to come from',
  );
});

test.serial('TCP_NODELAY is on and SO_KEEPALIVE off by default, on both sides', async (t) => {
  const { setNoDelay, setKeepAlive } = Socket.prototype;
  const calls: [string, boolean | undefined][] = [];
  t.teardown(() => Object.assign(Socket.prototype, { setNoDelay, setKeepAlive }));
  Socket.prototype.setNoDelay = function (this: Socket, value?: boolean) {
    calls.push(['noDelay', value]);
    return setNoDelay.call(this, value);
  };
  Socket.prototype.setKeepAlive = function (this: Socket, value?: boolean, delay?: number) {
    calls.push(['keepAlive', value]);
    return setKeepAlive.call(this, value, delay);
  };

  for (const options of [{}, { noDelay: false, keepAlive: true }]) {
    const expected =
      'noDelay' in options
        ? [
            ['noDelay', false],
            ['keepAlive', true],
          ]
        : [['noDelay', true]];
    calls.length = 0;
    const accepted = deferred();
    await using server = new StreamServer(() => accepted.resolve(), '127.0.0.1', 0, options);
    await server.startServing();
    await once(quiet(netConnect(portOf(server), '127.0.0.1')).end(), 'connect');
    await accepted.promise;
    t.deepEqual(calls, expected, 'accepted');

    calls.length = 0;
    const { port } = await listen(t);
    const stream = await connect('127.0.0.1', port, options);
    t.deepEqual(calls, expected, 'connected');
    await stream.abort();
  }
});

// ------------------------------------------------------------------------------------------------ signals

test('a signal ends the attempt at any time', async (t) => {
  const reason = new Error('enough');
  const { port } = await listen(t);
  t.is(await t.throwsAsync(connect('127.0.0.1', port, { signal: AbortSignal.abort(reason) })), reason);
  for (let turnsBefore = 0; turnsBefore < 6; turnsBefore++) {
    const controller = new AbortController();
    const connecting = connect('localhost', port, { signal: controller.signal }).then(
      (stream) => stream.abort(),
      (error: unknown) => t.is(error, reason),
    );
    await turns(turnsBefore);
    controller.abort(reason);
    await connecting;
  }
});

test.serial('a signal aborted between connection and stream closes the connection', async (t) => {
  const reason = new Error('enough');
  const { port, sockets } = await listen(t);
  const controller = new AbortController();
  const connecting = connect('127.0.0.1', port, { signal: controller.signal });
  const { emit } = Socket.prototype;
  t.teardown(() => {
    Socket.prototype.emit = emit;
  });
  Socket.prototype.emit = function (this: Socket, ...given: unknown[]) {
    const result: unknown = Reflect.apply(emit, this, given);
    if (given[0] === 'connect' && this.remotePort === port) controller.abort(reason);
    return result;
  } as typeof emit;
  t.is(await t.throwsAsync(connecting), reason);
  Socket.prototype.emit = emit;
  await until(() => sockets.length === 1);
  sockets[0]?.resume();
  await once(sockets[0] as Socket, 'end');
});

test('after connect has resolved, the signal has no effect', async (t) => {
  const controller = new AbortController();
  const { stream, peer } = await streamAndPeer(t, { signal: controller.signal });
  controller.abort();
  peer.end('fine');
  t.is(String(await stream.read()), 'fine');
});

// ------------------------------------------------------------------------------------------------ sock

test('a connected socket: its buffered bytes are read first', async (t) => {
  const [left, right] = await socketpair();
  right.write('early ');
  await once(left, 'readable');
  await using stream = await connect({ sock: left, limit: 50 });
  t.is(stream.limit, 50);
  t.is(stream.getExtraInfo('socket'), left);
  right.end('late');
  t.is(String(await stream.read()), 'early late');
});

test('connect waits for a socket that is still connecting', async (t) => {
  const { port } = await listen(t, (socket) => socket.end('hello'));
  const sock = netConnect(port, '127.0.0.1');
  t.true(sock.connecting);
  await using stream = await connect({ sock });
  t.is(String(await stream.read()), 'hello');
});

test('a socket that cannot connect rejects', async (t) => {
  const port = await sparePort(t);
  await t.throwsAsync(connect({ sock: netConnect(port, '127.0.0.1') }), {
    instanceOf: ConnectionError,
    code: 'ECONNREFUSED',
    message: `connect 127.0.0.1:${port}: connection refused`,
  });
  const dropped = netConnect(port, '127.0.0.1');
  const connecting = connect({ sock: dropped });
  dropped.destroy();
  await t.throwsAsync(connecting, { instanceOf: ConnectionError, code: 'ECONNABORTED' });
  await t.throwsAsync(connect({ sock: dropped }), { instanceOf: ConnectionError, code: 'ENOTCONN' });
  await t.throwsAsync(connect({ sock: new Socket() }), { instanceOf: ConnectionError, code: 'ENOTCONN' });
});

test('a socket destroyed with an error as soon as it is connected becomes a lost stream', async (t) => {
  const { port } = await listen(t);
  const sock = netConnect(port, '127.0.0.1');
  const failure = new Error('changed my mind');
  sock.once('connect', () => sock.destroy(failure));
  const stream = await connect({ sock });
  t.is(await t.throwsAsync(stream.readline()), failure);
  t.is(stream.exception(), failure);
});

test('a signal ends the wait for a connecting socket and destroys it; a connected one is left alone', async (t) => {
  const reason = new Error('enough');
  const { port } = await listen(t);
  const controller = new AbortController();
  const connecting = netConnect(port, '127.0.0.1');
  const attempt = connect({ sock: connecting, signal: controller.signal });
  controller.abort(reason);
  t.is(await t.throwsAsync(attempt), reason);
  t.true(connecting.destroyed);

  const [left, right] = await socketpair();
  t.is(await t.throwsAsync(connect({ sock: left, signal: AbortSignal.abort(reason) })), reason);
  t.false(left.destroyed);
  left.destroy();
  right.destroy();
});

test('any Duplex of bytes can carry a stream', async (t) => {
  const loop = new PassThrough();
  const stream = await connect({ sock: loop });
  await stream.write('around\n');
  t.is(String(await stream.readline()), 'around\n');
  t.is(stream.getExtraInfo('peername'), undefined);
  await stream.writeEof();
  t.is((await stream.read()).length, 0);
  await stream.close();

  const [left, right] = duplexPair();
  const streams = await Promise.all([connect({ sock: left }), connect({ sock: right })]);
  const [one, other] = streams;
  await one.write(Buffer.alloc(100_000, 'x'));
  t.is((await other.readexactly(100_000)).length, 100_000);
  await one.writeEof();
  t.is((await other.read()).length, 0);
  await other.write('still open');
  await other.close();
  t.is(String(await one.read()), 'still open');
  await one.close();
});

test('an error of a Duplex is the error of its stream, and never uncaught', async (t) => {
  const sock = new PassThrough();
  const stream = await connect({ sock });
  const failure = new Error('out of order');
  sock.destroy(failure);
  t.is(await t.throwsAsync(stream.readline()), failure);
});

test("the peer's half-close leaves the other direction open", async (t) => {
  const { port } = await listen(t, (socket) => socket.end('first word'));
  const sock = netConnect(port, '127.0.0.1');
  const { sockets } = await listen(t);
  t.is(sockets.length, 0);
  const stream = await connect({ sock });
  t.is(String(await stream.read()), 'first word');
  t.false(stream.isClosing());
  await stream.write('last word');
  await stream.close();
});

test('lines written to a plain peer all arrive, then EOF in both directions', async (t) => {
  const { stream, peer } = await streamAndPeer(t);
  const received = gather(peer);
  for (let i = 0; i < 100; i++) await stream.write(`line ${i}\n`);
  await stream.writeEof();
  t.is(String(await received).split('\n').length, 101);
  peer.end();
  t.is((await stream.read()).length, 0);
});

// ------------------------------------------------------------------------------------------------ bad input

test('invalid arguments reject with typed errors that name the value', async (t) => {
  const cases: [unknown[], typeof TYPE | typeof RANGE, RegExp][] = [
    [[], TYPE, /host must be a string, not undefined/],
    [[null, 80], TYPE, /host .* not null/],
    [[42, 80], TYPE, /host .* not 42/],
    [['', 80], RANGE, /host .* not ""/],
    [['a\0b', 80], RANGE, /host .* not "a\\u0000b"/],
    [['127.0.0.1'], TYPE, /port .* not undefined/],
    [['127.0.0.1', '80'], TYPE, /port .* not "80"/],
    [['127.0.0.1', 0], RANGE, /port must be an integer from 1 to 65535, not 0/],
    [['127.0.0.1', -1], RANGE, /port .* not -1/],
    [['127.0.0.1', 65536], RANGE, /port .* not 65536/],
    [['127.0.0.1', 1.5], RANGE, /port .* not 1.5/],
    [['127.0.0.1', NaN], RANGE, /port .* not NaN/],
    [['127.0.0.1', 80, null], TYPE, /options .* not null/],
    [['127.0.0.1', 80, { limit: 0 }], RANGE, /limit .* not 0/],
    [['127.0.0.1', 80, { limit: -5 }], RANGE, /limit .* not -5/],
    [['127.0.0.1', 80, { limit: NaN }], RANGE, /limit .* not NaN/],
    [['127.0.0.1', 80, { limit: 1.5 }], RANGE, /limit .* not 1.5/],
    [['127.0.0.1', 80, { limit: '9' }], TYPE, /limit .* not "9"/],
    [['127.0.0.1', 80, { family: 5 }], RANGE, /family .* not 5/],
    [['127.0.0.1', 80, { signal: {} }], TYPE, /signal .* not an instance of Object/],
    [['127.0.0.1', 80, { noDelay: 1 }], TYPE, /noDelay .* not 1/],
    [['127.0.0.1', 80, { keepAlive: 1 }], TYPE, /keepAlive .* not 1/],
    [['127.0.0.1', 80, { localAddr: '127.0.0.1' }], TYPE, /localAddr .* not "127.0.0.1"/],
    [['127.0.0.1', 80, { localAddr: ['', 0] }], RANGE, /host of localAddr .* not ""/],
    [['127.0.0.1', 80, { localAddr: ['127.0.0.1', 70000] }], RANGE, /port of localAddr .* not 70000/],
    [['127.0.0.1', 80, { sock: new PassThrough() }], TYPE, /sock cannot be combined with host and port/],
    [[{}], TYPE, /sock .* not undefined/],
    [[{ sock: '3' }], TYPE, /sock .* not "3"/],
    [[{ sock: Readable.from(['x']) }], TYPE, /sock .* not an instance of Readable/],
    [[{ sock: new PassThrough({ objectMode: true, encoding: 'utf8' }) }], TYPE, /sock .*decodes utf8/],
    [[{ sock: new PassThrough(), limit: 0 }], RANGE, /limit .* not 0/],
    [[{ sock: new PassThrough(), host: 'x' }], TYPE, /sock cannot be combined with host/],
    [[{ sock: new PassThrough(), port: 80 }], TYPE, /sock cannot be combined with port/],
    [[{ sock: new PassThrough() }, 80], TYPE, /sock cannot be combined with port/],
    [[{ host: 'x', port: 80 }], TYPE, /^connect: host was given without sock; use connect\(host, port, options\)$/],
    [[Buffer.from('x'), 80], TYPE, /^connect: host must be a string, not an instance of Buffer$/],
    [[['x'], 80], TYPE, /^connect: host must be a string, not an array of 1$/],
  ];
  for (const [given, expected, message] of cases) {
    const call = (connect as (...given: unknown[]) => Promise<Stream>)(...given);
    await t.throwsAsync(call, { ...expected, message }, String(message));
  }
});
