/**
 * The bytes that contenders get, and the answers that are right: computed here by obvious code, from nothing but the bytes.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Digest } from './contenders/digest.js';

/** What a contender says it has received. */
export interface Answer {
  readonly frames: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly digest?: string;
  /** Resident bytes of a Node contender with `--expose-gc`: the most there ever were, and those left at EOF. */
  readonly peak?: number;
  readonly resident?: number;
}

/** What an answer is held against; a field that is left out is not looked at. */
export type Expected = Partial<Pick<Answer, 'frames' | 'bytes' | 'digest'>>;

/** A contender counted or split wrongly: the run is worth nothing. */
export class WrongAnswerError extends Error {
  override readonly name = 'WrongAnswerError';
}

/** Reads a contender's last line of output and refuses it unless it is the expected answer. */
export function checkAnswer(name: string, output: string, expected: Expected): Answer {
  const line = output.trimEnd().split('\n').at(-1) ?? '';
  let answer: Partial<Answer> | null;
  try {
    answer = JSON.parse(line) as Partial<Answer> | null;
  } catch {
    throw new WrongAnswerError(`${name}: not an answer: ${JSON.stringify(line)}`);
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

/** Bytes that are sent over and over, and the frames in them. */
export interface Block {
  readonly bytes: Buffer;
  /** What each frame holds, without its separator. */
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

/** A block whose frames have one length, and nothing between them. */
export function chopped(bytes: Buffer, length: number): Block {
  if (bytes.length % length !== 0) throw new RangeError('the block does not end with a whole frame');
  const contents: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += length) contents.push(bytes.subarray(start, start + length));
  return { bytes, contents };
}

/** Printable characters without order, but the same ones every time. */
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

/** About `size` bytes of lines, each `length` bytes long with its LF. */
export function lines(size: number, length: number): Block {
  const bytes = text(size - (size % length));
  for (let end = length; end <= bytes.length; end += length) bytes.write('\n', end - 1);
  return separated(bytes, '\n');
}

/** About `size` bytes of blocks of header fields, each `length` bytes long with the empty line at its end. */
export function headers(size: number, length: number): Block {
  const field = 40;
  const bytes = text(size - (size % length));
  for (let start = 0; start < bytes.length; start += length) {
    for (let end = start + field; end < start + length - field; end += field) bytes.write('\r\n', end - 2);
    bytes.write('\r\n\r\n', start + length - 4);
  }
  return separated(bytes, '\r\n\r\n');
}

/** One frame for the contenders that feed themselves; they make the same one. */
export function drips(length: number): Block {
  const separator = '\r\n';
  const bytes = Buffer.alloc(length, 'drip\rdrop, ');
  bytes.write(separator, length - separator.length);
  return separated(bytes, separator);
}

/** A number of bytes for people. */
export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  return bytes < 1024 * 1024 ? `${bytes / 1024} KiB` : `${bytes / 1024 / 1024} MiB`;
}

/** What a block sent `repeats` times amounts to: the frames, and their bytes without separators. */
export function expectedOf({ contents }: Block, repeats: number): Required<Omit<Expected, 'digest'>> {
  const bytes = contents.reduce((sum, content) => sum + content.length, 0);
  return { frames: contents.length * repeats, bytes: bytes * repeats };
}

/**
 * The same for so many connections, of which each gets them all, together with the digest: that of the frames of any one
 * connection, for they have to be equal.
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
  // The promise, not the path: two contenders of different blocks may ask before either file is written.
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
