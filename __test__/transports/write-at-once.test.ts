/** Writes past the `Writable` half of a socket, on TCP and Unix sockets, compared with what `write` of the socket does. */
// Runs once: only sockets of Node are used, no stream is made.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { TLSSocket } from 'node:tls';
import test, { type ExecutionContext } from 'ava';
import { canWriteAtOnce, writeAtOnce } from '#ts/transports/node-internals.js';
import { turns } from '../transport-contract.js';

/** Other runtimes have other handles, and Node.js since 26 makes no request for each write: then every write has to go through the socket. */
const possible =
  process.versions['bun'] === undefined &&
  (globalThis as { Deno?: unknown }).Deno === undefined &&
  Number.parseInt(process.versions.node) < 26;

interface Sockets {
  readonly socket: net.Socket;
  readonly peer: net.Socket;
}

async function withSockets(
  where: { port: 0; host: string } | { path: string },
  body: (pair: Sockets) => Promise<void>,
): Promise<void> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true }).listen(where);
  await once(server, 'listening');
  const address = server.address() as AddressInfo | string;
  const peer = typeof address === 'string' ? net.connect(address) : net.connect(address.port, '127.0.0.1');
  const [[socket]] = await Promise.all([once(server, 'connection') as Promise<[net.Socket]>, once(peer, 'connect')]);
  socket.on('error', () => {});
  peer.on('error', () => {});
  try {
    await body({ socket, peer });
  } finally {
    socket.destroy();
    peer.destroy();
    await new Promise((resolve) => server.close(resolve));
  }
}

function onSockets(title: string, run: (t: ExecutionContext, pair: Sockets) => Promise<void>): void {
  test(`TCP: ${title}`, (t) => withSockets({ port: 0, host: '127.0.0.1' }, (pair) => run(t, pair)));
  if (process.platform === 'win32') return;
  test(`Unix socket: ${title}`, async (t) => {
    const folder = mkdtempSync(path.join(tmpdir(), 'sluice-'));
    try {
      await withSockets({ path: path.join(folder, 's') }, (pair) => run(t, pair));
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}

/** As a `BatchSender` does it. Returns whether the kernel has accepted everything at once. */
function send(socket: net.Socket, data: Uint8Array, written?: (error?: Error | null) => void): boolean {
  if (canWriteAtOnce(socket) && writeAtOnce(socket, data)) return true;
  socket.write(data, written);
  return false;
}

/** The class of the requests is learned from the first write. */
async function learned(socket: net.Socket): Promise<void> {
  await new Promise((resolve) => socket.write('', resolve));
  if (!send(socket, Buffer.from('!'))) await new Promise((resolve) => socket.write('', resolve));
}

/** The next `size` bytes that the peer gets, or all up to its end. */
function received(peer: net.Socket, size: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let left = size;
  return new Promise((resolve) => {
    const finish = (): void => {
      peer.off('data', add).off('end', finish).pause();
      resolve(Buffer.concat(chunks));
    };
    const add = (chunk: Buffer): void => {
      chunks.push(chunk);
      left -= chunk.length;
      if (left <= 0) finish();
    };
    peer.on('data', add).on('end', finish).resume();
  });
}

/** Unlike `once`, it does not reject if the socket fails. */
function closed(socket: net.Socket): Promise<unknown> {
  return new Promise((resolve) => socket.once('close', resolve));
}

onSockets(
  'a write that the kernel accepts is sent without `write` of the socket, and counted',
  async (t, { socket, peer }) => {
    await learned(socket);
    let writes = 0;
    const { write } = socket;
    socket.write = ((...args: Parameters<typeof write>) => {
      writes++;
      return write.apply(socket, args);
    }) as typeof write;
    const memory = Buffer.from('hello');
    for (let i = 0; i < 100; i++) {
      t.is(send(socket, memory), possible);
      // It is in the kernel: the memory can be reused at once.
      if (possible) memory[0]! ^= 0x20;
    }
    t.is(writes, possible ? 0 : 100);
    t.is(socket.bytesWritten, 501);
    const text = (await received(peer, 501)).toString();
    t.is(text, `!${(possible ? 'helloHello' : 'hellohello').repeat(50)}`);
  },
);

onSockets(
  'what the kernel does not accept is pending in the socket, and sent in order',
  async (t, { socket, peer }) => {
    await learned(socket);
    const sent: Buffer[] = [Buffer.from('!')];
    let calls = 0;
    for (let i = 0; ; i++) {
      const data = Buffer.alloc(65536, i % 251);
      sent.push(data);
      if (!send(socket, data, () => calls++) && possible) break;
      if (socket.writableLength > 0) break;
    }
    t.true(socket.writableLength > 0);
    t.is(calls, 0);
    const total = sent.length * 65536 - 65535;
    t.is(socket.bytesWritten, total, 'pending bytes are counted as the socket counts them');
    // The next write has to wait for its turn in the socket.
    const after = Buffer.from('after');
    t.false(send(socket, after, () => calls++));
    sent.push(after);
    socket.end('end');
    sent.push(Buffer.from('end'));
    await turns();
    t.false(socket.writableFinished, 'the end waits for what is pending');
    const finished = once(socket, 'finish');
    t.true((await received(peer, total + 8)).equals(Buffer.concat(sent)));
    await finished;
    t.true(calls >= 2);
    t.is(socket.writableLength, 0);
    if (!peer.readableEnded) {
      peer.resume();
      await once(peer, 'end');
    }
    t.false(canWriteAtOnce(socket) && writeAtOnce(socket, after), 'nothing is sent after the end');
  },
);

onSockets(
  'a socket that is destroyed while a write is pending calls back, as without it',
  async (t, { socket, peer }) => {
    await learned(socket);
    const outcomes: unknown[] = [];
    while (socket.writableLength === 0) send(socket, Buffer.alloc(65536), (error) => outcomes.push(error ?? null));
    const before = outcomes.length;
    const end = closed(socket);
    socket.destroy();
    await end;
    await turns();
    if (possible) t.is(outcomes.length, before + 1);
    else t.true(outcomes.length > before);
    t.false(send(socket, Buffer.from('x'), () => {}));
    t.true(peer.readable);
  },
);

onSockets('a write that fails at once fails as `write` of the socket does', async (t, { socket, peer }) => {
  await learned(socket);
  const failures: NodeJS.ErrnoException[] = [];
  socket.on('error', (error) => failures.push(error));
  // The peer is gone. As long as nothing is read, only a write notices it.
  const gone = closed(peer);
  peer.destroy();
  await gone;
  const end = closed(socket);
  for (let i = 0; !socket.destroyed && i < 1000; i++) {
    send(socket, Buffer.from('x'));
    if (socket.errored !== null) break;
    await turns(1);
  }
  const { errored } = socket;
  await end;
  t.is(failures.length, 1);
  const [failure] = failures as [NodeJS.ErrnoException];
  t.is(errored, failure, 'it is known at once, before the event');
  t.regex(failure.code ?? '', /^(EPIPE|ECONNRESET|ECONNABORTED|ENOTCONN)$/);
  t.is(failure.message, `write ${failure.code}`);
  t.is(failure.syscall, 'write');
  t.is(typeof failure.errno, 'number');
});

onSockets(
  '`write` of the socket is used if the socket has something to send, a timeout, or an end',
  async (t, { socket, peer }) => {
    await learned(socket);
    const data = Buffer.from('x');
    socket.cork();
    t.false(writeAtOnce(socket, data));
    socket.uncork();
    socket.setTimeout(60_000);
    t.false(writeAtOnce(socket, data));
    socket.setTimeout(0);
    t.is(writeAtOnce(socket, data), possible);
    socket.end();
    t.false(writeAtOnce(socket, data));
    t.is((await received(peer, 3)).toString(), possible ? '!x' : '!');
  },
);

onSockets('only a plain socket can be written to in this way', async (t, { socket }) => {
  t.is(canWriteAtOnce(socket), possible);
  t.false(canWriteAtOnce(new net.Socket()), 'it is not connected');
  t.false(canWriteAtOnce(new (class extends net.Socket {})()));
  t.false(canWriteAtOnce(new TLSSocket(socket)));
  t.false(canWriteAtOnce(new PassThrough()));
  await turns();
});
