/**
 * The listing of frames in the TypeScript engine: see `Ring.list`. In Rust, `crates/ring/src/list.rs` does the same for separators, and
 * `lengths.rs` for frames with a length field.
 */
import { Buffer } from 'node:buffer';
import { outOfRange } from '../errors.js';
import { isCount } from './block.js';
import { INCOMPLETE, Lengths, MALFORMED } from './lengths.js';
import { FrameIndex, type Listing } from './ring.js';
import { NOT_FOUND, SeparatorSearch } from './separator-search.js';
import type { Separator } from './separator.js';

/** The word for a length that does not fit, and for a header that no frame can have. */
const LARGEST_WORD = 0xffffffff;

/** More bytes than any length field has. */
const FIELD_BYTES = 16;

/** A copy of the length field that crosses the wrap point. */
const fieldCopy = Buffer.alloc(FIELD_BYTES);

/**
 * Continues a listing in the unread bytes.
 *
 * @param first - those up to the wrap point
 * @param second - those after it, or null
 */
export function listFrames(listing: Listing, first: Buffer, second: Buffer | null): void {
  const { framing, words, limit, max } = listing;
  const length = first.length + (second?.length ?? 0);
  check(words, length, limit, max);
  const partials = framing instanceof Lengths || !framing.carries ? 1 : framing.automaton.states;
  const partial = words[FrameIndex.PARTIAL]!;
  if (!isCount(partial, partials - 1)) {
    throw outOfRange('list', 'partial', 'what an earlier search ended with', partial);
  }
  const most = Math.min(max, words.length - FrameIndex.ENDS);
  if (framing instanceof Lengths) listByLength(framing, words, limit, most, first, second);
  else listSeparated(framing, words, limit, most, new SeparatorSearch(framing, first, second), length);
}

function listSeparated(
  separator: Separator,
  words: Uint32Array,
  limit: number,
  most: number,
  search: SeparatorSearch,
  length: number,
): void {
  let count = words[FrameIndex.COUNT]!;
  const resume = words[FrameIndex.RESUME]!;
  const partial = words[FrameIndex.PARTIAL]!;
  let frame = startOf(words);
  let refused = 0;
  let from = resume;
  let next = frame;
  let carried = 0;
  let listed = false;
  while (count < most) {
    const end = search.find(from, listed ? 0 : partial);
    if (end === NOT_FOUND) {
      carried = search.partial;
      const lookback = separator.carries ? 0 : separator.longest - 1;
      next = Math.max(listed ? frame : resume, length - lookback);
      break;
    }
    const body = end - search.matched - frame;
    if (body > limit) {
      refused = body;
      next = frame;
      break;
    }
    words[FrameIndex.ENDS + count++] = end;
    next = frame = from = end;
    listed = true;
  }
  summarize(words, count, next, carried, refused);
}

function listByLength(
  lengths: Lengths,
  words: Uint32Array,
  limit: number,
  most: number,
  first: Buffer,
  second: Buffer | null,
): void {
  const wrap = first.length;
  const total = wrap + (second?.length ?? 0);
  let count = words[FrameIndex.COUNT]!;
  let frame = startOf(words);
  let refused = 0;
  while (count < most && frame < total) {
    const field = frame + lengths.offset;
    let length: number;
    if (field < wrap || second === null) {
      length = lengths.measure(first, frame, wrap);
      if (length === INCOMPLETE && second !== null) length = measureAcross(lengths, field, first, second);
    } else {
      // If the frame begins before the wrap point, its start is negative here: only the field is read.
      length = lengths.measure(second, frame - wrap, total - wrap);
    }
    if (length === MALFORMED || length > limit) {
      refused = length === MALFORMED ? LARGEST_WORD : Math.min(length, LARGEST_WORD);
      break;
    }
    if (length === INCOMPLETE || length > total - frame) break;
    frame += length;
    words[FrameIndex.ENDS + count++] = frame;
  }
  summarize(words, count, frame, 0, refused);
}

/** The length of a frame whose field, at `field`, crosses the wrap point. */
function measureAcross(lengths: Lengths, field: number, first: Buffer, second: Buffer): number {
  const before = first.copy(fieldCopy, 0, field);
  const after = second.copy(fieldCopy, before);
  // The copy begins with the field, so the frame begins before it.
  return lengths.measure(fieldCopy, -lengths.offset, before + after);
}

/** Where the first frame that is not listed begins. */
function startOf(words: Uint32Array): number {
  const count = words[FrameIndex.COUNT]!;
  return count === 0 ? 0 : words[FrameIndex.ENDS + count - 1]!;
}

function summarize(words: Uint32Array, count: number, resume: number, partial: number, refused: number): void {
  words[FrameIndex.COUNT] = count;
  words[FrameIndex.RESUME] = resume;
  words[FrameIndex.PARTIAL] = partial;
  words[FrameIndex.REFUSED] = refused;
}

function check(words: Uint32Array, length: number, limit: number, max: number): void {
  if (words.length < FrameIndex.ENDS) {
    throw outOfRange('list', 'words.length', `${FrameIndex.ENDS} or more`, words.length);
  }
  const frame: number | undefined = startOf(words);
  if (frame === undefined) {
    const least = FrameIndex.ENDS + words[FrameIndex.COUNT]!;
    throw outOfRange('list', 'words.length', `${least} or more`, words.length);
  }
  const resume = words[FrameIndex.RESUME]!;
  if (resume > length) {
    throw outOfRange('list', 'resume', `an integer from 0 to ${length} (the unread bytes)`, resume);
  }
  if (frame > resume) throw outOfRange('list', 'start', `an integer from 0 to ${resume} (resume)`, frame);
  if (!isCount(limit, 2 ** 32)) throw outOfRange('list', 'limit', 'an integer from 0 to 4294967295', limit);
  if (!isCount(max, 2 ** 32)) throw outOfRange('list', 'max', 'an integer from 0 to 4294967295', max);
}
