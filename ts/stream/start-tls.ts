/**
 * Upgrading the connection of a stream to TLS.
 *
 *     quiesce   stop the use of the connection, and wait for what was written: later writes are never sent as plaintext
 *     refuse    if unread bytes do not begin a TLS handshake, or reading has ended
 *     handshake over the Node stream, which the plain transport gives up, with the unread bytes put back into it
 *     move      both halves continue over the new transport, and the reservation ends
 *
 * From the handshake on, a failure closes the connection.
 */
import { onAbort } from '../abort.js';
import { ConnectionError, StateError, TimeoutError, count, showUnixPath } from '../errors.js';
import type { Tls } from '../tls/handshake.js';
import type { TlsTransport } from '../tls/transport.js';
import { peerName } from '../transports/transport.js';
import { quiesce, type Quiescent } from './quiesce.js';

const ACTION = 'startTls';

/** Ends the handshake, because the stream is closed, or for the given reason. */
export type GiveUp = (reason?: Error) => void;

/** The parts of a stream that an upgrade needs. */
export interface Upgradable extends Quiescent {
  /** The number of unread bytes. */
  unread(): number;
  /** Whether this side has ended reading, because its server is closing. */
  readingEnded(): boolean;
  /** Sets what closing the stream calls during the handshake; null: nothing. */
  onClose(giveUp: GiveUp | null): void;
  /** Continues over the encrypted transport. */
  move(secured: TlsTransport): void;
  /** The upgrade has failed, and the connection is closed. */
  lose(error: Error): void;
}

/** See `Stream.startTls`. */
export async function startTls(stream: Upgradable, tls: Tls, signal: AbortSignal | undefined): Promise<void> {
  const { reservation, refusal } = await quiesce(stream, ACTION, signal, () => upgradeRefusal(stream));
  await shakeHands(stream, tls, signal, refusal);
  reservation.end();
}

/** Why the connection cannot be upgraded, judging by the bytes received; null if it can. */
function upgradeRefusal(stream: Upgradable): Error | null {
  const { intake, transport } = stream;
  transport.deliver();
  const unread = stream.unread();
  if (unread > 0) {
    const [type, major] = intake.preview(2);
    // The header of a TLS record: a handshake, with a major version of 3, as in every version.
    if (type !== 0x16 || (major ?? 3) !== 3) {
      const message = `${ACTION}: ${count(unread, 'byte')} received before the upgrade and not read`;
      return new StateError('ERR_TLS_PLAINTEXT_PENDING', `${message}, which do not begin a TLS handshake`);
    }
  }
  if (!intake.eof) return null;
  const why = stream.readingEnded() ? 'the server is closing and has ended reading' : 'the peer has ended its side';
  return new ConnectionError('ECONNRESET', `${ACTION}: ${why}`);
}

/** @param refusal - the reason to end the handshake before it begins, or null */
async function shakeHands(
  stream: Upgradable,
  tls: Tls,
  signal: AbortSignal | undefined,
  refusal: Error | null,
): Promise<void> {
  const { intake, transport } = stream;
  const ended = new AbortController();
  const giveUp: GiveUp = (reason) => {
    ended.abort(reason ?? new ConnectionError('ECONNABORTED', `${ACTION}: the stream was closed during the handshake`));
  };
  stream.onClose(giveUp);
  // The EOF as well: after a refusal reads must not end as if the stream had ended well.
  const early = intake.withdraw();
  const raw = transport.release(giveUp);
  if (refusal !== null) ended.abort(refusal);
  else if (early.length > 0) raw.unshift(early);
  const forget = onAbort(signal, () => ended.abort(signal?.reason));
  const peer = peerName(transport);
  let moved = false;
  try {
    const facts = (name: string): unknown => transport.getExtraInfo(name);
    const secured = await tls.handshake({ raw, facts, peer, signal: ended.signal });
    if (ended.signal.aborted) {
      // Aborted between the end of the handshake and this turn.
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

/** What reads and writes reject with after `startTls` has failed with `error`, which may be unrelated to the connection. */
function upgradeLoss(error: unknown, peer: string | null, signal: AbortSignal | undefined): Error {
  const where = peer === null ? '' : ` with ${showUnixPath(peer)}`;
  if (signal?.aborted === true && error === signal.reason) {
    const why = error instanceof TimeoutError ? error.message.replace(/^startTls: /, '') : 'ended by the signal';
    return new ConnectionError('ECONNABORTED', `${ACTION}: TLS handshake${where}: ${why}`, { cause: error });
  }
  if (!(error instanceof StateError)) return error as Error;
  const message = `${ACTION}: upgrade${where} refused: ${error.message.replace(/^startTls: /, '')}`;
  return new ConnectionError('ECONNABORTED', message, { cause: error });
}
