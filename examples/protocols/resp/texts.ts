/**
 * Short strings out of bytes, one character for each byte. The most recent ones are remembered, so that a key that is used again and again
 * is not created again and again. Which strings share a slot does not matter for the result, only for the speed.
 */

/** The longest string that is remembered, and how many are. */
const LONGEST = 64;
const SLOTS = 1024;
/** How many of its last bytes choose the slot: keys often begin alike. */
const HASHED = 8;

export class Texts {
  readonly #recent: string[] = Array<string>(SLOTS).fill('');
  /** The bytes of the string in each slot: comparing bytes is faster than comparing characters. */
  readonly #bytes = new Uint8Array(SLOTS * LONGEST);

  get(bytes: Buffer, begin: number, end: number): string {
    const length = end - begin;
    if (length > LONGEST) return bytes.toString('latin1', begin, end);
    let hash = length;
    for (let i = length > HASHED ? end - HASHED : begin; i < end; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
    const slot = (hash ^ (hash >>> 10)) & (SLOTS - 1);
    const known = this.#bytes;
    const base = slot * LONGEST;
    const recent = this.#recent[slot]!;
    if (recent.length === length) {
      let i = 0;
      while (i < length && known[base + i] === bytes[begin + i]) i++;
      if (i === length) return recent;
    }
    for (let i = 0; i < length; i++) known[base + i] = bytes[begin + i]!;
    return (this.#recent[slot] = bytes.toString('latin1', begin, end));
  }
}
