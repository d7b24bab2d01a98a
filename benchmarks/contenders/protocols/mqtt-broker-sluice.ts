/** sluice: the broker of examples/protocols/mqtt. Prints its port. */
import type { AddressInfo } from 'node:net';
import { StreamServer } from 'sluice';
import { Broker } from '../../../examples/protocols/mqtt/server.js';

const server = new StreamServer(new Broker().serve, '127.0.0.1', 0);
await server.startServing();
console.log((server.sockets[0]!.address() as AddressInfo).port);
