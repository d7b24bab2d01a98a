/** Connecting to a Unix socket. */
import { checkObject, exclusive } from '../checks.js';
import { invalidKind } from '../errors.js';
import { Stream } from '../stream/stream.js';
import { secure } from '../tls/handshake.js';
import { SocketTransport } from '../transports/socket.js';
import { checkBase, connectSock, type Base, type ConnectBaseOptions, type ConnectSockOptions } from './connect.js';
import { checkUnixPath } from './unix-path.js';

/** What `connectUnix(path)` takes. With `ssl` it needs `serverHostname`, as a path is no name for a certificate. */
export type ConnectUnixOptions = ConnectBaseOptions;

/**
 * Connects to a Unix socket: by its path, by its abstract name (`\0name`, on Linux), on Windows to a named pipe
 * (`\\.\pipe\name`). Waits until the connection is there, and with `ssl` for the TLS handshake.
 *
 * ```ts
 * await using stream = await connectUnix('/run/service.sock');
 * await stream.write('status\n');
 * console.log((await stream.readline()).toString());
 * ```
 *
 * asyncio: `connect_unix`
 *
 * @throws (as a rejection) ConnectionError `ENOENT` where there is no such socket, `ECONNREFUSED` where nobody listens on it;
 * with the code of the reason when the TLS handshake fails
 * @throws (as a rejection) RangeError `ERR_OUT_OF_RANGE` when the path is longer than the system can take, or is none
 * @throws (as a rejection) TypeError `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for an abstract name on a system without them
 */
export function connectUnix(path: string | URL, options?: ConnectUnixOptions): Promise<Stream>;
/**
 * Makes a stream over a Unix socket that exists already, as `connect({ sock })` does.
 *
 * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE` for a socket of TCP; the fd of one is closed
 * @throws (as a rejection) the other errors of `connect({ sock })`
 */
export function connectUnix(options: ConnectSockOptions): Promise<Stream>;
export async function connectUnix(
  target: string | URL | ConnectSockOptions,
  options?: ConnectUnixOptions,
): Promise<Stream> {
  if (isOptions(target)) {
    if (isTcp(target.sock)) throw notUnix();
    // What kind of socket an fd is shows when there is a transport over it.
    return connectSock('connectUnix', target, (socket) => {
      if (isTcp(socket)) throw notUnix();
    });
  }
  const path = checkUnixPath('connectUnix', target);
  const { limit, closeTimeout, signal, tls, serverHostname } = checkOptions(options);
  signal?.throwIfAborted();
  const plain = await SocketTransport.connect({ path, signal });
  const transport = tls === null ? plain : await secure(tls, plain, signal);
  if (signal?.aborted === true) {
    // The signal came between the connection and this turn: nobody would close what the caller never gets.
    transport.abort();
    throw signal.reason;
  }
  return new Stream(transport, { limit, closeTimeout, host: serverHostname });
}

/** Whether it is the form without a path; a `Buffer` or an array is neither, but a path of the wrong type. */
function isOptions(target: unknown): target is ConnectSockOptions {
  if (typeof target !== 'object' || target === null || target instanceof URL) return false;
  return 'sock' in target || 'path' in target;
}

function isTcp(sock: unknown): boolean {
  const { localPort, remotePort } = (sock ?? {}) as { localPort?: unknown; remotePort?: unknown };
  return typeof localPort === 'number' || typeof remotePort === 'number';
}

function notUnix(): TypeError {
  return invalidKind('connectUnix', 'sock', 'a Unix socket', 'one of TCP');
}

function checkOptions(options: unknown = {}): Base {
  checkObject('connectUnix', 'options', options);
  const given = options as ConnectUnixOptions & { sock?: unknown };
  if (given.sock !== undefined) throw exclusive('connectUnix', 'path');
  return checkBase('connectUnix', given, 'connectUnix');
}
