/**
 * The ring whose bytes are moved and searched by the native engine.
 *
 * Block, cursors and growth are those of the TypeScript engine; the native one gets the block for the length of one call.
 */
import type { Addon } from './native.js';
import { FrameIndex, TypeScriptRing, type Block } from './ring.js';
import type { Separator } from './separator.js';

/** The largest limit and count that the native engine takes. */
const MAX_WORD = 2 ** 32 - 1;

/**
 * From how many bytes on an operation is the native engine's: where it took less time than the TypeScript engine, side by
 * side on Node 20 (x64, two cores). A call costs about 190 ns, and checking the lent memory is a part of that.
 *
 * Copying is never worth a call, since `set` is the same `memmove`. Nanoseconds, TypeScript and native: write 64 bytes 62
 * and 218, 8 KiB 162 and 284, 64 KiB 1600 and 1730; copyTo 64 bytes 100 and 216, 8 KiB 167 and 313; in two pieces, across
 * the seam, the two are equal.
 */
const COPY_FROM = Infinity;

/**
 * Searching for one sequence, from how many frames on that are likely to be found. 64-byte lines in a ring with room to
 * spare, TypeScript and native: none found 129 and 197, one 180 and 204, two 213 and 213, three 234 and 214, four 261 and 221,
 * 1024 of them 26200 and 4120; with CR LF three 297 and 232, 1024 of them 34100 and 5800. 64 KiB without any 800 and 890.
 * (The least of 60 rounds of thousands of calls each, the engines in turn.)
 */
const SEARCH_FROM_FRAMES = 3;

/** How long frames are taken to be before a search has found any. From then on it is what was found last that counts. */
const FRAME_BYTES = 64;

/**
 * Searching for several sequences, LF and CR LF: nothing in 16 bytes 330 and 210, in 1000 bytes 330 and 240, one line 280 and
 * 235, 64 KiB of lines 62700 and 7150.
 */
const SEARCH_SEVERAL_FROM = 0;

/** The engine in Rust, behind the interface of the TypeScript one. */
export class NativeRing extends TypeScriptRing {
  readonly #addon: Addon;
  readonly #copyFrom: number;
  readonly #searchSeveralFrom: number;
  /** Whether `#searchFrom` follows what is found. */
  readonly #learns: boolean;
  /** As many bytes as {@link SEARCH_FROM_FRAMES} frames are likely to have. */
  #searchFrom: number;

  /** @param threshold from how many bytes on every operation is the native engine's, instead of what was measured for each */
  constructor(addon: Addon, threshold?: number) {
    super();
    this.#addon = addon;
    this.#copyFrom = threshold ?? COPY_FROM;
    this.#searchSeveralFrom = threshold ?? SEARCH_SEVERAL_FROM;
    this.#learns = threshold === undefined;
    this.#searchFrom = threshold ?? SEARCH_FROM_FRAMES * FRAME_BYTES;
  }

  protected override append(data: Uint8Array, count: number): void {
    if (count < this.#copyFrom || !this.#lendable(data)) super.append(data, count);
    else this.#addon.write(this.block.bytes, data);
  }

  protected override prepend(data: Uint8Array, count: number): void {
    if (count < this.#copyFrom || !this.#lendable(data)) super.prepend(data, count);
    else this.#addon.unread(this.block.bytes, data);
  }

  protected override copyOut(target: Uint8Array, targetStart: number, start: number, end: number): void {
    if (end - start < this.#copyFrom || !this.#lendable(target)) super.copyOut(target, targetStart, start, end);
    else this.#addon.copyTo(this.block.bytes, start, end, target, targetStart);
  }

  protected override relocate(target: Block): void {
    if (this.length < this.#copyFrom) super.relocate(target);
    else this.#addon.relocate(this.block.bytes, target.bytes);
  }

  protected override search(
    separator: Separator,
    start: number,
    resume: number,
    partial: number,
    limit: number,
    max: number,
    out: Uint32Array,
  ): number {
    const { block } = this;
    const searched = this.length - resume;
    // What a separator carries is a number of the engine, which must not change.
    const pays =
      separator.sequences.length === 1 && !separator.carries
        ? searched >= this.#searchFrom && (max >= SEARCH_FROM_FRAMES || !this.#learns)
        : searched >= this.#searchSeveralFrom;
    let count: number;
    if (pays && block.capacity > 0) {
      const native = (separator.native ??= this.#addon.Separator(separator.sequences));
      const most = Math.min(Math.floor(limit), MAX_WORD);
      count = this.#addon.index(block.bytes, native, start, resume, partial, most, max, out);
    } else {
      count = super.search(separator, start, resume, partial, limit, max, out);
    }
    // What is found cannot be known before, but what is read from a connection is much like what was read before. Integers,
    // and one comparison to use them: anything more is noticed in a search that finds nothing.
    if (this.#learns) {
      if (count > 0) {
        const bytes = out[FrameIndex.ENDS + count - 1]! - start;
        this.#searchFrom = Math.ceil((SEARCH_FROM_FRAMES * bytes) / count);
      } else if (max > 0 && SEARCH_FROM_FRAMES * (this.length - start) > this.#searchFrom) {
        this.#searchFrom = SEARCH_FROM_FRAMES * (this.length - start);
      }
    }
    return count;
  }

  /** The native engine takes no memory that it would see twice, or that another thread can write to. */
  #lendable(data: Uint8Array): boolean {
    const { buffer } = data;
    return buffer !== this.block.memory && buffer instanceof ArrayBuffer;
  }
}
