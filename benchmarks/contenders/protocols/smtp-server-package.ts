/** smtp-server: keeps each message in memory until it is complete. Prints its port. */
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';
import { checkMail } from './smtp-sender.js';

const server = new SMTPServer({
  authOptional: true,
  disabledCommands: ['AUTH', 'STARTTLS'],
  // It would ask a name server about the address of the client.
  disableReverseLookup: true,
  size: 32 * 2 ** 20,
  onData(stream, { envelope }, callback) {
    const pieces: Buffer[] = [];
    let size = 0;
    stream.on('data', (piece: Buffer) => {
      pieces.push(piece);
      size += piece.length;
    });
    stream.on('end', () => {
      try {
        checkMail(envelope.mailFrom === false ? '' : envelope.mailFrom.address, size, pieces);
        callback();
      } catch (error) {
        callback(error as Error);
      }
    });
  },
});
server.on('error', () => {});
const listener = server.listen(0, '127.0.0.1', () => console.log((listener.address() as AddressInfo).port));
