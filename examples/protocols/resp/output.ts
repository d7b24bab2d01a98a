/**
 * What a server or a client sends, collected in one block of memory: a hundred replies become one write. The block is reused as soon as
 * the kernel has accepted it, so most replies and requests allocate nothing. Several connections may share one: nothing is in it between
 * two turns of the event loop.
 */
import type { Stream } from 'sluice';

const BLOCK_BYTES = 64 * 1024;
/** Larger pieces are sent from where they are, without a copy. They must never change. */
export const LENT_BYTES = 16 * 1024;
/** `stream.write` copies up to this many bytes. */
const WRITE_COPIES = 4096;
/** The longest reply or request: more than any command can be, so that a server can always repeat what it was sent. */
export const MAX_MESSAGE = 96 * 1024 * 1024;
/** The longest string whose characters are worth a loop instead of a call. */
const SHORT = 64;

const [ZERO, CR, LF] = [0x30, 0x0d, 0x0a];

/** A reply or request is longer than {@link MAX_MESSAGE}. */
export class OverflowError extends RangeError {
  override readonly name = 'OverflowError';
}

export class Output {
  #block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  #end = 0;
  /** What comes before the bytes in the block: full blocks, and lent pieces between parts of them. */
  #pieces: Uint8Array[] = [];
  #start = 0;
  #size = 0;
  /** The most bytes that may be in the pieces. */
  #most = MAX_MESSAGE;
  /** What was sent last, in the block: the next replies often have the same length. */
  #sent = this.#block.subarray(0, 0);

  /** How many bytes are to be sent. */
  get length(): number {
    return this.#size + this.#end - this.#start;
  }

  /** Begins a reply or request, and returns where: what {@link truncate} needs to drop it. */
  begin(): number {
    const { length } = this;
    this.#most = length + MAX_MESSAGE;
    return length;
  }

  /** Drops everything after the first `length` bytes. */
  truncate(length: number): void {
    if (length >= this.#size) {
      this.#end = this.#start + length - this.#size;
      return;
    }
    this.#endPiece();
    while (this.#size > length) {
      const last = this.#pieces.pop()!;
      this.#size -= last.length;
      if (this.#size < length) this.#lend(last.subarray(0, length - this.#size));
    }
    if (length === 0) {
      this.#start = 0;
      this.#end = 0;
    }
  }

  /** Adds a short text that is already RESP, such as `+OK\r\n`, with one byte for each character. */
  latin1(text: string): void {
    this.#reserve(text.length);
    const block = this.#block;
    let end = this.#end;
    for (let i = 0; i < text.length; i++) block[end++] = text.charCodeAt(i);
    this.#end = end;
  }

  /** Adds bytes that are already RESP: `source` from `start` to `end`. More than {@link LENT_BYTES} are not copied. */
  bytes(source: Uint8Array, start = 0, end = source.length): void {
    const length = end - start;
    if (length > LENT_BYTES) {
      this.#lend(source.subarray(start, end));
      return;
    }
    this.#reserve(length);
    copy(source, start, end, this.#block, this.#end);
    this.#end += length;
  }

  /** Adds bytes that are already RESP and will change, such as those of a window: however many there are, they are copied. */
  borrowed(source: Uint8Array, start: number, end: number): void {
    if (end - start > LENT_BYTES) this.#lend(Buffer.from(source.subarray(start, end)));
    else this.bytes(source, start, end);
  }

  /** Adds a line with a number: `line('*', 3)` is `*3\r\n`. */
  line(type: string, value: number): void {
    this.#reserve(24);
    this.#block[this.#end++] = type.charCodeAt(0);
    this.#digits(value);
    this.#block[this.#end++] = CR;
    this.#block[this.#end++] = LF;
  }

  /** Adds a simple string or an error: `simple('-', 'ERR no')`. Line ends in the text are replaced, because they would end it. */
  simple(type: '+' | '-', text: string): void {
    this.#utf8(`${type}${text.replace(/[\r\n]/g, ' ')}\r\n`);
  }

  /** Adds a bulk string. */
  bulk(value: string | Uint8Array): void {
    if (typeof value === 'string') {
      if (value.length <= SHORT && this.#short(value)) return;
      this.line('$', Buffer.byteLength(value));
      this.#utf8(value);
    } else {
      this.line('$', value.length);
      this.bytes(value);
    }
    this.latin1('\r\n');
  }

  /** Passes everything to the stream in one write. Awaiting the result applies back-pressure. */
  send(stream: Stream): Promise<void> {
    const { length } = this;
    if (this.#pieces.length === 0) {
      if (this.#sent.length !== length) this.#sent = this.#block.subarray(0, length);
      const written = stream.write(this.#sent);
      // The stream has copied the bytes, or the kernel has accepted them, or the stream keeps the block.
      if (length > WRITE_COPIES && stream.writeBufferSize > 0) this.#nextBlock();
      this.#end = 0;
      return written;
    }
    this.#endPiece();
    const written = stream.writelines(this.#pieces);
    this.clear();
    return written;
  }

  /** Drops what was not sent. */
  clear(): void {
    if (this.#pieces.length > 0) this.#nextBlock();
    this.#pieces = [];
    this.#start = 0;
    this.#end = 0;
    this.#size = 0;
  }

  /** Adds a short string as bulk string if it is ASCII. */
  #short(text: string): boolean {
    const { length } = text;
    this.#reserve(length + 8);
    const block = this.#block;
    let end = this.#end;
    block[end++] = 0x24;
    if (length > 9) block[end++] = ZERO + ((length / 10) | 0);
    block[end++] = ZERO + (length % 10);
    block[end++] = CR;
    block[end++] = LF;
    for (let i = 0; i < length; i++) {
      const code = text.charCodeAt(i);
      if (code > 0x7f) return false;
      block[end++] = code;
    }
    block[end++] = CR;
    block[end++] = LF;
    this.#end = end;
    return true;
  }

  #utf8(text: string): void {
    if (text.length * 3 > LENT_BYTES) {
      this.bytes(Buffer.from(text));
      return;
    }
    this.#reserve(text.length * 3);
    this.#end += this.#block.write(text, this.#end);
  }

  #digits(value: number): void {
    const block = this.#block;
    if (value < 0 || value > 999_999_999) {
      this.#end += block.write(String(value), this.#end, 'latin1');
      return;
    }
    let end = this.#end + 1;
    for (let power = 10; power <= value; power *= 10) end++;
    this.#end = end;
    let rest = value;
    do {
      block[--end] = ZERO + (rest % 10);
      rest = (rest / 10) | 0;
    } while (rest > 0);
  }

  #lend(piece: Uint8Array): void {
    this.#endPiece();
    this.#pieces.push(piece);
    this.#size += piece.length;
    this.#check();
  }

  /** Makes room in the block. */
  #reserve(bytes: number): void {
    if (BLOCK_BYTES - this.#end >= bytes) return;
    this.#endPiece();
    this.#nextBlock();
    this.#start = 0;
    this.#end = 0;
    this.#check();
  }

  #nextBlock(): void {
    this.#block = Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#sent = this.#block.subarray(0, 0);
  }

  #endPiece(): void {
    if (this.#end === this.#start) return;
    this.#pieces.push(this.#block.subarray(this.#start, this.#end));
    this.#size += this.#end - this.#start;
    this.#start = this.#end;
  }

  #check(): void {
    if (this.#size > this.#most) throw new OverflowError(`more than ${MAX_MESSAGE} bytes in one message`);
  }
}

/** Copies bytes; a loop is faster than the call if there are few. */
export function copy(source: Uint8Array, start: number, end: number, target: Uint8Array, at: number): void {
  if (end - start > SHORT) target.set(source.subarray(start, end), at);
  else for (let i = start; i < end; i++) target[at++] = source[i]!;
}
