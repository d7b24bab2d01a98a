//! What ends a frame, and how to look for it in contiguous bytes: the choice of the machinery.
//!
//! All machineries find the same matches: *the earliest end wins, and among the
//! sequences that end there the longest*. A frame is then complete as soon as any separator is,
//! and no later byte can change where it ends.

use std::ops::ControlFlow;

use fearless_simd::Level;

use crate::{
    Error,
    candidates::{self, AnyOf, Span},
    carried::Carried,
};

/// Up to this length, sequences are found by one or two of their bytes: a false candidate then costs at
/// most a comparison of one word for each sequence.
pub(crate) const SHORT: usize = size_of::<u128>();

/// Up to this number, sequences are compared one by one.
const FEW: usize = 16;

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
    level: Level,
}

/// A separator that was found: where it ends, and how long it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Match {
    /// The position just after the separator.
    pub end: usize,
    /// How many bytes the separator has.
    pub length: usize,
}

/// How to look for it. From the cheapest to the most general.
#[derive(Clone, Debug)]
enum Machinery {
    /// Sequences of one byte each: every candidate is a match.
    Bytes(Bytes),
    /// One short sequence, by its first and last byte.
    Sequence(Span, Ending),
    /// A few short sequences with few different last bytes, such as LF and CR LF: each of those
    /// bytes is compared together with what precedes it. The longest first.
    Endings(Bytes, Vec<Ending>),
    /// One long sequence, and any other set.
    Carried(Carried),
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
        let sequences = longest_first(sequences.iter().map(AsRef::as_ref));
        let longest = sequences.first().ok_or(Error::NoSequence)?.len();
        Ok(Self { machinery: Machinery::choose(&sequences)?, longest, level: Level::new() })
    }

    /// How many bytes the longest sequence has. A match is never longer.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// How many of the last bytes a search that resumes examines again, because a match may have begun
    /// there: 15 at most. `None` if it [carries](Carried) what it has seen of a separator.
    pub(crate) fn lookback(&self) -> Option<usize> {
        match self.machinery {
            Machinery::Carried(_) => None,
            _ => Some(self.longest - 1),
        }
    }

    /// The machinery for which there is no [lookback](Self::lookback).
    pub(crate) fn carried(&self) -> Option<&Carried> {
        match &self.machinery {
            Machinery::Carried(carried) => Some(carried),
            _ => None,
        }
    }

    /// How many bytes a partial of this separator stands for; `None` for a number that is not a partial.
    pub(crate) fn partial_length(&self, partial: u32) -> Option<usize> {
        match self.carried() {
            Some(carried) => carried.partial_length(partial),
            None => (partial == 0).then_some(0),
        }
    }

    /// Passes each match in `haystack` to `found` until it breaks. The state that `found` returns is passed
    /// to its next call. After a match the search starts afresh, so matches do not overlap.
    pub(crate) fn try_fold<T>(
        &self,
        haystack: &[u8],
        state: T,
        mut found: impl FnMut(T, Match) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, T> {
        let level = self.level;
        match &self.machinery {
            Machinery::Bytes(bytes) => bytes.try_fold(
                level,
                haystack,
                state,
                #[inline(always)]
                |state, at| found(state, Match { end: at + 1, length: 1 }),
            ),
            Machinery::Sequence(span, sequence) => {
                let length = sequence.length;
                let ends = |at| length == 2 || sequence.ends(last_bytes(haystack, at));
                first(candidates::try_fold(
                    level,
                    *span,
                    haystack,
                    (state, 0),
                    #[inline(always)]
                    |(state, from), at| {
                        if at + 1 - from < length || !ends(at) {
                            return ControlFlow::Continue((state, from));
                        }
                        with(found(state, Match { end: at + 1, length }), at + 1)
                    },
                ))
            }
            Machinery::Endings(last, sequences) => first(last.try_fold(
                level,
                haystack,
                (state, 0),
                #[inline(always)]
                |(state, from), at| {
                    let word = last_bytes(haystack, at);
                    let room = at + 1 - from;
                    match sequences.iter().find(|s| s.length <= room && s.ends(word)) {
                        Some(&Ending { length, .. }) => {
                            with(found(state, Match { end: at + 1, length }), at + 1)
                        }
                        None => ControlFlow::Continue((state, from)),
                    }
                },
            )),
            Machinery::Carried(carried) => {
                carried.try_fold(haystack, 0, state, found).map_continue(|(state, _)| state)
            }
        }
    }
}

/// A state of a fold together with where the last match ends.
pub(crate) fn with<T>(flow: ControlFlow<T, T>, from: usize) -> ControlFlow<(T, usize), (T, usize)> {
    flow.map_continue(|state| (state, from)).map_break(|state| (state, from))
}

/// The state without that position.
fn first<T>(flow: ControlFlow<(T, usize), (T, usize)>) -> ControlFlow<T, T> {
    flow.map_continue(|(state, _)| state).map_break(|(state, _)| state)
}

impl Machinery {
    fn choose(sequences: &[Box<[u8]>]) -> Result<Self, Error> {
        let last = Bytes::new(sequences.iter().filter_map(|s| s.last().copied()).collect());
        let longest = sequences.first().map_or(0, |s| s.len());
        let endings: Option<Vec<Ending>> = sequences.iter().map(|s| Ending::new(s)).collect();
        match (last, endings) {
            (Some(bytes), _) if longest == 1 => Ok(Self::Bytes(bytes)),
            (Some(last), Some(endings)) if endings.len() <= FEW => {
                Ok(match (sequences, &endings[..]) {
                    ([sequence], [ending]) => {
                        let (first, last) = (sequence[0], sequence[longest - 1]);
                        Self::Sequence(Span { first, last, distance: longest - 1 }, *ending)
                    }
                    _ => Self::Endings(last, endings),
                })
            }
            _ => Ok(Self::Carried(Carried::new(sequences)?)),
        }
    }
}

/// One to eight different bytes to search for, padded with the last of them.
#[derive(Clone, Copy, Debug)]
enum Bytes {
    One(AnyOf<1>),
    Two(AnyOf<2>),
    Four(AnyOf<4>),
    Eight(AnyOf<8>),
}

impl Bytes {
    fn new(mut bytes: Vec<u8>) -> Option<Self> {
        bytes.sort_unstable();
        bytes.dedup();
        match bytes[..] {
            [a] => Some(Self::One(AnyOf([a]))),
            [a, b] => Some(Self::Two(AnyOf([a, b]))),
            [a, b, c] => Some(Self::Four(AnyOf([a, b, c, c]))),
            [a, b, c, d] => Some(Self::Four(AnyOf([a, b, c, d]))),
            [.., last] if bytes.len() <= 8 => {
                bytes.resize(8, last);
                bytes.try_into().ok().map(|bytes| Self::Eight(AnyOf(bytes)))
            }
            _ => None,
        }
    }

    fn try_fold<T>(
        self,
        level: Level,
        haystack: &[u8],
        state: T,
        found: impl FnMut(T, usize) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, T> {
        match self {
            Self::One(bytes) => candidates::try_fold(level, bytes, haystack, state, found),
            Self::Two(bytes) => candidates::try_fold(level, bytes, haystack, state, found),
            Self::Four(bytes) => candidates::try_fold(level, bytes, haystack, state, found),
            Self::Eight(bytes) => candidates::try_fold(level, bytes, haystack, state, found),
        }
    }
}

/// A short sequence, to be compared with the end of a word.
#[derive(Clone, Copy, Debug)]
struct Ending {
    /// The sequence in the last bytes, zeros before it.
    bytes: u128,
    /// One bits in the bytes of the sequence, zeros before them.
    mask: u128,
    length: usize,
}

impl Ending {
    /// `None` for a sequence that is longer than a word.
    fn new(sequence: &[u8]) -> Option<Self> {
        let start = SHORT.checked_sub(sequence.len())?;
        let (mut bytes, mut mask) = ([0; SHORT], [0; SHORT]);
        bytes[start..].copy_from_slice(sequence);
        mask[start..].fill(u8::MAX);
        let (bytes, mask) = (u128::from_ne_bytes(bytes), u128::from_ne_bytes(mask));
        Some(Self { bytes, mask, length: sequence.len() })
    }

    fn ends(&self, word: u128) -> bool {
        (word ^ self.bytes) & self.mask == 0
    }
}

/// The word that ends with the byte at `at`, with zeros for bytes before `haystack`.
fn last_bytes(haystack: &[u8], at: usize) -> u128 {
    let bytes = &haystack[..=at];
    u128::from_ne_bytes(bytes.last_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; SHORT];
        padded[SHORT - bytes.len()..].copy_from_slice(bytes);
        padded
    }))
}

/// These sequences without duplicates, the longest first.
fn longest_first<'a>(sequences: impl Iterator<Item = &'a [u8]>) -> Vec<Box<[u8]>> {
    let mut sequences: Vec<Box<[u8]>> = sequences.map(Box::from).collect();
    sequences.sort_unstable_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
    sequences.dedup();
    sequences
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With this, a set is one for an automaton.
    const LONG: &str = "more than 16 bytes";

    fn all(sequences: &[&str], haystack: &str) -> Vec<(usize, usize)> {
        let separator = Separator::new(sequences).unwrap();
        let found = separator.try_fold(haystack.as_bytes(), Vec::new(), |mut found, at| {
            found.push((at.end, at.length));
            ControlFlow::Continue(found)
        });
        found.continue_value().unwrap()
    }

    #[test]
    fn the_machinery_fits_the_sequences() {
        let machinery = |sequences: &[&str]| Separator::new(sequences).unwrap().machinery;
        let bytes = |sequences: &[&str]| match machinery(sequences) {
            Machinery::Bytes(bytes) => format!("{bytes:?}"),
            other => format!("{other:?}"),
        };
        assert_eq!(bytes(&["\n"]), "One(AnyOf([10]))");
        assert_eq!(bytes(&["b", "a", "b"]), "Two(AnyOf([97, 98]))");
        assert_eq!(bytes(&["a", "c", "b"]), "Four(AnyOf([97, 98, 99, 99]))");
        assert_eq!(bytes(&["a", "c", "b", "d"]), "Four(AnyOf([97, 98, 99, 100]))");
        let five = "Eight(AnyOf([97, 98, 99, 100, 101, 101, 101, 101]))";
        assert_eq!(bytes(&["a", "b", "c", "d", "e"]), five);
        let span = Span { first: b'\r', last: b'\n', distance: 1 };
        assert!(matches!(machinery(&["\r\n", "\r\n"]), Machinery::Sequence(it, _) if it == span));
        assert!(matches!(machinery(&["-".repeat(16).as_str()]), Machinery::Sequence(..)));
        assert!(matches!(
            machinery(&["-".repeat(17).as_str()]),
            Machinery::Carried(Carried::One(_))
        ));
        assert!(matches!(machinery(&["\r\n", "\n"]), Machinery::Endings(Bytes::One(_), _)));
        let nine = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
        assert!(matches!(machinery(&nine), Machinery::Carried(Carried::Table(_))));
        assert!(matches!(machinery(&nine[1..]), Machinery::Bytes(Bytes::Eight(_))));
        let many: Vec<String> = (1..=17).map(|length| format!("{:>length$}", "-")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(matches!(machinery(&many), Machinery::Carried(Carried::Table(_))));
        assert!(matches!(machinery(&many[..16]), Machinery::Endings(Bytes::One(_), _)));
        let long = |length: usize| "-".repeat(length);
        let carried = |length: usize| machinery(&[long(length).as_str(), "\n"]);
        assert!(matches!(carried(17), Machinery::Carried(Carried::Table(_))));
        assert!(matches!(carried(64), Machinery::Carried(Carried::Table(_))));
        assert!(matches!(carried(65), Machinery::Carried(Carried::Links(_))));
    }

    #[test]
    fn of_matches_that_end_together_the_longest_counts() {
        assert_eq!(all(&["\n", "\r\n"], "a\r\nb\nc"), [(3, 2), (5, 1)]);
        assert_eq!(all(&["d", "cd", "bcd", LONG], "abcd cd d"), [(4, 3), (7, 2), (9, 1)]);
    }

    #[test]
    fn the_earliest_end_counts_even_where_a_longer_match_began_before() {
        assert_eq!(all(&["abcd", "bc"], "abcd"), [(3, 2)]);
        assert_eq!(all(&["abcd", "bc", LONG], "abcd"), [(3, 2)]);
    }

    #[test]
    fn a_match_does_not_reach_back_into_the_one_before() {
        assert_eq!(all(&["aa"], "aaaaa"), [(2, 2), (4, 2)]);
        assert_eq!(all(&["aa", "ba"], "baaa"), [(2, 2), (4, 2)]);
        assert_eq!(all(&["\r\n", "\r", "\n"], "\r\n"), [(1, 1), (2, 1)]);
        assert_eq!(all(&["aa", "ba", LONG], "baaa"), [(2, 2), (4, 2)]);
    }

    #[test]
    fn nothing_to_look_for_is_refused() {
        assert_eq!(Separator::new::<&[u8]>(&[]).err(), Some(Error::NoSequence));
        let empty = Error::EmptySequence { index: 1 };
        assert_eq!(Separator::new(&["a", ""]).err(), Some(empty));
    }
}
