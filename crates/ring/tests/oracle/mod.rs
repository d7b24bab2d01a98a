//! What is right, in code so simple that it is unlikely to be wrong.
#![allow(dead_code, reason = "each test and fuzz target uses a part")]

use sluice_ring::{HEADER_BYTES, Match, Query, Ring};

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

/// The first frame from `start` on: every end is tried, and for each every sequence.
pub fn first<S: AsRef<[u8]>>(bytes: &[u8], sequences: &[S], start: usize) -> Option<Match> {
    (start..=bytes.len()).find_map(|end| {
        let ending = sequences.iter().map(AsRef::as_ref).filter(|s| bytes[start..end].ends_with(s));
        ending.map(<[u8]>::len).max().map(|length| Match { end, length })
    })
}

/// The words of an index, as many as are set.
pub fn index<S: AsRef<[u8]>>(
    bytes: &[u8],
    sequences: &[S],
    query: Query,
    room: usize,
) -> Vec<usize> {
    let mut ends = vec![];
    let mut behind = query.start;
    let mut overlong = 0;
    let resume = loop {
        if ends.len() == query.max.min(room) {
            break behind;
        }
        let Some(found) = first(bytes, sequences, behind) else {
            let longest = sequences.iter().map(|s| s.as_ref().len()).max().unwrap();
            let searched = (bytes.len() + 1).saturating_sub(longest);
            break searched.max(if ends.is_empty() { query.resume } else { behind });
        };
        if found.end - found.length - behind > query.limit {
            overlong = found.end - found.length - behind;
            break behind;
        }
        behind = found.end;
        ends.push(behind);
    };
    [vec![ends.len(), resume, overlong], ends].concat()
}
