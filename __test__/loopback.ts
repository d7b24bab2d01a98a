/** Real connections over the loopback interface, closed when the test is over. */
import type { ExecutionContext } from 'ava';
import { Buffer } from 'node:buffer';
import dns from 'node:dns/promises';
import { once } from 'node:events';
import { syncBuiltinESMExports } from 'node:module';
import { createServer, connect as netConnect, type Socket, type AddressInfo } from 'node:net';
import type { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import tls, { type TLSSocket } from 'node:tls';
import {
  StreamServer,
  connect,
  type ClientHandler,
  type ConnectionError,
  type ConnectOptions,
  type Stream,
  type StreamServerOptions,
} from 'sluice';

/** A plain Node socket whose errors are ignored. */
export function quiet(socket: Socket): Socket {
  return socket.on('error', () => {});
}

/** A plain server; `sockets` are those accepted so far. */
export async function listen(
  t: ExecutionContext,
  onConnection: (socket: Socket) => void = () => {},
  host = '127.0.0.1',
  port = 0,
): Promise<{ port: number; sockets: Socket[]; close: () => void }> {
  const sockets: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.push(quiet(socket));
    onConnection(socket);
  });
  const close = (): void => {
    server.close();
    for (const socket of sockets) socket.destroy();
  };
  t.teardown(close);
  server.listen(port, host);
  await once(server, 'listening');
  return { port: (server.address() as AddressInfo).port, sockets, close };
}

/**
 * A port without a listener that stays so: the system does not assign it to anyone who asks for any port. A port that
 * was released could be assigned to another test at any moment.
 */
export async function sparePort(t: ExecutionContext): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    try {
      const probe = await listen(t, undefined, '127.0.0.1', port);
      probe.close();
      return port;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    }
  }
}

/** Binds a port on one of the loopback addresses only. */
export async function takePort(t: ExecutionContext, host: string): Promise<number> {
  const port = await sparePort(t);
  await listen(t, undefined, host, port);
  return port;
}

/** A TLS server of Node's; a connection comes with the plain socket below it. */
export async function listenTls(
  t: ExecutionContext,
  options: tls.TlsOptions,
  onConnection: (socket: TLSSocket, below: Socket) => void,
): Promise<number> {
  const sockets: Socket[] = [];
  const server = tls.createServer(options, (socket) => {
    quiet(socket);
    onConnection(socket, sockets.at(-1)!);
  });
  server.on('connection', (socket: Socket) => sockets.push(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** A plain connection to a port. */
export async function dial(t: ExecutionContext, port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = quiet(netConnect({ port, host, allowHalfOpen: true }));
  t.teardown(() => socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** A stream that `connect` made, and the plain socket at the other end. */
export async function streamAndPeer(
  t: ExecutionContext,
  options?: ConnectOptions,
): Promise<{ stream: Stream; peer: Socket }> {
  let accepted!: (socket: Socket) => void;
  const peer = new Promise<Socket>((resolve) => {
    accepted = resolve;
  });
  const { port } = await listen(t, accepted);
  const stream = await connect('127.0.0.1', port, options);
  t.teardown(() => stream.abort());
  return { stream, peer: await peer };
}

/** Everything that a socket, or another stream, receives up to EOF; unlike iteration, this does not destroy it. */
export function gather(socket: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.once('end', () => resolve(Buffer.concat(chunks)));
    socket.resume();
    socket.once('error', reject);
  });
}

/** Resolves when the other side has closed the connection, in any way; data before that is dropped. */
export function closedByPeer(socket: Socket): Promise<void> {
  return new Promise((resolve) => {
    socket.once('end', resolve).once('close', resolve).resume();
  });
}

/** A server of ours; `errors` collects its reports. */
export async function serving(
  t: ExecutionContext,
  handler: ClientHandler,
  options: StreamServerOptions = {},
): Promise<{ server: StreamServer; port: number; errors: ConnectionError[] }> {
  const errors: ConnectionError[] = [];
  const onError = (error: unknown): void => void errors.push(error as ConnectionError);
  const server = new StreamServer(handler, '127.0.0.1', 0, { onError, ...options });
  t.teardown(() => server.abort());
  await server.startServing();
  return { server, port: portOf(server), errors };
}

/** A handler that sends each line back. */
export const echo: ClientHandler = async (stream) => {
  for await (const line of stream) await stream.write(line);
};

/** The port of a server. */
export function portOf(server: StreamServer): number {
  return (server.sockets[0]?.address() as AddressInfo).port;
}

/**
 * The next connection that a server accepts, since one that is connected may not be accepted yet. Call it before
 * connecting.
 */
export async function taking(server: StreamServer): Promise<void> {
  await once(server.sockets[0]!, 'connection');
}

/** Makes every name resolve to these addresses, until the test is over. */
export function resolving(t: ExecutionContext, addresses: readonly string[]): void {
  resolvingBy(t, () => addresses);
}

/** Makes each name resolve to the result of `addressesOf`, until the test is over. */
export function resolvingBy(t: ExecutionContext, addressesOf: (host: string) => readonly string[]): void {
  const { lookup } = dns;
  t.teardown(() => {
    dns.lookup = lookup;
    syncBuiltinESMExports();
  });
  dns.lookup = ((host: string) =>
    Promise.resolve(addressesOf(host).map((address) => ({ address, family: address.includes(':') ? 6 : 4 })))) as never;
  syncBuiltinESMExports();
}

/** Lets the event loop turn until the condition holds. The test runner gives up if it never does. */
export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

/** Lets the event loop turn, for events that must not happen. */
export async function turns(n: number): Promise<void> {
  for (let i = 0; i < n; i++) await turn();
}

/** A promise and its resolving functions. */
export function deferred<T = void>(): {
  promise: Promise<T>;
  resolve: (value: T) => void;
  reject: (e: unknown) => void;
} {
  let resolve!: (value: T) => void;
  let reject!: (e: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}
