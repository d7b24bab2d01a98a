//! Invariant: a ring in any block is refused, or holds what a `Vec` holds after the same calls.
#![no_main]
#[path = "../../tests/oracle/mod.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|input: (Vec<u8>, Vec<(Vec<u8>, u8, usize)>)| {
    let Ok(mut ring) = sluice_ring::Ring::open(input.0) else { return };
    let mut model = ring.unread_bytes().to_vec();
    for (data, action, count) in input.1 {
        let free = ring.capacity() - model.len();
        match action % 3 {
            0 => {
                assert_eq!(ring.write(&data).is_ok(), data.len() <= free);
                model.extend(if data.len() <= free { data } else { vec![] });
            }
            1 => {
                assert_eq!(ring.unread(&data).is_ok(), data.len() <= free);
                model.splice(0..0, if data.len() <= free { data } else { vec![] });
            }
            _ => {
                let reserved = ring.reserve(data.len()).is_ok();
                assert!(!reserved || ring.writable().len() >= data.len());
                if reserved {
                    ring.writable()[..data.len()].copy_from_slice(&data);
                    ring.commit(data.len()).unwrap();
                    model.extend(data);
                }
            }
        }
        model.drain(..if oracle::consume(&mut ring, count) { count } else { 0 });
        assert_eq!(ring.unread_bytes().to_vec(), model);
    }
});
