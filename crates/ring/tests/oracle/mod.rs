//! The expected results, from code so simple that it is unlikely to be wrong.
#![allow(dead_code, reason = "each test and fuzz target uses a part")]

use sluice_ring::{HEADER_BYTES, LengthField, Match, Query, Refused, Ring};

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

/// Whether a search for these examines its last bytes again, instead of continuing in the middle of a
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
    let mut frame = query.start;
    let mut refused = None;
    let resume = loop {
        if ends.len() == query.max.min(room) {
            break frame;
        }
        let Some(found) = first(bytes, sequences, frame) else {
            if !looks_back(sequences) {
                break bytes.len();
            }
            let longest = sequences.iter().map(|s| s.as_ref().len()).max().unwrap();
            let searched = (bytes.len() + 1).saturating_sub(longest);
            break searched.max(if ends.is_empty() { query.resume } else { frame });
        };
        let body = found.end - found.length - frame;
        if body > query.limit {
            refused = Some(Refused::Overlong(body as u64));
            break frame;
        }
        frame = found.end;
        ends.push(frame);
    };
    Listing { resume, refused, ends }
}

/// What [`Lengths::new`](sluice_ring::Lengths::new) takes.
#[derive(Clone, Copy, Debug)]
pub struct Numbers {
    pub field: LengthField,
    pub offset: u64,
    pub adjust: i64,
    pub least: u64,
    pub max_varint_bytes: usize,
}

/// The length field that `bytes` begin with: its value and its width. `None` while it is incomplete, an
/// error where it is too long.
fn field(kind: LengthField, bytes: &[u8], most: usize) -> Result<Option<(i128, usize)>, ()> {
    use LengthField as F;
    let width = match kind {
        F::None => 0,
        F::Uint8 => 1,
        F::Uint16Be | F::Uint16Le => 2,
        F::Uint24Be | F::Uint24Le => 3,
        F::Uint32Be | F::Uint32Le => 4,
        F::Uint48Be | F::Uint48Le => 6,
        F::Uint64Be | F::Uint64Le => 8,
        F::Quic => bytes.first().map_or(1, |first| 1 << (first >> 6)),
        F::Varint => match bytes.iter().take(most).position(|byte| *byte < 128) {
            Some(last) => last + 1,
            None if bytes.len() < most => return Ok(None),
            None => return Err(()),
        },
    };
    let Some(digits) = bytes.get(..width) else { return Ok(None) };
    let number = |base: i128, digits: &mut dyn Iterator<Item = &u8>| {
        digits.fold(0, |value, digit| value * base + i128::from(*digit) % base)
    };
    let value = match kind {
        F::Varint => number(128, &mut digits.iter().rev()),
        F::Uint16Le | F::Uint24Le | F::Uint32Le | F::Uint48Le | F::Uint64Le => {
            number(256, &mut digits.iter().rev())
        }
        F::Quic => number(256, &mut digits.iter()) % (1 << (8 * width - 2)),
        _ => number(256, &mut digits.iter()),
    };
    Ok(Some((value, width)))
}

pub fn list_by_length(bytes: &[u8], numbers: Numbers, query: Query, room: usize) -> Listing {
    let Numbers { field: kind, offset, adjust, least, max_varint_bytes } = numbers;
    let mut ends = vec![];
    let mut resume = query.start;
    let mut refused = None;
    while ends.len() < query.max.min(room) && resume < bytes.len() {
        let Some(rest) = bytes.get(resume + usize::try_from(offset).unwrap()..) else { break };
        let length = match field(kind, rest, max_varint_bytes) {
            Ok(None) => break,
            Err(()) => -1,
            Ok(Some((value, _))) if value >= 1 << 53 => -1,
            Ok(Some((value, width))) => {
                let header = i128::from(offset) + width as i128;
                let length = header + value + i128::from(adjust);
                let least = header.max(least.into());
                if (least..1 << 53).contains(&length) { length } else { -1 }
            }
        };
        let Ok(length) = u64::try_from(length) else {
            refused = Some(Refused::Malformed);
            break;
        };
        if length > query.limit as u64 {
            refused = Some(Refused::Overlong(length));
            break;
        }
        if length == 0 || length > (bytes.len() - resume) as u64 {
            break;
        }
        resume += usize::try_from(length).unwrap();
        ends.push(resume);
    }
    Listing { resume, refused, ends }
}
