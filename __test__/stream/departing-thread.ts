/** The worker thread of a {@link DepartingPeer}. It loads nothing but modules of Node: many tests start one. */
import { Buffer } from 'node:buffer';
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import tls from 'node:tls';
import { parentPort, workerData } from 'node:worker_threads';
import type { Identity } from '../certificates.js';

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

export type Order =
  | { readonly do: 'listen'; readonly kind: Kind; readonly identity: Identity; readonly place: Place }
  | { readonly do: 'connect'; readonly kind: Kind; readonly place: Place }
  | { readonly do: 'say'; readonly words: Uint8Array }
  | ({ readonly do: 'depart' } & Departure);

const gone = new Int32Array(workerData as SharedArrayBuffer);
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
