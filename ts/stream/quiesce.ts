/**
 * Bringing the use of a connection to a stop, before its Node stream gets another user:
 *
 *     lock      no read can start; a position in the order of writes is reserved: later writes are not sent
 *     flush     wait until the kernel has accepted everything that was written before
 */
import { unlessAborted } from '../abort.js';
import { ConnectionError } from '../errors.js';
import type { ReaderIntake } from '../reader/intake.js';
import type { DuplexTransport } from '../transports/duplex.js';
import type { Reservation } from '../writer/reservation.js';

/** The parts of a stream that are brought to a stop. */
export interface Quiescent {
  readonly intake: ReaderIntake;
  readonly transport: DuplexTransport;
  /** See `WriterOutlet.reserve`. */
  reserve(action: string): Reservation;
  isClosing(): boolean;
}

/**
 * If it fails or is aborted, the stream is as before. Otherwise reads stay locked, and writes stay blocked by the reservation.
 *
 * @param refusal - why the caller cannot go on, or null; asked before and after the wait, and returned
 */
export async function quiesce<R>(
  stream: Quiescent,
  action: string,
  signal: AbortSignal | undefined,
  refusal: () => R | null,
): Promise<{ readonly reservation: Reservation; readonly refusal: R | null }> {
  const { intake } = stream;
  intake.lockReads(action);
  let reservation: Reservation | null = null;
  try {
    stream.transport.pauseReading();
    // Even if the caller cannot go on, later writes must never be sent as before.
    reservation = stream.reserve(action);
    const early = refusal();
    if (early !== null) return { reservation, refusal: early };
    await unlessAborted(signal, reservation.ready);
    signal?.throwIfAborted();
    if (stream.isClosing()) throw new ConnectionError('ECONNRESET', `${action}: the connection is closing`);
    return { reservation, refusal: refusal() };
  } catch (error) {
    reservation?.end();
    intake.unlockReads();
    throw error;
  }
}
