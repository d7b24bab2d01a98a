/**
 * A stand-in for a Postgres server, which costs next to nothing, so that a client is never waiting for it: passes on the first request
 * of each kind to a real server, and answers later ones with the bytes that this one has answered.
 *
 *     node postgres-relay.js PORT SERVER_PORT
 */
import { connect, createServer, type Socket } from 'node:net';

const [port, serverPort] = process.argv.slice(2).map(Number) as [number, number];

/** ReadyForQuery, outside a transaction: the end of every reply. */
const READY = Buffer.from('Z\0\0\0\x05I', 'latin1');
const HEADER = 5;

/** Whether the bytes end with a message that the server answers up to ReadyForQuery: a simple query, or Sync. */
function isComplete(request: Buffer): boolean {
  for (let at = 0; at + HEADER <= request.length;) {
    const type = String.fromCharCode(request[at]!);
    at += 1 + request.readUInt32BE(at + 1);
    if (at === request.length) return type === 'Q' || type === 'S';
  }
  return false;
}

function serve(client: Socket): void {
  const server = connect({ port: serverPort, host: '127.0.0.1', noDelay: true });
  const replies = new Map<string, Buffer>();
  /** What has arrived of a reply, and the request; null while the connection is established. */
  let reply: Buffer[] = [];
  let request: string | null = null;
  for (const [socket, other] of [
    [client, server],
    [server, client],
  ] as const) {
    socket.on('error', () => undefined).on('close', () => other.destroy());
  }
  client.on('data', (bytes) => {
    const known = replies.get(bytes.toString('latin1'));
    if (known !== undefined) {
      client.write(known);
      return;
    }
    request = isComplete(bytes) ? bytes.toString('latin1') : null;
    server.write(bytes);
  });
  server.on('data', (bytes) => {
    client.write(bytes);
    reply.push(bytes);
    if (!Buffer.concat(reply.slice(-2)).subarray(-READY.length).equals(READY)) return;
    if (request !== null) replies.set(request, Buffer.concat(reply));
    reply = [];
    request = null;
  });
}

createServer({ noDelay: true }, serve).listen(port, '127.0.0.1');
