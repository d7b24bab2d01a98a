/** The bytes that contenders receive, and the correct answers, which simple code computes from the bytes alone. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Digest } from './contenders/digest.js';

/** A contender's report of what it received. */
export interface Answer {
  readonly frames: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly digest?: string;
  /** Resident bytes of a Node contender with `--expose-gc`: the maximum, and the size at EOF. */
  readonly peak?: number;
  readonly resident?: number;
}

/** The expected answer. Fields that are omitted are not checked. */
export type Expected = Partial<Pick<Answer, 'frames' | 'bytes' | 'digest'>>;

/** A contender counted or split wrongly, so the run is invalid. */
export class WrongAnswerError extends Error {
  override readonly name = 'WrongAnswerError';
}

/** Parses the last line of a contender's output, and throws if it is not the expected answer. */
export function checkAnswer(name: string, output: string, expected: Expected): Answer {
  const line = output.trimEnd().split('\n').at(-1) ?? '';
  let answer: Partial<Answer> | null;
  try {
    answer = JSON.parse(line) as Partial<Answer> | null;
  } catch {
    throw new WrongAnswerError(`${name}: the output is not an answer: ${JSON.stringify(line)}`);
  }
  for (const key of ['frames', 'bytes', 'digest'] as const) {
    if (expected[key] !== undefined && answer?.[key] !== expected[key]) {
      throw new WrongAnswerError(`${name}: ${key} is ${answer?.[key]}, expected ${expected[key]}`);
    }
  }
  if (typeof answer?.seconds !== 'number' || !(answer.seconds > 0)) {
    throw new WrongAnswerError(`${name}: seconds is ${answer?.seconds}, expected a duration`);
  }
  return answer as Answer;
}

/** Bytes that are sent repeatedly, and the frames in them. */
export interface Block {
  readonly bytes: Buffer;
  /** The content of each frame, without its separator. */
  readonly contents: readonly Buffer[];
}

/** A block whose frames end with a separator. */
export function separated(bytes: Buffer, separator: string): Block {
  const contents: Buffer[] = [];
  let start = 0;
  for (let end = bytes.indexOf(separator); end !== -1; end = bytes.indexOf(separator, start)) {
    contents.push(bytes.subarray(start, end));
    start = end + separator.length;
  }
  if (start !== bytes.length) throw new RangeError('the block does not end with a whole frame');
  return { bytes, contents };
}

/** A block whose frames all have the same length, with nothing between them. */
export function chopped(bytes: Buffer, length: number): Block {
  if (bytes.length % length !== 0) throw new RangeError('the block does not end with a whole frame');
  const contents: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += length) contents.push(bytes.subarray(start, start + length));
  return { bytes, contents };
}

/** Pseudo-random printable characters, the same ones every time. */
export function text(size: number): Buffer {
  const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789, ');
  const bytes = Buffer.allocUnsafe(size);
  let state = 0x51b1ce;
  for (let i = 0; i < size; i++) {
    // Marsaglia's xorshift32.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[i] = alphabet[state & 63] as number;
  }
  return bytes;
}

/** About `size` bytes of lines, each `length` bytes long including its LF. */
export function lines(size: number, length: number): Block {
  const bytes = text(size - (size % length));
  for (let end = length; end <= bytes.length; end += length) bytes.write('\n', end - 1);
  return separated(bytes, '\n');
}

/** About `size` bytes of header blocks, each `length` bytes long including the empty line at its end. */
export function headers(size: number, length: number): Block {
  const field = 40;
  const bytes = text(size - (size % length));
  for (let start = 0; start < bytes.length; start += length) {
    for (let end = start + field; end < start + length - field; end += field) bytes.write('\r\n', end - 2);
    bytes.write('\r\n\r\n', start + length - 4);
  }
  return separated(bytes, '\r\n\r\n');
}

/** The frame of the contenders that feed themselves, which create the same one. */
export function drips(length: number): Block {
  const separator = '\r\n';
  const bytes = Buffer.alloc(length, 'drip\rdrop, ');
  bytes.write(separator, length - separator.length);
  return separated(bytes, separator);
}

/** A number of bytes in a readable unit. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${bytes / 1024} KiB` : `${bytes / 1024 / 1024} MiB`;
}

/** The number of frames, and of their bytes without separators, in a block that is sent `repeats` times. */
export function expectedOf({ contents }: Block, repeats: number): Required<Omit<Expected, 'digest'>> {
  const bytes = contents.reduce((sum, content) => sum + content.length, 0);
  return { frames: contents.length * repeats, bytes: bytes * repeats };
}

/**
 * The same for several connections, each of which receives all of the bytes, with the digest of one connection. All connections
 * must have the same digest.
 */
export function verifiableOf(block: Block, repeats: number, connections = 1): Required<Expected> {
  const digest = new Digest();
  for (let i = 0; i < repeats; i++) {
    for (const content of block.contents) digest.frame(content);
  }
  return { ...expectedOf(block, repeats * connections), digest: String(digest) };
}

/** A directory for the blocks of one run. */
export class Blocks {
  readonly #directory: string;
  // Stores the promise, not the path, because two contenders may request a file before it is written.
  readonly #files = new Map<Buffer, Promise<string>>();
  readonly #removeAtExit = (): void => rmSync(this.#directory, { recursive: true, force: true });

  private constructor(directory: string) {
    this.#directory = directory;
    process.once('exit', this.#removeAtExit);
  }

  static async create(): Promise<Blocks> {
    return new Blocks(await mkdtemp(join(tmpdir(), 'sluice-bench-')));
  }

  /** The path of a file with exactly these bytes. */
  file(bytes: Buffer): Promise<string> {
    let written = this.#files.get(bytes);
    if (written === undefined) {
      const path = join(this.#directory, `block-${this.#files.size}`);
      written = writeFile(path, bytes).then(() => path);
      this.#files.set(bytes, written);
    }
    return written;
  }

  async remove(): Promise<void> {
    process.off('exit', this.#removeAtExit);
    await rm(this.#directory, { recursive: true, force: true });
  }
}
