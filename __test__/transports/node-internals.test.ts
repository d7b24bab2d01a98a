// Runs once: a handle moves from one Node socket to another; no stream is made.
import net, { type AddressInfo, type OnReadOpts } from 'node:net';
import { once } from 'node:events';
import test from 'ava';
import { adopt, stopDirectReads } from '#ts/transports/node-internals.js';
import { turns } from '../transport-contract.js';

/** Node and Deno have handles that can be moved; the library detects that by their properties. */
const movable = process.versions['bun'] === undefined;

async function accepted(
  pauseOnConnect = true,
): Promise<{ server: net.Server; client: net.Socket; socket: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [[socket]] = await Promise.all([once(server, 'connection') as Promise<[net.Socket]>, once(client, 'connect')]);
  return { server, client, socket };
}

function reads(): { onread: OnReadOpts; text: () => string } {
  let text = '';
  const buffer = Buffer.alloc(64);
  return {
    onread: {
      buffer: () => buffer,
      callback: (count, memory) => {
        text += Buffer.from(memory.subarray(0, count)).toString('latin1');
        return true;
      },
    },
    text: () => text,
  };
}

const close = (server: net.Server): Promise<unknown> => new Promise((resolve) => server.close(resolve));

test('the handle moves to a paused socket that reads by onread', async (t) => {
  const { server, client, socket } = await accepted();
  const { onread, text } = reads();
  const moved = adopt(socket, onread);
  if (!movable) {
    t.is(moved, null);
    client.destroy();
    socket.destroy();
    await close(server);
    return;
  }
  t.true(moved instanceof net.Socket);
  const adopted = moved as net.Socket;
  client.write('hello');
  await turns();
  t.is(text(), '', 'it is paused');
  adopted.resume();
  while (text() !== 'hello') await turns(1);
  t.is(adopted.remotePort, client.localPort);
  t.true(adopted.allowHalfOpen);

  const answered = once(client, 'data') as Promise<[Buffer]>;
  adopted.write('world');
  const [answer] = await answered;
  t.is(answer.toString(), 'world');

  client.end();
  await once(adopted, 'end');
  adopted.destroy();
  await close(server);
  t.pass('the server has counted it out');
});

test('the accepted socket is left without a connection: destroying it does not affect the other', async (t) => {
  const { server, client, socket } = await accepted();
  const adopted = adopt(socket, reads().onread);
  if (adopted === null) {
    t.false(movable);
    socket.destroy();
  } else {
    t.is(socket.remoteAddress, undefined);
    socket.destroy();
    await turns();
    t.false(adopted.destroyed);
    t.is(adopted.remotePort, client.localPort);
    const count = await new Promise((resolve) => server.getConnections((_error, n) => resolve(n)));
    t.is(count, 1);
    adopted.destroy();
  }
  client.destroy();
  await close(server);
});

test('a socket of a server that reads at once is moved, since nothing was read during the event', async (t) => {
  const server = net.createServer();
  const { onread, text } = reads();
  const moved = new Promise<net.Socket | null>((resolve) => {
    server.on('connection', (socket) => {
      resolve(adopt(socket, onread));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.write('at once');
  const adopted = await moved;
  if (adopted !== null) {
    adopted.resume();
    while (text() !== 'at once') await turns(1);
    adopted.destroy();
  }
  t.is(adopted !== null, movable && process.platform !== 'win32');
  client.destroy();
  server.close();
});

test('a socket that is not freshly accepted is left alone', async (t) => {
  const { onread } = reads();
  t.is(adopt(new net.Socket(), onread), null, 'no handle');

  class Special extends net.Socket {}
  t.is(adopt(new Special(), onread), null, 'a class of the user’s');

  const { server, client, socket } = await accepted();
  socket.write('x');
  t.is(adopt(socket, onread), null, 'written to');
  t.true(socket.writable);
  socket.destroy();
  t.is(adopt(socket, onread), null, 'destroyed');
  client.destroy();
  await close(server);
});

test('if the handle lacks a function, the socket is left unchanged', async (t) => {
  for (const name of ['useUserBuffer', 'readStart', 'readStop']) {
    const { server, client, socket } = await accepted();
    const handle = Reflect.get(socket, '_handle') as Record<string, unknown>;
    handle[name] = undefined;
    t.is(adopt(socket, reads().onread), null, name);
    t.is(Reflect.get(socket, '_handle'), handle);
    t.true(socket.writable);
    Reflect.deleteProperty(handle, name);
    socket.destroy();
    client.destroy();
    await close(server);
  }
});

test('if Node refuses onread, the socket is left unchanged', async (t) => {
  const { server, client, socket } = await accepted();
  const refused: OnReadOpts = {
    buffer: () => {
      throw new Error('no memory');
    },
    callback: () => true,
  };
  t.is(adopt(socket, refused), null);
  t.is(socket.remotePort, client.localPort);
  t.true(socket.writable);
  socket.destroy();
  client.destroy();
  await close(server);
});

test('lendNoMore gives an empty buffer to a handle that TLS cannot wrap, and does nothing for others', (t) => {
  const lent: Uint8Array[] = [];
  const handle = {
    useUserBuffer: (memory: Uint8Array) => void lent.push(memory),
    readStart: () => 0,
    readStop: () => 0,
  };
  const over = (insides: object): net.Socket =>
    Object.assign(Object.create(net.Socket.prototype) as net.Socket, insides);
  stopDirectReads(over({ _handle: handle }));
  t.deepEqual(lent, [new Uint8Array(0)]);
  stopDirectReads(over({ _handle: { ...handle, _externalStream: {} } }));
  stopDirectReads(over({ _handle: { ...handle, useUserBuffer: undefined } }));
  stopDirectReads(over({ _handle: null }));
  t.is(lent.length, 1);
});
