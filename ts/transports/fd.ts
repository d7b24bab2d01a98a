/** File descriptors that the program passes: what kind of file they are, sockets made from them, and the errors. */
import { fstatSync, readvSync, writeSync, type Stats } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { checkFd } from '../checks.js';
import { ConnectionError, coded, ignore } from '../errors.js';
import { fdError } from '../system-errors.js';

/**
 * The stats of an fd, which show what kind of file it is.
 *
 * @throws RangeError `ERR_OUT_OF_RANGE` if the number cannot be an fd
 * @throws ConnectionError `EBADF` if the fd is not open
 */
export function statsOf(action: string, name: string, fd: number): Stats {
  checkFd(action, name, fd);
  try {
    return fstatSync(fd);
  } catch (error) {
    throw fdError(action, fd, error);
  }
}

/** The bits of `mode` that say what kind of file it is, and their value for a pipe. Node has no constants for them on Windows. */
const KIND_BITS = 0o170000;
const PIPE_BITS = 0o010000;

/** Whether a file is a pipe. On Windows, `isFIFO()` is false for every file. */
export function isPipe(stats: Pick<Stats, 'isFIFO'> & { readonly mode: number | bigint }): boolean {
  return stats.isFIFO() || (Number(stats.mode) & KIND_BITS) === PIPE_BITS;
}

/** @throws TypeError `ERR_INVALID_FD_TYPE` if the fd is not a socket; and the errors of {@link statsOf} */
export function checkSocketFd(action: string, name: string, fd: number): void {
  const stats = statsOf(action, name, fd);
  if (!stats.isSocket()) throw wrongFd(action, fd, kindOf(stats), 'a socket');
}

const NOTHING = new Uint8Array(0);

/**
 * Checks that the fd of a pipe is open for reading, or for writing, by reading or writing 0 bytes.
 *
 * @throws TypeError `ERR_INVALID_FD_TYPE` if it is the other end; on Windows this is detected later
 */
export function checkPipeEnd(action: string, fd: number, end: 'reading' | 'writing'): void {
  // On Windows, even a read of 0 bytes waits.
  if (process.platform === 'win32') return;
  try {
    if (end === 'reading') readvSync(fd, [NOTHING]);
    else writeSync(fd, NOTHING);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EBADF') return;
    const other = end === 'reading' ? 'writing' : 'reading';
    throw wrongFd(action, fd, `the ${other} end of a pipe`, `the ${end} end, open for ${end}`);
  }
}

/**
 * A paused `net.Socket` for an fd. The fd belongs to it from now on, and is closed with it.
 *
 * @param wanted - what the fd must be, for the message
 * @throws TypeError `ERR_INVALID_FD_TYPE` if the socket is not a byte stream; the fd stays open
 * @throws ConnectionError `ENOTCONN` if the socket is not connected, for example because it listens; Node has closed the fd then.
 * `EEXIST` if this process already uses the fd
 */
export function socketOver(action: string, fd: number, wanted: string, options: SocketConstructorOpts): Socket {
  let socket: Socket;
  try {
    socket = new Socket({ ...options, fd });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_INVALID_FD_TYPE') {
      throw wrongFd(action, fd, 'a socket that is not a byte stream, such as a UDP socket', wanted);
    }
    throw fdError(action, fd, error);
  }
  // Node makes it read immediately, but there is no sink yet.
  socket.pause();
  if (isConnected(fd, socket)) return socket;
  socket.on('error', ignore).destroy();
  throw new ConnectionError('ENOTCONN', `${action}: fd ${fd}: socket is not connected`);
}

/** A TCP socket has the addresses of both ends. For a Unix socket, a write of 0 bytes shows whether there is a peer. */
function isConnected(fd: number, { localPort, remotePort }: Socket): boolean {
  if (localPort !== undefined) return remotePort !== undefined;
  if (process.platform === 'win32') return true;
  try {
    writeSync(fd, NOTHING);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOTCONN';
  }
}

/** The error for an fd of the wrong kind. */
export function wrongFd(action: string, fd: number, kind: string, wanted: string): TypeError {
  const message = `${action}: fd ${fd} is ${kind}, and must be ${wanted}`;
  return coded(new TypeError(message), 'ERR_INVALID_FD_TYPE');
}

/** The kind of a file, as messages name it. */
export function kindOf(
  stats: Pick<
    Stats,
    'isFile' | 'isDirectory' | 'isBlockDevice' | 'isCharacterDevice' | 'isFIFO' | 'isSocket' | 'isSymbolicLink'
  > & { readonly mode: number | bigint },
): string {
  if (stats.isFile()) return 'a regular file';
  if (stats.isDirectory()) return 'a directory';
  if (stats.isBlockDevice()) return 'a block device';
  if (stats.isCharacterDevice()) return 'a character device';
  if (isPipe(stats)) return 'a pipe';
  if (stats.isSocket()) return 'a socket';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return 'of another kind';
}
