/** The bytes that contenders receive, and the correct answers, which simple code computes from the bytes alone. */
import { rmSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { Digest } from './contenders/digest.js';
import { type Identity, makeIdentity } from './identity.js';

/** A contender's report of what it received. */
export interface Answer {
  readonly frames: number;
  readonly bytes: number;
  readonly seconds: number;
  readonly digest?: string;
  /** Resident bytes of a Node contender with `--expose-gc`: the maximum, and the size at EOF. */
  readonly peak?: number;
  readonly resident?: number;
  /** Seconds of processor time, user and system. */
  readonly cpu?: number;
  /** Of a client of a real protocol: the 99th percentile of the latency in ms. */
  readonly p99?: number;
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

/** The content of a frame, without separators and lengths: in one piece, or in several parts. */
export type Content = Buffer | readonly Buffer[];

/** Bytes that are sent repeatedly, and the frames in them. */
export interface Block<Held extends Content = Content> {
  readonly bytes: Buffer;
  readonly contents: readonly Held[];
}

/** A block whose frames end with a separator. */
export function separated(bytes: Buffer, separator: string): Block<Buffer> {
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
export function chopped(bytes: Buffer, length: number): Block<Buffer> {
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
export function lines(size: number, length: number): Block<Buffer> {
  const bytes = text(size - (size % length));
  for (let end = length; end <= bytes.length; end += length) bytes.write('\n', end - 1);
  return separated(bytes, '\n');
}

/** About `size` bytes of header blocks, each `length` bytes long including the empty line at its end. */
export function headers(size: number, length: number): Block<Buffer> {
  const field = 40;
  const bytes = text(size - (size % length));
  for (let start = 0; start < bytes.length; start += length) {
    for (let end = start + field; end < start + length - field; end += field) bytes.write('\r\n', end - 2);
    bytes.write('\r\n\r\n', start + length - 4);
  }
  return separated(bytes, '\r\n\r\n');
}

/** About `size` bytes of frames, each `length` bytes long with the 4-byte length of the rest before it, big-endian. */
export function lengthPrefixed(size: number, length: number): Block<Buffer> {
  const bytes = text(size - (size % length));
  const contents: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += length) {
    const payload = bytes.writeUInt32BE(length - LENGTH_BYTES, start);
    contents.push(bytes.subarray(payload, start + length));
  }
  return { bytes, contents };
}

const LENGTH_BYTES = 4;

/** About `size` bytes of messages, each of which is a line with a decimal length, and that many bytes: `length` bytes in all. */
export function lineAndBody(size: number, length: number): Block<Buffer> {
  const bytes = text(size - (size % length));
  const body = length - String(length).length - CRLF.length;
  const contents: Buffer[] = [];
  for (let start = 0; start < bytes.length; start += length) {
    bytes.write(`${body}\r\n`, start, 'latin1');
    contents.push(bytes.subarray(start + length - body, start + length));
  }
  return { bytes, contents };
}

const CRLF = '\r\n';

/**
 * About `size` bytes of requests as Redis receives them, arrays of bulk strings: three of `SET key value` to one of `GET key`.
 * The values have 0 to `longest` bytes. Many contain CR LF, and some what looks like the start of another request.
 */
export function requests(size: number, longest: number): Block<readonly Buffer[]> {
  const letters = text(64 * 1024);
  const contents: Buffer[][] = [];
  const pieces: Buffer[] = [];
  for (let total = 0, i = 0; total < size; i++) {
    const key = Buffer.from(`key:${String((i * 7919) % 1e6).padStart(12, '0')}`);
    const words = i % 4 === 3 ? [Buffer.from('GET'), key] : [Buffer.from('SET'), key, value(letters, i, longest)];
    const bytes = request(words);
    contents.push(words);
    pieces.push(bytes);
    total += bytes.length;
  }
  return { bytes: Buffer.concat(pieces), contents };
}

function value(letters: Buffer, i: number, longest: number): Buffer {
  const length = (i * 17) % (longest + 1);
  const from = (i * 61) % (letters.length - length);
  const bytes = Buffer.from(letters.subarray(from, from + length));
  if (i % 2 === 0) bytes.write('\r\n', i % (length + 1));
  if (i % 7 === 0) bytes.write('*1\r\n$4\r\nPING\r\n');
  return bytes;
}

/** An array of bulk strings. */
export function request(words: readonly Buffer[]): Buffer {
  const parts = words.flatMap((word) => [Buffer.from(`$${word.length}\r\n`), word, Buffer.from('\r\n')]);
  return Buffer.concat([Buffer.from(`*${words.length}\r\n`), ...parts]);
}

/** One frame for the contenders that feed themselves; they make the same one. */
export function drips(length: number): Block<Buffer> {
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
  const parts: readonly Buffer[] = contents.flat();
  const bytes = parts.reduce((sum, part) => sum + part.length, 0);
  return { frames: contents.length * repeats, bytes: bytes * repeats };
}

/**
 * The same for several connections, each of which receives all of the bytes, with the digest of one connection. All connections
 * must have the same digest.
 */
export function verifiableOf(block: Block, repeats: number, connections = 1): Required<Expected> {
  const digest = new Digest();
  for (let i = 0; i < repeats; i++) {
    for (const content of block.contents) {
      if (Buffer.isBuffer(content)) digest.frame(content);
      else digest.parts(content);
    }
  }
  return { ...expectedOf(block, repeats * connections), digest: String(digest) };
}

/** A directory for the blocks of one run. */
export class Blocks {
  readonly #directory: string;
  // Stores the promise, not the path, because two contenders may request a file before it is written.
  readonly #files = new Map<Buffer, Promise<string>>();
  #identity: Promise<Identity> | undefined;
  readonly #removeAtExit = (): void => rmSync(this.#directory, { recursive: true, force: true });

  private constructor(directory: string) {
    this.#directory = directory;
    process.once('exit', this.#removeAtExit);
  }

  static async create(): Promise<Blocks> {
    return new Blocks(await mkdtemp(join(tmpdir(), 'sluice-bench-')));
  }

  /** A certificate and its key for servers on 127.0.0.1. */
  identity(): Promise<Identity> {
    return (this.#identity ??= makeIdentity(this.#directory));
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
