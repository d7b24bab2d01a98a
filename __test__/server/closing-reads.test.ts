/** What the handlers of a server can still read when the server ends their connections: nothing; and what they have written is sent. */
// Runs once for each way of reading: the engine makes no difference to servers.
import test, { type ExecutionContext } from 'ava';
import { Buffer } from 'node:buffer';
import type { ClientHandler, ServingOptions, Stream } from 'sluice';
import { closedByPeer, deferred, gather, turns, until } from '../loopback.js';
import { KINDS, serve as serveKind, type Kind, type Served } from './servers.js';

function serve(t: ExecutionContext, kind: Kind, handler: ClientHandler, options: ServingOptions = {}): Promise<Served> {
  const onError = (error: unknown): void => t.fail(`reported: ${String(error)}`);
  return serveKind(t, kind, handler, { onError, shutdownTimeout: 60_000, ...options });
}

const ENDS = ['close', 'closeClients', 'abort', 'abortClients'] as const;

async function all(iterable: AsyncIterable<{ length: number }>): Promise<number> {
  let bytes = 0;
  for await (const { length } of iterable) bytes += length;
  return bytes;
}

/** Reads whatever they can get, and return how many bytes or frames that was. */
const READS: Record<string, (stream: Stream) => Promise<number> | number> = {
  readline: async (stream) => (await stream.readline()).length,
  readuntil: (stream) => lengthOr0(stream.readuntil()),
  'readexactly(1)': (stream) => lengthOr0(stream.readexactly(1)),
  'read(5)': async (stream) => (await stream.read(5)).length,
  'read()': async (stream) => (await stream.read()).length,
  peek: async (stream) => (await stream.peek(1)).length,
  window: async (stream) => (await stream.window()).length,
  readinto: (stream) => stream.readinto(Buffer.alloc(5)),
  readframe: async (stream) => (await stream.readframe())?.length ?? 0,
  readframes: async (stream) => (await stream.readframes()).length,
  'for await': (stream) => all(stream),
  'lines()': (stream) => all(stream.lines()),
  'lines().batches()': (stream) => all(stream.lines().batches()),
  'frames()': (stream) => all(stream.frames()),
  'frames().batches()': (stream) => all(stream.frames().batches()),
  'chunks()': (stream) => all(stream.chunks()),
  tryReadline: (stream) => stream.tryReadline()?.length ?? 0,
  tryRead: (stream) => stream.tryRead()?.length ?? 0,
  tryReadframes: (stream) => stream.tryReadframes()?.length ?? 0,
  buffered: (stream) => stream.buffered,
};

async function lengthOr0(bytes: Promise<Buffer>): Promise<number> {
  try {
    return (await bytes).length;
  } catch (error) {
    return (error as { partial: Buffer }).partial.length;
  }
}

for (const end of ENDS) {
  test(`after ${end}, a handler reads nothing of what is buffered, by any call`, async (t) => {
    const goOn = deferred();
    const got: Record<string, number> = {};
    const names = Object.keys(READS);
    let waiting = 0;
    const { server, dial } = await serve(t, 'TCP', async (stream) => {
      const name = names[Number(await stream.readline())]!;
      await stream.peek(12);
      waiting++;
      await goOn.promise;
      got[name] = await READS[name]!(stream);
    });
    const ended: Promise<void>[] = [];
    for (let i = 0; i < names.length; i++) {
      const socket = await dial();
      socket.write(`${i}\none\ntwo\nthree`);
      ended.push(closedByPeer(socket));
    }
    await until(() => waiting === names.length);
    const over = server[end]();
    goOn.resolve();
    await over;
    await Promise.all(ended);
    await until(() => Object.keys(got).length === names.length);
    t.deepEqual(got, Object.fromEntries(names.map((name) => [name, 0])));
  });
}

for (const kind of KINDS) {
  test(`${kind}: a pipelining handler is given no request after close, and its answers before it arrive`, async (t) => {
    let read = 0;
    let refused = 0;
    const some = deferred();
    const { server, dial } = await serve(t, kind, async (stream) => {
      for await (const line of stream) {
        if (++read === 500) some.resolve();
        await turns(1);
        await stream.write(line).catch(() => refused++);
      }
    });
    const socket = await dial();
    socket.write(Array.from({ length: 5000 }, (_, i) => `${i}\n`).join(''));
    const answer = gather(socket);
    await some.promise;
    const before = read;
    const result = await server.close();
    t.is(read, before);
    const lines = String(await answer).split('\n').length - 1;
    t.true(lines >= before - 1, `${lines} answers to ${before} requests`);
    t.is(lines, read - refused);
    t.deepEqual(result, { finished: 0, cutOff: 1 });
  });

  test(`${kind}: a waiting read does not return a part of a line as if it were the last line`, async (t) => {
    for (const end of ENDS) {
      const got: number[] = [];
      let stream: Stream | undefined;
      const { server, dial } = await serve(t, kind, async (given) => {
        stream = given;
        got.push((await given.readline()).length);
      });
      const socket = await dial();
      socket.write('DELETE every');
      const ended = closedByPeer(socket);
      await until(() => stream?.buffered === 12);
      await server[end]();
      await until(() => got.length === 1);
      await ended;
      t.deepEqual(got, [0], end);
      await server.close();
    }
  });

  test(`${kind}: a large read that is cut off has no bytes`, async (t) => {
    for (const end of ENDS) {
      const got: number[] = [];
      const streams: Stream[] = [];
      const { server, dial } = await serve(t, kind, async (stream) => {
        streams.push(stream);
        got.push(await (streams.length === 1 ? lengthOr0(stream.readexactly(200_000)) : lengthOr0(stream.read())));
      });
      const sockets = [await dial(), await dial()];
      await until(() => streams.length === 2);
      const ended = sockets.map(closedByPeer);
      for (const socket of sockets) socket.write(Buffer.alloc(1000));
      await until(() => streams.every(({ bytesRead }) => bytesRead === 1000));
      await server[end]();
      await Promise.all(ended);
      await until(() => got.length === 2);
      t.deepEqual(got, [0, 0], end);
      await server.close();
    }
  });

  test(`${kind}: what was written before close is sent, also if the handler then fails in a read that is incomplete`, async (t) => {
    const size = 16 * 1024 * 1024;
    for (const end of ['close', 'closeClients'] as const) {
      let started = 0;
      const { server, dial } = await serve(t, kind, async (stream) => {
        await stream.readline();
        void stream.write(Buffer.alloc(size));
        started++;
        await stream.readexactly(100);
      });
      const socket = await dial();
      socket.pause();
      socket.write('one\nhalf of two');
      await until(() => started === 1);
      const over = server[end]();
      t.is((await gather(socket)).length, size, end);
      await over;
      await server.close();
    }
  });
}

test('frames and a window that a handler has when its server closes stay as they are', async (t) => {
  const ready = deferred();
  const goOn = deferred();
  const got: string[] = [];
  let running = 0;
  const { server, dial } = await serve(t, 'TCP', async (stream) => {
    const which = String(await stream.readline());
    await stream.peek(8);
    if (which === 'frames\n') {
      const frames = await stream.readframes();
      stream.unread('rest');
      if (++running === 2) ready.resolve();
      await goOn.promise;
      for (const frame of frames) got.push(String(frame));
      frames.unread(1);
    } else {
      const bytes = await stream.window();
      if (++running === 2) ready.resolve();
      await goOn.promise;
      got.push(String(bytes));
      stream.consume(4);
      stream.consume(4);
      t.throws(() => stream.consume(-1), { code: 'ERR_OUT_OF_RANGE' });
    }
    got.push(`${stream.buffered}`, String(await stream.read()));
  });
  const sockets = [await dial(), await dial()];
  const ended = sockets.map(closedByPeer);
  sockets[0]!.write('frames\none\ntwo\n');
  sockets[1]!.write('window\none\ntwo\n');
  await ready.promise;
  const close = server.close();
  // Other streams would get the memory if it were returned to the pool.
  const { dial: another } = await serve(t, 'TCP', async (stream) => {
    await stream.peek(1000);
  });
  for (let i = 0; i < 5; i++) (await another()).write('x'.repeat(500));
  await turns(20);
  goOn.resolve();
  await close;
  await Promise.all(ended);
  t.deepEqual(got.sort(), ['0', '0', '', '', 'one\n', 'one\ntwo\n', 'two\n'].sort());
});

test('a frameLength that closes the server ends the reads after its own', async (t) => {
  const got: (string | null)[] = [];
  const { server, dial } = await serve(t, 'TCP', async (stream) => {
    const framing = {
      frameLength: () => {
        void server.close();
        return 4;
      },
    };
    for (let i = 0; i < 3; i++) got.push(String(await stream.readframe(framing)));
  });
  const socket = await dial();
  const ended = closedByPeer(socket);
  socket.write('one\ntwo\n');
  await ended;
  await server.close();
  t.deepEqual(got.slice(1), ['null', 'null']);
  t.true(got[0] === 'one\n' || got[0] === 'null');
});

test('after a close by the handler itself, what was received before can still be read', async (t) => {
  const got: string[] = [];
  const { server, dial } = await serve(t, 'TCP', async (stream) => {
    await stream.peek(8);
    void stream.close();
    for await (const line of stream) got.push(String(line));
  });
  const socket = await dial();
  const ended = closedByPeer(socket);
  socket.write('one\ntwo\n');
  await ended;
  await server.close();
  t.deepEqual(got, ['one\n', 'two\n']);
});
