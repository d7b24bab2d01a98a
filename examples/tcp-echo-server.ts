/**
 * A TCP echo server: sends back every line that it receives, until you stop it with Ctrl-C or SIGTERM.
 *
 *     node out/examples/tcp-echo-server.js [PORT [HOST]]
 *
 * Without arguments it listens on 127.0.0.1:8888. With port 0 the system chooses a port; the first line printed names it.
 */
import { StreamServer, type Stream } from 'sluice';

/** Runs once per connection. When it returns, the stream is closed; when it throws, the stream is aborted. */
async function echo(stream: Stream): Promise<void> {
  const peer = stream.getExtraInfo('peername') as { address: string; port: number };
  console.log(`${peer.address}:${peer.port} connected`);

  // One line after another, as Buffers that include the line end, until the client ends its side.
  for await (const line of stream) {
    // Awaiting the write stops this loop while the client does not read, so memory stays bounded.
    await stream.write(line);
  }
  console.log(`${peer.address}:${peer.port} sent ${stream.bytesRead} bytes`);
}

const port = Number(process.argv[2] ?? 8888);
const host = process.argv[3] ?? '127.0.0.1';

// Leaving the block in any way closes the server and all of its streams.
await using server = new StreamServer(echo, host, port);
await server.startServing();
for (const { address, port } of server.sockets.map((socket) => socket.address() as { address: string; port: number })) {
  console.log(`Serving on ${address}:${port}`);
}

// Either signal ends serveForever, once the lines that were received are answered. That may take up to five seconds.
const stop = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => stop.abort());
try {
  await server.serveForever({ signal: stop.signal, drain: 5000 });
} catch (error) {
  if (!stop.signal.aborted) throw error;
  console.log('Stopped');
}
