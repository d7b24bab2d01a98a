/** Frames that are refused, because they are over the limit or malformed: the errors, and which read they name. */
import { Buffer } from 'node:buffer';
import { malformation, type Lengths } from '../buffer/lengths.js';
import { limitChannel, publishLimit, type LimitMessage } from '../diagnostics.js';
import { FrameError, LimitOverrunError, StateError, count } from '../errors.js';
import type { ReadKeeper } from '../keeper.js';

/** The reads that return frames. Those that return lines skip a line over the limit; the others leave the frame in the buffer. */
export type FrameAction =
  | 'readline'
  | 'tryReadline'
  | 'lines'
  | 'readuntil'
  | 'tryReaduntil'
  | 'readframe'
  | 'tryReadframe'
  | 'readframes'
  | 'tryReadframes'
  | 'frames';

/** The most bytes of a malformed frame that its error contains. */
const SHOWN_HEADER = 64;

/** Whether the read skips a line over the limit. */
export function skipsOverlong(action: FrameAction): boolean {
  return action === 'readline' || action === 'lines' || action === 'tryReadline';
}

/** The numbers of errors for subscribers of `sluice:limit`, until they are reported. */
const numbers = new WeakMap<LimitOverrunError, Pick<LimitMessage, 'action' | 'limit' | 'size'>>();

function exceeded(
  action: FrameAction,
  message: string,
  consumed: number,
  size: number,
  limit: number,
): LimitOverrunError {
  const error = new LimitOverrunError(message, consumed);
  if (limitChannel.hasSubscribers) numbers.set(error, { action, limit, size });
  return error;
}

/** Reports an error that a read is about to reject with to the subscribers of `sluice:limit`, if it is one of a limit. */
export function reportRefusal(error: unknown, keeper: ReadKeeper | null): void {
  if (!limitChannel.hasSubscribers || !(error instanceof LimitOverrunError)) return;
  const facts = numbers.get(error);
  if (facts === undefined) return;
  numbers.delete(error);
  publishLimit(facts, error, keeper?.transport ?? null);
}

/** A frame whose separator is found, after a body that is too long. */
export function overlong(action: FrameAction, body: number, limit: number): LimitOverrunError {
  const message = `${action}: the separator is found, but the frame of ${count(body, 'byte')} is over the limit of ${limit}`;
  return exceeded(action, message, body, body, limit);
}

/** A frame whose separator has not arrived with more than the limit. `searched`: how many bytes cannot be a part of the separator. */
export function endless(action: FrameAction, buffered: number, searched: number, limit: number): LimitOverrunError {
  const message = `${action}: the separator is not found in ${count(buffered, 'byte')}, which is over the limit of ${limit}`;
  return exceeded(action, message, searched, buffered, limit);
}

/** A frame whose length is over the limit. */
export function overLimit(action: FrameAction, length: number, limit: number): LimitOverrunError {
  const message = `${action}: the frame of ${count(length, 'byte')} is over the limit of ${limit}`;
  return exceeded(action, message, length, length, limit);
}

/** A frame whose length is still unknown after more bytes than the limit. */
export function unmeasurable(action: FrameAction, buffered: number, limit: number): LimitOverrunError {
  const message = `${action}: the frame has no length in ${count(buffered, 'byte')}, which is over the limit of ${limit}`;
  return exceeded(action, message, buffered, buffered, limit);
}

/** A frame whose length field, in `header`, cannot be right. */
export function malformed(action: FrameAction, lengths: Lengths, header: Buffer): FrameError {
  const shown = header.subarray(0, Math.min(lengths.headerLength(header, 0), SHOWN_HEADER));
  return new FrameError(`${action}: the frame is malformed: ${malformation(lengths, header)}`, Buffer.from(shown));
}

/** A frame of which the caller's function has not returned a length. `bytes` begin with the frame. */
export function mismeasured(action: FrameAction, length: unknown, bytes: Uint8Array): FrameError {
  const answer =
    typeof length === 'number' || length === undefined ? String(length) : `a value of type ${typeof length}`;
  return new FrameError(
    `${action}: frameLength must return an integer of 0 or more, not ${answer}`,
    Buffer.from(bytes.subarray(0, SHOWN_HEADER)),
  );
}

/** A read that the caller's function has started while it measures a frame for `action`. */
export function measuring(action: FrameAction): StateError {
  return new StateError(
    'ERR_CONCURRENT_READ',
    `frameLength: it cannot read from the stream that it measures a frame of (${action})`,
  );
}
