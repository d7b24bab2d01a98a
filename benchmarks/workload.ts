/**
 * The bytes that contenders get, and the answers that are right: computed here by obvious code, from nothing but the bytes.
 */
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
}

/** What an answer is held against; a field that is left out is not looked at. */
export type Expected = Partial<Omit<Answer, 'seconds'>>;

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

/** A block of bytes that holds whole frames and is sent over and over. */
export interface Block {
  readonly bytes: Buffer;
  /** The separator at the end of every frame. */
  readonly separator: string;
}

/** Printable characters, in an order that depends on the seed alone. */
function* characters(seed: number): Generator<number, never> {
  const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789, ');
  let state = seed;
  for (;;) {
    // Marsaglia's xorshift32.
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    yield alphabet[state & 63] as number;
  }
}

/** About `size` bytes of frames, each `length` bytes long with its separator. */
export function textBlock(size: number, length: number, separator = '\n'): Block {
  const count = Math.max(1, Math.floor(size / length));
  const bytes = Buffer.allocUnsafe(count * length);
  const source = characters(0x51b1ce);
  for (let i = 0; i < bytes.length; i++) bytes[i] = source.next().value;
  for (let i = 1; i <= count; i++) bytes.write(separator, i * length - separator.length, 'latin1');
  return { bytes, separator };
}

/** What a block sent `repeats` times amounts to: the frames, and their bytes without separators. */
export function expectedOf(block: Block, repeats: number): Required<Omit<Expected, 'digest'>> {
  let frames = 0;
  let bytes = 0;
  for (const frame of framesOf(block)) {
    frames++;
    bytes += frame.length;
  }
  return { frames: frames * repeats, bytes: bytes * repeats };
}

/** The same, together with the digest of all frames. */
export function verifiableOf(block: Block, repeats: number): Required<Expected> {
  const digest = new Digest();
  for (let i = 0; i < repeats; i++) {
    for (const frame of framesOf(block)) digest.frame(frame);
  }
  return { ...expectedOf(block, repeats), digest: String(digest) };
}

function* framesOf({ bytes, separator }: Block): Generator<Buffer, void> {
  let start = 0;
  for (let end = bytes.indexOf(separator); end !== -1; end = bytes.indexOf(separator, start)) {
    yield bytes.subarray(start, end);
    start = end + separator.length;
  }
  if (start !== bytes.length) throw new RangeError('the block does not end with a whole frame');
}

/** A directory for the blocks of one run. */
export class Blocks {
  readonly #directory: string;
  readonly #files = new Map<Buffer, string>();

  private constructor(directory: string) {
    this.#directory = directory;
  }

  static async create(): Promise<Blocks> {
    return new Blocks(await mkdtemp(join(tmpdir(), 'sluice-bench-')));
  }

  /** The path of a file with exactly these bytes. */
  async file(bytes: Buffer): Promise<string> {
    let path = this.#files.get(bytes);
    if (path === undefined) {
      path = join(this.#directory, `block-${this.#files.size}`);
      await writeFile(path, bytes);
      this.#files.set(bytes, path);
    }
    return path;
  }

  async remove(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }
}
