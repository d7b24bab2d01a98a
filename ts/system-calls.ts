/** System calls that Node does not have, from the addon. Without a binary there are none. */
import { addon } from './buffer/engine.js';
import type { Addon } from './buffer/native.js';

/** `lseek`: sets where the next read of a file begins; null where there is no binary. Throws an error with the code of the system. */
export const seek = addon === null ? null : seekWith(addon);

function seekWith(binary: Addon): (fd: number, position: number) => void {
  return (fd, position) => binary.seek(fd, position);
}

/**
 * How many bytes written to a socket the kernel of this machine has not got rid of: over TCP, those that the peer has not acknowledged.
 * Null where that cannot be asked: only Linux can, with the binary.
 */
export function unsentBytes(fd: number): number | null {
  if (addon === null || process.platform !== 'linux') return null;
  try {
    return addon.unsent(fd);
  } catch {
    // A descriptor of another kind.
    return null;
  }
}
