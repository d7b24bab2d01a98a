//! What is right, in code so simple that it is unlikely to be wrong.
#![allow(dead_code, reason = "each test and fuzz target uses a part")]

use sluice_ring::{HEADER_BYTES, Match, Query, Refused, Ring};

/// A ring that holds `bytes` with the oldest of them at offset `head` of the data.
pub fn placed(bytes: &[u8], head: usize, capacity: usize) -> Ring<Vec<u8>> {
    let mut block = vec![0xee; HEADER_BYTES + capacity];
    block[0..4].copy_from_slice(&u32::try_from(head).unwrap().to_ne_bytes());
    block[4..8].copy_from_slice(&u32::try_from(bytes.len()).unwrap().to_ne_bytes());
    for (at, byte) in bytes.iter().enumerate() {
        block[HEADER_BYTES + (head + at) % capacity] = *byte;
    }
    Ring::open(block).unwrap()
}

/// Drops the oldest bytes as JavaScript does: by the words in the block. False where there are fewer.
pub fn consume(ring: &mut Ring<Vec<u8>>, count: usize) -> bool {
    if count > ring.len() {
        return false;
    }
    let capacity = ring.capacity();
    let mut block = std::mem::replace(ring, placed(&[], 0, 1)).into_memory();
    let word = |at: usize| u32::from_ne_bytes(block[at..at + 4].try_into().unwrap()) as usize;
    let head = if capacity == 0 { 0 } else { (word(0) + count) % capacity };
    let length = word(4) - count;
    block[0..4].copy_from_slice(&u32::try_from(head).unwrap().to_ne_bytes());
    block[4..8].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
    *ring = Ring::open(block).unwrap();
    true
}

/// The first frame from `start` on: every end is tried, and for each every sequence.
pub fn first<S: AsRef<[u8]>>(bytes: &[u8], sequences: &[S], start: usize) -> Option<Match> {
    (start..=bytes.len()).find_map(|end| {
        let ending = sequences.iter().map(AsRef::as_ref).filter(|s| bytes[start..end].ends_with(s));
        ending.map(<[u8]>::len).max().map(|length| Match { end, length })
    })
}

/// What a listing must give, and the ends. The partial is left out: it is a number that only the
/// separator understands.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing {
    pub resume: usize,
    pub refused: Option<Refused>,
    pub ends: Vec<usize>,
}

/// Whether a search for these looks at its last bytes again, and does not carry on in the middle of a
/// separator.
fn looks_back<S: AsRef<[u8]>>(sequences: &[S]) -> bool {
    let mut different: Vec<&[u8]> = sequences.iter().map(AsRef::as_ref).collect();
    different.sort_unstable();
    different.dedup();
    let longest = different.iter().map(|s| s.len()).max().unwrap();
    let mut lasts: Vec<_> = different.iter().filter_map(|s| s.last()).collect();
    lasts.sort_unstable();
    lasts.dedup();
    lasts.len() <= 8 && longest <= 16 && (longest == 1 || different.len() <= 16)
}

pub fn list<S: AsRef<[u8]>>(bytes: &[u8], sequences: &[S], query: Query, room: usize) -> Listing {
    let mut ends = vec![];
    let mut behind = query.start;
    let mut refused = None;
    let resume = loop {
        if ends.len() == query.max.min(room) {
            break behind;
        }
        let Some(found) = first(bytes, sequences, behind) else {
            if !looks_back(sequences) {
                break bytes.len();
            }
            let longest = sequences.iter().map(|s| s.as_ref().len()).max().unwrap();
            let searched = (bytes.len() + 1).saturating_sub(longest);
            break searched.max(if ends.is_empty() { query.resume } else { behind });
        };
        let body = found.end - found.length - behind;
        if body > query.limit {
            refused = Some(Refused::Overlong(body as u64));
            break behind;
        }
        behind = found.end;
        ends.push(behind);
    };
    Listing { resume, refused, ends }
}
