/**
 * The ring whose bytes are moved and searched by the native engine.
 *
 * Block, cursors and growth are those of the TypeScript engine; the native one gets the block for the length of one call.
 */
import type { Addon, NativeSeparator } from './native.js';
import { TypeScriptRing, type Block } from './ring.js';
import type { Separator } from './separator.js';

/** The largest limit and count that the native engine takes. */
const MAX_WORD = 2 ** 32 - 1;

const WRITE_FROM = 1024;
const COPY_FROM = 1024;
const RELOCATE_FROM = 1024;
const SEARCH_FROM = 256;

/** The engine in Rust, behind the interface of the TypeScript one. */
export class NativeRing extends TypeScriptRing {
  readonly #addon: Addon;
  readonly #writeFrom: number;
  readonly #copyFrom: number;
  readonly #relocateFrom: number;
  readonly #searchFrom: number;

  /** @param threshold from how many bytes on an operation is the native engine's; by default what was measured for each */
  constructor(addon: Addon, threshold?: number) {
    super();
    this.#addon = addon;
    this.#writeFrom = threshold ?? WRITE_FROM;
    this.#copyFrom = threshold ?? COPY_FROM;
    this.#relocateFrom = threshold ?? RELOCATE_FROM;
    this.#searchFrom = threshold ?? SEARCH_FROM;
  }

  protected override append(data: Uint8Array): void {
    if (data.length < this.#writeFrom) super.append(data);
    else this.#addon.write(this.block.bytes, data);
  }

  protected override prepend(data: Uint8Array): void {
    if (data.length < this.#writeFrom) super.prepend(data);
    else this.#addon.unread(this.block.bytes, data);
  }

  protected override copyOut(target: Uint8Array, targetStart: number, start: number, end: number): void {
    if (end - start < this.#copyFrom) super.copyOut(target, targetStart, start, end);
    else this.#addon.copyTo(this.block.bytes, start, end, target, targetStart);
  }

  protected override relocate(target: Block): void {
    if (this.length < this.#relocateFrom) super.relocate(target);
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
    if (this.length - resume < this.#searchFrom || block.capacity === 0) {
      return super.search(separator, start, resume, limit, max, out);
    }
    const native = (separator.native ??= new this.#addon.Separator(separator.sequences)) as NativeSeparator;
    return this.#addon.index(block.bytes, native, start, resume, Math.min(limit, MAX_WORD), max, out);
  }
}
