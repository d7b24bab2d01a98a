// Runs once: only sockets of Node are used, no stream is made.
import net, { type AddressInfo } from 'node:net';
import { once } from 'node:events';
import test from 'ava';
import { readDirectly, stopDirectReads, type OnRead } from '#ts/transports/node-internals.js';
import { turns } from '../transport-contract.js';

/** Node and Deno have sockets that can be changed to direct reads; the library detects that by their properties. */
const changeable = process.versions['bun'] === undefined;

async function accepted(
  pauseOnConnect = true,
): Promise<{ server: net.Server; client: net.Socket; socket: net.Socket }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [[socket]] = await Promise.all([once(server, 'connection') as Promise<[net.Socket]>, once(client, 'connect')]);
  return { server, client, socket };
}

function reads(): { onread: OnRead; text: () => string } {
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

test('an accepted socket reads by onread, once it is resumed', async (t) => {
  const { server, client, socket } = await accepted();
  const { onread, text } = reads();
  if (!changeable) {
    t.false(readDirectly(socket, onread));
    client.destroy();
    socket.destroy();
    await close(server);
    return;
  }
  t.true(readDirectly(socket, onread));
  socket.on('data', () => t.fail('the bytes go to onread'));
  socket.pause();
  client.write('hello');
  await turns();
  t.is(text(), '', 'it is paused');
  socket.resume();
  while (text() !== 'hello') await turns(1);
  t.is(socket.remotePort, client.localPort);
  t.true(socket.allowHalfOpen);

  const answered = once(client, 'data') as Promise<[Buffer]>;
  socket.write('world');
  const [answer] = await answered;
  t.is(answer.toString(), 'world');

  client.end();
  await once(socket, 'end');
  socket.destroy();
  await close(server);
  t.pass('the server has counted it out');
});

test('a socket of a server that reads at once is changed, since nothing was read during the event', async (t) => {
  const server = net.createServer();
  const { onread, text } = reads();
  const event = new Promise<[net.Socket, boolean]>((resolve) => {
    server.on('connection', (socket) => {
      resolve([socket, readDirectly(socket, onread)]);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = net.connect((server.address() as AddressInfo).port, '127.0.0.1');
  client.write('at once');
  const [socket, changed] = await event;
  t.is(changed, changeable && process.platform !== 'win32');
  if (changed) {
    t.true(socket.isPaused());
    socket.resume();
    while (text() !== 'at once') await turns(1);
  }
  socket.destroy();
  client.destroy();
  server.close();
});

test('a socket that is not freshly accepted is left alone', async (t) => {
  const { onread } = reads();
  t.false(readDirectly(new net.Socket(), onread), 'no handle');

  class Special extends net.Socket {}
  t.false(readDirectly(new Special(), onread), 'a class of the user’s');

  const { server, client, socket } = await accepted();
  socket.write('x');
  t.false(readDirectly(socket, onread), 'written to');
  t.true(socket.writable);
  socket.destroy();
  t.false(readDirectly(socket, onread), 'destroyed');
  client.destroy();
  await close(server);
});

test('if the handle lacks a function, the socket is left unchanged', async (t) => {
  for (const name of ['useUserBuffer', 'readStart', 'readStop']) {
    const { server, client, socket } = await accepted();
    const handle = Reflect.get(socket, '_handle') as Record<string, unknown>;
    handle[name] = undefined;
    t.false(readDirectly(socket, reads().onread), name);
    t.true(socket.writable);
    t.is(socket.remotePort, client.localPort);
    Reflect.deleteProperty(handle, name);
    socket.destroy();
    client.destroy();
    await close(server);
  }
});

test('a socket that reads by onread already keeps it', async (t) => {
  const { server, client, socket } = await accepted();
  const first = reads();
  const second = reads();
  t.is(readDirectly(socket, first.onread), changeable);
  t.false(readDirectly(socket, second.onread));
  if (changeable) {
    client.write('hello');
    socket.resume();
    while (first.text() !== 'hello') await turns(1);
    t.is(second.text(), '');
  }
  socket.destroy();
  client.destroy();
  await close(server);
});

test('if there is no memory to read into, the socket is left unchanged', async (t) => {
  const { server, client, socket } = await accepted();
  const refused: OnRead = {
    buffer: () => {
      throw new Error('no memory');
    },
    callback: () => true,
  };
  t.false(readDirectly(socket, refused));
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
