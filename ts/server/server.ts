/** The TCP server and the Unix socket server. base-server.ts has their common code. */
import type { AddressInfo, BlockList, Server } from 'node:net';
import { checkBoolean, checkFamily, checkFlags, checkInteger, exclusive } from '../checks.js';
import { resolve } from '../connect/resolve.js';
import { checkUnixPath } from '../connect/unix-path.js';
import { coded, invalidType, outOfRange } from '../errors.js';
import { hostAndPort } from '../transports/transport.js';
import { checkNoAddresses } from './admission.js';
import { BaseStreamServer } from './base-server.js';
import { checkServing, type ClientHandler, type ServingOptions } from './options.js';
import { listenUnix, whyNoMode } from './listen-unix.js';
import { checkSock, listenOver, listenTcp, type Listen, type TcpAddress } from './listen.js';
import { checkProxyProtocol, type ProxyProtocolOptions, type UnixProxyProtocolOptions } from './proxy-protocol.js';

export type { ClientHandler, HandlerContext, ServerErrorHandler } from './options.js';

/** The options of a {@link StreamServer}. */
export interface StreamServerOptions extends ServingOptions {
  /** 4 or 6 to listen on addresses of that family only; 0 (default) for both. asyncio: `family` */
  family?: 0 | 4 | 6 | undefined;
  /** How names are resolved: the `hints` of `dns.lookup`, such as `dns.ADDRCONFIG`. Default 0. asyncio: `flags` */
  flags?: number | undefined;
  /**
   * Replaces host and port: a `net.Server` that listens or is about to (`bind` waits until it does), or the fd of a listening
   * socket. It is closed with the server. A `net.Server` should be created with `pauseOnConnect`, must have no 'connection'
   * listener, and can be used by one server only, once (`ERR_IN_USE`). asyncio: `sock`
   */
  sock?: Server | number | undefined;
  /**
   * `SO_REUSEADDR`: listen on a port that old connections still occupy. Node always sets it on systems where it has this meaning,
   * and never on others; requesting the opposite throws. asyncio: `reuse_address`
   */
  reuseAddress?: boolean | undefined;
  /**
   * `SO_REUSEPORT`: several servers share the port, and the kernel distributes the connections. `bind` rejects if the system or
   * the runtime does not support it: Node does from 22.12 and 23.1 on. Default false. asyncio: `reuse_port`
   */
  reusePort?: boolean | undefined;
  /** `TCP_NODELAY` on accepted connections. Default true. */
  noDelay?: boolean | undefined;
  /** `SO_KEEPALIVE` on accepted connections. Default false. asyncio: `keep_alive` */
  keepAlive?: boolean | undefined;
  /**
   * Refuses connections from these addresses: closes them at once, without a TLS handshake and without a call of the handler. It is
   * consulted for each new connection, so that rules can be added while the server runs. Rules for IPv4 addresses also match their IPv6
   * form (`::ffff:192.0.2.1`). Open connections are not affected. Refusals are reported through `onError` with a `ConnectionError`
   * `ECONNREFUSED`, at most one a second, with the number of those in between.
   */
  blockList?: BlockList | undefined;
  /**
   * The maximum number of open connections from one address, 1 or more. IPv6 addresses are counted by /64, because a single host usually
   * has all addresses of a /64 for itself. A connection counts from when it is accepted until its stream is closed and its handler has
   * settled: also while it waits for `startServing`, and during the TLS handshake. Further connections from the address are closed at
   * once, and reported as for `blockList`. Default `Infinity`.
   */
  maxConnectionsPerAddress?: number | undefined;
  /**
   * Expects the header of the PROXY protocol, version 1 or 2, at the start of each connection, before TLS: for a server to which only
   * proxies connect (`send-proxy` of HAProxy, `proxy_protocol on` of nginx, load balancers of cloud providers).
   *
   * `getExtraInfo('proxy')` of the stream is then a `ProxyInfo` with the address of the client; `peername` remains the address of the
   * proxy. Messages name both: `203.0.113.7:50123 via 192.0.2.1:4000`.
   *
   * The TLS handshake and the handler wait until the header is complete. A connection from a peer that is not in `trusted`, or whose
   * header is malformed or not complete after `timeout` ms, is destroyed at once, without a byte to the peer. `onError` receives a
   * `ConnectionError` with the code `ERR_PROXY_UNTRUSTED`, `ERR_PROXY_HEADER` or `ETIMEDOUT`. Not reported are a connection that the peer
   * closes without having sent a byte, and a health check: a header that announces no client (`LOCAL`, `UNKNOWN`, the proxy itself)
   * and nothing after it.
   *
   * `blockList`, `maxConnectionsPerAddress` and `accept` then concern the client that the proxy announces. A connection for which it
   * announces none is not refused by them.
   */
  proxyProtocol?: ProxyProtocolOptions | undefined;
}

/** The options of a {@link UnixStreamServer}. */
export interface UnixStreamServerOptions extends ServingOptions {
  /**
   * Replaces the path: a `net.Server` that listens or is about to, or the fd of a listening socket. It is closed with the server.
   * Node then removes the socket file of a `net.Server`; the file of an fd remains. asyncio: `sock`
   */
  sock?: Server | number | undefined;
  /**
   * The permissions of the socket file, such as `0o660`, regardless of the umask of the process. They are set before any client
   * can connect. On most systems a client needs write permission for the file to connect. Default: 0o777 without the bits of the
   * umask, which with the usual umask of 0o022 lets only the owner connect. `TypeError` if this process creates no such file: for
   * an abstract name, on Windows, with `sock`, and in a worker of `node:cluster`, where the umask of the primary decides.
   */
  mode?: number | undefined;
  /**
   * Refuses the clients with these addresses that a proxy announces: see the option of `StreamServer`. Only together with
   * {@link proxyProtocol}, because the peer of a Unix socket has no address.
   */
  blockList?: BlockList | undefined;
  /**
   * The maximum number of open connections of one client, by the address that a proxy announces: see the option of `StreamServer`. Only
   * together with {@link proxyProtocol}. Default `Infinity`.
   */
  maxConnectionsPerAddress?: number | undefined;
  /**
   * Expects the header of the PROXY protocol at the start of each connection: see the option of `StreamServer`. Every process that can
   * connect is trusted to announce clients, so restrict that with {@link mode}.
   */
  proxyProtocol?: UnixProxyProtocolOptions | undefined;
}

/**
 * A TCP server that passes each connection to a handler as a {@link Stream}.
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
 * Creating a server opens nothing. A server that was closed cannot be opened again. The class is final.
 *
 * The server listens on every address of every host, once on each. An IPv6 address does not include IPv4, so `::` means all of
 * IPv6 and nothing of IPv4. If a name has several addresses, or the host means all interfaces, addresses that the machine does
 * not have are skipped as long as there is another one.
 *
 * When the process runs out of file descriptors, Node closes new connections, and the server continues. `onError` receives what
 * can be detected of that (on Linux, the connection that took the last descriptor).
 *
 * asyncio: `StreamServer`
 */
export class StreamServer extends BaseStreamServer {
  /**
   * @param handler - called with a stream for each connection
   * @param host - one or more addresses or names to listen on; null (default) or `''` for all interfaces, IPv4 and IPv6. In a
   * list, as in asyncio, only null means all interfaces
   * @param port - 0 (default) for any port that is free on all addresses; {@link address} then has the port
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid argument
   * @throws TypeError `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for a `reuseAddress` that Node does not support
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
    const proxy = checkProxyProtocol('StreamServer', options.proxyProtocol, { unix: false });
    const listen = tcp(host, port, options, checked.backlog);
    super('StreamServer', { handler, listen, options: checked, noDelay, keepAlive, proxy });
  }

  /**
   * Returns the first address that the server listens on, `{ address, port, family }`; null if it is not bound. The others are those of
   * {@link sockets}. asyncio: `sockets[0].getsockname()`
   */
  override address(): AddressInfo | null {
    return super.address() as AddressInfo | null;
  }
}

/**
 * A server on a Unix socket. Apart from that it is like {@link StreamServer}.
 *
 * ```ts
 * await using server = new UnixStreamServer(echo, '/run/service.sock');
 * await server.serveForever();
 * ```
 *
 * The socket is a file. If a socket file exists on which no process listens, it is replaced. If a process listens on it, or if
 * the file is not a socket, `bind` rejects with `EADDRINUSE`. To find out, `bind` connects to the socket. If that fails and the
 * socket is less than a second old, it may be about to listen, so `bind` tries again until it is that old.
 *
 * Closing the server removes the file if it is still the same one. If the process is killed, the file remains. In a worker of
 * `node:cluster` all workers share the socket, and the primary manages the file. `mode`, or else the umask of the process,
 * decides who can connect.
 *
 * asyncio: `UnixStreamServer`
 */
export class UnixStreamServer extends BaseStreamServer {
  /**
   * @param handler - called with a stream for each connection
   * @param path - the path of the socket; an abstract name (`\0name`) on Linux; a named pipe (`\\.\pipe\name`) on Windows
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid argument, or a path that is longer
   * than the system allows
   * @throws TypeError `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for an abstract name on a system that does not support it
   * @throws TypeError `ERR_INVALID_ARG_TYPE` for a `mode` if this process creates no file, and for a `blockList` or
   * `maxConnectionsPerAddress` without `proxyProtocol`
   */
  constructor(handler: ClientHandler, path?: string | URL | null, options: UnixStreamServerOptions = {}) {
    if (new.target !== UnixStreamServer) throw subclassed('UnixStreamServer');
    const checked = checkServing('UnixStreamServer', handler, options);
    const proxy = checkProxyProtocol('UnixStreamServer', options.proxyProtocol, { unix: true });
    checkNoAddresses('UnixStreamServer', options, proxy !== null);
    const listen = unix(path ?? null, options, checked.backlog);
    super('UnixStreamServer', { handler, listen, options: checked, noDelay: true, keepAlive: false, proxy });
  }

  /** Returns the path of the socket; null if the server is not bound. asyncio: `sockets[0].getsockname()` */
  override address(): string | null {
    return super.address() as string | null;
  }
}

function subclassed(name: string): TypeError {
  return coded(new TypeError(`${name} is final: it cannot be subclassed`), 'ERR_ILLEGAL_CONSTRUCTOR');
}

// ---------------------------------------------------------------------------------------------- the addresses

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

/** The permissions of the socket file, or null if none were given. */
function checkMode(value: unknown): number | null {
  if (value === undefined) return null;
  return checkInteger('UnixStreamServer', 'mode', value, 0, 0o777, 'an integer from 0 to 0o777');
}

function unsupportedMode(against: string): TypeError {
  return coded(new TypeError(`UnixStreamServer: mode cannot be used ${against}`), 'ERR_INVALID_ARG_TYPE');
}

/** The addresses that mean all interfaces. */
function anyAddress(family: 0 | 4 | 6): string[] {
  const addresses = [];
  if (family !== 6) addresses.push('0.0.0.0');
  if (family !== 4) addresses.push('::');
  return addresses;
}

/**
 * The addresses of all hosts, each once. An address that the caller gave literally is not optional. Null means all interfaces.
 */
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

/** The list of hosts, in which null means all interfaces; or null if no host was given, which means the same. */
function checkHosts(host: unknown): readonly (string | null)[] | null {
  if (host === null || host === '') return null;
  const hosts: unknown[] = Array.isArray(host) ? host : [host];
  if (hosts.length === 0) throw outOfRange('StreamServer', 'host', 'at least one host', host);
  for (const one of hosts) {
    if (one === null) continue;
    if (typeof one !== 'string') throw invalidType('StreamServer', 'host', 'a string, a list of strings or null', one);
    // Alone, '' means all interfaces. In a list, asyncio tries to resolve it and fails.
    if (one === '') throw outOfRange('StreamServer', 'each host of a list', 'a host name, an address or null', one);
    if (one.includes('\0')) throw outOfRange('StreamServer', 'host', 'a host name or an address', one);
  }
  return [...hosts] as (string | null)[];
}

/** The option cannot change what libuv does, so any other value is refused. */
function checkReuseAddress(value: unknown): void {
  if (value === undefined) return;
  checkBoolean('StreamServer', 'reuseAddress', value);
  const always = process.platform !== 'win32';
  if (value === always) return;
  const message = `StreamServer: reuseAddress is always ${always ? 'on' : 'off'} with Node on this system`;
  throw coded(new TypeError(message), 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM');
}
