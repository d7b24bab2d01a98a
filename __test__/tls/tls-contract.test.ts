// Runs once for each way of reading: the sink is not a reader.
import { once } from 'node:events';
import net, { type AddressInfo, type Socket } from 'node:net';
import test from 'ava';
import { SocketTransport } from '#ts/transports/socket.js';
import { secured } from '../certificates.js';
import { RecordingSink, transportContract, turns, written, type Pair, type PairMaker } from '../transport-contract.js';

/** Two plain transports over the loopback interface. */
async function tcp(): Promise<{ client: SocketTransport; served: SocketTransport; close: () => void }> {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = once(server, 'connection') as Promise<[Socket]>;
  const client = await SocketTransport.connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
  const served = SocketTransport.accepted((await accepted)[0]);
  return { client, served, close: () => server.close() };
}

const socketOf = (transport: SocketTransport): Socket => transport.getExtraInfo('socket') as Socket;

function overTcp(name: string, toClient: boolean, maxVersion: 'TLSv1.2' | 'TLSv1.3'): PairMaker {
  return {
    name,
    connected: true,
    halfClose: false,
    async make(): Promise<Pair> {
      const plain = await tcp();
      const sockets = { client: socketOf(plain.client), served: socketOf(plain.served) };
      const { client, served } = await secured(plain.client, plain.served, maxVersion);
      return {
        a: toClient ? served : client,
        b: toClient ? client : served,
        reset: () => (toClient ? sockets.served : sockets.client).resetAndDestroy(),
        dispose: plain.close,
      };
    },
  };
}

/** As `startTls` does it: after bytes have passed in both directions, with both ways of reading. */
const upgraded: PairMaker = {
  name: 'TLS after plain bytes',
  connected: true,
  halfClose: false,
  async make() {
    const plain = await tcp();
    const sinks = [new RecordingSink(), new RecordingSink()] as const;
    plain.client.start(sinks[0]);
    plain.served.start(sinks[1]);
    await written(plain.client, 'STARTTLS\n');
    await sinks[1].until(() => sinks[1].bytes === 9);
    await written(plain.served, 'OK\n');
    await sinks[0].until(() => sinks[0].bytes === 3);
    plain.client.pauseReading();
    plain.served.pauseReading();
    const socket = socketOf(plain.client);
    await turns(2);
    const { client, served } = await secured(plain.client, plain.served);
    return { a: client, b: served, reset: () => socket.resetAndDestroy(), dispose: plain.close };
  },
};

transportContract(test, [
  overTcp('TLS 1.3, to the server', false, 'TLSv1.3'),
  overTcp('TLS 1.3, to the client', true, 'TLSv1.3'),
  overTcp('TLS 1.2, to the server', false, 'TLSv1.2'),
  upgraded,
]);
