/** sluice: the server of examples/protocols/http, with the options of its program. Prints its port. */
import type { AddressInfo } from 'node:net';
import { StreamServer } from 'sluice';
import type { RequestBody } from '../../../examples/protocols/http/body.js';
import type { Answer } from '../../../examples/protocols/http/response.js';
import { http } from '../../../examples/protocols/http/server.js';

const TEXT = { 'Content-Type': 'text/plain' };

async function length(body: RequestBody): Promise<Answer> {
  return { status: 200, headers: TEXT, body: `${(await body.bytes()).length} bytes\n` };
}

const handler = http(({ method }, body) =>
  method === 'POST' ? length(body) : { status: 200, headers: TEXT, body: 'hello, world\n' },
);
const server = new StreamServer(handler, '127.0.0.1', 0, {
  backlog: 511,
  maxConnections: 10_000,
  idleTimeout: 60_000,
  readTimeout: 10_000,
  writeTimeout: 30_000,
  onError() {
    // wrk resets its connections when it has finished.
  },
});
await server.startServing();
console.log((server.sockets[0]!.address() as AddressInfo).port);
