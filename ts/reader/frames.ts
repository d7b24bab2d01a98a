/**
 * Many frames at once, in place: {@link Frames}.
 *
 * Awaiting a frame costs a promise, and returning it as a `Buffer` costs an object. If that is too much, one call returns all complete
 * frames that are buffered: as positions in memory that still belongs to the reader, or as strings that were decoded in a few pieces.
 */
import { Buffer } from 'node:buffer';
import { inspect, type InspectOptions } from 'node:util';
import { checkBoolean, checkInteger } from '../checks.js';
import { StateError, invalidType } from '../errors.js';
import { MeasuredFraming, type PreparedFraming } from '../buffer/framing.js';
import { Separator } from '../buffer/separator.js';
import { Ending, KEPT, checkEncoding, texts } from './decoding.js';

const NO_BYTES = Buffer.alloc(0);
const NO_ENDS = new Uint32Array(0);

/** The reader that has lent frames. It takes some of them back on request. */
export interface FrameOwner {
  /** Makes `rest`, the lent bytes from `at` on, unread again: the last `count` frames. */
  unreadFrames(rest: Buffer, at: number, count: number): void;
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
    this.#owner?.unreadFrames(bytes.subarray(at), at, ends.length - index);
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
