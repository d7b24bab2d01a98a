/**
 * Listens on addresses, or on an existing socket, and passes on accepted connections.
 *
 * Connections are accepted with reading paused, so that the receiver can set up how they are read before the first byte arrives.
 * Every failure is a single `ConnectionError` that names the address, and leaves nothing bound.
 */
import { Server, createServer, type ListenOptions, type Socket } from 'node:net';
import { onAbort } from '../abort.js';
import { ConnectionError, codeOf, coded, ignore, invalidKind, invalidType } from '../errors.js';
import { bindError, fdError } from '../system-errors.js';
import { checkSocketFd } from '../transports/fd.js';
import { checkUnused, claim } from '../transports/in-use.js';
import { networkDenied } from '../transports/permission.js';
import { StreamMode, hostAndPort } from '../transports/transport.js';

/** With port 0 and several addresses: how many ports are tried until one is free on all addresses. */
const PORT_TRIES = 8;

/** The error codes for an address family that the machine does not support. */
const ABSENT: ReadonlySet<string> = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EPROTONOSUPPORT']);

/** Receives the connections of a listener. */
export interface Accepting {
  /** A connection was accepted. `path` is the listener's path if it is a Unix socket. */
  accepted(socket: Socket, path?: string): void;
  /** The system failed to accept a connection. */
  failed(error: Error): void;
  /** The caller's `net.Server` refused a connection because of its own limits. */
  dropped(): void;
}

/** An address that is bound. */
export interface Listening {
  readonly server: Server;
  /** Unbinds the address. Accepted connections are not affected. */
  close(): void;
}

/** Binds all addresses, or none if it rejects. The signal ends the wait. */
export type Listen = (accepting: Accepting, signal: AbortSignal) => Promise<Listening[]>;

/** Includes options that the types of Node 20 lack. */
type Place = ListenOptions & { reusePort?: boolean; fd?: number };

// ---------------------------------------------------------------------------------------------- one listener

/** Creates a listener that does not listen yet. */
export function makeListener(accepting: Accepting, path?: string): Server {
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
  return server.on('connection', (socket) => accepting.accepted(socket, path));
}

/**
 * Waits until the listener listens.
 *
 * @param name - the address as shown in messages
 */
export function startListening(server: Server, place: Place, name: string, accepting: Accepting): Promise<Listening> {
  return new Promise((done, reject) => {
    const denied = place.fd === undefined ? networkDenied() : null;
    if (denied !== null) {
      reject(bindError(denied, name));
      return;
    }
    const onError = (error: Error): void => reject(bindError(error, name));
    server.once('error', onError);
    server.listen(place, () => {
      server.off('error', onError);
      done(taken(server, accepting));
    });
  });
}

function taken(server: Server, accepting: Accepting): Listening {
  server.on('error', (error) => accepting.failed(error));
  return { server, close: () => void server.close() };
}

// ---------------------------------------------------------------------------------------------- TCP

/** Where a TCP server listens. */
export interface TcpPlace {
  readonly addresses: readonly TcpAddress[];
  readonly port: number;
  readonly backlog: number;
  readonly reusePort: boolean;
}

export interface TcpAddress {
  readonly address: string;
  /** Whether the address is skipped if the machine does not have it, as long as it has another one. */
  readonly optional: boolean;
}

/** Listens on each address; with port 0, on the same port everywhere. */
export async function listenTcp(place: TcpPlace, accepting: Accepting): Promise<Listening[]> {
  if (place.reusePort && !(await hasReusePort())) throw noReusePort();
  for (let tries = PORT_TRIES; ; tries--) {
    try {
      return await listenOnAll(place, accepting);
    } catch (error) {
      // A port that is free on the first address may be in use on another.
      const again = place.port === 0 && place.addresses.length > 1 && tries > 1 && codeOf(error) === 'EADDRINUSE';
      if (!again) throw error;
    }
  }
}

async function listenOnAll(place: TcpPlace, accepting: Accepting): Promise<Listening[]> {
  const opened: Listening[] = [];
  let { port } = place;
  let absent: unknown = null;
  try {
    for (const { address, optional } of place.addresses) {
      const { backlog, reusePort } = place;
      // As in asyncio, an IPv6 address does not include IPv4. Without this, `::` would also occupy the port for IPv4.
      const options = { host: address, port, backlog, ipv6Only: true, ...(reusePort ? { reusePort } : {}) };
      try {
        opened.push(await startListening(makeListener(accepting), options, hostAndPort(address, port), accepting));
      } catch (error) {
        if (!optional || !ABSENT.has(codeOf(error))) throw error;
        absent ??= error;
      }
      if (port === 0) port = portOf(opened[0]?.server);
    }
    if (opened.length === 0) throw absent;
    return opened;
  } catch (error) {
    for (const listening of opened) listening.close();
    throw error;
  }
}

function portOf(server: Server | undefined): number {
  const address = server?.address();
  return typeof address === 'object' ? (address?.port ?? 0) : 0;
}

// ---------------------------------------------------------------------------------------------- SO_REUSEPORT

let reusePort: Promise<boolean> | null = null;

/**
 * Whether two listeners can share a port on this system. It has to be tried, because Node silently ignores options that it does
 * not know.
 */
function hasReusePort(): Promise<boolean> {
  return (reusePort ??= tryReusePort().catch(() => false));
}

async function tryReusePort(): Promise<boolean> {
  const accepting: Accepting = { accepted: (socket) => void socket.destroy(), failed: ignore, dropped: ignore };
  const place: Place = { host: '127.0.0.1', port: 0, reusePort: true, exclusive: true };
  const opened: Listening[] = [];
  try {
    opened.push(await startListening(makeListener(accepting), place, 'a free port', accepting));
    const port = portOf(opened[0]?.server);
    opened.push(await startListening(makeListener(accepting), { ...place, port }, `port ${port}`, accepting));
    return true;
  } finally {
    for (const listening of opened) listening.close();
  }
}

function noReusePort(): TypeError {
  const message = `bind: reusePort is not available on this system with Node ${process.versions.node}`;
  return coded(new TypeError(message), 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM');
}

// ---------------------------------------------------------------------------------------------- an existing socket

/** A `net.Server`, or the fd of a listening socket. */
export type ListeningSock = Server | number;

/** The kind of socket that a server needs. */
export type SockKind = 'TCP' | 'Unix';

/**
 * @throws TypeError `ERR_INVALID_ARG_TYPE` if it is neither, or has its own 'connection' listener
 * @throws StateError `ERR_IN_USE` if another server uses it, or used it before
 */
export function checkSock(action: string, sock: unknown): ListeningSock {
  if (typeof sock === 'number') return sock;
  if (!(sock instanceof Server)) throw invalidType(action, 'sock', 'a net.Server or an fd', sock);
  checkUnused(action, 'sock', sock, StreamMode.READWRITE);
  if (sock.listenerCount('connection') > 0) {
    const message = `${action}: sock must be a net.Server without a 'connection' listener`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_TYPE');
  }
  return sock;
}

/** Takes over a listener, which is then closed with the server. If it rejects, a `net.Server` is left as it was. */
export async function listenOver(
  sock: ListeningSock,
  kind: SockKind,
  backlog: number,
  accepting: Accepting,
  signal: AbortSignal,
): Promise<Listening[]> {
  if (typeof sock === 'number') return [await listenOverFd(sock, kind, backlog, accepting)];
  const giveBack = claim('bind', 'sock', sock, StreamMode.READWRITE);
  let address: ReturnType<Server['address']>;
  try {
    if (!sock.listening) await listens(sock, signal);
    address = sock.address();
    checkKind(typeof address === 'object' && address !== null ? 'TCP' : 'Unix', kind);
  } catch (error) {
    giveBack();
    throw error;
  }
  const path = kind === 'TCP' ? undefined : typeof address === 'string' ? address : '';
  sock.on('connection', (socket: Socket) => accepting.accepted(socket, path));
  sock.on('drop', () => accepting.dropped());
  return [taken(sock, accepting)];
}

async function listenOverFd(fd: number, kind: SockKind, backlog: number, accepting: Accepting): Promise<Listening> {
  checkSocketFd('bind', 'sock', fd);
  const server = makeListener(accepting, kind === 'TCP' ? undefined : '');
  let listening: Listening;
  try {
    // Without `exclusive`, a worker of a cluster would pass the number on to the primary, where it means another fd.
    listening = await startListening(server, { fd, backlog, exclusive: true }, `fd ${fd}`, accepting);
  } catch (error) {
    throw cannotListen(fd, kind, (error as Error).cause ?? error);
  }
  try {
    checkKind(server.address() === null ? 'Unix' : 'TCP', kind);
  } catch (error) {
    listening.close();
    throw error;
  }
  return listening;
}

/**
 * Why a server cannot listen on the fd of a socket. The system reports a single code for everything that is wrong with the
 * socket.
 */
function cannotListen(fd: number, kind: SockKind, error: unknown): ConnectionError {
  const failure = fdError('bind', fd, error);
  if (failure.code !== 'EINVAL') return failure;
  const wanted = kind === 'TCP' ? 'a TCP socket' : 'a bound Unix stream socket';
  const message = `bind: fd ${fd}: invalid argument: it must be ${wanted} that is not connected`;
  return new ConnectionError(failure.code, message, { cause: error });
}

/** Waits until a server that is about to listen does. */
function listens(server: Server, signal: AbortSignal): Promise<void> {
  return new Promise((done, reject) => {
    const settle = (): void => {
      server.off('listening', onListening).off('error', onError).off('close', onClose);
      forget();
    };
    const onListening = (): void => {
      settle();
      done();
    };
    const onError = (error: Error): void => {
      settle();
      reject(bindError(error, 'sock'));
    };
    const onClose = (): void =>
      onError(new ConnectionError('ECONNABORTED', 'bind: sock was closed before it listened'));
    const abort = (): void => {
      settle();
      reject(signal.reason as Error);
    };
    server.on('listening', onListening).on('error', onError).on('close', onClose);
    const forget = onAbort(signal, abort);
    if (signal.aborted) abort();
  });
}

function checkKind(kind: SockKind, wanted: SockKind): void {
  if (kind === wanted) return;
  throw invalidKind('bind', 'sock', `a ${wanted} socket`, `a ${kind} socket`);
}
