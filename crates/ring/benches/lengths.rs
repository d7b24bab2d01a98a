//! `Segments::list_by_length` for each kind of field.
//!
//! ```text
//! cargo bench -p sluice-ring --bench lengths
//! ```
//!
//! Each figure is the time for 1024 frames of 64 bytes, 64 KiB in all, so a microsecond is about a
//! nanosecond for a frame. The figures stand in `src/lengths.rs`.
#![allow(missing_docs, reason = "a program")]

use divan::{Bencher, black_box, counter::ItemsCount};
use sluice_ring::{LengthField, Lengths, Query, Segments};

const FRAMES: usize = 1024;
const FRAME_BYTES: usize = 64;

fn main() {
    divan::main();
}

/// The fields of a frame of 64 bytes, for each type that the loop is compiled for in another way.
const FIELDS: [(LengthField, &[u8]); 8] = [
    (LengthField::None, &[]),
    (LengthField::Uint8, &[63]),
    (LengthField::Uint16Be, &[0, 62]),
    (LengthField::Uint24Be, &[0, 0, 61]),
    (LengthField::Uint32Be, &[0, 0, 0, 60]),
    (LengthField::Uint64Le, &[56, 0, 0, 0, 0, 0, 0, 0]),
    (LengthField::Varint, &[0xbe, 0]),
    (LengthField::Quic, &[0x40, 62]),
];

#[divan::bench(args = 0..FIELDS.len())]
fn list(bencher: Bencher, number: usize) {
    let (field, header) = FIELDS[number];
    let size = if field == LengthField::None { 64 } else { 0 };
    let lengths = Lengths::new(field, 0, size, 0, 10).unwrap();
    let payload = vec![b'x'; FRAME_BYTES - header.len()];
    let bytes = [header, &payload].concat().repeat(FRAMES);
    let mut ends = vec![0; FRAMES];
    let query = Query { start: 0, resume: 0, partial: 0, limit: 65_536, max: usize::MAX };
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        let bytes = Segments { front: black_box(&bytes), back: &[] };
        bytes.list_by_length(&lengths, query, black_box(&mut ends)).unwrap()
    });
    let all = (FRAME_BYTES..).step_by(FRAME_BYTES).take(FRAMES);
    assert!(ends.iter().map(|end| *end as usize).eq(all), "{field:?}");
}

/// The loop that a program would write for itself, without a check of the lengths.
#[divan::bench]
fn by_hand(bencher: Bencher) {
    let bytes = [&[0, 0, 0, 60][..], &[b'x'; 60]].concat().repeat(FRAMES);
    let mut ends = vec![0; FRAMES];
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        let bytes: &[u8] = black_box(&bytes);
        let (mut at, mut count) = (0, 0);
        while let Some(field) = bytes[at..].first_chunk() {
            at += 4 + u32::from_be_bytes(*field) as usize;
            ends[count] = u32::try_from(at).unwrap();
            count += 1;
        }
        count
    });
}
