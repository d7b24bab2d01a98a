/** System calls that Node lacks, from the addon. They are not available without a binary. */
import { addon } from './buffer/engine.js';
import type { Addon } from './buffer/native.js';

/** `lseek`: sets the position of the next read of a file. Throws an error with the system's code. Null if there is no binary. */
export const seek = addon === null ? null : seekWith(addon);

function seekWith(binary: Addon): (fd: number, position: number) => void {
  return (fd, position) => binary.seek(fd, position);
}

/**
 * How many bytes that were written to a socket the kernel has not sent yet; for TCP, how many the peer has not acknowledged. Null
 * if this cannot be determined: it needs Linux and the binary.
 */
export function unsentBytes(fd: number): number | null {
  if (addon === null || process.platform !== 'linux') return null;
  try {
    return addon.unsent(fd);
  } catch {
    // The descriptor is not a socket.
    return null;
  }
}
