/**
 * The ring whose bytes are moved and searched by the native engine.
 *
 * Block, cursors and growth are those of the TypeScript engine; the native one gets the block for the length of one call.
 */
import type { Addon } from './native.js';
import { TypeScriptRing, type Block } from './ring.js';
import type { Separator } from './separator.js';

/** The largest limit and count that the native engine takes. */
const MAX_WORD = 2 ** 32 - 1;

/**
 * From how many bytes on an operation is the native engine's: where it took less time than the TypeScript engine, side by
 * side on Node 20 (x64, two cores). A call costs about 150 ns, and checking the lent block is a part of that.
 *
 * Copying is never worth a call, since `set` is the same `memmove`. Nanoseconds, TypeScript and native: write 64 bytes 62
 * and 218, 8 KiB 162 and 284, 64 KiB 1600 and 1730; copyTo 64 bytes 100 and 216, 8 KiB 167 and 313; in two pieces, across
 * the seam, the two are equal.
 */
const COPY_FROM = Infinity;

/**
 * Searching for one sequence. LF behind 64 bytes 227 and 211, sixteen of them 1070 and 630, 64 KiB of them 34000 and 14000;
 * in a few bytes, or where nothing is found, TypeScript saves 50 to 100 ns.
 */
const SEARCH_FROM = 64;

/** Searching for several sequences, LF and CR LF: 16 bytes 440 and 205, 1 KiB of lines 1400 and 470. */
const SEARCH_SEVERAL_FROM = 0;

/** The engine in Rust, behind the interface of the TypeScript one. */
export class NativeRing extends TypeScriptRing {
  readonly #addon: Addon;
  readonly #copyFrom: number;
  readonly #searchFrom: number;
  readonly #searchSeveralFrom: number;

  /** @param threshold from how many bytes on every operation is the native engine's, instead of what was measured for each */
  constructor(addon: Addon, threshold?: number) {
    super();
    this.#addon = addon;
    this.#copyFrom = threshold ?? COPY_FROM;
    this.#searchFrom = threshold ?? SEARCH_FROM;
    this.#searchSeveralFrom = threshold ?? SEARCH_SEVERAL_FROM;
  }

  protected override append(data: Uint8Array): void {
    if (data.length < this.#copyFrom || !this.#lendable(data)) super.append(data);
    else this.#addon.write(this.block.bytes, data);
  }

  protected override prepend(data: Uint8Array): void {
    if (data.length < this.#copyFrom || !this.#lendable(data)) super.prepend(data);
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
    limit: number,
    max: number,
    out: Uint32Array,
  ): number {
    const { block } = this;
    const from = separator.sequences.length === 1 ? this.#searchFrom : this.#searchSeveralFrom;
    if (this.length - resume < from || block.capacity === 0) {
      return super.search(separator, start, resume, limit, max, out);
    }
    const native = (separator.native ??= new this.#addon.Separator(separator.sequences));
    return this.#addon.index(block.bytes, native, start, resume, Math.min(Math.floor(limit), MAX_WORD), max, out);
  }

  /** The native engine takes no memory that it would see twice, or that another thread can write to. */
  #lendable(data: Uint8Array): boolean {
    const { buffer } = data;
    return buffer !== this.block.bytes.buffer && buffer instanceof ArrayBuffer;
  }
}
