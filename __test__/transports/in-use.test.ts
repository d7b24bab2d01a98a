/** A socket, a stream or a listener serves one stream or server, once. */
// Runs once: it is about what is refused, before anything is read.
import { once } from 'node:events';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { PassThrough, Readable, duplexPair } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import {
  StateError,
  StreamServer,
  UnixStreamServer,
  connect,
  connectReadPipe,
  connectUnix,
  connectWritePipe,
  socketpair,
} from 'sluice';
import { StreamMode } from '#ts/transports/transport.js';
import { checkUnused, claim, markUsed } from '#ts/transports/in-use.js';
import { unixPath } from '../fifo.js';
import { listen } from '../loopback.js';

async function refuses(t: ExecutionContext, action: string, made: Promise<unknown>, what = 'used'): Promise<void> {
  const name = action.includes('Pipe') ? 'pipe' : 'sock';
  await t.throwsAsync(made, {
    instanceOf: StateError,
    code: 'ERR_IN_USE',
    message: `${action}: ${name} is already ${what} by a stream or a server, or was until that was closed`,
  });
}

test('each direction can be claimed once, and given back', (t) => {
  const thing = {};
  const giveBack = claim('test', 'thing', thing, StreamMode.READ);
  checkUnused('test', 'thing', thing, StreamMode.WRITE);
  markUsed(thing, StreamMode.WRITE);
  for (const [mode, what] of [
    [StreamMode.READ, 'is already read by'],
    [StreamMode.WRITE, 'is already written to by'],
    [StreamMode.READWRITE, 'is already used by'],
  ] as const) {
    t.throws(() => claim('test', 'thing', thing, mode), {
      code: 'ERR_IN_USE',
      message: new RegExp(`^test: thing ${what} `),
    });
  }
  giveBack();
  checkUnused('test', 'thing', thing, StreamMode.READ);
  t.throws(() => checkUnused('test', 'thing', thing, StreamMode.READWRITE), {
    message: /thing is already written to by/,
  });
  checkUnused('test', 'thing', {}, StreamMode.READWRITE);
});

test('a socket or Duplex is refused while its stream is open, and after it was closed', async (t) => {
  const [left, right] = await socketpair();
  const [near, far] = duplexPair();
  t.teardown(() => {
    right.destroy();
    far.destroy();
  });
  for (const sock of [left, near]) {
    const stream = await connect({ sock });
    await refuses(t, 'connect', connect({ sock }));
    await refuses(t, 'connectReadPipe', connectReadPipe(sock), 'read');
    await refuses(t, 'connectWritePipe', connectWritePipe(sock), 'written to');
    // The first stream is not affected.
    await stream.write('still here');
    await stream.abort();
    await refuses(t, 'connect', connect({ sock }));
  }
  t.is(String(far.read()), 'still here');
});

test('of two calls for a connecting socket, the second is refused and the first succeeds', async (t) => {
  const { port } = await listen(t, (socket) => socket.end('hello'));
  const sock = netConnect(port, '127.0.0.1');
  const first = connect({ sock });
  await refuses(t, 'connect', connect({ sock }));
  await using stream = await first;
  t.is(String(await stream.read()), 'hello');
});

test('the socket of a stream made by connect is refused', async (t) => {
  const { port } = await listen(t);
  const stream = await connect('127.0.0.1', port);
  const sock = stream.getExtraInfo('socket') as Socket;
  await refuses(t, 'connect', connect({ sock }));
  t.false(stream.isClosing());
  await stream.abort();
});

test('a Unix socket is refused while its stream is open', async (t) => {
  const path = unixPath(t);
  const server = createServer((socket) => socket.resume()).listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  const sock = netConnect({ path });
  const stream = await connectUnix({ sock });
  await refuses(t, 'connectUnix', connectUnix({ sock }));
  await stream.abort();
});

test('a Duplex serves one stream in each direction', async (t) => {
  const duplex = new PassThrough();
  const reading = await connectReadPipe(duplex);
  await refuses(t, 'connectReadPipe', connectReadPipe(duplex), 'read');
  await refuses(t, 'connect', connect({ sock: duplex }), 'read');
  const writing = await connectWritePipe(duplex);
  await refuses(t, 'connectWritePipe', connectWritePipe(duplex), 'written to');
  await writing.write('round\n');
  t.is(String(await reading.readline()), 'round\n');
  await writing.abort();
  await refuses(t, 'connectReadPipe', connectReadPipe(duplex), 'read');
  await reading.abort();

  const readable = Readable.from([Buffer.from('x')], { objectMode: false });
  await refuses(t, 'connectReadPipe', Promise.all([connectReadPipe(readable), connectReadPipe(readable)]), 'read');
});

test('any number of streams may share standard output', async (t) => {
  const [one, two] = [await connectWritePipe(process.stdout), await connectWritePipe(process.stdout)];
  await one.close();
  t.false(two.isClosing());
  await two.close();
});

test('a socket that was refused for another reason can be used again', async (t) => {
  const [left, right] = await socketpair();
  left.setEncoding('utf8');
  await t.throwsAsync(connect({ sock: left }), { instanceOf: TypeError });
  await t.throwsAsync(connect({ sock: left }), { instanceOf: TypeError });
  await using stream = await connect({ sock: right });
  t.false(stream.isClosing());
  left.destroy();
});

test('a net.Server serves one server, once', async (t) => {
  const sock = createServer({ pauseOnConnect: true });
  t.teardown(() => sock.close());
  const [first, second] = [
    new StreamServer(() => {}, null, 0, { sock }),
    new StreamServer(() => {}, null, 0, { sock }),
  ];
  sock.listen(0, '127.0.0.1');
  await first.bind();
  await refuses(t, 'bind', second.bind());
  t.is(sock.listenerCount('connection'), 1);
  t.throws(() => new StreamServer(() => {}, null, 0, { sock }), {
    code: 'ERR_IN_USE',
    message: /^StreamServer: sock /,
  });
  t.throws(() => new UnixStreamServer(() => {}, null, { sock }), {
    ...{ code: 'ERR_IN_USE', message: /^UnixStreamServer: sock / },
  });
  await first.close();
  await refuses(t, 'bind', second.bind());

  // A listener of the wrong kind is left as it was.
  const other = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  t.teardown(() => other.close());
  const wrong = new UnixStreamServer(() => {}, null, { sock: other });
  await t.throwsAsync(wrong.bind(), { instanceOf: TypeError });
  await using right = new StreamServer(() => {}, null, 0, { sock: other });
  await right.bind();
  t.true(right.isBound());
});
