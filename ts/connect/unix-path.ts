/** The names of Unix sockets: paths, abstract names on Linux, and named pipes on Windows. */
import { fileURLToPath } from 'node:url';
import { coded, invalidType, outOfRange, showUnixPath } from '../errors.js';

/** The maximum length of a path, in bytes: `sun_path` without its terminating zero. Node silently truncates longer paths. */
const MAX_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

/**
 * Checks a path and returns it in the form that Node takes.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE` if it is neither a string nor a `file:` URL
 * @throws RangeError `ERR_OUT_OF_RANGE` if it is empty, contains a zero byte, or is longer than the system allows
 * @throws TypeError `ERR_FEATURE_UNAVAILABLE_ON_PLATFORM` for an abstract name (`\0name`) on a system that does not support it
 */
export function checkUnixPath(action: string, value: unknown): string {
  const path = value instanceof URL ? fileURLToPath(value) : value;
  if (typeof path !== 'string') throw invalidType(action, 'path', 'a string or a file: URL', value);
  const abstract = path.startsWith('\0');
  if (path === '' || path === '\0' || path.includes('\0', 1)) {
    throw outOfRange(action, 'path', 'a non-empty path without zero bytes', path);
  }
  if (abstract && process.platform !== 'linux') {
    const message = `${action}: path ${showUnixPath(path)} is an abstract name, which only Linux has`;
    throw coded(new TypeError(message), 'ERR_FEATURE_UNAVAILABLE_ON_PLATFORM');
  }
  if (process.platform === 'win32') return path;
  const size = Buffer.byteLength(path);
  if (size > MAX_PATH_BYTES) {
    const message = `${action}: path must be at most ${MAX_PATH_BYTES} bytes long, not ${size}: ${showUnixPath(path)}`;
    throw coded(new RangeError(message), 'ERR_OUT_OF_RANGE');
  }
  return path;
}
