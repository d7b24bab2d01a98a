/**
 * A TCP echo client: sends one line to an echo server and prints what comes back.
 *
 *     node out/examples/tcp-echo-client.js [PORT [HOST [MESSAGE]]]
 */
import { connect } from 'sluice';

async function tcpEchoClient(host: string, port: number, message: string): Promise<void> {
  // `await using` closes the connection where the block ends, also when something in it throws.
  await using stream = await connect(host, port);

  console.log(`Send: ${message}`);
  await stream.write(`${message}\n`);

  // Waits for a whole line, however many packets it comes in. At the end of the stream it is empty.
  const reply = await stream.readline();
  console.log(`Received: ${reply.toString().trimEnd()}`);

  // Half-closes: the server sees the end of the stream, this side could go on reading.
  await stream.writeEof();
  console.log('Close the connection');
}

const [port = '8888', host = '127.0.0.1', message = 'Hello World!'] = process.argv.slice(2);
await tcpEchoClient(host, Number(port), message);
