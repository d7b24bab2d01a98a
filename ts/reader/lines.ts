/**
 * Lines as strings, one by one or many at once: loops over a reader.
 */
import { Buffer } from 'node:buffer';
import { checkBoolean } from '../checks.js';
import { checkedSignal, type WaitOptions } from '../abort.js';
import { checkEncoding, lineEnd } from './frames.js';

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
