/**
 * Parses the replies that a client of RESP receives: all types of RESP 2 and RESP 3 but streamed ones.
 *
 * ```ts
 * const parser = new ReplyParser((reply) => ..., (push) => ...);
 * for (;;) {
 *   const bytes = stream.tryWindow(parser.need) ?? (await stream.window(parser.need));
 *   if (bytes.length < parser.need) break; // EOF; if bytes.length > 0 or !parser.idle, a reply was cut short
 *   stream.consume(parser.parse(bytes));
 * }
 * ```
 */
import { isAscii } from 'node:buffer';
import { CR, DOLLAR, INCOMPLETE, LF, LengthParser, MAX_BYTES, MAX_DEPTH, MAX_ITEMS, MAX_LINE } from './resp.js';
import { ProtocolError, STAR, showByte, tooLarge } from './resp.js';

/** An error that the server replied with; the message begins with its code, such as `ERR` or `WRONGTYPE`. */
export class ReplyError extends Error {
  override readonly name = 'ReplyError';
}

/** Integers over 2 ** 53 are bigints. Sets are arrays. A verbatim string has its text. */
export type Reply = string | number | bigint | boolean | null | Buffer | ReplyError | Reply[] | Map<Reply, Reply>;

export interface ReplyOptions {
  /** Whether strings are `Buffer`s; otherwise they are decoded as UTF-8. Default false. */
  readonly buffers?: boolean | undefined;
}

/** Something with items, some of which have not arrived. */
interface Open {
  readonly type: number;
  readonly items: Reply[];
  readonly outer: Open | null;
  missing: number;
}

/** Strings are cut out of decoded pieces of this size, so this is how much a string can keep alive. */
const PIECE = 8192;
/** It takes at least this many bytes for a piece to be worth its decoding. */
const SMALL = 256;
const types = '+-:_#,(!=%~>|';
const [PLUS, MINUS, COLON, UNDERLINE, HASH, COMMA, PAREN, BANG, EQUALS, PERCENT, TILDE, GREATER, BAR] =
  Buffer.from(types);

export class ReplyParser extends LengthParser {
  /** How many bytes the next window must have for {@link parse} to make progress. */
  need = 1;
  readonly #onReply: (reply: Reply) => void;
  readonly #onPush: (push: Reply[]) => void;
  readonly #buffers: boolean;
  #open: Open | null = null;
  #depth = 0;
  /** The bytes of the value so far that are consumed. */
  #size = 0;
  /** The items of the value so far, nested ones included. An empty map of four bytes takes a hundred times its size as a `Map`. */
  #items = 0;
  /** How many bytes of an incomplete line have no LF. */
  #searched = 0;
  /** A decoded piece of the window, from `#from` to `#to`; null if it is not ASCII. */
  #piece: string | null = null;
  #from = 0;
  #to = 0;

  /** `onReply` is called with each reply, and `onPush` with each message that is not a reply. */
  constructor(onReply: (reply: Reply) => void, onPush: (push: Reply[]) => void, options: ReplyOptions = {}) {
    super();
    this.#onReply = onReply;
    this.#onPush = onPush;
    this.#buffers = options.buffers ?? false;
  }

  /** Whether the stream may end here. */
  get idle(): boolean {
    return this.#open === null;
  }

  /** Parses what is complete and returns how many bytes to consume. Each element is parsed once, however the bytes arrive. */
  parse(bytes: Buffer): number {
    this.#to = 0;
    this.need = 1;
    let start = 0;
    while (start < bytes.length) {
      const need = this.#element(bytes, start);
      if (need > 0) {
        this.need = need;
        break;
      }
      this.#size = this.#open === null ? 0 : this.#size + this.at - start;
      if (this.#open === null) this.#items = 0;
      if (this.#size > MAX_BYTES) throw tooLarge('reply', this.#size);
      start = this.at;
    }
    return start;
  }

  /** Parses the element that begins at `start`. Returns 0, or how many bytes it needs if it is incomplete. */
  #element(bytes: Buffer, start: number): number {
    const type = bytes[start]!;
    switch (type) {
      case DOLLAR:
      case BANG:
      case EQUALS:
        return this.#bulk(bytes, start, type);
      case STAR:
      case PERCENT:
      case TILDE:
      case GREATER:
      case BAR: {
        const length = this.length(bytes, start + 1);
        if (length === INCOMPLETE) return bytes.length - start + 1;
        if (length >= 0) this.#begin(type, length);
        else if (type === STAR) this.#add(null);
        else throw new ProtocolError(`a null of type ${showByte(type)}`);
        return 0;
      }
      default:
        return this.#line(bytes, start, type);
    }
  }

  #bulk(bytes: Buffer, start: number, type: number): number {
    const length = this.length(bytes, start + 1);
    if (length === INCOMPLETE) return bytes.length - start + 1;
    if (length === -1) {
      if (type !== DOLLAR) throw new ProtocolError(`a null of type ${showByte(type)}`);
      this.#add(null);
      return 0;
    }
    if (this.#size + length > MAX_BYTES) throw tooLarge('reply', this.#size + length);
    const begin = this.at;
    const end = begin + length;
    if (bytes.length < end + 2) return end + 2 - start;
    if (bytes[end] !== CR || bytes[end + 1] !== LF)
      throw new ProtocolError(`no CR LF after a string of ${length} bytes`);
    this.at = end + 2;
    // The content of a verbatim string begins with its format, such as `txt:`.
    if (type === BANG) this.#add(new ReplyError(bytes.toString('utf8', begin, end)));
    else if (type === EQUALS) this.#add(this.#string(bytes, Math.min(begin + 4, end), end));
    else this.#add(this.#string(bytes, begin, end));
    return 0;
  }

  #begin(type: number, length: number): void {
    const items = type === PERCENT || type === BAR ? 2 * length : length;
    this.#items += items;
    if (this.#items > MAX_ITEMS)
      throw new ProtocolError(`a reply of ${this.#items} items; the maximum is ${MAX_ITEMS}`);
    if (type === GREATER && this.#open !== null) throw new ProtocolError('a push inside of a reply');
    if (++this.#depth > MAX_DEPTH) throw new ProtocolError(`a reply nested more than ${MAX_DEPTH} deep`);
    this.#open = { type, items: [], outer: this.#open, missing: items };
    if (items === 0) this.#close();
  }

  #add(value: Reply): void {
    const open = this.#open;
    if (open === null) {
      this.#onReply(value);
      return;
    }
    open.items.push(value);
    if (--open.missing === 0) this.#close();
  }

  /** All items have arrived. */
  #close(): void {
    const { type, items, outer } = this.#open!;
    this.#open = outer;
    this.#depth--;
    if (type === GREATER) this.#onPush(items);
    else if (type === PERCENT) this.#add(pairs(items));
    // Attributes say something about the value that follows. They are not part of it.
    else if (type !== BAR) this.#add(items);
  }

  #line(bytes: Buffer, start: number, type: number): number {
    const found = bytes.indexOf(LF, start + this.#searched);
    const length = (found === -1 ? bytes.length : found) - start;
    if (!types.includes(String.fromCharCode(type))) throw new ProtocolError(`unknown type ${showByte(type)}`);
    if (length > MAX_LINE) throw new ProtocolError(`a line of more than ${MAX_LINE} bytes`);
    this.#searched = found === -1 ? length : 0;
    if (found === -1) return length + 1;
    const end = found - 1;
    if (bytes[end] !== CR) throw new ProtocolError('a line without CR before its LF');
    this.at = found + 1;
    this.#add(this.#simple(bytes, start + 1, end, type));
    return 0;
  }

  #simple(bytes: Buffer, begin: number, end: number, type: number): Reply {
    if (type === COLON && end - begin < 10 && end > begin) {
      const small = smallInteger(bytes, begin, end);
      if (small !== -1) return small;
    }
    if (type === PLUS) return isOk(bytes, begin, end) ? 'OK' : this.#string(bytes, begin, end);
    const text = bytes.toString('utf8', begin, end);
    if (type === MINUS) return new ReplyError(text);
    if (type === UNDERLINE && text === '') return null;
    if (type === HASH && (text === 't' || text === 'f')) return text === 't';
    if (type === COMMA && DOUBLE.test(text)) return Number(text.replace('inf', 'Infinity'));
    if ((type === COLON || type === PAREN) && INTEGER.test(text)) {
      const number = Number(text);
      return type === COLON && Number.isSafeInteger(number) ? number : BigInt(text);
    }
    throw new ProtocolError(`invalid value: ${JSON.stringify(text.slice(0, 32))}`);
  }

  /** A string. The strings of a large reply are cut out of pieces that are decoded at once, which is faster than decoding each. */
  #string(bytes: Buffer, begin: number, end: number): string | Buffer {
    if (this.#buffers) return Buffer.from(bytes.subarray(begin, end));
    if (end > this.#to) {
      if (bytes.length - begin < SMALL || end - begin > SMALL) return bytes.toString('utf8', begin, end);
      this.#from = begin;
      this.#to = Math.min(begin + PIECE, bytes.length);
      const piece = bytes.subarray(begin, this.#to);
      this.#piece = isAscii(piece) ? piece.toString('latin1') : null;
    }
    if (this.#piece === null) return bytes.toString('utf8', begin, end);
    return this.#piece.slice(begin - this.#from, end - this.#from);
  }
}

const DOUBLE = /^(?:-?inf|nan|-?\d{1,32}(?:\.\d{0,32})?(?:e[+-]?\d{1,3})?)$/i;
const INTEGER = /^[+-]?\d{1,1024}$/;

function pairs(items: readonly Reply[]): Map<Reply, Reply> {
  const map = new Map<Reply, Reply>();
  for (let i = 0; i < items.length; i += 2) map.set(items[i]!, items[i + 1]!);
  return map;
}

/** A number of digits only; -1 if it is anything else. */
function smallInteger(bytes: Buffer, begin: number, end: number): number {
  let number = 0;
  for (let i = begin; i < end; i++) {
    const digit = bytes[i]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}

function isOk(bytes: Buffer, begin: number, end: number): boolean {
  return end - begin === 2 && bytes[begin] === 0x4f && bytes[begin + 1] === 0x4b;
}
