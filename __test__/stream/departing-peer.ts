/**
 * A peer in a worker thread that sends its last bytes and goes while the main thread is blocked: its bytes are in the
 * kernel, and the test's event loop has read none of them. The main thread controls it by messages.
 */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import type { ExecutionContext } from 'ava';
import { certificates, type Identity } from '../certificates.js';

export type Kind = 'tcp' | 'unix' | 'tls';

/** Where a peer listens, or connects to. */
export type Place = { readonly path: string } | { readonly host: string; readonly port: number };

/**
 * How a peer goes: it reads `read` bytes, sends `words`, and closes, with an end of file or, if it leaves bytes unread,
 * with a reset.
 */
export interface Departure {
  readonly read: number;
  readonly words: Uint8Array;
  readonly by: 'end' | 'reset';
}

type Order =
  | { readonly do: 'listen'; readonly kind: Kind; readonly identity: Identity; readonly place: Place }
  | { readonly do: 'connect'; readonly kind: Kind; readonly place: Place }
  | { readonly do: 'say'; readonly words: Uint8Array }
  | ({ readonly do: 'depart' } & Departure);

export class DepartingPeer {
  readonly #worker: Worker;
  readonly #gone: Int32Array;

  constructor(t: ExecutionContext) {
    const memory = new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT);
    this.#gone = new Int32Array(memory);
    this.#worker = new Worker(new URL(import.meta.url), { workerData: memory });
    t.teardown(() => this.#worker.terminate());
  }

  /** Listens; resolves with the address to connect to. */
  async listen(kind: Kind, path: string): Promise<Place> {
    const { server: identity } = await certificates();
    const place = kind === 'unix' ? { path } : { host: '127.0.0.1', port: 0 };
    return (await this.#order({ do: 'listen', kind, identity, place })) as Place;
  }

  /** Connects; resolves when connected, over TLS after the handshake. */
  async connect(kind: Kind, place: Place): Promise<void> {
    await this.#order({ do: 'connect', kind, place });
  }

  /** Sends bytes; resolves when the kernel has them. */
  async say(words: Uint8Array): Promise<void> {
    await this.#order({ do: 'say', words });
  }

  /** Returns when the peer is gone; the event loop does not turn meanwhile. */
  departNow(departure: Departure): void {
    this.#worker.postMessage({ do: 'depart', ...departure } satisfies Order);
    if (Atomics.wait(this.#gone, 0, 0, 50_000) === 'timed-out') throw new Error('the peer did not depart');
  }

  async #order(order: Order): Promise<unknown> {
    this.#worker.postMessage(order);
    const [answer] = (await once(this.#worker, 'message')) as [unknown];
    return answer;
  }
}

// ---------------------------------------------------------------------------------------------- in the worker

if (!isMainThread && workerData instanceof SharedArrayBuffer) {
  const gone = new Int32Array(workerData);
  let connected: (socket: Socket) => void;
  const connection = new Promise<Socket>((resolve) => (connected = resolve));
  const use = (socket: Socket): void => {
    socket.on('error', () => {});
    socket.pause();
    connected(socket);
  };
  parentPort?.on('message', (order: Order) => {
    void obey(order).then((answer) => parentPort?.postMessage(answer));
  });

  const obey = async (order: Order): Promise<unknown> => {
    switch (order.do) {
      case 'listen': {
        const { kind, identity, place } = order;
        const options = { allowHalfOpen: true, pauseOnConnect: kind !== 'tls' };
        const server =
          kind === 'tls' ? tls.createServer({ ...identity, ...options }, use) : net.createServer(options, use);
        server.listen(place);
        await once(server, 'listening');
        const address = server.address();
        return typeof address === 'string' ? place : { host: '127.0.0.1', port: address?.port };
      }
      case 'connect': {
        const options = { ...order.place, allowHalfOpen: true } as net.NetConnectOpts;
        const socket =
          order.kind === 'tls' ? tls.connect({ ...options, rejectUnauthorized: false }) : net.connect(options);
        await once(socket, order.kind === 'tls' ? 'secureConnect' : 'connect');
        use(socket);
        return null;
      }
      case 'say': {
        const socket = await connection;
        await new Promise((resolve) => socket.write(Buffer.from(order.words), resolve));
        return null;
      }
      case 'depart': {
        const socket = await connection;
        for (let left = order.read; left > 0;) {
          const chunk = socket.read(Math.min(left, socket.readableLength)) as Buffer | null;
          if (chunk === null || chunk.length === 0) await once(socket, 'readable');
          else left -= chunk.length;
        }
        const closed = once(socket, 'close');
        if (order.by === 'end') socket.end(Buffer.from(order.words), () => socket.destroy());
        else socket.write(Buffer.from(order.words), () => socket.destroy());
        await closed;
        Atomics.store(gone, 0, 1);
        Atomics.notify(gone, 0);
        return null;
      }
    }
  };
}
