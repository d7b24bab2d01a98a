/** Lines as strings, one at a time or many at once: loops over a reader. */
import { checkBoolean } from '../checks.js';
import { checkedWait, type WaitOptions } from '../abort.js';
import { checkEncoding, type LineEncoding } from './decoding.js';
import { DONE, Loop } from './loop.js';

/** Options of `lines`. */
export interface LinesOptions extends WaitOptions {
  /** How the bytes are decoded: `utf8` (default), `latin1` or `ascii`, and Node's other names of these. */
  encoding?: LineEncoding | undefined;
  /** Whether the strings keep their line ends. Default false: the `\n` is removed, and one `\r` before it. */
  keepEnds?: boolean | undefined;
}

/** The options of `lines`, checked. */
export interface LineForm extends WaitOptions {
  readonly encoding: LineEncoding;
  readonly keepEnds: boolean;
}

/** A source of lines: a reader. `loop` is the iterator that reads. */
export interface LineSource {
  nextLine(form: LineForm, loop: object): Promise<IteratorResult<string, undefined>>;
  nextLines(form: LineForm, loop: object): Promise<IteratorResult<string[], undefined>>;
  /** Ends the read that `loop` has started, if it still waits: the read resolves as done, and nothing is consumed. */
  leave(loop: object): void;
}

/**
 * Checks the options of `lines`.
 *
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE`
 */
export function checkLineForm(options: LinesOptions = {}): LineForm {
  const wait = checkedWait('lines', options);
  const { encoding = 'utf8', keepEnds = false } = options;
  const known = typeof encoding === 'string' && /^(utf-?8|latin1|binary|ascii)$/i.test(encoding);
  checkEncoding('lines', encoding, known, "'utf8', 'latin1' or 'ascii'");
  checkBoolean('lines', 'keepEnds', keepEnds);
  return { encoding, keepEnds, ...wait };
}

/**
 * The lines of a stream as strings, split only at `\n`, until EOF. Bytes after the last `\n` are the last line.
 *
 * Exactly the lines that the loop has received are consumed: after leaving the loop, or in the middle of it, another read continues
 * after the last line. A line over the limit is skipped and ends the loop with a `LimitOverrunError`, as with `readline`; a new loop
 * continues with the next line. Bytes that are invalid in the encoding become U+FFFD. A byte-order mark stays U+FEFF, wherever it is.
 *
 * ```ts
 * for await (const line of stream.lines()) console.log(line);
 * ```
 */
export class Lines implements AsyncIterableIterator<string, undefined> {
  readonly #source: LineSource;
  readonly #form: LineForm;
  #left = false;

  /** @internal Streams and readers create them. */
  constructor(source: LineSource, form: LineForm) {
    this.#source = source;
    this.#form = form;
  }

  /**
   * Iterates over lists of all complete lines that have arrived, until EOF. A list is never empty. Several times as fast as awaiting
   * each line. Good lines before an overlong one are returned first.
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

  /** Returns the next line, or `done` at EOF and after the loop was left. Rejects as `readline` does. */
  next(): Promise<IteratorResult<string, undefined>> {
    return this.#left ? Promise.resolve(DONE) : this.#source.nextLine(this.#form, this);
  }

  /**
   * Ends the loop. The stream stays open, and nothing more is consumed: a waiting `next()` resolves as done, and the stream can be read
   * again at once.
   */
  return(): Promise<IteratorResult<string, undefined>> {
    this.#left = true;
    this.#source.leave(this);
    return Promise.resolve(DONE);
  }

  /** Starts a loop, also after an earlier one was left. */
  [Symbol.asyncIterator](): this {
    this.#left = false;
    return this;
  }
}
