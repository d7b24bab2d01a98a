/**
 * The search for a separator in the bytes of a ring, in the TypeScript engine.
 *
 * A match is found by its last byte. A single byte never crosses the wrap point, so `indexOf`, for which the runtime uses vector
 * instructions, finds it in each segment. The bytes before it are compared across the wrap point. Of the sequences that end at one
 * position, the longest is compared first.
 *
 * The time is linear in the bytes, whatever they are and whatever the separator is:
 *
 *     short separators   by last bytes; after several that do not end a sequence, by the last few bytes of the sequence, or byte by
 *                        byte; once that has cost more than one step for each byte, by the automaton
 *     all others         by the automaton, which continues in the middle of a separator when more bytes arrive. The other ways would
 *                        search as many bytes as the longest sequence has again with every chunk
 */
import type { Buffer } from 'node:buffer';
import type { Separator } from './separator.js';

/**
 * How many false candidates (last bytes of a separator without the rest before it) are examined one by one in a frame. After them, a
 * search begins that costs more to start and less for each candidate.
 */
const FALSE_CANDIDATES = 4;

/** How many bytes at the end of a sequence `indexOf` searches for: so few that it is fast, whatever they are. */
const ANCHOR_BYTES = 4;

/** The cost of a candidate, in steps of the automaton, and how many steps more than bytes are allowed. */
const CANDIDATE_STEPS = 8;
const ALLOWANCE = 512;

/** The size of the first window in which several last bytes are searched for. Each following window is twice as long. */
const FIRST_WINDOW = 1024;

/** What a search returns when no candidate is left. */
export const NOT_FOUND = -1;

/** The unread bytes of a ring as one search sees them: up to two segments. */
export class SeparatorSearch {
  /** The length of the sequence that the last {@link find} found. */
  matched = 0;
  /** For a separator that carries, the state of its automaton after the last byte. */
  partial = 0;

  readonly #separator: Separator;
  readonly #length: number;
  /** Where the second segment begins; the length if there is only one. */
  readonly #wrap: number;
  readonly #first: Buffer;
  readonly #second: Buffer | null;

  /** What the candidates of this frame have cost, and where it begins. */
  #cost = 0;
  #since = 0;
  /** Whether candidates have cost too much, so that the rest is the automaton's. */
  #dense = false;

  // Several last bytes are searched side by side in a window that grows, since one that is rare would otherwise be searched
  // to the end of the buffer for the sake of a frame that another one ends soon.
  #window: Buffer;
  #windowStart = 0;
  #windowEnd = 0;
  #windowSize = FIRST_WINDOW;
  /** For each last byte where it comes next in the window; NOT_FOUND: not searched yet; Infinity: not in the window again. */
  readonly #next: number[];

  /** @param second - the segment that follows `first` across the wrap point, or null */
  constructor(separator: Separator, first: Buffer, second: Buffer | null) {
    this.#separator = separator;
    this.#first = first;
    this.#second = second;
    this.#wrap = first.length;
    this.#length = first.length + (second?.length ?? 0);
    this.#window = first;
    this.#next = separator.byte < 0 && !separator.carries ? separator.lastBytes.map(() => NOT_FOUND) : [];
  }

  /**
   * The end of the first match that begins at `floor` or later, or {@link NOT_FOUND}. Of a separator that carries, `partial` is what
   * the bytes before `floor` end with: the match may have begun there.
   */
  find(floor: number, partial: number): number {
    const { byte, carries, sequences, shortest } = this.#separator;
    if (byte >= 0) {
      const at = this.#indexOf(byte, floor);
      this.matched = 1;
      return at === NOT_FOUND ? NOT_FOUND : at + 1;
    }
    if (carries) return this.#run(floor, partial);
    if (this.#dense) return this.#run(floor, 0);
    this.#cost = 0;
    this.#since = floor;
    const last = floor + shortest - 1;
    return sequences.length === 1 ? this.#findOne(sequences[0]!, last) : this.#findAny(floor, last);
  }

  #findOne(sequence: Uint8Array, from: number): number {
    const size = sequence.length;
    const last = sequence[size - 1]!;
    const floor = from - size + 1;
    this.matched = size;
    for (let tries = 0; tries < FALSE_CANDIDATES; tries++) {
      const at = this.#indexOf(last, from);
      if (at === NOT_FOUND) return NOT_FOUND;
      if (this.#endsWith(sequence, at + 1)) return at + 1;
      from = at + 1;
    }
    return this.#findByAnchor(sequence, from, floor);
  }

  /** {@link find} by the last few bytes of the sequence. `from` is where the last of them is at the earliest. */
  #findByAnchor(sequence: Uint8Array, from: number, floor: number): number {
    const size = sequence.length;
    const anchor = size <= ANCHOR_BYTES ? sequence : sequence.subarray(size - ANCHOR_BYTES);
    const reach = anchor.length - 1;
    const wrap = this.#wrap;
    while (from < wrap) {
      const at = this.#first.indexOf(anchor, from - reach);
      if (at < 0) {
        from = Math.max(from, wrap);
        break;
      }
      from = at + anchor.length;
      if (this.#endsWith(sequence, from)) return from;
      if (this.#tooDense(from)) return this.#run(floor, 0);
    }
    for (const across = Math.min(wrap + reach, this.#length); from < across; from++) {
      if (this.#endsWith(sequence, from + 1)) return from + 1;
    }
    if (this.#second === null) return NOT_FOUND;
    for (;;) {
      const at = this.#second.indexOf(anchor, Math.max(from - reach - wrap, 0));
      if (at < 0) return NOT_FOUND;
      from = wrap + at + anchor.length;
      if (this.#endsWith(sequence, from)) return from;
      if (this.#tooDense(from)) return this.#run(floor, 0);
    }
  }

  #findAny(floor: number, from: number): number {
    const { byLastByte } = this.#separator;
    for (let tries = 0; ; tries++) {
      const at = tries < FALSE_CANDIDATES ? this.#nextLast(from) : this.#stepToLast(from);
      if (at === NOT_FOUND) return NOT_FOUND;
      for (const sequence of byLastByte[this.#at(at)]!) {
        if (at + 1 - sequence.length >= floor && this.#endsWith(sequence, at + 1)) {
          this.matched = sequence.length;
          return at + 1;
        }
      }
      from = at + 1;
      if (this.#tooDense(from)) return this.#run(floor, 0);
    }
  }

  /** Counts one more false candidate, and returns whether all of them up to `from` have cost more than the automaton would. */
  #tooDense(from: number): boolean {
    this.#cost += CANDIDATE_STEPS;
    this.#dense = this.#cost > ALLOWANCE + 2 * (from - this.#since);
    return this.#dense;
  }

  /** {@link find} by the automaton. */
  #run(floor: number, partial: number): number {
    const { automaton } = this.#separator;
    const wrap = this.#wrap;
    if (floor < wrap) {
      partial = automaton.run(this.#first, floor, partial);
      this.matched = automaton.matched;
      if (automaton.matched > 0) return automaton.at;
    }
    if (this.#second !== null) {
      partial = automaton.run(this.#second, Math.max(floor - wrap, 0), partial);
      this.matched = automaton.matched;
      if (automaton.matched > 0) return wrap + automaton.at;
    }
    this.partial = this.#separator.carries ? partial : 0;
    return NOT_FOUND;
  }

  /** Where the first of the last bytes is, at `from` or after it. */
  #nextLast(from: number): number {
    const { lastBytes } = this.#separator;
    const next = this.#next;
    for (;;) {
      if (from >= this.#windowEnd && !this.#openWindow(from)) return NOT_FOUND;
      const start = this.#windowStart;
      let nearest = Infinity;
      for (let i = 0; i < lastBytes.length; i++) {
        if (next[i]! < from) {
          const at = this.#window.indexOf(lastBytes[i]!, from - start);
          next[i] = at < 0 ? Infinity : start + at;
        }
        nearest = Math.min(nearest, next[i]!);
      }
      if (nearest !== Infinity) return nearest;
      from = this.#windowEnd;
    }
  }

  #openWindow(from: number): boolean {
    if (from >= this.#length) return false;
    const segment = from < this.#wrap ? this.#first : this.#second!;
    const base = from < this.#wrap ? 0 : this.#wrap;
    if (segment.length - (from - base) <= this.#windowSize) {
      this.#window = segment;
      this.#windowStart = base;
    } else {
      this.#window = segment.subarray(from - base, from - base + this.#windowSize);
      this.#windowStart = from;
    }
    this.#windowEnd = this.#windowStart + this.#window.length;
    this.#windowSize *= 2;
    this.#next.fill(NOT_FOUND);
    return true;
  }

  /** As {@link #nextLast}, byte by byte: faster where last bytes are dense. */
  #stepToLast(from: number): number {
    const { byLastByte } = this.#separator;
    for (let at = from; at < this.#length; at++) {
      if (byLastByte[this.#at(at)] !== undefined) return at;
    }
    return NOT_FOUND;
  }

  #indexOf(byte: number, from: number): number {
    const wrap = this.#wrap;
    if (from < wrap) {
      const at = this.#first.indexOf(byte, from);
      if (at >= 0) return at;
    }
    if (this.#second === null) return NOT_FOUND;
    const at = this.#second.indexOf(byte, Math.max(from - wrap, 0));
    return at < 0 ? NOT_FOUND : wrap + at;
  }

  #endsWith(sequence: Uint8Array, end: number): boolean {
    const start = end - sequence.length;
    for (let i = sequence.length - 1; i >= 0; i--) {
      if (this.#at(start + i) !== sequence[i]) {
        this.#cost += sequence.length - i;
        return false;
      }
    }
    return true;
  }

  #at(position: number): number {
    return position < this.#wrap ? this.#first[position]! : this.#second![position - this.#wrap]!;
  }
}
