/**
 * Many frames at once, in place: {@link Frames}; and how the strings of frames are decoded.
 *
 * Awaiting a frame costs a promise, and returning it as a `Buffer` costs an object. If that is too much, one call returns all complete
 * frames that are buffered: as positions in memory that still belongs to the reader, or as strings that were decoded in a few pieces.
 *
 * Strings. Decoding 8 KiB and slicing lines out of the result costs a fraction of decoding each line, but every line then keeps
 * the whole piece alive. That is why a piece has {@link SLAB_BYTES}, like the slabs of the reader's `Buffer`s.
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

/** The reader that has lent frames. It takes some of them back on request. */
export interface FrameOwner {
  /** Makes `rest`, the lent bytes from `at` on, unread again. */
  unreadFrames(rest: Buffer, at: number): void;
}

/** Options of {@link Frames.texts}. */
export interface TextsOptions {
  /** Whether the strings end with the separator, as the frames do. Default true. Frames with a length have no separators. */
  keepEnds?: boolean | undefined;
}

/**
 * All frames that were complete when `readframes` resolved, in the memory of the reader.
 *
 * The memory is borrowed: it is valid until the next read on the stream begins, and every use of a `Frames` after that throws
 * a `StateError` `ERR_FRAMES_EXPIRED`. The `Buffer`s and arrays that it returned are not checked: do not use them after that, because
 * their bytes change. Copy what you want to keep (`Buffer.from(frame)`, or a string).
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
  /** Created when it is first needed. */
  #starts: Uint32Array | null = null;
  readonly #owner: FrameOwner | null;
  readonly #framing: PreparedFraming;
  /** Whether reads omit the first bytes of each frame. */
  readonly #skips: boolean;

  /**
   * @internal Readers create them.
   * @param bytes - the frames, one after another
   * @param ends - where each of them ends
   * @param owner - the reader that {@link unread} returns frames to; null if there are no frames
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

  /** The number of frames; 0 at EOF. */
  get length(): number {
    this.#borrowed('length');
    return this.#ends.length;
  }

  /** All frames, one after another, each of them complete: with its separator, or with its header. */
  get bytes(): Buffer {
    return this.#borrowed('bytes');
  }

  /** Where each frame ends in {@link bytes}, just after its separator, in ascending order. */
  get ends(): Uint32Array {
    this.#borrowed('ends');
    return this.#ends;
  }

  /** Where each frame begins in {@link bytes}, after the bytes that `skip` of the framing omits. */
  get starts(): Uint32Array {
    const bytes = this.#borrowed('starts');
    return (this.#starts ??= this.#findStarts(bytes));
  }

  /**
   * Returns frame `index` in place, with its separator and without the bytes that `skip` omits. A negative index counts from the last
   * frame. If there is no such frame, it returns undefined, as `Array.prototype.at` does.
   */
  at(index: number): Buffer | undefined {
    const bytes = this.#borrowed('at');
    const ends = this.#ends;
    const i = Math.trunc(index) || 0;
    const at = i < 0 ? ends.length + i : i;
    const end = ends[at];
    return end === undefined ? undefined : bytes.subarray(this.#startOf(bytes, at), end);
  }

  /** Iterates over the frames as {@link at} returns them, in place. */
  *[Symbol.iterator](): IterableIterator<Buffer> {
    for (let i = 0; ; i++) {
      // Checked again each time: the body of the loop may have started another read.
      const bytes = this.#borrowed('for of');
      const end = this.#ends[i];
      if (end === undefined) return;
      yield bytes.subarray(this.#startOf(bytes, i), end);
    }
  }

  /**
   * Puts frame `index` and all frames after it back, with everything that `skip` omits: the next read on the stream begins with frame
   * `index`. This is for a parser that stops within a batch, such as one for SMTP, where a message follows the command `DATA`. The frames
   * before it stay valid until the next read, and are the only ones left here: {@link length} is then `index`.
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
   * @param index - 0 to {@link length}; with `length` nothing is put back
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
   * Returns the frames as strings, which are yours to keep. Each is the same as `at(i).toString(encoding)`. If all frames are ASCII, or
   * the encoding has one character for each byte, many frames are decoded at once.
   *
   * @param encoding - as for `buffer.toString`
   * @param options - `keepEnds`: false omits the separators
   * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an encoding that Node does not support
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

/** Complete lines as strings, as {@link Frames.texts} returns them; without their ends unless `keepEnds` is true. */
export function lineTexts(
  bytes: Buffer,
  ends: Uint32Array,
  form: { readonly encoding: BufferEncoding; readonly keepEnds: boolean },
): string[] {
  return texts(bytes, ends, form.encoding, form.keepEnds ? KEPT : LINE_END, null);
}

/** The last of the ends from `from` to `listed` at which a piece that begins at `start` is still small enough for one line to keep it alive. */
export function pieceEnd(ends: Uint32Array, from: number, listed: number, start: number, ascii: boolean): number {
  const most = start + (ascii ? SLAB_BYTES : WIDE_BYTES);
  let i = from;
  while (i + 1 < listed && (ends[i + 1] as number) <= most) i++;
  return i;
}

/** The size of a piece that may become a string with two bytes for each character. */
const WIDE_BYTES = SLAB_BYTES / 2;

/** The part of a frame that its string omits. */
class Ending {
  /** The length of every end, or -1 if it differs from frame to frame. */
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
    // Of the separators that end here, the longest is the one that ended the frame.
    for (const sequence of separator.byLastByte[bytes[end - 1] as number] ?? []) {
      const from = end - sequence.length;
      if (from >= start && sequence.every((byte, i) => bytes[from + i] === byte)) return from;
    }
    return end;
  }
}

const KEPT = new Ending(null, 0);
/** A line feed, with or without a carriage return before it. */
const LINE_END = new Ending(null);

/** @param starts - where the frames begin; null: each begins where the previous one ends */
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
    // Half a unit of UTF-16 at the end has no meaning. But if the first unit is not aligned, Node 24 (24.21) writes that half after the
    // end of the memory that it decodes into.
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
    // Decoding bytes that are omitted costs less than decoding each frame separately. Not in UTF-8, where such bytes could form a
    // character together with the end of the previous frame.
    const text = starts === null || aligned ? bytes.toString(decoder, base, ends[last]) : '';
    // Decoding never gives more characters than there are bytes: if there are as many, each byte became one character.
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

/** Where the line from `start` ends without its line end; `after` is the position just after its line feed. */
export function lineEnd(text: string, start: number, after: number): number {
  const last = after - 1;
  return last > start && text.charCodeAt(last - 1) === CR ? last - 1 : last;
}

// ------------------------------------------------------------------------------------------------ checks

export function checkEncoding(action: string, encoding: unknown, known: boolean, expected: string): void {
  if (typeof encoding !== 'string') throw invalidType(action, 'encoding', expected, encoding);
  if (!known) throw outOfRange(action, 'encoding', expected, encoding);
}
