/** Servers of each kind, for tests that apply to all of them. */
import type { ExecutionContext } from 'ava';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { connect as netConnect } from 'node:net';
import tls from 'node:tls';
import { StreamServer, UnixStreamServer, type ClientHandler, type ServingOptions } from 'sluice';
import { certificates, trust } from '../certificates.js';
import { unixPath } from '../fifo.js';
import { portOf, quiet } from '../loopback.js';

/** What a server listens on, and whether with TLS. */
export type Kind = 'TCP' | 'TLS' | 'Unix';

export const KINDS: readonly Kind[] = ['TCP', 'TLS', 'Unix'];

export interface Served {
  readonly server: StreamServer | UnixStreamServer;
  /** A client made with Node, after its handshake; its errors are ignored. */
  readonly dial: () => Promise<Socket>;
  /** A connection without a handshake. */
  readonly dialPlain: () => Promise<Socket>;
}

/** The plain socket below a TLS socket. */
const below = new WeakMap<Socket, Socket>();

/** Breaks a connection that the server is writing to. */
export function breakOff(socket: Socket): void {
  const plain = below.get(socket) ?? socket;
  // Closing a Unix socket that holds unread bytes breaks it.
  if (plain.remoteFamily === undefined) plain.destroy();
  else plain.resetAndDestroy();
}

/** A server that serves until the test is over. */
export async function serve(
  t: ExecutionContext,
  kind: Kind,
  handler: ClientHandler,
  options: Omit<ServingOptions, 'ssl'> = {},
): Promise<Served> {
  const { server: identity } = await certificates();
  const file = unixPath(t);
  const given = { shutdownTimeout: 50, ...options };
  const server =
    kind === 'Unix'
      ? new UnixStreamServer(handler, file, given)
      : new StreamServer(handler, '127.0.0.1', 0, { ...given, ssl: kind === 'TLS' ? identity : undefined });
  t.teardown(() => server.abort());
  await server.startServing();
  const dialPlain = async (): Promise<Socket> => {
    const socket = quiet(
      server instanceof UnixStreamServer ? netConnect(file) : netConnect({ port: portOf(server), host: '127.0.0.1' }),
    );
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  const dial = async (): Promise<Socket> => {
    const socket = await dialPlain();
    if (kind !== 'TLS') return socket;
    const secured = tls.connect({ socket, secureContext: await trust(), servername: 'localhost' });
    quiet(secured);
    below.set(secured, socket);
    await once(secured, 'secureConnect');
    return secured;
  };
  return { server, dial, dialPlain };
}

export interface Warned extends Error {
  readonly code?: string;
  readonly detail?: string;
}

/** The server warnings from now on, instead of Node's own listener, which prints them. */
export function warningsOf(t: ExecutionContext): Warned[] {
  const warnings: Warned[] = [];
  const note = (warning: Error): void => {
    if (warning.name === 'StreamServerWarning') warnings.push(warning);
  };
  const printers = process.listeners('warning');
  process.removeAllListeners('warning').on('warning', note);
  t.teardown(() => {
    process.off('warning', note);
    for (const printer of printers) process.on('warning', printer);
  });
  return warnings;
}
