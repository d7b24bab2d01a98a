/**
 * Sends a block over TLS 1.3, again and again, to one connection: the sender of cases whose receivers use TLS. Prints its port.
 *
 *     node tls-sender.js BLOCK TOTAL CERT KEY
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer, type TLSSocket } from 'node:tls';

const [block, cert, key] = await Promise.all([2, 4, 5].map((i) => readFile(process.argv[i] as string)));
const total = Number(process.argv[3]);

async function sendTo(peer: TLSSocket, bytes: Buffer): Promise<void> {
  for (let sent = 0; sent < total;) {
    const part = bytes.subarray(0, Math.min(bytes.length, total - sent));
    sent += part.length;
    if (!peer.write(part)) await once(peer, 'drain');
  }
  peer.end();
}

const server = createServer({ cert, key, minVersion: 'TLSv1.3' });
server.listen(0, '127.0.0.1');
await once(server, 'listening');
console.log((server.address() as AddressInfo).port);
const [peer] = (await once(server, 'secureConnection')) as [TLSSocket];
server.close();
await sendTo(peer.resume(), block as Buffer);
