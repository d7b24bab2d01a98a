/**
 * What the two parsers of RESP (the protocol of Redis) and the encoder have in common: no sockets, no streams.
 *
 * `requests.ts` parses what clients send, `replies.ts` what servers send, and `output.ts` encodes both. RESP 2 and RESP 3 are supported,
 * except for the streamed strings and aggregates of RESP 3 (`$?`, `*?`), which no version of Redis sends.
 */

/** The most bytes of a request or reply, including everything nested in it. */
export const MAX_BYTES = 64 * 1024 * 1024;
/** The most items of a reply, those of nested arrays included, and the most words of a request. */
export const MAX_ITEMS = 1024 * 1024;
/** How deep arrays may be nested. */
export const MAX_DEPTH = 16;
/** The most bytes of a line: a simple string, an error, a request that was typed by hand. */
export const MAX_LINE = 64 * 1024;

export const [CR, LF, MINUS, ZERO, DOLLAR, STAR] = [0x0d, 0x0a, 0x2d, 0x30, 0x24, 0x2a] as const;

/** The peer has sent something that is not RESP, or too much of it. The position of the next message is unknown: close the connection. */
export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
}

/** The result of {@link LengthParser.length} if the line is not complete. */
export const INCOMPLETE = -2;

/** Reads lengths, such as `3` of `$3\r\n`, from the bytes. */
export class LengthParser {
  /** Where the element that was parsed last ends. */
  protected at = 0;

  /**
   * The length in the line that begins at `start`, and {@link at} after the line: 0 or more, -1 for a null of RESP 2, or
   * {@link INCOMPLETE}. Lengths that are too large for any purpose are an error at once, not when their line is complete.
   */
  protected length(bytes: Buffer, start: number): number {
    let at = start;
    let length = 0;
    if (start + 2 < bytes.length && bytes[start + 1] === CR && bytes[start + 2] === LF) {
      length = bytes[start]! - ZERO;
      if (length >= 0 && length <= 9) {
        this.at = start + 3;
        return length;
      }
      length = 0;
    }
    for (; at < bytes.length; at++) {
      const digit = bytes[at]! - ZERO;
      if (digit < 0 || digit > 9) break;
      // A leading zero is an error, so that each length has one form.
      if (length === 0 && at > start) throw invalidLength(bytes, start);
      length = length * 10 + digit;
      if (length > MAX_BYTES) throw new ProtocolError(`a length of ${length} or more; the maximum is ${MAX_BYTES}`);
    }
    const rest = bytes.length - at;
    if (rest === 0) return INCOMPLETE;
    if (at === start) return this.#null(bytes, start);
    if (bytes[at] !== CR || (rest > 1 && bytes[at + 1] !== LF)) throw invalidLength(bytes, start);
    if (rest === 1) return INCOMPLETE;
    this.at = at + 2;
    return length;
  }

  #null(bytes: Buffer, start: number): number {
    for (let i = 0; i < NULL.length; i++) {
      if (start + i === bytes.length) return INCOMPLETE;
      if (bytes[start + i] !== NULL[i]) throw invalidLength(bytes, start);
    }
    this.at = start + NULL.length;
    return -1;
  }
}

const NULL = Buffer.from('-1\r\n');

function invalidLength(bytes: Buffer, start: number): ProtocolError {
  const shown = JSON.stringify(bytes.toString('latin1', start, Math.min(bytes.length, start + 16)));
  return new ProtocolError(`invalid length: ${shown}`);
}

export function tooLarge(what: string, bytes: number): ProtocolError {
  return new ProtocolError(`a ${what} of ${bytes} bytes; the maximum is ${MAX_BYTES}`);
}

export function showByte(byte: number): string {
  return JSON.stringify(String.fromCharCode(byte));
}
