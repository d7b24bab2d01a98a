/**
 * Giving the Node socket of a stream back to the caller.
 *
 *     quiesce  stop the use of the connection, and wait for what was written
 *     release  the transport leaves the socket, with the unread bytes put back into it
 *     leave    for the stream, and for its server, the connection has ended
 */
import type { Duplex } from 'node:stream';
import { ignore } from '../errors.js';
import { quiesce, type Quiescent } from './quiesce.js';

const ACTION = 'detach';

/** The parts of a stream that are needed for this. */
export interface Detachable extends Quiescent {
  /** The connection has ended for the stream. */
  leave(): void;
}

/**
 * See `Stream.detach`.
 *
 * @returns null if the peer has ended its side, so that nothing can be put back into the socket. The stream is then as before.
 */
export async function detach(stream: Detachable, signal: AbortSignal | undefined): Promise<Duplex | null> {
  const { intake, transport } = stream;
  const { reservation } = await quiesce(stream, ACTION, signal, () => null);
  reservation.end();
  if (intake.eof) {
    intake.unlockReads();
    return null;
  }
  const socket = transport.detach(intake.withdraw());
  await unconsumed(socket);
  transport.forget();
  stream.leave();
  return socket;
}

/**
 * Resolves when a stream that was paused is as if nothing had consumed it yet. Otherwise it would stay paused when its new user listens for
 * `'data'`. Only the last listener for `'readable'` resets this, when it leaves.
 */
async function unconsumed(stream: Duplex): Promise<void> {
  stream.on('readable', ignore).off('readable', ignore);
  await new Promise<void>((resolve) => process.nextTick(resolve));
}
