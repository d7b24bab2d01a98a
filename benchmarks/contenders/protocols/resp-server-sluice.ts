/** sluice: the server of examples/protocols/resp. Prints its port. */
import type { AddressInfo } from 'node:net';
import { respServer } from '../../../examples/protocols/resp/server.js';

// redis-benchmark resets its connections when it has finished.
const server = respServer('127.0.0.1', 0, { onError: () => {} });
await server.startServing();
console.log((server.sockets[0]!.address() as AddressInfo).port);
