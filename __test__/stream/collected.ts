/**
 * Programs that abandon streams, run by `abandoned.test.ts` with `--expose-gc`: `node --expose-gc collected.js NAME`.
 *
 * Each prints its result and the warnings of the process as one line of JSON, and must end by itself.
 */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import { createConnection, createServer, type AddressInfo, type Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { setTimeout as after } from 'node:timers/promises';
/* eslint-disable @typescript-eslint/no-deprecated -- a pair is one of the things that can be abandoned */
import { StreamServer, connect, openConnection, type Stream, type StreamReader, type StreamWriter } from 'sluice';
import { pendingDeadlines } from '#ts/deadlines.js';
import { certificates } from '../certificates.js';
import { simulate } from './simulated.js';

declare function gc(): void;

interface Warning extends Error {
  code?: string;
}

const warnings: { type: string; code: string | undefined; message: string }[] = [];
process.on('warning', ({ name, code, message }: Warning) => {
  if (name !== 'DeprecationWarning') warnings.push({ type: name, code, message });
});

/** More than the buffers of two sockets hold. */
const MUCH = 32 * 1024 * 1024;

/** Collects garbage again and again, so that whatever can be collected is. */
async function collect(rounds = 8): Promise<void> {
  for (let i = 0; i < rounds; i++) {
    gc();
    await after(2);
  }
}

/** Collects until there are `n` warnings. */
async function warned(n: number): Promise<void> {
  while (warnings.length < n) await collect(1);
  await collect();
}

/** A server made with Node whose sockets do not read by themselves. */
class Peers {
  readonly sockets: Socket[] = [];
  readonly #server = createServer({
    allowHalfOpen: true,
    pauseOnConnect: true,
  });
  #found: (() => void) | null = null;

  constructor() {
    this.#server.on('connection', (socket) => {
      socket.on('error', () => {});
      this.sockets.push(socket);
      this.#found?.();
    });
  }

  async listen(): Promise<number> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this.port;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async socket(i = 0): Promise<Socket> {
    while (this.sockets.length <= i) await new Promise<void>((resolve) => (this.#found = resolve));
    return this.sockets[i]!;
  }

  /** Stops listening; the program ends when the connections do. */
  close(): void {
    this.#server.close();
  }
}

/**
 * Counts the bytes that a socket receives until it is closed. After its end of file it ends its own side once `answer`
 * resolves.
 */
async function received(socket: Socket, answer: Promise<void> = Promise.resolve()): Promise<number> {
  let bytes = 0;
  socket.on('data', (chunk: Buffer) => (bytes += chunk.length));
  socket.once('end', () => void answer.then(() => socket.end()));
  socket.resume();
  if (!socket.destroyed) await once(socket, 'close');
  return bytes;
}

const peers = new Peers();
await peers.listen();

/** A stream to the peers. */
function open(): Promise<Stream> {
  return connect('127.0.0.1', peers.port);
}

const programs: Record<string, () => Promise<unknown>> = {
  /** Three abandoned streams, and one that is kept. */
  async abandoned() {
    const held = await open();
    for (let i = 0; i < 3; i++) await open();
    await peers.socket(3);
    await warned(3);
    await Promise.all(peers.sockets.slice(1).map((socket) => received(socket)));
    const open4 = !held.isClosing() && !peers.sockets[0]!.destroyed;
    await held.abort();
    return { open: open4, port: peers.port };
  },

  /** Three abandoned streams whose timeouts are watched, some of them often. */
  async watched() {
    const { port } = peers;
    await connect('127.0.0.1', port, { idleTimeout: 3_600_000 });
    await connect('127.0.0.1', port, { readTimeout: 10 });
    await connect('127.0.0.1', port, { idleTimeout: 3_600_000 }).then((stream) => {
      stream.setTimeouts({ writeTimeout: 10 });
    });
    await peers.socket(2);
    await warned(3);
    await Promise.all(peers.sockets.map((socket) => received(socket)));
    return { deadlines: pendingDeadlines() };
  },

  /** The bytes that watching an idle stream takes. */
  async memory() {
    const COUNT = 4000;
    const used = (): number => {
      for (let i = 0; i < 4; i++) gc();
      const { heapUsed, arrayBuffers } = process.memoryUsage();
      return heapUsed + arrayBuffers;
    };
    const streams = Array.from({ length: COUNT }, () => simulate({}).stream);
    const watch = async (idleTimeout: number): Promise<number> => {
      for (const stream of streams) stream.setTimeouts({ idleTimeout });
      await collect(2);
      return used() / COUNT;
    };
    // What is made once, such as compiled code, must not count.
    await watch(60_000);
    let [each, left] = [Infinity, Infinity];
    // The least of several measurements, because each also has what the rest of the process has just allocated.
    for (let i = 0; i < 4; i++) {
      const without = await watch(Infinity);
      each = Math.min(each, (await watch(60_000)) - without);
      left = Math.min(left, (await watch(Infinity)) - without);
    }
    return { each, deadlines: pendingDeadlines(), left };
  },

  /** An abandoned stream over a `Duplex` that the user keeps. */
  async duplex() {
    const duplex = new PassThrough();
    await connect({ sock: duplex });
    await warned(1);
    return { destroyed: duplex.destroyed };
  },

  /** Streams that were closed, by any call and from either side. */
  async closed() {
    await (async () => {
      const streams = [await open(), await open(), await open(), await open(), await open()] as const;
      await peers.socket(4);
      const [first, second, third, fourth, fifth] = streams;
      peers.sockets[3]!.resetAndDestroy();
      await first.close();
      await second.abort();
      await third[Symbol.asyncDispose]();
      await fourth.waitClosed().catch(() => {});
      void fifth.close();
    })();
    await collect();
    return Promise.all(peers.sockets.map((socket) => received(socket)));
  },

  /** Waiting reads of every kind, whose streams are kept by nothing else. */
  async reads() {
    const start = async (read: (stream: Stream) => Promise<unknown>): Promise<{ read: Promise<unknown> }> => {
      return { read: read(await open()) };
    };
    const waiting = [
      await start((stream) => stream.readline()),
      await start((stream) => stream.readuntil(';')),
      await start((stream) => stream.readexactly(7)),
      await start((stream) => stream.read(100)),
      await start((stream) => stream.peek(3)),
      await start((stream) => stream.readinto(Buffer.alloc(10))),
      await start((stream) => stream[Symbol.asyncIterator]().next()),
      await start(async (stream) => {
        let lines = '';
        for await (const line of stream) {
          lines += line.toString();
          if (lines.length > 10) break;
        }
        return lines;
      }),
      await start((stream) => stream.readexactly(100_000)),
      await start((stream) => stream.read()),
    ];
    await peers.socket(waiting.length - 1);
    await collect();
    const before = warnings.length;
    for (const socket of peers.sockets) {
      socket.write('one;two\n');
      await collect(2);
      socket.write('three\n');
    }
    peers.sockets[8]!.write(Buffer.alloc(100_000));
    await collect(2);
    peers.sockets[9]!.end();
    const results = [];
    for (const { read } of waiting) {
      const result = await read;
      if (Buffer.isBuffer(result)) results.push(result.length > 100 ? result.length : result.toString());
      else if (typeof result === 'object') results.push(String((result as { value: unknown }).value));
      else results.push(result);
    }
    await warned(waiting.length);
    await Promise.all(peers.sockets.map((socket) => received(socket)));
    return { before, results };
  },

  /** A read that was aborted no longer keeps its stream. */
  async signal() {
    const controller = new AbortController();
    const read = await (async () => {
      const { signal } = controller;
      return {
        line: (await open()).readline({ signal }).catch((error: unknown) => (error as Error).name),
      };
    })();
    await collect();
    const before = warnings.length;
    controller.abort();
    const name = await read.line;
    await warned(1);
    return { before, name };
  },

  /** Waiting calls of the writing side, whose streams are kept by nothing else. */
  async writes() {
    const start = async (write: (stream: Stream) => unknown): Promise<{ call: unknown }> => {
      return { call: write(await open()) };
    };
    const data = Buffer.alloc(MUCH);
    const waiting = [
      await start((stream) => stream.write(data)),
      await start((stream) => void stream.write(data)),
      await start((stream) => (void stream.write(data), stream.drain())),
      await start((stream) => (void stream.write(data), stream.flush())),
      await start((stream) => (void stream.write(data), stream.writeEof())),
      await start((stream) => (void stream.write(data), stream.close())),
      await start((stream) => (void stream.write(data), void stream.close())),
    ];
    await peers.socket(waiting.length - 1);
    await collect();
    const before = warnings.length;
    // A half-closed connection whose peer ends as well is closed, and no longer an abandoned one.
    let reported!: () => void;
    const afterwards = new Promise<void>((resolve) => (reported = resolve));
    const bytes = peers.sockets.map((socket, i) => received(socket, i === 4 ? afterwards : undefined));
    for (const { call } of waiting) await call;
    await warned(5);
    reported();
    return { before, bytes: await Promise.all(bytes), expected: MUCH };
  },

  /** A drain, a flush and a `waitClosed` of connections that the peer destroys. */
  async lost() {
    const data = Buffer.alloc(MUCH);
    const codes = await (async () => {
      const streams = [await open(), await open(), await open()] as const;
      const [first, second, third] = streams;
      void first.write(data);
      void second.write(data);
      return [first.drain(), second.flush(), third.waitClosed()].map((call) =>
        call.then(
          () => 'resolved',
          (error: unknown) => (error as NodeJS.ErrnoException).code,
        ),
      );
    })();
    await peers.socket(2);
    await collect();
    const before = warnings.length;
    for (const socket of peers.sockets) socket.resetAndDestroy();
    return { before, codes: await Promise.all(codes) };
  },

  /** An async handler that no longer uses its stream, and a plain one that has abandoned it. */
  async handlers() {
    let settle!: () => void;
    const settled = new Promise<void>((resolve) => (settle = resolve));
    let calls = 0;
    const server = new StreamServer(
      () => {
        calls++;
        return calls === 1 ? settled : undefined;
      },
      '127.0.0.1',
      0,
    );
    await server.startServing();
    const { port } = server.sockets[0]!.address() as AddressInfo;
    const first = await connect('127.0.0.1', port);
    const second = await connect('127.0.0.1', port);
    const end = second.read().catch((error: unknown) => (error as NodeJS.ErrnoException).code);
    await warned(1);
    await end;
    const running = !first.isClosing() && first.buffered === 0 && !first.atEof();
    settle();
    const atEnd = (await first.read()).length;
    await first.close();
    await second.close().catch(() => {});
    await server.close();
    return { running, atEnd };
  },

  /** How many streams of a server are watched: of handlers that have settled, failed, lost their client, or returned at once. */
  async handled() {
    let refs = 0;
    globalThis.WeakRef = class<T extends WeakKey> extends WeakRef<T> {
      constructor(target: T) {
        super(target);
        refs++;
      }
    };
    const server = new StreamServer(
      async (stream) => {
        const line = (await stream.readline()).toString();
        if (line === 'fail\n') throw new Error('failed');
        await stream.write(line);
        if (line === 'close\n') await stream.close();
      },
      '127.0.0.1',
      0,
      { onError: () => {} },
    );
    await server.startServing();
    const { port } = server.sockets[0]!.address() as AddressInfo;
    const answers: number[] = [];
    for (const line of ['close\n', 'return\n', 'fail\n', '']) {
      const socket = createConnection(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.end(line);
      answers.push(await received(socket));
    }
    const settled = refs;
    await server.close();
    const plain = new StreamServer(() => {}, '127.0.0.1', 0);
    await plain.startServing();
    const socket = createConnection((plain.sockets[0]!.address() as AddressInfo).port, '127.0.0.1');
    await warned(1);
    socket.destroy();
    await plain.close();
    return { answers, settled, returned: refs - settled };
  },

  /** Encrypted streams, from the start and after an upgrade: one of each abandoned, one of each with a waiting read. */
  async encrypted() {
    const { ca, server: identity } = await certificates();
    const streams: Stream[] = [];
    const server = new StreamServer((stream) => void streams.push(stream), '127.0.0.1', 0, { ssl: identity });
    const plain = new StreamServer(
      async (stream) => {
        await stream.readline();
        await stream.startTls(identity);
        streams.push(stream);
        await stream.waitClosed().catch(() => {});
      },
      '127.0.0.1',
      0,
    );
    await server.startServing();
    await plain.startServing();
    const start = async (of: StreamServer, ssl: boolean): Promise<Stream> => {
      const { port } = of.sockets[0]!.address() as AddressInfo;
      const options = { ca, servername: 'localhost' };
      if (ssl) return connect('127.0.0.1', port, { ssl: options });
      const stream = await connect('127.0.0.1', port);
      await stream.write('STARTTLS\n');
      await stream.startTls(options);
      return stream;
    };
    await (async () => {
      await start(server, true);
      await start(plain, false);
    })();
    const reads = await (async () => {
      return [{ line: (await start(server, true)).readline() }, { line: (await start(plain, false)).readline() }];
    })();
    while (streams.length < 4) await collect(1);
    await warned(2);
    const before = warnings.length;
    // To the streams that still exist.
    await Promise.all(streams.map((stream) => stream.write('line\n').catch(() => {})));
    const lines = await Promise.all(reads.map(async ({ line }) => (await line).toString()));
    reads.length = 0;
    await warned(4);
    await Promise.all(streams.map((stream) => stream.abort()));
    await Promise.all([server.close(), plain.close()]);
    return { before, lines };
  },

  /** Each half of a pair keeps the connection, and with it the other half. */
  async halves() {
    const readers: StreamReader[] = [];
    const writers: StreamWriter[] = [];
    await (async () => {
      const [reader] = await openConnection('127.0.0.1', peers.port);
      readers.push(reader);
      const [, writer] = await openConnection('127.0.0.1', peers.port);
      writers.push(writer);
    })();
    const socket = await peers.socket(0);
    const other = await peers.socket(1);
    await collect();
    const before = warnings.length;
    socket.write('line\n');
    const line = String(await readers[0]!.readline());
    void writers[0]!.write('written');
    await writers[0]!.close();
    const bytes = await received(other);
    readers.pop();
    writers.pop();
    await warned(1);
    await received(socket);
    return { before, line, bytes };
  },
};

const result = await programs[process.argv[2] ?? '']!();
peers.close();
process.stdout.write(JSON.stringify({ result, warnings }));
