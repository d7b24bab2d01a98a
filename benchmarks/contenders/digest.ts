import { createHash, type Hash } from 'node:crypto';

/**
 * A digest of frames that depends on where each frame ends: of the length and the content of every frame, without its separator.
 */
export class Digest {
  readonly #hash: Hash = createHash('sha256');

  frame(content: Uint8Array | string): void {
    this.#hash.update(`${content.length}:`).update(content);
  }

  /** A frame of several parts; the digest also depends on where each of them ends. */
  parts(contents: readonly (Uint8Array | string)[]): void {
    this.#hash.update(`${contents.map(({ length }) => length).join()}:`);
    for (const content of contents) this.#hash.update(content);
  }

  toString(): string {
    return this.#hash.digest('hex');
  }
}
