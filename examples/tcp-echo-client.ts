/**
 * A TCP echo client: sends one line to an echo server and prints what comes back.
 *
 *     node out/examples/tcp-echo-client.js [PORT [HOST [MESSAGE]]]
 */
import { connect } from 'sluice';

async function tcpEchoClient(host: string, port: number, message: string): Promise<void> {
  // `await using` closes the connection at the end of the block, even if something in it throws.
  await using stream = await connect(host, port);

  console.log(`Send: ${message}`);
  await stream.write(`${message}\n`);

  // Waits for a complete line, however many packets it arrives in. At EOF it is empty.
  const reply = await stream.readline();
  console.log(`Received: ${reply.toString().trimEnd()}`);

  // Half-closes: the server sees EOF, and this side could still read.
  await stream.writeEof();
  console.log('Close the connection');
}

const [port = '8888', host = '127.0.0.1', message = 'Hello World!'] = process.argv.slice(2);
await tcpEchoClient(host, Number(port), message);
