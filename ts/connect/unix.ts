/** Connects to a Unix socket. */
import { withinTime } from '../abort.js';
import { checkObject, exclusive } from '../checks.js';
import { invalidKind } from '../errors.js';
import { Stream } from '../stream/stream.js';
import { secure } from '../tls/handshake.js';
import { SocketTransport } from '../transports/socket.js';
import {
  checkBase,
  connectSock,
  traced,
  type Base,
  type ConnectBaseOptions,
  type ConnectSockOptions,
} from './connect.js';
import { checkUnixPath } from './unix-path.js';

/** The options of `connectUnix(path)`. `ssl` requires `serverHostname`, because a certificate cannot be for a path. */
export type ConnectUnixOptions = ConnectBaseOptions;

/**
 * Connects to a Unix socket by its path or by its abstract name (`\0name`, on Linux), or to a named pipe on Windows
 * (`\\.\pipe\name`).
 *
 * ```ts
 * await using stream = await connectUnix('/run/service.sock');
 * await stream.write('status\n');
 * console.log((await stream.readline()).toString());
 * ```
 *
 * **Waits** until the socket is connected and, with `ssl`, until the TLS handshake is done.
 *
 * **Errors**, all as rejections:
 * - `ConnectionError` `ENOENT` if there is no such socket, `ECONNREFUSED` if no process listens on it; the code of the failure if
 *   the TLS handshake fails
 * - `TypeError` `ERR_INVALID_ARG_TYPE` if the path is neither a string nor a `file:` URL
 * - `RangeError` `ERR_OUT_OF_RANGE` if the path is longer than the system allows, empty, or contains a zero byte
 * - `TypeError` `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for an abstract name on a system that does not support it
 *
 * **Cancellation**: aborting `signal` closes everything that was opened.
 *
 * asyncio: `connect_unix`
 */
export function connectUnix(path: string | URL, options?: ConnectUnixOptions): Promise<Stream>;
/**
 * Creates a stream over an existing Unix socket, as `connect({ sock })` does.
 *
 * @throws (as a rejection) TypeError `ERR_INVALID_ARG_TYPE` for a TCP socket; if it was an fd, the fd is closed
 * @throws (as a rejection) the other errors of `connect({ sock })`
 */
export function connectUnix(options: ConnectSockOptions): Promise<Stream>;
export async function connectUnix(
  target: string | URL | ConnectSockOptions,
  options?: ConnectUnixOptions,
): Promise<Stream> {
  if (isOptions(target)) {
    if (isTcp(target.sock)) throw notUnix();
    // The kind of an fd is known only once there is a transport over it.
    return connectSock('connectUnix', target, (socket) => {
      if (isTcp(socket)) throw notUnix();
    });
  }
  const path = checkUnixPath('connectUnix', target);
  const checked = checkOptions(options);
  return traced({ action: 'connectUnix', serverAddress: path, networkTransport: 'unix' }, checked.tls !== null, () =>
    withinTime('connectUnix', checked, (signal) => connectPath(path, { ...checked, signal })),
  );
}

async function connectPath(path: string, checked: Base): Promise<Stream> {
  const { limit, closeTimeout, maxWriteBuffer, timeouts, signal, tls, serverHostname } = checked;
  signal?.throwIfAborted();
  const plain = await SocketTransport.connect({ path, signal });
  const transport = tls === null ? plain : await secure(tls, plain, signal);
  if (signal?.aborted === true) {
    // The signal was aborted after the transport was connected: the caller never receives the transport, so close it here.
    transport.abort();
    throw signal.reason;
  }
  return new Stream(transport, { limit, closeTimeout, maxWriteBuffer, timeouts, host: serverHostname });
}

/** Whether this is the form without a path. A `Buffer` or an array counts as a path of the wrong type. */
function isOptions(target: unknown): target is ConnectSockOptions {
  if (typeof target !== 'object' || target === null || target instanceof URL) return false;
  return 'sock' in target || 'path' in target;
}

function isTcp(sock: unknown): boolean {
  const { localPort, remotePort } = (sock ?? {}) as { localPort?: unknown; remotePort?: unknown };
  return typeof localPort === 'number' || typeof remotePort === 'number';
}

function notUnix(): TypeError {
  return invalidKind('connectUnix', 'sock', 'a Unix socket', 'a TCP socket');
}

function checkOptions(options: unknown = {}): Base {
  checkObject('connectUnix', 'options', options);
  const given = options as ConnectUnixOptions & { sock?: unknown };
  if (given.sock !== undefined) throw exclusive('connectUnix', 'path');
  return checkBase('connectUnix', given, 'connectUnix');
}
