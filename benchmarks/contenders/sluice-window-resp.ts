/**
 * sluice: a parser of requests to Redis on `stream.window()` and `stream.consume()`. It reads counts and lengths from the bytes, knows
 * the command in place, and says where in the window each argument is: the command that is executed makes of it what it needs.
 */
import { connect } from 'sluice';

import { answer, commandAt, executeInPlace } from './commands.js';
import { now, port } from './program.js';

const ASTERISK = 42;
const DOLLAR = 36;
const CR = 13;
const ZERO = 48;

/** The most words of a request, as in Redis. */
const MOST_WORDS = 1024 * 1024;

class Requests {
  /** How many bytes the next window needs at least for another request. */
  needed = 1;
  #bytes: Buffer = Buffer.alloc(0);
  #cursor = 0;
  /** Where each argument of the request at the cursor begins and ends, one pair after the other. */
  readonly #bounds: number[] = [];

  /** Executes every complete request in `bytes`, and returns how many bytes they are. */
  parse(bytes: Buffer): number {
    this.#bytes = bytes;
    this.#cursor = 0;
    let end = 0;
    while (end < bytes.length && this.#request()) end = this.#cursor;
    if (end === bytes.length) this.needed = 1;
    else this.needed -= end;
    return end;
  }

  /** Executes the request at the cursor; false if it is not complete. */
  #request(): boolean {
    const bytes = this.#bytes;
    const count = this.#number(ASTERISK);
    if (count === -1) return false;
    if (count === 0 || count > MOST_WORDS) throw new Error(`a request of ${count} words`);
    const bounds = this.#bounds;
    let command = 0;
    for (let i = 0; i < count; i++) {
      const length = this.#number(DOLLAR);
      if (length === -1) return false;
      const start = this.#cursor;
      // The word, CR and LF.
      this.#cursor = start + length + 2;
      if (this.#cursor > bytes.length) {
        this.needed = this.#cursor;
        return false;
      }
      if (i === 0) command = commandAt(bytes, start, length);
      else {
        bounds[2 * i - 2] = start;
        bounds[2 * i - 1] = start + length;
      }
    }
    executeInPlace(command, bytes, bounds, 2 * count - 2);
    return true;
  }

  /** The number between `type` and CR LF at the cursor; -1 if it is not complete. */
  #number(type: number): number {
    const bytes = this.#bytes;
    let cursor = this.#cursor;
    let number = 0;
    if (cursor < bytes.length && bytes[cursor] !== type) throw new Error(`byte ${bytes[cursor]}, expected ${type}`);
    while (++cursor < bytes.length) {
      const byte = bytes[cursor]!;
      if (byte === CR) {
        this.#cursor = cursor + 2;
        return number;
      }
      if (byte < ZERO || byte > ZERO + 9) throw new Error(`byte ${byte} in a number`);
      number = number * 10 + byte - ZERO;
    }
    this.needed = bytes.length + 1;
    return -1;
  }
}

const stream = await connect('127.0.0.1', port);
const start = now();
const requests = new Requests();
for (;;) {
  const window = await stream.window(requests.needed);
  if (window.length < requests.needed) {
    if (window.length > 0) throw new Error(`${window.length} bytes of a request before EOF`);
    break;
  }
  stream.consume(requests.parse(window));
}
answer(now() - start);
await stream.close();
