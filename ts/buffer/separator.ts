/**
 * What ends a frame: one or several byte sequences, prepared once and used for many searches.
 *
 * A separator is immutable. {@link Separator.from} converts what a caller passes. Because callers pass the same value to
 * every read of a connection, it first compares that with the value of the previous call, then looks in a small cache.
 * Bytes are compared by content, never by identity: a caller may change the array between two calls.
 */
import { types } from 'node:util';
import { Automaton } from './automaton.js';
import { emptySeparator, invalidType } from '../errors.js';

/** Frames that end with a separator: a string (as UTF-8), bytes, or a list of these. Of several, the match that ends first wins. */
export type Separators = string | Uint8Array | readonly (string | Uint8Array)[];

/** How many separators, or framings, are cached for each kind of value. */
const CACHE_ENTRIES = 64;
/** Longer ones are not cached; only the value of the previous call is kept, up to a size. Building them again costs less than the memory. */
const CACHE_BYTES = 256;
const KEPT_BYTES = 65536;

/** Up to these bounds, a separator is searched for by its last bytes. The same as in `crates/ring/src/separator.rs`. */
const SHORT_BYTES = 16;
const FEW_SEQUENCES = 16;
const FEW_LAST_BYTES = 8;

const EXPECTED = 'a string, a Uint8Array or an array of those';

/** One or several byte sequences that end a frame. */
export class Separator {
  /** The sequences: not empty, each different from the others, in the order given. They are never written to. */
  readonly sequences: readonly Uint8Array[];
  /** Bytes of the longest sequence. */
  readonly longest: number;
  /** Bytes of the shortest sequence. */
  readonly shortest: number;
  /** The byte, if the separator is one sequence of one byte; -1 otherwise. */
  readonly byte: number;
  /** The different bytes that sequences end with. */
  readonly lastBytes: readonly number[];
  /** The sequences that end with a byte, the longest first; indexed by that byte. */
  readonly byLastByte: readonly (readonly Uint8Array[] | undefined)[];
  /**
   * Whether a search continues in the middle of a separator when more bytes have arrived. Otherwise it searches the last `longest - 1`
   * bytes again, which are at most 15. Both engines make the same choice, but they carry different numbers.
   */
  readonly carries: boolean;
  /** The counterpart in the native engine, created when it is first needed. */
  native: unknown = undefined;
  #automaton: Automaton | undefined;

  /** @param list at least one sequence, none of them empty, in memory that is never written to: {@link from} makes copies */
  constructor(list: readonly Uint8Array[]) {
    const sequences = list.filter((sequence, i) => !list.some((other, j) => j < i && sameBytes(sequence, other)));
    const byLastByte = new Array<Uint8Array[] | undefined>(256).fill(undefined);
    for (const sequence of sequences) {
      const last = sequence[sequence.length - 1]!;
      (byLastByte[last] ??= []).push(sequence);
    }
    for (const group of byLastByte) group?.sort((a, b) => b.length - a.length);
    const lengths = sequences.map((sequence) => sequence.length);
    this.sequences = sequences;
    this.longest = Math.max(...lengths);
    this.shortest = Math.min(...lengths);
    this.byte = sequences.length === 1 && this.longest === 1 ? sequences[0]![0]! : -1;
    this.lastBytes = [...byLastByte.keys()].filter((byte) => byLastByte[byte] !== undefined);
    this.byLastByte = byLastByte;
    this.carries =
      this.longest > SHORT_BYTES || sequences.length > FEW_SEQUENCES || this.lastBytes.length > FEW_LAST_BYTES;
  }

  /** The automaton that finds it. */
  get automaton(): Automaton {
    return (this.#automaton ??= new Automaton(this.sequences));
  }

  /**
   * The separator that `value` describes. The bytes are copied, so later changes by the caller have no effect.
   *
   * @param action the method that the error messages name
   * @throws RangeError `ERR_SEPARATOR_EMPTY` for a sequence without bytes and for a list without sequences
   * @throws TypeError `ERR_INVALID_ARG_TYPE` for anything but strings, `Uint8Array`s and arrays of those
   */
  static from(value: Separators, action: string): Separator {
    if (typeof value === 'string') {
      return value === lastText ? lastTextSeparator! : fromText(value, action);
    }
    if (types.isUint8Array(value)) {
      return lastBytesSeparator !== undefined && sameBytes(value, lastBytesSeparator.sequences[0]!)
        ? lastBytesSeparator
        : fromBytes(value, action);
    }
    if (Array.isArray(value)) {
      return lastListSeparator !== undefined && sameList(value, lastList)
        ? lastListSeparator
        : fromList(value as readonly unknown[], action);
    }
    throw invalidType(action, 'separator', EXPECTED, value);
  }
}

// The value of the previous call, one for each kind, so that programs that use two kinds keep both. A list is remembered as
// a copy, including its arrays: the caller may change the original.
let lastText: string | undefined;
let lastTextSeparator: Separator | undefined;
let lastBytesSeparator: Separator | undefined;
let lastList: readonly (string | Uint8Array)[] = [];
let lastListSeparator: Separator | undefined;

const texts = new Map<string, Separator>();
const contents = new Map<string, Separator>();
const lists = new Map<string, Separator>();

function fromText(text: string, action: string): Separator {
  let separator = texts.get(text);
  if (separator === undefined) {
    if (text === '') throw emptySeparator(action, 'the separator is an empty string');
    separator = new Separator([encode(text)]);
    if (separator.longest > KEPT_BYTES) return separator;
    if (separator.longest <= CACHE_BYTES) remember(texts, text, separator);
  }
  lastText = text;
  lastTextSeparator = separator;
  return separator;
}

function fromBytes(bytes: Uint8Array, action: string): Separator {
  if (bytes.length === 0) throw emptySeparator(action, 'the separator holds no bytes');
  if (bytes.length > KEPT_BYTES) return new Separator([Uint8Array.from(bytes)]);
  const key = bytes.length > CACHE_BYTES ? undefined : content(bytes);
  let separator = key === undefined ? undefined : contents.get(key);
  if (separator === undefined) {
    separator = new Separator([Uint8Array.from(bytes)]);
    if (key !== undefined) remember(contents, key, separator);
  }
  lastBytesSeparator = separator;
  return separator;
}

function fromList(list: readonly unknown[], action: string): Separator {
  if (list.length === 0) throw emptySeparator(action, 'the list of separators is empty');
  const kept: (string | Uint8Array)[] = [];
  const copies: Uint8Array[] = [];
  let size = 0;
  // By index, because forEach and map would ignore the holes of a sparse array.
  for (let i = 0; i < list.length; i++) {
    const item = list[i];
    const name = `separator[${i}]`;
    if (typeof item !== 'string' && !types.isUint8Array(item)) {
      throw invalidType(action, name, 'a string or a Uint8Array', item);
    }
    if (item.length === 0) throw emptySeparator(action, `${name} is empty`);
    const copy = typeof item === 'string' ? encode(item) : Uint8Array.from(item);
    copies.push(copy);
    kept.push(typeof item === 'string' ? item : copy);
    size += copy.length;
  }
  if (size > KEPT_BYTES) return new Separator(copies);
  // Each part is preceded by its length, so that no two lists share a key.
  const key = size > CACHE_BYTES ? undefined : copies.map((copy) => `${copy.length}:${content(copy)}`).join('');
  let separator = key === undefined ? undefined : lists.get(key);
  if (separator === undefined) {
    separator = new Separator(copies);
    if (key !== undefined) remember(lists, key, separator);
  }
  lastList = kept;
  lastListSeparator = separator;
  return separator;
}

/** Adds an entry to a cache. If it is full, the oldest entry is removed. */
export function remember<T>(cache: Map<string, T>, key: string, value: T): void {
  if (cache.size >= CACHE_ENTRIES) {
    const oldest = cache.keys().next();
    if (oldest.done !== true) cache.delete(oldest.value);
  }
  cache.set(key, value);
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function content(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1');
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) {
    if (a[i] !== b[i]) return false;
  }
  return true;
}

function sameList(list: readonly unknown[], remembered: readonly (string | Uint8Array)[]): boolean {
  if (list.length !== remembered.length) return false;
  for (let i = 0; i < list.length; i++) {
    const item = list[i];
    const before = remembered[i]!;
    if (item === before) continue;
    if (typeof before === 'string' || !types.isUint8Array(item) || !sameBytes(item, before)) return false;
  }
  return true;
}
