//! Invariant: wherever the bytes lie in the ring, the index has the words that a quadratic scan gives.
#![no_main]
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: (Vec<Vec<u8>>, Vec<u8>, u8, u8, u8)| {
    let (sequences, bytes, head, limit, max) = input;
    let Ok(separator) = sluice_ring::Separator::new(&sequences) else { return };
    let query = sluice_ring::Query { start: 0, resume: 0, limit: limit.into(), max: max.into() };
    let ring = oracle::placed(&bytes, usize::from(head) % (bytes.len() + 1), bytes.len() + 1);
    let mut words = [0; 4 + 64];
    let count = ring.unread_bytes().index(&separator, query, &mut words).unwrap();
    let expected = oracle::index(&bytes, &sequences, query, 64);
    assert!(words[..4 + count].iter().map(|word| *word as usize).eq(expected));
});
