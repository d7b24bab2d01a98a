/**
 * Frames that say how long they are: a length field before the payload, or one size for all.
 *
 *     +--------------+---------------+-----------------------------------+
 *     | offset bytes | length field  | value + adjust bytes              |
 *     +--------------+---------------+-----------------------------------+
 *     |<-- header ------------------>|
 *     |<-- frame ------------------------------------------------------->|
 *
 * `measure` reads one header. The Rust twin is `crates/ring/src/lengths.rs`: both must agree on every byte.
 */

/** The types of length fields, in the order of their numbers in the native engine. */
export const LENGTH_TYPES = Object.freeze([
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
] as const);

export type LengthType = (typeof LENGTH_TYPES)[number];

/** The bytes of each field; 0 where that depends on the value. */
const WIDTHS: readonly number[] = [1, 2, 2, 3, 3, 4, 4, 6, 6, 8, 8, 0, 0];

const VARINT = LENGTH_TYPES.indexOf('varint');
/** The number of no field at all: the frame is `adjust` bytes long. */
const NO_FIELD = LENGTH_TYPES.length;

/** What {@link Lengths.measure} answers while the header is incomplete. */
export const INCOMPLETE = 0;
/** What {@link Lengths.measure} answers for a header that no frame can have. */
export const MALFORMED = -1;

/** How frames with a length field, or of one size, are measured. Immutable; prepared once for any number of reads. */
export class Lengths {
  /** The number of the field's type: an index in {@link LENGTH_TYPES}, or one more where there is no field. */
  readonly field: number;
  /** The bytes of the field; 0 where that depends on its value. */
  readonly width: number;
  /** The counterpart in the native engine, made when it is first needed. */
  native: unknown = undefined;

  private constructor(
    type: LengthType | null,
    /** Bytes before the field. */
    readonly offset: number,
    /** What is added to the value of the field to get the number of bytes after it. */
    readonly adjust: number,
    /** The fewest bytes that a frame may have, besides its header: those that `skip` leaves out. */
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

  /** Bytes that are enough to measure any frame. */
  get longestHeader(): number {
    if (this.field === NO_FIELD) return 0;
    return this.offset + (this.width || (this.field === VARINT ? this.maxLengthBytes : 8));
  }

  /** The bytes of the header, offset and field, of the frame at `start`, which {@link measure} has measured. */
  headerLength(bytes: Uint8Array, start: number): number {
    if (this.width > 0 || this.field === NO_FIELD) return this.offset + this.width;
    let at = start + this.offset;
    if (this.field !== VARINT) return this.offset + (1 << (bytes[at]! >> 6));
    while (bytes[at]! >= 0x80) at++;
    return at + 1 - start;
  }

  /**
   * The length of the frame that begins at `start`, header included, of which the bytes up to `end` have arrived: {@link INCOMPLETE} until
   * its header has, {@link MALFORMED} for a frame shorter than its header or than `least`, a length above 2 ** 53 - 1, and a
   * varint of more bytes than allowed.
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
    // In this order no sum is rounded to an integer on the other side of what it is compared with.
    const length = header + this.adjust + value;
    return length < header || length < this.least || length > Number.MAX_SAFE_INTEGER ? MALFORMED : length;
  }
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
