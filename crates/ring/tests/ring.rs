//! The ring against a `Vec`: any sequence of operations, begun at every offset of the data.

mod oracle;

use proptest::{collection::vec, prelude::*};
use sluice_ring::{Error, HEADER_BYTES, Ring};

#[derive(Clone, Debug)]
enum Operation {
    Write(Vec<u8>),
    Unread(Vec<u8>),
    /// Fills the writable region and commits this many bytes of it.
    Commit(usize),
    Consume(usize),
    Relocate(usize),
    Reserve(usize),
    /// Closes the ring and opens its block again.
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        vec(any::<u8>(), 0..12).prop_map(Operation::Write),
        vec(any::<u8>(), 0..6).prop_map(Operation::Unread),
        (0..8usize).prop_map(Operation::Commit),
        (0..10usize).prop_map(Operation::Consume),
        (0..20usize).prop_map(Operation::Relocate),
        (0..20usize).prop_map(Operation::Reserve),
        Just(Operation::Reopen),
    ]
}

/// Does the same to both; a refusal must be right, and change nothing.
fn run(ring: &mut Ring<Vec<u8>>, model: &mut Vec<u8>, operation: &Operation) {
    let free = ring.capacity() - model.len();
    let refused = |needed: usize, result: Result<(), Error>| match result {
        Err(Error::Full { needed: named, free: left, capacity }) => {
            assert_eq!((named, left), (needed, free));
            assert!(capacity >= model.len() + needed);
            true
        }
        result => result.is_err(),
    };
    match operation {
        Operation::Write(data) => {
            let result = ring.write(data);
            assert_eq!(refused(data.len(), result), data.len() > free);
            model.extend(if result.is_ok() { &data[..] } else { &[] });
        }
        Operation::Unread(data) => {
            let result = ring.unread(data);
            assert_eq!(refused(data.len(), result), data.len() > free);
            let stored = if result.is_ok() { &data[..] } else { &[] };
            drop(model.splice(0..0, stored.iter().copied()));
        }
        Operation::Commit(count) => {
            let region = ring.writable();
            assert!(region.len() <= free && region.is_empty() == (free == 0));
            region.fill(b'c');
            let room = region.len();
            assert_eq!(ring.commit(*count).is_ok(), *count <= room);
            model.resize(model.len() + if *count <= room { *count } else { 0 }, b'c');
        }
        Operation::Consume(count) => {
            assert_eq!(oracle::consume(ring, *count), *count <= model.len());
            model.drain(..if *count <= model.len() { *count } else { 0 });
        }
        Operation::Relocate(capacity) => match ring.relocate(vec![7; HEADER_BYTES + capacity]) {
            Ok(relocated) => {
                assert_eq!(relocated.unread_bytes().back, b"");
                *ring = relocated;
            }
            Err(error) => {
                let Error::Full { needed, free, .. } = error else { panic!("{error}") };
                assert_eq!((needed, free), (model.len(), *capacity));
                assert!(model.len() > *capacity);
            }
        },
        Operation::Reserve(min) => match ring.reserve(*min) {
            Ok(()) => assert!(ring.writable().len() >= *min),
            Err(error) => {
                assert!(refused(*min, Err(error)));
                assert!(ring.writable().len() < *min);
                // An empty ring has all its room in one piece.
                assert!(!model.is_empty() || *min > free);
            }
        },
        Operation::Reopen => *ring = reopen(ring),
    }
}

/// The ring that another owner of the block finds, from nothing but its memory.
fn reopen(ring: &mut Ring<Vec<u8>>) -> Ring<Vec<u8>> {
    let placeholder = Ring::open(vec![0; HEADER_BYTES]).unwrap();
    Ring::open(std::mem::replace(ring, placeholder).into_memory()).unwrap()
}

proptest! {
    #[test]
    fn a_ring_is_a_vec(capacity in 1..24usize, operations in vec(operation(), 0..40)) {
        for head in 0..capacity {
            let mut model = vec![];
            let mut ring = oracle::placed(&model, head, capacity);
            for operation in &operations {
                run(&mut ring, &mut model, operation);
                prop_assert_eq!(&ring.unread_bytes().to_vec(), &model, "head {}", head);
                prop_assert_eq!(ring.len(), model.len());
            }
        }
    }

    /// No header makes a ring that reaches outside of its block: it is refused, or everything works.
    #[test]
    fn any_header_is_refused_or_sound(
        head in prop_oneof![0..40u32, any::<u32>()],
        length in prop_oneof![0..40u32, any::<u32>()],
        bytes in 0..48usize,
        operations in vec(operation(), 0..8),
    ) {
        let mut block = vec![0; bytes.max(8)];
        block[0..4].copy_from_slice(&head.to_ne_bytes());
        block[4..8].copy_from_slice(&length.to_ne_bytes());
        if let Ok(mut ring) = Ring::open(block) {
            let mut model = ring.unread_bytes().to_vec();
            prop_assert_eq!(model.len(), length as usize);
            for operation in &operations {
                run(&mut ring, &mut model, operation);
                prop_assert_eq!(&ring.unread_bytes().to_vec(), &model);
            }
        }
    }
}
