//! Invariant: a ring in any block is refused, or holds what a `Vec` holds after the same calls.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, Vec<(Vec<u8>, bool, usize)>)| {
    let Ok(mut ring) = sluice_ring::Ring::open(input.0) else { return };
    let mut model = ring.unread_bytes().to_vec();
    for (data, in_front, count) in input.1 {
        let stored = if in_front { ring.unread(&data) } else { ring.write(&data) };
        assert_eq!(stored.is_ok(), data.len() <= ring.capacity() - model.len());
        let at = if in_front { 0 } else { model.len() };
        model.splice(at..at, if stored.is_ok() { data } else { vec![] });
        model.drain(..if ring.consume(count).is_ok() { count } else { 0 });
        assert_eq!(ring.unread_bytes().to_vec(), model);
    }
});
