/** sluice: the server of examples/protocols/websocket, which sends every message back. Prints its port. */
import type { AddressInfo } from 'node:net';
import { StreamServer } from 'sluice';
import { echo, webSocketHandler } from '../../../examples/protocols/websocket/server.js';

const server = new StreamServer(webSocketHandler(echo), '127.0.0.1', 0, {
  maxConnections: 10_000,
  idleTimeout: 300_000,
  onError() {
    // The client does not close its connection properly.
  },
});
await server.startServing();
console.log((server.sockets[0]!.address() as AddressInfo).port);
