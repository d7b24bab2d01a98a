/**
 * Frames of known length: with a length field before the payload, or all of one size.
 *
 *     +--------------+---------------+-----------------------------------+
 *     | offset bytes | length field  | value + adjust bytes              |
 *     +--------------+---------------+-----------------------------------+
 *     |<-- header ------------------>|
 *     |<-- frame ------------------------------------------------------->|
 *
 * `measure` reads one header. `crates/ring/src/lengths.rs` does the same in Rust: both must agree on every byte.
 *
 * To add a type of field: here `LENGTH_TYPES`, `WIDTHS` and the two directions, `measure` and `encode`; in Rust `LengthField`, in the same
 * order. The contract in `__test__/buffer/lengths.test.ts` then runs on both.
 */

/** The type of a length field: an unsigned integer, big or little endian, or one of variable length. */
export type LengthType =
  | 'uint8'
  | 'uint16be'
  | 'uint16le'
  | 'uint24be'
  | 'uint24le'
  | 'uint32be'
  | 'uint32le'
  | 'uint48be'
  | 'uint48le'
  | 'uint64be'
  | 'uint64le'
  | 'varint'
  | 'quic';

/** All of them, in the order of their numbers in the native engine. */
export const LENGTH_TYPES: readonly LengthType[] = Object.freeze([
  'uint8',
  'uint16be',
  'uint16le',
  'uint24be',
  'uint24le',
  'uint32be',
  'uint32le',
  'uint48be',
  'uint48le',
  'uint64be',
  'uint64le',
  'varint',
  'quic',
]);

/** The bytes of each field; 0 if that depends on the value. */
const WIDTHS: readonly number[] = [1, 2, 2, 3, 3, 4, 4, 6, 6, 8, 8, 0, 0];

const VARINT = LENGTH_TYPES.indexOf('varint');
/** The number that stands for no field: each frame is `adjust` bytes long. */
const NO_FIELD = LENGTH_TYPES.length;

/** The fields whose first byte is the least significant. */
const LITTLE_ENDIAN: ReadonlySet<number> = new Set([2, 4, 6, 8, 10]);

/** The result of {@link Lengths.measure} while the header is incomplete. */
export const INCOMPLETE = 0;
/** The result of {@link Lengths.measure} for a header that no frame can have. */
export const MALFORMED = -1;

/** How frames with a length field, or of one size, are measured. Immutable; prepared once for any number of reads. */
export class Lengths {
  /** The number of the field's type: an index in {@link LENGTH_TYPES}, or the length of that list if there is no field. */
  readonly field: number;
  /** The bytes of the field; 0 if that depends on its value. */
  readonly width: number;
  /** The counterpart in the native engine, created when it is first needed. */
  native: unknown = undefined;

  private constructor(
    type: LengthType | null,
    /** Bytes before the field. */
    readonly offset: number,
    /** The number to add to the value of the field to get the number of bytes after it. */
    readonly adjust: number,
    /** The least length of a frame, in addition to the rule that it is not shorter than its header: the bytes that `skip` omits. */
    readonly least: number,
    /** The most bytes of a `varint`. */
    readonly maxLengthBytes: number,
  ) {
    this.field = type === null ? NO_FIELD : LENGTH_TYPES.indexOf(type);
    this.width = WIDTHS[this.field] ?? 0;
  }

  /** Frames with a length field. All arguments are checked by the caller. */
  static of(type: LengthType, offset: number, adjust: number, least: number, maxLengthBytes: number): Lengths {
    return new Lengths(type, offset, adjust, least, maxLengthBytes);
  }

  /** Frames of `size` bytes each. */
  static ofSize(size: number): Lengths {
    return new Lengths(null, 0, size, 0, 0);
  }

  /** The largest value that the field can hold and {@link measure} accepts. */
  get mostValue(): number {
    const bits = this.width > 0 ? 8 * this.width : this.field === VARINT ? 7 * this.maxLengthBytes : 62;
    return bits > 52 ? Number.MAX_SAFE_INTEGER : 2 ** bits - 1;
  }

  /** The field with this value, an integer from 0 to {@link mostValue}, in as few bytes as its type allows. */
  encode(value: number): Uint8Array {
    if (this.width > 0) return encodeFixed(value, this.width, LITTLE_ENDIAN.has(this.field));
    if (this.field === VARINT) {
      const bytes: number[] = [];
      let rest = value;
      for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
      bytes.push(rest);
      return Uint8Array.from(bytes);
    }
    // The first two bits are the binary logarithm of the width.
    const log = value < 2 ** 6 ? 0 : value < 2 ** 14 ? 1 : value < 2 ** 30 ? 2 : 3;
    const bytes = encodeFixed(value, 1 << log, false);
    bytes[0]! |= log << 6;
    return bytes;
  }

  /** How many bytes are enough to measure any frame. */
  get longestHeader(): number {
    if (this.field === NO_FIELD) return 0;
    return this.offset + (this.width || (this.field === VARINT ? this.maxLengthBytes : 8));
  }

  /** The size of the header (`offset` bytes and the field) of the frame at `start`, which {@link measure} has measured. */
  headerLength(bytes: Uint8Array, start: number): number {
    if (this.width > 0 || this.field === NO_FIELD) return this.offset + this.width;
    let at = start + this.offset;
    if (this.field !== VARINT) return this.offset + (1 << (bytes[at]! >> 6));
    while (bytes[at]! >= 0x80 && at - start < this.offset + this.maxLengthBytes - 1) at++;
    return at + 1 - start;
  }

  /**
   * The length of the frame that begins at `start`, including its header. The bytes before `end` have arrived. The result is
   * {@link INCOMPLETE} until the header is complete, and {@link MALFORMED} for a frame shorter than its header or than `least`, for a length
   * above 2 ** 53 - 1, and for a varint of more bytes than allowed.
   */
  measure(bytes: Uint8Array, start: number, end: number): number {
    const at = start + this.offset;
    let { width } = this;
    let value = 0;
    if (width > 0) {
      if (end - at < width) return INCOMPLETE;
      value = fixed(this.field, bytes, at);
    } else if (this.field === VARINT) {
      let unit = 1;
      for (let byte = 0x80; byte >= 0x80; unit *= 128) {
        if (width === this.maxLengthBytes) return MALFORMED;
        if (at + width >= end) return INCOMPLETE;
        byte = bytes[at + width++]!;
        value += (byte & 0x7f) * unit;
      }
    } else if (this.field !== NO_FIELD) {
      if (at >= end) return INCOMPLETE;
      width = 1 << (bytes[at]! >> 6);
      if (end - at < width) return INCOMPLETE;
      value = bytes[at]! & 0x3f;
      for (let i = 1; i < width; i++) value = value * 256 + bytes[at + i]!;
    }
    if (value > Number.MAX_SAFE_INTEGER) return MALFORMED;
    const header = this.offset + width;
    // The value is added last, so that rounding does not change the result of a comparison.
    const length = header + this.adjust + value;
    return length < header || length < this.least || length > Number.MAX_SAFE_INTEGER ? MALFORMED : length;
  }
}

/**
 * The reason why {@link Lengths.measure} found a header malformed, for error messages.
 *
 * @param frame - the bytes of the frame that have arrived
 */
export function malformation(lengths: Lengths, frame: Uint8Array): string {
  const { field, offset, adjust, least, maxLengthBytes } = lengths;
  const type = LENGTH_TYPES[field] ?? 'uint8';
  const unadjusted = Lengths.of(type, offset, 0, 0, maxLengthBytes).measure(frame, 0, frame.length);
  if (unadjusted === MALFORMED) {
    let last = offset;
    while (type === 'varint' && last < offset + maxLengthBytes && frame[last]! >= 0x80) last++;
    if (last === offset + maxLengthBytes) return `its varint is longer than ${maxLengthBytes} bytes`;
    return `its length is above ${Number.MAX_SAFE_INTEGER}`;
  }
  const length = unadjusted + adjust;
  if (length > Number.MAX_SAFE_INTEGER) return `its length is above ${Number.MAX_SAFE_INTEGER}`;
  const header = lengths.headerLength(frame, 0);
  const whole = `its length field gives a frame of ${length} bytes`;
  return length < header
    ? `${whole}, and the header alone has ${header}`
    : `${whole}, of which skip leaves out ${least}`;
}

/** The value of a field of fixed width. */
function fixed(field: number, b: Uint8Array, at: number): number {
  switch (field) {
    case 0:
      return b[at]!;
    case 1:
      return b[at]! * 0x100 + b[at + 1]!;
    case 2:
      return b[at]! + b[at + 1]! * 0x100;
    case 3:
      return b[at]! * 0x10000 + b[at + 1]! * 0x100 + b[at + 2]!;
    case 4:
      return b[at]! + b[at + 1]! * 0x100 + b[at + 2]! * 0x10000;
    case 5:
      return wordBe(b, at);
    case 6:
      return wordLe(b, at);
    case 7:
      return (b[at]! * 0x100 + b[at + 1]!) * 2 ** 32 + wordBe(b, at + 2);
    case 8:
      return wordLe(b, at) + (b[at + 4]! + b[at + 5]! * 0x100) * 2 ** 32;
    case 9:
      return wordBe(b, at) * 2 ** 32 + wordBe(b, at + 4);
    default:
      return wordLe(b, at) + wordLe(b, at + 4) * 2 ** 32;
  }
}

function wordBe(b: Uint8Array, at: number): number {
  return b[at]! * 0x1000000 + ((b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!);
}

function wordLe(b: Uint8Array, at: number): number {
  return ((b[at]! | (b[at + 1]! << 8) | (b[at + 2]! << 16)) >>> 0) + b[at + 3]! * 0x1000000;
}

function encodeFixed(value: number, width: number, littleEndian: boolean): Uint8Array {
  const bytes = new Uint8Array(width);
  let rest = value;
  for (let i = 0; i < width; i++) {
    bytes[littleEndian ? i : width - 1 - i] = rest % 0x100;
    rest = Math.floor(rest / 0x100);
  }
  return bytes;
}
