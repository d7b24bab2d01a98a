/** File descriptors that somebody else has opened: what they are, and the errors that say so. */
import { fstatSync, type Stats } from 'node:fs';
import { getSystemErrorMap } from 'node:util';
import { ConnectionError, outOfRange } from '../errors.js';

/** The largest fd of any system. */
const MAX_FD = 0x7fffffff;

/**
 * What an fd is.
 *
 * @throws RangeError `ERR_OUT_OF_RANGE` when the number is no fd; ConnectionError `EBADF` when it is not open
 */
export function statsOf(action: string, name: string, fd: number): Stats {
  if (!Number.isInteger(fd) || fd < 0 || fd > MAX_FD) {
    throw outOfRange(action, name, `an fd, an integer from 0 to ${MAX_FD}`, fd);
  }
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

/** A failure of the system. */
export function fdError(action: string, fd: number, error: unknown): ConnectionError {
  const { code = 'EBADF', errno = 0, message } = error as NodeJS.ErrnoException;
  const words = getSystemErrorMap().get(errno)?.[1] ?? message;
  return new ConnectionError(code, `${action}: fd ${fd}: ${words}`, { cause: error });
}

/** An fd of another kind than is wanted. */
export function wrongFd(action: string, fd: number, kind: string, wanted: string): TypeError {
  const message = `${action}: fd ${fd} is ${kind}, and must be ${wanted}`;
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_FD_TYPE' });
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
