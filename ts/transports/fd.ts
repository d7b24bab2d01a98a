/** File descriptors that somebody else has opened: what they are, and the errors that say so. */
import { fstatSync, readvSync, writeSync, type Stats } from 'node:fs';
import { Socket, type SocketConstructorOpts } from 'node:net';
import { checkFd } from '../checks.js';
import { ConnectionError, coded, ignore } from '../errors.js';
import { fdError } from '../system-errors.js';

/**
 * What an fd is.
 *
 * @throws RangeError `ERR_OUT_OF_RANGE` when the number is no fd; ConnectionError `EBADF` when it is not open
 */
export function statsOf(action: string, name: string, fd: number): Stats {
  checkFd(action, name, fd);
  try {
    return fstatSync(fd);
  } catch (error) {
    throw fdError(action, fd, error);
  }
}

/** @throws TypeError `ERR_INVALID_FD_TYPE` when the fd is of anything else; the errors of {@link statsOf} */
export function checkSocketFd(action: string, name: string, fd: number): void {
  const stats = statsOf(action, name, fd);
  if (!stats.isSocket()) throw wrongFd(action, fd, kindOf(stats), 'a socket');
}

const NOTHING = new Uint8Array(0);

/**
 * That the fd of a pipe is open for what it is wanted for: reading or writing nothing asks the system, and does nothing else.
 *
 * @throws TypeError `ERR_INVALID_FD_TYPE` when it is the other end; on Windows that shows later
 */
export function checkPipeEnd(action: string, fd: number, end: 'reading' | 'writing'): void {
  // There a read waits for bytes, however few are asked for.
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
 * A `net.Socket` around an fd, which reads nothing until it is told to. The fd is its own from now on, and closed with it.
 *
 * @param wanted - what the fd must be, for the message
 * @throws TypeError `ERR_INVALID_FD_TYPE` for a socket that carries no stream of bytes; the fd is left alone
 * @throws ConnectionError `ENOTCONN` for a socket that is not connected, as one that listens: Node has closed it then; `EEXIST`
 * for an fd that this process uses already
 */
export function socketOver(action: string, fd: number, wanted: string, options: SocketConstructorOpts): Socket {
  let socket: Socket;
  try {
    socket = new Socket({ ...options, fd });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ERR_INVALID_FD_TYPE') {
      throw wrongFd(action, fd, 'a socket that carries no stream of bytes, such as one of UDP', wanted);
    }
    throw fdError(action, fd, error);
  }
  // It begins to read by itself, and there is no sink yet.
  socket.pause();
  if (isConnected(fd, socket)) return socket;
  socket.on('error', ignore).destroy();
  throw new ConnectionError('ENOTCONN', `${action}: fd ${fd}: socket is not connected`);
}

/** A socket of TCP shows its two ends. Of a Unix socket only the system knows: it takes a write of nothing where it has a peer. */
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

/** An fd of another kind than is wanted. */
export function wrongFd(action: string, fd: number, kind: string, wanted: string): TypeError {
  const message = `${action}: fd ${fd} is ${kind}, and must be ${wanted}`;
  return coded(new TypeError(message), 'ERR_INVALID_FD_TYPE');
}

/** What a file is, as messages name it. */
export function kindOf(
  stats: Pick<
    Stats,
    'isFile' | 'isDirectory' | 'isBlockDevice' | 'isCharacterDevice' | 'isFIFO' | 'isSocket' | 'isSymbolicLink'
  >,
): string {
  if (stats.isFile()) return 'a regular file';
  if (stats.isDirectory()) return 'a directory';
  if (stats.isBlockDevice()) return 'a block device';
  if (stats.isCharacterDevice()) return 'a character device';
  if (stats.isFIFO()) return 'a pipe';
  if (stats.isSocket()) return 'a socket';
  if (stats.isSymbolicLink()) return 'a symbolic link';
  return 'of another kind';
}
