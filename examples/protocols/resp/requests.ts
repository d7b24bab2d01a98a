/**
 * Parses the requests that a server of RESP receives, in place: it says where each word is, and copies nothing.
 *
 * ```ts
 * const request = new RequestParser();
 * for (;;) {
 *   const bytes = stream.tryWindow(request.need) ?? (await stream.window(request.need));
 *   if (bytes.length < request.need) break; // EOF
 *   let end = 0;
 *   for (let next; (next = request.next(bytes, end)) !== -1; end = next) execute(request);
 *   stream.consume(end);
 * }
 * ```
 */
import {
  CR,
  DOLLAR,
  INCOMPLETE,
  LF,
  LengthParser,
  MAX_BYTES,
  MAX_ITEMS,
  MAX_LINE,
  ProtocolError,
  STAR,
} from './resp.js';
import { showByte, tooLarge } from './resp.js';

/** After a request of more words than this, the memory for their positions is given up. */
const WORDS_KEPT = 1024;

export class RequestParser extends LengthParser {
  /** How many bytes the next window must have for another call of {@link next}. */
  need = 1;
  /** The words of the request, the name of the command included. 0 for an empty request, which a server ignores. */
  count = 0;
  /** What the positions of the words refer to: the window, except for a request that was typed by hand. */
  bytes: Buffer = EMPTY;
  #bounds: number[] = [];
  /** How many words, and how many bytes, of an incomplete request are parsed. */
  #words = 0;
  #parsed = 0;
  /** How many bytes of an incomplete typed line have no LF. */
  #searched = 0;

  /** Where the first byte of word `i` is. Valid until {@link next} is called again. */
  begin(i: number): number {
    return this.#bounds[2 * i]!;
  }

  /** Where word `i` ends, without its CR LF. */
  end(i: number): number {
    return this.#bounds[2 * i + 1]!;
  }

  /** Where the encoded form of word `i` begins, such as `$3\r\nabc\r\n`, which ends two bytes after {@link end}. Not for the name, word 0. */
  encoded(i: number): number {
    return this.#bounds[2 * i - 1]! + 2;
  }

  /** Word `i` as a string; a word that is not UTF-8 needs `latin1`, which has one character for each byte. */
  text(i: number, encoding: BufferEncoding = 'utf8'): string {
    return this.bytes.toString(encoding, this.begin(i), this.end(i));
  }

  /**
   * Parses the request that begins at `start` and returns where it ends, or -1 if it is not complete: then consume everything before
   * `start`, and wait until there are {@link need} bytes. Each word is parsed once, however the bytes arrive.
   */
  next(bytes: Buffer, start: number): number {
    if (start === bytes.length) return this.#wait(0, start + 1, start);
    if (this.#parsed === 0) {
      if (bytes[start] !== STAR) return this.#typed(bytes, start);
      const count = this.length(bytes, start + 1);
      if (count === INCOMPLETE) return this.#wait(0, bytes.length + 1, start);
      if (count > MAX_ITEMS) throw new ProtocolError(`a request of ${count} words; the maximum is ${MAX_ITEMS}`);
      if (this.count > WORDS_KEPT) this.#bounds = [];
      this.bytes = bytes;
      this.count = Math.max(count, 0);
    } else {
      this.bytes = bytes;
      this.at = start + this.#parsed;
    }
    const { count } = this;
    const bounds = this.#bounds;
    for (let i = this.#words; i < count; i++) {
      const element = this.at;
      if (element === bytes.length) return this.#wait(i, element + 1, start);
      if (bytes[element] !== DOLLAR)
        throw new ProtocolError(`word ${i} of a request begins with ${showByte(bytes[element]!)} instead of $`);
      const length = this.length(bytes, element + 1);
      const begin = this.at;
      if (length < 0) {
        if (length !== INCOMPLETE) throw new ProtocolError(`word ${i} of a request is null`);
        return this.#wait(i, bytes.length + 1, start);
      }
      const end = begin + length;
      if (end - start > MAX_BYTES) throw tooLarge('request', end - start);
      if (end + 2 > bytes.length) {
        this.at = element;
        return this.#wait(i, end + 2, start);
      }
      if (bytes[end] !== CR || bytes[end + 1] !== LF)
        throw new ProtocolError(`no CR LF after a word of ${length} bytes`);
      bounds[2 * i] = begin;
      bounds[2 * i + 1] = end;
      this.at = end + 2;
    }
    this.need = 1;
    this.#words = 0;
    this.#parsed = 0;
    return this.at;
  }

  /** Remembers how far the request at `start` is parsed: the next window begins with it. */
  #wait(words: number, needed: number, start: number): -1 {
    this.need = needed - start;
    if (start > 0) for (let i = 0; i < 2 * words; i++) this.#bounds[i]! -= start;
    this.#words = words;
    this.#parsed = words === 0 ? 0 : this.at - start;
    return -1;
  }

  /** A request without lengths, as typed by hand: words separated by spaces. It is parsed as the array that it stands for. */
  #typed(bytes: Buffer, start: number): number {
    const end = bytes.indexOf(LF, start + this.#searched);
    const length = (end === -1 ? bytes.length : end) - start;
    if (length > MAX_LINE) throw new ProtocolError(`a line of more than ${MAX_LINE} bytes`);
    this.#searched = end === -1 ? length : 0;
    if (end === -1) return this.#wait(0, bytes.length + 1, start);
    const words = bytes
      .toString('latin1', start, end)
      .split(/[ \t\r]+/)
      .filter(Boolean);
    // A web page can make a browser send commands in the body of a request of HTTP, which begins with these words.
    if (/^(?:post|host:)$/i.test(words[0] ?? '')) throw new ProtocolError('a request of HTTP');
    const encoded = words.map((word) => `$${word.length}\r\n${word}\r\n`).join('');
    this.next(Buffer.from(`*${words.length}\r\n${encoded}`, 'latin1'), 0);
    return end + 1;
  }
}

const EMPTY = Buffer.alloc(0);
