//! Separators that are too long, or too many, for searching the last bytes again with every chunk. The
//! search for such a separator continues in the middle of it.
//!
//! Such a search ends with a *partial*: how much of a separator the bytes end with, as a number. The
//! next search continues from there, so each byte is examined at most a fixed number of times, however the
//! bytes are split and whatever they are.
//!
//! ```text
//! one sequence          what began before these bytes:   one step of Knuth, Morris and Pratt a byte
//!                       what begins in these bytes:      memmem, which is linear and much faster
//!                       how the bytes end:               steps over the last bytes
//! several sequences     one step of an Aho-Corasick automaton a byte; from its start on to the next
//!                       byte that begins a sequence
//! ```

use std::ops::ControlFlow;

use aho_corasick::{
    Anchored,
    automaton::{Automaton, StateID},
    dfa::DFA,
    nfa::contiguous::NFA,
};
use memchr::{memchr, memchr2, memchr3, memmem};

use crate::{Error, Match};

/// Up to this length of the longest sequence the automaton is a table, which costs less for each byte.
/// Building it takes quadratic time in the length if a sequence repeats itself.
const TABLE: usize = 64;

/// How a search continues in the middle of a separator.
#[derive(Clone, Debug)]
pub(crate) enum Carried {
    One(Box<One>),
    Table(Box<Set<DFA>>),
    Links(Box<Set<NFA>>),
}

impl Carried {
    /// `sequences`: at least one, different from each other, the longest first.
    pub(crate) fn new(sequences: &[Box<[u8]>]) -> Result<Self, Error> {
        if let [sequence] = sequences {
            return Ok(Self::One(Box::new(One::new(sequence)?)));
        }
        // The standard kind reports a match as soon as it ends: the earliest end.
        if sequences.first().is_some_and(|longest| longest.len() <= TABLE) {
            let automaton = DFA::builder().prefilter(false).build(sequences);
            return Ok(Self::Table(Box::new(Set::new(automaton.ok(), sequences)?)));
        }
        let automaton = NFA::builder().prefilter(false).build(sequences);
        Ok(Self::Links(Box::new(Set::new(automaton.ok(), sequences)?)))
    }

    /// How many bytes a partial stands for. `None` for a number that is not a partial of this separator.
    pub(crate) fn partial_length(&self, partial: u32) -> Option<usize> {
        match self {
            Self::One(one) => Some(partial as usize).filter(|length| *length < one.sequence.len()),
            Self::Table(set) => set.node(partial).map(|node| node.depth),
            Self::Links(set) => set.node(partial).map(|node| node.depth),
        }
    }

    /// Passes each match that ends in `haystack` to `found` until it breaks. `partial` is what the
    /// bytes before `haystack` end with; the partial that `haystack` ends with, after the last
    /// match, is returned. A match may have begun before `haystack`, but not before the last match.
    pub(crate) fn try_fold<T>(
        &self,
        haystack: &[u8],
        partial: u32,
        state: T,
        found: impl FnMut(T, Match) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, (T, u32)> {
        match self {
            Self::One(one) => one.try_fold(haystack, partial as usize, state, found),
            Self::Table(set) => set.try_fold(haystack, partial, state, found),
            Self::Links(set) => set.try_fold(haystack, partial, state, found),
        }
    }
}

/// One sequence. Its partials are lengths.
#[derive(Clone, Debug)]
pub(crate) struct One {
    sequence: Box<[u8]>,
    /// For each beginning of the sequence the length of the longest shorter one that it ends with.
    borders: Box<[u32]>,
    finder: memmem::Finder<'static>,
}

impl One {
    fn new(sequence: &[u8]) -> Result<Self, Error> {
        if u32::try_from(sequence.len()).is_err() {
            return Err(Error::SeparatorTooLarge);
        }
        let mut one = Self {
            sequence: sequence.into(),
            borders: vec![0; sequence.len()].into(),
            finder: memmem::Finder::new(sequence).into_owned(),
        };
        let mut border = 0;
        for (at, byte) in sequence.iter().enumerate().skip(1) {
            border = one.step(border, *byte);
            one.borders[at] = word(border);
        }
        Ok(one)
    }

    /// How much of the sequence the bytes end with after one more byte; before it, that was `length`, less
    /// than the whole sequence.
    fn step(&self, mut length: usize, byte: u8) -> usize {
        count(1);
        while self.sequence[length] != byte {
            if length == 0 {
                return 0;
            }
            count(1);
            length = self.borders[length - 1] as usize;
        }
        length + 1
    }

    fn try_fold<T>(
        &self,
        haystack: &[u8],
        mut partial: usize,
        mut state: T,
        mut found: impl FnMut(T, Match) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, (T, u32)> {
        let length = self.sequence.len();
        let mut at = 0;
        while at < haystack.len() && partial > at {
            partial = self.step(partial, haystack[at]);
            at += 1;
            if partial == length {
                state = found(state, Match { end: at, length })?;
                partial = 0;
            }
        }
        if partial > at {
            return ControlFlow::Continue((state, word(partial)));
        }
        let mut from = at - partial;
        while let Some(start) = self.finder.find(&haystack[from..]) {
            count(start + length);
            from += start + length;
            state = found(state, Match { end: from, length })?;
        }
        count(haystack.len() - from);
        ControlFlow::Continue((state, word(self.partial_at_end(&haystack[from..]))))
    }

    /// How much of the sequence `bytes` end with, which do not contain all of it.
    fn partial_at_end(&self, bytes: &[u8]) -> usize {
        let mut rest = &bytes[bytes.len().saturating_sub(self.sequence.len() - 1)..];
        let mut partial = 0;
        loop {
            if partial == 0 {
                let Some(first) = memchr(self.sequence[0], rest) else { return 0 };
                rest = &rest[first..];
            }
            let Some((byte, after)) = rest.split_first() else { return partial };
            partial = self.step(partial, *byte);
            rest = after;
        }
    }
}

/// Several sequences. A partial is an index in the table of nodes, counted from 1; 0 is the start.
#[derive(Clone, Debug)]
pub(crate) struct Set<A> {
    automaton: A,
    start: StateID,
    /// The states of the automaton, ascending: a beginning of a sequence each.
    nodes: Vec<Node>,
    /// The bytes that sequences begin with, if they are few.
    firsts: Option<Firsts>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    id: StateID,
    /// Bytes of the beginning.
    depth: usize,
    /// Bytes of the longest sequence that it ends with; 0 if it does not end with any.
    matched: usize,
}

impl<A: Automaton> Set<A> {
    fn new(automaton: Option<A>, sequences: &[Box<[u8]>]) -> Result<Self, Error> {
        let too_large = Error::SeparatorTooLarge;
        let automaton = automaton.ok_or(too_large)?;
        let start = automaton.start_state(Anchored::No).map_err(|_| too_large)?;
        let mut nodes = vec![];
        for sequence in sequences {
            let mut id = start;
            for (before, byte) in sequence.iter().enumerate() {
                id = automaton.next_state(Anchored::No, id, *byte);
                nodes.push(Node { id, depth: before + 1, matched: 0 });
            }
        }
        nodes.sort_unstable_by_key(|node| node.id);
        nodes.dedup_by_key(|node| node.id);
        for node in &mut nodes {
            if automaton.is_match(node.id) {
                let patterns = (0..automaton.match_len(node.id))
                    .map(|index| automaton.pattern_len(automaton.match_pattern(node.id, index)));
                node.matched = patterns.max().unwrap_or(0);
            }
        }
        let firsts = Firsts::new(sequences);
        Ok(Self { automaton, start, nodes, firsts })
    }

    fn node(&self, partial: u32) -> Option<Node> {
        match (partial as usize).checked_sub(1) {
            None => Some(Node { id: self.start, depth: 0, matched: 0 }),
            Some(index) => self.nodes.get(index).copied(),
        }
    }

    /// The index of a state among the nodes.
    fn index(&self, id: StateID) -> Option<usize> {
        self.nodes.binary_search_by_key(&id, |node| node.id).ok()
    }

    fn try_fold<T>(
        &self,
        haystack: &[u8],
        partial: u32,
        mut state: T,
        mut found: impl FnMut(T, Match) -> ControlFlow<T, T>,
    ) -> ControlFlow<T, (T, u32)> {
        let mut id = self.node(partial).map_or(self.start, |node| node.id);
        let mut at = 0;
        while at < haystack.len() {
            if id == self.start
                && let Some(firsts) = self.firsts
            {
                let Some(skipped) = firsts.find(&haystack[at..]) else {
                    return ControlFlow::Continue((state, 0));
                };
                at += skipped;
            }
            count(1);
            id = self.automaton.next_state(Anchored::No, id, haystack[at]);
            at += 1;
            if self.automaton.is_match(id) {
                let length = self.index(id).map_or(0, |index| self.nodes[index].matched);
                state = found(state, Match { end: at, length })?;
                id = self.start;
            }
        }
        let partial = if id == self.start { 0 } else { self.index(id).map_or(0, |at| at + 1) };
        ControlFlow::Continue((state, word(partial)))
    }
}

/// One to three bytes that sequences begin with.
#[derive(Clone, Copy, Debug)]
enum Firsts {
    One(u8),
    Two(u8, u8),
    Three(u8, u8, u8),
}

impl Firsts {
    fn new(sequences: &[Box<[u8]>]) -> Option<Self> {
        let mut bytes: Vec<u8> = sequences.iter().filter_map(|s| s.first().copied()).collect();
        bytes.sort_unstable();
        bytes.dedup();
        match bytes[..] {
            [a] => Some(Self::One(a)),
            [a, b] => Some(Self::Two(a, b)),
            [a, b, c] => Some(Self::Three(a, b, c)),
            _ => None,
        }
    }

    fn find(self, haystack: &[u8]) -> Option<usize> {
        match self {
            Self::One(a) => memchr(a, haystack),
            Self::Two(a, b) => memchr2(a, b, haystack),
            Self::Three(a, b, c) => memchr3(a, b, c, haystack),
        }
    }
}

/// A length or an index among nodes as a word: all sequences together are shorter than that.
#[expect(clippy::cast_possible_truncation, reason = "checked when a separator is made")]
fn word(value: usize) -> u32 {
    value as u32
}

/// Counts the bytes and states that a search examines, for the tests of this file.
#[cfg(not(test))]
fn count(_looks: usize) {}
#[cfg(test)]
use tests::count;

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;
    use crate::{Query, Segments, Separator};

    thread_local! {
        static LOOKS: Cell<usize> = const { Cell::new(0) };
    }

    pub(super) fn count(looks: usize) {
        LOOKS.set(LOOKS.get() + looks);
    }

    fn dashes(count: usize) -> Vec<u8> {
        vec![b'-'; count]
    }

    /// Searches `bytes` as they come, `piece` at a time, and returns how many looks it took.
    fn looks(sequences: &[Vec<u8>], bytes: &[u8], piece: usize) -> usize {
        let separator = Separator::new(sequences).unwrap();
        LOOKS.set(0);
        let (mut resume, mut partial) = (0, 0);
        let mut ends = [0; 16];
        for end in (piece..=bytes.len()).step_by(piece) {
            let so_far = Segments { front: &bytes[..end], back: &[] };
            let query = Query { start: 0, resume, partial, limit: usize::MAX, max: 1 };
            let listed = so_far.list(&separator, query, &mut ends).unwrap();
            assert_eq!(listed.count, 0);
            (resume, partial) = (listed.resume, listed.partial);
        }
        LOOKS.get()
    }

    /// Each byte is examined a fixed number of times, whatever the bytes are and however they arrive.
    #[test]
    fn a_search_is_linear_in_the_bytes() {
        let end = |count: usize| [dashes(count), b"X".to_vec()].concat();
        let middle = |count: usize| [dashes(count / 2), b"X".to_vec(), dashes(count / 2)].concat();
        let begin = |count: usize| [b"X".to_vec(), dashes(count)].concat();
        let periodic = [b"-+".repeat(4000), b"X".to_vec()].concat();
        let other = || b"other".to_vec();
        let sets = [
            vec![end(17)],
            vec![end(8000)],
            vec![middle(8000)],
            vec![begin(8000)],
            vec![periodic],
            vec![end(2000), other()],
            vec![middle(2000), other()],
            vec![begin(2000), other()],
            (1..40).map(end).collect(),
        ];
        let size = 1 << 15;
        for bytes in [dashes(size), b"-+".repeat(size / 2), b"--other-".repeat(size / 8)] {
            for set in &sets {
                if bytes.contains(&b'o') && set.len() == 2 {
                    continue;
                }
                for piece in [1, 7, 64, 4096, size] {
                    let looks = looks(set, &bytes, piece);
                    assert!(looks <= 4 * size, "{looks} looks, {piece} bytes at a time");
                }
            }
        }
    }

    #[test]
    fn a_number_that_is_no_partial_is_refused() {
        let one = Separator::new(&[end_of(20)]).unwrap();
        let set = Separator::new(&[end_of(20), b"other".to_vec()]).unwrap();
        let long_set = Separator::new(&[end_of(100), b"other".to_vec()]).unwrap();
        let short = Separator::new(&["\n"]).unwrap();
        let bytes = Segments { front: &dashes(200), back: &[] };
        for (separator, most) in [(one, 20), (set, 26), (long_set, 106), (short, 0)] {
            let query = |partial| Query { start: 0, resume: 150, partial, limit: 9, max: 9 };
            assert!(bytes.list(&separator, query(most), &mut [0; 9]).is_ok());
            for partial in [most + 1, u32::MAX] {
                let refused = bytes.list(&separator, query(partial), &mut [0; 9]);
                assert_eq!(refused, Err(Error::Partial { partial }));
            }
        }
    }

    /// A partial that would have begun before the frame.
    #[test]
    fn a_partial_longer_than_what_was_searched_is_refused() {
        let separator = Separator::new(&[end_of(20)]).unwrap();
        let bytes = Segments { front: &dashes(50), back: &[] };
        let query = Query { start: 10, resume: 15, partial: 6, limit: 9, max: 9 };
        let refused = bytes.list(&separator, query, &mut [0; 9]);
        assert_eq!(refused, Err(Error::Partial { partial: 6 }));
    }

    fn end_of(count: usize) -> Vec<u8> {
        [dashes(count), b"X".to_vec()].concat()
    }
}
