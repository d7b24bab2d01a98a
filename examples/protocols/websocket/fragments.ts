/** Assembles the fragments of a WebSocket message, and checks text as it arrives: a character may begin in one fragment and end in the next. */
import { Buffer, isUtf8 } from 'node:buffer';

export class Assembler {
  readonly #isText: boolean;
  /** Grows by doubling. A `Buffer` for each fragment would need much more memory than the message if the fragments are short. */
  #bytes: Buffer;
  #length = 0;
  /** How many bytes are known to be whole characters. */
  #checked = 0;

  constructor(isText: boolean, first: Buffer) {
    this.#isText = isText;
    this.#bytes = first;
    this.#length = first.length;
  }

  /** The number of bytes so far. */
  get length(): number {
    return this.#length;
  }

  add(fragment: Buffer): void {
    const length = this.#length + fragment.length;
    if (length > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(length, 2 * this.#bytes.length, 256));
      this.#bytes.copy(larger, 0, 0, this.#length);
      this.#bytes = larger;
    }
    fragment.copy(this.#bytes, this.#length);
    this.#length = length;
  }

  /** Whether what has arrived can be the beginning of a text, or the message is binary. */
  mayBeText(): boolean {
    if (!this.#isText) return true;
    const arrived = this.#bytes.subarray(this.#checked, this.#length);
    const rest = unfinished(arrived);
    this.#checked = this.#length - rest;
    if (!isUtf8(arrived.subarray(0, arrived.length - rest))) return false;
    // The second byte of a character decides whether it is valid, and any continuation makes it complete.
    if (rest < 2) return true;
    const character = Buffer.alloc(characterLength(arrived[arrived.length - rest]!), 0x80);
    arrived.copy(character, 0, arrived.length - rest);
    return isUtf8(character);
  }

  /** The whole message, or null for a text that is not UTF-8. */
  finish(): string | Buffer | null {
    if (this.#isText && !isUtf8(this.#bytes.subarray(this.#checked, this.#length))) return null;
    return this.#isText ? this.#bytes.toString('utf8', 0, this.#length) : this.#bytes.subarray(0, this.#length);
  }
}

/** The number of bytes at the end that begin a character and do not complete it. */
function unfinished(bytes: Buffer): number {
  for (let n = 1; n <= 3 && n <= bytes.length; n++) {
    const byte = bytes[bytes.length - n]!;
    if (byte < 0x80) return 0;
    if (byte >= 0xc0) return characterLength(byte) > n ? n : 0;
  }
  return 0;
}

/** The length of a character by its first byte; 1 for a byte that begins none. */
function characterLength(first: number): number {
  if (first < 0xc2 || first > 0xf4) return 1;
  return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}
