//! Where a match can end: bitmask loops over vector registers.
//!
//! A block of 64 bytes is compared at once, which gives a word with one bit for each byte. Its set bits
//! are the candidates, which the caller examines one by one. That costs a few instructions for each
//! candidate, whereas an iterator (`memchr_iter`, `memmem::find_iter`) pays for starting a search
//! after each match. Blocks without a candidate are skipped two at a time, as fast as `memchr` does.
//!
//! Microseconds for 64 KiB of frames (x64 with AVX2; the fastest of many rounds, in turns). To repeat:
//! `cargo bench -p sluice-ring`.
//!
//! ```text
//! bytes of a frame                           8     64    512   4096
//! LF            list                      12.4    2.8    0.9    0.7
//!               memchr_iter               45.1    6.6    1.3    0.7
//!               Buffer.indexOf in Node     137   29.7    3.4    0.9
//! CR LF         list                      24.6    4.9    1.6    1.2
//!               memmem::find_iter         64.0    8.5    2.1    1.6
//!               Buffer.indexOf in Node     675    141   11.8    2.0
//! CR LF CR LF   list                      38.8    6.4    1.9    1.2
//!               memmem::find_iter         68.5    8.9    2.2    1.6
//! LF or CR LF   list                      36.0    5.7    1.4    0.8
//! eight         list                      67.3   13.6    4.9    3.0
//!               AhoCorasick::find_iter     291    147    125    122
//! ```
//!
//! `fearless_simd` gives access to the registers without unsafe code in this crate: AVX2 if the
//! processor has it, otherwise what every processor of the target has (SSE2, NEON). With SSE2, dense
//! frames take the same time, frames of 64 bytes and more 1.3 times, eight bytes to compare with twice the
//! time. Without registers it is slower: a word of 64-byte lines costs 2.2 ns with them, 10 if words of
//! eight bytes are compared by arithmetic, and 16 if the choice of instructions is left to the
//! compiler. AVX-512 is not used: it would be another variant to test, and most of the time goes into
//! candidates and memory.

#![expect(
    clippy::inline_always,
    reason = "a function that is not inlined is compiled without the vector instructions of its caller"
)]

use std::{iter::zip, ops::ControlFlow};

use fearless_simd::{Level, Simd, dispatch, mask8x64, prelude::*, u8x64};

/// Bytes that are compared at once: a bit for each in a `u64`.
const BLOCK: usize = 64;

/// What makes a byte a candidate.
pub(crate) trait Candidate: Copy {
    type Vectors<S: Simd>: Copy;

    /// How far before the last byte of a match the first byte is that is compared.
    fn distance(self) -> usize;

    /// What the bytes are compared with.
    fn vectors<S: Simd>(self, simd: S) -> Self::Vectors<S>;

    /// The candidates among `lasts`; `firsts` are the bytes `distance` before them.
    fn compare<S: Simd>(
        simd: S,
        vectors: Self::Vectors<S>,
        firsts: &[u8; BLOCK],
        lasts: &[u8; BLOCK],
    ) -> mask8x64<S>;
}

/// Any of these bytes, some of which may be the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnyOf<const N: usize>(pub(crate) [u8; N]);

impl<const N: usize> Candidate for AnyOf<N> {
    type Vectors<S: Simd> = [u8x64<S>; N];

    #[inline(always)]
    fn distance(self) -> usize {
        0
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) -> [u8x64<S>; N] {
        let mut vectors = [u8x64::splat(simd, 0); N];
        for (vector, byte) in zip(&mut vectors, self.0) {
            *vector = u8x64::splat(simd, byte);
        }
        vectors
    }

    #[inline(always)]
    fn compare<S: Simd>(
        simd: S,
        vectors: [u8x64<S>; N],
        _firsts: &[u8; BLOCK],
        lasts: &[u8; BLOCK],
    ) -> mask8x64<S> {
        let block = u8x64::from_slice(simd, lasts);
        let mut mask = block.simd_eq(vectors[0]);
        for vector in &vectors[1..] {
            mask |= block.simd_eq(*vector);
        }
        mask
    }
}

/// A first byte, and a last byte `distance` after it: the ends of a sequence of two or more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) first: u8,
    pub(crate) last: u8,
    pub(crate) distance: usize,
}

impl Candidate for Span {
    type Vectors<S: Simd> = [u8x64<S>; 2];

    #[inline(always)]
    fn distance(self) -> usize {
        self.distance
    }

    #[inline(always)]
    fn vectors<S: Simd>(self, simd: S) -> [u8x64<S>; 2] {
        [u8x64::splat(simd, self.first), u8x64::splat(simd, self.last)]
    }

    #[inline(always)]
    fn compare<S: Simd>(
        simd: S,
        [first, last]: [u8x64<S>; 2],
        firsts: &[u8; BLOCK],
        lasts: &[u8; BLOCK],
    ) -> mask8x64<S> {
        u8x64::from_slice(simd, firsts).simd_eq(first)
            & u8x64::from_slice(simd, lasts).simd_eq(last)
    }
}

/// Passes the position of each candidate in `haystack`, in order, to `found` until it breaks. The state of
/// `found` goes from one call to the next by value, so that it stays in registers.
pub(crate) fn try_fold<T>(
    level: Level,
    candidate: impl Candidate,
    haystack: &[u8],
    state: T,
    found: impl FnMut(T, usize) -> ControlFlow<T, T>,
) -> ControlFlow<T, T> {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx2) = level.as_avx2() {
        return avx2.vectorize(
            #[inline(always)]
            || scan(avx2, candidate, haystack, state, found),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    dispatch!(Level::baseline(), simd => scan(simd, candidate, haystack, state, found))
}

#[inline(always)]
fn scan<S: Simd, C: Candidate, T>(
    simd: S,
    candidate: C,
    haystack: &[u8],
    mut state: T,
    mut found: impl FnMut(T, usize) -> ControlFlow<T, T>,
) -> ControlFlow<T, T> {
    let distance = candidate.distance();
    let Some(lasts) = haystack.get(distance..) else { return ControlFlow::Continue(state) };
    let firsts = &haystack[..lasts.len()];
    let vectors = candidate.vectors(simd);
    let compare =
        |firsts: &[u8; BLOCK], lasts: &[u8; BLOCK]| C::compare(simd, vectors, firsts, lasts);
    let (first_blocks, _) = firsts.as_chunks::<BLOCK>();
    let (last_blocks, last_rest) = lasts.as_chunks::<BLOCK>();
    let (first_pairs, first_single) = first_blocks.as_chunks::<2>();
    let (last_pairs, last_single) = last_blocks.as_chunks::<2>();
    let mut at = distance;
    let mut pairs = zip(first_pairs, last_pairs);
    // A separate loop for blocks without a candidate, so that it can use all registers.
    while let Some((first, last)) = pairs.find(
        #[inline(always)]
        |(first, last)| {
            at += 2 * BLOCK;
            (compare(&first[0], &last[0]) | compare(&first[1], &last[1])).any_true()
        },
    ) {
        let low = compare(&first[0], &last[0]).to_bitmask();
        let high = compare(&first[1], &last[1]).to_bitmask();
        state = each_bit(state, at - 2 * BLOCK, [low, high], &mut found)?;
    }
    // The rest: at most one whole block, and a part of one.
    let mut words = [0; 2];
    if let ([first], [last]) = (first_single, last_single) {
        words[0] = compare(first, last).to_bitmask();
    }
    if !last_rest.is_empty() {
        words[last_single.len()] =
            if let (Some(first), Some(last)) = (firsts.last_chunk(), lasts.last_chunk()) {
                // The last 64 bytes, without those that were examined: faster than copying the part.
                compare(first, last).to_bitmask() >> (BLOCK - last_rest.len())
            } else {
                let (mut first, mut last) = ([0; BLOCK], [0; BLOCK]);
                first[..firsts.len()].copy_from_slice(firsts);
                last[..lasts.len()].copy_from_slice(lasts);
                compare(&first, &last).to_bitmask() & !(u64::MAX << lasts.len())
            };
    }
    each_bit(state, at, words, &mut found)
}

/// Calls `found` for each bit that is set in the words for two blocks, which begin at `at`.
#[inline(always)]
fn each_bit<T>(
    mut state: T,
    mut at: usize,
    words: [u64; 2],
    found: &mut impl FnMut(T, usize) -> ControlFlow<T, T>,
) -> ControlFlow<T, T> {
    for mut bits in words {
        while bits != 0 {
            state = found(state, at + bits.trailing_zeros() as usize)?;
            bits &= bits - 1;
        }
        at += BLOCK;
    }
    ControlFlow::Continue(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The ways through the loop that this machine has.
    fn levels() -> Vec<Level> {
        vec![Level::new(), Level::baseline()]
    }

    fn all(level: Level, candidate: impl Candidate, haystack: &[u8]) -> Vec<usize> {
        let flow = try_fold(level, candidate, haystack, Vec::new(), |mut all, at| {
            all.push(at);
            ControlFlow::Continue(all)
        });
        flow.continue_value().unwrap()
    }

    fn any_of<const N: usize>(bytes: [u8; N], haystack: &[u8]) {
        let expected = (0..haystack.len()).filter(|at| bytes.contains(&haystack[*at]));
        let expected: Vec<usize> = expected.collect();
        for level in levels() {
            assert_eq!(all(level, AnyOf(bytes), haystack), expected, "{level:?} {haystack:?}");
        }
    }

    fn span(span: Span, haystack: &[u8]) {
        let Span { first, last, distance } = span;
        let ends = |at: &usize| haystack[*at] == last && haystack[*at - distance] == first;
        let expected: Vec<usize> = (distance..haystack.len()).filter(ends).collect();
        for level in levels() {
            assert_eq!(all(level, span, haystack), expected, "{level:?} {haystack:?}");
        }
    }

    /// Every length around the ends of blocks, with the wanted byte at each position, next to bytes that
    /// differ from it in one bit, and with zeros, as after the end of the bytes.
    #[test]
    fn candidates_are_found_at_every_place() {
        for length in (0..=3).chain(62..=66).chain(126..=130).chain(190..=194) {
            for at in 0..length {
                let mut bytes: Vec<u8> =
                    (0..length).map(|at| b"\x0b\x8a\x0d\x1a"[at % 4]).collect();
                bytes[at] = b'\n';
                any_of([b'\n'], &bytes);
                any_of([b'\n', 0], &bytes);
                any_of([b'\n', 0x8a, 0, 0], &bytes);
                any_of([b'\n', 0x1a, 0x0b, 0x0d, 7, 7, 7, 0], &bytes);
                bytes[at] = 0;
                any_of([0], &bytes);
                for distance in [1, 2, 15, 63, 64, 130] {
                    if let Some(first) = at.checked_sub(distance) {
                        bytes[first] = b'\r';
                    }
                    span(Span { first: b'\r', last: 0, distance }, &bytes);
                    span(Span { first: b'\r', last: b'\r', distance }, &bytes);
                    span(Span { first: 0, last: 0, distance }, &bytes);
                }
            }
        }
    }

    #[test]
    fn where_everything_is_a_candidate_none_is_left_out() {
        for length in 0..400 {
            any_of([0], &vec![0; length]);
            span(Span { first: 0, last: 0, distance: 3 }, &vec![0; length]);
        }
    }

    #[test]
    fn a_break_ends_the_search() {
        for level in levels() {
            for stop in 0..300 {
                let flow = try_fold(level, AnyOf(*b"a"), &[b'a'; 300], 0, |count, at| {
                    assert_eq!(count, at);
                    if at == stop { ControlFlow::Break(at) } else { ControlFlow::Continue(at + 1) }
                });
                assert_eq!(flow, ControlFlow::Break(stop));
            }
        }
    }
}
