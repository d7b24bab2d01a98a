//! What ends a frame, and how to look for it in contiguous bytes: the choice of the machinery.
//!
//! Which match counts is the same whatever the machinery: *the earliest end wins, and among the
//! sequences that end there the longest*. A frame is then complete as soon as any separator is,
//! and no later byte can change where it ends.

use std::ops::ControlFlow;

use aho_corasick::{AhoCorasick, MatchKind};
use memchr::{memchr_iter, memchr2_iter, memchr3_iter, memmem};

use crate::Error;

/// Up to this length, several sequences are looked for by their last bytes: what a false alarm
/// costs is then bounded by a few comparisons of a word or two.
const SHORT: usize = 16;

/// One or several byte sequences, any of which ends a frame. Built once, used for any number of
/// searches.
///
/// ```
/// use sluice_ring::Separator;
///
/// let blank_line = Separator::new(&["\n\n", "\r\n\r\n"])?;
/// assert_eq!(blank_line.longest(), 4);
/// # Ok::<(), sluice_ring::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Separator {
    machinery: Machinery,
    longest: usize,
}

/// A separator that was found: where it ends, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The position just behind the separator.
    pub end: usize,
    /// How many bytes the separator has.
    pub length: usize,
}

/// How to look for it. From the cheapest to the most general.
#[derive(Clone, Debug)]
enum Machinery {
    /// Sequences of one byte each.
    Bytes(Bytes),
    /// One sequence.
    Sequence(Box<memmem::Finder<'static>>),
    /// Several short sequences with few different last bytes, such as LF and CR LF: each of those
    /// bytes is looked at with what lies in front of it.
    Endings { last: Bytes, sequences: Longest },
    /// Any other set.
    Automaton { automaton: AhoCorasick, sequences: Longest },
}

impl Separator {
    /// A separator of these sequences.
    ///
    /// # Errors
    ///
    /// [`Error::NoSequence`], [`Error::EmptySequence`], and [`Error::SeparatorTooLarge`] for
    /// sequences of gigabytes.
    pub fn new<S: AsRef<[u8]>>(sequences: &[S]) -> Result<Self, Error> {
        if let Some(index) = sequences.iter().position(|sequence| sequence.as_ref().is_empty()) {
            return Err(Error::EmptySequence { index });
        }
        let sequences = Longest::new(sequences.iter().map(AsRef::as_ref));
        let longest = sequences.0.first().ok_or(Error::NoSequence)?.len();
        Ok(Self { machinery: Machinery::choose(sequences)?, longest })
    }

    /// How many bytes the longest sequence has. A match is never longer, so that a search that goes
    /// on needs to look at one byte less in front of where the last one ended.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// Calls `found` with each match in `haystack` until it breaks. Each search begins fresh behind
    /// the match before, so that matches do not overlap.
    pub(crate) fn each(
        &self,
        haystack: &[u8],
        mut found: impl FnMut(Match) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        match &self.machinery {
            Machinery::Bytes(bytes) => {
                bytes.each(haystack, |at| found(Match { end: at + 1, length: 1 }))
            }
            Machinery::Sequence(finder) => {
                let length = self.longest;
                finder
                    .find_iter(haystack)
                    .try_for_each(|start| found(Match { end: start + length, length }))
            }
            Machinery::Endings { last, sequences } => {
                let mut from = 0;
                last.each(haystack, |at| match sequences.ending(&haystack[from..=at]) {
                    Some(length) => {
                        from = at + 1;
                        found(Match { end: from, length })
                    }
                    None => ControlFlow::Continue(()),
                })
            }
            Machinery::Automaton { automaton, sequences } => {
                let mut from = 0;
                automaton.find_iter(haystack).try_for_each(|seen| {
                    let frame = &haystack[from..seen.end()];
                    let length = sequences.ending(frame).unwrap_or(seen.len());
                    from = seen.end();
                    found(Match { end: from, length })
                })
            }
        }
    }
}

impl Machinery {
    fn choose(sequences: Longest) -> Result<Self, Error> {
        let last: Vec<u8> = sequences.0.iter().filter_map(|s| s.last().copied()).collect();
        let longest = sequences.0.first().map_or(0, |s| s.len());
        if longest == 1
            && let Some(bytes) = Bytes::new(last.clone())
        {
            return Ok(Self::Bytes(bytes));
        }
        if let [sequence] = &sequences.0[..] {
            return Ok(Self::Sequence(Box::new(memmem::Finder::new(sequence).into_owned())));
        }
        if longest <= SHORT
            && let Some(last) = Bytes::new(last)
        {
            return Ok(Self::Endings { last, sequences });
        }
        // The standard kind reports a match as soon as it ends: the earliest end.
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .build(&sequences.0)
            .map_err(|_| Error::SeparatorTooLarge)?;
        Ok(Self::Automaton { automaton, sequences })
    }
}

/// One to three different bytes to look for.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
}

impl Bytes {
    fn new(mut bytes: Vec<u8>) -> Option<Self> {
        bytes.sort_unstable();
        bytes.dedup();
        match bytes[..] {
            [a] => Some(Self::One(a)),
            [a, b] => Some(Self::Two(a, b)),
            [a, b, c] => Some(Self::Three(a, b, c)),
            _ => None,
        }
    }

    fn each(self, haystack: &[u8], found: impl FnMut(usize) -> ControlFlow<()>) -> ControlFlow<()> {
        match self {
            Self::One(a) => memchr_iter(a, haystack).try_for_each(found),
            Self::Two(a, b) => memchr2_iter(a, b, haystack).try_for_each(found),
            Self::Three(a, b, c) => memchr3_iter(a, b, c, haystack).try_for_each(found),
        }
    }
}

/// Different sequences, the longest first.
#[derive(Clone, Debug)]
struct Longest(Vec<Box<[u8]>>);

impl Longest {
    fn new<'a>(sequences: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut sequences: Vec<Box<[u8]>> = sequences.map(Box::from).collect();
        sequences.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        sequences.dedup();
        Self(sequences)
    }

    /// The length of the longest sequence that `frame` ends with.
    fn ending(&self, frame: &[u8]) -> Option<usize> {
        self.0.iter().find(|sequence| frame.ends_with(sequence)).map(|sequence| sequence.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(sequences: &[&str], haystack: &str) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        let separator = Separator::new(sequences).unwrap();
        let end = separator.each(haystack.as_bytes(), |at| {
            found.push((at.end, at.length));
            ControlFlow::Continue(())
        });
        assert_eq!(end, ControlFlow::Continue(()));
        found
    }

    #[test]
    fn the_machinery_fits_the_sequences() {
        let machinery = |sequences: &[&str]| Separator::new(sequences).unwrap().machinery;
        assert!(matches!(machinery(&["\n"]), Machinery::Bytes(Bytes::One(b'\n'))));
        assert!(matches!(machinery(&["b", "a", "b"]), Machinery::Bytes(Bytes::Two(b'a', b'b'))));
        assert!(matches!(machinery(&["a", "b", "c"]), Machinery::Bytes(Bytes::Three(..))));
        assert!(matches!(machinery(&["\r\n", "\r\n"]), Machinery::Sequence(_)));
        assert!(matches!(
            machinery(&["\r\n", "\n"]),
            Machinery::Endings { last: Bytes::One(b'\n'), .. }
        ));
        assert!(matches!(machinery(&["a", "b", "c", "d"]), Machinery::Automaton { .. }));
        assert!(matches!(machinery(&["-".repeat(17).as_str(), "\n"]), Machinery::Automaton { .. }));
    }

    #[test]
    fn of_matches_that_end_together_the_longest_counts() {
        assert_eq!(all(&["\n", "\r\n"], "a\r\nb\nc"), [(3, 2), (5, 1)]);
        assert_eq!(all(&["d", "cd", "bcd", "x", "y", "z"], "abcd cd d"), [(4, 3), (7, 2), (9, 1)]);
    }

    #[test]
    fn the_earliest_end_counts_even_where_a_longer_match_began_before() {
        assert_eq!(all(&["abcd", "bc"], "abcd"), [(3, 2)]);
        assert_eq!(all(&["abcd", "bc", "w", "x", "y", "z"], "abcd"), [(3, 2)]);
    }

    #[test]
    fn a_match_does_not_reach_back_into_the_one_before() {
        assert_eq!(all(&["aa"], "aaaaa"), [(2, 2), (4, 2)]);
        assert_eq!(all(&["aa", "ba"], "baaa"), [(2, 2), (4, 2)]);
        assert_eq!(all(&["\r\n", "\r", "\n"], "\r\n"), [(1, 1), (2, 1)]);
        assert_eq!(all(&["aa", "ba", "w", "x", "y", "z"], "baaa"), [(2, 2), (4, 2)]);
    }

    #[test]
    fn nothing_to_look_for_is_refused() {
        assert_eq!(Separator::new::<&[u8]>(&[]).err(), Some(Error::NoSequence));
        let empty = Error::EmptySequence { index: 1 };
        assert_eq!(Separator::new(&["a", ""]).err(), Some(empty));
    }
}
