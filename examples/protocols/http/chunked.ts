/**
 * The chunked transfer coding, without sockets: a decoder, which validates everything and keeps nothing, and the encoder.
 *
 * Chunk extensions and trailer fields are checked and dropped.
 */
import { HttpError } from './http.js';

/** The most bytes of a line with the size of a chunk. */
const MAX_LINE = 1024;
/** The most bytes of all chunk extensions and trailer fields of a body. */
const MAX_EXTRAS = 16384;

const [LF, CR] = [0x0a, 0x0d];
const SIZE = /^([\da-f]{1,13})((?:;[\t\x20-\x7e\x80-\xff]*)?)$/i;
const TRAILER = /^[!#$%&'*+.^_`|~\da-z-]+:[\t\x20-\x7e\x80-\xff]*$/i;

/** Decodes one body. */
export class ChunkedDecoder {
  /** What comes next. */
  #next: 'size' | 'data' | 'end of data' | 'trailer' | 'nothing' = 'size';
  /** How many bytes of the chunk have not arrived. */
  #left = 0;
  #extras = 0;

  /** Whether the body is complete. Bytes after it belong to the next request. */
  get finished(): boolean {
    return this.#next === 'nothing';
  }

  /**
   * Decodes what is complete, and appends it to `pieces`, which refer to the memory of `bytes`. Returns how many bytes it has consumed; call
   * again with the rest and more.
   *
   * @throws HttpError 400 if it is not the chunked coding
   */
  decode(bytes: Buffer, pieces: Buffer[]): number {
    let at = 0;
    while (at < bytes.length && this.#next !== 'nothing') {
      if (this.#next === 'data') {
        const end = Math.min(at + this.#left, bytes.length);
        pieces.push(bytes.subarray(at, end));
        this.#left -= end - at;
        at = end;
        if (this.#left === 0) this.#next = 'end of data';
      } else if (this.#next === 'end of data') {
        if (bytes[at] !== CR || (at + 1 < bytes.length && bytes[at + 1] !== LF)) {
          throw new HttpError(400, 'no CR LF after the data of a chunk');
        }
        if (at + 1 === bytes.length) break;
        this.#next = 'size';
        at += 2;
      } else {
        const end = bytes.indexOf(LF, at);
        const length = (end === -1 ? bytes.length : end) - at;
        if (this.#next === 'size' && length > MAX_LINE) throw tooLong('size of a chunk', MAX_LINE);
        if (this.#extras + length > MAX_EXTRAS) throw tooLong('chunk extensions and trailer fields', MAX_EXTRAS);
        if (end === -1) break;
        if (bytes[end - 1] !== CR || length === 0)
          throw new HttpError(400, 'a line of a chunk does not end with CR LF');
        const line = bytes.toString('latin1', at, end - 1);
        if (this.#next === 'size') this.#size(line);
        else this.#trailer(line);
        at = end + 1;
      }
    }
    return at;
  }

  #size(line: string): void {
    const [, size, extension] = SIZE.exec(line) ?? [];
    if (size === undefined) throw new HttpError(400, 'invalid size of a chunk');
    this.#extras += extension!.length;
    this.#left = Number.parseInt(size, 16);
    this.#next = this.#left === 0 ? 'trailer' : 'data';
  }

  #trailer(line: string): void {
    if (line === '') this.#next = 'nothing';
    else if (!TRAILER.test(line)) throw new HttpError(400, 'invalid trailer field');
    this.#extras += line.length;
  }
}

function tooLong(what: string, most: number): HttpError {
  return new HttpError(400, `${what}: more than ${most} bytes`);
}

/** The line before the data of a chunk, which is not empty; `\r\n` follows the data. */
export function chunkHead(size: number): string {
  return `${size.toString(16)}\r\n`;
}

/** The end of a chunked body. */
export const LAST_CHUNK = '0\r\n\r\n';
