/** smtp-server. It counts the bytes of the messages and drops them. Prints its port. */
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { Receipt } from './smtp-sender.js';

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['AUTH', 'STARTTLS'],
  // It would ask a name server about the address of the client.
  disableReverseLookup: true,
  size: 32 * 2 ** 20,
  onData(stream, { envelope }, callback) {
    const receipt = new Receipt(envelope.mailFrom === false ? '' : envelope.mailFrom.address);
    stream.on('data', (piece: Buffer) => receipt.add(piece));
    stream.on('end', () => {
      try {
        receipt.check();
        callback();
      } catch (error) {
        callback(error as Error);
      }
    });
  },
});
server.on('error', () => {});
const listener = server.listen(0, '127.0.0.1', () => console.log((listener.address() as AddressInfo).port));
