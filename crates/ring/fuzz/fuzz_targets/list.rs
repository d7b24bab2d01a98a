//! Invariant: wherever the bytes lie in the ring and however they come, the frames that are listed are
//! those that a quadratic scan finds.
#![no_main]
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use sluice_ring::{Query, Separator};

const ROOM: usize = 64;

libfuzzer_sys::fuzz_target!(|input: (Vec<Vec<u8>>, Vec<u8>, u8, u8, u8, u8)| {
    let (sequences, bytes, head, limit, max, first) = input;
    let Ok(separator) = Separator::new(&sequences) else { return };
    let limit = usize::from(limit);
    let mut query = Query { start: 0, resume: 0, partial: 0, limit, max: max.into() };
    let capacity = bytes.len() + 1;
    let head = usize::from(head) % capacity;
    // A listing of the first bytes alone, which a second one continues with all of them.
    let first = &bytes[..usize::from(first).min(bytes.len())];
    for bytes in [first, &bytes] {
        let ring = oracle::placed(bytes, head, capacity);
        let mut ends = [0; ROOM];
        let listed = ring.unread_bytes().list(&separator, query, &mut ends).unwrap();
        let expected = oracle::list(bytes, &sequences, query, ROOM);
        assert!(ends[..listed.count].iter().map(|end| *end as usize).eq(expected.ends));
        assert_eq!((listed.resume, listed.refused), (expected.resume, expected.refused));
        query.start = ends[..listed.count].last().map_or(query.start, |end| *end as usize);
        (query.resume, query.partial) = (listed.resume, listed.partial);
    }
});
