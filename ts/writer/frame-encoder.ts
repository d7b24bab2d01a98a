/** Encodes a payload as a frame: the pieces that `writeframe` sends, in order. */
import { Buffer } from 'node:buffer';
import { isBytes } from '../checks.js';
import { CustomLengths, prepareFraming, type Framing, type MeasuredFraming } from '../buffer/framing.js';
import { LENGTH_TYPES, type Lengths } from '../buffer/lengths.js';
import { Separator } from '../buffer/separator.js';
import { coded, count, invalidType, outOfRange } from '../errors.js';

/** The payload of a frame: bytes, a string (as UTF-8), or a list of these. */
export type Payload = Uint8Array | string | readonly (Uint8Array | string)[];

const ACTION = 'writeframe';

/**
 * Returns the pieces of the frame with this payload.
 *
 * @throws TypeError, RangeError as documented at `writeframe`
 */
export function encodeFrame(payload: Payload, framing: Framing): (Uint8Array | string)[] {
  const prepared = prepareFraming(framing, ACTION);
  const pieces = checkedPieces(payload);
  if (prepared instanceof Separator) return [...pieces, prepared.sequences[0]!];
  if (prepared.lengths instanceof CustomLengths) {
    const message = `${ACTION}: a framing by frameLength says how frames are read, not how they are written`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
  }
  const parts = pieces.map((piece) => (typeof piece === 'string' ? Buffer.from(piece) : piece));
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  if (prepared.lengths.field === LENGTH_TYPES.length) {
    checkSize(size, prepared.lengths.adjust);
    return parts;
  }
  return withField(parts, size, prepared, prepared.lengths);
}

/** Inserts the length field into the payload, after its first `offset` bytes. */
function withField(parts: Uint8Array[], size: number, framing: MeasuredFraming, lengths: Lengths): Uint8Array[] {
  const { offset, adjust, least } = lengths;
  if (size < offset) throw unfit(size, `which has fewer than the ${count(offset, 'byte')} before the length field`);
  const value = size - offset - adjust;
  const { mostValue } = lengths;
  const type = LENGTH_TYPES[lengths.field]!;
  if (value < 0 || value > mostValue)
    throw unfit(size, `whose length of ${value} does not fit ${type}, 0 to ${mostValue}`);
  const field = lengths.encode(value);
  const whole = size + field.length;
  const { limit } = framing;
  if (limit !== undefined && whole > limit)
    throw unfit(size, `whose frame of ${whole} is over framing.limit, ${limit}`);
  if (whole < least) throw unfit(size, `whose frame of ${whole} is shorter than framing.skip, ${least}`);
  const pieces: Uint8Array[] = [];
  let before = offset;
  let placed = false;
  for (const part of parts) {
    if (!placed && part.length >= before) {
      if (before > 0) pieces.push(part.subarray(0, before));
      pieces.push(field);
      if (before < part.length) pieces.push(part.subarray(before));
      placed = true;
      continue;
    }
    pieces.push(part);
    before -= part.length;
  }
  if (!placed) pieces.push(field);
  return pieces;
}

function checkSize(size: number, expected: number): void {
  if (size === expected) return;
  throw outOfRange(ACTION, 'payload', `${count(expected, 'byte')} (framing.size)`, size);
}

function unfit(size: number, why: string): RangeError {
  return coded(new RangeError(`${ACTION}: a payload of ${count(size, 'byte')}, ${why}`), 'ERR_OUT_OF_RANGE');
}

function checkedPieces(payload: Payload): readonly (Uint8Array | string)[] {
  if (typeof payload === 'string' || isBytes(payload)) return [payload];
  if (!Array.isArray(payload)) {
    throw invalidType(ACTION, 'payload', 'a string, a Uint8Array or an array of those', payload);
  }
  const pieces = payload as readonly unknown[];
  for (let i = 0; i < pieces.length; i++) {
    const piece = pieces[i];
    if (typeof piece !== 'string' && !isBytes(piece)) {
      throw invalidType(ACTION, `payload[${i}]`, 'a string or a Uint8Array', piece);
    }
  }
  return payload as readonly (Uint8Array | string)[];
}
