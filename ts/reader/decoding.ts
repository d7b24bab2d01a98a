/**
 * How frames become strings: many at once ({@link texts}, {@link lineTexts}), or line by line out of a piece ({@link TextCut}).
 *
 * Decoding 8 KiB and slicing lines out of the result costs a fraction of decoding each line, but every line then keeps the whole piece
 * alive. That is why a piece has {@link SLAB_BYTES}, like the slabs of the reader's `Buffer`s.
 */
import { Buffer, isAscii } from 'node:buffer';
import { type Separator } from '../buffer/separator.js';
import { SLAB_BYTES } from '../buffer/slab.js';
import { invalidType, outOfRange } from '../errors.js';

const CR = 0x0d;

/** The encodings in which the byte 0x0A is a line feed and nothing else. */
export type LineEncoding = 'utf8' | 'utf-8' | 'latin1' | 'binary' | 'ascii';

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
export class Ending {
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

export const KEPT = new Ending(null, 0);
/** A line feed, with or without a carriage return before it. */
const LINE_END = new Ending(null);

/**
 * The frames in `bytes` as strings.
 *
 * @param starts - where the frames begin; null: each begins where the previous one ends
 */
export function texts(
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
      // If the piece has no carriage return, every line ends with one line feed, and no line needs a look of its own.
      const cut = ending === LINE_END && !text.includes('\r') ? 1 : size;
      if (cut >= 0 && starts === null) {
        for (let at = 0; i <= last; i++) {
          const after = (ends[i] as number) - base;
          result[i] = text.slice(at, after - cut);
          at = after;
        }
        start = ends[last] as number;
        continue;
      }
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

export function checkEncoding(action: string, encoding: unknown, known: boolean, expected: string): void {
  if (typeof encoding !== 'string') throw invalidType(action, 'encoding', expected, encoding);
  if (!known) throw outOfRange(action, 'encoding', expected, encoding);
}

/** Consecutive lines, decoded as one string, to be returned one at a time. */
export class TextCut {
  readonly encoding: LineEncoding;
  /** The position of the next line, as the owner counts. */
  position: number;
  readonly #end: number;
  readonly #text: string;
  readonly #aligned: boolean;
  /** Node's `ascii` drops the highest bit, which can turn another byte into a carriage return. */
  readonly #masked: boolean;
  #at = 0;

  /**
   * @param bytes - complete lines with their ends; the first begins at `position`
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

  /** Whether the line from `start` to `end` is the next one here. */
  has(start: number, end: number, encoding: LineEncoding): boolean {
    return this.position === start && end <= this.#end && this.encoding === encoding;
  }

  /** Returns the line that ends at `end`, and moves on to the next one. */
  take(end: number, keepEnds: boolean): string {
    const text = this.#text;
    const start = this.#at;
    const next = this.#aligned ? start + (end - this.position) : text.indexOf('\n', start) + 1;
    this.#at = next;
    this.position = end;
    const line = text.slice(start, keepEnds ? next : lineEnd(text, start, next));
    return this.#masked ? Buffer.from(line, 'latin1').toString('ascii') : line;
  }
}
