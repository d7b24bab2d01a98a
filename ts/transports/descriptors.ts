/**
 * Whether the process has run out of file descriptors.
 *
 * A server does not hear of it: libuv keeps one descriptor in reserve, accepts with it what waits, and closes that, so that the peers
 * see connections that end at once, and the process sees nothing. But the system gives out the lowest number that is free. So the
 * connection that gets the highest one is the last that there is a descriptor for, and then an `open` fails, too, which is the
 * proof. That is found where the runtime says which descriptor a socket has, on Linux, whose limit can be read.
 *
 * Not found: descriptors that were used up by files or connections of other kinds, so that no connection got the last one.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { ConnectionError, codeOf } from '../errors.js';
import { descriptorOf } from './node-internals.js';

/** How many descriptors the process may have, as it was last read; Infinity where that cannot be known. */
let limit: number | null = null;

/**
 * Looks at a connection that was just accepted.
 *
 * @returns the error to report when it has got the last descriptor, else null
 */
export function lastDescriptor(socket: Socket): ConnectionError | null {
  const fd = descriptorOf(socket);
  if (fd === null || (limit !== null && fd < limit - 1)) return null;
  try {
    // It may have been raised since it was last read.
    limit = readLimit();
    return null;
  } catch (error) {
    if (codeOf(error) !== 'EMFILE') {
      // The permission model of Node forbids to read it.
      limit = Infinity;
      return null;
    }
    const last = limit === null ? 'the last file descriptor' : `the last of ${limit} file descriptors`;
    const message = `accept: this connection took ${last}, and the next ones are closed as they come in`;
    return new ConnectionError('EMFILE', message, { cause: error });
  }
}

/** The soft limit. */
function readLimit(): number {
  if (process.platform !== 'linux') return Infinity;
  const limits = readFileSync('/proc/self/limits', 'latin1');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
}
