/**
 * Many frames at once, in place: {@link Frames}; and how the strings of frames are decoded.
 *
 * A frame that is awaited costs a promise, and a `Buffer` of its own costs an object. Where that is too much, all complete
 * frames that are buffered are handed out by one call: as positions in memory that still belongs to the reader, or as
 * strings that were decoded in few pieces.
 *
 * Strings. Decoding 8 KiB and cutting lines out of the result costs a fraction of decoding each line, but every line then keeps
 * the whole piece alive: hence pieces of {@link SLAB_BYTES}, as for the `Buffer`s of the reader.
 */
import { Buffer, isAscii } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { checkBoolean } from '../checks.js';
import { StateError, invalidType, outOfRange } from '../errors.js';
import type { Separator } from '../buffer/separator.js';
import { SLAB_BYTES } from '../buffer/slab.js';

const CR = 0x0d;
const NO_BYTES = Buffer.alloc(0);
const NO_ENDS = new Uint32Array(0);

/** What {@link Frames.texts} takes. */
export interface TextsOptions {
  /** Whether the strings end with the separator, as the frames do. Default true. */
  keepEnds?: boolean | undefined;
}

/**
 * All frames that were complete when `readframes` resolved, in the memory of the reader.
 *
 * The memory is borrowed: it is valid until the next read on the stream begins, and every use of a `Frames` after that throws
 * a `StateError` `ERR_FRAMES_EXPIRED`. Nothing watches the `Buffer`s and arrays that it gave out: they must not be used then
 * either, because their bytes change. Copy what is to be kept (`Buffer.from(frame)`, or a string).
 *
 * ```ts
 * for (let frames; (frames = await stream.readframes('\r\n')).length > 0; ) {
 *   const { bytes, ends } = frames;
 *   let start = 0;
 *   for (const end of ends) {
 *     if (bytes[start] === 0x2b) acknowledged++; // '+', where the frame begins
 *     start = end;
 *   }
 * }
 * ```
 */
export class Frames implements Iterable<Buffer> {
  #bytes: Buffer | null;
  #ends: Uint32Array;
  readonly #separator: Separator;

  /**
   * @internal Readers make them.
   * @param bytes - the frames, one behind the other
   * @param ends - where each of them ends
   */
  constructor(separator: Separator, bytes: Buffer = NO_BYTES, ends: Uint32Array = NO_ENDS) {
    this.#separator = separator;
    this.#bytes = bytes;
    this.#ends = ends;
  }

  /** How many frames there are; 0 at EOF. */
  get length(): number {
    this.#borrowed('length');
    return this.#ends.length;
  }

  /** All frames, one behind the other, each with its separator. */
  get bytes(): Buffer {
    return this.#borrowed('bytes');
  }

  /** Where each frame ends in {@link bytes}, just behind its separator, in ascending order; each begins where the last ended. */
  get ends(): Uint32Array {
    this.#borrowed('ends');
    return this.#ends;
  }

  /**
   * Frame `index` with its separator, in place; negative numbers count from the last one. Undefined where there is none, as
   * with `Array.prototype.at`.
   */
  at(index: number): Buffer | undefined {
    const bytes = this.#borrowed('at');
    const ends = this.#ends;
    const i = Math.trunc(index) || 0;
    const at = i < 0 ? ends.length + i : i;
    const end = ends[at];
    return end === undefined ? undefined : bytes.subarray(at === 0 ? 0 : ends[at - 1], end);
  }

  /** The frames with their separators, in place. */
  *[Symbol.iterator](): IterableIterator<Buffer> {
    let start = 0;
    for (let i = 0; ; i++) {
      // Looked at anew each time: the loop may have read on meanwhile.
      const bytes = this.#borrowed('for of');
      const end = this.#ends[i];
      if (end === undefined) return;
      yield bytes.subarray(start, end);
      start = end;
    }
  }

  /**
   * The frames as strings, which are yours to keep. Each is what `at(i).toString(encoding)` gives; where all frames are ASCII, or
   * the encoding has one character for a byte, many are decoded at once.
   *
   * @param encoding - as for `buffer.toString`
   * @param options - `keepEnds`: false leaves the separators out
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an encoding that Node does not know
   */
  texts(encoding: BufferEncoding = 'utf8', options: TextsOptions = {}): string[] {
    const bytes = this.#borrowed('texts');
    checkEncoding('texts', encoding, Buffer.isEncoding(encoding), 'an encoding that Buffer knows');
    if (typeof options !== 'object' || (options as unknown) === null) {
      throw invalidType('texts', 'options', 'an object', options);
    }
    const { keepEnds = true } = options;
    checkBoolean('texts', 'keepEnds', keepEnds);
    return texts(bytes, this.#ends, encoding, keepEnds ? KEPT : new Ending(this.#separator));
  }

  /** @internal Ends the loan. */
  expire(): void {
    this.#bytes = null;
    this.#ends = NO_ENDS;
  }

  /** @internal `Frames { length: 2, bytes: 12 }`, `Frames { expired }` */
  [inspect.custom](depth: number, _options: InspectOptions): string {
    if (depth < 0) return '[Frames]';
    const bytes = this.#bytes;
    return bytes === null ? 'Frames { expired }' : `Frames { length: ${this.#ends.length}, bytes: ${bytes.length} }`;
  }

  #borrowed(use: string): Buffer {
    if (this.#bytes === null) {
      throw new StateError(
        'ERR_FRAMES_EXPIRED',
        `Frames, ${use}: the frames were valid until the next read on their stream, and that has begun`,
      );
    }
    return this.#bytes;
  }
}

// ------------------------------------------------------------------------------------------------ decoding

/** Complete lines as strings, as {@link Frames.texts} would give them, without their ends if so wanted. */
export function lineTexts(
  bytes: Buffer,
  ends: Uint32Array,
  form: { readonly encoding: BufferEncoding; readonly keepEnds: boolean },
): string[] {
  return texts(bytes, ends, form.encoding, form.keepEnds ? KEPT : LINE_END);
}

/** Of `listed` ends from `from` on, the last that leaves a piece beginning at `start` small enough to be kept alive by a line. */
export function pieceEnd(ends: Uint32Array, from: number, listed: number, start: number, ascii: boolean): number {
  const most = start + (ascii ? SLAB_BYTES : WIDE_BYTES);
  let i = from;
  while (i + 1 < listed && (ends[i + 1] as number) <= most) i++;
  return i;
}

/** What may become characters of two bytes takes half as many bytes. */
const WIDE_BYTES = SLAB_BYTES / 2;

/** What of a frame is left out of its string. */
class Ending {
  /** The length of every end, or -1 where it differs from frame to frame. */
  readonly size: number;
  readonly #separator: Separator | null;

  constructor(separator: Separator | null, size = -1) {
    this.#separator = separator;
    this.size = separator !== null && separator.sequences.length === 1 ? separator.longest : size;
  }

  /** Where the body of the frame from `start` to `end` ends. */
  bodyEnd(bytes: Buffer, start: number, end: number): number {
    const separator = this.#separator;
    if (separator === null) {
      const last = end - 1;
      return last > start && bytes[last - 1] === CR ? last - 1 : last;
    }
    // Of separators that end together the longest is the one that ended the frame.
    for (const sequence of separator.byLastByte[bytes[end - 1] as number] ?? []) {
      const from = end - sequence.length;
      if (from >= start && sequence.every((byte, i) => bytes[from + i] === byte)) return from;
    }
    return end;
  }
}

const KEPT = new Ending(null, 0);
/** A line feed, with a carriage return in front of it or not. */
const LINE_END = new Ending(null);

function texts(bytes: Buffer, ends: Uint32Array, encoding: BufferEncoding, ending: Ending): string[] {
  const name = encoding.toLowerCase();
  const narrow = name === 'latin1' || name === 'binary' || name === 'ascii';
  const listed = ends.length;
  const result = new Array<string>(listed);
  const { size } = ending;
  if (!narrow && name !== 'utf8' && name !== 'utf-8') {
    // Half a unit of UTF-16 at the end means nothing, but where the first unit is not aligned Node 24 (24.21) writes it behind the
    // memory that it decodes into.
    const half = /^(utf-?16le|ucs-?2)$/.test(name) ? 1 : 0;
    for (let i = 0, start = 0; i < listed; i++) {
      const end = ends[i] as number;
      const to = size < 0 ? ending.bodyEnd(bytes, start, end) : end - size;
      result[i] = bytes.toString(encoding, start, to - ((to - start) & half));
      start = end;
    }
    return result;
  }
  const ascii = isAscii(bytes);
  const aligned = ascii || narrow;
  const decoder = ascii ? 'latin1' : encoding;
  for (let i = 0, start = 0; i < listed;) {
    const last = pieceEnd(ends, i, listed, start, aligned);
    const base = start;
    const text = bytes.toString(decoder, base, ends[last]);
    // Decoding never gives more characters than bytes: where it gives as many, each byte became one.
    if (text.length === (ends[last] as number) - base) {
      for (; i <= last; i++) {
        const end = ends[i] as number;
        const to = size < 0 ? ending.bodyEnd(bytes, start, end) : end - size;
        result[i] = text.slice(start - base, to - base);
        start = end;
      }
    } else if (ending === LINE_END) {
      for (let at = 0; i <= last; i++) {
        const behind = text.indexOf('\n', at) + 1;
        result[i] = text.slice(at, lineEnd(text, at, behind));
        at = behind;
      }
      start = ends[last] as number;
    } else {
      for (; i <= last; i++) {
        const end = ends[i] as number;
        result[i] = bytes.toString(encoding, start, size < 0 ? ending.bodyEnd(bytes, start, end) : end - size);
        start = end;
      }
    }
  }
  return result;
}

/** Where the line that begins at `start` and ends with the line feed in front of `behind` ends without it. */
export function lineEnd(text: string, start: number, behind: number): number {
  const last = behind - 1;
  return last > start && text.charCodeAt(last - 1) === CR ? last - 1 : last;
}

// ------------------------------------------------------------------------------------------------ checks

export function checkEncoding(action: string, encoding: unknown, known: boolean, expected: string): void {
  if (typeof encoding !== 'string') throw invalidType(action, 'encoding', expected, encoding);
  if (!known) throw outOfRange(action, 'encoding', expected, encoding);
}
