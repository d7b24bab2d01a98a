//! Invariant: wherever the bytes lie in the ring and however they come, the frames by length that are
//! listed are those that the oracle reads one by one.
#![no_main]
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

use sluice_ring::{LengthField, Lengths, Query};

const ROOM: usize = 64;

libfuzzer_sys::fuzz_target!(|input: ((u8, u8, (i8, u8), u8, u8), Vec<u8>, u8, u16, u8, u8)| {
    let ((field, offset, (adjust, shift), least, most), bytes, head, limit, max, first) = input;
    let numbers = oracle::Numbers {
        field: LengthField::ALL[usize::from(field) % LengthField::ALL.len()],
        offset: offset.into(),
        adjust: i64::from(adjust) << (shift % 46),
        least: least.into(),
        max_varint_bytes: usize::from(most % 11),
    };
    let oracle::Numbers { field, offset, adjust, least, max_varint_bytes } = numbers;
    let lengths = Lengths::new(field, offset, adjust, least, max_varint_bytes).unwrap();
    let limit = usize::from(limit);
    let mut query = Query { start: 0, resume: 0, partial: 0, limit, max: max.into() };
    let capacity = bytes.len() + 1;
    // A listing of the first bytes alone, which a second one continues with all of them.
    let first = &bytes[..usize::from(first).min(bytes.len())];
    for bytes in [first, &bytes] {
        let ring = oracle::placed(bytes, usize::from(head) % capacity, capacity);
        let mut ends = [0; ROOM];
        let listed = ring.unread_bytes().list_by_length(&lengths, query, &mut ends).unwrap();
        let expected = oracle::list_by_length(bytes, numbers, query, ROOM);
        assert!(ends[..listed.count].iter().map(|end| *end as usize).eq(expected.ends));
        assert_eq!((listed.resume, listed.refused), (expected.resume, expected.refused));
        (query.start, query.resume) = (listed.resume, listed.resume);
    }
});
