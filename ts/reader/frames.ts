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
import { checkBoolean, checkInteger } from '../checks.js';
import { StateError, invalidType, outOfRange } from '../errors.js';
import { MeasuredFraming, type PreparedFraming } from '../buffer/framing.js';
import { Separator } from '../buffer/separator.js';
import { SLAB_BYTES } from '../buffer/slab.js';

const CR = 0x0d;
const NO_BYTES = Buffer.alloc(0);
const NO_ENDS = new Uint32Array(0);

/** The reader of lent frames, which can be given some of them back. */
export interface FrameOwner {
  /** Makes `rest` unread again: the lent bytes from `at` on. */
  unreadFrames(rest: Buffer, at: number): void;
}

/** What {@link Frames.texts} takes. */
export interface TextsOptions {
  /** Whether the strings end with the separator, as the frames do. Default true. Frames by length have no ends. */
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
  /** Made when it is first needed; null where each frame begins where the one before it ends. */
  #starts: Uint32Array | null = null;
  readonly #owner: FrameOwner | null;
  readonly #framing: PreparedFraming;
  /** Whether reads leave out the first bytes of each frame. */
  readonly #skips: boolean;

  /**
   * @internal Readers make them.
   * @param bytes - the frames, one after the other
   * @param ends - where each of them ends
   * @param owner - whom frames can be given back to; null where there are none
   */
  constructor(
    framing: PreparedFraming,
    bytes: Buffer = NO_BYTES,
    ends: Uint32Array = NO_ENDS,
    owner: FrameOwner | null = null,
  ) {
    this.#owner = owner;
    this.#framing = framing;
    this.#bytes = bytes;
    this.#ends = ends;
    this.#skips = framing instanceof MeasuredFraming && framing.skip !== 0;
  }

  /** How many frames there are; 0 at EOF. */
  get length(): number {
    this.#borrowed('length');
    return this.#ends.length;
  }

  /** All frames, one after the other and whole: each with its separator, or with its header. */
  get bytes(): Buffer {
    return this.#borrowed('bytes');
  }

  /** Where each frame ends in {@link bytes}, just after its separator, in ascending order. */
  get ends(): Uint32Array {
    this.#borrowed('ends');
    return this.#ends;
  }

  /** Where each frame begins in {@link bytes}, after what `skip` of its framing leaves out. */
  get starts(): Uint32Array {
    const bytes = this.#borrowed('starts');
    return (this.#starts ??= this.#findStarts(bytes));
  }

  /**
   * Frame `index`, with its separator and without what `skip` leaves out, in place; negative numbers count from the last frame.
   * Undefined where there is none, as with `Array.prototype.at`.
   */
  at(index: number): Buffer | undefined {
    const bytes = this.#borrowed('at');
    const ends = this.#ends;
    const i = Math.trunc(index) || 0;
    const at = i < 0 ? ends.length + i : i;
    const end = ends[at];
    return end === undefined ? undefined : bytes.subarray(this.#startOf(bytes, at), end);
  }

  /** The frames as {@link at} gives them, in place. */
  *[Symbol.iterator](): IterableIterator<Buffer> {
    for (let i = 0; ; i++) {
      // Looked at anew each time: the loop may have read on meanwhile.
      const bytes = this.#borrowed('for of');
      const end = this.#ends[i];
      if (end === undefined) return;
      yield bytes.subarray(this.#startOf(bytes, i), end);
    }
  }

  /**
   * Puts frame `index` and all frames after it back, whole: the next read on the stream begins with frame `index`. For a parser that
   * stops within a batch, such as one for SMTP, where a message follows the command `DATA`. The frames before it stay valid until the next
   * read, and are the only ones left here: {@link length} is `index`.
   *
   * ```ts
   * const commands = await stream.readframes('\r\n');
   * for (let i = 0; i < commands.length; i++) {
   *   if (!isData(commands.at(i))) continue;
   *   commands.unread(i + 1);
   *   await readMessage(stream);
   *   break; // the frames have expired
   * }
   * ```
   *
   * @param index - 0 to {@link length}; at `length` there is nothing to put back
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
   */
  unread(index: number): void {
    const bytes = this.#borrowed('unread');
    const ends = this.#ends;
    checkInteger('Frames.unread', 'index', index, 0, ends.length);
    if (index === ends.length) return;
    const at = index === 0 ? 0 : (ends[index - 1] as number);
    this.#owner?.unreadFrames(bytes.subarray(at), at);
    this.#bytes = bytes.subarray(0, at);
    this.#ends = ends.subarray(0, index);
    this.#starts = this.#starts?.subarray(0, index) ?? null;
  }

  #startOf(bytes: Buffer, index: number): number {
    const start = index === 0 ? 0 : (this.#ends[index - 1] as number);
    return this.#skips ? (this.#framing as MeasuredFraming).skipped(bytes, start) : start;
  }

  #findStarts(bytes: Buffer): Uint32Array {
    const ends = this.#ends;
    const starts = new Uint32Array(ends.length);
    const skip = this.#skips ? (this.#framing as MeasuredFraming).skip : 0;
    if (skip < 0) {
      for (let i = 0; i < starts.length; i++) starts[i] = this.#startOf(bytes, i);
      return starts;
    }
    let start = skip;
    for (let i = 0; i < starts.length; i++) {
      starts[i] = start;
      start = (ends[i] as number) + skip;
    }
    return starts;
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
    const framing = this.#framing;
    const ending = keepEnds || !(framing instanceof Separator) ? KEPT : new Ending(framing);
    return texts(bytes, this.#ends, encoding, ending, this.#skips ? this.starts : null);
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
  return texts(bytes, ends, form.encoding, form.keepEnds ? KEPT : LINE_END, null);
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

/** @param starts - where the frames begin; null: each where the one before it ends */
function texts(
  bytes: Buffer,
  ends: Uint32Array,
  encoding: BufferEncoding,
  ending: Ending,
  starts: Uint32Array | null,
): string[] {
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
      const from = starts === null ? start : (starts[i] as number);
      const to = size < 0 ? ending.bodyEnd(bytes, start, end) : end - size;
      result[i] = bytes.toString(encoding, from, to - ((to - from) & half));
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
    // Decoding bytes that are left out costs less than a string of its own for each frame. Not in UTF-8, where they may join the frame
    // before them to a character.
    const text = starts === null || aligned ? bytes.toString(decoder, base, ends[last]) : '';
    // Decoding never gives more characters than bytes: where it gives as many, each byte became one.
    if (text.length === (ends[last] as number) - base) {
      for (; i <= last; i++) {
        const end = ends[i] as number;
        const to = size < 0 ? ending.bodyEnd(bytes, start, end) : end - size;
        result[i] = text.slice((starts === null ? start : (starts[i] as number)) - base, to - base);
        start = end;
      }
    } else if (ending === LINE_END) {
      for (let at = 0; i <= last; i++) {
        const after = text.indexOf('\n', at) + 1;
        result[i] = text.slice(at, lineEnd(text, at, after));
        at = after;
      }
      start = ends[last] as number;
    } else {
      for (; i <= last; i++) {
        const end = ends[i] as number;
        const from = starts === null ? start : (starts[i] as number);
        result[i] = bytes.toString(encoding, from, size < 0 ? ending.bodyEnd(bytes, start, end) : end - size);
        start = end;
      }
    }
  }
  return result;
}

/** Where the line that begins at `start` and ends with the line feed before `after` ends without it. */
export function lineEnd(text: string, start: number, behind: number): number {
  const last = behind - 1;
  return last > start && text.charCodeAt(last - 1) === CR ? last - 1 : last;
}

// ------------------------------------------------------------------------------------------------ checks

export function checkEncoding(action: string, encoding: unknown, known: boolean, expected: string): void {
  if (typeof encoding !== 'string') throw invalidType(action, 'encoding', expected, encoding);
  if (!known) throw outOfRange(action, 'encoding', expected, encoding);
}
