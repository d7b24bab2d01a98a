/**
 * `net`: no receiver, but a server that counts the bytes of a message and drops them, which is the least that a receiver costs. It replies
 * as one, and looks for the end of the message only at the ends of chunks. Prints its port.
 */
import { createServer, type AddressInfo } from 'node:net';

const END = '\r\n.\r\n';

const server = createServer({ noDelay: true }, (socket) => {
  let from = '';
  /** The bytes of the message so far; null while the client sends commands. */
  let size: number | null = null;
  let last = '';
  socket.on('error', () => {});
  socket.write('220 localhost\r\n');
  socket.on('data', (chunk) => {
    if (size === null) {
      // A client that waits for the replies sends whole lines.
      for (const line of chunk.toString('latin1').split('\r\n').slice(0, -1)) {
        from = /^MAIL FROM:<(.*)>$/.exec(line)?.[1] ?? from;
        if (line === 'DATA') size = 0;
        socket.write(line === 'DATA' ? '354 Go on\r\n' : '250 Go on\r\n');
      }
      return;
    }
    size += chunk.length;
    last = (last + chunk.toString('latin1', Math.max(0, chunk.length - END.length))).slice(-END.length);
    if (last !== END) return;
    const text = size - '.\r\n'.length;
    size = null;
    last = '';
    socket.write(from.startsWith(`${text}@`) ? '250 Accepted\r\n' : '451 Wrong\r\n');
  });
});
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port));
