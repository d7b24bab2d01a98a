/**
 * How a stream is divided into frames: the value that a caller passes ({@link Framing}), checked and prepared for any number of reads
 * and writes.
 *
 * Separators are prepared in `separator.ts`, length fields in `lengths.ts`. The engine lists the frames of both. If the caller's own
 * function measures the frames, the reader calls it.
 */
import { inspect, types } from 'node:util';
import { checkInteger } from '../checks.js';
import { coded, invalidType, outOfRange } from '../errors.js';
import { LENGTH_TYPES, Lengths, type LengthType } from './lengths.js';
import { MAX_CAPACITY } from './ring.js';
import { Separator, remember, type Separators } from './separator.js';

/**
 * Frames with a length field before the payload. A frame consists of `offset` bytes, the field, and as many bytes as the value of the
 * field plus `adjust`.
 *
 * ```ts
 * const kafka: LengthFraming = { length: 'uint32be' };
 * const postgres: LengthFraming = { length: 'uint32be', offset: 1, adjust: -4 }; // the field counts itself
 * const mqtt: LengthFraming = { length: 'varint', offset: 1, maxLengthBytes: 4 };
 * ```
 */
export interface LengthFraming {
  /** The type of the length field. `varint` is LEB128, as in protobuf and MQTT; `quic` is the variable-length integer of RFC 9000. */
  readonly length: LengthType;
  /** Bytes before the field. Default 0. */
  readonly offset?: number | undefined;
  /** The number to add to the value of the field to get the number of bytes after it. Default 0. */
  readonly adjust?: number | undefined;
  /** How many bytes at the start of each frame reads omit; `'header'`: `offset` bytes and the field. Default 0. */
  readonly skip?: number | 'header' | undefined;
  /** The most bytes of a `varint`, 1 to 10. Default 10. */
  readonly maxLengthBytes?: number | undefined;
  /** The longest frame in bytes, including its header. Default: the limit of the stream. No frame has more than 2147483648 bytes. */
  readonly limit?: number | undefined;
}

/** Frames that all have the same size. */
export interface SizeFraming {
  /** The size of each frame in bytes, 1 to 2147483648. The limit of the stream does not apply. */
  readonly size: number;
}

/** Frames that the caller's own function measures. */
export interface CustomFraming {
  /**
   * Returns the length of the frame that begins at `bytes[start]`, or 0 if more bytes are needed to determine it. The bytes before
   * `bytes[end]` have arrived (`start < end`). If the function throws, the read rejects with that error, and nothing is consumed.
   *
   * It is called again when more bytes have arrived, but no longer once it has returned the length of a frame, unless another kind of read
   * comes in between. It must not keep `bytes`, and cannot read
   * from the stream: such a read fails with `ERR_CONCURRENT_READ`.
   */
  frameLength(bytes: Uint8Array, start: number, end: number): number;
  /** The longest frame in bytes. Default: the limit of the stream. No frame has more than 2147483648 bytes. */
  readonly limit?: number | undefined;
}

/** How a stream is divided into frames. */
export type Framing = Separators | LengthFraming | SizeFraming | CustomFraming;

/** The caller's own function that measures frames, called as a method of its framing. */
export class CustomLengths {
  constructor(readonly measure: (bytes: Uint8Array, start: number, end: number) => number) {}
}

/** Frames that are measured instead of separated: the framing, checked and prepared. */
export class MeasuredFraming {
  constructor(
    readonly lengths: Lengths | CustomLengths,
    /** How many bytes at the start of each frame reads omit; -1: its header. */
    readonly skip: number,
    /** The longest frame; undefined: the limit of the stream. */
    readonly limit: number | undefined,
  ) {}

  /** Where the frame from `start` begins without the bytes that reads omit. */
  skipped(bytes: Uint8Array, start: number): number {
    if (this.skip >= 0) return start + this.skip;
    return this.lengths instanceof Lengths ? start + this.lengths.headerLength(bytes, start) : start;
  }
}

/** A framing, checked and prepared. The same value always gives the same object. */
export type PreparedFraming = Separator | MeasuredFraming;

const EXPECTED = 'a separator (a string, a Uint8Array or an array of those), { length }, { size } or { frameLength }';

/** Framings by the object that describes them. Later changes to that object have no effect. */
const prepared = new WeakMap<object, MeasuredFraming>();
/** The same by content, because many callers create the object anew for each call. */
const byContent = new Map<string, MeasuredFraming>();

// The value of the previous call: most programs use one framing for all their frames.
let lastValue: object | undefined;
let lastFraming: MeasuredFraming | undefined;

/**
 * The framing that `value` describes.
 *
 * @param action - the method that error messages name
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` or `ERR_SEPARATOR_EMPTY`
 */
export function prepareFraming(value: Framing, action: string): PreparedFraming {
  if (lastFraming !== undefined && value === lastValue) return lastFraming;
  if (typeof value !== 'object' || types.isUint8Array(value) || Array.isArray(value)) {
    if (typeof value !== 'string' && typeof value !== 'object') throw invalidType(action, 'framing', EXPECTED, value);
    return Separator.from(value as Separators, action);
  }
  if ((value as unknown) === null) throw invalidType(action, 'framing', EXPECTED, value);
  let framing = prepared.get(value);
  if (framing === undefined) {
    framing = measured(value as LengthFraming | SizeFraming | CustomFraming, action);
    prepared.set(value, framing);
  }
  lastValue = value;
  lastFraming = framing;
  return framing;
}

function measured(value: LengthFraming | SizeFraming | CustomFraming, action: string): MeasuredFraming {
  const { length, size, frameLength } = value as unknown as Record<string, unknown>;
  const kinds = [length, size, frameLength].filter((kind) => kind !== undefined);
  if (kinds.length > 1) {
    const message = `${action}: framing must have one of length, size and frameLength, not ${kinds.length} of them`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
  }
  if (length !== undefined) return byLength(value as LengthFraming, action);
  if (size !== undefined) {
    refuseLengthOptions(value, 'size', action);
    return bySize(size as number, action);
  }
  if (frameLength !== undefined) {
    refuseLengthOptions(value, 'frameLength', action);
    return byFunction(value as CustomFraming, frameLength, action);
  }
  throw invalidType(action, 'framing', EXPECTED, value);
}

/** Refuses options that would have no effect: the compiler allows them, because another kind of framing has them. */
function refuseLengthOptions(value: object, kind: string, action: string): void {
  for (const name of ['offset', 'adjust', 'skip', 'maxLengthBytes']) {
    const option = (value as Record<string, unknown>)[name] ?? 0;
    if (option === 0) continue;
    const message = `${action}: framing.${name} is for frames with a length field, not for framing.${kind}: ${inspect(option)}`;
    throw coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
  }
}

function byLength(framing: LengthFraming, action: string): MeasuredFraming {
  const { length, offset = 0, adjust = 0, skip = 0, maxLengthBytes, limit } = framing;
  if (typeof length !== 'string') throw invalidType(action, 'framing.length', 'a string', length);
  if (!LENGTH_TYPES.includes(length)) {
    throw outOfRange(action, 'framing.length', `one of ${LENGTH_TYPES.join(', ')}`, length);
  }
  checkInteger(action, 'framing.offset', offset, 0, MAX_CAPACITY);
  checkInteger(action, 'framing.adjust', adjust, Number.MIN_SAFE_INTEGER);
  checkLimitOf(framing, action);
  if (maxLengthBytes !== undefined) {
    checkInteger(action, 'framing.maxLengthBytes', maxLengthBytes, 1, 10);
    if (length !== 'varint') {
      const message = `${action}: framing.maxLengthBytes is for the length type varint alone, not for ${length}`;
      throw coded(new TypeError(message), 'ERR_INVALID_ARG_VALUE');
    }
  }
  if (skip !== 'header') {
    const expected = `'header' or an integer from 0 to ${MAX_CAPACITY}`;
    checkInteger(action, 'framing.skip', skip, 0, MAX_CAPACITY, expected);
    if (limit !== undefined && skip > limit) {
      throw outOfRange(action, 'framing.skip', `an integer from 0 to ${limit} (framing.limit)`, skip);
    }
  }
  const key = `${length},${offset},${adjust},${skip},${maxLengthBytes},${limit}`;
  return remembered(key, () => {
    const lengths = Lengths.of(length, offset, adjust, skip === 'header' ? 0 : skip, maxLengthBytes ?? 10);
    return new MeasuredFraming(lengths, skip === 'header' ? -1 : skip, limit);
  });
}

function bySize(size: number, action: string): MeasuredFraming {
  checkInteger(action, 'framing.size', size, 1, MAX_CAPACITY);
  return remembered(`${size}`, () => new MeasuredFraming(Lengths.ofSize(size), 0, size));
}

/** @param kind - the `frameLength` of the framing, which may be anything */
function byFunction(framing: CustomFraming, kind: unknown, action: string): MeasuredFraming {
  const { limit } = framing;
  if (typeof kind !== 'function') {
    throw invalidType(action, 'framing.frameLength', 'a function', kind);
  }
  checkLimitOf(framing, action);
  // A method of the framing, which later changes to the framing do not replace.
  const measure = (kind as CustomFraming['frameLength']).bind(framing);
  const lengths = new CustomLengths(measure);
  return new MeasuredFraming(lengths, 0, limit);
}

function checkLimitOf({ limit }: { readonly limit?: number | undefined }, action: string): void {
  if (limit === undefined) return;
  checkInteger(action, 'framing.limit', limit, 1, Number.MAX_SAFE_INTEGER, 'a positive integer');
}

function remembered(key: string, make: () => MeasuredFraming): MeasuredFraming {
  let framing = byContent.get(key);
  if (framing === undefined) {
    framing = make();
    remember(byContent, key, framing);
  }
  return framing;
}
