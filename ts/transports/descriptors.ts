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
import { descriptorOf } from './accepted.js';

/** How many descriptors the process may have, as it was last read; Infinity where that is not known. */
let limit = Infinity;

/** Reads the limit, while there is a descriptor to read it with: a server does so when it binds. */
export function noteDescriptorLimit(): void {
  try {
    limit = readLimit();
  } catch {
    // The permission model of Node forbids it, or none is left already.
  }
}

/**
 * Looks at a connection that was just accepted.
 *
 * @returns the error to report when it has got the last descriptor, else null
 */
export function lastDescriptor(socket: Socket): ConnectionError | null {
  if (limit === Infinity) return null;
  const fd = descriptorOf(socket);
  if (fd === null || fd < limit - 1) return null;
  try {
    // It may have been raised since, or another thread has given one back.
    limit = readLimit();
    return null;
  } catch (error) {
    if (codeOf(error) !== 'EMFILE') return null;
    const message = `this connection took the last of ${limit} file descriptors, and the next ones are closed as they come in`;
    return new ConnectionError('EMFILE', `accept: ${message}`, { cause: error });
  }
}

/** The soft limit. */
function readLimit(): number {
  if (process.platform !== 'linux') return Infinity;
  const limits = readFileSync('/proc/self/limits', 'latin1');
  return Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? Infinity);
}
