/**
 * Detects that the process has run out of file descriptors.
 *
 * Node does not report this to a server. libuv keeps one descriptor in reserve, accepts waiting connections with it, and closes them: the
 * peers see connections that end immediately, and the process sees nothing. But the system assigns the lowest free number. So a connection
 * that gets the highest number has taken the last descriptor, and this is certain if an `open` fails, too. It can be detected if the
 * runtime exposes the descriptor of a socket, on Linux, where the limit can be read.
 *
 * It is not detected if files or other connections have used up the descriptors, so that no accepted connection got the last one.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ConnectionError, codeOf } from '../errors.js';
import { descriptorOf } from './node-internals.js';

/** How many descriptors the process may have, as last read; Infinity if unknown, null before it was read. */
let limit: number | null = null;

/**
 * Checks a connection that was just accepted.
 *
 * @returns the error to report if it has taken the last descriptor, else null
 */
export function lastDescriptor(socket: Socket): ConnectionError | null {
  const fd = descriptorOf(socket);
  if (fd === null || (limit !== null && fd < limit - 1)) return null;
  try {
    // Reading it opens a file, which fails if no descriptor is left. And it may have been raised since it was last read.
    limit = readLimit();
    return null;
  } catch (error) {
    if (codeOf(error) !== 'EMFILE') {
      // The permission model of Node does not allow reading it.
      limit = Infinity;
      return null;
    }
    const last = limit === null ? 'the last file descriptor' : `the last of ${limit} file descriptors`;
    const message = `accept: this connection took ${last}, and the next ones are closed as they come in`;
    return new ConnectionError('EMFILE', message, { cause: error });
  }
}

/** Reads the soft limit. */
function readLimit(): number {
  if (process.platform !== 'linux') return Infinity;
  const limits = readFileSync('/proc/self/limits', 'latin1');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
}
