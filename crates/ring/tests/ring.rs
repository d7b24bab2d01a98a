//! The ring against a `Vec`: any sequence of operations, begun at every offset of the data.

mod oracle;

use proptest::{collection::vec, prelude::*};
use sluice_ring::{Error, HEADER_BYTES, Ring};

#[derive(Clone, Debug)]
enum Operation {
    Write(Vec<u8>),
    Unread(Vec<u8>),
    /// Fills the writable region and commits so many bytes of it.
    Commit(usize),
    Consume(usize),
    Copy(usize, usize),
    Relocate(usize),
    Reserve(usize),
    Shrink(usize),
    Straighten,
    /// Closes the ring and opens its block again.
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        vec(any::<u8>(), 0..12).prop_map(Operation::Write),
        vec(any::<u8>(), 0..6).prop_map(Operation::Unread),
        (0..8usize).prop_map(Operation::Commit),
        (0..10usize).prop_map(Operation::Consume),
        (0..10usize, 0..10usize).prop_map(|(start, length)| Operation::Copy(start, length)),
        (0..20usize).prop_map(Operation::Relocate),
        (0..20usize).prop_map(Operation::Reserve),
        (0..20usize).prop_map(Operation::Shrink),
        Just(Operation::Straighten),
        Just(Operation::Reopen),
    ]
}

const MAX_CAPACITY: usize = 32;

/// Does the same to both; a refusal must be right, and change nothing.
fn run(ring: &mut Ring<Vec<u8>>, model: &mut Vec<u8>, operation: &Operation) {
    let capacity = ring.capacity();
    let free = capacity - model.len();
    match operation {
        Operation::Write(data) => match ring.write(data) {
            Ok(()) => model.extend(data),
            Err(error) => {
                assert!(data.len() > free);
                assert_eq!(error, Error::Full { needed: data.len(), free });
            }
        },
        Operation::Unread(data) => match ring.unread(data) {
            Ok(()) => drop(model.splice(0..0, data.iter().copied())),
            Err(error) => {
                assert!(data.len() > free);
                assert_eq!(error, Error::Full { needed: data.len(), free });
            }
        },
        Operation::Commit(count) => {
            let region = ring.writable();
            assert!(region.len() <= free && region.is_empty() == (free == 0));
            region.fill(b'c');
            let room = region.len();
            assert_eq!(ring.commit(*count).is_ok(), *count <= room);
            model.resize(model.len() + if *count <= room { *count } else { 0 }, b'c');
        }
        Operation::Consume(count) => {
            assert_eq!(ring.consume(*count).is_ok(), *count <= model.len());
            model.drain(..if *count <= model.len() { *count } else { 0 });
        }
        Operation::Copy(start, length) => {
            let mut target = vec![0; *length];
            let copied = ring.copy_to(*start, &mut target);
            match model.get(*start..*start + *length) {
                Some(expected) => assert_eq!((copied, &target[..]), (Ok(()), expected)),
                None => assert!(copied.is_err()),
            }
        }
        Operation::Relocate(capacity) => match ring.relocate(vec![7; HEADER_BYTES + capacity]) {
            Ok(relocated) => {
                assert_eq!(relocated.unread_bytes().back, b"");
                *ring = relocated;
            }
            Err(error) => assert_eq!(error, Error::Full { needed: model.len(), free: *capacity }),
        },
        Operation::Reserve(min) => match ring.reserve(*min, MAX_CAPACITY) {
            Ok(region) => assert!(region.len() >= *min),
            Err(_) => assert!(model.len() + min > MAX_CAPACITY),
        },
        Operation::Shrink(keep) => {
            ring.shrink(*keep);
            assert_eq!(ring.capacity(), capacity.min(model.len().max(*keep)));
        }
        Operation::Straighten => {
            ring.straighten();
            assert_eq!(ring.unread_bytes().back, b"");
            assert_eq!(ring.writable().len(), free);
        }
        Operation::Reopen => *ring = reopen(ring),
    }
}

/// The ring that another party finds in the block, from what lies in memory alone.
fn reopen(ring: &mut Ring<Vec<u8>>) -> Ring<Vec<u8>> {
    let placeholder = Ring::with_capacity(0).unwrap();
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

    /// No header makes a ring that reaches outside of its block: it is refused, or all works.
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
