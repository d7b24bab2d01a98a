//! `Segments::list` against the iterators of `memchr` and `aho-corasick` over the same bytes.
//!
//! ```text
//! cargo bench -p sluice-ring [-- FILTER]
//! ```
//!
//! Each figure is the time for 64 KiB of frames, which are listed: 8192 of 8 bytes to 16 of 4096. On a
//! machine that is busy, compare what is fastest, not the means. The iterators have less to do: they
//! check no limit. The figures stand in `src/candidates.rs`.
#![allow(missing_docs, reason = "a program")]

use aho_corasick::AhoCorasick;
use divan::{Bencher, black_box, counter::BytesCount};
use memchr::memmem;
use sluice_ring::{Query, Segments, Separator};

const BYTES: usize = 64 * 1024;

/// Bytes of a frame, its separator included.
const LENGTHS: [usize; 4] = [8, 64, 512, 4096];

fn main() {
    divan::main();
}

/// Frames of `length` bytes that end with the sequences in turn. The bytes before a separator are
/// lower case, so that nothing in them begins or ends one.
fn frames(length: usize, sequences: &[&str]) -> Vec<u8> {
    let body = (b'a'..=b'z').cycle();
    let frame = |sequence: &&str| {
        let body = body.clone().take(length - sequence.len());
        body.chain(sequence.bytes()).collect::<Vec<_>>()
    };
    sequences.iter().cycle().take(BYTES / length).flat_map(frame).collect()
}

/// All frames must be found; otherwise the figures cannot be compared.
fn listed(words: &[u32], length: usize) {
    let ends = (length..).step_by(length).take(BYTES / length);
    assert!(words.iter().map(|end| *end as usize).eq(ends));
}

fn list(bencher: Bencher, length: usize, sequences: &[&str]) {
    let bytes = frames(length, sequences);
    let separator = Separator::new(sequences).unwrap();
    let mut words = vec![0; BYTES / length + 1];
    let query = Query { start: 0, resume: 0, partial: 0, limit: BYTES, max: usize::MAX };
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| {
        let bytes = Segments { front: black_box(&bytes), back: &[] };
        bytes.list(&separator, query, black_box(&mut words)).unwrap()
    });
    listed(&words[..BYTES / length], length);
}

fn positions<I: Iterator<Item = usize>>(
    bencher: Bencher,
    length: usize,
    sequences: &[&str],
    ends: impl Fn(&'static [u8]) -> I,
) {
    let bytes: &[u8] = frames(length, sequences).leak();
    let mut words = vec![0; BYTES / length];
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| {
        for (word, end) in black_box(&mut words).iter_mut().zip(ends(black_box(bytes))) {
            *word = u32::try_from(end).unwrap();
        }
    });
    listed(&words, length);
}

fn memchr_iter(bencher: Bencher, length: usize, sequences: &[&str]) {
    let byte = sequences[0].as_bytes()[0];
    positions(bencher, length, sequences, |bytes| {
        memchr::memchr_iter(byte, bytes).map(|at| at + 1)
    });
}

fn memmem_find_iter(bencher: Bencher, length: usize, sequences: &[&str]) {
    let separator = sequences[0];
    positions(bencher, length, sequences, |bytes| {
        memmem::find_iter(bytes, separator).map(|at| at + separator.len())
    });
}

fn aho_corasick_find_iter(bencher: Bencher, length: usize, sequences: &[&str]) {
    let automaton = AhoCorasick::new(sequences).unwrap();
    positions(bencher, length, sequences, |bytes| {
        automaton.find_iter(bytes).map(|found| found.end()).collect::<Vec<_>>().into_iter()
    });
}

/// A group for each separator: `list`, and the iterators that it is compared with.
macro_rules! compare {
    ($($separator:ident: $sequences:expr, $rival:ident;)+) => {
        $(mod $separator {
            use super::{Bencher, LENGTHS};

            const SEQUENCES: &[&str] = &$sequences;

            #[divan::bench(args = LENGTHS)]
            fn list(bencher: Bencher, length: usize) {
                super::list(bencher, length, SEQUENCES);
            }

            #[divan::bench(args = LENGTHS)]
            fn $rival(bencher: Bencher, length: usize) {
                super::$rival(bencher, length, SEQUENCES);
            }
        })+
    };
}

compare! {
    byte: ["\n"], memchr_iter;
    two_bytes: ["\r\n"], memmem_find_iter;
    four_bytes: ["\r\n\r\n"], memmem_find_iter;
    two_alternatives: ["\n", "\r\n"], aho_corasick_find_iter;
    eight_alternatives: ["\r\n", "\0", ";", "||", "END.", "#", "}", "\x1b[0K"], aho_corasick_find_iter;
}
