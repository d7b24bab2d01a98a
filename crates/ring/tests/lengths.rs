//! Frames by length against the oracle, with the bytes at every offset of the ring, so that each header
//! crosses the wrap point at each of its bytes.

mod oracle;

use oracle::Numbers;
use proptest::{collection::vec, prelude::*, sample::select};
use sluice_ring::{Error, LengthField, Lengths, Query, Ring};

/// The frame that `numbers` describe with a field of these bytes.
fn frame(offset: u64, field: &[u8], payload: usize) -> Vec<u8> {
    let offset = usize::try_from(offset).unwrap();
    [&vec![0xa5; offset][..], field, &vec![0xb6; payload]].concat()
}

fn numbers() -> impl Strategy<Value = Numbers> {
    let adjust = prop_oneof![Just(0), -9..9i64, any::<i64>().prop_map(|adjust| adjust >> 11)];
    let offset = prop_oneof![Just(0), 0..4u64, 0..40u64];
    (select(&LengthField::ALL[..]), offset, adjust, prop_oneof![Just(0), 0..12u64], 0..=10usize)
        .prop_map(|(field, offset, adjust, least, max_varint_bytes)| {
            let offset = if field == LengthField::None { 0 } else { offset };
            Numbers { field, offset, adjust, least, max_varint_bytes }
        })
}

/// Fields of small values for every type, and of any value.
fn field() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(0..12u8, 1..=1),
        (0..9usize, 0..12u8).prop_map(|(zeros, last)| [vec![0; zeros], vec![last]].concat()),
        (0..9usize, 0..12u8).prop_map(|(zeros, first)| [vec![first], vec![0; zeros]].concat()),
        (0..10usize, 0..3u8).prop_map(|(more, last)| [vec![0x80; more], vec![last]].concat()),
        (0..2u8).prop_map(|low| vec![0x40, low + 3]),
        vec(any::<u8>(), 1..=10),
    ]
}

fn bytes() -> impl Strategy<Value = (Numbers, Vec<u8>)> {
    numbers().prop_flat_map(|numbers| {
        let frames = vec((field(), 0..14usize), 0..8).prop_map(move |frames| {
            frames
                .iter()
                .flat_map(|(field, payload)| frame(numbers.offset, field, *payload))
                .collect()
        });
        (Just(numbers), frames)
    })
}

fn lengths(numbers: Numbers) -> Lengths {
    let Numbers { field, offset, adjust, least, max_varint_bytes } = numbers;
    Lengths::new(field, offset, adjust, least, max_varint_bytes).unwrap()
}

fn list<M: AsRef<[u8]>>(
    ring: &Ring<M>,
    lengths: &Lengths,
    query: Query,
    room: usize,
) -> oracle::Listing {
    let mut ends = vec![u32::MAX; room];
    let listed = ring.unread_bytes().list_by_length(lengths, query, &mut ends).unwrap();
    assert!(ends[listed.count..].iter().all(|word| *word == u32::MAX));
    assert_eq!(listed.partial, 0);
    let ends = ends[..listed.count].iter().map(|end| *end as usize).collect();
    oracle::Listing { resume: listed.resume, refused: listed.refused, ends }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn a_listing_has_what_the_oracle_finds(
        (numbers, bytes) in bytes(),
        start in prop_oneof![Just(0), 0..20usize],
        (limit, max, room) in (prop_oneof![Just(1000), 0..60usize], 0..12usize, 0..12usize),
    ) {
        let start = start.min(bytes.len());
        let query = Query { start, resume: start, partial: 0, limit, max };
        let expected = oracle::list_by_length(&bytes, numbers, query, room);
        let lengths = lengths(numbers);
        let capacity = bytes.len() + 3;
        for head in 0..capacity {
            let ring = oracle::placed(&bytes, head, capacity);
            prop_assert_eq!(&list(&ring, &lengths, query, room), &expected, "head {}", head);
        }
    }

    /// Bytes arrive in pieces, each listing continues where the previous one ended, and listed frames are
    /// consumed: the frames are the same as for all bytes at once.
    #[test]
    fn going_on_gives_what_starting_over_gives(
        (numbers, bytes) in bytes(),
        pieces in vec(1..9usize, 1..6),
        max in 1..5usize,
    ) {
        let query = Query { start: 0, resume: 0, partial: 0, limit: 1000, max: usize::MAX };
        let whole = oracle::list_by_length(&bytes, numbers, query, usize::MAX);
        let lengths = lengths(numbers);
        let capacity = bytes.len() + 1;
        for head in 0..capacity {
            let mut ring = oracle::placed(&[], head, capacity);
            let (mut ends, mut consumed) = (vec![], 0);
            let mut rest = &bytes[..];
            let mut pieces = pieces.iter().cycle();
            let refused = loop {
                let found = list(&ring, &lengths, Query { max, ..query }, max);
                ends.extend(found.ends.iter().map(|end| consumed + end));
                assert!(oracle::consume(&mut ring, found.resume));
                consumed += found.resume;
                if found.ends.len() == max {
                    continue;
                }
                if found.refused.is_some() || rest.is_empty() {
                    break found.refused;
                }
                let (piece, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
                ring.write(piece).unwrap();
                rest = later;
            };
            prop_assert_eq!((&ends, refused), (&whole.ends, whole.refused), "head {}", head);
        }
    }
}

#[test]
fn positions_out_of_order_and_partials_change_no_word() {
    let ring = oracle::placed(&[1, 2], 0, 4);
    let lengths = Lengths::new(LengthField::Uint8, 0, 0, 0, 0).unwrap();
    let mut ends = [7; 5];
    for (start, resume, partial) in [(1, 0, 0), (0, 3, 0), (3, 3, 0), (0, 0, 1)] {
        let query = Query { start, resume, partial, limit: 9, max: 9 };
        let refused = ring.unread_bytes().list_by_length(&lengths, query, &mut ends);
        assert!(matches!(refused, Err(Error::Positions { .. } | Error::Partial { .. })));
    }
    assert_eq!(ends, [7; 5]);
}
