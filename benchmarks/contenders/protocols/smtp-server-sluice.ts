/** sluice: the server of examples/protocols/smtp, which keeps each message in memory until it is complete. Prints its port. */
import type { AddressInfo } from 'node:net';
import { smtpServer } from '../../../examples/protocols/smtp/server.js';
import { checkMail } from './smtp-sender.js';

const server = smtpServer({ onMessage: ({ from }, { size, pieces }) => checkMail(from, size, pieces) }, '127.0.0.1', 0);
await server.startServing();
console.log((server.sockets[0]!.address() as AddressInfo).port);
