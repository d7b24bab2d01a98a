/**
 * The search for several byte sequences at once, or for one long one, in one step a byte, whatever the bytes are: the automaton of
 * Aho and Corasick, which for one sequence is the search of Knuth, Morris and Pratt.
 *
 * A state is a beginning of a sequence: the longest one that the bytes so far end with. State 0 is the empty one. From a state, a byte
 * leads to the beginning that is longer by it; if there is no such beginning, the search falls back to the longest shorter beginning that the
 * bytes end with, and tries again. It falls back at most as often as it went on, so that n bytes take at most 2n steps.
 *
 *     state = 0
 *     for each byte:
 *       until a beginning of a sequence is longer than the state by this byte, or the state is 0: state = fallback[state]
 *       go on to that beginning, if there is one
 *       if the state ends with a sequence: a match, of the longest that it ends with
 */

/** The labels of a state with several ways on, and of one without any. */
const SEVERAL = 256;
const NONE = 257;

/** After this many bytes in a row that begin no sequence, `indexOf` searches for the first byte of one. */
const IDLE_BYTES = 16;

export class Automaton {
  /** For each state the longest shorter beginning that it ends with. */
  readonly #fallback: Int32Array;
  /** For each state the only byte that leads on, or {@link SEVERAL}, or {@link NONE}. */
  readonly #label: Uint16Array;
  /** For each state where that byte leads, or which of the tables says so. */
  readonly #next: Int32Array;
  /** For each state with several ways on, and the first: where each byte leads; 0 is nowhere. */
  readonly #tables: Int32Array[] = [];
  /** For each state the length of the longest sequence that it ends with; 0 if it does not end with any. */
  readonly #matched: Int32Array;
  /** The byte that all sequences begin with, or -1. */
  readonly #first: number;

  /** How many states there are. */
  readonly states: number;
  /** Where the last {@link run} stopped: just after a match, or at the end. */
  at = 0;
  /** Bytes of the sequence that the last {@link run} found; 0 if it did not find any. */
  matched = 0;
  /** Steps so far, for tests of how long a search takes. */
  steps = 0;

  constructor(sequences: readonly Uint8Array[]) {
    const most = 1 + sequences.reduce((sum, sequence) => sum + sequence.length, 0);
    this.#fallback = new Int32Array(most);
    this.#label = new Uint16Array(most).fill(NONE);
    this.#next = new Int32Array(most);
    this.#matched = new Int32Array(most);
    this.#addTable(0);
    let states = 1;
    for (const sequence of sequences) {
      let state = 0;
      for (const byte of sequence) {
        let next = this.#onward(state, byte);
        if (next === 0) this.#connect(state, byte, (next = states++));
        state = next;
      }
      this.#matched[state] = sequence.length;
    }
    this.states = states;
    this.#fallBack();
    const first = sequences[0]![0]!;
    this.#first = sequences.every((sequence) => sequence[0] === first) ? first : -1;
  }

  /**
   * Continues from `state` over the bytes from `from` on, up to the end of the first match. Returns the state at {@link at}: 0 after a
   * match.
   */
  run(bytes: Uint8Array, from: number, state: number): number {
    const fallback = this.#fallback;
    const label = this.#label;
    const next = this.#next;
    const matched = this.#matched;
    const root = this.#tables[0]!;
    const { length } = bytes;
    let steps = 0;
    let idle = 0;
    let at = from;
    while (at < length) {
      const byte = bytes[at++]!;
      steps++;
      if (state === 0) {
        state = root[byte]!;
        if (state === 0) {
          if (++idle < IDLE_BYTES || this.#first < 0) continue;
          idle = 0;
          const first = bytes.indexOf(this.#first, at);
          if (first < 0) at = length;
          else at = first;
          continue;
        }
      } else {
        for (;;) {
          const only = label[state]!;
          if (only === byte) {
            state = next[state]!;
            break;
          }
          if (only === SEVERAL) {
            const to = this.#tables[next[state]!]![byte]!;
            if (to !== 0 || state === 0) {
              state = to;
              break;
            }
          }
          state = fallback[state]!;
          steps++;
        }
      }
      idle = 0;
      if (matched[state] !== 0) {
        this.matched = matched[state]!;
        this.at = at;
        this.steps += steps;
        return 0;
      }
    }
    this.matched = 0;
    this.at = length;
    this.steps += steps;
    return state;
  }

  /** The state that `byte` leads to from `state`, without falling back; 0 if there is no such state. */
  #onward(state: number, byte: number): number {
    const label = this.#label[state]!;
    if (label === SEVERAL) return this.#tables[this.#next[state]!]![byte]!;
    return label === byte ? this.#next[state]! : 0;
  }

  #connect(state: number, byte: number, to: number): void {
    const label = this.#label[state]!;
    if (label === NONE) {
      this.#label[state] = byte;
      this.#next[state] = to;
      return;
    }
    if (label !== SEVERAL) {
      const only = this.#next[state]!;
      this.#addTable(state)[label] = only;
    }
    this.#tables[this.#next[state]!]![byte] = to;
  }

  #addTable(state: number): Int32Array {
    const table = new Int32Array(256);
    this.#label[state] = SEVERAL;
    this.#next[state] = this.#tables.length;
    this.#tables.push(table);
    return table;
  }

  /** Where to fall back to from each state, the shorter ones first, and what each state ends with. */
  #fallBack(): void {
    const queue = new Int32Array(this.states);
    let filled = 1;
    for (let done = 0; done < filled; done++) {
      const state = queue[done]!;
      const label = this.#label[state]!;
      if (label === NONE) continue;
      const from = label === SEVERAL ? 0 : label;
      const to = label === SEVERAL ? 255 : label;
      for (let byte = from; byte <= to; byte++) {
        const child = this.#onward(state, byte);
        if (child === 0) continue;
        queue[filled++] = child;
        let fallback = 0;
        if (state !== 0) {
          fallback = this.#fallback[state]!;
          while (fallback !== 0 && this.#onward(fallback, byte) === 0) fallback = this.#fallback[fallback]!;
          fallback = this.#onward(fallback, byte);
        }
        this.#fallback[child] = fallback;
        if (this.#matched[child] === 0) this.#matched[child] = this.#matched[fallback]!;
      }
    }
  }
}
