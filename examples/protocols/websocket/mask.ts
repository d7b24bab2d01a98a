/** The masking of WebSocket (RFC 6455, section 5.3): every byte that a client sends is combined with one of the four bytes of a key. */
import { Buffer } from 'node:buffer';
import { randomFillSync } from 'node:crypto';

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Below this many bytes it is not worth looking up the 32-bit words of the memory. */
const WORDS_FROM = 64;

/** Random keys, a few thousand at a time, since each call of the generator costs more than masking a short message. */
const KEYS = new Int32Array(2048);
let keysUsed = KEYS.length;

/** A new, unpredictable key. Its first byte is the highest one. */
export function randomKey(): number {
  if (keysUsed === KEYS.length) {
    randomFillSync(KEYS);
    keysUsed = 0;
  }
  return KEYS[keysUsed++]!;
}

/** Masks, or unmasks, `bytes[start]` to `bytes[end - 1]` in place. The first byte of the key belongs to `bytes[start]`. */
export function mask(bytes: Uint8Array, key: number, start = 0, end = bytes.length): void {
  let at = start;
  if (end - start >= WORDS_FROM) {
    const { byteOffset } = bytes;
    for (; ((byteOffset + at) & 3) !== 0; at++, key = next(key)) bytes[at]! ^= key >>> 24;
    const words = wordsOf(bytes.buffer);
    const word = LITTLE_ENDIAN ? swap(key) : key;
    const last = (byteOffset + end) >>> 2;
    for (let i = (byteOffset + at) >>> 2; i < last; i++) words[i]! ^= word;
    at = last * 4 - byteOffset;
  }
  for (; at < end; at++, key = next(key)) bytes[at]! ^= key >>> 24;
}

/** Copies `length` bytes from `from[start]` and unmasks them. The result belongs to the caller. */
export function unmasked(from: Buffer, start: number, length: number, key: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  if (length > 256) {
    from.copy(bytes, 0, start, start + length);
    mask(bytes, key);
    return bytes;
  }
  // For few bytes this is faster than the call that copies them.
  const [a, b, c, d] = [key >>> 24, key >>> 16, key >>> 8, key];
  let i = 0;
  for (; i + 4 <= length; i += 4) {
    bytes[i] = from[start + i]! ^ a;
    bytes[i + 1] = from[start + i + 1]! ^ b;
    bytes[i + 2] = from[start + i + 2]! ^ c;
    bytes[i + 3] = from[start + i + 3]! ^ d;
  }
  for (; i < length; i++, key = next(key)) bytes[i] = from[start + i]! ^ (key >>> 24);
  return bytes;
}

/** The key for the position after the next byte. */
function next(key: number): number {
  return (key << 8) | (key >>> 24);
}

function swap(key: number): number {
  return (key >>> 24) | ((key >>> 8) & 0xff00) | ((key & 0xff00) << 8) | (key << 24);
}

let poolWords: Uint32Array = new Uint32Array(0);

/** The words of a block of memory. Those of the last small block are kept, because short `Buffer`s share one. */
function wordsOf(memory: ArrayBufferLike): Uint32Array {
  if (poolWords.buffer === memory) return poolWords;
  const words = new Uint32Array(memory, 0, memory.byteLength >>> 2);
  if (memory.byteLength <= 65536) poolWords = words;
  return words;
}
