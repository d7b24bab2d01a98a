/**
 * Waits for data on a socket that already exists, here one end of a connected pair.
 *
 *     node out/examples/socketpair-wait.js
 */
import { connect, socketpair } from 'sluice';

async function waitForData(): Promise<void> {
  const [readingEnd, writingEnd] = await socketpair();

  // Any net.Socket, or any Duplex, can be read and written as a Stream.
  await using stream = await connect({ sock: readingEnd });

  // The other end writes a little later.
  setTimeout(() => writingEnd.end('abc'), 100);

  // Waits for at least one byte, and returns at most 100.
  const data = await stream.read(100);
  console.log(`Received: ${data.toString()}`);

  // The other end has closed its side, so this read returns an empty buffer.
  const rest = await stream.read();
  console.log(`End of stream: ${stream.atEof()}, ${rest.length} bytes left`);
}

await waitForData();
