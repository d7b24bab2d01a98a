/** The transport contract for TLS over other streams than TCP sockets. */
// Runs once for each way of reading: the sink is not a reader.
import { once } from 'node:events';
import net, { type Socket } from 'node:net';
import test from 'ava';
import { DuplexTransport } from '#ts/transports/duplex.js';
import { SocketTransport } from '#ts/transports/socket.js';
import { secured } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { transportContract, turns, type Pair, type PairMaker } from '../transport-contract.js';

async function both(client: DuplexTransport, served: DuplexTransport): Promise<Pick<Pair, 'a' | 'b'>> {
  const pair = await secured(client, served);
  // What the server sends right after the handshake: Node never reports its failure, nor that of later writes.
  await turns();
  return { a: pair.client, b: pair.served };
}

/** The two plain ends of a connection. */
async function sockets(place: net.ListenOptions): Promise<{ client: Socket; served: Socket; close: () => void }> {
  // noDelay, as for our sockets: data that the system holds back for an acknowledgement is lost in a reset.
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true, noDelay: true });
  await once(server.listen(place), 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const { port } = (typeof server.address() === 'string' ? {} : server.address()) as { port?: number };
  const client = net.connect(port === undefined ? { path: place.path! } : { host: place.host!, port, noDelay: true });
  await once(client, 'connect');
  return { client, served: (await accepted)[0], close: () => void server.close() };
}

const overUnix: PairMaker = {
  name: 'TLS over a Unix socket',
  connected: true,
  halfClose: false,
  make: async () => {
    const teardowns: (() => unknown)[] = [];
    const path = unixPath({ teardown: (f) => void teardowns.push(f) });
    const { client, served, close } = await sockets({ path });
    const pair = await both(SocketTransport.over(client), SocketTransport.accepted(served, { path }));
    const dispose = (): void => {
      close();
      for (const teardown of teardowns) teardown();
    };
    return { ...pair, dispose };
  },
};

const overDuplex: PairMaker = {
  name: 'TLS over a Duplex that is a socket',
  connected: true,
  halfClose: false,
  make: async () => {
    const { client, served, close } = await sockets({ host: '127.0.0.1', port: 0 });
    const pair = await both(new DuplexTransport(client), new DuplexTransport(served));
    return { ...pair, reset: () => client.resetAndDestroy(), dispose: close };
  },
};

transportContract(test, [overUnix, overDuplex]);
