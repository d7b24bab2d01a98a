//! The listing against a quadratic scan, with the bytes at every offset of the ring, so
//! that every match crosses the wrap point at each of its bytes.

mod oracle;

use proptest::{collection::vec, prelude::*, sample::select};
use sluice_ring::{Query, Refused, Ring, Separator};

/// Few different bytes, so that sequences are found, and nearly found, all the time.
fn bytes(length: impl Into<proptest::collection::SizeRange>) -> impl Strategy<Value = Vec<u8>> {
    vec(select(&b"aab\r\n\x80"[..]), length)
}

/// A short piece again and again, with something else in it somewhere.
fn periodic() -> impl Strategy<Value = Vec<u8>> {
    (vec(select(&b"ab"[..]), 1..=3), 6..30usize, bytes(0..3), 0..40usize).prop_map(
        |(period, times, other, at)| {
            let mut sequence = period.repeat(times);
            let at = at.min(sequence.len());
            drop(sequence.splice(at..at, other));
            sequence
        },
    )
}

/// Sequences for each kind of machinery: bytes, one sequence, short and long sets; and long ones that
/// repeat themselves, so that a search is in the middle of several of them all the time.
fn sequences() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop_oneof![
        vec(periodic(), 1..=1),
        vec(periodic(), 2..=3),
        vec(bytes(1..=3), 17..=20),
        vec(bytes(1), 1..=6),
        vec(bytes(1..=4), 1..=1),
        vec(bytes(1..=4), 2..=3),
        vec(bytes(1..=20), 4..=8),
        vec(vec(select(&b"ab"[..]), 1..=20), 1..=2),
    ]
}

/// Bytes with some of the sequences strewn in.
fn haystack() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    sequences().prop_flat_map(|sequences| {
        let piece = prop_oneof![bytes(0..8), select(sequences.clone()), vec(Just(b'x'), 0..40)];
        (Just(sequences), vec(piece, 0..12).prop_map(|pieces| pieces.concat()))
    })
}

/// The frames that are listed, and the partial with which the next search continues.
fn list<M: AsRef<[u8]>>(
    ring: &Ring<M>,
    separator: &Separator,
    query: Query,
    room: usize,
) -> (oracle::Listing, u32) {
    let mut ends = vec![u32::MAX; room];
    let listed = ring.unread_bytes().list(separator, query, &mut ends).unwrap();
    assert!(ends[listed.count..].iter().all(|word| *word == u32::MAX));
    ends.truncate(listed.count);
    let ends = ends.into_iter().map(|end| end as usize).collect();
    let listing = oracle::Listing { resume: listed.resume, refused: listed.refused, ends };
    (listing, listed.partial)
}

proptest! {
    #[test]
    fn a_listing_has_what_a_scan_finds(
        (sequences, bytes) in haystack(),
        start in 0..20usize,
        (limit, max, room) in (0..60usize, 0..12usize, 0..12usize),
    ) {
        let separator = Separator::new(&sequences).unwrap();
        let start = start.min(bytes.len());
        let query = Query { start, resume: start, partial: 0, limit, max };
        let expected = oracle::list(&bytes, &sequences, query, room);
        let capacity = bytes.len() + 3;
        for head in 0..capacity {
            let ring = oracle::placed(&bytes, head, capacity);
            prop_assert_eq!(&list(&ring, &separator, query, room).0, &expected, "head {}", head);
        }
    }

    /// Bytes arrive in pieces, each search continues where the previous one ended: the frames are the
    /// same as for all bytes at once.
    #[test]
    fn going_on_gives_what_starting_over_gives(
        (sequences, bytes) in haystack(),
        pieces in vec(1..9usize, 1..6),
        max in 1..5usize,
    ) {
        let separator = Separator::new(&sequences).unwrap();
        let query = Query { start: 0, resume: 0, partial: 0, limit: usize::MAX, max: usize::MAX };
        let whole = oracle::list(&bytes, &sequences, query, usize::MAX);
        let capacity = bytes.len() + 1;
        for head in 0..capacity {
            let mut ring = oracle::placed(&[], head, capacity);
            let mut listed = vec![];
            let mut consumed = 0;
            let (mut resume, mut partial) = (0, 0);
            let mut rest = &bytes[..];
            let mut pieces = pieces.iter().cycle();
            loop {
                let query = Query { start: 0, resume, partial, limit: usize::MAX, max };
                let (found, begun) = list(&ring, &separator, query, max);
                listed.extend(found.ends.iter().map(|end| consumed + end));
                let listed_end = found.ends.last().copied().unwrap_or(0);
                assert!(oracle::consume(&mut ring, listed_end));
                consumed += listed_end;
                (resume, partial) = (found.resume - listed_end, begun);
                if found.ends.len() == max {
                    continue;
                }
                if rest.is_empty() {
                    break;
                }
                let (piece, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
                ring.write(piece).unwrap();
                rest = later;
            }
            prop_assert_eq!(&listed, &whole.ends, "head {}", head);
        }
    }
}

/// A separator is found at each position of a block, in a whole block and in the last, incomplete one, and
/// also where it crosses the wrap point.
#[test]
fn frames_end_at_every_position() {
    let sets: [&[&[u8]]; 9] = [
        &[b"\n"],
        &[b"\0", b"\n", b"\x80"],
        &[b"\0", b"\n", b";", b"|", b"#", b"!", b"?", b"}"],
        &[b"\r\n"],
        &[b"\n\n\n"],
        &[b"0123456789abcdef"],
        &[b"0123456789abcdefg"],
        &[b"\n", b"\r\n", b"-\r\n"],
        &[b"\r\n", b"\0", b";", b"||", b"END.", b"#", b"}", b"-|-"],
    ];
    for set in sets {
        let separator = Separator::new(set).unwrap();
        for body in (0..=4).chain(44..=68).chain(108..=132) {
            let length = 2 * body + 300;
            let ends = set.iter().cycle().flat_map(|end| [&vec![b'-'; body], *end].concat());
            let bytes: Vec<u8> = ends.take(length).collect();
            let query = Query { start: 0, resume: 0, partial: 0, limit: 1000, max: 1000 };
            let expected = oracle::list(&bytes, set, query, 1000);
            for head in [0, 1, length / 2, length - 1, length - 64, length - 129] {
                let ring = oracle::placed(&bytes, head, length);
                assert_eq!(list(&ring, &separator, query, 1000).0, expected, "{set:?} {body}");
            }
        }
    }
}

/// Sequences too long for the window on the stack, at every offset around the wrap point.
#[test]
fn long_sequences_are_found_across_the_wrap_point() {
    for longest in [128, 129, 130, 131, 400] {
        let long = [vec![b'a'; longest - 1], vec![b'b']].concat();
        for sequences in [vec![long.clone()], vec![long.clone(), b"ac".to_vec()]] {
            let separator = Separator::new(&sequences).unwrap();
            let bytes = [&b"aaa"[..], &long, b"-aac-"].concat();
            let query = Query { start: 0, resume: 0, partial: 0, limit: 1000, max: 9 };
            let expected = oracle::list(&bytes, &sequences, query, 9);
            let capacity = bytes.len() + 1;
            for head in 0..capacity {
                let ring = oracle::placed(&bytes, head, capacity);
                assert_eq!(list(&ring, &separator, query, 9).0, expected, "head {head}");
            }
        }
    }
}

#[test]
fn an_overlong_frame_is_reported_again_until_the_limit_allows_it() {
    let ring = oracle::placed(b"a\nbcd\ne\n", 5, 9);
    let separator = Separator::new(&["\n"]).unwrap();
    let mut query = Query { start: 0, resume: 0, partial: 0, limit: 2, max: 9 };
    let listed = |query| {
        let (listing, _) = list(&ring, &separator, query, 9);
        (listing.ends, listing.resume, listing.refused)
    };
    assert_eq!(listed(query), (vec![2], 2, Some(Refused::Overlong(3))));
    query.start = 2;
    query.resume = 2;
    assert_eq!(listed(query), (vec![], 2, Some(Refused::Overlong(3))));
    query.limit = 3;
    assert_eq!(listed(query), (vec![6, 8], 8, None));
}

#[test]
fn positions_out_of_order_change_no_word() {
    let ring = oracle::placed(b"a\n", 0, 4);
    let separator = Separator::new(&["\n"]).unwrap();
    let mut ends = [7; 5];
    for (start, resume) in [(1, 0), (0, 3), (3, 3)] {
        let query = Query { start, resume, partial: 0, limit: 9, max: 9 };
        assert!(ring.unread_bytes().list(&separator, query, &mut ends).is_err());
    }
    assert_eq!(ends, [7; 5]);
}
