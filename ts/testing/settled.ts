/** Waits until nothing happens in memory any more. */
import { memoryIsBusy } from '../transports/memory.js';

/**
 * Waits until nothing is on its way in any `streampair` of this thread: every byte, end and close that can arrive has arrived, and the
 * program has reacted to it. A test can then say what has not happened, such as that a call still waits.
 *
 * ```ts
 * const [client, peer] = streampair();
 * void client.write('half a li');
 * await settled();
 * console.log(peer.buffered); // 9
 * ```
 *
 * It does not wait for timers, files, sockets or child processes. It never resolves while two ends answer each other without end.
 */
export async function settled(): Promise<void> {
  // Twice, because what has arrived may cause more in the turn after.
  for (let quiet = 0; quiet < 2; quiet = memoryIsBusy() ? 0 : quiet + 1) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}
