/**
 * `node:net`: a server that echoes lines, split by hand as `'data'` arrives, with one `socket.write` per line. Prints its port.
 */
import { createServer, type AddressInfo } from 'node:net';

const LF = 10;

const server = createServer({ noDelay: true }, (socket) => {
  let rest: Buffer | null = null;
  socket.on('data', (chunk) => {
    const buffer: Buffer = rest === null ? chunk : Buffer.concat([rest, chunk]);
    let begin = 0;
    for (let end = buffer.indexOf(LF); end !== -1; end = buffer.indexOf(LF, begin)) {
      socket.write(buffer.subarray(begin, end + 1));
      begin = end + 1;
    }
    rest = begin < buffer.length ? buffer.subarray(begin) : null;
  });
});
server.listen(0, '127.0.0.1', () => {
  console.log((server.address() as AddressInfo).port);
});
