/**
 * Many frames at once: {@link Frames} in place, {@link Lines} as strings.
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
import { checkedSignal, type WaitOptions } from './abort.js';
import { checkBoolean } from './checks.js';
import { StateError, invalidType, outOfRange } from './errors.js';
import type { Separator } from './buffer/separator.js';
import { SLAB_BYTES } from './buffer/slab.js';

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

// ------------------------------------------------------------------------------------------------ lines

/** The encodings in which the byte 0x0A is a line feed and nothing else. */
export type LineEncoding = 'utf8' | 'utf-8' | 'latin1' | 'binary' | 'ascii';

/** What `lines` takes. */
export interface LinesOptions extends WaitOptions {
  /** How the bytes are decoded: `utf8` (default), `latin1` or `ascii`, and Node's other names of these. */
  encoding?: LineEncoding | undefined;
  /** Whether the strings end as the lines do. Default false: without the `\n` and without one `\r` in front of it. */
  keepEnds?: boolean | undefined;
}

/** Checked options. */
export interface LineForm extends WaitOptions {
  readonly encoding: LineEncoding;
  readonly keepEnds: boolean;
}

/** Where lines come from: a reader. `loop` is the iterator that reads. */
export interface LineSource {
  nextLine(form: LineForm, loop: object): Promise<IteratorResult<string, undefined>>;
  nextLines(form: LineForm, loop: object): Promise<IteratorResult<string[], undefined>>;
  /** Ends the read that `loop` has begun, if it still waits: it resolves as done, and nothing is consumed. */
  leave(loop: object): void;
}

/**
 * The options of `lines`, checked.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
 */
export function checkLineForm(options: LinesOptions = {}): LineForm {
  const signal = checkedSignal('lines', options);
  const { encoding = 'utf8', keepEnds = false } = options;
  const known = typeof encoding === 'string' && /^(utf-?8|latin1|binary|ascii)$/i.test(encoding);
  checkEncoding('lines', encoding, known, "'utf8', 'latin1' or 'ascii'");
  checkBoolean('lines', 'keepEnds', keepEnds);
  return { encoding, keepEnds, signal };
}

/**
 * The lines of a stream as strings, split at `\n` only, until EOF; what follows the last `\n` is the last line.
 *
 * The stream has read exactly the lines that were handed out: leave the loop, or read in the middle of it, and the next read
 * goes on behind the last line. A line over the limit is skipped and ends the loop with a `LimitOverrunError`, as `readline`
 * would; a new loop goes on with the next line. Bytes that are not valid in the encoding become U+FFFD, and a
 * byte-order mark stays what it is, U+FEFF, wherever it comes.
 *
 * ```ts
 * for await (const line of stream.lines()) console.log(line);
 * ```
 */
export class Lines implements AsyncIterableIterator<string, undefined> {
  readonly #source: LineSource;
  readonly #form: LineForm;
  #left = false;

  /** @internal Streams and readers make them. */
  constructor(source: LineSource, form: LineForm) {
    this.#source = source;
    this.#form = form;
  }

  /**
   * All complete lines that are buffered, again and again until EOF: never an empty list. Several times as fast as awaiting
   * each line. Good lines in front of an overlong one come first.
   *
   * ```ts
   * for await (const batch of stream.lines().batches()) for (const line of batch) console.log(line);
   * ```
   */
  batches(): AsyncIterableIterator<string[], undefined> {
    const source = this.#source;
    return new Loop(
      (loop) => source.nextLines(this.#form, loop),
      (loop) => source.leave(loop),
    );
  }

  /** The next line, or `done` at EOF and once the loop was left. Rejects as `readline` does. */
  next(): Promise<IteratorResult<string, undefined>> {
    return this.#left ? Promise.resolve(DONE) : this.#source.nextLine(this.#form, this);
  }

  /**
   * Ends a loop. The stream stays open, and nothing more is consumed: a `next()` that still waits resolves as done, and the stream
   * can be read again at once.
   */
  return(): Promise<IteratorResult<string, undefined>> {
    this.#left = true;
    this.#source.leave(this);
    return Promise.resolve(DONE);
  }

  /** Begins a loop, also after an earlier one was left. */
  [Symbol.asyncIterator](): this {
    this.#left = false;
    return this;
  }
}

/** One loop: once it was left, it has ended for good. */
export class Loop<T> implements AsyncIterableIterator<T, undefined> {
  readonly #read: (loop: object) => Promise<IteratorResult<T, undefined>>;
  readonly #leave: (loop: object) => void;
  #left = false;

  /**
   * @param read - the next result, or done
   * @param leave - ends the read that the loop has begun, as {@link LineSource.leave} does
   */
  constructor(read: (loop: object) => Promise<IteratorResult<T, undefined>>, leave: (loop: object) => void) {
    this.#read = read;
    this.#leave = leave;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    return this.#left ? Promise.resolve(DONE) : this.#read(this);
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#left = true;
    this.#leave(this);
    return Promise.resolve(DONE);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** What an iterator answers at its end. */
export const DONE: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined });

/** Lines that follow each other, decoded in one piece, to be taken one by one. */
export class TextCut {
  readonly encoding: LineEncoding;
  /** Where the next line begins, in the coordinate of the owner. */
  position: number;
  readonly #end: number;
  readonly #text: string;
  readonly #aligned: boolean;
  /** Node's `ascii` drops the highest bit, which can make a carriage return of a byte that is none. */
  readonly #masked: boolean;
  #at = 0;

  /**
   * @param bytes - whole lines with their ends, of which the first begins at `position`
   * @param ascii - whether all bytes are below 0x80
   */
  constructor(bytes: Buffer, position: number, encoding: LineEncoding, ascii: boolean) {
    this.encoding = encoding;
    this.position = position;
    this.#end = position + bytes.length;
    this.#masked = !ascii && encoding.toLowerCase() === 'ascii';
    this.#text = bytes.toString(ascii || this.#masked ? 'latin1' : encoding);
    this.#aligned = this.#text.length === bytes.length;
  }

  /** Whether the line from `start` to `end` is in it, and is the next one. */
  has(start: number, end: number, encoding: LineEncoding): boolean {
    return this.position === start && end <= this.#end && this.encoding === encoding;
  }

  /** Takes the line that ends at `end`. */
  take(end: number, keepEnds: boolean): string {
    const text = this.#text;
    const start = this.#at;
    const behind = this.#aligned ? start + (end - this.position) : text.indexOf('\n', start) + 1;
    this.#at = behind;
    this.position = end;
    const line = text.slice(start, keepEnds ? behind : lineEnd(text, start, behind));
    return this.#masked ? Buffer.from(line, 'latin1').toString('ascii') : line;
  }
}

/** Complete lines as strings, as {@link Frames.texts} would give them, without their ends if so wanted. */
export function lineTexts(bytes: Buffer, ends: Uint32Array, form: LineForm): string[] {
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

// ------------------------------------------------------------------------------------------------ decoding

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
function lineEnd(text: string, start: number, behind: number): number {
  const last = behind - 1;
  return last > start && text.charCodeAt(last - 1) === CR ? last - 1 : last;
}

// ------------------------------------------------------------------------------------------------ checks

function checkEncoding(action: string, encoding: unknown, known: boolean, expected: string): void {
  if (typeof encoding !== 'string') throw invalidType(action, 'encoding', expected, encoding);
  if (!known) throw outOfRange(action, 'encoding', expected, encoding);
}
