/** A message at every split: whole, in two parts cut anywhere, and byte by byte. */
import { Buffer } from 'node:buffer';
import { checkBoolean, checkLimit, checkObject, isBytes } from '../checks.js';
import { invalidType, outOfRange } from '../errors.js';
import { StreamReader, readerIntake, type LimitOptions } from '../reader/reader.js';
import type { Stream } from '../stream/stream.js';
import { settled } from './settled.js';

/** Options of {@link splits}. */
export interface SplitsOptions extends LimitOptions {
  /**
   * Bytes that follow the message, and arrive together with its last byte, as the beginning of the next one does. A parser must leave them
   * unread. Default: none.
   */
  trailing?: Uint8Array | string | undefined;
  /** Whether the stream ends after the bytes. Default true. */
  eof?: boolean | undefined;
}

/** One way in which a message can arrive. */
export class Split {
  /** What this split is, for the messages of a test: `whole`, `cut at 7 of 20`, `byte by byte`. */
  readonly title: string;
  /** The parts in which the bytes arrive, trailing bytes included. */
  readonly parts: readonly Buffer[];
  readonly #limit: number;
  readonly #eof: boolean;
  #reader: StreamReader | null = null;

  /** @internal */
  constructor(title: string, parts: readonly Buffer[], limit: number, eof: boolean) {
    this.title = title;
    this.parts = parts;
    this.#limit = limit;
    this.#eof = eof;
  }

  /**
   * A reader that receives the parts. The first one has arrived; each of the others, and then EOF, arrives on a later turn of the event loop
   * once a read waits for it. So a parser sees every part without the next. If there is one part, EOF has arrived with it.
   */
  get reader(): StreamReader {
    return (this.#reader ??= this.#makeReader());
  }

  #makeReader(): StreamReader {
    const reader = new StreamReader({ limit: this.#limit });
    const [first, ...rest] = this.parts as [Buffer, ...Buffer[]];
    reader.feedData(first);
    if (rest.length === 0) {
      if (this.#eof) reader.feedEof();
      return reader;
    }
    let waits = false;
    let fed = false;
    const feed = (): void => {
      fed = false;
      // The read may have been cancelled.
      if (!waits) return;
      const part = rest.shift();
      if (part !== undefined) reader.feedData(part);
      else if (this.#eof) reader.feedEof();
      else return;
      if (waits) later();
    };
    const later = (): void => {
      if (fed) return;
      fed = true;
      setImmediate(feed);
    };
    // The reader retains its source while a read waits.
    const source = {
      transport: null,
      retain: () => {
        waits = true;
        later();
      },
      release: () => {
        waits = false;
      },
    };
    readerIntake(reader).attach({ resumeReading: () => {} }, source);
    return reader;
  }

  /**
   * Writes the parts to a stream of a `streampair`: each has arrived, and the program has reacted to it, before the next one is written.
   * Does not end the stream.
   */
  async writeTo(stream: Stream): Promise<void> {
    for (const part of this.parts) {
      await stream.write(part);
      await settled();
    }
  }
}

/**
 * Returns every way in which a message can arrive: whole, in two parts cut at every position, and byte by byte. A parser must return the
 * same for all of them.
 *
 * ```ts
 * for (const { title, reader } of splits('HELLO\r\n')) {
 *   assert.equal((await reader.readuntil('\r\n')).toString(), 'HELLO\r\n', title);
 * }
 * ```
 *
 * @param bytes - the message, at least one byte; a string is UTF-8
 * @param options - `trailing`: bytes that follow the message; `eof`: whether the stream then ends, default true; `limit` of the readers
 * @throws TypeError `ERR_INVALID_ARG_TYPE`, RangeError `ERR_OUT_OF_RANGE` for an invalid argument
 */
export function splits(bytes: Uint8Array | string, options: SplitsOptions = {}): Iterable<Split> {
  const message = checkBytes('bytes', bytes);
  if (message.length === 0) throw outOfRange('splits', 'bytes', 'at least 1 byte', bytes);
  checkObject('splits', 'options', options);
  const trailing = checkBytes('trailing', options.trailing ?? '');
  const limit = checkLimit('splits', options.limit);
  const { eof = true } = options;
  checkBoolean('splits', 'eof', eof);
  return {
    *[Symbol.iterator]() {
      const { length } = message;
      const all = Buffer.concat([message, trailing]);
      yield new Split('whole', [all], limit, eof);
      for (let cut = 1; cut < length; cut++) {
        yield new Split(`cut at ${cut} of ${length}`, [all.subarray(0, cut), all.subarray(cut)], limit, eof);
      }
      const parts = Array.from({ length }, (_, i) => all.subarray(i, i === length - 1 ? all.length : i + 1));
      yield new Split('byte by byte', parts, limit, eof);
    },
  };
}

function checkBytes(name: string, bytes: unknown): Buffer {
  if (typeof bytes === 'string' || isBytes(bytes)) return Buffer.from(bytes as string);
  throw invalidType('splits', name, 'a string or Uint8Array', bytes);
}
