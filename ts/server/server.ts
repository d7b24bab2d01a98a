/** The two servers: over TCP and over Unix sockets. What they have in common is in base-server.ts. */
import type { Server } from 'node:net';
import { checkBoolean, checkFamily, checkFlags, checkInteger, exclusive } from '../checks.js';
import { resolve } from '../connect/resolve.js';
import { checkUnixPath } from '../connect/unix-path.js';
import { coded, invalidType, outOfRange } from '../errors.js';
import { hostAndPort } from '../transports/transport.js';
import { BaseStreamServer } from './base-server.js';
import { checkServing, type ClientHandler, type ServingOptions } from './options.js';
import { listenUnix, whyNoMode } from './listen-unix.js';
import { checkSock, listenOver, listenTcp, type Listen, type TcpAddress } from './listen.js';

export type { ClientHandler, HandlerContext, ServerErrorHandler } from './options.js';

/** What a {@link StreamServer} takes. */
export interface StreamServerOptions extends ServingOptions {
  /** 4 or 6: listen on such addresses only; 0 (default): on any. asyncio: `family` */
  family?: 0 | 4 | 6 | undefined;
  /** How names are resolved: the hints of `dns.lookup`, such as `dns.ADDRCONFIG`. Default 0. asyncio: `flags` */
  flags?: number | undefined;
  /**
   * In place of host and port: a `net.Server`, which listens or is about to, or the fd of a socket that listens. It is closed
   * with the server. A `net.Server` should be made with `pauseOnConnect` and have no listener for `'connection'`; `bind` waits until
   * it listens. A `net.Server` serves one server, once: `ERR_IN_USE`. asyncio: `sock`
   */
  sock?: Server | number | undefined;
  /**
   * `SO_REUSEADDR`: take a port that old connections still occupy. Node sets it wherever it means that, and nowhere else; asking
   * for the opposite throws. asyncio: `reuse_address`
   */
  reuseAddress?: boolean | undefined;
  /**
   * `SO_REUSEPORT`: several servers share the port, and the kernel spreads the connections. `bind` rejects where the system or
   * the runtime has none: Node has it from 22.12 and 23.1 on. Default false. asyncio: `reuse_port`
   */
  reusePort?: boolean | undefined;
  /** `TCP_NODELAY` on accepted connections. Default true. */
  noDelay?: boolean | undefined;
  /** `SO_KEEPALIVE` on accepted connections. Default false. asyncio: `keep_alive` */
  keepAlive?: boolean | undefined;
}

/** What a {@link UnixStreamServer} takes. */
export interface UnixStreamServerOptions extends ServingOptions {
  /**
   * In place of the path: a `net.Server`, which listens or is about to, or the fd of a socket that listens. It is closed with the
   * server; Node removes the file of a `net.Server` then, and that of an fd stays. asyncio: `sock`
   */
  sock?: Server | number | undefined;
  /**
   * The permissions of the file of the socket, such as `0o660`, whatever the umask of the process is; they are set before any client
   * can connect. On most systems those who may write to the file may connect. Default: 0o777 without the bits of the umask, which
   * with the usual umask of 0o022 lets only the owner connect. `TypeError` where there is no such file to make: for an abstract
   * name, on Windows, with `sock`, and in a worker of `node:cluster`, where the umask of the primary decides.
   */
  mode?: number | undefined;
}

/**
 * A TCP server that hands each connection to a handler as a {@link Stream}.
 *
 * ```ts
 * await using server = new StreamServer(
 *   async (stream) => {
 *     for await (const line of stream) await stream.write(line);
 *   },
 *   '127.0.0.1',
 *   8888,
 * );
 * await server.serveForever();
 * ```
 *
 * The class is final. Making a server opens nothing. A server that was closed stays closed. When the process runs out of
 * file descriptors, connections that come in are closed by the event loop, and the server goes on; `onError` receives what can be
 * known of that (on Linux, the connection that took the last descriptor).
 *
 * It listens on every address that the hosts have, once on each; an IPv6 address stands for itself, `::` for all of IPv6 and
 * nothing of IPv4. Of the addresses of a name, and of all interfaces, those are left out that the machine does not have, as long
 * as there is another.
 *
 * asyncio: `StreamServer`
 */
export class StreamServer extends BaseStreamServer {
  /**
   * @param handler - called with a stream for each connection
   * @param host - an address or name to listen on, or several; null (default) or `''`: all interfaces, of IPv4 and IPv6. In a list,
   * as in asyncio, only null stands for them
   * @param port - 0 (default): any port that is free on all the addresses, which `sockets[0].address()` tells
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an argument that is none
   * @throws TypeError `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for a `reuseAddress` that Node cannot do
   */
  constructor(
    handler: ClientHandler,
    host: string | readonly (string | null)[] | null = null,
    port = 0,
    options: StreamServerOptions = {},
  ) {
    if (new.target !== StreamServer) throw subclassed('StreamServer');
    const checked = checkServing('StreamServer', handler, options);
    const { noDelay = true, keepAlive = false } = options;
    checkBoolean('StreamServer', 'noDelay', noDelay);
    checkBoolean('StreamServer', 'keepAlive', keepAlive);
    const listen = tcp(host, port, options, checked.backlog);
    super('StreamServer', { handler, listen, options: checked, noDelay, keepAlive });
  }
}

/**
 * A server on a Unix socket; else as {@link StreamServer}.
 *
 * ```ts
 * await using server = new UnixStreamServer(echo, '/run/service.sock');
 * await server.serveForever();
 * ```
 *
 * The socket is a file. One that nobody listens on any more is replaced; where somebody listens, or where the file is no
 * socket, `bind` rejects with `EADDRINUSE`. To find out, it connects, and again until the file is a second old: it may be about to
 * listen. Closing the server removes the file if it is still
 * the same one; a process that is killed leaves it behind. In a worker of `node:cluster` all workers share the socket, and the file
 * is the primary's business. Who may connect is decided by `mode`, or else by the umask of the process.
 *
 * asyncio: `UnixStreamServer`
 */
export class UnixStreamServer extends BaseStreamServer {
  /**
   * @param handler - called with a stream for each connection
   * @param path - the path of the socket; an abstract name (`\0name`) on Linux; a named pipe (`\\.\pipe\name`) on Windows
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an argument that is none, or a path that is longer
   * than the system can take
   * @throws TypeError `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for an abstract name on a system without them
   * @throws TypeError `ERR_INVALID_ARG_TYPE` for a `mode` where this process makes no file
   */
  constructor(handler: ClientHandler, path?: string | URL | null, options: UnixStreamServerOptions = {}) {
    if (new.target !== UnixStreamServer) throw subclassed('UnixStreamServer');
    const checked = checkServing('UnixStreamServer', handler, options);
    const listen = unix(path ?? null, options, checked.backlog);
    super('UnixStreamServer', { handler, listen, options: checked, noDelay: true, keepAlive: false });
  }
}

function subclassed(name: string): TypeError {
  return coded(new TypeError(`${name} is final: it cannot be subclassed`), 'ERR_ILLEGAL_CONSTRUCTOR');
}

// ---------------------------------------------------------------------------------------------- what to listen on

function tcp(host: unknown, port: unknown, options: StreamServerOptions, backlog: number): Listen {
  const { sock, reuseAddress, reusePort = false } = options;
  checkReuseAddress(reuseAddress);
  checkBoolean('StreamServer', 'reusePort', reusePort);
  const hosts = checkHosts(host);
  const number = checkInteger('StreamServer', 'port', port, 0, 65535);
  const family = checkFamily('StreamServer', options.family ?? 0);
  const flags = checkFlags('StreamServer', options.flags ?? 0);
  if (sock !== undefined) {
    if (host !== null) throw exclusive('StreamServer', 'host');
    if (number !== 0) throw exclusive('StreamServer', 'port');
    const given = checkSock('StreamServer', sock);
    return (accepting, signal) => listenOver(given, 'TCP', backlog, accepting, signal);
  }
  return async (accepting, signal) => {
    const addresses = await addressesOf(hosts ?? [null], number, { family, flags, signal });
    return listenTcp({ addresses, port: number, backlog, reusePort }, accepting);
  };
}

function unix(path: string | URL | null, options: UnixStreamServerOptions, backlog: number): Listen {
  const { sock } = options;
  const mode = checkMode(options.mode);
  if (sock !== undefined) {
    if (path !== null) throw exclusive('UnixStreamServer', 'path');
    if (mode !== null) throw exclusive('UnixStreamServer', 'mode');
    const given = checkSock('UnixStreamServer', sock);
    return (accepting, signal) => listenOver(given, 'Unix', backlog, accepting, signal);
  }
  const file = checkUnixPath('UnixStreamServer', path);
  const against = mode === null ? null : whyNoMode(file);
  if (against !== null) throw unsupportedMode(against);
  return async (accepting) => [await listenUnix({ file, backlog, mode }, accepting)];
}

/** The permissions of a file; null where none are given. */
function checkMode(value: unknown): number | null {
  if (value === undefined) return null;
  return checkInteger('UnixStreamServer', 'mode', value, 0, 0o777, 'an integer from 0 to 0o777');
}

function unsupportedMode(against: string): TypeError {
  return coded(new TypeError(`UnixStreamServer: mode cannot be used ${against}`), 'ERR_INVALID_ARG_TYPE');
}

/** The addresses that stand for all interfaces. */
function anyAddress(family: 0 | 4 | 6): string[] {
  const addresses = [];
  if (family !== 6) addresses.push('0.0.0.0');
  if (family !== 4) addresses.push('::');
  return addresses;
}

/** The addresses of all hosts, each once; one that is given as such is not optional. Null stands for all interfaces. */
async function addressesOf(
  hosts: readonly (string | null)[],
  port: number,
  options: Parameters<typeof resolve>[1],
): Promise<TcpAddress[]> {
  const addresses = new Map<string, TcpAddress>();
  for (const host of hosts) {
    const found =
      host === null
        ? anyAddress(options.family)
        : (await resolve(host, options, `bind ${hostAndPort(host, port)}`)).map(({ address }) => address);
    for (const address of found) {
      const optional = address !== host && (addresses.get(address)?.optional ?? true);
      addresses.set(address, { address, optional });
    }
  }
  return [...addresses.values()];
}

/** The hosts of a list, in which null stands for all interfaces; null where no host was given, which stands for them as well. */
function checkHosts(host: unknown): readonly (string | null)[] | null {
  if (host === null || host === '') return null;
  const hosts: unknown[] = Array.isArray(host) ? host : [host];
  if (hosts.length === 0) throw outOfRange('StreamServer', 'host', 'at least one host', host);
  for (const one of hosts) {
    if (one === null) continue;
    if (typeof one !== 'string') throw invalidType('StreamServer', 'host', 'a string, a list of strings or null', one);
    // Taken for all interfaces by itself; in a list asyncio tries to resolve it, and fails.
    if (one === '') throw outOfRange('StreamServer', 'each host of a list', 'a host name, an address or null', one);
    if (one.includes('\0')) throw outOfRange('StreamServer', 'host', 'a host name or an address', one);
  }
  return [...hosts] as (string | null)[];
}

/** What libuv does is all that there is. */
function checkReuseAddress(value: unknown): void {
  if (value === undefined) return;
  checkBoolean('StreamServer', 'reuseAddress', value);
  const always = process.platform !== 'win32';
  if (value === always) return;
  const message = `StreamServer: reuseAddress is always ${always ? 'on' : 'off'} with Node on this system`;
  throw coded(new TypeError(message), 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM');
}
