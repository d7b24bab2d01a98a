/**
 * Upgrading the connection of a stream to TLS.
 *
 *     hold      no read begins; a place in the order of writes is reserved: what is written from now on is never sent as plaintext
 *     flush     until all that was written before is with the kernel
 *     refuse    unread bytes that do not begin a TLS handshake, a peer that has ended its side
 *     handshake over the stream below, which the plain transport gives up, with the unread bytes put back into it
 *     move      both halves go on over the new transport, and the place is released
 *
 * From the handshake on, a failure closes the connection.
 */
import { onAbort, unlessAborted } from '../abort.js';
import { ConnectionError, StateError, count, showUnixPath } from '../errors.js';
import type { ReaderIntake } from '../reader/intake.js';
import type { Tls } from '../tls/handshake.js';
import type { TlsTransport } from '../tls/transport.js';
import type { DuplexTransport } from '../transports/duplex.js';
import { peerName } from '../transports/transport.js';
import type { Reservation } from '../writer/reservation.js';

const ACTION = 'startTls';

/** The stream, as far as an upgrade changes it. */
export interface Upgradable {
  readonly intake: ReaderIntake;
  /** How many received bytes have not been read. */
  unread(): number;
  /** The plain transport. */
  readonly transport: DuplexTransport;
  /** Takes a place in the order of what is written. */
  reserve(action: string): Reservation;
  isClosing(): boolean;
  /** Whether the peer has ended its side. */
  peerEnded(): boolean;
  /** What closing the stream calls while the handshake is under way; null: nothing. */
  onClose(giveUp: (() => void) | null): void;
  /** The end of the peer is withdrawn together with the bytes before it. */
  withdrawEnd(): void;
  /** Goes on over the encrypted transport. */
  move(secured: TlsTransport): void;
  /** The upgrade has failed, and the connection is closed. */
  lose(error: Error): void;
}

/** See `Stream.startTls`. */
export async function startTls(stream: Upgradable, tls: Tls, signal: AbortSignal | undefined): Promise<void> {
  const { intake, transport } = stream;
  intake.lockReads(ACTION);
  let place: Reservation | null = null;
  let refusal: Error | null;
  try {
    transport.pauseReading();
    // Also for an upgrade that is refused: what is written from now on must never go out as plaintext.
    place = stream.reserve(ACTION);
    refusal = upgradeRefusal(stream);
    if (refusal === null) {
      await unlessAborted(signal, place.ready);
      signal?.throwIfAborted();
      if (stream.isClosing()) throw new ConnectionError('ECONNRESET', `${ACTION}: the connection is closing`);
      refusal = upgradeRefusal(stream);
    }
  } catch (error) {
    place?.release();
    intake.unlockReads();
    throw error;
  }
  await shakeHands(stream, tls, signal, refusal);
  place.release();
}

/** Why the connection cannot be upgraded, given what has been received on it; null where it can. */
function upgradeRefusal(stream: Upgradable): Error | null {
  const { intake, transport } = stream;
  transport.deliver();
  const unread = stream.unread();
  if (unread > 0) {
    const [type, major] = intake.preview(2);
    // The head of a TLS record: a handshake, of a version that begins with 3, as all do.
    if (type !== 0x16 || (major ?? 3) !== 3) {
      const message = `${ACTION}: ${count(unread, 'byte')} received before the upgrade and not read`;
      return new StateError('ERR_TLS_PLAINTEXT_PENDING', `${message}, which do not begin a TLS handshake`);
    }
  }
  return stream.peerEnded() ? new ConnectionError('ECONNRESET', `${ACTION}: the peer has ended its side`) : null;
}

/** @param refusal - a reason to end the handshake before it begins */
async function shakeHands(
  stream: Upgradable,
  tls: Tls,
  signal: AbortSignal | undefined,
  refusal: Error | null,
): Promise<void> {
  const { intake, transport } = stream;
  const ended = new AbortController();
  const giveUp = (): void => {
    ended.abort(new ConnectionError('ECONNABORTED', `${ACTION}: the stream was closed during the handshake`));
  };
  stream.onClose(giveUp);
  const early = intake.withdraw();
  const raw = transport.release(giveUp);
  if (refusal !== null) {
    // Else reads would end as if all had gone well.
    stream.withdrawEnd();
    ended.abort(refusal);
  } else if (early.length > 0) raw.unshift(early);
  const forget = onAbort(signal, () => ended.abort(signal?.reason));
  const peer = peerName(transport);
  let moved = false;
  try {
    const facts = (name: string): unknown => transport.getExtraInfo(name);
    const secured = await tls.handshake({ raw, facts, peer, signal: ended.signal });
    if (ended.signal.aborted) {
      // Between the end of the handshake and this turn.
      secured.abort();
      throw ended.signal.reason;
    }
    moved = true;
    stream.move(secured);
  } catch (error) {
    if (!moved) {
      intake.unlockReads();
      stream.lose(upgradeLoss(error, peer, signal));
    }
    throw error;
  } finally {
    stream.onClose(null);
    forget();
  }
}

/** What reads and writes reject with after `startTls` has failed with `error`, which need not be about a connection. */
function upgradeLoss(error: unknown, peer: string | null, signal: AbortSignal | undefined): Error {
  const where = peer === null ? '' : ` with ${showUnixPath(peer)}`;
  if (signal?.aborted === true && error === signal.reason) {
    return new ConnectionError('ECONNABORTED', `${ACTION}: TLS handshake${where}: ended by the signal`, {
      cause: error,
    });
  }
  if (!(error instanceof StateError)) return error as Error;
  const message = `${ACTION}: upgrade${where} refused: ${error.message.replace(/^startTls: /, '')}`;
  return new ConnectionError('ECONNABORTED', message, { cause: error });
}
