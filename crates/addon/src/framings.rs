//! The framings for which JavaScript has handles: separators and lengths.
//!
//! A handle is a Node-API *external*, whose value JavaScript cannot read but another addon can forge: here
//! it is a key of this table. So a handle of another addon can at worst name another framing, and looking
//! one up costs less than unwrapping a class instance and checking its type tag (10 ns and 190 ns,
//! Node 20). Each environment (a process, a worker thread) has a table of its own.

use std::rc::Rc;

use sluice_ring::{Error, Lengths, Listed, Query, Segments, Separator};

/// How a stream is divided into frames.
pub enum Framing {
    Separator(Separator),
    Lengths(Lengths),
}

impl Framing {
    /// Lists the frames that are complete.
    pub fn list(
        &self,
        bytes: Segments<'_>,
        query: Query,
        ends: &mut [u32],
    ) -> Result<Listed, Error> {
        match self {
            Self::Separator(separator) => bytes.list(separator, query, ends),
            Self::Lengths(lengths) => bytes.list_by_length(lengths, query, ends),
        }
    }
}

/// Framings by key. Keys are never 0, and are reused.
#[derive(Default)]
pub struct Framings {
    slots: Vec<Option<Rc<Framing>>>,
    free: Vec<usize>,
}

impl Framings {
    /// Keeps a framing under the key that is returned.
    pub fn insert(&mut self, framing: Framing) -> usize {
        let slot = Some(Rc::new(framing));
        if let Some(key) = self.free.pop() {
            self.slots[key - 1] = slot;
            return key;
        }
        self.slots.push(slot);
        self.slots.len()
    }

    /// The framing under `key`. It stays usable if it is removed meanwhile.
    pub fn get(&self, key: usize) -> Option<Rc<Framing>> {
        self.slots.get(key.checked_sub(1)?)?.clone()
    }

    /// Removes the framing under `key`, if there is one.
    pub fn remove(&mut self, key: usize) {
        let slot = key.checked_sub(1).and_then(|index| self.slots.get_mut(index));
        if slot.is_some_and(|slot| slot.take().is_some()) {
            self.free.push(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use sluice_ring::LengthField;

    use super::*;

    fn separator(byte: u8) -> Framing {
        Framing::Separator(Separator::new(&[[byte]]).unwrap())
    }

    fn lengths() -> Framing {
        Framing::Lengths(Lengths::new(LengthField::Uint8, 0, 0, 0, 0).unwrap())
    }

    #[test]
    fn keys_are_reused_and_forged_ones_name_nothing() {
        let mut framings = Framings::default();
        let (a, b) = (framings.insert(separator(b'a')), framings.insert(lengths()));
        assert_ne!(a, b);
        framings.remove(a);
        framings.remove(a);
        assert!(framings.get(a).is_none());
        assert!(framings.get(b).is_some());
        for forged in [0, b + 1, usize::MAX] {
            framings.remove(forged);
            assert!(framings.get(forged).is_none());
        }
        assert_eq!(framings.insert(separator(b'c')), a);
        assert_ne!(framings.insert(lengths()), b);
    }

    #[test]
    fn either_kind_lists_its_frames() {
        let bytes = Segments { front: b"\x01a\x02b", back: b"cd\x09" };
        let query = Query { start: 0, resume: 0, partial: 0, limit: 9, max: 9 };
        let mut ends = [0; 4];
        for (framing, expected) in [(separator(b'c'), [5].as_slice()), (lengths(), &[2, 5])] {
            let listed = framing.list(bytes, query, &mut ends).unwrap();
            assert_eq!(&ends[..listed.count], expected);
        }
    }
}
