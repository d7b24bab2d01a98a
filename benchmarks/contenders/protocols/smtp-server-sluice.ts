/** sluice: the server of examples/protocols/smtp. It counts the bytes of the messages and drops them. Prints its port. */
import type { AddressInfo } from 'node:net';
import { smtpServer, type SmtpOptions } from '../../../examples/protocols/smtp/server.js';
import { Receipt } from './smtp-sender.js';

const onMessage: SmtpOptions['onMessage'] = async ({ from }, message) => {
  const receipt = new Receipt(from);
  for await (const piece of message) receipt.add(piece);
  receipt.check();
};
const server = smtpServer({ onMessage }, '127.0.0.1', 0);
await server.startServing();
console.log((server.sockets[0]!.address() as AddressInfo).port);
